//! Recorded runs: the lines that `ConsumerBuilder::record_run` writes, read back.
//!
//! Decides what is well formed, by its own code and not by the client's. What is true is
//! [`super::validate`]'s to say.

use super::words;
use evenkeel_core::commit::Offsets;
use evenkeel_spec::words::{Partitions, TopicIdPartition, TopicName, TopicPartition};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The version of the format that is understood.
pub const FORMAT_VERSION: u32 = 1;

/// A recorded run of one consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Who ran.
    pub header: Header,
    /// What happened, in order.
    pub entries: Vec<Entry>,
    /// The last line was cut off: the process was killed while it wrote.
    pub truncated: bool,
}

/// Who ran, and how it was configured as far as the group is concerned.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Header {
    #[serde(rename = "evenkeel_run")]
    version: u32,
    /// `client.id`.
    pub client_id: String,
    /// `group.id`.
    pub group: String,
    /// The date of the consumer's start, milliseconds since the epoch of Unix; `None`: written by an
    /// evenkeel that did not say.
    pub started_ms: Option<u64>,
    /// `enable.auto.commit`.
    pub auto_commit: bool,
    /// `max.poll.interval.ms`.
    pub rebalance_timeout_ms: u32,
    /// `group.remote.assignor`.
    pub assignor: Option<String>,
}

/// One event and where it is written.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Entry {
    /// Its line, from 1.
    #[serde(skip)]
    pub line: usize,
    /// Milliseconds since the consumer's start.
    #[serde(rename = "t")]
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Something that happened to one consumer. The names are those of the recorder.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the recorder's documentation has the table")]
pub enum Event {
    Subscribe {
        call: u64,
        #[serde(deserialize_with = "words::topics")]
        topics: BTreeSet<TopicName>,
        pattern: Option<String>,
        listens: bool,
    },
    Unsubscribe {
        call: u64,
        taken: u64,
    },
    Poll {
        taken: u64,
    },
    PollEnded,
    CallbackEnded {
        callback: u32,
        ok: bool,
    },
    Commit {
        call: u64,
        taken: u64,
        #[serde(default, deserialize_with = "words::some_offsets_by_name")]
        offsets: Option<BTreeMap<TopicPartition, evenkeel_spec::words::Committed>>,
    },
    Seek {
        call: u64,
        #[serde(deserialize_with = "words::partitions_by_name")]
        partitions: BTreeSet<TopicPartition>,
        to: Option<u64>,
        leader_epoch: Option<u32>,
    },
    Close {
        taken: u64,
    },
    Drop,
    Abandon {
        call: u64,
    },

    Connect {
        connection: u64,
        coordinator: i32,
    },
    Ready {
        connection: u64,
    },
    Ended {
        connection: u64,
    },
    Disconnect {
        connection: u64,
        closing: bool,
    },
    Throttled {
        connection: u64,
    },
    /// What was ordered last waits for a connection.
    Waits {
        request: Waited,
    },
    /// It was lost with the connection that it waited for.
    Unsent {
        request: Waited,
    },
    /// A commit that waited for a connection was withdrawn.
    Recalled,
    Metadata {
        #[serde(deserialize_with = "words::topic_names")]
        topics: BTreeMap<evenkeel_spec::words::TopicId, TopicName>,
        brokers: BTreeSet<i32>,
    },
    Lookup {
        connection: u64,
        request: u32,
    },
    Coordinator {
        request: u32,
        node: Option<i32>,
        error: Option<i16>,
    },
    Heartbeat {
        connection: u64,
        request: u32,
        member: String,
        kind: Kind,
        epoch: Option<u32>,
        rebalance_timeout_ms: Option<u32>,
        #[serde(default, deserialize_with = "words::some_topics")]
        topics: Option<BTreeSet<TopicName>>,
        pattern: Option<String>,
        assignor: Option<String>,
        #[serde(default, deserialize_with = "words::some_partitions")]
        owned: Option<Partitions>,
    },
    HeartbeatAnswer {
        request: u32,
        epoch: Option<u32>,
        interval_ms: Option<u32>,
        #[serde(default, deserialize_with = "words::some_partitions")]
        assignment: Option<Partitions>,
        error: Option<i16>,
    },
    OffsetCommit {
        connection: u64,
        request: u32,
        member: Option<String>,
        epoch: Option<u32>,
        #[serde(deserialize_with = "words::offsets")]
        offsets: Offsets,
    },
    OffsetCommitAnswer {
        request: u32,
        #[serde(default, deserialize_with = "words::some_results")]
        results: Option<BTreeMap<TopicIdPartition, i16>>,
        error: Option<i16>,
    },
    /// Also a `ConsumerGroupDescribe`: to the group it is the same.
    #[serde(alias = "describe_group")]
    OffsetFetch {
        connection: u64,
        request: u32,
    },
    #[serde(alias = "describe_group_answer")]
    OffsetFetchAnswer {
        request: u32,
        errors: BTreeSet<i16>,
    },

    Callback {
        callback: u32,
        method: Method,
        reason: Option<Reason>,
        error: Option<i16>,
        #[serde(deserialize_with = "words::partitions_by_name")]
        partitions: BTreeSet<TopicPartition>,
    },
    Records {
        number: u64,
        parts: Vec<Part>,
        #[serde(deserialize_with = "words::offsets")]
        next: Offsets,
    },
    /// A log lost what was read of it; reading goes on here.
    Truncated {
        #[serde(deserialize_with = "words::partition_by_name")]
        partition: TopicPartition,
        to: u64,
        leader_epoch: Option<u32>,
    },
    Withdrawn {
        #[serde(deserialize_with = "words::partitions_by_name")]
        partitions: BTreeSet<TopicPartition>,
    },
    PollFailed {
        fault: Fault,
        error: Option<i16>,
    },
    Assignment {
        #[serde(deserialize_with = "words::partitions_by_name")]
        partitions: BTreeSet<TopicPartition>,
        member: Option<String>,
        epoch: Option<u32>,
    },
    Answered {
        call: u64,
        result: Answer,
        error: Option<i16>,
    },
    Lost {
        reason: Reason,
        error: Option<i16>,
        #[serde(deserialize_with = "words::partitions_by_name")]
        partitions: BTreeSet<TopicPartition>,
    },
    Closed {
        left: bool,
    },
}

