//! One moment of a group, as an onlooker sees it, and which moment may follow.

use super::{Conduct, Rule, Violation};
use crate::words::{
    Epoch, ErrorCode, MemberId, Offset, Owner, Partitions, TopicId, TopicIdPartition,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A moment of a group.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct World {
    /// What the coordinator's records say of its members.
    pub grants: BTreeMap<MemberId, Grant>,
    /// Members whose session is timed.
    pub sessions: BTreeSet<MemberId>,
    /// Members whose revocation is timed.
    pub revocations: BTreeSet<MemberId>,
    /// What the coordinator's records say is committed.
    pub committed: BTreeMap<TopicIdPartition, Offset>,
    /// The consumers, by number. Shared, since most moments differ from the last in one of them.
    pub consumers: Vec<Arc<Conduct>>,
}

/// What one member is granted.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Grant {
    /// Its member epoch.
    pub epoch: Epoch,
    /// The epoch before it: what a member says that missed one answer.
    pub previous: Option<Epoch>,
    /// What it may hold, and since which epoch.
    pub assigned: BTreeMap<TopicIdPartition, Epoch>,
    /// What it must let go of but may still hold.
    pub revoking: Partitions,
    /// The topics that it subscribes to and that exist.
    pub subscribed: BTreeSet<TopicId>,
}

impl Grant {
    /// Whether the member may hold `partition`.
    #[must_use]
    pub fn covers(&self, partition: TopicIdPartition) -> bool {
        self.assigned.contains_key(&partition) || self.revoking.contains(&partition)
    }

    /// Everything that the member may hold.
    #[must_use]
    pub fn partitions(&self) -> Partitions {
        self.assigned.keys().chain(&self.revoking).copied().collect()
    }
}

impl World {
    /// Whether one step of the protocol may lead from here to `next`.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn permits(&self, next: &Self) -> Result<(), Violation> {
        if self.grants != next.grants || self.consumers != next.consumers {
            next.grants_once()?;
            self.takes_only_granted(next)?;
            self.grants_only_free(next)?;
            self.keeps_epochs(next)?;
            next.grants_only_subscribed()?;
        }
        next.times_members()?;
        Ok(())
    }

    /// O5, O7: what the coordinator may make of a commit, by its records of this moment.
    ///
    /// # Errors
    /// Accepted from somebody else than whom the partition is granted to, or refused to the member
    /// that holds it since no later than the epoch of the commit.
    pub fn permits_commit(
        &self,
        owner: Owner,
        results: &BTreeMap<TopicIdPartition, Result<(), ErrorCode>>,
    ) -> Result<(), Violation> {
        let grant = self.grants.get(&owner.member);
        for (&partition, result) in results {
            let covered = grant.is_some_and(|grant| grant.covers(partition));
            let held_since = grant.and_then(|grant| grant.assigned.get(&partition));
            let rule = match result {
                Ok(()) if !covered => Rule::CommitAcceptedFromOther,
                Err(ErrorCode::StaleMemberEpoch)
                    if held_since.is_some_and(|since| *since <= owner.epoch) =>
                {
                    Rule::CommitRefusedToOwner
                }
                Ok(()) | Err(_) => continue,
            };
            return Err(Violation::of(rule).at(partition));
        }
        Ok(())
    }

    /// G1: a partition is granted to one member only.
    fn grants_once(&self) -> Result<(), Violation> {
        let mut seen = Partitions::new();
        for partition in self.grants.values().flat_map(Grant::partitions) {
            if !seen.insert(partition) {
                return Err(Violation::of(Rule::GrantedTwice).at(partition));
            }
        }
        Ok(())
    }

    /// G2: taken only when granted. A member that the coordinator has removed cannot know yet.
    fn takes_only_granted(&self, next: &Self) -> Result<(), Violation> {
        for (number, (before, after)) in self.consumers.iter().zip(&next.consumers).enumerate() {
            let Some(grant) = after.id.and_then(|id| next.grants.get(&id)) else { continue };
            let taken = after.held.iter().filter(|p| !before.held.contains(p));
            if let Some(&partition) = taken.into_iter().find(|p| !grant.covers(**p)) {
                return Err(Violation::of(Rule::TakenUngranted).at(partition).by(number));
            }
        }
        Ok(())
    }

    /// G3: not granted elsewhere while its holder has not let go of it. The exceptions: the holder's
    /// session or rebalance timeout, its leave, its fence: then it is no member (any more), and it
    /// finds out by its next heartbeat.
    fn grants_only_free(&self, next: &Self) -> Result<(), Violation> {
        for (id, grant) in &next.grants {
            let before = self.grants.get(id);
            for &partition in grant.assigned.keys() {
                if before.is_some_and(|before| before.covers(partition)) {
                    continue;
                }
                for (number, consumer) in next.consumers.iter().enumerate() {
                    let is_other = consumer.id != Some(*id);
                    let is_member = consumer.id.is_some_and(|id| next.grants.contains_key(&id));
                    if is_other && is_member && consumer.has_in_hand(partition) {
                        return Err(Violation::of(Rule::GrantedWhileHeld).at(partition).by(number));
                    }
                }
            }
        }
        Ok(())
    }

    /// G6: a member is granted only topics that it subscribes to.
    fn grants_only_subscribed(&self) -> Result<(), Violation> {
        for grant in self.grants.values() {
            let other = grant.assigned.keys().find(|p| !grant.subscribed.contains(&p.topic));
            if let Some(&partition) = other {
                return Err(Violation::of(Rule::GrantedUnsubscribed).at(partition));
            }
        }
        Ok(())
    }

    /// G5: epochs only grow, not while the member revokes, and a partition changes hands only at a greater epoch.
    fn keeps_epochs(&self, next: &Self) -> Result<(), Violation> {
        for (id, grant) in &next.grants {
            let before = self.grants.get(id);
            let revokes = !grant.revoking.is_empty();
            if before.is_some_and(|b| b.epoch > grant.epoch || (revokes && b.epoch != grant.epoch))
            {
                return Err(Violation::of(Rule::EpochReused));
            }
            for (&partition, &since) in &grant.assigned {
                let others = self.grants.iter().filter(|(other, _)| *other != id);
                let mut held_at = others.filter_map(|(_, before)| before.assigned.get(&partition));
                if held_at.any(|&epoch| epoch >= since) {
                    return Err(Violation::of(Rule::EpochReused).at(partition));
                }
            }
        }
        Ok(())
    }

    /// G4: who is a member, and who must revoke, is timed.
    fn times_members(&self) -> Result<(), Violation> {
        for (id, grant) in &self.grants {
            let revokes = !grant.revoking.is_empty();
            if !self.sessions.contains(id) || (revokes && !self.revocations.contains(id)) {
                return Err(Violation::of(Rule::Untimed));
            }
        }
        Ok(())
    }
}
