//! `InitProducerId` (key 22): an id for an idempotent producer. Transactions do not exist here.

use super::{Api, Call};
use evenkeel_spec::words::ErrorCode;
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProducerId};

pub(super) struct InitProducerId;

impl Api for InitProducerId {
    const KEY: ApiKey = ApiKey::InitProducerId;
    type Request = InitProducerIdRequest;
    type Response = InitProducerIdResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: InitProducerIdRequest,
    ) -> Option<InitProducerIdResponse> {
        if request.transactional_id.is_some() {
            let error = ErrorCode::TransactionalIdAuthorizationFailed;
            return Some(Self::refuse(&request, call.version, error));
        }
        let mut state = call.state();
        let producer_id = state.next_producer_id;
        state.next_producer_id += 1;
        let response = InitProducerIdResponse::default();
        Some(response.with_producer_id(ProducerId(producer_id)).with_producer_epoch(0))
    }

    fn refuse(_: &InitProducerIdRequest, _: i16, error: ErrorCode) -> InitProducerIdResponse {
        InitProducerIdResponse::default()
            .with_error_code(error.number())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    }

    fn throttle(response: &mut InitProducerIdResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}
