//! What the network and the coordinator do in a step: requests and answers arrive, late or never, the
//! coordinator's timers fire, it moves, and processes die.

use super::{Action, Asked, Node, Reply, Shared, State};
use crate::bounds::Slice;
use evenkeel_core::group::consumer::State as Membership;
use evenkeel_spec::rules::{Event, Rule, Said, Violation, World};
use evenkeel_spec::words::{
    ErrorCode, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, OffsetCommit, OffsetsCommitted,
};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Slice {
    /// The oldest request is processed, or refused with `code`.
    pub(super) fn arrive(&self, state: &mut State, i: usize, code: Option<ErrorCode>) {
        let node = state.brain.node();
        let reply = match state.node(i).requests.remove(0) {
            Asked::Heartbeat(incarnation, to, request) => {
                if self.ordered {
                    state.node(i).late_heartbeat = None;
                }
                let answer = match code {
                    Some(code) => Err(code),
                    None if to != node => Err(ErrorCode::NotCoordinator),
                    None => self.heartbeat(state, &request),
                };
                // M11: the records have it, and yet it is fenced.
                let is_fenced = code.is_none() && answer == Err(ErrorCode::FencedMemberEpoch);
                if is_fenced && may_speak(&state.world, &request) {
                    let violation = Violation::of(Rule::FencedUnjustly).by(i);
                    state.violation.get_or_insert(violation);
                }
                let is_leave = request.epoch == HeartbeatEpoch::Leave;
                Reply::Heartbeat(incarnation, is_leave, answer)
            }
            Asked::Commit(incarnation, to, request) => {
                let answer = if to == node {
                    self.commit(state, &request)
                } else {
                    Err(ErrorCode::NotCoordinator)
                };
                let offsets = request.offsets.iter().map(|(p, c)| (*p, c.offset)).collect();
                Reply::Commit(incarnation, offsets, answer)
            }
        };
        state.node(i).answers.push(reply);
    }

    pub(super) fn arrive_late(&self, state: &mut State, action: Action) {
        match action {
            Action::LateLeave(i) => {
                let late = state.node(i).late_leave.take();
                late.map(|request| self.heartbeat(state, &request));
            }
            Action::LateHeartbeat(i) => {
                let late = state.node(i).late_heartbeat.take();
                late.map(|request| self.heartbeat(state, &request));
            }
            Action::LateCommit(i) => {
                let late = state.node(i).late_commit.take();
                late.map(|request| self.commit(state, &request));
            }
            other => panic!("{other} is not late"),
        }
    }

    fn heartbeat(
        &self,
        state: &mut State,
        request: &Heartbeat,
    ) -> Result<HeartbeatAnswer, ErrorCode> {
        let brain = Shared::make_mut(&mut state.brain);
        let step = brain.group.on_heartbeat(&self.coordinator, &self.topics, request);
        brain.carry_out(self, Shared::make_mut(&mut state.world), &step.records, &step.orders);
        step.answer
    }

    fn commit(&self, state: &mut State, request: &OffsetCommit) -> OffsetsCommitted {
        let brain = Shared::make_mut(&mut state.brain);
        let step = brain.group.on_offset_commit(&self.coordinator, request);
        let results = match &step.answer {
            Ok(results) => results.clone(),
            Err(code) => request.offsets.keys().map(|p| (*p, Err(*code))).collect(),
        };
        if let Some(owner) = request.owner
            && let Err(violation) = state.world.permits_commit(owner, &results)
        {
            state.violation.get_or_insert(violation);
        }
        brain.carry_out(self, Shared::make_mut(&mut state.world), &step.records, &step.orders);
        step.answer
    }

    pub(super) fn fire_at_coordinator(
        &self,
        state: &mut State,
        timer: evenkeel_coordinator::Timer,
    ) {
        let brain = Shared::make_mut(&mut state.brain);
        brain.timers.remove(&timer);
        let step = brain.group.on_timer(&self.coordinator, &self.topics, timer);
        brain.carry_out(self, Shared::make_mut(&mut state.world), &step.records, &step.orders);
    }

    pub(super) fn fail_over(&self, state: &mut State) {
        state.left.faults -= 1;
        let brain = Shared::make_mut(&mut state.brain);
        brain.moved = !brain.moved;
        brain.timers.clear();
        let orders = brain.group.loaded(&self.coordinator);
        brain.carry_out(self, Shared::make_mut(&mut state.world), &[], &orders);
    }

    pub(super) fn answer(&self, state: &mut State, i: usize) {
        let reply = state.node(i).answers.remove(0);
        state.node(i).app.placing.values_mut().for_each(|before| *before -= 1);
        match reply {
            Reply::Heartbeat(incarnation, is_leave, answer) => {
                let said = said(&answer);
                let event =
                    if is_leave { Event::LeaveOver(said) } else { Event::HeartbeatOver(said) };
                state.see(i, &event);
                let refused = (answer.is_err() && !is_leave).then(|| state.nodes[i].group.state());
                let earlier = state.nodes[i].requests.len();
                self.feed(state, i, |group, out| {
                    group.on_heartbeat_answer(incarnation, answer, out);
                });
                state.judge_retry(i, refused, earlier);
            }
            Reply::Commit(incarnation, offsets, answer) => {
                let accepted = match &answer {
                    Ok(results) => offsets
                        .into_iter()
                        .filter(|(p, _)| results.get(p).is_some_and(Result::is_ok))
                        .collect(),
                    Err(_) => BTreeMap::new(),
                };
                state.see(i, &Event::CommitOver(&accepted));
                self.feed(state, i, |group, out| group.on_commit_answer(incarnation, answer, out));
            }
        }
    }

    /// N2: a heartbeat on a broken connection is processed before the member's next one or never; a
    /// leave and a commit may be processed at any time.
    pub(super) fn disconnect(&self, state: &mut State, i: usize) {
        state.left.faults -= 1;
        let node = state.node(i);
        let lookup = node.lookup.take();
        let requests = std::mem::take(&mut node.requests);
        let answers = std::mem::take(&mut node.answers);
        // Asked for again, behind the first request of the next connection.
        node.app.placing.values_mut().for_each(|before| *before = 1);
        let mut lost: Vec<_> = lookup.into_iter().collect();
        for reply in answers {
            match reply {
                Reply::Heartbeat(incarnation, is_leave, _) => {
                    lost.push(incarnation);
                    state.see_lost(i, is_leave);
                }
                Reply::Commit(incarnation, ..) => {
                    lost.push(incarnation);
                    state.see(i, &Event::CommitOver(&BTreeMap::new()));
                }
            }
        }
        for asked in requests {
            lost.push(asked.incarnation());
            self.keep_late(state, i, asked);
        }
        for incarnation in lost {
            self.feed(state, i, |group, out| group.on_lost(incarnation, out));
        }
    }

    fn keep_late(&self, state: &mut State, i: usize, asked: Asked) {
        match asked {
            Asked::Heartbeat(_, _, request) => {
                let is_leave = request.epoch == HeartbeatEpoch::Leave;
                state.see_lost(i, is_leave);
                if is_leave {
                    state.node(i).late_leave = Some(request);
                } else {
                    state.node(i).late_heartbeat = Some(request);
                }
            }
            Asked::Commit(_, _, request) => {
                state.see(i, &Event::CommitOver(&BTreeMap::new()));
                state.node(i).late_commit = Some(request);
            }
        }
    }

    pub(super) fn crash(&self, state: &mut State, i: usize) {
        let node = state.node(i);
        let late = node
            .requests
            .iter()
            .find_map(|asked| match asked {
                Asked::Commit(_, _, request) => Some(request.clone()),
                Asked::Heartbeat(..) => None,
            })
            .or_else(|| node.late_commit.take());
        *node = Node { crashed: true, late_commit: late, ..Node::new(self) };
        let consumer = &mut Shared::make_mut(&mut state.world).consumers[i];
        *consumer = Arc::new(consumer.crashed());
    }
}

