//! Each metric is provoked, in memory and under paused time, and read as an application's reader
//! does: values are exact.

mod connections;
#[path = "../client/listeners.rs"]
mod listeners;
mod queues;
mod reader;
mod stuck;
#[path = "../client/support.rs"]
mod support;

use evenkeel::CoordinatorConnection::Dedicated;
use evenkeel::{
    Address, CommitError, Committed, Connecting, Connector, Consumer, ConsumerBuilder, ErrorCode,
    Kind, Lane, LookupError, Offset, TopicPartition,
};
use evenkeel_broker::{After, Answer, Before, Cluster, Interceptor, Request};
use evenkeel_tests::validated::Validated;
use listeners::Slow;
use reader::{Reader, Shown, count};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as RealInstant};
use support::{InMemory, Read, SECOND, append_numbered, read};
use tokio::time::sleep;

fn cluster() -> Cluster {
    let cluster = Cluster::builder().nodes(1).topic("t", 5).build().expect("a cluster");
    append_numbered(&cluster, "t", 2, 10);
    cluster
}

/// A member of the group; its run is recorded.
fn member(cluster: &Cluster, reader: &Reader) -> ConsumerBuilder {
    metered(support::member(cluster, "g", 1), reader)
}

/// One that is assigned what it reads: there is no protocol to hold its run against.
fn assigned(cluster: &Cluster, reader: &Reader) -> ConsumerBuilder {
    metered(support::unrecorded(cluster, "g", 1), reader)
}

