//! What the shell says to brokers and hears from them: semantic words without versions, sentinels
//! or the group's id, which the driver's codec adds. And the machines that account for it: [`desk`].

pub mod desk;
mod ended;
mod group;
mod kind;
pub mod ledger;
mod mutant;
pub mod queue;

pub use ended::{Counts, Discards, Ended, Failures, Waits};
pub use group::{GroupDescription, MemberDescription};
pub use kind::Kind;
pub use mutant::Mutant;

use crate::{Address, Isolation};
use evenkeel_spec::words::{
    Committed, ErrorCode, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, LeaderEpoch, NodeId, Offset,
    OffsetCommit, OffsetFetch, OffsetsCommitted, TopicId, TopicIdPartition, TopicName,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The names of the topics that a request mentions by id: for API versions that know names only
/// (`ListOffsets`, and `OffsetCommit` and `OffsetFetch` below version 10).
pub type TopicNames = BTreeMap<TopicId, TopicName>;

/// A request to one broker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// `ApiVersions` (key 18): the handshake, first on each connection.
    ApiVersions,
    /// `Metadata` (key 3), without automatic topic creation.
    Metadata {
        /// Of these topics; `None`: of no topic, brokers only.
        topics: Option<BTreeSet<TopicName>>,
    },
    /// `Metadata` (key 3) of topics that only their ids are known of.
    TopicsById {
        /// Which ones.
        ids: BTreeSet<TopicId>,
    },
    /// `Metadata` (key 3) for a call: everything about a topic, or about all of them.
    Topics {
        /// Which one; `None`: all.
        topic: Option<TopicName>,
    },
    /// `FindCoordinator` (key 10) of the consumer's group.
    FindCoordinator,
    /// `ConsumerGroupDescribe` (key 69) of the consumer's group. Not every broker speaks it.
    DescribeGroup,
    /// `ConsumerGroupHeartbeat` (key 68).
    Heartbeat(Heartbeat),
    /// `OffsetCommit` (key 8).
    OffsetCommit {
        /// What is committed.
        commit: OffsetCommit,
        /// Of every topic in it.
        names: TopicNames,
    },
    /// `OffsetFetch` (key 9), with `require_stable`.
    OffsetFetch {
        /// What is asked.
        fetch: OffsetFetch,
        /// Of every topic in it.
        names: TopicNames,
    },
    /// `ListOffsets` (key 2).
    ListOffsets {
        /// What is asked of which partition.
        partitions: BTreeMap<TopicIdPartition, ListOffset>,
        /// Which records count.
        isolation: Isolation,
        /// Of every topic in it.
        names: TopicNames,
    },
    /// `OffsetForLeaderEpoch` (key 23). Not every broker speaks it.
    OffsetForLeaderEpoch {
        /// What is asked of which partition.
        partitions: BTreeMap<TopicIdPartition, EpochQuestion>,
        /// Of every topic in it.
        names: TopicNames,
    },
    /// `Fetch` (key 1), without a session (session id 0, epoch -1).
    Fetch(Fetch),
}

