//! `DescribeTopicPartitions` (key 75): topics by pages. Replicas that are alive are in sync.
//!
//! Source: `DescribeTopicPartitionsRequestHandler` of Apache Kafka 4.3.1.

use super::api_03_metadata::{in_sync, leader_error, offline};
use super::{Api, Call};
use crate::state::{Partition, State};
use crate::wire;
use evenkeel_spec::words::{ErrorCode, TopicName};
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use std::collections::BTreeSet;

/// Partitions of one answer at most: Kafka's `max.request.partition.size.limit`.
const PAGE_MAX: usize = 2_000;

pub(super) struct DescribeTopicPartitions;

impl Api for DescribeTopicPartitions {
    const KEY: ApiKey = ApiKey::DescribeTopicPartitions;
    type Request = DescribeTopicPartitionsRequest;
    type Response = DescribeTopicPartitionsResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: DescribeTopicPartitionsRequest,
    ) -> Option<DescribeTopicPartitionsResponse> {
        let state = call.state();
        let mut names: BTreeSet<TopicName> =
            request.topics.iter().map(|topic| wire::topic_name(&topic.name)).collect();
        if names.is_empty() {
            names = state.topics.keys().cloned().collect();
        }
        let from = request.cursor.as_ref().map(|cursor| {
            let index = usize::try_from(cursor.partition_index).unwrap_or(0);
            (wire::topic_name(&cursor.topic_name), index)
        });
        let asked = usize::try_from(request.response_partition_limit).unwrap_or(0);
        Some(page(&state, &names, from.as_ref(), asked.clamp(1, PAGE_MAX)))
    }

    fn refuse(
        request: &DescribeTopicPartitionsRequest,
        _: i16,
        error: ErrorCode,
    ) -> DescribeTopicPartitionsResponse {
        let names = request.topics.iter().map(|topic| wire::topic_name(&topic.name));
        let topics = names.map(|name| failed(&name, error));
        DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
    }

    fn throttle(response: &mut DescribeTopicPartitionsResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

/// At most `limit` partitions of `names` (in their order) from the cursor `from` on.
fn page(
    state: &State,
    names: &BTreeSet<TopicName>,
    from: Option<&(TopicName, usize)>,
    limit: usize,
) -> DescribeTopicPartitionsResponse {
    let mut left = limit;
    let mut topics = Vec::new();
    for name in names.iter().filter(|name| from.is_none_or(|(first, _)| *name >= first)) {
        let start = from.filter(|(first, _)| first == name).map_or(0, |&(_, index)| index);
        let Some(topic) = state.topics.get(name) else {
            topics.push(failed(name, ErrorCode::UnknownTopicOrPartition));
            continue;
        };
        if left == 0 {
            return DescribeTopicPartitionsResponse::default()
                .with_topics(topics)
                .with_next_cursor(Some(cursor(name, 0)));
        }
        let all = topic.partitions.iter().enumerate().skip(start);
        let partitions: Vec<_> =
            all.take(left).map(|(index, p)| partition(state, index, p)).collect();
        left -= partitions.len();
        let next = start + partitions.len();
        topics.push(
            DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(wire::wire_name(name)))
                .with_topic_id(wire::wire_id(topic.id))
                .with_partitions(partitions),
        );
        if next < topic.partitions.len() {
            return DescribeTopicPartitionsResponse::default()
                .with_topics(topics)
                .with_next_cursor(Some(cursor(name, next)));
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(topics)
}

fn cursor(name: &TopicName, index: usize) -> Cursor {
    Cursor::default()
        .with_topic_name(wire::wire_name(name))
        .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
}

fn partition(
    state: &State,
    index: usize,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(leader_error(partition))
        .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
        .with_leader_id(wire::wire_node(partition.leader))
        .with_leader_epoch(partition.leader_epoch.cast_signed())
        .with_replica_nodes(wire::wire_nodes(&partition.replicas))
        .with_isr_nodes(in_sync(state, partition))
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
        .with_offline_replicas(offline(state, partition))
}

fn failed(name: &TopicName, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(wire::wire_name(name)))
        .with_error_code(error.number())
}
