//! `ConsumerGroupHeartbeat` (key 68): translates a heartbeat for the coordinator's brain and its
//! answer back. What the brain has no words for is refused here.
//!
//! Source: `GroupCoordinatorService.throwIfConsumerGroupHeartbeatRequestIsInvalid` of Apache Kafka
//! 4.3.1.

use super::{Api, Call};
use crate::groups::{Client, Members};
use crate::hook::{AnswerWords, RequestWords};
use crate::wire::{self, Refused};
use evenkeel_spec::words::{Epoch, ErrorCode, HeartbeatAnswer, Partitions};
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ApiKey, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// From this version on the member makes its own id (KIP-1082).
const FIRST_WITH_OWN_ID: i16 = 1;

pub(super) struct ConsumerGroupHeartbeat;

impl Api for ConsumerGroupHeartbeat {
    const KEY: ApiKey = ApiKey::ConsumerGroupHeartbeat;
    type Request = ConsumerGroupHeartbeatRequest;
    type Response = ConsumerGroupHeartbeatResponse;

    async fn answer(
        call: &mut Call<'_>,
        mut request: ConsumerGroupHeartbeatRequest,
    ) -> Option<ConsumerGroupHeartbeatResponse> {
        let result = beat(call, &mut request);
        let code = |refused: &Refused| refused.0;
        call.answered = Some(AnswerWords::Heartbeat(result.as_ref().map_err(code).cloned()));
        Some(match result {
            Ok(answer) => accepted(request.member_id, &answer),
            Err((error, why)) => {
                let text = StrBytes::from_static_str(why);
                let response = Self::refuse(&request, call.version, error);
                response.with_error_message((!why.is_empty()).then_some(text))
            }
        })
    }

    fn refuse(
        _: &ConsumerGroupHeartbeatRequest,
        _: i16,
        error: ErrorCode,
    ) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse::default()
            .with_error_code(error.number())
            .with_error_message(Some(StrBytes::from_static_str(error.name())))
    }

    fn throttle(response: &mut ConsumerGroupHeartbeatResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }

    fn words(call: &Call<'_>, request: &ConsumerGroupHeartbeatRequest) -> Option<RequestWords> {
        let group = wire::group_id(&request.group_id);
        let mut state = call.state();
        let members = &mut state.group_mut(&group).members;
        let heartbeat = wire::heartbeat(members, request).ok()?;
        Some(RequestWords::Heartbeat(group, heartbeat))
    }

    fn refusal_words(error: ErrorCode) -> Option<AnswerWords> {
        Some(AnswerWords::Heartbeat(Err(error)))
    }
}

fn beat(
    call: &Call<'_>,
    request: &mut ConsumerGroupHeartbeatRequest,
) -> Result<HeartbeatAnswer, Refused> {
    let group = wire::group_id(&request.group_id);
    if request.group_id.0.is_empty() {
        return Err((ErrorCode::InvalidRequest, "GroupId can't be empty."));
    }
    call.shared.change(|state| {
        state.coordinates(call.node, &group).map_err(|error| (error, ""))?;
        let members = &mut state.group_mut(&group).members;
        if request.member_id.is_empty() {
            if call.version >= FIRST_WITH_OWN_ID || request.member_epoch != 0 {
                return Err((ErrorCode::InvalidRequest, "MemberId can't be empty."));
            }
            request.member_id = new_member_id(members);
        }
        let heartbeat = wire::heartbeat(members, request)?;
        let client =
            Client { id: call.client_id.to_string(), host: format!("/{}", call.client_host) };
        members.remember_client(heartbeat.member, client);
        state.on_heartbeat(&group, &heartbeat).map_err(|error| (error, ""))
    })
}

/// The coordinator's choice of an id in version 0: the first of a fixed row that nobody has.
fn new_member_id(members: &Members) -> StrBytes {
    let ids = (1u128..).map(|n| Uuid::from_u128(0xe0e0 << 112 | n).to_string());
    let free = ids.into_iter().find(|id| members.find(id).is_none());
    StrBytes::from_string(free.expect("fewer than 2^112 members"))
}

fn accepted(member_id: StrBytes, answer: &HeartbeatAnswer) -> ConsumerGroupHeartbeatResponse {
    let interval = i32::try_from(answer.heartbeat_interval_ms).unwrap_or(i32::MAX);
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(member_id))
        .with_member_epoch(answer.epoch.map_or(-1, |Epoch(epoch)| epoch.cast_signed()))
        .with_heartbeat_interval_ms(interval)
        .with_assignment(answer.assignment.as_ref().map(assignment))
}

fn assignment(partitions: &Partitions) -> Assignment {
    let topics = wire::by_topic(partitions).into_iter().map(|(topic, partitions)| {
        TopicPartitions::default().with_topic_id(wire::wire_id(topic)).with_partitions(partitions)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
