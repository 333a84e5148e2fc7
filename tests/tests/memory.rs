//! Memory stays flat while the application is away: counted by the allocator, in a process of its
//! own. What the brokers of the same process gain, whose logs grow, is measured without a consumer
//! and taken off.

#[path = "client/support.rs"]
mod support;

use evenkeel::{Commit, CommitError, Consumer, ConsumerBuilder, ErrorCode, TopicPartition};
use evenkeel_broker::{Before, Cluster, Request};
use evenkeel_spec::words::NodeId;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use support::{InMemory, Read, SECOND, append_numbered, read, unrecorded};
use tokio::runtime::Handle;
use tokio::time::sleep;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test at a time: they share the allocator.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes that are allocated now.
fn allocated() -> i64 {
    let stats = ALLOCATOR.stats();
    let bytes = |count: usize| i64::try_from(count).expect("it fits");
    bytes(stats.bytes_allocated) - bytes(stats.bytes_deallocated)
}

/// Runs it alone, under paused time.
fn alone<T>(test: impl Future<Output = T>) -> T {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().expect("a runtime").block_on(test)
}

/// What maps, queues and buffers take more or less at one moment than at another, bytes. An event
/// that is kept for each of an hour's 720 heartbeats would be more.
const SLACK: i64 = 32 << 10;

/// What befalls the cluster while the application is away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hour {
    /// Producers go on, and a member joins and leaves again and again.
    Busy,
    /// Every broker is down.
    Outage,
    /// The topic may not be read any more, and its partitions neither.
    Refused,
}

/// How the consumer whose application is away comes by its partitions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reader {
    /// By its group, with a poll interval of two hours.
    Subscribed,
    /// By its application, without a group.
    Assigned,
}

fn partitions(count: u32) -> impl Iterator<Item = TopicPartition> {
    (0..count).map(|index| TopicPartition::new("t", index))
}

fn groupless(cluster: &Cluster) -> ConsumerBuilder {
    Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .property("auto.offset.reset", "earliest")
        .connector(InMemory::of(cluster))
        .spawn_on(Handle::current())
        .seed(1)
}

/// How much is allocated more at the end of an hour than after its first ten minutes, in which
/// everything gets as full as it gets: with a consumer whose application is away, or without.
async fn growth(hour: Hour, reader: Option<Reader>) -> i64 {
    let cluster = Cluster::builder().topic("t", 4).build().expect("a cluster");
    append_numbered(&cluster, "t", 4, 10);
    let builder = match reader {
        Some(Reader::Assigned) => groupless(&cluster),
        _ => unrecorded(&cluster, "g", 1).max_poll_interval(7_200 * SECOND),
    };
    let mut consumer = builder.build().expect("valid");
    match reader {
        Some(Reader::Subscribed) => consumer.subscribe(["t"]).await.expect("subscribed"),
        Some(Reader::Assigned) => consumer.assign(partitions(4)).await.expect("assigned"),
        None => {}
    }
    if reader.is_some() {
        read(&mut consumer, &mut Read::default(), 40).await;
    }
    befall(&cluster, hour).await;
    let mut after_ten_minutes = 0;
    for minute in 0..60_u32 {
        if minute == 10 {
            after_ten_minutes = allocated();
        }
        if hour == Hour::Busy {
            for partition in 0..4 {
                cluster.fill("t", partition, 200, 1_000).expect("it exists");
            }
            come_and_go(&cluster, u64::from(minute) + 2).await;
        }
        sleep(60 * SECOND).await;
    }
    let grown = allocated() - after_ten_minutes;
    cluster.intercept_none();
    consumer.close(SECOND).await;
    grown
}

async fn befall(cluster: &Cluster, hour: Hour) {
    match hour {
        Hour::Busy => {}
        Hour::Outage => cluster.kill_node(NodeId(1)).await,
        Hour::Refused => cluster.intercept(|request: &Request| match request.api_key {
            1 | 3 => Before::Forge(ErrorCode::TopicAuthorizationFailed),
            _ => Before::Process,
        }),
    }
}

/// Two epochs more for the group.
async fn come_and_go(cluster: &Cluster, seed: u64) {
    let mut guest = unrecorded(cluster, "g", seed).build().expect("valid");
    guest.subscribe(["t"]).await.expect("subscribed");
    guest.poll(SECOND).await.expect("poll goes well");
    guest.close(SECOND).await;
}

