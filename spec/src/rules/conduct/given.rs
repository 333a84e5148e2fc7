//! What one application was given and is done with, and which commits that allows. spec/06-commit.md.

use super::Rule;
use crate::words::{Committed, Offset, Partitions, TopicIdPartition};
use std::collections::BTreeMap;

type Offsets = BTreeMap<TopicIdPartition, Offset>;

/// What can be seen of the records that an application was given, and of the commits for them.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Given {
    /// Records that came for a poll that was dropped: the next one may return them.
    waiting: Offsets,
    /// Records of these were returned, and the application is not done with them. `None`: a seek has
    /// led to where nobody knows yet.
    at_work: BTreeMap<TopicIdPartition, Option<Offset>>,
    /// The application is done with these, or has committed them itself.
    done: Offsets,
    /// What the application's last commit asked for.
    asked: Offsets,
    /// The application's commits that are not over.
    asking: u8,
    /// What it asked for before it sought, while that is not over.
    overruled: Offsets,
    /// Accepted commits of the ownership that is going on.
    accepted: Offsets,
    /// Commits in flight.
    commits: u8,
    /// The commit in flight is from before a seek of these.
    sought: Partitions,
}

impl Given {
    pub(super) fn is_at_work(&self, partition: TopicIdPartition) -> bool {
        self.at_work.contains_key(&partition)
    }

    pub(super) fn is_committing(&self) -> bool {
        self.commits > 0
    }

    pub(super) fn is_asking(&self) -> bool {
        self.asking > 0
    }

    pub(super) fn on_returned(&mut self, partition: TopicIdPartition, next: Offset) {
        self.at_work.insert(partition, Some(next));
    }

    pub(super) fn on_left(&mut self, partition: TopicIdPartition, next: Offset) {
        self.waiting.insert(partition, next);
    }

    /// C5, C6: what waited is returned, unless it was taken back.
    pub(super) fn on_left_returned(&mut self, partition: TopicIdPartition) -> Result<(), Rule> {
        let next = self.waiting.remove(&partition).ok_or(Rule::ReturnedClosed)?;
        self.on_returned(partition, next);
        Ok(())
    }

    /// The application is done with all that it took.
    pub(super) fn on_seen(&mut self) {
        let at_work = std::mem::take(&mut self.at_work).into_iter();
        self.done.extend(at_work.filter_map(|(partition, at)| Some((partition, at?))));
    }

    /// O2: a seek takes back what was given, and what waits to be.
    pub(super) fn on_sought(&mut self, partition: TopicIdPartition, to: Option<Offset>) {
        self.waiting.remove(&partition);
        self.accepted.remove(&partition);
        self.overruled.extend(self.asked.remove(&partition).map(|asked| (partition, asked)));
        if self.commits > 0 {
            self.sought.insert(partition);
        }
        let is_done = match self.at_work.get_mut(&partition) {
            Some(at) => {
                *at = to;
                let done = self.done.get(&partition);
                done.is_some_and(|done| to.is_none_or(|to| to < *done))
            }
            None => true,
        };
        if is_done {
            self.done.remove(&partition);
            self.done.extend(to.map(|to| (partition, to)));
        }
    }

    /// O2: the application's word covers what it is at work on.
    pub(super) fn on_asked(&mut self) {
        let at_work = self.at_work.iter().filter_map(|(partition, at)| Some((*partition, (*at)?)));
        self.done.extend(at_work);
        self.asked.clone_from(&self.done);
        // Of a recorded run not every end is seen: so many, and it is never sure that all are over.
        self.asking = self.asking.saturating_add(1);
    }

    pub(super) fn on_asked_over(&mut self, failed: bool) {
        // Of a recorded run only some are seen to be asked for.
        self.asking = self.asking.saturating_sub(1);
        if self.asking == 0 {
            self.overruled.clear();
        }
        if failed {
            self.asked.clear();
        }
    }

    /// O1, O2, O4, O8, O9: what a commit carries, and when.
    pub(super) fn on_sent(
        &mut self,
        held: &Partitions,
        offsets: &BTreeMap<TopicIdPartition, Committed>,
    ) -> Result<(), Rule> {
        if self.commits > 0 {
            return Err(Rule::CommitsInFlight);
        }
        self.commits += 1;
        for (partition, committed) in offsets {
            if !held.contains(partition) {
                return Err(Rule::CommitSentUnowned);
            }
            let lies_beyond = |at: Option<&Offset>| at.is_none_or(|at| committed.offset > *at);
            let done = self.done.get(partition).max(self.overruled.get(partition));
            let at_work = self.at_work.get(partition).and_then(Option::as_ref);
            if lies_beyond(done.max(at_work)) {
                return Err(Rule::CommittedUngiven);
            }
            if lies_beyond(done) {
                return Err(Rule::CommittedUnreleased);
            }
            if self.asked.get(partition).is_some_and(|asked| committed.offset < *asked) {
                return Err(Rule::CommitLowered);
            }
        }
        Ok(())
    }

    /// O9: what was accepted before a seek, or was asked for before it, is no measure after it.
    pub(super) fn on_over(&mut self, held: &Partitions, accepted: &Offsets) -> Result<(), Rule> {
        self.commits -= 1;
        let sought = std::mem::take(&mut self.sought);
        for (&partition, &offset) in accepted.iter().filter(|(p, _)| held.contains(p)) {
            if sought.contains(&partition) || self.overruled.get(&partition) == Some(&offset) {
                self.accepted.remove(&partition);
            } else if self.accepted.insert(partition, offset).is_some_and(|before| before > offset)
            {
                return Err(Rule::CommitLowered);
            }
        }
        Ok(())
    }

    /// O10: what ends with the ownership.
    pub(super) fn on_released(&mut self, partitions: &Partitions) {
        self.at_work.retain(|p, _| !partitions.contains(p));
        let Self { waiting, done, asked, overruled, accepted, .. } = self;
        for by_partition in [waiting, done, asked, overruled, accepted] {
            by_partition.retain(|p, _| !partitions.contains(p));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Given;

    #[test]
    fn a_recorded_run_may_ask_for_more_commits_than_are_counted() {
        let mut given = Given::default();
        for _ in 0..1_000 {
            given.on_asked();
        }
        given.on_asked_over(false);
        assert_ne!(given.asking, 0);
    }
}
