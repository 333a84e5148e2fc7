//! What each call can fail with, as data: which calls give an error, whether calling again may help,
//! what to do, and what Kafka's consumer does instead. `spec/snapshot/call-errors.snap` is made from
//! it. A test provokes each row but those that say why none can, and holds the calls against the
//! methods that there are.
//!
//! Java's exceptions are those of `AsyncKafkaConsumer` of Apache Kafka 4.3.1.

use super::{
    CommitError, DiagnoseError, EnforceRebalanceError, LookupError, PollError, PositionError,
    SubscribeError,
};
use crate::config::ConfigError;

/// One variant of one error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ErrorRow {
    /// The error's type.
    pub error: &'static str,
    /// The variant.
    pub variant: &'static str,
    /// The calls that give it, separated by `, `; a consumer's by their names, others with their type,
    /// of which several are in braces.
    pub calls: &'static str,
    /// Whether the same call, made again, may succeed without anything being changed.
    pub is_retriable: bool,
    /// What to do.
    pub remedy: &'static str,
    /// The exception of Kafka's consumer.
    pub java: &'static str,
    /// What else differs from it; empty: nothing.
    pub differs: &'static str,
    /// Why no test can provoke it, if so.
    pub unprovoked: Option<&'static str>,
}

const fn row(
    (error, variant): (&'static str, &'static str),
    calls: &'static str,
    is_retriable: bool,
    remedy: &'static str,
    (java, differs): (&'static str, &'static str),
) -> ErrorRow {
    ErrorRow { error, variant, calls, is_retriable, remedy, java, differs, unprovoked: None }
}

const fn unprovoked(row: ErrorRow, reason: &'static str) -> ErrorRow {
    ErrorRow { unprovoked: Some(reason), ..row }
}

/// Every row.
#[must_use]
pub fn error_rows() -> Vec<ErrorRow> {
    [CONFIG, SUBSCRIBE, POLL, COMMIT, POSITION, LOOKUP, DIAGNOSE, ENFORCE].concat()
}

/// Gives each error its row and what callers ask of it. The match has no `_` arm: a variant without
/// a name here does not compile.
macro_rules! rows {
    ($error:ident, $rows:ident: $($variant:ident)*) => {
        impl $error {
            /// Whether the same call, made again after a while, may succeed without anything being
            /// changed; if not, the variant's documentation says what to change.
            #[must_use]
            pub fn is_retriable(&self) -> bool {
                self.row().is_retriable
            }

            /// Its row in the table of errors.
            #[doc(hidden)]
            #[must_use]
            pub fn row(&self) -> &'static ErrorRow {
                let name = match self {
                    $(Self::$variant { .. } => stringify!($variant),)*
                };
                let mut rows = $rows.iter();
                rows.find(|row| row.variant == name).expect("each variant has a row")
            }
        }
    };
}

rows!(ConfigError, CONFIG: Unknown Refused IllFormed OutOfBounds Unsupported Missing Conflict
    Background);
rows!(SubscribeError, SUBSCRIBE: InvalidTopic InvalidPattern Listener LeaveUnconfirmed Exclusive NoGroupId
    QueueFull Closed Background);
rows!(PollError, POLL: NoBroker Unsupported Fatal Refused NotSubscribed NoOffset OffsetOutOfRange
    LogTruncated Record Topic Partition Listener Closed Background);
rows!(CommitError, COMMIT: NotAMember NotAssigned OwnershipEnded Expired Refused TimedOut NoGroupId
    QueueFull Closed Background);
rows!(PositionError, POSITION: NotAssigned NoOffset TimedOut QueueFull Closed Background);
rows!(LookupError, LOOKUP: Refused TimedOut NoGroupId QueueFull Closed Background);
rows!(DiagnoseError, DIAGNOSE: TimedOut Closed Background);
rows!(EnforceRebalanceError, ENFORCE: Unsupported);

const BUILD: &str = "build";
const SUBSCRIBES: &str = "subscribe, subscribe_with, subscribe_pattern, subscribe_pattern_with";
const SUBSCRIBES_OR_ASSIGNS: &str =
    "subscribe, subscribe_with, subscribe_pattern, subscribe_pattern_with, assign";
