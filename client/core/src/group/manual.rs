//! Partitions that the application assigns itself: no membership, but commits. spec/06-commit.md, O11.
//!
//! Decides what a change of the assignment, an unsubscribe and a close do to what is not committed.
//! Which partitions there are, and where they are read from, is the shell's to know.

use super::consumer::State;
use super::{Fault, Group, Output};
use evenkeel_spec::words::{ErrorCode, Partitions, Step, Timer};

impl Group {
    /// The application assigned itself exactly these partitions; `seen`: it took everything that it
    /// was given, and is done with it. Not beside a subscription, nor while one is being ended.
    pub fn on_assigned(&mut self, partitions: &Partitions, seen: bool, out: &mut Vec<Output>) {
        assert!(self.is_unsubscribed(), "nothing is assigned beside a subscription");
        if seen {
            self.commit.release();
        }
        let before = self.manual.replace(partitions.clone());
        if before.is_none() && self.config.auto_commit {
            out.push(Output::Arm(Timer::AutoCommit, Step::FIRST));
        }
        let before = before.unwrap_or_default();
        let (gone, added) = (&before - partitions, partitions - &before);
        if !gone.is_empty() {
            self.commit.on_unassigned(&gone, self.config.auto_commit);
            out.push(Output::Release(gone));
        }
        if !added.is_empty() {
            out.push(Output::Own(added.clone()));
            out.push(Output::Fetch(added));
        }
        self.advance(out);
    }

    /// An unsubscribe or a close begins: what is released is committed once more.
    pub(super) fn commit_manual(&mut self) {
        if self.manual.is_some() && self.config.auto_commit {
            self.commit.commit_released(None, self.config.mutant);
        }
    }

    /// An unsubscribe or a close lets go of what is assigned once every commit is answered, or its
    /// time is over. Says whether nothing is left.
    pub(super) fn end_manual(&mut self, is_timed_out: bool, out: &mut Vec<Output>) -> bool {
        if self.manual.is_none() {
            return true;
        }
        if !self.commit.is_idle() && !is_timed_out {
            return false;
        }
        self.commit.on_assignment_ended(out);
        let gone = self.manual.take().unwrap_or_default();
        if !gone.is_empty() {
            out.push(Output::Release(gone));
        }
        true
    }

    /// No coordinator can be found for good: commits fail, and the application is told; what is
    /// assigned needs none.
    pub(super) fn refuse_manual(&mut self, code: ErrorCode, out: &mut Vec<Output>) {
        out.push(Output::Fault(Fault::Refused(code)));
        self.commit.refuse_pending(code, out);
    }

    /// Nobody waits for an automatic commit, and no heartbeat fails with it: poll says so.
    pub(super) fn tell_refused_commit(&self, code: ErrorCode, out: &mut Vec<Output>) {
        if self.is_manual() && self.commit.is_automatic_in_flight() {
            out.push(Output::Fault(Fault::Refused(code)));
        }
    }

    /// Whether a manual assignment may be made: nothing of a subscription is left.
    #[must_use]
    pub fn is_unsubscribed(&self) -> bool {
        self.member.state() == State::Unsubscribed && self.ending.is_none()
    }

    /// Whether commits go out without a member.
    pub(crate) fn is_manual(&self) -> bool {
        self.manual.is_some()
    }
}
