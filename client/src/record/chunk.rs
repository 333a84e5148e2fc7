//! One partition's answer to a fetch, and how far it was handed out.
//!
//! Decides when what is checked. Built: every batch's frame, CRC32C and header, so that the offset
//! to fetch next is known at once. Taken: a batch is decompressed when the cursor enters it, on the
//! taker's thread, and its records are walked and checked before they are handed out, at most
//! `max.poll.records` of them; so reading a [`Slice`] cannot fail, and an application never sees a
//! partition end in silence. A fault is an error of [`Chunk::take`], after all records before it.

use bytes::Bytes;
use evenkeel_spec::words::{LeaderEpoch, Offset};

use super::aborted::Aborted;
use super::batch::{Head, offset};
use super::read::Walk;
use super::slice::{Run, Slice};
use super::{AbortedTransaction, Batch, Batches, Compression, RecordError, RecordFault};

/// How a chunk is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChunkOptions {
    /// The most bytes that one batch may have when decompressed.
    pub decompressed_max: usize,
    /// Whether CRC32Cs are verified (Kafka's `check.crcs`).
    pub check_crcs: bool,
}

impl Default for ChunkOptions {
    /// At most 128 MiB a batch, which is over a hundred times what producers send by default
    /// (`max.request.size`, 1 MiB); CRC32Cs are verified.
    fn default() -> Self {
        Self { decompressed_max: 128 * 1024 * 1024, check_crcs: true }
    }
}

/// The `records` bytes of one partition of a Fetch response, and a cursor over them.
///
/// Holds the bytes as they came and at most one decompressed batch.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Checked batches that the cursor has not entered.
    batches: Batches,
    /// What is wrong after them.
    fault_after: Option<RecordError>,
    /// The batch that the cursor is in.
    open: Option<OpenBatch>,
    /// What stopped the cursor.
    stopped: Option<RecordError>,
    aborted: Aborted,
    /// Of the last batch of which anything was passed.
    leader_epoch: Option<LeaderEpoch>,
    next_offset: i64,
    end_offset: i64,
    /// Of what came, bytes: all batches, and a truncated tail.
    length: usize,
    decompressed_max: usize,
}

impl Chunk {
    /// A chunk that was fetched from `fetch_offset`: records below it, which a broker sends where
    /// it lies within a batch, are not handed out.
    #[must_use]
    pub fn new(mut records: Bytes, fetch_offset: Offset, options: ChunkOptions) -> Self {
        let next_offset = i64::try_from(fetch_offset.0).unwrap_or(i64::MAX);
        let mut batches = Batches::new(records.clone());
        batches.check_crcs = options.check_crcs;
        let mut end_offset = next_offset;
        let fault_after = loop {
            match batches.peek() {
                Ok(Some((head, length))) => {
                    end_offset = end_offset.max(head.next_offset());
                    batches.pass(length);
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let tail = batches.remaining();
        let length = records.len();
        let checked = length - tail;
        let starved = checked == 0 && tail > 0;
        let fault_after = fault_after.or_else(|| {
            starved.then(|| RecordFault::NoCompleteBatch { bytes: tail }.at(next_offset))
        });
        records.truncate(checked);
        Self {
            batches: Batches { bytes: records, check_crcs: false },
            fault_after,
            open: None,
            stopped: None,
            aborted: Aborted::default(),
            leader_epoch: None,
            next_offset,
            end_offset,
            length,
            // A frame is below 2 GiB; places in a body are 32 bits.
            decompressed_max: options.decompressed_max.min(u32::MAX as usize),
        }
    }

    /// Skips the records of these aborted transactions, which the same Fetch response named: what
    /// `isolation.level=read_committed` needs.
    #[must_use]
    pub fn skip_aborted(mut self, transactions: Vec<AbortedTransaction>) -> Self {
        self.aborted = Aborted::new(transactions);
        self
    }

    /// The position: the offset after all that was taken, skipped records included.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        offset(self.next_offset)
    }

    /// Where to fetch next while this chunk is not taken yet: the offset after its last whole
    /// batch.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        offset(self.end_offset)
    }

    /// How many bytes are buffered that the cursor has not passed, a decompressed batch counted as
    /// such (KIP-81).
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.batches.remaining() + self.open.as_ref().map_or(0, |open| open.rest.len())
    }

