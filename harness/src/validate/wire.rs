//! What every explanation of a run has in common, since it can be seen: connections, requests,
//! names, how far the application is.

use super::Refused;
use super::run::Event;
use evenkeel_spec::words::{NodeId, TopicId, TopicIdPartition, TopicName, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// What can be seen of a consumer at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire {
    connections: BTreeMap<u64, Connection>,
    /// Requests that are to be answered, oldest first on each connection.
    requests: BTreeMap<u32, Request>,
    request_last: u32,
    brokers: BTreeSet<NodeId>,
    names: BTreeMap<TopicId, TopicName>,
    /// Names of members, by their number here.
    members: Vec<String>,
    /// Callbacks that were called and are not over.
    callbacks: BTreeSet<u32>,
    /// The application is inside poll, and what it was delivered there.
    polling: Option<Polling>,
    taken: u64,
    calls: BTreeSet<u64>,
}

/// A poll of the application's.
#[derive(Clone, Copy, Debug, Default)]
struct Polling {
    /// Records were delivered: if all were withdrawn, it asks once more.
    delivered: bool,
}

/// A connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Connection {
    /// It leads to this broker as coordinator.
    pub(super) coordinator: Option<NodeId>,
    pub(super) ready: bool,
}

/// A request that was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Request {
    pub(super) connection: u64,
    pub(super) kind: RequestKind,
}

/// Which request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RequestKind {
    Lookup,
    Heartbeat,
    Commit,
    OffsetFetch,
}

/// What an event was about, as it was before it.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) connection: Connection,
    /// Requests on the connection that ended, oldest first.
    pub(super) lost: Vec<u32>,
    /// The event's member, by its number here.
    pub(super) member: Option<usize>,
    /// The open callback that the event ends.
    pub(super) is_open_callback: bool,
}

impl Wire {
    /// Takes note of an event.
    pub(super) fn on(&mut self, event: &Event) -> Result<About, Refused> {
        let mut about = About::default();
        match event {
            Event::Connect { connection, coordinator } => {
                // It may have been used for a lookup before.
                if self.connections.get(connection).is_some_and(|c| c.coordinator.is_some()) {
                    return Err("a connection's number is used twice");
                }
                let coordinator = NodeId(*coordinator);
                let to = |c: &&Connection| c.coordinator == Some(coordinator);
                // The broker's, and a second one while that is throttled or parked (Q8).
                if self.connections.values().filter(to).count() >= 2 {
                    return Err("there are two connections to this coordinator already");
                }
                let new = Connection { coordinator: Some(coordinator), ready: false };
                self.connections.insert(*connection, new);
            }
            Event::Ready { connection } => {
                let connection = self.connection(*connection)?;
                if std::mem::replace(&mut connection.ready, true) {
                    return Err("the connection was ready before");
                }
                about.connection = *connection;
            }
            Event::Throttled { connection } => {
                self.connection(*connection)?;
            }
            Event::Waits { .. } | Event::Unsent { .. } | Event::Recalled => {}
            Event::Ended { connection } | Event::Disconnect { connection, .. } => {
                let gone = self.connections.remove(connection).ok_or(NO_CONNECTION)?;
                about.connection = gone;
                let is_lost = |(_, request): &(&u32, &Request)| request.connection == *connection;
                about.lost = self.requests.iter().filter(is_lost).map(|(id, _)| *id).collect();
                self.requests.retain(|_, request| request.connection != *connection);
            }
            Event::Metadata { topics, brokers } => {
                self.names.extend(topics.iter().map(|(id, name)| (*id, name.clone())));
                self.brokers = brokers.iter().copied().map(NodeId).collect();
            }
            Event::Coordinator { request, node, .. } => {
                self.answer(*request, RequestKind::Lookup)?;
                self.brokers.extend(node.map(NodeId));
            }
            Event::HeartbeatAnswer { request, .. } => {
                self.answer(*request, RequestKind::Heartbeat)?;
            }
            Event::OffsetCommitAnswer { request, .. } => {
                self.answer(*request, RequestKind::Commit)?;
            }
            Event::OffsetFetchAnswer { request, .. } => {
                self.answer(*request, RequestKind::OffsetFetch)?;
            }
            Event::Lookup { connection, request } => {
                about.connection = self.send(*connection, *request, RequestKind::Lookup)?;
            }
            Event::Heartbeat { connection, request, member, .. } => {
                about.connection = self.send(*connection, *request, RequestKind::Heartbeat)?;
                about.member = Some(self.member(member));
            }
            Event::OffsetCommit { connection, request, member, .. } => {
                about.connection = self.send(*connection, *request, RequestKind::Commit)?;
                about.member = member.as_ref().map(|member| self.member(member));
            }
            Event::OffsetFetch { connection, request } => {
                about.connection = self.send(*connection, *request, RequestKind::OffsetFetch)?;
            }
            Event::Assignment { member, .. } => {
                about.member = member.as_ref().map(|member| self.member(member));
            }
            Event::Callback { callback, .. } => {
                if !self.callbacks.insert(*callback) {
                    return Err("a callback's number is used twice");
                }
            }
            Event::CallbackEnded { callback, .. } => {
                about.is_open_callback = self.callbacks.remove(callback);
                if !about.is_open_callback {
                    return Err("no such callback is open");
                }
            }
            Event::Subscribe { call, .. }
            | Event::Unsubscribe { call, .. }
            | Event::Commit { call, .. }
            | Event::Seek { call, .. } => {
                if let Event::Unsubscribe { taken, .. } = event {
                    self.outside()?;
                    self.take(*taken)?;
                }
                if !self.calls.insert(*call) {
                    return Err("a call's number is used twice");
                }
            }
            Event::Answered { call, .. } | Event::Abandon { call } => {
                if !self.calls.remove(call) {
                    return Err("no such call is open");
                }
            }
            Event::Close { taken } => {
                self.outside()?;
                self.take(*taken)?;
            }
            Event::Poll { taken } => {
                if self.polling.is_some_and(|polling| !polling.delivered) {
                    return Err("the application is inside poll already");
                }
                self.polling = Some(Polling::default());
                self.take(*taken)?;
            }
            Event::PollEnded => {
                self.polling.take().ok_or("the application is not inside poll")?;
            }
            Event::Records { .. } => {
                if let Some(polling) = &mut self.polling {
                    polling.delivered = true;
                }
            }
            Event::Drop => self.outside()?,
            Event::Withdrawn { .. }
            | Event::PollFailed { .. }
            | Event::Lost { .. }
            | Event::Truncated { .. }
            | Event::Closed { .. } => {}
        }
        Ok(about)
    }

