//! Why a partition is not read, and what the member waits for: the words of a diagnosis, and how a
//! human reads them.
//!
//! Decides nothing: the shell says which word holds, from the state of the machines. Every duration
//! is as of the moment of the diagnosis.

mod text;

use crate::Lifecycle;
use evenkeel_spec::words::{Epoch, ErrorCode, NodeId, Offset, TopicId, TopicName, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

/// What a consumer is doing about each partition, and what it waits for. Its `Display` is for humans.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// What the background is doing.
    pub lifecycle: Lifecycle,
    /// Where the consumer stands in its group.
    pub membership: Membership,
    /// The group's coordinator, if it is known.
    pub coordinator: Option<NodeId>,
    /// For how long the application has been outside of `poll`, or in a callback; `None`: it is
    /// inside, or nobody asks.
    pub away: Option<Duration>,
    /// `max.poll.interval.ms`: how long it may be away.
    pub away_max: Duration,
    /// What the member waits for, and for how long already. None: nothing but heartbeats.
    pub waits: Vec<(Wait, Duration)>,
    /// Topics that are subscribed to or assigned and cannot be read as they are.
    pub topics: BTreeMap<TopicName, TopicTrouble>,
    /// Every partition that is owned, or meant to be, or of a topic that is subscribed to.
    pub partitions: BTreeMap<TopicPartition, PartitionDiagnosis>,
}

/// What is known about one partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PartitionDiagnosis {
    /// Whose it is.
    pub belonging: Belonging,
    /// Why no record of it is being returned at this moment.
    pub reason: Reason,
    /// For how long that has been the reason. Between two fetches that bring nothing, what holds the
    /// next one back for a moment does not count as another.
    pub lasts: Duration,
    /// The offset of the next record, if the partition has a position.
    pub position: Option<Offset>,
    /// How many offsets lie between that and the end of what can be read, as of the last answer.
    pub lag: Option<u64>,
}

/// Where a consumer stands in its group. After Kafka's `MemberState`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Membership {
    /// Neither subscribed nor assigned anything.
    None,
    /// The application assigns itself partitions; there is no membership.
    Manual,
    /// Subscribed; joins in the next poll.
    Subscribed,
    /// Joins.
    Joining,
    /// Is a member of this epoch.
    Joined(Epoch),
    /// The coordinator ended the membership; joins again once the listener was told.
    Fenced,
    /// Left, since the application did not poll, or did not let go of partitions in time; joins
    /// again in the next poll.
    Stale,
    /// The coordinator refused for good; subscribing again joins again.
    Refused,
    /// Unsubscribes or closes.
    Ending,
}

/// Whose a partition is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Belonging {
    /// The group has assigned it, and the application knows.
    Owned,
    /// The application has assigned it to itself.
    Assigned,
    /// Owned, and about to be revoked.
    Revoking,
    /// The coordinator has assigned it; it is not taken yet.
    Target,
    /// Of a topic that is subscribed to, and not of this member.
    Stranger,
}

/// Why no record of a partition is being returned at this moment.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The coordinator has assigned it to another member, or to none.
    NotAssigned,
    /// Assigned; what must be revoked is given up first.
    RevocationFirst,
    /// Assigned; the coordinator must have heard first what this member owns (R9).
    AcknowledgementFirst,
    /// The application must poll: to be told of the assignment, or for positions to be looked up.
    AwaitingPoll,
    /// A method of the listener has not returned.
    CallbackRunning,
    /// The assigned callback failed; the next poll calls it again.
    CallbackFailed,
    /// It will be revoked.
    RevocationPending(Revocation),
    /// The application unsubscribes or closes.
    Ending,
    /// Its topic is not subscribed to any more; the coordinator will take it.
    Unsubscribed,
    /// The application paused it.
    Paused,
    /// It has no position, or one outside of the log or after what the log has lost, and `auto.offset.reset` is `none`: seek.
    NeedsSeek,
    /// Its topic is not known yet.
    AwaitingMetadata,
    /// The brokers say that it, or its topic, does not exist.
    DoesNotExist,
    /// Its topic may not be read.
    TopicRefused {
        /// What the broker said.
        code: ErrorCode,
    },
    /// Its committed offset is to be looked up, and the coordinator is not known.
    AwaitingCoordinator,
    /// Its committed offset is being looked up.
    AwaitingCommitted {
        /// By the coordinator.
        broker: NodeId,
    },
    /// The offset to start from is being looked up: a reset, or a seek to an end.
    Resetting {
        /// By the leader.
        broker: NodeId,
    },
    /// Another leader than now wrote what was read: whether its log has that is being asked.
    Validating {
        /// By the leader.
        broker: NodeId,
    },
    /// Nobody leads it, or nobody knows who does, or where that broker listens.
    LeaderUnknown,
    /// The last question was refused or lost; asked again then.
    Backoff {
        /// After so long.
        left: Duration,
    },
    /// The connection to a broker is being made.
    Connecting {
        /// Which one.
        broker: NodeId,
        /// What is to be asked of it.
        aim: Aim,
    },
    /// The last attempt to connect to a broker failed.
    Reconnecting {
        /// Which one.
        broker: NodeId,
        /// What is to be asked of it.
        aim: Aim,
        /// Until the next attempt.
        left: Duration,
    },
    /// A broker throttles: it does not read (KIP-219).
    Throttled {
        /// Which one.
        broker: NodeId,
        /// What is to be asked of it.
        aim: Aim,
        /// Until it reads again.
        left: Duration,
    },
    /// A heartbeat is due at the same broker, and a fetch would park before it.
    HeartbeatFirst {
        /// Which broker.
        broker: NodeId,
    },
    /// A fetch of other partitions is in flight at its leader; it is part of the next one.
    NextFetch {
        /// The leader.
        broker: NodeId,
    },
    /// As much as may be is buffered of another partition of its leader, to whom no fetch goes until
    /// the application has polled.
    BufferHeld {
        /// The leader.
        broker: NodeId,
    },
    /// All of `fetch.max.bytes` is buffered or was asked for: nothing more is fetched until the
    /// application has polled, or what was asked for has come and is less.
    BufferFull {
        /// How much of it is buffered, bytes.
        buffered: usize,
    },
    /// Records are buffered: it is the application's turn to poll.
    Buffered,
    /// A fetch is in flight: the broker has no newer record, or is sending it.
    Fetching {
        /// The leader.
        broker: NodeId,
    },
}

