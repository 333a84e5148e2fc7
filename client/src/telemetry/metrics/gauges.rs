//! What is looked up when somebody reads it: how deep lanes are, how far behind partitions are, how
//! busy the background is.

use super::queues::{Queue, Sizes};
use super::share::Share;
use super::{PREFIX, Who};
use crate::background::micros;
use evenkeel_core::request::queue::Lane;
use evenkeel_core::{Chunk, ConnectionId, LaneDepth, Role, Shell};
use evenkeel_spec::words::TopicPartition;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as RealInstant};
use tokio::time::Instant;

/// What the background shows. Gone with it: then its gauges show nothing.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) assigned: u64,
    /// The share of the background's time in which it does not wait. Of real time, for it is the
    /// processor's.
    pub(super) busy: Share,
    /// When it went on last.
    pub(super) woken: Option<Instant>,
    /// Of the queues to and from the application.
    pub(super) queues: Arc<Sizes>,
    /// When the core's clock said 0.
    started: Instant,
    lanes: BTreeMap<Lane, LaneDepth>,
    buffered_bytes: u64,
    connections: BTreeMap<Role, u64>,
    lags: Vec<(TopicPartition, u64)>,
    /// When they were looked at last.
    lags_at: Option<Instant>,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            assigned: 0,
            busy: Share::new(processor_time()),
            woken: None,
            queues: Arc::default(),
            started: Instant::now(),
            lanes: BTreeMap::new(),
            buffered_bytes: 0,
            connections: BTreeMap::new(),
            lags: Vec::new(),
            lags_at: None,
        }
    }
}

impl Shown {
    /// The background is about to wait; its core's clock said 0 at `started`.
    pub(super) fn look<'a, C: Chunk>(
        &mut self,
        shell: &Shell<C>,
        started: Instant,
        connections: impl Iterator<Item = &'a ConnectionId>,
    ) {
        self.started = started;
        self.lanes = shell.lanes();
        self.buffered_bytes = shell.buffered_bytes() as u64;
        self.connections.clear();
        for role in connections.filter_map(|connection| shell.role_of(*connection)) {
            *self.connections.entry(role).or_default() += 1;
        }
        let now = Instant::now();
        if self.lags_at.is_none_or(|at| now.duration_since(at) >= LAGS_PERIOD) {
            self.lags_at = Some(now);
            self.lags.clear();
            self.lags.extend(shell.lags());
        }
    }

    fn lane(&self, lane: Lane) -> LaneDepth {
        self.lanes.get(&lane).copied().unwrap_or_default()
    }

    /// How long the oldest request of a lane has been open; zero where none is.
    fn age(&self, lane: Lane) -> Duration {
        let oldest = self.lane(lane).oldest;
        oldest.map_or(Duration::ZERO, |at| (self.started + Duration::from_millis(at.0)).elapsed())
    }
}

/// There may be thousands of partitions, and thousands of turns a second; readers come once in seconds.
const LAGS_PERIOD: Duration = Duration::from_millis(100);

/// Real time as tokio's instants have it, also where tokio's clock is paused.
pub(super) fn processor_time() -> Instant {
    Instant::from_std(RealInstant::now())
}

/// Makes the gauges of what the background shows.
pub(super) fn show(meter: &Meter, shown: &Arc<Mutex<Shown>>, who: &Who) {
    let gauge = Gauge { meter, shown, who };
    gauge.each(
        "fetch.manager.records.lag",
        "{record}",
        "Records between what was handed over and the end of what can be read.",
        |shown| {
            let lags = shown.lags.iter().map(|(partition, lag)| {
                let topic = KeyValue::new("topic", partition.topic.as_str().to_owned());
                let partition = KeyValue::new("partition", i64::from(partition.partition));
                (*lag, vec![topic, partition])
            });
            lags.collect()
        },
    );
    gauge.each(
        "coordinator.assigned.partitions",
        "{partition}",
        "Partitions that this member owns.",
        |shown| vec![(shown.assigned, vec![])],
    );
    gauge.each(
        "fetch.manager.buffered.bytes",
        "By",
        "Bytes that were fetched and not handed over.",
        |shown| vec![(shown.buffered_bytes, vec![])],
    );
    gauge.each(
        "connection.count",
        "{connection}",
        "Connections to brokers, by what they are for.",
        |shown| {
            let of = |role: Role| {
                let count = shown.connections.get(&role).copied().unwrap_or_default();
                (count, vec![KeyValue::new("role", role.name())])
            };
            Role::ALL.into_iter().map(of).collect()
        },
    );
    gauge.each(
        "application.event.queue.size",
        "{event}",
        "What the application asked and the background has not seen yet.",
        |shown| vec![(shown.queues.get(Queue::Application), vec![])],
    );
    gauge.each(
        "background.event.queue.size",
        "{event}",
        "What the background told and the application has not taken yet.",
        |shown| vec![(shown.queues.get(Queue::Background), vec![])],
    );
    gauge.lanes(
        "unsent.requests.queue.size",
        "{request}",
        "Requests that wait to be sent, whatever for.",
        |shown, lane| shown.lane(lane).waiting as u64,
    );
    gauge.lanes(
        "requests.in.flight",
        "{request}",
        "Requests that wait for an answer.",
        |shown, lane| shown.lane(lane).in_flight as u64,
    );
    gauge.lanes(
        "requests.oldest.age",
        "ms",
        "How long the oldest request has been open.",
        |shown, lane| micros(shown.age(lane)) / 1_000,
    );
    let (weak, who) = (Arc::downgrade(shown), who.clone());
    meter
        .f64_observable_gauge(format!("{PREFIX}network.thread.busy.ratio"))
        .with_unit("1")
        .with_description("The share of the background's time in which it does not wait.")
        .with_callback(move |observer| {
            let shown = weak.upgrade();
            let share = shown.and_then(|shown| locked(&shown).busy.ask(processor_time()));
            if let Some(share) = share {
                observer.observe(share, &who);
            }
        })
        .build();
}

