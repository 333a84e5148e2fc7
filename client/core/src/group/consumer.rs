//! KIP-848 membership: when to heartbeat and what to say. spec/02-membership.md.
//!
//! Decides joining, staying and being fenced, and which fields a heartbeat carries. Leaving is
//! [`departure`](super::departure)'s, what to do with an assignment
//! [`reconcile`](super::reconcile)'s.

use super::Mutant;
use crate::Incarnation;
use evenkeel_spec::words::{
    Assignor, Epoch, Heartbeat, HeartbeatEpoch, MemberId, Owner, Partitions, Pattern, Step,
    Subscription,
};
use std::sync::Arc;

/// Where a member stands. Kafka's `MemberState`, less what other machines know: its RECONCILING and
/// ACKNOWLEDGING are [`reconcile`](super::reconcile)'s phases, its LEAVING is
/// [`departure`](super::departure)'s.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum State {
    /// Wants nothing from the group.
    #[default]
    Unsubscribed,
    /// Wants to join, from within the next poll (M1), once nothing of an earlier membership is left to
    /// be told (M6).
    Subscribed,
    /// Says epoch 0 until it is answered.
    Joining,
    /// Is a member of this epoch.
    Joined(Epoch),
    /// Was fenced and joins again once the application has been told (M6).
    Fenced,
    /// Left because the application did not poll; joins again at the next poll (M8).
    Stale,
    /// The coordinator refused for good.
    Fatal,
}

/// One member: its state and the heartbeat it has in flight.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Member {
    id: u32,
    state: State,
    subscription: Option<Subscription>,
    /// What it subscribes to by pattern (M13).
    pattern: Option<Arc<str>>,
    /// The coordinator may know a pattern of this member id.
    pattern_told: bool,
    /// The subscription has changed since it was last sent.
    subscription_due: bool,
    /// What is owned must be told at once (M5).
    ack_due: bool,
    /// The next heartbeat carries all fields (M4, M10).
    all_fields: bool,
    /// The heartbeat timer has fired.
    interval_over: bool,
    in_flight: Option<Incarnation>,
    /// The heartbeat in flight tells what is owned.
    telling: bool,
    /// A heartbeat that told what is owned was not answered, and may still be processed (R9).
    in_doubt: bool,
    backing_off: bool,
    step: Step,
    /// A heartbeat of this membership went out, so that the coordinator may know the member.
    is_known: bool,
}

impl Member {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The id in use.
    #[must_use]
    pub fn id(&self) -> MemberId {
        MemberId(self.id)
    }

