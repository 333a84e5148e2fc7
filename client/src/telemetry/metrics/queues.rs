//! The two queues between the application and its background: how much is in each, how long it
//! waited there, and for how long whoever took it was busy with it (KIP-1068).
//!
//! Decides the clocks: the background is busy for the time of its processor; the application, which
//! runs callbacks, for that of its runtime.

use super::gauges::processor_time;
use super::measure::{Measure, Measured};
use super::{Instruments, Metrics};
use crate::telemetry::{Tell, Teller};
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
    to: Recorder,
    since: Instant,
}

#[derive(Debug)]
struct Busy {
    to: Recorder,
    event: &'static str,
    begun: Instant,
}

/// Records what is measured where something is taken out of a queue.
#[derive(Clone, Debug)]
struct Recorder {
    metrics: Arc<Instruments>,
    queue: Queue,
    /// The background's.
    teller: Teller<Measure>,
}

impl Recorder {
    fn record(&self, what: Measured) {
        let measure = Measure { metrics: Arc::clone(&self.metrics), what };
        match self.queue {
            Queue::Application => self.teller.tell(measure),
            // It is the application that takes it.
            Queue::Background => measure.tell(),
        }
    }
}

impl Metrics {
    /// This goes into a queue.
    pub(crate) fn queued<T>(&self, queue: Queue, it: T) -> Queued<T> {
        let place = self.instruments.as_ref().zip(self.teller.as_ref()).map(|(metrics, teller)| {
            metrics.queues.sizes.of(queue).fetch_add(1, Ordering::Relaxed);
            let (metrics, teller) = (Arc::clone(metrics), teller.clone());
            Place { to: Recorder { metrics, queue, teller }, since: Instant::now() }
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
        let to = self.to.clone();
        to.record(Measured::Queued(to.queue, event, self.since.elapsed()));
        let begun = to.queue.now();
        Busy { to, event, begun }
    }
}

/// Also of what nobody will take any more.
impl Drop for Place {
    fn drop(&mut self) {
        let Recorder { metrics, queue, .. } = &self.to;
        metrics.queues.sizes.of(*queue).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let lasted = self.to.queue.now().saturating_duration_since(self.begun);
        self.to.record(Measured::Processed(self.to.queue, self.event, lasted));
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
