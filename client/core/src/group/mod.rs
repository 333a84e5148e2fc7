//! The group's side of one consumer: membership, reconciliation, coordinator, commits.
//!
//! An untimed composite of machines. The timed shell and the model embed this same value, so that
//! the routing between the machines is explored too. Inputs are `on_*` methods; what must be done
//! comes out as [`Output`]s, in order. It decides nothing about connections, positions, fetching or
//! durations. spec/02 to spec/06.

mod advance;
mod answers;
pub mod consumer;
pub mod departure;
mod manual;
mod mutant;
mod output;
pub mod reconcile;
#[cfg(test)]
mod tests;
pub(crate) mod view;

pub use mutant::Mutant;
pub use output::{Callback, CommitError, CommitId, Fault, LostReason, Output};

use crate::commit::{Commit, Offsets};
use crate::lookup::Lookup;
use crate::{Incarnation, Incarnations};
use consumer::{Member, State};
use departure::Departure;
use evenkeel_spec::words::{
    Assignor, BackoffKind, Committed, Epoch, MemberId, NodeId, Owner, Partitions, Step,
    Subscription, Timer, TopicId, TopicIdPartition,
};
use reconcile::{Phase, Reconcile};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the group's side is told once.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct GroupConfig {
    /// `enable.auto.commit`.
    pub auto_commit: bool,
    /// `max.poll.interval.ms`, which KIP-848 also tells the coordinator as rebalance timeout.
    pub rebalance_timeout_ms: u32,
    /// `group.remote.assignor`; `None`: the coordinator's default.
    pub assignor: Option<Assignor>,
    /// The seeded fault, for the model. Has no effect without the cargo feature `mutants`.
    pub mutant: Option<Mutant>,
}

/// The group's side of one consumer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Group {
    config: GroupConfig,
    member: Member,
    departure: Departure,
    reconcile: Reconcile,
    /// What the application assigned itself, instead of a subscription (O11).
    manual: Option<Partitions>,
    lookup: Lookup,
    commit: Commit,
    incarnations: Incarnations,
    /// The application is inside poll, unsubscribe or close: callbacks may be called.
    inside: bool,
    /// The application has a listener.
    listener: bool,
    callback: Option<Open>,
    /// The application must be told that these are gone (C3).
    lost_due: Option<(LostReason, Partitions)>,
    ending: Option<Ending>,
    /// Subscribed while an unsubscribe was still going on: comes into force after it.
    next_subscription: Option<(Subscription, Option<Arc<str>>, bool)>,
    /// Somebody outside of this composite needs the coordinator (committed offsets).
    coordinator_wanted: bool,
}

/// The callback that the application is in (C2).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Open {
    incarnation: Incarnation,
    callback: Callback,
    /// It belongs to the membership that is still going on (I1).
    current: bool,
}

/// An unsubscribe or a close under way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Ending {
    /// The leave has begun, or was not needed.
    leaving: bool,
    /// The unsubscribe was dropped, and the application is inside of a poll instead.
    polled: bool,
}

impl Group {
    /// A member of nothing.
    #[must_use]
    pub fn new(config: GroupConfig) -> Self {
        Self {
            config,
            member: Member::default(),
            departure: Departure::default(),
            reconcile: Reconcile::default(),
            manual: None,
            lookup: Lookup::default(),
            commit: Commit::default(),
            incarnations: Incarnations::default(),
            inside: false,
            listener: false,
            callback: None,
            lost_due: None,
            ending: None,
            next_subscription: None,
            coordinator_wanted: false,
        }
    }

    /// The application subscribes, or changes what it subscribes to.
    pub fn on_subscribe(
        &mut self,
        subscription: Subscription,
        listener: bool,
        out: &mut Vec<Output>,
    ) {
        self.subscribe(subscription, None, listener, out);
    }

    /// The same to every topic that matches a pattern, as the coordinator finds them (M13).
    pub fn on_subscribe_pattern(
        &mut self,
        pattern: Arc<str>,
        listener: bool,
        out: &mut Vec<Output>,
    ) {
        self.subscribe(Subscription::default(), Some(pattern), listener, out);
    }

    fn subscribe(
        &mut self,
        subscription: Subscription,
        pattern: Option<Arc<str>>,
        listener: bool,
        out: &mut Vec<Output>,
    ) {
        if self.ending.is_some() {
            self.next_subscription = Some((subscription, pattern, listener));
            return;
        }
        self.listener = listener;
        if Mutant::SubscribeEndsRevocation.is(self.config.mutant) {
            self.end_revocation(out);
        }
        self.member.on_subscribe(subscription, pattern, self.config.mutant);
        self.advance(out);
    }

    /// The application unsubscribes (M9); `seen`: it took everything that it was given. Over with
    /// [`Output::Left`].
    pub fn on_unsubscribe(&mut self, seen: bool, out: &mut Vec<Output>) {
        self.enter(seen || self.has(Mutant::EndTakesDelivered), out);
        self.next_subscription = None;
        if let Some(ending) = &mut self.ending {
            ending.polled = false;
        } else {
            self.ending = Some(Ending { leaving: false, polled: false });
            self.commit_manual();
            out.push(Output::Arm(Timer::Leave, Step::FIRST));
        }
        self.advance(out);
    }

