//! One span a rebalance, for whoever watches: from the news that the assignment must change to its
//! acknowledgement, or to the end of the membership.
//!
//! Decides nothing about the group. It reads what passes the driver anyway: commands, the group's
//! requests and answers, and the core's orders. A rebalance begins with a target that is not what
//! the member has acknowledged, with the loss of partitions, or with an unsubscribe, close or drop
//! of a member; a newer target supersedes it. Its children are what it took: the wait for a poll,
//! the commits before a revocation, the callbacks, and the heartbeat that acknowledges it. What was
//! slow is in its name.

mod clocks;

use super::Teller;
use super::callback::Within;
use super::flight::{Piece, Role};
use super::story::Story;
use super::trace::left_ms;
use super::word::{Rebalanced, Waited, Word};
use crate::telemetry::Metrics;
use clocks::Clocks;
use evenkeel_core::group::LostReason;
use evenkeel_core::request::{Request, Response};
use evenkeel_core::{Callback, Command, Incarnation, RequestId};
use evenkeel_spec::words::{Epoch, Heartbeat, HeartbeatEpoch, Partitions};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The rebalances of one consumer, one at a time.
#[derive(Debug)]
pub(super) struct Rebalances {
    group: Arc<str>,
    /// Callbacks are run.
    listens: bool,
    clocks: Clocks,
    metrics: Metrics,
    teller: Teller,
    member: Option<Member>,
    open: Option<Open>,
}

/// What is known of a membership by what went over the wire.
#[derive(Debug, Default)]
struct Member {
    epoch: Option<Epoch>,
    /// What it has acknowledged; `None` before it has.
    told: Option<Partitions>,
    /// The heartbeat sent last.
    asked: Option<RequestId>,
}

/// A rebalance that is not over.
#[derive(Debug)]
struct Open {
    story: Option<Arc<Story>>,
    begun: Instant,
    aim: Aim,
    /// The heartbeat that told that the aim is reached.
    acknowledgement: Option<RequestId>,
    /// The coordinator has its answer; what is missing is the end of a callback.
    is_acknowledged: bool,
    /// The longest wait that was slow, and for what.
    slowest: Option<(Duration, &'static str)>,
    reason: Option<&'static str>,
    /// The coordinator's code, where it refused the member.
    error: Option<&'static str>,
}

/// What ends it.
#[derive(Debug, Eq, PartialEq)]
enum Aim {
    /// That this is acknowledged.
    Target(Partitions),
    /// That the member has left.
    Leave,
    /// The membership is over already: that the application was told, or a new one begins.
    Told { outcome: &'static str, callback: Option<Incarnation> },
}

impl Rebalances {
    /// `interval`: `max.poll.interval.ms`, which is the rebalance timeout too.
    pub(super) fn new(group: &str, interval: Duration, metrics: Metrics, teller: Teller) -> Self {
        let (group, clocks) = (group.into(), Clocks::new(interval));
        Self { group, listens: false, clocks, metrics, teller, member: None, open: None }
    }

    /// The application asks for something.
    pub(super) fn on_command(&mut self, command: &Command) {
        match command {
            Command::Subscribe { listener, .. } | Command::SubscribePattern { listener, .. } => {
                self.listens = *listener;
            }
            Command::Poll { .. } => self.on_inside(),
            Command::PollEnded => self.clocks.on_outside(),
            Command::Unsubscribe { .. } | Command::Close { .. } | Command::Dropped => {
                self.on_inside();
                let is_leaving = self.open.as_ref().is_some_and(|open| open.aim == Aim::Leave);
                if self.member.is_some() && !is_leaving {
                    self.finish("superseded");
                    self.begin("leave", self.epoch(), Aim::Leave);
                }
            }
            Command::CallbackDone { incarnation, .. } => {
                if let Some((lasted, called)) = self.clocks.on_called() {
                    self.metrics.on_called(called, lasted);
                    self.took(lasted, called);
                    if self.open.as_ref().is_some_and(|open| open.is_acknowledged) {
                        self.finish("completed");
                    }
                }
                if let Some(Open { aim: Aim::Told { outcome, callback }, .. }) = &self.open
                    && *callback == Some(*incarnation)
                {
                    self.finish(outcome);
                }
            }
            _ => {}
        }
    }

