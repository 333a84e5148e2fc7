use super::{Config, ConfigError, Properties};
use evenkeel_core::{Address, Isolation, OffsetReset};

fn checked(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut properties = Properties::default();
    properties.set("bootstrap.servers", "localhost:9092");
    properties.set("group.id", "g");
    for &(key, value) in pairs {
        properties.set(key, value);
    }
    properties.check()
}

#[test]
fn defaults_are_kafkas() {
    let config = checked(&[]).expect("valid");
    let servers = vec![Address::new("localhost", 9092)];
    assert_eq!(config.core, evenkeel_core::Config::new(servers));
    assert!(config.check_crcs);
}

#[test]
fn unknown_key_is_named_and_a_near_one_is_offered() {
    let error = checked(&[("max.poll.record", "1")]).expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "max.poll.record: unknown configuration key; did you mean max.poll.records?"
    );
    let error = checked(&[("acks", "all")]).expect_err("unknown");
    assert_eq!(error, ConfigError::Unknown { key: "acks".into(), similar: None });
}

#[test]
fn texts_that_kafka_cannot_carry_are_refused() {
    let error = checked(&[("client.id", &"x".repeat(32_768))]).expect_err("too long");
    assert_eq!(error.key(), Some("client.id"));
    assert!(error.to_string().len() < 100, "{error}");
}

#[test]
fn isolation_level_is_read() {
    let config = checked(&[("isolation.level", "read_committed")]).expect("valid");
    assert_eq!(config.core.isolation, Isolation::ReadCommitted);
}

#[test]
fn classic_keys_are_refused() {
    for key in ["heartbeat.interval.ms", "partition.assignment.strategy", "session.timeout.ms"] {
        let error = checked(&[(key, "1000")]).expect_err("refused");
        assert_eq!(error, ConfigError::Refused { key: key.into() });
    }
}

#[test]
fn ill_formed_and_out_of_bounds_values_name_their_key() {
    for (key, value) in [
        ("max.poll.records", "many"),
        ("enable.auto.commit", "yes"),
        ("auto.offset.reset", "oldest"),
        ("auto.offset.reset", "by_duration:soon"),
        ("bootstrap.servers", "localhost"),
        ("bootstrap.servers", "SSL://localhost:9093"),
        ("bootstrap.servers", ","),
        ("isolation.level", "serializable"),
        ("group.id", " "),
        ("group.remote.assignor", ""),
    ] {
        let error = checked(&[(key, value)]).expect_err(value);
        assert!(matches!(error, ConfigError::IllFormed { .. }), "{error}");
        assert_eq!(error.key(), Some(key));
    }
    for (key, value) in
        [("max.poll.records", "0"), ("fetch.max.bytes", "-1"), ("retry.backoff.ms", "4294967296")]
    {
        let error = checked(&[(key, value)]).expect_err(value);
        assert!(matches!(error, ConfigError::OutOfBounds { .. }), "{error}");
        assert_eq!(error.key(), Some(key));
    }
}

#[test]
fn what_evenkeel_does_not_do_is_said_rather_than_ignored() {
    let error = checked(&[("group.protocol", "classic")]).expect_err("unsupported");
    assert!(matches!(error, ConfigError::Unsupported { .. }), "{error}");
}

#[test]
fn bootstrap_servers_must_be_given_and_without_a_group_nothing_is_committed() {
    let error = Properties::default().check().expect_err("missing");
    assert!(matches!(error, ConfigError::Missing { .. }), "{error}");
    let mut properties = Properties::default();
    properties.set("bootstrap.servers", "a:1,b:2");
    let config = properties.check().expect("valid");
    assert_eq!((config.group_id, config.core.auto_commit), (None, false));
    assert!(!config.core.has_group);
    properties.set("enable.auto.commit", "true");
    let error = properties.check().expect_err("nothing to commit to");
    assert!(
        matches!(&error, ConfigError::Conflict { other, .. } if other == "group.id"),
        "{error}"
    );
}

#[test]
fn fetches_must_be_shorter_than_the_request_timeout() {
    let error = checked(&[("fetch.max.wait.ms", "5000"), ("request.timeout.ms", "5000")])
        .expect_err("conflict");
    assert_eq!(error.key(), Some("fetch.max.wait.ms"));
}

#[test]
fn addresses_are_read_as_kafka_reads_them() {
    let config = checked(&[("bootstrap.servers", " a.b:1, [::1]:2 ,PLAINTEXT://c:3,")])
        .expect("valid")
        .core
        .bootstrap_servers;
    assert_eq!(config, [Address::new("a.b", 1), Address::new("::1", 2), Address::new("c", 3)]);
    assert_eq!(config[1].to_string(), "[::1]:2");
}

#[test]
fn durations_are_read_as_java_reads_them() {
    for (text, ms) in
        [("P1D", 86_400_000), ("PT1H2M", 3_720_000), ("PT0.5S", 500), ("P2DT3.25S", 172_803_250)]
    {
        let config = checked(&[("auto.offset.reset", &format!("by_duration:{text}"))]);
        assert_eq!(config.expect(text).core.auto_offset_reset, OffsetReset::ByDuration(ms));
    }
    for text in ["P", "PT", "P1H", "PT1D", "PT1.5H", "1D", "PT5", "P1DT", "PT-1S"] {
        assert!(checked(&[("auto.offset.reset", &format!("by_duration:{text}"))]).is_err());
    }
}
