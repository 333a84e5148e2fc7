//! A connection as the driver has it, with what was sent on it and not answered yet.

use super::Teller;
use super::trace::{Finished, Piece};
use crate::net::connection::Connection;
use crate::telemetry::{Landed, Metrics};
use crate::wire::{Sent, Versions};
use evenkeel_core::{Address, RequestId};
use evenkeel_spec::words::NodeId;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// A connection with what was sent on it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) address: Address,
    /// The broker at the other end, as of the last request; `None`: a bootstrap server.
    pub(super) node: Option<NodeId>,
    pub(super) versions: Versions,
    pub(super) in_flight: VecDeque<InFlight>,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: RequestId,
    pub(super) sent: Sent,
    pub(super) at: Instant,
    pub(super) queued_ms: u64,
    pub(super) piece: Piece,
}

impl Link {
    pub(super) fn new(connection: Connection, address: Address) -> Self {
        let (versions, in_flight) = (Versions::default(), VecDeque::new());
        Self { connection, address, node: None, versions, in_flight }
    }

    /// Tells of a request that is over.
    pub(super) fn emit(&self, telling: (&Metrics, &Teller), over: InFlight, outcome: &'static str) {
        let InFlight { sent, at, queued_ms, piece, .. } = over;
        let (metrics, teller) = telling;
        metrics.on_landed(&Landed {
            api: sent.api.name(),
            node: self.node,
            queued: Duration::from_millis(queued_ms),
            in_flight: at.elapsed(),
            outcome,
        });
        let (api, address) = (sent.api, self.address.clone());
        Finished { api, address, queued_ms, sent: at, outcome, piece }.emit(teller);
    }

    /// Tells of everything that is not answered any more.
    pub(super) fn emit_unanswered(&mut self, telling: (&Metrics, &Teller), outcome: &'static str) {
        for in_flight in std::mem::take(&mut self.in_flight) {
            self.emit(telling, in_flight, outcome);
        }
    }
}