    /// The application closes the consumer: an unsubscribe for good.
    pub fn on_close(&mut self, seen: bool, out: &mut Vec<Output>) {
        if self.ending.is_some() {
            // Its own time counts, not that of an unsubscribe under way.
            out.push(Output::Arm(Timer::Leave, Step::FIRST));
        }
        self.on_unsubscribe(seen, out);
    }

    /// The application entered poll; `seen`: it took everything that it was given, and is done with
    /// it (O1).
    pub fn on_poll(&mut self, seen: bool, out: &mut Vec<Output>) {
        self.enter(seen || self.has(Mutant::PollTakesDelivered), out);
        if let Some(ending) = &mut self.ending {
            ending.polled = true;
        }
        if self.has(Mutant::DropEndsUnsubscribe) {
            self.ending = None;
        }
        self.advance(out);
    }

    /// The application seeks: a commit covers the new place from now on; `None`: a place that is not
    /// known yet (the beginning, the end).
    pub fn on_sought(&mut self, partition: TopicIdPartition, to: Option<&Committed>) {
        self.commit.on_sought(partition, to, self.config.mutant);
    }

    /// A log lost what was returned of it from here on: no commit covers that from now on (P8). Says
    /// whether one would have.
    pub fn on_truncated(&mut self, partition: TopicIdPartition, to: &Committed) -> bool {
        self.commit.on_truncated(partition, to)
    }

    /// The application left poll with nothing, or dropped it. Idempotent.
    pub fn on_poll_ended(&mut self, out: &mut Vec<Output>) {
        self.leave_poll(out);
        self.advance(out);
    }

    /// Records are on their way to the application, which leaves poll with them, unless it drops the
    /// poll: then they wait for the next one. For each partition the offset of the next record.
    pub fn on_delivered(&mut self, next: &Offsets, out: &mut Vec<Output>) {
        assert!(self.may_return(), "records are returned from within a poll, between callbacks");
        assert!(
            next.keys().all(|p| self.owned().contains(p)),
            "only records of owned partitions are returned"
        );
        self.commit.on_delivered(next);
        self.leave_poll(out);
        self.advance(out);
    }

    /// A callback is over. `ok`: it neither failed nor panicked; if it did, poll returns that, and
    /// the application is outside of it again.
    pub fn on_callback_done(&mut self, incarnation: Incarnation, ok: bool, out: &mut Vec<Output>) {
        let Some(open) = self.callback.take_if(|open| open.incarnation == incarnation) else {
            return;
        };
        if ok && self.inside {
            out.push(Output::Disarm(Timer::PollInterval));
        } else if self.ending.is_none() {
            self.inside = false;
        }
        self.conclude(open, ok, out);
        self.advance(out);
    }

    /// The application commits; `None`: everything that was returned to it so far (O2). `seen`: it
    /// took everything that it was given. Refused when it is no member, unless it assigned itself its
    /// partitions (O11), or does not own the partitions (O8).
    pub fn on_commit(
        &mut self,
        id: CommitId,
        seen: bool,
        offsets: Option<Offsets>,
        out: &mut Vec<Output>,
    ) {
        if seen {
            self.commit.on_taken();
        }
        let refusal = if self.member.owner().is_none() && !self.is_manual() {
            Some(CommitError::NotAMember)
        } else if offsets.iter().flatten().any(|(p, _)| !self.owned().contains(p)) {
            Some(CommitError::NotOwned)
        } else {
            None
        };
        if let Some(error) = refusal {
            out.push(Output::CommitDone { id, result: Err(error) });
            return;
        }
        let offsets = offsets.unwrap_or_else(|| self.commit.returned(self.config.mutant));
        self.commit.on_commit(id, offsets, out);
        self.advance(out);
    }

    /// The caller of a commit is gone or out of time.
    pub fn on_commit_abandoned(&mut self, id: CommitId, out: &mut Vec<Output>) {
        self.commit.on_abandoned(id);
        self.advance(out);
    }

    /// A commit was withdrawn before it was put on the wire, since one of its callers is gone: what
    /// is left of it is sent anew (O12).
    pub fn on_commit_withdrawn(&mut self, incarnation: Incarnation, out: &mut Vec<Output>) {
        if self.commit.in_flight().is_some_and(|(current, _)| current == incarnation) {
            self.commit.on_withdrawn();
            self.advance(out);
        }
    }

    /// Metadata can name these topics now (R7).
    pub fn on_topics_resolved(&mut self, resolved: &BTreeSet<TopicId>, out: &mut Vec<Output>) {
        self.reconcile.on_resolved(resolved, self.config.mutant);
        self.advance(out);
    }

    /// Something outside needs the coordinator, to ask it for committed offsets.
    pub fn on_coordinator_wanted(&mut self, out: &mut Vec<Output>) {
        self.coordinator_wanted = true;
        self.advance(out);
    }

    /// Nobody outside needs the coordinator any more: a lookup that only they needed is not repeated
    /// (L1).
    pub fn on_coordinator_unwanted(&mut self) {
        self.coordinator_wanted = false;
    }

