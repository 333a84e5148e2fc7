//! `ListPartitionReassignments` (key 46): there are none; Kafka's tools ask before they describe
//! a topic.

use super::{Api, Call};
use evenkeel_spec::words::ErrorCode;
use kafka_protocol::messages::{
    ApiKey, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

pub(super) struct ListPartitionReassignments;

impl Api for ListPartitionReassignments {
    const KEY: ApiKey = ApiKey::ListPartitionReassignments;
    type Request = ListPartitionReassignmentsRequest;
    type Response = ListPartitionReassignmentsResponse;

    async fn answer(
        _: &mut Call<'_>,
        _: ListPartitionReassignmentsRequest,
    ) -> Option<ListPartitionReassignmentsResponse> {
        Some(ListPartitionReassignmentsResponse::default())
    }

    fn refuse(
        _: &ListPartitionReassignmentsRequest,
        _: i16,
        error: ErrorCode,
    ) -> ListPartitionReassignmentsResponse {
        ListPartitionReassignmentsResponse::default().with_error_code(error.number())
    }

    fn throttle(response: &mut ListPartitionReassignmentsResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}
