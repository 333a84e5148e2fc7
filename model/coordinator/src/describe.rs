//! What a group looks like from the outside (`ConsumerGroupDescribe`, key 69). States are derived,
//! never stored.

use crate::{Config, Group, MemberState};
use evenkeel_spec::words::{
    Assignor, Committed, Epoch, MemberId, Partitions, Subscription, TopicIdPartition,
};
use std::collections::BTreeMap;

/// A group's state.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// The target lags behind the group epoch.
    Assigning,
    /// Some member has not reached the target.
    Reconciling,
    /// Everybody has.
    Stable,
    /// There is no such group.
    Dead,
}

impl GroupState {
    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// A group as described.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Description {
    /// Its state.
    pub state: GroupState,
    /// The group epoch; `None`: there is no such group.
    pub epoch: Option<Epoch>,
    /// The epoch of the target; `None`: there is none.
    pub assignment_epoch: Option<Epoch>,
    /// The members.
    pub members: BTreeMap<MemberId, MemberDescription>,
    /// The committed offsets.
    pub offsets: BTreeMap<TopicIdPartition, Committed>,
}

/// A member as described.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberDescription {
    /// The member epoch.
    pub epoch: Epoch,
    /// Where it stands.
    pub state: MemberState,
    /// What it subscribes to.
    pub subscription: Subscription,
    /// The assignor it prefers.
    pub assignor: Option<Assignor>,
    /// How long it may take to revoke, milliseconds.
    pub rebalance_timeout_ms: u32,
    /// What it is granted.
    pub assigned: Partitions,
    /// What it must let go of.
    pub pending_revocation: Partitions,
    /// Its target.
    pub target: Partitions,
}

impl MemberDescription {
    /// What Kafka describes as the member's assignment: assigned and pending revocation.
    #[must_use]
    pub fn assignment(&self) -> Partitions {
        self.assigned.union(&self.pending_revocation).copied().collect()
    }
}

impl Group {
    /// Describes the group.
    #[must_use]
    pub fn describe(&self) -> Description {
        let members = self.members.iter().filter_map(|(&id, member)| {
            let current = member.current.as_ref()?;
            let target = self.target.get(&id).map(|target| (**target).clone());
            let description = MemberDescription {
                epoch: current.epoch,
                state: current.state,
                subscription: member.metadata.subscription.clone(),
                assignor: member.metadata.assignor.clone(),
                rebalance_timeout_ms: member.metadata.rebalance_timeout_ms,
                assigned: current.assigned.keys().copied().collect(),
                pending_revocation: current.pending_revocation.keys().copied().collect(),
                target: target.unwrap_or_default(),
            };
            Some((id, description))
        });
        Description {
            state: self.state(),
            epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            members: members.collect(),
            offsets: (*self.offsets).clone(),
        }
    }

    /// The group's state.
    #[must_use]
    pub fn state(&self) -> GroupState {
        if self.epoch.is_none() {
            return GroupState::Dead;
        }
        if self.members.is_empty() {
            return GroupState::Empty;
        }
        let Some(assignment_epoch) =
            self.assignment_epoch.filter(|_| self.epoch <= self.assignment_epoch)
        else {
            return GroupState::Assigning;
        };
        let is_reconciled = |member: &crate::group::Member| {
            member.current.as_ref().is_some_and(|c| c.is_reconciled_to(assignment_epoch))
        };
        if self.members.values().all(is_reconciled) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// The assignor that the next target is computed with.
    #[must_use]
    pub fn assignor(&self, config: &Config) -> Assignor {
        self.preferred_assignor(config).clone()
    }
}
