//! What the cluster looks like: brokers, topic ids and names, leaders. `Metadata` (key 3).
//!
//! Decides what to ask for, when to ask again and which answer to believe. Whom to ask is the
//! shell's. Topics are asked for by name: an id that the group waits for is looked up by asking for
//! the subscription again. Only what a pattern brought is asked for by id, in turn with the names.

use crate::Address;
use crate::diagnosis::TopicTrouble;
use crate::disposition::data_path::{Action, data_path};
use crate::request;
use evenkeel_spec::words::{
    ErrorCode, LeaderEpoch, NodeId, Partitions, Step, TopicId, TopicIdPartition, TopicName,
    TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the metadata machine wants to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    /// Arm the pause before the next request; it may end late while none is needed
    /// ([`Metadata::is_resting`]).
    ArmBackoff(Step),
    /// Arm `metadata.max.age.ms`.
    ArmAge,
    /// The set of known topic ids, or a leader, may have changed.
    Changed,
    /// A subscribed topic does not exist.
    WarnUnknown(TopicName),
    /// A topic may not be read, or cannot exist.
    Tell(TopicName, ErrorCode),
    /// The known brokers are not those of the cluster any more.
    Rebootstrap,
}

/// The metadata, and the state of its refresh.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Metadata {
    brokers: BTreeMap<NodeId, Address>,
    topics: BTreeMap<TopicName, Topic>,
    /// Every id that was ever shown, since one is never used for another topic: the group may own
    /// one that the newest answer lacks.
    names: BTreeMap<TopicId, TopicName>,
    subscribed: BTreeSet<TopicName>,
    /// The application subscribes to a pattern: what is assigned is what is subscribed to, and its
    /// topics are known by id first (M13).
    by_pattern: bool,
    /// Topics that calls ask about.
    asked: BTreeSet<TopicName>,
    owned: BTreeSet<TopicId>,
    unresolved: BTreeSet<TopicId>,
    /// The last request asked by id, and there are names to be asked for too.
    names_due: bool,
    /// What the newest answer said of a topic that cannot be read: it does not exist, or is refused.
    problems: BTreeMap<TopicName, ErrorCode>,
    /// Those that the log or the application was told of.
    warned: BTreeSet<TopicName>,
    refresh: Refresh,
    step: Step,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Topic {
    id: TopicId,
    partitions: BTreeMap<u32, Leader>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Leader {
    node: Option<NodeId>,
    epoch: Option<LeaderEpoch>,
}

/// At most one request is outstanding, and two never follow each other without a pause.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
enum Refresh {
    #[default]
    Idle,
    Wanted,
    Asking {
        again: bool,
    },
    Pausing {
        again: bool,
    },
}

impl Metadata {
    /// The application subscribes to exactly these.
    pub(crate) fn on_subscribed(&mut self, topics: BTreeSet<TopicName>) {
        self.subscribed = topics;
        self.by_pattern = false;
        if self.subscribed.iter().any(|name| !self.topics.contains_key(name)) {
            self.request_update();
        }
    }

    /// The application subscribes to a pattern, which the coordinator resolves.
    pub(crate) fn on_subscribed_pattern(&mut self) {
        self.subscribed.clear();
        self.by_pattern = true;
    }

    /// These are owned now, no others: their names are kept even if they are not subscribed to.
    pub(crate) fn on_owned(&mut self, owned: &Partitions) {
        self.owned = owned.iter().map(|partition| partition.topic).collect();
    }

    /// The group waits for these ids, and for no others.
    pub(crate) fn on_unresolved(&mut self, ids: BTreeSet<TopicId>) {
        self.unresolved = ids;
        if self.is_unresolved() {
            self.request_update();
        }
    }

    /// Calls ask about these topics, and about no others. That one did not exist before it was asked
    /// about says nothing.
    pub(crate) fn on_asked(&mut self, topics: BTreeSet<TopicName>) {
        if topics != self.asked {
            for name in topics.difference(&self.asked) {
                self.problems.remove(name);
            }
            self.asked = topics;
            if self.asked.iter().any(|name| !self.topics.contains_key(name)) {
                self.request_update();
            }
        }
    }

    /// What is known is old or was wrong.
    pub(crate) fn request_update(&mut self) {
        self.refresh = match self.refresh {
            Refresh::Idle | Refresh::Wanted => Refresh::Wanted,
            Refresh::Asking { .. } => Refresh::Asking { again: true },
            Refresh::Pausing { .. } => Refresh::Pausing { again: true },
        };
    }

    /// Somebody's leader is not known: asks again, unless an answer that may name it is outstanding.
    pub(crate) fn request_leader(&mut self) {
        if !matches!(self.refresh, Refresh::Asking { .. }) {
            self.request_update();
        }
    }

    /// Whether a request is due.
    pub(crate) fn is_wanted(&self) -> bool {
        self.refresh == Refresh::Wanted
    }

    /// Whether there is a pause and no request is needed after it.
    pub(crate) fn is_resting(&self) -> bool {
        self.refresh == (Refresh::Pausing { again: false })
    }

    /// The request goes out now.
    pub(crate) fn ask(&mut self) -> request::Request {
        assert!(self.is_wanted(), "metadata is asked for only when it is wanted");
        let topics = self.wanted_topics();
        let by_id = self.by_pattern && self.is_unresolved() && !self.names_due;
        // One request asks by name or by id: by turns, since an id may never get a name.
        self.names_due = by_id && !topics.is_empty();
        self.refresh = Refresh::Asking { again: self.names_due };
        if by_id {
            return request::Request::TopicsById { ids: self.unresolved() };
        }
        request::Request::Metadata { topics: (!topics.is_empty()).then_some(topics) }
    }

    /// The known brokers may be those of the cluster no longer: says whether there were any.
    pub(crate) fn forget_brokers(&mut self) -> bool {
        !std::mem::take(&mut self.brokers).is_empty()
    }

    /// The answer, or an error, will not come.
    pub(crate) fn on_lost(&mut self, out: &mut Vec<Order>) {
        assert!(matches!(self.refresh, Refresh::Asking { .. }), "only a request can be lost");
        self.pause(true, out);
    }

    /// The answer.
    pub(crate) fn on_answer(&mut self, answer: request::Metadata, out: &mut Vec<Order>) {
        let Refresh::Asking { mut again } = self.refresh else {
            unreachable!("metadata is answered only when asked for")
        };
        if let Some(code) = answer.error {
            if data_path(code).metadata == Action::Rebootstrap {
                self.brokers.clear();
                out.push(Order::Rebootstrap);
            }
            self.pause(true, out);
            return;
        }
        if !answer.brokers.is_empty() {
            self.brokers = answer.brokers;
        }
        let wanted = self.wanted_topics();
        for (name, topic) in answer.topics {
            match topic {
                // Nobody asked, or nobody does any more.
                Err(_) if !wanted.contains(&name) => {}
                Ok(topic) if !wanted.contains(&name) && !self.is_awaited(topic.id) => {}
                Ok(topic) => {
                    again |= topic.partitions.values().any(|p| p.leader.is_none());
                    self.learn(name, topic);
                }
                Err(code) => again |= self.on_topic_error(name, code, out),
            }
        }
        let (by_pattern, awaited) = (self.by_pattern, &self.unresolved);
        let is_awaited = |topic: &Topic| by_pattern && awaited.contains(&topic.id);
        self.topics.retain(|name, topic| wanted.contains(name) || is_awaited(topic));
        self.problems.retain(|name, _| wanted.contains(name));
        again |= self.is_unresolved() || wanted.iter().any(|name| self.is_new(name));
        out.extend([Order::ArmAge, Order::Changed]);
        self.pause(again, out);
    }

    /// A broker was named elsewhere (`FindCoordinator`).
    pub(crate) fn on_broker(&mut self, node: NodeId, address: Address) {
        self.brokers.insert(node, address);
    }

    /// The pause is over.
    pub(crate) fn on_backoff(&mut self) {
        let Refresh::Pausing { again } = self.refresh else {
            unreachable!("the backoff is armed for a pause")
        };
        self.refresh = if again { Refresh::Wanted } else { Refresh::Idle };
        if !again {
            self.step = Step::FIRST;
        }
    }

    /// `metadata.max.age.ms` has passed.
    pub(crate) fn on_age(&mut self) {
        self.request_update();
    }

    /// The brokers that are known.
    pub(crate) fn brokers(&self) -> &BTreeMap<NodeId, Address> {
        &self.brokers
    }

    /// Every topic id that has a name.
    pub(crate) fn resolved(&self) -> BTreeSet<TopicId> {
        self.names.keys().copied().collect()
    }

    /// Every topic id that was ever shown, with its name.
    pub(crate) fn names(&self) -> &BTreeMap<TopicId, TopicName> {
        &self.names
    }

    /// A topic's name.
    pub(crate) fn name(&self, id: TopicId) -> Option<&TopicName> {
        self.names.get(&id)
    }

    /// A topic's id, as the newest answer has it.
    pub(crate) fn id(&self, name: &TopicName) -> Option<TopicId> {
        self.topics.get(name).map(|topic| topic.id)
    }

    /// Whether the newest answer says that there is no such topic.
    pub(crate) fn is_absent(&self, name: &TopicName) -> bool {
        let problem = self.problems.get(name).map(|code| data_path(*code).metadata);
        problem == Some(Action::Absent)
    }

    /// Why a topic may not be read or has no legal name, if the newest answer says so.
    pub(crate) fn refusal(&self, name: &TopicName) -> Option<ErrorCode> {
        self.problems.get(name).copied().filter(|code| data_path(*code).metadata != Action::Absent)
    }

    /// Why a topic cannot be read as it is.
    pub(crate) fn trouble(&self, name: &TopicName) -> Option<TopicTrouble> {
        match self.problems.get(name) {
            Some(code) if data_path(*code).metadata == Action::Absent => {
                Some(TopicTrouble::Missing)
            }
            Some(code) => Some(TopicTrouble::Refused(*code)),
            None if self.topics.contains_key(name) => None,
            None => Some(TopicTrouble::Unknown),
        }
    }

    /// The topics to be read of which there is trouble.
    pub(crate) fn troubles(&self) -> BTreeMap<TopicName, TopicTrouble> {
        let with_trouble = |name: &TopicName| Some((name.clone(), self.trouble(name)?));
        self.subscribed.iter().filter_map(with_trouble).collect()
    }

    /// Every known partition of a topic that is subscribed to.
    pub(crate) fn partitions_read(&self) -> impl Iterator<Item = TopicIdPartition> {
        let topics = self.subscribed.iter().filter_map(|name| self.topics.get(name));
        topics.flat_map(|topic| {
            topic.partitions.keys().map(|index| TopicIdPartition::new(topic.id, *index))
        })
    }

    /// The ids that the group waits for and nobody has named yet.
    pub(crate) fn unresolved(&self) -> BTreeSet<TopicId> {
        let unnamed = |id: &&TopicId| !self.names.contains_key(*id);
        self.unresolved.iter().filter(unnamed).copied().collect()
    }

    /// Whether the application subscribes to this partition's topic.
    pub(crate) fn is_subscribed(&self, partition: TopicIdPartition) -> bool {
        self.by_pattern
            || self.name(partition.topic).is_some_and(|name| self.subscribed.contains(name))
    }

    /// A partition by its topic's name.
    ///
    /// # Panics
    /// The topic's name is not known. Every owned partition's is: the group owns only what
    /// `resolved` named.
    pub(crate) fn by_name(&self, partition: TopicIdPartition) -> TopicPartition {
        let name = self.name(partition.topic).expect("an owned topic's name is known");
        TopicPartition { topic: name.clone(), partition: partition.partition }
    }

    /// Who leads this partition, if that is known and the broker's address is.
    pub(crate) fn leader(&self, partition: TopicIdPartition) -> Option<NodeId> {
        let node = self.lookup(partition)?.node?;
        self.brokers.contains_key(&node).then_some(node)
    }

    /// Whether the newest answer has this partition.
    pub(crate) fn has_partition(&self, partition: TopicIdPartition) -> bool {
        self.lookup(partition).is_some()
    }

    /// The partition's leader epoch.
    pub(crate) fn leader_epoch(&self, partition: TopicIdPartition) -> Option<LeaderEpoch> {
        self.lookup(partition)?.epoch
    }

    fn lookup(&self, partition: TopicIdPartition) -> Option<&Leader> {
        let topic = self.topics.get(self.names.get(&partition.topic)?)?;
        if topic.id != partition.topic {
            return None;
        }
        topic.partitions.get(&partition.partition)
    }

    fn wanted_topics(&self) -> BTreeSet<TopicName> {
        let owned = self.owned.iter().filter_map(|id| self.names.get(id));
        owned.chain(&self.subscribed).chain(&self.asked).cloned().collect()
    }

    /// Whether records of this topic are consumed, rather than only asked about by a call.
    fn is_read(&self, name: &TopicName) -> bool {
        let owned = self.owned.iter().filter_map(|id| self.names.get(id));
        self.subscribed.contains(name) || owned.into_iter().any(|owned| owned == name)
    }

    /// Whether the group waits, or waited last, for this id, of which only the coordinator knows.
    fn is_awaited(&self, id: TopicId) -> bool {
        self.by_pattern && self.unresolved.contains(&id)
    }

    /// Whether this topic was neither found nor reported missing yet.
    fn is_new(&self, name: &TopicName) -> bool {
        !self.topics.contains_key(name) && !self.problems.contains_key(name)
    }

    fn is_unresolved(&self) -> bool {
        self.unresolved.iter().any(|id| !self.names.contains_key(id))
    }

    /// An answer never takes a leader back: it may come from a broker that lags (KIP-320).
    fn learn(&mut self, name: TopicName, topic: request::TopicMetadata) {
        self.warned.remove(&name);
        self.problems.remove(&name);
        let old = self.topics.remove(&name).filter(|old| old.id == topic.id);
        let partitions = topic.partitions.into_iter().map(|(index, new)| {
            let new = Leader { node: new.leader, epoch: new.leader_epoch };
            let old = old.as_ref().and_then(|old| old.partitions.get(&index));
            (index, old.filter(|old| old.epoch > new.epoch).copied().unwrap_or(new))
        });
        let topic = Topic { id: topic.id, partitions: partitions.collect() };
        self.names.insert(topic.id, name.clone());
        self.topics.insert(name, topic);
    }

    /// Says whether to ask again soon. A topic that does not exist is not asked for again by
    /// itself: the coordinator tells its id once it does, and the group asks then.
    fn on_topic_error(&mut self, name: TopicName, code: ErrorCode, out: &mut Vec<Order>) -> bool {
        match data_path(code).metadata {
            Action::Absent => {
                self.topics.remove(&name);
                self.problems.insert(name.clone(), code);
                if self.is_read(&name) && self.warned.insert(name.clone()) {
                    out.push(Order::WarnUnknown(name));
                }
                false
            }
            Action::Tell | Action::Reset => {
                self.problems.insert(name.clone(), code);
                if self.is_read(&name) {
                    self.warned.insert(name.clone());
                    out.push(Order::Tell(name, code));
                }
                true
            }
            Action::Retry
            | Action::RefreshMetadata
            | Action::FindCoordinator
            | Action::Rebootstrap => true,
        }
    }

    fn pause(&mut self, again: bool, out: &mut Vec<Order>) {
        self.refresh = Refresh::Pausing { again };
        out.push(Order::ArmBackoff(self.step));
        self.step = self.step.next();
    }
}

#[cfg(test)]
mod tests;
