//! `CreateTopics` (key 19). Any node takes it; it acts at once.

use super::{Api, Call};
use crate::state::{NewTopic, State};
use crate::wire;
use evenkeel_spec::words::{ErrorCode, NodeId};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{ApiKey, CreateTopicsRequest, CreateTopicsResponse};

pub(super) struct CreateTopics;

impl Api for CreateTopics {
    const KEY: ApiKey = ApiKey::CreateTopics;
    type Request = CreateTopicsRequest;
    type Response = CreateTopicsResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: CreateTopicsRequest,
    ) -> Option<CreateTopicsResponse> {
        let create = |state: &mut State| {
            let create = |topic| {
                create(state, topic, request.validate_only)
                    .unwrap_or_else(|(error, why)| failed(topic, error, &why))
            };
            request.topics.iter().map(create).collect()
        };
        let topics = call.shared.change(create);
        Some(CreateTopicsResponse::default().with_topics(topics))
    }

    fn refuse(request: &CreateTopicsRequest, _: i16, error: ErrorCode) -> CreateTopicsResponse {
        let topics = request.topics.iter().map(|topic| failed(topic, error, error.name()));
        CreateTopicsResponse::default().with_topics(topics.collect())
    }

    fn throttle(response: &mut CreateTopicsResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

fn create(
    state: &mut State,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<CreatableTopicResult, (ErrorCode, String)> {
    let name = topic.name.0.as_str();
    let new = NewTopic {
        // -1 is the default; every other number is checked as it is.
        partitions: (topic.num_partitions != -1)
            .then(|| u32::try_from(topic.num_partitions).unwrap_or(0)),
        replication_factor: (topic.replication_factor != -1)
            .then(|| u32::try_from(topic.replication_factor).unwrap_or(0)),
        placed: placed(topic)?,
        configs: topic
            .configs
            .iter()
            .filter_map(|config| Some((config.name.to_string(), config.value.as_ref()?.to_string())))
            .collect(),
    };
    let (partitions, replicas) = state.check_topic(name, &new)?;
    let shown = new.configs.iter().map(|(name, value)| {
        CreatableTopicConfigs::default()
            .with_name(wire::text(name))
            .with_value(Some(wire::text(value)))
            .with_config_source(1)
    });
    let result = CreatableTopicResult::default()
        .with_configs(Some(shown.collect()))
        .with_name(topic.name.clone())
        .with_num_partitions(i32::try_from(partitions).unwrap_or(i32::MAX))
        .with_replication_factor(i16::try_from(replicas).unwrap_or(i16::MAX));
    if validate_only {
        return Ok(result);
    }
    let id = state.create_topic(name, new)?;
    Ok(result.with_topic_id(wire::wire_id(id)))
}

/// Where the caller placed each partition: indices from 0 without a gap.
fn placed(topic: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, (ErrorCode, String)> {
    let mut assignments: Vec<_> = topic.assignments.iter().collect();
    assignments.sort_by_key(|assignment| assignment.partition_index);
    let indices = assignments.iter().map(|assignment| assignment.partition_index);
    if !indices.eq((0..).take(assignments.len())) {
        let why = "partition indices must be consecutive from 0";
        return Err((ErrorCode::InvalidReplicaAssignment, why.to_owned()));
    }
    let nodes = assignments.into_iter().map(|assignment| {
        assignment.broker_ids.iter().map(|id| NodeId(id.0)).collect()
    });
    Ok(nodes.collect())
}

fn failed(topic: &CreatableTopic, error: ErrorCode, why: &str) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(error.number())
        .with_error_message(Some(wire::text(&format!("{}: {why}", topic.name.0))))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_configs(None)
}
