//! No call takes longer than it may, whatever the brokers do: every call that waits in every
//! situation, in virtual time. `default.api.timeout.ms` is 5 s here; `poll` and `close` are given 3 s.

use crate::calls::{
    CALLBACK_CALLS, Failure, Handles, OUTLIVING_CALLS, OWN, call, callback_call, calls, word,
};
use crate::listeners::Endless;
use crate::support::{InMemory, Read, SECOND, append_numbered, read, unrecorded};
use evenkeel::{
    Address, Commit, Committer, ConnectError, Connecting, Connector, Consumer, ErrorCode,
    ListenerError, ListenerMethod, RebalanceContext, RebalanceListener, Stream, TopicPartition,
};
use evenkeel_broker::{After, Answer, Before, Cluster, Gate, Interceptor, Request};
use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{Instant, sleep, timeout};

const API: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Situation {
    /// It has read everything, and nothing is amiss.
    Well,
    /// Never subscribed, nor assigned.
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

const SITUATIONS: [Situation; 13] = [
    Situation::Well,
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

impl Situation {
    /// Whether it comes over a consumer that has read everything.
    fn befalls(self) -> bool {
        !matches!(
            self,
            Self::New
                | Self::NoBroker
                | Self::SilentBroker
                | Self::CoordinatorMissing
                | Self::MidRebalance
                | Self::MidCallback
        )
    }
}

/// How a consumer comes by its partitions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// By its group, with a listener.
    Subscribed,
    /// By its application; the group is there for its offsets.
    Assigned,
}

impl Way {
    fn has(self, situation: Situation) -> bool {
        let rebalances = matches!(situation, Situation::MidRebalance | Situation::MidCallback);
        self == Self::Subscribed || !rebalances
    }
}

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

async fn world(situation: Situation, way: Way) -> World {
    let cluster = Cluster::builder().topic("t", 2).build().expect("a cluster");
    append_numbered(&cluster, "t", 2, 10);
    let builder = unrecorded(&cluster, "g", 1).default_api_timeout(API);
    let builder = match situation {
        Situation::NoBroker => builder.connector(Nobody),
        Situation::SilentBroker => builder.connector(Silent::default()),
        _ => builder.connector(InMemory::of(&cluster)),
    };
    let mut consumer = builder.build().expect("valid");
    if situation == Situation::CoordinatorMissing {
        cluster.intercept(|request: &Request| match request.api_key {
            10 => Before::Forge(ErrorCode::CoordinatorNotAvailable),
            _ => Before::Process,
        });
    }
    match (situation, way) {
        (Situation::New, _) => {}
        (Situation::Well, Way::Subscribed) => {
            consumer.subscribe(["t"]).await.expect("subscribed");
        }
        (_, Way::Subscribed) => {
            let endless = Endless(ListenerMethod::Revoked);
            consumer.subscribe_with(["t"], endless).await.expect("subscribed");
        }
        (_, Way::Assigned) => {
            let both = [0, 1].map(|index| TopicPartition::new("t", index));
            consumer.assign(both).await.expect("assigned");
        }
    }
    match situation {
        Situation::New => {}
        Situation::NoBroker | Situation::SilentBroker | Situation::CoordinatorMissing => {
            // Whether it says something yet does not matter.
            let _ = consumer.poll(SECOND).await;
        }
        _ => read(&mut consumer, &mut Read::default(), 20).await,
    }
    let mut other = None;
    if matches!(situation, Situation::MidRebalance | Situation::MidCallback) {
        other = Some(joining(&cluster).await);
        if situation == Situation::MidCallback {
            assert!(consumer.poll(6 * SECOND).await.expect("poll goes well").is_empty());
        }
    }
    let commits = befall(&cluster, &consumer.committer(), situation).await;
    World { consumer, _cluster: cluster, _other: other, _commits: commits }
}

/// Another member, which waits for its share.
async fn joining(cluster: &Cluster) -> Consumer {
    let mut second = unrecorded(cluster, "g", 2).build().expect("valid");
    second.subscribe(["t"]).await.expect("subscribed");
    second.poll(10 * SECOND).await.expect("poll goes well");
    second
}

/// What comes over a consumer that has read everything; the commits that must be kept for it.
async fn befall(cluster: &Cluster, committer: &Committer, situation: Situation) -> Vec<Commit> {
    let (gate, mut commits) = (Gate::<Before>::new(), Vec::new());
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
                commits.extend((0..100).map(|_| committer.commit()));
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
        _ => {}
    }
    commits
}

