//! What the shipped machines ordered in one step of a path: the model's state has its results only.
//!
//! Feeds a copy of the machine before the step with the step's input, and checks that it becomes
//! the machine after the step, so that this cannot drift from the model. A step's orders tell which
//! timers were armed anew, and what the application must hear.

use evenkeel_coordinator::Order;
use evenkeel_core::group::{CommitId, Group, Output};
use evenkeel_model::bounds::Slice;
use evenkeel_model::system::{Action, Asked, Reply, State};
use evenkeel_spec::words::{Committed, ErrorCode, Heartbeat, Offset, TopicIdPartition};
use std::collections::BTreeSet;

/// The orders of one step.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Orders {
    /// Of the acting consumer, in order.
    pub(crate) consumer: Vec<Output>,
    /// Of the coordinator, in order.
    pub(crate) coordinator: Vec<Order>,
    /// The record that went to the application: its partition and the offset after it.
    pub(crate) returned: Option<(TopicIdPartition, Offset)>,
    /// The partition whose record comes, or that is sought.
    pub(crate) partition: Option<TopicIdPartition>,
}

/// The orders of `action`.
///
/// # Panics
/// The step does not lead from `before` to `after`.
pub(crate) fn orders(slice: &Slice, before: &State, action: Action, after: &State) -> Orders {
    let mut orders = Orders::default();
    let delivered = match action {
        Action::Return(i) | Action::Miss(i) => delivered(before, after, i),
        _ => None,
    };
    orders.partition = match action {
        Action::Seek(i, _) => before.nodes[i].sought(slice),
        _ => delivered.map(|(partition, _)| partition),
    };
    orders.returned = match action {
        Action::Return(_) => delivered,
        Action::Poll(i) => before.nodes[i].app.waiting,
        _ => None,
    };
    if let Some(mut fed) = Fed::new(slice, before, action) {
        fed.input(action, delivered);
        assert_eq!(
            fed.group,
            after.nodes[action.consumer()].group,
            "the model feeds its consumers otherwise in {action}"
        );
        orders.consumer = fed.out;
    }
    orders.coordinator = at_coordinator(slice, before, action);
    orders
}

fn delivered(before: &State, after: &State, i: usize) -> Option<(TopicIdPartition, Offset)> {
    let old = &before.nodes[i].app.positions;
    let mut new = after.nodes[i].app.positions.iter();
    new.find(|(partition, at)| old.get(partition) != Some(at)).map(|(p, at)| (*p, *at))
}

/// The consumer of a step.
struct Fed<'a> {
    slice: &'a Slice,
    before: &'a State,
    i: usize,
    group: Group,
    out: Vec<Output>,
}

impl<'a> Fed<'a> {
    /// None: the step does not concern a consumer's machines.
    fn new(slice: &'a Slice, before: &'a State, action: Action) -> Option<Self> {
        match action {
            Action::Arrive(_)
            | Action::Refuse(..)
            | Action::LateLeave(_)
            | Action::LateCommit(_)
            | Action::LateHeartbeat(_)
            | Action::Session(..)
            | Action::Bury(..)
            | Action::Rebalance(..)
            | Action::Interval
            | Action::Failover
            | Action::Crash(_) => return None,
            Action::Subscribe(_)
            | Action::Narrow(_)
            | Action::Poll(_)
            | Action::Exit(_)
            | Action::Drop(_)
            | Action::Return(_)
            | Action::Miss(_)
            | Action::Seek(..)
            | Action::Commit(_)
            | Action::Unsubscribe(_)
            | Action::Abandon(_)
            | Action::Repeat(_)
            | Action::Ask(_)
            | Action::Done(_)
            | Action::Fail(_)
            | Action::Resolve(_)
            | Action::Found(_)
            | Action::Deny(_)
            | Action::Answer(_)
            | Action::Break(_)
            | Action::Fire(..) => {}
        }
        let i = action.consumer();
        let group = before.nodes[i].group.clone();
        Some(Self { slice, before, i, group, out: Vec::new() })
    }

