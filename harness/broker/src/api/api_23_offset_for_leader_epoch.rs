//! `OffsetForLeaderEpoch` (key 23): where a leader epoch ended, so that a consumer can tell
//! whether its position was truncated away (KIP-320).

use super::{Api, Call, known_epoch};
use crate::state::State;
use crate::wire;
use evenkeel_spec::words::{ErrorCode, NodeId, TopicName};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    ApiKey, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

pub(super) struct OffsetForLeaderEpoch;

impl Api for OffsetForLeaderEpoch {
    const KEY: ApiKey = ApiKey::OffsetForLeaderEpoch;
    type Request = OffsetForLeaderEpochRequest;
    type Response = OffsetForLeaderEpochResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: OffsetForLeaderEpochRequest,
    ) -> Option<OffsetForLeaderEpochResponse> {
        let mut state = call.state();
        let topics = request.topics.iter().map(|topic| {
            let name = wire::topic_name(&topic.topic);
            let partitions = topic.partitions.iter().map(|asked| {
                look_up(&mut state, call.node, &name, asked)
                    .unwrap_or_else(|error| failed(asked.partition, error))
            });
            OffsetForLeaderTopicResult::default()
                .with_partitions(partitions.collect())
                .with_topic(topic.topic.clone())
        });
        Some(OffsetForLeaderEpochResponse::default().with_topics(topics.collect()))
    }

    fn refuse(
        request: &OffsetForLeaderEpochRequest,
        _: i16,
        error: ErrorCode,
    ) -> OffsetForLeaderEpochResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| failed(p.partition, error));
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions.collect())
        });
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
    }

    fn throttle(response: &mut OffsetForLeaderEpochResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

fn look_up(
    state: &mut State,
    node: NodeId,
    name: &TopicName,
    asked: &OffsetForLeaderPartition,
) -> Result<EpochEndOffset, ErrorCode> {
    let epoch = known_epoch(asked.current_leader_epoch);
    let partition = state.led(node, name, asked.partition, epoch)?;
    let response = EpochEndOffset::default().with_partition(asked.partition);
    // An epoch beyond the leader's is not known: -1, -1.
    let asked = known_epoch(asked.leader_epoch);
    Ok(match asked.and_then(|epoch| partition.log.epoch_end(epoch)) {
        None => response.with_leader_epoch(-1).with_end_offset(-1),
        Some((epoch, end)) => response
            .with_leader_epoch(epoch.cast_signed())
            .with_end_offset(wire::wire_offset(end)),
    })
}

fn failed(partition: i32, error: ErrorCode) -> EpochEndOffset {
    EpochEndOffset::default()
        .with_partition(partition)
        .with_error_code(error.number())
        .with_leader_epoch(-1)
        .with_end_offset(-1)
}