/// What a revocation waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Revocation {
    /// The application, which has records of it until its next poll.
    Records,
    /// The commit of what was read.
    Commit,
    /// A poll, within which the listener is told.
    Poll,
    /// The listener's method.
    Callback,
}

/// What a broker is to be asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Aim {
    /// The group's committed offset.
    CommittedOffset,
    /// The offset to start from.
    StartOffset,
    /// Whether its log has what was read.
    Validation,
    /// Records.
    Records,
}

/// What a member waits for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Wait {
    /// The application to poll.
    Poll(PollFor),
    /// A method of the listener to return.
    Callback(Method),
    /// To learn which broker is the coordinator.
    Coordinator(Stand),
    /// To be let into the group.
    Join(Stand),
    /// The coordinator to hear a heartbeat, or what is owned.
    Heartbeat(Stand),
    /// A commit before partitions are given up.
    Commit(Stand),
    /// The leave.
    Leave(Stand),
    /// The names of topics that the coordinator assigned by id.
    TopicNames(BTreeSet<TopicId>),
    /// The application to subscribe again: the coordinator refused for good.
    Subscribe,
    /// The coordinator to assign something: others own everything, or there is nothing.
    Assignment,
}

/// What for a poll is needed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PollFor {
    /// To join.
    Join,
    /// To join again.
    Rejoin,
    /// To run a method of the listener.
    Callback,
    /// To be done with the records of partitions that are to be revoked.
    Release,
}

/// A method of a listener.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Method {
    /// `on_partitions_assigned`.
    Assigned,
    /// `on_partitions_revoked`.
    Revoked,
    /// `on_partitions_lost`.
    Lost,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stand {
    /// A broker has it, or it is on the way.
    InFlight {
        /// Which one; `None`: a bootstrap server.
        broker: Option<NodeId>,
    },
    /// Its connection is being made.
    Connecting {
        /// To which broker; `None`: a bootstrap server.
        broker: Option<NodeId>,
    },
    /// The last attempt to connect failed.
    Reconnecting {
        /// To which broker; `None`: every server that is known.
        broker: Option<NodeId>,
        /// Until the next attempt.
        left: Duration,
    },
    /// The broker does not read (KIP-219).
    Throttled {
        /// Which one; `None`: a bootstrap server.
        broker: Option<NodeId>,
        /// Until it reads again.
        left: Duration,
    },
    /// For other requests of its connection.
    Queued {
        /// To which broker; `None`: a bootstrap server.
        broker: Option<NodeId>,
    },
    /// The last one was refused or lost; asked again then.
    Backoff {
        /// After so long.
        left: Duration,
    },
    /// For the coordinator to be found.
    NoCoordinator,
}

/// Why a topic cannot be read as it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TopicTrouble {
    /// Nobody has said yet whether it exists.
    Unknown,
    /// The brokers say that it does not exist. It is read once it does.
    Missing,
    /// It may not be read, or has no legal name.
    Refused(ErrorCode),
}

impl Reason {
    /// What stays the same while the reason counts as the same.
    pub(crate) fn kind(&self) -> Discriminant<Self> {
        match *self {
            Self::HeartbeatFirst { broker } | Self::NextFetch { broker } => {
                discriminant(&Self::Fetching { broker })
            }
            ref other => discriminant(other),
        }
    }
}

impl Wait {
    /// How many kinds there are.
    pub(crate) const KINDS: usize = 10;

    /// Its kind's place among all.
    pub(crate) fn kind(&self) -> usize {
        match self {
            Self::Poll(_) => 0,
            Self::Callback(_) => 1,
            Self::Coordinator(_) => 2,
            Self::Join(_) => 3,
            Self::Heartbeat(_) => 4,
            Self::Commit(_) => 5,
            Self::Leave(_) => 6,
            Self::TopicNames(_) => 7,
            Self::Subscribe => 8,
            Self::Assignment => 9,
        }
    }
}
