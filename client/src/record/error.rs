//! What can be wrong with fetched records: one error, its fault, and what to do about it.

use super::Compression;

/// A record batch that cannot be read, by the base offset its header claims.
///
/// Every record before the fault was or will be handed out; none after it in this partition until
/// the application seeks past it. The bytes will not get better by fetching them again, except
/// after [`RecordFault::Crc`], which may be damage on the way.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("record batch at offset {base_offset}: {fault}")]
#[non_exhaustive]
pub struct RecordError {
    /// The base offset in the batch's header, as it is on the wire (a broken header may claim
    /// anything, a negative number too).
    pub base_offset: i64,
    /// What is wrong.
    pub fault: RecordFault,
}

/// What is wrong with a record batch.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// The frame's length field is negative or less than a batch header. The bytes are not Kafka's.
    #[error("a length field of {length} bytes")]
    BatchLength {
        /// The field's value in bytes.
        length: i32,
    },
    /// Message format v0 or v1, which brokers before 4.0 may still serve from old segments. Let the
    /// broker rewrite them (Kafka 4.0 does not serve them), or seek past them.
    #[error("old message format v{magic}; only v2 (Kafka 0.11 and newer) can be read")]
    OldFormat {
        /// 0 or 1.
        magic: i8,
    },
    /// A format that does not exist (yet).
    #[error("unknown message format v{magic}")]
    UnknownFormat {
        /// The magic byte.
        magic: i8,
    },
    /// The CRC32C over the batch does not match: damaged on disk or on the way. Fetch again; if it
    /// stays, the broker's log is damaged.
    #[error("CRC32C is {actual:#010x}, the header says {expected:#010x}")]
    Crc {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// A compression id that Kafka does not define.
    #[error("unknown compression id {id}")]
    UnknownCompression {
        /// The id, 5 to 7.
        id: u8,
    },
    /// The base offset is negative, or base offset + last offset delta is no offset.
    #[error("a last offset delta of {last_offset_delta} gives no offset")]
    OffsetRange {
        /// The header's field.
        last_offset_delta: i32,
    },
    /// The record count is negative, or more than the bytes or the offsets can hold.
    #[error("{count} records cannot be in {bytes} bytes and {offsets} offsets")]
    RecordCount {
        /// The header's field.
        count: i32,
        /// The body's length in bytes, decompressed.
        bytes: usize,
        /// The number of offsets that the batch spans.
        offsets: i64,
    },
    /// The codec refuses the bytes.
    #[error("malformed {compression} data")]
    Decompress {
        /// The codec.
        compression: Compression,
    },
    /// The batch is larger than the bound when decompressed: a bomb, or the bound is too small.
    #[error("{compression} data is more than {decompressed_max} bytes when decompressed")]
    DecompressedTooLarge {
        /// The codec.
        compression: Compression,
        /// The bound in bytes.
        decompressed_max: usize,
    },
    /// A varint of more bytes or bits than its type has.
    #[error("an over-long varint")]
    VarintTooLong,
    /// The bytes end too early: the body's within the records that the header counts, or a record's
    /// within its fields.
    #[error("a record or the records end too early")]
    RecordsTruncated,
    /// A record's or a field's length is not what its content gives.
    #[error("a record's length does not match its content")]
    RecordLength,
    /// A header count or a header key's length is negative.
    #[error("a record header with a negative count or key length")]
    HeaderLength,
    /// Record offsets do not rise, or leave the batch's range.
    #[error("record offset delta {offset_delta} is out of order or range")]
    OffsetOrder {
        /// The record's field.
        offset_delta: i32,
    },
    /// Bytes are left after the last record that the header counts.
    #[error("{bytes} bytes after the last record")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// The answer to a fetch has bytes but no complete batch, so that fetching again would not
    /// progress. A broker sends at least one whole batch (KIP-74), whatever its size.
    #[error("{bytes} bytes without one complete batch")]
    NoCompleteBatch {
        /// How many.
        bytes: usize,
    },
    /// A control batch whose first record is no control record (KIP-98).
    #[error("a control batch without a control record")]
    ControlRecord,
}

impl RecordFault {
    /// The fault, blamed on the batch that claims `base_offset`.
    pub(super) fn at(self, base_offset: i64) -> RecordError {
        RecordError { base_offset, fault: self }
    }
}
