//! What the group's side is waiting for, as far as its own machines know it.
//!
//! Decides nothing: it is what a diagnosis is made from.

use super::consumer::State;
use super::reconcile::Phase;
use super::{Group, Mutant};
use crate::diagnosis::{Method, PollFor, Revocation};
use crate::group::Callback;
use evenkeel_spec::words::Partitions;

/// What a member is to hear from its coordinator next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Saying {
    /// A request was ordered, and its answer did not come.
    pub(crate) is_asked: bool,
    /// The backoff after one that failed is running.
    pub(crate) is_pausing: bool,
}

impl Group {
    /// What the coordinator wants to be owned, as heard last; nothing of who is no member.
    pub(crate) fn target(&self) -> Option<&Partitions> {
        let is_member = matches!(self.member.state(), State::Joined(_));
        self.reconcile.target().filter(|_| is_member)
    }

    /// The open callback's method.
    pub(crate) fn method(&self) -> Option<Method> {
        self.callback.as_ref().map(|open| match open.callback {
            Callback::Assigned(_) => Method::Assigned,
            Callback::Revoked(_) => Method::Revoked,
            Callback::Lost(..) => Method::Lost,
        })
    }

    /// The heartbeat of a member.
    pub(crate) fn heartbeat_saying(&self) -> Saying {
        Saying {
            is_asked: self.member.in_flight().is_some(),
            is_pausing: self.member.is_backing_off(),
        }
    }

    /// The leave; `None`: nobody leaves.
    pub(crate) fn leave_saying(&self) -> Option<Saying> {
        (!self.departure.is_over()).then(|| Saying {
            is_asked: !self.departure.is_due() && !self.departure.is_backing_off(),
            is_pausing: self.departure.is_backing_off(),
        })
    }

    /// The commit that a revocation, or the end of a manual assignment, waits for.
    pub(crate) fn commit_saying(&self) -> Option<Saying> {
        let ends = self.ending.is_some() && self.is_manual();
        let is_waited_for = matches!(self.reconcile.phase(), Phase::Committing(_)) || ends;
        (is_waited_for && !self.commit.is_idle()).then(|| Saying {
            is_asked: self.commit.in_flight().is_some(),
            is_pausing: self.commit.is_backing_off(),
        })
    }

    /// Whether the coordinator must hear what is owned before more is taken (R9).
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.member.is_in_doubt()
    }

    /// Whether nothing is left to do for the target heard last.
    pub(crate) fn is_reconciled(&self) -> bool {
        self.reconcile.is_settled()
    }

    /// What a revocation that is under way waits for.
    pub(crate) fn revocation(&self) -> Option<Revocation> {
        match self.reconcile.phase() {
            Phase::Withheld(gone) if self.ending.is_none() && self.commit.has_unreleased(gone) => {
                Some(Revocation::Records)
            }
            Phase::Withheld(_) | Phase::Revocable(_) => Some(Revocation::Poll),
            Phase::Committing(_) => Some(Revocation::Commit),
            Phase::Revoking(_) => Some(Revocation::Callback),
            Phase::Idle | Phase::Assigning(_) => None,
        }
    }

    /// What the application must poll for; `None`: for nothing, or it is inside.
    pub(crate) fn poll_wanted(&self) -> Option<PollFor> {
        if self.inside || self.ending.is_some() || self.callback.is_some() {
            return None;
        }
        match (self.member.state(), self.revocation()) {
            _ if self.lost_due.is_some() => Some(PollFor::Callback),
            (State::Subscribed, _) => Some(PollFor::Join),
            (State::Stale, _) => Some(PollFor::Rejoin),
            (State::Joined(_), Some(Revocation::Records)) => Some(PollFor::Release),
            (State::Joined(_), Some(Revocation::Poll)) => Some(PollFor::Callback),
            (State::Joined(_), None) if self.listener && self.is_assignment_due() => {
                Some(PollFor::Callback)
            }
            _ => None,
        }
    }

    /// Whether a target waits to be taken, or an assigned callback to be called again, and nothing
    /// but the application is in the way.
    fn is_assignment_due(&self) -> bool {
        let in_doubt =
            self.member.is_in_doubt() && !Mutant::TakeWhileTelling.is(self.config.mutant);
        !self.reconcile.is_settled() && self.reconcile.target().is_some() && !in_doubt
    }
}
