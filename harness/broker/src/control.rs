//! What a test does to a running cluster: kill and start nodes, move leaders, make topics, append
//! records, look at counters.

use crate::batch::{self, NewRecord};
use crate::cluster::Cluster;
use crate::connection::Refusal;
use crate::hook::{ConnectionId, Interceptor};
use crate::state::NewTopic;
use bytes::Bytes;
use evenkeel_coordinator::{Description, Timer};
use evenkeel_spec::words::{
    Committed, ErrorCode, MemberId, NodeId, Offset, OffsetCommit, TopicId, TopicIdPartition,
    TopicName,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Cluster {
    /// All nodes, dead ones too.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.shared().state().nodes.keys().copied().collect()
    }

    /// Tells clients that `node` is at this address. [`Cluster::listen`] does it by itself.
    pub fn set_endpoint(&self, node: NodeId, host: &str, port: u16) {
        if let Some(node) = self.shared().state().nodes.get_mut(&node) {
            (node.host, node.port) = (host.to_owned(), port);
        }
    }

    /// The address that clients are told. Before [`Cluster::listen`]: `broker-<id>`, 9092.
    #[must_use]
    pub fn endpoint(&self, node: NodeId) -> Option<(String, u16)> {
        self.shared().state().nodes.get(&node).map(|node| (node.host.clone(), node.port))
    }

    /// The node that clients know by this address: for transports in memory.
    #[must_use]
    pub fn node_at(&self, host: &str, port: u16) -> Option<NodeId> {
        let state = self.shared().state();
        let mut nodes = state.nodes.iter();
        nodes.find(|(_, node)| node.host == host && node.port == port).map(|(&id, _)| id)
    }

    /// The addresses of all nodes as `bootstrap.servers` wants them.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        let state = self.shared().state();
        let addresses: Vec<_> =
            state.nodes.values().map(|node| format!("{}:{}", node.host, node.port)).collect();
        addresses.join(",")
    }

    /// Asks `interceptor` about each request from now on.
    pub fn intercept(&self, interceptor: impl Interceptor + 'static) {
        self.shared().set_interceptor(Some(Arc::new(interceptor)));
    }

    /// Asks nobody any more. What is held stays held by its gate.
    pub fn intercept_none(&self) {
        self.shared().set_interceptor(None);
    }

    /// Kills a node: its connections and its listener end, its leaders and coordinators move to
    /// other nodes. Returns when its connections are gone.
    pub async fn kill_node(&self, node: NodeId) {
        self.shared().change(|state| state.set_alive(node, false));
        self.end_node(node).await;
        self.shared().appended();
    }

    /// Starts a killed node at its old address. Leaders come back only to partitions that have none.
    ///
    /// Errors: as binding a socket has them; the node stays dead then.
    pub async fn start_node(&self, node: NodeId) -> io::Result<()> {
        self.listen_again(node)?;
        self.shared().change(|state| state.set_alive(node, true));
        self.shared().appended();
        Ok(())
    }

    /// Ends one connection. Returns when it is gone.
    pub async fn disconnect(&self, connection: ConnectionId) {
        self.end_connection(connection).await;
    }

    /// Creates a topic. Errors: `TOPIC_ALREADY_EXISTS`, `INVALID_TOPIC_EXCEPTION`,
    /// `INVALID_PARTITIONS`.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<TopicId, ErrorCode> {
        let new = NewTopic { partitions: Some(partitions), ..NewTopic::default() };
        let created = self.shared().change(|state| state.create_topic(name, new));
        created.map_err(|(error, _)| error)
    }

    /// Deletes a topic with its records. Errors: `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn delete_topic(&self, name: &str) -> Result<(), ErrorCode> {
        self.shared().change(|state| state.delete_topic(&name.into()))?;
        self.shared().appended();
        Ok(())
    }

    /// Adds partitions up to `count` in all. Errors: `UNKNOWN_TOPIC_OR_PARTITION`,
    /// `INVALID_PARTITIONS` if it has so many already.
    pub fn add_partitions(&self, name: &str, count: u32) -> Result<(), ErrorCode> {
        self.shared().change(|state| state.add_partitions(&name.into(), count))
    }

    /// The id of a topic.
    #[must_use]
    pub fn topic_id(&self, name: &str) -> Option<TopicId> {
        self.shared().state().topics.get(&TopicName::from(name)).map(|topic| topic.id)
    }

    /// Makes `node` a partition's leader under the next leader epoch. Errors:
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `REPLICA_NOT_AVAILABLE` if it is no alive replica.
    pub fn move_leader(&self, topic: &str, partition: u32, node: NodeId) -> Result<(), ErrorCode> {
        self.shared().state().move_leader(&topic.into(), partition, node)?;
        self.shared().appended();
        Ok(())
    }

    /// The leader of a partition; `None` if it has none. Errors: `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn leader(&self, topic: &str, partition: u32) -> Result<Option<NodeId>, ErrorCode> {
        let mut state = self.shared().state();
        Ok(state.partition(&topic.into(), partition.cast_signed())?.leader)
    }

    /// Appends one record, stamped with the broker's time; returns its offset. Errors:
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn append(
        &self,
        topic: &str,
        partition: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Offset, ErrorCode> {
        let mut state = self.shared().state();
        let timestamp = state.clock.now_ms();
        let partition = state.partition(&topic.into(), partition.cast_signed())?;
        let record = NewRecord { key, value, timestamp };
        let offset = partition.log.append_record(partition.leader_epoch, &record);
        drop(state);
        self.shared().appended();
        Ok(Offset(offset))
    }

    /// Appends a batch as a producer would send it (record format v2), with its timestamps; returns
    /// the offset of its first record. Errors: `UNKNOWN_TOPIC_OR_PARTITION`, and what a producer is
    /// refused for.
    pub fn append_batch(
        &self,
        topic: &str,
        partition: u32,
        batch: &Bytes,
    ) -> Result<Offset, ErrorCode> {
        let mut state = self.shared().state();
        let header = batch::check(batch, state.config.message_max_bytes)?;
        let partition = state.partition(&topic.into(), partition.cast_signed())?;
        let appended = partition.log.append(batch, &header, partition.leader_epoch, None)?;
        drop(state);
        self.shared().appended();
        Ok(Offset(appended.base))
    }

    /// Appends `count` records of `value_size` bytes without key, in batches of about 64 KiB.
    /// Errors: `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn fill(
        &self,
        topic: &str,
        partition: u32,
        count: u64,
        value_size: usize,
    ) -> Result<(), ErrorCode> {
        let mut state = self.shared().state();
        let timestamp = state.clock.now_ms();
        let partition = state.partition(&topic.into(), partition.cast_signed())?;
        let epoch = partition.leader_epoch;
        partition.log.fill(epoch, count, &vec![b'x'; value_size], timestamp);
        drop(state);
        self.shared().appended();
        Ok(())
    }

    /// The first offset that can be read. Errors: `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn log_start(&self, topic: &str, partition: u32) -> Result<Offset, ErrorCode> {
        let mut state = self.shared().state();
        Ok(Offset(state.partition(&topic.into(), partition.cast_signed())?.log.start()))
    }

    /// The offset that the next record will get. Errors: `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn log_end(&self, topic: &str, partition: u32) -> Result<Offset, ErrorCode> {
        let mut state = self.shared().state();
        Ok(Offset(state.partition(&topic.into(), partition.cast_signed())?.log.end()))
    }

    /// Forgets records before `offset`, as retention does: fetching them is `OFFSET_OUT_OF_RANGE`
    /// then. Errors: `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn delete_records(
        &self,
        topic: &str,
        partition: u32,
        offset: Offset,
    ) -> Result<(), ErrorCode> {
        let mut state = self.shared().state();
        state.partition(&topic.into(), partition.cast_signed())?.log.advance_start(offset.0);
        drop(state);
        self.shared().appended();
        Ok(())
    }

    /// Loses records from `offset` on and begins the next leader epoch with the same leader, as an
    /// unclean election does (KIP-320). Errors: `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn truncate(&self, topic: &str, partition: u32, offset: Offset) -> Result<(), ErrorCode> {
        let mut state = self.shared().state();
        state.partition(&topic.into(), partition.cast_signed())?.truncate(offset.0);
        drop(state);
        self.shared().appended();
        Ok(())
    }

    /// The node that coordinates `group`; `None` when no node is alive.
    #[must_use]
    pub fn coordinator(&self, group: &str) -> Option<NodeId> {
        self.shared().state().coordinator_of(&group.into())
    }

    /// Makes `node` the coordinator of `group`: it loads the group from its log; the old one
    /// answers `NOT_COORDINATOR`. Errors: `COORDINATOR_NOT_AVAILABLE` if the node is dead.
    pub fn move_coordinator(&self, group: &str, node: NodeId) -> Result<(), ErrorCode> {
        self.shared().change(|state| state.move_coordinator(&group.into(), node))
    }

    /// The group's coordinator crashes and is back at once: what was only in its memory is lost and
    /// the group is loaded from its log. Connections stay.
    pub fn crash_coordinator(&self, group: &str) {
        self.shared().change(|state| state.fail_over(&group.into()));
    }

    /// The group as its coordinator describes it; `None` if nobody ever named it.
    #[must_use]
    pub fn describe_group(&self, group: &str) -> Option<Description> {
        self.shared().state().group(&group.into()).map(|shell| shell.brain.describe())
    }

    /// What the group has committed for a partition. Errors: `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn committed(
        &self,
        group: &str,
        topic: &str,
        partition: u32,
    ) -> Result<Option<Committed>, ErrorCode> {
        let state = self.shared().state();
        let name = TopicName::from(topic);
        let topic = state.topics.get(&name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let at = TopicIdPartition::new(topic.id, partition);
        let group = state.group(&group.into());
        Ok(group.and_then(|shell| shell.brain.describe().offsets.remove(&at)))
    }

    /// Lets the group commit an offset for a partition, as a consumer that is no member would.
    /// Errors: `UNKNOWN_TOPIC_OR_PARTITION`, and what the coordinator says.
    pub fn commit(
        &self,
        group: &str,
        topic: &str,
        partition: u32,
        offset: Offset,
    ) -> Result<(), ErrorCode> {
        let mut state = self.shared().state();
        let name = TopicName::from(topic);
        let topic = state.topics.get(&name).ok_or(ErrorCode::UnknownTopicOrPartition)?.id;
        let at = TopicIdPartition::new(topic, partition);
        let offsets = [(at, Committed::at(offset))].into();
        let commit = OffsetCommit { owner: None, offsets };
        let mut committed = state.on_offset_commit(&group.into(), &commit)?;
        committed.remove(&at).unwrap_or(Err(ErrorCode::UnknownTopicOrPartition))
    }

    /// The number of a member in [`Description`]s, in hooks' words and in [`Timer`]s, by its id on
    /// the wire.
    #[must_use]
    pub fn member_id(&self, group: &str, name: &str) -> Option<MemberId> {
        self.shared().state().group(&group.into())?.members.find(name)
    }

    /// A member's id on the wire by its number.
    #[must_use]
    pub fn member_name(&self, group: &str, member: MemberId) -> Option<String> {
        let state = self.shared().state();
        let name = state.group(&group.into())?.members.name(member);
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// The group's armed timers and how long until each is due.
    #[must_use]
    pub fn armed_timers(&self, group: &str) -> Vec<(Timer, Duration)> {
        let now = Instant::now();
        let armed = self.shared().state().groups.timers.of(&group.into());
        armed.into_iter().map(|(timer, at)| (timer, at.saturating_duration_since(now))).collect()
    }

    /// Fires a timer now, whether it is due or not; false, and nothing happens, if it is not armed.
    #[must_use]
    pub fn fire_timer(&self, group: &str, timer: Timer) -> bool {
        self.shared().change(|state| state.fire(&group.into(), timer))
    }

    /// How many requests of this API key were read so far, refused ones too.
    #[must_use]
    pub fn requests(&self, api_key: i16) -> u64 {
        self.shared().state().counts.requests.get(&api_key).copied().unwrap_or(0)
    }

    /// How many connections were ever accepted.
    #[must_use]
    pub fn connections_ever(&self) -> u64 {
        self.shared().state().counts.connections
    }

    /// The connections that are open, with their nodes.
    #[must_use]
    pub fn connections(&self) -> Vec<(ConnectionId, NodeId)> {
        self.shared().connections()
    }

    /// How many connections were ended for this reason.
    #[must_use]
    pub fn refusals(&self, refusal: Refusal) -> u64 {
        self.shared().state().counts.refusals.get(&refusal).copied().unwrap_or(0)
    }
}
