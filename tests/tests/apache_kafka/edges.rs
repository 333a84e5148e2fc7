//! Sequences of requests that the model's edges send to the coordinator.
//!
//! A slice is explored without the coordinator's timers and failovers. Each edge on which the
//! coordinator processes a request has a shortest path; of that the requests are kept, in the order
//! in which they are processed: a way down a prefix tree. What is sent are ways to leaves, since
//! all others are their beginnings. Not decided here: who is asked, and what is compared.

use crate::script::render_partitions;
use evenkeel_coordinator::Group;
use evenkeel_model::bounds::Slice;
use evenkeel_model::explore::{System, fingerprint};
use evenkeel_model::system::{Action, Asked, State};
use evenkeel_spec::words::{
    Epoch, Heartbeat, HeartbeatEpoch, MemberId, OffsetCommit, Partitions, TopicName,
};
use stateright::Model;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// The requests of all edges of some slices with the same topics.
#[derive(Default)]
pub(crate) struct Edges {
    /// Each after those before it.
    requests: Vec<Request>,
    /// The request that follows one of them, or is the first, and has this text.
    next: HashMap<(Option<usize>, String), usize>,
    /// How many states were visited.
    pub(crate) states: usize,
    /// On how many edges the coordinator processes a request.
    pub(crate) edges: usize,
}

struct Request {
    before: Option<usize>,
    line: String,
    is_last: bool,
    /// The coordinator and what it is asked, with epochs as ranks.
    pair: u128,
}

/// What the coordinator processes.
#[derive(Clone, Hash)]
enum Asks {
    Heartbeat(Heartbeat),
    Commit(OffsetCommit),
}

impl Edges {
    /// Visits every state of a slice that is reached without timers and failovers of the
    /// coordinator, each on a shortest path.
    pub(crate) fn visit(&mut self, slice: &Slice) {
        let start = slice.initial();
        let mut visited = HashSet::from([fingerprint(&slice.canonical(&start))]);
        let mut open = VecDeque::from([(start, None)]);
        let mut actions = Vec::new();
        while let Some((state, at)) = open.pop_front() {
            slice.actions(&state, &mut actions);
            for action in actions.drain(..).filter(|action| !is_coordinators_own(*action)) {
                let Some(after) = slice.next_state(&state, action) else { continue };
                let at = match asks(&state, action) {
                    Some(asks) => Some(self.follow(at, slice, &state.brain.group, asks)),
                    None => at,
                };
                if visited.insert(fingerprint(&slice.canonical(&after))) {
                    open.push_back((after, at));
                }
            }
        }
        self.states += visited.len();
    }

    /// Every sequence that is not the beginning of another, in an order that is the same on every
    /// run.
    pub(crate) fn sequences(&self) -> Vec<Vec<&str>> {
        let last = (0..self.requests.len()).filter(|&at| self.requests[at].is_last);
        last.map(|at| self.way_to(at)).collect()
    }

    /// How many different requests in different states of the coordinator there are, up to the
    /// names of epochs.
    pub(crate) fn pairs(&self) -> usize {
        self.requests.iter().map(|request| request.pair).collect::<HashSet<_>>().len()
    }

    /// The request that follows `before`.
    fn follow(&mut self, before: Option<usize>, slice: &Slice, group: &Group, asks: Asks) -> usize {
        self.edges += 1;
        let line = asks.line(slice);
        if let Some(known) = self.next.get(&(before, line.clone())) {
            return *known;
        }
        if let Some(before) = before {
            self.requests[before].is_last = false;
        }
        let pair = fingerprint(&ranked(group, asks));
        let number = self.requests.len();
        self.requests.push(Request { before, line: line.clone(), is_last: true, pair });
        self.next.insert((before, line), number);
        number
    }

    fn way_to(&self, last: usize) -> Vec<&str> {
        let way = std::iter::successors(Some(last), |&at| self.requests[at].before);
        let mut lines: Vec<&str> = way.map(|at| self.requests[at].line.as_str()).collect();
        lines.reverse();
        lines
    }
}

impl Asks {
    /// As scripts write it.
    fn line(&self, slice: &Slice) -> String {
        match self {
            Self::Heartbeat(request) => heartbeat(slice, request),
            Self::Commit(request) => commit(slice, request),
        }
    }

