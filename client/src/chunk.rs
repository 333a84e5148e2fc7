//! How the core sees fetched records: [`record::Chunk`](crate::record::Chunk) as core's `Chunk`.

use crate::record::{Chunk, RecordError, Slice};
use evenkeel_core::Taken;
use evenkeel_spec::words::Offset;

impl evenkeel_core::Chunk for Chunk {
    type Part = Slice;
    type Fault = RecordError;

    fn buffered_bytes(&self) -> usize {
        Self::buffered_bytes(self)
    }

    fn held_bytes(&self) -> usize {
        Self::held_bytes(self)
    }

    fn end_offset(&self) -> Offset {
        Self::end_offset(self)
    }

    fn is_drained(&self) -> bool {
        Self::is_drained(self)
    }

    fn take(&mut self, records_max: usize) -> Result<Taken<Slice>, RecordError> {
        let slice = Self::take(self, records_max)?;
        Ok(Taken {
            records: slice.len(),
            next_offset: slice.next_offset(),
            leader_epoch: slice.leader_epoch(),
            part: slice,
        })
    }
}
