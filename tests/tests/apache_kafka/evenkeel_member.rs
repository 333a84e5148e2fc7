//! evenkeel as a member: alone on Apache Kafka, and in one group with Kafka's own consumer,
//! librdkafka and franz-go, on Apache Kafka and on evenkeel's broker.

use crate::group::{CONSUMER, PATIENCE, RECORDS, assert_no_lag};
use crate::meeting::{Meeting, Peer};
use crate::{Outcome, Peers};
use evenkeel_broker::Cluster;
use evenkeel_tests::foreign::Foreign;
use evenkeel_tests::kafka::{Kafka, Member};
use evenkeel_tests::member::Settings;
use evenkeel_tests::process::ProcessError;

/// evenkeel reads everything once, and the group ends with lag 0.
pub(crate) fn alone(peers: &Peers) -> Outcome {
    let kafka = peers.kafka()?;
    let mut meeting = Meeting::new("evenkeel-alone", kafka.bootstrap_servers(), 3);
    kafka.create_topic(meeting.name, 3)?;
    kafka.produce(&meeting.bootstrap, meeting.name, RECORDS, 100)?;
    meeting.join_thread("evenkeel", |settings| settings);
    meeting.await_consumed(RECORDS)?;
    meeting.leave_all()?;
    meeting.settle_account(RECORDS)?;
    assert_no_lag(&kafka.describe_group(&meeting.bootstrap, meeting.name, &[])?, RECORDS);
    Ok(())
}

/// Four implementations of KIP-848 on Apache Kafka share eight partitions; one leaves, and the
/// others take over: nothing is lost, and since nobody was killed, nothing is read twice.
pub(crate) fn on_kafka(peers: &Peers) -> Outcome {
    let kafka = peers.kafka()?;
    let mut meeting = Meeting::new("together", kafka.bootstrap_servers(), 8);
    let mut four = Four::assemble(kafka, &mut meeting)?;
    four.write(&meeting)?;
    meeting.await_consumed(four.written)?;
    meeting.leave("franz-go")?;
    meeting.await_settled()?;
    four.write(&meeting)?;
    meeting.await_consumed(four.written)?;
    four.end(&mut meeting)
}

/// The same four on the coordinator that the model checks, while records come all the time: each of
/// them joins and leaves, and one of each kind but Java's is killed.
pub(crate) fn on_broker(peers: &Peers) -> Outcome {
    let kafka = peers.kafka()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build()?;
    let _entered = runtime.enter();
    let cluster = Cluster::builder()
        .nodes(2)
        .set("group.consumer.heartbeat.interval.ms", "500")
        .set("group.consumer.session.timeout.ms", "5000")
        .set("group.consumer.assignment.interval.ms", "0")
        .build()?;
    cluster.listen(([127, 0, 0, 1], 0).into())?;
    let mut meeting = Meeting::new("on-our-broker", cluster.bootstrap_servers(), 8);
    let mut four = Four::assemble(kafka, &mut meeting)?;
    let amount = (STEADY_RECORDS, 100, STEADY_RECORDS_A_SECOND);
    let mut producer = kafka.steady_producer(&meeting.bootstrap, meeting.name, amount)?;
    four.written += STEADY_RECORDS;
    meeting.leave("franz-go")?;
    meeting.await_settled()?;
    meeting.join("franz-go again", foreign(&four.franz_go, &meeting)?);
    meeting.await_settled()?;
    meeting.kill("librdkafka")?;
    meeting.join_process("evenkeel's process")?;
    meeting.await_settled()?;
    meeting.join("librdkafka again", foreign(&four.librdkafka, &meeting)?);
    meeting.leave("java")?;
    meeting.await_settled()?;
    meeting.kill("franz-go again")?;
    meeting.kill("evenkeel's process")?;
    meeting.join("java again", java(kafka, &meeting)?);
    meeting.leave("evenkeel")?;
    meeting.join_thread("evenkeel again", |settings| Settings { auto_commit: true, ..settings });
    meeting.await_settled()?;
    producer.await_line(0, "the producer's summary", PATIENCE, |line| line.contains("99.9th"))?;
    four.write(&meeting)?;
    meeting.await_consumed(four.written)?;
    four.end(&mut meeting)
}

/// Kafka's own consumer, librdkafka 2.16.0, franz-go 1.22.2 and evenkeel, two partitions each.
struct Four<'a> {
    kafka: &'a Kafka,
    librdkafka: Foreign,
    franz_go: Foreign,
    written: u64,
}

impl<'a> Four<'a> {
    fn assemble(
        kafka: &'a Kafka,
        meeting: &mut Meeting,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        meeting.dir = kafka.dir().to_path_buf();
        let (librdkafka, franz_go) = (Foreign::librdkafka()?, Foreign::franz_go()?);
        let topic = ["--create", "--topic", meeting.name, "--partitions", "8"];
        kafka.tool("org.apache.kafka.tools.TopicCommand", &meeting.bootstrap, &topic)?;
        meeting.join("java", java(kafka, meeting)?);
        meeting.join("librdkafka", foreign(&librdkafka, meeting)?);
        meeting.join("franz-go", foreign(&franz_go, meeting)?);
        meeting.join_thread("evenkeel", |settings| Settings { listens: false, ..settings });
        meeting.await_settled()?;
        Ok(Self { kafka, librdkafka, franz_go, written: 0 })
    }

    fn write(&mut self, meeting: &Meeting) -> Outcome {
        self.kafka.produce(&meeting.bootstrap, meeting.name, RECORDS, 100)?;
        self.written += RECORDS;
        Ok(())
    }

    fn end(&self, meeting: &mut Meeting) -> Outcome {
        meeting.await_part_of_each()?;
        meeting.leave_all()?;
        meeting.settle_account(self.written)?;
        let described = self.kafka.describe_group(&meeting.bootstrap, meeting.name, &[])?;
        assert_no_lag(&described, self.written);
        Ok(())
    }
}

fn java(kafka: &Kafka, meeting: &Meeting) -> Result<Peer, ProcessError> {
    let (group, topic) = (meeting.name, meeting.name);
    let member = Member { name: "together-java", group, topic, protocol: CONSUMER };
    kafka.verifiable_consumer(&meeting.bootstrap, member).map(Peer::Process)
}

fn foreign(foreign: &Foreign, meeting: &Meeting) -> Result<Peer, ProcessError> {
    let (bootstrap, name) = (&meeting.bootstrap, meeting.name);
    foreign.start(bootstrap, name, name, &meeting.dir).map(Peer::Process)
}

/// Some seconds of records, over all the comings and goings.
const STEADY_RECORDS: u64 = 45_000;
const STEADY_RECORDS_A_SECOND: u64 = 3_000;
