//! How often the background wakes: never without a reason. Each bound is a sum of reasons; a loop
//! that is busy would exceed it a thousandfold, or never let virtual time pass.

use crate::support::{Read, SECOND, append_numbered, member, read};
use evenkeel::{Consumer, ErrorCode, Lifecycle, TopicPartition};
use evenkeel_broker::{After, Answer, Before, Cluster, Gate, Interceptor, Request};
use evenkeel_spec::words::NodeId;
use evenkeel_tests::validated::Validated;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What an hour may cost.
const MINUTES: u32 = 60;

/// One hour without calls but a poll a minute: how often the background was woken beside those.
async fn hour(consumer: &mut Consumer, cluster: &Cluster) -> Hour {
    let counts = |consumer: &Consumer| {
        let of = |key| cluster.requests(key);
        let others = [2, 3, 8, 9, 10, 18, 23].map(of).into_iter().sum();
        [consumer.background_turns(), of(68), of(1), others]
    };
    let before = counts(consumer);
    for _ in 0..MINUTES {
        // What it returns is of no interest here.
        let _ = consumer.poll(Duration::ZERO).await;
        sleep(60 * SECOND).await;
    }
    let after = counts(consumer);
    let [turns, heartbeats, fetches, others] = std::array::from_fn(|i| after[i] - before[i]);
    // Each poll begins and ends.
    let turns = turns.saturating_sub(2 * u64::from(MINUTES));
    Hour { turns, heartbeats, fetches, others }
}

#[derive(Clone, Copy, Debug)]
struct Hour {
    turns: u64,
    heartbeats: u64,
    fetches: u64,
    others: u64,
}

