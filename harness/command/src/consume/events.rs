//! The events of Kafka's `VerifiableConsumer` (`org.apache.kafka.tools`, 4.3.1): one JSON object a
//! line, each flushed when it is written.

use super::Taken;
use evenkeel::{Committed, Record, TopicPartition};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn startup_complete() -> String {
    event("startup_complete", json!({}))
}

pub(super) fn shutdown_complete() -> String {
    event("shutdown_complete", json!({}))
}

/// `partitions_assigned`, `partitions_revoked` or `partitions_lost`.
pub(super) fn partitions(name: &str, partitions: &[TopicPartition]) -> String {
    let partitions: Vec<_> = partitions.iter().map(place).collect();
    event(name, json!({ "partitions": partitions }))
}

pub(super) fn records_consumed(taken: &[Taken<'_>]) -> String {
    let part = |taken: &Taken<'_>| {
        let mut part = place(taken.records.partition());
        part["count"] = taken.count.into();
        part["minOffset"] = taken.iter().next().map(|record| record.offset.0).into();
        part["maxOffset"] = taken.iter().last().map(|record| record.offset.0).into();
        part
    };
    let parts: Vec<Value> = taken.iter().map(part).collect();
    let count: usize = taken.iter().map(|taken| taken.count).sum();
    event("records_consumed", json!({"count": count, "partitions": parts}))
}

pub(super) fn offsets_committed(taken: &[Taken<'_>], error: Option<&str>) -> String {
    let offset = |taken: &Taken<'_>| {
        let (partition, committed) = taken.commits();
        let mut place = place(&partition);
        place["offset"] = committed.offset.0.into();
        place
    };
    let offsets: Vec<Value> = taken.iter().map(offset).collect();
    let mut fields = json!({"offsets": offsets, "success": error.is_none()});
    if let Some(error) = error {
        fields["error"] = error.into();
    }
    event("offsets_committed", fields)
}

impl Taken<'_> {
    /// The records that are taken, in offset order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().take(self.count)
    }

    /// What to commit once they are done with.
    pub(super) fn commits(&self) -> (TopicPartition, Committed) {
        let last = self.iter().last();
        let (offset, leader_epoch) = match last {
            Some(last) if self.count < self.records.len() => {
                (evenkeel::Offset(last.offset.0 + 1), last.leader_epoch)
            }
            _ => (self.records.next_offset(), self.records.leader_epoch()),
        };
        let committed = Committed { offset, leader_epoch, metadata: "".into() };
        (self.records.partition().clone(), committed)
    }
}

fn place(partition: &TopicPartition) -> Value {
    json!({"topic": partition.topic.as_str(), "partition": partition.partition})
}

fn event(name: &str, mut fields: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    fields["timestamp"] = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).into();
    fields["name"] = name.into();
    format!("{fields}\n")
}
