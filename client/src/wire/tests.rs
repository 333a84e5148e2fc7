//! The codec against kafka-protocol's own structs as the broker encodes them, and against bytes
//! that no broker sends.

mod describe;
mod epochs;

use super::{Codec, Members, Sent, Versions};
use crate::record::{Chunk, ChunkOptions};
use bytes::{BufMut, Bytes, BytesMut};
use evenkeel_core::request::{
    Fetch, FetchPartition, ListOffset, ListedOffset, OffsetAt, Request, Response, TopicNames,
};
use evenkeel_core::{Isolation, Misbehaved, RequestId};
use evenkeel_spec::words::{
    Assignor, Committed, Epoch, ErrorCode, Heartbeat, HeartbeatEpoch, LeaderEpoch, MemberId,
    NodeId, Offset, OffsetCommit, OffsetFetch, Owner, TopicId, TopicIdPartition, TopicName,
};
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::EpochEndOffset;
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, FetchRequest, FetchResponse, FindCoordinatorResponse,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchResponse, RequestHeader, ResponseHeader,
    api_versions_response::ApiVersion, find_coordinator_response::Coordinator,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes, VersionRange};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const ID: RequestId = RequestId(7);
const TOPIC: TopicId = TopicId::from_u32(1);
const AT: TopicIdPartition = TopicIdPartition::new(TOPIC, 3);

fn codec() -> Codec {
    Codec {
        group: "g".into(),
        client_id: StrBytes::from_static_str("c"),
        members: Members::new(Some(1)),
        chunks: ChunkOptions::default(),
    }
}

fn newest() -> Versions {
    let (versions, missing) = Versions::negotiate(|_| Some(VersionRange { min: 0, max: i16::MAX }));
    assert!(missing.is_empty());
    versions
}

fn names() -> TopicNames {
    BTreeMap::from([(TOPIC, TopicName::from("t"))])
}

/// Sends `request`, and reads it as a broker does.
fn received<M: Decodable + HeaderVersion>(request: Request) -> M {
    let (mut frame, sent) = codec().encode(ID, request, &newest()).expect("it can be encoded");
    let length = frame.split_to(4);
    assert_eq!(u32::from_be_bytes(*length.first_chunk().expect("four")) as usize, frame.len());
    let header = RequestHeader::decode(&mut frame, M::header_version(sent.version));
    let header = header.expect("a header");
    assert_eq!((header.correlation_id, header.client_id.as_deref()), (7, Some("c")));
    assert_eq!(header.request_api_key, sent.api.key());
    let message = M::decode(&mut frame, sent.version).expect("a request");
    assert!(frame.is_empty());
    message
}

fn sent(request: Request) -> Sent {
    codec().encode(ID, request, &newest()).expect("it can be encoded").1
}

/// A broker's answer as a frame.
fn frame<M: Encodable + HeaderVersion>(version: i16, message: &M) -> Bytes {
    let mut frame = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(7);
    header.encode(&mut frame, M::header_version(version)).expect("a header");
    message.encode(&mut frame, version).expect("an answer");
    frame.freeze()
}

fn answered<M: Encodable + HeaderVersion>(request: Request, message: &M) -> Response<Chunk> {
    let sent = sent(request);
    let frame = frame(sent.version, message);
    assert_eq!(Codec::answered(&frame), Ok(ID));
    codec().decode(&sent, frame).expect("well-formed").0.response
}

/// Fetched records cannot be compared; none are in these.
fn assert_same(answer: &Response<Chunk>, expected: &Response<Chunk>) {
    assert_eq!(format!("{answer:?}"), format!("{expected:?}"));
}

fn heartbeat(epoch: HeartbeatEpoch) -> Heartbeat {
    Heartbeat {
        member: MemberId(0),
        epoch,
        rebalance_timeout_ms: None,
        subscription: None,
        pattern: None,
        assignor: None,
        owned: None,
    }
}

