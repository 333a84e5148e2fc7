//! What goes over the wire when a scripted run of the shipped client is told: read with
//! OpenTelemetry's own message types, with times that are exact since the run's time is virtual.

use super::super::layer;
use super::receive;
use evenkeel::{
    Address, Committed, ConnectError, Connecting, Connector, Consumer, ConsumerBuilder,
    ListenerError, Offset, RebalanceContext, RebalanceListener, Stream, TopicPartition,
};
use evenkeel_broker::{Before, Cluster, Request, WeakCluster};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::SpanKind, status::StatusCode};
use std::fmt;
use std::future::Future;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tracing_subscriber::layer::SubscriberExt;

#[test]
fn a_slow_revoked_callback_is_a_span_of_its_time_inside_of_a_rebalance_that_is_named_for_it() {
    let spans = spans_of(async {
        let cluster = Cluster::builder().nodes(1).topic("t", 4);
        let cluster = cluster.build().expect("a cluster");
        cluster.append("t", 2, None, Some(b"value")).expect("it exists");
        let (mut a, mut b) = (member(&cluster, 1), member(&cluster, 2));
        a.subscribe_with(["t"], SlowRevoked).await.expect("subscribed");
        while a.poll(SECOND).await.expect("poll goes well").is_empty() {}
        b.subscribe(["t"]).await.expect("subscribed");
        b.poll(SECOND).await.expect("poll goes well");
        for _ in 0..30 {
            a.poll(SECOND).await.expect("poll goes well");
        }
        a.close(20 * SECOND).await;
        b.close(SECOND).await;
    });
    let callbacks = spans.named("revoked callback (slow)");
    assert_eq!(callbacks.len(), 2, "one for the other member, one to leave");
    let callback = callbacks[0];
    assert_eq!(lasted(callback), 8_000_000_000);
    assert_eq!(text(callback, "partitions_named"), "t 2 3");
    assert_eq!(number(callback, "poll_interval_left_ms"), 292_000);
    assert_eq!(number(callback, "slow_over_ms"), 5_000);
    let rebalance = spans.parent(callback);
    assert_eq!(rebalance.name, "rebalance (slow revoked callback)");
    assert!(rebalance.parent_span_id.is_empty());
    assert_eq!(text(rebalance, "outcome"), "completed");
    assert_eq!(number(rebalance, "partitions_before"), 4);
    assert_eq!(number(rebalance, "partitions_after"), 2);
    assert!(rebalance.status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset));
    let whole = i64::try_from(lasted(rebalance) / 1_000_000).expect("it is short");
    assert_eq!(number(rebalance, "rebalance_left_ms"), 300_000 - whole);

    // The commit before it and the acknowledgement behind it, on one time line.
    let inside = |name: &str| {
        let found = spans.named(name).into_iter();
        let mut found = found.filter(|span| span.parent_span_id == rebalance.span_id);
        found.next().unwrap_or_else(|| panic!("no {name} in {rebalance:?}"))
    };
    let (commit, acknowledgement) = (inside("commit"), inside("acknowledgement heartbeat"));
    assert_eq!(commit.end_time_unix_nano, callback.start_time_unix_nano);
    assert_eq!(acknowledgement.start_time_unix_nano, callback.end_time_unix_nano);
    assert_eq!(acknowledgement.end_time_unix_nano, rebalance.end_time_unix_nano);
    for request in [commit, acknowledgement] {
        assert_eq!(request.kind(), SpanKind::Client);
        assert_eq!(request.trace_id, rebalance.trace_id);
    }
    let polled = spans.named("poll t");
    assert_eq!((polled.len(), number(polled[0], "messaging.batch.message_count")), (1, 1));
    assert_eq!(spans.parent(spans.named("process t")[0]).name, "poll t");
}

#[test]
fn calls_that_find_no_place_or_no_answer_are_failed_spans_of_their_whole_time() {
    let spans = spans_of(async {
        let cluster = Cluster::builder().nodes(1).topic("t", 4).build().expect("a cluster");
        let builder = builder(&cluster, 1).request_queue_max(2).in_flight_max(1);
        let consumer = builder.default_api_timeout(5 * SECOND).build().expect("valid");
        let ask = |partition| consumer.committed([TopicPartition::new("t", partition)]);
        ask(0).await.expect("the coordinator answers");
        cluster.intercept(silent(OFFSET_FETCH));
        sleep(SECOND).await;
        let (sent, unsent, refused) = tokio::join!(ask(0), ask(1), ask(2));
        assert!(sent.is_err() && unsent.is_err() && refused.is_err());
        cluster.intercept_none();
        consumer.close(SECOND).await;
    });
    let well = spans.one("OffsetFetch call");
    assert_eq!((text(well, "outcome"), number(well, "attempts")), ("completed", 1));
    let sent = spans.one("OffsetFetch call: expired in flight");
    let unsent = spans.one("OffsetFetch call: expired unsent");
    let refused = spans.one("OffsetFetch call: queue full");
    assert_eq!([sent, unsent, refused].map(lasted), [5_000_000_000, 5_000_000_000, 0]);
    for span in [sent, unsent, refused] {
        assert_eq!(span.start_time_unix_nano, well.end_time_unix_nano + 1_000_000_000);
        let status = span.status.as_ref().expect("it failed");
        assert_eq!(status.code(), StatusCode::Error);
        assert_eq!(status.message, text(span, "outcome"));
        assert_eq!(attribute(span, "error"), &Value::BoolValue(true));
        assert_eq!((span.kind(), text(span, "lane")), (SpanKind::Client, "user"));
    }
    assert_eq!((number(sent, "attempts"), number(sent, "in_flight_ms")), (1, 5_000));
    assert_eq!((number(unsent, "attempts"), number(unsent, "queue_ms")), (0, 5_000));
    assert_eq!(number(unsent, "deadline_ms"), 5_000);
    assert_eq!(number(refused, "attempts"), 0);
}