impl queue::Question for Request {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::FindCoordinator, Self::FindCoordinator)
            | (Self::DescribeGroup, Self::DescribeGroup) => true,
            (Self::Topics { topic: all }, Self::Topics { topic: one }) => all == one,
            (Self::Metadata { topics: all }, Self::Metadata { topics: some }) => {
                match (all, some) {
                    (_, None) => true,
                    (None, Some(_)) => false,
                    (Some(all), Some(some)) => all.is_superset(some),
                }
            }
            (Self::OffsetFetch { fetch: all, .. }, Self::OffsetFetch { fetch: some, .. }) => {
                let contains = match (&all.partitions, &some.partitions) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(all), Some(some)) => all.is_superset(some),
                };
                contains && all.owner == some.owner
            }
            (
                Self::ListOffsets { partitions: all, isolation, .. },
                Self::ListOffsets { partitions: some, isolation: same, .. },
            ) => isolation == same && some.iter().all(|(id, at)| all.get(id) == Some(at)),
            (
                Self::OffsetForLeaderEpoch { partitions: all, .. },
                Self::OffsetForLeaderEpoch { partitions: some, .. },
            ) => some.iter().all(|(id, question)| all.get(id) == Some(question)),
            (
                Self::ApiVersions
                | Self::Metadata { .. }
                | Self::TopicsById { .. }
                | Self::Topics { .. }
                | Self::FindCoordinator
                | Self::DescribeGroup
                | Self::Heartbeat(_)
                | Self::OffsetCommit { .. }
                | Self::OffsetFetch { .. }
                | Self::ListOffsets { .. }
                | Self::OffsetForLeaderEpoch { .. }
                | Self::Fetch(_),
                _,
            ) => false,
        }
    }

    fn word(&self) -> queue::Word {
        match self {
            Self::OffsetCommit { .. } => queue::Word::Commit,
            Self::Heartbeat(heartbeat) if heartbeat.epoch == HeartbeatEpoch::Leave => {
                queue::Word::Leave
            }
            Self::Heartbeat(Heartbeat { owned: Some(_), .. }) => queue::Word::Owned,
            Self::Heartbeat(_) => queue::Word::Presence,
            Self::ApiVersions
            | Self::Metadata { .. }
            | Self::TopicsById { .. }
            | Self::Topics { .. }
            | Self::FindCoordinator
            | Self::DescribeGroup
            | Self::OffsetFetch { .. }
            | Self::ListOffsets { .. }
            | Self::OffsetForLeaderEpoch { .. }
            | Self::Fetch(_) => queue::Word::Nothing,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::ApiVersions
            | Self::Metadata { .. }
            | Self::TopicsById { .. }
            | Self::Topics { .. } => Kind::Metadata,
            Self::FindCoordinator => Kind::FindCoordinator,
            Self::DescribeGroup => Kind::ConsumerGroupDescribe,
            Self::Heartbeat(_) => Kind::ConsumerGroupHeartbeat,
            Self::OffsetCommit { .. } => Kind::OffsetCommit,
            Self::OffsetFetch { .. } => Kind::OffsetFetch,
            Self::ListOffsets { .. } => Kind::ListOffsets,
            Self::OffsetForLeaderEpoch { .. } => Kind::OffsetForLeaderEpoch,
            Self::Fetch(_) => Kind::Fetch,
        }
    }
}

/// One partition of a `ListOffsets` request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListOffset {
    /// Which offset is asked for.
    pub at: OffsetAt,
    /// The leader epoch that the asker knows, so that a stale leader refuses (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Which offset `ListOffsets` asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OffsetAt {
    /// The oldest record's (-2 on the wire).
    Earliest,
    /// The one after the newest record's (-1 on the wire).
    Latest,
    /// The first record's not older than this date, milliseconds since 1970.
    Timestamp(u64),
}

/// One partition of an `OffsetForLeaderEpoch` request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EpochQuestion {
    /// Whose end is asked for: the leader epoch of what was read last.
    pub leader_epoch: LeaderEpoch,
    /// The newest leader epoch that the asker knows of, so that a stale leader refuses.
    pub current: LeaderEpoch,
}

/// Where a leader epoch ends in a leader's log.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EpochEnd {
    /// The greatest epoch of that log that is not beyond the one that was asked for.
    pub leader_epoch: LeaderEpoch,
    /// Where the next one begins, or the log ends.
    pub offset: Offset,
}

/// A `Fetch` request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fetch {
    /// How long the broker may wait for `bytes_min`, milliseconds.
    pub wait_max_ms: u32,
    /// How many bytes end the wait.
    pub bytes_min: u32,
    /// How many bytes the answer may have (a first batch that is larger is sent all the same).
    pub bytes_max: u32,
    /// Which records count.
    pub isolation: Isolation,
    /// What is asked, in the order in which the broker fills the answer; topics are adjacent only
    /// by chance.
    pub partitions: Vec<FetchPartition>,
    /// Of every topic in it.
    pub names: TopicNames,
}

