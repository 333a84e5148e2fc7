//! evenkeel as a member: alone on Apache Kafka, and in one group with Kafka's own consumer,
//! librdkafka and franz-go, on Apache Kafka and on evenkeel's broker.

use crate::group::{CONSUMER, PATIENCE, RECORDS, assert_no_lag, shut_down};
use crate::{Outcome, Peers};
use evenkeel::{Consumer, Records};
use evenkeel_broker::Cluster;
use evenkeel_tests::foreign::Foreign;
use evenkeel_tests::kafka::{Kafka, Member};
use evenkeel_tests::ledger::{self, Ledger};
use evenkeel_tests::process::{self, Process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// evenkeel reads everything once, and the group ends with lag 0.
pub(crate) fn alone(peers: &Peers) -> Outcome {
    let kafka = peers.kafka()?;
    let (bootstrap, name) = (kafka.bootstrap_servers(), "evenkeel-alone");
    kafka.create_topic(name, 3)?;
    kafka.produce(&bootstrap, name, RECORDS, 100)?;
    let member = Evenkeel::start(&bootstrap, name);
    process::until(PATIENCE, || member.has_ended() || member.consumed() >= RECORDS);
    let mut ledger = Ledger::default();
    ledger.add(&member.leave()?)?;
    assert_eq!((ledger.distinct(), ledger.duplicates()), (RECORDS, 0));
    assert_no_lag(&kafka.describe_group(&bootstrap, name, &[])?, RECORDS);
    Ok(())
}

/// Four implementations of KIP-848 on Apache Kafka.
pub(crate) fn on_kafka(peers: &Peers) -> Outcome {
    let kafka = peers.kafka()?;
    together(kafka, &kafka.bootstrap_servers(), "together")
}

/// The same four on the coordinator that the model checks.
pub(crate) fn on_broker(peers: &Peers) -> Outcome {
    let kafka = peers.kafka()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build()?;
    let _entered = runtime.enter();
    let cluster = Cluster::builder()
        .nodes(2)
        .set("group.consumer.heartbeat.interval.ms", "500")
        .set("group.consumer.assignment.interval.ms", "0")
        .build()?;
    cluster.listen(([127, 0, 0, 1], 0).into())?;
    together(kafka, &cluster.bootstrap_servers(), "together")
}

/// Eight partitions, four members; one leaves, and the others take over: nothing is lost, and since
/// nobody was killed, nothing is read twice.
fn together(kafka: &Kafka, bootstrap: &str, name: &str) -> Outcome {
    let (librdkafka, franz_go) = (Foreign::librdkafka()?, Foreign::franz_go()?);
    let topic = ["--create", "--topic", name, "--partitions", "8", "--replication-factor", "1"];
    kafka.tool("org.apache.kafka.tools.TopicCommand", bootstrap, &topic)?;
    let member = Member { name: "together-java", group: name, topic: name, protocol: CONSUMER };
    let mut java = kafka.verifiable_consumer(bootstrap, member)?;
    let mut librdkafka = librdkafka.start(bootstrap, name, name, kafka.dir())?;
    let mut franz_go = franz_go.start(bootstrap, name, name, kafka.dir())?;
    let evenkeel = Evenkeel::start(bootstrap, name);

    let owned = |process: &Process| ledger::owned(&process.events()).len();
    let fair = || {
        evenkeel.has_ended()
            || [owned(&java), owned(&librdkafka), owned(&franz_go), evenkeel.owned()] == [2; 4]
    };
    Process::await_all(&[&java, &librdkafka, &franz_go], "two each", PATIENCE, fair)?;
    kafka.produce(bootstrap, name, RECORDS, 100)?;
    let consumed = |process: &Process| ledger::consumed(&process.events());
    let read = || {
        let foreign = consumed(&java) + consumed(&librdkafka) + consumed(&franz_go);
        evenkeel.has_ended() || foreign + evenkeel.consumed() >= RECORDS
    };
    Process::await_all(&[&java, &librdkafka, &franz_go], "the records", PATIENCE, read)?;
    shut_down(&mut franz_go)?;
    let others =
        || evenkeel.has_ended() || owned(&java) + owned(&librdkafka) + evenkeel.owned() == 8;
    Process::await_all(&[&java, &librdkafka], "all partitions taken over", PATIENCE, others)?;
    kafka.produce(bootstrap, name, RECORDS, 100)?;
    let total = || {
        let foreign = consumed(&java) + consumed(&librdkafka) + consumed(&franz_go);
        evenkeel.has_ended() || foreign + evenkeel.consumed() >= 2 * RECORDS
    };
    Process::await_all(&[&java, &librdkafka], "the other records", PATIENCE, total)?;

    let mut ledger = Ledger::default();
    let events = evenkeel.leave()?;
    assert!(ledger::consumed(&events) > 0, "evenkeel read nothing");
    ledger.add(&events)?;
    shut_down(&mut java)?;
    shut_down(&mut librdkafka)?;
    for member in [&java, &librdkafka, &franz_go] {
        assert!(ledger::consumed(&member.events()) > 0, "{} read nothing", member.name());
        ledger.add(&member.events())?;
    }
    assert_eq!((ledger.distinct(), ledger.duplicates()), (2 * RECORDS, 0));
    assert_no_lag(&kafka.describe_group(bootstrap, name, &[])?, 2 * RECORDS);
    Ok(())
}

/// A member on a thread of its own, which commits what each poll returned.
struct Evenkeel {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
}

/// What the member has seen: events in the form of `VerifiableConsumer`'s, and what it owns.
#[derive(Default)]
struct Seen {
    events: Vec<Value>,
    owned: usize,
    ended: bool,
}

impl Evenkeel {
    /// Joins group `name` and reads topic `name` from the beginning.
    fn start(bootstrap: &str, name: &str) -> Self {
        let (seen, stop) =
            (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (bootstrap, name) = (bootstrap.to_owned(), name.to_owned());
        let (watched, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let ended = runtime.block_on(consume(&bootstrap, &name, &watched, &stopped));
            lock(&watched).ended = true;
            process::changed();
            ended.map_err(|error| error.to_string())
        });
        Self { seen, stop, thread }
    }

    fn consumed(&self) -> u64 {
        ledger::consumed(&lock(&self.seen).events)
    }

    fn owned(&self) -> usize {
        lock(&self.seen).owned
    }

    /// Whether it ended although nobody asked it to: [`Evenkeel::leave`] says why.
    fn has_ended(&self) -> bool {
        lock(&self.seen).ended
    }

    /// Leaves the group; returns the events.
    fn leave(self) -> Result<Vec<Value>, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "evenkeel's thread panicked".to_owned())??;
        Ok(std::mem::take(&mut lock(&self.seen).events))
    }
}

