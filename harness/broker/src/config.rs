//! The broker's configuration under Kafka's own names. Decides which keys exist, their bounds and
//! defaults; a key that is not honoured is refused, never ignored.
//!
//! Source of names and defaults: `ServerConfigs`, `ServerLogConfigs`, `SocketServerConfigs` and
//! `GroupCoordinatorConfig` of Apache Kafka 4.3.1.

/// Why a cluster could not be built from its configuration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The broker does not honour this key, so that setting it would silently change nothing.
    #[error("unknown broker configuration `{key}`; known are: {known}")]
    UnknownKey {
        /// The key as it was given.
        key: String,
        /// Every key that is honoured, separated by commas.
        known: String,
    },
    /// The value is no number, no boolean, or out of bounds.
    #[error("`{key}` = `{value}`: must be {expected}")]
    Invalid {
        /// The key.
        key: String,
        /// The value as it was given.
        value: String,
        /// What it must be.
        expected: String,
    },
    /// A topic's name is not legal or was given twice, or it has no partition.
    #[error("topic `{topic}`: {reason}")]
    Topic {
        /// The topic's name.
        topic: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The cluster has no node, or more than [`NODES_MAX`].
    #[error("{nodes} nodes: must be 1 to {NODES_MAX}")]
    Nodes {
        /// How many were asked for.
        nodes: u32,
    },
}

/// More nodes than a test needs; each takes a listening port.
pub const NODES_MAX: u32 = 64;

/// What the broker honours, with Kafka's defaults.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// `group.consumer.session.timeout.ms`, milliseconds; default 45,000.
    pub session_timeout_ms: u32,
    /// `group.consumer.heartbeat.interval.ms`, milliseconds; default 5,000.
    pub heartbeat_interval_ms: u32,
    /// `group.consumer.max.size`, members of a group; default 2,147,483,647.
    pub max_size: u32,
    /// `group.consumer.assignment.interval.ms`, milliseconds; default 1,000. 0: at once.
    pub assignment_interval_ms: u32,
    /// `group.consumer.regex.refresh.interval.ms`, milliseconds; default 600,000.
    pub regex_refresh_interval_ms: u32,
    /// `auto.create.topics.enable`; default true in Kafka, false here: a test says what exists.
    pub auto_create_topics: bool,
    /// `num.partitions` of a topic created without a count; default 1.
    pub num_partitions: u32,
    /// `default.replication.factor`; default 1 in Kafka, 3 here. More than the nodes: all of them.
    pub default_replication_factor: u32,
    /// `message.max.bytes` of a record batch; default 1,048,588.
    pub message_max_bytes: u32,
    /// `fetch.max.bytes` of a fetch answer's records; default 57,671,680.
    pub fetch_max_bytes: u32,
    /// `socket.request.max.bytes` of a frame; default 104,857,600.
    pub request_max_bytes: u32,
    /// `offset.metadata.max.bytes` of a committed offset's note; default 4,096.
    pub offset_metadata_max_bytes: u32,
    /// `log.message.timestamp.type`: whether records carry the time of their append instead of
    /// their producer's; default `CreateTime`.
    pub log_append_time: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5_000,
            max_size: u32::MAX >> 1,
            assignment_interval_ms: 1_000,
            regex_refresh_interval_ms: 600_000,
            auto_create_topics: false,
            num_partitions: 1,
            default_replication_factor: 3,
            message_max_bytes: 1_048_588,
            fetch_max_bytes: 57_671_680,
            request_max_bytes: 104_857_600,
            offset_metadata_max_bytes: 4_096,
            log_append_time: false,
        }
    }
}

impl Config {
    /// Every key that [`Config::set`] honours, sorted.
    pub const KEYS: &[&str] = &[
        "auto.create.topics.enable",
        "default.replication.factor",
        "fetch.max.bytes",
        "group.consumer.assignment.interval.ms",
        "group.consumer.heartbeat.interval.ms",
        "group.consumer.max.size",
        "group.consumer.regex.refresh.interval.ms",
        "group.consumer.session.timeout.ms",
        "log.message.timestamp.type",
        "message.max.bytes",
        "num.partitions",
        "offset.metadata.max.bytes",
        "socket.request.max.bytes",
    ];

