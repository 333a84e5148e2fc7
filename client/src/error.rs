//! What can go wrong, one error an entry point. Every variant says what happened, whether records
//! may come again, and what to do.

mod table;

pub use table::{ErrorRow, error_rows};

use crate::background::said;
use crate::listener::ListenerMethod;
use crate::record::RecordError;
use evenkeel_core::group::Fault;
use evenkeel_core::{Address, PollFault};
use evenkeel_spec::words::{Committed, ErrorCode, GroupId, Offset, TopicName, TopicPartition};
use std::sync::Arc;
use std::time::Duration;

/// The background has ended by itself, so that nothing can be done any more.
///
/// Its connections are closed; the group notices by the session timeout, and what was not committed
/// comes again. Build a new consumer, and report the reason if it is a panic.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the consumer's background has ended: {reason}")]
pub struct BackgroundDied {
    /// Why.
    pub reason: Arc<str>,
}

/// Too many calls are open (`request.queue.max`), and this one was not even begun. Back off
/// exponentially and call again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many calls are open; back off exponentially, {retry_after:?} now, and call again")]
pub struct QueueFull {
    /// How long to wait before calling again: `retry.backoff.ms`, doubled at each refusal in a row
    /// up to `retry.backoff.max.ms`, with jitter.
    pub retry_after: Duration,
}

/// Why `poll` returned no records. Unless a variant says otherwise the consumer goes on: poll again.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PollError {
    /// No broker could be reached since the consumer was built, for `default.api.timeout.ms`.
    /// Nothing was consumed. It goes on trying: check the addresses, then poll again or give up.
    #[error("no broker of bootstrap.servers could be reached: {}", causes(.tried))]
    NoBroker {
        /// Each address and what went wrong there last.
        tried: Vec<(Address, Arc<str>)>,
    },
    /// A broker is too old, or its consumer group protocol is off. It is asked again; nothing is
    /// consumed until it is upgraded or configured.
    #[error("broker {address} does not support what evenkeel needs: {what}")]
    Unsupported {
        /// The broker.
        address: Address,
        /// What it lacks.
        what: Arc<str>,
    },
    /// The coordinator refused the member for good; the partitions are lost and what was not
    /// committed comes again. Mend the cause (the code says which), then subscribe again.
    #[error("group {group}: the coordinator refused the member for good: {code}{}", advice(*.code))]
    Fatal {
        /// The group.
        group: GroupId,
        /// What the coordinator said.
        code: ErrorCode,
    },
    /// The coordinator refused for now and is asked again with a backoff. No record is lost.
    #[error("group {group}: the coordinator refuses for now: {code}{}", advice(*.code))]
    Refused {
        /// The group.
        group: GroupId,
        /// What the coordinator said.
        code: ErrorCode,
    },
    /// Nothing is subscribed to or assigned: call `subscribe` or `assign` before `poll`.
    #[error("not subscribed to any topic, nor assigned any partition")]
    NotSubscribed,
    /// A partition has no committed offset and `auto.offset.reset` is `none`. Nothing is returned
    /// of it until the application seeks.
    #[error("{partition} has no committed offset, and auto.offset.reset is none: seek")]
    NoOffset {
        /// The partition.
        partition: TopicPartition,
    },
    /// The position lies outside of the partition's log and `auto.offset.reset` is `none`: records
    /// between it and the log were deleted. Nothing is returned of it until the application seeks.
    #[error("{partition}: position {} lies outside of the log, and auto.offset.reset is none: seek", .offset.0)]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: Offset,
    },
    /// The partition's log has lost what was read of it, as after an unclean leader election, and
    /// `auto.offset.reset` is `none`. What was read may have been replaced by other records (KIP-320).
    /// Nothing is returned of it until the application seeks: to `diverging` to read on without a gap.
    #[error("{partition}: the log has lost what was read before {}{}; auto.offset.reset is none: seek", .offset.0, diverges(.diverging.as_ref()))]
    LogTruncated {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: Offset,
        /// From where on the log has other records, or none, and the leader epoch before it; `None`:
        /// its leader does not know.
        diverging: Option<Committed>,
    },
    /// Records cannot be read. The position stays before them and they are fetched again; to go on
    /// without them, seek past them.
    #[error("{partition}: {error}")]
    Record {
        /// The partition.
        partition: TopicPartition,
        /// What is wrong with them.
        error: RecordError,
    },
    /// A subscribed topic may not be read, or its name is illegal. Others flow; it is asked for
    /// again.
    #[error("topic {topic}: {code}{}", advice(*.code))]
    Topic {
        /// The topic.
        topic: TopicName,
        /// What the broker said.
        code: ErrorCode,
    },
    /// A partition cannot be read; others flow, and it is tried again.
    #[error("{partition}: {code}{}", advice(*.code))]
    Partition {
        /// The partition.
        partition: TopicPartition,
        /// What the broker said.
        code: ErrorCode,
    },
    /// A method of the listener failed or panicked. A revocation or loss goes on regardless; of
    /// newly assigned partitions nothing is returned until the method, run again by a later poll,
    /// succeeds.
    #[error("{method} failed for {} partition(s): {reason}", .partitions.len())]
    Listener {
        /// Which method.
        method: ListenerMethod,
        /// Its partitions.
        partitions: Vec<TopicPartition>,
        /// What it said, or the panic's message.
        reason: Arc<str>,
    },
    /// The consumer was closed.
    #[error("the consumer is closed")]
    Closed,
    /// The background has ended by itself.
    #[error(transparent)]
    Background(#[from] BackgroundDied),
}

