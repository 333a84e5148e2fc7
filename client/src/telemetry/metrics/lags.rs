//! How far behind each assigned partition is: Kafka's `records-lag`, the high watermark less the
//! position.

use evenkeel_core::request::{Fetch, TopicNames};
use evenkeel_spec::words::{Offset, TopicIdPartition, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of each partition.
#[derive(Debug, Default)]
pub(super) struct Lags {
    names: TopicNames,
    partitions: BTreeMap<TopicPartition, Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The high watermark.
    end: Option<Offset>,
    /// The next record to hand over.
    next: Option<Offset>,
}

impl Lags {
    /// These are asked for. Where nothing was handed over yet the first question is the position;
    /// later ones run ahead of it.
    pub(super) fn on_fetch(&mut self, fetch: &Fetch) {
        for (id, name) in &fetch.names {
            self.names.entry(*id).or_insert_with(|| name.clone());
        }
        for asked in &fetch.partitions {
            if let Some(partition) = self.named(asked.partition) {
                self.partitions.entry(partition).or_default().next.get_or_insert(asked.offset);
            }
        }
    }

    pub(super) fn on_end(&mut self, partition: TopicIdPartition, end: Offset) {
        if let Some(partition) = self.named(partition)
            && let Some(known) = self.partitions.get_mut(&partition)
        {
            known.end = Some(end);
        }
    }

    pub(super) fn on_delivered(&mut self, partition: &TopicPartition, next: Offset) {
        if let Some(known) = self.partitions.get_mut(partition) {
            known.next = Some(next);
        }
    }

    /// The next question is the position again.
    pub(super) fn on_seek(&mut self, partition: &TopicPartition) {
        if let Some(known) = self.partitions.get_mut(partition) {
            known.next = None;
        }
    }

    pub(super) fn retain(&mut self, assigned: &BTreeSet<TopicPartition>) {
        self.partitions.retain(|partition, _| assigned.contains(partition));
    }

    /// Where both ends are known.
    pub(super) fn known(&self) -> impl Iterator<Item = (&TopicPartition, u64)> {
        self.partitions.iter().filter_map(|(partition, known)| {
            let (end, next) = known.end.zip(known.next)?;
            Some((partition, end.0.saturating_sub(next.0)))
        })
    }

    fn named(&self, partition: TopicIdPartition) -> Option<TopicPartition> {
        let name = self.names.get(&partition.topic)?;
        Some(TopicPartition { topic: name.clone(), partition: partition.partition })
    }
}
