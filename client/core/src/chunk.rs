//! What the core knows about fetched records: how many bytes, where they end, how to take some.
//!
//! The driver's own type holds the bytes; the core buffers, bounds and hands out without reading.

use evenkeel_spec::words::{LeaderEpoch, Offset};
use std::fmt::Debug;

/// The records of one partition out of one Fetch response, and a cursor over them.
pub trait Chunk {
    /// What a poll hands out.
    type Part: Debug;
    /// Why records cannot be read.
    type Fault: Clone + Debug + Eq;

    /// Bytes that were not taken yet.
    fn buffered_bytes(&self) -> usize;

    /// Bytes of memory that it keeps: those that were taken too, while they cannot be freed without
    /// the others. 0 once it is drained.
    fn held_bytes(&self) -> usize;

    /// Where to fetch next: after the last whole batch. Never below the offset fetched from.
    fn end_offset(&self) -> Offset;

    /// Whether nothing is left to take: neither records nor a fault.
    fn is_drained(&self) -> bool;

    /// Takes the next records, at most `records_max`.
    ///
    /// # Errors
    /// The next record cannot be read; nothing was taken, and each later call says the same.
    fn take(&mut self, records_max: usize) -> Result<Taken<Self::Part>, Self::Fault>;
}

/// What was taken out of a [`Chunk`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Taken<P> {
    /// The records.
    pub part: P,
    /// How many; 0 where only control or compacted records were passed.
    pub records: usize,
    /// The position after them.
    pub next_offset: Offset,
    /// The leader epoch of the last batch that was passed, also of one without records to hand out;
    /// `None`: it has none (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
}
