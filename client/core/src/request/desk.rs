//! All requests of one consumer, from being asked for to being over, on all its connections.
//!
//! Decides which connection a request takes, what withdraws it, and that each ends once. It is the
//! untimed composite of [`Queue`](super::queue::Queue), [`Connection`] and [`Ledger`]: the shell
//! embeds it, and the model explores it. Not decided here: what to ask, and what an answer means.
//! spec/10-requests.md.

mod route;

use super::ledger::{End, Ledger, Open, Outcome, Ticket};
use super::queue::{Lane, Question, Word};
use super::{Kind, Mutant};
use crate::connection::{self, Connection, ConnectionTimer, Limits, Names};
use crate::output::{Cause, DisconnectReason, Misbehaved};
use crate::{CallId, ConnectionId, RequestId};
use evenkeel_spec::words::NodeId;
use std::collections::BTreeMap;

/// One connection's other end, and what the connection is for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Peer {
    /// A broker.
    Node(NodeId),
    /// A broker, a second time: for what cannot wait while the first connection is throttled or
    /// parked, and closed when that is over; with `dedicated`, for everything of the group.
    Second(NodeId),
    /// A bootstrap server, by its place in the list.
    Bootstrap(usize),
}

impl Peer {
    /// Which broker, if it is known.
    #[must_use]
    pub fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(node) | Self::Second(node) => Some(node),
            Self::Bootstrap(_) => None,
        }
    }
}

/// Who waits for an answer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Asker<P> {
    /// The logical request that it is an attempt of.
    pub ticket: Ticket,
    /// What the embedder does with the answer.
    pub purpose: P,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum To {
    /// On exactly this connection: what any broker answers.
    Peer(Peer),
    /// To this broker, as leader of partitions.
    Leader(NodeId),
    /// To this broker, as coordinator of the group.
    Coordinator(NodeId),
}

/// What the desk wants to be done, or tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order<Q, P> {
    /// Connect, as this attempt.
    Open(Peer, ConnectionId),
    /// Close it.
    Close(ConnectionId, DisconnectReason),
    /// Ask for the API versions.
    Handshake(ConnectionId, RequestId),
    /// Send a request.
    Send {
        /// To whom.
        peer: Peer,
        /// On which connection.
        connection: ConnectionId,
        /// Under which name.
        request: RequestId,
        /// Of which lane.
        lane: Lane,
        /// What.
        question: Q,
        /// For whom: the first asked, the others were attached.
        tickets: Vec<Ticket>,
    },
    /// This attempt's fate is unknown.
    Lost(Ticket, P),
    /// A logical request is over.
    Ended(Ticket, Open, Outcome),
    /// Arm a timer of this connection.
    Arm(Peer, ConnectionTimer, evenkeel_spec::words::Step),
    /// Disarm one, armed or not.
    Disarm(Peer, ConnectionTimer),
}

/// What a desk is bounded by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct DeskConfig {
    /// `request.queue.max`: calls that are not over at once (Q3).
    pub places_max: usize,
    /// User requests in flight on one connection (Q2).
    pub user_in_flight_max: usize,
    /// `coordinator.connection=dedicated`.
    pub dedicated: bool,
    /// The seeded fault.
    pub mutant: Option<Mutant>,
}

/// The new names of connections, requests and tickets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Renumbered {
    /// Of the connections and attempts that are current.
    pub connections: BTreeMap<ConnectionId, ConnectionId>,
    /// Of what is in flight.
    pub requests: BTreeMap<RequestId, RequestId>,
    /// Of what is open.
    pub tickets: BTreeMap<Ticket, Ticket>,
}

/// All requests of one consumer. `Q` is what is asked, `P` what the answer is for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Desk<Q, P> {
    config: DeskConfig,
    connections: BTreeMap<Peer, Connection<Q, Asker<P>>>,
    names: Names,
    ledger: Ledger,
}

type Orders<Q, P> = Vec<Order<Q, P>>;

impl<Q: Question, P: Clone> Desk<Q, P> {
    /// Nothing was asked for.
    #[must_use]
    pub fn new(config: DeskConfig) -> Self {
        let (connections, names) = (BTreeMap::new(), Names::default());
        Self { config, connections, names, ledger: Ledger::default() }
    }

    /// A call that takes one of the application's places (Q3); says whether there was one.
    pub fn open_call(&mut self, call: CallId, kind: Kind) -> bool {
        let DeskConfig { places_max, mutant, .. } = self.config;
        self.ledger.open_call(call, kind, places_max, mutant)
    }

