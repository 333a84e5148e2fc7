//! What keeps a membership: slow callbacks, an application that blocks its only thread, pauses
//! between polls; and how seldom an idle member wakes.

use crate::support::{Read, SECOND, append_numbered, committed, member, read};
use evenkeel::{
    Consumer, ListenerError, Offset, RebalanceContext, RebalanceListener, TopicPartition,
};
use evenkeel_broker::{After, Answer, AnswerWords, Cluster, Interceptor, Request, RequestWords};
use evenkeel_spec::words::HeartbeatEpoch;
use evenkeel_tests::validated::{Validated, recorded};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Three seconds of session, a heartbeat a second.
fn impatient() -> evenkeel_broker::Builder {
    Cluster::builder()
        .set("group.consumer.session.timeout.ms", "3000")
        .set("group.consumer.heartbeat.interval.ms", "1000")
}

/// What the coordinator saw of memberships.
#[derive(Clone, Debug, Default)]
struct Witness {
    joins: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl Witness {
    fn joins(&self) -> u64 {
        self.joins.load(Ordering::Relaxed)
    }

    /// Heartbeats that were answered with an error, as those of a fenced member are.
    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Interceptor for Witness {
    fn on_answer(&self, request: &Request, answer: &Answer) -> After {
        if let Some(RequestWords::Heartbeat(_, heartbeat)) = &request.words {
            let is_join = heartbeat.epoch == HeartbeatEpoch::Join;
            self.joins.fetch_add(u64::from(is_join), Ordering::Relaxed);
        }
        if matches!(&answer.words, Some(AnswerWords::Heartbeat(Err(_)))) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        After::Answer
    }
}

/// Takes ten seconds for whatever it is told, and writes it down.
#[derive(Clone, Debug, Default)]
struct Slow(Arc<Mutex<Vec<&'static str>>>);

impl Slow {
    async fn take_long(&self, what: &'static str) -> Result<(), ListenerError> {
        sleep(10 * SECOND).await;
        self.0.lock().expect("no panic").push(what);
        Ok(())
    }

    fn told(&self) -> Vec<&'static str> {
        self.0.lock().expect("no panic").clone()
    }
}

impl RebalanceListener for Slow {
    async fn on_partitions_assigned(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.take_long("assigned").await
    }

    async fn on_partitions_revoked(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.take_long("revoked").await
    }

    async fn on_partitions_lost(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.take_long("lost").await
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_takes_ten_seconds_keeps_a_session_of_three_and_heartbeats() {
    let _runs = Validated::begin();
    let cluster = impatient().topic("t", 2).build().expect("a cluster");
    let witness = Witness::default();
    cluster.intercept(witness.clone());
    append_numbered(&cluster, "t", 2, 10);
    let slow = Slow::default();
    let mut first = member(&cluster, "g", 1).build().expect("valid");
    first.subscribe_with(["t"], slow.clone()).await.expect("subscribed");
    let (begin, heartbeats) = (Instant::now(), cluster.requests(68));
    let mut got = Read::default();
    read(&mut first, &mut got, 20).await;
    assert!(begin.elapsed() >= 10 * SECOND);
    let during_assigned = cluster.requests(68) - heartbeats;
    assert!(during_assigned >= 10, "{during_assigned} heartbeats in ten seconds");

    // A second member: the first one's revocation takes ten seconds, too.
    let mut second = member(&cluster, "g", 2).build().expect("valid");
    second.subscribe(["t"]).await.expect("subscribed");
    for _ in 0..40 {
        let (x, y) = tokio::join!(first.poll(SECOND), second.poll(SECOND));
        got.take(&x.expect("poll goes well"));
        got.take(&y.expect("poll goes well"));
    }
    assert_eq!((first.assignment().len(), second.assignment().len()), (1, 1));
    // After a revocation the listener is told what was assigned with it, also if that is nothing.
    assert_eq!(slow.told(), ["assigned", "revoked", "assigned"]);
    assert_eq!((witness.joins(), witness.refused()), (2, 0), "nobody was fenced");
    assert!(got.is_exactly(2, 10), "{got:?}");
    assert!(second.close(60 * SECOND).await.left);
    assert!(first.close(60 * SECOND).await.left);
    assert_eq!(committed(&cluster, "g", "t", 1), Some(Offset(10)));
}

#[tokio::test(start_paused = true)]
async fn pauses_of_300_ms_between_polls_fence_nobody() {
    let _runs = Validated::begin();
    let cluster = impatient().nodes(3).topic("t", 6).build().expect("a cluster");
    let witness = Witness::default();
    cluster.intercept(witness.clone());
    append_numbered(&cluster, "t", 6, 1_000);
    let mut members = Vec::new();
    let mut got = Read::default();
    // Six members, the last three with a listener, join a few pauses apart, and leave so.
    for round in 0..120_u64 {
        if round % 10 == 0 && round < 60 {
            let seed = round + 1;
            let mut joins = member(&cluster, "g", seed).build().expect("valid");
            if round < 30 {
                joins.subscribe(["t"]).await.expect("subscribed");
            } else {
                joins.subscribe_with(["t"], Hasty).await.expect("subscribed");
            }
            members.push(joins);
        }
        if round >= 90 && round % 10 == 0 {
            assert!(members.remove(0).close(5 * SECOND).await.left);
        }
        for consumer in &mut members {
            got.take(&consumer.poll(Duration::ZERO).await.expect("poll goes well"));
        }
        sleep(Duration::from_millis(300)).await;
    }
    let mut last = members.pop().expect("three are left");
    for consumer in members {
        assert!(consumer.close(5 * SECOND).await.left);
    }
    read(&mut last, &mut got, 6_000).await;
    assert!(got.is_exactly(6, 1_000), "{} records", got.count());
    assert_eq!((witness.joins(), witness.refused()), (6, 0), "nobody was fenced");
    assert!(last.close(5 * SECOND).await.left);
}

/// Does nothing, so that revocations wait for a poll.
struct Hasty;

impl RebalanceListener for Hasty {}

#[tokio::test(start_paused = true)]
async fn an_idle_member_wakes_at_most_three_times_a_heartbeat_beside_its_fetches() {
    let _runs = Validated::begin();
    for nodes in [1, 3] {
        idle(nodes).await;
    }
}

async fn idle(nodes: u32) {
    let cluster = Cluster::builder().nodes(nodes).topic("t", 6).build().expect("a cluster");
    append_numbered(&cluster, "t", 6, 10);
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 60).await;
    assert!(consumer.poll(60 * SECOND).await.expect("poll goes well").is_empty());

    let counts = |consumer: &Consumer| {
        let of = |key| cluster.requests(key);
        (consumer.background_turns(), of(68), of(1), of(3), cluster.connections_ever())
    };
    let before = counts(&consumer);
    assert!(consumer.poll(3_600 * SECOND).await.expect("poll goes well").is_empty());
    let after = counts(&consumer);
    let (turns, heartbeats, fetches) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    let others = (after.3 - before.3) + (after.4 - before.4);
    eprintln!(
        "an hour on {nodes} nodes: {turns} wakes, {heartbeats} heartbeats, {fetches} fetches, \
         {others} others"
    );
    assert!((700..=730).contains(&heartbeats), "{heartbeats} heartbeats");
    // The long polls of all nodes end at the same instants of virtual time. The application's poll
    // itself begins and ends; metadata and new connections take a timer and an answer.
    // The fetch from the coordinator's broker comes back shortly before each heartbeat, alone.
    let allowed = 3 * heartbeats + fetches.div_ceil(nodes.into()) + 2 * others + 2;
    assert!(turns <= allowed, "{turns} wakes, {allowed} allowed");
    assert!(consumer.close(5 * SECOND).await.left);
}

/// Real time: what is tested is a thread that does not run.
#[test]
fn an_application_that_blocks_its_only_thread_for_ten_seconds_keeps_a_session_of_three() {
    let _runs = Validated::begin();
    let brokers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let cluster = brokers.block_on(async {
        let cluster = impatient().topic("t", 2).build().expect("a cluster");
        cluster.listen(([127, 0, 0, 1], 0).into()).expect("bound");
        cluster
    });
    let witness = Witness::default();
    cluster.intercept(witness.clone());
    append_numbered(&cluster, "t", 2, 100);
    let application =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    application.block_on(async {
        let mut consumer = recorded(Consumer::builder())
            .bootstrap_servers(cluster.bootstrap_servers())
            .group_id("g")
            .property("auto.offset.reset", "earliest")
            .build()
            .expect("valid");
        consumer.subscribe(["t"]).await.expect("subscribed");
        let mut got = Read::default();
        read(&mut consumer, &mut got, 200).await;
        let (member, heartbeats) = (consumer.group_metadata().member, cluster.requests(68));
        std::thread::sleep(10 * SECOND);
        let meanwhile = cluster.requests(68) - heartbeats;
        eprintln!("{meanwhile} heartbeats in ten blocked seconds");
        assert!(meanwhile >= 8, "{meanwhile} heartbeats");
        append_numbered(&cluster, "t", 2, 100);
        read(&mut consumer, &mut got, 400).await;
        assert!(got.is_exactly(2, 200), "{got:?}");
        assert_eq!(consumer.group_metadata().member, member, "the same member");
        assert_eq!((witness.joins(), witness.refused()), (1, 0), "it was not fenced");
        assert!(consumer.close(10 * SECOND).await.left);
    });
}
