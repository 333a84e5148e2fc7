//! Whom to talk to: brokers and bootstrap servers, their addresses, whom to ask what any can answer.
//!
//! There is one connection to a broker, for everything; [`Desk`] says when there is a second one. The
//! bootstrap server's connection becomes the broker's once that is known to listen there, or is
//! closed.

use super::Purpose;
use crate::connection::Connection;
use crate::request::Request;
use crate::request::desk::{self, Desk, DeskConfig, Peer};
use crate::request::queue::Question as _;
use crate::{Address, Cause, ConnectionId, Detour, Hindrance, Role};
use evenkeel_spec::words::NodeId;
use std::collections::BTreeMap;

/// All connections.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    bootstrap: Vec<Address>,
    /// Whose turn it is among peers that are equally good.
    turn: usize,
    pub(super) desk: Desk<Request, Purpose>,
    addresses: BTreeMap<Peer, Address>,
    by_connection: BTreeMap<ConnectionId, Peer>,
    /// What went wrong last, by address, until the first contact.
    causes: BTreeMap<Address, Cause>,
    contacted: bool,
}

pub(super) type Orders = Vec<desk::Order<Request, Purpose>>;

impl Peers {
    pub(super) fn new(bootstrap: Vec<Address>, config: DeskConfig) -> Self {
        assert!(!bootstrap.is_empty(), "there is a bootstrap server");
        Self {
            bootstrap,
            turn: 0,
            desk: Desk::new(config),
            addresses: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            causes: BTreeMap::new(),
            contacted: false,
        }
    }

    /// Whether any broker has ever answered more than its API versions.
    pub(super) fn is_contacted(&self) -> bool {
        self.contacted
    }

    /// A broker has answered.
    pub(super) fn on_contact(&mut self) {
        self.contacted = true;
        self.causes.clear();
    }

    /// Something went wrong with a peer.
    pub(super) fn on_cause(&mut self, peer: Peer, cause: Cause) {
        if !self.contacted {
            self.causes.insert(self.address(peer).clone(), cause);
        }
    }

    /// Every address that was tried, and what went wrong.
    pub(super) fn causes(&self) -> Vec<(Address, Cause)> {
        self.causes.iter().map(|(address, cause)| (address.clone(), cause.clone())).collect()
    }

    /// Whose connection this is, if it is current.
    pub(super) fn of(&self, connection: ConnectionId) -> Option<Peer> {
        self.by_connection.get(&connection).copied()
    }

    /// Where a peer listens: a broker's second connection goes where its first one went.
    pub(super) fn address(&self, peer: Peer) -> &Address {
        let first = peer.node().map(Peer::Node);
        let known = self.addresses.get(&peer).or_else(|| self.addresses.get(&first?));
        known.expect("whoever is asked has an address")
    }

    /// What a connection to this peer is for.
    pub(super) fn role(&self, peer: Peer) -> Role {
        match peer {
            Peer::Bootstrap(_) => Role::Bootstrap,
            Peer::Node(_) => Role::Broker,
            Peer::Second(_) if self.desk.is_dedicated() => Role::Coordinator,
            Peer::Second(_) => Role::Second,
        }
    }

    /// Why a second connection is opened now, if it is one.
    pub(super) fn detour(&self, peer: Peer) -> Option<Detour> {
        let node = peer.node().filter(|_| self.role(peer) == Role::Second)?;
        let is = |of: fn(&Connection<_, _>) -> bool| {
            self.desk.connection(Peer::Node(node)).is_some_and(of)
        };
        let around = match () {
            () if is(Connection::is_throttled) => Hindrance::Throttled,
            () if is(Connection::is_parked) => Hindrance::Parked,
            () => Hindrance::Lost,
        };
        let mut waiting = self.desk.connection(peer).into_iter().flat_map(|c| c.queue().iter());
        let request = waiting.next().map(|(_, waiting)| waiting.question.kind());
        Some(Detour { around, request })
    }

