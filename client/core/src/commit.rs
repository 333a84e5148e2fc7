//! Which offsets are committed, when, and in whose name: `OffsetCommit` (key 8). spec/06-commit.md.
//!
//! Decides what is *returned*, *released* and *accepted* for each owned partition; keeps at most one
//! request in flight (O4); lets no offset outlive the ownership under which it was returned (O10).
//! Whether there is an epoch and a coordinator to send with is the group's to know.

use crate::Incarnation;
use crate::group::{CommitError, CommitId, Mutant, Output};
use evenkeel_spec::words::{
    BackoffKind, Committed, Epoch, ErrorCode, Partitions, Step, Timer, TopicIdPartition,
};
use std::collections::BTreeMap;

/// Offsets by partition.
pub type Offsets = BTreeMap<TopicIdPartition, Committed>;

/// The commits of one member.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Commit {
    progress: BTreeMap<TopicIdPartition, Progress>,
    pending: Vec<Entry>,
    in_flight: Option<Flight>,
    backing_off: bool,
    step: Step,
}

/// How far one owned partition has come. An owned partition of which nothing was returned has none.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Progress {
    /// Handed to the application, which may still be at work on them.
    unreleased: Option<Committed>,
    /// The application is done up to here (O1).
    released: Option<Committed>,
    /// The coordinator has accepted this.
    accepted: Option<Committed>,
}

