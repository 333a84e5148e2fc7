//! No call takes longer than it may, whatever the brokers do: every call that waits in every
//! situation, in virtual time. `default.api.timeout.ms` is 5 s here; `poll` and `close` are given 3 s.

use crate::listeners::Endless;
use crate::support::{InMemory, Read, SECOND, append_numbered, read, unrecorded};
use evenkeel::{
    Address, Commit, Committed, ConnectError, Connecting, Connector, Consumer, ErrorCode,
    ListenerError, ListenerMethod, Offset, RebalanceContext, RebalanceListener, Stream,
    TopicPartition,
};
use evenkeel_broker::{After, Answer, Before, Cluster, Gate, Interceptor, Request};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::pending;
use std::time::Duration;
use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

const API: Duration = Duration::from_secs(5);
const OWN: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Situation {
    /// Never subscribed.
    New,
    /// Nobody listens, from the beginning.
    NoBroker,
    /// Whoever accepts is silent, from the beginning.
    SilentBroker,
    /// It answers nothing any more.
    FallenSilent,
    /// It is gone.
    Gone,
    /// Each answer takes 4 s.
    Slow,
    /// Each answer mutes its connection for 30 s.
    Throttled,
    /// 2,000 commits wait for a silent coordinator.
    QueueFull,
    /// There is no coordinator, from the beginning.
    CoordinatorMissing,
    /// There is no coordinator any more.
    CoordinatorLost,
    /// Another member joined; the revocation waits for a poll, to run a callback without end.
    MidRebalance,
    /// A poll was dropped inside of a callback without end.
    MidCallback,
}

const SITUATIONS: [Situation; 12] = [
    Situation::New,
    Situation::NoBroker,
    Situation::SilentBroker,
    Situation::FallenSilent,
    Situation::Gone,
    Situation::Slow,
    Situation::Throttled,
    Situation::QueueFull,
    Situation::CoordinatorMissing,
    Situation::CoordinatorLost,
    Situation::MidRebalance,
    Situation::MidCallback,
];

/// Answers nothing to anybody, and keeps what is connected.
#[derive(Debug, Default)]
struct Silent(std::sync::Mutex<Vec<DuplexStream>>);

impl Connector for Silent {
    fn connect(&self, _: &Address) -> Connecting {
        let (near, far) = duplex(1 << 16);
        self.0.lock().expect("no panic").push(far);
        Box::pin(async move { Ok(Box::new(near) as Box<dyn Stream>) })
    }
}

#[derive(Debug)]
struct Nobody;

impl Connector for Nobody {
    fn connect(&self, _: &Address) -> Connecting {
        Box::pin(async { Err(ConnectError::Connect("connection refused".into())) })
    }
}

/// Mutes whoever asks.
struct Throttling;

impl Interceptor for Throttling {
    fn on_answer(&self, _: &Request, _: &Answer) -> After {
        After::Throttle(30 * SECOND)
    }
}

/// A consumer in a situation, and what must live as long as it.
struct World {
    consumer: Consumer,
    _cluster: Cluster,
    _other: Option<Consumer>,
    _commits: Vec<Commit>,
}

async fn world(situation: Situation) -> World {
    let cluster = Cluster::builder().topic("t", 2).build().expect("a cluster");
    append_numbered(&cluster, "t", 2, 10);
    let builder = unrecorded(&cluster, "g", 1).default_api_timeout(API);
    let builder = match situation {
        Situation::NoBroker => builder.connector(Nobody),
        Situation::SilentBroker => builder.connector(Silent::default()),
        _ => builder.connector(InMemory::of(&cluster)),
    };
    let mut consumer = builder.build().expect("valid");
    let (mut other, mut commits) = (None, Vec::new());
    let lookup = |request: &Request| request.api_key == 10;
    let missing = move |request: &Request| {
        if lookup(request) {
            Before::Forge(ErrorCode::CoordinatorNotAvailable)
        } else {
            Before::Process
        }
    };
    if situation == Situation::CoordinatorMissing {
        cluster.intercept(missing);
    }
    if situation != Situation::New {
        consumer.subscribe_with(["t"], Endless(ListenerMethod::Revoked)).await.expect("subscribed");
    }
    match situation {
        Situation::New => {}
        Situation::NoBroker | Situation::SilentBroker | Situation::CoordinatorMissing => {
            // Whether it says something yet does not matter.
            let _ = consumer.poll(SECOND).await;
        }
        _ => read(&mut consumer, &mut Read::default(), 20).await,
    }
    let gate = Gate::<Before>::new();
    match situation {
        Situation::FallenSilent => cluster.intercept(move |_: &Request| Before::Hold(gate.clone())),
        Situation::Gone => {
            for node in cluster.nodes() {
                cluster.kill_node(node).await;
            }
        }
        Situation::Slow => cluster.intercept(|_: &Request| Before::Delay(4 * SECOND)),
        Situation::Throttled => {
            cluster.intercept(Throttling);
            sleep(6 * SECOND).await;
        }
        Situation::QueueFull => {
            cluster.intercept(move |request: &Request| {
                if request.api_key == 8 { Before::Hold(gate.clone()) } else { Before::Process }
            });
            for _ in 0..20 {
                commits.extend((0..100).map(|_| consumer.commit_async()));
                tokio::task::yield_now().await;
            }
        }
        Situation::CoordinatorLost => {
            cluster.intercept(move |request: &Request| match request.api_key {
                10 => Before::Forge(ErrorCode::CoordinatorNotAvailable),
                8 | 9 | 68 => Before::Forge(ErrorCode::NotCoordinator),
                _ => Before::Process,
            });
            sleep(6 * SECOND).await;
        }
        Situation::MidRebalance | Situation::MidCallback => {
            let mut second = unrecorded(&cluster, "g", 2).build().expect("valid");
            second.subscribe(["t"]).await.expect("subscribed");
            second.poll(10 * SECOND).await.expect("poll goes well");
            other = Some(second);
            if situation == Situation::MidCallback {
                assert!(consumer.poll(6 * SECOND).await.expect("poll goes well").is_empty());
            }
        }
        _ => {}
    }
    World { consumer, _cluster: cluster, _other: other, _commits: commits }
}

