//! Which records a group's members say they consumed: nothing lost; nothing twice but what a
//! member that was killed, or that lost its partition, had not committed.
//!
//! It reads the `records_consumed`, `offsets_committed`, `partitions_assigned`,
//! `partitions_revoked` and `partitions_lost` events that Kafka's `VerifiableConsumer`, `evenkeel consume --events` and the
//! foreign clients print.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A partition by topic name and index.
pub type Partition = (String, u64);

/// The spans of offsets that members consumed.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Those that nobody else may consume.
    firm: BTreeMap<Partition, Vec<Span>>,
    /// Those that come again, because their owner was killed, or was told that it had lost them,
    /// before it had committed them.
    excused: BTreeMap<Partition, Vec<Span>>,
}

/// How a member ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// It left the group, after it had committed.
    Left,
    /// It was killed.
    Killed,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Span {
    first: u64,
    last: u64,
}

/// What a member did with a partition since it was assigned.
#[derive(Clone, Debug, Default)]
struct Ownership {
    spans: Vec<Span>,
    /// The offset of the last commit that was confirmed.
    committed: u64,
}

impl Ledger {
    /// Adds all that one member consumed which left in the end.
    ///
    /// # Errors
    /// As [`Ledger::add_ended`].
    pub fn add(&mut self, events: &[Value]) -> Result<(), String> {
        self.add_ended(events, Ending::Left)
    }

    /// Adds all that one member consumed. What it had not committed of a partition when it was
    /// told `lost`, or killed, may be consumed again; a member that does not say what it commits
    /// is taken to have committed nothing since the partition was assigned.
    ///
    /// # Errors
    /// A sentence when an event is not in the form of `VerifiableConsumer`, or when a span's count
    /// does not fit its offsets (the topics of tests have no gaps).
    pub fn add_ended(&mut self, events: &[Value], ending: Ending) -> Result<(), String> {
        let mut open: BTreeMap<Partition, Ownership> = BTreeMap::new();
        for event in events {
            match event["name"].as_str() {
                Some("records_consumed") => {
                    for (partition, span) in spans(event)? {
                        open.entry(partition).or_default().spans.push(span);
                    }
                }
                Some("offsets_committed") if event["success"] == true => {
                    for (partition, offset) in offsets(event)? {
                        open.entry(partition).or_default().committed = offset;
                    }
                }
                Some("partitions_revoked") => self.end(&mut open, event, Ending::Left),
                Some("partitions_lost") => self.end(&mut open, event, Ending::Killed),
                _ => {}
            }
        }
        for (partition, ownership) in open {
            self.end_one(&partition, ownership, ending);
        }
        Ok(())
    }

    fn end(&mut self, open: &mut BTreeMap<Partition, Ownership>, event: &Value, ending: Ending) {
        for partition in partitions(event) {
            if let Some(ownership) = open.remove(&partition) {
                self.end_one(&partition, ownership, ending);
            }
        }
    }

    fn end_one(&mut self, partition: &Partition, ownership: Ownership, ending: Ending) {
        let Ownership { spans, committed } = ownership;
        for Span { first, last } in spans {
            // The records from here on come again.
            let cut =
                if ending == Ending::Left { last + 1 } else { committed.clamp(first, last + 1) };
            if first < cut {
                let firm = Span { first, last: cut - 1 };
                self.firm.entry(partition.clone()).or_default().push(firm);
            }
            if cut <= last {
                let excused = Span { first: cut, last };
                self.excused.entry(partition.clone()).or_default().push(excused);
            }
        }
    }

    /// How many records were consumed, those that were consumed twice counted twice.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.firm.values().chain(self.excused.values()).flatten().map(Span::count).sum()
    }

    /// How many different records were consumed.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        let mut all = self.firm.clone();
        for (partition, spans) in &self.excused {
            all.entry(partition.clone()).or_default().extend(spans);
        }
        all.values().map(|spans| distinct(spans)).sum()
    }

    /// How many were consumed again without excuse.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.firm.values().map(|s| s.iter().map(Span::count).sum::<u64>() - distinct(s)).sum()
    }

    /// How many were consumed again because their first reader had been killed, or had lost its
    /// partition, before it had committed them.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.consumed() - self.distinct() - self.duplicates()
    }

    /// Which records were consumed again without excuse, as `first..=last` of each partition.
    #[must_use]
    pub fn repeats(&self) -> Vec<String> {
        let mut repeats = Vec::new();
        for (key, spans) in &self.firm {
            let mut spans = spans.clone();
            spans.sort();
            let mut next = 0;
            for Span { first, last } in spans {
                if first < next {
                    repeats.push(format!("{}-{} {first}..={}", key.0, key.1, last.min(next - 1)));
                }
                next = next.max(last + 1);
            }
        }
        repeats
    }

    /// Where records are missing: of each partition the offsets from 0 to the last one consumed
    /// that nobody consumed, as `first..=last`.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        let keys: BTreeSet<&Partition> = self.firm.keys().chain(self.excused.keys()).collect();
        for key in keys {
            let both = [self.firm.get(key), self.excused.get(key)];
            let mut spans: Vec<Span> = both.into_iter().flatten().flatten().copied().collect();
            spans.sort();
            let mut next = 0;
            for Span { first, last } in spans {
                if first > next {
                    gaps.push(format!("{}-{} {next}..={}", key.0, key.1, first - 1));
                }
                next = next.max(last + 1);
            }
        }
        gaps
    }
}