/// How a call ended, in a word; the consumer, unless it was closed.
async fn called(name: &str, mut consumer: Consumer) -> (&'static str, Option<Consumer>) {
    if name == "close" {
        let report = consumer.close(OWN).await;
        return (if report.left { "left" } else { "not left" }, None);
    }
    let outcome = call(name, &mut consumer).await;
    (word(&outcome), Some(consumer))
}

/// What a call ends with where nothing is amiss.
fn expected(way: Way, name: &str) -> &'static str {
    let subscribes = name.starts_with("subscribe") && name != "subscribe(none)";
    match way {
        _ if name == "close" => "left",
        Way::Subscribed if name == "assign" => "Exclusive",
        Way::Assigned if subscribes => "Exclusive",
        // There is no such group.
        Way::Assigned if name.ends_with("describe_group") => "Refused",
        _ => "ok",
    }
}

/// A timer of the runtime is at most a millisecond late.
const LATE: Duration = Duration::from_millis(2);

async fn every_call_is_in_time(way: Way) {
    let mut late = BTreeMap::new();
    let mut cells = 0;
    for situation in SITUATIONS.into_iter().filter(|situation| way.has(*situation)) {
        for name in calls() {
            let World { consumer, _cluster, _other, _commits } = world(situation, way).await;
            let begin = Instant::now();
            let ended = timeout(600 * SECOND, called(name, consumer)).await;
            let (told, consumer) = ended.unwrap_or_else(|_| panic!("{name} hangs: {situation:?}"));
            let took = begin.elapsed();
            eprintln!("{situation:?} {name}: {told} after {took:?}");
            cells += 1;
            if situation == Situation::Well {
                assert_eq!(told, expected(way, name), "{way:?} {name}");
            }
            if name.ends_with("diagnose") {
                assert_eq!((told, took), ("ok", Duration::ZERO), "{situation:?}");
            }
            let has_own = matches!(name, "poll" | "close" | "records" | "stream");
            let has_own = has_own || name == "RecordStream::next";
            if took > LATE + if has_own { OWN } else { API } {
                late.insert((situation, name), took);
            }
            if let Some(consumer) = consumer {
                let begin = Instant::now();
                consumer.close(OWN).await;
                assert!(begin.elapsed() <= OWN + LATE, "close after {name}");
            }
        }
    }
    eprintln!("{cells} cells");
    assert!(late.is_empty(), "too late: {late:#?}");
}

#[tokio::test(start_paused = true)]
async fn every_call_in_every_situation_ends_within_its_timeout() {
    every_call_is_in_time(Way::Subscribed).await;
}

#[tokio::test(start_paused = true)]
async fn every_call_of_a_manually_assigned_consumer_in_every_situation_ends_within_its_timeout() {
    every_call_is_in_time(Way::Assigned).await;
}

