//! What a consumer was configured to do: Kafka's property names in, typed and checked values out.
//!
//! Decides which keys exist, which are refused and whether their values are within bounds. The
//! table itself is the spec's (`words/config.rs`); what each value makes the consumer do is core's
//! and the driver's.

mod properties;
#[cfg(test)]
mod tests;

pub(crate) use properties::Properties;

use evenkeel_spec::words::GroupId;

/// Every setting of one consumer, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Config {
    /// What the core decides by.
    pub(crate) core: evenkeel_core::Config,
    /// None: no subscriptions and no commits.
    pub(crate) group_id: Option<GroupId>,
    pub(crate) client_id: String,
    pub(crate) check_crcs: bool,
}

/// Why a consumer could not be built. Nothing was started.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No such key. Check its spelling; keys of producers and of features that evenkeel lacks are
    /// unknown too, rather than ignored.
    #[error("{key}: unknown configuration key{}", suggestion(.similar))]
    Unknown {
        /// The key as given.
        key: String,
        /// A known key that is spelled nearly so.
        similar: Option<&'static str>,
    },
    /// The key belongs to the classic group protocol. Under KIP-848 the broker decides it (for
    /// example by `group.consumer.session.timeout.ms`): remove it.
    #[error(
        "{key}: not a client setting under group.protocol=consumer (KIP-848): the broker decides it; remove the key"
    )]
    Refused {
        /// The key.
        key: String,
    },
    /// The value cannot be read.
    #[error("{key}: cannot read {value:?}; expected {expected}")]
    IllFormed {
        /// The key.
        key: String,
        /// The value as given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The number is too small or too large.
    #[error("{key}: {value} is out of bounds; allowed are {least} to {greatest}")]
    OutOfBounds {
        /// The key.
        key: String,
        /// The value as given.
        value: String,
        /// The least number allowed.
        least: i64,
        /// The greatest number allowed.
        greatest: i64,
    },
    /// The value is legal in Kafka, but evenkeel does not do it.
    #[error("{key}: {value:?} is not supported: {reason}")]
    Unsupported {
        /// The key.
        key: String,
        /// The value as given.
        value: String,
        /// What is missing.
        reason: &'static str,
    },
    /// The key must be given.
    #[error("{key}: must be given")]
    Missing {
        /// The key.
        key: String,
    },
    /// Two values that are fine alone cannot be together.
    #[error("{key}: {rule} ({other})")]
    Conflict {
        /// The key to change first.
        key: String,
        /// The other key.
        other: String,
        /// What must hold between them.
        rule: &'static str,
    },
    /// The operating system refused the thread or the I/O reactor of the background.
    #[error("the background could not be started: {reason}")]
    Background {
        /// What the operating system said.
        reason: String,
    },
}

impl ConfigError {
    /// The key that the error is about, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Unknown { key, .. }
            | Self::Refused { key }
            | Self::IllFormed { key, .. }
            | Self::OutOfBounds { key, .. }
            | Self::Unsupported { key, .. }
            | Self::Missing { key }
            | Self::Conflict { key, .. } => Some(key),
            Self::Background { .. } => None,
        }
    }
}

fn suggestion(similar: &Option<&'static str>) -> String {
    similar.map_or_else(String::new, |key| format!("; did you mean {key}?"))
}
