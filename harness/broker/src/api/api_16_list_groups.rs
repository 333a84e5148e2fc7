//! `ListGroups` (key 16): the groups that this node coordinates, by state and type.

use super::{Api, Call};
use crate::wire;
use evenkeel_coordinator::GroupState;
use evenkeel_spec::words::ErrorCode;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{self, ApiKey, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

pub(super) struct ListGroups;

impl Api for ListGroups {
    const KEY: ApiKey = ApiKey::ListGroups;
    type Request = ListGroupsRequest;
    type Response = ListGroupsResponse;

    async fn answer(call: &mut Call<'_>, request: ListGroupsRequest) -> Option<ListGroupsResponse> {
        let state = call.state();
        let mut groups = Vec::new();
        for (id, shell) in state.all_groups() {
            let description = shell.brain.describe();
            let (state_name, kind, protocol) = match description.state {
                GroupState::Dead if description.offsets.is_empty() => continue,
                GroupState::Dead => ("Empty", "Classic", ""), // offsets without membership
                other => (other.name(), "Consumer", "consumer"),
            };
            let wanted = is_wanted(&request.states_filter, state_name)
                && is_wanted(&request.types_filter, kind);
            if wanted && state.coordinator_of(id) == Some(call.node) {
                let listed = ListedGroup::default()
                    .with_group_id(messages::GroupId(wire::text(id.as_str())))
                    .with_protocol_type(StrBytes::from_static_str(protocol))
                    .with_group_state(StrBytes::from_static_str(state_name))
                    .with_group_type(StrBytes::from_static_str(kind));
                groups.push(listed);
            }
        }
        Some(ListGroupsResponse::default().with_groups(groups))
    }

    fn refuse(_: &ListGroupsRequest, _: i16, error: ErrorCode) -> ListGroupsResponse {
        ListGroupsResponse::default().with_error_code(error.number())
    }

    fn throttle(response: &mut ListGroupsResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

/// An empty filter wants everything; names are compared without case, as Kafka does.
fn is_wanted(filter: &[StrBytes], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}