#[test]
fn what_a_close_gives_up_is_a_span_until_then_that_says_so() {
    let spans = spans_of(async {
        let cluster = Cluster::builder().nodes(1).topic("t", 4).build().expect("a cluster");
        let mut consumer = builder(&cluster, 1).build().expect("valid");
        consumer.subscribe(["t"]).await.expect("subscribed");
        consumer.poll(SECOND).await.expect("poll goes well");
        cluster.intercept(silent(OFFSET_COMMIT));
        let committer = consumer.committer();
        let commit = |offset| {
            let offset = Committed::at(Offset(offset));
            committer.commit_offsets([(TopicPartition::new("t", 0), offset)])
        };
        let commits = [commit(1), commit(2)];
        sleep(SECOND / 10).await;
        consumer.close(SECOND).await;
        for commit in commits {
            assert!(commit.await.is_err(), "the end came first");
        }
        cluster.intercept_none();
    });
    let failed = spans.one("OffsetCommit call: failed (closing)");
    let discarded = spans.one("OffsetCommit call: discarded (closing)");
    for span in [failed, discarded] {
        assert_eq!(lasted(span), 1_100_000_000);
        assert_eq!(text(span, "reason"), "closing");
        assert_eq!(span.status.as_ref().map(Status::code), Some(StatusCode::Error));
    }
    assert_eq!(failed.start_time_unix_nano, discarded.start_time_unix_nano);
    assert_eq!((number(failed, "attempts"), number(discarded, "attempts")), (1, 0));
    assert_eq!(number(discarded, "queue_ms"), 1_100);
    // On the wire it was one request, of the core's own.
    let request = spans.one("OffsetCommit request: failed (closing)");
    assert_eq!(request.end_time_unix_nano, failed.end_time_unix_nano);
}

/// Requests of this API are not answered for longer than anybody waits.
fn silent(api_key: i16) -> impl Fn(&Request) -> Before {
    move |request| {
        if request.api_key == api_key { Before::Delay(600 * SECOND) } else { Before::Process }
    }
}

const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;

/// What was sent in a run.
struct Spans(Vec<Span>);

impl Spans {
    fn named(&self, name: &str) -> Vec<&Span> {
        self.0.iter().filter(|span| span.name == name).collect()
    }

    fn one(&self, name: &str) -> &Span {
        let named = self.named(name);
        let all: Vec<_> = self.0.iter().map(|span| &span.name).collect();
        assert_eq!(named.len(), 1, "one {name} in {all:?}");
        named[0]
    }

    fn parent(&self, child: &Span) -> &Span {
        let parent = self.0.iter().find(|span| span.span_id == child.parent_span_id);
        parent.unwrap_or_else(|| panic!("the parent of {child:?} was not sent"))
    }
}

fn lasted(span: &Span) -> u64 {
    span.end_time_unix_nano - span.start_time_unix_nano
}

fn attribute<'a>(span: &'a Span, key: &str) -> &'a Value {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    let found = found.and_then(|found| found.value.as_ref()?.value.as_ref());
    found.unwrap_or_else(|| panic!("no {key} in {span:?}"))
}

fn text<'a>(span: &'a Span, key: &str) -> &'a str {
    match attribute(span, key) {
        Value::StringValue(text) => text,
        other => panic!("{key} is {other:?}"),
    }
}

fn number(span: &Span, key: &str) -> i64 {
    match attribute(span, key) {
        Value::IntValue(number) => *number,
        other => panic!("{key} is {other:?}"),
    }
}

/// Runs this in paused time; every span that a receiver got of it.
fn spans_of(run: impl Future<Output = ()>) -> Spans {
    let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let address = listener.local_addr().expect("it is bound");
    let receiver = std::thread::spawn(move || {
        let mut spans = Vec::new();
        loop {
            let posted = receive(&listener, "200 OK");
            let (_, body) = posted.split_once("\r\n\r\n").expect("it has a body");
            if body == "{}" {
                return spans;
            }
            let message: ExportTraceServiceRequest =
                serde_json::from_str(body).expect("it is a message of OTLP's");
            let scopes = message.resource_spans.into_iter().flat_map(|of| of.scope_spans);
            spans.extend(scopes.flat_map(|scope| scope.spans));
        }
    });
    let (exporter, delivery) = layer(&format!("http://{address}")).expect("well formed");
    let subscriber = tracing_subscriber::registry().with(exporter);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
    super::never_alone();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(run);
        drop(runtime);
    });
    // It has posted everything when it is gone.
    drop(delivery);
    let mut end = TcpStream::connect(address).expect("the receiver listens");
    end.write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}").expect("it reads");
    Spans(receiver.join().expect("it understood everything"))
}

struct SlowRevoked;

impl RebalanceListener for SlowRevoked {
    async fn on_partitions_revoked(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        sleep(8 * SECOND).await;
        Ok(())
    }
}

fn member(cluster: &Cluster, seed: u64) -> Consumer {
    builder(cluster, seed).build().expect("valid")
}

fn builder(cluster: &Cluster, seed: u64) -> ConsumerBuilder {
    Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .group_id("g")
        .property("auto.offset.reset", "earliest")
        .property("auto.commit.interval.ms", "3600000")
        .connector(InMemory(cluster.downgrade()))
        .spawn_on(Handle::current())
        .seed(seed)
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

const SECOND: Duration = Duration::from_secs(1);
