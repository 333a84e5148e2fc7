mod table;

use super::{Metadata, Order};
use crate::Address;
use crate::request::{self, PartitionMetadata, Request, TopicMetadata};
use evenkeel_spec::words::{
    ErrorCode, LeaderEpoch, NodeId, Partitions, Step, TopicId, TopicIdPartition, TopicName,
};
use std::collections::{BTreeMap, BTreeSet};

fn names(names: &[&str]) -> BTreeSet<TopicName> {
    names.iter().map(|name| TopicName::from(*name)).collect()
}

fn topic(id: u32, leader: i32, epoch: u32) -> TopicMetadata {
    let leader =
        PartitionMetadata { leader: Some(NodeId(leader)), leader_epoch: Some(LeaderEpoch(epoch)) };
    TopicMetadata { id: TopicId::from_u32(id), partitions: BTreeMap::from([(0, leader)]) }
}

fn answer(topics: &[(&str, Result<TopicMetadata, ErrorCode>)]) -> request::Metadata {
    let address = |node: i32| (NodeId(node), Address::new("b", 9_000 + u16::from(node == 2)));
    request::Metadata {
        brokers: BTreeMap::from([address(1), address(2)]),
        topics: topics.iter().map(|(name, topic)| ((*name).into(), topic.clone())).collect(),
        error: None,
    }
}

fn id(topic: u32) -> TopicIdPartition {
    TopicIdPartition::new(TopicId::from_u32(topic), 0)
}

fn ask(metadata: &mut Metadata) -> Option<BTreeSet<TopicName>> {
    match metadata.ask() {
        Request::Metadata { topics } => topics,
        other => panic!("{other:?}"),
    }
}

fn round(metadata: &mut Metadata, answer: request::Metadata) -> Vec<Order> {
    ask(metadata);
    let mut out = Vec::new();
    metadata.on_answer(answer, &mut out);
    out
}

fn subscribed(topics: &[&str]) -> Metadata {
    let mut metadata = Metadata::default();
    metadata.on_subscribed(names(topics));
    metadata
}

#[test]
fn a_subscription_is_asked_for_once_and_then_rests() {
    let mut metadata = subscribed(&["a", "b"]);
    assert_eq!(ask(&mut metadata), Some(names(&["a", "b"])));
    let mut out = Vec::new();
    metadata.on_answer(answer(&[("a", Ok(topic(1, 1, 0))), ("b", Ok(topic(2, 2, 0)))]), &mut out);
    assert_eq!(out, [Order::ArmAge, Order::Changed, Order::ArmBackoff(Step::FIRST)]);
    assert!(metadata.is_resting());
    metadata.on_backoff();
    assert!(!metadata.is_wanted());
    assert_eq!(metadata.leader(id(2)), Some(NodeId(2)));
    metadata.on_age();
    assert!(metadata.is_wanted());
}

#[test]
fn without_topics_only_brokers_are_asked_for() {
    let mut metadata = Metadata::default();
    metadata.request_update();
    assert_eq!(ask(&mut metadata), None);
}

#[test]
fn two_requests_never_follow_each_other_without_a_growing_pause() {
    let mut metadata = subscribed(&["a"]);
    let mut step = Step::FIRST;
    for _ in 0..6 {
        let known = answer(&[("a", Ok(topic(1, 1, 0)))]);
        let out = round(&mut metadata, known);
        assert_eq!(out.last(), Some(&Order::ArmBackoff(step)));
        metadata.request_update();
        assert!(!metadata.is_wanted(), "it pauses first");
        metadata.on_backoff();
        assert!(metadata.is_wanted());
        step = step.next();
    }
}

#[test]
fn an_update_wanted_while_asking_is_not_served_by_the_answer_under_way() {
    let mut metadata = subscribed(&["a"]);
    ask(&mut metadata);
    metadata.request_update();
    metadata.on_answer(answer(&[("a", Ok(topic(1, 1, 0)))]), &mut Vec::new());
    assert!(!metadata.is_resting());
    metadata.on_backoff();
    assert!(metadata.is_wanted());
}

#[test]
fn a_missing_topic_is_warned_of_once_and_again_after_it_came_and_went() {
    let mut metadata = subscribed(&["a"]);
    let warned = |out: Vec<Order>| out.contains(&Order::WarnUnknown("a".into()));
    let missing = answer(&[("a", Err(ErrorCode::UnknownTopicOrPartition))]);
    for (given, expected) in [
        (missing.clone(), true),
        (missing.clone(), false),
        (answer(&[("a", Ok(topic(1, 1, 0)))]), false),
        (missing, true),
    ] {
        assert_eq!(warned(round(&mut metadata, given)), expected);
        assert!(metadata.is_resting(), "a missing topic is not asked for by itself");
        metadata.on_backoff();
        metadata.request_update();
    }
}

