//! What the shell is configured with: Kafka's keys as checked numbers. Bounds are the builder's.

use crate::Address;
use evenkeel_spec::words::Assignor;

/// A consumer's settings, each named after Kafka's key (`ConsumerConfig` of Apache Kafka 4.3.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// `bootstrap.servers`: at least one.
    pub bootstrap_servers: Vec<Address>,
    /// Whether `group.id` was given: without one there are no subscriptions and no commits.
    pub has_group: bool,
    /// `group.remote.assignor`.
    pub assignor: Option<Assignor>,
    /// `enable.auto.commit`.
    pub auto_commit: bool,
    /// `auto.commit.interval.ms`.
    pub auto_commit_interval_ms: u64,
    /// `auto.offset.reset`.
    pub auto_offset_reset: OffsetReset,
    /// `isolation.level`.
    pub isolation: Isolation,
    /// `connections.max.idle.ms`; `None`: connections are never closed for being idle.
    pub connections_max_idle_ms: Option<u64>,
    /// `default.api.timeout.ms`: bounds unsubscribe and the time until `poll` says that no broker
    /// could be reached.
    pub default_api_timeout_ms: u64,
    /// `fetch.max.bytes`: the most that one Fetch asks for, and about the most that is buffered.
    pub fetch_max_bytes: u32,
    /// `fetch.max.wait.ms`.
    pub fetch_max_wait_ms: u32,
    /// `fetch.min.bytes`.
    pub fetch_min_bytes: u32,
    /// `max.partition.fetch.bytes`.
    pub max_partition_fetch_bytes: u32,
    /// `max.poll.interval.ms`.
    pub max_poll_interval_ms: u32,
    /// `max.poll.records`: at least 1.
    pub max_poll_records: usize,
    /// `metadata.max.age.ms`.
    pub metadata_max_age_ms: u64,
    /// `metadata.recovery.rebootstrap.trigger.ms` (KIP-1102).
    pub rebootstrap_trigger_ms: u64,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff_ms: u64,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max_ms: u64,
    /// Calls of the application that are not over at once; more are refused.
    pub request_queue_max: usize,
    /// Requests of the application in flight on one connection.
    pub in_flight_max: usize,
    /// Whether the group's requests have a connection of their own.
    pub coordinator_connection: CoordinatorConnection,
    /// `request.timeout.ms`.
    pub request_timeout_ms: u64,
    /// `retry.backoff.ms`.
    pub retry_backoff_ms: u64,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max_ms: u64,
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout_ms: u64,
    /// What the wall clock showed at [`Time(0)`](crate::Time), milliseconds since 1970: only for
    /// [`OffsetReset::ByDuration`].
    pub wall_clock_start_ms: u64,
    /// Seeds the jitter of backoffs.
    pub jitter_seed: u64,
    /// The group's seeded fault, for replays that must find it.
    #[cfg(feature = "mutants")]
    #[doc(hidden)]
    pub mutant: Option<crate::group::Mutant>,
    /// The seeded fault of the requests, for who compares what is shipped with another choice.
    #[cfg(feature = "mutants")]
    #[doc(hidden)]
    pub requests_mutant: Option<crate::request::Mutant>,
}

impl Config {
    /// Kafka's defaults.
    #[must_use]
    pub fn new(bootstrap_servers: Vec<Address>) -> Self {
        Self {
            bootstrap_servers,
            has_group: true,
            assignor: None,
            auto_commit: true,
            auto_commit_interval_ms: 5_000,
            auto_offset_reset: OffsetReset::Latest,
            isolation: Isolation::ReadUncommitted,
            connections_max_idle_ms: Some(540_000),
            default_api_timeout_ms: 60_000,
            fetch_max_bytes: 50 << 20,
            fetch_max_wait_ms: 500,
            fetch_min_bytes: 1,
            max_partition_fetch_bytes: 1 << 20,
            max_poll_interval_ms: 300_000,
            max_poll_records: 500,
            metadata_max_age_ms: 300_000,
            rebootstrap_trigger_ms: 300_000,
            reconnect_backoff_ms: 50,
            reconnect_backoff_max_ms: 1_000,
            request_queue_max: 1_024,
            in_flight_max: 2,
            coordinator_connection: CoordinatorConnection::Shared,
            request_timeout_ms: 30_000,
            retry_backoff_ms: 100,
            retry_backoff_max_ms: 1_000,
            connection_setup_timeout_ms: 10_000,
            wall_clock_start_ms: 0,
            jitter_seed: 0,
            #[cfg(feature = "mutants")]
            mutant: None,
            #[cfg(feature = "mutants")]
            requests_mutant: None,
        }
    }
}

/// `coordinator.connection`: how the group's requests reach their broker.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum CoordinatorConnection {
    /// On the broker's one connection; on a second one only while that is throttled or parked.
    #[default]
    Shared,
    /// On one of their own, as Kafka's consumer does it.
    Dedicated,
}

/// `auto.offset.reset`: where to start without a committed offset, or after
/// `OFFSET_OUT_OF_RANGE`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum OffsetReset {
    /// At the oldest record.
    Earliest,
    /// After the newest record.
    Latest,
    /// Nowhere: `poll` fails until the application seeks.
    None,
    /// At the first record not older than this many milliseconds, else as latest (KIP-1106).
    ByDuration(u64),
}

/// `isolation.level`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Isolation {
    /// Records of open and aborted transactions are returned too.
    ReadUncommitted,
    /// Only records of committed transactions, up to the last stable offset.
    ReadCommitted,
}
