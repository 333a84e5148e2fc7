//! One consumer: the shipped machines, its application, and what is on its connections.

use crate::bounds::Slice;
use evenkeel_core::Incarnation;
use evenkeel_core::group::consumer::State as Membership;
use evenkeel_core::group::{Callback, Group};
use evenkeel_spec::words::{
    ErrorCode, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, MemberId, NodeId, Offset, OffsetCommit,
    OffsetsCommitted, Partitions, Timer, TopicIdPartition,
};
use std::collections::{BTreeMap, BTreeSet};

/// One consumer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Node {
    /// The shipped composite.
    pub group: Group,
    /// Its armed timers; any of them may fire.
    pub timers: BTreeSet<Timer>,
    /// The lookup that is outstanding, on a connection of its own.
    pub lookup: Option<Incarnation>,
    /// What is on its way to the coordinator, oldest first.
    pub requests: Vec<Asked>,
    /// What is on its way back, oldest first.
    pub answers: Vec<Reply>,
    /// A leave from a broken connection that may still be processed.
    pub late_leave: Option<Heartbeat>,
    /// A commit from a broken connection that may still be processed.
    pub late_commit: Option<OffsetCommit>,
    /// A heartbeat from a broken connection that may still be processed.
    pub late_heartbeat: Option<Heartbeat>,
    /// How many topics metadata can name.
    pub resolved: usize,
    /// The process is dead.
    pub crashed: bool,
    /// The application.
    pub app: App,
    /// Incarnations were given since the last renaming.
    pub renamed: bool,
}

/// One application.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct App {
    /// What it is inside of.
    pub call: Call,
    /// Whether it has a listener.
    pub listener: bool,
    /// Whether it wants to be in the group.
    pub subscribed: bool,
    /// Whether it subscribes to the last topic only.
    pub narrowed: bool,
    /// Whether the consumer was refused for good.
    pub refused: bool,
    /// The callback that it is in.
    pub callback: Option<(Incarnation, Callback)>,
    /// Where it reads on: what the position machine of the shell would say. Of partitions with
    /// records only.
    pub positions: BTreeMap<TopicIdPartition, Offset>,
    /// Positions that are being looked up, on the connection to the coordinator: how many answers
    /// come before theirs.
    pub placing: BTreeMap<TopicIdPartition, usize>,
    /// Partitions whose records may be returned.
    pub open: Partitions,
    /// What came for a poll that was dropped, up to this offset: the next one returns it.
    pub waiting: Option<(TopicIdPartition, Offset)>,
}

/// What an application is inside of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Call {
    /// Its own code.
    Outside,
    /// `poll`.
    Poll,
    /// `unsubscribe`.
    Unsubscribe,
}

/// A request on its way.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Asked {
    /// A heartbeat, to that node.
    Heartbeat(Incarnation, NodeId, Heartbeat),
    /// A commit, to that node.
    Commit(Incarnation, NodeId, OffsetCommit),
}

/// An answer on its way.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Reply {
    /// To a heartbeat; whether that was a leave.
    Heartbeat(Incarnation, bool, Result<HeartbeatAnswer, ErrorCode>),
    /// To a commit; the offsets that it carried.
    Commit(Incarnation, BTreeMap<TopicIdPartition, Offset>, OffsetsCommitted),
}

impl Asked {
    /// Its incarnation.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        match self {
            Self::Heartbeat(incarnation, ..) | Self::Commit(incarnation, ..) => *incarnation,
        }
    }

    /// Whether it is a commit.
    #[must_use]
    pub fn is_commit(&self) -> bool {
        matches!(self, Self::Commit(..))
    }

    /// Whether it is a heartbeat, but not of this kind.
    #[must_use]
    pub fn is_heartbeat_but(&self, kind: HeartbeatEpoch) -> bool {
        matches!(self, Self::Heartbeat(_, _, request) if request.epoch != kind)
    }
}

impl Node {
    /// A consumer that has done nothing yet.
    #[must_use]
    pub fn new(slice: &Slice) -> Self {
        let mut group = Group::new(slice.group_config());
        if !slice.detail.resolve {
            let topics = slice.topics.keys().copied().collect();
            group.on_topics_resolved(&topics, &mut Vec::new());
        }
        Self {
            group,
            timers: BTreeSet::new(),
            lookup: None,
            requests: Vec::new(),
            answers: Vec::new(),
            late_leave: None,
            late_commit: None,
            late_heartbeat: None,
            resolved: if slice.detail.resolve { 0 } else { slice.topics.len() },
            crashed: false,
            app: App {
                call: Call::Outside,
                listener: slice.listener,
                subscribed: false,
                narrowed: false,
                refused: false,
                callback: None,
                positions: BTreeMap::new(),
                placing: BTreeMap::new(),
                open: Partitions::new(),
                waiting: None,
            },
            renamed: true,
        }
    }

    /// Whether nothing is on its connections.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.lookup.is_none() && self.requests.is_empty() && self.answers.is_empty()
    }

    /// Whether nothing is on its connections but commits, and heartbeats that change nothing.
    #[must_use]
    pub fn is_at_ease(&self) -> bool {
        let repeats = |asked: &Asked| match asked {
            Asked::Heartbeat(_, _, request) => {
                matches!(request.epoch, HeartbeatEpoch::Stay(_)) && request.owned.is_none()
            }
            Asked::Commit(..) => true,
        };
        let confirms = |reply: &Reply| match reply {
            Reply::Heartbeat(_, is_leave, Ok(answer)) => !is_leave && answer.assignment.is_none(),
            Reply::Heartbeat(_, _, Err(_)) => false,
            Reply::Commit(..) => true,
        };
        self.lookup.is_none()
            && self.requests.iter().all(repeats)
            && self.answers.iter().all(confirms)
    }

    /// Whether records were returned that the application may want to commit.
    #[must_use]
    pub fn has_returned(&self) -> bool {
        self.app.positions.values().any(|at| at.0 > 0)
    }

    /// The partition whose next record can be returned now.
    #[must_use]
    pub fn next_record(&self, slice: &Slice) -> Option<TopicIdPartition> {
        let has_record = |p: &&TopicIdPartition| {
            self.app.positions.get(p).is_some_and(|at| at.0 < slice.log_end(**p).0)
        };
        self.group.may_return().then(|| self.app.open.iter().find(has_record).copied()).flatten()
    }

    /// The partition that the application may seek.
    #[must_use]
    pub fn sought(&self, slice: &Slice) -> Option<TopicIdPartition> {
        self.group.owned().iter().find(|p| slice.log_end(**p).0 > 0).copied()
    }

    /// Whether it is a member, joins, or leaves: a dropped unsubscribe goes on.
    fn is_or_was_member(&self) -> bool {
        let is_member = matches!(self.group.state(), Membership::Joining | Membership::Joined(_));
        is_member || self.group.is_departing()
    }

    /// Whether nobody will speak for this member id again.
    #[must_use]
    pub fn is_gone(&self, slice: &Slice, id: MemberId) -> bool {
        let (_, number) = slice.consumer_of(id);
        self.crashed
            || self.app.refused
            || (self.group.member_id().0 != number && !self.group.is_departing())
            || (!self.app.subscribed && self.is_quiet() && !self.is_or_was_member())
    }
}
