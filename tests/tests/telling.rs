//! Whoever listens to `tracing` and is slow, or never comes back, keeps no heartbeat waiting: a
//! process of its own, since it listens to all of it, and real time, since threads are.

#[cfg(feature = "otel")]
#[allow(dead_code)] // The tests of the other metrics use the rest.
#[path = "metrics/reader.rs"]
mod reader;

use evenkeel::{Consumer, TopicPartition};
use evenkeel_broker::Cluster;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Whoever tells the background's news waits here.
static IS_OPEN: Mutex<bool> = Mutex::new(false);
static OPENED: Condvar = Condvar::new();
/// What was told, and how much was said to be untold.
static TOLD: AtomicU64 = AtomicU64::new(0);
static UNTOLD: AtomicU64 = AtomicU64::new(0);

/// Is stuck until the gate is opened, whatever it is told of requests and rebalances.
struct Stuck;

impl Stuck {
    fn hear(metadata: &Metadata<'_>) {
        if ["evenkeel::request", "evenkeel::rebalance"].contains(&metadata.target()) {
            let open = IS_OPEN.lock().expect("nobody panics in it");
            drop(OPENED.wait_while(open, |is_open| !*is_open).expect("nobody panics in it"));
            TOLD.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Subscriber for Stuck {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("evenkeel")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        Self::hear(span.metadata());
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        Self::hear(event.metadata());
        let mut untold = Untold::default();
        event.record(&mut untold);
        if untold.to_tracing {
            UNTOLD.fetch_add(untold.count, Ordering::Relaxed);
        }
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What was said to be untold, and whether to `tracing`.
#[derive(Default)]
struct Untold {
    count: u64,
    to_tracing: bool,
}

impl Visit for Untold {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "count" {
            self.count = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.to_tracing |= field.name() == "to" && value == "tracing";
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_is_stuck_keeps_no_heartbeat_waiting_and_what_is_untold_is_counted() {
    tracing::subscriber::set_global_default(Stuck).expect("it is the first one");
    let done = tokio::time::timeout(PATIENCE, consume()).await;
    done.expect("a background that waits for who listens answers nobody");
}

async fn consume() {
    let cluster = Cluster::builder()
        .nodes(1)
        .topic("t", 4)
        .set("group.consumer.heartbeat.interval.ms", "20")
        .set("group.consumer.session.timeout.ms", "1000");
    let cluster = cluster.build().expect("a cluster");
    cluster.listen(([127, 0, 0, 1], 0).into()).expect("some port is free");
    cluster.append("t", 0, None, Some(b"value")).expect("it exists");
    // No `spawn_on`: the background has its own thread.
    let consumer = Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .group_id("g")
        .property("auto.offset.reset", "earliest");
    #[cfg(feature = "otel")]
    let (reader, consumer) = {
        let reader = reader::Reader::new();
        let consumer = consumer.meter(reader.meter());
        (reader, consumer)
    };
    let mut consumer = consumer.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");

    // Requests are told of far more than the queue holds; nobody hears the first one yet.
    let mut records = 0;
    while cluster.requests(HEARTBEAT) < 200 {
        records += consumer.poll(Duration::from_millis(50)).await.expect("poll goes well").len();
    }
    assert_eq!((records, consumer.assignment().len()), (1, 4));
    // Otherwise calls wait for parked fetches.
    let all: Vec<_> = consumer.assignment().iter().cloned().collect();
    consumer.pause(all).await.expect("they are assigned");
    for _ in 0..5_000 {
        consumer.committed([TopicPartition::new("t", 0)]).await.expect("it answers");
    }
    assert_eq!(TOLD.load(Ordering::Relaxed), 0, "it is stuck");
    let (member, alive) = (consumer.group_metadata().member, cluster.describe_group("g"));
    assert!(member.is_some() && alive.is_some_and(|group| group.members.len() == 1));

    *IS_OPEN.lock().expect("nobody panics in it") = true;
    OPENED.notify_all();
    while UNTOLD.load(Ordering::Relaxed) == 0 {
        consumer.poll(Duration::from_millis(50)).await.expect("poll goes well");
    }
    assert!(TOLD.load(Ordering::Relaxed) > 0, "what was kept is told");
    #[cfg(feature = "otel")]
    assert!(
        reader.read().of("telemetry.untold.total{to=tracing}")
            >= reader::count(UNTOLD.load(Ordering::Relaxed))
    );
    assert!(consumer.close(Duration::from_secs(5)).await.left);
}

const HEARTBEAT: i16 = 68;
/// Far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(60);
