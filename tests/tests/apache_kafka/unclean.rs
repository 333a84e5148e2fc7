//! An unclean leader election on Apache Kafka: the log loses records that a consumer has read, and
//! gets others at their offsets (KIP-320). spec/11-positions.md.

use crate::{Outcome, Peers};
use evenkeel::diagnosis::Reason;
use evenkeel::{Consumer, Offset, PollError, TopicPartition};
use evenkeel_tests::kafka::Kafka;
use evenkeel_tests::wire::{Wire, topic_name};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, OffsetForLeaderEpochRequest};
use kafka_protocol::protocol::StrBytes;
use std::time::{Duration, Instant};

/// Three nodes for the quorum of their controllers; the topic is on two of them. The follower is
/// killed, and does not get the last records; the leader is killed, and the follower, back again,
/// leads without them.
pub(crate) fn election(_: &Peers) -> Outcome {
    let mut kafka = Kafka::builder().nodes(3).start()?;
    create(&kafka)?;
    let bootstrap = kafka.bootstrap_servers();
    let produce = |kafka: &Kafka, count| kafka.produce(&bootstrap, TOPIC, count, RECORD_SIZE);
    produce(&kafka, KEPT)?;
    kafka.kill_node(FOLLOWER);
    // Every replica in sync is to have them: comes back once the follower is none.
    produce(&kafka, LOST)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut earliest = runtime.block_on(reader(&kafka, "earliest"))?;
    let mut none = runtime.block_on(reader(&kafka, "none"))?;
    for consumer in [&mut earliest, &mut none] {
        let offsets: Vec<u64> = runtime.block_on(read(consumer, KEPT + LOST))?;
        assert!(offsets.into_iter().eq(0..KEPT + LOST));
    }
    let before = leader_epoch(&kafka, LEADER, LEADER)?;
    kafka.kill_node(LEADER);
    kafka.start_node(FOLLOWER)?;
    produce(&kafka, OTHERS)?;
    let after = leader_epoch(&kafka, FOLLOWER, FOLLOWER)?;

    // At the offset that it has read up to there is a record, and another one than it would be.
    let offsets = runtime.block_on(read(&mut earliest, OTHERS))?;
    assert!(offsets.iter().copied().eq(KEPT..KEPT + OTHERS), "{offsets:?}");
    let told = runtime.block_on(poll_error(&mut none))?;
    let PollError::LogTruncated { partition, offset, diverging: Some(diverging) } = told else {
        return Err(format!("it is told of something else: {told}").into());
    };
    assert_eq!((partition, offset), (zero(), Offset(KEPT + LOST)));
    assert_eq!(diverging.offset, Offset(KEPT));
    let diagnosis = runtime.block_on(none.diagnose())?;
    assert_eq!(diagnosis.partitions[&zero()].reason, Reason::NeedsSeek);
    runtime.block_on(none.seek(&zero(), diverging))?;
    let offsets = runtime.block_on(read(&mut none, OTHERS))?;
    assert!(offsets.iter().copied().eq(KEPT..KEPT + OTHERS), "{offsets:?}");
    for consumer in [earliest, none] {
        runtime.block_on(consumer.close(PATIENCE));
    }
    answers(&kafka, before, after)
}

/// What the leader says of epochs: what our test broker, and the machine's tests, take it to say.
fn answers(kafka: &Kafka, before: i32, after: i32) -> Outcome {
    const FENCED_LEADER_EPOCH: i16 = 74;
    const UNKNOWN_LEADER_EPOCH: i16 = 75;
    assert!(before < after, "{before}, then {after}");
    let (kept, end) = (i64::try_from(KEPT)?, i64::try_from(KEPT + OTHERS)?);
    let mut wire = Wire::connect(&kafka.address(FOLLOWER))?;
    let first = ask(&mut wire, after, 0)?;
    assert_eq!((first.0, first.2), (0, kept), "{first:?}");
    // Those between the two led without a record, or not at all.
    for epoch in before..after {
        let (code, known, offset) = ask(&mut wire, after, epoch)?;
        assert_eq!((code, offset), (0, kept), "epoch {epoch}");
        assert!(known <= epoch, "{known} for {epoch}");
    }
    assert_eq!(ask(&mut wire, after, after)?, (0, after, end));
    assert_eq!(ask(&mut wire, after, after + 1)?, (0, -1, -1));
    assert_eq!(ask(&mut wire, before, before)?.0, FENCED_LEADER_EPOCH);
    assert_eq!(ask(&mut wire, after + 1, before)?.0, UNKNOWN_LEADER_EPOCH);
    Ok(())
}

