//! What the client tells whoever watches: one event a finished request, one span a callback, and
//! the story of rebalances. Free of cost where nobody listens.

use crate::wire::Api;
use evenkeel_core::{Address, Callback, Cause, DisconnectReason, Misbehaved, Warning};
use evenkeel_spec::words::TopicPartition;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Span, debug, field, info, info_span, warn};

/// A request that is over.
pub(super) struct Finished<'a> {
    pub(super) api: Api,
    pub(super) address: &'a Address,
    pub(super) queued_ms: u64,
    pub(super) in_flight: Duration,
    pub(super) outcome: &'static str,
    /// The rebalance that it is a part of.
    pub(super) within: &'a Span,
}

impl Finished<'_> {
    /// One event at target `evenkeel::request`.
    pub(super) fn emit(&self) {
        debug!(
            target: "evenkeel::request",
            parent: self.within,
            api = self.api.name(),
            broker = %self.address,
            queued_ms = self.queued_ms,
            in_flight_us = micros(self.in_flight),
            outcome = self.outcome,
        );
    }
}

pub(super) fn assigned(group: &str, partitions: &BTreeSet<TopicPartition>) {
    info!(target: "evenkeel::rebalance", group, partitions = partitions.len(), "assignment changed");
}

pub(super) fn callback(
    within: &Span,
    group: &str,
    callback: Callback,
    partitions: &BTreeSet<TopicPartition>,
) {
    info!(
        target: "evenkeel::rebalance",
        parent: within,
        group,
        callback = ?callback,
        partitions = partitions.len(),
        "callback due"
    );
}

/// A callback that runs on the application's task, as a span. Dropped before it has ended, it was
/// suspended and nobody went on with it.
#[derive(Debug)]
pub(crate) struct CallbackSpan {
    span: Span,
    begun: Instant,
    suspended: u64,
    is_over: bool,
}

impl CallbackSpan {
    /// It begins: `callback` is `assigned`, `revoked` or `lost`.
    pub(crate) fn begin(within: &Span, group: &str, callback: Callback, partitions: usize) -> Self {
        let callback = match callback {
            Callback::Assigned => "assigned",
            Callback::Revoked => "revoked",
            Callback::Lost(_) => "lost",
        };
        let span = info_span!(
            target: "evenkeel::rebalance",
            parent: within,
            "callback",
            group,
            callback,
            partitions,
            suspended = field::Empty,
            outcome = field::Empty,
            lasted_us = field::Empty,
        );
        Self { span, begun: Instant::now(), suspended: 0, is_over: false }
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
        self.span.record("outcome", outcome);
        self.span.record("lasted_us", micros(self.begun.elapsed()));
    }
}

impl Drop for CallbackSpan {
    fn drop(&mut self) {
        if !self.is_over {
            self.ended("suspended");
        }
    }
}

/// Microseconds.
pub(super) fn micros(lasted: Duration) -> u64 {
    u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn disconnected(address: &Address, reason: &DisconnectReason) {
    match reason {
        DisconnectReason::Failed(cause) => {
            warn!(target: "evenkeel::connection", broker = %address, "given up: {}", Said(cause));
        }
        DisconnectReason::Idle | DisconnectReason::Closing => {
            debug!(target: "evenkeel::connection", broker = %address, "closed: {reason:?}");
        }
    }
}

pub(super) fn lost(address: &Address, cause: &Cause) {
    debug!(target: "evenkeel::connection", broker = %address, "ended: {}", Said(cause));
}

pub(super) fn warning(group: &str, warning: &Warning) {
    warn!(target: "evenkeel", group, "{warning:?}");
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
