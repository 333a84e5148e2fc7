//! What the background has to tell, as records of one size, and how `tracing` is told of each.
//!
//! Decides names, levels and fields. Whether anybody listens was asked before a word was made
//! ([`trace`](super::trace)), and on which thread it is told decides the [teller](super::Teller):
//! whatever costs more than to copy some fields (names, dates, texts, spans) is done here.

use super::flight::Flown;
use super::story::{Story, span_of};
use super::trace::{Finished, Said, micros};
use crate::telemetry::{Counted, Landing, Tell, unix_us};
use evenkeel_core::request::ledger::{Failure, Outcome, Ticket};
use evenkeel_core::request::{Ended, Kind};
use evenkeel_core::{
    Address, CallFault, Cause, CloseReport, Detour, DisconnectReason, Lifecycle, Warning,
};
use evenkeel_spec::words::{ErrorCode, GroupId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Level, Span, debug, event, info, info_span, warn};

/// One thing to tell. What has no fixed size in it is shared, or was made by the core for itself and
/// is handed on: nothing is allocated for a word but the last.
#[derive(Debug)]
pub(super) enum Word {
    /// A logical request is over; `flown`: one of the core's own that was sent.
    Ended { ended: Ended, over: Instant, flown: Option<Flown> },
    /// A request on the wire is over that is none of the core's own.
    Finished { finished: Finished, in_flight: Duration },
    /// A rebalance began.
    Begun(Arc<Story>),
    /// It went on when the application polled.
    Waited(Waited),
    /// It is over.
    Rebalanced(Rebalanced),
    /// So many partitions are assigned from here on.
    Assigned { group: GroupId, partitions: usize },
    /// The background is doing something else than before.
    Lifecycle { group: GroupId, now: Lifecycle },
    /// The core closed a connection.
    Disconnected { address: Address, reason: DisconnectReason },
    /// A broker's second connection is opened, or was there for so long.
    Second { address: Address, detour: Detour, over: Option<(Instant, Duration, &'static str)> },
    /// A connection ended.
    Lost { address: Address, cause: Cause },
    /// The core warns.
    Warning { group: GroupId, warning: Warning },
    /// A call that was let go failed.
    Unheard(CallFault),
    /// The background of a consumer that was dropped has ended. It is the last word.
    Orphaned { group: GroupId, report: Box<CloseReport> },
}

// The queue is made of so many bytes a word.
const _: () = assert!(size_of::<Word>() <= WORD_BYTES_MAX);
const WORD_BYTES_MAX: usize = 192;

/// What a rebalance waited for until the application polled.
#[derive(Debug)]
pub(super) struct Waited {
    pub(super) story: Arc<Story>,
    pub(super) begun: Instant,
    pub(super) lasted: Duration,
    pub(super) is_slow: bool,
    pub(super) poll_interval_left_ms: i64,
}

/// How a rebalance ended, and what was left of the clocks then.
#[derive(Debug)]
pub(super) struct Rebalanced {
    pub(super) story: Arc<Story>,
    pub(super) outcome: &'static str,
    /// Whether it ended as the coordinator wanted, or the application.
    pub(super) is_well: bool,
    pub(super) reason: Option<&'static str>,
    pub(super) error: Option<&'static str>,
    /// The longest wait that was slow, and for what.
    pub(super) slowest: Option<(Duration, &'static str)>,
    pub(super) epoch: Option<u32>,
    pub(super) partitions: u64,
    pub(super) timeout: Duration,
    pub(super) rebalance_left_ms: Option<i64>,
    pub(super) poll_interval_left_ms: Option<i64>,
    pub(super) heartbeat_age: Option<Duration>,
    pub(super) lasted: Duration,
}

impl Tell for Word {
    const WHOM: &'static str = "tracing";
    /// Some seconds of a busy consumer's requests, less than a megabyte.
    const QUEUE_MAX: usize = 4_096;

    fn tell(self) {
        match self {
            Self::Ended { ended, over, flown } => tell_ended(&ended, over, flown.as_ref()),
            Self::Finished { finished, in_flight } => tell_finished(&finished, in_flight),
            Self::Begun(story) => drop(story.span().clone()),
            Self::Waited(waited) => tell_waited(&waited),
            Self::Rebalanced(rebalanced) => tell_rebalanced(&rebalanced),
            Self::Assigned { group, partitions } => {
                let group = group.as_str();
                info!(target: "evenkeel::rebalance", group, partitions, "assignment changed");
            }
            Self::Lifecycle { group, now } => {
                debug!(target: "evenkeel::lifecycle", group = group.as_str(), lifecycle = %now);
            }
            Self::Disconnected { address, reason: DisconnectReason::Failed(cause) } => {
                let said = Said(&cause);
                warn!(target: "evenkeel::connection", broker = %address, "given up: {said}");
            }
            Self::Disconnected { address, reason } => {
                debug!(target: "evenkeel::connection", broker = %address, "closed: {reason:?}");
            }
            Self::Second { address, detour, over } => tell_second(&address, detour, over),
            Self::Lost { address, cause } => {
                let said = Said(&cause);
                debug!(target: "evenkeel::connection", broker = %address, "ended: {said}");
            }
            Self::Warning { group, warning } => {
                warn!(target: "evenkeel", group = group.as_str(), "{warning:?}");
            }
            Self::Unheard(fault) => {
                warn!(target: "evenkeel", "a call that nobody waits for failed: {fault:?}");
            }
            Self::Orphaned { group, report } => {
                warn!(
                    target: "evenkeel",
                    group = group.as_str(),
                    left = report.left,
                    calls_failed = report.calls_failed,
                    bytes_discarded = report.bytes_discarded,
                    requests = %Counted(&report.requests),
                    "the consumer was dropped without close; its background has ended"
                );
            }
        }
    }
}

/// One span, from being asked for to being over: a call's, or that of a request of the core's own,
/// which is a part of a rebalance if it is there for one.
fn tell_ended(ended: &Ended, over: Instant, flown: Option<&Flown>) {
    let waits = &ended.waits;
    // The core's clock has milliseconds; what was on the wire once is known better.
    let whole = match flown {
        Some(flown) => Duration::from_millis(waits.sum_ms() - waits.in_flight_ms)
            .saturating_add(Duration::from_micros(flown.in_flight_us)),
        None => Duration::from_millis(ended.ended_at.since(ended.asked_at)),
    };
    let is_failed = ended.outcome != Outcome::Completed;
    let outcome = ended.outcome.name();
    event!(
        target: "evenkeel::request",
        parent: &span_of(flown.and_then(|flown| flown.piece.story.as_ref())),
        Level::DEBUG,
        otel.name = name_of(ended, flown),
        otel.kind = "client",
        otel.status_code = is_failed.then_some("ERROR"),
        otel.status_message = is_failed.then_some(outcome),
        began_us = unix_us(over.checked_sub(whole).unwrap_or(over)),
        lasted_us = micros(whole),
        kind = ended.kind.name(),
        api = matches!(ended.ticket, Ticket::Own(_)).then(|| ended.kind.name()),
        lane = ended.lane.name(),
        broker = ended.address.as_ref().map(ToString::to_string),
        attempts = ended.attempts,
        bulked = ended.bulked,
        queue_ms = waits.queue_ms,
        coordinator_ms = waits.coordinator_ms,
        connection_ms = waits.connection_ms,
        backoff_ms = waits.backoff_ms,
        throttle_ms = waits.throttle_ms,
        in_flight_ms = waits.in_flight_ms,
        in_flight_us = flown.map(|flown| flown.in_flight_us),
        deadline_ms = ended.deadline.map(|deadline| deadline.since(ended.asked_at)),
        outcome,
        reason = ended.outcome.reason(),
        error_code = ended.error.map(ErrorCode::number),
        error_name = ended.error.map(ErrorCode::name),
    );
}

/// What it is, and how it ended, where that is not well: `OffsetFetch call: expired unsent`,
/// `ConsumerGroupHeartbeat request: failed (FENCED_MEMBER_EPOCH)`.
fn name_of(ended: &Ended, flown: Option<&Flown>) -> String {
    let what = match (flown.and_then(|flown| flown.piece.role), ended.ticket) {
        (Some(role), _) => role.name().to_owned(),
        (None, Ticket::Call(_)) => format!("{} call", ended.kind.name()),
        (None, Ticket::Own(_)) => format!("{} request", ended.kind.name()),
    };
    let why = match (ended.outcome, ended.error) {
        (Outcome::Completed, _) => return what,
        (Outcome::Failed(Failure::Refused), Some(error)) => Some(error.name()),
        _ => ended.outcome.reason(),
    };
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    format!("{what}: {}{why}", ended.outcome.name())
}

fn tell_finished(finished: &Finished, in_flight: Duration) {
    let Finished { api, lane, address, queued_ms, sent, landing } = finished;
    let queued = Duration::from_millis(*queued_ms);
    let (is_failed, outcome) = (*landing != Landing::Answered, landing.name());
    let name = match landing.error() {
        Some(error) => format!("{} request: {outcome} ({})", api.name(), error.name()),
        None if is_failed => format!("{} request: {outcome}", api.name()),
        None => format!("{} request", api.name()),
    };
    event!(
        target: "evenkeel::request",
        Level::DEBUG,
        otel.name = name,
        otel.kind = "client",
        otel.status_code = is_failed.then_some("ERROR"),
        otel.status_message = is_failed.then_some(outcome),
        began_us = unix_us(sent.checked_sub(queued).unwrap_or(*sent)),
        lasted_us = micros(queued.saturating_add(in_flight)),
        api = api.name(),
        lane = lane.name(),
        broker = %address,
        queued_ms,
        in_flight_us = micros(in_flight),
        outcome,
        error_code = landing.error().map(ErrorCode::number),
        error_name = landing.error().map(ErrorCode::name),
    );
}

/// One event when it is opened, and one of its whole time when it has ended.
fn tell_second(address: &Address, detour: Detour, over: Option<(Instant, Duration, &'static str)>) {
    let (reason, request) = (detour.around.name(), detour.request.map(Kind::name));
    let Some((since, lasted, end)) = over else {
        return debug!(
            target: "evenkeel::connection",
            broker = %address,
            reason,
            request,
            "second connection opened"
        );
    };
    event!(
        target: "evenkeel::connection",
        parent: &Span::none(),
        Level::DEBUG,
        message = "second connection closed",
        otel.name = format!("second connection ({reason})"),
        otel.kind = "client",
        began_us = unix_us(since),
        lasted_us = micros(lasted),
        broker = %address,
        reason,
        request,
        end,
    );
}

/// Over at once: what it is, it says itself.
fn tell_waited(waited: &Waited) {
    let name = if waited.is_slow { "waiting for poll (slow)" } else { "waiting for poll" };
    drop(info_span!(
        target: "evenkeel::rebalance",
        parent: waited.story.span(),
        "wait",
        otel.name = name,
        began_us = unix_us(waited.begun),
        lasted_us = micros(waited.lasted),
        slow = waited.is_slow.then_some(true),
        poll_interval_left_ms = waited.poll_interval_left_ms,
    ));
}

/// The name says what a list of traces is searched for: what failed, or was slow.
fn tell_rebalanced(over: &Rebalanced) {
    let (span, outcome) = (over.story.span(), over.outcome);
    let why = match (over.is_well, over.reason, over.slowest) {
        (false, Some(reason), _) => format!(" ({outcome}: {reason})"),
        (false, None, _) => format!(" ({outcome})"),
        (true, _, Some((_, what))) => format!(" (slow {what})"),
        (true, _, None) => String::new(),
    };
    span.record("otel.name", format!("rebalance{why}"));
    span.record("outcome", outcome);
    if let Some(reason) = over.reason {
        span.record("reason", reason);
    }
    if let Some(error) = over.error {
        span.record("error", error);
    }
    if !over.is_well {
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_message", over.reason.unwrap_or(outcome));
    }
    if let Some((lasted, what)) = over.slowest {
        span.record("slowest", what);
        span.record("slowest_ms", micros(lasted) / 1_000);
    }
    if let Some(epoch) = over.epoch {
        span.record("epoch_after", epoch);
    }
    span.record("partitions_after", over.partitions);
    if let Some(left) = over.rebalance_left_ms {
        span.record("rebalance_timeout_ms", micros(over.timeout) / 1_000);
        span.record("rebalance_left_ms", left);
    }
    if let Some(left) = over.poll_interval_left_ms {
        span.record("poll_interval_left_ms", left);
    }
    if let Some(age) = over.heartbeat_age {
        span.record("heartbeat_age_ms", micros(age) / 1_000);
    }
    span.record("lasted_us", micros(over.lasted));
}
