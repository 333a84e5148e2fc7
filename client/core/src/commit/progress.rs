//! How far the application has come, and what a commit may cover of it. spec/06-commit.md, O1 and O2.
//!
//! Decides of each owned partition what is *delivered*, *returned* and *released*, what is in hand, and
//! what a seek leaves of all that. What was delivered waits where the application's poll takes it: a
//! poll that was dropped, or a seek, leaves it to nobody, so that it is not returned before the
//! application says so.

use super::Offsets;
use crate::group::Mutant;
use evenkeel_spec::words::{Committed, Partitions, TopicIdPartition};
use std::collections::BTreeMap;

/// How far each owned partition has come. One of which nothing was delivered has no marks.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Progress(BTreeMap<TopicIdPartition, Marks>);

/// The marks of one partition: each the offset of the next record.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Marks {
    /// On its way to the application, which has not said that it took it.
    delivered: Option<Committed>,
    /// The application has taken this, or has sought to here with records in its hands.
    returned: Option<Committed>,
    /// The application is done up to here (O1).
    released: Option<Committed>,
    /// The coordinator has accepted this, and no seek has overruled it since.
    accepted: Option<Committed>,
    /// The application may be at work on records (R3).
    in_hand: bool,
}

impl Progress {
    /// Records are on their way to the application.
    pub fn on_delivered(&mut self, next: &Offsets) {
        for (&partition, next) in next {
            let marks = self.0.entry(partition).or_default();
            marks.delivered = Some(next.clone());
            marks.in_hand = true;
        }
    }

    /// The application has everything that was delivered and not withdrawn.
    pub fn on_taken(&mut self) {
        for marks in self.0.values_mut() {
            if let Some(next) = marks.delivered.take() {
                marks.returned = Some(next);
            }
        }
    }

    /// The application is done with everything that it took (O1), which is all.
    pub fn on_released(&mut self) {
        self.on_taken();
        for marks in self.0.values_mut() {
            marks.in_hand = false;
            if let Some(next) = marks.returned.take() {
                marks.released = Some(next);
            }
        }
    }

    /// The application reads on from elsewhere (O2): this replaces what was delivered, returned and
    /// released; an unknown place covers nothing yet. It may still be at work on what it took.
    pub fn on_sought(
        &mut self,
        partition: TopicIdPartition,
        to: Option<&Committed>,
        mutant: Option<Mutant>,
    ) {
        let marks = self.0.entry(partition).or_default();
        marks.seek(to, mutant);
        if *marks == Marks::default() {
            self.0.remove(&partition);
        }
    }

    /// The log lost what lies beyond: nothing beyond counts as delivered, returned, released or
    /// accepted (P8). Says whether something did.
    pub fn on_truncated(&mut self, partition: TopicIdPartition, to: &Committed) -> bool {
        let Some(marks) = self.0.get_mut(&partition) else { return false };
        let mut is_lowered =
            marks.accepted.take_if(|accepted| accepted.offset > to.offset).is_some();
        let Marks { delivered, returned, released, .. } = marks;
        for mark in [delivered, returned, released].into_iter().flatten() {
            if mark.offset > to.offset {
                mark.clone_from(to);
                is_lowered = true;
            }
        }
        is_lowered
    }

    /// The coordinator has accepted this, or, `None`: what a seek has overruled meanwhile.
    pub fn on_accepted(&mut self, partition: TopicIdPartition, offset: Option<&Committed>) {
        if let Some(marks) = self.0.get_mut(&partition) {
            marks.accepted = offset.cloned();
        }
    }

    /// These are the application's no longer.
    pub fn forget(&mut self, partitions: &Partitions) {
        self.0.retain(|partition, _| !partitions.contains(partition));
    }

    /// Nothing is the application's any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether the application may be at work on records of `partitions`.
    #[must_use]
    pub fn is_in_hand(&self, partitions: &Partitions) -> bool {
        self.0.iter().any(|(partition, marks)| marks.in_hand && partitions.contains(partition))
    }

    /// Everything that was returned, released or not: what `commit()` covers (O2).
    #[must_use]
    pub fn returned(&self, mutant: Option<Mutant>) -> Offsets {
        let newest = |marks: &Marks| {
            let delivered = marks.delivered.as_ref();
            let delivered = delivered.filter(|_| Mutant::CommitCoversDelivered.is(mutant));
            delivered.or(marks.returned.as_ref()).or(marks.released.as_ref()).cloned()
        };
        self.0.iter().filter_map(|(&p, marks)| Some((p, newest(marks)?))).collect()
    }

    /// What is released of `partitions` (`None`: of all) and not accepted yet (O3).
    #[must_use]
    pub fn uncommitted(&self, partitions: Option<&Partitions>) -> Offsets {
        let newest = |at: &Option<Committed>| at.as_ref().map(|committed| committed.offset);
        let due = |marks: &Marks| {
            let released = marks.released.clone();
            released.filter(|_| newest(&marks.released) > newest(&marks.accepted))
        };
        self.0
            .iter()
            .filter(|(p, _)| partitions.is_none_or(|chosen| chosen.contains(p)))
            .filter_map(|(&p, marks)| Some((p, due(marks)?)))
            .collect()
    }

    /// Each partition's marks in words, for tables.
    #[cfg(test)]
    pub(super) fn words(&self) -> impl Iterator<Item = String> {
        self.0.values().flat_map(|marks| {
            let marked = [
                ("delivered to", &marks.delivered),
                ("returned to", &marks.returned),
                ("released to", &marks.released),
                ("accepted to", &marks.accepted),
            ];
            let marked = marked
                .into_iter()
                .filter_map(|(word, at)| at.as_ref().map(|at| format!("{word} {}", at.offset.0)));
            let in_hand = marks.in_hand.then(|| "in hand".to_owned());
            in_hand.into_iter().chain(marked).collect::<Vec<_>>()
        })
    }
}

impl Marks {
    fn seek(&mut self, to: Option<&Committed>, mutant: Option<Mutant>) {
        let is_passed = |mark: &mut Committed| to.is_none_or(|to| to.offset < mark.offset);
        self.accepted.take_if(is_passed);
        if !Mutant::SeekKeepsDelivered.is(mutant) {
            self.delivered = None;
        }
        if Mutant::SeekKeepsReturned.is(mutant) {
            return;
        }
        if Mutant::SeekEmptiesHands.is(mutant) && to.is_none() {
            self.in_hand = false;
        }
        if !self.in_hand {
            self.returned = None;
            self.released = to.cloned();
            return;
        }
        self.returned = to.cloned();
        if self.released.take_if(is_passed).is_some() {
            self.released = to.cloned();
        }
    }
}
