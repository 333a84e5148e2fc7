//! `Fetch` (key 1): whole batches from an offset on; waits up to `max_wait_ms` for `min_bytes`.
//! Every answer is sessionless: session id 0 tells the client that no session was made (KIP-227).
//!
//! Source: `KafkaApis.handleFetchRequest`, `ReplicaManager.fetchMessages` of Apache Kafka 4.3.1.

use super::{Api, Call, known_epoch};
use crate::state::State;
use crate::wire;
use bytes::Bytes;
use evenkeel_spec::words::{ErrorCode, NodeId, TopicName};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest, FetchResponse};
use std::time::Duration;
use tokio::time::Instant;

/// From this version on topics are named by id.
const FIRST_BY_ID: i16 = 13;
/// From this version on an answer may tell a diverging epoch (KIP-595) and the leader.
const FIRST_WITH_LEADER: i16 = 12;
/// From this version on an answer may tell the nodes' addresses (KIP-951).
const FIRST_WITH_ENDPOINTS: i16 = 16;

pub(super) struct Fetch;

impl Api for Fetch {
    const KEY: ApiKey = ApiKey::Fetch;
    type Request = FetchRequest;
    type Response = FetchResponse;

    async fn answer(call: &mut Call<'_>, request: FetchRequest) -> Option<FetchResponse> {
        if let Some(error) = session_error(&request) {
            return Some(Self::refuse(&request, call.version, error));
        }
        let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
        let deadline = Instant::now() + Duration::from_millis(wait_ms);
        loop {
            let appended = call.shared.next_append();
            tokio::pin!(appended);
            appended.as_mut().enable(); // before the look, so that no append is missed
            let collected = collect(&mut call.state(), call.node, call.version, &request);
            if collected.is_complete(&request) || Instant::now() >= deadline {
                return Some(collected.response);
            }
            // Whichever is first: the logs are looked at again in both cases.
            let _ = tokio::time::timeout_at(deadline, appended).await;
        }
    }

    fn refuse(request: &FetchRequest, version: i16, error: ErrorCode) -> FetchResponse {
        let whole = error == ErrorCode::FetchSessionIdNotFound
            || error == ErrorCode::InvalidFetchSessionEpoch;
        let code = if whole && version >= 7 { error.number() } else { 0 };
        let topics = if whole { &[][..] } else { &request.topics[..] };
        let refused = |topic: &FetchTopic| {
            let partitions = topic.partitions.iter().map(|p| empty(p.partition, Some(error)));
            topic_response(topic, partitions.collect())
        };
        FetchResponse::default()
            .with_error_code(code)
            .with_responses(topics.iter().map(refused).collect())
    }

