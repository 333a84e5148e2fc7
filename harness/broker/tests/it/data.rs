//! Produce, fetch, metadata, offsets and malformed frames, over TCP and in memory.

use crate::peer::{Fetch, in_memory, name, produce_request, records, tcp, uuid};
use evenkeel_broker::{Cluster, Refusal};
use evenkeel_spec::words::{ErrorCode, NodeId, Offset};
use kafka_protocol::messages::api_versions_request::ApiVersionsRequest;
use kafka_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;
use tokio::time::Instant;

fn cluster(nodes: u32) -> Cluster {
    Cluster::builder().nodes(nodes).topic("t", 2).build().expect("a good configuration")
}

#[tokio::test]
async fn what_is_produced_over_tcp_is_fetched_with_offsets() {
    let cluster = cluster(1);
    let addr = cluster.listen("127.0.0.1:0".parse().unwrap()).expect("a free port")[0];
    let mut peer = tcp(addr).await;
    assert_eq!(peer.produce("t", 0, &["a", "b"]).await.base_offset, 0);
    assert_eq!(peer.produce("t", 0, &["c"]).await.base_offset, 2);
    let (_, data) = peer.fetch(Fetch::of("t", 0, 1)).await;
    let expected: Vec<_> = [(0, "a"), (1, "b"), (2, "c")].map(|(o, v)| (o, v.to_owned())).into();
    assert_eq!(records(&data), expected, "whole batches, from the one that holds the offset");
    assert_eq!((data.error_code, data.high_watermark), (0, 3));
    assert_eq!(cluster.requests(0), 2);
    assert_eq!(cluster.connections().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_fetch_wakes_on_an_append_and_else_ends_at_its_wait() {
    let cluster = cluster(1);
    let mut peer = in_memory(&cluster, 1);
    let start = Instant::now();
    let waiting = Fetch { max_wait_ms: 60_000, ..Fetch::of("t", 0, 0) };
    let (_, data) = peer.fetch(waiting).await;
    assert!(records(&data).is_empty());
    assert_eq!(start.elapsed().as_secs(), 60);
    let appender = cluster.clone();
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(7)).await;
        appender.append("t", 0, None, Some(b"woke")).expect("the topic exists");
    });
    let start = Instant::now();
    let (_, data) = peer.fetch(waiting).await;
    assert_eq!(records(&data), [(0, "woke".to_owned())]);
    assert_eq!(start.elapsed().as_secs(), 7);
    later.await.expect("the appender is done");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_for_min_bytes() {
    let cluster = cluster(1);
    let mut peer = in_memory(&cluster, 1);
    cluster.append("t", 0, None, Some(b"few")).expect("the topic exists");
    let start = Instant::now();
    let greedy = Fetch { max_wait_ms: 500, min_bytes: 10_000, ..Fetch::of("t", 0, 0) };
    let (_, data) = peer.fetch(greedy).await;
    assert_eq!(records(&data).len(), 1);
    assert_eq!(start.elapsed().as_millis(), 500);
}

#[tokio::test]
async fn fetch_errors_come_at_once_and_as_kafkas() {
    let cluster = cluster(2);
    let leader = cluster.leader("t", 0).unwrap().expect("a leader");
    let other = NodeId(3 - leader.0);
    let mut peer = in_memory(&cluster, leader.0);
    let error = |code: i16| ErrorCode::from_number(code);
    let of = |offset| Fetch { max_wait_ms: 60_000, ..Fetch::of("t", 0, offset) };
    let (_, data) = peer.fetch(of(5)).await;
    assert_eq!(error(data.error_code), Some(ErrorCode::OffsetOutOfRange));
    let (_, data) = peer.fetch(Fetch { leader_epoch: 7, ..of(0) }).await;
    assert_eq!(error(data.error_code), Some(ErrorCode::UnknownLeaderEpoch));
    let (_, data) = peer.fetch(Fetch { topic: "none", ..of(0) }).await;
    assert_eq!(error(data.error_code), Some(ErrorCode::UnknownTopicOrPartition));
    let (_, data) = in_memory(&cluster, other.0).fetch(of(0)).await;
    assert_eq!(error(data.error_code), Some(ErrorCode::NotLeaderOrFollower));
    assert_eq!(data.current_leader.leader_id.0, leader.0);
    cluster.move_leader("t", 0, other).expect("an alive replica");
    let (_, data) = in_memory(&cluster, other.0).fetch(Fetch { leader_epoch: 0, ..of(0) }).await;
    assert_eq!(error(data.error_code), Some(ErrorCode::FencedLeaderEpoch));
    let mut by_id = of(0).request();
    by_id.topics[0].topic_id = uuid::Uuid::from_u128(999);
    let answer = in_memory(&cluster, other.0).ask(17, &by_id).await;
    let code = answer.responses[0].partitions[0].error_code;
    assert_eq!(error(code), Some(ErrorCode::UnknownTopicId));
}

