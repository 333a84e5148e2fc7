//! What is known of a logical request when it is over: what spans, metrics and reports are made
//! from.

use super::Kind;
use super::ledger::{Outcome, Ticket};
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
    /// Answered with an error, or nobody knows.
    pub failed: u64,
    /// Out of time before the next attempt.
    pub expired_unsent: u64,
    /// Out of time during an attempt.
    pub expired_in_flight: u64,
    /// Given up unsent.
    pub discarded: u64,
}

impl Counts {
    /// All that are over.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.expired_unsent + self.expired_in_flight + self.discarded
    }

    /// One more is over.
    pub(crate) fn on_ended(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Failed(_) => &mut self.failed,
            Outcome::ExpiredUnsent => &mut self.expired_unsent,
            Outcome::ExpiredInFlight => &mut self.expired_in_flight,
            Outcome::Discarded(_) => &mut self.discarded,
        } += 1;
    }
}
