//! Metrics for OpenTelemetry, under Kafka's names: KIP-714's rule makes
//! `org.apache.kafka.consumer.coordinator.commit.latency` of Kafka's `commit-latency-avg` in
//! `consumer-coordinator-metrics`; average, maximum and count are one histogram's. Times are
//! milliseconds, as in Kafka.
//!
//! Decides what is counted where; nothing is averaged here. What a gauge shows is looked up when
//! somebody reads it.

mod lags;

use crate::background::micros;
use evenkeel_core::Command;
use evenkeel_core::request::{Request, Response};
use evenkeel_spec::words::{Offset, TopicPartition};
use lags::Lags;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// The metrics of one consumer; nothing where no meter was given. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(Option<Arc<Instruments>>);

#[derive(Debug)]
struct Instruments {
    /// Who it is: in every data point.
    who: [KeyValue; 2],
    commit_latency: Histogram<f64>,
    rebalance_latency: Histogram<f64>,
    failed_rebalances: Counter<u64>,
    callback_latency: [(&'static str, Histogram<f64>); 3],
    request_latency: Histogram<f64>,
    unsent_time: Histogram<f64>,
    records_consumed: Counter<u64>,
    shown: Arc<Mutex<Shown>>,
}

/// What gauges show.
#[derive(Debug, Default)]
struct Shown {
    lags: Lags,
    assigned: u64,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter, group: &str, client: &str) -> Self {
        let who = [
            KeyValue::new("group_id", group.to_owned()),
            KeyValue::new("client_id", client.to_owned()),
        ];
        let histogram = |name: &str, what: &'static str| {
            let histogram = meter.f64_histogram(format!("{PREFIX}{name}"));
            let histogram = histogram.with_unit("ms").with_description(what);
            histogram.with_boundaries(BOUNDARIES_MS.to_vec()).build()
        };
        let counter = |name: &str, what: &'static str| {
            meter.u64_counter(format!("{PREFIX}{name}")).with_description(what).build()
        };
        let shown = Arc::default();
        show(meter, &shown, &who);
        Self(Some(Arc::new(Instruments {
            commit_latency: histogram(
                "coordinator.commit.latency",
                "Commits, from sending to answer; failed ones have error.type.",
            ),
            rebalance_latency: histogram(
                "coordinator.rebalance.latency",
                "Rebalances, from the news to the acknowledgement's answer.",
            ),
            failed_rebalances: counter(
                "coordinator.failed.rebalance.total",
                "Rebalances that ended otherwise than as the coordinator wanted.",
            ),
            callback_latency: ["revoked", "assigned", "lost"].map(|callback| {
                let name = format!("coordinator.partition.{callback}.latency");
                (callback, histogram(&name, "Callbacks of the listener."))
            }),
            request_latency: histogram("node.request.latency", "Requests, on the wire."),
            unsent_time: histogram("unsent.requests.queue.time", "Requests, before they are sent."),
            records_consumed: counter(
                "fetch.manager.records.consumed.total",
                "Records that were handed to the application.",
            ),
            shown,
            who,
        })))
    }

    /// A request is over.
    pub(crate) fn on_request(
        &self,
        api: &'static str,
        queued: Duration,
        in_flight: Duration,
        outcome: &'static str,
    ) {
        let Some(metrics) = &self.0 else { return };
        let with = metrics.with([KeyValue::new("api", api), KeyValue::new("outcome", outcome)]);
        metrics.request_latency.record(milliseconds(in_flight), &with);
        metrics.unsent_time.record(milliseconds(queued), &with);
    }

    /// A broker answered a request that took so long.
    pub(crate) fn on_answer<C>(&self, response: &Response<C>, took: Duration) {
        let Some(metrics) = &self.0 else { return };
        match response {
            Response::OffsetCommit(committed) => {
                let failed = match committed {
                    Ok(partitions) => partitions.values().find_map(|result| result.err()),
                    Err(error) => Some(*error),
                };
                let error = failed.map(|error| KeyValue::new("error.type", error.name()));
                let with: Vec<_> = metrics.who.iter().cloned().chain(error).collect();
                metrics.commit_latency.record(milliseconds(took), &with);
            }
            Response::Fetch(Ok(partitions)) => {
                let mut shown = metrics.shown();
                for (partition, fetched) in partitions {
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
        if let (Some(metrics), Request::Fetch(fetch)) = (&self.0, request) {
            metrics.shown().lags.on_fetch(fetch);
        }
    }

    /// The application asks for something.
    pub(crate) fn on_command(&self, command: &Command) {
        if let (Some(metrics), Command::Seek { partition, .. }) = (&self.0, command) {
            metrics.shown().lags.on_seek(partition);
        }
    }

    /// So many records are handed over, and the next to come is this one.
    pub(crate) fn on_delivered(&self, partition: &TopicPartition, count: usize, next: Offset) {
        let Some(metrics) = &self.0 else { return };
        metrics.records_consumed.add(count as u64, &metrics.who);
        metrics.shown().lags.on_delivered(partition, next);
    }

    /// This is assigned from here on.
    pub(crate) fn on_assigned(&self, partitions: &BTreeSet<TopicPartition>) {
        let Some(metrics) = &self.0 else { return };
        let mut shown = metrics.shown();
        shown.assigned = partitions.len() as u64;
        shown.lags.retain(partitions);
    }

    /// A rebalance is over. `well`: as the coordinator wanted.
    pub(crate) fn on_rebalanced(&self, lasted: Duration, well: bool) {
        let Some(metrics) = &self.0 else { return };
        metrics.rebalance_latency.record(milliseconds(lasted), &metrics.who);
        if !well {
            metrics.failed_rebalances.add(1, &metrics.who);
        }
    }

    /// A callback is over: `revoked callback`, `assigned callback` or `lost callback`.
    pub(crate) fn on_called(&self, callback: &str, lasted: Duration) {
        let Some(metrics) = &self.0 else { return };
        for (name, latency) in &metrics.callback_latency {
            if callback.strip_suffix(" callback") == Some(name) {
                latency.record(milliseconds(lasted), &metrics.who);
            }
        }
    }
}

impl Instruments {
    fn with<const N: usize>(&self, more: [KeyValue; N]) -> Vec<KeyValue> {
        self.who.iter().cloned().chain(more).collect()
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        locked(&self.shown)
    }
}

/// Gauges last as long as their meter, but show nothing of a consumer that is gone.
fn show(meter: &Meter, shown: &Arc<Mutex<Shown>>, who: &[KeyValue; 2]) {
    let (weak, all) = (Arc::downgrade(shown), who.clone());
    meter
        .u64_observable_gauge(format!("{PREFIX}fetch.manager.records.lag"))
        .with_description("Records between what was handed over and the high watermark.")
        .with_callback(move |observer| {
            let Some(shown) = Weak::upgrade(&weak) else { return };
            for (partition, lag) in locked(&shown).lags.known() {
                let mut with = all.to_vec();
                with.push(KeyValue::new("topic", partition.topic.as_str().to_owned()));
                with.push(KeyValue::new("partition", i64::from(partition.partition)));
                observer.observe(lag, &with);
            }
        })
        .build();
    let (weak, all) = (Arc::downgrade(shown), who.clone());
    meter
        .u64_observable_gauge(format!("{PREFIX}coordinator.assigned.partitions"))
        .with_description("Partitions that this member owns.")
        .with_callback(move |observer| {
            if let Some(shown) = Weak::upgrade(&weak) {
                observer.observe(locked(&shown).assigned, &all);
            }
        })
        .build();
}

/// Each change of it is whole.
fn locked(shown: &Mutex<Shown>) -> std::sync::MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn milliseconds(lasted: Duration) -> f64 {
    micros(lasted) as f64 / 1_000.0
}

const PREFIX: &str = "org.apache.kafka.consumer.";
/// Of every histogram, milliseconds: a round trip to a whole `max.poll.interval.ms`.
const BOUNDARIES_MS: [f64; 14] = [
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 5_000.0, 30_000.0, 60_000.0,
    300_000.0,
];

#[cfg(test)]
mod tests;