    /// How many bytes of memory it keeps, those of passed batches included: they lie in one piece
    /// with the others. What was taken out of it keeps that piece too, for as long as it lives.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let open = self.open.as_ref();
        let decompressed = open.map_or(0, |open| if open.is_apart { open.length } else { 0 });
        let is_left = self.batches.remaining() > 0 || open.is_some_and(|open| !open.is_apart);
        if is_left { self.length + decompressed } else { decompressed }
    }

    /// Whether nothing is left to take: neither records nor an error.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.buffered_bytes() == 0 && self.fault_after.is_none() && self.stopped.is_none()
    }

    /// Takes the next records, at most `records_max`, and advances the position past them. Fewer
    /// mean that the chunk is drained or that an error comes next; none with a higher position,
    /// that compacted or control records were skipped.
    ///
    /// # Errors
    /// The next record cannot be read. The position stays before it, and each later call returns
    /// the same error: the way on is a seek, or, after a CRC fault, another fetch.
    pub fn take(&mut self, records_max: usize) -> Result<Slice, RecordError> {
        let mut slice = Slice::starting_at(self.next_offset);
        while slice.len() < records_max {
            match self.take_run(records_max - slice.len()) {
                Ok(Some(run)) => slice.push(run),
                Err(error) if slice.is_empty() => return Err(error),
                Ok(None) | Err(_) => break,
            }
        }
        slice.advance(self.next_offset, self.leader_epoch);
        Ok(slice)
    }

    /// Takes records of one batch: at least one, unless the chunk is drained.
    fn take_run(&mut self, records_max: usize) -> Result<Option<Run>, RecordError> {
        loop {
            if let Some(error) = &self.stopped {
                return Err(error.clone());
            }
            let Some(mut open) = self.open.take() else {
                if self.enter()? {
                    continue;
                }
                return Ok(None);
            };
            let before = self.next_offset;
            let (run, end) = open.walk(&mut self.next_offset, records_max);
            if self.next_offset > before {
                self.leader_epoch = open.head.leader_epoch();
            }
            match end {
                Ok(true) => {}
                Ok(false) => self.open = Some(open),
                Err(fault) => self.stopped = Some(fault.at(open.head.base_offset)),
            }
            if run.is_some() {
                return Ok(run);
            }
        }
    }

    /// Enters the next batch that has something to hand out; `false` if there is none.
    fn enter(&mut self) -> Result<bool, RecordError> {
        let entered = self.enter_checked();
        if let Err(error) = &entered {
            self.stopped = Some(error.clone());
        }
        entered
    }

    fn enter_checked(&mut self) -> Result<bool, RecordError> {
        while let Some(batch) = self.batches.next().transpose()? {
            if batch.head.is_control() {
                self.pass_control(&batch)?;
            } else if !self.aborted.skips(&batch.head)
                && batch.head.next_offset() > self.next_offset
            {
                let rest = batch.body(self.decompressed_max)?;
                let is_apart = batch.compression() != Compression::None;
                let (length, left) = (rest.len(), batch.head.record_count);
                let head = batch.head;
                self.open = Some(OpenBatch { head, rest, length, is_apart, left, delta_min: 0 });
                return Ok(true);
            }
            if batch.head.next_offset() > self.next_offset {
                self.next_offset = batch.head.next_offset();
                self.leader_epoch = batch.head.leader_epoch();
            }
        }
        self.fault_after.take().map_or(Ok(false), Err)
    }

    /// Passes a control batch, and reads its marker if an aborted transaction may end by it.
    fn pass_control(&mut self, batch: &Batch) -> Result<(), RecordError> {
        if self.aborted.awaits_marker(&batch.head) {
            let body = batch.body(self.decompressed_max)?;
            if let Some(record) = batch.records(&body).next().transpose()? {
                let marker = self.aborted.pass_marker(&batch.head, record.key.unwrap_or_default());
                marker.map_err(|fault| fault.at(batch.head.base_offset))?;
            }
        }
        Ok(())
    }
}

/// The batch that the cursor is in: its records from the cursor on.
#[derive(Clone, Debug)]
struct OpenBatch {
    head: Head,
    rest: Bytes,
    /// Of the whole body, bytes.
    length: usize,
    /// Decompressed: in memory of its own.
    is_apart: bool,
    left: u32,
    delta_min: i64,
}

impl OpenBatch {
    /// Walks at most `records_max` records from `next_offset` on, and gives them, and whether the
    /// batch ended. Moves `next_offset` past what it walked.
    fn walk(
        &mut self,
        next_offset: &mut i64,
        records_max: usize,
    ) -> (Option<Run>, Result<bool, RecordFault>) {
        let head = self.head;
        let mut walk = Walk::new(&self.rest, self.left, self.delta_min);
        // What lies below was asked for by nobody: the broker sends whole batches.
        let start = offset(*next_offset);
        let mut places =
            Vec::with_capacity(records_max.min(self.left as usize).min(PREALLOCATED_MAX));
        let end = loop {
            if places.len() == records_max && walk.left > 0 {
                break Ok(false);
            }
            match walk.next(&head) {
                Ok(Some(place)) if place.offset < start => {}
                Ok(Some(place)) => places.push(place),
                Ok(None) => break Ok(true),
                Err(fault) => break Err(fault),
            }
        };
        let stop = walk.walked();
        (self.left, self.delta_min) = (walk.left, walk.delta_min);
        let walked = match end {
            Ok(true) => head.next_offset(),
            _ => head.base_offset + self.delta_min,
        };
        *next_offset = (*next_offset).max(walked);
        let passed = self.rest.split_to(stop);
        let run = (!places.is_empty()).then(|| Run {
            leader_epoch: head.leader_epoch(),
            timestamp_type: head.timestamp_type(),
            body: passed,
            places,
        });
        (run, end)
    }
}

/// The most places that are made room for before their records were seen: the record count in a
/// header is not believed beyond it. Twice the default `max.poll.records`.
const PREALLOCATED_MAX: usize = 1_000;
