//! Which APIs the client needs and in which versions it speaks them.
//!
//! What is spoken with a broker is the highest version that the broker, the request struct *and*
//! the response struct know (kafka-protocol's `ApiKey::valid_versions` covers only the last for
//! some APIs) and that has what the client needs: topic ids, member epochs, flexible encoding.

use evenkeel_core::request::Request;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, FetchRequest, FetchResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use kafka_protocol::protocol::{Message, VersionRange};
use std::collections::BTreeMap;
use std::fmt;

/// An API that the client uses.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::enum_variant_names, reason = "ApiVersions is Kafka's name")]
pub(crate) enum Api {
    Fetch,
    ListOffsets,
    Metadata,
    OffsetCommit,
    OffsetFetch,
    FindCoordinator,
    ApiVersions,
    OffsetForLeaderEpoch,
    ConsumerGroupHeartbeat,
    ConsumerGroupDescribe,
}

impl Api {
    /// The API of a request.
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::ApiVersions => Self::ApiVersions,
            Request::Metadata { .. } | Request::TopicsById { .. } | Request::Topics { .. } => {
                Self::Metadata
            }
            Request::FindCoordinator => Self::FindCoordinator,
            Request::Heartbeat(_) => Self::ConsumerGroupHeartbeat,
            Request::DescribeGroup => Self::ConsumerGroupDescribe,
            Request::OffsetCommit { .. } => Self::OffsetCommit,
            Request::OffsetFetch { .. } => Self::OffsetFetch,
            Request::ListOffsets { .. } => Self::ListOffsets,
            Request::OffsetForLeaderEpoch { .. } => Self::OffsetForLeaderEpoch,
            Request::Fetch(_) => Self::Fetch,
        }
    }

    /// Its number on the wire.
    pub(crate) fn key(self) -> i16 {
        match self {
            Self::Fetch => 1,
            Self::ListOffsets => 2,
            Self::Metadata => 3,
            Self::OffsetCommit => 8,
            Self::OffsetFetch => 9,
            Self::FindCoordinator => 10,
            Self::ApiVersions => 18,
            Self::OffsetForLeaderEpoch => 23,
            Self::ConsumerGroupHeartbeat => 68,
            Self::ConsumerGroupDescribe => 69,
        }
    }

    /// Kafka's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fetch => "Fetch",
            Self::ListOffsets => "ListOffsets",
            Self::Metadata => "Metadata",
            Self::OffsetCommit => "OffsetCommit",
            Self::OffsetFetch => "OffsetFetch",
            Self::FindCoordinator => "FindCoordinator",
            Self::ApiVersions => "ApiVersions",
            Self::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
            Self::ConsumerGroupHeartbeat => "ConsumerGroupHeartbeat",
            Self::ConsumerGroupDescribe => "ConsumerGroupDescribe",
        }
    }

    /// What we speak.
    fn ours(self) -> VersionRange {
        match self {
            // 13: topics by id (KIP-516).
            Self::Fetch => both::<FetchRequest, FetchResponse>(13),
            // 6: flexible.
            Self::ListOffsets => both::<ListOffsetsRequest, ListOffsetsResponse>(6),
            // 12: topic ids, and names that may be null.
            Self::Metadata => both::<MetadataRequest, MetadataResponse>(12),
            // 9: member epochs (KIP-848).
            Self::OffsetCommit => both::<OffsetCommitRequest, OffsetCommitResponse>(9),
            Self::OffsetFetch => both::<OffsetFetchRequest, OffsetFetchResponse>(9),
            // 4: answers by group (KIP-699).
            Self::FindCoordinator => both::<FindCoordinatorRequest, FindCoordinatorResponse>(4),
            // 3: flexible; a broker that does not know it says so in version 0.
            Self::ApiVersions => VersionRange { min: 3, max: 3 },
            // 4: flexible.
            Self::OffsetForLeaderEpoch => {
                both::<OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse>(4)
            }
            // 1: the client chooses its member id (KIP-1082).
            Self::ConsumerGroupHeartbeat => {
                both::<ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse>(1)
            }
            Self::ConsumerGroupDescribe => {
                both::<ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse>(0)
            }
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The versions spoken on one connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Versions(BTreeMap<Api, i16>);

impl Versions {
    /// The version of this API. The handshake has made sure that there is one before the shell
    /// sends anything but the handshake.
    pub(crate) fn of(&self, api: Api) -> i16 {
        self.0.get(&api).copied().unwrap_or_else(|| api.ours().min)
    }

    /// Whether the broker speaks this API. Only of what it can do without is there a doubt.
    pub(crate) fn speaks(&self, api: Api) -> bool {
        !OPTIONAL.contains(&api) || self.0.contains_key(&api)
    }

    /// The highest versions that both sides speak, and a sentence about each that is missing.
    /// `offered` gives a broker's range of an API key.
    pub(crate) fn negotiate(offered: impl Fn(i16) -> Option<VersionRange>) -> (Self, Vec<String>) {
        let mut versions = BTreeMap::new();
        let mut missing = Vec::new();
        for api in NEEDED {
            let ours = api.ours();
            let (key, name) = (api.key(), api.name());
            match offered(key) {
                None => missing.push(format!("{name} (key {key}) version {}", ours.min)),
                Some(theirs) => {
                    let common = ours.intersect(&theirs);
                    if common.is_empty() {
                        missing.push(format!(
                            "{name} (key {key}) version {} (it speaks {theirs})",
                            ours.min
                        ));
                    } else {
                        versions.insert(api, common.max);
                    }
                }
            }
        }
        for api in OPTIONAL {
            let common = offered(api.key()).map(|theirs| api.ours().intersect(&theirs));
            if let Some(common) = common.filter(|common| !common.is_empty()) {
                versions.insert(api, common.max);
            }
        }
        (Self(versions), missing)
    }
}

/// What both structs know, from `least` on.
fn both<Q: Message, R: Message>(least: i16) -> VersionRange {
    let known = Q::VERSIONS.intersect(&R::VERSIONS);
    VersionRange { min: least.max(known.min), max: known.max }
}

/// What there is a way without: a call of the application fails, a position is not validated.
const OPTIONAL: [Api; 2] = [Api::ConsumerGroupDescribe, Api::OffsetForLeaderEpoch];

/// Every other API but the handshake's.
const NEEDED: [Api; 7] = [
    Api::Fetch,
    Api::ListOffsets,
    Api::Metadata,
    Api::OffsetCommit,
    Api::OffsetFetch,
    Api::FindCoordinator,
    Api::ConsumerGroupHeartbeat,
];
