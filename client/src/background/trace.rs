//! What the client tells whoever watches, as far as it is made where it happens: a [`Word`] for the
//! teller, or nothing where nobody listens.

use super::Teller;
use super::flight::Flown;
use super::word::Word;
use crate::telemetry::{Landing, Metrics, unix_us};
use crate::wire::Api;
use evenkeel_core::request::queue::Lane;
use evenkeel_core::request::{Ended, Kind};
use evenkeel_core::{
    Address, CallFault, Cause, CloseReport, Command, Detour, DisconnectReason, Lifecycle,
    Misbehaved, Warning,
};
use evenkeel_spec::words::{GroupId, TopicPartition};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Level, enabled, event};

/// A request on the wire that is over and no request of the core's own: the handshake, or an attempt
/// of calls.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) api: Api,
    pub(super) lane: Lane,
    pub(super) address: Address,
    pub(super) queued_ms: u64,
    /// When it was sent.
    pub(super) sent: Instant,
    pub(super) landing: Landing,
}

/// A logical request is over: a call, or one of the core's own, which was on the wire as `flown`.
pub(super) fn ended(teller: &Teller, ended: Ended, flown: Option<Flown>) {
    if enabled!(target: "evenkeel::request", Level::DEBUG) {
        teller.tell(Word::Ended { ended, over: Instant::now(), flown });
    }
}

/// A command's name: of its requests, if it is answered by some.
pub(crate) fn named(command: &Command) -> &'static str {
    match command {
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
        Command::Poll { .. } => "poll",
        Command::PollEnded => "poll ended",
        Command::CallbackDone { .. } => "callback ended",
        Command::Close { .. } => "close",
        Command::Abandon { .. } => "abandon",
        Command::Dropped => "drop",
    }
}

/// A call found no place, and nobody but its caller was told of it: a span without duration.
pub(crate) fn refused(command: &Command, metrics: &Metrics) {
    let kind = named(command);
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

impl Finished {
    /// One event at target `evenkeel::request`.
    pub(super) fn emit(self, teller: &Teller) {
        if enabled!(target: "evenkeel::request", Level::DEBUG) {
            let in_flight = self.sent.elapsed();
            teller.tell(Word::Finished { finished: self, in_flight });
        }
    }
}

pub(super) fn assigned(teller: &Teller, group: &GroupId, partitions: &BTreeSet<TopicPartition>) {
    if enabled!(target: "evenkeel::rebalance", Level::INFO) {
        teller.tell(Word::Assigned { group: group.clone(), partitions: partitions.len() });
    }
}

pub(super) fn lifecycle(teller: &Teller, group: &GroupId, now: Lifecycle) {
    if enabled!(target: "evenkeel::lifecycle", Level::DEBUG) {
        teller.tell(Word::Lifecycle { group: group.clone(), now });
    }
}

/// What is left until a date, or, negative, how long it is over; milliseconds.
pub(super) fn left_ms(due: Instant) -> i64 {
    let now = Instant::now();
    let whole = |lasted: Duration| i64::try_from(lasted.as_millis()).unwrap_or(i64::MAX);
    match due.checked_duration_since(now) {
        Some(left) => whole(left),
        None => -whole(now.duration_since(due)),
    }
}

/// Microseconds.
pub(crate) fn micros(lasted: Duration) -> u64 {
    u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn disconnected(teller: &Teller, address: &Address, reason: DisconnectReason) {
    if enabled!(target: "evenkeel::connection", Level::WARN) {
        teller.tell(Word::Disconnected { address: address.clone(), reason });
    }
}

pub(super) fn lost(teller: &Teller, address: &Address, cause: &Cause) {
    if enabled!(target: "evenkeel::connection", Level::DEBUG) {
        teller.tell(Word::Lost { address: address.clone(), cause: cause.clone() });
    }
}

pub(super) fn warning(teller: &Teller, group: &GroupId, warning: Warning) {
    if enabled!(target: "evenkeel", Level::WARN) {
        teller.tell(Word::Warning { group: group.clone(), warning });
    }
}

/// A call that was let go failed.
pub(super) fn unheard(teller: &Teller, fault: CallFault) {
    if enabled!(target: "evenkeel", Level::WARN) {
        teller.tell(Word::Unheard(fault));
    }
}

/// The background of a consumer that was dropped has ended.
pub(super) fn orphan_ended(teller: &Teller, group: &GroupId, report: CloseReport) {
    if enabled!(target: "evenkeel", Level::WARN) {
        teller.tell(Word::Orphaned { group: group.clone(), report: Box::new(report) });
    }
}

/// A broker's second connection is opened or, `over`, ended: since when it was there, and why not.
pub(super) fn second(
    teller: &Teller,
    address: &Address,
    detour: Detour,
    over: Option<(Instant, &'static str)>,
) {
    if enabled!(target: "evenkeel::connection", Level::DEBUG) {
        let over = over.map(|(since, end)| (since, since.elapsed(), end));
        teller.tell(Word::Second { address: address.clone(), detour, over });
    }
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
