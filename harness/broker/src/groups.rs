//! The groups: who coordinates them, their logs and timers around the coordinator's brain. Decides
//! nothing of the protocol; `evenkeel-coordinator` does. A failover is a replay of the group's log,
//! and its timers start anew.

use crate::patterns::Patterns;
use crate::state::State;
use crate::timers::Timers;
use evenkeel_coordinator::{self as coordinator, Group, Order, Record, Step, Timer};
use evenkeel_spec::words::{
    ErrorCode, GroupId, Heartbeat, HeartbeatAnswer, MemberId, NodeId, OffsetCommit, OffsetFetch,
    OffsetFetched, OffsetsCommitted,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// A group's log is compacted when it is so much longer than after its last compaction.
const COMPACT_AFTER_RECORDS: usize = 4096;

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: BTreeMap<GroupId, Shell>,
    /// Where groups were moved to by hand.
    moved: BTreeMap<GroupId, NodeId>,
    pub(crate) timers: Timers,
}

/// One group around its brain.
#[derive(Debug, Default)]
pub(crate) struct Shell {
    pub(crate) brain: Group,
    /// Everything that was ever decided, compacted from time to time.
    log: Vec<Record>,
    compacted: usize,
    coordinator: Option<NodeId>,
    pub(crate) members: Members,
    pub(crate) patterns: Patterns,
}

/// The members' names on the wire. A name that was met once keeps its number; equal names are
/// the same member. Never forgotten while the cluster lives, so that an id is not used twice.
#[derive(Debug, Default)]
pub(crate) struct Members {
    ids: BTreeMap<String, MemberId>,
    names: Vec<String>,
    clients: BTreeMap<MemberId, Client>,
}

/// Where a member's heartbeats come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) host: String,
}

impl Members {
    /// The number of a name.
    pub(crate) fn intern(&mut self, name: &str) -> MemberId {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = MemberId(u32::try_from(self.names.len()).expect("fewer than 2^32 members"));
        self.ids.insert(name.to_owned(), id);
        self.names.push(name.to_owned());
        id
    }

    /// The number of a name that was met before.
    pub(crate) fn find(&self, name: &str) -> Option<MemberId> {
        self.ids.get(name).copied()
    }

    /// The name of a number.
    pub(crate) fn name(&self, id: MemberId) -> &str {
        self.names.get(id.0 as usize).map_or("", String::as_str)
    }

    /// Where the member's last heartbeat came from.
    pub(crate) fn client(&self, id: MemberId) -> Client {
        self.clients.get(&id).cloned().unwrap_or_default()
    }

    pub(crate) fn remember_client(&mut self, id: MemberId, client: Client) {
        self.clients.insert(id, client);
    }
}

impl State {
    /// The node that coordinates `group`; `None` when no node is alive.
    pub(crate) fn coordinator_of(&self, group: &GroupId) -> Option<NodeId> {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        let home = match self.groups.moved.get(group) {
            Some(moved) => nodes.iter().position(|node| node == moved).unwrap_or(0),
            None => java_hash(group.as_str()) as usize % nodes.len(),
        };
        let after = nodes.iter().cycle().skip(home).take(nodes.len());
        after.copied().find(|node| self.nodes[node].alive)
    }

    /// Whether `node` coordinates `group`. Errors: `INVALID_GROUP_ID` for the empty one,
    /// `NOT_COORDINATOR`.
    pub(crate) fn coordinates(&self, node: NodeId, group: &GroupId) -> Result<(), ErrorCode> {
        if group.as_str().is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        if self.coordinator_of(group) == Some(node) {
            Ok(())
        } else {
            Err(ErrorCode::NotCoordinator)
        }
    }

    /// The group, if anybody ever named it.
    pub(crate) fn group(&self, group: &GroupId) -> Option<&Shell> {
        self.groups.groups.get(group)
    }

    /// The group, made if nobody ever named it.
    pub(crate) fn group_mut(&mut self, group: &GroupId) -> &mut Shell {
        if !self.groups.groups.contains_key(group) {
            let coordinator = self.coordinator_of(group);
            let shell = Shell { coordinator, ..Shell::default() };
            self.groups.groups.insert(group.clone(), shell);
        }
        self.groups.groups.get_mut(group).expect("it was just made")
    }

