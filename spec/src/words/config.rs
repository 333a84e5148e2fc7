//! Kafka's configuration keys that evenkeel understands, with default, unit and bounds.
//!
//! Source: `ConsumerConfig`, `CommonClientConfigs` of Apache Kafka 4.3.1.

/// What a value counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// `true` or `false`.
    Boolean,
    /// Text.
    Text,
}

/// What a key's value must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConfigKey {
    /// Kafka's name.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// The default as Kafka writes it; `None`: must be given, or there is none.
    pub default: Option<&'static str>,
    /// The least and the greatest number allowed; `None` for text and booleans.
    pub bounds: Option<(i64, i64)>,
}

const INT_MAX: i64 = i32::MAX as i64;

/// Every key that `group.protocol=consumer` has and evenkeel honours, sorted by name; and three of
/// our own: `coordinator.connection`, `in.flight.max` and `request.queue.max` (chapter 10).
pub const CONFIG_KEYS: &[ConfigKey] = &[
    milliseconds("auto.commit.interval.ms", "5000", 0),
    text("auto.offset.reset", Some("latest")),
    text("bootstrap.servers", None),
    boolean("check.crcs", "true"),
    text("client.id", Some("")),
    milliseconds("connections.max.idle.ms", "540000", -1),
    text("coordinator.connection", Some("shared")),
    milliseconds("default.api.timeout.ms", "60000", 0),
    boolean("enable.auto.commit", "true"),
    number("fetch.max.bytes", Unit::Bytes, "52428800", 0, INT_MAX),
    milliseconds("fetch.max.wait.ms", "500", 0),
    number("fetch.min.bytes", Unit::Bytes, "1", 0, INT_MAX),
    text("group.id", None),
    text("group.protocol", Some("consumer")),
    text("group.remote.assignor", None),
    number("in.flight.max", Unit::Count, "2", 1, INT_MAX),
    text("isolation.level", Some("read_uncommitted")),
    number("max.partition.fetch.bytes", Unit::Bytes, "1048576", 0, INT_MAX),
    milliseconds("max.poll.interval.ms", "300000", 1),
    number("max.poll.records", Unit::Count, "500", 1, INT_MAX),
    milliseconds("metadata.max.age.ms", "300000", 0),
    milliseconds("metadata.recovery.rebootstrap.trigger.ms", "300000", 0),
    milliseconds("reconnect.backoff.max.ms", "1000", 0),
    milliseconds("reconnect.backoff.ms", "50", 0),
    number("request.queue.max", Unit::Count, "1024", 2, 1 << 20),
    milliseconds("request.timeout.ms", "30000", 0),
    milliseconds("retry.backoff.max.ms", "1000", 0),
    milliseconds("retry.backoff.ms", "100", 0),
    milliseconds("socket.connection.setup.timeout.ms", "10000", 0),
];

/// Keys of the classic protocol that `group.protocol=consumer` refuses: under KIP-848 the broker
/// decides them (`ConsumerConfig.CLASSIC_PROTOCOL_UNSUPPORTED_CONFIGS`'s counterpart).
pub const REFUSED_KEYS: &[&str] =
    &["heartbeat.interval.ms", "partition.assignment.strategy", "session.timeout.ms"];

/// The key of this name.
#[must_use]
pub fn config_key(name: &str) -> Option<&'static ConfigKey> {
    CONFIG_KEYS.iter().find(|key| key.name == name)
}

const fn number(
    name: &'static str,
    unit: Unit,
    default: &'static str,
    least: i64,
    greatest: i64,
) -> ConfigKey {
    ConfigKey { name, unit, default: Some(default), bounds: Some((least, greatest)) }
}

const fn milliseconds(name: &'static str, default: &'static str, least: i64) -> ConfigKey {
    number(name, Unit::Milliseconds, default, least, INT_MAX)
}

const fn boolean(name: &'static str, default: &'static str) -> ConfigKey {
    ConfigKey { name, unit: Unit::Boolean, default: Some(default), bounds: None }
}

const fn text(name: &'static str, default: Option<&'static str>) -> ConfigKey {
    ConfigKey { name, unit: Unit::Text, default, bounds: None }
}

#[cfg(test)]
mod tests {
    use super::{CONFIG_KEYS, REFUSED_KEYS, config_key};

    #[test]
    fn keys_are_sorted_and_defaults_lie_within_their_bounds() {
        assert!(CONFIG_KEYS.is_sorted_by_key(|key| key.name));
        for key in CONFIG_KEYS {
            if let (Some((least, greatest)), Some(default)) = (key.bounds, key.default) {
                let default: i64 = default.parse().expect("a number");
                assert!((least..=greatest).contains(&default), "{}", key.name);
            }
        }
        assert!(REFUSED_KEYS.iter().all(|name| config_key(name).is_none()));
    }
}
