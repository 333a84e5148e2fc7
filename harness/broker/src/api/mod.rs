//! The APIs: one file each, named by its key, and what they have in common. Decides which versions
//! are served and in which order hooks, handler and answer follow each other.

use crate::cluster::Shared;
use crate::connection::Refusal;
use crate::hook::{After, Answer, AnswerWords, Before, ConnectionId, Request, RequestWords};
use crate::state::State;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use evenkeel_spec::words::{ErrorCode, NodeId};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, StrBytes, VersionRange,
};
use std::future::Future;
use std::sync::MutexGuard;
use std::time::Duration;

/// What one API does.
trait Api {
    const KEY: ApiKey;
    type Request: Message + Decodable + HeaderVersion + Clone + Send + Sync;
    type Response: Message + Encodable + HeaderVersion + Send;

    /// Processes the request; `None`: it wants no answer.
    fn answer(
        call: &mut Call<'_>,
        request: Self::Request,
    ) -> impl Future<Output = Option<Self::Response>> + Send;

    /// The answer that says `error` wherever this API has room for one.
    fn refuse(request: &Self::Request, version: i16, error: ErrorCode) -> Self::Response;

    /// Writes the throttle time, milliseconds, into the answer.
    fn throttle(response: &mut Self::Response, throttle_time_ms: i32);

    /// The request in the protocol's words, for hooks.
    fn words(call: &Call<'_>, request: &Self::Request) -> Option<RequestWords> {
        let _ = (call, request);
        None
    }

    /// The answer that says `error`, in the protocol's words, for hooks.
    fn refusal_words(error: ErrorCode) -> Option<AnswerWords> {
        let _ = error;
        None
    }
}