    fn throttle(response: &mut FetchResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

/// No session exists here, so going on with one is an error.
fn session_error(request: &FetchRequest) -> Option<ErrorCode> {
    let full = request.session_epoch == 0 || request.session_epoch == -1;
    (!full).then_some(if request.session_id == 0 {
        ErrorCode::InvalidFetchSessionEpoch
    } else {
        ErrorCode::FetchSessionIdNotFound
    })
}

/// An answer and what decides whether it may go out before the wait is over.
struct Collected {
    response: FetchResponse,
    bytes: usize,
    urgent: bool,
}

impl Collected {
    /// Enough bytes, an error, or nothing that could be waited for.
    fn is_complete(&self, request: &FetchRequest) -> bool {
        let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
        self.urgent || self.bytes >= min_bytes || request.topics.is_empty()
    }
}

fn collect(state: &mut State, node: NodeId, version: i16, request: &FetchRequest) -> Collected {
    let asked = usize::try_from(request.max_bytes).unwrap_or(0);
    let bytes_max = asked.min(state.config.fetch_max_bytes as usize);
    let mut collected =
        Collected { response: FetchResponse::default(), bytes: 0, urgent: false };
    let mut moved = false;
    for topic in &request.topics {
        let name = if version >= FIRST_BY_ID {
            let name = wire::topic_id(topic.topic_id).and_then(|id| state.name_of(id).cloned());
            name.ok_or(ErrorCode::UnknownTopicId)
        } else {
            Ok(wire::topic_name(&topic.topic))
        };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let left = bytes_max.saturating_sub(collected.bytes);
            let first = collected.bytes == 0;
            let data = match &name {
                Ok(name) => read(state, node, name, asked, left, first),
                Err(error) => Err(*error),
            };
            let data = data.unwrap_or_else(|error| {
                moved |= error == ErrorCode::NotLeaderOrFollower;
                refused(state, name.as_ref().ok(), asked.partition, version, error)
            });
            collected.bytes += data.records.as_ref().map_or(0, Bytes::len);
            collected.urgent |= data.error_code != 0 || data.diverging_epoch.epoch >= 0;
            partitions.push(data);
        }
        collected.response.responses.push(topic_response(topic, partitions));
    }
    if moved && version >= FIRST_WITH_ENDPOINTS {
        collected.response.node_endpoints = endpoints(state);
    }
    collected
}

fn read(
    state: &mut State,
    node: NodeId,
    name: &TopicName,
    asked: &FetchPartition,
    bytes_max: usize,
    first: bool,
) -> Result<PartitionData, ErrorCode> {
    let epoch = known_epoch(asked.current_leader_epoch);
    let withheld = state.replay.withholds_records;
    let partition = state.led(node, name, asked.partition, epoch)?;
    let log = &partition.log;
    let end = wire::wire_offset(log.end());
    let data = empty(asked.partition, None)
        .with_high_watermark(end)
        .with_last_stable_offset(end)
        .with_log_start_offset(wire::wire_offset(log.start()));
    if let Some(last) = known_epoch(asked.last_fetched_epoch) {
        let (epoch, end) = log.epoch_end(last).ok_or(ErrorCode::OffsetOutOfRange)?;
        if epoch < last || wire::wire_offset(end) < asked.fetch_offset {
            let diverging = EpochEndOffset::default()
                .with_epoch(epoch.cast_signed())
                .with_end_offset(wire::wire_offset(end));
            return Ok(data.with_diverging_epoch(diverging));
        }
    }
    let offset = u64::try_from(asked.fetch_offset).map_err(|_| ErrorCode::OffsetOutOfRange)?;
    if !(log.start()..=log.end()).contains(&offset) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let partition_max = usize::try_from(asked.partition_max_bytes).unwrap_or(0);
    let records = if withheld {
        Bytes::new()
    } else {
        log.read(offset, bytes_max.min(partition_max), first)
    };
    Ok(data.with_records(Some(records)))
}

fn refused(
    state: &mut State,
    name: Option<&TopicName>,
    index: i32,
    version: i16,
    error: ErrorCode,
) -> PartitionData {
    let data = empty(index, Some(error));
    let leads = matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
    let partition = name.and_then(|name| state.partition(name, index).ok());
    match partition {
        Some(partition) if leads && version >= FIRST_WITH_LEADER => {
            let leader = LeaderIdAndEpoch::default()
                .with_leader_id(wire::wire_node(partition.leader))
                .with_leader_epoch(partition.leader_epoch.cast_signed());
            data.with_current_leader(leader)
        }
        _ => data,
    }
}

fn empty(index: i32, error: Option<ErrorCode>) -> PartitionData {
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(error.map_or(0, ErrorCode::number))
        .with_high_watermark(if error.is_some() { -1 } else { 0 })
        .with_aborted_transactions(None)
        .with_records(Some(Bytes::new()))
}

fn topic_response(asked: &FetchTopic, partitions: Vec<PartitionData>) -> FetchableTopicResponse {
    FetchableTopicResponse::default()
        .with_topic(asked.topic.clone())
        .with_topic_id(asked.topic_id)
        .with_partitions(partitions)
}

fn endpoints(state: &State) -> Vec<NodeEndpoint> {
    let endpoint = |(id, node): (NodeId, &crate::state::Node)| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(id.0))
            .with_host(wire::text(&node.host))
            .with_port(i32::from(node.port))
    };
    state.alive().map(endpoint).collect()
}
