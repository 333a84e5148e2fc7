//! What a record batch is: framing, CRC32C and header checks, and its body within a bound.

use std::fmt;

use bytes::Bytes;
use evenkeel_spec::words::{LeaderEpoch, Offset};

use super::read::{self, RECORD_LENGTH_MIN, Record, Walk};
use super::{Compression, RecordError, RecordFault, compression};

/// The record batches in the `records` bytes of one partition of a Fetch response.
///
/// Yields each batch, CRC32C and header checked, without a copy. A truncated last batch, which a
/// broker may send (Kafka protocol guide, "Record Batch"), ends the iteration without an error;
/// after an error the iteration ends too, for nothing says where the next batch starts.
#[derive(Clone, Debug)]
pub struct Batches {
    pub(super) bytes: Bytes,
    /// Whether CRC32Cs are verified, or taken on trust.
    pub(super) check_crcs: bool,
}

impl Batches {
    /// The batches in `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, check_crcs: true }
    }

    /// How many bytes were not taken yet; after the last batch, the truncated tail's length.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The next batch's header and length in bytes, or `None` where only a truncated tail is left.
    pub(super) fn peek(&self) -> Result<Option<(Head, usize)>, RecordError> {
        let bytes = &self.bytes[..];
        let (Some(base_offset), Some(length)) = (bytes.first_chunk(), array(bytes, 8)) else {
            return Ok(None);
        };
        let base_offset = i64::from_be_bytes(*base_offset);
        let length = i32::from_be_bytes(length);
        let bad_length = || RecordFault::BatchLength { length }.at(base_offset);
        let after_length = usize::try_from(length).map_err(|_| bad_length())?;
        if after_length < OLD_HEADER_LENGTH_MIN {
            return Err(bad_length());
        }
        let Some(frame) = bytes.get(..LENGTH_END + after_length) else {
            return Ok(None);
        };
        match frame[MAGIC].cast_signed() {
            2 if frame.len() < HEADER_LENGTH => return Err(bad_length()),
            2 => {}
            magic @ 0..=1 => return Err(RecordFault::OldFormat { magic }.at(base_offset)),
            magic => return Err(RecordFault::UnknownFormat { magic }.at(base_offset)),
        }
        if self.check_crcs {
            let expected = u32::from_be_bytes(field(frame, CRC));
            let actual = crc_fast::crc32_iscsi(&frame[ATTRIBUTES..]);
            if actual != expected {
                return Err(RecordFault::Crc { expected, actual }.at(base_offset));
            }
        }
        let head = Head::read(frame).map_err(|fault| fault.at(base_offset))?;
        Ok(Some((head, frame.len())))
    }

    /// Passes `length` bytes that [`Self::peek`] showed, and gives them.
    pub(super) fn pass(&mut self, length: usize) -> Bytes {
        self.bytes.split_to(length)
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.peek() {
            Ok(None) => None,
            Ok(Some((head, length))) => {
                let payload = self.pass(length).split_off(HEADER_LENGTH);
                Some(Ok(Batch { head, payload }))
            }
            Err(error) => {
                self.bytes.clear();
                Some(Err(error))
            }
        }
    }
}

/// One record batch whose frame, CRC32C and header were checked; its records were not looked at.
#[derive(Clone, Debug)]
pub struct Batch {
    pub(super) head: Head,
    payload: Bytes,
}

