//! What `poll` returns: records with the buffers that they lie in.
//!
//! [`Records`] borrows nothing of the consumer, so that it may be sent to another thread and kept
//! while the next `poll` runs; a [`Record`] borrows from it and copies nothing.

use crate::record::{Headers, Slice, SliceIter, TimestampType};
use evenkeel_spec::words::{LeaderEpoch, Offset, TopicPartition};
use std::iter::Skip;
use std::slice;

/// The records that one `poll` returned, in offset order within each partition.
///
/// Keeps the fetched buffers alive as long as it lives. `max.poll.records` bounds it.
#[derive(Clone, Debug, Default)]
pub struct Records {
    parts: Vec<PartitionRecords>,
}

/// The records of one partition within [`Records`].
#[derive(Clone, Debug)]
pub struct PartitionRecords {
    partition: TopicPartition,
    slice: Slice,
    /// How many records from the front were handed out before, by a stream.
    skipped: usize,
}

/// One record, borrowed from [`Records`].
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition's index.
    pub partition: u32,
    /// The record's offset in its partition.
    pub offset: Offset,
    /// The epoch of the leader that appended it (KIP-320), if known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Milliseconds since the Unix epoch; `None`: the producer set none.
    pub timestamp_ms: Option<i64>,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// The key, if there is one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers (KIP-82), in the producer's order.
    pub headers: Headers<'a>,
}

/// One record with its own copy of everything: what a stream yields.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnedRecord {
    /// The topic and partition.
    pub partition: TopicPartition,
    /// The record's offset in its partition.
    pub offset: Offset,
    /// The epoch of the leader that appended it (KIP-320), if known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Milliseconds since the Unix epoch; `None`: the producer set none.
    pub timestamp_ms: Option<i64>,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// The key, if there is one.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone in a compacted topic.
    pub value: Option<Vec<u8>>,
    /// The headers: key as sent (Kafka's clients write UTF-8), and value.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Records {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(PartitionRecords::len).sum()
    }

    /// Whether there are none: nothing arrived within `poll`'s timeout.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(PartitionRecords::is_empty)
    }

    /// The records, partition by partition.
    #[must_use]
    pub fn iter(&self) -> RecordsIter<'_> {
        RecordsIter { parts: self.parts.iter(), part: None }
    }

    /// The records grouped by partition.
    pub fn partitions(&self) -> impl Iterator<Item = &PartitionRecords> {
        self.parts.iter()
    }

    pub(crate) fn push(&mut self, part: PartitionRecords) {
        if !part.is_empty() {
            self.parts.push(part);
        }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Record<'a>;
    type IntoIter = RecordsIter<'a>;

    fn into_iter(self) -> RecordsIter<'a> {
        self.iter()
    }
}

impl PartitionRecords {
    pub(crate) fn new(partition: TopicPartition, slice: Slice) -> Self {
        Self { partition, slice, skipped: 0 }
    }

    /// The same without `count` more records from the front.
    pub(crate) fn skip(&mut self, count: usize) {
        self.skipped += count;
    }

    /// The topic and partition.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slice.len().saturating_sub(self.skipped)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The offset to read next after these records, for an own store of offsets. Beyond the last
    /// record where compacted or control records follow.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.slice.next_offset()
    }

    /// The leader epoch of the last record, if known (KIP-320).
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.slice.leader_epoch()
    }

    /// The records in offset order.
    #[must_use]
    pub fn iter(&self) -> PartitionIter<'_> {
        PartitionIter { partition: &self.partition, records: self.slice.iter().skip(self.skipped) }
    }
}

impl<'a> IntoIterator for &'a PartitionRecords {
    type Item = Record<'a>;
    type IntoIter = PartitionIter<'a>;

    fn into_iter(self) -> PartitionIter<'a> {
        self.iter()
    }
}

impl Record<'_> {
    /// A copy that borrows nothing.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            partition: TopicPartition::new(self.topic, self.partition),
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            timestamp_ms: self.timestamp_ms,
            timestamp_type: self.timestamp_type,
            key: self.key.map(<[u8]>::to_vec),
            value: self.value.map(<[u8]>::to_vec),
            headers: self
                .headers
                .iter()
                .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

/// Iterates over [`Records`].
#[derive(Clone, Debug)]
pub struct RecordsIter<'a> {
    parts: slice::Iter<'a, PartitionRecords>,
    part: Option<PartitionIter<'a>>,
}

impl<'a> Iterator for RecordsIter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            if let Some(record) = self.part.as_mut().and_then(Iterator::next) {
                return Some(record);
            }
            self.part = Some(self.parts.next()?.iter());
        }
    }
}

/// Iterates over [`PartitionRecords`].
#[derive(Clone, Debug)]
pub struct PartitionIter<'a> {
    partition: &'a TopicPartition,
    records: Skip<SliceIter<'a>>,
}

impl<'a> Iterator for PartitionIter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let record = self.records.next()?;
        Some(Record {
            topic: self.partition.topic.as_str(),
            partition: self.partition.partition,
            offset: record.offset,
            leader_epoch: record.leader_epoch,
            timestamp_ms: record.timestamp_ms,
            timestamp_type: record.timestamp_type,
            key: record.key,
            value: record.value,
            headers: record.headers,
        })
    }
}