const ALL_SUBSCRIBES: &str =
    "subscribe, subscribe_with, subscribe_pattern, subscribe_pattern_with, assign, unsubscribe";
const SUBSCRIBE_PATTERN: &str = "subscribe_pattern, subscribe_pattern_with";
const POLLS: &str = "poll, records, stream, RecordStream::next";
const COMMITS: &str = "commit, commit_offsets, commit_async, Committer::{commit, commit_offsets}, \
                       RebalanceContext::{commit, commit_offsets}";
const COMMITS_OUTSIDE: &str =
    "commit, commit_offsets, commit_async, Committer::{commit, commit_offsets}";
const COMMITS_AT_END: &str = "commit_async, Committer::{commit, commit_offsets}, \
                              RebalanceContext::{commit, commit_offsets}";
const POSITIONS: &str = "position, seek, seek_to_beginning, seek_to_end, pause, resume, \
                         current_lag, RebalanceContext::{position, seek, pause, resume}";
const POSITION_ITSELF: &str = "position, RebalanceContext::position";
const LOOKUPS: &str = "committed, beginning_offsets, end_offsets, offsets_for_times, \
                       partitions_for, list_topics, describe_group, Observer::describe_group, \
                       RebalanceContext::{committed, beginning_offsets, end_offsets, \
                       offsets_for_times}";
const LOOKUPS_AT_END: &str = "Observer::describe_group, RebalanceContext::{committed, \
                              beginning_offsets, end_offsets, offsets_for_times}";
const DIAGNOSES: &str = "diagnose, Observer::diagnose";
const OVERLOADED: (&str, &str) =
    ("none", "Kafka's queue has no bound; a call waits there until it times out");
const CLOSED: (&str, &str) = ("IllegalStateException", "");
const DIED: (&str, &str) =
    ("none", "an error of Kafka's background thread is logged, and calls time out");
const NEW_CONSUMER: &str = "build a new consumer; report the reason if it is a panic";
const BACK_OFF: &str = "back off exponentially, with jitter, and call again";
const IN_A_CALLBACK: (&str, &str) =
    ("IllegalStateException", "a callback of close, whose time passes while it waits, is told so");
const NO_CALL_AFTER_CLOSE: &str =
    "close takes the consumer, so that none of these calls can be made or open after it";

const CONFIG: &[ErrorRow] = &[
    row(
        ("ConfigError", "Unknown"),
        BUILD,
        false,
        "check the key's spelling, or remove it",
        ("none", "Kafka's consumer warns of unknown keys"),
    ),
    row(
        ("ConfigError", "Refused"),
        BUILD,
        false,
        "remove the key: the broker decides it",
        ("ConfigException", ""),
    ),
    row(
        ("ConfigError", "IllFormed"),
        BUILD,
        false,
        "give a value as the error describes it",
        ("ConfigException", "an empty group.id is InvalidGroupIdException"),
    ),
    row(
        ("ConfigError", "OutOfBounds"),
        BUILD,
        false,
        "give a value within the bounds",
        ("ConfigException", ""),
    ),
    row(
        ("ConfigError", "Unsupported"),
        BUILD,
        false,
        "choose another value",
        ("none", "Kafka's consumer does it"),
    ),
    row(("ConfigError", "Missing"), BUILD, false, "give the key", ("ConfigException", "")),
    row(
        ("ConfigError", "Conflict"),
        BUILD,
        false,
        "change one of the two keys",
        ("InvalidConfigurationException", "ConfigException for some of them"),
    ),
    row(
        ("ConfigError", "Background"),
        BUILD,
        true,
        "free threads and file descriptors",
        ("KafkaException", ""),
    ),
];

