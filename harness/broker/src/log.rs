//! One partition's log, in memory: offsets, leader epochs, timestamps and idempotent producers.
//! Decides what is appended where and which whole batches a read returns; it never forgets
//! a record unless told to ([`Log::advance_start`]).

use crate::batch::{self, Header, NewRecord};
use bytes::{Bytes, BytesMut};
use evenkeel_spec::words::ErrorCode;
use std::collections::{BTreeMap, VecDeque};

/// Bytes of one batch made by [`Log::fill`]: Kafka's producers make at most `batch.size` = 16 KiB
/// by default; larger ones are common where throughput counts.
const FILL_BATCH_BYTES: usize = 64 * 1024;
/// Bytes of the buffer that batches of [`Log::fill`] share, so that a read of many is one slice.
const FILL_CHUNK_BYTES: usize = 16 * 1024 * 1024;
/// Batches of a producer that the log remembers to recognise a retry: Kafka's
/// `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`.
const PRODUCER_BATCHES_MAX: usize = 5;

/// A partition's records.
#[derive(Debug, Default)]
pub(crate) struct Log {
    batches: Vec<Batch>,
    start: u64,
    end: u64,
    /// Each leader epoch that appended, and the one that leads, with the log's end when it began;
    /// ascending.
    epochs: Vec<(u32, u64)>,
    producers: BTreeMap<i64, Producer>,
}

/// A batch as a range of a shared buffer.
#[derive(Debug)]
struct Batch {
    base: u64,
    last: u64,
    max_timestamp: i64,
    chunk: Bytes,
    from: usize,
    to: usize,
}

impl Batch {
    fn bytes(&self) -> &[u8] {
        &self.chunk[self.from..self.to]
    }

    fn continues(&self, before: &Self) -> bool {
        self.chunk.as_ptr() == before.chunk.as_ptr() && self.from == before.to
    }
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// First and last sequence and base offset of the latest batches, oldest first.
    recent: VecDeque<(i32, i32, u64)>,
}

/// What an append did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Appended {
    /// The batch's first offset.
    pub(crate) base: u64,
    /// Whether it was a retry of a batch that the log has already.
    pub(crate) duplicate: bool,
}

impl Log {
    /// The first offset that can be read.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The offset of the next record to be appended; also the high watermark.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// A new leader begins. An epoch in which nothing was appended is forgotten, as by
    /// `LeaderEpochFileCache.assign`.
    pub(crate) fn begin_epoch(&mut self, epoch: u32) {
        let end = self.end;
        self.epochs.retain(|&(_, start)| start < end);
        self.epochs.push((epoch, end));
    }

    /// The greatest epoch at most `asked`, or `asked` where all are greater, and the offset at which
    /// the next one begins (KIP-320); `None` when it is beyond all. As
    /// `LeaderEpochFileCache.endOffsetFor`.
    pub(crate) fn epoch_end(&self, asked: u32) -> Option<(u32, u64)> {
        let after = self.epochs.partition_point(|&(epoch, _)| epoch <= asked);
        let floor = after.checked_sub(1).map(|last| self.epochs[last].0);
        match self.epochs.get(after) {
            Some(&(_, next)) => Some((floor.unwrap_or(asked), next)),
            None => floor.filter(|&last| last == asked).map(|last| (last, self.end)),
        }
    }

    /// Appends a checked batch. Errors: a sequence that is not the producer's next
    /// (`OUT_OF_ORDER_SEQUENCE_NUMBER`), an old producer epoch (`INVALID_PRODUCER_EPOCH`).
    pub(crate) fn append(
        &mut self,
        records: &Bytes,
        header: &Header,
        epoch: u32,
        append_time: Option<i64>,
    ) -> Result<Appended, ErrorCode> {
        if let Some(base) = self.check_producer(header)? {
            return Ok(Appended { base, duplicate: true });
        }
        let base = self.end;
        let chunk = batch::stamp(records, base, epoch, append_time);
        let to = chunk.len();
        let max_timestamp = append_time.unwrap_or(header.max_timestamp);
        self.push(chunk, 0, to, header.count, max_timestamp);
        self.remember_producer(header, base);
        Ok(Appended { base, duplicate: false })
    }

    /// Appends one record; returns its offset.
    pub(crate) fn append_record(&mut self, epoch: u32, record: &NewRecord<'_>) -> u64 {
        let base = self.end;
        let mut out = BytesMut::new();
        batch::build(&mut out, base, epoch, std::slice::from_ref(record));
        let to = out.len();
        self.push(out.freeze(), 0, to, 1, record.timestamp);
        base
    }

    /// Appends `count` records without key, each with `value`, in batches that share buffers.
    pub(crate) fn fill(&mut self, epoch: u32, count: u64, value: &[u8], timestamp: i64) {
        let per_batch = (FILL_BATCH_BYTES / (value.len() + 16)).max(1) as u64;
        let mut left = count;
        while left > 0 {
            let size = per_batch.min(left);
            let record = || NewRecord { key: None, value: Some(value), timestamp };
            let records: Vec<_> = (0..size).map(|_| record()).collect();
            let mut batch = BytesMut::new();
            batch::build(&mut batch, 0, epoch, &records);
            let batches = (FILL_CHUNK_BYTES / batch.len()).max(1) as u64;
            let batches = batches.min(left / size);
            self.push_copies(&mut batch, batches, size, timestamp);
            left -= batches * size;
        }
    }