#[test]
fn ids_that_the_group_waits_for_are_asked_for_until_they_are_known() {
    let mut metadata = subscribed(&["a"]);
    round(&mut metadata, answer(&[("a", Ok(topic(1, 1, 0)))]));
    metadata.on_backoff();
    metadata.on_unresolved(BTreeSet::from([TopicId::from_u32(2)]));
    for found in [1, 1, 2] {
        assert!(metadata.is_wanted());
        round(&mut metadata, answer(&[("a", Ok(topic(found, 1, 0)))]));
        metadata.on_backoff();
    }
    assert!(!metadata.is_wanted());
    assert_eq!(metadata.leader(id(1)), None, "the old topic of that name has no leader");
    assert_eq!(metadata.by_name(id(1)).topic, "a".into(), "its name is kept");
}

#[test]
fn an_id_that_never_gets_a_name_and_names_are_asked_for_by_turns() {
    let mut metadata = Metadata::default();
    metadata.on_subscribed_pattern();
    let asked = |metadata: &mut Metadata, answered: &[(&str, Result<TopicMetadata, ErrorCode>)]| {
        let request = metadata.ask();
        metadata.on_answer(answer(answered), &mut Vec::new());
        metadata.on_backoff();
        request
    };
    let by_id = |id| Request::TopicsById { ids: [TopicId::from_u32(id)].into() };
    let by_name = Request::Metadata { topics: Some(names(&["a"])) };
    metadata.on_unresolved([TopicId::from_u32(1)].into());
    assert_eq!(asked(&mut metadata, &[("a", Ok(topic(1, 1, 0)))]), by_id(1));
    assert!(!metadata.is_wanted());
    metadata.on_owned(&Partitions::from([id(1)]));
    metadata.on_unresolved([TopicId::from_u32(9)].into());
    for epoch in 1..4 {
        assert_eq!(asked(&mut metadata, &[]), by_id(9));
        let moved = topic(1, 1 + i32::try_from(epoch % 2).expect("small"), epoch);
        assert_eq!(asked(&mut metadata, &[("a", Ok(moved))]), by_name);
        assert_eq!(metadata.leader_epoch(id(1)), Some(LeaderEpoch(epoch)));
    }
    metadata.on_unresolved(BTreeSet::new());
    asked(&mut metadata, &[]);
    assert!(!metadata.is_wanted(), "the group waits for nothing");
}

#[test]
fn an_answer_that_lags_does_not_take_a_leader_back() {
    let mut metadata = subscribed(&["a"]);
    for (leader, epoch, expected) in [(1, 5, 1), (2, 4, 1), (2, 6, 2)] {
        round(&mut metadata, answer(&[("a", Ok(topic(1, leader, epoch)))]));
        assert_eq!(metadata.leader(id(1)), Some(NodeId(expected)));
        metadata.request_update();
        metadata.on_backoff();
    }
    round(&mut metadata, answer(&[("a", Ok(topic(9, 1, 0)))]));
    assert_eq!(metadata.leader(id(9)), Some(NodeId(1)), "another id counts its epochs anew");
}

#[test]
fn topics_that_nobody_asked_for_are_not_kept() {
    let mut metadata = subscribed(&["a"]);
    round(&mut metadata, answer(&[("a", Ok(topic(1, 1, 0))), ("x", Ok(topic(7, 1, 0)))]));
    assert_eq!(metadata.resolved(), BTreeSet::from([TopicId::from_u32(1)]));
}

#[test]
fn owned_topics_are_asked_for_although_they_are_subscribed_to_no_more() {
    let mut metadata = subscribed(&["a"]);
    round(&mut metadata, answer(&[("a", Ok(topic(1, 1, 0)))]));
    metadata.on_owned(&Partitions::from([id(1)]));
    metadata.on_subscribed(names(&["b"]));
    metadata.on_backoff();
    assert_eq!(ask(&mut metadata), Some(names(&["a", "b"])));
    assert!(!metadata.is_subscribed(id(1)));
}

#[test]
fn a_topic_that_may_not_be_read_is_told_and_asked_for_again() {
    let mut metadata = subscribed(&["a"]);
    let refused = answer(&[("a", Err(ErrorCode::TopicAuthorizationFailed))]);
    let out = round(&mut metadata, refused);
    assert!(out.contains(&Order::Tell("a".into(), ErrorCode::TopicAuthorizationFailed)));
    assert!(!metadata.is_resting());
}

#[test]
fn brokers_of_another_cluster_are_forgotten() {
    let mut metadata = subscribed(&["a"]);
    round(&mut metadata, answer(&[("a", Ok(topic(1, 1, 0)))]));
    metadata.request_update();
    metadata.on_backoff();
    let error = Some(ErrorCode::RebootstrapRequired);
    let out = round(&mut metadata, request::Metadata { error, ..answer(&[]) });
    assert!(out.contains(&Order::Rebootstrap));
    assert!(metadata.brokers().is_empty());
}
