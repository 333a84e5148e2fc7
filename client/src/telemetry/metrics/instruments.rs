//! The instruments: their names, units and what they say.

use super::gauges::{Shown, locked, show, show_idle, show_untold};
use super::messaging::Messaging;
use super::queues::Queues;
use super::share::Share;
use super::{PREFIX, Who};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// Those of one consumer.
#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) who: Who,
    pub(super) commit_latency: Histogram<f64>,
    pub(super) heartbeat_time: Histogram<f64>,
    pub(super) fetch_latency: Histogram<f64>,
    pub(super) rebalance_latency: Histogram<f64>,
    pub(super) failed_rebalances: Counter<u64>,
    pub(super) callback_latency: [(&'static str, Histogram<f64>); 3],
    pub(super) request_latency: Histogram<f64>,
    pub(super) unsent_time: Histogram<f64>,
    pub(super) records_consumed: Counter<u64>,
    pub(super) connections: Counter<u64>,
    /// Logical requests that are over.
    pub(super) ended: Counter<u64>,
    /// What they waited for.
    pub(super) waited: Counter<u64>,
    /// Calls that found no place.
    pub(super) refused: Counter<u64>,
    /// Calls whose time was over.
    pub(super) expired: Counter<u64>,
    /// Between the application and the background.
    pub(super) queues: Queues,
    /// From one turn of the background's loop to the next.
    pub(super) between_polls: Histogram<f64>,
    /// What `tracing` was not told.
    pub(super) untold: Arc<AtomicU64>,
    /// What the meter was not told.
    pub(super) unrecorded: Arc<AtomicU64>,
    pub(super) messaging: Messaging,
    /// The application is inside of `poll`.
    pub(super) inside: Arc<Mutex<Share>>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter, group: &str, client: &str, shown: &Arc<Mutex<Shown>>) -> Self {
        let who = [
            KeyValue::new("group_id", group.to_owned()),
            KeyValue::new("client_id", client.to_owned()),
        ];
        let inside = Arc::new(Mutex::new(Share::new(Instant::now())));
        show(meter, shown, &who);
        show_idle(meter, &inside, &who);
        let [untold, unrecorded] = show_untold(meter, &who);
        let histogram = |name: &str, what: &'static str| {
            let histogram = meter.f64_histogram(format!("{PREFIX}{name}"));
            let histogram = histogram.with_unit("ms").with_description(what);
            histogram.with_boundaries(BOUNDARIES_MS.to_vec()).build()
        };
        let counter = |name: &str, unit: &'static str, what: &'static str| {
            let counter = meter.u64_counter(format!("{PREFIX}{name}"));
            counter.with_unit(unit).with_description(what).build()
        };
        Self {
            commit_latency: histogram(
                "coordinator.commit.latency",
                "Commits, from sending to answer; failed ones have error.type.",
            ),
            heartbeat_time: histogram(
                "coordinator.heartbeat.response.time",
                "Heartbeats, from sending to answer.",
            ),
            fetch_latency: histogram(
                "fetch.manager.fetch.latency",
                "Fetches, from sending to answer: brokers park those that find no records.",
            ),
            rebalance_latency: histogram(
                "coordinator.rebalance.latency",
                "Rebalances, from the news to the acknowledgement's answer.",
            ),
            failed_rebalances: counter(
                "coordinator.failed.rebalance.total",
                "{rebalance}",
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
                "{record}",
                "Records that were handed to the application.",
            ),
            connections: counter(
                "connection.creation.total",
                "{connection}",
                "Connections that were made to brokers, by what for.",
            ),
            ended: counter(
                "requests.ended.total",
                "{request}",
                "Logical requests that are over, by how they ended.",
            ),
            waited: counter(
                "requests.wait.time.total",
                "ms",
                "What logical requests that are over have waited for.",
            ),
            refused: counter(
                "application.event.queue.refused.total",
                "{request}",
                "Calls that were refused, since request.queue.max others were open.",
            ),
            expired: counter(
                "application.events.expired.count",
                "{request}",
                "Calls that were not answered in time.",
            ),
            queues: Queues {
                sizes: Arc::clone(&locked(shown).queues),
                time: ["application", "background"].map(|queue| {
                    let name = format!("{queue}.event.queue.time");
                    histogram(&name, "How long something waited in the queue.")
                }),
                processing: ["application", "background"].map(|queue| {
                    let name = format!("{queue}.event.queue.processing.time");
                    histogram(&name, "How long who took it was busy with it.")
                }),
            },
            between_polls: histogram(
                "time.between.network.thread.poll",
                "From one look of the background at its sockets and commands to the next.",
            ),
            untold,
            unrecorded,
            messaging: Messaging::new(meter, group, client),
            inside,
            who,
        }
    }

    /// A call was not answered in time.
    pub(super) fn on_expired(&self, request: &'static str) {
        self.expired.add(1, &self.with([KeyValue::new("request", request)]));
    }

    pub(super) fn with<const N: usize>(&self, more: [KeyValue; N]) -> Vec<KeyValue> {
        self.who.iter().cloned().chain(more).collect()
    }
}

/// Of every histogram, milliseconds: a round trip to a whole `max.poll.interval.ms`.
const BOUNDARIES_MS: [f64; 14] = [
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 5_000.0, 30_000.0, 60_000.0,
    300_000.0,
];
