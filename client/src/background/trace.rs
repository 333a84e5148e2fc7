//! What the client tells whoever watches: one event a finished request, one span a callback, and
//! the story of rebalances. Free of cost where nobody listens.

use super::story::{Story, span_of};
use crate::telemetry::{Metrics, Teller, unix_us};
use crate::wire::Api;
use evenkeel_core::request::ledger::{Outcome, Ticket};
use evenkeel_core::request::queue::Lane;
use evenkeel_core::request::{Ended, Kind};
use evenkeel_core::{
    Address, CallFault, Callback, Cause, CloseReport, Command, DisconnectReason, Lifecycle,
    Misbehaved, Warning,
};
use evenkeel_spec::words::{ErrorCode, TopicPartition};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Level, Span, debug, enabled, event, field, info, info_span, warn};

/// A request that is over.
pub(super) struct Finished {
    pub(super) api: Api,
    pub(super) address: Address,
    pub(super) queued_ms: u64,
    /// When it was sent.
    pub(super) sent: Instant,
    pub(super) outcome: &'static str,
    /// The rebalance that it is a part of.
    pub(super) piece: Piece,
}

/// A logical request is over. One of the core's own that went out and was answered is told by its
/// one attempt; a call, and whatever was never sent, is told here.
pub(super) fn ended(teller: &Teller, ended: &Ended) {
    let is_told = matches!(ended.ticket, Ticket::Own(_)) && ended.attempts > 0;
    if is_told || !enabled!(target: "evenkeel::request", Level::DEBUG) {
        return;
    }
    let whole = Duration::from_millis(ended.ended_at.since(ended.asked_at));
    let now = Instant::now();
    let began_us = unix_us(now.checked_sub(whole).unwrap_or(now));
    let ended = ended.clone();
    teller.tell(move || tell_ended(&ended, began_us, micros(whole)));
}

fn tell_ended(ended: &Ended, began_us: u64, lasted_us: u64) {
    let is_failed = ended.outcome != Outcome::Completed;
    let outcome = ended.outcome.name();
    let name = match is_failed {
        true => format!("{} call: {outcome}", ended.kind.name()),
        false => format!("{} call", ended.kind.name()),
    };
    event!(
        target: "evenkeel::request",
        Level::DEBUG,
        otel.name = name,
        otel.kind = "client",
        otel.status_code = is_failed.then_some("ERROR"),
        otel.status_message = is_failed.then_some(outcome),
        began_us,
        lasted_us,
        kind = ended.kind.name(),
        lane = ended.lane.name(),
        broker = ended.address.as_ref().map(ToString::to_string),
        attempts = ended.attempts,
        bulked = ended.bulked,
        queue_ms = ended.waits.queue_ms,
        coordinator_ms = ended.waits.coordinator_ms,
        connection_ms = ended.waits.connection_ms,
        backoff_ms = ended.waits.backoff_ms,
        throttle_ms = ended.waits.throttle_ms,
        in_flight_ms = ended.waits.in_flight_ms,
        deadline_ms = ended.deadline.map(|deadline| deadline.since(ended.asked_at)),
        outcome,
        reason = ended.outcome.reason(),
        error_code = ended.error.map(ErrorCode::number),
    );
}

/// A call found no place, and nobody but its caller was told of it: a span without duration.
pub(crate) fn refused(command: &Command, metrics: &Metrics) {
    let kind = match command {
        Command::Subscribe { .. } | Command::SubscribePattern { .. } => "subscribe",
        Command::Assign { .. } => "assign",
        Command::Unsubscribe { .. } => Kind::Unsubscribe.name(),
        Command::Commit { .. } => Kind::OffsetCommit.name(),
        Command::Position { .. } => Kind::Position.name(),
        Command::Committed { .. } => Kind::OffsetFetch.name(),
        Command::Offsets { .. } => Kind::ListOffsets.name(),
        Command::Topics { .. } => Kind::Metadata.name(),
        Command::DescribeGroup { .. } => Kind::ConsumerGroupDescribe.name(),
        Command::Lag { .. } => "lag",
        Command::Seek { .. } => "seek",
        Command::Pause { .. } => "pause",
        Command::Resume { .. } => "resume",
        Command::Poll { .. }
        | Command::PollEnded
        | Command::CallbackDone { .. }
        | Command::Close { .. }
        | Command::Abandon { .. }
        | Command::Dropped => unreachable!("what is not answered takes no place"),
    };
    metrics.on_refused(kind);
    if !enabled!(target: "evenkeel::request", Level::DEBUG) {
        return;
    }
    event!(
        target: "evenkeel::request",
        Level::DEBUG,
        otel.name = format!("{kind} call: queue full"),
        otel.kind = "client",
        otel.status_code = "ERROR",
        otel.status_message = "queue full",
        began_us = unix_us(Instant::now()),
        lasted_us = 0,
        kind,
        lane = Lane::User.name(),
        attempts = 0,
        outcome = "queue full",
    );
}

/// What a request is to a rebalance.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    story: Option<Arc<Story>>,
    /// What it is there for; `None`: it is no part of any.
    role: Option<&'static str>,
}

