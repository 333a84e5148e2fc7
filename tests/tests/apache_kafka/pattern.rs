//! Subscription by pattern, and what a group and a member say of themselves, on Apache Kafka: the
//! broker's RE2J finds the topics, late.

use crate::{Outcome, Peers};
use evenkeel::diagnosis::{Reason, Wait};
use evenkeel::{Consumer, ConsumerBuilder, ErrorCode, LookupError, PollError};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

const RECORDS: u64 = 50;

/// Joins by a pattern, reads a topic that is made later, goes from names to a pattern and back; a
/// pattern that RE2J refuses is told; a second member sees who has what it waits for.
pub(crate) fn on_kafka(peers: &Peers) -> Outcome {
    let kafka = peers.kafka()?;
    let make = |topic: &str| -> Outcome {
        kafka.create_topic(topic, 1)?;
        kafka.produce(&kafka.bootstrap_servers(), topic, RECORDS, 100)?;
        Ok(())
    };
    make("pattern-a")?;
    make("named-a")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let builder = || member(&kafka.bootstrap_servers());
    runtime.block_on(refused(builder))?;
    let mut consumer = runtime.block_on(joined(builder))?;
    // The test's thread makes the topic while the background heartbeats.
    make("pattern-b")?;
    runtime.block_on(async {
        read(&mut consumer, 1, RECORDS).await?;
        assert_eq!(topics(&consumer), ["pattern-a", "pattern-b"].map(str::to_owned).into());
        shared(&mut consumer, builder).await?;
        changed(&mut consumer).await?;
        assert!(consumer.close(PATIENCE).await.left);
        Ok(())
    })
}

fn member(servers: &str) -> ConsumerBuilder {
    Consumer::builder()
        .bootstrap_servers(servers)
        .group_id("patterns")
        .property("auto.offset.reset", "earliest")
        .property("metadata.max.age.ms", "1000")
}

async fn refused(builder: impl Fn() -> ConsumerBuilder) -> Outcome {
    let mut consumer = builder().group_id("refused-patterns").build()?;
    let described = consumer.describe_group().await;
    let absent = LookupError::Refused { code: ErrorCode::GroupIdNotFound };
    assert_eq!(described, Err(absent), "nobody has joined yet");
    consumer.subscribe_pattern("pattern-(").await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "it is refused");
        match consumer.poll(Duration::from_secs(1)).await {
            Ok(_) => {}
            Err(PollError::Fatal { code: ErrorCode::InvalidRegularExpression, .. }) => break,
            Err(other) => return Err(other.into()),
        }
    }
    consumer.close(PATIENCE).await;
    Ok(())
}

async fn joined(
    builder: impl Fn() -> ConsumerBuilder,
) -> Result<Consumer, Box<dyn std::error::Error>> {
    let mut consumer = builder().build()?;
    consumer.subscribe_pattern("pattern-.").await?;
    read(&mut consumer, 0, RECORDS).await?;
    assert_eq!(topics(&consumer), ["pattern-a".to_owned()].into());
    // What it read was released, and nothing new is there.
    consumer.poll(Duration::from_secs(1)).await?;
    let diagnosis = consumer.diagnose().await?;
    let known = diagnosis.partitions.values().next().ok_or("one partition is known")?;
    let is_read = matches!(known.reason, Reason::Fetching { .. } | Reason::NextFetch { .. })
        || matches!(known.reason, Reason::HeartbeatFirst { .. });
    assert!(is_read && known.lag == Some(0), "{diagnosis}");
    Ok(consumer)
}

/// A second member, and the group in the coordinator's words.
async fn shared(consumer: &mut Consumer, builder: impl Fn() -> ConsumerBuilder) -> Outcome {
    let mut second = builder().property("client.id", "second").build()?;
    second.subscribe_pattern("pattern-.").await?;
    let deadline = Instant::now() + PATIENCE;
    let is_waiting =
        |waits: &[(Wait, Duration)]| waits.iter().any(|(wait, _)| matches!(wait, Wait::Assignment));
    let mut has_waited = false;
    while second.assignment().is_empty() {
        assert!(Instant::now() < deadline, "the second member gets its share");
        second.poll(Duration::from_millis(100)).await?;
        has_waited |= is_waiting(&second.diagnose().await?.waits);
        consumer.poll(Duration::from_millis(100)).await?;
    }
    assert!(has_waited, "it waited for the first one to let go");
    let group = consumer.describe_group().await?;
    assert_eq!(group.members.len(), 2, "{group:?}");
    let me = consumer.group_metadata().member.ok_or("it is one")?.0;
    let me = group.member(&me).ok_or("it is described")?;
    assert_eq!((me.pattern.as_deref(), me.topics.len()), (Some("pattern-."), 0));
    assert_eq!(&me.assignment, consumer.assignment());
    let holder = group.holder(second.assignment().first().ok_or("it has one")?);
    assert_eq!(holder.map(|holder| &*holder.client_id), Some("second"), "{group:?}");
    assert!(second.close(PATIENCE).await.left);
    Ok(())
}

async fn changed(consumer: &mut Consumer) -> Outcome {
    consumer.subscribe(["named-a"]).await?;
    until(consumer, &["named-a"]).await?;
    let group = consumer.describe_group().await?;
    let described = &group.members[0];
    assert_eq!((described.pattern.as_deref(), described.topics.len()), (None, 1), "{group:?}");
    consumer.subscribe_pattern("pattern-[ab]").await?;
    until(consumer, &["pattern-a", "pattern-b"]).await
}

/// Polls until exactly these topics are assigned.
async fn until(consumer: &mut Consumer, expected: &[&str]) -> Outcome {
    let expected: BTreeSet<String> = expected.iter().map(|topic| (*topic).to_owned()).collect();
    let deadline = Instant::now() + PATIENCE;
    while topics(consumer) != expected {
        assert!(Instant::now() < deadline, "{:?} instead of {expected:?}", topics(consumer));
        consumer.poll(Duration::from_millis(200)).await?;
    }
    Ok(())
}

fn topics(consumer: &Consumer) -> BTreeSet<String> {
    consumer.assignment().iter().map(|partition| partition.topic.as_str().to_owned()).collect()
}

/// Polls until so many records came, of topics beyond the first `known`.
async fn read(consumer: &mut Consumer, known: usize, count: u64) -> Outcome {
    let mut got = 0;
    let deadline = Instant::now() + PATIENCE;
    while got < count || consumer.assignment().len() <= known {
        assert!(Instant::now() < deadline, "{got} of {count} records");
        got += consumer.poll(Duration::from_secs(1)).await?.len() as u64;
    }
    assert_eq!(got, count);
    Ok(())
}

/// A refresh of a pattern takes up to 11.5 s on Apache Kafka 4.3.1 where the machine is idle.
const PATIENCE: Duration = Duration::from_secs(90);
