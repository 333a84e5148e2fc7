//! The target `core`: the shipped timed shell in virtual time, against the shipped coordinator.
//!
//! Held back and released at the trace's steps: FindCoordinator, heartbeats, commits, records,
//! callbacks. Answered at once, since the model has none of them: connecting, ApiVersions,
//! Metadata (whose topics appear when the trace resolves them), OffsetFetch, ListOffsets; a Fetch
//! is parked until the trace returns a record or `fetch.max.wait.ms` passes.

mod answer;
mod config;
mod hand;
mod link;
mod member;

use super::path::Plan;
use super::schedule::STEP_MS;
use super::view::{ConsumerView, GroupView, View};
use evenkeel_coordinator::{Config as CoordinatorConfig, Group, Order, Step, Timer as Patience};
use evenkeel_model::bounds::Slice;
use evenkeel_model::system::{Action, Refusal};
use evenkeel_spec::words::{
    ErrorCode, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, NodeId, OffsetCommit, OffsetsCommitted,
};
use member::{Asked, Member, Reply};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is deliberately wrong, to see that it is found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sabotage {
    /// A fault of the coordinator.
    pub coordinator: Option<evenkeel_coordinator::Mutant>,
    /// A fault of the driver of the client's shell, or of the application.
    pub client: Option<WrongDriver>,
    /// A fault of the client's machines, on targets that can seed it: the core.
    pub machines: Option<evenkeel_core::group::Mutant>,
}

/// A driver of the shell that does not do its part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WrongDriver {
    /// It says that a callback has returned as soon as it was called.
    EndsCallbacksEarly,
    /// It says that every callback succeeded.
    HidesFailures,
    /// It does not say that a connection broke.
    HidesDisconnects,
    /// It does not ask again for positions that it was refused: the client alone.
    ForgetsRefusedLookups,
}

/// The broker side: the shipped coordinator, and who may speak for it.
#[derive(Debug)]
pub(super) struct Broker<'a> {
    pub(super) slice: &'a Slice,
    config: CoordinatorConfig,
    pub(super) group: Group,
    timers: BTreeSet<Patience>,
    moved: bool,
    view: Option<Arc<GroupView>>,
}

/// The replayed world.
#[derive(Debug)]
pub(crate) struct World<'a> {
    broker: Broker<'a>,
    members: Vec<Option<Member<'a>>>,
    late: Vec<Late>,
    now: u64,
}

/// Requests from broken connections that may still be processed.
#[derive(Debug, Default)]
struct Late {
    leave: Option<Heartbeat>,
    commit: Option<OffsetCommit>,
    heartbeat: Option<Heartbeat>,
}

impl<'a> World<'a> {
    pub(crate) fn new(slice: &'a Slice, plan: &Plan, sabotage: Sabotage) -> Self {
        let profile = plan.profile;
        let mut config = slice.coordinator.clone();
        config.session_timeout_ms = profile.session_timeout_ms;
        config.heartbeat_interval_ms = profile.heartbeat_interval_ms;
        config.mutant = sabotage.coordinator;
        let member = |i| {
            let all = slice.topics.len();
            let resolved = if slice.detail.resolve { plan.resolved_early[i] } else { all };
            Some(Member::new(slice, profile, i, resolved, sabotage))
        };
        Self {
            broker: Broker {
                slice,
                config,
                group: Group::default(),
                timers: BTreeSet::new(),
                moved: false,
                view: None,
            },
            members: (0..slice.members).map(member).collect(),
            late: (0..slice.members).map(|_| Late::default()).collect(),
            now: 0,
        }
    }

