//! What is compared after every step: one world as an onlooker sees it.
//!
//! Both the model's state and what a replay drives are projected to this. Not in it, since the
//! model has none of them: ApiVersions, Metadata, OffsetFetch, ListOffsets, Fetch, connections,
//! positions of partitions of which no record was returned, the numbers of timings.

use super::retrace::Orders;
use evenkeel_coordinator::{Description, GroupState, MemberState, Timer as Patience};
use evenkeel_core::group::consumer::State as Membership;
use evenkeel_core::group::{Callback, CommitError, Group, Output};
use evenkeel_model::bounds::Slice;
use evenkeel_model::system::{Action, Asked, Brain, Call, Node, Reply, State};
use evenkeel_spec::words::{
    Epoch, ErrorCode, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, MemberId, NodeId, Offset,
    OffsetCommit, Owner, Partitions, TopicIdPartition,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct View {
    /// The consumers.
    pub consumers: Vec<ConsumerView>,
    /// The group at its coordinator.
    pub group: Arc<GroupView>,
}

/// One consumer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsumerView {
    /// Its process is dead.
    pub crashed: bool,
    /// What its machine says; `None` where a target cannot look inside.
    pub member: Option<MemberView>,
    /// What its application is inside of.
    pub call: Call,
    /// The callback that its application is in.
    pub callback: Option<(Told, Partitions)>,
    /// It looks for the coordinator.
    pub looks: bool,
    /// Requests to the coordinator that have not arrived, oldest first.
    pub requests: Vec<Sent>,
    /// Answers that have not arrived, oldest first.
    pub answers: Vec<Got>,
    /// What the application heard in this step, in order.
    pub news: Vec<News>,
    /// What the application is told to be assigned; `None` where it does not look.
    pub assignment: Option<Partitions>,
}

/// A consumer's machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberView {
    /// Where the membership stands, with its epoch.
    pub state: Membership,
    /// The member id in use.
    pub id: MemberId,
    /// What the application was given.
    pub owned: Partitions,
    /// A leave is still to be answered.
    pub departs: bool,
    /// The coordinator that it knows.
    pub coordinator: Option<NodeId>,
}

/// Which callback.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// `on_partitions_assigned`.
    Assigned,
    /// `on_partitions_revoked`.
    Revoked,
    /// `on_partitions_lost`.
    Lost,
}

/// A request as the broker reads it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sent {
    /// A heartbeat to that node.
    Heartbeat {
        /// To whom.
        to: NodeId,
        /// In whose name.
        member: MemberId,
        /// Joins, stays, leaves.
        epoch: HeartbeatEpoch,
        /// What it says to own.
        owned: Option<Partitions>,
        /// How many topics it says to subscribe to.
        subscribed: Option<usize>,
        /// Whether it tells its rebalance timeout.
        tells_timeout: bool,
    },
    /// A commit to that node.
    Commit {
        /// To whom.
        to: NodeId,
        /// In whose name.
        owner: Option<Owner>,
        /// What.
        offsets: BTreeMap<TopicIdPartition, Offset>,
    },
}

/// An answer on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Got {
    /// To a heartbeat: epoch and assignment.
    Heartbeat(Result<(Option<Epoch>, Option<Partitions>), ErrorCode>),
    /// To a commit.
    Commit(Result<BTreeMap<TopicIdPartition, Result<(), ErrorCode>>, ErrorCode>),
}

/// What the application heard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum News {
    /// Poll returned a record: the offset after it.
    Returned(TopicIdPartition, Offset),
    /// A commit is over.
    Committed(Result<(), CommitError>),
    /// An unsubscribe is over; whether the coordinator confirmed it.
    Left(bool),
    /// Something that no trace expects.
    Surprised,
}

/// The group at its coordinator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupView {
    /// Who coordinates.
    pub coordinator: NodeId,
    /// Its state.
    pub state: GroupState,
    /// The group epoch.
    pub epoch: Option<Epoch>,
    /// The epoch of the target.
    pub assignment_epoch: Option<Epoch>,
    /// Epoch, state, assigned and to be revoked of each member.
    pub members: BTreeMap<MemberId, (Epoch, MemberState, Partitions, Partitions)>,
    /// The committed offsets.
    pub committed: BTreeMap<TopicIdPartition, Offset>,
    /// The armed timers.
    pub timers: BTreeSet<Patience>,
}

/// The views along a path, one after each action.
pub(crate) fn expected(
    slice: &Slice,
    actions: &[Action],
    states: &[State],
    orders: &[Orders],
) -> Vec<View> {
    let mut group = Arc::new(GroupView::of(&states[0].brain));
    let mut views = Vec::with_capacity(actions.len());
    for (step, action) in actions.iter().enumerate() {
        let (before, after) = (&states[step], &states[step + 1]);
        if before.brain != after.brain {
            group = Arc::new(GroupView::of(&after.brain));
        }
        let consumers = after.nodes.iter().enumerate().map(|(i, node)| {
            // Nobody hears the end of an unsubscribe that was dropped.
            let hears = before.nodes[i].app.call == Call::Unsubscribe
                || matches!(action, Action::Unsubscribe(_));
            let news = if action.consumer() == i { news(&orders[step], hears) } else { Vec::new() };
            ConsumerView::of(slice, i, node, news)
        });
        views.push(View { consumers: consumers.collect(), group: group.clone() });
    }
    views
}

fn news(orders: &Orders, hears_end: bool) -> Vec<News> {
    let returned = orders.returned.map(|(partition, next)| News::Returned(partition, next));
    let heard = orders.consumer.iter().filter_map(|output| match output {
        Output::CommitDone { result, .. } => Some(News::Committed(*result)),
        Output::Left { clean } => hears_end.then_some(News::Left(*clean)),
        _ => None,
    });
    returned.into_iter().chain(heard).collect()
}

