//! Brings requests to the desk, and what the desk orders to the driver.

use super::accounts::Place;
use super::peers::Orders;
use super::timers::Alarm;
use super::{OnDesk, Purpose, Shell};
use crate::connection::{Connection, Hold};
use crate::request::desk::{Asker, Order, Peer, To};
use crate::request::ledger::{End, Ticket};
use crate::request::queue::{Lane, Question as _};
use crate::request::{Kind, Request};
use crate::{Address, CallId, Chunk, ConnectionId, Output, RequestId, Time};
use evenkeel_spec::words::{NodeId, Timer};
use std::collections::BTreeMap;

impl<C: Chunk> Shell<C> {
    /// Sends a request to a broker whose address is known; else it is lost at once.
    pub(super) fn send_to(&mut self, to: To, request: Request, purpose: Purpose) {
        let lane = purpose.lane();
        let ticket = match purpose.call() {
            Some(call) => Ticket::Call(call),
            None => self.open_own(lane, &request),
        };
        self.send_for(to, lane, request, vec![Asker { ticket, purpose }]);
    }

    /// Sends a request of the core's own that any broker answers.
    pub(super) fn send(
        &mut self,
        peer: Peer,
        address: &Address,
        request: Request,
        purpose: Purpose,
    ) {
        self.peers.on_address(peer, address);
        self.send_to(To::Peer(peer), request, purpose);
    }

    /// Sends the group's commit, with the calls that it is for.
    pub(super) fn send_commit(&mut self, to: NodeId, lane: Lane, request: Request, own: OnDesk) {
        let purpose = Purpose::Commit(own.incarnation);
        let mut askers = vec![Asker { ticket: own.ticket, purpose }];
        let rider = |ticket: &Ticket| Asker { ticket: *ticket, purpose: Purpose::Rider };
        askers.extend(own.riders.iter().map(rider));
        self.commit = Some(own);
        self.send_for(To::Coordinator(to), lane, request, askers);
    }

    pub(super) fn open_own(&mut self, lane: Lane, request: &Request) -> Ticket {
        let ticket = self.peers.desk.open_own(request.kind(), lane);
        self.accounts.open(ticket, (lane, request.kind()), self.now);
        ticket
    }

    fn send_for(&mut self, to: To, lane: Lane, request: Request, askers: Vec<Asker<Purpose>>) {
        if let To::Leader(node) | To::Coordinator(node) = to {
            let Some(address) = self.metadata.brokers().get(&node) else {
                self.metadata.request_update();
                return self.lose(askers);
            };
            self.peers.on_address(Peer::Node(node), address);
            self.peers.on_address(Peer::Second(node), address);
        }
        let tickets: Vec<_> = askers.iter().map(|asker| asker.ticket).collect();
        let mut orders = Orders::new();
        let peer = self.peers.desk.ask(to, lane, request, askers, &mut orders);
        let place = self.place_on(peer);
        for ticket in &tickets {
            self.accounts.place(*ticket, place, self.now);
        }
        self.carry_out(orders);
        let first = tickets[0];
        let waits = self.peers.desk.ledger().get(first).filter(|open| open.in_flight == 0);
        if let Some(open) = waits
            && matches!(open.kind, Kind::ConsumerGroupHeartbeat | Kind::OffsetCommit)
        {
            self.outputs.push_back(Output::Waiting(first, open.kind));
        }
    }

    /// Nobody can be asked.
    fn lose(&mut self, askers: Vec<Asker<Purpose>>) {
        for Asker { ticket, purpose } in askers {
            if let Ticket::Own(_) = ticket {
                self.end_ticket(ticket, End::Disconnected);
            }
            self.on_lost(purpose);
        }
    }

    /// A logical request is over.
    pub(super) fn end_ticket(&mut self, ticket: Ticket, end: End) {
        let mut orders = Orders::new();
        self.peers.desk.end(ticket, end, &mut orders);
        self.carry_out(orders);
    }

