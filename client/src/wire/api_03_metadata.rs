//! `Metadata` (key 3): brokers, and topics by name. Never creates a topic.

use super::shape::Shape;
use super::{Body, sentinel};
use crate::record::Chunk;
use evenkeel_core::Misbehaved;
use evenkeel_core::request::{Metadata, PartitionMetadata, Response, TopicMetadata};
use evenkeel_spec::words::{ErrorCode, TopicId, TopicName};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use std::collections::{BTreeMap, BTreeSet};

/// No topics is an empty list; null would be all of them.
pub(super) fn request(topics: Option<&BTreeSet<TopicName>>) -> MetadataRequest {
    let topics = topics
        .into_iter()
        .flatten()
        .map(|name| MetadataRequestTopic::default().with_name(Some(sentinel::wire_topic(name))));
    MetadataRequest::default()
        .with_topics(Some(topics.collect()))
        .with_allow_auto_topic_creation(false)
}

pub(super) fn response(body: Body) -> Result<(Response<Chunk>, i32), Misbehaved> {
    let shape = if body.version >= 13 { SHAPE_13 } else { SHAPE_12 };
    let answer: MetadataResponse = body.decode(shape)?;
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
        // LEADER_NOT_AVAILABLE (5) and the like: the partition exists without a leader.
        let leader = sentinel::node(partition.leader_id).filter(|_| partition.error_code == 0);
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
