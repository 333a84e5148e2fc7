//! Rebalances and callbacks as spans: against the test broker, in memory, under paused time, so
//! that durations are exact.

use crate::listeners::{Endless, Slow};
use crate::support::{self, SECOND};
use evenkeel::record::encode::{BatchBuilder, HeaderBytes};
use evenkeel::{
    Consumer, ListenerError, ListenerMethod, RebalanceContext, RebalanceListener, TopicPartition,
};
use evenkeel_broker::{Before, Cluster, Request};
use evenkeel_tests::validated::Validated;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

#[tokio::test(start_paused = true)]
async fn a_slow_callback_is_a_span_of_its_length_inside_of_its_rebalance() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let mut consumer = member(&cluster, 1);
    consumer.subscribe_with(["t"], slow()).await.expect("subscribed");
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
async fn a_call_that_is_over_says_where_its_time_went_and_how_it_ended() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let mut consumer = member(&cluster, 1);
    consumer.subscribe(["t"]).await.expect("subscribed");
    consumer.poll(2 * SECOND).await.expect("poll goes well");
    let partition = || [TopicPartition::new("t", 0)];
    consumer.committed(partition()).await.expect("the coordinator answers");
    let call = told.one("request", "otel.name", "OffsetFetch call");
    assert_eq!((call.text("lane"), call.text("outcome")), ("user", "completed"));
    assert_eq!((call.number("attempts"), call.number("bulked")), (1, 0));
    let waits = ["queue_ms", "coordinator_ms", "connection_ms", "backoff_ms", "throttle_ms"];
    let waited: u64 = waits.iter().map(|wait| call.number(wait)).sum();
    assert_eq!(call.number("lasted_us"), (waited + call.number("in_flight_ms")) * 1_000);

    cluster.intercept(|_: &Request| Before::Delay(600 * SECOND));
    assert!(consumer.committed(partition()).await.is_err(), "nobody answers");
    let mut expired = told.all("request", "otel.name", "OffsetFetch call: expired in flight");
    expired.extend(told.all("request", "otel.name", "OffsetFetch call: expired unsent"));
    assert_eq!(expired.len(), 1, "{expired:?}");
    assert_eq!(expired[0].text("otel.status_code"), "ERROR");
    assert_eq!(
        (expired[0].number("deadline_ms"), expired[0].number("lasted_us")),
        (60_000, 60_000_000)
    );
    // The end is not told to anybody who could answer.
    cluster.intercept_none();
}