fn fetch() -> Fetch {
    Fetch {
        wait_max_ms: 500,
        bytes_min: 1,
        bytes_max: 1_000,
        isolation: Isolation::ReadUncommitted,
        partitions: vec![FetchPartition {
            partition: AT,
            offset: Offset(5),
            leader_epoch: None,
            bytes_max: 100,
        }],
        names: names(),
    }
}

fn commit() -> Request {
    let owner = Some(Owner { member: MemberId(0), epoch: Epoch(4) });
    let offsets = BTreeMap::from([(AT, Committed::at(Offset(9)))]);
    Request::OffsetCommit { commit: OffsetCommit { owner, offsets }, names: names() }
}

#[test]
fn a_join_says_everything_and_a_later_heartbeat_says_unchanged() {
    let full = Heartbeat {
        rebalance_timeout_ms: Some(300_000),
        subscription: Some(BTreeSet::from(["t".into()]).into()),
        assignor: Some(Assignor::Range),
        owned: Some(BTreeSet::from([AT])),
        ..heartbeat(HeartbeatEpoch::Join)
    };
    let wire: ConsumerGroupHeartbeatRequest = received(Request::Heartbeat(full));
    assert_eq!((&*wire.group_id, wire.member_epoch), (&StrBytes::from_static_str("g"), 0));
    assert_eq!(wire.member_id.len(), 36);
    assert_eq!(wire.rebalance_timeout_ms, 300_000);
    assert_eq!(wire.subscribed_topic_names.expect("told")[0].as_str(), "t");
    assert_eq!(wire.server_assignor.as_deref(), Some("range"));
    let owned = &wire.topic_partitions.expect("told")[0];
    assert_eq!((owned.topic_id.into_bytes(), &owned.partitions[..]), (TOPIC.0, &[3][..]));

    let stay = heartbeat(HeartbeatEpoch::Stay(Epoch(4)));
    let wire: ConsumerGroupHeartbeatRequest = received(Request::Heartbeat(stay));
    assert_eq!((wire.member_epoch, wire.rebalance_timeout_ms), (4, -1));
    assert_eq!((wire.subscribed_topic_names, wire.topic_partitions), (None, None));
    let leave = heartbeat(HeartbeatEpoch::Leave);
    let wire: ConsumerGroupHeartbeatRequest = received(Request::Heartbeat(leave));
    assert_eq!(wire.member_epoch, -1);
}

#[test]
fn heartbeat_answers_lose_their_sentinels_and_impossible_ones_are_refused() {
    let request = || Request::Heartbeat(heartbeat(HeartbeatEpoch::Join));
    let topic = TopicPartitions::default()
        .with_topic_id(Uuid::from_bytes(TOPIC.0))
        .with_partitions(vec![3]);
    let wire = ConsumerGroupHeartbeatResponse::default()
        .with_member_epoch(2)
        .with_heartbeat_interval_ms(5_000)
        .with_assignment(Some(Assignment::default().with_topic_partitions(vec![topic])));
    let Response::Heartbeat(Ok(answer)) = answered(request(), &wire) else { panic!() };
    assert_eq!((answer.epoch, answer.heartbeat_interval_ms), (Some(Epoch(2)), 5_000));
    assert_eq!(answer.assignment, Some(BTreeSet::from([AT])));
    let left = ConsumerGroupHeartbeatResponse::default().with_member_epoch(-1);
    let Response::Heartbeat(Ok(answer)) = answered(request(), &left) else { panic!() };
    assert_eq!((answer.epoch, answer.assignment), (None, None));
    let fenced = ConsumerGroupHeartbeatResponse::default().with_error_code(110);
    let answer = answered(request(), &fenced);
    assert_same(&answer, &Response::Heartbeat(Err(ErrorCode::FencedMemberEpoch)));
    for impossible in [wire.clone().with_member_epoch(0), wire.with_heartbeat_interval_ms(0)] {
        let sent = sent(request());
        let frame = frame(sent.version, &impossible);
        assert!(matches!(codec().decode(&sent, frame), Err(Misbehaved::Malformed(_))));
    }
}

