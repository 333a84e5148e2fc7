//! The cluster's state: nodes, topics, leaders. Decides who leads what and which topics exist;
//! groups are in `groups.rs`. One owner (a mutex in `cluster.rs`), no I/O, no waiting.

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::connection::Refusal;
use crate::groups::Groups;
use crate::log::Log;
use crate::replay::Replay;
use evenkeel_spec::words::{ErrorCode, NodeId, Topic as TopicWords, TopicId, TopicName, Topics};
use std::collections::BTreeMap;

/// The longest topic name, characters: Kafka's `Topic.MAX_NAME_LENGTH`.
const TOPIC_NAME_MAX: usize = 249;
/// The most partitions of one topic here; Kafka has no limit, but each costs memory.
pub(crate) const PARTITIONS_MAX: u32 = 10_000;
/// Topic ids start here: Kafka reserves 0 (none) and 1 (the metadata topic).
const FIRST_TOPIC_ID: u32 = 16;
/// Topic settings that are kept and shown; only the timestamp type changes what the broker does.
const TOPIC_CONFIGS: &[&str] = &[
    "cleanup.policy",
    "compression.type",
    "max.message.bytes",
    "message.timestamp.type",
    "min.insync.replicas",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
];

/// Everything that a request can see or change.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) cluster_id: String,
    pub(crate) clock: Clock,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) topics: BTreeMap<TopicName, Topic>,
    /// The same topics in the coordinator's words.
    pub(crate) topic_words: Topics,
    pub(crate) groups: Groups,
    pub(crate) next_producer_id: i64,
    pub(crate) counts: Counts,
    pub(crate) replay: Replay,
    pub(crate) next_topic_id: u32,
}

/// One broker.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) alive: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A topic with its partitions' logs.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) log_append_time: bool,
    pub(crate) configs: BTreeMap<String, String>,
}

/// A partition: one log that all its replicas share.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) leader: Option<NodeId>,
    pub(crate) leader_epoch: u32,
    pub(crate) replicas: Vec<NodeId>,
    pub(crate) log: Log,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: BTreeMap<i16, u64>,
    pub(crate) connections: u64,
    pub(crate) refusals: BTreeMap<Refusal, u64>,
}

/// What a new topic should be like.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewTopic {
    /// `None`: `num.partitions`.
    pub(crate) partitions: Option<u32>,
    /// `None`: `default.replication.factor`.
    pub(crate) replication_factor: Option<u32>,
    /// Replicas of each partition, if the caller places them.
    pub(crate) placed: Vec<Vec<NodeId>>,
    pub(crate) configs: BTreeMap<String, String>,
}

impl State {
    pub(crate) fn new(config: Config, cluster_id: String, clock: Clock, nodes: u32) -> Self {
        let node = |id: u32| {
            let host = format!("broker-{id}");
            (NodeId(id.cast_signed()), Node { alive: true, host, port: 9092 })
        };
        Self {
            config,
            cluster_id,
            clock,
            nodes: (1..=nodes).map(node).collect(),
            topics: BTreeMap::new(),
            topic_words: Topics::new(),
            groups: Groups::default(),
            next_producer_id: 1_000,
            counts: Counts::default(),
            replay: Replay::default(),
            next_topic_id: FIRST_TOPIC_ID,
        }
    }

    /// The nodes that serve, in the order of their ids.
    pub(crate) fn alive(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().filter(|(_, node)| node.alive).map(|(&id, node)| (id, node))
    }

    /// The first alive node stands for the controller.
    pub(crate) fn controller(&self) -> Option<NodeId> {
        self.alive().map(|(id, _)| id).next()
    }

    /// The name of the topic with this id.
    pub(crate) fn name_of(&self, id: TopicId) -> Option<&TopicName> {
        self.topic_words.get(&id).map(|topic| &topic.name)
    }

    /// The id of the topic with this name.
    pub(crate) fn id_of(&self, name: &TopicName) -> Option<TopicId> {
        self.topics.get(name).map(|topic| topic.id)
    }

