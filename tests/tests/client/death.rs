//! The background ends: by a panic at each of its steps, by its runtime's shutdown, by an abort.
//! Whoever waits is told at once, nothing hangs, and nothing is left open.

use crate::calls::{call, calls};
use crate::support::{InMemory, Read, SECOND, append_numbered, member, read, unrecorded};
use evenkeel::{
    Address, BackgroundDied, CommitError, Connecting, Connector, Consumer, Lifecycle,
    ListenerError, LookupError, PollError, PositionError, RebalanceContext, RebalanceListener,
    Stream, SubscribeError, TopicPartition,
};
use evenkeel_broker::{Before, Cluster, Gate, Request};
use evenkeel_tests::validated::{Recording, Validated, recorded};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, timeout};

/// Explodes at its n-th use, wherever that is.
#[derive(Clone, Debug)]
struct Bomb {
    left: Arc<AtomicU64>,
    exploded: Arc<Mutex<Option<Instant>>>,
}

impl Bomb {
    fn at(uses: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(uses)), exploded: Arc::default() }
    }

    fn used(&self) {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 1 {
            *self.exploded.lock().expect("no panic") = Some(Instant::now());
            panic!("the bomb");
        }
    }

    fn exploded(&self) -> Option<Instant> {
        *self.exploded.lock().expect("no panic")
    }
}

/// Takes a recorded run down. The background flushes it before and after everything that happens to
/// it: each of its steps is a use of the bomb.
struct Mined(Bomb, Recording);

impl Write for Mined {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.used();
        Ok(())
    }
}

/// What the application is doing, for the account of where the bomb exploded.
type Phase = Arc<Mutex<&'static str>>;

/// Is slow, so that the background lives through many steps while a callback is open.
struct Slow(Phase);

impl Slow {
    async fn be(&self, phase: &'static str) {
        let before = std::mem::replace(&mut *self.0.lock().expect("no panic"), phase);
        sleep(12 * SECOND).await;
        *self.0.lock().expect("no panic") = before;
    }
}

impl RebalanceListener for Slow {
    async fn on_partitions_assigned(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.be("assigned open").await;
        Ok(())
    }

    async fn on_partitions_revoked(
        &mut self,
        context: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        context.commit().await?;
        self.be("revoked open").await;
        Ok(())
    }
}

/// Why a call failed, if it was by the background's end.
fn death<T: std::fmt::Debug>(outcome: Result<T, impl Into<Cause>>) -> Result<T, BackgroundDied> {
    outcome.map_err(|error| match error.into() {
        Cause(Ok(died)) => died,
        Cause(Err(other)) => panic!("another error: {other}"),
    })
}

struct Cause(Result<BackgroundDied, String>);

macro_rules! cause_of {
    ($($error:ident)+) => {$(
        impl From<$error> for Cause {
            fn from(error: $error) -> Self {
                match error {
                    $error::Background(died) => Self(Ok(died)),
                    other => Self(Err(other.to_string())),
                }
            }
        }
    )+};
}
cause_of!(PollError CommitError LookupError PositionError SubscribeError);

/// A life in which everything happens once: the first call that fails says why.
async fn live(consumer: &mut Consumer, phase: &Phase) -> Result<Read, BackgroundDied> {
    let at = TopicPartition::new("t", 0);
    let mut got = Read::default();
    let be = |now| *phase.lock().expect("no panic") = now;
    be("new");
    death(consumer.subscribe_with(["t"], Slow(Arc::clone(phase))).await)?;
    be("joining");
    while got.count() < 10 {
        got.take(&death(consumer.poll(20 * SECOND).await)?);
        be("polling");
    }
    be("committing");
    let asked =
        tokio::join!(consumer.commit(), consumer.position(&at), consumer.committed([at.clone()]));
    death(asked.0)?;
    death(asked.1)?;
    death(asked.2)?;
    be("seeking");
    death(consumer.pause([at.clone()]).await)?;
    death(consumer.seek(&at, 5).await)?;
    death(consumer.resume([at.clone()]).await)?;
    be("idle");
    death(consumer.poll(20 * SECOND).await)?;
    death(consumer.poll(20 * SECOND).await)?;
    be("away");
    sleep(20 * SECOND).await;
    be("leaving");
    death(consumer.unsubscribe().await)?;
    be("joining again");
    death(consumer.subscribe(["t"]).await)?;
    death(consumer.poll(20 * SECOND).await)?;
    be("closing");
    Ok(got)
}