#[test]
fn commits_go_by_name_with_the_members_epoch() {
    let wire: OffsetCommitRequest = received(commit());
    assert_eq!((wire.generation_id_or_member_epoch, wire.member_id.len()), (4, 36));
    let topic = &wire.topics[0];
    assert_eq!((topic.name.as_str(), topic.partitions[0].partition_index), ("t", 3));
    assert_eq!(topic.partitions[0].committed_offset, 9);
    assert_eq!(topic.partitions[0].committed_leader_epoch, -1);
}

#[test]
fn a_commit_error_that_concerns_the_whole_request_is_one_again() {
    let wires = |codes: &[(i32, i16)]| {
        let partition = |(index, code): &(i32, i16)| {
            let partition = OffsetCommitResponsePartition::default();
            partition.with_partition_index(*index).with_error_code(*code)
        };
        let topic = OffsetCommitResponseTopic::default()
            .with_name(StrBytes::from_static_str("t").into())
            .with_partitions(codes.iter().map(partition).collect());
        OffsetCommitResponse::default().with_topics(vec![topic])
    };
    let wire = |code| wires(&[(3, code)]);
    let ok = BTreeMap::from([(AT, Ok(()))]);
    assert_same(&answered(commit(), &wire(0)), &Response::OffsetCommit(Ok(ok)));
    let stale = Response::OffsetCommit(Err(ErrorCode::StaleMemberEpoch));
    assert_same(&answered(commit(), &wire(113)), &stale);
    // A partition that the broker refuses by itself is not asked of the coordinator.
    for codes in [[(3, 113), (4, 3)], [(3, 3), (4, 113)]] {
        assert_same(&answered(commit(), &wires(&codes)), &stale);
    }
    let too_large = BTreeMap::from([(AT, Err(ErrorCode::OffsetMetadataTooLarge))]);
    assert_same(&answered(commit(), &wire(12)), &Response::OffsetCommit(Ok(too_large)));
}

#[test]
fn nothing_committed_and_no_such_record_are_none() {
    let fetch = OffsetFetch { owner: None, partitions: Some(BTreeSet::from([AT])) };
    let request = Request::OffsetFetch { fetch, names: names() };
    let partition =
        OffsetFetchResponsePartitions::default().with_partition_index(3).with_committed_offset(-1);
    let topic = OffsetFetchResponseTopics::default()
        .with_name(StrBytes::from_static_str("t").into())
        .with_partitions(vec![partition]);
    let group = OffsetFetchResponseGroup::default()
        .with_group_id(StrBytes::from_static_str("g").into())
        .with_topics(vec![topic]);
    let wire = OffsetFetchResponse::default().with_groups(vec![group]);
    let none = Response::OffsetFetch(Ok(BTreeMap::from([(AT, Ok(None))])));
    assert_same(&answered(request, &wire), &none);

    let asked = ListOffset { at: OffsetAt::Latest, leader_epoch: Some(LeaderEpoch(0)) };
    let request = || Request::ListOffsets {
        partitions: BTreeMap::from([(AT, asked)]),
        isolation: Isolation::ReadCommitted,
        names: names(),
    };
    let wire = |offset| {
        let partition = ListOffsetsPartitionResponse::default()
            .with_partition_index(3)
            .with_offset(offset)
            .with_leader_epoch(-1);
        let topic = ListOffsetsTopicResponse::default()
            .with_name(StrBytes::from_static_str("t").into())
            .with_partitions(vec![partition]);
        ListOffsetsResponse::default().with_topics(vec![topic])
    };
    let listed = |offset| Response::ListOffsets(BTreeMap::from([(AT, Ok(offset))]));
    assert_same(&answered(request(), &wire(-1)), &listed(None));
    let eight = ListedOffset { offset: Offset(8), leader_epoch: None, timestamp_ms: None };
    assert_same(&answered(request(), &wire(8)), &listed(Some(eight)));
}

