//! What an action does: it feeds the shipped machines and carries out what they order, while the
//! onlooker takes note of everything that leaves them.

use super::{Action, Asked, Call, Node, Place, Shared, State};
use crate::bounds::Slice;
use evenkeel_core::group::{Callback, CommitId, Fault, Group, LostReason, Output};
use evenkeel_spec::rules::{Event, Rule, Standing, Told, Violation, World};
use evenkeel_spec::words::{
    Committed, ErrorCode, NodeId, Offset, OffsetCommit, Partitions, Timer, TopicIdPartition,
};
use std::sync::Arc;

impl Slice {
    /// The state after `action`.
    pub(super) fn step(&self, before: &State, action: Action) -> State {
        let mut state = before.clone();
        self.apply(&mut state, action);
        if state.violation.is_none() {
            state.violation = self.judge(before, &state);
        }
        state
    }

    fn judge(&self, before: &State, after: &State) -> Option<Violation> {
        if let Err(violation) = before.world.permits(&after.world) {
            return Some(violation);
        }
        for (i, consumer) in after.world.consumers.iter().enumerate() {
            if let Err(rule) = consumer.at_rest() {
                return Some(Violation::of(rule).by(i));
            }
            let timed = after.nodes[i].timers.contains(&Timer::Revocation);
            if consumer.must_be_timed() && !timed && !after.nodes[i].crashed {
                return Some(Violation::of(Rule::RevocationUnbounded).by(i));
            }
            let is_barred = consumer.standing() == Standing::Barred;
            if is_barred && consumer.is_asking() && !consumer.is_committing() {
                return Some(Violation::of(Rule::Unanswered).by(i));
            }
        }
        None
    }

    fn apply(&self, state: &mut State, action: Action) {
        match action {
            Action::Subscribe(i) | Action::Narrow(i) | Action::Repeat(i) => {
                self.subscribe(state, i, action);
            }
            Action::Poll(i) => self.poll(state, i),
            Action::Exit(i) | Action::Drop(i) => {
                state.left.faults -= u8::from(action == Action::Drop(i));
                state.node(i).app.call = Call::Outside;
                state.see(i, &Event::Exited);
                self.feed(state, i, Group::on_poll_ended);
            }
            Action::Return(i) | Action::Miss(i) => {
                state.left.misses -= u8::from(action == Action::Miss(i));
                self.return_record(state, i, action == Action::Miss(i));
            }
            Action::Seek(i, place) => self.seek(state, i, place),
            Action::Commit(i) => {
                state.left.commits -= 1;
                let seen = state.nodes[i].app.waiting.is_none();
                state.see(i, &Event::CommitAsked);
                self.feed(state, i, |group, out| group.on_commit(CommitId(0), seen, None, out));
            }
            Action::Unsubscribe(i) => {
                state.left.unsubscribes -= 1;
                state.node(i).app.call = Call::Unsubscribe;
                let seen = state.nodes[i].app.waiting.is_none();
                state.see(i, &Event::Entered { seen, polls: false });
                self.feed(state, i, |group, out| group.on_unsubscribe(seen, out));
            }
            Action::Abandon(i) => {
                state.left.whims -= 1;
                let app = &mut state.node(i).app;
                (app.call, app.subscribed, app.refused) = (Call::Outside, false, false);
            }
            Action::Ask(i) => {
                state.left.whims -= 1;
                self.feed(state, i, Group::on_coordinator_wanted);
            }
            Action::Done(i) => self.end_callback(state, i, true),
            Action::Fail(i) => {
                state.left.faults -= 1;
                self.end_callback(state, i, false);
            }
            Action::Resolve(i) => {
                state.node(i).resolved += 1;
                let known = state.nodes[i].resolved;
                let topics = self.topics.keys().take(known).copied().collect();
                self.feed(state, i, |group, out| group.on_topics_resolved(&topics, out));
            }
            Action::Fire(i, timer) => {
                let slow = matches!(timer, Timer::PollInterval | Timer::Revocation | Timer::Leave);
                state.left.faults -= u8::from(slow);
                state.node(i).timers.remove(&timer);
                if timer == Timer::Leave {
                    state.see(i, &Event::LeaveTimeUp);
                }
                self.feed(state, i, |group, out| group.on_timer(timer, out));
            }
            Action::Found(i) => {
                let found = Ok(state.brain.node());
                self.looked_up(state, i, found);
            }
            Action::Deny(i) => {
                state.left.faults -= 1;
                state.see(i, &Event::LookupBarred);
                self.looked_up(state, i, Err(ErrorCode::GroupAuthorizationFailed));
                // The calls that needed it are refused.
                state.node(i).group.on_coordinator_unwanted();
            }
            Action::Arrive(i) => self.arrive(state, i, None),
            Action::Refuse(i, refusal) => {
                state.left.faults -= 1;
                self.arrive(state, i, Some(refusal.code()));
            }
            Action::Answer(i) => self.answer(state, i),
            Action::Break(i) => self.disconnect(state, i),
            Action::Crash(i) => {
                state.left.faults -= 1;
                self.crash(state, i);
            }
            Action::LateLeave(_) | Action::LateCommit(_) | Action::LateHeartbeat(_) => {
                self.arrive_late(state, action);
            }
            Action::Session(i, number) | Action::Bury(i, number) => {
                state.left.faults -= u8::from(action == Action::Session(i, number));
                let id = self.member_id(i, number);
                self.fire_at_coordinator(state, evenkeel_coordinator::Timer::Session(id));
            }
            Action::Rebalance(i, number) => {
                state.left.faults -= 1;
                let id = self.member_id(i, number);
                self.fire_at_coordinator(state, evenkeel_coordinator::Timer::Rebalance(id));
            }
            Action::Interval => {
                self.fire_at_coordinator(state, evenkeel_coordinator::Timer::Assignment);
            }
            Action::Failover => self.fail_over(state),
        }
    }

