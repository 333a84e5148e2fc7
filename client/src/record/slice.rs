//! What a poll hands out of one partition: records that were walked once, so that reading them
//! again cannot fail.

use std::slice;

use bytes::Bytes;
use evenkeel_spec::words::{LeaderEpoch, Offset};

use super::TimestampType;
use super::batch::offset;
use super::read::{Place, Record};

/// Consecutive records of one partition, with the buffers they lie in.
///
/// Owns one reference to each batch's body, and a list of where its records lie (40 bytes a
/// record), so that reading parses nothing a second time; may be sent to another thread and
/// kept. Made by [`Chunk::take`](super::Chunk::take).
#[derive(Clone, Debug)]
pub struct Slice {
    runs: Vec<Run>,
    len: usize,
    next_offset: i64,
    leader_epoch: Option<LeaderEpoch>,
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

    /// The leader epoch of the last batch before [`Self::next_offset`], also of one that was skipped:
    /// for the committed offset and for truncation detection (KIP-320). `None`: it has none.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epoch
    }

    /// The records, in offset order.
    #[must_use]
    pub fn iter(&self) -> SliceIter<'_> {
        SliceIter { runs: self.runs.iter(), run: None, places: [].iter(), left: self.len }
    }

    pub(super) fn starting_at(next_offset: i64) -> Self {
        Self { runs: Vec::new(), len: 0, next_offset, leader_epoch: None }
    }

    pub(super) fn push(&mut self, run: Run) {
        self.len += run.places.len();
        self.runs.push(run);
    }

    pub(super) fn advance(&mut self, next_offset: i64, leader_epoch: Option<LeaderEpoch>) {
        self.next_offset = next_offset;
        self.leader_epoch = leader_epoch;
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
    /// The run that is being read, and what of it was not read yet.
    run: Option<&'a Run>,
    places: slice::Iter<'a, Place>,
    left: usize,
}

impl<'a> Iterator for SliceIter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            if let (Some(run), Some(place)) = (self.run, self.places.next()) {
                self.left -= 1;
                return Some(place.record(&run.body, run.leader_epoch, run.timestamp_type));
            }
            let run = self.runs.next()?;
            self.run = Some(run);
            self.places = run.places.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for SliceIter<'_> {}

/// Consecutive records of one batch, by where they lie in its body.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) leader_epoch: Option<LeaderEpoch>,
    pub(super) timestamp_type: TimestampType,
    pub(super) body: Bytes,
    pub(super) places: Vec<Place>,
}