/// Why offsets were not committed. Unless a variant says otherwise the records come again, to this
/// or another member, if no later commit covers them.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The consumer is not a member of the group now. Poll; it joins again.
    #[error("not a member of the group now; the records come again")]
    NotAMember,
    /// A partition is not assigned to this consumer: only its own partitions may be committed.
    #[error("{}not assigned to this consumer", subject(.partition))]
    NotAssigned {
        /// Which one, if it is known.
        partition: Option<TopicPartition>,
    },
    /// The partition was taken away before the commit was confirmed. It may have taken effect.
    #[error("the partition was taken away before the commit was confirmed")]
    OwnershipEnded,
    /// The partition had to be given up before the commit could be confirmed. It may have taken
    /// effect.
    #[error("the partition had to be given up before the commit was confirmed")]
    Expired,
    /// The coordinator refused: mend the cause that the code names.
    #[error("the coordinator refused the commit: {code}{}", advice(*.code))]
    Refused {
        /// What it said.
        code: ErrorCode,
    },
    /// Not confirmed within `default.api.timeout.ms`, for all retries. It may have taken effect:
    /// commit again.
    #[error("the commit was not confirmed in time{}", last_error(.last))]
    TimedOut {
        /// The last error that a broker gave, if any.
        last: Option<ErrorCode>,
    },
    /// The consumer has no `group.id`, to which offsets are committed. Nothing was sent.
    #[error("there is no group.id")]
    NoGroupId,
    /// Too many calls are open. Nothing was sent: back off exponentially and call again.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// The consumer was closed.
    #[error("the consumer is closed")]
    Closed,
    /// The background has ended by itself.
    #[error(transparent)]
    Background(#[from] BackgroundDied),
}

/// Why a position could not be read or moved. Nothing was changed; no record is lost.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PositionError {
    /// The partition is not assigned to this consumer.
    #[error("{partition} is not assigned to this consumer")]
    NotAssigned {
        /// The partition.
        partition: TopicPartition,
    },
    /// The partition has no committed offset and `auto.offset.reset` is `none`: seek.
    #[error("{partition} has no position, and auto.offset.reset is none: seek")]
    NoOffset {
        /// The partition.
        partition: TopicPartition,
    },
    /// No answer within `default.api.timeout.ms`, for all retries: call again.
    #[error("no answer in time{}", last_error(.last))]
    TimedOut {
        /// The last error that a broker gave, if any.
        last: Option<ErrorCode>,
    },
    /// Too many calls are open. Back off exponentially and call again.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// The consumer was closed.
    #[error("the consumer is closed")]
    Closed,
    /// The background has ended by itself.
    #[error(transparent)]
    Background(#[from] BackgroundDied),
}

/// Why the cluster, or the group's coordinator, did not say what was asked. Nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// A broker refused: mend the cause that the code names.
    #[error("refused: {code}{}", advice(*.code))]
    Refused {
        /// What it said.
        code: ErrorCode,
    },
    /// Not everything was answered within `default.api.timeout.ms`, for all retries: call again.
    #[error("no answer in time{}", last_error(.last))]
    TimedOut {
        /// The last error that a broker gave, if any; `UNKNOWN_TOPIC_OR_PARTITION` also where the
        /// cluster does not have a topic or partition.
        last: Option<ErrorCode>,
    },
    /// The consumer has no `group.id`, to which offsets are committed. Nothing was sent.
    #[error("there is no group.id")]
    NoGroupId,
    /// Too many calls are open. Nothing was sent: back off exponentially and call again.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// The consumer was closed.
    #[error("the consumer is closed")]
    Closed,
    /// The background has ended by itself.
    #[error(transparent)]
    Background(#[from] BackgroundDied),
}

/// Why a consumer did not say what it is doing. Nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DiagnoseError {
    /// The background had no turn within `default.api.timeout.ms`: whatever it runs on is not
    /// running, or starved of processor time.
    #[error("the background had no turn in time")]
    TimedOut,
    /// The consumer was closed.
    #[error("the consumer is closed")]
    Closed,
    /// The background has ended by itself.
    #[error(transparent)]
    Background(#[from] BackgroundDied),
}

/// Why no rebalance was enforced.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EnforceRebalanceError {
    /// Under KIP-848 the coordinator decides when to rebalance. Nothing was changed: change the
    /// subscription, or what the coordinator decides by.
    #[error("a member cannot enforce a rebalance: under KIP-848 the coordinator decides")]
    Unsupported,
}