impl Batch {
    /// The offset of the first record that was in the batch when it was written.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        offset(self.head.base_offset)
    }

    /// The offset of the last record that was in the batch when it was written: compaction removes
    /// records, but keeps this (`DefaultRecordBatch`, "Log compaction").
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        offset(self.head.last_offset)
    }

    /// Where to read on after this batch, whether records are left in it or not.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        offset(self.head.next_offset())
    }

    /// The epoch of the leader that appended the batch (KIP-320), if it is known.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.head.leader_epoch()
    }

    /// How the body is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.head.compression
    }

    /// Who set the records' timestamps.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        self.head.timestamp_type()
    }

    /// Whether the batch belongs to a transaction (KIP-98).
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.head.is_transactional()
    }

    /// Whether the batch holds control records (KIP-98), which no application sees.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.head.is_control()
    }

    /// What the records' timestamp deltas count from, in ms since the Unix epoch; the first
    /// record's timestamp, or the delete horizon (KIP-534). `None`: no timestamp.
    #[must_use]
    pub fn base_timestamp_ms(&self) -> Option<i64> {
        read::timestamp(self.head.base_timestamp)
    }

    /// The largest timestamp in the batch, or the append time, in ms since the Unix epoch.
    #[must_use]
    pub fn max_timestamp_ms(&self) -> Option<i64> {
        read::timestamp(self.head.max_timestamp)
    }

    /// The id of the idempotent or transactional producer (KIP-98), if it was one.
    #[must_use]
    pub fn producer_id(&self) -> Option<u64> {
        u64::try_from(self.head.producer_id).ok()
    }

    /// That producer's epoch.
    #[must_use]
    pub fn producer_epoch(&self) -> Option<u16> {
        u16::try_from(self.head.producer_epoch).ok()
    }

    /// The sequence number of the batch's first record (KIP-98).
    #[must_use]
    pub fn base_sequence(&self) -> Option<u32> {
        u32::try_from(self.head.base_sequence).ok()
    }

    /// How many records are in the batch: what its header says, not more than its offsets can hold.
    #[must_use]
    pub fn record_count(&self) -> u32 {
        self.head.record_count
    }

    /// The records' bytes, for [`Self::records`]: without a copy where the batch is uncompressed.
    ///
    /// # Errors
    /// The codec refuses the bytes; they are more than `decompressed_max` bytes (which bounds what
    /// is allocated, see [`Compression`]; an uncompressed body is bounded by its frame alone); or
    /// they are too few for the record count.
    pub fn body(&self, decompressed_max: usize) -> Result<Bytes, RecordError> {
        let head = &self.head;
        let body = match head.compression {
            Compression::None => Ok(self.payload.clone()),
            // Compaction may leave a header alone.
            _ if self.payload.is_empty() => Ok(Bytes::new()),
            codec => compression::decompress(codec, &self.payload, decompressed_max),
        };
        let body = body.map_err(|fault| fault.at(head.base_offset))?;
        if body.len() / RECORD_LENGTH_MIN < head.record_count as usize {
            let count = head.record_count.cast_signed();
            let fault = head.bad_count(count, body.len());
            return Err(fault.at(head.base_offset));
        }
        Ok(body)
    }

    /// The records of this batch in `body`, which [`Self::body`] gave. Control records are records
    /// here.
    #[must_use]
    pub fn records<'a>(&self, body: &'a [u8]) -> BatchRecords<'a> {
        let walk = Walk::new(body, self.head.record_count, 0);
        BatchRecords { head: self.head, body, walk: Some(walk) }
    }
}

/// The records of one batch, each checked when it is reached. Ends after the first error.
#[derive(Clone, Debug)]
pub struct BatchRecords<'a> {
    head: Head,
    body: &'a [u8],
    /// `None` after the end or an error.
    walk: Option<Walk<'a>>,
}

impl<'a> Iterator for BatchRecords<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.walk.as_mut()?.next(&self.head);
        if !matches!(next, Ok(Some(_))) {
            self.walk = None;
        }
        let head = &self.head;
        let place = next.map_err(|fault| fault.at(head.base_offset)).transpose()?;
        let (leader_epoch, timestamp_type) = (head.leader_epoch(), head.timestamp_type());
        Some(place.map(|place| place.record(self.body, leader_epoch, timestamp_type)))
    }
}

/// Who set a record's timestamp (KIP-32).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TimestampType {
    /// The producer: each record has its own.
    CreateTime,
    /// The broker: every record has the time when its batch was appended.
    LogAppendTime,
}

