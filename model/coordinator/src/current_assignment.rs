//! How one member gets from what it has to its target: Kafka's `CurrentAssignmentBuilder`.
//!
//! A pure function of the member's current assignment, its target, what it reports to own, what it
//! subscribes to and which partitions are free. It decides what to revoke, what to grant and in
//! which epoch the member then is; it never looks at another member.

#[cfg(feature = "mutants")]
use crate::Mutant;
use evenkeel_spec::words::{Epoch, Partitions, Subscription, TopicId, TopicIdPartition, Topics};
use std::collections::BTreeMap;

/// Where a member stands towards its target (`MemberState` of Kafka).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MemberState {
    /// It has all that the target of its epoch gives it.
    #[default]
    Stable,
    /// It must let go of the partitions pending revocation before anything else.
    UnrevokedPartitions,
    /// It is in its target's epoch, and others still hold partitions of that target.
    UnreleasedPartitions,
}

/// A member's current assignment: the value of `ConsumerGroupCurrentMemberAssignment`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CurrentAssignment {
    /// The member epoch.
    pub epoch: Epoch,
    /// The member epoch before the last transition, which may be the same one; `None`: it had just
    /// joined. A heartbeat at this epoch is the retry of one whose answer was lost.
    pub previous_epoch: Option<Epoch>,
    /// Where it stands.
    pub state: MemberState,
    /// What it is granted, each with the epoch in which it was (KIP-1251).
    pub assigned: BTreeMap<TopicIdPartition, Epoch>,
    /// What it must let go of, each with the epoch in which it had been granted. Nobody else gets
    /// these until it says that it does not own them any more.
    pub pending_revocation: BTreeMap<TopicIdPartition, Epoch>,
    /// The target epoch that the pending revocation was computed for; only the seeded fault keeps it.
    #[cfg(feature = "mutants")]
    pub revoking_for: Option<Epoch>,
}

impl CurrentAssignment {
    /// A stable member of `epoch` that is granted nothing.
    #[must_use]
    pub fn empty(epoch: Epoch) -> Self {
        Self {
            epoch,
            previous_epoch: None,
            state: MemberState::Stable,
            assigned: BTreeMap::new(),
            pending_revocation: BTreeMap::new(),
            #[cfg(feature = "mutants")]
            revoking_for: None,
        }
    }

    /// Whether nothing is left to do for the target of this epoch.
    #[must_use]
    pub fn is_reconciled_to(&self, assignment_epoch: Epoch) -> bool {
        self.state == MemberState::Stable && self.epoch == assignment_epoch
    }

    /// Whether the member may own the partition: it is assigned or pending revocation.
    #[must_use]
    pub fn holds(&self, partition: TopicIdPartition) -> bool {
        self.assigned.contains_key(&partition) || self.pending_revocation.contains_key(&partition)
    }
}

/// What one member's heartbeat is reconciled with.
pub struct Reconciliation<'a, F> {
    /// What the member has; `None`: it has just joined.
    pub current: Option<&'a CurrentAssignment>,
    /// The epoch of the target.
    pub target_epoch: Epoch,
    /// The target.
    pub target: &'a Partitions,
    /// The partitions that the member reports to own; `None`: the same as before.
    pub owned: Option<&'a Partitions>,
    /// The topics that the member subscribes to.
    pub subscription: &'a Subscription,
    /// Whether this heartbeat changed them.
    pub subscription_changed: bool,
    /// The topics that exist.
    pub topics: &'a Topics,
    /// Whether another member holds the partition.
    pub held_by_other: F,
    /// The seeded fault.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