/// The request being served: where it came in, and what its handler needs.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) node: NodeId,
    pub(crate) connection: ConnectionId,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: StrBytes,
    /// The peer's address without port.
    pub(crate) client_host: String,
    /// What the handler answered, in the protocol's words.
    pub(crate) answered: Option<AnswerWords>,
    /// Whether the connection ends where there is no answer to this request.
    pub(crate) disconnects: bool,
    /// The last answer's buffer, to be used again.
    pub(crate) spare: BytesMut,
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        node: NodeId,
        connection: ConnectionId,
        client_host: String,
    ) -> Self {
        Self {
            shared,
            node,
            connection,
            version: 0,
            correlation_id: 0,
            client_id: StrBytes::default(),
            client_host,
            answered: None,
            disconnects: false,
            spare: BytesMut::new(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'a, State> {
        self.shared.state()
    }
}

/// What the connection does next.
pub(crate) enum Outcome {
    /// Sends this frame, then reads nothing for so long.
    Answer(BytesMut, Duration),
    /// Goes on.
    Nothing,
    /// Ends.
    Disconnect,
}

macro_rules! apis {
    ($($module:ident $api:ident)*) => {
        $(mod $module;)*

        /// Every API served, with the versions that both of its structs support: their union
        /// (`ApiKey::valid_versions`) is wrong for requests.
        fn advertised() -> Vec<(i16, VersionRange)> {
            vec![$(($module::$api::KEY as i16, versions::<$module::$api>())),*]
        }

        async fn route(call: &mut Call<'_>, key: i16, frame: Bytes) -> Result<Outcome, Refusal> {
            match key {
                $(key if key == $module::$api::KEY as i16 => {
                    serve::<$module::$api>(call, frame).await
                })*
                _ => Err(Refusal::Unsupported),
            }
        }

        fn read(call: &mut Call<'_>, key: i16, frame: Bytes) -> Option<RequestWords> {
            match key {
                $(key if key == $module::$api::KEY as i16 => {
                    words::<$module::$api>(call, frame)
                })*
                _ => None,
            }
        }
    };
}

apis! {
    api_00_produce Produce
    api_01_fetch Fetch
    api_02_list_offsets ListOffsets
    api_03_metadata Metadata
    api_08_offset_commit OffsetCommit
    api_09_offset_fetch OffsetFetch
    api_10_find_coordinator FindCoordinator
    api_15_describe_groups DescribeGroups
    api_16_list_groups ListGroups
    api_18_api_versions ApiVersions
    api_19_create_topics CreateTopics
    api_20_delete_topics DeleteTopics
    api_22_init_producer_id InitProducerId
    api_23_offset_for_leader_epoch OffsetForLeaderEpoch
    api_32_describe_configs DescribeConfigs
    api_37_create_partitions CreatePartitions
    api_42_delete_groups DeleteGroups
    api_46_list_partition_reassignments ListPartitionReassignments
    api_60_describe_cluster DescribeCluster
    api_68_consumer_group_heartbeat ConsumerGroupHeartbeat
    api_69_consumer_group_describe ConsumerGroupDescribe
    api_75_describe_topic_partitions DescribeTopicPartitions
}

/// Serves one request frame: header, hooks, handler, answer.
pub(crate) async fn dispatch(call: &mut Call<'_>, frame: Bytes) -> Result<Outcome, Refusal> {
    let mut head = frame.get(..8).ok_or(Refusal::FrameTooShort)?;
    let key = head.get_i16();
    call.version = head.get_i16();
    call.correlation_id = head.get_i32();
    (call.answered, call.disconnects) = (None, false);
    *call.state().counts.requests.entry(key).or_default() += 1;
    if key == ApiKey::ApiVersions as i16 && !supports::<api_18_api_versions::ApiVersions>(call) {
        let frame = api_18_api_versions::unsupported(call)?;
        return Ok(Outcome::Answer(frame, Duration::ZERO));
    }
    route(call, key, frame).await
}

/// What a frame says in the protocol's words, without serving it.
pub(crate) fn read_words(call: &mut Call<'_>, frame: Bytes) -> Option<RequestWords> {
    let mut head = frame.get(..8)?;
    let key = head.get_i16();
    call.version = head.get_i16();
    read(call, key, frame)
}

fn words<A: Api>(call: &mut Call<'_>, mut frame: Bytes) -> Option<RequestWords> {
    if !supports::<A>(call) {
        return None;
    }
    RequestHeader::decode(&mut frame, A::Request::header_version(call.version)).ok()?;
    let request = A::Request::decode(&mut frame, call.version).ok()?;
    A::words(call, &request)
}

fn versions<A: Api>() -> VersionRange {
    A::Request::VERSIONS.intersect(&A::Response::VERSIONS)
}

fn supports<A: Api>(call: &Call<'_>) -> bool {
    let range = versions::<A>();
    (range.min..=range.max).contains(&call.version)
}

async fn serve<A: Api>(call: &mut Call<'_>, mut frame: Bytes) -> Result<Outcome, Refusal> {
    if !supports::<A>(call) {
        return Err(Refusal::Unsupported);
    }
    let header_version = A::Request::header_version(call.version);
    let header =
        RequestHeader::decode(&mut frame, header_version).map_err(|_| Refusal::Malformed)?;
    call.client_id = header.client_id.unwrap_or_default();
    let request = A::Request::decode(&mut frame, call.version).map_err(|_| Refusal::Malformed)?;
    if !frame.is_empty() {
        return Err(Refusal::Malformed);
    }
    let Some(interceptor) = call.shared.interceptor() else {
        let response = A::answer(call, request).await;
        return finish::<A>(call, response, Duration::ZERO);
    };
    let seen = see::<A>(call, &request);
    let kept = request.clone(); // the handler consumes it; an answer may be forged after that
    let response = match decide_before(interceptor.on_request(&seen)).await {
        Before::Disconnect => return Ok(Outcome::Disconnect),
        Before::Forge(error) => {
            call.answered = A::refusal_words(error);
            Some(A::refuse(&kept, call.version, error))
        }
        _ => A::answer(call, request).await,
    };
    let answer = Answer { words: call.answered.take() };
    match decide_after(interceptor.on_answer(&seen, &answer)).await {
        After::Forge(error) => {
            let forged = response.map(|_| A::refuse(&kept, call.version, error));
            finish::<A>(call, forged, Duration::ZERO)
        }
        After::Throttle(time) => finish::<A>(call, response, time),
        After::Drop => Ok(Outcome::Nothing),
        After::Disconnect => Ok(Outcome::Disconnect),
        _ => finish::<A>(call, response, Duration::ZERO),
    }
}

/// Waits until the decision is neither to hold nor to delay.
async fn decide_before(mut before: Before) -> Before {
    loop {
        match before {
            Before::Hold(gate) => before = gate.opened().await,
            Before::Delay(time) => {
                tokio::time::sleep(time).await;
                return Before::Process;
            }
            decided => return decided,
        }
    }
}

/// Waits until the decision is neither to hold nor to delay.
async fn decide_after(mut after: After) -> After {
    loop {
        match after {
            After::Hold(gate) => after = gate.opened().await,
            After::Delay(time) => {
                tokio::time::sleep(time).await;
                return After::Answer;
            }
            decided => return decided,
        }
    }
}

fn see<A: Api>(call: &Call<'_>, request: &A::Request) -> Request {
    Request {
        node: call.node,
        connection: call.connection,
        api_key: A::KEY as i16,
        version: call.version,
        correlation_id: call.correlation_id,
        client_id: call.client_id.to_string(),
        words: A::words(call, request),
    }
}

fn finish<A: Api>(
    call: &mut Call<'_>,
    response: Option<A::Response>,
    throttle: Duration,
) -> Result<Outcome, Refusal> {
    let nothing = if call.disconnects { Outcome::Disconnect } else { Outcome::Nothing };
    let Some(mut response) = response else { return Ok(nothing) };
    if !throttle.is_zero() {
        A::throttle(&mut response, i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX));
    }
    let frame = encode(call, &response, call.version)?;
    Ok(Outcome::Answer(frame, throttle))
}

/// The frame of an answer: length, header, body.
fn encode<R: Encodable + HeaderVersion>(
    call: &mut Call<'_>,
    response: &R,
    version: i16,
) -> Result<BytesMut, Refusal> {
    let header = ResponseHeader::default().with_correlation_id(call.correlation_id);
    let header_version = R::header_version(version);
    let header_size = header.compute_size(header_version).map_err(|_| Refusal::Unencodable)?;
    let size = header_size + response.compute_size(version).map_err(|_| Refusal::Unencodable)?;
    let length = i32::try_from(size).map_err(|_| Refusal::Unencodable)?;
    let mut frame = std::mem::take(&mut call.spare);
    frame.clear();
    frame.reserve(4 + size);
    frame.put_i32(length);
    header.encode(&mut frame, header_version).map_err(|_| Refusal::Unencodable)?;
    response.encode(&mut frame, version).map_err(|_| Refusal::Unencodable)?;
    Ok(frame)
}

/// Kafka's number of an outcome: 0 for success.
fn number<T>(result: &Result<T, ErrorCode>) -> i16 {
    result.as_ref().err().map_or(0, |error| error.number())
}

/// The partition leader epoch of a request: -1 is none.
fn known_epoch(epoch: i32) -> Option<u32> {
    u32::try_from(epoch).ok()
}
