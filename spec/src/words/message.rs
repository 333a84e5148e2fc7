//! What members and coordinator say to each other: KIP-848's heartbeat and the offset requests.

use super::{Epoch, ErrorCode, LeaderEpoch, MemberId, Offset, Partitions, TopicId};
use super::{TopicIdPartition, TopicName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A `ConsumerGroupHeartbeat` request (key 68), of one group.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Heartbeat {
    /// Who speaks.
    pub member: MemberId,
    /// Whether it joins, stays or leaves.
    pub epoch: HeartbeatEpoch,
    /// How long the coordinator waits for this member to revoke, milliseconds; `None`: unchanged.
    pub rebalance_timeout_ms: Option<u32>,
    /// What it subscribes to; `None`: unchanged.
    pub subscription: Option<Subscription>,
    /// The pattern that it subscribes to beside that; `None`: unchanged.
    pub pattern: Option<Pattern>,
    /// Which server-side assignor it prefers; `None`: unchanged, or the coordinator's default.
    pub assignor: Option<Assignor>,
    /// The partitions it really owns; `None`: unchanged since its last heartbeat.
    pub owned: Option<Partitions>,
}

impl Heartbeat {
    /// Whether every field is present, so that the coordinator answers with the assignment
    /// (KAFKA-16367).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rebalance_timeout_ms.is_some() && self.subscription.is_some() && self.owned.is_some()
    }
}

/// The epoch field of a heartbeat without its sentinels (0 join, -1 leave).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum HeartbeatEpoch {
    /// Joins, or joins again after a fence (epoch 0).
    Join,
    /// Goes on as a member of this epoch.
    Stay(Epoch),
    /// Leaves for good (epoch -1).
    Leave,
}

/// The topics that a member subscribes to by name.
pub type Subscription = Arc<BTreeSet<TopicName>>;

/// A subscription by pattern, as a heartbeat tells it (M13).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Pattern {
    /// Every topic whose whole name matches this expression (RE2J).
    Matching(Arc<str>),
    /// There is none any more (an empty expression on the wire).
    Ended,
}

/// A server-side assignor of `group.consumer.assignors`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Assignor {
    /// Kafka's `uniform`: balanced and sticky.
    Uniform,
    /// Kafka's `range`: per topic, contiguous, co-partitioned.
    Range,
    /// A name that no coordinator of ours knows.
    Other(Arc<str>),
}

/// A successful answer to a heartbeat.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HeartbeatAnswer {
    /// The epoch that the member is in now; `None` answers a leave (-1 on the wire).
    pub epoch: Option<Epoch>,
    /// Until the next heartbeat, milliseconds.
    pub heartbeat_interval_ms: u32,
    /// What the member should own; `None`: unchanged.
    pub assignment: Option<Partitions>,
}

/// The member and the epoch in whose name offsets are committed or fetched.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Owner {
    /// The member.
    pub member: MemberId,
    /// Its member epoch.
    pub epoch: Epoch,
}

/// An offset as it is committed.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Committed {
    /// The next record to read.
    pub offset: Offset,
    /// The leader epoch of the last record read, if known (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    /// The application's note; empty when there is none.
    pub metadata: Arc<str>,
}

impl Committed {
    /// `offset` with neither leader epoch nor note.
    #[must_use]
    pub fn at(offset: Offset) -> Self {
        Self { offset, leader_epoch: None, metadata: "".into() }
    }
}

/// An `OffsetCommit` request (key 8) of one group.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OffsetCommit {
    /// In whose name; `None`: without membership (-1 on the wire).
    pub owner: Option<Owner>,
    /// What is committed.
    pub offsets: BTreeMap<TopicIdPartition, Committed>,
}

/// The answer to an [`OffsetCommit`]: an error for the whole request, or one result a partition.
pub type OffsetsCommitted = Result<BTreeMap<TopicIdPartition, Result<(), ErrorCode>>, ErrorCode>;

/// An `OffsetFetch` request (key 9) of one group.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OffsetFetch {
    /// In whose name; `None`: without membership.
    pub owner: Option<Owner>,
    /// Which partitions; `None`: all that have an offset.
    pub partitions: Option<Partitions>,
}

/// The answer to an [`OffsetFetch`]: `None` where nothing is committed.
pub type OffsetFetched = Result<BTreeMap<TopicIdPartition, Option<Committed>>, ErrorCode>;

/// A topic as the metadata shows it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// How many partitions it has.
    pub partitions: u32,
}

/// The topics that exist: what a coordinator assigns from.
pub type Topics = BTreeMap<TopicId, Topic>;
