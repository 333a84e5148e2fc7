//! The two queues between the application and its background: how much is in each, how long it
//! waited there, and for how long whoever took it was busy with it (KIP-1068).
//!
//! Decides the clocks: the background is busy for the time of its processor; the application, which
//! runs callbacks, for that of its runtime.

use super::gauges::processor_time;
use super::{Instruments, Metrics, milliseconds};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// Which queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Queue {
    /// What the application asks of the background: its calls, and what is not answered.
    Application,
    /// What the background tells the application: records, errors, callbacks, assignments.
    Background,
}

/// Something in a queue.
#[derive(Debug)]
pub(crate) struct Queued<T> {
    it: T,
    place: Option<Place>,
}

/// Something was taken out of a queue; dropped when that is done with.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub(crate) struct Handling {
    /// Nobody counts it: `None`. Else it tells when it is dropped.
    _busy: Option<Busy>,
}

/// How many things are in each queue.
#[derive(Debug, Default)]
pub(super) struct Sizes([AtomicU64; 2]);

/// The instruments of both, by [`Queue`].
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) sizes: Arc<Sizes>,
    pub(super) time: [Histogram<f64>; 2],
    pub(super) processing: [Histogram<f64>; 2],
}

#[derive(Debug)]
struct Place {
    metrics: Arc<Instruments>,
    queue: Queue,
    since: Instant,
}

#[derive(Debug)]
struct Busy {
    metrics: Arc<Instruments>,
    queue: Queue,
    event: &'static str,
    begun: Instant,
}

impl Metrics {
    /// This goes into a queue.
    pub(crate) fn queued<T>(&self, queue: Queue, it: T) -> Queued<T> {
        let place = self.instruments.as_ref().map(|metrics| {
            metrics.queues.sizes.of(queue).fetch_add(1, Ordering::Relaxed);
            Place { metrics: Arc::clone(metrics), queue, since: Instant::now() }
        });
        Queued { it, place }
    }
}

impl<T> Queued<T> {
    /// Takes it out; `event` is what it is called.
    pub(crate) fn take(self, event: fn(&T) -> &'static str) -> (T, Handling) {
        let Self { it, place } = self;
        let busy = place.map(|place| place.taken(event(&it)));
        (it, Handling { _busy: busy })
    }
}

impl Place {
    fn taken(self, event: &'static str) -> Busy {
        let (metrics, queue) = (Arc::clone(&self.metrics), self.queue);
        let with = metrics.with([KeyValue::new("event", event)]);
        metrics.queues.time[queue as usize].record(milliseconds(self.since.elapsed()), &with);
        Busy { metrics, queue, event, begun: queue.now() }
    }
}

/// Also of what nobody will take any more.
impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.queues.sizes.of(self.queue).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let lasted = self.queue.now().saturating_duration_since(self.begun);
        let with = self.metrics.with([KeyValue::new("event", self.event)]);
        let processing = &self.metrics.queues.processing[self.queue as usize];
        processing.record(milliseconds(lasted), &with);
    }
}

impl Queue {
    /// The clock of who takes from it.
    fn now(self) -> Instant {
        match self {
            Self::Application => processor_time(),
            Self::Background => Instant::now(),
        }
    }
}

impl Sizes {
    pub(super) fn get(&self, queue: Queue) -> u64 {
        self.of(queue).load(Ordering::Relaxed)
    }

    fn of(&self, queue: Queue) -> &AtomicU64 {
        &self.0[queue as usize]
    }
}
