//! `ApiVersions` (key 18): which APIs and versions this broker serves. A version that is not known
//! is answered in version 0, so that any client can read it (KIP-511).

use super::{Api, Call, advertised, encode};
use crate::connection::Refusal;
use bytes::BytesMut;
use evenkeel_spec::words::ErrorCode;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;

pub(super) struct ApiVersions;

impl Api for ApiVersions {
    const KEY: ApiKey = ApiKey::ApiVersions;
    type Request = ApiVersionsRequest;
    type Response = ApiVersionsResponse;

    async fn answer(_: &mut Call<'_>, _: ApiVersionsRequest) -> Option<ApiVersionsResponse> {
        let feature = StrBytes::from_static_str("group.version");
        let supported =
            SupportedFeatureKey::default().with_name(feature.clone()).with_max_version(1);
        let finalized = FinalizedFeatureKey::default()
            .with_name(feature)
            .with_min_version_level(1)
            .with_max_version_level(1);
        let response = listed()
            .with_supported_features(vec![supported])
            .with_finalized_features(vec![finalized])
            .with_finalized_features_epoch(1);
        Some(response)
    }

    fn refuse(_: &ApiVersionsRequest, _: i16, error: ErrorCode) -> ApiVersionsResponse {
        listed().with_error_code(error.number())
    }

    fn throttle(response: &mut ApiVersionsResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

/// The answer to a version that is not served.
pub(super) fn unsupported(call: &mut Call<'_>) -> Result<BytesMut, Refusal> {
    let response = listed().with_error_code(ErrorCode::UnsupportedVersion.number());
    encode(call, &response, 0)
}

fn listed() -> ApiVersionsResponse {
    let keys = advertised().into_iter().map(|(api_key, range)| {
        // Kafka 4 advertises Produce from 0 although it serves from 3: older librdkafka takes
        // the range for what compression it may use (KAFKA-18659).
        let produce = api_key == ApiKey::Produce as i16;
        let min_version = if produce { 0 } else { range.min };
        ApiVersion::default()
            .with_api_key(api_key)
            .with_min_version(min_version)
            .with_max_version(range.max)
    });
    ApiVersionsResponse::default().with_api_keys(keys.collect())
}
