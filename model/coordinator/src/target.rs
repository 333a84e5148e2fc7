//! When a target assignment is computed, and from what: Kafka's `maybeUpdateTargetAssignment` and
//! `TargetAssignmentBuilder`. What it is, the assignor decides.

use crate::{Config, Group, Order, Record, Step, Timer, assign};
use evenkeel_spec::words::{Assignor, MemberId, Partitions, Subscription, Topics};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an assignor knows of a member.
#[derive(Clone, Copy, Debug)]
pub struct MemberSpec<'a> {
    /// What it subscribes to.
    pub subscription: &'a Subscription,
    /// Its target so far.
    pub target: &'a Partitions,
}

impl Group {
    /// Computes a target for the group epoch, unless there is one or the assignment interval runs.
    ///
    /// `uncounted` is a member that does not count when the assignor asks whether all subscribe to
    /// the same.
    pub(crate) fn maybe_compute_target(
        &mut self,
        step: &mut Step<()>,
        config: &Config,
        topics: &Topics,
        uncounted: Option<MemberId>,
    ) {
        let Some(epoch) = self.epoch.filter(|_| self.epoch > self.assignment_epoch) else { return };
        let has_interval = config.assignment_interval_ms > 0;
        if has_interval && self.interval_running {
            return;
        }
        let nothing = Partitions::new();
        let specs: BTreeMap<MemberId, MemberSpec<'_>> = self
            .members
            .iter()
            .map(|(id, member)| {
                let target = self.target.get(id).map_or(&nothing, |target| target);
                (*id, MemberSpec { subscription: &member.metadata.subscription, target })
            })
            .collect();
        let homogeneous = self.is_homogeneous(uncounted);
        let target = assign(self.preferred_assignor(config), &specs, topics, homogeneous);
        for (id, partitions) in target {
            if self.target.get(&id).is_none_or(|old| **old != partitions) {
                self.append(step, Record::Target(id, Arc::new(partitions)));
            }
        }
        self.append(step, Record::TargetEpoch(epoch));
        if has_interval {
            step.orders.push(Order::Arm(Timer::Assignment, config.assignment_interval_ms));
        }
    }

    /// The assignor that most members name. Kafka takes either of two that are named equally often;
    /// here it is the first of the two by name in Kafka's list: uniform.
    pub(crate) fn preferred_assignor<'a>(&'a self, config: &'a Config) -> &'a Assignor {
        let named = |assignor: &Assignor| {
            let names = |m: &&crate::group::Member| m.metadata.assignor.as_ref() == Some(assignor);
            self.members.values().filter(names).count()
        };
        match (named(&Assignor::Uniform), named(&Assignor::Range)) {
            (0, 0) => &config.assignor,
            (uniform, range) if range > uniform => &Assignor::Range,
            _ => &Assignor::Uniform,
        }
    }

    /// Whether all members subscribe to the same topics, by name.
    fn is_homogeneous(&self, uncounted: Option<MemberId>) -> bool {
        let mut subscriptions = self
            .members
            .iter()
            .filter(|(id, _)| Some(**id) != uncounted)
            .map(|(_, member)| &member.metadata.subscription);
        let Some(first) = subscriptions.next() else { return true };
        subscriptions.all(|subscription| subscription == first)
    }
}
