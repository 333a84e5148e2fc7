//! Between the wire's types and the spec's words: this broker's own translation, never the client's.
//! Sentinels (-1, empty strings) end here.

use crate::groups::Members;
use crate::patterns::compiled;
use evenkeel_spec::words::{
    Assignor, Committed, Epoch, ErrorCode, GroupId, Heartbeat, HeartbeatEpoch, LeaderEpoch, NodeId,
    Offset, Owner, Partitions, Pattern, TopicId, TopicIdPartition, TopicName,
};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::{self, BrokerId, ConsumerGroupHeartbeatRequest};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a request says that the protocol has no word for: the code and a sentence for its sender.
pub(crate) type Refused = (ErrorCode, &'static str);

/// Text as it goes on the wire.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name as it goes on the wire.
pub(crate) fn wire_name(name: &TopicName) -> messages::TopicName {
    messages::TopicName(text(name.as_str()))
}

/// A topic's name as it came.
pub(crate) fn topic_name(name: &messages::TopicName) -> TopicName {
    TopicName::from(name.0.as_str())
}

/// A topic's id as it goes on the wire.
pub(crate) fn wire_id(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.0)
}

/// A topic's id as it came; `None` for the zero UUID.
pub(crate) fn topic_id(id: Uuid) -> Option<TopicId> {
    (!id.is_nil()).then(|| TopicId(id.into_bytes()))
}

/// A node's id as it goes on the wire; nobody is -1.
pub(crate) fn wire_node(node: Option<NodeId>) -> BrokerId {
    BrokerId(node.map_or(-1, |node| node.0))
}

/// Node ids as they go on the wire.
pub(crate) fn wire_nodes(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}

/// An offset as it goes on the wire.
pub(crate) fn wire_offset(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// A group's id as it came.
pub(crate) fn group_id(id: &messages::GroupId) -> GroupId {
    GroupId::from(id.0.as_str())
}

/// A heartbeat as it came, with a member id that is not empty.
///
/// Errors: `INVALID_REQUEST` for numbers out of range and for what is out of this broker's scope
/// (static members); `INVALID_REGULAR_EXPRESSION`.
pub(crate) fn heartbeat(
    members: &mut Members,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<Heartbeat, Refused> {
    let invalid = |why| (ErrorCode::InvalidRequest, why);
    if request.instance_id.is_some() {
        return Err(invalid("this broker has no static members"));
    }
    let pattern = request.subscribed_topic_regex.as_ref().map(|regex| match regex.as_str() {
        "" => Pattern::Ended,
        pattern => Pattern::Matching(pattern.into()),
    });
    if let Some(Pattern::Matching(pattern)) = &pattern
        && compiled(pattern).is_err()
    {
        let why = "SubscribedTopicRegex is not a valid regular expression.";
        return Err((ErrorCode::InvalidRegularExpression, why));
    }
    let epoch = match request.member_epoch {
        -1 => HeartbeatEpoch::Leave,
        0 => HeartbeatEpoch::Join,
        epoch => {
            let epoch = u32::try_from(epoch).map_err(|_| invalid("MemberEpoch is below -1."))?;
            HeartbeatEpoch::Stay(Epoch(epoch))
        }
    };
    let rebalance_timeout_ms = match request.rebalance_timeout_ms {
        -1 => None,
        time => Some(u32::try_from(time).map_err(|_| invalid("RebalanceTimeoutMs is negative."))?),
    };
    let names = request.subscribed_topic_names.as_ref();
    // An empty expression alone is a subscription to nothing.
    let names = names.map(|names| names.iter().map(topic_name).collect());
    let nothing = pattern.as_ref().map(|_| Default::default());
    let owned = match &request.topic_partitions {
        None => None,
        Some(topics) => Some(partitions(topics).ok_or(invalid("A partition is negative."))?),
    };
    Ok(Heartbeat {
        member: members.intern(&request.member_id),
        epoch,
        rebalance_timeout_ms,
        subscription: names.or(nothing).map(Arc::new),
        pattern,
        assignor: request.server_assignor.as_ref().map(|name| assignor(name)),
        owned,
    })
}

/// An assignor by its name.
fn assignor(name: &str) -> Assignor {
    match name {
        "uniform" => Assignor::Uniform,
        "range" => Assignor::Range,
        other => Assignor::Other(other.into()),
    }
}

/// An assignor's name.
pub(crate) fn assignor_name(assignor: &Assignor) -> &str {
    match assignor {
        Assignor::Uniform => "uniform",
        Assignor::Range => "range",
        Assignor::Other(name) => name,
    }
}

fn partitions(topics: &[TopicPartitions]) -> Option<Partitions> {
    let mut partitions = Partitions::new();
    for topic in topics {
        let id = topic_id(topic.topic_id)?;
        for &partition in &topic.partitions {
            partitions.insert(TopicIdPartition::new(id, u32::try_from(partition).ok()?));
        }
    }
    Some(partitions)
}

/// Partition indices by topic, as the wire groups them.
pub(crate) fn by_topic(partitions: &Partitions) -> BTreeMap<TopicId, Vec<i32>> {
    let mut topics = BTreeMap::<_, Vec<i32>>::new();
    for at in partitions {
        topics.entry(at.topic).or_default().push(at.partition.cast_signed());
    }
    topics
}

/// In whose name a request speaks: nobody's below epoch 0 (Kafka looks at the epoch alone).
pub(crate) fn owner(members: &mut Members, member_id: &str, epoch: i32) -> Option<Owner> {
    let epoch = Epoch(u32::try_from(epoch).ok()?);
    Some(Owner { member: members.intern(member_id), epoch })
}

/// A partition by its topic's name; `None` if there is no such topic or the index is negative.
pub(crate) fn partition_of(topic: Option<TopicId>, index: i32) -> Option<TopicIdPartition> {
    Some(TopicIdPartition::new(topic?, u32::try_from(index).ok()?))
}

/// An offset to commit as it came; `None` if it is negative.
pub(crate) fn committed(partition: &OffsetCommitRequestPartition) -> Option<Committed> {
    let offset = u64::try_from(partition.committed_offset).ok()?;
    let metadata = partition.committed_metadata.as_ref();
    Some(Committed {
        offset: Offset(offset),
        leader_epoch: u32::try_from(partition.committed_leader_epoch).ok().map(LeaderEpoch),
        metadata: metadata.map_or_else(|| "".into(), |metadata| metadata.as_str().into()),
    })
}
