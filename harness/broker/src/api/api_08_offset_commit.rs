//! `OffsetCommit` (key 8): translates a commit for the coordinator's brain. Topics that do not exist
//! are sorted out here, as Kafka does it (`KafkaApis.handleOffsetCommitRequest`).

use super::{Api, Call};
use crate::hook::{AnswerWords, RequestWords};
use crate::state::State;
use crate::wire;
use evenkeel_spec::words::{
    ErrorCode, GroupId, OffsetCommit as CommitWords, OffsetsCommitted, TopicIdPartition,
};
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{ApiKey, OffsetCommitRequest, OffsetCommitResponse};

/// Members of the consumer protocol may commit from this version on (KIP-848).
const FIRST_WITH_MEMBER_EPOCH: i16 = 9;

pub(super) struct OffsetCommit;

impl Api for OffsetCommit {
    const KEY: ApiKey = ApiKey::OffsetCommit;
    type Request = OffsetCommitRequest;
    type Response = OffsetCommitResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: OffsetCommitRequest,
    ) -> Option<OffsetCommitResponse> {
        let group = wire::group_id(&request.group_id);
        let (response, committed) = call.shared.change(|state| {
            let committed = commit(state, call, &group, &request);
            let result = |topic: &_, partition: &OffsetCommitRequestPartition| {
                let topic = state.id_of(&wire::topic_name(topic));
                let at = wire::partition_of(topic, partition.partition_index);
                // As in `KafkaApis.handleOffsetCommitRequest` (4.3.1), the group is not asked for it.
                let Some(at) = at else { return Some(ErrorCode::UnknownTopicOrPartition) };
                let Ok(results) = &committed else { return committed.as_ref().err().copied() };
                if partition.committed_offset < 0 {
                    return Some(ErrorCode::InvalidRequest);
                }
                results.get(&at).and_then(|result| result.err())
            };
            (respond(&request, result), committed)
        });
        call.answered = Some(AnswerWords::OffsetCommit(committed));
        Some(response)
    }

    fn refuse(request: &OffsetCommitRequest, _: i16, error: ErrorCode) -> OffsetCommitResponse {
        respond(request, |_, _| Some(error))
    }

    fn throttle(response: &mut OffsetCommitResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }

    fn words(call: &Call<'_>, request: &OffsetCommitRequest) -> Option<RequestWords> {
        let group = wire::group_id(&request.group_id);
        let words = words(&mut call.state(), &group, request);
        Some(RequestWords::OffsetCommit(group, words))
    }

    fn refusal_words(error: ErrorCode) -> Option<AnswerWords> {
        Some(AnswerWords::OffsetCommit(Err(error)))
    }
}

fn commit(
    state: &mut State,
    call: &Call<'_>,
    group: &GroupId,
    request: &OffsetCommitRequest,
) -> OffsetsCommitted {
    state.coordinates(call.node, group)?;
    let words = words(state, group, request);
    if let Some(owner) = words.owner.filter(|_| call.version < FIRST_WITH_MEMBER_EPOCH) {
        let description = state.group_mut(group).brain.describe();
        if description.members.contains_key(&owner.member) {
            return Err(ErrorCode::UnsupportedVersion);
        }
    }
    state.on_offset_commit(group, &words)
}

/// The request in the protocol's words, without unknown topics and offsets that are none.
fn words(state: &mut State, group: &GroupId, request: &OffsetCommitRequest) -> CommitWords {
    let mut offsets = std::collections::BTreeMap::new();
    for topic in &request.topics {
        let id = state.id_of(&wire::topic_name(&topic.name));
        for partition in &topic.partitions {
            let at: Option<TopicIdPartition> = wire::partition_of(id, partition.partition_index);
            if let (Some(at), Some(committed)) = (at, wire::committed(partition)) {
                offsets.insert(at, committed);
            }
        }
    }
    let members = &mut state.group_mut(group).members;
    let owner = wire::owner(members, &request.member_id, request.generation_id_or_member_epoch);
    CommitWords { owner, offsets }
}

fn respond(
    request: &OffsetCommitRequest,
    result: impl Fn(
        &kafka_protocol::messages::TopicName,
        &OffsetCommitRequestPartition,
    ) -> Option<ErrorCode>,
) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(result(&topic.name, partition).map_or(0, ErrorCode::number))
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}