    /// The partition; errors as a data request answers them.
    pub(crate) fn partition(
        &mut self,
        topic: &TopicName,
        index: i32,
    ) -> Result<&mut Partition, ErrorCode> {
        let topic = self.topics.get_mut(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let index = usize::try_from(index).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
        topic.partitions.get_mut(index).ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    /// The partition if `node` leads it and the caller's leader epoch (`None`: unchecked) is the
    /// present one (KIP-320).
    pub(crate) fn led(
        &mut self,
        node: NodeId,
        topic: &TopicName,
        index: i32,
        epoch: Option<u32>,
    ) -> Result<&mut Partition, ErrorCode> {
        let partition = self.partition(topic, index)?;
        if partition.leader != Some(node) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        match epoch {
            Some(epoch) if epoch < partition.leader_epoch => Err(ErrorCode::FencedLeaderEpoch),
            Some(epoch) if epoch > partition.leader_epoch => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(partition),
        }
    }

    /// Checks a new topic and says how many partitions and replicas it would have.
    pub(crate) fn check_topic(
        &self,
        name: &str,
        new: &NewTopic,
    ) -> Result<(u32, u32), (ErrorCode, String)> {
        validate_name(name).map_err(|reason| (ErrorCode::InvalidTopicException, reason))?;
        if self.topics.contains_key(&TopicName::from(name)) {
            return Err((ErrorCode::TopicAlreadyExists, "exists already".to_owned()));
        }
        self.check_topic_configs(new)?;
        if !new.placed.is_empty() {
            return self.check_placed(new);
        }
        let partitions = new.partitions.unwrap_or(self.config.num_partitions);
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            let reason = format!("must have 1 to {PARTITIONS_MAX} partitions");
            return Err((ErrorCode::InvalidPartitions, reason));
        }
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let default = self.config.default_replication_factor.min(nodes);
        let replicas = new.replication_factor.unwrap_or(default);
        if !(1..=nodes).contains(&replicas) {
            let reason = format!("replication factor {replicas}: there are {nodes} nodes");
            return Err((ErrorCode::InvalidReplicationFactor, reason));
        }
        Ok((partitions, replicas))
    }

    /// Creates a topic and tells the groups. Errors as `CreateTopics` answers them.
    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        new: NewTopic,
    ) -> Result<TopicId, (ErrorCode, String)> {
        let (count, replicas) = self.check_topic(name, &new)?;
        let id = TopicId::from_u32(self.next_topic_id);
        self.next_topic_id += 1;
        let log_append_time = match new.configs.get("message.timestamp.type") {
            Some(value) => value == config::timestamp_type_name(true),
            None => self.config.log_append_time,
        };
        let partitions = (0..count)
            .map(|index| {
                let placed = new.placed.get(index as usize).cloned();
                self.new_partition(placed.unwrap_or_else(|| self.place(id, index, replicas)))
            })
            .collect();
        let name = TopicName::from(name);
        let configs = new.configs;
        self.topics.insert(name.clone(), Topic { id, partitions, log_append_time, configs });
        self.topic_words.insert(id, TopicWords { name, partitions: count });
        self.topics_changed();
        Ok(id)
    }

