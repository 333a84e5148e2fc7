//! `OffsetForLeaderEpoch` (key 23), by topic name. An epoch or an end of -1 means that the leader
//! does not know the epoch that was asked for.

use super::shape::Shape;
use super::{Body, sentinel};
use crate::record::Chunk;
use evenkeel_core::Misbehaved;
use evenkeel_core::request::{EpochEnd, EpochQuestion, Response, TopicNames};
use evenkeel_spec::words::{ErrorCode, TopicIdPartition};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::EpochEndOffset;
use kafka_protocol::messages::{
    BrokerId, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use std::collections::BTreeMap;

/// A replica id of -1 is a consumer.
pub(super) fn request(
    partitions: &BTreeMap<TopicIdPartition, EpochQuestion>,
    names: &TopicNames,
) -> OffsetForLeaderEpochRequest {
    let wire = partitions.iter().map(|(partition, asked)| {
        let wire = OffsetForLeaderPartition::default()
            .with_partition(sentinel::wire_partition(partition.partition))
            .with_current_leader_epoch(sentinel::wire_leader_epoch(Some(asked.current)))
            .with_leader_epoch(sentinel::wire_leader_epoch(Some(asked.leader_epoch)));
        (partition.topic, wire)
    });
    let topics = sentinel::by_topic(wire, names).into_iter().map(|(name, partitions)| {
        OffsetForLeaderTopic::default()
            .with_topic(sentinel::wire_topic(name))
            .with_partitions(partitions)
    });
    OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(topics.collect())
}

pub(super) fn response(
    body: Body,
    names: &TopicNames,
) -> Result<(Response<Chunk>, i32), Misbehaved> {
    let answer: OffsetForLeaderEpochResponse = body.decode(SHAPE)?;
    let mut ends = BTreeMap::new();
    for topic in &answer.topics {
        let id = sentinel::asked_topic(&topic.topic, names)?;
        for partition in &topic.partitions {
            let index = sentinel::partition(partition.partition)?;
            ends.insert(TopicIdPartition::new(id, index), end(partition));
        }
    }
    Ok((Response::OffsetForLeaderEpoch(ends), answer.throttle_time_ms))
}

fn end(partition: &EpochEndOffset) -> Result<Option<EpochEnd>, ErrorCode> {
    if let Some(code) = ErrorCode::from_number(partition.error_code) {
        return Err(code);
    }
    let leader_epoch = sentinel::leader_epoch(partition.leader_epoch);
    let offset = sentinel::offset(partition.end_offset);
    let known = leader_epoch.zip(offset);
    Ok(known.map(|(leader_epoch, offset)| EpochEnd { leader_epoch, offset }))
}

/// Version 4.
const SHAPE: &[Shape] = &[
    Shape::Fixed(4),
    Shape::Array(&[
        Shape::Sized,
        Shape::Array(&[Shape::Fixed(18), Shape::Tags(&[])]),
        Shape::Tags(&[]),
    ]),
    Shape::Tags(&[]),
];
