//! What a poll hands out of one partition: records that were walked once, so that reading them
//! again cannot fail.

use std::slice;

use bytes::Bytes;
use evenkeel_spec::words::{LeaderEpoch, Offset};

use super::batch::{Head, offset};
use super::read::{self, Record};

/// Consecutive records of one partition, with the buffers they lie in.
///
/// Owns one reference to each batch and nothing for a record; may be sent to another thread and
/// kept. Made by [`Chunk::take`](super::Chunk::take).
#[derive(Clone, Debug)]
pub struct Slice {
    runs: Vec<Run>,
    len: usize,
    next_offset: i64,
}

impl Slice {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none. The position may have advanced all the same: see
    /// [`Self::next_offset`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The position after these records: beyond the last one where compacted or control records
    /// follow it.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        offset(self.next_offset)
    }

    /// The leader epoch of the last record's batch, for the committed offset and for truncation
    /// detection (KIP-320).
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.runs.last().and_then(|run| run.head.leader_epoch())
    }

    /// The records, in offset order.
    #[must_use]
    pub fn iter(&self) -> SliceIter<'_> {
        SliceIter { runs: self.runs.iter(), run: None, left: self.len }
    }

    pub(super) fn starting_at(next_offset: i64) -> Self {
        Self { runs: Vec::new(), len: 0, next_offset }
    }

    pub(super) fn push(&mut self, run: Run) {
        self.len += run.count;
        self.runs.push(run);
    }

    pub(super) fn advance(&mut self, next_offset: i64) {
        self.next_offset = next_offset;
    }
}

impl<'a> IntoIterator for &'a Slice {
    type Item = Record<'a>;
    type IntoIter = SliceIter<'a>;

    fn into_iter(self) -> SliceIter<'a> {
        self.iter()
    }
}

/// Iterates over the records of a [`Slice`].
#[derive(Clone, Debug)]
pub struct SliceIter<'a> {
    runs: slice::Iter<'a, Run>,
    /// The run that is being read, and its bytes not read yet.
    run: Option<(&'a Head, &'a [u8])>,
    left: usize,
}

impl<'a> Iterator for SliceIter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            if let Some((head, bytes)) = &mut self.run
                && !bytes.is_empty()
            {
                self.left -= 1;
                let parsed = read::take(bytes).expect("a slice's records were walked before");
                return Some(parsed.record(head));
            }
            let run = self.runs.next()?;
            self.run = Some((&run.head, &run.bytes));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for SliceIter<'_> {}

/// Consecutive records of one batch: `count` whole ones in `bytes`.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) head: Head,
    pub(super) bytes: Bytes,
    pub(super) count: usize,
}