impl Piece {
    pub(super) fn of(story: Option<&Arc<Story>>, role: &'static str) -> Self {
        Self { story: story.cloned(), role: Some(role) }
    }

    pub(super) fn none() -> Self {
        Self { story: None, role: None }
    }
}

impl Finished {
    /// One event at target `evenkeel::request`.
    pub(super) fn emit(self, teller: &Teller) {
        if !enabled!(target: "evenkeel::request", Level::DEBUG) {
            return;
        }
        let queued = Duration::from_millis(self.queued_ms);
        let began_us = unix_us(self.sent.checked_sub(queued).unwrap_or(self.sent));
        let in_flight = self.sent.elapsed();
        teller.tell(move || self.tell(began_us, queued, in_flight));
    }

    fn tell(self, began_us: u64, queued: Duration, in_flight: Duration) {
        let is_failed = self.outcome != "answered";
        let name = self
            .piece
            .role
            .map_or_else(|| format!("{} request", self.api.name()), std::borrow::ToOwned::to_owned);
        let name = if is_failed { format!("{name}: {}", self.outcome) } else { name };
        event!(
            target: "evenkeel::request",
            parent: &span_of(self.piece.story.as_ref()),
            Level::DEBUG,
            otel.name = name,
            otel.kind = "client",
            otel.status_code = is_failed.then_some("ERROR"),
            otel.status_message = is_failed.then_some(self.outcome),
            began_us,
            lasted_us = micros(queued.saturating_add(in_flight)),
            api = self.api.name(),
            broker = %self.address,
            queued_ms = self.queued_ms,
            in_flight_us = micros(in_flight),
            outcome = self.outcome,
        );
    }
}

pub(super) fn assigned(teller: &Teller, group: &str, partitions: &BTreeSet<TopicPartition>) {
    if enabled!(target: "evenkeel::rebalance", Level::INFO) {
        let (group, partitions) = (group.to_owned(), partitions.len());
        teller.tell(move || {
            info!(target: "evenkeel::rebalance", group, partitions, "assignment changed");
        });
    }
}

pub(super) fn lifecycle(teller: &Teller, group: &str, now: Lifecycle) {
    if enabled!(target: "evenkeel::lifecycle", Level::DEBUG) {
        let group = group.to_owned();
        teller.tell(move || debug!(target: "evenkeel::lifecycle", group, lifecycle = %now));
    }
}

/// The rebalance that a callback is a part of, and its clocks.
#[derive(Clone, Debug)]
pub(crate) struct Within {
    pub(super) story: Option<Arc<Story>>,
    /// When the rebalance timeout is over, which began with the target; `None`: there was none.
    pub(super) due: Option<Instant>,
    /// `max.poll.interval.ms`, which begins anew with each callback.
    pub(super) poll_interval: Duration,
    /// A callback that takes longer keeps others waiting for another heartbeat at least.
    pub(super) slow_over: Duration,
}

/// A callback that runs on the application's task, as a span. Dropped before it has ended, it was
/// suspended and nobody went on with it.
#[derive(Debug)]
pub(crate) struct CallbackSpan {
    span: Span,
    name: &'static str,
    within: Within,
    begun: Instant,
    suspended: u64,
    is_over: bool,
}