async fn consume(
    bootstrap: &str,
    name: &str,
    seen: &Mutex<Seen>,
    stop: &AtomicBool,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut consumer = Consumer::builder()
        .bootstrap_servers(bootstrap)
        .group_id(name)
        .property("auto.offset.reset", "earliest")
        .property("enable.auto.commit", "false")
        .build()?;
    consumer.subscribe([name]).await?;
    while !stop.load(Ordering::Relaxed) {
        let records = consumer.poll(Duration::from_millis(100)).await?;
        let event = consumed_event(&records);
        if event["count"] != 0 {
            consumer.commit().await?;
        }
        let owned = consumer.assignment().len();
        {
            let mut seen = lock(seen);
            seen.events.push(event);
            seen.owned = owned;
        }
        process::changed();
    }
    let report = consumer.close(Duration::from_secs(10)).await;
    if report.left { Ok(()) } else { Err(format!("it did not leave: {report:?}").into()) }
}

fn consumed_event(records: &Records) -> Value {
    let mut spans: BTreeMap<(String, u32), (u64, u64, u64)> = BTreeMap::new();
    for record in records {
        let offset = record.offset.0;
        let span = spans.entry((record.topic.to_string(), record.partition));
        let span = span.or_insert((0, offset, offset));
        (span.0, span.2) = (span.0 + 1, offset);
    }
    let count: u64 = spans.values().map(|span| span.0).sum();
    let parts: Vec<Value> = spans
        .into_iter()
        .map(|((topic, partition), (count, first, last))| {
            json!({"topic": topic, "partition": partition, "count": count,
                "minOffset": first, "maxOffset": last})
        })
        .collect();
    json!({"name": "records_consumed", "count": count, "partitions": parts})
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
