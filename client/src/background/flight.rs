//! A connection as the driver has it, with what was sent on it and not answered yet; and which
//! requests of the core's own that is.

use super::Teller;
use super::story::Story;
use super::trace::{self, Finished, micros};
use crate::net::connection::Connection;
use crate::telemetry::{Landed, Landing, Metrics};
use crate::wire::{Sent, Versions};
use evenkeel_core::request::ledger::Ticket;
use evenkeel_core::request::queue::Lane;
use evenkeel_core::{Address, Detour, RequestId};
use evenkeel_spec::words::NodeId;
use std::collections::VecDeque;
use std::sync::Arc;
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
    /// Why it was opened, and when, if it is a broker's second one.
    second: Option<(Detour, Instant)>,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: RequestId,
    pub(super) sent: Sent,
    pub(super) at: Instant,
    pub(super) queued_ms: u64,
    pub(super) lane: Lane,
    /// It is a request of the core's own, which tells of it: [`Flights`].
    pub(super) is_own: bool,
}

impl Link {
    pub(super) fn new(connection: Connection, address: Address, detour: Option<Detour>) -> Self {
        let (versions, in_flight) = (Versions::default(), VecDeque::new());
        let second = detour.map(|detour| (detour, Instant::now()));
        Self { connection, address, node: None, versions, in_flight, second }
    }

    /// It is over: tells of everything that is not answered any more, and of itself, if it is a
    /// broker's second one. `end` says why.
    pub(super) fn over(
        &mut self,
        telling: (&Metrics, &Teller),
        landing: Landing,
        end: &'static str,
    ) {
        self.emit_unanswered(telling, landing);
        if let Some((detour, since)) = self.second.take() {
            trace::second(telling.1, &self.address, detour, Some((since, end)));
        }
    }

    /// A request is over. Told of here are the handshake and what was sent for calls alone.
    pub(super) fn emit(&self, telling: (&Metrics, &Teller), over: InFlight, landing: Landing) {
        let InFlight { sent, at, queued_ms, lane, is_own, .. } = over;
        let (metrics, teller) = telling;
        metrics.on_landed(Landed {
            api: sent.api.name(),
            node: self.node,
            queued: Duration::from_millis(queued_ms),
            in_flight: at.elapsed(),
            landing,
        });
        if !is_own {
            let (api, address) = (sent.api, self.address.clone());
            Finished { api, lane, address, queued_ms, sent: at, landing }.emit(teller);
        }
    }

    /// Tells of everything that is not answered any more.
    fn emit_unanswered(&mut self, telling: (&Metrics, &Teller), landing: Landing) {
        for in_flight in std::mem::take(&mut self.in_flight) {
            self.emit(telling, in_flight, landing);
        }
    }
}

/// What a request is to a rebalance.
#[derive(Clone, Debug, Default)]
pub(super) struct Piece {
    pub(super) story: Option<Arc<Story>>,
    /// What it is there for; `None`: it is no part of any.
    pub(super) role: Option<Role>,
}

/// What a request is there for in a rebalance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Commit,
    Acknowledgement,
    Leave,
}

impl Piece {
    pub(super) fn of(story: Option<&Arc<Story>>, role: Role) -> Self {
        Self { story: story.cloned(), role: Some(role) }
    }
}

impl Role {
    /// As its span is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Acknowledgement => "acknowledgement heartbeat",
            Self::Leave => "leave",
        }
    }
}

/// The requests of the core's own that were sent and are not over: each goes out once at most, and
/// is told of once, when the core says how it ended (Q7).
#[derive(Debug, Default)]
pub(super) struct Flights(Vec<Flight>);

#[derive(Debug)]
struct Flight {
    ticket: Ticket,
    sent: Instant,
    piece: Piece,
}

/// A request of the core's own that was on the wire.
#[derive(Debug)]
pub(super) struct Flown {
    pub(super) in_flight_us: u64,
    pub(super) piece: Piece,
}

impl Flights {
    /// A request went out for these; says whether one of them is the core's own.
    pub(super) fn on_sent(&mut self, tickets: &[Ticket], sent: Instant, piece: &Piece) -> bool {
        let own = tickets.iter().filter(|ticket| matches!(ticket, Ticket::Own(_)));
        let before = self.0.len();
        self.0.extend(own.map(|ticket| Flight { ticket: *ticket, sent, piece: piece.clone() }));
        self.0.len() > before
    }

    /// A logical request is over; `None`: a call, or it was never sent.
    pub(super) fn on_ended(&mut self, ticket: Ticket) -> Option<Flown> {
        let at = self.0.iter().position(|flight| flight.ticket == ticket)?;
        let Flight { sent, piece, .. } = self.0.swap_remove(at);
        Some(Flown { in_flight_us: micros(sent.elapsed()), piece })
    }
}