    /// The application is inside of a call: what waited for that goes on.
    fn on_inside(&mut self) {
        let Some(outside) = self.clocks.on_inside() else { return };
        let Some(open) = self.open.as_ref().filter(|open| matches!(open.aim, Aim::Target(_)))
        else {
            return;
        };
        let begun = outside.max(open.begun);
        let waited = begun.elapsed();
        if waited < WAIT_TOLD_MIN || open.acknowledgement.is_some() {
            return;
        }
        let is_slow = waited > self.clocks.slow_over;
        if let Some(story) = open.story.clone() {
            self.teller.tell(Word::Waited(Waited {
                story,
                begun,
                lasted: waited,
                is_slow,
                poll_interval_left_ms: left_ms(outside + self.clocks.interval),
            }));
        }
        self.took(waited, "poll");
    }

    /// Something that the rebalance waited for is over.
    fn took(&mut self, lasted: Duration, what: &'static str) {
        if lasted > self.clocks.slow_over
            && let Some(open) = &mut self.open
        {
            open.slowest = open.slowest.max(Some((lasted, what)));
        }
    }

    /// A request goes out; the part of a rebalance that it is.
    pub(super) fn on_sent(&mut self, id: RequestId, request: &Request) -> Piece {
        match request {
            Request::Heartbeat(heartbeat) => return self.on_heartbeat(id, heartbeat),
            Request::OffsetCommit { commit, .. } => {
                if let Some(open) = &self.open
                    && commit.offsets.keys().any(|partition| match &open.aim {
                        Aim::Target(target) => !target.contains(partition),
                        Aim::Leave => true,
                        Aim::Told { .. } => false,
                    })
                {
                    return Piece::of(open.story.as_ref(), Role::Commit);
                }
            }
            _ => {}
        }
        Piece::default()
    }

    fn on_heartbeat(&mut self, id: RequestId, heartbeat: &Heartbeat) -> Piece {
        match heartbeat.epoch {
            HeartbeatEpoch::Join => {
                self.membership_ended("fenced");
                self.member = Some(Member { asked: Some(id), ..Member::default() });
                Piece::default()
            }
            HeartbeatEpoch::Leave => {
                if self.open.as_ref().is_some_and(|open| matches!(open.aim, Aim::Target(_))) {
                    self.finish("stale");
                }
                self.member = None;
                self.open
                    .as_ref()
                    .map_or_else(Piece::default, |open| Piece::of(open.story.as_ref(), Role::Leave))
            }
            HeartbeatEpoch::Stay(_) => {
                let Some(member) = &mut self.member else { return Piece::default() };
                member.asked = Some(id);
                let Some(owned) = &heartbeat.owned else { return Piece::default() };
                member.told = Some(owned.clone());
                let open = self.open.as_mut().filter(|open| match &open.aim {
                    Aim::Target(target) => target == owned,
                    Aim::Leave | Aim::Told { .. } => false,
                });
                let Some(open) = open else { return Piece::default() };
                open.acknowledgement = Some(id);
                Piece::of(open.story.as_ref(), Role::Acknowledgement)
            }
        }
    }

    /// A broker answered. Only the answer to the last heartbeat of a membership says anything.
    pub(super) fn on_answer<C>(&mut self, id: RequestId, response: &Response<C>) {
        let Response::Heartbeat(Ok(answer)) = response else { return };
        let Some(member) = self.member.as_mut().filter(|member| member.asked == Some(id)) else {
            return;
        };
        self.clocks.on_accepted(answer.heartbeat_interval_ms);
        let before = member.epoch;
        member.epoch = answer.epoch.or(before);
        if let Some(open) = &mut self.open
            && open.acknowledgement == Some(id)
        {
            open.is_acknowledged = true;
            if !self.clocks.is_calling() {
                self.finish("completed");
            }
        }
        let Some(member) = &self.member else { return };
        let Some(target) = &answer.assignment else { return };
        let differs = match &self.open {
            Some(Open { aim: Aim::Target(current), .. }) => current != target,
            Some(Open { aim: Aim::Leave, .. }) => false,
            Some(Open { aim: Aim::Told { .. }, .. }) | None => member.told.as_ref() != Some(target),
        };
        if differs {
            self.membership_ended("superseded");
            self.begin("target", before, Aim::Target(target.clone()));
        }
    }

    /// The core says that partitions were lost.
    pub(super) fn on_lost(&mut self, reason: LostReason) {
        let (outcome, word) = match reason {
            LostReason::Fenced(_) => ("fenced", "fenced"),
            LostReason::Fatal(_) => ("fenced", "fatal"),
            LostReason::PollInterval => ("stale", "poll interval"),
            LostReason::RebalanceTimeout => ("stale", "rebalance timeout"),
            LostReason::LeaveTimeout => ("left", "leave timeout"),
        };
        if self.open.is_none() {
            self.begin("loss", self.epoch(), Aim::Leave);
        }
        self.member = None;
        let Some(open) = &mut self.open else { return };
        open.reason = Some(word);
        if let LostReason::Fenced(code) | LostReason::Fatal(code) = reason {
            open.error = Some(code.name());
        }
        open.aim = Aim::Told { outcome, callback: None };
        if !self.listens {
            self.finish(outcome);
        }
    }

