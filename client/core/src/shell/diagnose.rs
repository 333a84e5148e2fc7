//! Why each partition is not read: one reason a partition, and what the member waits for.
//!
//! Decides which of the things that hold a partition back is named: the one that must end first, in
//! the order in which the machines would find it. Since when is kept here: whenever the date changes,
//! each reason is derived from what stood until then, and a date is kept while it stays the same.

use super::timers::Alarm;
use super::{Following, Purpose, Shell};
use crate::connection::{Connection, ConnectionTimer, Hold};
use crate::diagnosis::{
    Aim, Belonging, Diagnosis, Membership, PartitionDiagnosis, Reason, Revocation, TopicTrouble,
    Wait,
};
use crate::fetch::Standing as Reading;
use crate::group::consumer::State;
use crate::position::Standing;
use crate::request::desk::Peer;
use crate::request::queue::Lane;
use crate::{Chunk, Incarnation, Time};
use evenkeel_spec::words::{NodeId, Timer, TopicIdPartition, TopicPartition};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::Discriminant;
use std::time::Duration;

/// Since when each reason holds, and each wait.
#[derive(Debug, Default)]
pub(super) struct Began {
    partitions: BTreeMap<TopicIdPartition, Since>,
    /// Assigned by the application, and not known to metadata.
    awaited: BTreeMap<TopicPartition, Since>,
    waits: [Option<Time>; Wait::KINDS],
}

type Since = (Discriminant<Reason>, Time);

/// Where the requests are that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Outstanding<'a> {
    pub(super) lookup: Option<At>,
    pub(super) heartbeat: Option<At>,
    pub(super) commit: Option<At>,
    positions: Option<At>,
    listed: Vec<(&'a BTreeMap<TopicIdPartition, Incarnation>, At)>,
    validated: Vec<(&'a BTreeMap<TopicIdPartition, Incarnation>, At)>,
    revocation: Option<Revocation>,
    /// Leaders of partitions whose buffer is full.
    full: OnceCell<BTreeSet<NodeId>>,
}

/// A request on a connection, sent or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) peer: Peer,
    pub(super) is_sent: bool,
}

impl<C: Chunk> Shell<C> {
    /// What it is doing about each partition, as of the last input, which is to be that of `now`:
    /// call [`Self::handle_timeout`] before.
    #[must_use]
    pub fn diagnose(&self, now: Time) -> Diagnosis {
        let outstanding = self.outstanding();
        let mut partitions = BTreeMap::new();
        let mut add = |id: TopicIdPartition, belonging, reason: Reason| {
            if self.metadata.name(id.topic).is_some() {
                let lasts = self.began.of(id, &reason, now);
                let known = self.known(id, belonging, reason, lasts);
                partitions.insert(self.metadata.by_name(id), known);
            }
        };
        if self.application.following == Following::Subscription {
            for id in self.metadata.partitions_read() {
                add(id, Belonging::Stranger, Reason::NotAssigned);
            }
        }
        self.for_each_target(&mut add);
        self.for_each_owned(&outstanding, &mut add);
        self.for_each_awaited(&mut |name, reason| {
            let lasts = self.began.of_awaited(name, &reason, now);
            let known = PartitionDiagnosis {
                belonging: Belonging::Assigned,
                reason,
                lasts,
                position: None,
                lag: None,
            };
            partitions.insert(name.clone(), known);
        });
        let mut waits = Vec::new();
        self.for_each_wait(&outstanding, &mut |wait| {
            let began = self.began.waits[wait.kind()].unwrap_or(now);
            waits.push((wait, between(began, now)));
        });
        let away_since = self.timers.armed_at(Alarm::Group(Timer::PollInterval));
        Diagnosis {
            lifecycle: self.lifecycle,
            membership: self.membership(),
            coordinator: self.group.coordinator(),
            away: away_since.map(|since| between(since, now)),
            away_max: Duration::from_millis(self.config.max_poll_interval_ms.into()),
            waits,
            topics: self.metadata.troubles(),
            partitions,
        }
    }

    /// Keeps since when each reason holds.
    pub(super) fn note_reasons(&mut self) {
        let mut began = std::mem::take(&mut self.began);
        let now = self.now;
        let outstanding = self.outstanding();
        let mut each = |id, _, reason: Reason| note(began.partitions.entry(id), &reason, now);
        self.for_each_target(&mut each);
        self.for_each_owned(&outstanding, &mut each);
        if self.manual.is_none() {
            began.awaited.clear();
        }
        self.for_each_awaited(&mut |name, reason| {
            note(began.awaited.entry(name.clone()), &reason, now);
        });
        let mut waits = [None; Wait::KINDS];
        self.for_each_wait(&outstanding, &mut |wait| {
            waits[wait.kind()] = began.waits[wait.kind()].or(Some(now));
        });
        began.waits = waits;
        self.began = began;
    }