/// One partition of a [`Fetch`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FetchPartition {
    /// Which one.
    pub partition: TopicIdPartition,
    /// From here on.
    pub offset: Offset,
    /// The leader epoch that the asker knows (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    /// How many bytes of this partition the answer may have.
    pub bytes_max: u32,
}

/// What a broker answered, and whether it throttles.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answered<C> {
    /// The answer, of the request's kind.
    pub response: Response<C>,
    /// For how long the broker will not read from this connection (KIP-219), milliseconds.
    pub throttle_ms: u32,
}

/// A broker's answer, by the request's kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Response<C> {
    /// To [`Request::ApiVersions`]: whether the broker speaks every API that is needed.
    ApiVersions(Result<(), Unsupported>),
    /// To [`Request::Metadata`] and [`Request::TopicsById`].
    Metadata(Metadata),
    /// To [`Request::Topics`].
    Topics(TopicsDescribed),
    /// To [`Request::FindCoordinator`].
    FindCoordinator(Result<Coordinator, ErrorCode>),
    /// To [`Request::DescribeGroup`].
    Group(Result<GroupDescription, ErrorCode>),
    /// To [`Request::Heartbeat`].
    Heartbeat(Result<HeartbeatAnswer, ErrorCode>),
    /// To [`Request::OffsetCommit`].
    OffsetCommit(OffsetsCommitted),
    /// To [`Request::OffsetFetch`].
    OffsetFetch(OffsetsFetched),
    /// To [`Request::ListOffsets`]: `None` where no record is that young.
    ListOffsets(BTreeMap<TopicIdPartition, Result<Option<ListedOffset>, ErrorCode>>),
    /// To [`Request::OffsetForLeaderEpoch`]: `None` where the leader does not know the epoch.
    OffsetForLeaderEpoch(BTreeMap<TopicIdPartition, Result<Option<EpochEnd>, ErrorCode>>),
    /// To [`Request::Fetch`].
    Fetch(Result<BTreeMap<TopicIdPartition, Result<Fetched<C>, ErrorCode>>, ErrorCode>),
}

impl<C> Response<C> {
    /// The same answer for one more who asked; `None`: of a kind that is never shared.
    #[must_use]
    pub fn shared(&self) -> Option<Self> {
        Some(match self {
            Self::Metadata(answer) => Self::Metadata(answer.clone()),
            Self::Topics(answer) => Self::Topics(answer.clone()),
            Self::FindCoordinator(answer) => Self::FindCoordinator(answer.clone()),
            Self::Group(answer) => Self::Group(answer.clone()),
            Self::OffsetFetch(answer) => Self::OffsetFetch(answer.clone()),
            Self::ListOffsets(answer) => Self::ListOffsets(answer.clone()),
            Self::OffsetForLeaderEpoch(answer) => Self::OffsetForLeaderEpoch(answer.clone()),
            Self::ApiVersions(_) | Self::Heartbeat(_) | Self::OffsetCommit(_) | Self::Fetch(_) => {
                return None;
            }
        })
    }

    /// The error that the whole answer is, if it is one; where there is one a partition, the first,
    /// if every partition is refused.
    #[must_use]
    pub fn error(&self) -> Option<ErrorCode> {
        match self {
            Self::Metadata(answer) => answer.error,
            Self::Topics(answer) => answer.as_ref().err().copied(),
            Self::FindCoordinator(answer) => answer.as_ref().err().copied(),
            Self::Group(answer) => answer.as_ref().err().copied(),
            Self::Heartbeat(answer) => answer.as_ref().err().copied(),
            Self::OffsetCommit(answer) => answer.as_ref().map_or_else(|code| Some(*code), refused),
            Self::OffsetFetch(answer) => answer.as_ref().map_or_else(|code| Some(*code), refused),
            Self::Fetch(answer) => answer.as_ref().map_or_else(|code| Some(*code), refused),
            Self::ListOffsets(answer) => refused(answer),
            Self::OffsetForLeaderEpoch(answer) => refused(answer),
            Self::ApiVersions(_) => None,
        }
    }
}