/// One commit that was asked for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Entry {
    purpose: Purpose,
    offsets: Offsets,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Purpose {
    /// By interval, or before partitions are given up: what is released, as of the sending.
    Released,
    /// What was released of partitions that the application does not assign itself any more (O11).
    Parted,
    /// The application's word.
    User(CommitId),
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Flight {
    incarnation: Incarnation,
    /// None: without a member (O11).
    epoch: Option<Epoch>,
    entries: Vec<Entry>,
    /// Read on from elsewhere since: that what it carries of them is accepted holds up no commit.
    left: Partitions,
}

impl Commit {
    /// Records went to the application.
    pub fn on_returned(&mut self, returned: &Offsets) {
        for (&partition, next) in returned {
            self.progress.entry(partition).or_default().unreleased = Some(next.clone());
        }
    }

    /// The application reads on from elsewhere: from now on that is what `commit()` covers, also
    /// where it lies before what was accepted; an unknown place covers nothing yet.
    pub fn on_sought(&mut self, partition: TopicIdPartition, to: Option<Committed>) {
        self.leave(partition, to.as_ref());
        let progress = self.progress.entry(partition).or_default();
        let Some(to) = to else {
            *progress = Progress::default();
            return;
        };
        progress.accepted.take_if(|accepted| accepted.offset > to.offset);
        if progress.unreleased.is_some() {
            progress.unreleased = Some(to);
        } else {
            progress.released = Some(to);
        }
    }

    /// The log lost what lies beyond: nothing beyond counts as returned, released or accepted (P8).
    pub fn on_truncated(&mut self, partition: TopicIdPartition, to: &Committed) {
        self.leave(partition, Some(to));
        let Some(progress) = self.progress.get_mut(&partition) else { return };
        progress.accepted.take_if(|accepted| accepted.offset > to.offset);
        for mark in [&mut progress.unreleased, &mut progress.released].into_iter().flatten() {
            if mark.offset > to.offset {
                mark.clone_from(to);
            }
        }
    }

    /// The application is done with everything that it was given (O1).
    pub fn release(&mut self) {
        for progress in self.progress.values_mut() {
            if let Some(next) = progress.unreleased.take() {
                progress.released = Some(next);
            }
        }
    }

    /// Whether the application may still be at work on records of `partitions`.
    #[must_use]
    pub fn has_unreleased(&self, partitions: &Partitions) -> bool {
        self.progress.iter().any(|(p, at)| at.unreleased.is_some() && partitions.contains(p))
    }

    /// Everything that was returned, released or not: what `commit()` covers (O2).
    #[must_use]
    pub fn returned(&self) -> Offsets {
        let newest = |at: &Progress| at.unreleased.clone().or_else(|| at.released.clone());
        self.progress.iter().filter_map(|(&p, at)| Some((p, newest(at)?))).collect()
    }

    /// Enqueues a commit of the application. The group has checked that it owns the partitions.
    pub fn on_commit(&mut self, id: CommitId, offsets: Offsets, out: &mut Vec<Output>) {
        if offsets.is_empty() {
            out.push(Output::CommitDone { id, result: Ok(()) });
        } else {
            self.pending.push(Entry { purpose: Purpose::User(id), offsets });
        }
    }

    /// The caller of `id` is gone or out of time: unsent, it is withdrawn; in flight, it may still
    /// take effect but nobody is told and nothing is retried.
    pub fn on_abandoned(&mut self, id: CommitId) {
        self.pending.retain(|entry| entry.purpose != Purpose::User(id));
        if let Some(flight) = &mut self.in_flight {
            flight.entries.retain(|entry| entry.purpose != Purpose::User(id));
        }
    }

    /// Enqueues what is released of `partitions` (`None`: of all) and not accepted yet (O3).
    pub fn commit_released(&mut self, partitions: Option<&Partitions>, mutant: Option<Mutant>) {
        let mut offsets = self.uncommitted(partitions);
        if Mutant::CommitUnreleased.is(mutant) {
            offsets = self.returned();
        }
        if offsets.is_empty() {
            return;
        }
        for entry in self.pending.iter_mut().filter(|entry| entry.purpose == Purpose::Parted) {
            entry.offsets.retain(|partition, _| !offsets.contains_key(partition));
        }
        let mut pending = self.pending.iter_mut();
        match pending.find(|entry| entry.purpose == Purpose::Released) {
            Some(waiting) => waiting.offsets.extend(offsets),
            None => self.pending.push(Entry { purpose: Purpose::Released, offsets }),
        }
    }

    /// Whether a commit that touches `partitions` is still to be answered.
    #[must_use]
    pub fn is_outstanding(&self, partitions: &Partitions) -> bool {
        let touches = |entry: &Entry| entry.offsets.keys().any(|p| partitions.contains(p));
        self.pending.iter().any(touches)
            || self.in_flight.as_ref().is_some_and(|flight| flight.entries.iter().any(touches))
    }

    /// Brings what waits by interval up to date, and forgets it where the coordinator has accepted
    /// as much meanwhile: an empty commit is none (KAFKA-16203).
    pub fn refresh(&mut self, mutant: Option<Mutant>) {
        if Mutant::RetryLowers.is(mutant) || Mutant::CommitUnreleased.is(mutant) {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        for entry in pending.iter_mut().filter(|entry| entry.purpose == Purpose::Released) {
            let chosen = entry.offsets.keys().copied().collect();
            entry.offsets = self.uncommitted(Some(&chosen));
        }
        let keeps_empty = Mutant::EmptyCommitBlocks.is(mutant);
        pending.retain(|entry| keeps_empty || !entry.offsets.is_empty());
        self.pending = pending;
    }

    /// Whether something waits to be sent and nothing forbids it.
    #[must_use]
    pub fn is_sendable(&self, mutant: Option<Mutant>) -> bool {
        let free = self.in_flight.is_none() || Mutant::TwoCommitsInFlight.is(mutant);
        free && !self.backing_off && !self.pending.is_empty()
    }

    /// Puts everything that waits into one request (O4): the application's word over what is merely
    /// released, later words over earlier ones (O9).
    pub fn send(
        &mut self,
        incarnation: Incarnation,
        epoch: Option<Epoch>,
        mutant: Option<Mutant>,
    ) -> Offsets {
        assert!(self.is_sendable(mutant), "a commit is sent when nothing forbids it");
        let mut entries = std::mem::take(&mut self.pending);
        if !Mutant::IntervalOverUser.is(mutant) {
            entries.sort_by_key(|entry| matches!(entry.purpose, Purpose::User(_)));
        }
        let offsets = entries.iter().flat_map(|e| e.offsets.clone()).collect();
        self.in_flight = Some(Flight { incarnation, epoch, entries, left: Partitions::new() });
        offsets
    }

    /// The coordinator answered the request in flight, for the whole of it or by partition.
    pub fn on_answer(
        &mut self,
        results: &BTreeMap<TopicIdPartition, Result<(), ErrorCode>>,
        out: &mut Vec<Output>,
    ) {
        let Some(flight) = self.in_flight.take() else { return };
        self.step = Step::FIRST;
        for entry in flight.entries {
            let mut failed = None;
            for (partition, offset) in &entry.offsets {
                match results.get(partition).copied().unwrap_or(Err(ErrorCode::UnknownServerError))
                {
                    Ok(()) if flight.left.contains(partition) => {}
                    Ok(()) => {
                        if let Some(progress) = self.progress.get_mut(partition) {
                            progress.accepted = Some(offset.clone());
                        }
                    }
                    Err(code) => failed = failed.or(Some(code)),
                }
            }
            if let Purpose::User(id) = entry.purpose {
                let result = failed.map_or(Ok(()), |code| Err(CommitError::Refused(code)));
                out.push(Output::CommitDone { id, result });
            }
        }
    }

    /// The whole request was refused for good.
    pub fn on_refused(&mut self, code: ErrorCode, out: &mut Vec<Output>) {
        let Some(flight) = self.in_flight.take() else { return };
        for entry in flight.entries {
            entry.fail(CommitError::Refused(code), out);
        }
    }

    /// The request must be sent again after a backoff; what ended meanwhile is not (O10).
    pub fn on_retry(&mut self, mutant: Option<Mutant>, out: &mut Vec<Output>) {
        let Some(flight) = self.in_flight.take() else { return };
        if Mutant::RetryLowers.is(mutant) {
            self.pending.extend(flight.entries);
        } else {
            self.pending.splice(0..0, flight.entries);
        }
        if !self.pending.is_empty() && !self.backing_off {
            self.backing_off = true;
            out.push(Output::Arm(Timer::Backoff(BackoffKind::Commit), self.step));
            self.step = self.step.next();
        }
    }

    /// The request was withdrawn before it was sent: what it was for waits again (O12).
    pub fn on_withdrawn(&mut self) {
        if let Some(flight) = self.in_flight.take() {
            self.pending.splice(0..0, flight.entries);
        }
    }

    /// The application's commits in the request in flight.
    #[must_use]
    pub fn in_flight_of_users(&self) -> Vec<CommitId> {
        let entries = self.in_flight.iter().flat_map(|flight| &flight.entries);
        let user = |entry: &Entry| match entry.purpose {
            Purpose::User(id) => Some(id),
            Purpose::Released | Purpose::Parted => None,
        };
        entries.filter_map(user).collect()
    }

    /// The backoff is over.
    pub fn on_backoff(&mut self) {
        self.backing_off = false;
    }

    /// Whether the backoff after a request that failed is running.
    #[must_use]
    pub fn is_backing_off(&self) -> bool {
        self.backing_off
    }

    /// Which request is in flight, if any.
    #[must_use]
    pub fn in_flight(&self) -> Option<(Incarnation, Option<Epoch>)> {
        self.in_flight.as_ref().map(|flight| (flight.incarnation, flight.epoch))
    }

    /// Gives up on every commit that touches `partitions`: the time for it is over (O6).
    pub fn give_up(&mut self, partitions: &Partitions, error: CommitError, out: &mut Vec<Output>) {
        let touches = |entry: &Entry| entry.offsets.keys().any(|p| partitions.contains(p));
        let mut kept = Vec::new();
        let mut given_up = Vec::new();
        for entry in std::mem::take(&mut self.pending) {
            if touches(&entry) { given_up.push(entry) } else { kept.push(entry) }
        }
        self.pending = kept;
        if let Some(flight) = &mut self.in_flight {
            for entry in std::mem::take(&mut flight.entries) {
                if touches(&entry) { given_up.push(entry) } else { flight.entries.push(entry) }
            }
        }
        for entry in given_up {
            entry.fail(error, out);
        }
    }

    /// The ownership of `partitions` ended: nothing that was returned under it is committed any
    /// more (O10). A request in flight keeps its slot until it is answered or lost.
    pub fn on_ownership_ended(
        &mut self,
        partitions: &Partitions,
        mutant: Option<Mutant>,
        out: &mut Vec<Output>,
    ) {
        self.progress.retain(|partition, _| !partitions.contains(partition));
        if !Mutant::RetryAcrossOwnership.is(mutant) {
            self.give_up(partitions, CommitError::OwnershipEnded, out);
        }
    }

    /// The application does not assign itself these any more (O11): what is released of them is
    /// committed once, if at all, and what it asked for goes on.
    pub fn on_unassigned(&mut self, partitions: &Partitions, auto_commit: bool) {
        let offsets = self.uncommitted(Some(partitions));
        if auto_commit && !offsets.is_empty() {
            self.pending.push(Entry { purpose: Purpose::Parted, offsets });
        }
        self.progress.retain(|partition, _| !partitions.contains(partition));
    }

    /// The application assigns itself nothing any more (O11): no commit outlives that.
    pub fn on_assignment_ended(&mut self, out: &mut Vec<Output>) {
        self.progress.clear();
        let flight = self.in_flight.iter_mut().flat_map(|flight| flight.entries.drain(..));
        for entry in self.pending.drain(..).chain(flight) {
            entry.fail(CommitError::OwnershipEnded, out);
        }
    }

    /// Whether every commit is answered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.in_flight.is_none()
    }

    /// Whether the request in flight carries what nobody waits for.
    #[must_use]
    pub fn is_automatic_in_flight(&self) -> bool {
        let automatic = |entry: &Entry| !matches!(entry.purpose, Purpose::User(_));
        self.in_flight.as_ref().is_some_and(|flight| flight.entries.iter().any(automatic))
    }

    /// What waits to be sent cannot be, for good.
    pub fn refuse_pending(&mut self, code: ErrorCode, out: &mut Vec<Output>) {
        for entry in self.pending.drain(..) {
            entry.fail(CommitError::Refused(code), out);
        }
    }

    /// What was sent of a partition may be of a place beyond that from which it is read on.
    fn leave(&mut self, partition: TopicIdPartition, to: Option<&Committed>) {
        let Some(flight) = &mut self.in_flight else { return };
        let mut sent = flight.entries.iter().filter_map(|entry| entry.offsets.get(&partition));
        if sent.any(|sent| to.is_none_or(|to| sent.offset > to.offset)) {
            flight.left.insert(partition);
        }
    }

    fn uncommitted(&self, partitions: Option<&Partitions>) -> Offsets {
        let newest = |at: &Option<Committed>| at.as_ref().map(|committed| committed.offset);
        let due = |at: &Progress| {
            at.released.clone().filter(|_| newest(&at.released) > newest(&at.accepted))
        };
        self.progress
            .iter()
            .filter(|(p, _)| partitions.is_none_or(|chosen| chosen.contains(p)))
            .filter_map(|(&p, at)| Some((p, due(at)?)))
            .collect()
    }

    /// Shows the next backoff's step.
    pub(crate) fn visit_step(&mut self, f: &mut dyn FnMut(&mut Step)) {
        f(&mut self.step);
    }

    /// Shows every incarnation, for renaming.
    pub fn visit_incarnations(&mut self, f: &mut dyn FnMut(&mut Incarnation)) {
        if let Some(flight) = &mut self.in_flight {
            f(&mut flight.incarnation);
        }
    }

    /// Shows every epoch, for renaming.
    pub fn visit_epochs(&mut self, f: &mut dyn FnMut(&mut Epoch)) {
        if let Some(Flight { epoch: Some(epoch), .. }) = &mut self.in_flight {
            f(epoch);
        }
    }
}

impl Entry {
    fn fail(self, error: CommitError, out: &mut Vec<Output>) {
        if let Purpose::User(id) = self.purpose {
            out.push(Output::CommitDone { id, result: Err(error) });
        }
    }
}

#[cfg(test)]
mod tests;