impl<F: Fn(TopicIdPartition) -> bool> Reconciliation<'_, F> {
    /// The member's next current assignment; `None`: it stays as it is.
    #[must_use]
    pub fn next(&self) -> Option<CurrentAssignment> {
        let next = self.transition()?;
        (Some(&next) != self.current).then_some(next)
    }

    fn transition(&self) -> Option<CurrentAssignment> {
        let Some(current) = self.current else { return Some(self.joined()) };
        match current.state {
            MemberState::Stable if current.epoch != self.target_epoch => {
                Some(self.towards_target(current))
            }
            MemberState::Stable if self.subscription_changed => self.unsubscribed(current),
            MemberState::Stable => None,
            MemberState::UnrevokedPartitions if self.misses_acknowledgement(current) => {
                Some(self.revoking_anew(current))
            }
            MemberState::UnrevokedPartitions if self.owns_any(&current.pending_revocation) => {
                if self.subscription_changed {
                    self.unsubscribed(current)
                } else {
                    None
                }
            }
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                Some(self.towards_target(current))
            }
        }
    }

    /// A new member goes to the target's epoch at once and gets what is free of it.
    fn joined(&self) -> CurrentAssignment {
        let mut next = self.towards_target(&CurrentAssignment::empty(self.target_epoch));
        next.previous_epoch = None;
        next
    }

    /// G3: revokes what the target does not have; once the member holds nothing else, moves it to
    /// the target's epoch and grants what is free.
    fn towards_target(&self, current: &CurrentAssignment) -> CurrentAssignment {
        let (assigned, revoked): (BTreeMap<_, _>, BTreeMap<_, _>) =
            current.assigned.iter().partition(|(at, _)| self.is_wanted(**at));
        if self.owns_any(&revoked) {
            return CurrentAssignment {
                epoch: self.revoking_epoch(current),
                previous_epoch: Some(current.epoch),
                state: MemberState::UnrevokedPartitions,
                assigned,
                pending_revocation: revoked,
                #[cfg(feature = "mutants")]
                revoking_for: self.remembers_target().then_some(self.target_epoch),
            };
        }
        self.granted(current, assigned)
    }

    fn granted(
        &self,
        current: &CurrentAssignment,
        mut assigned: BTreeMap<TopicIdPartition, Epoch>,
    ) -> CurrentAssignment {
        let mut state = MemberState::Stable;
        for &at in self.target {
            if assigned.contains_key(&at) || !self.is_subscribed(at.topic) {
                continue;
            }
            if (self.held_by_other)(at) && !current.pending_revocation.contains_key(&at) {
                state = MemberState::UnreleasedPartitions;
            } else {
                assigned.insert(at, self.target_epoch);
            }
        }
        CurrentAssignment {
            epoch: self.target_epoch,
            previous_epoch: Some(current.epoch),
            state,
            assigned,
            pending_revocation: BTreeMap::new(),
            #[cfg(feature = "mutants")]
            revoking_for: None,
        }
    }

    /// G6: the target lags behind the subscription. Takes away the topics that the member does not
    /// subscribe to any more, and nothing else (KAFKA-19431).
    fn unsubscribed(&self, current: &CurrentAssignment) -> Option<CurrentAssignment> {
        if current.assigned.keys().all(|at| self.is_subscribed(at.topic)) {
            return None;
        }
        let mut next = current.clone();
        next.previous_epoch = Some(current.epoch);
        next.assigned.retain(|at, _| self.is_subscribed(at.topic));
        let gone = current.assigned.iter().filter(|(at, _)| !self.is_subscribed(at.topic));
        let mut pending_revocation = current.pending_revocation.clone();
        pending_revocation.extend(gone);
        if self.owns_any(&pending_revocation) {
            next.state = MemberState::UnrevokedPartitions;
            next.pending_revocation = pending_revocation;
        }
        Some(next)
    }

    /// Whether the member may still own one of these: it says so, or it does not say.
    fn owns_any(&self, partitions: &BTreeMap<TopicIdPartition, Epoch>) -> bool {
        if partitions.is_empty() {
            return false;
        }
        #[cfg(feature = "mutants")]
        if self.mutant == Some(Mutant::PartialAcknowledgementFrees) {
            return self.owned.is_none_or(|owned| partitions.keys().all(|at| owned.contains(at)));
        }
        self.owned.is_none_or(|owned| partitions.keys().any(|at| owned.contains(at)))
    }

    fn is_wanted(&self, at: TopicIdPartition) -> bool {
        self.target.contains(&at) && self.is_subscribed(at.topic)
    }

    fn is_subscribed(&self, topic: TopicId) -> bool {
        #[cfg(feature = "mutants")]
        if self.mutant == Some(Mutant::RetainUnsubscribed) {
            return true;
        }
        self.topics.get(&topic).is_some_and(|topic| self.subscription.contains(&topic.name))
    }

    /// G5: the epoch in which a member revokes is the one it has.
    fn revoking_epoch(&self, current: &CurrentAssignment) -> Epoch {
        #[cfg(feature = "mutants")]
        if self.mutant == Some(Mutant::EpochBumpOnUnrevoked)
            && current.state == MemberState::UnrevokedPartitions
        {
            return current.epoch.next().min(self.target_epoch);
        }
        current.epoch
    }

    #[cfg(not(feature = "mutants"))]
    fn misses_acknowledgement(&self, _current: &CurrentAssignment) -> bool {
        false
    }

    #[cfg(not(feature = "mutants"))]
    fn revoking_anew(&self, current: &CurrentAssignment) -> CurrentAssignment {
        self.towards_target(current)
    }

    #[cfg(feature = "mutants")]
    fn remembers_target(&self) -> bool {
        self.mutant == Some(Mutant::MissedRevocationAck)
    }

    #[cfg(feature = "mutants")]
    fn misses_acknowledgement(&self, current: &CurrentAssignment) -> bool {
        self.remembers_target()
            && current.revoking_for.is_some_and(|epoch| epoch < self.target_epoch)
    }

    #[cfg(feature = "mutants")]
    fn revoking_anew(&self, current: &CurrentAssignment) -> CurrentAssignment {
        let mut before = current.clone();
        before.assigned.append(&mut before.pending_revocation);
        let unheard = Reconciliation {
            current: self.current,
            target_epoch: self.target_epoch,
            target: self.target,
            owned: None,
            subscription: self.subscription,
            subscription_changed: self.subscription_changed,
            topics: self.topics,
            held_by_other: &self.held_by_other,
            mutant: self.mutant,
        };
        unheard.towards_target(&before)
    }
}