#[test]
fn memory_is_flat_for_an_hour_in_which_the_application_does_not_poll() {
    for hour in [Hour::Busy, Hour::Outage, Hour::Refused] {
        let without = alone(growth(hour, None));
        for reader in [Reader::Subscribed, Reader::Assigned] {
            let with = alone(growth(hour, Some(reader)));
            eprintln!(
                "{hour:?} {reader:?}: {with} bytes more, of which {without} are the brokers'"
            );
            assert!(with - without < SLACK, "{hour:?} {reader:?}: {} bytes more", with - without);
        }
    }
}

/// How many different errors wait for a poll.
const FAULTS_MAX: usize = 64;

#[test]
fn a_hundred_thousand_errors_that_nobody_polls_for_leave_sixty_four() {
    const PARTITIONS: u32 = 80;
    alone(async {
        let cluster = Cluster::builder().topic("t", PARTITIONS).build().expect("a cluster");
        append_numbered(&cluster, "t", PARTITIONS, 1);
        let mut consumer = groupless(&cluster).build().expect("valid");
        consumer.assign(partitions(PARTITIONS)).await.expect("assigned");
        read(&mut consumer, &mut Read::default(), PARTITIONS as usize).await;
        // Of a fetch that is refused, each partition that it asks for is an error: one at least.
        let errors = Arc::<AtomicU64>::default();
        let refused = Arc::clone(&errors);
        cluster.intercept(move |request: &Request| match request.api_key {
            1 => {
                refused.fetch_add(1, Ordering::Relaxed);
                Before::Forge(ErrorCode::TopicAuthorizationFailed)
            }
            _ => Before::Process,
        });
        let after = async |count: u64| {
            while errors.load(Ordering::Relaxed) < count {
                sleep(SECOND).await;
            }
            allocated()
        };
        let grown = -after(10_000).await + after(100_000).await;
        let errors = errors.load(Ordering::Relaxed);
        eprintln!("{errors} errors: {grown} bytes more since the first 10,000");
        assert!(errors >= 100_000 && grown < SLACK, "{errors} errors, {grown} bytes more");
        cluster.intercept_none();
        sleep(10 * SECOND).await;
        let mut told = BTreeSet::new();
        while let Err(error) = consumer.poll(SECOND).await {
            assert!(told.insert(error.to_string()), "each is told once: {error}");
        }
        assert_eq!(told.len(), FAULTS_MAX);
        append_numbered(&cluster, "t", PARTITIONS, 1);
        read(&mut consumer, &mut Read::default(), PARTITIONS as usize).await;
        consumer.close(SECOND).await;
    });
}

/// What the fetch buffer may hold, which is what bounds memory: `fetch.max.bytes`, whatever is there
/// to be read.
#[test]
fn what_is_buffered_for_an_application_that_is_away_is_bounded_by_fetch_max_bytes() {
    const FETCH_MAX: i64 = 1 << 20;
    let taken = alone(async {
        let cluster = Cluster::builder().topic("t", 4).build().expect("a cluster");
        append_numbered(&cluster, "t", 4, 10);
        let builder = unrecorded(&cluster, "g", 1).max_poll_interval(7_200 * SECOND);
        let builder = builder.property("fetch.max.bytes", FETCH_MAX.to_string());
        let mut consumer = builder.build().expect("valid");
        consumer.subscribe(["t"]).await.expect("subscribed");
        read(&mut consumer, &mut Read::default(), 40).await;
        sleep(60 * SECOND).await;
        for partition in 0..4 {
            cluster.fill("t", partition, 10_000, 1_000).expect("it exists");
        }
        let before = allocated();
        sleep(600 * SECOND).await;
        let taken = allocated() - before;
        assert!(consumer.close(SECOND).await.bytes_discarded > 0);
        taken
    });
    eprintln!("{taken} bytes for fetch.max.bytes={FETCH_MAX}");
    // A frame is held whole by the records that point into it; the connection's buffer for the next
    // one is as large as the last; the test broker, in this process, keeps its answer's buffer too.
    assert!((FETCH_MAX / 8..3 * FETCH_MAX + SLACK).contains(&taken), "{taken} bytes");
}