/// Why a subscription was not changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// A name that no topic can have (`org.apache.kafka.common.internals.Topic.validate`): 1 to 249
    /// characters of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`. The subscription is unchanged.
    #[error("{topic:?} cannot be the name of a topic")]
    InvalidTopic {
        /// The name.
        topic: String,
    },
    /// A pattern that cannot be told: empty, which means none, or longer than 32,767 bytes. What else
    /// is wrong with one says the coordinator: `PollError::Fatal` with `INVALID_REGULAR_EXPRESSION`.
    /// The subscription is unchanged.
    #[error("a pattern has 1 to 32767 bytes, not {length}")]
    InvalidPattern {
        /// How many it has.
        length: usize,
    },
    /// A method of the listener failed while partitions were given up; they were given up.
    #[error("{method} failed: {reason}")]
    Listener {
        /// Which method.
        method: ListenerMethod,
        /// What it said, or the panic's message.
        reason: Arc<str>,
    },
    /// The coordinator did not confirm within `default.api.timeout.ms` that the member left. The
    /// subscription is ended; the group notices by the session timeout.
    #[error("the coordinator did not confirm the leave in time")]
    LeaveUnconfirmed,
    /// A subscription and a manual assignment exclude each other: unsubscribe first. Nothing was
    /// changed.
    #[error("a subscription and a manual assignment exclude each other: unsubscribe first")]
    Exclusive,
    /// The consumer has no `group.id`, and a subscription is to a group's topics: give one, or assign
    /// partitions.
    #[error("there is no group.id: give one, or assign partitions")]
    NoGroupId,
    /// Too many calls are open. Back off exponentially and call again.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// The consumer was closed.
    #[error("the consumer is closed")]
    Closed,
    /// The background has ended by itself.
    #[error(transparent)]
    Background(#[from] BackgroundDied),
}

impl PollError {
    /// The core's word as the application's.
    pub(crate) fn of(fault: PollFault<RecordError>, group: &GroupId) -> Self {
        match fault {
            PollFault::NoBroker(tried) => {
                let tried = tried.iter().map(|(address, cause)| (address.clone(), said(cause)));
                Self::NoBroker { tried: tried.collect() }
            }
            PollFault::Unsupported { address, unsupported } => {
                Self::Unsupported { address, what: unsupported.what }
            }
            PollFault::Group(Fault::Fatal(code)) => Self::Fatal { group: group.clone(), code },
            PollFault::Group(Fault::Refused(code)) | PollFault::GroupRefused(code) => {
                Self::Refused { group: group.clone(), code }
            }
            PollFault::NotSubscribed => Self::NotSubscribed,
            PollFault::NoOffset(partition) => Self::NoOffset { partition },
            PollFault::OffsetOutOfRange { partition, offset } => {
                Self::OffsetOutOfRange { partition, offset }
            }
            PollFault::Truncated { partition, offset, diverging } => {
                let diverging = diverging.map(|end| Committed {
                    leader_epoch: Some(end.leader_epoch),
                    ..Committed::at(end.offset)
                });
                Self::LogTruncated { partition, offset, diverging }
            }
            PollFault::Records { partition, fault } => Self::Record { partition, error: fault },
            PollFault::Topic { topic, error } => Self::Topic { topic, code: error },
            PollFault::Partition { partition, error } => Self::Partition { partition, code: error },
        }
    }
}

fn causes(tried: &[(Address, Arc<str>)]) -> String {
    let one = |(address, cause): &(Address, Arc<str>)| format!("{address}: {cause}");
    tried.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn subject(partition: &Option<TopicPartition>) -> String {
    partition.as_ref().map_or_else(String::new, |partition| format!("{partition} is "))
}

fn last_error(last: &Option<ErrorCode>) -> String {
    last.map_or_else(String::new, |code| format!("; the last error was {code}"))
}

/// What to do about a code, where Kafka's name does not say it.
fn diverges(from: Option<&Committed>) -> String {
    from.map_or_else(String::new, |from| format!(", from {} on", from.offset.0))
}

fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::GroupAuthorizationFailed => "; grant the principal READ on the group",
        ErrorCode::TopicAuthorizationFailed => "; grant the principal READ on the topic",
        ErrorCode::InvalidGroupId => "; check group.id",
        ErrorCode::UnsupportedVersion | ErrorCode::UnsupportedForMessageFormat => {
            "; enable the consumer group protocol on the brokers (Apache Kafka 4.0 or newer)"
        }
        ErrorCode::UnsupportedAssignor => {
            "; group.remote.assignor must be one of the brokers' group.consumer.assignors"
        }
        ErrorCode::InvalidRegularExpression => {
            "; subscribe to a pattern that RE2J accepts (no look-around, no back-references)"
        }
        ErrorCode::GroupMaxSizeReached => "; raise group.consumer.max.size or stop a member",
        ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch | ErrorCode::StaleMemberEpoch => {
            "; the group went on without this member: poll, and it joins again (a manual \
             assignment: commit while the group has no members)"
        }
        ErrorCode::GroupIdNotFound | ErrorCode::InconsistentGroupProtocol => {
            "; the group id may be in use by members of the classic protocol"
        }
        _ => "",
    }
}