    /// The call of a commit is gone that was not sent: what is left of the commit is sent anew.
    pub(super) fn recall_commit(&mut self, call: CallId) {
        let ticket = Ticket::Call(call);
        let is_rider = |own: &OnDesk| own.riders.contains(&ticket);
        let Some(own) = self.commit.take_if(|own| is_rider(own)) else { return };
        if self.peers.desk.ledger().get(own.ticket).is_none() {
            return;
        }
        self.peers.desk.forget(&own.riders);
        self.end_ticket(own.ticket, End::CallerGone);
        self.with_group(|group, out| group.on_commit_withdrawn(own.incarnation, out));
    }

    /// Carries out what the desk orders.
    pub(super) fn carry_out(&mut self, orders: Orders) {
        for order in orders {
            match order {
                Order::Open(peer, connection) => {
                    self.peers.on_open(connection, peer);
                    let address = self.peers.address(peer).clone();
                    let detour = self.peers.detour(peer);
                    self.outputs.push_back(Output::Connect { connection, address, detour });
                }
                Order::Close(connection, reason) => {
                    self.peers.on_gone(connection);
                    self.outputs.push_back(Output::Disconnect { connection, reason });
                }
                Order::Handshake(connection, request_id) => {
                    self.outputs.push_back(Output::Send {
                        connection,
                        request_id,
                        request: Request::ApiVersions,
                        lane: Lane::System,
                        tickets: Vec::new(),
                        queued_ms: 0,
                    });
                }
                Order::Send { peer, connection, request, lane, question, tickets } => {
                    self.on_send(peer, (connection, request), question, (lane, tickets));
                }
                Order::Lost(ticket, purpose) => {
                    self.accounts.place(ticket, Place::Backoff, self.now);
                    self.on_lost(purpose);
                }
                Order::Ended(ticket, open, outcome) => {
                    let ended = self.accounts.end(ticket, &open, outcome, self.now);
                    self.outputs.push_back(Output::Ended(ended));
                }
                Order::Arm(peer, timer, step) => {
                    if let Some(ms) = self.connection_ms(timer, step) {
                        self.arm(Alarm::Connection(peer, timer), ms);
                    }
                }
                Order::Disarm(peer, timer) => self.timers.disarm(Alarm::Connection(peer, timer)),
            }
        }
        self.note_holds();
    }

