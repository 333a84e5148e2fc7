//! `OffsetCommit` (key 8). Version 9 goes by topic name and has no error for the whole answer.

use super::shape::Shape;
use super::{Body, sentinel};
use crate::record::Chunk;
use evenkeel_core::Misbehaved;
use evenkeel_core::request::{Response, TopicNames};
use evenkeel_spec::words::{Committed, Epoch, ErrorCode, GroupId, TopicIdPartition};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

/// Without membership: an empty member id and epoch -1.
pub(super) fn request(
    group: &GroupId,
    owner: Option<(StrBytes, Epoch)>,
    offsets: &BTreeMap<TopicIdPartition, Committed>,
    names: &TopicNames,
) -> OffsetCommitRequest {
    let (member, epoch) =
        owner.map_or((StrBytes::new(), -1), |(name, epoch)| (name, sentinel::wire_epoch(epoch)));
    let partitions = offsets.iter().map(|(partition, committed)| {
        let wire = OffsetCommitRequestPartition::default()
            .with_partition_index(sentinel::wire_partition(partition.partition))
            .with_committed_offset(sentinel::wire_offset(committed.offset))
            .with_committed_leader_epoch(sentinel::wire_leader_epoch(committed.leader_epoch))
            .with_committed_metadata(Some(sentinel::text(&committed.metadata)));
        (partition.topic, wire)
    });
    let topics = sentinel::by_topic(partitions, names).into_iter().map(|(name, partitions)| {
        OffsetCommitRequestTopic::default()
            .with_name(sentinel::wire_topic(name))
            .with_partitions(partitions)
    });
    OffsetCommitRequest::default()
        .with_group_id(sentinel::text(group.as_str()).into())
        .with_member_id(member)
        .with_generation_id_or_member_epoch(epoch)
        .with_topics(topics.collect())
}

pub(super) fn response(
    body: Body,
    names: &TopicNames,
) -> Result<(Response<Chunk>, i32), Misbehaved> {
    let answer: OffsetCommitResponse = body.decode(SHAPE)?;
    let mut results = BTreeMap::new();
    for topic in &answer.topics {
        let id = sentinel::asked_topic(&topic.name, names)?;
        for partition in &topic.partitions {
            let index = sentinel::partition(partition.partition_index)?;
            let result = ErrorCode::from_number(partition.error_code).map_or(Ok(()), Err);
            results.insert(TopicIdPartition::new(id, index), result);
        }
    }
    Ok((Response::OffsetCommit(whole_or_parts(results)), answer.throttle_time_ms))
}

/// The broker repeats an error that concerns the whole request at every partition
/// (`OffsetCommitRequest.getErrorResponse`, Kafka 4.3.1) but those that it refuses for themselves
/// before it asks the coordinator, such as topics that it does not know
/// (`KafkaApis.handleOffsetCommitRequest`, 4.3.1); it becomes one again.
fn whole_or_parts(
    results: BTreeMap<TopicIdPartition, Result<(), ErrorCode>>,
) -> evenkeel_spec::words::OffsetsCommitted {
    let mut errors = results.values().filter_map(|result| result.err());
    errors.find(|code| is_of_whole_request(*code)).map_or(Ok(results), Err)
}

/// Whether a code speaks of the group or its coordinator rather than of a partition.
fn is_of_whole_request(code: ErrorCode) -> bool {
    use ErrorCode::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, FencedInstanceId, FencedMemberEpoch,
        GroupAuthorizationFailed, GroupIdNotFound, IllegalGeneration, InvalidGroupId,
        NotCoordinator, RebalanceInProgress, StaleMemberEpoch, UnknownMemberId, UnsupportedVersion,
    };
    matches!(
        code,
        CoordinatorLoadInProgress
            | CoordinatorNotAvailable
            | FencedInstanceId
            | FencedMemberEpoch
            | GroupAuthorizationFailed
            | GroupIdNotFound
            | IllegalGeneration
            | InvalidGroupId
            | NotCoordinator
            | RebalanceInProgress
            | StaleMemberEpoch
            | UnknownMemberId
            | UnsupportedVersion
    )
}

const SHAPE: &[Shape] = &[
    Shape::Fixed(4),
    Shape::Array(&[
        Shape::Sized,
        Shape::Array(&[Shape::Fixed(6), Shape::Tags(&[])]),
        Shape::Tags(&[]),
    ]),
    Shape::Tags(&[]),
];
