//! `ListOffsets` (key 2), by topic name. Timestamps -2 and -1 ask for the earliest and the latest
//! offset; an answered offset of -1 means that no record is that young.

use super::shape::Shape;
use super::{Body, sentinel};
use crate::record::Chunk;
use evenkeel_core::request::{ListOffset, ListedOffset, OffsetAt, Response, TopicNames};
use evenkeel_core::{Isolation, Misbehaved};
use evenkeel_spec::words::{ErrorCode, TopicIdPartition};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, ListOffsetsResponse};
use std::collections::BTreeMap;

/// A replica id of -1 is a consumer.
pub(super) fn request(
    partitions: &BTreeMap<TopicIdPartition, ListOffset>,
    isolation: Isolation,
    names: &TopicNames,
) -> ListOffsetsRequest {
    let wire = partitions.iter().map(|(partition, asked)| {
        let timestamp = match asked.at {
            OffsetAt::Earliest => -2,
            OffsetAt::Latest => -1,
            OffsetAt::Timestamp(ms) => i64::try_from(ms).unwrap_or(i64::MAX),
        };
        let wire = ListOffsetsPartition::default()
            .with_partition_index(sentinel::wire_partition(partition.partition))
            .with_current_leader_epoch(sentinel::wire_leader_epoch(asked.leader_epoch))
            .with_timestamp(timestamp);
        (partition.topic, wire)
    });
    let topics = sentinel::by_topic(wire, names).into_iter().map(|(name, partitions)| {
        ListOffsetsTopic::default()
            .with_name(sentinel::wire_topic(name))
            .with_partitions(partitions)
    });
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(sentinel::wire_isolation(isolation))
        .with_topics(topics.collect())
}

pub(super) fn response(
    body: Body,
    names: &TopicNames,
) -> Result<(Response<Chunk>, i32), Misbehaved> {
    let answer: ListOffsetsResponse = body.decode(SHAPE)?;
    let mut offsets = BTreeMap::new();
    for topic in &answer.topics {
        let id = sentinel::asked_topic(&topic.name, names)?;
        for partition in &topic.partitions {
            let index = sentinel::partition(partition.partition_index)?;
            offsets.insert(TopicIdPartition::new(id, index), listed(partition));
        }
    }
    Ok((Response::ListOffsets(offsets), answer.throttle_time_ms))
}

fn listed(partition: &ListOffsetsPartitionResponse) -> Result<Option<ListedOffset>, ErrorCode> {
    match ErrorCode::from_number(partition.error_code) {
        Some(code) => Err(code),
        None => Ok(sentinel::offset(partition.offset).map(|offset| ListedOffset {
            offset,
            leader_epoch: sentinel::leader_epoch(partition.leader_epoch),
            timestamp_ms: (partition.timestamp >= 0).then_some(partition.timestamp),
        })),
    }
}

const SHAPE: &[Shape] = &[
    Shape::Fixed(4),
    Shape::Array(&[
        Shape::Sized,
        Shape::Array(&[Shape::Fixed(26), Shape::Tags(&[])]),
        Shape::Tags(&[]),
    ]),
    Shape::Tags(&[]),
];
