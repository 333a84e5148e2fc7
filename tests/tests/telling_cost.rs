//! What it costs the background that somebody listens to `tracing`: no allocation. Counted by the
//! allocator, in a process of its own and in real time, since the background and who tells its words
//! are threads of their own.

use evenkeel::{Consumer, TopicPartition};
use evenkeel_broker::Cluster;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

static LISTENS: AtomicBool = AtomicBool::new(false);
/// Until then, who tells of requests does not get on, so that nothing but making words is counted.
static HEARS: AtomicBool = AtomicBool::new(false);
static HEARD: AtomicUsize = AtomicUsize::new(0);

struct Later;

impl Subscriber for Later {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        LISTENS.load(Ordering::Relaxed) && metadata.target() == "evenkeel::request"
    }

    fn event(&self, _: &Event<'_>) {
        while !HEARS.load(Ordering::Relaxed) {
            thread::park_timeout(Duration::from_millis(1));
        }
        HEARD.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_request_is_told_allocates_nothing_where_it_happens() {
    tracing::subscriber::set_global_default(Later).expect("it is the first one");
    let cluster = Cluster::builder().nodes(1).topic("t", 1).build().expect("a cluster");
    cluster.listen(([127, 0, 0, 1], 0).into()).expect("some port is free");
    // No `spawn_on`: the background has its own thread, and its words are told on another one.
    let consumer = Consumer::builder().bootstrap_servers(cluster.bootstrap_servers()).group_id("g");
    let mut consumer = consumer.build().expect("valid");
    consumer.assign([TopicPartition::new("t", 0)]).await.expect("assigned");
    // Otherwise calls wait for parked fetches.
    consumer.pause([TopicPartition::new("t", 0)]).await.expect("it is assigned");

    ask(&consumer, CALLS).await;
    let unheard = ask(&consumer, CALLS).await;
    LISTENS.store(true, Ordering::Relaxed);
    // The first word makes the queue and its thread, which gets no further.
    ask(&consumer, 10).await;
    let heard = ask(&consumer, CALLS).await;
    assert_eq!(HEARD.load(Ordering::Relaxed), 0, "only making words was counted");
    eprintln!("{CALLS} calls: {unheard} allocations without a listener, {heard} with one");
    let slack = CALLS / 20;
    assert!(unheard > CALLS, "a call allocates something, and that is counted: {unheard}");
    assert!(heard < unheard + slack, "{heard} allocations, and {unheard} where nobody listens");

    HEARS.store(true, Ordering::Relaxed);
    let begun = std::time::Instant::now();
    // Each is a request, and the call that it was made for.
    while HEARD.load(Ordering::Relaxed) < 2 * CALLS && begun.elapsed() < PATIENCE {
        tokio::task::yield_now().await;
    }
    assert!(HEARD.load(Ordering::Relaxed) >= 2 * CALLS, "each of them was told");
    consumer.close(Duration::from_secs(5)).await;
}

/// How often something is allocated, in the whole process, for so many calls one after the other.
async fn ask(consumer: &Consumer, calls: usize) -> usize {
    let count = || {
        let stats = ALLOCATOR.stats();
        stats.allocations + stats.reallocations
    };
    let before = count();
    for _ in 0..calls {
        consumer.committed([TopicPartition::new("t", 0)]).await.expect("it answers");
    }
    count() - before
}

/// Their words find room in the queue.
const CALLS: usize = 1_500;
const PATIENCE: Duration = Duration::from_secs(60);
