//! The routing between the machines of a group: after every input, as far as it goes.

use super::consumer::State;
use super::{Callback, Ending, Group, LostReason, Mutant, Open, Output, Phase};
use crate::group::CommitError;
use evenkeel_spec::words::{BackoffKind, Heartbeat, OffsetCommit, Partitions, Step, Timer};
use std::collections::BTreeSet;

impl Group {
    /// Does everything that can be done now, in the order of its urgency.
    pub(super) fn advance(&mut self, out: &mut Vec<Output>) {
        if !Mutant::EmptyCommitHolds.is(self.config.mutant) {
            self.commit.refresh(self.config.mutant);
        }
        self.tell_lost(out);
        self.join(out);
        self.reconcile(out);
        self.end(out);
        self.send(out);
    }

    /// C3: what was lost is told from within the next poll, after the callback that is open.
    fn tell_lost(&mut self, out: &mut Vec<Output>) {
        if self.inside
            && self.callback.is_none()
            && let Some((reason, partitions)) = self.lost_due.take()
        {
            let callback = if Mutant::RevokedAfterFence.is(self.config.mutant) {
                Callback::Revoked(partitions)
            } else {
                Callback::Lost(reason, partitions)
            };
            self.call(callback, out);
        }
    }

    /// M1, M6, M8: joins from within a poll, or after a fence, once the application was told.
    fn join(&mut self, out: &mut Vec<Output>) {
        let told = self.is_told();
        let may_join = match self.member.state() {
            State::Subscribed => {
                let told = told || self.has(Mutant::JoinUntold);
                (self.inside || self.has(Mutant::JoinWithoutPoll)) && told
            }
            State::Stale => (self.inside || self.has(Mutant::StaleJoinsAtOnce)) && told,
            State::Fenced => told,
            State::Unsubscribed | State::Joining | State::Joined(_) => false,
            State::Fatal => told && self.has(Mutant::FatalJoinsAgain),
        };
        if may_join && self.ending.is_none() {
            self.member.join();
            if self.config.auto_commit {
                out.push(Output::Arm(Timer::AutoCommit, Step::FIRST));
            }
        }
    }

    /// Whether nothing of an ended membership is left to be told.
    pub(super) fn is_told(&self) -> bool {
        self.lost_due.is_none() && self.callback.is_none()
    }

