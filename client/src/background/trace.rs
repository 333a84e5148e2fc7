//! What the background tells whoever watches: one event a finished request, and the story of
//! rebalances. Free of cost where nobody listens.

use crate::wire::Api;
use evenkeel_core::{Address, Callback, Cause, DisconnectReason, Misbehaved, Warning};
use evenkeel_spec::words::TopicPartition;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, info, warn};

/// A request that is over.
pub(super) struct Finished<'a> {
    pub(super) api: Api,
    pub(super) address: &'a Address,
    pub(super) queued_ms: u64,
    pub(super) in_flight: Duration,
    pub(super) outcome: &'static str,
}

impl Finished<'_> {
    /// One event at target `evenkeel::request`.
    pub(super) fn emit(&self) {
        debug!(
            target: "evenkeel::request",
            api = self.api.name(),
            broker = %self.address,
            queued_ms = self.queued_ms,
            in_flight_us = u64::try_from(self.in_flight.as_micros()).unwrap_or(u64::MAX),
            outcome = self.outcome,
        );
    }
}

pub(super) fn assigned(group: &str, partitions: &BTreeSet<TopicPartition>) {
    info!(target: "evenkeel::rebalance", group, partitions = partitions.len(), "assignment changed");
}

pub(super) fn callback(group: &str, callback: Callback, partitions: &BTreeSet<TopicPartition>) {
    info!(
        target: "evenkeel::rebalance",
        group,
        callback = ?callback,
        partitions = partitions.len(),
        "callback due"
    );
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
