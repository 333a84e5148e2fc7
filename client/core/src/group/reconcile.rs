//! From what a member owns to what the coordinator wants it to own. spec/03-reconciliation.md.
//!
//! Decides the order: withhold -> commit -> revoke -> assign, one pass at a time, each step an open
//! interval in which a newer target may arrive (the latest wins). Whether the application can be
//! called now, or has records in its hands, is the group's to know.

use super::Mutant;
use evenkeel_spec::words::{Partitions, TopicId};
use std::collections::BTreeSet;

/// The reconciliation of one member.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Reconcile {
    target: Option<Partitions>,
    /// What the application has really applied (R1).
    owned: Partitions,
    /// Owned, but its assigned callback has not succeeded yet: not fetched (R6).
    unopened: Partitions,
    phase: Phase,
    /// A target was heard, or a topic resolved, since the last pass began.
    pass_due: bool,
    resolved: BTreeSet<TopicId>,
}

/// The step of a pass.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum Phase {
    /// Between passes.
    #[default]
    Idle,
    /// These are withheld until the application is done with their records (R3).
    Withheld(Partitions),
    /// Their released offsets are being committed (R4).
    Committing(Partitions),
    /// Committed; the application must be told from within a poll.
    Revocable(Partitions),
    /// The revoked callback is open.
    Revoking(Partitions),
    /// The assigned callback is open, for these.
    Assigning(Partitions),
}

impl Reconcile {
    /// What the application has applied.
    #[must_use]
    pub fn owned(&self) -> &Partitions {
        &self.owned
    }

    /// The step of the current pass.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// What the coordinator wants, as heard last.
    #[must_use]
    pub fn target(&self) -> Option<&Partitions> {
        self.target.as_ref()
    }

    /// Whether nothing is left to do for the target heard last.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Idle && !self.pass_due && self.unopened.is_empty()
    }

    /// The coordinator has told a target; the latest wins (R2).
    pub fn on_target(&mut self, target: Partitions) {
        self.pass_due = true;
        self.target = Some(target);
    }

    /// Metadata knows these topics now (R7).
    pub fn on_resolved(&mut self, resolved: &BTreeSet<TopicId>, mutant: Option<Mutant>) {
        let waiting = self.unresolved();
        if resolved.is_subset(&self.resolved) {
            return;
        }
        if Mutant::LateTopicLosesOthers.is(mutant) && !waiting.is_empty() {
            let late = self.target.iter().flatten().filter(|p| waiting.contains(&p.topic));
            self.target = Some(late.copied().collect());
        }
        self.resolved.extend(resolved);
        self.pass_due |= waiting.iter().any(|topic| resolved.contains(topic));
    }

    /// The topics of the target that metadata cannot name yet.
    #[must_use]
    pub fn unresolved(&self) -> BTreeSet<TopicId> {
        let topics = self.target.iter().flatten().map(|p| p.topic);
        topics.filter(|topic| !self.resolved.contains(topic)).collect()
    }

    /// Begins a pass if one is due: what must go is withheld first (R3). `ending`: everything goes.
    /// Returns what to withhold; empty when there is nothing to revoke.
    pub fn begin(&mut self, ending: bool) -> Option<Partitions> {
        if self.phase != Phase::Idle || !(self.pass_due || ending || !self.unopened.is_empty()) {
            return None;
        }
        let goal = self.goal(ending)?;
        let revoked: Partitions = &self.owned - &goal;
        if !revoked.is_empty() {
            self.phase = Phase::Withheld(revoked.clone());
        }
        Some(revoked)
    }

    /// Moves on to `phase`.
    pub fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// The application has let go of what was revoked. Returns it.
    pub fn on_revoked(&mut self) -> Partitions {
        let (Phase::Revocable(gone) | Phase::Revoking(gone)) = std::mem::take(&mut self.phase)
        else {
            panic!("only what is being revoked can have been revoked");
        };
        self.pass_due = true;
        self.owned = &self.owned - &gone;
        self.unopened = &self.unopened - &gone;
        gone
    }

    /// Takes what the target adds; says what is new and what waits for its assigned callback.
    pub fn take_added(&mut self) -> (Partitions, Partitions) {
        self.pass_due = false;
        let goal = self.goal(false).unwrap_or_default();
        let added: Partitions = &goal - &self.owned;
        self.owned.extend(added.iter().copied());
        self.unopened.extend(added.iter().copied());
        (added, self.unopened.clone())
    }

    /// The assigned callback has succeeded for `opened`, or there is none: they may be fetched.
    pub fn on_assigned(&mut self, opened: &Partitions) {
        self.phase = Phase::Idle;
        self.unopened = &self.unopened - opened;
    }

    /// The assigned callback has failed: it is called again in the next poll (R6).
    pub fn on_assign_failed(&mut self) {
        self.phase = Phase::Idle;
    }

    /// The membership is over: everything that is owned is gone, and the target with it. Returns
    /// what the application was not told of yet.
    pub fn on_membership_ended(&mut self) -> Partitions {
        let told = match &self.phase {
            Phase::Revoking(told) => told.clone(),
            _ => Partitions::new(),
        };
        let resolved = std::mem::take(&mut self.resolved);
        let owned = std::mem::take(self).owned;
        self.resolved = resolved;
        &owned - &told
    }

    fn goal(&self, ending: bool) -> Option<Partitions> {
        if ending {
            return Some(Partitions::new());
        }
        let target = self.target.as_ref()?;
        Some(target.iter().filter(|p| self.resolved.contains(&p.topic)).copied().collect())
    }
}