const CALLS: [&str; 24] = [
    "poll",
    "subscribe",
    "subscribe_with",
    "unsubscribe",
    "commit",
    "commit_offsets",
    "commit_async",
    "Committer::commit",
    "position",
    "committed",
    "seek",
    "pause",
    "resume",
    "subscribe(none)",
    "close",
    "beginning_offsets",
    "end_offsets",
    "offsets_for_times",
    "partitions_for",
    "list_topics",
    "seek_to_end",
    "diagnose",
    "describe_group",
    "subscribe_pattern",
];

/// How a call ended, in few words.
fn told<T>(outcome: Result<T, impl Debug>) -> String {
    match outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => {
            let text = format!("{error:?}");
            text.split([' ', '(']).next().unwrap_or_default().to_owned()
        }
    }
}

async fn call(name: &str, mut consumer: Consumer) -> (String, Option<Consumer>) {
    let at = TopicPartition::new("t", 0);
    let told = match name {
        "poll" => told(consumer.poll(OWN).await),
        "subscribe" => told(consumer.subscribe(["u"]).await),
        "subscribe_with" => {
            told(consumer.subscribe_with(["u"], Endless(ListenerMethod::Revoked)).await)
        }
        "subscribe(none)" => told(consumer.subscribe(Vec::<String>::new()).await),
        "subscribe_pattern" => told(consumer.subscribe_pattern("u.*").await),
        "unsubscribe" => told(consumer.unsubscribe().await),
        "commit" => told(consumer.commit().await),
        "commit_offsets" => told(consumer.commit_offsets([(at, Committed::at(Offset(3)))]).await),
        "commit_async" => told(consumer.commit_async().await),
        "Committer::commit" => told(consumer.committer().commit().await),
        "position" => told(consumer.position(&at).await),
        "committed" => told(consumer.committed([at]).await),
        "beginning_offsets" => told(consumer.beginning_offsets([at]).await),
        "end_offsets" => told(consumer.end_offsets([at]).await),
        "offsets_for_times" => told(consumer.offsets_for_times([(at, 0)]).await),
        "partitions_for" => told(consumer.partitions_for("v").await),
        "list_topics" => told(consumer.list_topics().await),
        "seek_to_end" => told(consumer.seek_to_end([at]).await),
        "diagnose" => told(consumer.diagnose().await),
        "describe_group" => told(consumer.describe_group().await),
        "seek" => told(consumer.seek(&at, 3).await),
        "pause" => told(consumer.pause([at]).await),
        "resume" => told(consumer.resume([at]).await),
        "close" => {
            let report = consumer.close(OWN).await;
            return (if report.left { "left" } else { "not left" }.to_owned(), None);
        }
        other => panic!("no such call: {other}"),
    };
    (told, Some(consumer))
}