    /// Something outside was told by the coordinator that it is none (L3).
    pub fn on_not_coordinator(&mut self, out: &mut Vec<Output>) {
        self.lookup.invalidate();
        self.advance(out);
    }

    /// An armed timer has fired.
    pub fn on_timer(&mut self, timer: Timer, out: &mut Vec<Output>) {
        match timer {
            Timer::Heartbeat => self.member.on_interval(),
            Timer::PollInterval => self.leave_stale(LostReason::PollInterval, out),
            Timer::Revocation => self.on_revocation_timeout(out),
            Timer::AutoCommit => {
                self.commit.commit_released(None, self.config.mutant);
                out.push(Output::Arm(Timer::AutoCommit, Step::FIRST));
            }
            Timer::Backoff(BackoffKind::Lookup) => self.lookup.on_backoff(),
            Timer::Backoff(BackoffKind::Heartbeat) => {
                self.member.on_backoff();
                self.departure.on_backoff();
            }
            Timer::Backoff(BackoffKind::Commit) => self.commit.on_backoff(),
            Timer::Leave => self.on_leave_timeout(out),
        }
        self.advance(out);
    }

    /// In whose name offsets are committed and fetched: id and epoch while a member.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.member.owner()
    }

    /// The member id in use.
    #[must_use]
    pub fn member_id(&self) -> MemberId {
        self.member.id()
    }

    /// Where the member stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.member.state()
    }

    /// The step of the reconciliation.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        self.reconcile.phase()
    }

    /// The partitions that the application has been given.
    #[must_use]
    pub fn owned(&self) -> &Partitions {
        self.manual.as_ref().unwrap_or_else(|| self.reconcile.owned())
    }

    /// Whether records may be returned: the application is inside poll, and in no callback (C6).
    #[must_use]
    pub fn may_return(&self) -> bool {
        self.inside && self.callback.is_none() && self.ending.is_none()
    }

    /// Whether an unsubscribe or a close is going on.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether a leave is still to be answered.
    #[must_use]
    pub fn is_departing(&self) -> bool {
        !self.departure.is_over()
    }

    /// The open callback.
    #[must_use]
    pub fn open_callback(&self) -> Option<(Incarnation, &Callback)> {
        self.callback.as_ref().map(|open| (open.incarnation, &open.callback))
    }

    /// Whether the member wants nothing more than to keep its heartbeat going.
    #[must_use]
    pub fn is_stable(&self) -> bool {
        matches!(self.member.state(), State::Joined(_))
            && self.reconcile.is_settled()
            && self.callback.is_none()
            && self.departure.is_over()
    }

    /// The search for the coordinator.
    #[must_use]
    pub fn lookup(&self) -> Lookup {
        self.lookup
    }

    /// The coordinator, if known.
    #[must_use]
    pub fn coordinator(&self) -> Option<NodeId> {
        self.lookup.known()
    }

    /// Shows every incarnation that is alive, for renaming.
    pub fn visit_incarnations(&mut self, f: &mut dyn FnMut(&mut Incarnation)) {
        self.member.visit_incarnations(f);
        self.departure.visit_incarnations(f);
        self.lookup.visit_incarnations(f);
        self.commit.visit_incarnations(f);
        if let Some(open) = &mut self.callback {
            f(&mut open.incarnation);
        }
    }

    /// Goes on numbering after `count` living incarnations, for renaming.
    pub fn restart_incarnations_after(&mut self, count: u32) {
        self.incarnations.restart_after(count);
    }

    /// Shows how often each thing was retried in a row, for who does not look at durations.
    pub fn visit_steps(&mut self, f: &mut dyn FnMut(&mut Step)) {
        self.member.visit_step(f);
        self.departure.visit_step(f);
        self.lookup.visit_step(f);
        self.commit.visit_step(f);
    }

    /// Every epoch.
    pub fn for_each_epoch(&self, f: &mut dyn FnMut(Epoch)) {
        self.member.epoch().into_iter().for_each(&mut *f);
        self.commit.in_flight().into_iter().filter_map(|(_, epoch)| epoch).for_each(f);
    }

    /// Shows every epoch, for renaming.
    pub fn visit_epochs(&mut self, f: &mut dyn FnMut(&mut Epoch)) {
        self.member.visit_epochs(f);
        self.commit.visit_epochs(f);
    }

    /// Shows every member id, for renaming.
    pub fn visit_member_ids(&mut self, f: &mut dyn FnMut(&mut u32)) {
        self.member.visit_id(f);
        self.departure.visit_id(f);
    }

    fn enter(&mut self, seen: bool, out: &mut Vec<Output>) {
        self.inside = true;
        if self.callback.is_none() {
            out.push(Output::Disarm(Timer::PollInterval));
        }
        if seen {
            self.commit.release();
        }
    }

    fn leave_poll(&mut self, out: &mut Vec<Output>) {
        if self.has(Mutant::PollNotOver) {
            return;
        }
        if std::mem::take(&mut self.inside) && self.member.state() != State::Unsubscribed {
            out.push(Output::Arm(Timer::PollInterval, Step::FIRST));
        }
    }
}