const SUBSCRIBE: &[ErrorRow] = &[
    row(
        ("SubscribeError", "InvalidTopic"),
        "subscribe, subscribe_with, assign",
        false,
        "give names that topics can have",
        (
            "IllegalArgumentException",
            "only for null and blank; else InvalidTopicException from poll",
        ),
    ),
    row(
        ("SubscribeError", "InvalidPattern"),
        SUBSCRIBE_PATTERN,
        false,
        "give a pattern; to none: unsubscribe",
        ("IllegalArgumentException", "only for null and empty"),
    ),
    row(
        ("SubscribeError", "Listener"),
        "unsubscribe",
        false,
        "mend the listener; the partitions were given up",
        ("KafkaException", ""),
    ),
    row(
        ("SubscribeError", "LeaveUnconfirmed"),
        "unsubscribe",
        false,
        "nothing: the group notices by the session timeout",
        ("TimeoutException", "Kafka's unsubscribe logs it and returns"),
    ),
    row(
        ("SubscribeError", "Exclusive"),
        SUBSCRIBES_OR_ASSIGNS,
        false,
        "unsubscribe first",
        ("IllegalStateException", ""),
    ),
    row(
        ("SubscribeError", "NoGroupId"),
        SUBSCRIBES,
        false,
        "give a group.id, or assign partitions",
        ("InvalidGroupIdException", ""),
    ),
    row(("SubscribeError", "QueueFull"), ALL_SUBSCRIBES, true, BACK_OFF, OVERLOADED),
    unprovoked(
        row(("SubscribeError", "Closed"), ALL_SUBSCRIBES, false, "build a new consumer", CLOSED),
        NO_CALL_AFTER_CLOSE,
    ),
    row(("SubscribeError", "Background"), ALL_SUBSCRIBES, false, NEW_CONSUMER, DIED),
];

const POLL: &[ErrorRow] = &[
    row(
        ("PollError", "NoBroker"),
        POLLS,
        true,
        "check bootstrap.servers; it goes on trying",
        ("none", "Kafka's poll returns nothing, and logs"),
    ),
    row(
        ("PollError", "Unsupported"),
        POLLS,
        true,
        "upgrade or configure the broker",
        ("UnsupportedVersionException", "ends Kafka's consumer; this one goes on trying"),
    ),
    row(
        ("PollError", "Fatal"),
        POLLS,
        false,
        "mend what the code names, then subscribe again",
        ("the code's, e.g. GroupAuthorizationException", ""),
    ),
    row(
        ("PollError", "Refused"),
        POLLS,
        true,
        "mend what the code names; it goes on trying",
        ("the code's, e.g. TopicAuthorizationException", ""),
    ),
    row(
        ("PollError", "NotSubscribed"),
        POLLS,
        false,
        "subscribe, or assign",
        ("IllegalStateException", ""),
    ),
    row(
        ("PollError", "NoOffset"),
        POLLS,
        false,
        "seek, or set auto.offset.reset",
        ("NoOffsetForPartitionException", "names all such partitions; here each has its own"),
    ),
    row(
        ("PollError", "OffsetOutOfRange"),
        POLLS,
        false,
        "seek, or set auto.offset.reset",
        ("OffsetOutOfRangeException", "names all such partitions; here each has its own"),
    ),
    row(
        ("PollError", "LogTruncated"),
        POLLS,
        false,
        "seek, to where the log diverges, or set auto.offset.reset",
        ("LogTruncationException", "names all such partitions; here each has its own"),
    ),
    row(
        ("PollError", "Record"),
        POLLS,
        true,
        "poll again, since damage may heal; or seek past it",
        ("KafkaException", "is not fetched again"),
    ),
    row(
        ("PollError", "Topic"),
        POLLS,
        true,
        "mend what the code names; others flow",
        ("TopicAuthorizationException, InvalidTopicException", ""),
    ),
    row(
        ("PollError", "Partition"),
        POLLS,
        true,
        "mend what the code names; others flow",
        (
            "the code's, e.g. TopicAuthorizationException",
            "an unexpected code is IllegalStateException",
        ),
    ),
    row(
        ("PollError", "Listener"),
        POLLS,
        true,
        "mend the listener; newly assigned ones wait for it",
        ("KafkaException", "Kafka does not call an assigned callback again"),
    ),
    unprovoked(
        row(("PollError", "Closed"), POLLS, false, "build a new consumer", CLOSED),
        NO_CALL_AFTER_CLOSE,
    ),
    row(("PollError", "Background"), POLLS, false, NEW_CONSUMER, DIED),
];