    /// These are not owned any more.
    pub(super) fn note_released<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a TopicIdPartition>,
    ) {
        for id in ids {
            self.began.partitions.insert(*id, (Reason::NotAssigned.kind(), self.now));
        }
    }

    /// Metadata knows other partitions than before.
    pub(super) fn note_known(&mut self) {
        let known: BTreeSet<_> = self.metadata.partitions_read().collect();
        let owned = &self.owned;
        self.began.partitions.retain(|id, _| known.contains(id) || owned.contains(id));
        for id in known {
            let since = (Reason::NotAssigned.kind(), self.now);
            self.began.partitions.entry(id).or_insert(since);
        }
    }

    fn known(
        &self,
        id: TopicIdPartition,
        belonging: Belonging,
        reason: Reason,
        lasts: Duration,
    ) -> PartitionDiagnosis {
        let position = self.positions.place(id).map(|position| position.offset);
        PartitionDiagnosis { belonging, reason, lasts, position, lag: self.fetcher.lag(id) }
    }

    fn membership(&self) -> Membership {
        if self.group.is_ending() {
            return Membership::Ending;
        }
        match self.group.state() {
            State::Unsubscribed if self.manual.is_some() => Membership::Manual,
            State::Unsubscribed => Membership::None,
            State::Subscribed => Membership::Subscribed,
            State::Joining => Membership::Joining,
            State::Joined(epoch) => Membership::Joined(epoch),
            State::Fenced => Membership::Fenced,
            State::Stale => Membership::Stale,
            State::Fatal => Membership::Refused,
        }
    }

    fn outstanding(&self) -> Outstanding<'_> {
        let revocation = self.group.revocation();
        let mut found = Outstanding { revocation, ..Outstanding::default() };
        // A commit may stand behind a thousand calls: looked for only where it is waited for.
        let through_calls = self.group.commit_saying().is_some();
        for (peer, connection) in self.peers.desk.connections() {
            let sent = connection.flights().flat_map(|(_, askers)| askers);
            let queue = connection.queue().iter();
            let waiting = queue.take_while(|(lane, _)| through_calls || *lane == Lane::System);
            let waiting = waiting.flat_map(|(_, waiting)| &waiting.askers);
            let all = sent.map(|asker| (asker, true)).chain(waiting.map(|asker| (asker, false)));
            for (asker, is_sent) in all {
                let at = At { peer, is_sent };
                match &asker.purpose {
                    Purpose::Lookup(_) => found.lookup = Some(at),
                    Purpose::Heartbeat(_) => found.heartbeat = Some(at),
                    Purpose::Commit(_) => found.commit = Some(at),
                    Purpose::Positions(..) => found.positions = Some(at),
                    Purpose::Listed(asked) => found.listed.push((asked, at)),
                    Purpose::Validated(asked) => found.validated.push((asked, at)),
                    Purpose::Metadata
                    | Purpose::Committed(..)
                    | Purpose::Offsets(..)
                    | Purpose::Topics(_)
                    | Purpose::Group(..)
                    | Purpose::Fetch(_)
                    | Purpose::Rider => {}
                }
            }
        }
        found
    }

    fn for_each_owned(
        &self,
        outstanding: &Outstanding<'_>,
        f: &mut dyn FnMut(TopicIdPartition, Belonging, Reason),
    ) {
        let owned = if self.manual.is_some() { Belonging::Assigned } else { Belonging::Owned };
        for (id, standing) in self.positions.standings() {
            let is_withheld = standing == Standing::Withheld;
            let belonging = if is_withheld { Belonging::Revoking } else { owned };
            f(id, belonging, self.reason(id, standing, outstanding));
        }
    }

    /// What is assigned by the coordinator and not owned. Nothing, once the target was taken.
    fn for_each_target(&self, f: &mut dyn FnMut(TopicIdPartition, Belonging, Reason)) {
        if self.group.is_reconciled() {
            return;
        }
        for &id in self.group.target().into_iter().flatten() {
            if !self.owned.contains(&id) {
                f(id, Belonging::Target, self.reason_of_target(id));
            }
        }
    }

    fn for_each_awaited(&self, f: &mut dyn FnMut(&TopicPartition, Reason)) {
        let Some(manual) = &self.manual else { return };
        if manual.len() == self.owned.len() {
            return;
        }
        for name in manual.names().filter(|name| self.owned_by_name(name).is_none()) {
            let trouble = self.metadata.trouble(&name.topic);
            f(name, trouble.map_or(Reason::AwaitingMetadata, reason_of_trouble));
        }
    }

    fn reason_of_target(&self, id: TopicIdPartition) -> Reason {
        if self.metadata.name(id.topic).is_none() {
            Reason::AwaitingMetadata
        } else if self.group.revocation().is_some() {
            Reason::RevocationFirst
        } else if self.group.method().is_some() {
            Reason::CallbackRunning
        } else if self.group.is_in_doubt() {
            Reason::AcknowledgementFirst
        } else {
            Reason::AwaitingPoll
        }
    }

    fn reason(
        &self,
        id: TopicIdPartition,
        standing: Standing,
        outstanding: &Outstanding<'_>,
    ) -> Reason {
        match standing {
            Standing::Withheld => {
                Reason::RevocationPending(outstanding.revocation.unwrap_or(Revocation::Poll))
            }
            _ if self.group.is_ending() => Reason::Ending,
            Standing::Unopened if self.group.method().is_some() => Reason::CallbackRunning,
            Standing::Unopened => Reason::CallbackFailed,
            Standing::Paused => Reason::Paused,
            Standing::Stuck => Reason::NeedsSeek,
            Standing::Pausing => Reason::Backoff { left: self.left(Alarm::Position(id)) },
            Standing::Committed { asked: false }
            | Standing::Listed { asked: false }
            | Standing::Validating { asked: false }
                if !self.is_read() =>
            {
                Reason::AwaitingPoll
            }
            Standing::Committed { .. } => self.reason_of_lookup(outstanding),
            Standing::Listed { .. } => {
                let resetting = |broker| Reason::Resetting { broker };
                self.reason_of_question(id, &outstanding.listed, Aim::StartOffset, resetting)
            }
            Standing::Validating { .. } => {
                let validating = |broker| Reason::Validating { broker };
                self.reason_of_question(id, &outstanding.validated, Aim::Validation, validating)
            }
            Standing::Open => self.reason_of_reading(id, outstanding),
        }
    }

    fn reason_of_lookup(&self, outstanding: &Outstanding<'_>) -> Reason {
        match (outstanding.positions, self.group.coordinator()) {
            (Some(At { peer, is_sent: false }), _) => self.held(peer, Aim::CommittedOffset),
            (Some(At { peer, .. }), known) => match peer.node().or(known) {
                Some(broker) => Reason::AwaitingCommitted { broker },
                None => Reason::AwaitingCoordinator,
            },
            (None, Some(broker)) => Reason::AwaitingCommitted { broker },
            (None, None) => Reason::AwaitingCoordinator,
        }
    }

    /// Why its leader has not said yet what its position needs.
    fn reason_of_question(
        &self,
        id: TopicIdPartition,
        outstanding: &[(&BTreeMap<TopicIdPartition, Incarnation>, At)],
        aim: Aim,
        asked: impl Fn(NodeId) -> Reason,
    ) -> Reason {
        let mut questions = outstanding.iter();
        if let Some((_, at)) = questions.find(|(asked, _)| asked.contains_key(&id)) {
            return match at.peer.node() {
                Some(broker) if at.is_sent => asked(broker),
                _ => self.held(at.peer, aim),
            };
        }
        match self.metadata.leader(id) {
            Some(leader) if self.peers.is_backing_off(Peer::Node(leader)) => {
                self.held(Peer::Node(leader), aim)
            }
            Some(broker) => asked(broker),
            None => self.reason_without_leader(id),
        }
    }

    fn reason_of_reading(&self, id: TopicIdPartition, outstanding: &Outstanding<'_>) -> Reason {
        match self.fetcher.standing(id) {
            Reading::Asked(broker) if self.is_parked(broker) => Reason::Fetching { broker },
            Reading::Asked(broker) => self.held(Peer::Node(broker), Aim::Records),
            Reading::Pausing => Reason::Backoff { left: self.left(Alarm::Fetch(id)) },
            Reading::Buffered | Reading::Wanted if !self.metadata.is_subscribed(id) => {
                Reason::Unsubscribed
            }
            Reading::Buffered if self.group.method().is_some() => Reason::CallbackRunning,
            Reading::Buffered => Reason::Buffered,
            Reading::Wanted if !self.is_read() => Reason::AwaitingPoll,
            Reading::Wanted => match self.metadata.leader(id) {
                Some(leader) => self.reason_not_asked(leader, outstanding),
                None => self.reason_without_leader(id),
            },
        }
    }

    /// Why its leader is not asked for a partition's records.
    fn reason_not_asked(&self, broker: NodeId, outstanding: &Outstanding<'_>) -> Reason {
        let full = || {
            let may_read = |id| self.positions.may_read(id) && self.metadata.is_subscribed(id);
            self.fetcher.full(may_read).filter_map(|id| self.metadata.leader(id)).collect()
        };
        if self.peers.is_backing_off(Peer::Node(broker)) {
            self.held(Peer::Node(broker), Aim::Records)
        } else if self.fetcher.is_flying(broker) {
            if self.is_parked(broker) {
                Reason::NextFetch { broker }
            } else {
                self.held(Peer::Node(broker), Aim::Records)
            }
        } else if self.parking_ms(Some(broker)) == Some(0) {
            Reason::HeartbeatFirst { broker }
        } else if outstanding.full.get_or_init(full).contains(&broker) {
            Reason::BufferHeld { broker }
        } else {
            debug_assert!(!self.fetcher.has_room(), "nothing keeps it from being asked for");
            Reason::BufferFull { buffered: self.fetcher.held_bytes() }
        }
    }

    fn reason_without_leader(&self, id: TopicIdPartition) -> Reason {
        match self.metadata.name(id.topic).and_then(|name| self.metadata.trouble(name)) {
            Some(trouble) => reason_of_trouble(trouble),
            None if !self.metadata.has_partition(id) => Reason::DoesNotExist,
            None => Reason::LeaderUnknown,
        }
    }

    /// Whether a fetch is on its way to this broker or parked there.
    fn is_parked(&self, node: NodeId) -> bool {
        self.peers.desk.connection(Peer::Node(node)).is_some_and(Connection::is_parked)
    }

    /// What a request waits for that is not on its way.
    fn held(&self, peer: Peer, aim: Aim) -> Reason {
        let Some(broker) = peer.node() else { return Reason::AwaitingMetadata };
        let connection = self.peers.desk.connection(peer);
        if connection.is_some_and(Connection::is_backing_off) {
            let left = self.left(Alarm::Connection(peer, ConnectionTimer::Reconnect));
            return Reason::Reconnecting { broker, aim, left };
        }
        match connection.map(Connection::hold) {
            Some(Hold::Throttle) => {
                let left = self.left(Alarm::Connection(peer, ConnectionTimer::Throttle));
                Reason::Throttled { broker, aim, left }
            }
            // What the core asks for by itself waits for no other request of its connection.
            Some(Hold::Connection | Hold::Lane) | None => Reason::Connecting { broker, aim },
        }
    }

    /// Until a timer fires.
    pub(super) fn left(&self, alarm: Alarm) -> Duration {
        between(self.now, self.timers.due(alarm).unwrap_or(self.now))
    }
}