    /// Adds partitions up to `count` in all. Errors as `CreatePartitions` answers them.
    pub(crate) fn add_partitions(&mut self, name: &TopicName, count: u32) -> Result<(), ErrorCode> {
        let topic = self.topics.get(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let (id, before) = (topic.id, topic.partitions.len());
        if count as usize <= before || count > PARTITIONS_MAX {
            return Err(ErrorCode::InvalidPartitions);
        }
        let replicas = u32::try_from(topic.partitions[0].replicas.len()).unwrap_or(1);
        let first = u32::try_from(before).unwrap_or(PARTITIONS_MAX);
        let added: Vec<_> = (first..count)
            .map(|index| self.new_partition(self.place(id, index, replicas)))
            .collect();
        if let Some(topic) = self.topics.get_mut(name) {
            topic.partitions.extend(added);
        }
        self.topic_words.entry(id).and_modify(|words| words.partitions = count);
        self.topics_changed();
        Ok(())
    }

    /// Deletes a topic with its records. Errors: `UNKNOWN_TOPIC_OR_PARTITION`.
    pub(crate) fn delete_topic(&mut self, name: &TopicName) -> Result<(), ErrorCode> {
        let topic = self.topics.remove(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        self.topic_words.remove(&topic.id);
        self.topics_changed();
        Ok(())
    }

    /// Makes `node` the leader, under the next leader epoch. Errors: `UNKNOWN_TOPIC_OR_PARTITION`,
    /// `REPLICA_NOT_AVAILABLE` if the node is no alive replica.
    pub(crate) fn move_leader(
        &mut self,
        topic: &TopicName,
        index: u32,
        node: NodeId,
    ) -> Result<(), ErrorCode> {
        let alive = self.nodes.get(&node).is_some_and(|node| node.alive);
        let partition = self.partition(topic, index.cast_signed())?;
        if !alive || !partition.replicas.contains(&node) {
            return Err(ErrorCode::ReplicaNotAvailable);
        }
        partition.lead(Some(node));
        Ok(())
    }

    /// Marks the node alive or dead and moves leaders and coordinators away from the dead.
    pub(crate) fn set_alive(&mut self, node: NodeId, alive: bool) {
        let Some(entry) = self.nodes.get_mut(&node) else { return };
        entry.alive = alive;
        let alive: Vec<NodeId> = self.alive().map(|(id, _)| id).collect();
        for topic in self.topics.values_mut() {
            for partition in &mut topic.partitions {
                if partition.leader.is_none_or(|leader| !alive.contains(&leader)) {
                    let next = partition.replicas.iter().find(|node| alive.contains(node));
                    partition.lead(next.copied());
                }
            }
        }
        self.elect_coordinators();
    }

    fn check_topic_configs(&self, new: &NewTopic) -> Result<(), (ErrorCode, String)> {
        for (key, value) in &new.configs {
            if !TOPIC_CONFIGS.contains(&key.as_str()) {
                let reason = format!("unknown topic configuration `{key}`");
                return Err((ErrorCode::InvalidConfig, reason));
            }
            if key == "message.timestamp.type" {
                config::timestamp_type(key, value)
                    .map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))?;
            }
        }
        Ok(())
    }

    fn check_placed(&self, new: &NewTopic) -> Result<(u32, u32), (ErrorCode, String)> {
        let known = |node: &NodeId| self.nodes.contains_key(node);
        if new.placed.iter().any(|nodes| nodes.is_empty() || !nodes.iter().all(known)) {
            let reason = "a partition is placed on no node, or on one that does not exist";
            return Err((ErrorCode::InvalidReplicaAssignment, reason.to_owned()));
        }
        let count = u32::try_from(new.placed.len()).unwrap_or(u32::MAX);
        if count > PARTITIONS_MAX {
            let reason = format!("must have 1 to {PARTITIONS_MAX} partitions");
            return Err((ErrorCode::InvalidPartitions, reason));
        }
        Ok((count, u32::try_from(new.placed[0].len()).unwrap_or(u32::MAX)))
    }

    /// Replicas on consecutive nodes, the first by topic and index, so that leaders spread.
    fn place(&self, topic: TopicId, index: u32, replicas: u32) -> Vec<NodeId> {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        let first = topic.0[15] as usize + index as usize;
        (0..replicas as usize).map(|i| nodes[(first + i) % nodes.len()]).collect()
    }

    fn new_partition(&self, replicas: Vec<NodeId>) -> Partition {
        let alive = |node: &&NodeId| self.nodes.get(node).is_some_and(|node| node.alive);
        let leader = replicas.iter().find(alive).copied();
        let mut log = Log::default();
        log.begin_epoch(0);
        Partition { leader, leader_epoch: 0, replicas, log }
    }
}

impl Partition {
    /// Loses what is at `offset` and later; the leader goes on under the next epoch.
    pub(crate) fn truncate(&mut self, offset: u64) {
        self.log.truncate(offset);
        self.begin_epoch();
    }

    fn lead(&mut self, leader: Option<NodeId>) {
        if self.leader != leader {
            self.leader = leader;
            self.begin_epoch();
        }
    }

    fn begin_epoch(&mut self) {
        self.leader_epoch += 1;
        self.log.begin_epoch(self.leader_epoch);
    }
}

/// Whether a topic may have this name, else why not: `Topic.validate` of Apache Kafka 4.3.1.
pub(crate) fn validate_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > TOPIC_NAME_MAX || !name.chars().all(legal) {
        return Err(format!("must be 1 to {TOPIC_NAME_MAX} of [a-zA-Z0-9._-]"));
    }
    if name == "." || name == ".." {
        return Err("must not be . or ..".to_owned());
    }
    Ok(())
}
