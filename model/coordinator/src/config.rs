//! What a coordinator is set to.

#[cfg(feature = "mutants")]
use crate::Mutant;
use evenkeel_spec::words::Assignor;

/// A coordinator's settings, by Kafka's broker keys.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Config {
    /// `group.consumer.session.timeout.ms`, milliseconds, 45,000 by default.
    pub session_timeout_ms: u32,
    /// `group.consumer.heartbeat.interval.ms`, milliseconds, 5,000 by default.
    pub heartbeat_interval_ms: u32,
    /// `group.consumer.max.size`, members, without a bound by default.
    pub max_size: u32,
    /// `group.consumer.assignment.interval.ms` (4.3), milliseconds, 1,000 by default. 0: each new
    /// group epoch gets its target at the heartbeat that made it. Otherwise no target is computed
    /// for this long after the last one, and the assignment epoch lags behind the group epoch.
    pub assignment_interval_ms: u32,
    /// The assignor of a group whose members name none: the first of `group.consumer.assignors`.
    pub assignor: Assignor,
    /// `offset.metadata.max.bytes`, UTF-16 units in fact, 4,096 by default.
    pub offset_metadata_max: u32,
    /// The seeded fault, if any.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

impl Default for Config {
    /// Kafka 4.3.1's defaults (`GroupCoordinatorConfig`).
    fn default() -> Self {
        Self {
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5_000,
            max_size: u32::MAX,
            assignment_interval_ms: 1_000,
            assignor: Assignor::Uniform,
            offset_metadata_max: 4_096,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}
