//! What the background measures, and how the application's instruments are told of each.
//!
//! Decides names and attributes. A meter is the application's code, as a subscriber is: the background
//! hands on what it measured, and on which thread it is recorded decides the
//! [teller](crate::telemetry::Teller).

use super::instruments::Instruments;
use super::queues::Queue;
use super::{Landed, milliseconds};
use crate::telemetry::Tell;
use evenkeel_core::Role;
use evenkeel_core::request::Ended;
use evenkeel_core::request::ledger::{Outcome, Ticket};
use evenkeel_spec::words::ErrorCode;
use opentelemetry::KeyValue;
use std::sync::Arc;
use std::time::Duration;

/// One thing to record, and where.
#[derive(Debug)]
pub(super) struct Measure {
    pub(super) metrics: Arc<Instruments>,
    pub(super) what: Measured,
}

/// One thing that the background measured.
#[derive(Debug)]
pub(super) enum Measured {
    /// From one look around to the next.
    BetweenPolls(Duration),
    /// A connection was made.
    Connected(Role),
    /// A request on the wire is over.
    Landed(Landed),
    /// A logical request is over.
    Ended(Ended),
    /// A commit was answered, maybe with this error.
    Committed(Duration, Option<ErrorCode>),
    /// A heartbeat was answered.
    Heartbeat(Duration),
    /// A fetch was answered.
    Fetched(Duration),
    /// A rebalance is over, and whether it ended well.
    Rebalanced(Duration, bool),
    /// A callback is over.
    Called(&'static str, Duration),
    /// Something was taken out of a queue after so long.
    Queued(Queue, &'static str, Duration),
    /// Who took it out is done with it.
    Processed(Queue, &'static str, Duration),
}

// The queue is made of so many bytes a measure.
const _: () = assert!(size_of::<Measure>() <= MEASURE_BYTES_MAX);
const MEASURE_BYTES_MAX: usize = 160;

impl Tell for Measure {
    const WHOM: &'static str = "meter";
    /// Some hundred turns of a busy background's loop, one and a quarter of a megabyte.
    const QUEUE_MAX: usize = 8_192;

    fn tell(self) {
        self.record();
    }
}

impl Measure {
    fn record(&self) {
        let metrics = &*self.metrics;
        match &self.what {
            Measured::BetweenPolls(between) => {
                metrics.between_polls.record(milliseconds(*between), &metrics.who);
            }
            Measured::Connected(role) => {
                let with = metrics.with([KeyValue::new("role", role.name())]);
                metrics.connections.add(1, &with);
            }
            Measured::Landed(landed) => landed_as(metrics, landed),
            Measured::Ended(ended) => ended_as(metrics, ended),
            Measured::Committed(took, error) => {
                let mut with = metrics.who.to_vec();
                with.extend(error.map(|error| KeyValue::new("error.type", error.name())));
                metrics.commit_latency.record(milliseconds(*took), &with);
            }
            Measured::Heartbeat(took) => {
                metrics.heartbeat_time.record(milliseconds(*took), &metrics.who);
            }
            Measured::Fetched(took) => {
                metrics.fetch_latency.record(milliseconds(*took), &metrics.who);
            }
            Measured::Rebalanced(lasted, is_well) => {
                metrics.rebalance_latency.record(milliseconds(*lasted), &metrics.who);
                if !is_well {
                    metrics.failed_rebalances.add(1, &metrics.who);
                }
            }
            Measured::Called(callback, lasted) => {
                for (name, latency) in &metrics.callback_latency {
                    if callback.strip_suffix(" callback") == Some(name) {
                        latency.record(milliseconds(*lasted), &metrics.who);
                    }
                }
            }
            Measured::Queued(queue, event, waited) => {
                let with = metrics.with([KeyValue::new("event", *event)]);
                metrics.queues.time[*queue as usize].record(milliseconds(*waited), &with);
            }
            Measured::Processed(queue, event, lasted) => {
                let with = metrics.with([KeyValue::new("event", *event)]);
                metrics.queues.processing[*queue as usize].record(milliseconds(*lasted), &with);
            }
        }
    }
}

fn landed_as(metrics: &Instruments, landed: &Landed) {
    let outcome = KeyValue::new("outcome", landed.landing.name());
    let mut with = metrics.with([KeyValue::new("api", landed.api), outcome]);
    with.extend(landed.node.map(|node| KeyValue::new("node_id", i64::from(node.0))));
    let error = landed.landing.error();
    with.extend(error.map(|error| KeyValue::new("error.type", error.name())));
    metrics.request_latency.record(milliseconds(landed.in_flight), &with);
    metrics.unsent_time.record(milliseconds(landed.queued), &with);
}

fn ended_as(metrics: &Instruments, ended: &Ended) {
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
        metrics.on_expired(ended.kind.name());
    }
}
