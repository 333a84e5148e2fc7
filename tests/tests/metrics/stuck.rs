//! A meter that is stuck, and a reader of metrics that is, keep no heartbeat waiting: in real time,
//! since threads are.

use evenkeel::{Consumer, TopicPartition};
use evenkeel_broker::Cluster;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{
    AsyncInstrument, AsyncInstrumentBuilder, Callback, Counter, Histogram, HistogramBuilder,
    InstrumentBuilder, InstrumentProvider, Meter, ObservableCounter, ObservableGauge,
    SyncInstrument,
};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Whoever comes here waits until it is opened.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let is_open = self.is_open.lock().expect("nobody panics in it");
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).expect("nobody panics in it"));
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    fn open(&self) {
        *self.is_open.lock().expect("nobody panics in it") = true;
        self.opened.notify_all();
    }
}

/// Instruments that are stuck where the background measures, and gauges that anybody may read.
#[derive(Default)]
struct Stuck {
    gate: Arc<Gate>,
    gauges: Mutex<Vec<Callback<u64>>>,
    counters: Mutex<Vec<Callback<u64>>>,
}

impl Stuck {
    /// What `poll` records is recorded on the application's thread.
    fn is_backgrounds(name: &str) -> bool {
        ["coordinator.", "requests.", "connection.", "request.", "network.", "application."]
            .iter()
            .any(|of| name.contains(of))
    }
}

struct Instrument(Option<Arc<Gate>>);

impl<T: Send + Sync + 'static> SyncInstrument<T> for Instrument {
    fn measure(&self, _: T, _: &[KeyValue]) {
        if let Some(gate) = &self.0 {
            gate.pass();
        }
    }
}

impl InstrumentProvider for Stuck {
    fn u64_counter(&self, builder: InstrumentBuilder<'_, Counter<u64>>) -> Counter<u64> {
        let gate = Self::is_backgrounds(&builder.name).then(|| Arc::clone(&self.gate));
        Counter::new(Arc::new(Instrument(gate)))
    }

    fn f64_histogram(&self, builder: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
        let gate = Self::is_backgrounds(&builder.name).then(|| Arc::clone(&self.gate));
        Histogram::new(Arc::new(Instrument(gate)))
    }

    fn u64_observable_gauge(
        &self,
        builder: AsyncInstrumentBuilder<'_, ObservableGauge<u64>, u64>,
    ) -> ObservableGauge<u64> {
        self.gauges.lock().expect("nobody panics in it").extend(builder.callbacks);
        ObservableGauge::new()
    }

    fn u64_observable_counter(
        &self,
        builder: AsyncInstrumentBuilder<'_, ObservableCounter<u64>, u64>,
    ) -> ObservableCounter<u64> {
        self.counters.lock().expect("nobody panics in it").extend(builder.callbacks);
        ObservableCounter::new()
    }
}

/// A reader that gets no further than the first value.
struct Slow(Arc<Gate>);

impl AsyncInstrument<u64> for Slow {
    fn observe(&self, _: u64, _: &[KeyValue]) {
        self.0.pass();
    }
}

/// Reads what the meter was not told.
#[derive(Default)]
struct Untold(AtomicU64);

impl AsyncInstrument<u64> for Untold {
    fn observe(&self, value: u64, with: &[KeyValue]) {
        if with.contains(&KeyValue::new("to", "meter")) {
            self.0.store(value, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_and_a_reader_that_are_stuck_keep_no_heartbeat_waiting_and_what_is_lost_is_counted()
{
    let done = tokio::time::timeout(PATIENCE, consume()).await;
    done.expect("a background that waits for who counts answers nobody");
}

async fn consume() {
    let stuck = Arc::new(Stuck::default());
    let cluster = Cluster::builder()
        .nodes(1)
        .topic("t", 4)
        .set("group.consumer.heartbeat.interval.ms", "20")
        .set("group.consumer.session.timeout.ms", "1000");
    let cluster = cluster.build().expect("a cluster");
    cluster.listen(([127, 0, 0, 1], 0).into()).expect("some port is free");
    // No `spawn_on`: the background has its own thread.
    let consumer = Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .group_id("g")
        .meter(Meter::new(Arc::clone(&stuck) as Arc<_>));
    let mut consumer = consumer.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    while consumer.assignment().is_empty() {
        consumer.poll(Duration::from_millis(50)).await.expect("poll goes well");
    }
    // Each of the gauges has a reader of its own, which is stuck in it.
    let gauges = stuck.gauges.lock().expect("nobody panics in it").len();
    let readers: Vec<_> = (0..gauges).map(|_| read_one(&stuck)).collect();
    assert!(gauges >= 9, "{gauges} gauges");
    while stuck.gate.waiting.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    let before = cluster.requests(HEARTBEAT);
    while cluster.requests(HEARTBEAT) < before + 100 {
        consumer.poll(Duration::from_millis(50)).await.expect("poll goes well");
    }
    // Otherwise calls wait for parked fetches.
    let all: Vec<_> = consumer.assignment().iter().cloned().collect();
    consumer.pause(all).await.expect("they are assigned");
    let untold = Untold::default();
    while untold.0.load(Ordering::Relaxed) == 0 {
        for _ in 0..500 {
            consumer.committed([TopicPartition::new("t", 0)]).await.expect("it answers");
        }
        stuck.counters.lock().expect("nobody panics in it").iter().for_each(|read| read(&untold));
    }
    let (member, alive) = (consumer.group_metadata().member, cluster.describe_group("g"));
    assert!(member.is_some() && alive.is_some_and(|group| group.members.len() == 1));

    stuck.gate.open();
    for reader in readers {
        reader.join().expect("it goes on");
    }
    assert!(consumer.close(Duration::from_secs(5)).await.left);
}

/// Reads one gauge that nobody has read, on a thread of its own.
fn read_one(stuck: &Arc<Stuck>) -> thread::JoinHandle<()> {
    let gauge = stuck.gauges.lock().expect("nobody panics in it").pop().expect("there is one");
    let slow = Slow(Arc::clone(&stuck.gate));
    thread::spawn(move || gauge(&slow))
}

const HEARTBEAT: i16 = 68;
/// Far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(60);