impl State {
    fn see_lost(&mut self, i: usize, is_leave: bool) {
        let event =
            if is_leave { Event::LeaveOver(Said::Lost) } else { Event::HeartbeatOver(Said::Lost) };
        self.see(i, &event);
    }
}

/// Whether the group has the member, and it says an epoch that the coordinator must take: it joins,
/// or has missed one answer at most.
fn may_speak(world: &World, request: &Heartbeat) -> bool {
    let Some(grant) = world.grants.get(&request.member) else { return false };
    match request.epoch {
        HeartbeatEpoch::Stay(epoch) => epoch == grant.epoch || Some(epoch) == grant.previous,
        HeartbeatEpoch::Join | HeartbeatEpoch::Leave => true,
    }
}

/// What an onlooker makes of an answer to a heartbeat, by Kafka's documents and not by our machine.
impl State {
    /// M12: what was refused is not among the requests that the answer has brought forth.
    fn judge_retry(&mut self, i: usize, refused: Option<Membership>, earlier: usize) {
        let Some(refused) = refused else { return };
        let again = |asked: &Asked| match asked {
            Asked::Heartbeat(_, _, request) => match request.epoch {
                HeartbeatEpoch::Join => refused == Membership::Joining,
                HeartbeatEpoch::Stay(_) => matches!(refused, Membership::Joined(_)),
                HeartbeatEpoch::Leave => false,
            },
            Asked::Commit(..) => false,
        };
        if self.nodes[i].requests[earlier..].iter().any(again) {
            self.violation.get_or_insert(Violation::of(Rule::RetriedAtOnce).by(i));
        }
    }
}

fn said(answer: &Result<HeartbeatAnswer, ErrorCode>) -> Said {
    match answer {
        Ok(_) => Said::Accepted,
        Err(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => Said::Ended,
        Err(
            ErrorCode::GroupAuthorizationFailed
            | ErrorCode::GroupIdNotFound
            | ErrorCode::InvalidRequest,
        ) => Said::Barred,
        Err(_) => Said::Refused,
    }
}
