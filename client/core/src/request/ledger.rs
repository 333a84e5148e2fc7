//! Every request that was asked for and is not over: each ends once, in one of five ways.
//!
//! The unit is the *logical request*: a call of the application, however many requests it takes on
//! the wire and however often each is tried; or one request of the core's own, which tries again by
//! a new one. Attached ones count each. spec/10-requests.md.

use super::queue::Lane;
use super::{Kind, Mutant};
use crate::CallId;
use std::collections::BTreeMap;

/// The name of one logical request.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Ticket {
    /// A call of the application.
    Call(CallId),
    /// One of the core's own.
    Own(u64),
}

/// How a logical request ended.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Outcome {
    /// It was answered with what was asked for.
    Completed,
    /// It was answered with an error, or nobody knows what became of it.
    Failed(Failure),
    /// Its time was over, and no attempt was on its way.
    ExpiredUnsent,
    /// Its time was over while an attempt was on its way, which may still take effect.
    ExpiredInFlight,
    /// It was given up before it was sent.
    Discarded(Discard),
}

impl Outcome {
    /// Every one, with every reason.
    pub const ALL: [Self; 9] = [
        Self::Completed,
        Self::Failed(Failure::Refused),
        Self::Failed(Failure::Disconnected),
        Self::Failed(Failure::CallerGone),
        Self::Failed(Failure::Closing),
        Self::ExpiredUnsent,
        Self::ExpiredInFlight,
        Self::Discarded(Discard::CallerGone),
        Self::Discarded(Discard::Closing),
    ];

    /// As it is called in spans and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed(_) => "failed",
            Self::ExpiredUnsent => "expired unsent",
            Self::ExpiredInFlight => "expired in flight",
            Self::Discarded(_) => "discarded",
        }
    }

    /// Why, where the outcome alone does not say it.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Completed | Self::ExpiredUnsent | Self::ExpiredInFlight => None,
            Self::Failed(Failure::Refused) => Some("refused"),
            Self::Failed(Failure::Disconnected) => Some("disconnected"),
            Self::Failed(Failure::CallerGone) | Self::Discarded(Discard::CallerGone) => {
                Some("caller gone")
            }
            Self::Failed(Failure::Closing) | Self::Discarded(Discard::Closing) => Some("closing"),
        }
    }
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Failure {
    /// An error, by a broker or by what is known here.
    Refused,
    /// The connection ended, or none was made. Only the core's own: calls try again.
    Disconnected,
    /// Nobody waits for it any more; it was on its way and may take effect.
    CallerGone,
    /// The consumer ends; it was on its way and may take effect.
    Closing,
}

/// Why a request was given up unsent.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Discard {
    /// Nobody waits for it any more: withdrawn.
    CallerGone,
    /// The consumer ends.
    Closing,
}

/// Why a request is over, as whoever ends it sees it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum End {
    /// Answered with what was asked for.
    Completed,
    /// Answered with an error.
    Refused,
    /// The connection ended, or none was made.
    Disconnected,
    /// Its time is over.
    Deadline,
    /// Nobody waits for it any more.
    CallerGone,
    /// The consumer ends.
    Closing,
}

/// One request that is not over.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Open {
    /// Of which kind.
    pub kind: Kind,
    /// In which lane.
    pub lane: Lane,
    /// How many requests on the wire it waits for.
    pub in_flight: u32,
}

/// The requests that are not over.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Ledger {
    open: BTreeMap<Ticket, Open>,
    /// How many of them take one of the application's places.
    places: usize,
    next: u64,
}

impl Ledger {
    /// One of the core's own.
    pub fn open_own(&mut self, kind: Kind, lane: Lane) -> Ticket {
        self.next += 1;
        let ticket = Ticket::Own(self.next);
        self.open.insert(ticket, Open { kind, lane, in_flight: 0 });
        ticket
    }

    /// A call, which takes a place until it is over (Q3); says whether there was one.
    pub fn open_call(
        &mut self,
        call: CallId,
        kind: Kind,
        places_max: usize,
        mutant: Option<Mutant>,
    ) -> bool {
        let is_full = if Mutant::OneTooMany.is(mutant) {
            self.places > places_max
        } else {
            self.places >= places_max
        };
        if is_full {
            return false;
        }
        self.places += 1;
        let open = Open { kind, lane: Lane::User, in_flight: 0 };
        let before = self.open.insert(Ticket::Call(call), open);
        assert!(before.is_none(), "a call's number is used once");
        true
    }

    /// A call that needs no place.
    pub fn open_unbounded(&mut self, call: CallId, kind: Kind, lane: Lane) {
        let open = Open { kind, lane, in_flight: 0 };
        let before = self.open.insert(Ticket::Call(call), open);
        assert!(before.is_none(), "a call's number is used once");
    }

    /// A request of it was put on the wire.
    pub fn on_sent(&mut self, ticket: Ticket) {
        if let Some(open) = self.open.get_mut(&ticket) {
            open.in_flight += 1;
        }
    }

    /// A request of it that was on the wire was answered or lost.
    pub fn on_landed(&mut self, ticket: Ticket, mutant: Option<Mutant>) {
        if Mutant::LandedForgotten.is(mutant) {
            return;
        }
        if let Some(open) = self.open.get_mut(&ticket) {
            let is_sent = open.in_flight > 0 || Mutant::AttachInFlight.is(mutant);
            assert!(is_sent, "what lands was sent");
            open.in_flight = open.in_flight.saturating_sub(1);
        }
    }

    /// It is over; `None`: it was before.
    pub fn end(&mut self, ticket: Ticket, end: End, mutant: Option<Mutant>) -> Option<Outcome> {
        let open = self.open.remove(&ticket)?;
        let is_placed = matches!(ticket, Ticket::Call(_)) && open.lane == Lane::User;
        if is_placed && !Mutant::PlaceLeaks.is(mutant) {
            self.places -= 1;
        }
        let in_flight = open.in_flight > 0;
        Some(match end {
            End::Completed => Outcome::Completed,
            End::Refused => Outcome::Failed(Failure::Refused),
            End::Disconnected => Outcome::Failed(Failure::Disconnected),
            End::Deadline if in_flight => Outcome::ExpiredInFlight,
            End::Deadline => Outcome::ExpiredUnsent,
            End::CallerGone if in_flight => Outcome::Failed(Failure::CallerGone),
            End::CallerGone => Outcome::Discarded(Discard::CallerGone),
            End::Closing if in_flight => Outcome::Failed(Failure::Closing),
            End::Closing => Outcome::Discarded(Discard::Closing),
        })
    }

    /// What is not over.
    pub fn iter(&self) -> impl Iterator<Item = (Ticket, &Open)> {
        self.open.iter().map(|(ticket, open)| (*ticket, open))
    }

    /// One that is not over.
    #[must_use]
    pub fn get(&self, ticket: Ticket) -> Option<&Open> {
        self.open.get(&ticket)
    }

    /// How many of the application's places are taken.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places
    }

    /// Numbers the core's own anew by their order, for a model that compares states; gives the new
    /// name of each.
    pub(super) fn renumber(&mut self) -> BTreeMap<Ticket, Ticket> {
        let mut renamed = BTreeMap::new();
        self.next = 0;
        for ticket in self.open.keys() {
            let new = match ticket {
                Ticket::Call(_) => *ticket,
                Ticket::Own(_) => {
                    self.next += 1;
                    Ticket::Own(self.next)
                }
            };
            renamed.insert(*ticket, new);
        }
        self.open = std::mem::take(&mut self.open)
            .into_iter()
            .map(|(t, open)| (renamed[&t], open))
            .collect();
        renamed
    }
}