    /// In whose name offsets are committed: id and epoch while joined.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.epoch().map(|epoch| Owner { member: self.id(), epoch })
    }

    /// The heartbeat in flight.
    #[must_use]
    pub fn in_flight(&self) -> Option<Incarnation> {
        self.in_flight
    }

    /// Whether the coordinator may yet read an earlier word on what is owned (R9).
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Whether the coordinator may hold a membership that only a leave or its timers can end.
    #[must_use]
    pub fn must_leave(&self) -> bool {
        matches!(self.state, State::Joining | State::Joined(_)) && self.is_known
    }

    /// Whether the backoff after a heartbeat that failed is running.
    #[must_use]
    pub fn is_backing_off(&self) -> bool {
        self.backing_off
    }

    /// The application subscribes, or changes what it subscribes to.
    pub fn on_subscribe(
        &mut self,
        subscription: Subscription,
        pattern: Option<Arc<str>>,
        mutant: Option<Mutant>,
    ) {
        // One that changed before may not have gone out yet.
        self.subscription_due &= !Mutant::RepeatForgetsChange.is(mutant);
        self.subscription_due |=
            self.subscription.as_ref() != Some(&subscription) || self.pattern != pattern;
        self.subscription = Some(subscription);
        self.pattern = pattern;
        self.state = match self.state {
            State::Unsubscribed | State::Fatal => State::Subscribed,
            other => other,
        };
    }

    /// Joins: from within a poll, or once a fence has been told (M1, M6, M8).
    pub fn join(&mut self) {
        let (subscription, pattern) = (self.subscription.take(), self.pattern.take());
        let Self { id, backing_off, step, is_known, pattern_told, .. } = *self;
        let kept = Self { id, subscription, pattern, pattern_told, ..Self::default() };
        let fresh = Self { backing_off, step, is_known, ..kept };
        *self = Self { state: State::Joining, all_fields: true, ..fresh };
    }

    /// What is owned has changed, or a target was applied: tell at once (M5).
    pub fn acknowledge(&mut self) {
        self.ack_due = true;
    }

    /// The heartbeat timer has fired.
    pub fn on_interval(&mut self) {
        self.interval_over = true;
    }

    /// The backoff after a failure is over.
    pub fn on_backoff(&mut self) {
        self.backing_off = false;
    }

    /// The next heartbeat goes to a coordinator that may know less: all fields (M10).
    pub fn on_new_coordinator(&mut self) {
        self.all_fields = true;
    }

    /// Whether a heartbeat should go out now (M2, M3).
    #[must_use]
    pub fn is_due(&self, mutant: Option<Mutant>) -> bool {
        let due = match self.state {
            State::Joining => true,
            State::Joined(_) => self.interval_over || self.ack_due || self.subscription_due,
            State::Fenced => Mutant::HeartbeatWhileFenced.is(mutant),
            State::Unsubscribed | State::Subscribed | State::Stale | State::Fatal => false,
        };
        let again = Mutant::TwoHeartbeatsInFlight.is(mutant) && self.epoch().is_some();
        due && (self.in_flight.is_none() || again) && !self.backing_off
    }

    /// Makes the heartbeat that is due. `owned` is what the application has really applied (M5).
    pub fn send(
        &mut self,
        incarnation: Incarnation,
        owned: &Partitions,
        (rebalance_timeout_ms, assignor): (u32, Option<&Assignor>),
        mutant: Option<Mutant>,
    ) -> Heartbeat {
        let (epoch, joins) = match self.state {
            State::Joined(epoch) => (HeartbeatEpoch::Stay(epoch), false),
            _ => (HeartbeatEpoch::Join, true),
        };
        let all = self.all_fields && !(Mutant::DeltaOnRejoin.is(mutant) && self.id_was_known());
        let told = all || self.ack_due;
        let pattern = (all || self.subscription_due).then(|| self.said_pattern()).flatten();
        self.pattern_told |= pattern.is_some();
        let request = Heartbeat {
            member: self.id(),
            epoch,
            rebalance_timeout_ms: all.then_some(rebalance_timeout_ms),
            subscription: (all || self.subscription_due)
                .then(|| self.subscription.clone().unwrap_or_default()),
            pattern,
            assignor: if all { assignor.cloned() } else { None },
            owned: told.then(|| if joins { Partitions::new() } else { owned.clone() }),
        };
        self.in_flight = Some(incarnation);
        self.telling = told;
        self.in_doubt |= told;
        self.is_known = true;
        self.interval_over = false;
        self.subscription_due = false;
        self.ack_due &= !told;
        self.all_fields = false;
        request
    }

    /// M13: what a heartbeat with the subscription says of a pattern.
    fn said_pattern(&self) -> Option<Pattern> {
        match &self.pattern {
            Some(pattern) => Some(Pattern::Matching(Arc::clone(pattern))),
            None => self.pattern_told.then_some(Pattern::Ended),
        }
    }

    /// The heartbeat in flight was accepted with `epoch`.
    pub fn on_accepted(&mut self, epoch: Epoch) {
        self.in_flight = None;
        self.in_doubt &= !self.telling;
        self.step = Step::FIRST;
        if matches!(self.state, State::Joining | State::Joined(_)) {
            self.state = State::Joined(epoch);
        }
    }

    /// The heartbeat in flight failed or its answer was lost: again after a backoff, with all
    /// fields (M10). Returns the backoff's step.
    pub fn on_retry(&mut self, mutant: Option<Mutant>) -> Step {
        if !Mutant::ErrorKeepsInFlight.is(mutant) {
            self.in_flight = None;
        }
        let joined = self.epoch().is_some();
        self.all_fields = !(Mutant::NoFullAfterLostAnswer.is(mutant) && joined);
        self.interval_over = true;
        self.backing_off = true;
        let step = self.step;
        self.step = step.next();
        step
    }

    /// The coordinator ended the membership (M6). `new_id`: it does not know the id (M7).
    pub fn on_fenced(&mut self, new_id: bool) {
        self.end(State::Fenced, new_id);
    }

    /// The coordinator fenced a join: the next goes out after a backoff (M12). Returns its step.
    pub fn on_join_fenced(&mut self, new_id: bool) -> Step {
        let step = self.step;
        let is_known = self.is_known && !new_id;
        self.end(State::Fenced, new_id);
        (self.backing_off, self.step, self.is_known) = (true, step.next(), is_known);
        step
    }

    /// The member left. A late commit under the old id must find nobody (M7).
    pub fn on_left(&mut self, state: State, mutant: Option<Mutant>) {
        self.end(state, !Mutant::KeepIdAfterLeave.is(mutant));
        if state == State::Unsubscribed {
            (self.subscription, self.pattern) = (None, None);
        }
    }

    /// The coordinator refused for good.
    pub fn on_fatal(&mut self) {
        self.end(State::Fatal, false);
    }

    /// Whether a heartbeat of this membership is being answered or awaited after `all_fields`.
    fn id_was_known(&self) -> bool {
        self.id > 0 || self.is_known
    }

    fn end(&mut self, state: State, new_id: bool) {
        let id = if new_id { self.id + 1 } else { self.id };
        let (subscription, pattern) = (self.subscription.take(), self.pattern.take());
        let pattern_told = self.pattern_told && !new_id;
        let kept = Self { id, subscription, pattern, pattern_told, ..Self::default() };
        *self = Self { state, all_fields: true, ..kept };
    }

    /// Shows every incarnation, for renaming.
    pub fn visit_incarnations(&mut self, f: &mut dyn FnMut(&mut Incarnation)) {
        if let Some(incarnation) = &mut self.in_flight {
            f(incarnation);
        }
    }

    /// Shows every epoch, for renaming.
    pub fn visit_epochs(&mut self, f: &mut dyn FnMut(&mut Epoch)) {
        if let State::Joined(epoch) = &mut self.state {
            f(epoch);
        }
    }

    /// Its epoch, while joined.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        match self.state {
            State::Joined(epoch) => Some(epoch),
            _ => None,
        }
    }

    /// Shows the next backoff's step.
    pub(super) fn visit_step(&mut self, f: &mut dyn FnMut(&mut Step)) {
        f(&mut self.step);
    }

    /// Shows the id, for renaming.
    pub fn visit_id(&mut self, f: &mut dyn FnMut(&mut u32)) {
        f(&mut self.id);
    }
}
