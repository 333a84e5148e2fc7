//! Record batches of magic 2: reads and checks their headers, stamps them on append, and builds
//! them for tests. Decides what a producer may append; it does not decompress, so that records
//! inside of a compressed batch are not looked at.
//!
//! Source: `DefaultRecordBatch` (layout) and `LogValidator` (checks) of Apache Kafka 4.3.1.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use evenkeel_spec::words::ErrorCode;

/// Bytes of a batch before its records.
pub(crate) const HEADER_BYTES: usize = 61;
const LENGTH_AT: usize = 8;
const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;

/// The fields of a batch's header that the broker decides by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    /// Bytes of the whole batch.
    pub(crate) size: usize,
    pub(crate) attributes: i16,
    /// Offsets that the batch spans.
    pub(crate) count: u32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
}

impl Header {
    /// Whether the records are compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.attributes & 0x7 != 0
    }

    /// Whether the broker stamped the records.
    pub(crate) fn has_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME_BIT != 0
    }
}

/// Checks what a producer sent for one partition: exactly one batch of magic 2, whole, with its
/// CRC, whose count fits its offsets. Errors as Kafka's `LogValidator` has them.
pub(crate) fn check(records: &Bytes, message_max_bytes: u32) -> Result<Header, ErrorCode> {
    if records.len() < HEADER_BYTES {
        return Err(ErrorCode::CorruptMessage);
    }
    if records[MAGIC_AT] != 2 {
        return Err(ErrorCode::UnsupportedForMessageFormat);
    }
    let mut head = &records[LENGTH_AT..];
    let length = usize::try_from(head.get_i32()).map_err(|_| ErrorCode::CorruptMessage)?;
    if records.len() < length + EPOCH_AT {
        return Err(ErrorCode::CorruptMessage);
    }
    if records.len() > length + EPOCH_AT {
        return Err(ErrorCode::InvalidRecord); // produce requests carry exactly one batch
    }
    if u64::from(message_max_bytes) < records.len() as u64 {
        return Err(ErrorCode::MessageTooLarge);
    }
    let mut head = &records[CRC_AT..];
    if head.get_u32() != crc_fast::crc32_iscsi(&records[ATTRIBUTES_AT..]) {
        return Err(ErrorCode::CorruptMessage);
    }
    let header = read(records);
    let claimed = (&records[57..]).get_i32();
    if i64::from(claimed) != i64::from(header.count) || header.count == 0 {
        return Err(ErrorCode::InvalidRecord);
    }
    if header.attributes & (TRANSACTIONAL_BIT | CONTROL_BIT) != 0 {
        return Err(ErrorCode::InvalidRecord); // no transactions here, and never a client's control
    }
    Ok(header)
}

/// Reads the header of a whole batch that was checked before.
pub(crate) fn read(batch: &[u8]) -> Header {
    let mut head = &batch[ATTRIBUTES_AT..HEADER_BYTES];
    let attributes = head.get_i16();
    let last_offset_delta = i64::from(head.get_i32());
    Header {
        size: batch.len(),
        attributes,
        count: u32::try_from(last_offset_delta + 1).unwrap_or(0),
        base_timestamp: head.get_i64(),
        max_timestamp: head.get_i64(),
        producer_id: head.get_i64(),
        producer_epoch: head.get_i16(),
        base_sequence: head.get_i32(),
    }
}

