//! Sends what the machines want to know, as soon as somebody can be asked.

use super::peers::Picked;
use super::timers::Alarm;
use super::{Purpose, Shell};
use crate::position::Start;
use crate::request::desk::{Peer, To};
use crate::request::{EpochQuestion, ListOffset, Request};
use crate::{Chunk, Incarnation, Output, Time, Warning};
use evenkeel_spec::words::{LeaderEpoch, NodeId, OffsetFetch, TopicIdPartition};
use std::collections::{BTreeMap, BTreeSet};

impl<C: Chunk> Shell<C> {
    pub(super) fn ask(&mut self) {
        self.ask_lookup();
        let mut needs_coordinator = self.ask_calls();
        if self.is_read() {
            needs_coordinator |= self.ask_positions();
            self.ask_offsets();
            self.ask_epoch_ends();
            self.ask_records();
        }
        if !needs_coordinator {
            self.group.on_coordinator_unwanted();
        }
        // Last, since what cannot be asked for lack of a leader needs it.
        self.ask_metadata();
    }

    fn ask_metadata(&mut self) {
        if !self.metadata.is_resting() {
            self.timers.replace(Alarm::MetadataRest, Alarm::MetadataBackoff);
        }
        if self.metadata.is_wanted()
            && let Some(Picked { peer, address, .. }) = self.pick()
        {
            let request = self.metadata.ask();
            if !self.timers.is_armed(Alarm::Rebootstrap) {
                self.arm(Alarm::Rebootstrap, self.config.rebootstrap_trigger_ms.max(1));
            }
            self.send(peer, &address, request, Purpose::Metadata);
        }
    }

    fn ask_lookup(&mut self) {
        if self.lookup.is_some()
            && let Some(Picked { peer, address, .. }) = self.pick()
            && let Some(incarnation) = self.lookup.take()
        {
            self.send(peer, &address, Request::FindCoordinator, Purpose::Lookup(incarnation));
        }
    }

    /// None of the known brokers has answered for long, though not all of them back off at any one
    /// time, as where connecting to each takes its time in vain: the bootstrap servers are asked
    /// (KIP-1102).
    pub(super) fn rebootstrap(&mut self) {
        let is_heard = self.peers.desk.connections().any(|(_, connection)| connection.is_ready());
        if is_heard {
            // It throttles, and will answer.
            self.arm(Alarm::Rebootstrap, self.config.rebootstrap_trigger_ms.max(1));
        } else if self.metadata.forget_brokers() {
            self.rebootstrapping = true;
            self.outputs.push_back(Output::Warn(Warning::Rebootstrap));
        }
    }

    pub(super) fn pick(&mut self) -> Option<Picked> {
        if !self.peers.is_contacted() && !self.timers.is_armed(Alarm::Contact) {
            self.arm_contact();
        }
        let picked = self.peers.pick(self.metadata.brokers())?;
        if picked.is_rebootstrap && !std::mem::replace(&mut self.rebootstrapping, true) {
            self.outputs.push_back(Output::Warn(Warning::Rebootstrap));
        }
        Some(picked)
    }

    /// The committed offsets of all partitions that need one, in one request at a time. Says whether
    /// a coordinator must be found first.
    fn ask_positions(&mut self) -> bool {
        if self.positions_asked {
            return false;
        }
        let wanted = self.positions.committed_wanted();
        if wanted.is_empty() {
            return false;
        }
        let Some(coordinator) = self.group.coordinator() else {
            self.want_coordinator();
            return true;
        };
        for id in wanted.keys() {
            self.positions.on_asked(*id);
        }
        self.positions_asked = true;
        let request = self.offset_fetch(wanted.keys().copied());
        let purpose = Purpose::Positions(coordinator, wanted);
        self.send_to(To::Coordinator(coordinator), request, purpose);
        false
    }

    pub(super) fn want_coordinator(&mut self) {
        self.with_group(crate::group::Group::on_coordinator_wanted);
    }

    pub(super) fn offset_fetch(
        &self,
        partitions: impl Iterator<Item = TopicIdPartition>,
    ) -> Request {
        let partitions: evenkeel_spec::words::Partitions = partitions.collect();
        let names = self.names(partitions.iter());
        let fetch = OffsetFetch { owner: self.group.owner(), partitions: Some(partitions) };
        Request::OffsetFetch { fetch, names }
    }

    /// Offsets that a reset or a seek starts from, of each leader.
    fn ask_offsets(&mut self) {
        let mut by_leader =
            BTreeMap::<NodeId, BTreeMap<TopicIdPartition, (Incarnation, Start)>>::new();
        for (id, wanted) in self.positions.listed_wanted() {
            match self.metadata.leader(id) {
                Some(leader) => {
                    by_leader.entry(leader).or_default().insert(id, wanted);
                }
                None => self.metadata.request_update(),
            }
        }
        let wall_clock_ms = self.config.wall_clock_start_ms.saturating_add(self.now.0);
        for (leader, wanted) in by_leader {
            if self.peers.is_backing_off(Peer::Node(leader)) {
                continue;
            }
            let mut partitions = BTreeMap::new();
            let mut incarnations = BTreeMap::new();
            for (id, (incarnation, start)) in wanted {
                self.positions.on_asked(id);
                let leader_epoch = self.metadata.leader_epoch(id);
                partitions.insert(id, ListOffset { at: start.at(wall_clock_ms), leader_epoch });
                incarnations.insert(id, incarnation);
            }
            let names = self.names(partitions.keys());
            let isolation = self.config.isolation;
            let request = Request::ListOffsets { partitions, isolation, names };
            self.send_to(To::Leader(leader), request, Purpose::Listed(incarnations));
        }
    }

