//! `ListOffsets` (key 2): the log's start and end, the greatest timestamp, or the first offset at
//! or after a time. Inside of a compressed batch the first record stands for all.

use super::{Api, Call, known_epoch};
use crate::state::State;
use crate::wire;
use evenkeel_spec::words::{ErrorCode, NodeId, TopicName};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ApiKey, ListOffsetsRequest, ListOffsetsResponse};

/// The wire's timestamps that are none (`ListOffsetsRequest` of Apache Kafka 4.3.1).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const GREATEST_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

pub(super) struct ListOffsets;

impl Api for ListOffsets {
    const KEY: ApiKey = ApiKey::ListOffsets;
    type Request = ListOffsetsRequest;
    type Response = ListOffsetsResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: ListOffsetsRequest,
    ) -> Option<ListOffsetsResponse> {
        let mut state = call.state();
        let topics = request.topics.iter().map(|topic| {
            let name = wire::topic_name(&topic.name);
            let partitions = topic.partitions.iter().map(|asked| {
                look_up(&mut state, call.node, &name, asked)
                    .unwrap_or_else(|error| refused(asked.partition_index, error))
            });
            ListOffsetsTopicResponse::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name.clone())
        });
        Some(ListOffsetsResponse::default().with_topics(topics.collect()))
    }

    fn refuse(request: &ListOffsetsRequest, _: i16, error: ErrorCode) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| refused(p.partition_index, error));
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn throttle(response: &mut ListOffsetsResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

fn look_up(
    state: &mut State,
    node: NodeId,
    name: &TopicName,
    asked: &ListOffsetsPartition,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    let epoch = known_epoch(asked.current_leader_epoch);
    let partition = state.led(node, name, asked.partition_index, epoch)?;
    let log = &partition.log;
    let found = match asked.timestamp {
        LATEST => Some((log.end(), -1)),
        EARLIEST | EARLIEST_LOCAL => Some((log.start(), -1)),
        GREATEST_TIMESTAMP => log.greatest_timestamp(),
        LATEST_TIERED => None,
        timestamp if timestamp < 0 => return Err(ErrorCode::InvalidRequest),
        timestamp => log.first_at_or_after(timestamp),
    };
    let response =
        ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
    Ok(match found {
        None => response.with_offset(-1).with_timestamp(-1),
        Some((offset, timestamp)) => response
            .with_offset(wire::wire_offset(offset))
            .with_timestamp(timestamp)
            .with_leader_epoch(log.epoch_at(offset).map_or(-1, u32::cast_signed)),
    })
}

fn refused(index: i32, error: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(error.number())
        .with_offset(-1)
        .with_timestamp(-1)
}