/// Nothing but these can be called on a consumer that closes: `close` takes it.
#[tokio::test(start_paused = true)]
async fn every_call_of_other_tasks_while_a_consumer_closes_ends_within_its_timeout_and_the_close() {
    for situation in SITUATIONS {
        for name in OUTLIVING_CALLS {
            // Its callback never returns, so that a close takes all of its time.
            for given in [Some(60 * SECOND), Some(OWN), None] {
                let World { consumer, _cluster, _other, _commits } =
                    world(situation, Way::Subscribed).await;
                let handles = Handles::of(&consumer);
                let begin = Instant::now();
                let closing = tokio::spawn(async move {
                    match given {
                        Some(given) => drop(consumer.close(given).await),
                        None => drop(consumer),
                    }
                });
                sleep(SECOND).await;
                let ended = timeout(600 * SECOND, handles.call(name)).await;
                let told =
                    ended.unwrap_or_else(|_| panic!("{name} hangs: {situation:?} {given:?}"));
                let took = begin.elapsed() - SECOND;
                eprintln!("{situation:?} {given:?} {name}: {told:?} after {took:?}");
                let rest = given.map_or(API, |given| API.min(given - SECOND));
                assert!(took <= rest + LATE, "{situation:?} {given:?} {name}: {took:?}");
                closing.await.expect("no panic");
                if given.is_some() {
                    let begin = Instant::now();
                    assert_eq!(word(&handles.call(name).await), "Closed", "{situation:?} {name}");
                    assert_eq!(begin.elapsed(), Duration::ZERO, "{situation:?} {name}");
                }
            }
        }
    }
}

/// Makes calls in its callback, as it is told.
struct Puppet {
    orders: UnboundedReceiver<&'static str>,
    told: UnboundedSender<Result<(), Failure>>,
}

/// Tells it.
struct Strings {
    orders: UnboundedSender<&'static str>,
    told: UnboundedReceiver<Result<(), Failure>>,
}

impl Puppet {
    fn new() -> (Self, Strings) {
        let (orders, ordered) = unbounded_channel();
        let (tell, told) = unbounded_channel();
        (Self { orders: ordered, told: tell }, Strings { orders, told })
    }
}

impl Strings {
    /// Has a call made.
    async fn pull(&mut self, name: &'static str) -> Result<(), Failure> {
        self.orders.send(name).expect("the callback goes on");
        let told = timeout(600 * SECOND, self.told.recv()).await;
        told.unwrap_or_else(|_| panic!("{name} hangs")).expect("the callback goes on")
    }
}

impl RebalanceListener for Puppet {
    async fn on_partitions_revoked(
        &mut self,
        context: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        while let Some(name) = self.orders.recv().await {
            let outcome = callback_call(name, context).await;
            self.told.send(outcome).expect("the test goes on");
        }
        Ok(())
    }
}

/// A callback makes every call, one after another, while the situation lasts: inside of a poll, or of
/// the close.
async fn puppet_show(situation: Situation, closes: bool) {
    let cluster = Cluster::builder().topic("t", 2).build().expect("a cluster");
    append_numbered(&cluster, "t", 2, 10);
    let builder = unrecorded(&cluster, "g", 1).default_api_timeout(API);
    let (mut consumer, (puppet, mut strings)) = (builder.build().expect("valid"), Puppet::new());
    consumer.subscribe_with(["t"], puppet).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    let (committer, mut other) = (consumer.committer(), None);
    if !closes {
        other = Some(joining(&cluster).await);
    }
    let (stop, mut stopped) = oneshot::channel::<()>();
    let inside = tokio::spawn(async move {
        if !closes {
            // What a poll says in such a situation does not matter.
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                let _ = consumer.poll(OWN).await;
            }
        }
        consumer.close(200 * SECOND).await
    });
    assert_eq!(strings.pull("RebalanceContext::position").await, Ok(()));
    let commits = befall(&cluster, &committer, situation).await;
    for name in CALLBACK_CALLS {
        let begin = Instant::now();
        let outcome = strings.pull(name).await;
        let took = begin.elapsed();
        eprintln!("{situation:?} {name}: {} after {took:?}", word(&outcome));
        assert!(took <= API + LATE, "{situation:?} {name}: {took:?}");
        if situation == Situation::Well {
            assert_eq!(outcome, Ok(()), "{name}");
        }
    }
    drop((strings, commits));
    // It may be gone already.
    let _ = stop.send(());
    let begin = Instant::now();
    inside.await.expect("no panic");
    assert!(begin.elapsed() <= 203 * SECOND);
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn every_call_of_a_callback_in_every_situation_ends_within_its_timeout() {
    for closes in [false, true] {
        for situation in SITUATIONS.into_iter().filter(|situation| situation.befalls()) {
            puppet_show(situation, closes).await;
        }
    }
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