    /// Every group that was ever named.
    pub(crate) fn all_groups(&self) -> impl Iterator<Item = (&GroupId, &Shell)> {
        self.groups.groups.iter()
    }

    /// A heartbeat, answered by the brain.
    pub(crate) fn on_heartbeat(
        &mut self,
        group: &GroupId,
        heartbeat: &Heartbeat,
    ) -> Result<HeartbeatAnswer, ErrorCode> {
        let config = self.coordinator_config();
        let refresh = Duration::from_millis(self.config.regex_refresh_interval_ms.into());
        let topics = self.topics.keys().cloned().collect();
        let heartbeat = self.group_mut(group).patterns.resolve(heartbeat, &topics, refresh);
        self.step(group, |brain, topics| brain.on_heartbeat(&config, topics, &heartbeat))
    }

    /// A commit, answered by the brain.
    pub(crate) fn on_offset_commit(
        &mut self,
        group: &GroupId,
        commit: &OffsetCommit,
    ) -> OffsetsCommitted {
        let config = self.coordinator_config();
        self.step(group, |brain, _| brain.on_offset_commit(&config, commit))
    }

    /// A look at committed offsets, answered by the brain.
    pub(crate) fn on_offset_fetch(&self, group: &GroupId, fetch: &OffsetFetch) -> OffsetFetched {
        match self.group(group) {
            Some(shell) => shell.brain.on_offset_fetch(fetch),
            None => Group::default().on_offset_fetch(fetch),
        }
    }

    /// Removes a group without members. Errors: `NON_EMPTY_GROUP`, `GROUP_ID_NOT_FOUND`.
    pub(crate) fn delete_group(&mut self, group: &GroupId) -> Result<(), ErrorCode> {
        let shell = self.groups.groups.get_mut(group).ok_or(ErrorCode::GroupIdNotFound)?;
        let description = shell.brain.describe();
        if description.epoch.is_none() && description.offsets.is_empty() {
            return Err(ErrorCode::GroupIdNotFound);
        }
        if !description.members.is_empty() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        (shell.brain, shell.log, shell.compacted) = (Group::default(), Vec::new(), 0);
        self.groups.timers.disarm_group(group);
        Ok(())
    }

    /// Fires a timer of a group, whether it is due or not; false if it is not armed.
    pub(crate) fn fire(&mut self, group: &GroupId, timer: Timer) -> bool {
        if !self.groups.timers.disarm(group, timer) {
            return false;
        }
        let config = self.coordinator_config();
        self.step(group, |brain, topics| brain.on_timer(&config, topics, timer));
        true
    }

    /// Fires every timer that is due.
    pub(crate) fn fire_due(&mut self, now: Instant) {
        while let Some((group, timer)) = self.groups.timers.due(now) {
            self.fire(&group, timer);
        }
    }

    /// Makes `node` the coordinator of `group`. Errors: `COORDINATOR_NOT_AVAILABLE` if it is dead.
    pub(crate) fn move_coordinator(
        &mut self,
        group: &GroupId,
        node: NodeId,
    ) -> Result<(), ErrorCode> {
        if !self.nodes.get(&node).is_some_and(|node| node.alive) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.groups.moved.insert(group.clone(), node);
        self.elect_coordinators();
        Ok(())
    }

    /// Groups whose coordinator is another one now are loaded there from their logs.
    pub(crate) fn elect_coordinators(&mut self) {
        let moved: Vec<GroupId> = self
            .groups
            .groups
            .iter()
            .filter(|(id, shell)| shell.coordinator != self.coordinator_of(id))
            .map(|(id, _)| id.clone())
            .collect();
        for group in moved {
            self.fail_over(&group);
        }
    }

    /// Forgets what memory holds of a group and loads it from its log.
    pub(crate) fn fail_over(&mut self, group: &GroupId) {
        let coordinator = self.coordinator_of(group);
        let config = self.coordinator_config();
        self.groups.timers.disarm_group(group);
        let Some(shell) = self.groups.groups.get_mut(group) else { return };
        shell.coordinator = coordinator;
        shell.brain = Group::replay(&shell.log);
        let orders = shell.brain.loaded(&config);
        if coordinator.is_some() {
            self.obey(group, orders);
        }
    }