    /// Appends `copies` of a batch of `count` records in one buffer; only their offsets differ,
    /// which the CRC does not cover.
    fn push_copies(&mut self, batch: &mut BytesMut, copies: u64, count: u64, timestamp: i64) {
        let mut out = BytesMut::new();
        for copy in 0..copies {
            batch[..8].copy_from_slice(&(self.end + copy * count).to_be_bytes());
            out.extend_from_slice(batch);
        }
        let chunk = out.freeze();
        let count = u32::try_from(count).expect("at most a batch");
        for from in (0..chunk.len()).step_by(batch.len()) {
            self.push(chunk.clone(), from, from + batch.len(), count, timestamp);
        }
    }

    /// Whole batches from the one that holds `offset`: at most `bytes_max`, but the first one in
    /// any case if `at_least_one`. Empty at the log's end.
    pub(crate) fn read(&self, offset: u64, bytes_max: usize, at_least_one: bool) -> Bytes {
        let first = self.batches.partition_point(|batch| batch.last < offset);
        let mut size = 0;
        let mut after = first;
        let mut contiguous = true;
        while let Some(batch) = self.batches.get(after) {
            let bytes = batch.to - batch.from;
            let fits = size + bytes <= bytes_max || (after == first && at_least_one);
            if !fits {
                break;
            }
            size += bytes;
            contiguous &= after == first || batch.continues(&self.batches[after - 1]);
            after += 1;
        }
        let run = &self.batches[first..after];
        match run {
            [] => Bytes::new(),
            [head, .., tail] if contiguous => head.chunk.slice(head.from..tail.to),
            [only] => only.chunk.slice(only.from..only.to),
            many => {
                let mut out = BytesMut::with_capacity(size);
                many.iter().for_each(|batch| out.extend_from_slice(batch.bytes()));
                out.freeze()
            }
        }
    }

    /// The leader epoch of the record at `offset`, by the epochs' start offsets.
    pub(crate) fn epoch_at(&self, offset: u64) -> Option<u32> {
        let after = self.epochs.partition_point(|&(_, start)| start <= offset);
        self.epochs.get(after.checked_sub(1)?).map(|&(epoch, _)| epoch)
    }

    /// Offset and timestamp of the first record stamped `target` or later.
    pub(crate) fn first_at_or_after(&self, target: i64) -> Option<(u64, i64)> {
        self.batches.iter().find_map(|batch| {
            // What was deleted at the start of a batch is still there as bytes.
            let from = u32::try_from(self.start.saturating_sub(batch.base)).ok()?;
            let (delta, timestamp) = batch::first_at_or_after(batch.bytes(), from, target)?;
            Some((batch.base + u64::from(delta), timestamp))
        })
    }

    /// Offset and timestamp of the record with the greatest timestamp.
    pub(crate) fn greatest_timestamp(&self) -> Option<(u64, i64)> {
        let greatest = self.batches.iter().map(|batch| batch.max_timestamp).max()?;
        self.first_at_or_after(greatest)
    }

    /// Forgets what is before `offset`, as retention does; at most up to the end.
    pub(crate) fn advance_start(&mut self, offset: u64) {
        self.start = self.start.max(offset.min(self.end));
        let start = self.start;
        self.batches.retain(|batch| batch.last >= start);
    }

    /// Forgets what is at `offset` and later, as a new leader that lacks it does.
    pub(crate) fn truncate(&mut self, offset: u64) {
        self.batches.retain(|batch| batch.last < offset);
        self.end = self.batches.last().map_or(self.start, |batch| batch.last + 1);
        let end = self.end;
        self.epochs.retain(|&(_, start)| start <= end);
        self.producers.clear();
    }

    fn push(&mut self, chunk: Bytes, from: usize, to: usize, count: u32, max_timestamp: i64) {
        let base = self.end;
        let last = base + u64::from(count) - 1;
        self.batches.push(Batch { base, last, max_timestamp, chunk, from, to });
        self.end = last + 1;
    }

    /// The offset of the batch that this one repeats, if it does.
    fn check_producer(&self, header: &Header) -> Result<Option<u64>, ErrorCode> {
        if header.producer_id < 0 {
            return Ok(None);
        }
        let Some(producer) = self.producers.get(&header.producer_id) else { return Ok(None) };
        if header.producer_epoch < producer.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let (first, last) = sequences(header);
        if header.producer_epoch > producer.epoch {
            return if first == 0 { Ok(None) } else { Err(ErrorCode::OutOfOrderSequenceNumber) };
        }
        if let Some(&(.., base)) =
            producer.recent.iter().find(|&&(from, to, _)| (from, to) == (first, last))
        {
            return Ok(Some(base));
        }
        match producer.recent.back() {
            Some(&(_, latest, _)) if next_sequence(latest) != first => {
                Err(ErrorCode::OutOfOrderSequenceNumber)
            }
            _ => Ok(None),
        }
    }

    fn remember_producer(&mut self, header: &Header, base: u64) {
        if header.producer_id < 0 {
            return;
        }
        let (first, last) = sequences(header);
        let fresh = || Producer { epoch: header.producer_epoch, recent: VecDeque::new() };
        let producer = self.producers.entry(header.producer_id).or_insert_with(fresh);
        if producer.epoch != header.producer_epoch {
            *producer = fresh();
        }
        producer.recent.push_back((first, last, base));
        if producer.recent.len() > PRODUCER_BATCHES_MAX {
            producer.recent.pop_front();
        }
    }
}

/// First and last sequence of a batch; they wrap from `i32::MAX` to 0.
fn sequences(header: &Header) -> (i32, i32) {
    let last = (i64::from(header.base_sequence) + i64::from(header.count) - 1) % (1 << 31);
    (header.base_sequence, i32::try_from(last).unwrap_or(0))
}

fn next_sequence(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}

#[cfg(test)]
mod tests;
