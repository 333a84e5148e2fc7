//! `ApiVersions` (key 18): the handshake. Version 3 is asked; a broker that does not know it
//! answers `UNSUPPORTED_VERSION` in version 0, with the old encoding.

use super::shape::Shape;
use super::{Body, Versions, malformed};
use crate::record::Chunk;
use evenkeel_core::Misbehaved;
use evenkeel_core::request::{Response, Unsupported};
use evenkeel_spec::words::ErrorCode;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{StrBytes, VersionRange};

pub(super) fn request() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("evenkeel"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")))
}

pub(super) fn response(body: Body) -> Result<(Response<Chunk>, i32, Versions), Misbehaved> {
    let error = body.frame.get(4..6).map(|code| i16::from_be_bytes([code[0], code[1]]));
    let is_old = error == Some(ErrorCode::UnsupportedVersion.number());
    let answer: ApiVersionsResponse =
        if is_old { body.decode_as(0, OLD_SHAPE)? } else { body.decode(SHAPE)? };
    if let Some(code) = ErrorCode::from_number(answer.error_code)
        && !is_old
    {
        return Err(malformed(format_args!("the handshake (ApiVersions) failed: {code}")));
    }
    let offered = |key| {
        let of_key = answer.api_keys.iter().find(|api| api.api_key == key);
        of_key.map(|api| VersionRange { min: api.min_version, max: api.max_version })
    };
    let (versions, missing) = Versions::negotiate(offered);
    let supported = if missing.is_empty() && !is_old {
        Ok(())
    } else {
        let what = format!(
            "{}; evenkeel needs a broker with the consumer group protocol of KIP-848: Apache Kafka \
             4.0 or newer, \"consumer\" among its group.coordinator.rebalance.protocols",
            if missing.is_empty() {
                "ApiVersions version 3".to_owned()
            } else {
                missing.join(", ")
            }
        );
        Err(Unsupported { what: what.into() })
    };
    Ok((Response::ApiVersions(supported), answer.throttle_time_ms, versions))
}

/// Version 3.
const SHAPE: &[Shape] = &[
    Shape::Fixed(2),
    Shape::Array(&[Shape::Fixed(6), Shape::Tags(&[])]),
    Shape::Fixed(4),
    Shape::Tags(&[
        (0, &[Shape::Array(&[Shape::Sized, Shape::Fixed(4), Shape::Tags(&[])])]),
        (1, &[Shape::Fixed(8)]),
        (2, &[Shape::Array(&[Shape::Sized, Shape::Fixed(4), Shape::Tags(&[])])]),
        (3, &[Shape::Fixed(1)]),
    ]),
];

/// Version 0.
const OLD_SHAPE: &[Shape] = &[Shape::Fixed(2), Shape::OldArray(6)];
