//! How long things take: the timing profiles in which a path may be possible.
//!
//! The explorer lets timers fire in any order, which is sound for every configuration. A replay on
//! a clock needs one configuration: a path is feasible if one of these profiles allows it. Each
//! reverses an order of deadlines that the others have.

/// Durations of one consumer and its coordinator, milliseconds, by Kafka's keys.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// `group.consumer.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: u32,
    /// `group.consumer.session.timeout.ms`.
    pub session_timeout_ms: u32,
    /// `max.poll.interval.ms`, which is the rebalance timeout too.
    pub poll_interval_ms: u32,
    /// `request.timeout.ms`.
    pub request_timeout_ms: u64,
    /// `default.api.timeout.ms`: the time to leave.
    pub api_timeout_ms: u64,
    /// `auto.commit.interval.ms`.
    pub auto_commit_interval_ms: u64,
    /// `retry.backoff.ms`, before jitter.
    pub retry_backoff_ms: u64,
    /// `retry.backoff.max.ms`, before jitter.
    pub retry_backoff_max_ms: u64,
}

/// Kafka's defaults (`ConsumerConfig`, `GroupCoordinatorConfig` of 4.3.1).
pub const DEFAULTS: Profile = Profile {
    name: "defaults",
    heartbeat_interval_ms: 5_000,
    session_timeout_ms: 45_000,
    poll_interval_ms: 300_000,
    request_timeout_ms: 30_000,
    api_timeout_ms: 60_000,
    auto_commit_interval_ms: 5_000,
    retry_backoff_ms: 100,
    retry_backoff_max_ms: 1_000,
};

/// Every profile, in the order in which they are tried.
pub const PROFILES: &[Profile] = &[
    DEFAULTS,
    // A session ends while a request is on its way.
    Profile { name: "short session", session_timeout_ms: 12_000, ..DEFAULTS },
    // The application is late before its member's session or a request is.
    Profile { name: "short poll interval", poll_interval_ms: 20_000, ..DEFAULTS },
    // The application is late between two heartbeats.
    Profile { name: "shortest poll interval", poll_interval_ms: 3_000, ..DEFAULTS },
    // The session ends before the next heartbeat, then the application is late.
    Profile {
        name: "session shorter than the heartbeat interval",
        session_timeout_ms: 2_000,
        poll_interval_ms: 4_000,
        ..DEFAULTS
    },
    // Nobody gives up a request before the application or the leave is out of time.
    Profile {
        name: "patient requests",
        request_timeout_ms: 3_600_000,
        session_timeout_ms: 7_200_000,
        ..DEFAULTS
    },
    // The time to leave is over before anything else.
    Profile { name: "short time to leave", api_timeout_ms: 2_000, ..DEFAULTS },
    // Timers end before a retry goes out.
    Profile {
        name: "slow retries",
        poll_interval_ms: 2_000,
        session_timeout_ms: 1_500,
        api_timeout_ms: 1_000,
        retry_backoff_ms: 4_000,
        retry_backoff_max_ms: 4_000,
        ..DEFAULTS
    },
    // Commits by interval are due before heartbeats.
    Profile { name: "frequent commits", auto_commit_interval_ms: 1_000, ..DEFAULTS },
    // Heartbeats are due before commits by interval.
    Profile { name: "rare commits", auto_commit_interval_ms: RARE_MS, ..DEFAULTS },
    // The session ends before the next heartbeat, and nothing else does.
    Profile {
        name: "rare heartbeats",
        session_timeout_ms: 2_000,
        auto_commit_interval_ms: RARE_MS,
        ..DEFAULTS
    },
    // Heartbeats are due before the assignment interval is over.
    Profile {
        name: "frequent heartbeats",
        heartbeat_interval_ms: 300,
        auto_commit_interval_ms: RARE_MS,
        ..DEFAULTS
    },
    // The application and the leave are late while everybody else waits, and commits are rare.
    Profile {
        name: "rare commits, short poll interval",
        poll_interval_ms: 8_000,
        api_timeout_ms: 7_000,
        auto_commit_interval_ms: RARE_MS,
        ..DEFAULTS
    },
    // As before, but a commit falls due first.
    Profile {
        name: "a commit before a late application",
        poll_interval_ms: 4_000,
        api_timeout_ms: 4_500,
        session_timeout_ms: 3_000,
        auto_commit_interval_ms: 1_000,
        ..DEFAULTS
    },
    // A member that has left is forgotten while its successor waits for its second answer, and the
    // application is late after that.
    Profile {
        name: "a short session after a leave out of time",
        session_timeout_ms: 8_000,
        poll_interval_ms: 4_000,
        api_timeout_ms: 3_000,
        ..UNHURRIED
    },
    // As before, and the application is late first.
    Profile {
        name: "a late application before a leave out of time",
        session_timeout_ms: 12_000,
        poll_interval_ms: 8_000,
        api_timeout_ms: 3_000,
        retry_backoff_ms: 30_000,
        retry_backoff_max_ms: 30_000,
        ..UNHURRIED
    },
    // Everything ends before the first heartbeat after a join.
    Profile {
        name: "rarest heartbeats",
        heartbeat_interval_ms: 20_000,
        session_timeout_ms: 8_000,
        poll_interval_ms: 4_000,
        api_timeout_ms: 7_000,
        retry_backoff_ms: 30_000,
        retry_backoff_max_ms: 30_000,
        ..UNHURRIED
    },
    // As before, but nobody gives up a leave.
    Profile {
        name: "rarest heartbeats, endless leaves",
        heartbeat_interval_ms: 20_000,
        session_timeout_ms: 12_000,
        poll_interval_ms: 8_000,
        api_timeout_ms: 1_000_000,
        retry_backoff_ms: 30_000,
        retry_backoff_max_ms: 30_000,
        ..UNHURRIED
    },
    // As before, but a retry is soon.
    Profile {
        name: "rarest heartbeats, quick retries",
        heartbeat_interval_ms: 20_000,
        session_timeout_ms: 12_000,
        poll_interval_ms: 8_000,
        api_timeout_ms: 3_000,
        retry_backoff_ms: 100,
        retry_backoff_max_ms: 1_000,
        ..UNHURRIED
    },
];

/// Requests are never given up, commits by interval never due, retries slow.
const UNHURRIED: Profile = Profile {
    name: "unhurried",
    request_timeout_ms: RARE_MS,
    auto_commit_interval_ms: RARE_MS,
    retry_backoff_ms: 4_000,
    retry_backoff_max_ms: 4_000,
    ..DEFAULTS
};

/// Longer than any path of a slice, milliseconds.
const RARE_MS: u64 = 3_600_000;