    /// A call that needs no place: of a listener, or one that ends something.
    pub fn open_unbounded(&mut self, call: CallId, kind: Kind) {
        self.ledger.open_unbounded(call, kind, Lane::System);
    }

    /// A logical request of the core's own.
    pub fn open_own(&mut self, kind: Kind, lane: Lane) -> Ticket {
        self.ledger.open_own(kind, lane)
    }

    /// Asks for something in the name of logical requests that are open; says on which connection.
    pub fn ask(
        &mut self,
        to: To,
        lane: Lane,
        question: Q,
        askers: Vec<Asker<P>>,
        out: &mut Orders<Q, P>,
    ) -> Peer {
        let peer = self.route(to, lane, &question);
        let word = question.word();
        if matches!(word, Word::Owned | Word::Leave)
            && !Mutant::CommitOvertaken.is(self.config.mutant)
        {
            self.bring(to, peer, word, out);
        }
        self.with(peer, out, |connection, names, out| {
            connection.on_request(lane, question, askers, names, out);
        });
        peer
    }

    /// A logical request is over: what is unsent of it is withdrawn, what is in flight of it is
    /// nobody's any more (Q4, Q6). `None`: it was over before.
    pub fn end(&mut self, ticket: Ticket, end: End, out: &mut Orders<Q, P>) -> Option<Outcome> {
        let open = self.ledger.get(ticket)?.clone();
        let mutant = self.config.mutant;
        let outcome = self.ledger.end(ticket, end, mutant)?;
        out.push(Order::Ended(ticket, open, outcome));
        let is_call = matches!(ticket, Ticket::Call(_));
        let forgets = !(Mutant::SentExpired.is(mutant) && end == End::Deadline);
        if forgets && (is_call || matches!(end, End::CallerGone | End::Closing)) {
            self.forget(&[ticket]);
        }
        Some(outcome)
    }

    /// Withdraws what waits in the name of these, which stay open.
    pub fn forget(&mut self, tickets: &[Ticket]) {
        for connection in self.connections.values_mut() {
            connection.on_gone(|asker| tickets.contains(&asker.ticket));
        }
    }

    /// Whether the group's requests have a connection of their own.
    #[must_use]
    pub fn is_dedicated(&self) -> bool {
        self.config.dedicated
    }

    /// Whether something waits or is in flight in the name of this one.
    #[must_use]
    pub fn has(&self, ticket: Ticket) -> bool {
        let is = |asker: &Asker<P>| asker.ticket == ticket;
        self.connections.values().any(|connection| {
            connection.queue().iter().any(|(_, waiting)| waiting.askers.iter().any(is))
                || connection.flights().any(|(_, askers)| askers.iter().any(is))
        })
    }

    /// Whether an attempt of a logical request is on the wire.
    #[must_use]
    pub fn is_in_flight(&self, ticket: Ticket) -> bool {
        self.ledger.get(ticket).is_some_and(|open| open.in_flight > 0)
    }

    /// A connection was made.
    pub fn on_connected(&mut self, peer: Peer, id: ConnectionId, out: &mut Orders<Q, P>) {
        self.with(peer, out, |connection, names, out| connection.on_connected(id, names, out));
    }

    /// A connection ended or was not made; says whether it was the current one.
    pub fn on_disconnected(
        &mut self,
        peer: Peer,
        id: ConnectionId,
        out: &mut Orders<Q, P>,
    ) -> bool {
        let is_current =
            self.with(peer, out, |connection, _, out| connection.on_disconnected(id, out));
        self.hurry(peer, out);
        is_current
    }

    /// The broker speaks what is needed.
    pub fn on_shaken(&mut self, peer: Peer, out: &mut Orders<Q, P>) {
        if !self.connections.get(&peer).is_some_and(Connection::is_throttled) {
            self.pull(peer, out);
        }
        self.with(peer, out, Connection::on_shaken);
    }

    /// A connection is given up for `cause`.
    pub fn on_failed(&mut self, peer: Peer, cause: Cause, out: &mut Orders<Q, P>) {
        self.with(peer, out, |connection, _, out| connection.on_failed(cause, out));
        self.hurry(peer, out);
    }

