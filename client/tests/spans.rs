//! Rebalances and callbacks as spans: against the test broker, in memory, under paused time, so
//! that durations are exact.

use evenkeel::{
    Address, ConnectError, Connecting, Connector, Consumer, ConsumerBuilder, ListenerError,
    RebalanceContext, RebalanceListener, Stream, TopicPartition,
};
use evenkeel_broker::{Cluster, WeakCluster};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[tokio::test(start_paused = true)]
async fn a_slow_callback_is_a_span_of_its_length_inside_of_its_rebalance() {
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let mut consumer = member(&cluster, 1);
    consumer.subscribe_with(["t"], Slow).await.expect("subscribed");
    consumer.poll(2 * SECOND).await.expect("poll goes well");
    sleep(SECOND).await;

    let callback = told.one("callback", "callback", "assigned");
    assert_eq!(callback.text("outcome"), "ok");
    assert_eq!(callback.number("partitions"), 4);
    assert_eq!(callback.number("lasted_us"), 700_000);
    let rebalance = told.span(callback.parent.expect("it is a part of something"));
    assert_eq!((rebalance.name, rebalance.text("trigger")), ("rebalance", "target"));
    assert_eq!(rebalance.text("group"), "g");
    assert_eq!(rebalance.text("outcome"), "completed");
    assert_eq!(
        (rebalance.number("partitions_before"), rebalance.number("partitions_after")),
        (0, 4)
    );
    assert!(!rebalance.fields.contains_key("epoch_before"), "{rebalance:?}");
    assert!(rebalance.number("epoch_after") >= 1);
    assert!(rebalance.number("lasted_us") >= 700_000, "{rebalance:?}");
    consumer.close(5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_leave_holds_its_callback_and_the_commit_before_it() {
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    cluster.append("t", 0, None, Some(b"value")).expect("it exists");
    let mut consumer = member(&cluster, 1);
    consumer.subscribe_with(["t"], Slow).await.expect("subscribed");
    while consumer.poll(SECOND).await.expect("poll goes well").is_empty() {}
    assert!(consumer.close(5 * SECOND).await.left);

    let callback = told.one("callback", "callback", "revoked");
    assert_eq!((callback.text("outcome"), callback.number("lasted_us")), ("failed", 300_000));
    let leave = told.one("rebalance", "trigger", "leave");
    assert_eq!(callback.parent, Some(leave.id));
    assert_eq!(leave.text("outcome"), "left");
    assert_eq!((leave.number("partitions_before"), leave.number("partitions_after")), (4, 0));
    let commit = told.one("request", "api", "OffsetCommit");
    assert_eq!((commit.parent, commit.text("outcome")), (Some(leave.id), "answered"));
    let heartbeat = told.all("request", "api", "ConsumerGroupHeartbeat");
    assert!(heartbeat.iter().all(|request| request.parent.is_none()), "{heartbeat:?}");
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_outlives_its_poll_says_how_often_it_was_suspended() {
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let mut consumer = member(&cluster, 1);
    consumer.subscribe_with(["t"], Slow).await.expect("subscribed");
    while consumer.assignment().is_empty() {
        consumer.poll(Duration::from_millis(200)).await.expect("poll goes well");
    }
    for _ in 0..4 {
        consumer.poll(Duration::from_millis(200)).await.expect("poll goes well");
    }
    let callback = told.one("callback", "callback", "assigned");
    assert!((2..=4).contains(&callback.number("suspended")), "{callback:?}");
    assert_eq!((callback.text("outcome"), callback.number("lasted_us")), ("ok", 700_000));
    consumer.close(5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_close_drops_and_one_that_panics_say_so() {
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let mut consumer = member(&cluster, 1);
    consumer.subscribe_with(["t"], Panics).await.expect("subscribed");
    consumer.poll(SECOND).await.expect("poll goes well");
    consumer.close(SECOND).await;
    assert_eq!(told.one("callback", "callback", "revoked").text("outcome"), "panicked");

    let mut consumer = member(&cluster, 2);
    consumer.subscribe_with(["t"], Hangs).await.expect("subscribed");
    consumer.poll(SECOND).await.expect("poll goes well");
    consumer.close(SECOND).await;
    let dropped = told.all("callback", "outcome", "dropped");
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(dropped[0].number("lasted_us"), 2_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_second_member_makes_the_first_one_shrink_and_each_target_is_a_rebalance() {
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let (mut a, mut b) = (member(&cluster, 1), member(&cluster, 2));
    a.subscribe_with(["t"], Slow).await.expect("subscribed");
    a.poll(2 * SECOND).await.expect("poll goes well");
    b.subscribe(["t"]).await.expect("subscribed");
    while b.assignment().len() < 2 {
        for consumer in [&mut a, &mut b] {
            // Slow's revoked callback fails.
            let _ = consumer.poll(SECOND).await;
        }
    }
    let shrunk = told.all("rebalance", "trigger", "target");
    let shrunk = shrunk.iter().find(|span| span.number("partitions_before") == 4);
    let shrunk = shrunk.expect("the first member gave up some");
    assert_eq!((shrunk.text("outcome"), shrunk.number("partitions_after")), ("completed", 2));
    assert!(shrunk.number("epoch_before") <= shrunk.number("epoch_after"), "{shrunk:?}");
    assert_eq!(told.one("callback", "callback", "revoked").parent, Some(shrunk.id));
    a.close(5 * SECOND).await;
    b.close(5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn partitions_lost_to_the_poll_interval_are_a_rebalance_until_the_application_was_told() {
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let builder = builder(&cluster, 1).property("max.poll.interval.ms", "10000");
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe_with(["t"], Slow).await.expect("subscribed");
    consumer.poll(2 * SECOND).await.expect("poll goes well");
    sleep(12 * SECOND).await;
    consumer.poll(2 * SECOND).await.expect("poll goes well");

    let callback = told.one("callback", "callback", "lost");
    assert_eq!(callback.number("lasted_us"), 100_000);
    let loss = told.one("rebalance", "trigger", "loss");
    assert_eq!(callback.parent, Some(loss.id));
    assert_eq!((loss.text("outcome"), loss.text("reason")), ("stale", "poll interval"));
    assert_eq!((loss.number("partitions_before"), loss.number("partitions_after")), (4, 0));
    assert_eq!(loss.number("lasted_us"), 2_100_000);
    consumer.close(5 * SECOND).await;
}

struct Slow;

impl RebalanceListener for Slow {
    async fn on_partitions_assigned(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        sleep(Duration::from_millis(700)).await;
        Ok(())
    }

    async fn on_partitions_revoked(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        sleep(Duration::from_millis(300)).await;
        Err(ListenerError::new("on purpose"))
    }

    async fn on_partitions_lost(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        sleep(Duration::from_millis(100)).await;
        Ok(())
    }
}

struct Panics;

impl RebalanceListener for Panics {
    async fn on_partitions_revoked(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        panic!("on purpose")
    }
}

struct Hangs;

impl RebalanceListener for Hangs {
    async fn on_partitions_assigned(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        std::future::pending().await
    }
}

fn cluster() -> Cluster {
    Cluster::builder().nodes(1).topic("t", 4).build().expect("a cluster")
}

fn builder(cluster: &Cluster, seed: u64) -> ConsumerBuilder {
    Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .group_id("g")
        .property("auto.offset.reset", "earliest")
        .connector(InMemory(cluster.downgrade()))
        .spawn_on(Handle::current())
        .seed(seed)
}

fn member(cluster: &Cluster, seed: u64) -> Consumer {
    builder(cluster, seed).build().expect("valid")
}

/// Connects to a cluster of this process without sockets.
struct InMemory(WeakCluster);

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InMemory")
    }
}

impl Connector for InMemory {
    fn connect(&self, address: &Address) -> Connecting {
        let refused = || ConnectError::Connect(format!("{address}: connection refused"));
        let stream = self.0.upgrade().and_then(|cluster| {
            let node = cluster.node_at(&address.host, address.port)?;
            cluster.connect_in_memory(node)
        });
        let connected =
            stream.map(|stream| Box::new(stream) as Box<dyn Stream>).ok_or_else(refused);
        Box::pin(async move { connected })
    }
}

/// What was told: spans, and requests as if they were spans.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Span>>>);

#[derive(Clone, Debug)]
struct Span {
    id: u64,
    name: &'static str,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
}

impl Span {
    fn text(&self, key: &str) -> &str {
        self.fields.get(key).unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    fn number(&self, key: &str) -> u64 {
        self.text(key).parse().expect("it is a number")
    }
}

impl Told {
    /// Listens on this thread until the guard is dropped.
    fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let told = Self::default();
        (told.clone(), tracing::subscriber::set_default(told))
    }

    fn all(&self, name: &str, key: &str, value: &str) -> Vec<Span> {
        let spans = self.0.lock().expect("no test panics in it");
        let wanted = |span: &&Span| {
            span.name == name && span.fields.get(key).is_some_and(|told| told == value)
        };
        spans.iter().filter(wanted).cloned().collect()
    }

    fn one(&self, name: &str, key: &str, value: &str) -> Span {
        let mut all = self.all(name, key, value);
        assert_eq!(all.len(), 1, "{name} with {key}={value}: {all:?}");
        all.remove(0)
    }

    fn span(&self, id: u64) -> Span {
        let spans = self.0.lock().expect("no test panics in it");
        spans.iter().find(|span| span.id == id).cloned().expect("it was begun")
    }

    fn add(&self, name: &'static str, parent: Option<u64>, fields: Fields) -> u64 {
        let mut spans = self.0.lock().expect("no test panics in it");
        let id = spans.len() as u64 + 1;
        spans.push(Span { id, name, parent, fields: fields.0 });
        id
    }
}

impl Subscriber for Told {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("evenkeel")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        Id::from_u64(self.add(span.metadata().name(), span.parent().map(Id::into_u64), fields))
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        let mut spans = self.0.lock().expect("no test panics in it");
        let span = spans.iter_mut().find(|span| span.id == id.into_u64());
        span.expect("it was begun").fields.extend(fields.0);
    }

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == "evenkeel::request" {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.add("request", event.parent().map(Id::into_u64), fields);
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

const SECOND: Duration = Duration::from_secs(1);
