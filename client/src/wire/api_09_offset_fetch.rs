//! `OffsetFetch` (key 9) of one group, stable offsets only (KIP-447). Version 9 goes by topic name;
//! an offset of -1 means that nothing is committed.

use super::shape::Shape;
use super::{Body, malformed, sentinel};
use crate::record::Chunk;
use evenkeel_core::Misbehaved;
use evenkeel_core::request::{Response, TopicNames};
use evenkeel_spec::words::{Committed, Epoch, ErrorCode, GroupId, Partitions, TopicIdPartition};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponsePartitions;
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

/// Without membership: a null member id and epoch -1.
pub(super) fn request(
    group: &GroupId,
    owner: Option<(StrBytes, Epoch)>,
    partitions: Option<&Partitions>,
    names: &TopicNames,
) -> OffsetFetchRequest {
    let (member, epoch) =
        owner.map_or((None, -1), |(name, epoch)| (Some(name), sentinel::wire_epoch(epoch)));
    let topics = partitions.map(|partitions| {
        let wire = |p: &TopicIdPartition| (p.topic, sentinel::wire_partition(p.partition));
        sentinel::by_topic(partitions.iter().map(wire), names)
            .into_iter()
            .map(|(name, indexes)| {
                OffsetFetchRequestTopics::default()
                    .with_name(sentinel::wire_topic(name))
                    .with_partition_indexes(indexes)
            })
            .collect()
    });
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(sentinel::text(group.as_str()).into())
        .with_member_id(member)
        .with_member_epoch(epoch)
        .with_topics(topics);
    OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true)
}

pub(super) fn response(
    body: Body,
    group: &GroupId,
    names: &TopicNames,
) -> Result<(Response<Chunk>, i32), Misbehaved> {
    let answer: OffsetFetchResponse = body.decode(SHAPE)?;
    let throttle_ms = answer.throttle_time_ms;
    let of_group = answer.groups.iter().find(|found| found.group_id.as_str() == group.as_str());
    let found = of_group.ok_or_else(|| malformed("no offsets of the group asked for"))?;
    if let Some(code) = ErrorCode::from_number(found.error_code) {
        return Ok((Response::OffsetFetch(Err(code)), throttle_ms));
    }
    let mut offsets = BTreeMap::new();
    for topic in &found.topics {
        let id = sentinel::asked_topic(&topic.name, names)?;
        for partition in &topic.partitions {
            let index = sentinel::partition(partition.partition_index)?;
            offsets.insert(TopicIdPartition::new(id, index), committed(partition));
        }
    }
    Ok((Response::OffsetFetch(Ok(offsets)), throttle_ms))
}

fn committed(partition: &OffsetFetchResponsePartitions) -> Result<Option<Committed>, ErrorCode> {
    match ErrorCode::from_number(partition.error_code) {
        Some(code) => Err(code),
        None => Ok(sentinel::offset(partition.committed_offset).map(|offset| Committed {
            offset,
            leader_epoch: sentinel::leader_epoch(partition.committed_leader_epoch),
            metadata: partition.metadata.as_deref().unwrap_or_default().into(),
        })),
    }
}

const SHAPE: &[Shape] = &[
    Shape::Fixed(4),
    Shape::Array(&[
        Shape::Sized,
        Shape::Array(&[
            Shape::Sized,
            Shape::Array(&[Shape::Fixed(16), Shape::Sized, Shape::Fixed(2), Shape::Tags(&[])]),
            Shape::Tags(&[]),
        ]),
        Shape::Fixed(2),
        Shape::Tags(&[]),
    ]),
    Shape::Tags(&[]),
];