impl Span {
    fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// The partitions that a member owns after its `events`.
#[must_use]
pub fn owned(events: &[Value]) -> BTreeSet<Partition> {
    let mut owned = BTreeSet::new();
    for event in events {
        let parts = partitions(event);
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

/// The spans of a `records_consumed` event.
fn spans(event: &Value) -> Result<Vec<(Partition, Span)>, String> {
    let parts = event["partitions"].as_array().into_iter().flatten();
    let of_part = |part: &Value| {
        let partition = partition(part).ok_or_else(|| format!("no topic: {event}"))?;
        let span = Span {
            first: number(event, part, "minOffset")?,
            last: number(event, part, "maxOffset")?,
        };
        if span.last < span.first || number(event, part, "count")? != span.count() {
            return Err(format!("the count does not fit the offsets: {event}"));
        }
        Ok((partition, span))
    };
    parts.map(of_part).collect()
}

/// The offsets of an `offsets_committed` event.
fn offsets(event: &Value) -> Result<Vec<(Partition, u64)>, String> {
    let parts = event["offsets"].as_array().into_iter().flatten();
    let of_part = |part: &Value| {
        let partition = partition(part).ok_or_else(|| format!("no topic: {event}"))?;
        Ok((partition, number(event, part, "offset")?))
    };
    parts.map(of_part).collect()
}

fn number(event: &Value, part: &Value, key: &str) -> Result<u64, String> {
    part[key].as_u64().ok_or_else(|| format!("no {key} in the event {event}"))
}

/// The partitions that an event names.
fn partitions(event: &Value) -> impl Iterator<Item = Partition> {
    event["partitions"].as_array().into_iter().flatten().filter_map(partition)
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

    fn event(name: &str, partition: u64) -> Value {
        json!({"name": name, "partitions": [{"topic": "t", "partition": partition}]})
    }

    fn committed(partition: u64, offset: u64) -> Value {
        let part = json!({"topic": "t", "partition": partition, "offset": offset});
        json!({"name": "offsets_committed", "offsets": [part], "success": true})
    }

    #[test]
    fn a_killed_member_is_excused_from_its_last_commit_on_and_no_further() {
        let mut ledger = Ledger::default();
        let killed = [consumed_event(0, 0, 9), committed(0, 6)];
        ledger.add_ended(&killed, Ending::Killed).expect("well formed");
        ledger.add(&[consumed_event(0, 5, 12)]).expect("well formed");
        assert_eq!((ledger.distinct(), ledger.duplicates(), ledger.repeated()), (13, 1, 4));
        assert_eq!(ledger.repeats(), ["t-0 5..=5"]);
    }

    #[test]
    fn a_lost_partition_is_excused_and_a_revoked_one_is_not() {
        for (told, duplicates) in [("partitions_lost", 0), ("partitions_revoked", 4)] {
            let mut ledger = Ledger::default();
            let told = [consumed_event(0, 0, 3), event(told, 0), consumed_event(0, 0, 9)];
            ledger.add(&told).expect("well formed");
            assert_eq!((ledger.distinct(), ledger.duplicates()), (10, duplicates));
        }
    }

    #[test]
    fn an_uncommitted_record_that_nobody_consumed_again_is_not_lost_and_a_gap_is_named() {
        let mut ledger = Ledger::default();
        ledger.add_ended(&[consumed_event(1, 0, 4)], Ending::Killed).expect("well formed");
        ledger.add(&[consumed_event(1, 7, 9)]).expect("well formed");
        assert_eq!((ledger.distinct(), ledger.repeated()), (8, 0));
        assert_eq!(ledger.gaps(), ["t-1 5..=6"]);
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
