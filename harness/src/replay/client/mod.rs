//! The target `client`: the shipped tokio client against the test broker, with bytes between them,
//! in one runtime whose clock only the trace moves.
//!
//! The consumer is the shipped one with its background, codec and connections; its applications'
//! futures live in a task each. The broker is the test broker. Between them is the network, which
//! holds frames as the trace says: see `links`. After every step nothing can run any more: see
//! `quiet`.

mod application;
mod broker;
pub(super) mod links;
mod member;
pub(super) mod quiet;
mod records;
pub(super) mod stream;

use super::core::{Sabotage, WrongDriver};
use super::path::Plan;
use super::schedule::STEP_MS;
use super::told;
use super::view::{ConsumerView, Got, GroupView, Sent, View};
use application::Order;
use broker::{Hooks, cluster};
use bytes::Bytes;
use evenkeel_broker::{Cluster, Timer};
use evenkeel_model::bounds::Slice;
use evenkeel_model::system::{Action, Refusal};
use evenkeel_spec::words::{ErrorCode, HeartbeatEpoch, NodeId};
use links::{Came, Habits, Links, Why, model_node};
use member::{FETCH_WAIT_MS, Member};
use quiet::Quiet;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use stream::{LinkId, Network};
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// The group's id.
const GROUP: &str = "g";

/// The replayed world, and the runtime that it lives in.
pub(crate) struct Client<'a> {
    runtime: Runtime,
    world: World<'a>,
}

struct World<'a> {
    slice: &'a Slice,
    wrong: Option<WrongDriver>,
    quiet: Quiet,
    started: Instant,
    cluster: Cluster,
    hooks: Arc<Hooks>,
    links: Links,
    members: Vec<Option<Member>>,
    late: Vec<Late>,
    group: Option<Arc<GroupView>>,
    infeasible: Option<String>,
    /// Why the clock is ahead of the trace, if it is.
    overdue: Option<String>,
}

/// Requests from broken connections that may still be processed.
#[derive(Debug, Default)]
struct Late {
    leave: Option<(LinkId, Bytes)>,
    commit: Option<(LinkId, Bytes)>,
    heartbeat: Option<(LinkId, Bytes)>,
}

impl<'a> Client<'a> {
    /// Starts the broker and the consumers. `tapes`: frames are kept to be shown.
    ///
    /// # Errors
    /// Why they could not be started.
    pub(crate) fn new(
        slice: &'a Slice,
        plan: &Plan,
        sabotage: Sabotage,
        tapes: bool,
    ) -> Result<Self, String> {
        let (runtime, quiet) = quiet::runtime();
        let entered = runtime.enter();
        let cluster = cluster(slice, plan, sabotage)?;
        let hooks = Arc::new(Hooks::default());
        hooks.hook(&cluster);
        let network = Network::default();
        let mut members = Vec::with_capacity(slice.members);
        for i in 0..slice.members {
            let member = Member::start(slice, plan.profile, i, &network, sabotage.client);
            let mut member = member.map_err(|error| error.to_string())?;
            let resolves = slice.detail.resolve;
            member.resolved = if resolves { plan.resolved_early[i] } else { slice.topics.len() };
            member.anticipated = if resolves { member.resolved } else { 0 };
            members.push(Some(member));
        }
        let habits = Habits { holds_lookups: slice.detail.lookup, parked_ms: FETCH_WAIT_MS };
        let world = World {
            slice,
            wrong: sabotage.client,
            quiet,
            started: Instant::now(),
            links: Links::new(network, cluster.clone(), habits, tapes),
            cluster,
            hooks,
            members,
            late: (0..slice.members).map(|_| Late::default()).collect(),
            group: None,
            infeasible: None,
            overdue: None,
        };
        told::begun(world.started);
        drop(entered);
        let mut client = Self { runtime, world };
        client.world.hide_unresolved();
        let Self { runtime, world } = &mut client;
        runtime.block_on(world.settle());
        Ok(client)
    }