#[test]
fn topics_are_described_by_name_or_all_of_them_and_never_created() {
    let wire: MetadataRequest = received(Request::Topics { topic: None });
    assert_eq!((wire.topics, wire.allow_auto_topic_creation), (None, false), "null is all");
    let one = || Request::Topics { topic: Some("t".into()) };
    let wire: MetadataRequest = received(one());
    assert_eq!(wire.topics.map(|topics| topics.len()), Some(1));
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(1))
            .with_replica_nodes(vec![BrokerId(1), BrokerId(2)])
            .with_isr_nodes(vec![BrokerId(1)])
            .with_offline_replicas(vec![BrokerId(2)])
    };
    let known = MetadataResponseTopic::default()
        .with_name(Some(StrBytes::from_static_str("t").into()))
        .with_topic_id(Uuid::from_bytes(TOPIC.0))
        .with_is_internal(true)
        .with_partitions(vec![partition(1), partition(0)]);
    let answer = MetadataResponse::default().with_topics(vec![known]);
    let Response::Topics(Ok(topics)) = answered(one(), &answer) else { panic!() };
    let topic = topics[&"t".into()].as_ref().expect("known");
    assert_eq!((topic.id, topic.is_internal), (TOPIC, true));
    let indexes: Vec<_> = topic.partitions.iter().map(|partition| partition.partition).collect();
    assert_eq!(indexes, [0, 1], "by index");
    let first = &topic.partitions[0];
    assert_eq!(first.replicas, [NodeId(1), NodeId(2)]);
    assert_eq!((&first.in_sync[..], &first.offline[..]), (&[NodeId(1)][..], &[NodeId(2)][..]));
    let refused = MetadataResponse::default().with_error_code(129);
    let answer = answered(one(), &refused);
    assert_same(&answer, &Response::Topics(Err(ErrorCode::RebootstrapRequired)));
}