    fn epoch(&mut self) -> Option<&mut Epoch> {
        match self {
            Self::Heartbeat(Heartbeat { epoch: HeartbeatEpoch::Stay(epoch), .. }) => Some(epoch),
            Self::Heartbeat(_) => None,
            Self::Commit(request) => request.owner.as_mut().map(|owner| &mut owner.epoch),
        }
    }
}

/// What the coordinator is asked by this action.
fn asks(state: &State, action: Action) -> Option<Asks> {
    let node = |i: usize| &state.nodes[i];
    match action {
        Action::Arrive(i) => node(i).requests.first().map(|asked| match asked {
            Asked::Heartbeat(_, _, request) => Asks::Heartbeat(request.clone()),
            Asked::Commit(_, _, request) => Asks::Commit(request.clone()),
        }),
        Action::LateLeave(i) => node(i).late_leave.clone().map(Asks::Heartbeat),
        Action::LateHeartbeat(i) => node(i).late_heartbeat.clone().map(Asks::Heartbeat),
        Action::LateCommit(i) => node(i).late_commit.clone().map(Asks::Commit),
        _ => None,
    }
}

/// Whether it is a timer of the coordinator, or the coordinator's own fate.
fn is_coordinators_own(action: Action) -> bool {
    matches!(
        action,
        Action::Session(..)
            | Action::Bury(..)
            | Action::Rebalance(..)
            | Action::Interval
            | Action::Failover
    )
}

/// The same with epochs as ranks among all of them.
fn ranked(group: &Group, mut asks: Asks) -> (Group, Asks) {
    let mut group = group.clone();
    let mut epochs = BTreeSet::new();
    group.for_each_epoch(&mut |epoch| {
        epochs.insert(epoch);
    });
    epochs.extend(asks.epoch().map(|epoch| *epoch));
    let ranks: BTreeMap<Epoch, Epoch> = epochs.into_iter().zip((1..).map(Epoch)).collect();
    group.visit_epochs(&mut |epoch| *epoch = ranks[epoch]);
    if let Some(epoch) = asks.epoch() {
        *epoch = ranks[epoch];
    }
    (group, asks)
}

fn heartbeat(slice: &Slice, request: &Heartbeat) -> String {
    let epoch = match request.epoch {
        HeartbeatEpoch::Join => "0".to_owned(),
        HeartbeatEpoch::Stay(epoch) => epoch.0.to_string(),
        HeartbeatEpoch::Leave => "-1".to_owned(),
    };
    let mut line = format!("heartbeat {} epoch={epoch}", member(slice, request.member));
    if let Some(ms) = request.rebalance_timeout_ms {
        line += &format!(" timeout={ms}");
    }
    if let Some(subscription) = &request.subscription {
        let names: Vec<&str> = subscription.iter().map(TopicName::as_str).collect();
        assert!(!names.is_empty(), "the model's applications subscribe to something");
        line += &format!(" topics={}", names.join(","));
    }
    if let Some(owned) = &request.owned {
        line += &format!(" owned={}", partitions(slice, owned));
    }
    assert!(request.assignor.is_none(), "the model's consumers prefer no assignor");
    line
}

fn commit(slice: &Slice, request: &OffsetCommit) -> String {
    let owner = request.owner.expect("the model's consumers commit as members");
    let mut line = format!("commit {} epoch={}", member(slice, owner.member), owner.epoch.0);
    for (at, committed) in &request.offsets {
        line += &format!(" {}@{}", partitions(slice, &[*at].into()), committed.offset.0);
    }
    line
}

/// The ids of one consumer follow each other, those of the next come after them: as in the model.
fn member(slice: &Slice, id: MemberId) -> String {
    let (consumer, number) = slice.consumer_of(id);
    let number = number as usize;
    assert!(number < IDS_MAX, "{id:?} is one id too many for its consumer");
    format!("m{}", consumer * IDS_MAX + number)
}

fn partitions(slice: &Slice, partitions: &Partitions) -> String {
    let name = |topic| slice.topics[topic].name.as_str().to_owned();
    render_partitions(partitions.iter().map(|at| (name(&at.topic), at.partition)))
}

/// Member ids of one consumer. Kafka's assignors take members in the order of a hash map, which is
/// that of the numbers from 0 to 9.
const IDS_MAX: usize = 5;