/// A batch header's fields: offsets checked, the rest as on the wire.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) base_offset: i64,
    pub(super) last_offset: i64,
    pub(super) compression: Compression,
    pub(super) attributes: u16,
    pub(super) leader_epoch: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) record_count: u32,
}

impl Head {
    /// Reads the header of a whole frame of at least [`HEADER_LENGTH`] bytes.
    fn read(frame: &[u8]) -> Result<Self, RecordFault> {
        let base_offset = i64::from_be_bytes(field(frame, 0));
        let attributes = u16::from_be_bytes(field(frame, ATTRIBUTES));
        let last_offset_delta = i32::from_be_bytes(field(frame, LAST_OFFSET_DELTA));
        let last_offset = base_offset
            .checked_add(i64::from(last_offset_delta))
            .filter(|last| base_offset >= 0 && last_offset_delta >= 0 && *last < i64::MAX)
            .ok_or(RecordFault::OffsetRange { last_offset_delta })?;
        let count = i32::from_be_bytes(field(frame, RECORD_COUNT));
        let mut head = Self {
            base_offset,
            last_offset,
            compression: Compression::from_attributes(attributes)?,
            attributes,
            leader_epoch: i32::from_be_bytes(field(frame, LEADER_EPOCH)),
            base_timestamp: i64::from_be_bytes(field(frame, BASE_TIMESTAMP)),
            max_timestamp: i64::from_be_bytes(field(frame, MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(field(frame, PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(field(frame, PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(field(frame, BASE_SEQUENCE)),
            record_count: 0,
        };
        let body_length = frame.len() - HEADER_LENGTH;
        head.record_count = u32::try_from(count)
            .ok()
            .filter(|count| i64::from(*count) <= head.offsets())
            .ok_or_else(|| head.bad_count(count, body_length))?;
        Ok(head)
    }

    /// Where to read on after the batch.
    pub(super) fn next_offset(&self) -> i64 {
        self.last_offset + 1
    }

    /// The leader epoch, without its sentinel -1.
    pub(super) fn leader_epoch(&self) -> Option<LeaderEpoch> {
        u32::try_from(self.leader_epoch).ok().map(LeaderEpoch)
    }

    pub(super) fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(super) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    fn offsets(&self) -> i64 {
        self.last_offset - self.base_offset + 1
    }

    fn bad_count(&self, count: i32, bytes: usize) -> RecordFault {
        RecordFault::RecordCount { count, bytes, offsets: self.offsets() }
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}..={} {} records", self.base_offset, self.last_offset, self.record_count)
    }
}

/// An offset of which the caller knows that it is not negative.
pub(super) fn offset(value: i64) -> Offset {
    Offset(u64::try_from(value).expect("a batch header with a negative offset was refused"))
}

/// The `N` bytes at `at`, if they are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied()
}

/// The `N` bytes at `at` of a frame that is at least a header long.
fn field<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    array(frame, at).expect("a frame shorter than a batch header was refused")
}

/// The bytes of a batch before its body (`DefaultRecordBatch.RECORD_BATCH_OVERHEAD`).
pub(super) const HEADER_LENGTH: usize = 61;
/// Where the length field ends: it counts the bytes after it.
pub(super) const LENGTH_END: usize = 12;
pub(super) const LEADER_EPOCH: usize = 12;
pub(super) const MAGIC: usize = 16;
pub(super) const CRC: usize = 17;
/// Where the attributes start, and with them what the CRC32C covers.
pub(super) const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const PRODUCER_EPOCH: usize = 51;
const BASE_SEQUENCE: usize = 53;
const RECORD_COUNT: usize = 57;

/// The least that a length field says in any format: a v0 message of 14 bytes
/// (`LegacyRecord.RECORD_OVERHEAD_V0`).
const OLD_HEADER_LENGTH_MIN: usize = 14;

pub(super) const LOG_APPEND_TIME: u16 = 1 << 3;
pub(super) const TRANSACTIONAL: u16 = 1 << 4;
pub(super) const CONTROL: u16 = 1 << 5;
