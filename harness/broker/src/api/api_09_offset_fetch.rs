//! `OffsetFetch` (key 9): translates a look at committed offsets for the coordinator's brain, of one
//! group (to version 7) or of several. A topic that does not exist has no offset; that is no error.

use super::{Api, Call};
use crate::hook::{AnswerWords, RequestWords};
use crate::state::State;
use crate::wire;
use evenkeel_spec::words::{
    Committed, ErrorCode, GroupId, LeaderEpoch, OffsetFetch as FetchWords, OffsetFetched,
    Partitions, TopicId, TopicName,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{ApiKey, OffsetFetchRequest, OffsetFetchResponse};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

/// From this version on a request asks for several groups.
const FIRST_WITH_GROUPS: i16 = 8;
/// From this version on there is an error for the whole answer.
const FIRST_WITH_ERROR: i16 = 2;

pub(super) struct OffsetFetch;

impl Api for OffsetFetch {
    const KEY: ApiKey = ApiKey::OffsetFetch;
    type Request = OffsetFetchRequest;
    type Response = OffsetFetchResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: OffsetFetchRequest,
    ) -> Option<OffsetFetchResponse> {
        let mut state = call.state();
        let mut last = None;
        let respond = |asked: &OffsetFetchRequestGroup| {
            let fetched = fetch(&mut state, call, asked);
            let response = respond(&state, asked, &fetched);
            last = Some(fetched);
            response
        };
        let groups: Vec<_> = groups(&request, call.version).iter().map(respond).collect();
        drop(state);
        call.answered = last.filter(|_| groups.len() == 1).map(AnswerWords::OffsetFetch);
        Some(shape(groups, call.version))
    }

    fn refuse(request: &OffsetFetchRequest, version: i16, error: ErrorCode) -> OffsetFetchResponse {
        let refused = groups(request, version).into_iter().map(|asked| {
            OffsetFetchResponseGroup::default()
                .with_group_id(asked.group_id)
                .with_error_code(error.number())
        });
        shape(refused.collect(), version)
    }

    fn throttle(response: &mut OffsetFetchResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }

    fn words(call: &Call<'_>, request: &OffsetFetchRequest) -> Option<RequestWords> {
        let groups = groups(request, call.version);
        let [asked] = &groups[..] else { return None };
        let group = wire::group_id(&asked.group_id);
        let words = words(&mut call.state(), &group, asked);
        Some(RequestWords::OffsetFetch(group, words))
    }

    fn refusal_words(error: ErrorCode) -> Option<AnswerWords> {
        Some(AnswerWords::OffsetFetch(Err(error)))
    }
}

/// What is asked of each group, in the newer shape.
fn groups(request: &OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= FIRST_WITH_GROUPS {
        return request.groups.clone();
    }
    let topics = request.topics.as_ref().map(|topics| {
        let topic = |topic: &kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name.clone())
                .with_partition_indexes(topic.partition_indexes.clone())
        };
        topics.iter().map(topic).collect()
    });
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(request.group_id.clone())
        .with_member_epoch(-1)
        .with_topics(topics);
    vec![group]
}

fn fetch(state: &mut State, call: &Call<'_>, asked: &OffsetFetchRequestGroup) -> OffsetFetched {
    let group = wire::group_id(&asked.group_id);
    state.coordinates(call.node, &group)?;
    let words = words(state, &group, asked);
    state.on_offset_fetch(&group, &words)
}

fn words(state: &mut State, group: &GroupId, asked: &OffsetFetchRequestGroup) -> FetchWords {
    let partitions = asked.topics.as_ref().map(|topics| {
        let mut partitions = Partitions::new();
        for topic in topics {
            let id = state.id_of(&wire::topic_name(&topic.name));
            let indexes = topic.partition_indexes.iter();
            partitions.extend(indexes.filter_map(|&index| wire::partition_of(id, index)));
        }
        partitions
    });
    let member_id = asked.member_id.as_ref().filter(|_| asked.member_epoch >= 0);
    let owner = member_id.and_then(|member_id| {
        let members = &mut state.group_mut(group).members;
        wire::owner(members, member_id, asked.member_epoch)
    });
    FetchWords { owner, partitions }
}

fn respond(
    state: &State,
    asked: &OffsetFetchRequestGroup,
    fetched: &OffsetFetched,
) -> OffsetFetchResponseGroup {
    let response = OffsetFetchResponseGroup::default().with_group_id(asked.group_id.clone());
    let offsets = match fetched {
        Ok(offsets) => offsets,
        Err(error) => return response.with_error_code(error.number()),
    };
    let Some(topics) = &asked.topics else {
        let mut topics = BTreeMap::<TopicId, Vec<_>>::new();
        for (at, committed) in offsets {
            let partition = partition(at.partition.cast_signed(), committed.as_ref());
            topics.entry(at.topic).or_default().push(partition);
        }
        let named = topics.into_iter().filter_map(|(id, partitions)| {
            let name: &TopicName = state.name_of(id)?; // a deleted topic's offsets are not shown
            let topic = OffsetFetchResponseTopics::default().with_name(wire::wire_name(name));
            Some(topic.with_partitions(partitions))
        });
        return response.with_topics(named.collect());
    };
    let topics = topics.iter().map(|topic| {
        let id = state.id_of(&wire::topic_name(&topic.name));
        let partitions = topic.partition_indexes.iter().map(|&index| {
            let at = wire::partition_of(id, index);
            partition(index, at.and_then(|at| offsets.get(&at)?.as_ref()))
        });
        OffsetFetchResponseTopics::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name.clone())
    });
    response.with_topics(topics.collect())
}

fn partition(index: i32, committed: Option<&Committed>) -> OffsetFetchResponsePartitions {
    let response = OffsetFetchResponsePartitions::default().with_partition_index(index);
    match committed {
        None => response
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(StrBytes::default())),
        Some(committed) => {
            let epoch = committed.leader_epoch.map_or(-1, |LeaderEpoch(e)| e.cast_signed());
            response
                .with_committed_offset(wire::wire_offset(committed.offset.0))
                .with_committed_leader_epoch(epoch)
                .with_metadata(Some(wire::text(&committed.metadata)))
        }
    }
}

/// The answer in the version's shape.
fn shape(groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    if version >= FIRST_WITH_GROUPS {
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let Some(group) = groups.into_iter().next() else { return OffsetFetchResponse::default() };
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|p| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_committed_offset(p.committed_offset)
                .with_committed_leader_epoch(p.committed_leader_epoch)
                .with_metadata(p.metadata)
                .with_error_code(if version < FIRST_WITH_ERROR { group.error_code } else { 0 })
        });
        OffsetFetchResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    });
    OffsetFetchResponse::default().with_topics(topics.collect()).with_error_code(group.error_code)
}
