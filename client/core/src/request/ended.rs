//! What is known of a logical request when it is over: what spans, metrics and reports are made
//! from.

use super::Kind;
use super::ledger::{Discard, Failure, Outcome, Ticket};
use super::queue::Lane;
use crate::{Address, Time};
use evenkeel_spec::words::{ErrorCode, NodeId};

/// A logical request that is over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ended {
    /// Its name.
    pub ticket: Ticket,
    /// Of which kind.
    pub kind: Kind,
    /// In which lane.
    pub lane: Lane,
    /// How it ended.
    pub outcome: Outcome,
    /// The last error that a broker gave, also where it was tried again.
    pub error: Option<ErrorCode>,
    /// Who was asked last; `None`: nobody, or a bootstrap server.
    pub node: Option<NodeId>,
    /// Where that one listens; `None`: nobody was asked.
    pub address: Option<Address>,
    /// How often it was put on the wire.
    pub attempts: u32,
    /// With how many others it shared its last attempt.
    pub bulked: u32,
    /// When it was asked for.
    pub asked_at: Time,
    /// When it was over.
    pub ended_at: Time,
    /// When its time is over; `None`: never.
    pub deadline: Option<Time>,
    /// What it spent that time on.
    pub waits: Waits,
}

/// Where a logical request spent its time, milliseconds. They add up to its whole time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Waits {
    /// Behind others of the same connection, or for something to be asked (a commit in flight).
    pub queue_ms: u64,
    /// For a coordinator, or a leader, to be found.
    pub coordinator_ms: u64,
    /// For a connection.
    pub connection_ms: u64,
    /// For the next attempt.
    pub backoff_ms: u64,
    /// For a broker that does not read (KIP-219).
    pub throttle_ms: u64,
    /// On the wire.
    pub in_flight_ms: u64,
}

impl Waits {
    /// All of it.
    #[must_use]
    pub fn sum_ms(&self) -> u64 {
        self.queue_ms
            + self.coordinator_ms
            + self.connection_ms
            + self.backoff_ms
            + self.throttle_ms
            + self.in_flight_ms
    }
}

/// What became of all requests of one lane and kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Asked for.
    pub asked: u64,
    /// Answered with what was asked for.
    pub completed: u64,
    /// Answered with an error, or nobody knows: by why.
    pub failed: Failures,
    /// Out of time before the next attempt.
    pub expired_unsent: u64,
    /// Out of time during an attempt.
    pub expired_in_flight: u64,
    /// Given up unsent: by why.
    pub discarded: Discards,
}

/// How many failed, by [`Failure`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Failures {
    /// An error, by a broker or by what is known here.
    pub refused: u64,
    /// The connection ended, or none was made. Only the core's own: calls try again.
    pub disconnected: u64,
    /// Nobody waited for it any more; it was on its way and may have taken effect.
    pub caller_gone: u64,
    /// The consumer ended; it was on its way and may have taken effect.
    pub closing: u64,
}

/// How many were given up unsent, by [`Discard`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Discards {
    /// Nobody waited for it any more.
    pub caller_gone: u64,
    /// The consumer ended.
    pub closing: u64,
}

impl Counts {
    /// All that are over.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.outcomes().map(|(_, count)| count).sum()
    }

    /// How many ended in each way, in the order of [`Outcome::ALL`], zeros too.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let mut counts = *self;
        Outcome::ALL.into_iter().map(move |outcome| (outcome, *counts.of(outcome)))
    }

    /// One more is over.
    pub(crate) fn on_ended(&mut self, outcome: Outcome) {
        *self.of(outcome) += 1;
    }

    fn of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Failed(Failure::Refused) => &mut self.failed.refused,
            Outcome::Failed(Failure::Disconnected) => &mut self.failed.disconnected,
            Outcome::Failed(Failure::CallerGone) => &mut self.failed.caller_gone,
            Outcome::Failed(Failure::Closing) => &mut self.failed.closing,
            Outcome::ExpiredUnsent => &mut self.expired_unsent,
            Outcome::ExpiredInFlight => &mut self.expired_in_flight,
            Outcome::Discarded(Discard::CallerGone) => &mut self.discarded.caller_gone,
            Outcome::Discarded(Discard::Closing) => &mut self.discarded.closing,
        }
    }
}

impl Failures {
    /// All of them.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.refused + self.disconnected + self.caller_gone + self.closing
    }
}

impl Discards {
    /// All of them.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.caller_gone + self.closing
    }
}
