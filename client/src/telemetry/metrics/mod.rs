//! Metrics for OpenTelemetry, under Kafka's names: KIP-714's rule makes
//! `org.apache.kafka.consumer.coordinator.commit.latency` of Kafka's `commit-latency-avg` in
//! `consumer-coordinator-metrics`; average, maximum and count are one histogram's. Times are
//! milliseconds, as in Kafka. What Kafka does not count is named in its manner.
//!
//! Decides what is counted where; nothing is averaged here. What a gauge shows is looked up when
//! somebody reads it.

mod gauges;
mod instruments;
mod lags;
mod messaging;
mod queues;
mod share;

pub(crate) use queues::{Handling, Queue, Queued};

use super::Landed;
use crate::background::micros;
use evenkeel_core::request::ledger::{Outcome, Ticket};
use evenkeel_core::request::{Ended, Request, Response};
use evenkeel_core::{Chunk, Command, Shell};
use evenkeel_spec::words::{Offset, TopicPartition};
use gauges::{Shown, locked, processor_time};
use instruments::Instruments;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// The metrics of one consumer; nothing where no meter was given. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    instruments: Option<Arc<Instruments>>,
    /// The background's.
    shown: Option<Arc<Mutex<Shown>>>,
}

/// Who it is: in every data point.
type Who = [KeyValue; 2];

impl Metrics {
    pub(crate) fn new(meter: &Meter, group: &str, client: &str) -> Self {
        let shown = Arc::default();
        let instruments = Instruments::new(meter, group, client, &shown);
        Self { instruments: Some(Arc::new(instruments)), shown: Some(shown) }
    }

    /// For the application's side: what the background shows is not kept by it.
    pub(crate) fn of_handle(&self) -> Self {
        Self { instruments: self.instruments.clone(), shown: None }
    }

    /// Whether anything is counted.
    pub(crate) fn is_on(&self) -> bool {
        self.instruments.is_some()
    }

    /// The background is about to wait; its core's clock said 0 at `started`.
    pub(crate) fn on_wait<C: Chunk>(&self, shell: &Shell<C>, started: Instant, connections: usize) {
        if let Some(mut shown) = self.shown() {
            shown.look(shell, started, connections);
            shown.busy.off(processor_time());
        }
    }

    /// It goes on.
    pub(crate) fn on_woken(&self) {
        let (Some(metrics), Some(mut shown)) = (&self.instruments, self.shown()) else { return };
        shown.busy.on(processor_time());
        let now = Instant::now();
        if let Some(before) = shown.woken.replace(now) {
            let between = now.saturating_duration_since(before);
            metrics.between_polls.record(milliseconds(between), &metrics.who);
        }
    }

    /// A connection was made.
    pub(crate) fn on_connected(&self) {
        if let Some(metrics) = &self.instruments {
            metrics.connections.add(1, &metrics.who);
        }
    }

    /// A request on the wire is over.
    pub(crate) fn on_landed(&self, landed: &Landed) {
        let Some(metrics) = &self.instruments else { return };
        let node = landed.node.map(|node| KeyValue::new("node_id", i64::from(node.0)));
        let outcome = KeyValue::new("outcome", landed.landing.name());
        let mut with = metrics.with([KeyValue::new("api", landed.api), outcome]);
        with.extend(node);
        let error = landed.landing.error();
        with.extend(error.map(|error| KeyValue::new("error.type", error.name())));
        metrics.request_latency.record(milliseconds(landed.in_flight), &with);
        metrics.unsent_time.record(milliseconds(landed.queued), &with);
    }

    /// A logical request is over.
    pub(crate) fn on_ended(&self, ended: &Ended) {
        let Some(metrics) = &self.instruments else { return };
        let lane = KeyValue::new("lane", ended.lane.name());
        let mut with = metrics.with([
            KeyValue::new("request", ended.kind.name()),
            lane.clone(),
            KeyValue::new("outcome", ended.outcome.name()),
        ]);
        with.extend(ended.outcome.reason().map(|reason| KeyValue::new("reason", reason)));
        metrics.ended.add(1, &with);
        let waits = &ended.waits;
        for (what, ms) in [
            ("queue", waits.queue_ms),
            ("coordinator", waits.coordinator_ms),
            ("connection", waits.connection_ms),
            ("backoff", waits.backoff_ms),
            ("throttle", waits.throttle_ms),
            ("answer", waits.in_flight_ms),
        ] {
            if ms > 0 {
                let with = metrics.with([lane.clone(), KeyValue::new("for", what)]);
                metrics.waited.add(ms, &with);
            }
        }
        metrics.messaging.on_ended(ended);
        let is_expired = matches!(ended.outcome, Outcome::ExpiredUnsent | Outcome::ExpiredInFlight);
        if let (Ticket::Call(_), true) = (ended.ticket, is_expired) {
            self.on_expired(ended.kind.name());
        }
    }

