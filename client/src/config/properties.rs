//! Kafka's property names and their texts, and the one place that reads them.

use super::{Config, ConfigError};
use evenkeel_core::{Address, CoordinatorConnection, Isolation, OffsetReset};
use evenkeel_spec::words::config::{CONFIG_KEYS, REFUSED_KEYS, config_key};
use evenkeel_spec::words::{Assignor, ConfigKey, GroupId, Unit};
use std::collections::BTreeMap;

/// Properties as they were given; the last one of a key wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties(BTreeMap<String, String>);

impl Properties {
    pub(crate) fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.insert(key.into(), value.into());
    }

    /// Checks every key, then every value, then the rules between them.
    pub(crate) fn check(&self) -> Result<Config, ConfigError> {
        for (key, value) in &self.0 {
            check_key(key, value)?;
        }
        let config = self.read()?;
        if u64::from(config.core.fetch_max_wait_ms) >= config.core.request_timeout_ms {
            return Err(ConfigError::Conflict {
                key: "fetch.max.wait.ms".into(),
                other: "request.timeout.ms".into(),
                rule: "must be less than request.timeout.ms, or every idle fetch times out",
            });
        }
        Ok(config)
    }

    fn read(&self) -> Result<Config, ConfigError> {
        self.only("group.protocol", "consumer", "evenkeel speaks KIP-848 only")?;
        let group_id = self.group_id()?;
        Ok(Config {
            core: evenkeel_core::Config {
                has_group: group_id.is_some(),
                auto_commit: self.auto_commit(group_id.is_some())?,
                ..self.core()?
            },
            group_id,
            client_id: self.text("client.id").unwrap_or_default().to_owned(),
            check_crcs: self.boolean("check.crcs")?,
        })
    }

    fn group_id(&self) -> Result<Option<GroupId>, ConfigError> {
        match self.0.get("group.id") {
            Some(_) => Ok(Some(GroupId::from(self.required("group.id")?))),
            None => Ok(None),
        }
    }

    /// On by default; without a group there is nothing to commit to, as in Kafka
    /// (`ConsumerConfig.maybeOverrideEnableAutoCommit`, 4.3.1).
    fn auto_commit(&self, has_group: bool) -> Result<bool, ConfigError> {
        let key = "enable.auto.commit";
        let is_on = self.boolean(key)?;
        if has_group || !is_on {
            return Ok(is_on);
        }
        if self.0.contains_key(key) {
            return Err(ConfigError::Conflict {
                key: key.into(),
                other: "group.id".into(),
                rule: "needs group.id: offsets are committed to a group",
            });
        }
        Ok(false)
    }

    fn core(&self) -> Result<evenkeel_core::Config, ConfigError> {
        let reconnect_backoff_ms = self.number("reconnect.backoff.ms")?.into();
        let retry_backoff_ms = self.number("retry.backoff.ms")?.into();
        Ok(evenkeel_core::Config {
            bootstrap_servers: self.bootstrap_servers()?,
            assignor: self.assignor()?,
            auto_commit_interval_ms: self.number("auto.commit.interval.ms")?.into(),
            auto_offset_reset: self.reset()?,
            isolation: self.isolation()?,
            connections_max_idle_ms: self.number_or_never("connections.max.idle.ms")?,
            default_api_timeout_ms: self.number("default.api.timeout.ms")?.into(),
            fetch_max_bytes: self.number("fetch.max.bytes")?,
            fetch_max_wait_ms: self.number("fetch.max.wait.ms")?,
            fetch_min_bytes: self.number("fetch.min.bytes")?,
            max_partition_fetch_bytes: self.number("max.partition.fetch.bytes")?,
            max_poll_interval_ms: self.number("max.poll.interval.ms")?,
            max_poll_records: self.count("max.poll.records")?,
            metadata_max_age_ms: self.number("metadata.max.age.ms")?.into(),
            rebootstrap_trigger_ms: self.number("metadata.recovery.rebootstrap.trigger.ms")?.into(),
            reconnect_backoff_ms,
            // Kafka takes a cap below the base as the base (ExponentialBackoff,
            // CommonClientConfigs.warnDisablingExponentialBackoff, 4.3.1).
            reconnect_backoff_max_ms: u64::from(self.number("reconnect.backoff.max.ms")?)
                .max(reconnect_backoff_ms),
            request_queue_max: self.count("request.queue.max")?,
            in_flight_max: self.count("in.flight.max")?,
            coordinator_connection: self.coordinator_connection()?,
            request_timeout_ms: self.number("request.timeout.ms")?.into(),
            retry_backoff_ms,
            retry_backoff_max_ms: u64::from(self.number("retry.backoff.max.ms")?)
                .max(retry_backoff_ms),
            connection_setup_timeout_ms: self.number("socket.connection.setup.timeout.ms")?.into(),
            ..evenkeel_core::Config::new(Vec::new())
        })
    }

    fn bootstrap_servers(&self) -> Result<Vec<Address>, ConfigError> {
        let key = "bootstrap.servers";
        let text = self.required(key)?;
        let expected = "host:port, separated by commas";
        let servers: Vec<Address> = text
            .split(',')
            .map(str::trim)
            .filter(|server| !server.is_empty())
            .map(|server| parse_address(server).ok_or_else(|| ill_formed(key, server, expected)))
            .collect::<Result<_, _>>()?;
        if servers.is_empty() { Err(ill_formed(key, text, expected)) } else { Ok(servers) }
    }

    fn assignor(&self) -> Result<Option<Assignor>, ConfigError> {
        let key = "group.remote.assignor";
        Ok(match self.text(key) {
            None => None,
            Some("") => return Err(ill_formed(key, "", "the name of an assignor")),
            Some("uniform") => Some(Assignor::Uniform),
            Some("range") => Some(Assignor::Range),
            Some(other) => Some(Assignor::Other(other.into())),
        })
    }

    fn reset(&self) -> Result<OffsetReset, ConfigError> {
        let key = "auto.offset.reset";
        let text = self.text(key).unwrap_or("latest");
        match text {
            "earliest" => Ok(OffsetReset::Earliest),
            "latest" => Ok(OffsetReset::Latest),
            "none" => Ok(OffsetReset::None),
            _ => text
                .strip_prefix("by_duration:")
                .and_then(iso_8601_ms)
                .map(OffsetReset::ByDuration)
                .ok_or_else(|| {
                    ill_formed(key, text, "earliest, latest, none or by_duration:PnDTnHnMn.nS")
                }),
        }
    }

    fn count(&self, key: &'static str) -> Result<usize, ConfigError> {
        Ok(usize::try_from(self.number(key)?).unwrap_or(usize::MAX))
    }

    fn coordinator_connection(&self) -> Result<CoordinatorConnection, ConfigError> {
        let key = "coordinator.connection";
        match self.text(key).unwrap_or_default() {
            "shared" => Ok(CoordinatorConnection::Shared),
            "dedicated" => Ok(CoordinatorConnection::Dedicated),
            other => Err(ill_formed(key, other, "shared or dedicated")),
        }
    }

    fn isolation(&self) -> Result<Isolation, ConfigError> {
        let key = "isolation.level";
        match self.text(key).unwrap_or_default() {
            "read_uncommitted" => Ok(Isolation::ReadUncommitted),
            "read_committed" => Ok(Isolation::ReadCommitted),
            other => Err(ill_formed(key, other, "read_uncommitted or read_committed")),
        }
    }

    /// The key's text, or its default.
    fn text(&self, key: &'static str) -> Option<&str> {
        self.0.get(key).map(String::as_str).or_else(|| config_key(key).and_then(|k| k.default))
    }

    fn required(&self, key: &'static str) -> Result<&str, ConfigError> {
        match self.text(key) {
            None => Err(ConfigError::Missing { key: key.into() }),
            Some(text) if text.trim().is_empty() => Err(ill_formed(key, text, "a text")),
            Some(text) => Ok(text),
        }
    }

    fn only(
        &self,
        key: &'static str,
        supported: &'static str,
        reason: &'static str,
    ) -> Result<(), ConfigError> {
        match self.text(key) {
            Some(text) if text.eq_ignore_ascii_case(supported) => Ok(()),
            other => Err(ConfigError::Unsupported {
                key: key.into(),
                value: other.unwrap_or_default().into(),
                reason,
            }),
        }
    }

    fn boolean(&self, key: &'static str) -> Result<bool, ConfigError> {
        let text = self.text(key).unwrap_or_default();
        read_boolean(text).ok_or_else(|| ill_formed(key, text, "true or false"))
    }

    fn number(&self, key: &'static str) -> Result<u32, ConfigError> {
        let text = self.text(key).unwrap_or_default();
        text.trim().parse().map_err(|_| ill_formed(key, text, "a whole number"))
    }

    /// A number whose -1 means never.
    fn number_or_never(&self, key: &'static str) -> Result<Option<u64>, ConfigError> {
        if self.text(key).map(str::trim) == Some("-1") {
            return Ok(None);
        }
        self.number(key).map(|ms| Some(ms.into()))
    }
}

