//! Which offsets are committed, when, and in whose name: `OffsetCommit` (key 8). spec/06-commit.md.
//!
//! Keeps at most one request in flight (O4); lets no offset outlive the ownership under which it was
//! returned (O10). What a commit may cover is [`Progress`]' to decide; whether there is an epoch and a
//! coordinator to send with is the group's to know.

mod progress;

pub use progress::Progress;

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
    progress: Progress,
    pending: Vec<Entry>,
    in_flight: Option<Flight>,
    backing_off: bool,
    step: Step,
}

/// One commit that was asked for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Entry {
    purpose: Purpose,
    offsets: Offsets,
    /// The application has sought of these since: what becomes of them says nothing about the new
    /// place.
    overruled: Partitions,
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
}

impl Commit {
    /// Records are on their way to the application.
    pub fn on_delivered(&mut self, next: &Offsets) {
        self.progress.on_delivered(next);
    }

    /// The application has everything that was delivered.
    pub fn on_taken(&mut self) {
        self.progress.on_taken();
    }

    /// The log lost what lies beyond: nothing beyond counts as returned, released or accepted (P8).
    /// Says whether something did.
    pub fn on_truncated(&mut self, partition: TopicIdPartition, to: &Committed) -> bool {
        self.overrule(partition, |offset| offset.offset > to.offset);
        self.progress.on_truncated(partition, to)
    }

    /// The application is done with everything that it was given (O1).
    pub fn release(&mut self) {
        self.progress.on_released();
    }

    /// The application reads on from elsewhere: from now on that is what `commit()` covers, also
    /// where it lies before what was accepted; an unknown place covers nothing yet. What it asked for
    /// before stands.
    pub fn on_sought(
        &mut self,
        partition: TopicIdPartition,
        to: Option<&Committed>,
        mutant: Option<Mutant>,
    ) {
        self.progress.on_sought(partition, to, mutant);
        self.overrule(partition, |_| true);
    }

    /// What was asked for until now says nothing any more about what is to be committed.
    fn overrule(&mut self, partition: TopicIdPartition, is_it: impl Fn(&Committed) -> bool) {
        let flying = self.in_flight.iter_mut().flat_map(|flight| &mut flight.entries);
        for entry in flying.chain(&mut self.pending) {
            if entry.offsets.get(&partition).is_some_and(&is_it) {
                entry.overruled.insert(partition);
            }
        }
    }

    /// Whether the application may still be at work on records of `partitions`.
    #[must_use]
    pub fn has_unreleased(&self, partitions: &Partitions) -> bool {
        self.progress.is_in_hand(partitions)
    }

    /// Everything that was returned, released or not: what `commit()` covers (O2).
    #[must_use]
    pub fn returned(&self, mutant: Option<Mutant>) -> Offsets {
        self.progress.returned(mutant)
    }

    /// Enqueues a commit of the application. The group has checked that it owns the partitions.
    pub fn on_commit(&mut self, id: CommitId, offsets: Offsets, out: &mut Vec<Output>) {
        if offsets.is_empty() {
            out.push(Output::CommitDone { id, result: Ok(()) });
        } else {
            self.pending.push(Entry::new(Purpose::User(id), offsets));
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
        let mut offsets = self.progress.uncommitted(partitions);
        if Mutant::CommitUnreleased.is(mutant) {
            let mut progress = self.progress.clone();
            progress.on_taken();
            offsets = progress.returned(mutant);
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
            None => self.pending.push(Entry::new(Purpose::Released, offsets)),
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
            entry.offsets = self.progress.uncommitted(Some(&chosen));
            entry.overruled.clear();
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
        self.in_flight = Some(Flight { incarnation, epoch, entries });
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
                    Ok(()) => {
                        let stands = !entry.overruled.contains(partition);
                        self.progress.on_accepted(*partition, stands.then_some(offset));
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
        if !Mutant::ReleasedStaysReturned.is(mutant) {
            self.progress.forget(partitions);
        }
        if Mutant::LossForgetsCommits.is(mutant) {
            self.give_up(partitions, CommitError::OwnershipEnded, &mut Vec::new());
        } else if !Mutant::RetryAcrossOwnership.is(mutant) {
            self.give_up(partitions, CommitError::OwnershipEnded, out);
        }
    }

    /// The application does not assign itself these any more (O11): what is released of them is
    /// committed once, if at all, and what it asked for goes on.
    pub fn on_unassigned(&mut self, partitions: &Partitions, auto_commit: bool) {
        let offsets = self.progress.uncommitted(Some(partitions));
        if auto_commit && !offsets.is_empty() {
            self.pending.push(Entry::new(Purpose::Parted, offsets));
        }
        self.progress.forget(partitions);
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
    fn new(purpose: Purpose, offsets: Offsets) -> Self {
        Self { purpose, offsets, overruled: Partitions::new() }
    }

    fn fail(self, error: CommitError, out: &mut Vec<Output>) {
        if let Purpose::User(id) = self.purpose {
            out.push(Output::CommitDone { id, result: Err(error) });
        }
    }
}

#[cfg(test)]
mod tests;