/// After its background's death every call says so at once.
async fn assert_dead(consumer: &mut Consumer, why: &BackgroundDied) {
    let begin = Instant::now();
    for name in calls().filter(|name| *name != "close") {
        let failed = call(name, consumer).await.expect_err(name);
        assert_eq!(failed.died(), Some(why), "{name}: {failed:?}");
    }
    // Who names nothing is told so as well.
    assert_eq!(death(consumer.seek_to_end([]).await).as_ref(), Err(why));
    assert_eq!(death(consumer.commit_offsets([]).await).as_ref(), Err(why));
    assert_eq!(consumer.lifecycle(), Lifecycle::Down);
    assert_eq!(consumer.observer().lifecycle(), Lifecycle::Down);
    assert_eq!(begin.elapsed(), Duration::ZERO, "they fail at once");
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_any_step_of_the_background_fails_every_call_at_once_and_closes_everything() {
    let mut phases = BTreeMap::<&'static str, u32>::new();
    for uses in 1.. {
        let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
        append_numbered(&cluster, "t", 1, 10);
        let (bomb, phase, run) = (Bomb::at(uses), Phase::default(), Recording::default());
        let open = Arc::<AtomicU64>::default();
        let connector = Fragile(Bomb::at(0), InMemory::of(&cluster), Arc::clone(&open));
        let mut consumer = unrecorded(&cluster, "g", 7)
            .connector(connector)
            .max_poll_records(3)
            .record_run(Mined(bomb.clone(), run.clone()))
            .build()
            .expect("valid");
        let mut seen = Instant::now();
        let lived = timeout(600 * SECOND, async {
            let lived = live(&mut consumer, &phase).await;
            seen = Instant::now();
            lived
        });
        let lived = lived.await.expect("nothing hangs");
        if let Err(why) = &lived {
            assert!(why.reason.contains("it panicked: the bomb"), "{why}");
            let exploded = bomb.exploded().expect("there is no other reason");
            let is_away = *phase.lock().expect("no panic") == "leaving";
            assert!(is_away || seen == exploded, "{:?} later", seen - exploded);
            assert_dead(&mut consumer, why).await;
        }
        let report = consumer.close(10 * SECOND).await;
        assert_eq!(report.died.is_some(), bomb.exploded().is_some(), "{report:?}");
        assert_none_open(&cluster, &open).await;
        run.check().expect("what it did until then is permitted");
        if bomb.exploded().is_none() {
            eprintln!("{} steps: {phases:?}", uses - 1);
            break;
        }
        *phases.entry(*phase.lock().expect("no panic")).or_default() += 1;
    }
    for phase in [
        "new",
        "joining",
        "assigned open",
        "polling",
        "committing",
        "seeking",
        "idle",
        "leaving",
        "revoked open",
        "joining again",
        "closing",
    ] {
        assert!(phases.contains_key(phase), "no panic while {phase}: {phases:?}");
    }
}

/// Nobody answers commits until the gate is opened.
fn hold(cluster: &Cluster) -> Gate<Before> {
    let gate = Gate::<Before>::new();
    let held = gate.clone();
    cluster.intercept(move |request: &Request| {
        if request.api_key == 8 { Before::Hold(held.clone()) } else { Before::Process }
    });
    gate
}

/// The client's ends of all connections are closed now, and the brokers notice when they have
/// answered what they hold: a parked fetch takes half a second.
async fn assert_none_open(cluster: &Cluster, open: &AtomicU64) {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert_eq!(open.load(Ordering::Relaxed), 0, "the client's ends");
    sleep(SECOND).await;
    assert_eq!(cluster.connections(), [], "the brokers' ends");
}

#[tokio::test(start_paused = true)]
async fn an_aborted_background_fails_pending_calls_at_once_and_leaves_returned_records_valid() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    append_numbered(&cluster, "t", 1, 30);
    let (gate, open) = (hold(&cluster), Arc::<AtomicU64>::default());
    let connector = Fragile(Bomb::at(0), InMemory::of(&cluster), Arc::clone(&open));
    let builder = member(&cluster, "g", 1).connector(connector);
    let builder = builder.enable_auto_commit(false).max_poll_records(10);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let records = loop {
        let records = consumer.poll(SECOND).await.expect("poll goes well");
        if !records.is_empty() {
            break records;
        }
    };
    // One more delivery waits in the handle, since the poll that it came for was dropped.
    {
        let mut poll = pin!(consumer.poll(SECOND));
        poll_fn(|context| Poll::Ready(poll.as_mut().poll(context).is_ready())).await;
        sleep(Duration::from_millis(10)).await;
    }
    let pending = [consumer.commit_async(), consumer.committer().commit()];
    tokio::task::yield_now().await;
    consumer.abort_background();
    let begin = Instant::now();
    for commit in pending {
        let died = death(commit.await).expect_err("nobody answers any more");
        assert!(died.reason.contains("aborted"), "{died}");
    }
    let died = death(consumer.poll(SECOND).await).expect_err("what was not returned is not");
    assert_dead(&mut consumer, &died).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let mut got = Read::default();
    got.take(&records);
    assert!(got.is_exactly(1, 10) && records.iter().all(|record| record.value.is_some()));
    gate.open(Before::Process);
    assert_none_open(&cluster, &open).await;
    assert!(consumer.close(SECOND).await.died.is_some());
}