/// Whether the key exists and its value has its kind and lies within its bounds.
fn check_key(key: &str, value: &str) -> Result<(), ConfigError> {
    if REFUSED_KEYS.contains(&key) {
        return Err(ConfigError::Refused { key: key.into() });
    }
    let Some(known) = config_key(key) else {
        return Err(ConfigError::Unknown { key: key.into(), similar: similar(key) });
    };
    match known.unit {
        Unit::Text if value.len() > TEXT_MAX => {
            Err(ill_formed(key, &format!("{} bytes", value.len()), "at most 32767 bytes"))
        }
        Unit::Text => Ok(()),
        Unit::Boolean if read_boolean(value).is_some() => Ok(()),
        Unit::Boolean => Err(ill_formed(key, value, "true or false")),
        Unit::Milliseconds | Unit::Bytes | Unit::Count => check_number(known, value),
    }
}

fn check_number(key: &ConfigKey, value: &str) -> Result<(), ConfigError> {
    let number: i64 =
        value.trim().parse().map_err(|_| ill_formed(key.name, value, "a whole number"))?;
    match key.bounds {
        Some((least, greatest)) if !(least..=greatest).contains(&number) => {
            Err(ConfigError::OutOfBounds {
                key: key.name.into(),
                value: value.into(),
                least,
                greatest,
            })
        }
        _ => Ok(()),
    }
}

