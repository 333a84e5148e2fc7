//! `Metadata` (key 3): brokers, and topics by name. Never creates a topic.

use super::shape::Shape;
use super::{Body, sentinel};
use crate::record::Chunk;
use evenkeel_core::Misbehaved;
use evenkeel_core::request::{
    Metadata, PartitionDescription, PartitionMetadata, Response, TopicDescription, TopicMetadata,
};
use evenkeel_spec::words::{ErrorCode, NodeId, TopicId, TopicName};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// No topics is an empty list; null would be all of them.
pub(super) fn request(topics: Option<&BTreeSet<TopicName>>) -> MetadataRequest {
    of_topics(Some(topics.into_iter().flatten().map(wire_topic).collect()))
}

/// These topics, whatever they are called: names are null (version 12).
pub(super) fn by_id(ids: &BTreeSet<TopicId>) -> MetadataRequest {
    let wire = |id: &TopicId| {
        MetadataRequestTopic::default().with_topic_id(Uuid::from_bytes(id.0)).with_name(None)
    };
    of_topics(Some(ids.iter().map(wire).collect()))
}

/// Everything about a topic, or about all of them.
pub(super) fn describe(topic: Option<&TopicName>) -> MetadataRequest {
    of_topics(topic.map(|name| vec![wire_topic(name)]))
}

fn of_topics(topics: Option<Vec<MetadataRequestTopic>>) -> MetadataRequest {
    MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false)
}

fn wire_topic(name: &TopicName) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(sentinel::wire_topic(name)))
}

pub(super) fn response(body: Body) -> Result<(Response<Chunk>, i32), Misbehaved> {
    let answer = decode(body)?;
    let mut metadata =
        Metadata { error: ErrorCode::from_number(answer.error_code), ..Metadata::default() };
    for broker in answer.brokers {
        if let Some(node) = sentinel::node(broker.node_id) {
            metadata.brokers.insert(node, sentinel::address(&broker.host, broker.port)?);
        }
    }
    for topic in answer.topics {
        if let Some(name) = topic.name.clone() {
            metadata.topics.insert(TopicName::from(name.as_str()), read_topic(topic)?);
        }
    }
    Ok((Response::Metadata(metadata), answer.throttle_time_ms))
}

/// The answer to [`describe`].
pub(super) fn described(body: Body) -> Result<(Response<Chunk>, i32), Misbehaved> {
    let answer = decode(body)?;
    let throttle_ms = answer.throttle_time_ms;
    if let Some(code) = ErrorCode::from_number(answer.error_code) {
        return Ok((Response::Topics(Err(code)), throttle_ms));
    }
    let mut topics = BTreeMap::new();
    for topic in answer.topics {
        if let Some(name) = topic.name.clone() {
            topics.insert(TopicName::from(name.as_str()), describe_topic(topic)?);
        }
    }
    Ok((Response::Topics(Ok(topics)), throttle_ms))
}

fn decode(body: Body) -> Result<MetadataResponse, Misbehaved> {
    let shape = if body.version >= 13 { SHAPE_13 } else { SHAPE_12 };
    body.decode(shape)
}

fn describe_topic(
    topic: MetadataResponseTopic,
) -> Result<Result<TopicDescription, ErrorCode>, Misbehaved> {
    if let Some(code) = ErrorCode::from_number(topic.error_code) {
        return Ok(Err(code));
    }
    let nodes = |wire: Vec<BrokerId>| wire.into_iter().filter_map(sentinel::node).collect();
    let mut partitions = Vec::new();
    for wire in topic.partitions {
        partitions.push(PartitionDescription {
            partition: sentinel::partition(wire.partition_index)?,
            leader: leader(&wire),
            leader_epoch: sentinel::leader_epoch(wire.leader_epoch),
            replicas: nodes(wire.replica_nodes),
            in_sync: nodes(wire.isr_nodes),
            offline: nodes(wire.offline_replicas),
        });
    }
    partitions.sort_by_key(|partition| partition.partition);
    let id = TopicId(topic.topic_id.into_bytes());
    Ok(Ok(TopicDescription { id, is_internal: topic.is_internal, partitions }))
}

/// `LEADER_NOT_AVAILABLE` (5) and the like: the partition exists without a leader.
fn leader(partition: &MetadataResponsePartition) -> Option<NodeId> {
    sentinel::node(partition.leader_id).filter(|_| partition.error_code == 0)
}

fn read_topic(
    topic: MetadataResponseTopic,
) -> Result<Result<TopicMetadata, ErrorCode>, Misbehaved> {
    if let Some(code) = ErrorCode::from_number(topic.error_code) {
        return Ok(Err(code));
    }
    if topic.topic_id.is_nil() {
        // A topic without an id cannot be assigned by KIP-848; it has one from Kafka 2.8 on.
        return Ok(Err(ErrorCode::UnknownTopicId));
    }
    let mut partitions = BTreeMap::new();
    for partition in topic.partitions {
        let leader = leader(&partition);
        let leader_epoch = sentinel::leader_epoch(partition.leader_epoch);
        let index = sentinel::partition(partition.partition_index)?;
        partitions.insert(index, PartitionMetadata { leader, leader_epoch });
    }
    Ok(Ok(TopicMetadata { id: TopicId(topic.topic_id.into_bytes()), partitions }))
}

const BROKERS: Shape =
    Shape::Array(&[Shape::Fixed(4), Shape::Sized, Shape::Fixed(4), Shape::Sized, Shape::Tags(&[])]);

const TOPICS: Shape = Shape::Array(&[
    Shape::Fixed(2),
    Shape::Sized,
    Shape::Fixed(17),
    Shape::Array(&[
        Shape::Fixed(14),
        Shape::Array(&[Shape::Fixed(4)]),
        Shape::Array(&[Shape::Fixed(4)]),
        Shape::Array(&[Shape::Fixed(4)]),
        Shape::Tags(&[]),
    ]),
    Shape::Fixed(4),
    Shape::Tags(&[]),
]);

const SHAPE_12: &[Shape] =
    &[Shape::Fixed(4), BROKERS, Shape::Sized, Shape::Fixed(4), TOPICS, Shape::Tags(&[])];

const SHAPE_13: &[Shape] = &[
    Shape::Fixed(4),
    BROKERS,
    Shape::Sized,
    Shape::Fixed(4),
    TOPICS,
    Shape::Fixed(2),
    Shape::Tags(&[]),
];