/// Error code, epoch and end.
fn ask(
    wire: &mut Wire,
    current: i32,
    epoch: i32,
) -> Result<(i16, i32, i64), Box<dyn std::error::Error>> {
    let partition = OffsetForLeaderPartition::default()
        .with_current_leader_epoch(current)
        .with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(topic_name(TOPIC))
        .with_partitions(vec![partition]);
    let request = OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic]);
    let answer = wire.send(4, &request)?;
    let end = &answer.topics[0].partitions[0];
    Ok((end.error_code, end.leader_epoch, end.end_offset))
}

/// Leads at first [`LEADER`], else [`FOLLOWER`], in sync or not.
fn create(kafka: &Kafka) -> Outcome {
    let placed = CreatableReplicaAssignment::default()
        .with_broker_ids([LEADER, FOLLOWER].map(node_id).to_vec());
    let config = |(key, value)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(key))
            .with_value(Some(StrBytes::from_static_str(value)))
    };
    let configs = [("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")];
    let topic = CreatableTopic::default()
        .with_name(topic_name(TOPIC))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![placed])
        .with_configs(configs.map(config).to_vec());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let answer = Wire::connect(&kafka.address(LEADER))?.send(7, &request)?;
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
    Ok(())
}

/// As this node sees it, once it sees that leader.
fn leader_epoch(
    kafka: &Kafka,
    node: usize,
    leader: usize,
) -> Result<i32, Box<dyn std::error::Error>> {
    let mut wire = Wire::connect(&kafka.address(node))?;
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(TOPIC)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let answer = wire.send(12, &request)?;
        let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
        if let Some(partition) = partition.filter(|p| p.leader_id == node_id(leader)) {
            return Ok(partition.leader_epoch);
        }
    }
    Err(format!("node {leader} does not lead").into())
}

async fn reader(kafka: &Kafka, reset: &str) -> Result<Consumer, Box<dyn std::error::Error>> {
    let mut consumer = Consumer::builder()
        .bootstrap_servers(kafka.bootstrap_servers())
        .property("auto.offset.reset", reset)
        .build()?;
    consumer.assign([zero()]).await?;
    consumer.seek_to_beginning([]).await?;
    Ok(consumer)
}

/// The offsets of the next records.
async fn read(consumer: &mut Consumer, count: u64) -> Result<Vec<u64>, Box<dyn std::error::Error>> {
    let (begun, mut offsets) = (Instant::now(), Vec::new());
    while (offsets.len() as u64) < count {
        assert!(begun.elapsed() < PATIENCE, "{} of {count}", offsets.len());
        let records = consumer.poll(Duration::from_secs(1)).await?;
        offsets.extend(records.iter().map(|record| record.offset.0));
    }
    Ok(offsets)
}

async fn poll_error(consumer: &mut Consumer) -> Result<PollError, Box<dyn std::error::Error>> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match consumer.poll(Duration::from_secs(1)).await {
            Err(error) => return Ok(error),
            Ok(records) => assert!(records.is_empty(), "records of a log that lost some"),
        }
    }
    Err("it is told of nothing".into())
}

fn zero() -> TopicPartition {
    TopicPartition::new(TOPIC, 0)
}

fn node_id(id: usize) -> BrokerId {
    BrokerId(i32::try_from(id).expect("few"))
}

const TOPIC: &str = "unclean";
const LEADER: usize = 1;
const FOLLOWER: usize = 2;
const KEPT: u64 = 10;
const LOST: u64 = 10;
/// More than were lost: the position is in range.
const OTHERS: u64 = 25;
const RECORD_SIZE: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(60);