    fn subscribe(&self, state: &mut State, i: usize, action: Action) {
        let narrows = matches!(action, Action::Narrow(_));
        let left = &mut state.left;
        *match action {
            Action::Narrow(_) => &mut left.narrows,
            Action::Repeat(_) => &mut left.whims,
            _ => &mut left.subscribes,
        } -= 1;
        let node = state.node(i);
        node.app.subscribed = true;
        node.app.refused = false;
        node.app.narrowed |= narrows;
        let (listener, subscription) = (node.app.listener, self.subscription(node.app.narrowed));
        state.see(i, &Event::Subscribed { listens: listener });
        self.feed(state, i, |group, out| group.on_subscribe(subscription, listener, out));
    }

    /// The lookup is answered.
    fn looked_up(&self, state: &mut State, i: usize, found: Result<NodeId, ErrorCode>) {
        if let Some(incarnation) = state.node(i).lookup.take() {
            self.feed(state, i, |group, out| group.on_coordinator(incarnation, found, out));
        }
    }

    /// A poll with what a dropped one left returns that at once, whatever the machines do meanwhile.
    fn poll(&self, state: &mut State, i: usize) {
        let left = state.node(i).app.waiting.take();
        state.see(i, &Event::Entered { seen: left.is_none(), polls: true });
        if let Some((partition, _)) = left {
            state.see(i, &Event::LeftReturned(partition));
            self.feed(state, i, |group, out| group.on_poll(false, out));
            self.feed(state, i, Group::on_poll_ended);
        } else {
            state.node(i).app.call = Call::Poll;
            self.feed(state, i, |group, out| group.on_poll(true, out));
        }
    }

    fn return_record(&self, state: &mut State, i: usize, is_missed: bool) {
        let Some(partition) = state.nodes[i].next_record(self) else { return };
        let node = state.node(i);
        node.app.call = Call::Outside;
        let at = node.app.positions.entry(partition).or_insert(Offset(0));
        *at = Offset(at.0 + 1);
        let next = *at;
        if is_missed {
            node.app.waiting = Some((partition, next));
            state.see(i, &Event::RecordsLeft(partition, next));
        } else {
            state.see(i, &Event::RecordsReturned(partition, next));
        }
        let delivered = [(partition, Committed::at(next))].into();
        self.feed(state, i, |group, out| group.on_delivered(&delivered, out));
    }