    /// Takes a step, and lets time pass until its date.
    ///
    /// # Errors
    /// What the step needs and is not there.
    pub(crate) fn step(
        &mut self,
        action: Action,
        plan: &Plan,
        step: usize,
    ) -> Result<View, &'static str> {
        let Self { runtime, world } = self;
        runtime.block_on(world.step(action, plan, step))
    }

    /// Why the step that failed cannot be taken here, or not at its date, if it cannot.
    pub(crate) fn infeasible(&mut self) -> Option<String> {
        let World { infeasible, overdue, .. } = &mut self.world;
        infeasible.take().or_else(|| overdue.take())
    }

    /// The frames of the last step, and what nobody expected, in words.
    pub(crate) fn tape(&mut self) -> Vec<String> {
        let mut tape = self.world.links.tape.take().unwrap_or_default();
        for (i, member) in self.world.members.iter().enumerate() {
            let Some(member) = member else { continue };
            let ear = member.heard.ear();
            tape.extend(ear.surprises.iter().map(|surprise| format!("c{i} {surprise}")));
        }
        tape
    }
}

impl World<'_> {
    async fn step(
        &mut self,
        action: Action,
        plan: &Plan,
        step: usize,
    ) -> Result<View, &'static str> {
        for member in self.members.iter_mut().flatten() {
            let mut ear = member.heard.ear();
            ear.news.clear();
            ear.assignment = None;
        }
        if let Some(tape) = &mut self.links.tape {
            tape.clear();
        }
        let (until, began) = (plan.dates[step], Instant::now());
        if super::core::at_deadline(action) {
            self.wait(until - STEP_MS).await;
        }
        self.act(action, plan, step).await?;
        self.wait(until).await;
        told::stepped(action, step, began, self.started);
        Ok(self.view())
    }

    async fn act(&mut self, action: Action, plan: &Plan, step: usize) -> Result<(), &'static str> {
        let i = action.consumer();
        match action {
            Action::Arrive(_) => self.arrive(i, None).await,
            Action::Refuse(_, refusal) => self.arrive(i, Some(refusal)).await,
            Action::LateLeave(_) => {
                let late = self.late[i].leave.take().ok_or("no leave is late")?;
                self.arrive_late(late).await;
                Ok(())
            }
            Action::LateHeartbeat(_) => {
                let late = self.late[i].heartbeat.take().ok_or("no heartbeat is late")?;
                self.arrive_late(late).await;
                Ok(())
            }
            Action::LateCommit(_) => {
                let late = self.late[i].commit.take().ok_or("no commit is late")?;
                self.arrive_late(late).await;
                Ok(())
            }
            Action::Session(_, number) | Action::Bury(_, number) => {
                self.fire(Timer::Session(self.slice.member_id(i, number)))
            }
            Action::Rebalance(_, number) => {
                self.fire(Timer::Rebalance(self.slice.member_id(i, number)))
            }
            Action::Interval => self.fire(Timer::Assignment),
            Action::Failover => self.fail_over(),
            Action::Crash(_) => self.crash(i).await,
            Action::Break(_) => self.disconnect(i),
            Action::Found(_) => self.find(i, None).await,
            Action::Deny(_) => self.find(i, Some(ErrorCode::GroupAuthorizationFailed)).await,
            Action::Answer(_) => self.answer(i),
            Action::Resolve(_) => self.resolve(i),
            Action::Return(_) | Action::Miss(_) | Action::Seek(..) => {
                let partition = plan.partitions[step].ok_or("no partition is to be read")?;
                match action {
                    Action::Seek(_, place) => {
                        let slice = self.slice;
                        self.member(i)?.seek(slice, partition, place)
                    }
                    Action::Miss(_) => self.miss(i, partition, plan.profile).await,
                    _ => self.hand_out(i, (partition, false), plan.profile).await,
                }
            }
            Action::Fire(..) => Ok(()),
            Action::Ask(_) => unreachable!("no clock produces it"),
            Action::Subscribe(_)
            | Action::Narrow(_)
            | Action::Poll(_)
            | Action::Exit(_)
            | Action::Drop(_)
            | Action::Commit(_)
            | Action::Unsubscribe(_)
            | Action::Abandon(_)
            | Action::Repeat(_)
            | Action::Done(_)
            | Action::Fail(_) => self.apply(i, action),
        }
    }

    /// The application does something.
    fn apply(&mut self, i: usize, action: Action) -> Result<(), &'static str> {
        let slice = self.slice;
        let member = self.member(i)?;
        match action {
            Action::Done(_) => member.end_callback(true),
            Action::Fail(_) => member.end_callback(false),
            Action::Poll(_) => member.order(Order::Poll),
            Action::Exit(_) | Action::Drop(_) | Action::Abandon(_) => member.order(Order::Leave),
            Action::Commit(_) => member.order(Order::Commit),
            Action::Unsubscribe(_) => member.order(Order::Unsubscribe),
            _ => {
                member.narrowed |= matches!(action, Action::Narrow(_));
                let topics = slice.subscription(member.narrowed);
                let topics = topics.iter().map(|topic| topic.as_str().to_owned());
                member.order(Order::Subscribe(topics.collect()))
            }
        }
    }

    fn member(&mut self, i: usize) -> Result<&mut Member, &'static str> {
        self.members[i].as_mut().ok_or("the consumer is dead")
    }

    /// The oldest request of a consumer reaches the broker.
    async fn arrive(&mut self, i: usize, refusal: Option<Refusal>) -> Result<(), &'static str> {
        let member = self.member(i)?;
        if member.requests.is_empty() {
            return Err("no request is on its way");
        }
        let held = member.requests.remove(0);
        let is_heartbeat = matches!(held.sent, Sent::Heartbeat { .. });
        if is_heartbeat && self.slice.ordered {
            self.late[i].heartbeat = None;
        }
        let link = self.links.get(held.link).ok_or("its connection is gone")?;
        if link.requests.front().is_none_or(|first| first.why != Why::Group) {
            return Err("an older request of its connection has not arrived");
        }
        self.hooks.with(|hooked| hooked.refusal = refusal.map(Refusal::code));
        link.forward(true);
        self.quiet.come().await;
        self.group = None;
        let answered = self.hooks.with(|hooked| std::mem::take(&mut hooked.answered));
        let [got] = <[Got; 1]>::try_from(answered).map_err(|_| "the broker does not answer")?;
        self.member(i)?.answers.push((held.link, got));
        Ok(())
    }

    async fn arrive_late(&mut self, (link, frame): (LinkId, Bytes)) {
        self.links.arrive_late(link, &frame);
        self.quiet.come().await;
        self.group = None;
        self.hooks.with(|hooked| hooked.answered.clear());
    }

    fn answer(&mut self, i: usize) -> Result<(), &'static str> {
        let member = self.member(i)?;
        if member.answers.is_empty() {
            return Err("no answer is on its way");
        }
        let (link, got) = member.answers.remove(0);
        if let Got::Heartbeat(answer) = got {
            member.is_member = matches!(answer, Ok((Some(_), _)));
        }
        self.links.answer(link)
    }

    /// The lookup is answered, or refused.
    async fn find(&mut self, i: usize, refusal: Option<ErrorCode>) -> Result<(), &'static str> {
        let id = self.member(i)?.lookup.take().ok_or("no lookup is outstanding")?;
        let link = self.links.get(id).ok_or("its connection is gone")?;
        if link.requests.front().is_none_or(|first| first.why != Why::Lookup) {
            return Err("an older request of its connection is not answered");
        }
        self.hooks.with(|hooked| hooked.no_coordinator = refusal);
        link.forward(false);
        self.quiet.come().await;
        Ok(())
    }

    fn resolve(&mut self, i: usize) -> Result<(), &'static str> {
        let member = self.member(i)?;
        if member.anticipated > 0 {
            member.anticipated -= 1;
            return Ok(());
        }
        member.resolved += 1;
        self.hide_unresolved();
        self.links.on_resolved(i);
        Ok(())
    }

    fn hide_unresolved(&self) {
        for (i, member) in self.members.iter().enumerate() {
            let resolved = member.as_ref().map_or(0, |member| member.resolved);
            let hidden = self.slice.topics.values().skip(resolved);
            self.cluster.hide_topics(&client_id(i), hidden.map(|topic| topic.name.clone()));
        }
    }

    fn fire(&mut self, timer: Timer) -> Result<(), &'static str> {
        self.group = None;
        let has_fired = self.cluster.fire_timer(GROUP, timer);
        has_fired.then_some(()).ok_or("the coordinator's timer is not armed")
    }

    fn fail_over(&mut self) -> Result<(), &'static str> {
        self.group = None;
        let other = match self.cluster.coordinator(GROUP) {
            Some(NodeId(1)) => NodeId(2),
            _ => NodeId(1),
        };
        self.cluster.move_coordinator(GROUP, other).map_err(|_| "the other node is dead")
    }

    /// Breaks every connection that the trace holds something on.
    fn disconnect(&mut self, i: usize) -> Result<(), &'static str> {
        let hides = self.wrong == Some(WrongDriver::HidesDisconnects);
        let member = self.member(i)?;
        let lookup = member.lookup.take().into_iter();
        let answers = member.answers.drain(..).map(|(link, _)| link);
        let mut broken: Vec<LinkId> = lookup.chain(answers).collect();
        let lost: Vec<_> = member.requests.drain(..).collect();
        for held in lost {
            broken.push(held.link);
            let late = Some((held.link, held.frame));
            match held.sent {
                Sent::Heartbeat { epoch: HeartbeatEpoch::Leave, .. } => self.late[i].leave = late,
                Sent::Heartbeat { .. } => self.late[i].heartbeat = late,
                Sent::Commit { .. } => self.late[i].commit = late,
            }
        }
        if !hides {
            for link in broken {
                self.links.cut(link);
            }
        }
        Ok(())
    }

    /// The process dies: its tasks end and its connections with them.
    async fn crash(&mut self, i: usize) -> Result<(), &'static str> {
        self.member(i)?.order(Order::Die)?;
        let member = self.members[i].take().ok_or("the consumer is dead")?;
        let late = std::mem::take(&mut self.late[i]);
        let mut requests = member.requests.into_iter();
        let commit = requests.find(|held| matches!(held.sent, Sent::Commit { .. }));
        self.late[i].commit = commit.map(|held| (held.link, held.frame)).or(late.commit);
        self.settle().await;
        Ok(())
    }

    /// Lets time pass until `until`, with everything that happens by itself.
    async fn wait(&mut self, until: u64) {
        loop {
            self.settle().await;
            let now = self.now();
            if now >= until {
                return;
            }
            let next = self.links.due().map_or(until, |due| due.min(until));
            let date = self.started + Duration::from_millis(next);
            self.links.happens_before(date).await;
        }
    }

    /// Lets everything happen that takes no time.
    async fn settle(&mut self) {
        loop {
            self.quiet.come().await;
            if self.wrong == Some(WrongDriver::ForgetsRefusedLookups) {
                let refused = (0..self.members.len()).filter(|i| self.refused_lookup(*i).is_some());
                refused.collect::<Vec<_>>().into_iter().for_each(|i| self.links.mute_positions(i));
            }
            let now = self.now();
            let (members, all) = (&self.members, self.slice.topics.len());
            let came = self.links.collect(now, |i| {
                members[i].as_ref().is_some_and(|m| m.resolved < all && m.is_member)
            });
            for came in came {
                let (Came::Group(i, ..)
                | Came::Lookup(i, _)
                | Came::Unreadable(i)
                | Came::Closed(i, _)) = came;
                if let Some(member) = &mut self.members[i] {
                    member.on_came(came);
                }
            }
            if !self.links.pass(now) {
                return;
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn view(&mut self) -> View {
        let consumers = self.members.iter().map(|member| match member {
            Some(member) => member.view(),
            None => ConsumerView::crashed(),
        });
        let consumers = consumers.collect();
        View { consumers, group: self.group_view() }
    }

    fn group_view(&mut self) -> Arc<GroupView> {
        let cluster = &self.cluster;
        let make = || {
            let described = cluster.describe_group(GROUP).expect("its members are numbered");
            let armed = cluster.armed_timers(GROUP).into_iter().map(|(timer, _)| timer);
            let coordinator = cluster.coordinator(GROUP).expect("no node dies");
            let timers: BTreeSet<Timer> = armed.collect();
            Arc::new(GroupView::described(described, model_node(coordinator), timers))
        };
        self.group.get_or_insert_with(make).clone()
    }
}

/// The client id that tells a consumer from the others.
fn client_id(i: usize) -> String {
    format!("c{i}")
}