#[tokio::test]
async fn a_fetch_session_that_does_not_exist_is_refused_and_none_is_made() {
    let cluster = cluster(1);
    cluster.append("t", 0, None, Some(b"x")).expect("the topic exists");
    let mut peer = in_memory(&cluster, 1);
    let mut request = Fetch::of("t", 0, 0).request();
    request.topics[0].topic_id = uuid(&cluster, "t");
    (request.session_id, request.session_epoch) = (0, 0);
    let answer = peer.ask(17, &request).await;
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    assert_eq!(records(&answer.responses[0].partitions[0]).len(), 1);
    (request.session_id, request.session_epoch) = (42, 3);
    let answer = peer.ask(17, &request).await;
    assert_eq!(answer.error_code, ErrorCode::FetchSessionIdNotFound.number());
}

#[tokio::test]
async fn metadata_names_nodes_leaders_and_unknown_topics() {
    let cluster = cluster(3);
    let mut peer = in_memory(&cluster, 2);
    let all = peer.ask(12, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(all.brokers.len(), 3);
    assert_eq!((all.topics.len(), all.topics[0].partitions.len()), (1, 2));
    let wanted = vec![
        MetadataRequestTopic::default().with_name(Some(name("t"))),
        MetadataRequestTopic::default().with_name(Some(name("none"))),
        MetadataRequestTopic::default().with_name(None).with_topic_id(uuid::Uuid::from_u128(999)),
        MetadataRequestTopic::default().with_name(None).with_topic_id(uuid(&cluster, "t")),
    ];
    let asked = MetadataRequest::default().with_topics(Some(wanted));
    let some = peer.ask(13, &asked).await;
    let codes: Vec<_> = some.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, 3, 100, 0]);
    assert_eq!(some.topics[3].name, Some(name("t")));
    for version in 0..=13 {
        let topics = vec![MetadataRequestTopic::default().with_name(Some(name("t")))];
        let answer = peer.ask(version, &MetadataRequest::default().with_topics(Some(topics))).await;
        assert_eq!(answer.topics[0].partitions.len(), 2, "version {version}");
    }
}

#[tokio::test]
async fn offsets_are_listed_by_end_start_and_time() {
    let cluster = cluster(1);
    let mut peer = in_memory(&cluster, 1);
    peer.produce("t", 0, &["a", "b", "c"]).await; // stamped 1000, 1001, 1002
    cluster.delete_records("t", 0, Offset(1)).expect("the topic exists");
    let mut found = Vec::new();
    for timestamp in [-1, -2, -3, 1_002, 9_999] {
        let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
        let topic =
            ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let request =
            ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let answer = peer.ask(7, &request).await;
        found.push(answer.topics[0].partitions[0].offset);
    }
    assert_eq!(found, [3, 1, 2, 2, -1]);
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_answered_in_version_zero() {
    let cluster = cluster(1);
    let mut peer = in_memory(&cluster, 1);
    // Key 18, version 99, correlation id 5: what follows does not matter.
    peer.raw(&[0, 0, 0, 10, 0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff]).await;
    let answer = peer.receive::<ApiVersionsRequest>(0, 5).await.expect("an answer");
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.number());
    let fetch = answer.api_keys.iter().find(|api| api.api_key == 1).expect("fetch is served");
    assert_eq!((fetch.min_version, fetch.max_version), (4, 18));
    for version in 0..=4 {
        let answer = peer.ask(version, &ApiVersionsRequest::default()).await;
        assert_eq!(answer.error_code, 0, "version {version}");
    }
}