    /// Whether this broker's address is known.
    pub(super) fn is_known(&self, node: NodeId) -> bool {
        self.brokers.contains(&node)
    }

    /// Every topic that has a name.
    pub(super) fn resolved(&self) -> BTreeSet<TopicId> {
        self.names.keys().copied().collect()
    }

    /// Partitions by name; `None`: one has none.
    pub(super) fn by_name<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a TopicIdPartition>,
    ) -> Option<BTreeSet<TopicPartition>> {
        let by_name = |id: &TopicIdPartition| {
            let name = self.names.get(&id.topic)?.clone();
            Some(TopicPartition { topic: name, partition: id.partition })
        };
        partitions.into_iter().map(by_name).collect()
    }

    /// The topic of that name that was shown, where no two have it.
    pub(super) fn by_id(&self, partition: &TopicPartition) -> Option<TopicIdPartition> {
        let (topic, _) = self.names.iter().find(|(_, name)| **name == partition.topic)?;
        Some(TopicIdPartition::new(*topic, partition.partition))
    }

    /// Whether two topics had one name: one was deleted and created anew.
    pub(super) fn has_namesakes(&self) -> bool {
        self.names.values().collect::<BTreeSet<_>>().len() < self.names.len()
    }

    fn connection(&mut self, number: u64) -> Result<&mut Connection, Refused> {
        self.connections.get_mut(&number).ok_or(NO_CONNECTION)
    }

    /// Says how the connection was before.
    fn send(
        &mut self,
        number: u64,
        request: u32,
        kind: RequestKind,
    ) -> Result<Connection, Refused> {
        if request <= self.request_last {
            return Err("a request's number is used twice");
        }
        self.request_last = request;
        if kind == RequestKind::Lookup {
            // Any broker is asked, over a connection that nothing else of the group may use.
            let other = Connection { ready: true, coordinator: None };
            self.connections.entry(number).or_insert(other);
        }
        let before = *self.connection(number)?;
        if !before.ready {
            return Err("the connection is not ready");
        }
        let is_groups = kind != RequestKind::Lookup;
        if is_groups && before.coordinator.is_none() {
            return Err("the connection does not lead to a coordinator");
        }
        self.requests.insert(request, Request { connection: number, kind });
        Ok(before)
    }

    /// N1: requests of one connection are answered in their order.
    fn answer(&mut self, number: u32, kind: RequestKind) -> Result<(), Refused> {
        let request = *self.requests.get(&number).ok_or("no such request is to be answered")?;
        if request.kind != kind {
            return Err("an answer of another kind than its request");
        }
        let on_it = |(_, other): &(&u32, &Request)| other.connection == request.connection;
        if self.requests.iter().find(on_it).is_some_and(|(oldest, _)| *oldest != number) {
            return Err("an older request of this connection is to be answered first");
        }
        self.requests.remove(&number);
        Ok(())
    }

    /// The handle is in one call at a time.
    fn outside(&self) -> Result<(), Refused> {
        if self.polling.is_some() { Err("the application is inside poll") } else { Ok(()) }
    }

    /// What was taken stays so. (A committer of another task may lag, so commits do not count.)
    fn take(&mut self, taken: u64) -> Result<(), Refused> {
        if taken < self.taken {
            return Err("less was taken than before");
        }
        self.taken = taken;
        Ok(())
    }

    fn member(&mut self, name: &str) -> usize {
        self.members.iter().position(|known| known == name).unwrap_or_else(|| {
            self.members.push(name.to_owned());
            self.members.len() - 1
        })
    }
}

const NO_CONNECTION: Refused = "no such connection is open";
