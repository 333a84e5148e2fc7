//! `ConsumerGroupHeartbeat` (key 68, KIP-848). Epoch 0 joins, -1 leaves; a null list and a timeout
//! of -1 mean "unchanged", and so does a null expression; an empty one means "none".

use super::shape::Shape;
use super::{Body, malformed, sentinel};
use crate::record::Chunk;
use evenkeel_core::Misbehaved;
use evenkeel_core::request::Response;
use evenkeel_spec::words::{
    Assignor, Epoch, ErrorCode, GroupId, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, Partitions,
    Pattern, TopicId, TopicIdPartition,
};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use uuid::Uuid;

pub(super) fn request(
    group: &GroupId,
    member: StrBytes,
    heartbeat: &Heartbeat,
) -> ConsumerGroupHeartbeatRequest {
    let topics = heartbeat
        .subscription
        .as_ref()
        .map(|topics| topics.iter().map(sentinel::wire_topic).collect());
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(sentinel::text(group.as_str()).into())
        .with_member_id(member)
        .with_member_epoch(match heartbeat.epoch {
            HeartbeatEpoch::Join => 0,
            HeartbeatEpoch::Stay(epoch) => sentinel::wire_epoch(epoch),
            HeartbeatEpoch::Leave => -1,
        })
        .with_rebalance_timeout_ms(heartbeat.rebalance_timeout_ms.map_or(-1, sentinel::wire_number))
        .with_subscribed_topic_names(topics)
        .with_subscribed_topic_regex(heartbeat.pattern.as_ref().map(|pattern| match pattern {
            Pattern::Matching(pattern) => sentinel::text(pattern),
            Pattern::Ended => StrBytes::default(),
        }))
        .with_server_assignor(heartbeat.assignor.as_ref().map(|assignor| match assignor {
            Assignor::Uniform => StrBytes::from_static_str("uniform"),
            Assignor::Range => StrBytes::from_static_str("range"),
            Assignor::Other(name) => sentinel::text(name),
        }))
        .with_topic_partitions(heartbeat.owned.as_ref().map(wire_partitions))
}

pub(super) fn response(body: Body) -> Result<(Response<Chunk>, i32), Misbehaved> {
    let answer: ConsumerGroupHeartbeatResponse = body.decode(SHAPE)?;
    let throttle_ms = answer.throttle_time_ms;
    if let Some(code) = ErrorCode::from_number(answer.error_code) {
        return Ok((Response::Heartbeat(Err(code)), throttle_ms));
    }
    let epoch = match answer.member_epoch {
        -1 => None,
        wire => match u32::try_from(wire) {
            Ok(epoch @ 1..) => Some(Epoch(epoch)),
            _ => return Err(malformed(format_args!("a member epoch of {wire}"))),
        },
    };
    let heartbeat_interval_ms = match u32::try_from(answer.heartbeat_interval_ms) {
        Ok(0) | Err(_) if epoch.is_some() => {
            let wire = answer.heartbeat_interval_ms;
            return Err(malformed(format_args!("a heartbeat interval of {wire} ms")));
        }
        Ok(interval_ms) => interval_ms,
        Err(_) => 0,
    };
    let mut assignment = None;
    if let Some(assigned) = answer.assignment {
        let mut partitions = Partitions::new();
        for topic in assigned.topic_partitions {
            let id = TopicId(topic.topic_id.into_bytes());
            for partition in topic.partitions {
                partitions.insert(TopicIdPartition::new(id, sentinel::partition(partition)?));
            }
        }
        assignment = Some(partitions);
    }
    let answer = HeartbeatAnswer { epoch, heartbeat_interval_ms, assignment };
    Ok((Response::Heartbeat(Ok(answer)), throttle_ms))
}

fn wire_partitions(owned: &Partitions) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for partition in owned {
        let index = sentinel::wire_partition(partition.partition);
        topics.entry(partition.topic).or_default().push(index);
    }
    let wire = |(topic, partitions): (TopicId, Vec<i32>)| {
        TopicPartitions::default()
            .with_topic_id(Uuid::from_bytes(topic.0))
            .with_partitions(partitions)
    };
    topics.into_iter().map(wire).collect()
}

const SHAPE: &[Shape] = &[
    Shape::Fixed(6),
    Shape::Sized,
    Shape::Sized,
    Shape::Fixed(8),
    Shape::Nullable(&[
        Shape::Array(&[Shape::Fixed(16), Shape::Array(&[Shape::Fixed(4)]), Shape::Tags(&[])]),
        Shape::Tags(&[]),
    ]),
    Shape::Tags(&[]),
];
