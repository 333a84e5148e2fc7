//! `DeleteGroups` (key 42): forgets groups without members, with their offsets.

use super::{Api, Call, number};
use crate::wire;
use evenkeel_spec::words::ErrorCode;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{self, ApiKey, DeleteGroupsRequest, DeleteGroupsResponse};

pub(super) struct DeleteGroups;

impl Api for DeleteGroups {
    const KEY: ApiKey = ApiKey::DeleteGroups;
    type Request = DeleteGroupsRequest;
    type Response = DeleteGroupsResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: DeleteGroupsRequest,
    ) -> Option<DeleteGroupsResponse> {
        let results = call.shared.change(|state| {
            let delete = |id: &messages::GroupId| {
                let group = wire::group_id(id);
                let deleted = state
                    .coordinates(call.node, &group)
                    .and_then(|()| state.delete_group(&group));
                result(id, number(&deleted))
            };
            request.groups_names.iter().map(delete).collect()
        });
        Some(DeleteGroupsResponse::default().with_results(results))
    }

    fn refuse(request: &DeleteGroupsRequest, _: i16, error: ErrorCode) -> DeleteGroupsResponse {
        let results = request.groups_names.iter().map(|id| result(id, error.number()));
        DeleteGroupsResponse::default().with_results(results.collect())
    }

    fn throttle(response: &mut DeleteGroupsResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

fn result(id: &messages::GroupId, code: i16) -> DeletableGroupResult {
    DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(code)
}
