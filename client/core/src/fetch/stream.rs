//! One partition's stream: what was fetched of it and not returned, and what is asked for next.

use super::{Harvest, Order};
use crate::disposition::data_path::{Action, data_path};
use crate::position::Position;
use crate::{Chunk, Incarnation, Taken};
use evenkeel_spec::words::{ErrorCode, NodeId, Offset, Step, TopicIdPartition};
use std::collections::VecDeque;

/// How many answers of one partition are buffered: one being returned, one ahead.
const CHUNKS_MAX: usize = 2;

/// What was fetched of one partition since its position was set.
#[derive(Clone, Debug)]
pub(super) struct Stream<C> {
    pub(super) incarnation: Incarnation,
    /// What a poll returns next.
    pub(super) returned: Position,
    /// What a fetch asks for next.
    pub(super) next: Offset,
    pub(super) chunks: VecDeque<C>,
    pub(super) asked_at: Option<NodeId>,
    pub(super) pausing: bool,
    pub(super) step: Step,
    /// The log does not have `next`; believed once everything before it was returned.
    pub(super) out_of_range: bool,
    /// The end of what can be read, as of the last answer.
    pub(super) end: Option<Offset>,
}

impl<C: Chunk> Stream<C> {
    pub(super) fn buffered_bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::buffered_bytes).sum()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::held_bytes).sum()
    }

    pub(super) fn is_wanted(&self, bytes_max: usize) -> bool {
        let refused = self.out_of_range && !self.chunks.is_empty();
        self.asked_at.is_none() && !self.pausing && !self.is_full(bytes_max) && !refused
    }

    pub(super) fn is_full(&self, bytes_max: usize) -> bool {
        self.chunks.len() >= CHUNKS_MAX
            || (!self.chunks.is_empty() && self.buffered_bytes() >= bytes_max)
    }

    pub(super) fn on_error(&mut self, id: TopicIdPartition, code: ErrorCode, out: &mut Vec<Order>) {
        match data_path(code).fetch {
            Action::Reset if self.chunks.is_empty() => {
                out.push(Order::OutOfRange(id, self.next));
                return;
            }
            Action::Reset => {
                self.out_of_range = true;
                return;
            }
            Action::RefreshMetadata => out.push(Order::RefreshMetadata),
            Action::Retry | Action::FindCoordinator => {}
            Action::Tell | Action::Absent | Action::Rebootstrap => {
                out.push(Order::Tell(id, code));
            }
        }
        self.pause(id, out);
    }

    pub(super) fn pause(&mut self, id: TopicIdPartition, out: &mut Vec<Order>) {
        self.pausing = true;
        out.push(Order::Backoff(id, self.step));
        self.step = self.step.next();
    }

    /// Takes up to `left` records. Records that cannot be read are reported once nothing else is
    /// returned with them; says whether that must wait.
    pub(super) fn take(
        &mut self,
        id: TopicIdPartition,
        left: &mut usize,
        harvest: &mut Harvest<C>,
    ) -> bool {
        while *left > 0
            && let Some(chunk) = self.chunks.front_mut()
        {
            let before = self.returned.offset;
            match chunk.take(*left) {
                Ok(taken) => {
                    let is_drained = chunk.is_drained();
                    let moved = taken.records > 0 || taken.next_offset > before;
                    assert!(moved || is_drained, "a chunk that is not drained makes progress");
                    self.advance(id, taken, left, harvest);
                    if is_drained {
                        self.chunks.pop_front();
                    }
                }
                Err(fault) => {
                    if !harvest.advanced.is_empty() {
                        return true;
                    }
                    harvest.fault = Some((id, fault));
                    return false;
                }
            }
        }
        false
    }

    fn advance(
        &mut self,
        id: TopicIdPartition,
        taken: Taken<C::Part>,
        left: &mut usize,
        harvest: &mut Harvest<C>,
    ) {
        assert!(taken.records <= *left, "a chunk gives no more records than it is asked for");
        *left -= taken.records;
        let offset = taken.next_offset.max(self.returned.offset);
        let is_moved = offset > self.returned.offset;
        let leader_epoch = if is_moved { taken.leader_epoch } else { self.returned.leader_epoch };
        self.returned = Position { offset, leader_epoch };
        harvest.advanced.insert(id, self.returned);
        if taken.records > 0 {
            harvest.parts.push((id, taken));
        }
    }

    /// Damage on the way can heal: fetches the same records again. An answer that is under way
    /// continues what is thrown away here, so it is ignored.
    pub(super) fn refetch(
        &mut self,
        id: TopicIdPartition,
        incarnation: Incarnation,
        out: &mut Vec<Order>,
    ) {
        self.rewind(incarnation);
        self.pause(id, out);
    }

    /// What was fetched and not returned is void.
    pub(super) fn rewind(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
        self.asked_at = None;
        self.chunks.clear();
        self.next = self.returned.offset;
        self.out_of_range = false;
    }
}