impl CallbackSpan {
    /// It begins: `callback` is `assigned`, `revoked` or `lost`.
    pub(crate) fn begin(
        within: Within,
        group: &str,
        callback: Callback,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Self {
        let begun = Instant::now();
        let (callback, name) = match callback {
            Callback::Assigned => ("assigned", "assigned callback"),
            Callback::Revoked => ("revoked", "revoked callback"),
            Callback::Lost(_) => ("lost", "lost callback"),
        };
        let span = info_span!(
            target: "evenkeel::rebalance",
            parent: &span_of(within.story.as_ref()),
            "callback",
            otel.name = name,
            otel.status_code = field::Empty,
            otel.status_message = field::Empty,
            began_us = unix_us(begun),
            lasted_us = field::Empty,
            group,
            callback,
            partitions = partitions.len(),
            partitions_named = %Listed(partitions),
            suspended = field::Empty,
            outcome = field::Empty,
            slow = field::Empty,
            slow_over_ms = field::Empty,
            rebalance_left_ms = field::Empty,
            poll_interval_left_ms = field::Empty,
        );
        Self { span, name, within, begun, suspended: 0, is_over: false }
    }

    /// What the callback itself tells `tracing` is told inside of it.
    pub(crate) fn within<T>(&self, run: impl FnOnce() -> T) -> T {
        self.span.in_scope(run)
    }

    /// The call that it ran in is over, and another one goes on with it.
    pub(crate) fn resumed(&mut self) {
        self.suspended += 1;
        self.span.record("suspended", self.suspended);
    }

    /// It is over.
    pub(crate) fn end(mut self, outcome: &str) {
        self.ended(outcome);
    }

    fn ended(&mut self, outcome: &str) {
        self.is_over = true;
        if self.span.is_disabled() {
            return;
        }
        let lasted = self.begun.elapsed();
        let Within { due, poll_interval, slow_over, .. } = self.within;
        if outcome != "ok" {
            self.span.record("otel.name", format!("{} ({outcome})", self.name));
            self.span.record("otel.status_code", "ERROR");
            self.span.record("otel.status_message", outcome);
        } else if lasted > slow_over {
            self.span.record("otel.name", format!("{} (slow)", self.name));
        }
        if lasted > slow_over {
            self.span.record("slow", true);
            self.span.record("slow_over_ms", micros(slow_over) / 1_000);
        }
        if let Some(due) = due {
            self.span.record("rebalance_left_ms", left_ms(due));
        }
        self.span.record("poll_interval_left_ms", left_ms(self.begun + poll_interval));
        self.span.record("outcome", outcome);
        self.span.record("lasted_us", micros(lasted));
    }
}

impl Drop for CallbackSpan {
    fn drop(&mut self) {
        if !self.is_over {
            self.ended("suspended");
        }
    }
}

/// The same of a date: what is left until it, or, negative, how long it is over; milliseconds.
pub(super) fn left_ms(due: Instant) -> i64 {
    let now = Instant::now();
    let whole = |lasted: Duration| i64::try_from(lasted.as_millis()).unwrap_or(i64::MAX);
    match due.checked_duration_since(now) {
        Some(left) => whole(left),
        None => -whole(now.duration_since(due)),
    }
}

/// Partitions as a human reads them: `orders 0 1 2, payments 7`.
struct Listed<'a>(&'a BTreeSet<TopicPartition>);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut topic = None;
        for TopicPartition { topic: named, partition } in self.0.iter().take(LISTED_MAX) {
            if topic != Some(named) {
                f.write_str(if topic.is_some() { ", " } else { "" })?;
                f.write_str(named.as_str())?;
                topic = Some(named);
            }
            write!(f, " {partition}")?;
        }
        match self.0.len().saturating_sub(LISTED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Partitions that are named in one attribute: one line of a viewer.
const LISTED_MAX: usize = 32;

/// Microseconds.
pub(crate) fn micros(lasted: Duration) -> u64 {
    u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn disconnected(teller: &Teller, address: &Address, reason: &DisconnectReason) {
    if !enabled!(target: "evenkeel::connection", Level::WARN) {
        return;
    }
    let (address, reason) = (address.clone(), reason.clone());
    teller.tell(move || match reason {
        DisconnectReason::Failed(cause) => {
            warn!(target: "evenkeel::connection", broker = %address, "given up: {}", Said(&cause));
        }
        DisconnectReason::Idle | DisconnectReason::Needless | DisconnectReason::Closing => {
            debug!(target: "evenkeel::connection", broker = %address, "closed: {reason:?}");
        }
    });
}

pub(super) fn lost(teller: &Teller, address: &Address, cause: &Cause) {
    if enabled!(target: "evenkeel::connection", Level::DEBUG) {
        let (address, cause) = (address.clone(), cause.clone());
        teller.tell(move || {
            debug!(target: "evenkeel::connection", broker = %address, "ended: {}", Said(&cause));
        });
    }
}

pub(super) fn warning(teller: &Teller, group: &str, warning: &Warning) {
    if enabled!(target: "evenkeel", Level::WARN) {
        let (group, warning) = (group.to_owned(), warning.clone());
        teller.tell(move || warn!(target: "evenkeel", group, "{warning:?}"));
    }
}

/// A call that was let go failed.
pub(super) fn unheard(teller: &Teller, fault: CallFault) {
    teller
        .tell(move || warn!(target: "evenkeel", "a call that nobody waits for failed: {fault:?}"));
}

/// The background of a consumer that was dropped has ended.
pub(super) fn orphan_ended(teller: &Teller, group: &str, report: &CloseReport) {
    let (group, left, bytes_discarded) = (group.to_owned(), report.left, report.bytes_discarded);
    teller.tell(move || {
        warn!(
            target: "evenkeel",
            group,
            left,
            bytes_discarded,
            "the consumer was dropped without close; its background has ended"
        );
    });
}

/// A cause as a sentence for a human.
pub(crate) struct Said<'a>(pub(crate) &'a Cause);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Cause::Resolve(said)
            | Cause::Connect(said)
            | Cause::Misbehaved(Misbehaved::Malformed(said)) => f.write_str(said),
            Cause::Io(said) => write!(f, "{said}; is this a Kafka listener?"),
            Cause::Closed => {
                f.write_str("the peer closed the connection; is this a Kafka listener?")
            }
            Cause::Misbehaved(Misbehaved::OutOfOrder) => f.write_str("an answer out of order"),
            Cause::Misbehaved(Misbehaved::WrongKind) => {
                f.write_str("an answer to another kind of request")
            }
            Cause::SetupTimedOut => {
                f.write_str("no connection within socket.connection.setup.timeout.ms")
            }
            Cause::RequestTimedOut => f.write_str(
                "connected, but no answer within request.timeout.ms; is this a Kafka listener?",
            ),
            Cause::Unsupported(unsupported) => f.write_str(&unsupported.what),
        }
    }
}

/// The same as a shared text.
pub(crate) fn said(cause: &Cause) -> Arc<str> {
    Said(cause).to_string().into()
}
