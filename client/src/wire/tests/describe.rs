//! `ConsumerGroupDescribe` as a broker encodes it, and brokers that do not speak it.

use super::{TOPIC, answered, assert_same, received};
use crate::wire::{Api, Versions};
use evenkeel_core::request::{Request, Response};
use evenkeel_spec::words::{Epoch, ErrorCode, TopicPartition};
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use kafka_protocol::protocol::{StrBytes, VersionRange};
use uuid::Uuid;

/// A group in the midst of a rebalance.
pub(super) fn group() -> DescribedGroup {
    let text = StrBytes::from_static_str;
    let has = |partitions: Vec<i32>| {
        let topic = TopicPartitions::default()
            .with_topic_id(Uuid::from_bytes(TOPIC.0))
            .with_topic_name(text("t").into())
            .with_partitions(partitions);
        Assignment::default().with_topic_partitions(vec![topic])
    };
    let member = Member::default()
        .with_member_id(text("m"))
        .with_member_epoch(6)
        .with_client_id(text("c"))
        .with_client_host(text("/h"))
        .with_subscribed_topic_names(vec![text("t").into()])
        .with_subscribed_topic_regex(Some(text("t.*")))
        .with_assignment(has(vec![0]))
        .with_target_assignment(has(vec![0, 1]));
    let away = Member::default()
        .with_member_id(text("a"))
        .with_instance_id(Some(text("i")))
        .with_member_epoch(-2)
        .with_subscribed_topic_regex(Some(text("")))
        .with_assignment(has(vec![1]));
    DescribedGroup::default()
        .with_group_id(text("g").into())
        .with_group_state(text("Reconciling"))
        .with_group_epoch(7)
        .with_assignment_epoch(6)
        .with_assignor_name(text("uniform"))
        .with_members(vec![member, away])
}

#[test]
fn a_group_is_described_with_its_members_and_who_has_what_they_wait_for() {
    let wire: ConsumerGroupDescribeRequest = received(Request::DescribeGroup);
    assert_eq!(wire.group_ids, [StrBytes::from_static_str("g")]);
    let answer = ConsumerGroupDescribeResponse::default().with_groups(vec![group()]);
    let answered = answered(Request::DescribeGroup, &answer);
    let Response::Group(Ok(seen)) = answered else { panic!() };
    assert_eq!(
        (&*seen.state, seen.epoch, seen.assignment_epoch),
        ("Reconciling", Epoch(7), Epoch(6))
    );
    let ids: Vec<_> = seen.members.iter().map(|member| &*member.id).collect();
    assert_eq!(ids, ["a", "m"], "by id");
    let (away, member) = (&seen.members[0], seen.member("m").expect("it is there"));
    assert_eq!((away.epoch, away.instance.as_deref(), &away.pattern), (None, Some("i"), &None));
    assert_eq!((member.epoch, member.pattern.as_deref()), (Some(Epoch(6)), Some("t.*")));
    assert_eq!((&*member.client_id, &*member.client_host), ("c", "/h"));
    assert!(member.topics.contains(&"t".into()));
    let awaited: Vec<_> = seen.awaited(member).collect();
    assert_eq!(awaited, [(&TopicPartition::new("t", 1), Some(away))]);
    let refused = group().with_error_code(30);
    let answer = ConsumerGroupDescribeResponse::default().with_groups(vec![refused]);
    let refused = Response::Group(Err(ErrorCode::GroupAuthorizationFailed));
    assert_same(&super::answered(Request::DescribeGroup, &answer), &refused);
}

#[test]
fn a_broker_that_does_not_describe_groups_lacks_nothing_that_is_needed() {
    let all = VersionRange { min: 0, max: i16::MAX };
    let (versions, missing) = Versions::negotiate(|key| (key != 69).then_some(all));
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!versions.speaks(Api::ConsumerGroupDescribe) && versions.speaks(Api::Fetch));
    let (versions, _) = Versions::negotiate(|_| Some(all));
    assert!(versions.speaks(Api::ConsumerGroupDescribe));
}