fn metered(builder: ConsumerBuilder, reader: &Reader) -> ConsumerBuilder {
    let builder = builder.client_id("c").meter(reader.meter());
    builder.property("auto.commit.interval.ms", "3600000")
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

#[tokio::test(start_paused = true)]
async fn the_lag_is_that_of_current_lag_also_after_a_reset() {
    let _runs = Validated::begin();
    let (cluster, reader) = (cluster(), Reader::new());
    let builder = member(&cluster, &reader).property("auto.offset.reset", "latest");
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    consumer.poll(SECOND).await.expect("poll goes well");
    let end = cluster.log_end("t", 0).expect("it exists");
    cluster.delete_records("t", 0, end).expect("it exists");
    consumer.seek(&at(0), Offset(0)).await.expect("it is assigned");
    // The position is before the log's start: it becomes the log's end, and no record comes.
    assert!(consumer.poll(2 * SECOND).await.expect("poll goes well").is_empty());
    assert_eq!(consumer.current_lag(&at(0)).await, Ok(Some(0)));
    let shown = reader.read();
    assert_eq!(shown.of("fetch.manager.records.lag{partition=0,topic=t}"), 0.0);
    assert!(consumer.close(SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn records_lags_and_buffers_are_counted_as_the_application_gets_on() {
    let _runs = Validated::begin();
    let (cluster, reader) = (cluster(), Reader::new());
    let mut consumer = member(&cluster, &reader).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    sleep(3 * SECOND).await;
    consumer.poll(Duration::ZERO).await.expect("poll goes well");

    let shown = reader.read();
    assert_eq!(shown.of("fetch.manager.records.consumed.total{}"), 20.0);
    let polled = "{messaging.destination.name=t,messaging.operation.name=poll}";
    assert_eq!(shown.of(&format!("messaging.client.consumed.messages{polled}")), 20.0);
    let polls = shown.of(&format!("messaging.client.operation.duration{polled}.count"));
    assert!((1.0..=2.0).contains(&polls), "{polls} polls returned records");
    let processed = "{messaging.destination.name=t,messaging.operation.name=process}";
    assert_eq!(shown.of(&format!("messaging.process.duration{processed}.count")), polls);
    assert_eq!(shown.of(&format!("messaging.process.duration{processed}.sum")), 3.0);
    assert_eq!(shown.of("coordinator.assigned.partitions{}"), 5.0);
    for partition in 0..2 {
        assert_eq!(
            shown.of(&format!("fetch.manager.records.lag{{partition={partition},topic=t}}")),
            0.0
        );
    }
    assert_eq!(shown.of("fetch.manager.buffered.bytes{}"), 0.0);
    let of = |role: &str| shown.of(&format!("connection.count{{role={role}}}"));
    assert_eq!(["bootstrap", "broker", "coordinator", "second"].map(of), [0.0, 1.0, 0.0, 0.0]);
    let made = shown.sum("connection.creation.total", &[]);
    assert_eq!(made, count(cluster.connections_ever()));

    // What is fetched ahead is buffered, and still ahead of the application.
    for _ in 0..5 {
        cluster.append("t", 1, None, Some(b"value")).expect("it exists");
    }
    sleep(SECOND).await;
    let shown = reader.read();
    assert_eq!(shown.of("fetch.manager.records.lag{partition=0,topic=t}"), 0.0);
    assert_eq!(shown.of("fetch.manager.records.lag{partition=1,topic=t}"), 5.0);
    assert!(shown.of("fetch.manager.buffered.bytes{}") >= 5.0 * 5.0, "five values of five bytes");
    assert_eq!(consumer.poll(SECOND).await.expect("poll goes well").len(), 5);
    sleep(SECOND).await;
    let shown = reader.read();
    assert_eq!(shown.of("fetch.manager.records.lag{partition=1,topic=t}"), 0.0);
    assert_eq!(shown.of("fetch.manager.buffered.bytes{}"), 0.0);

    consumer.close(SECOND).await;
    let shown = reader.read();
    assert_eq!(shown.get("coordinator.assigned.partitions{}"), None, "its background is gone");
    assert_eq!(shown.of("fetch.manager.records.consumed.total{}"), 25.0);
}

#[tokio::test(start_paused = true)]
async fn polls_that_wait_are_idle_and_the_background_is_busy_while_it_works() {
    let _runs = Validated::begin();
    let (cluster, reader) = (cluster(), Reader::new());
    let begun = RealInstant::now();
    let builder = assigned(&cluster, &reader).record_run(Spinning("evenkeel_run"));
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    let shown = reader.read();
    let busy = shown.of("network.thread.busy.ratio{}");
    let at_least = SPIN.as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!((at_least..=1.0).contains(&busy), "{busy}, and more than {at_least} in the sink");

    reader.read();
    sleep(3 * SECOND).await;
    assert!(consumer.poll(SECOND).await.expect("poll goes well").is_empty());
    let idle = reader.read().of("poll.idle.ratio{}");
    assert!((idle - 0.25).abs() < 1e-9, "{idle}: inside for one second, outside for three");
    consumer.close(SECOND).await;
}

/// A sink that keeps the processor busy at each line that has this in it.
struct Spinning(&'static str);

impl Write for Spinning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in bytes.split(|byte| *byte == b'\n') {
            let begun = RealInstant::now();
            let is_named = line.windows(self.0.len()).any(|part| part == self.0.as_bytes());
            while is_named && begun.elapsed() < SPIN {
                std::hint::spin_loop();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const SPIN: Duration = Duration::from_millis(20);

/// Requests of one API are processed after this long each.
fn slow(api_key: i16, delay: Duration) -> impl Fn(&Request) -> Before {
    move |request| {
        if request.api_key == api_key { Before::Delay(delay) } else { Before::Process }
    }
}

/// An assigned consumer that knows its coordinator and asks for nothing by itself.
async fn quiet(cluster: &Cluster, builder: ConsumerBuilder) -> Consumer {
    let mut consumer = builder.build().expect("valid");
    consumer.assign([at(0)]).await.expect("assigned");
    consumer.pause([at(0)]).await.expect("it is assigned");
    consumer.committed([at(0)]).await.expect("the coordinator answers");
    sleep(SECOND).await;
    assert_eq!(cluster.requests(OFFSET_FETCH), 1);
    consumer
}

const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const FIND_COORDINATOR: i16 = 10;
const HEARTBEAT: i16 = 68;

#[tokio::test(start_paused = true)]
async fn lanes_show_how_many_wait_how_many_are_on_their_way_and_how_old_the_oldest_is() {
    let (cluster, reader) = (cluster(), Reader::new());
    let consumer = quiet(&cluster, assigned(&cluster, &reader)).await;
    let of = |shown: &Shown| {
        ["unsent.requests.queue.size", "requests.in.flight", "requests.oldest.age"]
            .map(|name| shown.of(&format!("{name}{{lane=user}}")))
    };
    assert_eq!(of(&reader.read()), [0.0, 0.0, 0.0]);
    let waited = |what: &str| {
        reader.read().get(&format!("requests.wait.time.total{{for={what},lane=user}}"))
    };
    assert_eq!(waited("queue"), None);

    // The coordinator takes a second for each, one after the other; two of them are on their way.
    cluster.intercept(slow(OFFSET_FETCH, SECOND));
    let ask = |partition| consumer.committed([at(partition)]);
    let calls = async { tokio::join!(ask(0), ask(1), ask(2), ask(3), ask(4)) };
    let look = async {
        sleep(SECOND / 2).await;
        assert_eq!(of(&reader.read()), [3.0, 2.0, 500.0]);
        sleep(3 * SECOND).await;
        assert_eq!(of(&reader.read()), [0.0, 2.0, 3_500.0]);
    };
    let (answers, ()) = tokio::join!(calls, look);
    assert!(answers.0.is_ok() && answers.4.is_ok(), "{answers:?}");
    assert_eq!(of(&reader.read()), [0.0, 0.0, 0.0]);
    let ended = "requests.ended.total{lane=user,outcome=completed,request=OffsetFetch}";
    assert_eq!(reader.read().of(ended), 6.0);
    assert_eq!(waited("queue"), Some(1_000.0 + 2_000.0 + 3_000.0));
    assert_eq!(waited("answer"), Some(1_000.0 + 4.0 * 2_000.0));
    let unsent = "unsent.requests.queue.time{api=OffsetFetch,node_id=1,outcome=answered}";
    assert_eq!(reader.read().of(&format!("{unsent}.sum")), 6_000.0);
    cluster.intercept_none();
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_expires_or_is_given_up_is_counted_with_the_reason() {
    let (cluster, reader) = (cluster(), Reader::new());
    let builder = assigned(&cluster, &reader).request_queue_max(2).in_flight_max(1);
    let consumer = quiet(&cluster, builder.default_api_timeout(5 * SECOND)).await;
    cluster.intercept(slow(OFFSET_FETCH, 600 * SECOND));
    let ask = |partition| consumer.committed([at(partition)]);
    let (sent, unsent, refused) = tokio::join!(ask(0), ask(1), ask(2));
    assert!(matches!(sent, Err(LookupError::TimedOut { .. })), "{sent:?}");
    assert!(matches!(unsent, Err(LookupError::TimedOut { .. })), "{unsent:?}");
    assert!(matches!(refused, Err(LookupError::QueueFull { .. })), "{refused:?}");
    let ended = |shown: &Shown, outcome: &str, request: &str| {
        shown.get(&format!("requests.ended.total{{lane=user,outcome={outcome},{request}}}"))
    };
    let shown = reader.read();
    assert_eq!(ended(&shown, "expired in flight", "request=OffsetFetch"), Some(1.0));
    assert_eq!(ended(&shown, "expired unsent", "request=OffsetFetch"), Some(1.0));
    assert_eq!(shown.of("application.event.queue.refused.total{request=OffsetFetch}"), 1.0);

    cluster.intercept_none();
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_close_gives_up_is_counted_so() {
    let _runs = Validated::begin();
    let (cluster, reader) = (cluster(), Reader::new());
    let mut consumer = member(&cluster, &reader).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    // The first commit is on its way when the end comes, and the other one waits for it.
    cluster.intercept(slow(OFFSET_COMMIT, 600 * SECOND));
    let committer = consumer.committer();
    let commit = |offset| committer.commit_offsets([(at(0), Committed::at(Offset(offset)))]);
    let commits = [commit(1), commit(2)];
    sleep(SECOND / 10).await;
    let report = consumer.close(SECOND).await;
    for commit in commits {
        assert_eq!(commit.await, Err(CommitError::OwnershipEnded));
    }
    let shown = reader.read();
    let ended = |outcome: &str| {
        let said = ["lane=user", outcome, "reason=closing", "request=OffsetCommit"];
        shown.sum("requests.ended.total", &said)
    };
    assert_eq!(ended("outcome=failed"), 2.0, "the call, and the request that was sent for it");
    assert_eq!(ended("outcome=discarded"), 1.0);
    let commits = report.requests[&(Lane::User, Kind::OffsetCommit)];
    assert_eq!((commits.asked, commits.failed.closing, commits.discarded.closing), (3, 2, 1));
    assert_eq!((commits.failed.sum(), commits.discarded.sum()), (2, 1));
    assert!(report.requests.values().all(|counts| counts.asked == counts.ended()), "{report:?}");
    cluster.intercept_none();
}

#[tokio::test(start_paused = true)]
async fn what_requests_wait_for_is_told_apart() {
    let (cluster, reader) = (cluster(), Reader::new());
    let consumer = assigned(&cluster, &reader).connector(Far(InMemory::of(&cluster)));
    let consumer = consumer.build().expect("valid");
    let waited = |what: &str, lane: &str| {
        let point = format!("requests.wait.time.total{{for={what},lane={lane}}}");
        reader.read().get(&point).unwrap_or_default()
    };
    cluster.intercept(slow(FIND_COORDINATOR, 2 * SECOND));
    consumer.committed([at(0)]).await.expect("the coordinator answers");
    // Metadata waits for the first connection, the call behind it, and then for its coordinator.
    assert_eq!(waited("connection", "system"), 1_000.0);
    assert_eq!((waited("queue", "user"), waited("coordinator", "user")), (1_000.0, 2_000.0));

    cluster.intercept(Throttling);
    for _ in 0..2 {
        consumer.committed([at(0)]).await.expect("the coordinator answers");
    }
    assert_eq!(waited("throttle", "user"), 30_000.0);

    assert_eq!(waited("backoff", "user"), 0.0);
    let forged = AtomicBool::new(false);
    cluster.intercept(move |request: &Request| {
        if request.api_key == OFFSET_FETCH && !forged.swap(true, Ordering::Relaxed) {
            return Before::Forge(ErrorCode::CoordinatorLoadInProgress);
        }
        Before::Process
    });
    sleep(60 * SECOND).await;
    consumer.committed([at(0)]).await.expect("the coordinator answers");
    // `retry.backoff.ms`, jittered by a fifth.
    assert!((80.0..=120.0).contains(&waited("backoff", "user")), "{}", waited("backoff", "user"));
    cluster.intercept_none();
    consumer.close(SECOND).await;
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

/// Committed offsets cost the client half a minute.
struct Throttling;

impl Interceptor for Throttling {
    fn on_answer(&self, request: &Request, _: &Answer) -> After {
        if request.api_key == OFFSET_FETCH { After::Throttle(30 * SECOND) } else { After::Answer }
    }
}

#[tokio::test(start_paused = true)]
async fn commits_heartbeats_and_requests_are_timed_and_what_failed_says_why() {
    let _runs = Validated::begin();
    let (cluster, reader) = (cluster(), Reader::new());
    // Otherwise a commit may wait for a parked fetch.
    let builder = member(&cluster, &reader).coordinator_connection(Dedicated);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    cluster.intercept(slow(OFFSET_COMMIT, 2 * SECOND));
    consumer.commit().await.expect("the coordinator answers");
    let refuse = |request: &Request| match request.api_key {
        OFFSET_COMMIT => Before::Forge(ErrorCode::GroupAuthorizationFailed),
        _ => Before::Process,
    };
    cluster.intercept(refuse);
    let offset = Committed::at(Offset(3));
    let refused = consumer.commit_offsets([(at(0), offset)]).await;
    assert!(matches!(refused, Err(CommitError::Refused { .. })), "{refused:?}");
    cluster.intercept_none();

    let shown = reader.read();
    let latency = "coordinator.commit.latency{}";
    assert_eq!(shown.of(&format!("{latency}.count")), 1.0);
    assert_eq!(shown.of(&format!("{latency}.sum")), 2_000.0);
    let failed = "coordinator.commit.latency{error.type=GROUP_AUTHORIZATION_FAILED}";
    assert_eq!(shown.of(&format!("{failed}.count")), 1.0);
    let operation = "messaging.client.operation.duration";
    let well = format!("{operation}{{messaging.operation.name=commit}}");
    assert_eq!(shown.of(&format!("{well}.count")), 1.0);
    assert_eq!(shown.of(&format!("{well}.sum")), 2.0);
    let error = "error.type=GROUP_AUTHORIZATION_FAILED";
    let badly = format!("{operation}{{{error},messaging.operation.name=commit}}.count");
    assert_eq!(shown.of(&badly), 1.0);
    let ended = "requests.ended.total";
    let said = ["lane=user", "outcome=failed", "reason=refused", "request=OffsetCommit"];
    assert_eq!(shown.sum(ended, &said), 2.0, "the call, and the request that went out for it");

    // Whatever a broker answered was timed, by whom was asked and for what.
    let heartbeats = count(cluster.requests(HEARTBEAT));
    assert!(heartbeats >= 2.0);
    assert_eq!(shown.of("coordinator.heartbeat.response.time{}.count"), heartbeats);
    let latency = "node.request.latency{api=ConsumerGroupHeartbeat,node_id=1,outcome=answered}";
    assert_eq!(shown.of(&format!("{latency}.count")), heartbeats);
    let why = "error.type=GROUP_AUTHORIZATION_FAILED,node_id=1,outcome=refused";
    assert_eq!(shown.of(&format!("node.request.latency{{api=OffsetCommit,{why}}}.count")), 1.0);
    let fetches = shown.of("fetch.manager.fetch.latency{}.count");
    assert!(fetches >= 1.0 && fetches <= count(cluster.requests(1)), "{fetches}");
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn rebalances_and_callbacks_are_timed_and_those_that_failed_are_counted() {
    let _runs = Validated::begin();
    let (cluster, reader) = (cluster(), Reader::new());
    let builder = member(&cluster, &reader).property("max.poll.interval.ms", "10000");
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe_with(["t"], Slow::default()).await.expect("subscribed");
    consumer.poll(2 * SECOND).await.expect("poll goes well");
    let rebalances = |shown: &Shown| {
        let whole =
            ["count", "sum"].map(|of| shown.of(&format!("coordinator.rebalance.latency{{}}.{of}")));
        let failed = shown.get("coordinator.failed.rebalance.total{}");
        (whole, failed.unwrap_or_default())
    };
    let callbacks = |shown: &Shown| {
        ["assigned", "revoked", "lost"].map(|name| {
            shown.get(&format!("coordinator.partition.{name}.latency{{}}.sum")).unwrap_or_default()
        })
    };
    let shown = reader.read();
    assert_eq!(rebalances(&shown), ([1.0, 700.0], 0.0));
    assert_eq!(callbacks(&shown), [700.0, 0.0, 0.0]);

    // No poll for longer than the interval: everything is lost, and told with the next poll.
    sleep(12 * SECOND).await;
    assert_eq!(reader.read().of("coordinator.assigned.partitions{}"), 0.0);
    consumer.poll(2 * SECOND).await.expect("poll goes well");
    let shown = reader.read();
    let ([count, _], failed) = rebalances(&shown);
    assert!(count >= 2.0 && failed == 1.0, "{count}, {failed} of them failed");
    assert_eq!(callbacks(&shown)[2], 100.0);
    while consumer.assignment().is_empty() {
        consumer.poll(2 * SECOND).await.expect("poll goes well");
    }
    consumer.close(5 * SECOND).await;
    let shown = reader.read();
    assert_eq!(callbacks(&shown), [1_400.0, 300.0, 100.0]);
    assert_eq!(rebalances(&shown).1, 1.0, "to leave is not to fail");
}
