//! What befell each request: one span, with what it waited for and how it ended. Against the test
//! broker, in memory, under paused time, so that the waits are exact.

use crate::spans::{Span, Told};
use crate::support::{self, InMemory, SECOND};
use evenkeel::CoordinatorConnection::Dedicated;
use evenkeel::{
    Address, Commit, CommitError, Committed, Connecting, Connector, Consumer, Discards, ErrorCode,
    Failures, Kind, Lane, Offset, TopicPartition,
};
use evenkeel_broker::{After, Answer, Before, Cluster, Interceptor, Request};
use evenkeel_tests::validated::Validated;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

#[tokio::test(start_paused = true)]
async fn a_refused_heartbeat_is_a_failed_span_that_says_where_its_time_went() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    // The group has a connection of its own: what is throttled waits, and does not go elsewhere.
    let builder = support::member(&cluster, "g", 1).coordinator_connection(Dedicated);
    let mut consumer = builder.connector(Far(InMemory::of(&cluster))).build().expect("valid");
    let fenced = Step::Refused(2 * SECOND, ErrorCode::FencedMemberEpoch);
    cluster.intercept(Script(vec![Act::of(
        HEARTBEAT,
        vec![Step::Well, Step::Throttled(7 * SECOND), fenced],
    )]));
    consumer.subscribe(["t"]).await.expect("subscribed");
    while cluster.requests(HEARTBEAT) < 5 {
        consumer.poll(SECOND).await.expect("poll goes well");
    }

    let [join, throttled, refused, ..] = &told.all("request", "api", "ConsumerGroupHeartbeat")[..]
    else {
        panic!("three heartbeats are over")
    };
    assert_eq!(join.text("otel.name"), "ConsumerGroupHeartbeat request");
    assert_eq!((join.text("lane"), join.text("outcome")), ("system", "completed"));
    assert_eq!((join.number("attempts"), join.number("bulked")), (1, 0));
    assert_eq!(join.text("broker"), cluster.bootstrap_servers());
    // It waited for the group's connection to be made.
    assert_eq!((waits(join), join.number("lasted_us")), ([0, 0, 1_000, 0, 0, 0], 1_000_000));
    assert!(!join.fields.contains_key("error_code"), "{join:?}");
    assert_eq!((waits(throttled), throttled.text("outcome")), ([0; 6], "completed"));

    assert_eq!(
        refused.text("otel.name"),
        "ConsumerGroupHeartbeat request: failed (FENCED_MEMBER_EPOCH)"
    );
    assert_eq!((refused.text("lane"), refused.text("outcome")), ("system", "failed"));
    assert_eq!((refused.text("reason"), refused.text("otel.status_code")), ("refused", "ERROR"));
    assert_eq!((refused.number("error_code"), refused.number("attempts")), (110, 1));
    let after = refused.number("began_us") - throttled.number("began_us");
    let throttle_ms = 7_000 - after / 1_000;
    assert!(throttle_ms > 0, "{refused:?}");
    assert_eq!(waits(refused), [0, 0, 0, 0, throttle_ms, 2_000]);
    assert_eq!(refused.number("in_flight_us"), 2_000_000);
    assert_eq!(refused.number("lasted_us"), (throttle_ms + 2_000) * 1_000);

    cluster.intercept_none();
    consumer.close(5 * SECOND).await;
    let told = told.all("request", "kind", "ConsumerGroupHeartbeat");
    assert_eq!(told.len() as u64, cluster.requests(HEARTBEAT), "each once: {told:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_question_of_the_clients_own_is_a_failed_span_that_says_where_its_time_went() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    // Each partition is asked about again by itself.
    let cluster = Cluster::builder().nodes(1).topic("t", 1).build().expect("a cluster");
    let builder = support::member(&cluster, "g", 1).coordinator_connection(Dedicated);
    let mut consumer = builder.build().expect("valid");
    let loading = Step::Refused(2 * SECOND, ErrorCode::CoordinatorLoadInProgress);
    cluster.intercept(Script(vec![
        Act::of(HEARTBEAT, vec![Step::Throttled(3 * SECOND)]),
        Act::of(OFFSET_FETCH, vec![loading]),
    ]));
    consumer.subscribe(["t"]).await.expect("subscribed");
    while consumer.assignment().is_empty() || cluster.requests(OFFSET_FETCH) < 2 {
        consumer.poll(SECOND).await.expect("poll goes well");
    }
    sleep(SECOND).await;
    let told = told.all("request", "kind", "OffsetFetch");
    let [refused, again] = &told[..] else {
        panic!("it is asked again, and each is told of once: {told:#?}")
    };
    assert_eq!(
        refused.text("otel.name"),
        "OffsetFetch request: failed (COORDINATOR_LOAD_IN_PROGRESS)"
    );
    assert_eq!((refused.text("lane"), refused.text("otel.status_code")), ("system", "ERROR"));
    assert_eq!((refused.text("outcome"), refused.text("reason")), ("failed", "refused"));
    assert_eq!(refused.number("error_code"), 14);
    assert_eq!(waits(refused), [0, 0, 0, 0, 3_000, 2_000]);
    assert_eq!(refused.number("lasted_us"), 5_000_000);
    assert_eq!((again.text("lane"), again.text("outcome")), ("system", "completed"));
    assert!(!again.fields.contains_key("otel.status_code"), "{again:?}");
    cluster.intercept_none();
    consumer.close(5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_is_one_line_with_what_became_of_every_request_and_why() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    let mut consumer = member(&cluster);
    consumer.subscribe(["t"]).await.expect("subscribed");
    consumer.poll(SECOND).await.expect("poll goes well");
    let report = consumer.close(SECOND).await;
    assert!(report.is_clean(), "{report:?}");
    let closed = told.one("evenkeel", "message", "closed");
    assert_eq!((closed.text("level"), closed.text("group")), ("INFO", "g"));
    let heartbeats = report.requests[&(Lane::System, Kind::ConsumerGroupHeartbeat)];
    assert!(heartbeats.asked >= 2 && heartbeats.completed == heartbeats.asked, "{heartbeats:?}");
    let line = format!("system ConsumerGroupHeartbeat: {} completed;", heartbeats.asked);
    assert!(closed.text("requests").contains(&line), "{closed:?}");

    // One commit is on its way when the end comes, another one waits behind it.
    let mut consumer = member(&cluster);
    consumer.subscribe(["t"]).await.expect("subscribed");
    consumer.poll(SECOND).await.expect("poll goes well");
    cluster.intercept(|request: &Request| match request.api_key {
        OFFSET_COMMIT => Before::Delay(600 * SECOND),
        _ => Before::Process,
    });
    let commits = two_commits(&consumer);
    sleep(SECOND / 10).await;
    let report = consumer.close(SECOND).await;
    for commit in commits {
        assert_eq!(commit.await, Err(CommitError::OwnershipEnded));
    }
    assert!(!report.is_clean() && report.requests.values().all(|of| of.asked == of.ended()));
    let commits = report.requests[&(Lane::User, Kind::OffsetCommit)];
    assert_eq!(commits.failed, Failures { closing: 2, ..Failures::default() });
    assert_eq!(commits.discarded, Discards { closing: 1, ..Discards::default() });
    let closed = told.one("evenkeel", "message", "closed with losses");
    assert_eq!(closed.text("level"), "WARN");
    let line = "user OffsetCommit: 2 failed (closing), 1 discarded (closing)";
    assert!(closed.text("requests").contains(line), "{closed:?}");
    cluster.intercept_none();
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_dropped_consumer_is_one_line_with_what_became_of_every_request_and_why() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    for (is_closing, line) in [
        // It goes on until `default.api.timeout.ms`, which is each call's time as well.
        (false, "user OffsetCommit: 1 failed (disconnected), 2 expired in flight"),
        (true, "user OffsetCommit: 2 failed (closing), 1 discarded (closing)"),
    ] {
        let mut consumer = member(&cluster);
        consumer.subscribe(["t"]).await.expect("subscribed");
        consumer.poll(SECOND).await.expect("poll goes well");
        cluster.intercept(|request: &Request| match request.api_key {
            OFFSET_COMMIT => Before::Delay(600 * SECOND),
            _ => Before::Process,
        });
        let commits = two_commits(&consumer);
        sleep(SECOND / 10).await;
        if is_closing {
            let closing = consumer.close(20 * SECOND);
            assert!(timeout(SECOND / 10, closing).await.is_err(), "it is dropped");
        } else {
            drop(consumer);
        }
        for commit in commits {
            assert!(commit.await.is_err(), "the end came first");
        }
        sleep(SECOND).await;
        cluster.intercept_none();
        let message = "the consumer was dropped without close; its background has ended";
        let ended = told.all("evenkeel", "message", message);
        assert_eq!(ended.len(), 1 + usize::from(is_closing), "once each: {ended:?}");
        let ended = ended.last().expect("there is one");
        assert_eq!((ended.text("level"), ended.text("group")), ("WARN", "g"));
        assert!(ended.text("requests").contains(line), "{ended:?}");
    }
}

/// Q8: while the broker does not read the first one.
#[tokio::test(start_paused = true)]
async fn a_second_connection_tells_when_it_is_opened_for_what_and_how_long_it_was_there() {
    let _runs = Validated::begin();
    let (told, _guard) = Told::listen();
    let cluster = cluster();
    cluster.append("t", 0, None, Some(b"value")).expect("it exists");
    let mut consumer = member(&cluster);
    consumer.subscribe(["t"]).await.expect("subscribed");
    while consumer.poll(SECOND).await.expect("poll goes well").is_empty() {}
    assert!(seconds(&told, "second connection opened").is_empty(), "nothing waits");
    cluster.intercept(Script(vec![Act::of(FETCH, vec![Step::Throttled(12 * SECOND)])]));
    cluster.append("t", 0, None, Some(b"value")).expect("it exists");
    let begun = cluster.connections_ever();
    for _ in 0..30 {
        consumer.poll(SECOND).await.expect("poll goes well");
    }
    let opened = seconds(&told, "second connection opened");
    let closed = seconds(&told, "second connection closed");
    let throttled = |spans: &[Span]| {
        let of: Vec<_> = spans.iter().filter(|span| span.text("reason") == "throttled").collect();
        assert_eq!(of.len(), 1, "{spans:?}");
        (of[0].text("request").to_owned(), of[0].text("broker").to_owned())
    };
    let heartbeat = ("ConsumerGroupHeartbeat".to_owned(), cluster.bootstrap_servers());
    assert_eq!((throttled(&opened), throttled(&closed)), (heartbeat.clone(), heartbeat));
    assert_eq!(opened.len() as u64, cluster.connections_ever() - begun, "each is told of");
    assert_eq!(opened.len(), closed.len(), "each has ended: {opened:?} {closed:?}");
    let span = closed.iter().find(|span| span.text("reason") == "throttled").expect("it is one");
    assert_eq!(span.text("otel.name"), "second connection (throttled)");
    assert_eq!(span.text("end"), "needless");
    // From the next heartbeat until the broker reads again.
    let lasted = span.number("lasted_us");
    assert!((6_000_000..12_000_000).contains(&lasted), "{lasted}");
    cluster.intercept_none();
    consumer.close(5 * SECOND).await;
}

fn seconds(told: &Told, what: &str) -> Vec<Span> {
    told.all("evenkeel::connection", "message", what)
}

fn two_commits(consumer: &Consumer) -> [Commit; 2] {
    let committer = consumer.committer();
    let commit = |offset| {
        committer.commit_offsets([(TopicPartition::new("t", 0), Committed::at(Offset(offset)))])
    };
    [commit(1), commit(2)]
}

fn member(cluster: &Cluster) -> Consumer {
    let builder = support::member(cluster, "g", 1).property("auto.commit.interval.ms", "3600000");
    builder.build().expect("valid")
}

/// What a request waited for, milliseconds.
fn waits(span: &Span) -> [u64; 6] {
    ["queue_ms", "coordinator_ms", "connection_ms", "backoff_ms", "throttle_ms", "in_flight_ms"]
        .map(|wait| span.number(wait))
}

fn cluster() -> Cluster {
    Cluster::builder().nodes(1).topic("t", 4).build().expect("a cluster")
}

/// A network on which connecting takes a second.
#[derive(Debug)]
struct Far(InMemory);

impl Connector for Far {
    fn connect(&self, address: &Address) -> Connecting {
        let connecting = self.0.connect(address);
        Box::pin(async move {
            sleep(SECOND).await;
            connecting.await
        })
    }
}

struct Script(Vec<Act>);

/// What becomes of the requests of one API, one after the other; those that follow go well.
struct Act {
    api_key: i16,
    steps: Vec<Step>,
    asked: AtomicUsize,
    answered: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Step {
    Well,
    /// The client is told to wait for so long.
    Throttled(Duration),
    /// After so long.
    Refused(Duration, ErrorCode),
}

impl Act {
    fn of(api_key: i16, steps: Vec<Step>) -> Self {
        Self { api_key, steps, asked: AtomicUsize::new(0), answered: AtomicUsize::new(0) }
    }

    fn next(&self, counter: &AtomicUsize) -> Step {
        let at = counter.fetch_add(1, Ordering::Relaxed);
        self.steps.get(at).copied().unwrap_or(Step::Well)
    }
}

impl Script {
    fn act(&self, request: &Request) -> Option<&Act> {
        self.0.iter().find(|act| act.api_key == request.api_key)
    }
}

impl Interceptor for Script {
    fn on_request(&self, request: &Request) -> Before {
        match self.act(request).map(|act| act.next(&act.asked)) {
            Some(Step::Refused(after, _)) => Before::Delay(after),
            Some(Step::Well | Step::Throttled(_)) | None => Before::Process,
        }
    }

    fn on_answer(&self, request: &Request, _: &Answer) -> After {
        match self.act(request).map(|act| act.next(&act.answered)) {
            Some(Step::Throttled(lasts)) => After::Throttle(lasts),
            Some(Step::Refused(_, error)) => After::Forge(error),
            Some(Step::Well) | None => After::Answer,
        }
    }
}

const FETCH: i16 = 1;
const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const HEARTBEAT: i16 = 68;
