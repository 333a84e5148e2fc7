//! Builds record batches: for tests, benches and tools. The consumer itself never writes any.
//!
//! Can write what Kafka's log may hold and a producer never sends: gaps that compaction left, empty
//! batches, append times, control batches.

use std::io::Write;

use bytes::Bytes;

use super::Compression;
use super::batch::{
    ATTRIBUTES, CONTROL, CRC, HEADER_LENGTH, LENGTH_END, LOG_APPEND_TIME, TRANSACTIONAL,
};
use super::compression::XERIAL_MAGIC;
use super::varint::put;

/// A header to write: its key and its value.
pub type HeaderBytes<'a> = (&'a [u8], Option<&'a [u8]>);

/// Builds one record batch of format v2.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    base_offset: i64,
    leader_epoch: i32,
    attributes: u16,
    compression: Compression,
    last_offset_delta: Option<i32>,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    append_time: Option<i64>,
    producer: (i64, i16, i32),
    count: i32,
    next_delta: i32,
    body: Vec<u8>,
}

impl BatchBuilder {
    /// An empty, uncompressed batch at this offset.
    #[must_use]
    pub fn new(base_offset: i64) -> Self {
        Self {
            base_offset,
            leader_epoch: -1,
            attributes: 0,
            compression: Compression::None,
            last_offset_delta: None,
            base_timestamp: None,
            max_timestamp: -1,
            append_time: None,
            producer: (-1, -1, -1),
            count: 0,
            next_delta: 0,
            body: Vec::new(),
        }
    }

    /// Sets the codec of the body. Snappy is written in xerial's framing.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the epoch of the leader that appended the batch.
    #[must_use]
    pub fn leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.leader_epoch = leader_epoch;
        self
    }

    /// Makes the timestamps append times: all this one, in ms since the Unix epoch.
    #[must_use]
    pub fn log_append_time(mut self, timestamp_ms: i64) -> Self {
        self.attributes |= LOG_APPEND_TIME;
        self.append_time = Some(timestamp_ms);
        self
    }

    /// Sets producer id, producer epoch and the first record's sequence number.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes |= TRANSACTIONAL;
        self
    }

    /// Marks the batch as one of control records.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes |= CONTROL;
        self
    }

    /// Sets the last offset delta, where compaction removed the last records. Without it, it is the
    /// last record's.
    #[must_use]
    pub fn last_offset_delta(mut self, delta: i32) -> Self {
        self.last_offset_delta = Some(delta);
        self
    }

    /// Leaves out `count` offsets, as compaction does.
    #[must_use]
    pub fn gap(mut self, count: i32) -> Self {
        self.next_delta += count;
        self
    }

    /// Appends a record with the next offset and this timestamp in ms since the Unix epoch.
    #[must_use]
    pub fn record(
        mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderBytes<'_>],
    ) -> Self {
        let base_timestamp = *self.base_timestamp.get_or_insert(timestamp_ms);
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        let mut record = vec![0];
        put(&mut record, timestamp_ms.wrapping_sub(base_timestamp));
        put(&mut record, self.next_delta.into());
        put_field(&mut record, key);
        put_field(&mut record, value);
        put_length(&mut record, headers.len());
        for (key, value) in headers {
            put_field(&mut record, Some(key));
            put_field(&mut record, *value);
        }
        put_length(&mut self.body, record.len());
        self.body.extend_from_slice(&record);
        self.count += 1;
        self.next_delta += 1;
        self
    }

    /// The batch as it is on the wire.
    #[must_use]
    pub fn build(&self) -> Bytes {
        self.seal(&compress(self.compression, &self.body))
    }

    /// The batch with this payload in place of its own.
    pub(super) fn seal(&self, payload: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(HEADER_LENGTH + payload.len());
        out.extend_from_slice(&self.base_offset.to_be_bytes());
        let length = i32::try_from(HEADER_LENGTH - LENGTH_END + payload.len());
        out.extend_from_slice(&length.expect("a batch below 2 GiB").to_be_bytes());
        out.extend_from_slice(&self.leader_epoch.to_be_bytes());
        out.push(2);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.attributes | self.compression.id()).to_be_bytes());
        let last = self.last_offset_delta.unwrap_or((self.next_delta - 1).max(0));
        out.extend_from_slice(&last.to_be_bytes());
        out.extend_from_slice(&self.base_timestamp.unwrap_or(-1).to_be_bytes());
        out.extend_from_slice(&self.append_time.unwrap_or(self.max_timestamp).to_be_bytes());
        let (id, epoch, base_sequence) = self.producer;
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&epoch.to_be_bytes());
        out.extend_from_slice(&base_sequence.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(payload);
        fix_crc(&mut out);
        out.into()
    }
}

/// Writes the CRC32C that the bytes of one whole batch ask for.
pub(super) fn fix_crc(batch: &mut [u8]) {
    let crc = crc_fast::crc32_iscsi(&batch[ATTRIBUTES..]);
    batch[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
}

fn compress(compression: Compression, body: &[u8]) -> Vec<u8> {
    const IN_MEMORY: &str = "compressing into memory does not fail";
    match compression {
        Compression::None => body.to_vec(),
        Compression::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(body).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        Compression::Snappy => {
            let mut out = XERIAL_MAGIC.to_vec();
            out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
            for block in body.chunks(XERIAL_BLOCK) {
                let block = snap::raw::Encoder::new().compress_vec(block).expect(IN_MEMORY);
                let length = u32::try_from(block.len()).expect("a block is some 32 KiB");
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(&block);
            }
            out
        }
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(body).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        Compression::Zstd => zstd::bulk::compress(body, 1).expect(IN_MEMORY),
    }
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        Some(field) => {
            put_length(out, field.len());
            out.extend_from_slice(field);
        }
        None => put(out, -1),
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put(out, i32::try_from(length).expect("a record below 2 GiB").into());
}

/// What snappy-java compresses at once by default.
const XERIAL_BLOCK: usize = 32 * 1024;
