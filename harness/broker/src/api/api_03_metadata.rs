//! `Metadata` (key 3): nodes, topics, leaders; by name, by id (KIP-516) or all. Creates a missing
//! topic only if both sides allow it.

use super::{Api, Call};
use crate::state::{NewTopic, Partition, State, validate_name};
use crate::wire;
use evenkeel_spec::words::{ErrorCode, TopicName};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{self, ApiKey, BrokerId, MetadataRequest, MetadataResponse};

pub(super) struct Metadata;

impl Api for Metadata {
    const KEY: ApiKey = ApiKey::Metadata;
    type Request = MetadataRequest;
    type Response = MetadataResponse;

    async fn answer(call: &mut Call<'_>, request: MetadataRequest) -> Option<MetadataResponse> {
        let mut state = call.state();
        let topics = match &request.topics {
            None => all(&state),
            Some(topics) if topics.is_empty() && call.version == 0 => all(&state),
            Some(topics) => {
                let create = request.allow_auto_topic_creation;
                let client = call.client_id.as_str();
                let one = |topic: &_| match hidden(&state, client, topic) {
                    true => refused(topic, ErrorCode::UnknownTopicOrPartition),
                    false => one(&mut state, topic, create),
                };
                topics.iter().map(one).collect()
            }
        };
        let response = MetadataResponse::default()
            .with_brokers(brokers(&state))
            .with_cluster_id(Some(wire::text(&state.cluster_id)))
            .with_controller_id(wire::wire_node(state.controller()))
            .with_topics(topics);
        Some(response)
    }

    fn refuse(request: &MetadataRequest, version: i16, error: ErrorCode) -> MetadataResponse {
        let topics = request.topics.iter().flatten().map(|topic| refused(topic, error)).collect();
        // Kafka has one for the whole answer only for this (KIP-1102).
        let is_whole = version >= 13 && error == ErrorCode::RebootstrapRequired;
        let code = if is_whole { error.number() } else { 0 };
        MetadataResponse::default().with_topics(topics).with_error_code(code)
    }

    fn throttle(response: &mut MetadataResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

fn brokers(state: &State) -> Vec<MetadataResponseBroker> {
    let broker = |(id, node): (_, &crate::state::Node)| {
        MetadataResponseBroker::default()
            .with_node_id(wire::wire_node(Some(id)))
            .with_host(wire::text(&node.host))
            .with_port(i32::from(node.port))
    };
    state.alive().map(broker).collect()
}

fn all(state: &State) -> Vec<MetadataResponseTopic> {
    state.topics.keys().map(|name| known(state, name)).collect()
}

/// Whether a replay keeps the topic from this client for now.
fn hidden(state: &State, client_id: &str, asked: &MetadataRequestTopic) -> bool {
    let hidden = state.replay.hidden_topics.get(client_id);
    let name = asked.name.as_ref().map(wire::topic_name);
    hidden.zip(name).is_some_and(|(hidden, name)| hidden.contains(&name))
}

fn one(state: &mut State, asked: &MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    if let Some(id) = wire::topic_id(asked.topic_id) {
        return match state.name_of(id).cloned() {
            Some(name) => known(state, &name),
            None => refused(asked, ErrorCode::UnknownTopicId),
        };
    }
    let Some(name) = asked.name.as_ref().map(wire::topic_name) else {
        return refused(asked, ErrorCode::InvalidRequest);
    };
    if !state.topics.contains_key(&name) {
        if !(create && state.config.auto_create_topics) {
            let unknown = validate_name(name.as_str()).map(|()| ErrorCode::UnknownTopicOrPartition);
            return refused(asked, unknown.unwrap_or(ErrorCode::InvalidTopicException));
        }
        if let Err((error, _)) = state.create_topic(name.as_str(), NewTopic::default()) {
            return refused(asked, error);
        }
    }
    known(state, &name)
}

fn known(state: &State, name: &TopicName) -> MetadataResponseTopic {
    let topic = &state.topics[name];
    let partitions = topic.partitions.iter().enumerate().map(|(index, p)| {
        MetadataResponsePartition::default()
            .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
            .with_error_code(leader_error(p))
            .with_leader_id(wire::wire_node(p.leader))
            .with_leader_epoch(p.leader_epoch.cast_signed())
            .with_replica_nodes(wire::wire_nodes(&p.replicas))
            .with_isr_nodes(in_sync(state, p))
            .with_offline_replicas(offline(state, p))
    });
    MetadataResponseTopic::default()
        .with_name(Some(wire::wire_name(name)))
        .with_topic_id(wire::wire_id(topic.id))
        .with_is_internal(INTERNAL_TOPICS.contains(&name.as_str()))
        .with_partitions(partitions.collect())
}

/// `org.apache.kafka.common.internals.Topic.INTERNAL_TOPICS` of Apache Kafka 4.3.1.
const INTERNAL_TOPICS: [&str; 3] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state"];

pub(super) fn leader_error(partition: &Partition) -> i16 {
    if partition.leader.is_none() { ErrorCode::LeaderNotAvailable.number() } else { 0 }
}

pub(super) fn in_sync(state: &State, partition: &Partition) -> Vec<BrokerId> {
    let alive = |node: &&_| state.nodes.get(node).is_some_and(|node| node.alive);
    partition.replicas.iter().filter(alive).map(|node| BrokerId(node.0)).collect()
}

pub(super) fn offline(state: &State, partition: &Partition) -> Vec<BrokerId> {
    let dead = |node: &&_| state.nodes.get(node).is_none_or(|node| !node.alive);
    partition.replicas.iter().filter(dead).map(|node| BrokerId(node.0)).collect()
}

fn refused(asked: &MetadataRequestTopic, error: ErrorCode) -> MetadataResponseTopic {
    // Before version 12 a name must be there; asked by id, Kafka then says the empty one.
    let name = asked.name.clone().unwrap_or_else(|| messages::TopicName(wire::text("")));
    let by_id = wire::topic_id(asked.topic_id).is_some();
    MetadataResponseTopic::default()
        .with_error_code(error.number())
        .with_name(if by_id { None } else { Some(name) })
        .with_topic_id(asked.topic_id)
}
