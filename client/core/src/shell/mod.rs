//! The timed shell of one consumer: time, jitter and the routing between machines.
//!
//! It decides nothing that a machine decides. It owns the table of dates, draws jitter, hands what
//! happened to the machine concerned and carries each machine's orders to the next one or to the
//! driver. Every timer that is due is handled before any other input of the same date, and after an
//! input everything that can go on goes on, until the driver has something to do or to wait for.
//!
//! The driver's part: call a `handle_*` method for whatever happened, then drain
//! [`Shell::poll_output`] until [`Output::Wait`], and be back at that date at the latest.

mod accounts;
mod answer;
mod ask;
mod assign;
mod command;
mod cycle;
mod deliver;
mod diagnose;
mod inquire;
mod peers;
mod route;
mod send;
mod timers;
mod waits;

use crate::call::{ById, Calls};
use crate::connection::Hold;
use crate::fetch::Fetcher;
use crate::group::{self, Group, GroupConfig};
use crate::metadata::Metadata;
use crate::position::Positions;
use crate::request::Answered;
use crate::request::desk::{DeskConfig, Peer};
use crate::request::ledger::Ticket;
use crate::request::queue::Lane;
use crate::{
    CallId, Cause, Chunk, Command, Config, ConnectionId, CoordinatorConnection, Incarnation,
    Lifecycle, Misbehaved, Output, PollFault, RequestId, Role, Time,
};
use accounts::Accounts;
use assign::Manual;
use diagnose::Began;
use evenkeel_spec::words::{
    NodeId, Owner, Partitions, TopicId, TopicIdPartition, TopicName, TopicPartition,
};
use peers::{Orders, Peers};
pub use send::LaneDepth;
use std::collections::{BTreeMap, VecDeque};
use timers::{Backoffs, Timers};

/// The core of one consumer, as a driver embeds it. `C` is how the driver holds fetched records.
#[derive(Debug)]
pub struct Shell<C: Chunk> {
    config: Config,
    now: Time,
    timers: Timers,
    backoffs: Backoffs,
    peers: Peers,
    group: Group,
    /// Orders of the group that were not carried out yet.
    group_orders: VecDeque<group::Output>,
    metadata: Metadata,
    positions: Positions,
    fetcher: Fetcher<C>,
    calls: Calls,
    /// What the application assigned itself, instead of a subscription.
    manual: Option<Manual>,
    accounts: Accounts,
    /// Since when what is told by a diagnosis holds.
    began: Began,
    /// What the requests that wait on a connection were last known to wait for.
    holds: BTreeMap<Peer, Hold>,
    /// The commit that the group has ordered last.
    commit: Option<OnDesk>,
    application: Application<C>,
    heartbeat_interval_ms: u64,
    leave_timeout_ms: u64,
    /// What the group owns, as far as its orders were carried out.
    owned: Partitions,
    /// A lookup of the coordinator that nobody could be asked for yet.
    lookup: Option<Incarnation>,
    /// A lookup of committed offsets for positions is outstanding: one at a time.
    positions_asked: bool,
    turns: ask::Turns,
    /// Every known broker failed, and the bootstrap servers did not answer yet.
    rebootstrapping: bool,
    /// What was buffered when the end began, bytes.
    discarded_bytes: usize,
    /// The group has left, while closing; whether the coordinator confirmed it.
    left: Option<bool>,
    end: End,
    lifecycle: Lifecycle,
    outputs: VecDeque<Output<C>>,
}

/// What the application was given.
#[derive(Debug)]
struct Application<C: Chunk> {
    following: Following,
    /// The number of the last delivery.
    delivered: u64,
    /// The number of the last one that the application is known to have.
    taken: u64,
    faults: VecDeque<PollFault<C::Fault>>,
    /// A fault goes before records: records went last time.
    fault_first: bool,
    /// Partitions that only a seek helps were told in this poll.
    told_stuck: bool,
    /// Which of them was told last.
    told_last: Option<TopicIdPartition>,
    shown_owner: Option<Owner>,
    assignment_changed: bool,
}

/// What decides which partitions are the application's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Following {
    /// Nothing: there are none.
    Nothing,
    /// The group.
    Subscription,
    /// The application itself.
    Assignment,
}

/// How far the end is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// It goes on.
    Not,
    /// The group leaves; `orphaned`: nobody runs callbacks any more.
    Closing { orphaned: bool },
    /// Over.
    Closed,
}