    fn seek(&self, state: &mut State, i: usize, place: Place) {
        state.left.seeks -= 1;
        let Some(partition) = state.nodes[i].sought(self) else { return };
        let (position, known) = self.place(partition, place);
        let app = &mut state.node(i).app;
        app.placing.remove(&partition);
        app.positions.insert(partition, position);
        app.waiting.take_if(|(waiting, _)| *waiting == partition);
        state.see(i, &Event::Sought(partition, known));
        let known = known.map(Committed::at);
        self.feed(state, i, |group, _| group.on_sought(partition, known.as_ref()));
    }

    /// Where a seek leads, and what of that is known at once.
    #[must_use]
    pub fn place(&self, partition: TopicIdPartition, place: Place) -> (Offset, Option<Offset>) {
        match place {
            Place::First => (Offset(0), Some(Offset(0))),
            Place::Last => (self.log_end(partition), Some(self.log_end(partition))),
            Place::Beginning => (Offset(0), None),
        }
    }

    fn end_callback(&self, state: &mut State, i: usize, ok: bool) {
        let node = state.node(i);
        let Some((incarnation, _)) = node.app.callback.take() else { return };
        let exits = !ok && node.app.call == Call::Poll;
        if exits {
            node.app.call = Call::Outside;
        }
        state.see(i, &Event::Returned(ok));
        if exits {
            state.see(i, &Event::Exited);
        }
        self.feed(state, i, |group, out| group.on_callback_done(incarnation, ok, out));
    }

    /// Gives the group an input and carries out what it orders.
    pub(super) fn feed(
        &self,
        state: &mut State,
        i: usize,
        input: impl FnOnce(&mut Group, &mut Vec<Output>),
    ) {
        let mut out = Vec::new();
        let node = state.node(i);
        node.renamed = false;
        input(&mut node.group, &mut out);
        self.carry_out_all(state, i, out);
    }

    fn carry_out_all(&self, state: &mut State, i: usize, out: Vec<Output>) {
        self.carry_out_each(state, i, out);
        state.ask_positions(i);
    }

    fn carry_out_each(&self, state: &mut State, i: usize, mut out: Vec<Output>) {
        while !out.is_empty() {
            for output in out.drain(..) {
                self.carry_out(state, i, output);
            }
            if !self.detail.lookup
                && let Some(incarnation) = state.node(i).lookup.take()
            {
                let found = Ok(state.brain.node());
                state.node(i).group.on_coordinator(incarnation, found, &mut out);
            }
        }
    }

    fn carry_out(&self, state: &mut State, i: usize, output: Output) {
        match output {
            Output::FindCoordinator { incarnation } => state.node(i).lookup = Some(incarnation),
            Output::Heartbeat { incarnation, to, mut request } => {
                request.member = self.member_id(i, request.member.0);
                state.see(i, &Event::HeartbeatSent(&request));
                state.node(i).requests.push(Asked::Heartbeat(incarnation, to, request));
            }
            Output::OffsetCommit { incarnation, to, request, .. } => {
                self.send_commit(state, i, (incarnation, to), request);
            }
            Output::Arm(timer, _) => {
                state.node(i).timers.insert(timer);
            }
            Output::Disarm(timer) => {
                state.node(i).timers.remove(&timer);
            }
            Output::Call { incarnation, callback } => {
                let (told, partitions) = match &callback {
                    Callback::Assigned(partitions) => (Told::Assigned, partitions),
                    Callback::Revoked(partitions) => (Told::Revoked, partitions),
                    Callback::Lost(_, partitions) => (Told::Lost, partitions),
                };
                state.see(i, &Event::Called(told, partitions));
                state.node(i).app.callback = Some((incarnation, callback));
            }
            Output::Own(partitions) => self.own(state, i, &partitions),
            Output::Fetch(partitions) => {
                state.see(i, &Event::Opened(&partitions));
                state.node(i).app.open.extend(partitions);
            }
            Output::Withhold(partitions) => {
                state.see(i, &Event::Closed(&partitions));
                state.node(i).app.open.retain(|p| !partitions.contains(p));
            }
            Output::Release(partitions) => {
                state.see(i, &Event::Released(&partitions));
                let app = &mut state.node(i).app;
                app.open.retain(|p| !partitions.contains(p));
                app.positions.retain(|p, _| !partitions.contains(p));
                app.placing.retain(|p, _| !partitions.contains(p));
                app.waiting.take_if(|(partition, _)| partitions.contains(partition));
            }
            Output::Lost(reason, _) => {
                if !matches!(reason, LostReason::Fenced(_) | LostReason::Fatal(_)) {
                    state.see(i, &Event::GaveUp);
                }
            }
            Output::Left { clean } => self.on_left(state, i, clean),
            Output::Fault(Fault::Fatal(_)) => {
                state.see(i, &Event::Barred);
                state.node(i).app.refused = true;
            }
            Output::HeartbeatInterval(_) | Output::ResolveTopics(_) | Output::Fault(_) => {}
            Output::CommitDone { result: Ok(()), .. } => state.see(i, &Event::CommitDone),
            Output::CommitDone { result: Err(_), .. } => state.see(i, &Event::CommitFailed),
        }
    }

