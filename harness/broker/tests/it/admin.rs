//! Topics, configuration, leader epochs, producer ids: what admin clients and tools ask.

use crate::groups::text;
use crate::peer::{in_memory, name, uuid};
use evenkeel_broker::{Cluster, ConfigError};
use evenkeel_spec::words::{ErrorCode, Offset};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use kafka_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use kafka_protocol::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest,
};
use kafka_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{MetadataRequest, TransactionalId};

fn cluster() -> Cluster {
    Cluster::builder().nodes(2).topic("t", 3).build().expect("a good configuration")
}

fn error(code: i16) -> Option<ErrorCode> {
    ErrorCode::from_number(code)
}

fn new_topic(topic: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
}

#[tokio::test]
async fn topics_are_created_checked_extended_and_deleted() {
    let cluster = cluster();
    let mut peer = in_memory(&cluster, 1);
    let config = |key: &str, value: &str| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    let wanted = vec![
        new_topic("new", 5, 2).with_configs(vec![config("retention.ms", "1000")]),
        new_topic("defaults", -1, -1),
        new_topic("t", 1, 1),
        new_topic("a/b", 1, 1),
        new_topic("none", 0, 1),
        new_topic("far", 1, 3),
        new_topic("odd", 1, 1).with_configs(vec![config("no.such.key", "1")]),
    ];
    let request = CreateTopicsRequest::default().with_topics(wanted).with_timeout_ms(1_000);
    let dry = peer.ask(7, &request.clone().with_validate_only(true)).await;
    assert_eq!(dry.topics[0].error_code, 0);
    assert_eq!(cluster.topic_id("new"), None, "only validated");
    let answer = peer.ask(7, &request).await;
    let codes: Vec<_> = answer.topics.iter().map(|topic| error(topic.error_code)).collect();
    let expected = [
        None,
        None,
        Some(ErrorCode::TopicAlreadyExists),
        Some(ErrorCode::InvalidTopicException),
        Some(ErrorCode::InvalidPartitions),
        Some(ErrorCode::InvalidReplicationFactor),
        Some(ErrorCode::InvalidConfig),
    ];
    assert_eq!(codes, expected);
    assert_eq!(answer.topics[0].topic_id, uuid(&cluster, "new"));
    assert_eq!(answer.topics[1].num_partitions, 1);

    let more = CreatePartitionsTopic::default().with_name(name("new")).with_count(6);
    let fewer = more.clone().with_count(2);
    let request = CreatePartitionsRequest::default().with_topics(vec![more, fewer]);
    let answer = peer.ask(3, &request).await;
    let codes: Vec<_> = answer.results.iter().map(|result| error(result.error_code)).collect();
    assert_eq!(codes, [None, Some(ErrorCode::InvalidPartitions)]);
    assert!(cluster.leader("new", 5).is_ok());

    let by_id = DeleteTopicState::default().with_topic_id(uuid(&cluster, "new"));
    let unknown = DeleteTopicState::default().with_name(Some(name("nothing")));
    let request = DeleteTopicsRequest::default().with_topics(vec![by_id, unknown]);
    let answer = peer.ask(6, &request).await;
    let codes: Vec<_> = answer.responses.iter().map(|result| error(result.error_code)).collect();
    assert_eq!(codes, [None, Some(ErrorCode::UnknownTopicOrPartition)]);
    assert_eq!(cluster.topic_id("new"), None);
}

#[tokio::test]
async fn configuration_is_described_by_key() {
    let cluster = cluster();
    let resource = |kind, name: &str| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(None)
    };
    let only = vec![text("num.partitions")];
    let wanted = vec![
        resource(2, "t"),
        resource(4, "1").with_configuration_keys(Some(only)),
        resource(2, "none"),
    ];
    let request = DescribeConfigsRequest::default().with_resources(wanted);
    let answer = in_memory(&cluster, 1).ask(4, &request).await;
    let find = |index: usize, key: &str| {
        let mut configs = answer.results[index].configs.iter();
        configs.find(|config| &*config.name == key).and_then(|config| config.value.clone())
    };
    assert_eq!(find(0, "message.timestamp.type"), Some(text("CreateTime")));
    assert_eq!((find(1, "num.partitions"), answer.results[1].configs.len()), (Some(text("1")), 1));
    let code = answer.results[2].error_code;
    assert_eq!(error(code), Some(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn topics_are_described_by_pages() {
    let cluster = Cluster::builder().topic("a", 3).topic("b", 2).build().unwrap();
    let mut peer = in_memory(&cluster, 1);
    let mut seen = Vec::new();
    let mut cursor = None;
    for _ in 0..3 {
        let request = DescribeTopicPartitionsRequest::default()
            .with_response_partition_limit(2)
            .with_cursor(cursor.take());
        let page = peer.ask(0, &request).await;
        for topic in &page.topics {
            let name = topic.name.as_ref().expect("a known topic").0.to_string();
            seen.extend(topic.partitions.iter().map(|p| (name.clone(), p.partition_index)));
        }
        cursor = page.next_cursor.map(|next| {
            Cursor::default()
                .with_topic_name(next.topic_name)
                .with_partition_index(next.partition_index)
        });
    }
    assert!(cursor.is_none(), "the third page is the last");
    let expected = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)];
    assert_eq!(seen, expected.map(|(name, index)| (name.to_owned(), index)));
}