    fn input(&mut self, action: Action, delivered: Option<(TopicIdPartition, Offset)>) {
        let node = &self.before.nodes[self.i];
        let seen = node.app.waiting.is_none();
        let callback = node.app.callback.as_ref().map(|(incarnation, _)| *incarnation);
        match action {
            Action::Subscribe(_) | Action::Narrow(_) | Action::Repeat(_) => {
                let narrowed = node.app.narrowed || matches!(action, Action::Narrow(_));
                let subscription = self.slice.subscription(narrowed);
                self.feed(|group, out| group.on_subscribe(subscription, node.app.listener, out));
            }
            Action::Poll(_) => {
                self.feed(|group, out| group.on_poll(seen, out));
                if !seen {
                    self.feed(Group::on_poll_ended);
                }
            }
            Action::Exit(_) | Action::Drop(_) => self.feed(Group::on_poll_ended),
            Action::Return(_) | Action::Miss(_) => {
                let (partition, next) = delivered.expect("a record has come");
                let offsets = [(partition, Committed::at(next))].into();
                self.feed(|group, out| group.on_delivered(&offsets, out));
            }
            Action::Seek(_, place) => {
                let partition = node.sought(self.slice).expect("there is one to be sought");
                let (_, known) = self.slice.place(partition, place);
                let known = known.map(Committed::at);
                self.feed(|group, _| group.on_sought(partition, known.as_ref()));
            }
            Action::Commit(_) => {
                self.feed(|group, out| group.on_commit(CommitId(0), seen, None, out));
            }
            Action::Unsubscribe(_) => self.feed(|group, out| group.on_unsubscribe(seen, out)),
            Action::Abandon(_) => {}
            Action::Ask(_) => self.feed(Group::on_coordinator_wanted),
            Action::Done(_) | Action::Fail(_) => {
                let incarnation = callback.expect("a callback is open");
                let ok = matches!(action, Action::Done(_));
                self.feed(|group, out| group.on_callback_done(incarnation, ok, out));
            }
            Action::Resolve(_) => {
                let topics: BTreeSet<_> =
                    self.slice.topics.keys().take(node.resolved + 1).copied().collect();
                self.feed(|group, out| group.on_topics_resolved(&topics, out));
            }
            Action::Found(_) => {
                let incarnation = node.lookup.expect("a lookup is outstanding");
                let found = Ok(self.before.brain.node());
                self.feed(|group, out| group.on_coordinator(incarnation, found, out));
            }
            Action::Deny(_) => {
                let incarnation = node.lookup.expect("a lookup is outstanding");
                let refused = Err(ErrorCode::GroupAuthorizationFailed);
                self.feed(|group, out| group.on_coordinator(incarnation, refused, out));
                self.group.on_coordinator_unwanted();
            }
            Action::Answer(_) => self.answer(node.answers[0].clone()),
            Action::Break(_) => self.lose_all(),
            Action::Fire(_, timer) => self.feed(|group, out| group.on_timer(timer, out)),
            other => unreachable!("{other} concerns no consumer"),
        }
    }

    fn answer(&mut self, reply: Reply) {
        match reply {
            Reply::Heartbeat(incarnation, _, answer) => {
                self.feed(|group, out| group.on_heartbeat_answer(incarnation, answer, out));
            }
            Reply::Commit(incarnation, _, answer) => {
                self.feed(|group, out| group.on_commit_answer(incarnation, answer, out));
            }
        }
    }

    fn lose_all(&mut self) {
        let node = &self.before.nodes[self.i];
        let answers = node.answers.iter().map(|reply| match reply {
            Reply::Heartbeat(incarnation, ..) | Reply::Commit(incarnation, ..) => *incarnation,
        });
        let requests = node.requests.iter().map(Asked::incarnation);
        for incarnation in node.lookup.into_iter().chain(answers).chain(requests) {
            self.feed(|group, out| group.on_lost(incarnation, out));
        }
    }

    /// An input, and the lookup that is answered at once where it takes no time.
    fn feed(&mut self, input: impl FnOnce(&mut Group, &mut Vec<Output>)) {
        let mut out = Vec::new();
        input(&mut self.group, &mut out);
        while !out.is_empty() {
            let lookup = out.iter().find_map(|output| match output {
                Output::FindCoordinator { incarnation } => Some(*incarnation),
                _ => None,
            });
            self.out.append(&mut out);
            if let (Some(incarnation), false) = (lookup, self.slice.detail.lookup) {
                let found = Ok(self.before.brain.node());
                self.group.on_coordinator(incarnation, found, &mut out);
            }
        }
    }
}

fn at_coordinator(slice: &Slice, before: &State, action: Action) -> Vec<Order> {
    use evenkeel_coordinator::Timer;
    let node = |i: usize| &before.nodes[i];
    let mut group = before.brain.group.clone();
    let mut hear =
        |request: &Heartbeat| group.on_heartbeat(&slice.coordinator, &slice.topics, request).orders;
    let timer = match action {
        Action::Arrive(i) => {
            return match node(i).requests.first() {
                Some(Asked::Heartbeat(_, to, request)) if *to == before.brain.node() => {
                    hear(request)
                }
                _ => Vec::new(),
            };
        }
        Action::LateLeave(i) => return node(i).late_leave.as_ref().map(hear).unwrap_or_default(),
        Action::LateHeartbeat(i) => {
            return node(i).late_heartbeat.as_ref().map(hear).unwrap_or_default();
        }
        Action::Failover => return group.loaded(&slice.coordinator),
        Action::Session(i, number) | Action::Bury(i, number) => {
            Timer::Session(slice.member_id(i, number))
        }
        Action::Rebalance(i, number) => Timer::Rebalance(slice.member_id(i, number)),
        Action::Interval => Timer::Assignment,
        _ => return Vec::new(),
    };
    group.on_timer(&slice.coordinator, &slice.topics, timer).orders
}