/// One partition is paused after another while records of it are buffered: they came in one answer
/// with those of the others, which are read.
#[test]
fn what_is_buffered_of_paused_partitions_keeps_no_memory_but_its_own() {
    const FETCH_MAX: i64 = 4 << 20;
    let taken = alone(async {
        let cluster = Cluster::builder().topic("t", 12).build().expect("a cluster");
        append_numbered(&cluster, "t", 12, 10);
        let builder =
            unrecorded(&cluster, "g", 1).property("fetch.max.bytes", FETCH_MAX.to_string());
        let builder = builder.property("max.partition.fetch.bytes", (128 << 10).to_string());
        let mut consumer = builder.build().expect("valid");
        consumer.subscribe(["t"]).await.expect("subscribed");
        read(&mut consumer, &mut Read::default(), 120).await;
        for partition in 0..12 {
            cluster.fill("t", partition, 5_000, 1_000).expect("it exists");
        }
        let before = allocated();
        for partition in 0..8 {
            sleep(2 * SECOND).await;
            consumer.pause([TopicPartition::new("t", partition)]).await.expect("it is assigned");
            let mut left = 2_800_usize;
            while left > 0 {
                let records = consumer.poll(SECOND).await.expect("poll goes well");
                assert!(!records.is_empty(), "there are more");
                left = left.saturating_sub(records.len());
            }
        }
        let taken = allocated() - before;
        // At least 8 times what a partition has in the buffer.
        let discarded = consumer.close(SECOND).await.bytes_discarded;
        assert!(discarded > 8 * (64 << 10), "{discarded}");
        taken
    });
    eprintln!("{taken} bytes for fetch.max.bytes={FETCH_MAX}, 8 partitions paused");
    // Beside what is buffered: the connection's buffer, and the test broker's answer.
    assert!((FETCH_MAX / 8..2 * FETCH_MAX).contains(&taken), "{taken} bytes");
}

/// As in a `select!` beside a channel that always has something: the background, which shares the
/// thread here, hears of none of them before the loop ends.
#[test]
fn a_hundred_thousand_polls_that_are_dropped_at_once_fill_no_queue() {
    alone(async {
        let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
        append_numbered(&cluster, "t", 1, 20);
        let mut consumer = unrecorded(&cluster, "g", 1).build().expect("valid");
        consumer.subscribe(["t"]).await.expect("subscribed");
        let mut got = Read::default();
        read(&mut consumer, &mut got, 20).await;
        let before = allocated();
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..100_000 {
            let polled = pin!(consumer.poll(SECOND)).poll(&mut context);
            assert!(polled.is_pending(), "{polled:?}");
        }
        let taken = allocated() - before;
        assert!(taken < SLACK, "{taken} bytes");
        append_numbered(&cluster, "t", 1, 5);
        read(&mut consumer, &mut got, 25).await;
        assert!(consumer.close(SECOND).await.left);
    });
}

/// A hundred thousand commits, a hundred at a time so that the queue takes them.
async fn commits(consumer: &Consumer, mut each: impl FnMut(Commit)) {
    for _ in 0..1_000 {
        (0..100).for_each(|_| each(consumer.commit_async()));
        sleep(SECOND / 100).await;
    }
}

#[test]
fn a_hundred_thousand_commits_that_nobody_looks_at_leave_nothing_behind() {
    alone(async {
        let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
        append_numbered(&cluster, "t", 1, 10);
        let builder = unrecorded(&cluster, "g", 1).enable_auto_commit(false);
        let mut consumer = builder.build().expect("valid");
        consumer.subscribe(["t"]).await.expect("subscribed");
        read(&mut consumer, &mut Read::default(), 10).await;
        commits(&consumer, Commit::detach).await;
        sleep(60 * SECOND).await;

        let (before, requests) = (allocated(), cluster.requests(8));
        // The brokers of this process keep a record for each request.
        let gained = |since: i64| {
            let requests = i64::try_from(cluster.requests(8) - requests).expect("few");
            allocated() - since - 96 * requests
        };
        commits(&consumer, Commit::detach).await;
        sleep(60 * SECOND).await;
        let detached = gained(before);
        commits(&consumer, drop).await;
        sleep(60 * SECOND).await;
        let dropped = gained(before);

        // Kept by the application: it pays for what it keeps, and nobody else does.
        let mut kept = Vec::with_capacity(100_000);
        let before_kept = allocated();
        commits(&consumer, |commit| kept.push(commit)).await;
        sleep(60 * SECOND).await;
        let each = (allocated() - before_kept) / 100_000;
        let mut outcomes = [0, 0];
        for commit in kept.drain(..) {
            match commit.await {
                Ok(()) => outcomes[0] += 1,
                Err(CommitError::QueueFull { .. }) => outcomes[1] += 1,
                Err(other) => panic!("{other}"),
            }
        }
        drop(kept);
        let after = gained(before);
        eprintln!(
            "a hundred thousand commits: {detached} bytes if detached, {dropped} if dropped, {each} \
             each while kept ({outcomes:?}), {after} afterwards"
        );
        assert!(detached < SLACK && dropped < SLACK && after < SLACK);
        assert!(each <= 512, "{each} bytes a commit that is kept");
        assert!(consumer.close(SECOND).await.left);
    });
}