#[tokio::test(start_paused = true)]
async fn what_is_slower_than_a_heartbeat_is_in_the_name_with_what_is_left_of_the_clocks() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = Cluster::builder().nodes(1).topic("t", 4);
    let cluster = cluster.set("group.consumer.heartbeat.interval.ms", "500");
    let cluster = cluster.build().expect("a cluster");
    let (mut a, mut b) = (member(&cluster, 1), member(&cluster, 2));
    a.subscribe_with(["t"], slow()).await.expect("subscribed");
    a.poll(2 * SECOND).await.expect("poll goes well");

    let callback = told.one("callback", "otel.name", "assigned callback (slow)");
    assert_eq!((callback.text("slow"), callback.number("slow_over_ms")), ("true", 500));
    assert_eq!(callback.text("partitions_named"), "t 0 1 2 3");
    assert_eq!(callback.number("rebalance_left_ms"), 299_300);
    assert_eq!(callback.number("poll_interval_left_ms"), 299_300);
    let rebalance = told.one("rebalance", "otel.name", "rebalance (slow assigned callback)");
    assert_eq!(callback.parent, Some(rebalance.id));
    assert_eq!(callback.number("began_us"), rebalance.number("began_us"));
    assert_eq!(rebalance.number("lasted_us"), 700_000);
    assert_eq!(rebalance.number("slowest_ms"), 700);
    assert_eq!(rebalance.number("rebalance_timeout_ms"), 300_000);
    assert_eq!(rebalance.number("rebalance_left_ms"), 299_300);
    assert!(rebalance.number("heartbeat_age_ms") <= 500, "{rebalance:?}");
    let acknowledged = told.one("request", "otel.name", "acknowledgement heartbeat");
    assert_eq!(acknowledged.parent, Some(rebalance.id));
    assert_eq!(acknowledged.number("began_us"), callback.number("began_us") + 700_000);

    // The other one joins, and this one does not poll: nothing can be taken from it.
    b.subscribe(["t"]).await.expect("subscribed");
    b.poll(SECOND).await.expect("poll goes well");
    sleep(3 * SECOND).await;
    let _ = a.poll(2 * SECOND).await.expect_err("the revoked callback fails");
    a.poll(2 * SECOND).await.expect("poll goes well");
    let wait = told.one("wait", "otel.name", "waiting for poll (slow)");
    assert!((2_500_000..=4_000_000).contains(&wait.number("lasted_us")), "{wait:?}");
    let waited = told.span(wait.parent.expect("it is a part of something"));
    assert_eq!(waited.text("otel.name"), "rebalance (slow poll)");
    assert_eq!(wait.number("began_us"), waited.number("began_us"));
    let revoked = told.one("callback", "otel.name", "revoked callback (failed)");
    assert_eq!(revoked.parent, Some(waited.id));
    assert_eq!(revoked.number("began_us"), wait.number("began_us") + wait.number("lasted_us"));
    assert_eq!(waited.number("lasted_us"), wait.number("lasted_us") + 300_000);
    a.close(5 * SECOND).await;
    b.close(5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_and_the_work_on_its_records_are_spans_linked_to_their_producers() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced: [HeaderBytes; 2] = [(b"traceparent", Some(parent.as_bytes())), (b"other", None)];
    let batch = BatchBuilder::new(0)
        .record(1_000, None, Some(b"a"), &traced)
        .record(1_000, None, Some(b"b"), &traced)
        .record(1_000, None, Some(b"c"), &[(b"traceparent", Some(b"none"))]);
    cluster.append_batch("t", 0, &batch.build()).expect("it exists");
    let mut consumer =
        support::member(&cluster, "g", 1).link_producers(true).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    while consumer.poll(SECOND).await.expect("poll goes well").is_empty() {}
    sleep(3 * SECOND).await;
    consumer.poll(Duration::ZERO).await.expect("poll goes well");

    let poll = told.one("poll", "otel.name", "poll t");
    assert_eq!(poll.text("messaging.operation.type"), "receive");
    assert_eq!(poll.text("messaging.consumer.group.name"), "g");
    assert_eq!(poll.number("messaging.batch.message_count"), 3);
    assert_eq!(poll.text("messaging.destination.partition.id"), "0");
    assert_eq!(poll.text("links"), parent);
    let process = told.one("process", "otel.name", "process t");
    assert_eq!((process.parent, process.text("otel.kind")), (Some(poll.id), "consumer"));
    assert_eq!(process.number("lasted_us"), 3_000_000);
    assert_eq!(process.number("began_us"), poll.number("began_us") + poll.number("lasted_us"));
    consumer.close(5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_leave_holds_its_callback_and_the_commit_before_it() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    cluster.append("t", 0, None, Some(b"value")).expect("it exists");
    let mut consumer = member(&cluster, 1);
    consumer.subscribe_with(["t"], slow()).await.expect("subscribed");
    while consumer.poll(SECOND).await.expect("poll goes well").is_empty() {}
    assert!(consumer.close(5 * SECOND).await.left);

    let callback = told.one("callback", "callback", "revoked");
    assert_eq!((callback.text("outcome"), callback.number("lasted_us")), ("failed", 300_000));
    let leave = told.one("rebalance", "trigger", "leave");
    assert_eq!(callback.parent, Some(leave.id));
    assert_eq!(leave.text("outcome"), "left");
    assert_eq!((leave.number("partitions_before"), leave.number("partitions_after")), (4, 0));
    let commit = told.one("request", "api", "OffsetCommit");
    assert_eq!((commit.parent, commit.text("outcome")), (Some(leave.id), "completed"));
    let heartbeats = told.all("request", "api", "ConsumerGroupHeartbeat");
    let inside = heartbeats.iter().filter(|request| request.parent.is_some());
    let inside: Vec<_> = inside.map(|request| request.text("otel.name")).collect();
    assert_eq!(inside, ["acknowledgement heartbeat", "leave"]);
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_outlives_its_poll_says_how_often_it_was_suspended() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let mut consumer = member(&cluster, 1);
    consumer.subscribe_with(["t"], slow()).await.expect("subscribed");
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
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let mut consumer = member(&cluster, 1);
    consumer.subscribe_with(["t"], Panics).await.expect("subscribed");
    consumer.poll(SECOND).await.expect("poll goes well");
    consumer.close(SECOND).await;
    assert_eq!(told.one("callback", "callback", "revoked").text("outcome"), "panicked");

    let mut consumer = member(&cluster, 2);
    consumer.subscribe_with(["t"], Endless(ListenerMethod::Assigned)).await.expect("subscribed");
    consumer.poll(SECOND).await.expect("poll goes well");
    consumer.close(SECOND).await;
    let dropped = told.all("callback", "outcome", "dropped");
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(dropped[0].number("lasted_us"), 2_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_second_member_makes_the_first_one_shrink_and_each_target_is_a_rebalance() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let (mut a, mut b) = (member(&cluster, 1), member(&cluster, 2));
    a.subscribe_with(["t"], slow()).await.expect("subscribed");
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
    lost_to_the_poll_interval(false).await;
    lost_to_the_poll_interval(true).await;
}

async fn lost_to_the_poll_interval(by_pattern: bool) {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let builder = support::member(&cluster, "g", 1).property("max.poll.interval.ms", "10000");
    let mut consumer = builder.build().expect("valid");
    let subscribed = if by_pattern {
        consumer.subscribe_pattern_with("t", slow()).await
    } else {
        consumer.subscribe_with(["t"], slow()).await
    };
    subscribed.expect("subscribed");
    // The broker looks for topics of a pattern when it likes.
    while consumer.assignment().is_empty() {
        consumer.poll(2 * SECOND).await.expect("poll goes well");
    }
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

/// A listener whose revocation fails.
fn slow() -> Slow {
    Slow { fails: true }
}

fn cluster() -> Cluster {
    Cluster::builder().nodes(1).topic("t", 4).build().expect("a cluster")
}

fn member(cluster: &Cluster, seed: u64) -> Consumer {
    support::member(cluster, "g", seed).build().expect("valid")
}

/// What was told: spans, and events as if they were spans: requests by that name, others by their
/// target's.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Span>>>);

#[derive(Clone, Debug)]
pub(crate) struct Span {
    id: u64,
    name: &'static str,
    parent: Option<u64>,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

impl Span {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.fields.get(key).unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.text(key).parse().expect("it is a number")
    }
}

impl Told {
    /// Listens on this thread until the guard is dropped.
    pub(crate) fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        // While there is but one subscriber, whoever comes to a place first decides for everybody
        // whether it is told, by what listens on his thread (tracing-core 0.1.36, `rebuilder`).
        static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Told::default()));
        LazyLock::force(&ANOTHER);
        let told = Self::default();
        (told.clone(), tracing::subscriber::set_default(told))
    }

    pub(crate) fn all(&self, name: &str, key: &str, value: &str) -> Vec<Span> {
        let spans = self.0.lock().expect("no test panics in it");
        let wanted = |span: &&Span| {
            span.name == name && span.fields.get(key).is_some_and(|told| told == value)
        };
        spans.iter().filter(wanted).cloned().collect()
    }

    pub(crate) fn one(&self, name: &str, key: &str, value: &str) -> Span {
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.0.insert("level", event.metadata().level().to_string());
        let target = event.metadata().target();
        let name = if target == "evenkeel::request" { "request" } else { target };
        self.add(name, event.parent().map(Id::into_u64), fields);
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
