//! Leaving a group: the last heartbeat of a membership, retried until it is answered or out of
//! time. spec/02-membership.md.
//!
//! Outlives the membership that it ends: the member's slot is free at once, so that no answer to an
//! earlier heartbeat can take the leave back (M9). A new membership waits for it.

use crate::Incarnation;
use evenkeel_spec::words::{Heartbeat, HeartbeatEpoch, MemberId, Step};

/// The leave of one member id.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Departure {
    /// Nobody is leaving.
    #[default]
    None,
    /// The leave must be sent.
    Due(MemberId, Step),
    /// The leave awaits its answer.
    InFlight(MemberId, Step, Incarnation),
    /// The leave failed or was lost, and waits before it is sent again.
    BackingOff(MemberId, Step),
}

impl Departure {
    /// Whether a leave is to be sent now.
    #[must_use]
    pub fn is_due(&self) -> bool {
        matches!(self, Self::Due(..))
    }

    /// Whether nobody is leaving.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether this is the leave in flight.
    #[must_use]
    pub fn is_in_flight(&self, incarnation: Incarnation) -> bool {
        matches!(self, Self::InFlight(_, _, current) if *current == incarnation)
    }

    /// Whether the leave waits before it is sent again.
    #[must_use]
    pub fn is_backing_off(&self) -> bool {
        matches!(self, Self::BackingOff(..))
    }

    /// Begins the leave of `member`.
    pub fn start(&mut self, member: MemberId) {
        assert!(self.is_over(), "a membership begins after the departure from the one before");
        *self = Self::Due(member, Step::FIRST);
    }

    /// Makes the leave that is due.
    pub fn send(&mut self, incarnation: Incarnation) -> Heartbeat {
        let Self::Due(member, step) = *self else { panic!("only a leave that is due is sent") };
        *self = Self::InFlight(member, step, incarnation);
        Heartbeat {
            member,
            epoch: HeartbeatEpoch::Leave,
            rebalance_timeout_ms: None,
            subscription: None,
            pattern: None,
            assignor: None,
            owned: None,
        }
    }

    /// The leave in flight failed or was lost. Returns the step of the backoff before the next.
    pub fn on_retry(&mut self) -> Option<Step> {
        let Self::InFlight(member, step, _) = *self else { return None };
        *self = Self::BackingOff(member, step.next());
        Some(step)
    }

    /// The backoff is over.
    pub fn on_backoff(&mut self) {
        if let Self::BackingOff(member, step) = *self {
            *self = Self::Due(member, step);
        }
    }

    /// It was answered, or nobody waits for it any more.
    pub fn finish(&mut self) {
        *self = Self::None;
    }

    /// Shows every incarnation, for renaming.
    pub fn visit_incarnations(&mut self, f: &mut dyn FnMut(&mut Incarnation)) {
        if let Self::InFlight(_, _, incarnation) = self {
            f(incarnation);
        }
    }

    /// Shows the next backoff's step.
    pub(super) fn visit_step(&mut self, f: &mut dyn FnMut(&mut Step)) {
        match self {
            Self::None => {}
            Self::Due(_, step) | Self::InFlight(_, step, _) | Self::BackingOff(_, step) => f(step),
        }
    }

    /// Shows the id, for renaming.
    pub fn visit_id(&mut self, f: &mut dyn FnMut(&mut u32)) {
        match self {
            Self::None => {}
            Self::Due(id, _) | Self::InFlight(id, ..) | Self::BackingOff(id, _) => f(&mut id.0),
        }
    }
}
