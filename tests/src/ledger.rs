//! Which records a group's members say they consumed: nothing lost, nothing twice.
//!
//! It reads the `records_consumed`, `partitions_assigned`, `partitions_revoked` and
//! `partitions_lost` events that Kafka's `VerifiableConsumer`, `evenkeel consume --events` and the
//! foreign clients print.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A partition by topic name and index.
pub type Partition = (String, u64);

/// The spans of offsets that members consumed.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    spans: BTreeMap<Partition, Vec<Span>>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Span {
    first: u64,
    last: u64,
}

impl Ledger {
    /// Adds all that one member consumed.
    ///
    /// # Errors
    /// A sentence when an event is not in the form of `VerifiableConsumer`, or when a span's count
    /// does not fit its offsets (the topics of tests have no gaps).
    pub fn add(&mut self, events: &[Value]) -> Result<(), String> {
        for event in events.iter().filter(|event| event["name"] == "records_consumed") {
            for part in event["partitions"].as_array().into_iter().flatten() {
                let number = |key: &str| {
                    part[key].as_u64().ok_or_else(|| format!("no {key} in the event {event}"))
                };
                let span = Span { first: number("minOffset")?, last: number("maxOffset")? };
                if span.last < span.first || number("count")? != span.last - span.first + 1 {
                    return Err(format!("the count does not fit the offsets: {event}"));
                }
                let partition = partition(part).ok_or_else(|| format!("no topic: {event}"))?;
                self.spans.entry(partition).or_default().push(span);
            }
        }
        Ok(())
    }

    /// How many records were consumed, those that were consumed twice counted twice.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.spans.values().flatten().map(|span| span.last - span.first + 1).sum()
    }

    /// How many different records were consumed.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.spans.values().map(|spans| distinct(spans)).sum()
    }

    /// How many were consumed again.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.consumed() - self.distinct()
    }
}

/// The partitions that a member owns after its `events`.
#[must_use]
pub fn owned(events: &[Value]) -> BTreeSet<Partition> {
    let mut owned = BTreeSet::new();
    for event in events {
        let parts = event["partitions"].as_array().into_iter().flatten().filter_map(partition);
        match event["name"].as_str() {
            Some("partitions_assigned") => owned.extend(parts),
            Some("partitions_revoked" | "partitions_lost") => {
                for part in parts {
                    owned.remove(&part);
                }
            }
            _ => {}
        }
    }
    owned
}

/// How many records the `records_consumed` events count.
#[must_use]
pub fn consumed(events: &[Value]) -> u64 {
    let consumed = events.iter().filter(|event| event["name"] == "records_consumed");
    consumed.filter_map(|event| event["count"].as_u64()).sum()
}

fn partition(part: &Value) -> Option<Partition> {
    Some((part["topic"].as_str()?.to_owned(), part["partition"].as_u64()?))
}

fn distinct(spans: &[Span]) -> u64 {
    let mut sorted = spans.to_vec();
    sorted.sort();
    let (mut count, mut next) = (0, 0);
    for span in sorted {
        let first = span.first.max(next);
        if first <= span.last {
            count += span.last - first + 1;
            next = span.last + 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn consumed_event(partition: u64, first: u64, last: u64) -> Value {
        let count = last - first + 1;
        let part = json!({"topic": "t", "partition": partition, "count": count,
            "minOffset": first, "maxOffset": last});
        json!({"name": "records_consumed", "count": count, "partitions": [part]})
    }

    #[test]
    fn overlapping_spans_are_duplicates_and_gaps_are_missing() {
        let mut ledger = Ledger::default();
        ledger.add(&[consumed_event(0, 0, 9), consumed_event(1, 0, 4)]).expect("well formed");
        ledger.add(&[consumed_event(0, 5, 12), consumed_event(1, 7, 7)]).expect("well formed");
        assert_eq!((ledger.consumed(), ledger.distinct(), ledger.duplicates()), (24, 19, 5));
    }

    #[test]
    fn an_event_whose_count_does_not_fit_is_refused() {
        let mut event = consumed_event(0, 0, 9);
        event["partitions"][0]["count"] = json!(9);
        assert!(Ledger::default().add(&[event]).is_err());
    }

    #[test]
    fn what_is_revoked_or_lost_is_not_owned() {
        let part = |p: u64| json!({"topic": "t", "partition": p});
        let events = [
            json!({"name": "partitions_assigned", "partitions": [part(0), part(1), part(2)]}),
            json!({"name": "partitions_revoked", "partitions": [part(1)]}),
            json!({"name": "partitions_lost", "partitions": [part(2)]}),
        ];
        assert_eq!(owned(&events), BTreeSet::from([("t".to_owned(), 0)]));
    }
}
