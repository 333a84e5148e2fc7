//! `Produce` (key 0): appends one batch a partition. Idempotent producers work (retries are
//! recognised); transactions are refused. `acks=0` gets no answer, and the end of the connection
//! if a partition failed; other values all mean the same, since replicas share one log.
//!
//! Source: `KafkaApis.handleProduceRequest` of Apache Kafka 4.3.1.

use super::{Api, Call, number};
use crate::batch;
use crate::log::Appended;
use crate::state::State;
use crate::wire;
use bytes::Bytes;
use evenkeel_spec::words::{ErrorCode, NodeId, TopicName};
use kafka_protocol::messages::produce_request::TopicProduceData;
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ApiKey, BrokerId, ProduceRequest, ProduceResponse};

/// From this version on topics are named by id.
const FIRST_BY_ID: i16 = 13;
/// From this version on an answer may tell the new leader (KIP-951).
const FIRST_WITH_LEADER: i16 = 10;

pub(super) struct Produce;

impl Api for Produce {
    const KEY: ApiKey = ApiKey::Produce;
    type Request = ProduceRequest;
    type Response = ProduceResponse;

    async fn answer(call: &mut Call<'_>, request: ProduceRequest) -> Option<ProduceResponse> {
        if !(-1..=1).contains(&request.acks) {
            return Some(Self::refuse(&request, call.version, ErrorCode::InvalidRequiredAcks));
        }
        if request.transactional_id.is_some() {
            call.disconnects = request.acks == 0;
            let error = ErrorCode::TransactionalIdAuthorizationFailed;
            let refused = Self::refuse(&request, call.version, error);
            return (request.acks != 0).then_some(refused);
        }
        let mut state = call.state();
        let responses: Vec<_> =
            request.topic_data.iter().map(|data| topic(&mut state, call, data)).collect();
        let failed = |p: &PartitionProduceResponse| p.error_code != 0;
        let failed = responses.iter().flat_map(|t| &t.partition_responses).any(failed);
        // Who wants no answer learns by this that something failed.
        call.disconnects = request.acks == 0 && failed;
        let moved = |p: &PartitionProduceResponse| p.current_leader.leader_id.0 >= 0;
        let endpoints = if responses.iter().flat_map(|t| &t.partition_responses).any(moved) {
            endpoints(&state)
        } else {
            Vec::new()
        };
        drop(state);
        call.shared.appended();
        let response =
            ProduceResponse::default().with_responses(responses).with_node_endpoints(endpoints);
        (request.acks != 0).then_some(response)
    }

    fn refuse(request: &ProduceRequest, _: i16, error: ErrorCode) -> ProduceResponse {
        let refused = |data: &TopicProduceData| {
            let partitions = data.partition_data.iter().map(|p| partition_error(p.index, error));
            TopicProduceResponse::default()
                .with_name(data.name.clone())
                .with_topic_id(data.topic_id)
                .with_partition_responses(partitions.collect())
        };
        ProduceResponse::default().with_responses(request.topic_data.iter().map(refused).collect())
    }

    fn throttle(response: &mut ProduceResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

fn topic(state: &mut State, call: &Call<'_>, data: &TopicProduceData) -> TopicProduceResponse {
    let name = if call.version >= FIRST_BY_ID {
        let name = wire::topic_id(data.topic_id).and_then(|id| state.name_of(id).cloned());
        name.ok_or(ErrorCode::UnknownTopicId)
    } else {
        Ok(wire::topic_name(&data.name))
    };
    let partitions = data.partition_data.iter().map(|p| match &name {
        Ok(name) => partition(state, call, name, p.index, p.records.as_ref()),
        Err(error) => partition_error(p.index, *error),
    });
    TopicProduceResponse::default()
        .with_partition_responses(partitions.collect())
        .with_name(data.name.clone())
        .with_topic_id(data.topic_id)
}

fn partition(
    state: &mut State,
    call: &Call<'_>,
    name: &TopicName,
    index: i32,
    records: Option<&Bytes>,
) -> PartitionProduceResponse {
    let now_ms = state.clock.now_ms();
    let stamped = state.topics.get(name).is_some_and(|topic| topic.log_append_time);
    let append_time = stamped.then_some(now_ms);
    match append(state, call.node, name, index, records, append_time) {
        Ok((appended, log_start)) => PartitionProduceResponse::default()
            .with_index(index)
            .with_base_offset(wire::wire_offset(appended.base))
            .with_log_append_time_ms(append_time.unwrap_or(-1))
            .with_log_start_offset(wire::wire_offset(log_start)),
        Err(error) => {
            let refused = partition_error(index, error);
            match state.partition(name, index) {
                Ok(p) if error == ErrorCode::NotLeaderOrFollower
                    && call.version >= FIRST_WITH_LEADER =>
                {
                    let leader = LeaderIdAndEpoch::default()
                        .with_leader_id(wire::wire_node(p.leader))
                        .with_leader_epoch(p.leader_epoch.cast_signed());
                    refused.with_current_leader(leader)
                }
                _ => refused,
            }
        }
    }
}

fn append(
    state: &mut State,
    node: NodeId,
    name: &TopicName,
    index: i32,
    records: Option<&Bytes>,
    append_time: Option<i64>,
) -> Result<(Appended, u64), ErrorCode> {
    let message_max_bytes = state.config.message_max_bytes;
    let partition = state.led(node, name, index, None)?;
    let records = records.ok_or(ErrorCode::InvalidRecord)?;
    let header = batch::check(records, message_max_bytes)?;
    let epoch = partition.leader_epoch;
    let appended = partition.log.append(records, &header, epoch, append_time)?;
    Ok((appended, partition.log.start()))
}

fn partition_error(index: i32, error: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(number::<()>(&Err(error)))
        .with_base_offset(-1)
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