/// Who waits for an answer.
#[derive(Clone, Debug)]
enum Purpose {
    Metadata,
    Lookup(Incarnation),
    Heartbeat(Incarnation),
    Commit(Incarnation),
    /// Asked of this coordinator.
    Positions(NodeId, BTreeMap<TopicIdPartition, Incarnation>),
    /// Likewise.
    Committed(CallId, NodeId, ById),
    Offsets(CallId, ById),
    Topics(CallId),
    /// Likewise.
    Group(CallId, NodeId),
    Listed(BTreeMap<TopicIdPartition, Incarnation>),
    Validated(BTreeMap<TopicIdPartition, Incarnation>),
    Fetch(NodeId),
    /// A call whose commit goes out with the group's: the group answers it.
    Rider,
}

impl Purpose {
    /// Whose attempt it is, if a call's.
    fn call(&self) -> Option<CallId> {
        match self {
            Self::Committed(call, ..)
            | Self::Offsets(call, _)
            | Self::Topics(call)
            | Self::Group(call, _) => Some(*call),
            Self::Metadata
            | Self::Lookup(_)
            | Self::Heartbeat(_)
            | Self::Commit(_)
            | Self::Positions(..)
            | Self::Listed(_)
            | Self::Validated(_)
            | Self::Fetch(_)
            | Self::Rider => None,
        }
    }

    fn lane(&self) -> Lane {
        match self {
            Self::Fetch(_) => Lane::Records,
            Self::Committed(..)
            | Self::Offsets(..)
            | Self::Topics(_)
            | Self::Group(..)
            | Self::Rider => Lane::User,
            Self::Metadata
            | Self::Lookup(_)
            | Self::Heartbeat(_)
            | Self::Commit(_)
            | Self::Positions(..)
            | Self::Listed(_)
            | Self::Validated(_) => Lane::System,
        }
    }
}

/// A commit of the group that was handed to the desk.
#[derive(Clone, Debug)]
struct OnDesk {
    ticket: Ticket,
    incarnation: Incarnation,
    /// The calls whose commits it carries.
    riders: Vec<Ticket>,
}

/// Until the coordinator names another, milliseconds: Kafka's default
/// (`group.consumer.heartbeat.interval.ms`).
const HEARTBEAT_INTERVAL_MS: u64 = 5_000;

