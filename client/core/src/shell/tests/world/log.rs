//! Logs of the scripted cluster, and the records that are fetched of them.

use crate::request::EpochEnd;
use crate::{Chunk, Taken};
use evenkeel_spec::words::{ErrorCode, LeaderEpoch, NodeId, Offset, TopicId, TopicIdPartition};

/// Records of 100 bytes from `next` to `end`; the one at `damaged_at` cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Records {
    pub(crate) next: u64,
    pub(crate) end: u64,
    pub(crate) damaged_at: Option<u64>,
    /// Nothing but what is skipped: of aborted transactions, say.
    pub(crate) is_hollow: bool,
    pub(crate) epochs: Epochs,
}

impl Records {
    pub(crate) fn new(next: u64, end: u64) -> Self {
        Self { next, end, damaged_at: None, is_hollow: false, epochs: Epochs::new() }
    }
}

/// Bytes of one record.
pub(crate) const RECORD_BYTES: u64 = 100;

impl Chunk for Records {
    type Part = (u64, u64);
    type Fault = &'static str;

    fn buffered_bytes(&self) -> usize {
        usize::try_from((self.end - self.next) * RECORD_BYTES).expect("small")
    }

    fn held_bytes(&self) -> usize {
        self.buffered_bytes()
    }

    fn end_offset(&self) -> Offset {
        Offset(self.end)
    }

    fn is_drained(&self) -> bool {
        self.next == self.end
    }

    fn take(&mut self, records_max: usize) -> Result<Taken<(u64, u64)>, &'static str> {
        let from = self.next;
        if self.is_hollow {
            self.next = self.end;
            let (next_offset, leader_epoch) = (Offset(self.end), self.leader_epoch());
            return Ok(Taken { part: (from, from), records: 0, next_offset, leader_epoch });
        }
        let until = self.damaged_at.unwrap_or(self.end);
        if from == until {
            return Err("damaged");
        }
        self.next = until.min(from + records_max as u64);
        Ok(Taken {
            part: (from, self.next),
            records: usize::try_from(self.next - from).expect("small"),
            next_offset: Offset(self.next),
            leader_epoch: self.leader_epoch(),
        })
    }
}

impl Records {
    /// Of what was taken last; 1 in a cluster that knows no epochs.
    fn leader_epoch(&self) -> Option<LeaderEpoch> {
        let last = self.next.saturating_sub(1);
        Some(LeaderEpoch(epoch_at(&self.epochs, last).unwrap_or(1)))
    }
}

/// A topic of the cluster: each partition's leader and log.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) id: TopicId,
    pub(crate) leaders: Vec<NodeId>,
    pub(crate) starts: Vec<u64>,
    pub(crate) ends: Vec<u64>,
    /// Each leader epoch and where it begins; none: the cluster knows no epochs.
    pub(crate) epochs: Vec<Epochs>,
}

/// Leader epochs with the offsets at which they begin, ascending.
pub(crate) type Epochs = Vec<(u32, u64)>;

/// Records that a fetch was answered with, and their log at that moment.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) id: TopicIdPartition,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) start: u64,
    pub(crate) epochs: Epochs,
}

/// The leader epoch of the record at this offset.
pub(crate) fn epoch_at(epochs: &Epochs, offset: u64) -> Option<u32> {
    epochs.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
}

impl Log {
    /// Another leader, under the next epoch, which lacks what lies at `end` and after it. As
    /// `LeaderEpochFileCache.assign` of Apache Kafka: an epoch that has no records is forgotten.
    pub(crate) fn elect(&mut self, index: usize, leader: NodeId, end: u64) {
        self.leaders[index] = leader;
        self.ends[index] = end;
        let next = self.epochs[index].last().map_or(0, |(epoch, _)| epoch + 1);
        self.epochs[index].retain(|(_, start)| *start < end);
        self.epochs[index].push((next, end));
    }

    /// Retention: what lies before `start` is forgotten, and the epochs that lie there. As
    /// `LeaderEpochFileCache.truncateFromStart` of Apache Kafka.
    pub(crate) fn forget(&mut self, index: usize, start: u64) {
        self.starts[index] = start;
        let epochs = &mut self.epochs[index];
        let gone = epochs.iter().take_while(|(_, begins)| *begins <= start).count();
        epochs.drain(..gone.saturating_sub(1));
        if gone > 0 {
            epochs[0].1 = start;
        }
    }

    pub(super) fn leader_epoch(&self, index: usize) -> Option<LeaderEpoch> {
        self.epochs[index].last().map(|(epoch, _)| LeaderEpoch(*epoch))
    }

    /// Why a broker refuses what is asked under this leader epoch.
    pub(super) fn refusal(
        &self,
        index: usize,
        node: NodeId,
        asked: Option<LeaderEpoch>,
    ) -> Option<ErrorCode> {
        if self.leaders[index] != node {
            return Some(ErrorCode::NotLeaderOrFollower);
        }
        match (asked, self.leader_epoch(index)) {
            (Some(asked), Some(known)) if asked < known => Some(ErrorCode::FencedLeaderEpoch),
            (Some(asked), Some(known)) if asked > known => Some(ErrorCode::UnknownLeaderEpoch),
            _ => None,
        }
    }

    /// As `LeaderEpochFileCache.endOffsetFor` of Apache Kafka.
    pub(super) fn epoch_end(&self, index: usize, asked: LeaderEpoch) -> Option<EpochEnd> {
        let epochs = &self.epochs[index];
        let end = |leader_epoch, offset| EpochEnd { leader_epoch, offset: Offset(offset) };
        if epochs.last().is_some_and(|(last, _)| *last == asked.0) {
            return Some(end(asked, self.ends[index]));
        }
        let (_, next) = epochs.iter().find(|(epoch, _)| *epoch > asked.0)?;
        let floor = epochs.iter().rev().find(|(epoch, _)| *epoch <= asked.0);
        Some(end(floor.map_or(asked, |(epoch, _)| LeaderEpoch(*epoch)), *next))
    }
}