const COMMIT: &[ErrorRow] = &[
    row(
        ("CommitError", "NotAMember"),
        COMMITS,
        false,
        "poll: it joins, and the records come again",
        ("CommitFailedException", ""),
    ),
    row(
        ("CommitError", "NotAssigned"),
        COMMITS,
        false,
        "commit only what is assigned",
        ("none", "Kafka commits any partition"),
    ),
    row(
        ("CommitError", "OwnershipEnded"),
        COMMITS,
        false,
        "nothing: the next owner reads them again",
        ("CommitFailedException", "RebalanceInProgressException for some of them"),
    ),
    row(
        ("CommitError", "Expired"),
        COMMITS,
        false,
        "nothing: the next owner reads them again",
        ("TimeoutException", ""),
    ),
    row(
        ("CommitError", "Refused"),
        COMMITS,
        false,
        "mend what the code names",
        (
            "the code's; RetriableCommitFailedException of commitAsync",
            "what can be retried is, until the timeout, also by commit_async",
        ),
    ),
    row(("CommitError", "TimedOut"), COMMITS, true, "commit again", ("TimeoutException", "")),
    row(
        ("CommitError", "NoGroupId"),
        COMMITS_OUTSIDE,
        false,
        "give a group.id",
        ("InvalidGroupIdException", ""),
    ),
    row(("CommitError", "QueueFull"), COMMITS, true, BACK_OFF, OVERLOADED),
    row(("CommitError", "Closed"), COMMITS_AT_END, false, "build a new consumer", CLOSED),
    row(("CommitError", "Background"), COMMITS, false, NEW_CONSUMER, DIED),
];

const POSITION: &[ErrorRow] = &[
    row(
        ("PositionError", "NotAssigned"),
        POSITIONS,
        false,
        "ask only about what is assigned",
        ("IllegalStateException", ""),
    ),
    row(
        ("PositionError", "NoOffset"),
        POSITION_ITSELF,
        false,
        "seek, or set auto.offset.reset",
        ("NoOffsetForPartitionException", ""),
    ),
    row(
        ("PositionError", "TimedOut"),
        POSITION_ITSELF,
        true,
        "call again",
        ("TimeoutException", ""),
    ),
    row(("PositionError", "QueueFull"), POSITIONS, true, BACK_OFF, OVERLOADED),
    row(
        ("PositionError", "Closed"),
        "RebalanceContext::{position, seek, pause, resume}",
        false,
        "build a new consumer",
        IN_A_CALLBACK,
    ),
    row(("PositionError", "Background"), POSITIONS, false, NEW_CONSUMER, DIED),
];

const LOOKUP: &[ErrorRow] = &[
    row(
        ("LookupError", "Refused"),
        LOOKUPS,
        false,
        "mend what the code names",
        ("the code's, e.g. TopicAuthorizationException", ""),
    ),
    row(
        ("LookupError", "TimedOut"),
        LOOKUPS,
        true,
        "call again; check that the topic exists",
        ("TimeoutException", "partitions_for of no topic is empty in both"),
    ),
    row(
        ("LookupError", "NoGroupId"),
        "committed, describe_group, Observer::describe_group",
        false,
        "give a group.id",
        ("InvalidGroupIdException", ""),
    ),
    row(("LookupError", "QueueFull"), LOOKUPS, true, BACK_OFF, OVERLOADED),
    row(("LookupError", "Closed"), LOOKUPS_AT_END, false, "build a new consumer", IN_A_CALLBACK),
    row(("LookupError", "Background"), LOOKUPS, false, NEW_CONSUMER, DIED),
];

const DIAGNOSE: &[ErrorRow] = &[
    row(
        ("DiagnoseError", "TimedOut"),
        DIAGNOSES,
        true,
        "give the background's runtime a thread",
        ("none", "Kafka's consumer has no such call"),
    ),
    row(("DiagnoseError", "Closed"), "Observer::diagnose", false, "build a new consumer", CLOSED),
    row(("DiagnoseError", "Background"), DIAGNOSES, false, NEW_CONSUMER, DIED),
];

const ENFORCE: &[ErrorRow] = &[row(
    ("EnforceRebalanceError", "Unsupported"),
    "enforce_rebalance",
    false,
    "change the subscription, or what the coordinator decides by",
    ("none", "Kafka's consumer warns and does nothing"),
)];
