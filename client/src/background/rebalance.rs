//! One span a rebalance, for whoever watches: from the news that the assignment must change to its
//! acknowledgement, or to the end of the membership.
//!
//! Decides nothing about the group. It reads what passes the driver anyway: commands, the group's
//! requests and answers, and the core's orders. A rebalance begins with a target that is not what
//! the member has acknowledged, with the loss of partitions, or with an unsubscribe, close or drop
//! of a member; a newer target supersedes it. The callbacks and the commits before a revocation are
//! its children.

use super::trace::micros;
use evenkeel_core::group::LostReason;
use evenkeel_core::request::{Request, Response};
use evenkeel_core::{Callback, Command, Incarnation, RequestId};
use evenkeel_spec::words::{Epoch, Heartbeat, HeartbeatEpoch, Partitions};
use tokio::time::Instant;
use tracing::{Span, field, info_span};

/// The rebalances of one consumer, one at a time.
#[derive(Debug)]
pub(super) struct Rebalances {
    group: String,
    /// Callbacks are run.
    listens: bool,
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
    span: Span,
    begun: Instant,
    aim: Aim,
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
    pub(super) fn new(group: &str) -> Self {
        Self { group: group.to_owned(), listens: false, member: None, open: None }
    }

    /// The application asks for something.
    pub(super) fn on_command(&mut self, command: &Command) {
        match command {
            Command::Subscribe { listener, .. } => self.listens = *listener,
            Command::Unsubscribe { .. } | Command::Close { .. } | Command::Dropped => {
                let is_leaving = self.open.as_ref().is_some_and(|open| open.aim == Aim::Leave);
                if self.member.is_some() && !is_leaving {
                    self.finish("superseded");
                    self.begin("leave", self.epoch(), Aim::Leave);
                }
            }
            Command::CallbackDone { incarnation, .. } => {
                if let Some(Open { aim: Aim::Told { outcome, callback }, .. }) = &self.open
                    && *callback == Some(*incarnation)
                {
                    self.finish(outcome);
                }
            }
            _ => {}
        }
    }

    /// A request goes out; the span that it belongs to.
    pub(super) fn on_sent(&mut self, id: RequestId, request: &Request) -> Span {
        match request {
            Request::Heartbeat(heartbeat) => self.on_heartbeat(id, heartbeat),
            Request::OffsetCommit { commit, .. } => {
                if let Some(open) = &self.open
                    && commit.offsets.keys().any(|partition| match &open.aim {
                        Aim::Target(target) => !target.contains(partition),
                        Aim::Leave => true,
                        Aim::Told { .. } => false,
                    })
                {
                    return open.span.clone();
                }
            }
            _ => {}
        }
        Span::none()
    }

    fn on_heartbeat(&mut self, id: RequestId, heartbeat: &Heartbeat) {
        match heartbeat.epoch {
            HeartbeatEpoch::Join => {
                self.membership_ended("fenced");
                self.member = Some(Member { asked: Some(id), ..Member::default() });
            }
            HeartbeatEpoch::Leave => {
                if self.open.as_ref().is_some_and(|open| matches!(open.aim, Aim::Target(_))) {
                    self.finish("stale");
                }
                self.member = None;
            }
            HeartbeatEpoch::Stay(_) => {
                let Some(member) = &mut self.member else { return };
                member.asked = Some(id);
                let Some(owned) = &heartbeat.owned else { return };
                member.told = Some(owned.clone());
                if self.open.as_ref().is_some_and(|open| match &open.aim {
                    Aim::Target(target) => target == owned,
                    Aim::Leave | Aim::Told { .. } => false,
                }) {
                    self.finish("completed");
                }
            }
        }
    }

    /// A broker answered. Only the answer to the last heartbeat of a membership says anything.
    pub(super) fn on_answer<C>(&mut self, id: RequestId, response: &Response<C>) {
        let Response::Heartbeat(Ok(answer)) = response else { return };
        let Some(member) = self.member.as_mut().filter(|member| member.asked == Some(id)) else {
            return;
        };
        let before = member.epoch;
        member.epoch = answer.epoch.or(before);
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
        open.span.record("reason", word);
        if let LostReason::Fenced(code) | LostReason::Fatal(code) = reason {
            open.span.record("error", code.name());
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

    /// A callback is due; the span that it belongs to.
    pub(super) fn on_call(&mut self, incarnation: Incarnation, called: Callback) -> Span {
        let Some(open) = &mut self.open else { return Span::none() };
        if let (Aim::Told { callback, .. }, Callback::Lost(_)) = (&mut open.aim, called) {
            *callback = Some(incarnation);
        }
        open.span.clone()
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

    fn begin(&mut self, trigger: &str, epoch_before: Option<Epoch>, aim: Aim) {
        let span = info_span!(
            target: "evenkeel::rebalance",
            parent: None,
            "rebalance",
            group = self.group,
            trigger,
            epoch_before = epoch_before.map(|epoch| epoch.0),
            partitions_before = self.acknowledged(),
            epoch_after = field::Empty,
            partitions_after = field::Empty,
            reason = field::Empty,
            error = field::Empty,
            outcome = field::Empty,
            lasted_us = field::Empty,
        );
        self.open = Some(Open { span, begun: Instant::now(), aim });
    }

    fn finish(&mut self, outcome: &str) {
        let Some(open) = self.open.take() else { return };
        if let Some(epoch) = self.epoch() {
            open.span.record("epoch_after", epoch.0);
        }
        open.span.record("partitions_after", self.acknowledged());
        open.span.record("outcome", outcome);
        open.span.record("lasted_us", micros(open.begun.elapsed()));
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

impl Drop for Rebalances {
    /// The background ends without having left.
    fn drop(&mut self) {
        self.membership_ended("abandoned");
    }
}
