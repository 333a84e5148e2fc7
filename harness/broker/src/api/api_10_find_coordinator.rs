//! `FindCoordinator` (key 10): which node coordinates a group. Other kinds of coordinators
//! (transactions, share groups) do not exist here.

use super::{Api, Call};
use crate::hook::{AnswerWords, RequestWords};
use crate::state::State;
use crate::wire;
use evenkeel_spec::words::{ErrorCode, GroupId, NodeId};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{ApiKey, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

/// From this version on a request asks for several keys.
const FIRST_WITH_KEYS: i16 = 4;
/// The key type of groups.
const GROUP: i8 = 0;

pub(super) struct FindCoordinator;

impl Api for FindCoordinator {
    const KEY: ApiKey = ApiKey::FindCoordinator;
    type Request = FindCoordinatorRequest;
    type Response = FindCoordinatorResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: FindCoordinatorRequest,
    ) -> Option<FindCoordinatorResponse> {
        let state = call.state();
        let look_up = |key: &StrBytes| {
            if request.key_type != GROUP {
                return Err(ErrorCode::InvalidRequest);
            }
            let node = state.coordinator_of(&GroupId::from(key.as_str()));
            node.ok_or(ErrorCode::CoordinatorNotAvailable)
        };
        let keys = keys(&request, call.version);
        let found: Vec<_> = keys.iter().map(look_up).collect();
        let coordinators = keys.into_iter().zip(&found).map(|(key, found)| match *found {
            Ok(node) => coordinator(&state, key, node),
            Err(error) => nobody(key, error),
        });
        let response = shape(coordinators.collect(), call.version);
        if let (&[found], GROUP) = (&found[..], request.key_type) {
            call.answered = Some(AnswerWords::FindCoordinator(found));
        }
        Some(response)
    }

    fn refuse(
        request: &FindCoordinatorRequest,
        version: i16,
        error: ErrorCode,
    ) -> FindCoordinatorResponse {
        let nobody = keys(request, version).into_iter().map(|key| nobody(key, error));
        shape(nobody.collect(), version)
    }

    fn throttle(response: &mut FindCoordinatorResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }

    fn words(call: &Call<'_>, request: &FindCoordinatorRequest) -> Option<RequestWords> {
        let keys = keys(request, call.version);
        let [key] = &keys[..] else { return None };
        let is_group = request.key_type == GROUP;
        is_group.then(|| RequestWords::FindCoordinator(GroupId::from(key.as_str())))
    }

    fn refusal_words(error: ErrorCode) -> Option<AnswerWords> {
        Some(AnswerWords::FindCoordinator(Err(error)))
    }
}

fn keys(request: &FindCoordinatorRequest, version: i16) -> Vec<StrBytes> {
    if version >= FIRST_WITH_KEYS {
        request.coordinator_keys.clone()
    } else {
        vec![request.key.clone()]
    }
}

fn coordinator(state: &State, key: StrBytes, node: NodeId) -> Coordinator {
    let at = &state.nodes[&node];
    Coordinator::default()
        .with_key(key)
        .with_node_id(wire::wire_node(Some(node)))
        .with_host(wire::text(&at.host))
        .with_port(i32::from(at.port))
}

fn nobody(key: StrBytes, error: ErrorCode) -> Coordinator {
    Coordinator::default()
        .with_key(key)
        .with_node_id(wire::wire_node(None))
        .with_port(-1)
        .with_error_code(error.number())
        .with_error_message(Some(StrBytes::from_static_str(error.name())))
}

/// The answer in the version's shape.
fn shape(found: Vec<Coordinator>, version: i16) -> FindCoordinatorResponse {
    if version >= FIRST_WITH_KEYS {
        return FindCoordinatorResponse::default().with_coordinators(found);
    }
    let Some(one) = found.into_iter().next() else { return FindCoordinatorResponse::default() };
    FindCoordinatorResponse::default()
        .with_error_code(one.error_code)
        .with_error_message(one.error_message)
        .with_node_id(one.node_id)
        .with_host(one.host)
        .with_port(one.port)
}
