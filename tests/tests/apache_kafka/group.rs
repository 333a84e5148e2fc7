//! Other people's members in one group: they show that the peers and their runner work.

use crate::{Outcome, Peers};
use evenkeel_tests::foreign::Foreign;
use evenkeel_tests::kafka::Member;
use evenkeel_tests::ledger::{self, Ledger};
use evenkeel_tests::process::{Process, Signal};
use std::time::Duration;

pub(crate) const CONSUMER: &str = "consumer";

/// Kafka's own producer and consumer meet on Kafka, and the group ends with lag 0.
pub(crate) fn kafka_alone(peers: &Peers) -> Outcome {
    let kafka = peers.kafka()?;
    let bootstrap = kafka.bootstrap_servers();
    kafka.create_topic("alone", 3)?;
    let mut producer = kafka.verifiable_producer(&bootstrap, "alone", RECORDS)?;
    let is_summary = |event: &serde_json::Value| event["name"] == "tool_data";
    let (_, summary) = producer.await_event(0, "the producer's summary", PATIENCE, is_summary)?;
    assert_eq!(summary["acked"], RECORDS, "{summary}");

    let member = Member { name: "alone", group: "alone", topic: "alone", protocol: CONSUMER };
    let mut consumer = kafka.verifiable_consumer(&bootstrap, member)?;
    await_consumed(&[&consumer], RECORDS)?;
    shut_down(&mut consumer)?;
    let mut ledger = Ledger::default();
    ledger.add(&consumer.events())?;
    assert_eq!((ledger.distinct(), ledger.duplicates()), (RECORDS, 0));

    let described = kafka.describe_group(&bootstrap, "alone", &[])?;
    assert_no_lag(&described, RECORDS);
    Ok(())
}

/// Three implementations of KIP-848 share six partitions; one leaves, and the others take over.
pub(crate) fn foreign_members(peers: &Peers) -> Outcome {
    let kafka = peers.kafka()?;
    let (librdkafka, franz_go) = (Foreign::librdkafka()?, Foreign::franz_go()?);
    let (bootstrap, name) = (kafka.bootstrap_servers(), "mixed");
    kafka.create_topic(name, 6)?;
    let member = Member { name: "mixed-java", group: name, topic: name, protocol: CONSUMER };
    let mut java = kafka.verifiable_consumer(&bootstrap, member)?;
    let mut librdkafka = librdkafka.start(&bootstrap, name, name, kafka.dir())?;
    let mut franz_go = franz_go.start(&bootstrap, name, name, kafka.dir())?;
    await_owned(&[&java, &librdkafka, &franz_go], 2)?;
    kafka.produce(&bootstrap, name, RECORDS, 100)?;
    await_consumed(&[&java, &librdkafka, &franz_go], RECORDS)?;
    // One leaves; the others take over from what it committed.
    shut_down(&mut franz_go)?;
    await_owned(&[&java, &librdkafka], 3)?;
    kafka.produce(&bootstrap, name, RECORDS, 100)?;
    let left = ledger::consumed(&franz_go.events());
    await_consumed(&[&java, &librdkafka], 2 * RECORDS - left)?;
    shut_down(&mut java)?;
    shut_down(&mut librdkafka)?;
    let mut ledger = Ledger::default();
    for member in [&java, &librdkafka, &franz_go] {
        assert!(ledger::consumed(&member.events()) > 0, "{} read nothing", member.name());
        ledger.add(&member.events())?;
    }
    assert_eq!(ledger.distinct(), 2 * RECORDS, "no record is lost");
    assert_eq!(ledger.duplicates(), 0, "nobody was killed, so none is read twice");
    let described = kafka.describe_group(&bootstrap, name, &[])?;
    assert_no_lag(&described, 2 * RECORDS);
    Ok(())
}

/// Waits until the events of `members` together count at least `count` records.
pub(crate) fn await_consumed(members: &[&Process], count: u64) -> Outcome {
    let counted = || members.iter().map(|member| ledger::consumed(&member.events())).sum::<u64>();
    Process::await_all(members, "records", PATIENCE, || counted() >= count)?;
    Ok(())
}

/// Waits until each of `members` owns `count` partitions.
pub(crate) fn await_owned(members: &[&Process], count: usize) -> Outcome {
    let owns = |member: &&Process| ledger::owned(&member.events()).len() == count;
    let awaited = format!("assignment of {count} partitions each");
    Process::await_all(members, &awaited, PATIENCE, || members.iter().all(owns))?;
    Ok(())
}

/// Asks `member` to leave and waits until it has said so and ended with success.
pub(crate) fn shut_down(member: &mut Process) -> Outcome {
    member.signal(Signal::Term)?;
    let ended = |event: &serde_json::Value| event["name"] == "shutdown_complete";
    member.await_event(0, "shutdown_complete", PATIENCE, ended)?;
    member.await_exit(PATIENCE)?;
    Ok(())
}

/// Whether `ConsumerGroupCommand --describe` shows `count` committed records and lag 0 everywhere.
pub(crate) fn assert_no_lag(described: &str, count: u64) {
    let mut rows = described.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let head = rows.find(|row| row.contains(&"LAG")).unwrap_or_default();
    let column = |name: &str| head.iter().position(|column| *column == name).unwrap_or(usize::MAX);
    let (offset, lag) = (column("CURRENT-OFFSET"), column("LAG"));
    let number = |row: &[&str], column: usize| row.get(column)?.parse::<u64>().ok();
    let rows: Vec<_> = rows.filter(|row| !row.is_empty()).collect();
    assert!(rows.iter().all(|row| number(row, lag) == Some(0)), "{described}");
    let committed: u64 = rows.iter().filter_map(|row| number(row, offset)).sum();
    assert_eq!(committed, count, "{described}");
}

pub(crate) const RECORDS: u64 = 1_000;
/// For a JVM that starts while two others do, on a machine ten times slower than a desktop.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