/// The first error, if every partition is refused.
fn refused<T>(partitions: &BTreeMap<TopicIdPartition, Result<T, ErrorCode>>) -> Option<ErrorCode> {
    let mut errors = partitions.values().map(|answer| answer.as_ref().err().copied());
    let first = errors.next()??;
    errors.all(|error| error.is_some()).then_some(first)
}

/// The answer to `OffsetFetch`: an error for the whole group, or one result a partition; `None`
/// where nothing is committed.
pub type OffsetsFetched =
    Result<BTreeMap<TopicIdPartition, Result<Option<Committed>, ErrorCode>>, ErrorCode>;

/// A broker that lacks an API: too old, or configured without the consumer protocol.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Unsupported {
    /// Which API, in which versions: a sentence for humans.
    pub what: Arc<str>,
}

/// An answer to `Metadata`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Metadata {
    /// Every broker that is alive.
    pub brokers: BTreeMap<NodeId, Address>,
    /// Every topic asked for.
    pub topics: BTreeMap<TopicName, Result<TopicMetadata, ErrorCode>>,
    /// The answer's own error (version 13), e.g. `REBOOTSTRAP_REQUIRED` (129).
    pub error: Option<ErrorCode>,
}

/// One topic of [`Metadata`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicMetadata {
    /// Its id.
    pub id: TopicId,
    /// Its partitions by index; a partition that is missing is not known.
    pub partitions: BTreeMap<u32, PartitionMetadata>,
}

/// One partition of [`TopicMetadata`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartitionMetadata {
    /// Who leads it; `None`: nobody at the moment.
    pub leader: Option<NodeId>,
    /// Since which epoch.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// The answer to [`Request::Topics`]: an error for the whole of it, or one result a topic.
pub type TopicsDescribed =
    Result<BTreeMap<TopicName, Result<TopicDescription, ErrorCode>>, ErrorCode>;

/// Everything that a broker tells about a topic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicDescription {
    /// Its id.
    pub id: TopicId,
    /// Kafka's own, as `__consumer_offsets`.
    pub is_internal: bool,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionDescription>,
}

/// One partition of a [`TopicDescription`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartitionDescription {
    /// Its index.
    pub partition: u32,
    /// Who leads it; `None`: nobody at the moment.
    pub leader: Option<NodeId>,
    /// Since which epoch.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Who has, or should have, its log.
    pub replicas: Vec<NodeId>,
    /// Those of them that have all of it.
    pub in_sync: Vec<NodeId>,
    /// Those of them that are down.
    pub offline: Vec<NodeId>,
}

/// An answer to `FindCoordinator`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Coordinator {
    /// Which broker.
    pub node: NodeId,
    /// Where it listens.
    pub address: Address,
}

/// An offset that `ListOffsets` found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListedOffset {
    /// The offset.
    pub offset: Offset,
    /// The leader epoch of its record, if known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The date of its record, milliseconds since 1970; only where a date was asked for.
    pub timestamp_ms: Option<i64>,
}

/// One partition of an answer to `Fetch`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fetched<C> {
    /// After the newest record that every in-sync replica has.
    pub high_watermark: Option<Offset>,
    /// Before the first record of the oldest open transaction; at most the high watermark.
    pub last_stable: Option<Offset>,
    /// The oldest record.
    pub log_start: Option<Offset>,
    /// Records; `None`: none came.
    pub chunk: Option<C>,
}

#[cfg(test)]
mod tests;