    /// The group refused the member for good, whether it owned anything or not.
    pub(super) fn on_fatal(&mut self) {
        if self.open.as_ref().is_some_and(|open| matches!(open.aim, Aim::Target(_))) {
            self.member = None;
            self.finish("fenced");
        }
    }

    /// A callback is due; what it is a part of.
    pub(super) fn on_call(&mut self, incarnation: Incarnation, called: Callback) -> Within {
        self.clocks.on_call(match called {
            Callback::Assigned => "assigned callback",
            Callback::Revoked => "revoked callback",
            Callback::Lost(_) => "lost callback",
        });
        let (poll_interval, slow_over) = (self.clocks.interval, self.clocks.slow_over);
        let Some(open) = &mut self.open else {
            return Within { story: None, due: None, poll_interval, slow_over };
        };
        if let (Aim::Told { callback, .. }, Callback::Lost(_)) = (&mut open.aim, called) {
            *callback = Some(incarnation);
        }
        let due = open.timeout_due(poll_interval);
        Within { story: open.story.clone(), due, poll_interval, slow_over }
    }

    /// An unsubscribe or close is over.
    pub(super) fn on_left(&mut self) {
        self.member = None;
        self.membership_ended("left");
    }

    /// Whatever is open ends: as it would have anyway, where that is known.
    fn membership_ended(&mut self, otherwise: &'static str) {
        let outcome = match &self.open {
            Some(Open { aim: Aim::Told { outcome, .. }, .. }) => outcome,
            Some(Open { aim: Aim::Leave, .. }) => "left",
            Some(Open { aim: Aim::Target(_), .. }) => otherwise,
            None => return,
        };
        self.finish(outcome);
    }

    fn begin(&mut self, trigger: &'static str, epoch_before: Option<Epoch>, aim: Aim) {
        let begun = Instant::now();
        let before = (epoch_before.map(|epoch| epoch.0), self.acknowledged());
        let story = Story::begin(&self.group, trigger, begun, before);
        if let Some(story) = story.clone() {
            self.teller.tell(Word::Begun(story));
        }
        self.open = Some(Open {
            story,
            begun,
            aim,
            acknowledgement: None,
            is_acknowledged: false,
            slowest: None,
            reason: None,
            error: None,
        });
    }

    fn finish(&mut self, outcome: &'static str) {
        let Some(mut open) = self.open.take() else { return };
        let outcome = if open.is_acknowledged { "completed" } else { outcome };
        self.metrics.on_rebalanced(open.begun.elapsed(), is_well(outcome));
        let Some(story) = open.story.take() else { return };
        let interval = self.clocks.interval;
        self.teller.tell(Word::Rebalanced(Rebalanced {
            story,
            outcome,
            is_well: is_well(outcome),
            reason: open.reason,
            error: open.error,
            slowest: open.slowest,
            epoch: self.epoch().map(|epoch| epoch.0),
            partitions: self.acknowledged(),
            timeout: interval,
            rebalance_left_ms: open.timeout_due(interval).map(left_ms),
            poll_interval_left_ms: self.clocks.poll_due().map(left_ms),
            heartbeat_age: self.clocks.accepted.map(|accepted| accepted.elapsed()),
            lasted: open.begun.elapsed(),
        }));
    }

    fn epoch(&self) -> Option<Epoch> {
        self.member.as_ref().and_then(|member| member.epoch)
    }

    /// How many partitions the member has acknowledged.
    fn acknowledged(&self) -> u64 {
        let told = self.member.as_ref().and_then(|member| member.told.as_ref());
        told.map_or(0, |told| told.len() as u64)
    }
}

impl Open {
    /// When the rebalance timeout is over, which begins with a target (KIP-848).
    fn timeout_due(&self, timeout: Duration) -> Option<Instant> {
        matches!(self.aim, Aim::Target(_)).then(|| self.begun + timeout)
    }
}

/// A wait for a poll that is shorter is the application's loop, not something that was waited for.
const WAIT_TOLD_MIN: Duration = Duration::from_millis(5);

/// Whether it ended as the coordinator wanted, or the application.
fn is_well(outcome: &str) -> bool {
    matches!(outcome, "completed" | "superseded" | "left")
}

impl Drop for Rebalances {
    /// The background ends without having left.
    fn drop(&mut self) {
        self.membership_ended("abandoned");
    }
}