    /// R3 to R6: one pass after the other, until somebody else must act.
    fn reconcile(&mut self, out: &mut Vec<Output>) {
        while matches!(self.member.state(), State::Joined(_)) {
            let goes_on = match self.reconcile.phase().clone() {
                Phase::Idle => self.begin_pass(out),
                Phase::Withheld(gone) => self.commit_before(gone),
                Phase::Committing(gone) => self.await_commit(gone),
                Phase::Revocable(gone) => self.revoke(gone, out),
                Phase::Revoking(gone) => self.let_go_committed(&gone, out),
                Phase::Assigning(_) => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    fn begin_pass(&mut self, out: &mut Vec<Output>) -> bool {
        if self.callback.is_some() {
            return false;
        }
        match self.reconcile.begin(self.ending.is_some()) {
            Some(revoked) if !revoked.is_empty() => {
                out.push(Output::Withhold(revoked));
                out.push(Output::Arm(Timer::Revocation, Step::FIRST));
                true
            }
            Some(_) if self.ending.is_none() => self.assign(out),
            Some(_) | None => false,
        }
    }

    /// R3: waits for the application only while it has records in its hands, or must be called. An
    /// application that ends its subscription has nothing in its hands that it will ever see.
    fn commit_before(&mut self, gone: Partitions) -> bool {
        let callable = !self.listener || self.inside;
        let is_done = self.ending.is_some() || !self.commit.has_unreleased(&gone);
        let hurries = Mutant::RevokeWithoutWaiting.is(self.config.mutant);
        if !(hurries || callable && is_done) {
            return false;
        }
        if self.config.auto_commit && !self.has(Mutant::CommitAfterRevoked) {
            self.commit.commit_released(Some(&gone), self.config.mutant);
        }
        self.reconcile.enter(Phase::Committing(gone));
        true
    }

    fn await_commit(&mut self, gone: Partitions) -> bool {
        if self.commit.is_outstanding(&gone) && !self.has(Mutant::RevokeUncommitted) {
            return false;
        }
        let callable = !self.listener || self.inside && self.callback.is_none();
        if self.has(Mutant::RevocableUnnamed) && !callable {
            return false;
        }
        self.reconcile.enter(Phase::Revocable(gone));
        true
    }

    /// C4: with a listener, nothing is let go of before its callback has returned.
    fn revoke(&mut self, gone: Partitions, out: &mut Vec<Output>) -> bool {
        if !self.listener {
            self.let_go(out);
            return true;
        }
        if self.inside && self.callback.is_none() {
            self.call(Callback::Revoked(gone.clone()), out);
            self.reconcile.enter(Phase::Revoking(gone));
            if Mutant::AckBeforeRevoked.is(self.config.mutant) {
                self.member.acknowledge();
            }
        }
        false
    }

    /// R5: what was revoked is released and acknowledged at once.
    fn let_go(&mut self, out: &mut Vec<Output>) {
        let gone = self.reconcile.on_revoked();
        out.push(Output::Disarm(Timer::Revocation));
        self.commit.on_ownership_ended(&gone, self.config.mutant, out);
        out.push(Output::Release(gone));
        self.acknowledge();
    }

    fn acknowledge(&mut self) {
        if !self.has(Mutant::Unacknowledged) {
            self.member.acknowledge();
        }
    }

    pub(super) fn has(&self, mutant: Mutant) -> bool {
        mutant.is(self.config.mutant)
    }

    /// Another choice: the commit after the callback, for which the release waits.
    fn let_go_committed(&mut self, gone: &Partitions, out: &mut Vec<Output>) -> bool {
        let is_over = self.callback.is_none() && !self.commit.is_outstanding(gone);
        let lets_go = self.has(Mutant::CommitAfterRevoked) && is_over;
        if lets_go {
            self.let_go(out);
        }
        lets_go
    }

    /// A seeded fault: what is being revoked is let go of, told or not.
    pub(super) fn end_revocation(&mut self, out: &mut Vec<Output>) {
        if let Phase::Withheld(gone) | Phase::Committing(gone) = self.reconcile.phase().clone() {
            self.reconcile.enter(Phase::Revocable(gone));
        }
        if matches!(self.reconcile.phase(), Phase::Revocable(_)) {
            self.let_go(out);
        }
    }

    /// G2, R9: takes nothing while a heartbeat that told to own less may still be processed: the
    /// coordinator would take it for a release.
    ///
    /// 1. c0 acknowledges an assignment whose topics it cannot name yet: it owns nothing.
    /// 2. Metadata names them, and c0 takes them. 3. c1 joins. 4. The acknowledgement is processed:
    ///    what c1 should have is revoked from c0, which says to own nothing, hence is free at once.
    fn assign(&mut self, out: &mut Vec<Output>) -> bool {
        let in_doubt =
            self.member.is_in_doubt() && !Mutant::TakeWhileTelling.is(self.config.mutant);
        if in_doubt || (self.listener && !self.inside) {
            return false;
        }
        let (added, unopened) = self.reconcile.take_added();
        if !added.is_empty() {
            out.push(Output::Own(added));
        }
        if self.listener {
            if Mutant::FetchBeforeAssigned.is(self.config.mutant) && !unopened.is_empty() {
                out.push(Output::Fetch(unopened.clone()));
            }
            self.call(Callback::Assigned(unopened.clone()), out);
            self.reconcile.enter(Phase::Assigning(unopened));
            return false;
        }
        self.open(&unopened, out);
        true
    }

    /// R6: the application has been told, so these are fetched, and the target is acknowledged.
    fn open(&mut self, opened: &Partitions, out: &mut Vec<Output>) {
        self.reconcile.on_assigned(opened);
        if !opened.is_empty() {
            out.push(Output::Fetch(opened.clone()));
        }
        self.acknowledge();
    }

    /// C1, C2: from within a call, one callback at a time. It counts against the poll interval.
    fn call(&mut self, callback: Callback, out: &mut Vec<Output>) {
        assert!(self.inside && self.callback.is_none(), "callbacks are called one at a time");
        let incarnation = self.incarnations.start();
        self.callback = Some(Open { incarnation, callback: callback.clone(), current: true });
        out.push(Output::Arm(Timer::PollInterval, Step::FIRST));
        out.push(Output::Call { incarnation, callback });
    }

    /// What follows from the end of a callback, if it still matters (I1). A failure keeps nothing
    /// (C7).
    pub(super) fn conclude(&mut self, open: Open, ok: bool, out: &mut Vec<Output>) {
        let mutant = self.config.mutant;
        if !open.current {
            self.conclude_late(open, out);
            return;
        }
        match open.callback {
            Callback::Revoked(_) if !ok && Mutant::FailedCallbackKeepsMember.is(mutant) => {
                self.ending = None;
                self.let_go(out);
            }
            Callback::Revoked(_) if Mutant::RevokedAfterFence.is(mutant) => {
                if matches!(self.reconcile.phase(), Phase::Revoking(_)) {
                    self.let_go(out);
                }
            }
            Callback::Revoked(gone) if self.has(Mutant::CommitAfterRevoked) => {
                if self.config.auto_commit {
                    self.commit.commit_released(Some(&gone), mutant);
                }
            }
            Callback::Revoked(_) => self.let_go(out),
            Callback::Assigned(opened) if ok => self.open(&opened, out),
            Callback::Assigned(_) if Mutant::FailedCallbackStalls.is(mutant) => {}
            Callback::Assigned(_) => self.reconcile.on_assign_failed(),
            Callback::Lost(_, partitions) => {
                if Mutant::RecordsAfterLost.is(mutant) {
                    out.push(Output::Release(partitions));
                }
            }
        }
    }

    /// I1: the end of a callback of an earlier membership changes nothing.
    fn conclude_late(&mut self, open: Open, out: &mut Vec<Output>) {
        let mutant = self.config.mutant;
        match open.callback {
            Callback::Assigned(opened) if Mutant::LateCallbackApplied.is(mutant) => {
                out.push(Output::Fetch(opened));
            }
            Callback::Revoked(_) if Mutant::LateCallbackEndsSubscription.is(mutant) => {
                self.member.on_left(State::Unsubscribed, mutant);
            }
            Callback::Assigned(_) | Callback::Revoked(_) | Callback::Lost(..) => {}
        }
    }

    /// M9: an unsubscribe or close goes on once nothing is owned and no callback is open.
    fn end(&mut self, out: &mut Vec<Output>) {
        let Some(ending) = self.ending else { return };
        if !self.end_manual(false, out) {
            return;
        }
        let joined = matches!(self.member.state(), State::Joined(_));
        let busy = joined && !(self.owned().is_empty() && *self.phase() == Phase::Idle);
        let busy = busy && !self.has(Mutant::LeaveAtOnce);
        let awaits = self.has(Mutant::EndAwaitsCoordinator) && self.lookup.known().is_none();
        if busy || awaits || self.callback.is_some() || self.lost_due.is_some() {
            return;
        }
        if !ending.leaving {
            self.ending = Some(Ending { leaving: true, ..ending });
            self.depart(State::Unsubscribed, out);
        }
        if self.departure.is_over() {
            self.finish_ending(true, out);
        }
    }

    /// A poll that began meanwhile goes on.
    pub(super) fn finish_ending(&mut self, clean: bool, out: &mut Vec<Output>) {
        let polled = self.ending.take().is_some_and(|ending| ending.polled);
        self.inside &= polled && !self.has(Mutant::DroppedEndsPoll);
        if self.departure.is_over() {
            out.push(Output::Disarm(Timer::Leave));
        }
        out.push(Output::Disarm(Timer::PollInterval));
        out.push(Output::Left { clean });
        if let Some((subscription, pattern, listener)) = self.next_subscription.take() {
            self.listener = listener;
            self.member.on_subscribe(subscription, pattern, self.config.mutant);
            self.join(out);
        }
    }

    /// Ends the membership on our side, and begins to tell the coordinator so.
    fn depart(&mut self, state: State, out: &mut Vec<Output>) {
        let mutant = self.config.mutant;
        let suppressed =
            Mutant::LeaveSuppressedInFlight.is(mutant) && self.member.in_flight().is_some();
        if self.member.must_leave() && !suppressed {
            self.departure.start(self.member.id());
        }
        if Mutant::StaleUnsubscribeRejoins.is(mutant) && self.member.state() == State::Stale {
            return;
        }
        self.member.on_left(state, mutant);
        self.stop_resolving(out);
        self.stop_timers(out);
    }

    /// M8: the application does not poll, or does not let go in time.
    pub(super) fn leave_stale(&mut self, reason: LostReason, out: &mut Vec<Output>) {
        if !matches!(self.member.state(), State::Joining | State::Joined(_)) {
            return;
        }
        if !Mutant::StaleKeepsAssignment.is(self.config.mutant) {
            self.lose(reason, out);
        }
        self.depart(State::Stale, out);
        if !self.departure.is_over() && self.ending.is_none() {
            out.push(Output::Arm(Timer::Leave, Step::FIRST));
        }
    }

    /// C3, C5, O10: everything that is owned is gone at once; the application is told in its next
    /// poll.
    pub(super) fn lose(&mut self, reason: LostReason, out: &mut Vec<Output>) {
        let owned = self.owned().clone();
        self.stop_resolving(out);
        let untold = self.reconcile.on_membership_ended();
        if self.has(Mutant::FenceEndsCallback) {
            self.callback = None;
        }
        if let Some(open) = &mut self.callback {
            open.current = false;
        }
        self.stop_timers(out);
        if owned.is_empty() {
            return;
        }
        out.push(Output::Lost(reason, owned.clone()));
        self.commit.on_ownership_ended(&owned, self.config.mutant, out);
        if !(Mutant::RecordsAfterLost.is(self.config.mutant) && self.listener) {
            out.push(Output::Release(owned));
        }
        if self.listener && !untold.is_empty() {
            self.lost_due = Some((reason, untold));
        }
    }

    /// R7: nobody will be given what the target named.
    fn stop_resolving(&self, out: &mut Vec<Output>) {
        if !self.reconcile.unresolved().is_empty() {
            out.push(Output::ResolveTopics(BTreeSet::new()));
        }
    }

    fn stop_timers(&mut self, out: &mut Vec<Output>) {
        for timer in [
            Timer::Heartbeat,
            Timer::Revocation,
            Timer::AutoCommit,
            Timer::Backoff(BackoffKind::Heartbeat),
        ] {
            let leaves_by_it =
                timer == Timer::Backoff(BackoffKind::Heartbeat) && self.departure.is_backing_off();
            if !leaves_by_it {
                out.push(Output::Disarm(timer));
            }
        }
    }

    /// O6, R8, M8: the commit before a revocation is given up; an application that does not let go
    /// costs the membership.
    pub(super) fn on_revocation_timeout(&mut self, out: &mut Vec<Output>) {
        match self.reconcile.phase().clone() {
            Phase::Committing(gone) if !Mutant::BarrierForEver.is(self.config.mutant) => {
                self.commit.give_up(&gone, CommitError::Expired, out);
            }
            Phase::Revoking(gone)
                if self.callback.is_none() && self.has(Mutant::CommitAfterRevoked) =>
            {
                self.commit.give_up(&gone, CommitError::Expired, out);
            }
            Phase::Withheld(_) | Phase::Revocable(_) | Phase::Revoking(_) => {
                self.leave_stale(LostReason::RebalanceTimeout, out);
            }
            Phase::Idle | Phase::Committing(_) | Phase::Assigning(_) => {}
        }
    }

    /// M9: no more time to leave. A leave that has not begun goes out without anybody waiting for its
    /// answer; one that has begun is given up, sent or not.
    pub(super) fn on_leave_timeout(&mut self, out: &mut Vec<Output>) {
        if self.ending.is_none() {
            self.departure.finish();
            return;
        }
        self.end_manual(true, out);
        let owned = self.owned().clone();
        self.lost_due = None;
        self.stop_resolving(out);
        self.reconcile.on_membership_ended();
        if let Some(open) = &mut self.callback {
            open.current = false;
        }
        if !owned.is_empty() {
            out.push(Output::Lost(LostReason::LeaveTimeout, owned.clone()));
            self.commit.on_ownership_ended(&owned, self.config.mutant, out);
            out.push(Output::Release(owned));
        }
        if self.departure.is_over() {
            self.depart(State::Unsubscribed, out);
        } else {
            self.departure.finish();
            self.member.on_left(State::Unsubscribed, self.config.mutant);
        }
        if !self.departure.is_over() {
            out.push(Output::Arm(Timer::Leave, Step::FIRST));
        }
        self.finish_ending(false, out);
    }

    /// L1, N1: sends what is due, and looks for the coordinator only if something is.
    fn send(&mut self, out: &mut Vec<Output>) {
        let mutant = self.config.mutant;
        self.commit.refresh(mutant);
        let leave = self.departure.is_due();
        let heartbeat = self.departure.is_over() && self.member.is_due(mutant);
        let owner = self.owner();
        let commit = self.commit.is_sendable(mutant) && (owner.is_some() || self.is_manual());
        if !(leave || heartbeat || commit || self.coordinator_wanted) {
            return;
        }
        let Some(to) = self.lookup.known() else {
            if self.lookup.is_unasked() {
                self.lookup.ask(self.incarnations.start(), out);
            }
            return;
        };
        self.coordinator_wanted = false;
        if commit {
            let incarnation = self.incarnations.start();
            let epoch = owner.map(|owner| owner.epoch);
            let offsets = self.commit.send(incarnation, epoch, mutant);
            if !offsets.is_empty() {
                let request = OffsetCommit { owner, offsets };
                let commits = self.commit.in_flight_of_users();
                let is_urgent = self.ending.is_some()
                    || self.callback.is_some()
                    || !self.reconcile.is_settled();
                let order = Output::OffsetCommit { incarnation, to, request, commits, is_urgent };
                out.push(order);
            }
        }
        if leave {
            let incarnation = self.incarnations.start();
            let request = self.departure.send(incarnation);
            out.push(Output::Heartbeat { incarnation, to, request });
        } else if heartbeat {
            let incarnation = self.incarnations.start();
            let request = self.heartbeat(incarnation);
            out.push(Output::Arm(Timer::Heartbeat, Step::FIRST));
            out.push(Output::Heartbeat { incarnation, to, request });
        }
    }

    fn heartbeat(&mut self, incarnation: crate::Incarnation) -> Heartbeat {
        let mutant = self.config.mutant;
        let mut owned = self.reconcile.owned().clone();
        if let (true, Phase::Revoking(gone)) =
            (Mutant::AckBeforeRevoked.is(mutant), self.reconcile.phase())
        {
            owned = &owned - gone;
        }
        let terms = (self.config.rebalance_timeout_ms, self.config.assignor.as_ref());
        self.member.send(incarnation, &owned, terms, mutant)
    }
}
