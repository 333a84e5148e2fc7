//! Whether the leader's log has what was read: `OffsetForLeaderEpoch` (key 23, KIP-320).
//! spec/11-positions.md, P1 to P7.
//!
//! Decides which positions are held against the log of a leader that did not write what was read,
//! and what becomes of one that the log has lost. Whom to ask and what is buffered are the shell's.
//!
//! Source: `SubscriptionState.maybeValidatePosition`, `maybeCompleteValidation` and
//! `OffsetsForLeaderEpochUtils` of Apache Kafka. Differs in that nothing is asked where the leader
//! is of the same epoch as what was read: it wrote that itself.

use super::partition::{Partition, Phase};
use super::{Mutant, Order, Position, Positions, Tell};
use crate::disposition::data_path::{Action, data_path};
use crate::request::{EpochEnd, EpochQuestion};
use crate::{Incarnation, OffsetReset};
use evenkeel_spec::words::{ErrorCode, LeaderEpoch, Offset, TopicIdPartition};
use std::collections::BTreeMap;

/// A log that lost what was read of it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Truncation {
    /// Of which partition.
    pub partition: TopicIdPartition,
    /// The position.
    pub offset: Offset,
    /// From where on the log has other records, or none; `None`: the leader does not know.
    pub diverging: Option<EpochEnd>,
}

impl Positions {
    /// Metadata may know newer leaders: what was read under older ones is doubted (P2). An epoch
    /// never goes back.
    pub fn on_leaders(
        &mut self,
        leader_epoch: impl Fn(TopicIdPartition) -> Option<LeaderEpoch>,
        out: &mut Vec<Order>,
    ) {
        let mutant = self.mutant;
        for (&id, partition) in &mut self.partitions {
            let newest = leader_epoch(id);
            if newest <= partition.leader_epoch {
                continue;
            }
            partition.leader_epoch = newest;
            match partition.phase {
                Phase::At(position)
                    if partition.doubts(position) && !Mutant::DoubtsNothing.is(mutant) =>
                {
                    partition.incarnation = self.incarnations.start();
                    partition.phase = Phase::Validating { position, asked: false };
                    out.push(Order::Stop(id));
                }
                Phase::Validating { position, .. } => {
                    // What the older leader answers counts no more (P7).
                    if !Mutant::FormerLeaderBelieved.is(mutant) {
                        partition.incarnation = self.incarnations.start();
                    }
                    partition.pausing = false;
                    out.push(Order::Disarm(id));
                    partition.begin(id, position, out);
                }
                Phase::At(_) if Mutant::FetchedKept.is(mutant) => {}
                // Nothing was read that could be doubted; what was fetched is fetched again (P2).
                Phase::At(position) => out.push(Order::Start(id, position)),
                Phase::Committed { .. } | Phase::Listed { .. } | Phase::Stuck(_) => {}
            }
        }
    }

    /// Which positions to validate now.
    pub fn validations_wanted(&self) -> BTreeMap<TopicIdPartition, (Incarnation, EpochQuestion)> {
        let mut all = BTreeMap::new();
        for (id, partition) in &self.partitions {
            if let (Phase::Validating { position, asked: false }, false) =
                (partition.phase, partition.pausing)
                && let (Some(of), Some(leader)) = (position.leader_epoch, partition.leader_epoch)
            {
                // Metadata that is older than what was read is older than the leader.
                let question = EpochQuestion { leader_epoch: of, current: leader.max(of) };
                all.insert(*id, (partition.incarnation, question));
            }
        }
        all
    }

    /// The leader said where the epoch ends of what was read; `None`: it does not know the epoch.
    pub fn on_epoch_end(
        &mut self,
        id: TopicIdPartition,
        incarnation: Incarnation,
        answer: Result<Option<EpochEnd>, ErrorCode>,
        out: &mut Vec<Order>,
    ) {
        let policy = self.policy;
        let Some((partition, position)) = self.validating(id, incarnation) else { return };
        let end = match answer {
            Ok(Some(end)) if end.offset >= position.offset => {
                return partition.start(id, position, out);
            }
            Ok(end) => end,
            Err(code) => {
                match data_path(code).offset_for_leader_epoch {
                    Action::RefreshMetadata => out.push(Order::RefreshMetadata),
                    Action::Retry | Action::FindCoordinator => {}
                    Action::Tell | Action::Reset | Action::Absent | Action::Rebootstrap => {
                        out.push(Order::Tell(Tell::Partition(id, code)));
                    }
                }
                return partition.pause(id, out);
            }
        };
        let told = Truncation { partition: id, offset: position.offset, diverging: end };
        if policy != OffsetReset::None {
            out.push(Order::WarnTruncated(told));
        }
        match end.filter(|_| policy != OffsetReset::None) {
            // The first offset that is known to differ: nothing that is left is skipped (P4).
            Some(EpochEnd { offset, leader_epoch }) => {
                partition.start(id, Position { offset, leader_epoch: Some(leader_epoch) }, out);
            }
            // P5: without a policy it is told.
            None => partition.reset(policy, Tell::Truncated(told)),
        }
    }

    /// The leader does not speak the API: reads on unvalidated, as Kafka's consumer does (P6).
    pub fn on_unspoken(
        &mut self,
        id: TopicIdPartition,
        incarnation: Incarnation,
        out: &mut Vec<Order>,
    ) {
        if let Some((partition, position)) = self.validating(id, incarnation) {
            partition.start(id, position, out);
        }
    }

    /// Where a partition is read next, also if that is in doubt.
    pub fn place(&self, id: TopicIdPartition) -> Option<Position> {
        match self.partitions.get(&id)?.phase {
            Phase::At(position) | Phase::Validating { position, .. } => Some(position),
            Phase::Committed { .. } | Phase::Listed { .. } | Phase::Stuck(_) => None,
        }
    }

    fn validating(
        &mut self,
        id: TopicIdPartition,
        incarnation: Incarnation,
    ) -> Option<(&mut Partition, Position)> {
        let partition = self.current(id, incarnation)?;
        match partition.phase {
            Phase::Validating { position, .. } => Some((partition, position)),
            Phase::Committed { .. } | Phase::Listed { .. } | Phase::At(_) | Phase::Stuck(_) => None,
        }
    }
}

impl Partition {
    /// Whether another leader than the one that is known wrote what was read (P1). Without an epoch
    /// on either side there is nothing to ask (P3).
    pub(super) fn doubts(&self, position: Position) -> bool {
        matches!((position.leader_epoch, self.leader_epoch), (Some(of), Some(leader)) if of != leader)
    }
}

#[cfg(test)]
mod tests;