/// Real time: a runtime is shut down by another thread while calls wait.
#[test]
fn a_runtime_that_is_shut_down_fails_whoever_waits() {
    let _runs = Validated::begin();
    let runtime = || {
        let builder = &mut tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().expect("a runtime")
    };
    let (brokers, background) = (runtime(), runtime());
    let cluster = brokers.block_on(async {
        let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
        cluster.listen(([127, 0, 0, 1], 0).into()).expect("bound");
        cluster
    });
    append_numbered(&cluster, "t", 1, 5);
    let gate = hold(&cluster);
    brokers.block_on(async {
        let mut consumer = recorded(Consumer::builder())
            .bootstrap_servers(cluster.bootstrap_servers())
            .group_id("g")
            .property("auto.offset.reset", "earliest")
            .spawn_on(background.handle().clone())
            .build()
            .expect("valid");
        consumer.subscribe(["t"]).await.expect("subscribed");
        read(&mut consumer, &mut Read::default(), 5).await;
        let commit = consumer.commit_async();
        let shutting = std::thread::spawn(move || background.shutdown_background());
        let waits = async { tokio::join!(commit, consumer.poll(60 * SECOND)) };
        let (commit, poll) = timeout(30 * SECOND, waits).await.expect("nobody hangs");
        let died = death(commit).expect_err("the runtime is gone");
        assert!(died.reason.contains("its runtime shut down"), "{died}");
        assert_eq!(death(poll).map(drop), Err(died.clone()));
        assert_eq!(death(consumer.unsubscribe().await), Err(died));
        shutting.join().expect("no panic");
        assert!(consumer.close(SECOND).await.died.is_some());
        gate.open(Before::Process);
        while !cluster.connections().is_empty() {
            tokio::task::yield_now().await;
        }
    });
}

