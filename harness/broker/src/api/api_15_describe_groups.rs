//! `DescribeGroups` (key 15): groups of the classic protocol. There are none with members here; a
//! group that only holds offsets counts as one.

use super::Api;
use super::Call;
use crate::state::State;
use crate::wire;
use evenkeel_spec::words::{ErrorCode, GroupId};
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::{self, ApiKey, DescribeGroupsRequest, DescribeGroupsResponse};
use kafka_protocol::protocol::StrBytes;

/// From this version on a missing group is an error; before it is described as dead.
const FIRST_WITH_NOT_FOUND: i16 = 6;

pub(super) struct DescribeGroups;

impl Api for DescribeGroups {
    const KEY: ApiKey = ApiKey::DescribeGroups;
    type Request = DescribeGroupsRequest;
    type Response = DescribeGroupsResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: DescribeGroupsRequest,
    ) -> Option<DescribeGroupsResponse> {
        let state = call.state();
        let groups = request.groups.iter().map(|id| {
            let group = wire::group_id(id);
            match state.coordinates(call.node, &group) {
                Err(error) => failed(id, error),
                Ok(()) if has_only_offsets(&state, &group) => DescribedGroup::default()
                    .with_group_id(id.clone())
                    .with_group_state(StrBytes::from_static_str("Empty")),
                Ok(()) if call.version >= FIRST_WITH_NOT_FOUND => {
                    failed(id, ErrorCode::GroupIdNotFound)
                }
                Ok(()) => DescribedGroup::default()
                    .with_group_id(id.clone())
                    .with_group_state(StrBytes::from_static_str("Dead")),
            }
        });
        Some(DescribeGroupsResponse::default().with_groups(groups.collect()))
    }

    fn refuse(request: &DescribeGroupsRequest, _: i16, error: ErrorCode) -> DescribeGroupsResponse {
        let groups = request.groups.iter().map(|id| failed(id, error));
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }

    fn throttle(response: &mut DescribeGroupsResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

fn failed(id: &messages::GroupId, error: ErrorCode) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(id.clone())
        .with_error_code(error.number())
        .with_group_state(StrBytes::from_static_str("Dead"))
}

fn has_only_offsets(state: &State, group: &GroupId) -> bool {
    state.group(group).is_some_and(|shell| {
        let description = shell.brain.describe();
        description.epoch.is_none() && !description.offsets.is_empty()
    })
}