    /// Tells every group which topics exist now.
    pub(crate) fn topics_changed(&mut self) {
        let groups: Vec<GroupId> = self.groups.groups.keys().cloned().collect();
        for group in groups {
            self.step(&group, coordinator::Group::on_topics_changed);
        }
    }

    fn coordinator_config(&self) -> coordinator::Config {
        coordinator::Config {
            session_timeout_ms: self.config.session_timeout_ms,
            heartbeat_interval_ms: self.config.heartbeat_interval_ms,
            max_size: self.config.max_size,
            assignment_interval_ms: self.config.assignment_interval_ms,
            offset_metadata_max: self.config.offset_metadata_max_bytes,
            #[cfg(feature = "mutants")]
            mutant: self.replay.mutant,
            ..coordinator::Config::default()
        }
    }

    /// One step of a group's brain: its records are kept, its orders obeyed.
    fn step<A>(
        &mut self,
        group: &GroupId,
        run: impl FnOnce(&mut Group, &evenkeel_spec::words::Topics) -> Step<A>,
    ) -> A {
        self.group_mut(group);
        let shell = self.groups.groups.get_mut(group).expect("it was just made");
        let step = run(&mut shell.brain, &self.topic_words);
        for record in &step.records {
            if let Record::MemberRemoved(member) = record {
                shell.patterns.forget(*member);
            }
        }
        shell.log.extend(step.records);
        if shell.log.len() > shell.compacted + COMPACT_AFTER_RECORDS {
            compact(&mut shell.log);
            shell.compacted = shell.log.len();
        }
        self.obey(group, step.orders);
        step.answer
    }

    fn obey(&mut self, group: &GroupId, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Arm(timer, after_ms) => self.groups.timers.arm(group, timer, after_ms),
                Order::Disarm(timer) => {
                    self.groups.timers.disarm(group, timer);
                }
            }
        }
    }
}

/// Keeps the last record of each key, and no tombstones: the whole log is at hand.
fn compact(log: &mut Vec<Record>) {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<Record> = Vec::new();
    for record in log.drain(..).rev() {
        if seen.insert(record.key()) && !record.is_tombstone() {
            kept.push(record);
        }
    }
    kept.reverse();
    *log = kept;
}

/// Java's `String.hashCode` without its sign: Kafka picks a group's coordinator by it.
fn java_hash(text: &str) -> u32 {
    let hash = text.encode_utf16().fold(0u32, |h, c| h.wrapping_mul(31).wrapping_add(c.into()));
    hash & (u32::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::{compact, java_hash};
    use evenkeel_coordinator::{Config, Group, Record};
    use evenkeel_spec::words::{
        Heartbeat, HeartbeatEpoch, MemberId, Topic, TopicId, TopicName, Topics,
    };
    use std::collections::BTreeSet;
    use std::sync::Arc;

    #[test]
    fn a_compacted_log_replays_to_the_same_group() {
        let name = TopicName::from("t");
        let topic = Topic { name: name.clone(), partitions: 3 };
        let topics = Topics::from([(TopicId::from_u32(16), topic)]);
        let config = Config { assignment_interval_ms: 0, ..Config::default() };
        let mut group = Group::default();
        let mut log: Vec<Record> = Vec::new();
        for round in 0..10 {
            for (member, epoch) in [(0, HeartbeatEpoch::Join), (round % 3, HeartbeatEpoch::Leave)] {
                let heartbeat = Heartbeat {
                    member: MemberId(member),
                    epoch,
                    rebalance_timeout_ms: Some(1_000),
                    subscription: Some(Arc::new(BTreeSet::from([name.clone()]))),
                    pattern: None,
                    assignor: None,
                    owned: Some(BTreeSet::new()),
                };
                log.extend(group.on_heartbeat(&config, &topics, &heartbeat).records);
            }
        }
        let whole = Group::replay(&log);
        let before = log.len();
        compact(&mut log);
        assert!(log.len() < before / 4, "{} of {before} records are left", log.len());
        assert_eq!(Group::replay(&log), whole);
    }

    #[test]
    fn the_hash_is_javas() {
        assert_eq!(java_hash("g"), 103);
        assert_eq!(java_hash("payments"), 1_382_682_413);
    }
}