    /// Sets Kafka's broker configuration `key`. Errors: [`ConfigError::UnknownKey`],
    /// [`ConfigError::Invalid`]; both name the key.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        match key {
            "auto.create.topics.enable" => self.auto_create_topics = boolean(key, value)?,
            "default.replication.factor" => {
                self.default_replication_factor = number(key, value, 1)?;
            }
            "fetch.max.bytes" => self.fetch_max_bytes = number(key, value, 1024)?,
            "group.consumer.assignment.interval.ms" => {
                self.assignment_interval_ms = number(key, value, 0)?;
            }
            "group.consumer.heartbeat.interval.ms" => {
                self.heartbeat_interval_ms = number(key, value, 1)?;
            }
            "group.consumer.max.size" => self.max_size = number(key, value, 1)?,
            "group.consumer.regex.refresh.interval.ms" => {
                self.regex_refresh_interval_ms = number(key, value, 10_000)?;
            }
            "group.consumer.session.timeout.ms" => self.session_timeout_ms = number(key, value, 1)?,
            "log.message.timestamp.type" => self.log_append_time = timestamp_type(key, value)?,
            "message.max.bytes" => self.message_max_bytes = number(key, value, 0)?,
            "num.partitions" => self.num_partitions = number(key, value, 1)?,
            "offset.metadata.max.bytes" => self.offset_metadata_max_bytes = number(key, value, 0)?,
            "socket.request.max.bytes" => self.request_max_bytes = number(key, value, 1024)?,
            _ => {
                let (key, known) = (key.to_owned(), Self::KEYS.join(", "));
                return Err(ConfigError::UnknownKey { key, known });
            }
        }
        Ok(())
    }

    /// Every key with its present value as Kafka writes it, sorted by key.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let values = [
            self.auto_create_topics.to_string(),
            self.default_replication_factor.to_string(),
            self.fetch_max_bytes.to_string(),
            self.assignment_interval_ms.to_string(),
            self.heartbeat_interval_ms.to_string(),
            self.max_size.to_string(),
            self.regex_refresh_interval_ms.to_string(),
            self.session_timeout_ms.to_string(),
            timestamp_type_name(self.log_append_time).to_owned(),
            self.message_max_bytes.to_string(),
            self.num_partitions.to_string(),
            self.offset_metadata_max_bytes.to_string(),
            self.request_max_bytes.to_string(),
        ];
        Self::KEYS.iter().copied().zip(values).collect()
    }
}

/// Kafka's word for who stamps a record.
pub(crate) fn timestamp_type_name(log_append_time: bool) -> &'static str {
    if log_append_time { "LogAppendTime" } else { "CreateTime" }
}

pub(crate) fn timestamp_type(key: &str, value: &str) -> Result<bool, ConfigError> {
    match value {
        "CreateTime" => Ok(false),
        "LogAppendTime" => Ok(true),
        _ => Err(invalid(key, value, "CreateTime or LogAppendTime".to_owned())),
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, ConfigError> {
    value.parse().map_err(|_| invalid(key, value, "true or false".to_owned()))
}

fn number(key: &str, value: &str, least: u32) -> Result<u32, ConfigError> {
    const GREATEST: u32 = u32::MAX >> 1; // Kafka's integers are signed
    let expected = || format!("a whole number from {least} to {GREATEST}");
    let parsed: u32 = value.parse().map_err(|_| invalid(key, value, expected()))?;
    if (least..=GREATEST).contains(&parsed) {
        Ok(parsed)
    } else {
        Err(invalid(key, value, expected()))
    }
}

fn invalid(key: &str, value: &str, expected: String) -> ConfigError {
    ConfigError::Invalid { key: key.to_owned(), value: value.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError};

    #[test]
    fn every_known_key_takes_its_own_default_back() {
        let mut config = Config::default();
        for (key, value) in Config::default().entries() {
            config.set(key, &value).expect(key);
        }
        assert_eq!(config, Config::default());
        assert!(Config::KEYS.is_sorted());
    }

    #[test]
    fn unknown_and_ill_formed_settings_name_their_key() {
        let mut config = Config::default();
        let unknown = config.set("log.dirs", "/tmp").expect_err("not honoured");
        assert!(matches!(&unknown, ConfigError::UnknownKey { key, .. } if key == "log.dirs"));
        for value in ["0", "-1", "many", "4294967295"] {
            let error = config.set("num.partitions", value).expect_err("out of bounds");
            assert!(error.to_string().contains("num.partitions"), "{error}");
        }
        assert_eq!(config, Config::default());
    }
}