#[tokio::test]
async fn a_leader_epochs_end_is_told_and_truncation_diverges() {
    let cluster = cluster();
    for value in [b"a", b"b", b"c"] {
        cluster.append("t", 0, None, Some(value)).expect("the topic exists");
    }
    cluster.truncate("t", 0, Offset(1)).expect("the topic exists");
    assert_eq!(cluster.append("t", 0, None, Some(b"d")), Ok(Offset(1)));
    let node = cluster.leader("t", 0).unwrap().expect("a leader");
    let mut peer = in_memory(&cluster, node.0);
    let mut told = Vec::new();
    for (current, asked) in [(1, 0), (1, 1), (1, 9), (0, 0)] {
        let partition = OffsetForLeaderPartition::default()
            .with_current_leader_epoch(current)
            .with_leader_epoch(asked);
        let topic =
            OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![topic]);
        let answer = peer.ask(4, &request).await.topics.remove(0).partitions.remove(0);
        told.push((error(answer.error_code), answer.leader_epoch, answer.end_offset));
    }
    let fenced = (Some(ErrorCode::FencedLeaderEpoch), -1, -1);
    assert_eq!(told, [(None, 0, 1), (None, 1, 2), (None, -1, -1), fenced]);
}

#[tokio::test]
async fn producers_get_different_ids_and_transactions_are_refused() {
    let cluster = cluster();
    let mut peer = in_memory(&cluster, 1);
    let request =
        InitProducerIdRequest::default().with_transactional_id(None).with_producer_id((-1).into());
    let first = peer.ask(4, &request).await;
    let second = peer.ask(4, &request).await;
    assert_eq!((first.error_code, second.error_code), (0, 0));
    assert_ne!(first.producer_id, second.producer_id);
    let transactional = request.with_transactional_id(Some(TransactionalId(text("x"))));
    let refused = peer.ask(4, &transactional).await;
    let expected = ErrorCode::TransactionalIdAuthorizationFailed;
    assert_eq!(error(refused.error_code), Some(expected));
}

#[tokio::test]
async fn the_cluster_is_described_and_dead_nodes_are_left_out() {
    let cluster = cluster();
    cluster.kill_node(cluster.nodes()[0]).await;
    let request = DescribeClusterRequest::default().with_endpoint_type(1);
    let answer = in_memory(&cluster, 2).ask(2, &request).await;
    assert_eq!((answer.error_code, answer.controller_id.0, answer.brokers.len()), (0, 2, 1));
    let controllers = DescribeClusterRequest::default().with_endpoint_type(2);
    let answer = in_memory(&cluster, 2).ask(2, &controllers).await;
    assert_eq!(error(answer.error_code), Some(ErrorCode::MismatchedEndpointType));
}

#[tokio::test]
async fn a_missing_topic_is_created_only_if_the_broker_allows_it() {
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    for (allowed, code) in [("false", 3), ("true", 0)] {
        let cluster = Cluster::builder()
            .set("auto.create.topics.enable", allowed)
            .set("num.partitions", "4")
            .build()
            .unwrap();
        let wanted = vec![MetadataRequestTopic::default().with_name(Some(name("new")))];
        let request = MetadataRequest::default().with_topics(Some(wanted));
        let mut peer = in_memory(&cluster, 1);
        peer.ask(9, &request.clone().with_allow_auto_topic_creation(false)).await;
        assert_eq!(cluster.topic_id("new"), None, "the client does not want it");
        let answer = peer.ask(9, &request.with_allow_auto_topic_creation(true)).await;
        assert_eq!(answer.topics[0].error_code, code);
        assert_eq!(answer.topics[0].partitions.len(), if code == 0 { 4 } else { 0 });
    }
}

#[test]
fn what_cannot_be_built_says_why() {
    let error = |builder: evenkeel_broker::Builder| builder.build().err().expect("not buildable");
    let unknown = error(Cluster::builder().set("log.dirs", "/tmp"));
    assert!(matches!(unknown, ConfigError::UnknownKey { key, .. } if key == "log.dirs"));
    assert_eq!(error(Cluster::builder().nodes(0)), ConfigError::Nodes { nodes: 0 });
    let twice = error(Cluster::builder().topic("t", 1).topic("t", 1));
    assert!(matches!(twice, ConfigError::Topic { topic, .. } if topic == "t"));
    assert!(matches!(error(Cluster::builder().topic("t", 0)), ConfigError::Topic { .. }));
}