    /// Takes a step, and lets time pass until `until`.
    ///
    /// # Errors
    /// What the step needs and is not there.
    pub(crate) fn step(
        &mut self,
        action: Action,
        plan: &Plan,
        step: usize,
    ) -> Result<View, &'static str> {
        for member in self.members.iter_mut().flatten() {
            member.news.clear();
        }
        let until = plan.dates[step];
        if at_deadline(action) {
            self.pass(until - STEP_MS);
        }
        self.act(action, plan, step)?;
        self.pass(until);
        Ok(self.view())
    }

    fn act(&mut self, action: Action, plan: &Plan, step: usize) -> Result<(), &'static str> {
        let i = action.consumer();
        match action {
            Action::Arrive(_) => self.arrive(i, None)?,
            Action::Refuse(_, refusal) => self.arrive(i, Some(refusal))?,
            Action::LateLeave(_) => {
                let late = self.late[i].leave.take().ok_or("no leave is late")?;
                self.broker.heartbeat(&late).ok();
            }
            Action::LateHeartbeat(_) => {
                let late = self.late[i].heartbeat.take().ok_or("no heartbeat is late")?;
                self.broker.heartbeat(&late).ok();
            }
            Action::LateCommit(_) => {
                let late = self.late[i].commit.take().ok_or("no commit is late")?;
                self.broker.commit(&late).ok();
            }
            Action::Session(_, number) | Action::Bury(_, number) => {
                let id = self.broker.slice.member_id(i, number);
                self.broker.fire(Patience::Session(id))?;
            }
            Action::Rebalance(_, number) => {
                let id = self.broker.slice.member_id(i, number);
                self.broker.fire(Patience::Rebalance(id))?;
            }
            Action::Interval => self.broker.fire(Patience::Assignment)?,
            Action::Failover => self.broker.fail_over(),
            Action::Crash(_) => self.crash(i)?,
            Action::Break(_) => self.disconnect(i)?,
            _ => {
                let (member, broker) = self.member(i)?;
                member.act(action, plan.partitions[step], broker)?;
            }
        }
        let (member, broker) = match self.member(i) {
            Ok(both) => both,
            Err(_) => return Ok(()),
        };
        member.pump(broker);
        Ok(())
    }

    fn member(&mut self, i: usize) -> Result<(&mut Member<'a>, &mut Broker<'a>), &'static str> {
        let member = self.members[i].as_mut().ok_or("the consumer is dead")?;
        Ok((member, &mut self.broker))
    }

    /// Lets time pass.
    fn pass(&mut self, until: u64) {
        for member in self.members.iter_mut().flatten() {
            member.pass(until, &mut self.broker);
        }
        self.now = until;
    }

    fn arrive(&mut self, i: usize, refusal: Option<Refusal>) -> Result<(), &'static str> {
        let is_ordered = self.broker.slice.ordered;
        let member = self.members[i].as_mut().ok_or("the consumer is dead")?;
        if member.requests.is_empty() {
            return Err("no request is on its way");
        }
        let (held, asked) = member.requests.remove(0);
        let reply = match asked {
            Asked::Heartbeat(to, request) => {
                if is_ordered {
                    self.late[i].heartbeat = None;
                }
                Reply::Heartbeat(match refusal {
                    Some(refusal) => Err(refusal.code()),
                    None if to != self.broker.node() => Err(ErrorCode::NotCoordinator),
                    None => self.broker.heartbeat(&request),
                })
            }
            Asked::Commit(to, request) => Reply::Commit(if to == self.broker.node() {
                self.broker.commit(&request)
            } else {
                Err(ErrorCode::NotCoordinator)
            }),
        };
        member.answers.push((held, reply));
        Ok(())
    }

    fn disconnect(&mut self, i: usize) -> Result<(), &'static str> {
        let lost = self.member(i)?.0.disconnect();
        let late = &mut self.late[i];
        for asked in lost {
            match asked {
                Asked::Heartbeat(_, request) if request.epoch == HeartbeatEpoch::Leave => {
                    late.leave = Some(request);
                }
                Asked::Heartbeat(_, request) => late.heartbeat = Some(request),
                Asked::Commit(_, request) => late.commit = Some(request),
            }
        }
        Ok(())
    }

    fn crash(&mut self, i: usize) -> Result<(), &'static str> {
        let member = self.members[i].take().ok_or("the consumer is dead")?;
        let late = std::mem::take(&mut self.late[i]);
        let commit = member.requests.into_iter().find_map(|(_, asked)| match asked {
            Asked::Commit(_, request) => Some(request),
            Asked::Heartbeat(..) => None,
        });
        self.late[i].commit = commit.or(late.commit);
        Ok(())
    }

    fn view(&mut self) -> View {
        let slice = self.broker.slice;
        let consumers = self.members.iter().enumerate().map(|(i, member)| match member {
            Some(member) => member.view(slice, i),
            None => ConsumerView::crashed(),
        });
        View { consumers: consumers.collect(), group: self.broker.view() }
    }
}

impl Broker<'_> {
    pub(super) fn node(&self) -> NodeId {
        NodeId(i32::from(self.moved))
    }

    fn heartbeat(&mut self, request: &Heartbeat) -> Result<HeartbeatAnswer, ErrorCode> {
        let step = self.group.on_heartbeat(&self.config, &self.slice.topics, request);
        self.carry_out(step)
    }

    fn commit(&mut self, request: &OffsetCommit) -> OffsetsCommitted {
        let step = self.group.on_offset_commit(&self.config, request);
        self.carry_out(step)
    }

    fn fire(&mut self, timer: Patience) -> Result<(), &'static str> {
        if !self.timers.remove(&timer) {
            return Err("the coordinator's timer is not armed");
        }
        let step = self.group.on_timer(&self.config, &self.slice.topics, timer);
        self.carry_out(step);
        Ok(())
    }

    fn fail_over(&mut self) {
        self.moved = !self.moved;
        self.timers.clear();
        let orders = self.group.loaded(&self.config);
        self.carry_out(Step { records: Vec::new(), orders, answer: () });
    }

    fn carry_out<A>(&mut self, step: Step<A>) -> A {
        self.view = None;
        for order in step.orders {
            match order {
                Order::Arm(timer, _) => self.timers.insert(timer),
                Order::Disarm(timer) => self.timers.remove(&timer),
            };
        }
        step.answer
    }

    fn view(&mut self) -> Arc<GroupView> {
        let coordinator = self.node();
        let (group, timers) = (&self.group, &self.timers);
        let make = || Arc::new(GroupView::new(group, coordinator, timers));
        self.view.get_or_insert_with(make).clone()
    }
}

/// Whether the action is the end of a wait.
pub(super) fn at_deadline(action: Action) -> bool {
    matches!(
        action,
        Action::Fire(..)
            | Action::Session(..)
            | Action::Bury(..)
            | Action::Rebalance(..)
            | Action::Interval
    )
}
