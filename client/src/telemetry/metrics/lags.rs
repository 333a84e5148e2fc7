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

#[cfg(test)]
mod tests {
    use super::Lags;
    use evenkeel_core::Isolation;
    use evenkeel_core::request::{Fetch, FetchPartition};
    use evenkeel_spec::words::{Offset, TopicId, TopicIdPartition, TopicPartition};
    use std::collections::{BTreeMap, BTreeSet};

    fn fetch(offset: u64) -> Fetch {
        let partition = FetchPartition {
            partition: id(),
            offset: Offset(offset),
            leader_epoch: None,
            bytes_max: 1,
        };
        Fetch {
            wait_max_ms: 500,
            bytes_min: 1,
            bytes_max: 1,
            isolation: Isolation::ReadUncommitted,
            partitions: vec![partition],
            names: BTreeMap::from([(TopicId([7; 16]), "t".into())]),
        }
    }

    fn id() -> TopicIdPartition {
        TopicIdPartition { topic: TopicId([7; 16]), partition: 3 }
    }

    #[test]
    fn a_lag_is_known_once_both_ends_are_and_is_gone_with_its_partition() {
        let mut lags = Lags::default();
        let partition = TopicPartition::new("t", 3);
        let lag = |lags: &Lags| {
            let known: Vec<_> = lags.known().collect();
            assert!(known.iter().all(|(of, _)| **of == partition), "{known:?}");
            known.first().map(|(_, lag)| *lag)
        };
        lags.on_fetch(&fetch(100));
        assert_eq!(lag(&lags), None);
        lags.on_end(id(), Offset(150));
        assert_eq!(lag(&lags), Some(50));
        // A question that runs ahead is not the position.
        lags.on_fetch(&fetch(150));
        lags.on_end(id(), Offset(160));
        assert_eq!(lag(&lags), Some(60));
        lags.on_delivered(&partition, Offset(140));
        assert_eq!(lag(&lags), Some(20));
        lags.on_seek(&partition);
        assert_eq!(lag(&lags), None);
        lags.on_fetch(&fetch(160));
        assert_eq!(lag(&lags), Some(0));
        lags.retain(&BTreeSet::new());
        assert_eq!(lag(&lags), None);
    }
}
