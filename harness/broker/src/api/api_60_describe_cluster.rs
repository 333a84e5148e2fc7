//! `DescribeCluster` (key 60): the nodes and the controller. Controllers cannot be asked directly.

use super::{Api, Call};
use crate::state::Node;
use crate::wire;
use evenkeel_spec::words::{ErrorCode, NodeId};
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{ApiKey, DescribeClusterRequest, DescribeClusterResponse};

/// The endpoint type of brokers; the other one is of controllers.
const BROKERS: i8 = 1;

pub(super) struct DescribeCluster;

impl Api for DescribeCluster {
    const KEY: ApiKey = ApiKey::DescribeCluster;
    type Request = DescribeClusterRequest;
    type Response = DescribeClusterResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: DescribeClusterRequest,
    ) -> Option<DescribeClusterResponse> {
        if call.version >= 1 && request.endpoint_type != BROKERS {
            let error = ErrorCode::MismatchedEndpointType;
            return Some(Self::refuse(&request, call.version, error));
        }
        let state = call.state();
        let broker = |(id, node): (NodeId, &Node)| {
            DescribeClusterBroker::default()
                .with_broker_id(wire::wire_node(Some(id)))
                .with_host(wire::text(&node.host))
                .with_port(i32::from(node.port))
        };
        let response = DescribeClusterResponse::default()
            .with_cluster_id(wire::text(&state.cluster_id))
            .with_controller_id(wire::wire_node(state.controller()))
            .with_brokers(state.alive().map(broker).collect());
        Some(response)
    }

    fn refuse(_: &DescribeClusterRequest, _: i16, error: ErrorCode) -> DescribeClusterResponse {
        DescribeClusterResponse::default()
            .with_error_code(error.number())
            .with_error_message(Some(wire::text(error.name())))
    }

    fn throttle(response: &mut DescribeClusterResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}