#[test]
fn metadata_names_brokers_leaders_and_missing_topics() {
    let request = Request::Metadata { topics: Some(BTreeSet::from(["t".into(), "u".into()])) };
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(1))
        .with_host(StrBytes::from_static_str("h"))
        .with_port(9092);
    let partition = |index, leader, error| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(6)
            .with_error_code(error)
    };
    let known = MetadataResponseTopic::default()
        .with_name(Some(StrBytes::from_static_str("t").into()))
        .with_topic_id(Uuid::from_bytes(TOPIC.0))
        .with_partitions(vec![partition(0, 1, 0), partition(1, -1, 5)]);
    let unknown = MetadataResponseTopic::default()
        .with_name(Some(StrBytes::from_static_str("u").into()))
        .with_error_code(3);
    let wire =
        MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![known, unknown]);
    let Response::Metadata(metadata) = answered(request, &wire) else { panic!() };
    assert_eq!(metadata.brokers[&NodeId(1)].to_string(), "h:9092");
    let topic = metadata.topics[&"t".into()].as_ref().expect("known");
    assert_eq!(topic.id, TOPIC);
    assert_eq!(topic.partitions[&0].leader, Some(NodeId(1)));
    assert_eq!(topic.partitions[&0].leader_epoch, Some(LeaderEpoch(6)));
    assert_eq!(topic.partitions[&1].leader, None);
    assert_eq!(metadata.topics[&"u".into()], Err(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn fetches_are_sessionless_and_their_answers_by_partition() {
    let wire: FetchRequest = received(Request::Fetch(fetch()));
    assert_eq!((wire.session_id, wire.session_epoch, wire.replica_id.0), (0, -1, -1));
    let partition = &wire.topics[0].partitions[0];
    assert_eq!((partition.partition, partition.fetch_offset), (3, 5));
    assert_eq!(partition.current_leader_epoch, -1);

    let partition = |index, error| {
        PartitionData::default()
            .with_partition_index(index)
            .with_error_code(error)
            .with_high_watermark(8)
            .with_records(Some(Bytes::new()))
    };
    let topic = FetchableTopicResponse::default()
        .with_topic_id(Uuid::from_bytes(TOPIC.0))
        .with_partitions(vec![partition(3, 0), partition(4, 0)]);
    let wire = FetchResponse::default().with_responses(vec![topic]);
    let Response::Fetch(Ok(fetched)) = answered(Request::Fetch(fetch()), &wire) else { panic!() };
    assert_eq!(fetched.len(), 1, "partition 4 was not asked for");
    let at = fetched[&AT].as_ref().expect("no error");
    assert_eq!((at.high_watermark, at.chunk.is_none()), (Some(Offset(8)), true));
    let refused = FetchResponse::default().with_error_code(70);
    let answer = answered(Request::Fetch(fetch()), &refused);
    assert_same(&answer, &Response::Fetch(Err(ErrorCode::FetchSessionIdNotFound)));
}

#[test]
fn a_broker_without_the_consumer_protocol_is_unsupported() {
    let range = |key, max| ApiVersion::default().with_api_key(key).with_max_version(max);
    let keys: Vec<_> = [1, 2, 3, 8, 9, 10].map(|key| range(key, 99)).into();
    for extra in [None, Some(range(68, 0))] {
        let offered = keys.iter().cloned().chain(extra).collect();
        let wire = ApiVersionsResponse::default().with_api_keys(offered);
        let answer = answered(Request::ApiVersions, &wire);
        let Response::ApiVersions(Err(unsupported)) = answer else { panic!() };
        assert!(unsupported.what.contains("ConsumerGroupHeartbeat (key 68) version 1"));
    }
    let old = ApiVersionsResponse::default().with_error_code(35);
    let answer = codec().decode(&sent(Request::ApiVersions), frame(0, &old)).expect("decoded").0;
    assert!(matches!(answer.response, Response::ApiVersions(Err(_))));
}

#[test]
fn the_coordinator_of_another_group_is_no_answer() {
    let found = |key| {
        let coordinator = Coordinator::default()
            .with_key(StrBytes::from_static_str(key))
            .with_node_id(BrokerId(2))
            .with_host(StrBytes::from_static_str("h"))
            .with_port(1);
        FindCoordinatorResponse::default().with_coordinators(vec![coordinator])
    };
    let answer = answered(Request::FindCoordinator, &found("g"));
    let Response::FindCoordinator(Ok(coordinator)) = answer else { panic!() };
    assert_eq!(coordinator.node, NodeId(2));
    let sent = sent(Request::FindCoordinator);
    let frame = frame(sent.version, &found("h"));
    assert!(matches!(codec().decode(&sent, frame), Err(Misbehaved::Malformed(_))));
}

/// Every kind of request with the frame of an answer to it.
fn exchanges() -> Vec<(Request, Bytes)> {
    let mut exchanges = Vec::new();
    let mut add = |request: Request, encode: &dyn Fn(i16) -> Bytes| {
        let version = sent(request.clone()).version;
        exchanges.push((request, encode(version)));
    };
    let heartbeat = Request::Heartbeat(heartbeat(HeartbeatEpoch::Join));
    let topic = TopicPartitions::default().with_partitions(vec![1, 2, 3]);
    let assignment = Assignment::default().with_topic_partitions(vec![topic.clone(), topic]);
    let answer = ConsumerGroupHeartbeatResponse::default().with_assignment(Some(assignment));
    add(heartbeat, &|version| frame(version, &answer));
    let partition = PartitionData::default()
        .with_partition_index(3)
        .with_records(Some(Bytes::from_static(&[7; 99])));
    let topic = FetchableTopicResponse::default()
        .with_topic_id(Uuid::from_bytes(TOPIC.0))
        .with_partitions(vec![partition]);
    let answer = FetchResponse::default().with_responses(vec![topic]);
    add(Request::Fetch(fetch()), &|version| frame(version, &answer));
    let partition = MetadataResponsePartition::default().with_replica_nodes(vec![BrokerId(1)]);
    let topic = MetadataResponseTopic::default().with_partitions(vec![partition]);
    let answer = MetadataResponse::default().with_topics(vec![topic]);
    add(Request::Metadata { topics: None }, &|version| frame(version, &answer));
    add(Request::Topics { topic: None }, &|version| frame(version, &answer));
    let keys = vec![ApiVersion::default().with_api_key(1); 9];
    let answer = ApiVersionsResponse::default().with_api_keys(keys);
    add(Request::ApiVersions, &|version| frame(version, &answer));
    let found = Coordinator::default().with_key(StrBytes::from_static_str("g"));
    let answer = FindCoordinatorResponse::default().with_coordinators(vec![found]);
    add(Request::FindCoordinator, &|version| frame(version, &answer));
    let answer = ConsumerGroupDescribeResponse::default().with_groups(vec![describe::group()]);
    add(Request::DescribeGroup, &|version| frame(version, &answer));
    let answer = epochs::ends("t", EpochEndOffset::default());
    add(epochs::request(), &|version| frame(version, &answer));
    let group = OffsetFetchResponseGroup::default()
        .with_group_id(StrBytes::from_static_str("g").into())
        .with_topics(vec![OffsetFetchResponseTopics::default()]);
    let answer = OffsetFetchResponse::default().with_groups(vec![group]);
    let fetch = OffsetFetch { owner: None, partitions: None };
    let request = Request::OffsetFetch { fetch, names: names() };
    add(request, &|version| frame(version, &answer));
    let topic = OffsetCommitResponseTopic::default()
        .with_partitions(vec![OffsetCommitResponsePartition::default(); 3]);
    let answer = OffsetCommitResponse::default().with_topics(vec![topic]);
    add(commit(), &|version| frame(version, &answer));
    exchanges
}

#[test]
fn bytes_after_an_answer_and_bytes_missing_are_refused() {
    for (request, frame) in exchanges() {
        let sent = sent(request);
        let mut longer = BytesMut::from(&frame[..]);
        longer.put_u8(0);
        assert!(codec().decode(&sent, longer.freeze()).is_err(), "{:?}", sent.api);
        for length in 0..frame.len() {
            assert!(codec().decode(&sent, frame.slice(..length)).is_err(), "{:?}", sent.api);
        }
    }
}

/// Each of these makes kafka-protocol 0.18 alone ask for 60 GB and more, which aborts the process:
/// that this test ends is the check.
#[test]
fn counts_beyond_the_frame_are_refused_before_memory_is_reserved() {
    let hostile: [(Request, &[u8]); 3] = [
        (
            Request::Fetch(fetch()),
            &[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ),
        (Request::ApiVersions, &[0, 0, 0, 7, 0, 35, 0x7f, 0xff, 0xff, 0xff]),
        (
            Request::Metadata { topics: None },
            &[0, 0, 0, 7, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ),
    ];
    for (request, bytes) in hostile {
        let refused = codec().decode(&sent(request), Bytes::from_static(bytes));
        let Err(Misbehaved::Malformed(said)) = refused else { panic!() };
        assert!(said.contains("exceeds the frame"), "{said}");
    }
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("less than bound")
    }
}

#[test]
fn mutated_answers_never_panic_or_abort() {
    let seed = 2_026;
    let mut random = Random(seed);
    let exchanges: Vec<_> =
        exchanges().into_iter().map(|(request, frame)| (sent(request), frame)).collect();
    let codec = codec();
    let mut decoded = 0;
    for _ in 0..200_000 {
        let (sent, frame) = &exchanges[random.below(exchanges.len())];
        let mut bytes = BytesMut::from(&frame[..]);
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = 0xff,
                _ => bytes.truncate(at.max(1)),
            }
        }
        decoded += u32::from(codec.decode(sent, bytes.freeze()).is_ok());
    }
    assert!(decoded > 1_000, "seed {seed}: {decoded} of the mutations were harmless");
}
