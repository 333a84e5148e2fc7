//! Metrics for OpenTelemetry, under Kafka's names: KIP-714's rule makes
//! `org.apache.kafka.consumer.coordinator.commit.latency` of Kafka's `commit-latency-avg` in
//! `consumer-coordinator-metrics`; average, maximum and count are one histogram's. Times are
//! milliseconds, as in Kafka. What Kafka does not count is named in its manner.
//!
//! Decides what is counted where; nothing is averaged here. What the application's own calls measure
//! is recorded on their thread; what the background measures, by its [teller](super::Teller), since a
//! meter is the application's code. What a gauge shows is looked up when somebody reads it, and copied
//! before it is told: no lock that the background takes is held meanwhile.

mod gauges;
mod instruments;
mod measure;
mod messaging;
mod queues;
mod share;

pub(crate) use queues::{Handling, Queue, Queued};

use super::{Landed, Teller};
use crate::background::micros;
use evenkeel_core::request::{Ended, Response};
use evenkeel_core::{Chunk, ConnectionId, Role, Shell};
use evenkeel_spec::words::TopicPartition;
use gauges::{Shown, locked, processor_time};
use instruments::Instruments;
use measure::{Measure, Measured};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// The metrics of one consumer; nothing where no meter was given. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    instruments: Option<Arc<Instruments>>,
    /// The background's.
    shown: Option<Arc<Mutex<Shown>>>,
    /// Records what the background measures.
    teller: Option<Teller<Measure>>,
}

/// Who it is: in every data point.
type Who = [KeyValue; 2];

impl Metrics {
    /// `aside`: the background has a thread of its own, which does not wait for the meter.
    pub(crate) fn new(meter: &Meter, group: &str, client: &str, aside: bool) -> Self {
        let shown = Arc::default();
        let instruments = Instruments::new(meter, group, client, &shown);
        let teller = match aside {
            true => Teller::aside(Arc::clone(&instruments.unrecorded)),
            false => Teller::here(),
        };
        Self { instruments: Some(Arc::new(instruments)), shown: Some(shown), teller: Some(teller) }
    }

    /// For the application's side: what the background shows is not kept by it.
    pub(crate) fn of_handle(&self) -> Self {
        Self { shown: None, ..self.clone() }
    }

    /// Counts what `tracing` was not told.
    pub(crate) fn untold_words(&self) -> Arc<AtomicU64> {
        self.instruments.as_ref().map_or_else(Arc::default, |metrics| Arc::clone(&metrics.untold))
    }

    /// Waits until everything is recorded, but not for long: the end of the background.
    pub(crate) fn flush(&self) {
        if let Some(teller) = &self.teller {
            teller.flush();
        }
    }

    fn measure(&self, what: Measured) {
        if let (Some(metrics), Some(teller)) = (&self.instruments, &self.teller) {
            teller.tell(Measure { metrics: Arc::clone(metrics), what });
        }
    }

    /// Whether anything is counted.
    pub(crate) fn is_on(&self) -> bool {
        self.instruments.is_some()
    }

    /// The background is about to wait; its core's clock said 0 at `started`.
    pub(crate) fn on_wait<'a, C: Chunk>(
        &self,
        shell: &Shell<C>,
        started: Instant,
        connections: impl Iterator<Item = &'a ConnectionId>,
    ) {
        if let Some(mut shown) = self.shown() {
            shown.look(shell, started, connections);
            shown.busy.off(processor_time());
        }
    }

    /// It goes on.
    pub(crate) fn on_woken(&self) {
        let Some(mut shown) = self.shown() else { return };
        shown.busy.on(processor_time());
        let now = Instant::now();
        let before = shown.woken.replace(now);
        drop(shown);
        if let Some(before) = before {
            self.measure(Measured::BetweenPolls(now.saturating_duration_since(before)));
        }
    }

    /// A connection was made; `None`: for nothing any more.
    pub(crate) fn on_connected(&self, role: Option<Role>) {
        if let Some(role) = role {
            self.measure(Measured::Connected(role));
        }
    }

    /// A request on the wire is over.
    pub(crate) fn on_landed(&self, landed: Landed) {
        self.measure(Measured::Landed(landed));
    }

    /// A logical request is over.
    pub(crate) fn on_ended(&self, ended: &Ended) {
        if self.is_on() {
            self.measure(Measured::Ended(ended.clone()));
        }
    }

    /// A call was not answered in time.
    pub(crate) fn on_expired(&self, request: &'static str) {
        if let Some(metrics) = &self.instruments {
            metrics.on_expired(request);
        }
    }

    /// A call found no place.
    pub(crate) fn on_refused(&self, request: &'static str) {
        if let Some(metrics) = &self.instruments {
            metrics.refused.add(1, &metrics.with([KeyValue::new("request", request)]));
        }
    }

    /// A broker answered a request that took so long.
    pub(crate) fn on_answer<C>(&self, response: &Response<C>, took: Duration) {
        match response {
            Response::OffsetCommit(committed) => {
                let failed = match committed {
                    Ok(partitions) => partitions.values().find_map(|result| result.err()),
                    Err(error) => Some(*error),
                };
                self.measure(Measured::Committed(took, failed));
            }
            Response::Heartbeat(_) => self.measure(Measured::Heartbeat(took)),
            Response::Fetch(_) => self.measure(Measured::Fetched(took)),
            _ => {}
        }
    }

    /// This is assigned from here on.
    pub(crate) fn on_assigned(&self, partitions: &BTreeSet<TopicPartition>) {
        if let Some(mut shown) = self.shown() {
            shown.assigned = partitions.len() as u64;
        }
    }

    /// A rebalance is over. `well`: as the coordinator wanted.
    pub(crate) fn on_rebalanced(&self, lasted: Duration, well: bool) {
        self.measure(Measured::Rebalanced(lasted, well));
    }

    /// A callback is over: `revoked callback`, `assigned callback` or `lost callback`.
    pub(crate) fn on_called(&self, callback: &'static str, lasted: Duration) {
        self.measure(Measured::Called(callback, lasted));
    }

    /// The application is inside of a poll from here on.
    pub(crate) fn on_inside(&self) {
        if let Some(metrics) = &self.instruments {
            locked(&metrics.inside).on(Instant::now());
        }
    }

    /// It is outside of it.
    pub(crate) fn on_outside(&self) {
        if let Some(metrics) = &self.instruments {
            locked(&metrics.inside).off(Instant::now());
        }
    }

    /// A poll that took so long returns so many records; of one topic, if it is named.
    pub(crate) fn on_polled(&self, lasted: Duration, count: usize, topic: Option<&str>) {
        let Some(metrics) = &self.instruments else { return };
        metrics.records_consumed.add(count as u64, &metrics.who);
        metrics.messaging.on_polled(lasted, count as u64, topic);
    }

    /// The application is done with what a poll returned.
    pub(crate) fn on_processed(&self, lasted: Duration, topic: Option<&str>) {
        if let Some(metrics) = &self.instruments {
            metrics.messaging.on_processed(lasted, topic);
        }
    }

    fn shown(&self) -> Option<MutexGuard<'_, Shown>> {
        self.shown.as_deref().map(locked)
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn milliseconds(lasted: Duration) -> f64 {
    micros(lasted) as f64 / 1_000.0
}

const PREFIX: &str = "org.apache.kafka.consumer.";
