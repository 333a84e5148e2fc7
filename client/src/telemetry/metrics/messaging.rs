//! Metrics of OpenTelemetry's semantic conventions for messaging 1.44 (Kafka), in development
//! there. Times are seconds, as there.

use evenkeel_core::request::ledger::{Outcome, Ticket};
use evenkeel_core::request::{Ended, Kind};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Messaging {
    /// The system, the group, the client.
    who: [KeyValue; 3],
    operation: Histogram<f64>,
    process: Histogram<f64>,
    consumed: Counter<u64>,
}

impl Messaging {
    pub(super) fn new(meter: &Meter, group: &str, client: &str) -> Self {
        let histogram = |name: &'static str, what: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(BOUNDARIES_S.to_vec()).build()
        };
        Self {
            who: [
                KeyValue::new("messaging.system", "kafka"),
                KeyValue::new("messaging.consumer.group.name", group.to_owned()),
                KeyValue::new("messaging.client.id", client.to_owned()),
            ],
            operation: histogram(
                "messaging.client.operation.duration",
                "Polls that returned records, and commits.",
            ),
            process: histogram(
                "messaging.process.duration",
                "From the return of a poll's records to the next call.",
            ),
            consumed: meter
                .u64_counter("messaging.client.consumed.messages")
                .with_unit("{message}")
                .with_description("Records that polls returned.")
                .build(),
        }
    }

    /// A poll that took so long returns so many records; of one topic, if it is named.
    pub(super) fn on_polled(&self, lasted: Duration, count: u64, topic: Option<&str>) {
        let with = self.with("poll", destination(topic));
        self.operation.record(lasted.as_secs_f64(), &with);
        self.consumed.add(count, &with);
    }

    /// The application is done with what a poll returned.
    pub(super) fn on_processed(&self, lasted: Duration, topic: Option<&str>) {
        self.process.record(lasted.as_secs_f64(), &self.with("process", destination(topic)));
    }

    /// A commit is over: one of the core's own stands for the calls that it carries, and for
    /// auto-commit.
    pub(super) fn on_ended(&self, ended: &Ended) {
        if let (Kind::OffsetCommit, Ticket::Own(_)) = (ended.kind, ended.ticket) {
            let lasted = Duration::from_millis(ended.ended_at.since(ended.asked_at));
            let error = (ended.outcome != Outcome::Completed).then(|| {
                let name = ended.error.map_or(ended.outcome.name(), |code| code.name());
                KeyValue::new("error.type", name)
            });
            self.operation.record(lasted.as_secs_f64(), &self.with("commit", error));
        }
    }

    fn with(&self, operation: &'static str, more: Option<KeyValue>) -> Vec<KeyValue> {
        let operation = KeyValue::new("messaging.operation.name", operation);
        self.who.iter().cloned().chain([operation]).chain(more).collect()
    }
}

fn destination(topic: Option<&str>) -> Option<KeyValue> {
    topic.map(|topic| KeyValue::new("messaging.destination.name", topic.to_owned()))
}

/// As the conventions advise.
const BOUNDARIES_S: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