/// The batch as the log keeps it: with its offset and leader epoch (neither is under the CRC) and,
/// if asked, the append's time in milliseconds since 1970.
pub(crate) fn stamp(batch: &[u8], base: u64, epoch: u32, append_time: Option<i64>) -> Bytes {
    let mut stamped = BytesMut::from(batch);
    stamped[..8].copy_from_slice(&base.to_be_bytes());
    stamped[EPOCH_AT..MAGIC_AT].copy_from_slice(&epoch.to_be_bytes());
    if let Some(time) = append_time {
        let attributes = read(batch).attributes | LOG_APPEND_TIME_BIT;
        stamped[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
        stamped[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&time.to_be_bytes());
        let crc = crc_fast::crc32_iscsi(&stamped[ATTRIBUTES_AT..]);
        stamped[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    }
    stamped.freeze()
}

/// Offset delta and timestamp of the first record stamped `target` or later, with this delta or a
/// greater one. Of a compressed batch, the first record stands for all of them.
pub(crate) fn first_at_or_after(batch: &[u8], from: u32, target: i64) -> Option<(u32, i64)> {
    let header = read(batch);
    if header.max_timestamp < target {
        return None;
    }
    if header.has_log_append_time() {
        return Some((from, header.max_timestamp));
    }
    if header.is_compressed() {
        return Some((from, header.base_timestamp));
    }
    let mut records = &batch[HEADER_BYTES..];
    while records.has_remaining() {
        let length = usize::try_from(varint(&mut records)?).ok()?;
        let mut record = records.get(1..length)?;
        records.advance(length);
        let timestamp = header.base_timestamp.checked_add(varint(&mut record)?)?;
        let delta = u32::try_from(varint(&mut record)?).ok()?;
        if delta >= from && timestamp >= target {
            return Some((delta, timestamp));
        }
    }
    None
}

/// One record to append: key, value, milliseconds since 1970.
pub(crate) struct NewRecord<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp: i64,
}

/// Appends one uncompressed batch of `records` (not empty) to `out`; base offset and leader epoch
/// as given.
pub(crate) fn build(out: &mut BytesMut, base: u64, epoch: u32, records: &[NewRecord<'_>]) {
    assert!(!records.is_empty(), "a batch holds at least one record");
    let start = out.len();
    let base_timestamp = records[0].timestamp;
    let max_timestamp = records.iter().map(|record| record.timestamp).max().unwrap_or(0);
    out.put_u64(base);
    out.put_i32(0); // the length, below
    out.put_u32(epoch);
    out.put_u8(2);
    out.put_u32(0); // the CRC, below
    out.put_i16(0);
    out.put_u32(length_u32(records.len() - 1));
    out.put_i64(base_timestamp);
    out.put_i64(max_timestamp);
    out.put_i64(-1);
    out.put_i16(-1);
    out.put_i32(-1);
    out.put_u32(length_u32(records.len()));
    let mut body = BytesMut::new();
    for (delta, record) in records.iter().enumerate() {
        body.clear();
        body.put_u8(0);
        put_varint(&mut body, record.timestamp - base_timestamp);
        put_varint(&mut body, i64::from(length_u32(delta)));
        put_bytes(&mut body, record.key);
        put_bytes(&mut body, record.value);
        put_varint(&mut body, 0); // no headers
        put_varint(out, i64::from(length_u32(body.len())));
        out.extend_from_slice(&body);
    }
    let length = length_u32(out.len() - start - EPOCH_AT);
    out[start + LENGTH_AT..start + EPOCH_AT].copy_from_slice(&length.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&out[start + ATTRIBUTES_AT..]);
    out[start + CRC_AT..start + ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a batch is smaller than 4 GiB")
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, i64::from(length_u32(bytes.len())));
            out.extend_from_slice(bytes);
        }
    }
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8((rest & 0x7f) as u8);
}

fn varint(from: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{NewRecord, build, check, first_at_or_after, read, stamp};
    use bytes::{Bytes, BytesMut};
    use evenkeel_spec::words::ErrorCode;

    fn batch(timestamps: &[i64]) -> Bytes {
        let records: Vec<_> = timestamps
            .iter()
            .map(|&timestamp| NewRecord { key: None, value: Some(b"value"), timestamp })
            .collect();
        let mut out = BytesMut::new();
        build(&mut out, 7, 3, &records);
        out.freeze()
    }

    #[test]
    fn a_batch_we_build_passes_our_own_check_and_kafka_protocols_decoder() {
        let batch = batch(&[10, 12, 11]);
        let header = check(&batch, 1_000).expect("a good batch");
        assert_eq!((header.count, header.base_timestamp, header.max_timestamp), (3, 10, 12));
        let set = kafka_protocol::records::RecordBatchDecoder::decode(&mut batch.clone())
            .expect("the crate's decoder agrees");
        let offsets: Vec<_> = set.records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [7, 8, 9]);
        assert_eq!(set.records[1].timestamp, 12);
        assert_eq!(set.records[0].partition_leader_epoch, 3);
    }

    #[test]
    fn a_damaged_batch_is_refused_with_kafkas_code() {
        let good = batch(&[1]);
        let flipped = |at: usize| {
            let mut bad = BytesMut::from(&good[..]);
            bad[at] ^= 1;
            check(&bad.freeze(), 1_000)
        };
        assert_eq!(flipped(good.len() - 1), Err(ErrorCode::CorruptMessage));
        assert_eq!(flipped(16), Err(ErrorCode::UnsupportedForMessageFormat));
        assert_eq!(check(&good.slice(..60), 1_000), Err(ErrorCode::CorruptMessage));
        assert_eq!(check(&good.slice(..good.len() - 1), 1_000), Err(ErrorCode::CorruptMessage));
        assert_eq!(check(&good, 10), Err(ErrorCode::MessageTooLarge));
        let two = Bytes::from([&good[..], &good[..]].concat());
        assert_eq!(check(&two, 1_000), Err(ErrorCode::InvalidRecord));
    }

    #[test]
    fn stamping_keeps_the_crc_right() {
        let stamped = stamp(&batch(&[1, 2]), 100, 9, Some(5_000));
        let header = check(&stamped, 1_000).expect("still whole");
        assert!(header.has_log_append_time());
        assert_eq!(header.max_timestamp, 5_000);
        assert_eq!(stamped[..8], 100u64.to_be_bytes());
        assert_eq!(read(&stamped).count, 2);
    }

    #[test]
    fn the_first_record_at_or_after_a_time_is_found_inside_the_batch() {
        let batch = batch(&[10, 30, 20]);
        assert_eq!(first_at_or_after(&batch, 0, 5), Some((0, 10)));
        assert_eq!(first_at_or_after(&batch, 0, 11), Some((1, 30)));
        assert_eq!(first_at_or_after(&batch, 0, 31), None);
    }
}