    /// A call was not answered in time.
    pub(crate) fn on_expired(&self, request: &'static str) {
        if let Some(metrics) = &self.instruments {
            metrics.expired.add(1, &metrics.with([KeyValue::new("request", request)]));
        }
    }

    /// A call found no place.
    pub(crate) fn on_refused(&self, request: &'static str) {
        if let Some(metrics) = &self.instruments {
            metrics.refused.add(1, &metrics.with([KeyValue::new("request", request)]));
        }
    }

    /// Something was not told to `tracing`.
    pub(crate) fn on_untold(&self) {
        if let Some(metrics) = &self.instruments {
            metrics.untold.add(1, &metrics.who);
        }
    }

    /// A broker answered a request that took so long.
    pub(crate) fn on_answer<C>(&self, response: &Response<C>, took: Duration) {
        let Some(metrics) = &self.instruments else { return };
        match response {
            Response::OffsetCommit(committed) => {
                let failed = match committed {
                    Ok(partitions) => partitions.values().find_map(|result| result.err()),
                    Err(error) => Some(*error),
                };
                let mut with = metrics.who.to_vec();
                with.extend(failed.map(|error| KeyValue::new("error.type", error.name())));
                metrics.commit_latency.record(milliseconds(took), &with);
            }
            Response::Heartbeat(_) => {
                metrics.heartbeat_time.record(milliseconds(took), &metrics.who);
            }
            Response::Fetch(fetched) => {
                metrics.fetch_latency.record(milliseconds(took), &metrics.who);
                let Some(mut shown) = self.shown() else { return };
                for (partition, fetched) in fetched.iter().flatten() {
                    if let Ok(fetched) = fetched
                        && let Some(end) = fetched.high_watermark
                    {
                        shown.lags.on_end(*partition, end);
                    }
                }
            }
            _ => {}
        }
    }

    /// A request goes out.
    pub(crate) fn on_sent(&self, request: &Request) {
        if let Request::Fetch(fetch) = request
            && let Some(mut shown) = self.shown()
        {
            shown.lags.on_fetch(fetch);
        }
    }

    /// The application asks for something.
    pub(crate) fn on_command(&self, command: &Command) {
        if let Command::Seek { partition, .. } = command
            && let Some(mut shown) = self.shown()
        {
            shown.lags.on_seek(partition);
        }
    }

    /// Records before this one are on their way to the application.
    pub(crate) fn on_delivered(&self, partition: &TopicPartition, next: Offset) {
        if let Some(mut shown) = self.shown() {
            shown.lags.on_delivered(partition, next);
        }
    }

    /// This is assigned from here on.
    pub(crate) fn on_assigned(&self, partitions: &BTreeSet<TopicPartition>) {
        if let Some(mut shown) = self.shown() {
            shown.assigned = partitions.len() as u64;
            shown.lags.retain(partitions);
        }
    }

    /// A rebalance is over. `well`: as the coordinator wanted.
    pub(crate) fn on_rebalanced(&self, lasted: Duration, well: bool) {
        let Some(metrics) = &self.instruments else { return };
        metrics.rebalance_latency.record(milliseconds(lasted), &metrics.who);
        if !well {
            metrics.failed_rebalances.add(1, &metrics.who);
        }
    }

    /// A callback is over: `revoked callback`, `assigned callback` or `lost callback`.
    pub(crate) fn on_called(&self, callback: &str, lasted: Duration) {
        let Some(metrics) = &self.instruments else { return };
        for (name, latency) in &metrics.callback_latency {
            if callback.strip_suffix(" callback") == Some(name) {
                latency.record(milliseconds(lasted), &metrics.who);
            }
        }
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