    /// A timer of a connection fired; returns why the connection failed by it.
    pub fn on_timer(
        &mut self,
        peer: Peer,
        timer: ConnectionTimer,
        out: &mut Orders<Q, P>,
    ) -> Option<Cause> {
        let is_parked = self.connections.get(&peer).is_some_and(Connection::is_parked);
        if timer == ConnectionTimer::Throttle && !is_parked {
            self.pull(peer, out);
        }
        let cause =
            self.with(peer, out, |connection, names, out| connection.on_timer(timer, names, out));
        self.hurry(peer, out);
        cause
    }

    /// A broker does not read for a while; says whether there is a connection to wait on.
    pub fn on_throttled(&mut self, peer: Peer, out: &mut Orders<Q, P>) -> bool {
        let connection = self.connections.get_mut(&peer);
        let connection = connection.filter(|connection| connection.id().is_some());
        let is_throttled = connection.map(Connection::on_throttled).is_some();
        self.hurry(peer, out);
        is_throttled
    }

    /// An answer came: whose it is. The core's own requests are not over by it: see [`Self::end`].
    ///
    /// # Errors
    /// It is not the answer to the oldest request.
    pub fn on_answer(
        &mut self,
        peer: Peer,
        id: ConnectionId,
        request: RequestId,
        out: &mut Orders<Q, P>,
    ) -> Result<Option<Vec<Asker<P>>>, Misbehaved> {
        let answered =
            self.with(peer, out, |connection, _, out| connection.on_answer(id, request, out))?;
        let Some(mut askers) = answered else { return Ok(None) };
        if Mutant::AnswerReachesOne.is(self.config.mutant) {
            askers.truncate(1);
        }
        for asker in &askers {
            self.ledger.on_landed(asker.ticket, self.config.mutant);
        }
        Ok(Some(askers))
    }

    /// A request cannot be put on the wire: who waits for it.
    pub fn on_unspoken(
        &mut self,
        peer: Peer,
        request: RequestId,
        out: &mut Orders<Q, P>,
    ) -> Vec<Asker<P>> {
        let askers =
            self.with(peer, out, |connection, _, out| connection.on_unspoken(request, out));
        for asker in &askers {
            self.ledger.on_landed(asker.ticket, self.config.mutant);
        }
        askers
    }

    /// What an answer meant was carried out: sends what it made room for.
    pub fn on_room(&mut self, peer: Peer, out: &mut Orders<Q, P>) {
        self.hurry(peer, out);
        self.with(peer, out, Connection::on_room);
    }

    /// Nothing more is asked for at this moment: second connections that nothing needs end (Q8).
    pub fn on_settled(&mut self, out: &mut Orders<Q, P>) {
        if self.config.dedicated || Mutant::SecondKept.is(self.config.mutant) {
            return;
        }
        let is_throttled =
            |node| self.connections.get(&Peer::Node(node)).is_some_and(Connection::is_throttled);
        let idle = self.connections.iter().filter_map(|(peer, connection)| match peer {
            Peer::Second(node) if connection.id().is_some() && connection.load() == 0 => {
                (!is_throttled(*node)).then_some(*peer)
            }
            Peer::Second(_) | Peer::Node(_) | Peer::Bootstrap(_) => None,
        });
        for peer in idle.collect::<Vec<_>>() {
            self.on_needless(peer, out);
        }
    }

    /// The bootstrap server at `from` is this broker: its connection becomes the broker's, unless
    /// that has one. Says whether it did.
    pub fn adopt(&mut self, from: Peer, node: NodeId) -> bool {
        let to = Peer::Node(node);
        let is_used = |c: &Connection<_, _>| c.id().is_some() || c.load() > 0 || c.is_backing_off();
        let is_taken = self.connections.get(&to).is_some_and(is_used);
        let connected = |c: &Connection<Q, Asker<P>>| c.id().is_some();
        if is_taken || !self.connections.get(&from).is_some_and(connected) {
            return false;
        }
        let connection = self.connections.remove(&from).expect("it was just looked at");
        self.connections.insert(to, connection);
        true
    }

    /// A connection that is not needed any more is closed if nothing is on it.
    pub fn on_needless(&mut self, peer: Peer, out: &mut Orders<Q, P>) {
        self.with(peer, out, |connection, _, out| {
            connection.on_needless(DisconnectReason::Needless, out);
        });
    }