/// Real time: by default the background has a thread of its own, which dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_panic_on_the_backgrounds_own_thread_fails_whoever_waits_and_every_later_call() {
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    append_numbered(&cluster, "t", 1, 5);
    let (gate, open, run) = (hold(&cluster), Arc::<AtomicU64>::default(), Recording::default());
    let bomb = Bomb::at(u64::MAX);
    let connector = Fragile(Bomb::at(0), InMemory::of(&cluster), Arc::clone(&open));
    let mut consumer = Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .group_id("g")
        .property("auto.offset.reset", "earliest")
        .connector(connector)
        .record_run(Mined(bomb.clone(), run.clone()))
        .build()
        .expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 5).await;
    let waiting = consumer.commit_async();
    assert_ne!(consumer.lifecycle(), Lifecycle::Down);
    bomb.left.store(1, Ordering::Relaxed);
    let waits = async { tokio::join!(waiting, consumer.poll(60 * SECOND)) };
    let (commit, poll) = timeout(30 * SECOND, waits).await.expect("nobody hangs");
    let died = death(commit).expect_err("nobody answers any more");
    assert!(died.reason.contains("it panicked: the bomb"), "{died}");
    assert_eq!(death(poll).map(drop), Err(died.clone()));
    for name in calls().filter(|name| *name != "close") {
        let failed = timeout(SECOND, call(name, &mut consumer)).await.expect(name);
        assert_eq!(failed.expect_err(name).died(), Some(&died), "{name}");
    }
    assert_eq!(consumer.lifecycle(), Lifecycle::Down);
    assert!(consumer.close(SECOND).await.died.is_some());
    let closed = async {
        while open.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(30 * SECOND, closed).await.expect("its connections end with its runtime");
    gate.open(Before::Process);
    run.check().expect("what it did until then is permitted");
}

/// Connects in memory and counts what is open; its own code explodes at the n-th use.
#[derive(Debug)]
struct Fragile(Bomb, InMemory, Arc<AtomicU64>);

impl Connector for Fragile {
    fn connect(&self, address: &Address) -> Connecting {
        self.0.used();
        let (bomb, connecting, open) =
            (self.0.clone(), self.1.connect(address), Arc::clone(&self.2));
        Box::pin(async move {
            let inner = connecting.await?;
            bomb.used();
            open.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(FragileStream(bomb, inner, open)) as Box<dyn Stream>)
        })
    }
}

struct FragileStream(Bomb, Box<dyn Stream>, Arc<AtomicU64>);

impl Drop for FragileStream {
    fn drop(&mut self) {
        self.2.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for FragileStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.used();
        Pin::new(&mut self.1).poll_read(context, into)
    }
}

impl AsyncWrite for FragileStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.used();
        Pin::new(&mut self.1).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_shutdown(context)
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_anywhere_costs_a_connection_and_nothing_else() {
    for uses in 1.. {
        let _runs = Validated::begin();
        let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
        append_numbered(&cluster, "t", 1, 10);
        let bomb = Bomb::at(uses);
        let connector = Fragile(bomb.clone(), InMemory::of(&cluster), Arc::default());
        let builder = member(&cluster, "g", 7).connector(connector);
        let mut consumer = builder.build().expect("valid");
        consumer.subscribe(["t"]).await.expect("subscribed");
        let (begin, mut got) = (Instant::now(), Read::default());
        read(&mut consumer, &mut got, 10).await;
        consumer.commit().await.expect("committed");
        append_numbered(&cluster, "t", 1, 10);
        read(&mut consumer, &mut got, 20).await;
        assert_eq!(got.count(), 20);
        // A lost connection is noticed at once, not by `request.timeout.ms`.
        assert!(begin.elapsed() < 10 * SECOND, "use {uses}: {:?}", begin.elapsed());
        let report = consumer.close(10 * SECOND).await;
        assert!(report.left || bomb.exploded().is_some(), "{report:?}");
        if bomb.exploded().is_none() {
            eprintln!("{} uses", uses - 1);
            assert!(uses > 20);
            break;
        }
    }
}