impl Began {
    fn of(&self, id: TopicIdPartition, reason: &Reason, now: Time) -> Duration {
        lasts(self.partitions.get(&id), reason, now)
    }

    fn of_awaited(&self, name: &TopicPartition, reason: &Reason, now: Time) -> Duration {
        lasts(self.awaited.get(name), reason, now)
    }
}

fn lasts(since: Option<&Since>, reason: &Reason, now: Time) -> Duration {
    let began = since.filter(|(of, _)| *of == reason.kind()).map(|(_, began)| *began);
    between(began.unwrap_or(now), now)
}

fn note<K: Ord>(
    entry: std::collections::btree_map::Entry<'_, K, Since>,
    reason: &Reason,
    now: Time,
) {
    let since = entry.or_insert((reason.kind(), now));
    if since.0 != reason.kind() {
        *since = (reason.kind(), now);
    }
}

fn reason_of_trouble(trouble: TopicTrouble) -> Reason {
    match trouble {
        TopicTrouble::Unknown => Reason::AwaitingMetadata,
        TopicTrouble::Missing => Reason::DoesNotExist,
        TopicTrouble::Refused(code) => Reason::TopicRefused { code },
    }
}

fn between(from: Time, to: Time) -> Duration {
    Duration::from_millis(to.since(from))
}