/// A request of the group that waits for a connection.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub enum Waited {
    #[serde(rename = "ConsumerGroupHeartbeat")]
    Heartbeat,
    #[serde(rename = "OffsetCommit")]
    Commit,
}

/// What a heartbeat is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "Kafka's words")]
pub enum Kind {
    Join,
    Stay,
    Leave,
}

/// Which callback.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "Kafka's words")]
pub enum Method {
    Assigned,
    Revoked,
    Lost,
}

/// Why partitions were lost: `evenkeel_core::group::LostReason`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the core's words")]
pub enum Reason {
    Fenced,
    PollInterval,
    RebalanceTimeout,
    Fatal,
    LeaveTimeout,
}

/// What a poll failed with.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the core's words")]
pub enum Fault {
    Fatal,
    Refused,
    Other,
}

/// How a call was answered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the core's words")]
pub enum Answer {
    Done,
    Left,
    LeftUnconfirmed,
    TimedOut,
    NotAssigned,
    NoOffset,
    NotAMember,
    NotOwned,
    OwnershipEnded,
    Expired,
    Refused,
    Closed,
    QueueFull,
}

/// Records of one partition in a delivery.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Part {
    /// Which partition.
    #[serde(deserialize_with = "words::partition_by_name")]
    pub partition: TopicPartition,
    /// How many records.
    pub count: u64,
    /// The offset after them.
    pub next: u64,
}

/// Why a file is no recorded run.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RunError {
    /// There is nothing in it.
    Empty,
    /// The first line is no header: it is something else.
    NoRun {
        /// What was wrong.
        reason: String,
    },
    /// It was written by another version of evenkeel.
    UnknownVersion {
        /// That version of the format.
        version: u32,
    },
    /// The application assigned itself partitions: such a run takes no part in the group protocol, so
    /// that there is nothing to hold it against.
    ManualAssignment {
        /// Where, from 1.
        line: usize,
    },
    /// A line that is not the last one cannot be read.
    IllFormed {
        /// Which one, from 1.
        line: usize,
        /// What was wrong.
        reason: String,
    },
}

impl Event {
    /// Whether the core has ordered it, because of the input before it or of a timer.
    pub(super) fn is_output(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Ready { .. }
                | Self::Waits { .. }
                | Self::Recalled
                | Self::Lookup { .. }
                | Self::Heartbeat { .. }
                | Self::OffsetCommit { .. }
                | Self::OffsetFetch { .. }
                | Self::Callback { .. }
                | Self::Records { .. }
                | Self::Withdrawn { .. }
                | Self::PollFailed { .. }
                | Self::Assignment { .. }
                | Self::Answered { .. }
                | Self::Lost { .. }
                | Self::Closed { .. }
                | Self::Disconnect { closing: true, .. }
        )
    }
}

impl Run {
    /// Reads a run.
    ///
    /// # Errors
    /// See [`RunError`]. A last line that was cut off is none: see [`Run::truncated`].
    pub fn parse(text: &str) -> Result<Self, RunError> {
        let mut lines = text.lines().enumerate();
        let (_, first) = lines.next().ok_or(RunError::Empty)?;
        let header = header(first)?;
        let mut entries = Vec::new();
        let mut truncated = false;
        for (index, text_of_line) in lines {
            match serde_json::from_str::<Entry>(text_of_line) {
                Ok(entry) => entries.push(Entry { line: index + 1, ..entry }),
                Err(_) if is_manual(text_of_line) => {
                    return Err(RunError::ManualAssignment { line: index + 1 });
                }
                Err(error) => {
                    let reason = error.to_string();
                    let is_cut = error.is_eof() && text.lines().count() == index + 1;
                    if !is_cut || text.ends_with('\n') {
                        return Err(RunError::IllFormed { line: index + 1, reason });
                    }
                    truncated = true;
                }
            }
        }
        Ok(Self { header, entries, truncated })
    }
}

fn is_manual(line: &str) -> bool {
    #[derive(Deserialize)]
    struct Named {
        event: String,
    }
    serde_json::from_str(line).is_ok_and(|named: Named| named.event == "assign")
}

fn header(line: &str) -> Result<Header, RunError> {
    let no_run = |error: serde_json::Error| RunError::NoRun { reason: error.to_string() };
    // The version first: another version's header may look otherwise.
    let found: Version = serde_json::from_str(line).map_err(no_run)?;
    if found.version != FORMAT_VERSION {
        return Err(RunError::UnknownVersion { version: found.version });
    }
    serde_json::from_str(line).map_err(no_run)
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "evenkeel_run")]
    version: u32,
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::NoRun { reason } => write!(f, "its first line is no header of a run: {reason}"),
            Self::UnknownVersion { version } => {
                write!(f, "its format is version {version}; this evenkeel reads {FORMAT_VERSION}")
            }
            Self::ManualAssignment { line } => write!(
                f,
                "line {line}: the application assigns itself partitions; there is no group protocol \
                 to validate"
            ),
            Self::IllFormed { line, reason } => write!(f, "line {line} cannot be read: {reason}"),
        }
    }
}

impl std::error::Error for RunError {}
