//! Where the wire's sentinels die: numbers that mean "none" become `Option`s, numbers that cannot
//! be are refused.

use super::malformed;
use evenkeel_core::request::TopicNames;
use evenkeel_core::{Address, Isolation, Misbehaved};
use evenkeel_spec::words::{Epoch, LeaderEpoch, NodeId, Offset, TopicId, TopicName};
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

/// An offset; -1 is none.
pub(super) fn offset(wire: i64) -> Option<Offset> {
    u64::try_from(wire).ok().map(Offset)
}

/// An offset as the wire has it.
pub(super) fn wire_offset(offset: Offset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}

/// A leader epoch; -1 is none.
pub(super) fn leader_epoch(wire: i32) -> Option<LeaderEpoch> {
    u32::try_from(wire).ok().map(LeaderEpoch)
}

/// A leader epoch as the wire has it.
pub(super) fn wire_leader_epoch(epoch: Option<LeaderEpoch>) -> i32 {
    epoch.map_or(-1, |epoch| i32::try_from(epoch.0).unwrap_or(i32::MAX))
}

/// A member epoch as the wire has it.
pub(super) fn wire_epoch(epoch: Epoch) -> i32 {
    i32::try_from(epoch.0).unwrap_or(i32::MAX)
}

/// A partition's index.
pub(super) fn partition(wire: i32) -> Result<u32, Misbehaved> {
    u32::try_from(wire).map_err(|_| malformed(format_args!("partition {wire}")))
}

/// A partition's index as the wire has it.
pub(super) fn wire_partition(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// Unsigned numbers whose bounds the configuration has checked.
pub(super) fn wire_number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A node id; -1 is none.
pub(super) fn node(wire: BrokerId) -> Option<NodeId> {
    (wire.0 >= 0).then_some(NodeId(wire.0))
}

/// A broker's address.
pub(super) fn address(host: &str, port: i32) -> Result<Address, Misbehaved> {
    match u16::try_from(port) {
        Ok(port) if port != 0 && !host.is_empty() => Ok(Address::new(host, port)),
        _ => Err(malformed(format_args!("a broker's address {host:?} port {port}"))),
    }
}

/// 0: `read_uncommitted`, 1: `read_committed`.
pub(super) fn wire_isolation(isolation: Isolation) -> i8 {
    match isolation {
        Isolation::ReadUncommitted => 0,
        Isolation::ReadCommitted => 1,
    }
}

/// A text of ours.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name as the wire has it.
pub(super) fn wire_topic(name: &TopicName) -> kafka_protocol::messages::TopicName {
    text(name.as_str()).into()
}

/// Groups what a request says of single partitions by topic, for APIs that go by name. The shell
/// names every topic that it mentions.
pub(super) fn by_topic<T>(
    partitions: impl Iterator<Item = (TopicId, T)>,
    names: &TopicNames,
) -> BTreeMap<&TopicName, Vec<T>> {
    let mut topics: BTreeMap<&TopicName, Vec<T>> = BTreeMap::new();
    for (id, partition) in partitions {
        let name = names.get(&id).expect("a request names every topic that it mentions");
        topics.entry(name).or_default().push(partition);
    }
    topics
}

/// The id of a topic that an answer names.
pub(super) fn asked_topic(name: &str, names: &TopicNames) -> Result<TopicId, Misbehaved> {
    let found = names.iter().find(|(_, asked)| asked.as_str() == name);
    found.map(|(&id, _)| id).ok_or_else(|| {
        malformed(format_args!("an answer about topic {name:?}, which was not asked for"))
    })
}
