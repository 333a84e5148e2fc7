//! The codec: core's words to Kafka's bytes and back.
//!
//! Decides which version of each API is spoken, and turns every sentinel of the wire into an
//! `Option` or an enum. One file an API, named by its key. Nothing of a version or of
//! kafka-protocol's structs leaves this module. An answer is checked ([`shape`]) before it is
//! decoded, so that a hostile or broken peer costs a connection and no memory.

mod api_01_fetch;
mod api_02_list_offsets;
mod api_03_metadata;
mod api_08_offset_commit;
mod api_09_offset_fetch;
mod api_10_find_coordinator;
mod api_18_api_versions;
mod api_23_offset_for_leader_epoch;
mod api_68_consumer_group_heartbeat;
mod api_69_consumer_group_describe;
pub(crate) mod frame;
mod members;
mod sentinel;
mod shape;
#[cfg(test)]
mod tests;
mod versions;

pub(crate) use members::Members;
pub(crate) use versions::{Api, Versions};

use crate::record::{Chunk, ChunkOptions};
use bytes::{BufMut, Bytes, BytesMut};
use evenkeel_core::request::{Answered, Request, Response};
use evenkeel_core::{Misbehaved, RequestId};
use evenkeel_spec::words::GroupId;
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes};
use shape::Shape;

/// What one consumer's requests have in common.
#[derive(Debug)]
pub(crate) struct Codec {
    pub(crate) group: GroupId,
    pub(crate) client_id: StrBytes,
    pub(crate) members: Members,
    pub(crate) chunks: ChunkOptions,
}

/// A request that was sent, as far as its answer needs it.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) request: Request,
    pub(crate) api: Api,
    version: i16,
}

/// Why a request could not be encoded: a bug, or text that Kafka cannot carry.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{api} version {version} cannot be encoded: {reason}")]
pub(crate) struct Unencodable {
    api: Api,
    version: i16,
    reason: String,
}

impl Codec {
    /// The whole frame of a request, and what to keep for its answer.
    pub(crate) fn encode(
        &mut self,
        id: RequestId,
        request: Request,
        versions: &Versions,
    ) -> Result<(Bytes, Sent), Unencodable> {
        let api = Api::of(&request);
        let version = versions.of(api);
        let frame = Frame { client_id: self.client_id.clone(), id, api, version };
        let bytes = match &request {
            Request::ApiVersions => frame.encode(&api_18_api_versions::request()),
            Request::Metadata { topics } => {
                frame.encode(&api_03_metadata::request(topics.as_ref()))
            }
            Request::TopicsById { ids } => frame.encode(&api_03_metadata::by_id(ids)),
            Request::Topics { topic } => frame.encode(&api_03_metadata::describe(topic.as_ref())),
            Request::FindCoordinator => {
                frame.encode(&api_10_find_coordinator::request(&self.group))
            }
            Request::DescribeGroup => {
                frame.encode(&api_69_consumer_group_describe::request(&self.group))
            }
            Request::Heartbeat(heartbeat) => {
                let member = self.members.name(heartbeat.member);
                let group = &self.group;
                frame.encode(&api_68_consumer_group_heartbeat::request(group, member, heartbeat))
            }
            Request::OffsetCommit { commit, names } => {
                let owner =
                    commit.owner.map(|owner| (self.members.name(owner.member), owner.epoch));
                let offsets = &commit.offsets;
                frame.encode(&api_08_offset_commit::request(&self.group, owner, offsets, names))
            }
            Request::OffsetFetch { fetch, names } => {
                let owner = fetch.owner.map(|owner| (self.members.name(owner.member), owner.epoch));
                let partitions = fetch.partitions.as_ref();
                frame.encode(&api_09_offset_fetch::request(&self.group, owner, partitions, names))
            }
            Request::ListOffsets { partitions, isolation, names } => {
                frame.encode(&api_02_list_offsets::request(partitions, *isolation, names))
            }
            Request::OffsetForLeaderEpoch { partitions, names } => {
                frame.encode(&api_23_offset_for_leader_epoch::request(partitions, names))
            }
            Request::Fetch(fetch) => frame.encode(&api_01_fetch::request(fetch)),
        };
        Ok((bytes?, Sent { request, api, version }))
    }

    /// The correlation id that a frame answers.
    pub(crate) fn answered(frame: &Bytes) -> Result<RequestId, Misbehaved> {
        match frame.first_chunk() {
            Some(&id) => Ok(RequestId(u32::from_be_bytes(id))),
            None => Err(malformed("an answer of less than four bytes")),
        }
    }