/// Reads `host:port`, `[v6]:port` or, as Kafka allows, `PROTOCOL://host:port` with the protocol
/// `PLAINTEXT` (`ClientUtils.parseAndValidateAddresses`, 4.3.1).
fn parse_address(text: &str) -> Option<Address> {
    let text = text.strip_prefix("PLAINTEXT://").unwrap_or(text);
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '%');
    if host.is_empty() || !host.chars().all(legal) {
        return None;
    }
    port.parse().ok().filter(|port| *port != 0).map(|port| Address::new(host, port))
}

fn read_boolean(text: &str) -> Option<bool> {
    match text.trim() {
        t if t.eq_ignore_ascii_case("true") => Some(true),
        t if t.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn ill_formed(key: &str, value: &str, expected: &'static str) -> ConfigError {
    ConfigError::IllFormed { key: key.into(), value: value.into(), expected }
}

/// The known key nearest to a misspelled one, if any is near.
fn similar(key: &str) -> Option<&'static str> {
    let names = CONFIG_KEYS.iter().map(|known| known.name);
    let (distance, name) = names.map(|name| (edit_distance(key, name), name)).min()?;
    (distance <= SIMILAR_MAX).then_some(name)
}

/// Levenshtein's distance, by characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.chars().enumerate() {
            let kept = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = kept.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[row.len() - 1]
}

/// Milliseconds of an ISO 8601 duration as `java.time.Duration.parse` reads it, not negative.
fn iso_8601_ms(text: &str) -> Option<u64> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    if (date.is_empty() && time.is_empty()) || rest.ends_with('T') {
        return None;
    }
    let mut total: u64 = 0;
    let mut units = [('D', 86_400_000_u64), ('H', 3_600_000), ('M', 60_000), ('S', 1_000)].iter();
    for (part, in_time) in [(date, false), (time, true)] {
        let mut rest = part;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let unit = rest[end..].chars().next()?;
            let &(_, factor) = units.find(|(name, _)| *name == unit)?;
            if (unit == 'D') == in_time {
                return None;
            }
            total = total.checked_add(scaled(&rest[..end], factor, unit == 'S')?)?;
            rest = &rest[end + 1..];
        }
    }
    Some(total)
}

/// `number * factor`; a fraction only where the unit is seconds.
fn scaled(number: &str, factor: u64, fraction_allowed: bool) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (number.contains('.') && !fraction_allowed) || fraction.len() > 9 {
        return None;
    }
    let thousandths: u64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(thousandths)
}

/// The longest text that Kafka's protocol carries in a field of its old encoding, bytes.
const TEXT_MAX: usize = 32_767;

/// A key that is this many edits away is offered as what was meant: two typing errors.
const SIMILAR_MAX: usize = 2;
