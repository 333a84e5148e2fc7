//! The partitions that the application assigns itself, by name, until metadata knows their topics.
//!
//! Decides when they are owned: as soon as their topic has an id, and anew when a topic of the same
//! name gets another. What the application says of a partition before that is kept. Committed
//! offsets and starts of logs are looked up from the first poll (or question for a position) on, so
//! that whoever seeks before it needs neither a coordinator nor a lookup.

use super::{Following, Shell};
use crate::group::CommitError;
use crate::{Answer, CallFault, CallId, Chunk, SeekTo};
use evenkeel_spec::words::{Committed, Partitions, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// What the application assigned itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Manual {
    wishes: BTreeMap<TopicPartition, Wish>,
    /// A poll, or a question for a position, wants to know where to read.
    is_read: bool,
    /// Commits of partitions whose topic has no id yet.
    commits: Vec<(CallId, BTreeMap<TopicPartition, Committed>)>,
}

/// What the application said of a partition, for when it is owned.
#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    sought: Option<SeekTo>,
    paused: bool,
}

impl Manual {
    /// Whether this partition is assigned.
    pub(super) fn has(&self, partition: &TopicPartition) -> bool {
        self.wishes.contains_key(partition)
    }

    /// How many partitions are assigned.
    pub(super) fn len(&self) -> usize {
        self.wishes.len()
    }

    /// Each of them.
    pub(super) fn names(&self) -> impl Iterator<Item = &TopicPartition> {
        self.wishes.keys()
    }

    /// Which partitions are assigned.
    pub(super) fn partitions(&self) -> BTreeSet<TopicPartition> {
        self.wishes.keys().cloned().collect()
    }
}

impl<C: Chunk> Shell<C> {
    pub(super) fn assign(
        &mut self,
        call: CallId,
        taken: u64,
        partitions: BTreeSet<TopicPartition>,
    ) {
        if self.application.following == Following::Subscription {
            return self.done(call, Err(CallFault::Exclusive));
        }
        self.application.following = Following::Assignment;
        let seen = self.on_taken(taken);
        self.metadata.on_subscribed(partitions.iter().map(|p| p.topic.clone()).collect());
        let mut before = self.manual.take().unwrap_or_default();
        let kept = |partition: TopicPartition| {
            let wish = before.wishes.remove(&partition).unwrap_or_default();
            (partition, wish)
        };
        let wishes = partitions.into_iter().map(kept).collect();
        self.manual = Some(Manual { wishes, is_read: false, commits: before.commits });
        self.own_assigned(Some(seen));
        self.application.assignment_changed = true;
        self.show_assignment();
        self.done(call, Ok(Answer::Done));
    }

    /// Owns what is assigned and known. `seen`: the application says so just now, and whether it took
    /// everything that it was given.
    fn own_assigned(&mut self, seen: Option<bool>) {
        let Some(manual) = &self.manual else { return };
        if !self.group.is_unsubscribed() {
            return;
        }
        let mut ids = Partitions::new();
        let mut is_unknown = false;
        for name in manual.wishes.keys() {
            // One whose topic is gone is owned until there is another of its name.
            let id = self.id_of(name);
            is_unknown |= id.is_none();
            ids.extend(id.or_else(|| self.owned_by_name(name)));
        }
        if is_unknown {
            self.metadata.request_leader();
        }
        if seen.is_some() || !self.group.is_manual() || ids != *self.group.owned() {
            let seen = seen.unwrap_or(false);
            self.with_group(|group, out| group.on_assigned(&ids, seen, out));
        }
    }

    /// These are owned from now on: does what was wished of them.
    pub(super) fn apply_wishes(&mut self, owned: &Partitions) {
        for &id in owned {
            let name = self.metadata.by_name(id);
            let wish = self.manual.as_mut().and_then(|manual| manual.wishes.get_mut(&name));
            let Some(wish) = wish else { continue };
            let Wish { sought, paused } = *wish;
            wish.sought = None;
            self.positions.on_paused(id, paused);
            if let Some(to) = sought {
                self.move_to(&Partitions::from([id]), to);
            }
        }
    }

    /// Commits that waited for their topics' ids are told to the group once all are known.
    pub(super) fn commit_assigned(&mut self) {
        let Some(manual) = &mut self.manual else { return };
        for (call, offsets) in std::mem::take(&mut manual.commits) {
            let Some(id) = self.calls.commit_of(call) else { continue };
            match self.offsets_by_id(&offsets) {
                Ok(by_id) => {
                    self.with_group(|group, out| group.on_commit(id, false, Some(by_id), out));
                }
                Err(partition) => self.await_topic(call, partition, offsets),
            }
        }
    }

    /// A commit of a partition that is not owned: waits for its topic's id if it is assigned.
    pub(super) fn await_topic(
        &mut self,
        call: CallId,
        partition: TopicPartition,
        offsets: BTreeMap<TopicPartition, Committed>,
    ) {
        match &mut self.manual {
            Some(manual) if offsets.keys().all(|partition| manual.has(partition)) => {
                manual.commits.push((call, offsets));
            }
            _ => self.end_commit(call, Err(CallFault::NotAssigned(partition))),
        }
    }

    /// Whether the application assigned this to itself, owned yet or not.
    pub(super) fn is_wished(&self, partition: &TopicPartition) -> bool {
        self.manual.as_ref().is_some_and(|manual| manual.wishes.contains_key(partition))
    }

    /// Keeps where an assigned partition that is not owned yet is to be read from.
    pub(super) fn wish_seek(&mut self, partition: &TopicPartition, to: SeekTo) {
        let wish = self.manual.as_mut().and_then(|manual| manual.wishes.get_mut(partition));
        if let Some(wish) = wish {
            wish.sought = Some(to);
        }
    }

    /// Keeps that an assigned partition is paused, for when it is owned, perhaps anew.
    pub(super) fn wish_paused(&mut self, partition: &TopicPartition, paused: bool) {
        let wish = self.manual.as_mut().and_then(|manual| manual.wishes.get_mut(partition));
        if let Some(wish) = wish {
            wish.paused = paused;
        }
    }

    /// The application wants to read, or to know from where.
    pub(super) fn read_assigned(&mut self) {
        if let Some(manual) = &mut self.manual {
            manual.is_read = true;
        }
    }

    /// Whether records may be wanted: of a manual assignment, not before somebody reads.
    pub(super) fn is_read(&self) -> bool {
        self.manual.as_ref().is_none_or(|manual| manual.is_read)
    }

    /// Whether this partition is assigned, but its topic has no id yet.
    pub(super) fn is_awaited(&self, partition: &TopicPartition) -> bool {
        self.manual.as_ref().is_some_and(|manual| manual.has(partition))
            && self.owned_by_name(partition).is_none()
    }

    /// The id of an assigned partition's topic may be known by now.
    pub(super) fn follow_assignment(&mut self) {
        self.own_assigned(None);
        self.commit_assigned();
    }

    /// The application unsubscribes: what waits for ids waits no more.
    pub(super) fn forget_assignment(&mut self) {
        for (call, _) in self.manual.take().unwrap_or_default().commits {
            self.end_commit(call, Err(CallFault::Commit(CommitError::OwnershipEnded)));
        }
    }
}
