//! `FindCoordinator` (key 10) of one group.

use super::shape::Shape;
use super::{Body, malformed, sentinel};
use crate::record::Chunk;
use evenkeel_core::Misbehaved;
use evenkeel_core::request::{Coordinator, Response};
use evenkeel_spec::words::{ErrorCode, GroupId};
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

/// Key type 0 is a group.
pub(super) fn request(group: &GroupId) -> FindCoordinatorRequest {
    FindCoordinatorRequest::default()
        .with_key_type(0)
        .with_coordinator_keys(vec![sentinel::text(group.as_str())])
}

pub(super) fn response(body: Body, group: &GroupId) -> Result<(Response<Chunk>, i32), Misbehaved> {
    let answer: FindCoordinatorResponse = body.decode(SHAPE)?;
    let of_group = answer.coordinators.iter().find(|found| &*found.key == group.as_str());
    let found = of_group.ok_or_else(|| malformed("no coordinator of the group asked for"))?;
    let coordinator = match ErrorCode::from_number(found.error_code) {
        Some(code) => Err(code),
        None => Ok(Coordinator {
            node: sentinel::node(found.node_id)
                .ok_or_else(|| malformed("a coordinator without a node id"))?,
            address: sentinel::address(&found.host, found.port)?,
        }),
    };
    Ok((Response::FindCoordinator(coordinator), answer.throttle_time_ms))
}

const SHAPE: &[Shape] = &[
    Shape::Fixed(4),
    Shape::Array(&[
        Shape::Sized,
        Shape::Fixed(4),
        Shape::Sized,
        Shape::Fixed(6),
        Shape::Sized,
        Shape::Tags(&[]),
    ]),
    Shape::Tags(&[]),
];