    /// An unsubscribe is over. What the application did since it dropped one comes into force.
    fn on_left(&self, state: &mut State, i: usize, clean: bool) {
        state.see(i, &Event::Left { clean });
        let app = &mut state.node(i).app;
        app.refused = false;
        if app.call == Call::Unsubscribe {
            (app.call, app.subscribed) = (Call::Outside, false);
            return;
        }
        let (listens, subscribed, call) = (app.listener, app.subscribed, app.call);
        if subscribed {
            state.see(i, &Event::Subscribed { listens });
        }
        if call == Call::Poll {
            state.see(i, &Event::Entered { seen: false, polls: true });
        }
    }

    /// Positions of what was given are looked up, where somebody can tell them apart.
    fn own(&self, state: &mut State, i: usize, partitions: &Partitions) {
        state.see(i, &Event::Given(partitions));
        if i < self.restless {
            let looked_up = partitions.iter().filter(|p| self.log_end(**p).0 > 0);
            state.node(i).app.placing.extend(looked_up.map(|p| (*p, UNASKED)));
        }
    }

    fn send_commit(
        &self,
        state: &mut State,
        i: usize,
        (incarnation, to): (evenkeel_core::Incarnation, NodeId),
        mut request: OffsetCommit,
    ) {
        if let Some(owner) = &mut request.owner {
            owner.member = self.member_id(i, owner.member.0);
            let epoch = owner.epoch;
            state.see(i, &Event::CommitSent(&request.offsets, epoch));
        }
        state.node(i).requests.push(Asked::Commit(incarnation, to, request));
    }
}

/// The position was not asked for yet.
const UNASKED: usize = usize::MAX;

impl State {
    /// Asks for positions behind what is on the connection already. One is known once everything
    /// before it is answered.
    fn ask_positions(&mut self, i: usize) {
        if self.nodes[i].app.placing.is_empty() {
            return;
        }
        let node = Shared::make_mut(&mut self.nodes[i]);
        let outstanding = node.requests.len() + node.answers.len();
        for (partition, before) in std::mem::take(&mut node.app.placing) {
            let before = if before == UNASKED { outstanding } else { before };
            if before > 0 {
                node.app.placing.insert(partition, before);
            } else {
                let committed = self.world.committed.get(&partition);
                node.app.positions.insert(partition, committed.copied().unwrap_or(Offset(0)));
            }
        }
    }

    /// Consumer `i`, to change it.
    pub(super) fn node(&mut self, i: usize) -> &mut Node {
        Shared::make_mut(&mut self.nodes[i])
    }

    /// The onlooker sees something of consumer `i`.
    pub(super) fn see(&mut self, i: usize, event: &Event<'_>) {
        let world: &mut World = Shared::make_mut(&mut self.world);
        if let Err(rule) = Arc::make_mut(&mut world.consumers[i]).on(event) {
            self.violation.get_or_insert(Violation::of(rule).by(i));
        }
    }
}