impl View {
    /// What is seen of a state, without news.
    pub(super) fn of(slice: &Slice, state: &State) -> Self {
        let consumers = state.nodes.iter().enumerate();
        let consumers = consumers.map(|(i, node)| ConsumerView::of(slice, i, node, Vec::new()));
        Self { consumers: consumers.collect(), group: Arc::new(GroupView::of(&state.brain)) }
    }

    /// Whether this, as a target shows it, is what is expected. What a target cannot show is not
    /// compared.
    #[must_use]
    pub fn is(&self, expected: &Self) -> bool {
        let mut pairs = self.consumers.iter().zip(&expected.consumers);
        self.group == expected.group
            && self.consumers.len() == expected.consumers.len()
            && pairs.all(|(shown, expected)| shown.is(expected))
    }
}

impl ConsumerView {
    /// See [`View::is`].
    fn is(&self, expected: &Self) -> bool {
        self.crashed == expected.crashed
            && (self.member.is_none() || self.member == expected.member)
            && self.call == expected.call
            && self.callback == expected.callback
            && self.looks == expected.looks
            && self.requests == expected.requests
            && self.answers == expected.answers
            && self.news == expected.news
            && (self.assignment.is_none() || self.assignment == expected.assignment)
    }

    /// A consumer whose process is dead.
    #[must_use]
    pub fn crashed() -> Self {
        Self {
            crashed: true,
            member: None,
            call: Call::Outside,
            callback: None,
            looks: false,
            requests: Vec::new(),
            answers: Vec::new(),
            news: Vec::new(),
            assignment: None,
        }
    }

    fn of(slice: &Slice, i: usize, node: &Node, news: Vec<News>) -> Self {
        if node.crashed {
            return Self::crashed();
        }
        Self {
            crashed: false,
            member: Some(MemberView::of(slice, i, &node.group)),
            call: node.app.call,
            callback: node.app.callback.as_ref().map(|(_, callback)| told(callback)),
            looks: node.lookup.is_some(),
            requests: node.requests.iter().map(Sent::of).collect(),
            answers: node.answers.iter().map(Got::of).collect(),
            news,
            assignment: Some(node.group.owned().clone()),
        }
    }
}

impl MemberView {
    /// What a machine says. Its id is the one that the coordinator would know it by.
    #[must_use]
    pub fn of(slice: &Slice, i: usize, group: &Group) -> Self {
        Self {
            state: group.state(),
            id: slice.member_id(i, group.member_id().0),
            owned: group.owned().clone(),
            departs: group.is_departing(),
            coordinator: group.coordinator(),
        }
    }
}

impl Sent {
    /// A heartbeat, in the coordinator's ids.
    #[must_use]
    pub fn heartbeat(to: NodeId, request: &Heartbeat) -> Self {
        Self::Heartbeat {
            to,
            member: request.member,
            epoch: request.epoch,
            owned: request.owned.clone(),
            subscribed: request.subscription.as_ref().map(|topics| topics.len()),
            tells_timeout: request.rebalance_timeout_ms.is_some(),
        }
    }

    /// A commit, in the coordinator's ids.
    #[must_use]
    pub fn commit(to: NodeId, request: &OffsetCommit) -> Self {
        let offsets = request.offsets.iter().map(|(p, committed)| (*p, committed.offset));
        Self::Commit { to, owner: request.owner, offsets: offsets.collect() }
    }

    fn of(asked: &Asked) -> Self {
        match asked {
            Asked::Heartbeat(_, to, request) => Self::heartbeat(*to, request),
            Asked::Commit(_, to, request) => Self::commit(*to, request),
        }
    }
}

impl Got {
    /// What a heartbeat was answered.
    #[must_use]
    pub fn heartbeat(answer: &Result<HeartbeatAnswer, ErrorCode>) -> Self {
        let told = answer.as_ref().map(|a| (a.epoch, a.assignment.clone()));
        Self::Heartbeat(told.map_err(|code| *code))
    }

    fn of(reply: &Reply) -> Self {
        match reply {
            Reply::Heartbeat(_, _, answer) => Self::heartbeat(answer),
            Reply::Commit(_, _, answer) => Self::Commit(answer.clone()),
        }
    }
}

impl GroupView {
    /// The group of a coordinator.
    #[must_use]
    pub fn new(
        group: &evenkeel_coordinator::Group,
        coordinator: NodeId,
        timers: &BTreeSet<Patience>,
    ) -> Self {
        Self::described(group.describe(), coordinator, timers.clone())
    }

    /// The group as its coordinator describes it.
    #[must_use]
    pub fn described(
        described: Description,
        coordinator: NodeId,
        timers: BTreeSet<Patience>,
    ) -> Self {
        let members = described.members.into_iter().map(|(id, member)| {
            (id, (member.epoch, member.state, member.assigned, member.pending_revocation))
        });
        Self {
            coordinator,
            state: described.state,
            epoch: described.epoch,
            assignment_epoch: described.assignment_epoch,
            members: members.collect(),
            committed: described.offsets.into_iter().map(|(p, c)| (p, c.offset)).collect(),
            timers,
        }
    }

    fn of(brain: &Brain) -> Self {
        Self::new(&brain.group, brain.node(), &brain.timers)
    }
}

/// A callback and its partitions.
#[must_use]
pub fn told(callback: &Callback) -> (Told, Partitions) {
    match callback {
        Callback::Assigned(partitions) => (Told::Assigned, partitions.clone()),
        Callback::Revoked(partitions) => (Told::Revoked, partitions.clone()),
        Callback::Lost(_, partitions) => (Told::Lost, partitions.clone()),
    }
}
