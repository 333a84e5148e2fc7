//! evenkeel on three nodes of Apache Kafka, with Kafka's own consumer in the group, while records
//! are written, members join, leave and are killed, and each node is restarted in turn.

use crate::group::{CONSUMER, PATIENCE, assert_no_lag};
use crate::meeting::{Meeting, Peer};
use crate::{Outcome, Peers};
use evenkeel_tests::kafka::{Kafka, Member};
use evenkeel_tests::member::Settings;

/// Members join, leave, are killed, and are silent for longer than their session. Nothing is lost;
/// a record comes twice only if its first reader was killed, or was told `lost`, before it had
/// committed it; and the group ends with lag 0.
pub(crate) fn everything_moves(_: &Peers) -> Outcome {
    let mut meeting = Meeting::new("everything-moves", String::new(), PARTITIONS);
    let mut kafka = Kafka::builder()
        .nodes(3)
        .set("min.insync.replicas", "2")
        .set("group.consumer.session.timeout.ms", SESSION_MS)
        .start()?;
    meeting.bootstrap = kafka.bootstrap_servers();
    meeting.dir = kafka.dir().to_path_buf();
    meeting.say("three nodes serve");
    kafka.create_topic(meeting.name, u32::try_from(PARTITIONS)?)?;
    let amount = (RECORDS - LAST_RECORDS, RECORD_SIZE, RECORDS_A_SECOND);
    let mut producer = kafka.steady_producer(&meeting.bootstrap, meeting.name, amount)?;

    let (group, topic) = (meeting.name, meeting.name);
    let member = Member { name: "java", group, topic, protocol: CONSUMER };
    let java = kafka.verifiable_consumer(&meeting.bootstrap, member)?;
    meeting.join("java", Peer::Process(java));
    meeting.join_thread("a", |settings| settings);
    meeting.join_process("b")?;
    meeting.await_settled()?;
    let paused = meeting.pause("b")?;
    kafka.stop_node(1)?;
    meeting.say("node 1 is stopped");
    meeting.join_thread("c", |settings| Settings { auto_commit: true, ..settings });
    back(&mut kafka, &meeting, 1)?;
    meeting.resume("b", paused)?;
    meeting.await_settled()?;

    meeting.kill("b")?;
    kafka.kill_node(2);
    meeting.say("node 2 is killed");
    meeting.join_thread("d", |settings| Settings { listens: false, ..settings });
    back(&mut kafka, &meeting, 2)?;

    kafka.stop_node(3)?;
    meeting.say("node 3 is stopped");
    meeting.leave("c")?;
    meeting.join_process("e")?;
    back(&mut kafka, &meeting, 3)?;

    producer.await_line(0, "the producer's summary", PATIENCE, |line| line.contains("99.9th"))?;
    // The last ones find everybody settled, however fast or slow the nodes have started.
    kafka.produce(&meeting.bootstrap, meeting.name, LAST_RECORDS, RECORD_SIZE)?;
    meeting.say("all is written");
    meeting.await_consumed(RECORDS)?;
    meeting.await_part_of_each()?;
    meeting.leave_all()?;
    meeting.settle_account(RECORDS)?;
    assert_no_lag(&kafka.describe_group(&meeting.bootstrap, meeting.name, &[])?, RECORDS);
    meeting.say("lag 0");
    Ok(())
}

/// Starts a node again; the group settles.
fn back(kafka: &mut Kafka, meeting: &Meeting, node: usize) -> Outcome {
    kafka.start_node(node)?;
    meeting.say(&format!("node {node} serves again"));
    meeting.await_settled()
}

const PARTITIONS: usize = 12;
const RECORDS: u64 = 1_000_000;
const LAST_RECORDS: u64 = 400_000;
const RECORD_SIZE: u32 = 100;
/// So that they are still coming while nodes are restarted.
const RECORDS_A_SECOND: u64 = 15_000;
/// Killed members are noticed while the test runs. Longer than a coordinator is stuck when a node
/// is killed: it answers nothing that it cannot replicate for `offsets.commit.timeout.ms`, 5 s.
const SESSION_MS: &str = "10000";