#[tokio::test]
async fn what_is_no_kafka_request_ends_the_connection_and_nothing_else() {
    let cluster = cluster(1);
    let addr = cluster.listen("127.0.0.1:0".parse().unwrap()).expect("a free port")[0];
    let strange: [(&[u8], Refusal); 7] = [
        (b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", Refusal::FrameLength),
        (&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], Refusal::FrameLength),
        (&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], Refusal::FrameLength),
        (&[0xff, 0xff, 0xff, 0xff], Refusal::FrameLength),
        (&[0, 0, 0, 3, 0, 18, 0], Refusal::FrameTooShort),
        (&[0, 0, 0, 8, 0x7f, 0, 0, 0, 0, 0, 0, 1], Refusal::Unsupported),
        (&[0, 0, 0, 10, 0, 3, 0, 1, 0, 0, 0, 1, 0, 90], Refusal::Malformed),
    ];
    for (bytes, refusal) in strange {
        let before = cluster.refusals(refusal);
        let mut peer = tcp(addr).await;
        peer.raw(bytes).await;
        assert!(peer.is_closed().await, "{refusal:?}");
        assert_eq!(cluster.refusals(refusal), before + 1, "{bytes:?}");
    }
    assert_eq!(tcp(addr).await.produce("t", 0, &["still here"]).await.error_code, 0);
}

#[tokio::test]
async fn a_killed_node_refuses_connections_and_its_partitions_move() {
    let cluster = cluster(2);
    let addrs = cluster.listen("127.0.0.1:0".parse().unwrap()).expect("free ports");
    let node = cluster.leader("t", 0).unwrap().expect("a leader");
    let addr = addrs[usize::try_from(node.0).unwrap() - 1];
    let mut peer = tcp(addr).await;
    assert_eq!(peer.produce("t", 0, &["a"]).await.error_code, 0);
    cluster.kill_node(node).await;
    assert!(peer.is_closed().await);
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    let next = cluster.leader("t", 0).unwrap().expect("another leader");
    assert_ne!(next, node);
    assert_eq!(in_memory(&cluster, next.0).produce("t", 0, &["b"]).await.base_offset, 1);
    cluster.start_node(node).await.expect("the port is free");
    let (_, data) = tcp(addr).await.fetch(Fetch::of("t", 0, 0)).await;
    assert_eq!(data.error_code, ErrorCode::NotLeaderOrFollower.number());
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_answer_is_disconnected_when_a_partition_failed() {
    let cluster = cluster(1);
    let unanswered = |topic, index| produce_request(topic, index, &["a"]).with_acks(0);
    let mut peer = in_memory(&cluster, 1);
    peer.send(9, &unanswered("t", 0)).await.expect("it listens");
    assert_eq!(peer.produce("t", 0, &["b"]).await.base_offset, 1, "it was appended and goes on");
    let id = kafka_protocol::messages::TransactionalId(StrBytes::from_static_str("x"));
    for failing in [
        unanswered("t", 9),
        unanswered("none", 0),
        unanswered("t", 0).with_transactional_id(Some(id)),
    ] {
        let mut peer = in_memory(&cluster, 1);
        peer.send(9, &failing).await.expect("it listens");
        let closed = tokio::time::timeout(Duration::from_secs(60), peer.is_closed()).await;
        assert_eq!(closed, Ok(true), "{failing:?}");
    }
}

#[tokio::test]
async fn a_name_that_no_topic_may_have_is_told_as_that_with_and_without_creation() {
    for creates in ["false", "true"] {
        let cluster = Cluster::builder().set("auto.create.topics.enable", creates).build();
        let cluster = cluster.expect("a good configuration");
        let mut peer = in_memory(&cluster, 1);
        let long = "t".repeat(250);
        for illegal in ["", ".", "..", "a b", "ä", &long] {
            let topic = MetadataRequestTopic::default().with_name(Some(name(illegal)));
            let asked = MetadataRequest::default()
                .with_topics(Some(vec![topic]))
                .with_allow_auto_topic_creation(true);
            let answer = peer.ask(12, &asked).await;
            let code = answer.topics[0].error_code;
            assert_eq!(code, ErrorCode::InvalidTopicException.number(), "{illegal:?} {creates}");
        }
    }
}