#[tokio::test(start_paused = true)]
async fn every_call_in_every_situation_ends_within_its_timeout() {
    let mut table = BTreeMap::new();
    for situation in SITUATIONS {
        for name in CALLS {
            let World { consumer, _cluster, _other, _commits } = world(situation).await;
            let begin = Instant::now();
            let ended = timeout(600 * SECOND, call(name, consumer)).await;
            let (told, consumer) = ended.unwrap_or_else(|_| panic!("{name} hangs: {situation:?}"));
            let took = begin.elapsed();
            eprintln!("{situation:?} {name}: {told} after {took:?}");
            if name == "diagnose" {
                assert_eq!((told.as_str(), took), ("ok", Duration::ZERO), "{situation:?}");
            }
            let allowed = if matches!(name, "poll" | "close") { OWN } else { API };
            // A timer of the runtime is at most a millisecond late.
            if took > allowed + Duration::from_millis(2) {
                table.insert((situation, name), took);
            }
            if let Some(consumer) = consumer {
                let begin = Instant::now();
                consumer.close(OWN).await;
                assert!(begin.elapsed() <= OWN + Duration::from_millis(2), "close after {name}");
            }
        }
    }
    assert!(table.is_empty(), "too late: {table:#?}");
}

/// Commits while the consumer closes, from its callback and from another task.
struct CommitsAtEnd;

impl RebalanceListener for CommitsAtEnd {
    async fn on_partitions_revoked(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        let _ = context.committed(partitions.to_vec()).await;
        let _ = context.commit().await;
        pending().await
    }
}

/// Closes within 3 s while these requests are not answered, and commits meanwhile from another task:
/// what became of that commit, and of one afterwards.
async fn close_while_held(keys: &'static [i16], callbacks_dropped: usize) -> [bool; 2] {
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    append_numbered(&cluster, "t", 1, 10);
    let builder = unrecorded(&cluster, "g", 1).enable_auto_commit(false);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe_with(["t"], CommitsAtEnd).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 10).await;
    let gate = Gate::<Before>::new();
    cluster.intercept(move |request: &Request| {
        if keys.contains(&request.api_key) { Before::Hold(gate.clone()) } else { Before::Process }
    });
    let committer = consumer.committer();
    let first = tokio::spawn(async move { committer.commit().await });
    tokio::task::yield_now().await;
    let committer = consumer.committer();
    let begin = Instant::now();
    let report = consumer.close(OWN).await;
    assert!(!report.left, "{report:?}");
    assert_eq!(report.callbacks_failed.len(), callbacks_dropped, "{report:?}");
    let during = timeout(Duration::ZERO, first).await.expect("it ended before").expect("no panic");
    let after = committer.commit().await;
    assert_eq!(after, Err(evenkeel::CommitError::Closed));
    assert!(begin.elapsed() <= OWN + Duration::from_millis(2), "{:?}", begin.elapsed());
    [during.is_ok(), after.is_ok()]
}

#[tokio::test(start_paused = true)]
async fn calls_of_callbacks_and_of_other_tasks_end_with_a_close_that_has_less_time_than_they() {
    assert_eq!(close_while_held(&[9, 68], 1).await, [true, false], "a callback's call waits");
    assert_eq!(close_while_held(&[8, 9, 68], 0).await, [false, false], "a commit waits");
}

#[tokio::test(start_paused = true)]
async fn timeouts_without_end_are_no_overflow() {
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    append_numbered(&cluster, "t", 1, 10);
    let mut consumer = unrecorded(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    while got.count() < 10 {
        got.take(&consumer.poll(Duration::MAX).await.expect("poll goes well"));
    }
    assert!(got.is_exactly(1, 10) && consumer.close(Duration::MAX).await.left);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_other_tasks_keep_full_refuses_at_once_and_keeps_nobody_from_leaving() {
    let World { mut consumer, _cluster, _commits, .. } = world(Situation::QueueFull).await;
    let begin = Instant::now();
    let refused = consumer.commit().await;
    let wait = |refused| match refused {
        Err(evenkeel::CommitError::QueueFull(full)) => full.retry_after,
        other => panic!("{other:?}"),
    };
    let (first, second) = (wait(refused), wait(consumer.commit().await));
    let millis =
        |from, to| std::time::Duration::from_millis(from)..=std::time::Duration::from_millis(to);
    assert!(millis(80, 120).contains(&first), "retry.backoff.ms with jitter: {first:?}");
    assert!(millis(160, 240).contains(&second), "twice that: {second:?}");
    assert_eq!(consumer.subscribe(["t"]).await, Ok(()), "it needs no room");
    assert_eq!(begin.elapsed(), Duration::ZERO);
    // More calls than the queue takes, before the background has a turn.
    let commits: Vec<_> = (0..2_000).map(|_| consumer.commit_async()).collect();
    let left = consumer.unsubscribe().await;
    assert!(!matches!(left, Err(evenkeel::SubscribeError::QueueFull { .. })), "{left:?}");
    drop(commits);
    consumer.close(OWN).await;
}
