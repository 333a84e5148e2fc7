//! `ConsumerGroupDescribe` (key 69, KIP-848) of one group. A member epoch of -2 is a static member
//! that is away (KIP-848, "Static Membership").

use super::shape::Shape;
use super::{Body, malformed, sentinel};
use crate::record::Chunk;
use evenkeel_core::Misbehaved;
use evenkeel_core::request::{GroupDescription, MemberDescription, Response};
use evenkeel_spec::words::{Epoch, ErrorCode, GroupId, TopicName, TopicPartition};
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member,
};
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) fn request(group: &GroupId) -> ConsumerGroupDescribeRequest {
    let group = sentinel::text(group.as_str()).into();
    ConsumerGroupDescribeRequest::default().with_group_ids(vec![group])
}

pub(super) fn response(body: Body, group: &GroupId) -> Result<(Response<Chunk>, i32), Misbehaved> {
    let shape = shape(body.version);
    let answer: ConsumerGroupDescribeResponse = body.decode(shape)?;
    let throttle_ms = answer.throttle_time_ms;
    let mut groups = answer.groups.into_iter();
    let found = groups.find(|found| &*found.group_id.0 == group.as_str());
    let found = found.ok_or_else(|| malformed("no description of the group asked for"))?;
    let described = match ErrorCode::from_number(found.error_code) {
        Some(code) => Err(code),
        None => Ok(read_group(found)?),
    };
    Ok((Response::Group(described), throttle_ms))
}

fn read_group(wire: DescribedGroup) -> Result<GroupDescription, Misbehaved> {
    let mut members: Vec<_> =
        wire.members.into_iter().map(read_member).collect::<Result<_, _>>()?;
    members.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(GroupDescription {
        state: shared(&wire.group_state),
        epoch: epoch(wire.group_epoch)?,
        assignment_epoch: epoch(wire.assignment_epoch)?,
        assignor: shared(&wire.assignor_name),
        members,
    })
}

fn read_member(wire: Member) -> Result<MemberDescription, Misbehaved> {
    let names = wire.subscribed_topic_names.iter();
    let pattern = wire.subscribed_topic_regex.as_ref().filter(|pattern| !pattern.is_empty());
    Ok(MemberDescription {
        id: shared(&wire.member_id),
        instance: wire.instance_id.as_ref().map(shared),
        epoch: u32::try_from(wire.member_epoch).ok().map(Epoch),
        client_id: shared(&wire.client_id),
        client_host: shared(&wire.client_host),
        topics: names.map(|name| TopicName::from(name.as_str())).collect(),
        pattern: pattern.map(shared),
        assignment: read_partitions(wire.assignment)?,
        target: read_partitions(wire.target_assignment)?,
    })
}

fn read_partitions(wire: Assignment) -> Result<BTreeSet<TopicPartition>, Misbehaved> {
    let mut partitions = BTreeSet::new();
    for topic in wire.topic_partitions {
        let name = TopicName::from(topic.topic_name.as_str());
        for partition in topic.partitions {
            let partition = sentinel::partition(partition)?;
            partitions.insert(TopicPartition { topic: name.clone(), partition });
        }
    }
    Ok(partitions)
}

fn epoch(wire: i32) -> Result<Epoch, Misbehaved> {
    u32::try_from(wire).map(Epoch).map_err(|_| malformed(format_args!("a group epoch of {wire}")))
}

fn shared(text: &StrBytes) -> Arc<str> {
    text.as_str().into()
}

fn shape(version: i16) -> &'static [Shape] {
    if version >= 1 { SHAPE_1 } else { SHAPE_0 }
}

const ASSIGNMENT: &[Shape] =
    &[Shape::Fixed(16), Shape::Sized, Shape::Array(&[Shape::Fixed(4)]), Shape::Tags(&[])];

macro_rules! shape {
    ($($member_type:expr)?) => {
        &[
            Shape::Fixed(4),
            Shape::Array(&[
                Shape::Fixed(2),
                Shape::Sized,
                Shape::Sized,
                Shape::Sized,
                Shape::Fixed(8),
                Shape::Sized,
                Shape::Array(&[
                    Shape::Sized,
                    Shape::Sized,
                    Shape::Sized,
                    Shape::Fixed(4),
                    Shape::Sized,
                    Shape::Sized,
                    Shape::Array(&[Shape::Sized]),
                    Shape::Sized,
                    Shape::Array(ASSIGNMENT),
                    Shape::Tags(&[]),
                    Shape::Array(ASSIGNMENT),
                    Shape::Tags(&[]),
                    $($member_type,)?
                    Shape::Tags(&[]),
                ]),
                Shape::Fixed(4),
                Shape::Tags(&[]),
            ]),
            Shape::Tags(&[]),
        ]
    };
}

const SHAPE_0: &[Shape] = shape!();

/// With the member's type.
const SHAPE_1: &[Shape] = shape!(Shape::Fixed(1));