impl<C: Chunk> Shell<C> {
    /// A consumer that has done nothing yet, at `Time(0)`.
    ///
    /// # Panics
    /// Without a bootstrap server.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let group = Group::new(GroupConfig {
            auto_commit: config.auto_commit,
            rebalance_timeout_ms: config.max_poll_interval_ms,
            assignor: config.assignor.clone(),
            #[cfg(feature = "mutants")]
            mutant: config.mutant,
            #[cfg(not(feature = "mutants"))]
            mutant: None,
        });
        let desk = DeskConfig {
            places_max: config.request_queue_max,
            user_in_flight_max: config.in_flight_max,
            dedicated: config.coordinator_connection == CoordinatorConnection::Dedicated,
            #[cfg(feature = "mutants")]
            mutant: config.requests_mutant,
            #[cfg(not(feature = "mutants"))]
            mutant: None,
        };
        Self {
            now: Time(0),
            timers: Timers::default(),
            backoffs: Backoffs::new(&config),
            peers: Peers::new(config.bootstrap_servers.clone(), desk),
            group,
            group_orders: VecDeque::new(),
            metadata: Metadata::default(),
            positions: Positions::new(config.auto_offset_reset, config.has_group),
            fetcher: Fetcher::new(&config),
            calls: Calls::default(),
            manual: None,
            accounts: Accounts::default(),
            began: Began::default(),
            holds: BTreeMap::new(),
            commit: None,
            application: Application::default(),
            heartbeat_interval_ms: HEARTBEAT_INTERVAL_MS,
            leave_timeout_ms: config.default_api_timeout_ms,
            owned: Partitions::new(),
            lookup: None,
            positions_asked: false,
            turns: ask::Turns::default(),
            rebootstrapping: false,
            discarded_bytes: 0,
            left: None,
            end: End::Not,
            lifecycle: Lifecycle::default(),
            outputs: VecDeque::new(),
            config,
        }
    }

    /// The application asks for something.
    pub fn handle_command(&mut self, now: Time, command: Command) {
        if self.end == End::Closed {
            return self.on_command_after_end(&command);
        }
        self.input(now, |shell| shell.on_command(command));
    }

    /// A connection was made.
    pub fn handle_connected(&mut self, now: Time, connection: ConnectionId) {
        self.input(now, |shell| {
            if let Some(peer) = shell.peers.of(connection) {
                let mut orders = Orders::new();
                shell.peers.desk.on_connected(peer, connection, &mut orders);
                shell.carry_out(orders);
            }
        });
    }

    /// A connection ended or was not made. Not to be told of one that the shell closed.
    pub fn handle_disconnected(&mut self, now: Time, connection: ConnectionId, cause: Cause) {
        self.input(now, |shell| {
            if let Some(peer) = shell.peers.of(connection) {
                let mut orders = Orders::new();
                let desk = &mut shell.peers.desk;
                let is_current = desk.on_disconnected(peer, connection, &mut orders);
                assert!(is_current, "a connection's name is forgotten when it ends");
                shell.peers.on_gone(connection);
                shell.on_connection_failed(peer, cause);
                shell.carry_out(orders);
            }
        });
    }

    /// A broker answered, or what came on the connection is no answer: then it is given up.
    pub fn handle_response(
        &mut self,
        now: Time,
        connection: ConnectionId,
        request_id: RequestId,
        answer: Result<Answered<C>, Misbehaved>,
    ) {
        self.input(now, |shell| {
            if let Some(peer) = shell.peers.of(connection) {
                shell.on_response(peer, connection, request_id, answer);
            }
        });
    }

    /// A request cannot be put on the wire, since the broker does not speak its API.
    pub fn handle_unspoken(&mut self, now: Time, connection: ConnectionId, request_id: RequestId) {
        self.input(now, |shell| {
            if let Some(peer) = shell.peers.of(connection) {
                shell.on_unspoken(peer, request_id);
            }
        });
    }

    /// The date that [`Output::Wait`] named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        self.input(now, |_| {});
    }

    /// What to do next; [`Output::Wait`] when there is nothing more.
    #[must_use = "every output is an order"]
    pub fn poll_output(&mut self) -> Output<C> {
        self.outputs.pop_front().unwrap_or_else(|| Output::Wait(self.timers.wait()))
    }

    /// What is ordered and was not polled yet, for who takes note of it.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = &Output<C>> {
        self.outputs.iter()
    }

    /// Every topic id that metadata has named.
    #[must_use]
    pub fn topic_names(&self) -> &BTreeMap<TopicId, TopicName> {
        self.metadata.names()
    }

    /// Every broker whose address is known.
    pub fn brokers(&self) -> impl Iterator<Item = NodeId> {
        self.metadata.brokers().keys().copied()
    }

    /// The broker that this connection leads to; `None`: a bootstrap server, or it is over.
    #[must_use]
    pub fn node_at(&self, connection: ConnectionId) -> Option<NodeId> {
        self.peers.of(connection)?.node()
    }

    /// The other end of this connection, and what it is for; `None`: it is over.
    #[must_use]
    pub fn peer_at(&self, connection: ConnectionId) -> Option<Peer> {
        self.peers.of(connection)
    }

    /// What this connection is for; `None`: it is over.
    #[must_use]
    pub fn role_of(&self, connection: ConnectionId) -> Option<Role> {
        self.peers.of(connection).map(|peer| self.peers.role(peer))
    }

    /// How many offsets lie between what a poll returns next of each partition and the end of what
    /// can be read of it, where a fetch has told that.
    pub fn lags(&self) -> impl Iterator<Item = (TopicPartition, u64)> {
        self.fetcher.lags().map(|(id, lag)| (self.metadata.by_name(id), lag))
    }

    /// Bytes of memory that fetched records take, until all of one answer's of their partition were
    /// returned: what `fetch.max.bytes` bounds.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.fetcher.held_bytes()
    }

    /// The group's side, to look at.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// What it is doing.
    #[must_use]
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }
}

impl<C: Chunk> Default for Application<C> {
    fn default() -> Self {
        Self {
            following: Following::Nothing,
            delivered: 0,
            taken: 0,
            faults: VecDeque::new(),
            fault_first: false,
            told_stuck: false,
            told_last: None,
            shown_owner: None,
            assignment_changed: false,
        }
    }
}

#[cfg(test)]
mod tests;