/// Makes the gauge of the application's time inside of `poll`.
pub(super) fn show_idle(meter: &Meter, inside: &Arc<Mutex<Share>>, who: &Who) {
    let (weak, who) = (Arc::downgrade(inside), who.clone());
    meter
        .f64_observable_gauge(format!("{PREFIX}poll.idle.ratio"))
        .with_unit("1")
        .with_description("The share of the application's time that it spends inside of poll.")
        .with_callback(move |observer| {
            let inside = weak.upgrade();
            let share = inside.and_then(|inside| locked(&inside).ask(Instant::now()));
            if let Some(share) = share {
                observer.observe(share, &who);
            }
        })
        .build();
}

/// Makes the counter of what was told to nobody; what it counts: by whom it was not heard, `tracing`
/// and the meter. Read by whoever reads it, since who would be told of it is stuck.
pub(super) fn show_untold(meter: &Meter, who: &Who) -> [Arc<AtomicU64>; 2] {
    let counts: [Arc<AtomicU64>; 2] = Default::default();
    let (read, who) = (counts.clone(), who.clone());
    meter
        .u64_observable_counter(format!("{PREFIX}telemetry.untold.total"))
        .with_unit("{event}")
        .with_description("What tracing, or the meter, was not told, since it is too slow.")
        .with_callback(move |observer| {
            for (to, count) in ["tracing", "meter"].into_iter().zip(&read) {
                let with: Vec<_> = who.iter().cloned().chain([KeyValue::new("to", to)]).collect();
                observer.observe(count.load(Ordering::Relaxed), &with);
            }
        })
        .build();
    counts
}

/// Gauges last as long as their meter, but show nothing of a consumer that is gone.
struct Gauge<'a> {
    meter: &'a Meter,
    shown: &'a Arc<Mutex<Shown>>,
    who: &'a Who,
}

/// Values, and what else is said of each.
type Seen = Vec<(u64, Vec<KeyValue>)>;

impl Gauge<'_> {
    /// `see` says what is shown. The reader is told after that, and may take its time: the lock is the
    /// background's as well.
    fn each(
        &self,
        name: &str,
        unit: &'static str,
        what: &'static str,
        see: impl Fn(&Shown) -> Seen + Send + Sync + 'static,
    ) {
        let (weak, who) = (Arc::downgrade(self.shown), self.who.clone());
        let callback = move |observer: &dyn AsyncInstrument<u64>| {
            let seen = weak.upgrade().map_or_else(Seen::new, |shown| see(&locked(&shown)));
            for (value, more) in seen {
                let with: Vec<_> = who.iter().cloned().chain(more).collect();
                observer.observe(value, &with);
            }
        };
        let gauge = self.meter.u64_observable_gauge(format!("{PREFIX}{name}"));
        gauge.with_unit(unit).with_description(what).with_callback(callback).build();
    }

    fn lanes(
        &self,
        name: &str,
        unit: &'static str,
        what: &'static str,
        of: fn(&Shown, Lane) -> u64,
    ) {
        self.each(name, unit, what, move |shown| {
            let by = |lane: Lane| (of(shown, lane), vec![KeyValue::new("lane", lane.name())]);
            Lane::ALL.into_iter().map(by).collect()
        });
    }
}

/// Each change of it is whole.
pub(super) fn locked<T>(shown: &Mutex<T>) -> MutexGuard<'_, T> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}