    /// The answer to `sent` in a frame. The answer to `ApiVersions` also gives the versions to
    /// speak on its connection from now on.
    pub(crate) fn decode(
        &self,
        sent: &Sent,
        frame: Bytes,
    ) -> Result<(Answered<Chunk>, Option<Versions>), Misbehaved> {
        let body = Body { frame, version: sent.version, api: sent.api };
        let answer = |(response, throttle_ms): (Response<Chunk>, i32)| {
            let throttle_ms = u32::try_from(throttle_ms).unwrap_or(0);
            Answered { response, throttle_ms }
        };
        let answered = match &sent.request {
            Request::ApiVersions => {
                let (response, throttle_ms, versions) = api_18_api_versions::response(body)?;
                return Ok((answer((response, throttle_ms)), Some(versions)));
            }
            Request::Metadata { .. } | Request::TopicsById { .. } => {
                api_03_metadata::response(body)?
            }
            Request::Topics { .. } => api_03_metadata::described(body)?,
            Request::FindCoordinator => api_10_find_coordinator::response(body, &self.group)?,
            Request::DescribeGroup => api_69_consumer_group_describe::response(body, &self.group)?,
            Request::Heartbeat(_) => api_68_consumer_group_heartbeat::response(body)?,
            Request::OffsetCommit { names, .. } => api_08_offset_commit::response(body, names)?,
            Request::OffsetFetch { names, .. } => {
                api_09_offset_fetch::response(body, &self.group, names)?
            }
            Request::ListOffsets { names, .. } => api_02_list_offsets::response(body, names)?,
            Request::OffsetForLeaderEpoch { names, .. } => {
                api_23_offset_for_leader_epoch::response(body, names)?
            }
            Request::Fetch(fetch) => api_01_fetch::response(body, fetch, self.chunks)?,
        };
        Ok((answer(answered), None))
    }
}

/// What goes before each request.
struct Frame {
    client_id: StrBytes,
    id: RequestId,
    api: Api,
    version: i16,
}

impl Frame {
    fn encode<M: Encodable + HeaderVersion>(&self, message: &M) -> Result<Bytes, Unencodable> {
        self.try_encode(message).map_err(|reason| Unencodable {
            api: self.api,
            version: self.version,
            reason,
        })
    }

    fn try_encode<M: Encodable + HeaderVersion>(&self, message: &M) -> Result<Bytes, String> {
        let header = RequestHeader::default()
            .with_request_api_key(self.api.key())
            .with_request_api_version(self.version)
            .with_correlation_id(i32::try_from(self.id.0).map_err(|error| error.to_string())?)
            .with_client_id(Some(self.client_id.clone()));
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        header
            .encode(&mut frame, M::header_version(self.version))
            .and_then(|()| message.encode(&mut frame, self.version))
            .map_err(|error| error.to_string())?;
        let length = u32::try_from(frame.len() - 4).map_err(|error| error.to_string())?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(frame.freeze())
    }
}

/// An answer's frame with what is known of it.
struct Body {
    frame: Bytes,
    version: i16,
    api: Api,
}

impl Body {
    /// Checks and decodes the whole frame, header included.
    fn decode<M: Decodable + HeaderVersion + Message>(
        self,
        shape: &'static [Shape],
    ) -> Result<M, Misbehaved> {
        let version = self.version;
        self.decode_as(version, shape)
    }

    /// The same in another version than that of the request.
    fn decode_as<M: Decodable + HeaderVersion + Message>(
        self,
        version: i16,
        shape: &'static [Shape],
    ) -> Result<M, Misbehaved> {
        let header_version = M::header_version(version);
        let header: &[Shape] = if header_version == 0 {
            &[Shape::Fixed(4)]
        } else {
            &[Shape::Fixed(4), Shape::Tags(&[])]
        };
        let what = |error: &dyn std::fmt::Display| {
            malformed(format_args!("an answer to {} version {version}: {error}", self.api))
        };
        shape::check(&[header, shape], &self.frame).map_err(|error| what(&error))?;
        let mut bytes = self.frame.clone();
        ResponseHeader::decode(&mut bytes, header_version).map_err(|error| what(&error))?;
        M::decode(&mut bytes, version).map_err(|error| what(&error))
    }
}

/// What came is not Kafka's protocol, in a sentence.
fn malformed(sentence: impl std::fmt::Display) -> Misbehaved {
    Misbehaved::Malformed(sentence.to_string().into())
}
