//! Record batches (message format v2) as a Fetch response carries them, read where they lie.
//!
//! Decides what is a legal batch and what is not: [`Batches`] frames and checks (length, format,
//! CRC32C, header), [`Batch`] decompresses within a bound, [`Chunk`] is one partition's answer with
//! a cursor, and [`Slice`] is what it hands out: records already walked once, so that reading them
//! cannot fail. Deliberately not here: whom to fetch from, positions, assignments.
//!
//! Format: Kafka's `DefaultRecordBatch` and `DefaultRecord` (4.3), KIP-98 "Message format",
//! KIP-82 (headers), KIP-110 (zstd). Hostile bytes give a [`RecordError`]: no panic, and no
//! allocation that a count on the wire could choose.

mod aborted;
mod batch;
mod chunk;
mod compression;
pub mod encode;
mod error;
mod read;
mod slice;
mod varint;

#[cfg(test)]
mod tests;

pub use aborted::AbortedTransaction;
pub use batch::{Batch, BatchRecords, Batches, TimestampType};
pub use chunk::{Chunk, ChunkOptions};
pub use compression::Compression;
pub use error::{RecordError, RecordFault};
pub use read::{Header, HeaderIter, Headers, Record};
pub use slice::{Slice, SliceIter};