    /// Whether logs have what was read of them, of each leader.
    fn ask_epoch_ends(&mut self) {
        let mut by_leader =
            BTreeMap::<NodeId, BTreeMap<TopicIdPartition, (Incarnation, EpochQuestion)>>::new();
        for (id, wanted) in self.positions.validations_wanted() {
            match self.metadata.leader(id) {
                Some(leader) => {
                    by_leader.entry(leader).or_default().insert(id, wanted);
                }
                None => self.metadata.request_update(),
            }
        }
        for (leader, wanted) in by_leader {
            if self.peers.is_backing_off(Peer::Node(leader)) {
                continue;
            }
            let incarnations = wanted.iter().map(|(id, (of, _))| (*id, *of)).collect();
            let partitions: BTreeMap<_, _> =
                wanted.into_iter().map(|(id, (_, question))| (id, question)).collect();
            partitions.keys().for_each(|id| self.positions.on_asked(*id));
            let names = self.names(partitions.keys());
            let request = Request::OffsetForLeaderEpoch { partitions, names };
            self.send_to(To::Leader(leader), request, Purpose::Validated(incarnations));
        }
    }

    /// Records, of each leader that has no fetch in flight.
    fn ask_records(&mut self) {
        let mut by_leader = BTreeMap::<NodeId, Vec<(TopicIdPartition, Option<LeaderEpoch>)>>::new();
        let mut is_leaderless = false;
        let may_read = |id| self.positions.may_read(id) && self.metadata.is_subscribed(id);
        let full: BTreeSet<NodeId> =
            self.fetcher.full(may_read).filter_map(|id| self.metadata.leader(id)).collect();
        for id in self.fetcher.wanted(may_read) {
            match self.metadata.leader(id) {
                Some(leader) => {
                    let asked = (id, self.metadata.leader_epoch(id));
                    by_leader.entry(leader).or_default().push(asked);
                }
                None => is_leaderless = true,
            }
        }
        if is_leaderless {
            self.metadata.request_update();
        }
        let leaders = self.fetcher.flights() + by_leader.len();
        if leaders > 0 {
            let may_read = |id| self.positions.may_read(id) && self.metadata.is_subscribed(id);
            self.fetcher.make_room(leaders, may_read);
        }
        // By turns: where there is no room for all of them at once, the first ones would take it all.
        let mut by_turns: Vec<_> = by_leader.into_iter().collect();
        let after = by_turns.partition_point(|(leader, _)| Some(*leader) <= self.turns.last);
        by_turns.rotate_left(after);
        let pace_ms = self.config.fetch_max_wait_ms.into();
        for (leader, partitions) in by_turns {
            let is_full = full.contains(&leader);
            if !self.may_fetch(leader)
                || (is_full && !self.turns.may_pass(leader, self.now, pace_ms))
            {
                continue;
            }
            if let Some(mut fetch) = self.fetcher.ask(leader, &partitions, leaders, is_full) {
                self.turns.on_asked(leader);
                if is_full {
                    self.turns.on_passed(leader, self.now, pace_ms);
                }
                fetch.names = self.names(partitions.iter().map(|(id, _)| id));
                let purpose = Purpose::Fetch(leader);
                self.send_to(To::Leader(leader), Request::Fetch(fetch), purpose);
            }
        }
    }

    fn may_fetch(&self, leader: NodeId) -> bool {
        // The next heartbeat finds the connection free.
        let is_due = self.parking_ms(Some(leader)) == Some(0);
        !self.fetcher.is_flying(leader) && !is_due && !self.peers.is_backing_off(Peer::Node(leader))
    }
}

/// Which leader is asked for records next.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Who was asked last.
    last: Option<NodeId>,
    /// When the application was given records last.
    delivered_at: Option<Time>,
    /// Who was asked for what there is beside a partition whose buffer is full, and when.
    passed_at: BTreeMap<NodeId, Time>,
}

impl Turns {
    /// The application was given records.
    pub(super) fn on_delivered(&mut self, now: Time) {
        self.delivered_at = Some(now);
    }

    /// Whether a leader may be asked although the buffer of one of its partitions is full: a slow
    /// application would else read nothing of its others until that one is emptied. When records
    /// were returned just now, which is when the others' are next in turn, and once a `pace_ms`.
    fn may_pass(&self, leader: NodeId, now: Time, pace_ms: u64) -> bool {
        let is_early = |at: &Time| now.since(*at) < pace_ms;
        self.delivered_at == Some(now) && !self.passed_at.get(&leader).is_some_and(is_early)
    }

    fn on_asked(&mut self, leader: NodeId) {
        self.last = Some(leader);
    }

    fn on_passed(&mut self, leader: NodeId, now: Time, pace_ms: u64) {
        self.passed_at.retain(|_, at| now.since(*at) < pace_ms);
        self.passed_at.insert(leader, now);
    }
}
