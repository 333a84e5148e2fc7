//! `DeleteTopics` (key 20), by name or by id. Any node takes it; it acts at once.

use super::{Api, Call, number};
use crate::wire;
use evenkeel_spec::words::{ErrorCode, TopicName};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{self, ApiKey, DeleteTopicsRequest, DeleteTopicsResponse};

/// From this version on topics may be named by id.
const FIRST_WITH_IDS: i16 = 6;

pub(super) struct DeleteTopics;

impl Api for DeleteTopics {
    const KEY: ApiKey = ApiKey::DeleteTopics;
    type Request = DeleteTopicsRequest;
    type Response = DeleteTopicsResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: DeleteTopicsRequest,
    ) -> Option<DeleteTopicsResponse> {
        let deleted = call.shared.change(|state| {
            let delete = |asked: DeleteTopicState| {
                let id = wire::topic_id(asked.topic_id);
                let name: Result<TopicName, ErrorCode> = match (id, &asked.name) {
                    (Some(id), _) => state.name_of(id).cloned().ok_or(ErrorCode::UnknownTopicId),
                    (None, Some(name)) => Ok(wire::topic_name(name)),
                    (None, None) => Err(ErrorCode::InvalidRequest),
                };
                let id = name.as_ref().ok().and_then(|name| state.id_of(name));
                let result = name.clone().and_then(|name| state.delete_topic(&name));
                DeletableTopicResult::default()
                    .with_name(name.ok().map(|name| wire::wire_name(&name)).or(asked.name))
                    .with_topic_id(id.map_or(asked.topic_id, wire::wire_id))
                    .with_error_code(number(&result))
            };
            asked(&request, call.version).into_iter().map(delete).collect()
        });
        call.shared.appended();
        Some(DeleteTopicsResponse::default().with_responses(deleted))
    }

    fn refuse(request: &DeleteTopicsRequest, version: i16, error: ErrorCode) -> DeleteTopicsResponse {
        let refused = asked(request, version).into_iter().map(|asked| {
            DeletableTopicResult::default()
                .with_name(asked.name)
                .with_topic_id(asked.topic_id)
                .with_error_code(error.number())
        });
        DeleteTopicsResponse::default().with_responses(refused.collect())
    }

    fn throttle(response: &mut DeleteTopicsResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

/// What is to be deleted, in the newer shape.
fn asked(request: &DeleteTopicsRequest, version: i16) -> Vec<DeleteTopicState> {
    if version >= FIRST_WITH_IDS {
        return request.topics.clone();
    }
    let by_name = |name: &messages::TopicName| {
        DeleteTopicState::default().with_name(Some(name.clone()))
    };
    request.topic_names.iter().map(by_name).collect()
}
