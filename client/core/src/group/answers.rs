//! What the group makes of the coordinator's answers, and of answers that never came.

use super::consumer::State;
use super::{Fault, Group, LostReason, Mutant, Output};
use crate::Incarnation;
use crate::disposition::{self, Verdict};
use evenkeel_spec::words::{
    BackoffKind, ErrorCode, HeartbeatAnswer, NodeId, OffsetsCommitted, Timer,
};

impl Group {
    /// A broker was asked for the coordinator.
    pub fn on_coordinator(
        &mut self,
        incarnation: Incarnation,
        found: Result<NodeId, ErrorCode>,
        out: &mut Vec<Output>,
    ) {
        match found {
            Ok(node) => {
                if self.lookup.on_found(incarnation, node) {
                    self.member.on_new_coordinator();
                }
            }
            Err(code) => {
                if disposition::find_coordinator(code) == Verdict::Fatal
                    && self.lookup.is_asking(incarnation)
                    && !self.has(Mutant::RefusedLookupUntold)
                {
                    self.on_lookup_refused(code, out);
                }
                self.lookup.on_failed(incarnation, out);
            }
        }
        self.advance(out);
    }

    /// L2: without a subscription only calls have asked, and they are refused themselves.
    fn on_lookup_refused(&mut self, code: ErrorCode, out: &mut Vec<Output>) {
        let ends =
            self.member.state() != State::Unsubscribed || self.has(Mutant::RefusedLookupBars);
        if self.is_manual() {
            self.refuse_manual(code, out);
        } else if ends && self.has(Mutant::RefusedLookupForgetsCommits) {
            let commit = self.commit.clone();
            self.fail(code, out);
            self.commit = commit;
            out.retain(|output| !matches!(output, Output::CommitDone { .. }));
        } else if ends {
            self.fail(code, out);
        }
    }

    /// The coordinator answered a heartbeat.
    pub fn on_heartbeat_answer(
        &mut self,
        incarnation: Incarnation,
        answer: Result<HeartbeatAnswer, ErrorCode>,
        out: &mut Vec<Output>,
    ) {
        let believed = Mutant::LateAnswerBelieved.is(self.config.mutant);
        if self.departure.is_in_flight(incarnation) {
            self.on_leave_answer(answer, out);
        } else if self.member.in_flight() == Some(incarnation) || (believed && answer.is_ok()) {
            match answer {
                Ok(answer) => self.on_accepted(answer, out),
                Err(code) => self.on_refused(code, out),
            }
        }
        self.advance(out);
    }

    /// The coordinator answered a commit.
    pub fn on_commit_answer(
        &mut self,
        incarnation: Incarnation,
        answer: OffsetsCommitted,
        out: &mut Vec<Output>,
    ) {
        if self.commit.in_flight().is_none_or(|(current, _)| current != incarnation) {
            return;
        }
        match answer {
            Ok(results) => self.commit.on_answer(&results, out),
            Err(code) => match disposition::offset_commit(code) {
                Verdict::Retry => self.commit.on_retry(self.config.mutant, out),
                Verdict::FindCoordinator => {
                    self.lookup.invalidate();
                    self.commit.on_retry(self.config.mutant, out);
                }
                Verdict::Rejoin { .. } | Verdict::Surface | Verdict::Fatal => {
                    self.tell_refused_commit(code, out);
                    self.commit.on_refused(code, out);
                }
            },
        }
        self.advance(out);
    }

    /// A request's connection broke, or no answer came in time: nobody knows whether the broker has
    /// seen it (N2).
    pub fn on_lost(&mut self, incarnation: Incarnation, out: &mut Vec<Output>) {
        self.lookup.on_failed(incarnation, out);
        if self.departure.is_in_flight(incarnation) {
            self.lookup.invalidate();
            self.retry_leave(out);
        } else if self.member.in_flight() == Some(incarnation) {
            self.lookup.invalidate();
            self.retry_heartbeat(out);
        } else if self.commit.in_flight().is_some_and(|(current, _)| current == incarnation) {
            self.lookup.invalidate();
            self.commit.on_retry(self.config.mutant, out);
        }
        self.advance(out);
    }

    fn on_accepted(&mut self, answer: HeartbeatAnswer, out: &mut Vec<Output>) {
        let Some(epoch) = answer.epoch else {
            self.retry_heartbeat(out);
            return;
        };
        self.member.on_accepted(epoch);
        out.push(Output::HeartbeatInterval(answer.heartbeat_interval_ms));
        if let Some(target) = answer.assignment {
            self.reconcile.on_target(target);
            // Also none: those of the target before it may never have a name.
            out.push(Output::ResolveTopics(self.reconcile.unresolved()));
        }
    }

    fn on_refused(&mut self, code: ErrorCode, out: &mut Vec<Output>) {
        match disposition::heartbeat(code) {
            Verdict::Retry => self.retry_heartbeat(out),
            Verdict::FindCoordinator => {
                self.lookup.invalidate();
                self.retry_heartbeat(out);
            }
            Verdict::Surface => {
                out.push(Output::Fault(Fault::Refused(code)));
                self.retry_heartbeat(out);
            }
            Verdict::Rejoin { new_id }
                if self.member.state() == State::Joining
                    && !Mutant::FencedJoinAtOnce.is(self.config.mutant) =>
            {
                let step = self.member.on_join_fenced(new_id);
                out.push(Output::Arm(Timer::Backoff(BackoffKind::Heartbeat), step));
            }
            Verdict::Rejoin { .. }
                if self.callback.is_some() && self.has(Mutant::FenceUnnoticedInCallback) =>
            {
                self.retry_heartbeat(out);
            }
            Verdict::Rejoin { new_id } => {
                self.lose(LostReason::Fenced(code), out);
                self.member.on_fenced(new_id);
            }
            Verdict::Fatal => self.fail(code, out),
        }
    }

    fn on_leave_answer(
        &mut self,
        answer: Result<HeartbeatAnswer, ErrorCode>,
        out: &mut Vec<Output>,
    ) {
        match answer.map_err(disposition::heartbeat) {
            Err(Verdict::Retry) => self.retry_leave(out),
            Err(Verdict::FindCoordinator) => {
                self.lookup.invalidate();
                self.retry_leave(out);
            }
            // Whatever else it says: it does not know the member any more.
            Ok(_) | Err(Verdict::Rejoin { .. } | Verdict::Surface | Verdict::Fatal) => {
                self.departure.finish();
                if self.ending.is_none() {
                    out.push(Output::Disarm(Timer::Leave));
                }
            }
        }
    }

    fn retry_heartbeat(&mut self, out: &mut Vec<Output>) {
        let step = self.member.on_retry(self.config.mutant);
        out.push(Output::Arm(Timer::Backoff(BackoffKind::Heartbeat), step));
    }

    fn retry_leave(&mut self, out: &mut Vec<Output>) {
        if let Some(step) = self.departure.on_retry() {
            out.push(Output::Arm(Timer::Backoff(BackoffKind::Heartbeat), step));
        }
    }

    fn fail(&mut self, code: ErrorCode, out: &mut Vec<Output>) {
        self.lose(LostReason::Fatal(code), out);
        self.member.on_fatal();
        out.push(Output::Fault(Fault::Fatal(code)));
    }
}