async fn joined(cluster: &Cluster) -> Consumer {
    let mut consumer = member(cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    consumer
}

fn cluster() -> Cluster {
    let cluster = Cluster::builder().topic("t", 2).build().expect("a cluster");
    append_numbered(&cluster, "t", 2, 10);
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_never_polled_looks_at_its_topics_and_at_nothing_else() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    sleep(10 * SECOND).await;
    let before = consumer.background_turns();
    sleep(3_600 * SECOND).await;
    let turns = consumer.background_turns() - before;
    // The subscribed topics are looked up, and again every five minutes, each time with a new
    // connection where the last one was idle for `connections.max.idle.ms`: a timer, the
    // connection, two answers, the connection's end.
    assert!(turns <= 12 * 5, "{turns} wakes");
    assert_eq!((cluster.requests(10), cluster.requests(68)), (0, 0), "it looks for no coordinator");
    assert_eq!(consumer.lifecycle(), Lifecycle::Initialized);
    assert!(consumer.close(SECOND).await.left);

    let idle = member(&cluster, "h", 2).build().expect("valid");
    let connections = cluster.connections_ever();
    sleep(3_600 * SECOND).await;
    assert_eq!((idle.background_turns(), cluster.connections_ever()), (0, connections));
    assert!(idle.close(SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn paused_partitions_cost_their_heartbeats_only() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let mut consumer = joined(&cluster).await;
    let all = [0, 1].map(|index| TopicPartition::new("t", index));
    consumer.pause(all).await.expect("they are assigned");
    sleep(SECOND).await;
    let hour = hour(&mut consumer, &cluster).await;
    assert!((700..=730).contains(&hour.heartbeats) && hour.fetches == 0, "{hour:?}");
    // A heartbeat: its timer and its answer. What else is asked likewise; connections that idle end.
    assert!(hour.turns <= 2 * hour.heartbeats + 2 * hour.others + 20, "{hour:?}");
    assert!(consumer.close(SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_costs_heartbeats_only_while_nobody_polls() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let builder = member(&cluster, "g", 1).max_poll_interval(7_200 * SECOND);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    for partition in 0..2 {
        cluster.fill("t", partition, 100_000, 1_000).expect("it exists");
    }
    sleep(10 * SECOND).await;
    let (turns, heartbeats, fetches) =
        (consumer.background_turns(), cluster.requests(68), cluster.requests(1));
    sleep(3_600 * SECOND).await;
    let turns = consumer.background_turns() - turns;
    let heartbeats = cluster.requests(68) - heartbeats;
    assert_eq!(cluster.requests(1), fetches, "nothing is fetched that there is no room for");
    assert!((700..=730).contains(&heartbeats), "{heartbeats} heartbeats");
    // The metadata's age passes twelve times in an hour: a request and an answer each; idle
    // connections end, and auto-commit looks every five seconds with the heartbeat.
    assert!(turns <= 2 * heartbeats + 60, "{turns} wakes, {heartbeats} heartbeats");
    assert!(consumer.close(SECOND).await.left);
}

/// What an API is answered for an hour, and how often it is asked for meanwhile, by a consumer that
/// has joined or is about to.
async fn refused(api_key: i16, code: ErrorCode) -> (Hour, u64) {
    let cluster = cluster();
    let looks_up = api_key == 10;
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    let refuse = move |request: &Request| {
        if request.api_key == api_key { Before::Forge(code) } else { Before::Process }
    };
    if looks_up {
        cluster.intercept(refuse);
    }
    consumer.subscribe(["t"]).await.expect("subscribed");
    if !looks_up {
        read(&mut consumer, &mut Read::default(), 20).await;
        cluster.intercept(refuse);
        let all = [0, 1].map(|index| TopicPartition::new("t", index));
        if api_key == 2 {
            consumer.seek_to_beginning(all).await.expect("assigned");
        }
    }
    let before = cluster.requests(api_key);
    let hour = hour(&mut consumer, &cluster).await;
    let asked = cluster.requests(api_key) - before;
    cluster.intercept_none();
    assert!(consumer.close(5 * SECOND).await.left);
    (hour, asked)
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_refused_for_an_hour_cost_an_attempt_a_backoff() {
    for (api_key, code) in [
        (10, ErrorCode::CoordinatorNotAvailable),
        (2, ErrorCode::OffsetNotAvailable),
        (1, ErrorCode::TopicAuthorizationFailed),
        (1, ErrorCode::NotLeaderOrFollower),
        (3, ErrorCode::LeaderNotAvailable),
    ] {
        let _runs = Validated::begin();
        let (hour, asked) = refused(api_key, code).await;
        eprintln!("{code:?}: asked {asked} times, {hour:?}");
        // `retry.backoff.max.ms` is a second, with 20 % of jitter; two partitions at most have a
        // backoff each.
        assert!(asked <= 2 * 3_600 * 10 / 8, "{code:?}: asked {asked} times");
        if api_key != 3 {
            assert!(asked >= 3_600 * 10 / 13, "{code:?}: it goes on trying: {asked} times");
        }
        // A request: the timer before it, and its answer. Connections that idle end, and each minute
        // has its poll.
        let requests = hour.heartbeats + hour.fetches + hour.others;
        assert!(hour.turns <= 2 * requests + 5 * u64::from(MINUTES), "{code:?}: {hour:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_partition_two_answers_are_kept_however_small_they_are() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let builder = member(&cluster, "g", 1).max_poll_interval(7_200 * SECOND);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 20).await;
    let mut fetches = 0;
    for second in 0..600 {
        append_numbered(&cluster, "t", 2, 1);
        sleep(SECOND).await;
        if second == 10 {
            fetches = cluster.requests(1);
        }
    }
    assert_eq!(cluster.requests(1), fetches, "a few bytes wait, and nothing more is fetched");
    read(&mut consumer, &mut got, 20 + 1_200).await;
    assert!(got.is_exactly(2, 610));
    assert!(consumer.close(SECOND).await.left);
}

/// Mutes its connection for ten minutes with each answer.
struct Throttling;

impl Interceptor for Throttling {
    fn on_answer(&self, _: &Request, _: &Answer) -> After {
        After::Throttle(600 * SECOND)
    }
}

#[tokio::test(start_paused = true)]
async fn throttled_connections_cost_their_own_end_and_no_polling() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let mut consumer = joined(&cluster).await;
    cluster.intercept(Throttling);
    let hour = hour(&mut consumer, &cluster).await;
    // What is sent to a muted connection is given up after `request.timeout.ms`, the connection
    // with it: at most two of those every 30 s, each with a handshake, a request, their answers and
    // timers, and the backoff before the next. After five minutes the bootstrap servers are asked
    // besides (KIP-1102), with metadata's own backoff each time.
    let requests = hour.heartbeats + hour.fetches + hour.others;
    assert!(requests <= 2 * 120 * 4, "{hour:?}");
    assert!(hour.turns <= 9 * requests, "{hour:?}");
    cluster.intercept_none();
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_gone_costs_an_attempt_a_second() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let mut consumer = joined(&cluster).await;
    cluster.kill_node(NodeId(1)).await;
    let hour = hour(&mut consumer, &cluster).await;
    // `reconnect.backoff.max.ms` is a second, with 20 % of jitter. An attempt is a timer and its
    // failure, for the coordinator, the leader and the bootstrap server each.
    assert!(hour.turns <= 3_600 * 10 / 8 * 2 * 3, "{hour:?}");
    assert!(hour.turns >= 3_600, "it goes on trying: {hour:?}");
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_that_waits_for_a_silent_broker_sleeps() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let consumer = joined(&cluster).await;
    let gate = Gate::<Before>::new();
    cluster.intercept(move |_: &Request| Before::Hold(gate.clone()));
    let committer = consumer.committer();
    let (begin, before) = (Instant::now(), consumer.background_turns());
    let watched = consumer.watch_turns();
    let report = consumer.close(300 * SECOND).await;
    assert!(!report.left, "{report:?}");
    assert_eq!(begin.elapsed().as_secs(), 300);
    let turns = watched.load(std::sync::atomic::Ordering::Relaxed) - before;
    // A request timeout every 30 s on two connections, a reconnect, a handshake that is not
    // answered either: a few wakes a second of backoff at most while it is connected again.
    assert!(turns <= 300, "{turns} wakes in five minutes of closing");
    assert!(committer.commit().await.is_err());
}
