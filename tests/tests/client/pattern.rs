//! A subscription by pattern against the test broker, which resolves it as late as Kafka does.

use crate::listeners::Diary;
use crate::support::{Read, SECOND, append_numbered, member, read};
use evenkeel::{Consumer, ErrorCode, PollError, SubscribeError, TopicPartition};
use evenkeel_broker::Cluster;
use evenkeel_tests::validated::Validated;
use tokio::time::Instant;

fn cluster() -> Cluster {
    let cluster = Cluster::builder().topic("orders-a", 2).topic("payments", 1).build();
    let cluster = cluster.expect("a cluster");
    append_numbered(&cluster, "orders-a", 2, 5);
    append_numbered(&cluster, "payments", 1, 5);
    cluster
}

fn topics(consumer: &Consumer) -> Vec<&str> {
    let mut topics: Vec<_> = consumer.assignment().iter().map(|at| at.topic.as_str()).collect();
    topics.dedup();
    topics
}

#[tokio::test(start_paused = true)]
async fn a_pattern_is_resolved_after_the_join_and_a_new_topic_with_a_refresh() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe_pattern("orders-.").await.expect("subscribed");
    let mut got = Read::default();
    assert!(consumer.poll(SECOND).await.expect("it goes well").is_empty());
    let joined = consumer.group_metadata().member.is_some();
    assert!(joined && consumer.assignment().is_empty(), "not resolved yet");
    read(&mut consumer, &mut got, 10).await;
    assert_eq!(topics(&consumer), ["orders-a"], "what matches, and nothing else");
    let described = consumer.describe_group().await.expect("it exists");
    let me = &described.members[0];
    assert_eq!(
        (me.pattern.as_deref(), me.topics.len(), me.assignment.len()),
        (Some("orders-."), 0, 2)
    );
    cluster.create_topic("orders-b", 1).expect("it is new");
    cluster.create_topic("orders-too-long", 1).expect("it is new");
    append_numbered(&cluster, "orders-b", 1, 5);
    let begin = Instant::now();
    read(&mut consumer, &mut got, 15).await;
    let took = begin.elapsed();
    assert!(took > SECOND && took < 30 * SECOND, "with a heartbeat: {took:?}");
    assert_eq!(topics(&consumer), ["orders-a", "orders-b"], "whole names match");
    assert!(got.0[&TopicPartition::new("orders-b", 0)].iter().copied().eq(0..5));
    assert!(consumer.close(5 * SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn names_become_a_pattern_and_names_again() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["payments"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 5).await;
    consumer.subscribe_pattern("orders.*").await.expect("subscribed");
    read(&mut consumer, &mut got, 15).await;
    assert_eq!(topics(&consumer), ["orders-a"]);
    append_numbered(&cluster, "payments", 1, 5);
    consumer.subscribe(["payments"]).await.expect("subscribed");
    read(&mut consumer, &mut got, 20).await;
    assert_eq!(topics(&consumer), ["payments"]);
    assert!(got.0[&TopicPartition::new("payments", 0)].iter().copied().eq(0..10), "{got:?}");
    let described = consumer.describe_group().await.expect("it exists");
    assert_eq!((&described.members[0].pattern, described.members[0].topics.len()), (&None, 1));
    assert!(consumer.close(5 * SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_that_is_none_is_refused_and_the_next_one_is_read() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    let empty = consumer.subscribe_pattern("").await;
    assert_eq!(empty, Err(SubscribeError::InvalidPattern { length: 0 }));
    consumer.subscribe_pattern("orders-(").await.expect("only the coordinator knows");
    let refused = consumer.poll(SECOND).await.expect_err("it knows");
    let PollError::Fatal { code, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*code, ErrorCode::InvalidRegularExpression);
    assert!(refused.to_string().contains("RE2J"), "{refused}");
    consumer.subscribe_pattern("orders-(a|b)").await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 10).await;
    assert!(got.is_exactly(2, 5));
    assert!(consumer.close(5 * SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_told_of_what_the_pattern_brings_and_two_members_share_it() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let diary = Diary::default();
    let mut first = member(&cluster, "g", 1).build().expect("valid");
    first.subscribe_pattern_with("orders-.*", diary.clone()).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut first, &mut got, 10).await;
    let mut second = member(&cluster, "g", 2).build().expect("valid");
    second.subscribe_pattern("orders-.*").await.expect("subscribed");
    for _ in 0..60 {
        first.poll(SECOND / 2).await.expect("it goes well");
        second.poll(SECOND / 2).await.expect("it goes well");
    }
    assert_eq!((first.assignment().len(), second.assignment().len()), (1, 1));
    assert!(first.close(5 * SECOND).await.left && second.close(5 * SECOND).await.left);
    let mut told = diary.lines();
    told.retain(|line| !line.ends_with("over") && !line.ends_with("[]"));
    assert_eq!(told, ["assigned [0, 1]", "revoked [1]", "revoked [0]"]);
}