    /// A peer listens here.
    pub(super) fn on_address(&mut self, peer: Peer, address: &Address) {
        if self.addresses.get(&peer) != Some(address) {
            self.addresses.insert(peer, address.clone());
        }
    }

    /// Whether the last attempt failed and the next must wait.
    pub(super) fn is_backing_off(&self, peer: Peer) -> bool {
        self.desk.connection(peer).is_some_and(Connection::is_backing_off)
    }

    /// The bootstrap servers' connections, and the broker that is known to listen at the other end.
    pub(super) fn bootstrapped(
        &self,
        brokers: &BTreeMap<NodeId, Address>,
    ) -> Vec<(Peer, Option<NodeId>)> {
        let connected = self
            .desk
            .connections()
            .filter(|(peer, connection)| peer.node().is_none() && connection.id().is_some());
        let at = |address: &Address| brokers.iter().find(|(_, at)| *at == address);
        connected.map(|(peer, _)| (peer, at(self.address(peer)).map(|(node, _)| *node))).collect()
    }

    /// A bootstrap server's connection becomes this broker's; says whether it did.
    pub(super) fn adopt(&mut self, from: Peer, node: NodeId) -> bool {
        let is_adopted = self.desk.adopt(from, node);
        if is_adopted {
            let to = Peer::Node(node);
            let address = self.address(from).clone();
            self.addresses.insert(to, address);
            for peer in self.by_connection.values_mut().filter(|peer| **peer == from) {
                *peer = to;
            }
        }
        is_adopted
    }

    /// A connection's name is used from now on.
    pub(super) fn on_open(&mut self, connection: ConnectionId, peer: Peer) {
        self.by_connection.insert(connection, peer);
    }

    /// A connection's name is used no longer.
    pub(super) fn on_gone(&mut self, connection: ConnectionId) {
        self.by_connection.remove(&connection);
    }

    /// Whom to ask what any broker can answer: one that is ready and idle, one that is ready, one
    /// that is being connected to, one that is known; then the bootstrap servers, whom nothing but
    /// the failure of every known broker leads to again (KIP-899). `None`: all back off.
    pub(super) fn pick(&mut self, brokers: &BTreeMap<NodeId, Address>) -> Option<Picked> {
        let alive = |peer: &Peer| peer.node().is_none_or(|node| brokers.contains_key(&node));
        let open = self.desk.connections().filter(|(peer, connection)| {
            connection.id().is_some() && alive(peer) && !matches!(peer, Peer::Second(_))
        });
        let best = open.min_by_key(|(peer, connection)| {
            let waits = connection.is_throttled() || connection.is_parked();
            (!connection.is_ready(), waits, connection.load(), *peer)
        });
        if let Some((peer, _)) = best {
            let address = self.address(peer).clone();
            return Some(Picked { peer, address, is_rebootstrap: false });
        }
        self.turn = self.turn.wrapping_add(1);
        let nodes = brokers.iter().map(|(node, address)| (Peer::Node(*node), address));
        if let Some((peer, address)) = self.rotate(nodes) {
            return Some(Picked { peer, address, is_rebootstrap: false });
        }
        let servers = self.bootstrap.iter().enumerate();
        let servers = servers.map(|(index, address)| (Peer::Bootstrap(index), address));
        let (peer, address) = self.rotate(servers)?;
        Some(Picked { peer, address, is_rebootstrap: !brokers.is_empty() })
    }

    fn rotate<'a>(
        &self,
        peers: impl Iterator<Item = (Peer, &'a Address)>,
    ) -> Option<(Peer, Address)> {
        let peers: Vec<_> = peers.filter(|(peer, _)| !self.is_backing_off(*peer)).collect();
        let (peer, address) = peers.get(self.turn % peers.len().max(1))?;
        Some((*peer, Address::clone(address)))
    }
}

/// Somebody to ask.
#[derive(Clone, Debug)]
pub(super) struct Picked {
    pub(super) peer: Peer,
    pub(super) address: Address,
    /// Every known broker failed.
    pub(super) is_rebootstrap: bool,
}