    fn on_send(
        &mut self,
        peer: Peer,
        (connection, request_id): (ConnectionId, RequestId),
        mut request: Request,
        (lane, tickets): (Lane, Vec<Ticket>),
    ) {
        if let Request::Fetch(fetch) = &mut request {
            let wait_max_ms = self.parking_ms(peer.node()).unwrap_or(u64::MAX);
            let wait_max_ms = u32::try_from(wait_max_ms).unwrap_or(u32::MAX);
            fetch.wait_max_ms = fetch.wait_max_ms.min(wait_max_ms);
        }
        let address = self.peers.address(peer).clone();
        let others = u32::try_from(tickets.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let mut queued_ms = 0;
        for ticket in &tickets {
            let waited = self.accounts.sent(*ticket, (peer, address.clone()), others, self.now);
            queued_ms = queued_ms.max(waited);
        }
        self.outputs.push_back(Output::Send {
            connection,
            request_id,
            request,
            lane,
            tickets,
            queued_ms,
        });
    }

    /// For how long the answer to a fetch may be parked, milliseconds, so that the next heartbeat
    /// finds the connection free; `None`: for as long as the configuration says. 0: not at all.
    pub(super) fn parking_ms(&self, leader: Option<NodeId>) -> Option<u64> {
        let is_shared = leader.is_some() && leader == self.group.coordinator();
        if !is_shared || self.peers.desk.is_dedicated() {
            return None;
        }
        let due = self.timers.due(Alarm::Group(Timer::Heartbeat))?;
        let early = (self.heartbeat_interval_ms / PARKING_SHARE).clamp(1, PARKING_EARLY_MAX_MS);
        Some(due.since(self.now).saturating_sub(early))
    }

    fn place_on(&self, peer: Peer) -> Place {
        match self.peers.desk.connection(peer).map(Connection::hold) {
            Some(Hold::Lane) => Place::Queue,
            Some(Hold::Connection) | None => Place::Connection,
            Some(Hold::Throttle) => Place::Throttle,
        }
    }

    /// What waits on a connection waits for something else when the connection's state changes.
    fn note_holds(&mut self) {
        let mut changed = Vec::new();
        for (peer, connection) in self.peers.desk.connections() {
            let hold = connection.hold();
            if self.holds.insert(peer, hold) != Some(hold) {
                let waiting = connection.queue().iter().flat_map(|(_, w)| &w.askers);
                changed.extend(waiting.map(|asker| (peer, asker.ticket)));
            }
        }
        for (peer, ticket) in changed {
            let place = self.place_on(peer);
            self.accounts.place(ticket, place, self.now);
        }
    }

    /// What is asked for and not over, by lane.
    #[must_use]
    pub fn lanes(&self) -> BTreeMap<Lane, LaneDepth> {
        self.accounts.lanes()
    }

    /// Once brokers are known, a bootstrap server's connection is that of the broker which listens
    /// there.
    pub(super) fn adopt_bootstrap(&mut self) {
        for (peer, node) in self.peers.bootstrapped(self.metadata.brokers()) {
            if let Some(node) = node
                && self.peers.adopt(peer, node)
            {
                self.timers.rekey(|alarm| match alarm {
                    Alarm::Connection(of, timer) if of == peer => {
                        Some(Alarm::Connection(Peer::Node(node), timer))
                    }
                    _ => None,
                });
            }
        }
    }

    /// Nothing more is asked for now: connections that nothing needs end. A bootstrap server's is
    /// one of them once brokers are known.
    pub(super) fn close_needless(&mut self) {
        let mut orders = Orders::new();
        if !self.metadata.brokers().is_empty() {
            for (peer, _) in self.peers.bootstrapped(self.metadata.brokers()) {
                self.peers.desk.on_needless(peer, &mut orders);
            }
        }
        self.peers.desk.on_settled(&mut orders);
        self.carry_out(orders);
    }

    /// Q7: per lane and kind, what was asked for is over or open; and what is open is somewhere. At
    /// the end nothing is open.
    #[cfg(debug_assertions)]
    pub(super) fn audit(&self) {
        if self.end == super::End::Closed {
            let open: Vec<_> = self.peers.desk.ledger().iter().collect();
            assert!(open.is_empty(), "open after the end: {open:?}");
        }
        let mut open = self.accounts.counts().clone();
        for (ticket, request) in self.peers.desk.ledger().iter() {
            let counts = open.get_mut(&(request.lane, request.kind)).expect("it was counted");
            counts.asked -= 1;
            let is_somewhere = match ticket {
                Ticket::Call(call) => self.calls.is_open(call),
                Ticket::Own(_) => self.peers.desk.has(ticket),
            };
            assert!(is_somewhere, "{ticket:?} ({request:?}) is open, and nothing waits for it");
        }
        for (of, counts) in open {
            assert_eq!(counts.asked, counts.ended(), "{of:?}: every request ends once");
        }
        for (lane, depth) in self.accounts.lanes() {
            let open = self.peers.desk.ledger().iter().filter(|(_, open)| open.lane == lane);
            assert_eq!(depth.waiting + depth.in_flight, open.count(), "{lane:?} is that deep");
        }
    }
}

/// How deep a lane is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LaneDepth {
    /// Logical requests that wait to be sent, or sent again.
    pub waiting: usize,
    /// Those that wait for an answer.
    pub in_flight: usize,
    /// When the oldest of them was asked for.
    pub oldest: Option<Time>,
}

/// A heartbeat finds its connection free if a parked fetch comes back this much earlier: a hundredth
/// of the heartbeat interval, which is the share of the time that nothing is fetched in.
const PARKING_SHARE: u64 = 100;

/// And at most this much, milliseconds: more than a round trip on most networks.
const PARKING_EARLY_MAX_MS: u64 = 50;