    /// The consumer ends: every connection is closed, and every request is over (Q11).
    pub fn close(&mut self, out: &mut Orders<Q, P>) {
        let mutant = self.config.mutant;
        let tickets: Vec<_> = self.ledger.iter().map(|(t, open)| (t, open.in_flight > 0)).collect();
        for (ticket, in_flight) in tickets {
            let forgets = if in_flight {
                Mutant::CloseForgetsInFlight.is(mutant)
            } else {
                Mutant::CloseForgetsUnsent.is(mutant)
            };
            if !forgets {
                self.end(ticket, End::Closing, out);
            }
        }
        let mut orders = Vec::new();
        for (peer, connection) in &mut self.connections {
            connection.on_closing(&mut orders);
            for order in orders.drain(..) {
                match order {
                    connection::Order::Close(id, reason) => out.push(Order::Close(id, reason)),
                    connection::Order::Disarm(timer) => out.push(Order::Disarm(*peer, timer)),
                    connection::Order::Open(_)
                    | connection::Order::Handshake(..)
                    | connection::Order::Send { .. }
                    | connection::Order::Lost { .. }
                    | connection::Order::Arm(..) => {}
                }
            }
        }
    }

    /// The connection to a peer, if it was ever wanted.
    #[must_use]
    pub fn connection(&self, peer: Peer) -> Option<&Connection<Q, Asker<P>>> {
        self.connections.get(&peer)
    }

    /// All connections that were ever wanted.
    pub fn connections(&self) -> impl Iterator<Item = (Peer, &Connection<Q, Asker<P>>)> {
        self.connections.iter().map(|(peer, connection)| (*peer, connection))
    }

    /// What is not over.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Numbers connections, requests and the core's own tickets anew by their order, for a model
    /// that compares states; says how.
    pub fn renumber(&mut self) -> Renumbered {
        let mut renumbered =
            Renumbered { tickets: self.ledger.renumber(), ..Renumbered::default() };
        self.names = Names::default();
        for connection in self.connections.values_mut() {
            connection.renumber(&mut self.names, &mut renumbered);
            for asker in connection.askers_mut() {
                if let Some(ticket) = renumbered.tickets.get(&asker.ticket) {
                    asker.ticket = *ticket;
                }
            }
        }
        renumbered
    }

    /// Lets a connection act, and carries its orders on.
    fn with<T>(
        &mut self,
        peer: Peer,
        out: &mut Orders<Q, P>,
        act: impl FnOnce(
            &mut Connection<Q, Asker<P>>,
            &mut Names,
            &mut Vec<connection::Order<Q, Asker<P>>>,
        ) -> T,
    ) -> T {
        let DeskConfig { user_in_flight_max, mutant, .. } = self.config;
        let limits = Limits { user_in_flight_max, mutant };
        let connection = self.connections.entry(peer).or_insert_with(|| Connection::new(limits));
        let mut orders = Vec::new();
        let result = act(connection, &mut self.names, &mut orders);
        for order in orders {
            self.on_order(peer, order, out);
        }
        result
    }

    fn on_order(
        &mut self,
        peer: Peer,
        order: connection::Order<Q, Asker<P>>,
        out: &mut Orders<Q, P>,
    ) {
        let order = match order {
            connection::Order::Open(id) => Order::Open(peer, id),
            connection::Order::Close(id, reason) => Order::Close(id, reason),
            connection::Order::Handshake(id, request) => Order::Handshake(id, request),
            connection::Order::Arm(timer, step) => Order::Arm(peer, timer, step),
            connection::Order::Disarm(timer) => Order::Disarm(peer, timer),
            connection::Order::Send { connection, request, lane, question } => {
                let tickets = self.tickets_of(peer, request);
                for ticket in &tickets {
                    self.ledger.on_sent(*ticket);
                }
                Order::Send { peer, connection, request, lane, question, tickets }
            }
            connection::Order::Lost { asker: Asker { ticket, purpose }, was_sent } => {
                if was_sent {
                    self.ledger.on_landed(ticket, self.config.mutant);
                }
                if let Ticket::Own(_) = ticket {
                    self.end(ticket, End::Disconnected, out);
                }
                Order::Lost(ticket, purpose)
            }
        };
        out.push(order);
    }

    fn tickets_of(&self, peer: Peer, request: RequestId) -> Vec<Ticket> {
        let connection = &self.connections[&peer];
        connection.askers_of(request).iter().map(|asker| asker.ticket).collect()
    }
}

#[cfg(test)]
mod tests;
