//! `DescribeConfigs` (key 32): the configuration of topics and nodes, as far as this broker has any.

use super::{Api, Call};
use crate::config::timestamp_type_name;
use crate::state::State;
use crate::wire;
use evenkeel_spec::words::{ErrorCode, NodeId, TopicName};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::{ApiKey, DescribeConfigsRequest, DescribeConfigsResponse};
use std::collections::BTreeMap;

/// Kafka's numbers of resource types and of where a value comes from.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

pub(super) struct DescribeConfigs;

impl Api for DescribeConfigs {
    const KEY: ApiKey = ApiKey::DescribeConfigs;
    type Request = DescribeConfigsRequest;
    type Response = DescribeConfigsResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: DescribeConfigsRequest,
    ) -> Option<DescribeConfigsResponse> {
        let state = call.state();
        let results = request.resources.iter().map(|resource| match entries(&state, resource) {
            Ok(entries) => result(resource).with_configs(shown(resource, entries)),
            Err(error) => result(resource).with_error_code(error.number()),
        });
        Some(DescribeConfigsResponse::default().with_results(results.collect()))
    }

    fn refuse(
        request: &DescribeConfigsRequest,
        _: i16,
        error: ErrorCode,
    ) -> DescribeConfigsResponse {
        let results = request.resources.iter();
        let results = results.map(|resource| result(resource).with_error_code(error.number()));
        DescribeConfigsResponse::default().with_results(results.collect())
    }

    fn throttle(response: &mut DescribeConfigsResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

/// Value and source by key.
type Entries = BTreeMap<String, (String, i8)>;

fn entries(state: &State, resource: &DescribeConfigsResource) -> Result<Entries, ErrorCode> {
    match resource.resource_type {
        TOPIC => {
            let topic = state.topics.get(&TopicName::from(resource.resource_name.as_str()));
            let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
            let stamped = timestamp_type_name(topic.log_append_time).to_owned();
            let mut entries = Entries::from([
                ("cleanup.policy".to_owned(), ("delete".to_owned(), SOURCE_DEFAULT)),
                (
                    "max.message.bytes".to_owned(),
                    (state.config.message_max_bytes.to_string(), SOURCE_DEFAULT),
                ),
                ("message.timestamp.type".to_owned(), (stamped, SOURCE_DEFAULT)),
            ]);
            let own = topic.configs.iter();
            entries.extend(own.map(|(key, value)| (key.clone(), (value.clone(), SOURCE_TOPIC))));
            Ok(entries)
        }
        BROKER => {
            let node = resource.resource_name.parse().map(NodeId);
            if !node.is_ok_and(|node| state.nodes.contains_key(&node)) {
                return Err(ErrorCode::InvalidRequest);
            }
            let entries = state.config.entries().into_iter();
            Ok(entries.map(|(key, value)| (key.to_owned(), (value, SOURCE_STATIC))).collect())
        }
        _ => Err(ErrorCode::InvalidRequest),
    }
}

fn shown(
    resource: &DescribeConfigsResource,
    entries: Entries,
) -> Vec<DescribeConfigsResourceResult> {
    let wanted = |key: &str| {
        let keys = resource.configuration_keys.as_ref();
        keys.is_none_or(|keys| keys.iter().any(|wanted| wanted.as_str() == key))
    };
    let shown = entries.into_iter().filter(|(key, _)| wanted(key)).map(|(key, (value, source))| {
        DescribeConfigsResourceResult::default()
            .with_name(wire::text(&key))
            .with_value(Some(wire::text(&value)))
            .with_read_only(true)
            .with_config_source(source)
    });
    shown.collect()
}

fn result(resource: &DescribeConfigsResource) -> DescribeConfigsResult {
    DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
}
