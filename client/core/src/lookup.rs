//! Which broker coordinates this group: `FindCoordinator` (key 10). spec/05-lookup.md.
//!
//! Decides when to ask and when to stop believing an answer. Whom to ask is the shell's.

use crate::Incarnation;
use crate::group::Output;
use evenkeel_spec::words::{BackoffKind, NodeId, Step, Timer};

/// What the client knows about its coordinator.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Lookup {
    state: State,
    step: Step,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
enum State {
    /// Nobody needs it, or nobody was asked yet.
    #[default]
    Unknown,
    /// A request is outstanding.
    Asking(Incarnation),
    /// Waiting before the next request.
    BackingOff,
    /// This broker said yes and has not answered `NOT_COORDINATOR` (16) since.
    Known(NodeId),
}

impl Lookup {
    /// The coordinator, if known.
    #[must_use]
    pub fn known(&self) -> Option<NodeId> {
        match self.state {
            State::Known(node) => Some(node),
            State::Unknown | State::Asking(_) | State::BackingOff => None,
        }
    }

    /// Whether something must be asked before anything can be sent: nobody has been asked (L1).
    #[must_use]
    pub fn is_unasked(&self) -> bool {
        self.state == State::Unknown
    }

    /// Whether a request is outstanding, or the backoff before the next one.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        matches!(self.state, State::Asking(_) | State::BackingOff)
    }

    /// Whether the backoff before the next request is running.
    #[must_use]
    pub fn is_backing_off(&self) -> bool {
        self.state == State::BackingOff
    }

    /// Whether this is the question that is outstanding.
    #[must_use]
    pub fn is_asking(&self, incarnation: Incarnation) -> bool {
        self.state == State::Asking(incarnation)
    }

    /// Asks, as `incarnation`.
    pub fn ask(&mut self, incarnation: Incarnation, out: &mut Vec<Output>) {
        assert!(self.is_unasked(), "one lookup at a time");
        self.state = State::Asking(incarnation);
        out.push(Output::FindCoordinator { incarnation });
    }

    /// A broker named the coordinator; says whether the answer was current.
    pub fn on_found(&mut self, incarnation: Incarnation, node: NodeId) -> bool {
        if self.state != State::Asking(incarnation) {
            return false;
        }
        *self = Self { state: State::Known(node), step: Step::FIRST };
        true
    }

    /// The question failed or its answer was lost: asks again after a backoff (L2).
    pub fn on_failed(&mut self, incarnation: Incarnation, out: &mut Vec<Output>) {
        if self.state == State::Asking(incarnation) {
            self.state = State::BackingOff;
            out.push(Output::Arm(Timer::Backoff(BackoffKind::Lookup), self.step));
            self.step = self.step.next();
        }
    }

    /// The backoff is over.
    pub fn on_backoff(&mut self) {
        if self.state == State::BackingOff {
            self.state = State::Unknown;
        }
    }

    /// The coordinator said that it is none, or cannot be reached (L3).
    pub fn invalidate(&mut self) {
        if matches!(self.state, State::Known(_)) {
            self.state = State::Unknown;
        }
    }

    /// Shows the next backoff's step.
    pub(crate) fn visit_step(&mut self, f: &mut dyn FnMut(&mut Step)) {
        f(&mut self.step);
    }

    /// Shows every incarnation, for renaming.
    pub fn visit_incarnations(&mut self, f: &mut dyn FnMut(&mut Incarnation)) {
        if let State::Asking(incarnation) = &mut self.state {
            f(incarnation);
        }
    }
}

#[cfg(test)]
mod tests;
