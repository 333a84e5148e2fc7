//! Whom to talk to: brokers by their role, and the connection to each.
//!
//! A broker answers one request after another on a connection, so a parked fetch delays whatever
//! follows it. Group requests therefore have their own connection to the coordinator, as in Kafka's
//! consumer (`ConsumerNetworkClient`, a node id of its own for the coordinator): a heartbeat, an
//! acknowledgement or a commit never waits for `fetch.max.wait.ms`.

use super::Purpose;
use crate::connection::{Connection, Names, Order};
use crate::request::Request;
use crate::{Address, Cause, ConnectionId, Time};
use evenkeel_spec::words::NodeId;
use std::collections::BTreeMap;

/// One connection's other end, in one role.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Peer {
    /// A broker as coordinator of the group.
    Group(NodeId),
    /// A broker as leader of partitions.
    Data(NodeId),
    /// A bootstrap server, by its place in the list.
    Bootstrap(usize),
}

impl Peer {
    fn node(self) -> Option<NodeId> {
        match self {
            Self::Group(node) | Self::Data(node) => Some(node),
            Self::Bootstrap(_) => None,
        }
    }
}

/// All connections.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    bootstrap: Vec<Address>,
    /// Whose turn it is among peers that are equally good.
    turn: usize,
    all: BTreeMap<Peer, Entry>,
    by_connection: BTreeMap<ConnectionId, Peer>,
    names: Names,
    /// What went wrong last, by address, until the first contact.
    causes: BTreeMap<Address, Cause>,
    contacted: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    address: Address,
    connection: Connection<Purpose>,
}

pub(super) type Orders = Vec<Order<Purpose>>;

impl Peers {
    pub(super) fn new(bootstrap: Vec<Address>) -> Self {
        assert!(!bootstrap.is_empty(), "there is a bootstrap server");
        Self {
            bootstrap,
            turn: 0,
            all: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            names: Names::default(),
            causes: BTreeMap::new(),
            contacted: false,
        }
    }

    /// Whether any broker has ever shaken hands.
    pub(super) fn is_contacted(&self) -> bool {
        self.contacted
    }

    /// A broker has shaken hands.
    pub(super) fn on_contact(&mut self) {
        self.contacted = true;
        self.causes.clear();
    }

    /// Something went wrong with a peer.
    pub(super) fn on_cause(&mut self, peer: Peer, cause: Cause) {
        if !self.contacted {
            self.causes.insert(self.all[&peer].address.clone(), cause);
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

    pub(super) fn address(&self, peer: Peer) -> &Address {
        &self.all[&peer].address
    }

    /// Whether the last attempt failed and the next must wait.
    pub(super) fn is_backing_off(&self, peer: Peer) -> bool {
        self.all.get(&peer).is_some_and(|entry| entry.connection.is_backing_off())
    }

    /// The connection of a peer that was talked to, and the source of its names.
    pub(super) fn get(&mut self, peer: Peer) -> (&mut Connection<Purpose>, &mut Names) {
        let entry = self.all.get_mut(&peer).expect("it was talked to");
        (&mut entry.connection, &mut self.names)
    }

    /// Sends a request to a peer that listens here.
    pub(super) fn request(
        &mut self,
        peer: Peer,
        address: Address,
        request: Request,
        purpose: Purpose,
        queued_at: Time,
        out: &mut Orders,
    ) {
        let connection = Connection::default();
        let entry =
            self.all.entry(peer).or_insert_with(|| Entry { address: address.clone(), connection });
        entry.address = address;
        entry.connection.on_request(request, purpose, queued_at, &mut self.names, out);
    }

    /// A connection's name is used from now on.
    pub(super) fn on_open(&mut self, connection: ConnectionId, peer: Peer) {
        self.by_connection.insert(connection, peer);
    }

    /// A connection's name is used no longer.
    pub(super) fn on_gone(&mut self, connection: ConnectionId) {
        self.by_connection.remove(&connection);
    }

    /// All that were talked to.
    pub(super) fn all(&self) -> Vec<Peer> {
        self.all.keys().copied().collect()
    }

    /// Whom to ask what any broker can answer: one that is ready and idle, one that is ready, one
    /// that is being connected to, one that is known; then the bootstrap servers, whom nothing but
    /// the failure of every known broker leads to again (KIP-899). `None`: all back off.
    pub(super) fn pick(&mut self, brokers: &BTreeMap<NodeId, Address>) -> Option<Picked> {
        let alive = |peer: &Peer| peer.node().is_none_or(|node| brokers.contains_key(&node));
        let open =
            self.all.iter().filter(|(peer, entry)| entry.connection.id().is_some() && alive(peer));
        let best = open.min_by_key(|(peer, entry)| {
            (!entry.connection.is_ready(), entry.connection.load(), **peer)
        });
        if let Some((peer, entry)) = best {
            let address = entry.address.clone();
            return Some(Picked { peer: *peer, address, is_rebootstrap: false });
        }
        self.turn = self.turn.wrapping_add(1);
        let nodes = brokers.iter().map(|(node, address)| (Peer::Data(*node), address));
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
