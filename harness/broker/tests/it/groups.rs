//! Groups: members, offsets, coordinators, timers.

use crate::peer::{Peer, in_memory, name, uuid};
use evenkeel_broker::{Cluster, GroupState, Timer};
use evenkeel_spec::words::{ErrorCode, NodeId};
use kafka_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use kafka_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use kafka_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use kafka_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use kafka_protocol::messages::list_groups_request::ListGroupsRequest;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{DeleteGroupsRequest, GroupId};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::time::Instant;

pub(crate) fn cluster(nodes: u32) -> Cluster {
    Cluster::builder()
        .nodes(nodes)
        .topic("t", 4)
        .set("group.consumer.assignment.interval.ms", "0")
        .set("group.consumer.session.timeout.ms", "3000")
        .set("group.consumer.heartbeat.interval.ms", "500")
        .build()
        .expect("a good configuration")
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn at_coordinator(cluster: &Cluster) -> Peer<DuplexStream> {
    in_memory(cluster, cluster.coordinator("g").expect("a node is alive").0)
}

/// A heartbeat with all fields.
pub(crate) fn join(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(text(member))
        .with_member_epoch(0)
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![name("t")]))
        .with_topic_partitions(Some(vec![]))
}

/// A heartbeat that says nothing new.
pub(crate) fn stay(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(None)
}

fn owning(
    cluster: &Cluster,
    member: &str,
    epoch: i32,
    owned: &[i32],
) -> ConsumerGroupHeartbeatRequest {
    let partitions = TopicPartitions::default()
        .with_topic_id(uuid(cluster, "t"))
        .with_partitions(owned.to_vec());
    stay(member, epoch).with_topic_partitions(Some(vec![partitions]))
}

fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let assignment = answer.assignment.as_ref()?;
    Some(assignment.topic_partitions.iter().flat_map(|t| t.partitions.clone()).collect())
}

pub(crate) fn commit(member: &str, epoch: i32, partition: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(0)
        .with_committed_metadata(Some(text("note")));
    let topic =
        OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(epoch)
        .with_topics(vec![topic])
}

fn error(code: i16) -> Option<ErrorCode> {
    ErrorCode::from_number(code)
}

#[tokio::test(start_paused = true)]
async fn two_members_share_a_topic_after_a_revocation_is_acknowledged() {
    let cluster = cluster(3);
    let mut peer = at_coordinator(&cluster);
    let first = peer.ask(1, &join("a")).await;
    assert_eq!((first.error_code, first.heartbeat_interval_ms), (0, 500));
    assert_eq!(assigned(&first), Some(vec![0, 1, 2, 3]));
    let second = peer.ask(1, &join("b")).await;
    assert_eq!(assigned(&second), Some(vec![]), "nothing is free yet");
    let told = peer.ask(1, &owning(&cluster, "a", first.member_epoch, &[0, 1, 2, 3])).await;
    let kept = assigned(&told).expect("less than before");
    assert_eq!(kept.len(), 2);
    assert_eq!(cluster.describe_group("g").unwrap().state, GroupState::Reconciling);
    let acknowledged = peer.ask(1, &owning(&cluster, "a", told.member_epoch, &kept)).await;
    assert_eq!(acknowledged.member_epoch, second.member_epoch);
    let granted = peer.ask(1, &stay("b", second.member_epoch)).await;
    let granted = assigned(&granted).expect("the rest");
    let mut all = [kept, granted].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    assert_eq!(cluster.describe_group("g").unwrap().state, GroupState::Stable);

    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text("g"))]);
    let described = peer.ask(1, &request).await.groups.remove(0);
    assert_eq!((described.error_code, &*described.group_state), (0, "Stable"));
    let ids: Vec<_> = described.members.iter().map(|m| m.member_id.to_string()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(&*described.members[0].client_id, "peer");
    assert_eq!(described.members[0].assignment.topic_partitions[0].topic_name, name("t"));
    let listed = peer.ask(5, &ListGroupsRequest::default()).await;
    assert_eq!(&*listed.groups[0].group_type, "Consumer");
    let wanted = ListGroupsRequest::default().with_states_filter(vec![text("empty")]);
    assert!(peer.ask(5, &wanted).await.groups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stays_silent_for_the_session_timeout_is_evicted() {
    let cluster = cluster(1);
    let mut peer = at_coordinator(&cluster);
    let joined = peer.ask(1, &join("a")).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(2_900)).await;
        let answer = peer.ask(1, &stay("a", joined.member_epoch)).await;
        assert_eq!(answer.error_code, 0, "each accepted heartbeat restarts the timer");
    }
    tokio::time::sleep(Duration::from_millis(2_999)).await;
    assert_eq!(cluster.describe_group("g").unwrap().members.len(), 1);
    let commit = peer.ask(9, &commit("a", joined.member_epoch, 0, 5)).await;
    assert_eq!(commit.topics[0].partitions[0].error_code, 0, "a commit does not restart it");
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(cluster.describe_group("g").unwrap().state, GroupState::Empty);
    let late = peer.ask(1, &stay("a", joined.member_epoch)).await;
    assert_eq!(error(late.error_code), Some(ErrorCode::UnknownMemberId));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_revoke_in_its_rebalance_timeout_is_evicted() {
    let cluster = cluster(1);
    let mut peer = at_coordinator(&cluster);
    let epoch = peer.ask(1, &join("a")).await.member_epoch;
    peer.ask(1, &join("b")).await;
    let told = Instant::now();
    let mut answer = peer.ask(1, &owning(&cluster, "a", epoch, &[0, 1, 2, 3])).await;
    while answer.error_code == 0 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        peer.ask(1, &stay("b", epoch + 1)).await;
        answer = peer.ask(1, &stay("a", epoch)).await;
    }
    assert_eq!(error(answer.error_code), Some(ErrorCode::UnknownMemberId));
    assert_eq!(told.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn timers_by_hand_fire_when_told_and_only_then() {
    let cluster = Cluster::builder().topic("t", 1).manual_timers().build().unwrap();
    let mut peer = at_coordinator(&cluster);
    peer.ask(1, &join("a")).await;
    let member = cluster.member_id("g", "a").expect("it joined");
    assert_eq!(cluster.member_name("g", member).as_deref(), Some("a"));
    let armed: Vec<_> = cluster.armed_timers("g").into_iter().map(|(timer, _)| timer).collect();
    assert!(armed.contains(&Timer::Session(member)), "{armed:?}");
    assert!(!cluster.fire_timer("g", Timer::Rebalance(member)), "it is not armed");
    assert!(cluster.fire_timer("g", Timer::Session(member)));
    assert!(cluster.describe_group("g").unwrap().members.is_empty());
}

#[tokio::test(start_paused = true)]
async fn committed_offsets_are_fetched_in_every_version() {
    let cluster = cluster(1);
    let mut peer = at_coordinator(&cluster);
    let epoch = peer.ask(1, &join("a")).await.member_epoch;
    let mut answer = peer.ask(9, &commit("a", epoch, 1, 42)).await;
    assert_eq!(answer.topics.remove(0).partitions[0].error_code, 0);
    let stale = peer.ask(9, &commit("a", epoch + 1, 1, 43)).await;
    let code = stale.topics[0].partitions[0].error_code;
    assert_eq!(error(code), Some(ErrorCode::StaleMemberEpoch));
    let old = peer.ask(8, &commit("a", epoch, 1, 43)).await;
    let code = old.topics[0].partitions[0].error_code;
    assert_eq!(error(code), Some(ErrorCode::UnsupportedVersion));
    let mut unknown = commit("a", epoch, 0, 1);
    unknown.topics[0].name = name("none");
    let code = peer.ask(9, &unknown).await.topics[0].partitions[0].error_code;
    assert_eq!(error(code), Some(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(cluster.committed("g", "t", 1).unwrap().unwrap().offset.0, 42);
    assert_eq!(cluster.committed("g", "t", 0), Ok(None));
    for version in 1..=9 {
        let committed = if version < 8 {
            let topic = OffsetFetchRequestTopic::default()
                .with_name(name("t"))
                .with_partition_indexes(vec![1, 2]);
            let request = OffsetFetchRequest::default()
                .with_group_id(GroupId(text("g")))
                .with_topics(Some(vec![topic]));
            let answer = peer.ask(version, &request).await;
            let partitions = answer.topics[0].partitions.iter();
            partitions.map(|p| p.committed_offset).collect::<Vec<_>>()
        } else {
            let topic = OffsetFetchRequestTopics::default()
                .with_name(name("t"))
                .with_partition_indexes(vec![1, 2]);
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(GroupId(text("g")))
                .with_member_id((version > 8).then(|| text("a")))
                .with_member_epoch(if version > 8 { epoch } else { -1 })
                .with_topics(Some(vec![topic]));
            let answer =
                peer.ask(version, &OffsetFetchRequest::default().with_groups(vec![group])).await;
            let partitions = answer.groups[0].topics[0].partitions.iter();
            partitions.map(|p| p.committed_offset).collect::<Vec<_>>()
        };
        assert_eq!(committed, [42, -1], "version {version}");
    }
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text("g")))
        .with_member_epoch(-1)
        .with_topics(None);
    let all = peer.ask(9, &OffsetFetchRequest::default().with_groups(vec![group])).await;
    assert_eq!(&**all.groups[0].topics[0].partitions[0].metadata.as_ref().unwrap(), "note");
}

#[tokio::test(start_paused = true)]
async fn a_moved_coordinator_knows_the_group_and_the_old_one_says_no() {
    let cluster = cluster(3);
    let old = cluster.coordinator("g").expect("a node is alive");
    let mut peer = at_coordinator(&cluster);
    let epoch = peer.ask(1, &join("a")).await.member_epoch;
    peer.ask(9, &commit("a", epoch, 0, 7)).await;
    let before = cluster.describe_group("g");
    let new = NodeId(old.0 % 3 + 1);
    cluster.move_coordinator("g", new).expect("an alive node");
    assert_eq!(cluster.describe_group("g"), before, "replayed from the log");
    let refused = peer.ask(1, &stay("a", epoch)).await;
    assert_eq!(error(refused.error_code), Some(ErrorCode::NotCoordinator));
    let asked = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    assert_eq!(peer.ask(6, &asked).await.coordinators[0].node_id.0, new.0);
    let old_style = FindCoordinatorRequest::default().with_key(text("g"));
    assert_eq!(peer.ask(3, &old_style).await.node_id.0, new.0);
    let mut peer = at_coordinator(&cluster);
    assert_eq!(peer.ask(1, &stay("a", epoch)).await.error_code, 0);
    cluster.kill_node(new).await;
    let third = cluster.coordinator("g").expect("two nodes are alive");
    assert_ne!(third, new);
    assert_eq!(in_memory(&cluster, third.0).ask(1, &stay("a", epoch)).await.error_code, 0);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(cluster.describe_group("g").unwrap().members.is_empty(), "timers were loaded too");
}

#[tokio::test(start_paused = true)]
async fn without_any_node_no_timer_runs_and_with_one_the_group_is_back() {
    let cluster = cluster(1);
    let epoch = at_coordinator(&cluster).ask(1, &join("a")).await.member_epoch;
    cluster.kill_node(NodeId(1)).await;
    assert_eq!(cluster.coordinator("g"), None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    cluster.start_node(NodeId(1)).await.expect("it never listened");
    assert_eq!(at_coordinator(&cluster).ask(1, &stay("a", epoch)).await.error_code, 0);
    cluster.crash_coordinator("g");
    assert_eq!(at_coordinator(&cluster).ask(1, &stay("a", epoch)).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_grows_reaches_its_members() {
    let cluster = cluster(1);
    let mut peer = at_coordinator(&cluster);
    let epoch = peer.ask(1, &join("a")).await.member_epoch;
    cluster.add_partitions("t", 6).expect("more than before");
    let answer = peer.ask(1, &stay("a", epoch)).await;
    assert_eq!(assigned(&answer).map(|partitions| partitions.len()), Some(6));
    let answer = peer.ask(1, &stay("a", answer.member_epoch)).await;
    cluster.delete_topic("t").expect("it exists");
    let answer = peer.ask(1, &stay("a", answer.member_epoch)).await;
    assert_eq!(assigned(&answer), Some(vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_a_heartbeat_may_not_say_is_refused() {
    let cluster = cluster(1);
    let mut peer = at_coordinator(&cluster);
    let refused = [
        (join(""), ErrorCode::InvalidRequest),
        (join("a").with_group_id(GroupId(text(""))), ErrorCode::InvalidRequest),
        (join("a").with_instance_id(Some(text("i"))), ErrorCode::InvalidRequest),
        (
            join("a").with_subscribed_topic_regex(Some(text("t("))),
            ErrorCode::InvalidRegularExpression,
        ),
        (join("a").with_server_assignor(Some(text("best"))), ErrorCode::UnsupportedAssignor),
        (stay("a", -3), ErrorCode::InvalidRequest),
        (stay("a", 5), ErrorCode::GroupIdNotFound),
    ];
    for (request, expected) in refused {
        let answer = peer.ask(1, &request).await;
        assert_eq!(error(answer.error_code), Some(expected), "{request:?}");
    }
    let named = peer.ask(0, &join("")).await;
    assert_eq!(named.error_code, 0, "in version 0 the coordinator makes the id");
    assert!(!named.member_id.expect("the new id").is_empty());
}

/// A heartbeat of a member that subscribes by this pattern alone.
fn join_by(member: &str, pattern: &str) -> ConsumerGroupHeartbeatRequest {
    let by_name = join(member).with_subscribed_topic_names(None);
    by_name.with_subscribed_topic_regex(Some(text(pattern)))
}

#[tokio::test(start_paused = true)]
async fn a_moved_coordinator_knows_what_patterns_match() {
    let cluster = cluster(3);
    let mut peer = at_coordinator(&cluster);
    let epoch = peer.ask(1, &join_by("a", "t.*")).await.member_epoch;
    let answer = peer.ask(1, &stay("a", epoch)).await;
    assert_eq!(assigned(&answer).map(|partitions| partitions.len()), Some(4));
    let old = cluster.coordinator("g").expect("a node is alive");
    cluster.move_coordinator("g", NodeId(old.0 % 3 + 1)).expect("an alive node");
    let before = cluster.describe_group("g").expect("it is loaded").epoch;
    // As after a refusal: everything is said again.
    let again = join_by("a", "t.*").with_member_epoch(answer.member_epoch);
    let told = at_coordinator(&cluster).ask(1, &again).await;
    assert_eq!(told.error_code, 0);
    assert_eq!(cluster.describe_group("g").expect("it is loaded").epoch, before);
    assert_ne!(assigned(&told), Some(vec![]), "nothing is revoked");
}

#[tokio::test(start_paused = true)]
async fn an_evicted_members_pattern_is_forgotten() {
    let cluster = cluster(1);
    cluster.create_topic("other", 1).expect("it is a new one");
    let mut peer = at_coordinator(&cluster);
    let epoch = peer.ask(1, &join_by("a", "t")).await.member_epoch;
    assert_eq!(assigned(&peer.ask(1, &stay("a", epoch)).await).map(|all| all.len()), Some(4));
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(cluster.describe_group("g").expect("it was").members.is_empty());
    let other = join("a").with_subscribed_topic_names(Some(vec![name("other")]));
    let joined = peer.ask(1, &other).await;
    assert_eq!(assigned(&joined).map(|partitions| partitions.len()), Some(1));
    let later = peer.ask(1, &stay("a", joined.member_epoch)).await;
    assert_eq!((later.member_epoch, assigned(&later)), (joined.member_epoch, None));
}

#[tokio::test(start_paused = true)]
async fn only_an_empty_group_is_deleted() {
    let cluster = cluster(1);
    let mut peer = at_coordinator(&cluster);
    let epoch = peer.ask(1, &join("a")).await.member_epoch;
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("g"))]);
    let code = peer.ask(2, &delete).await.results[0].error_code;
    assert_eq!(error(code), Some(ErrorCode::NonEmptyGroup));
    peer.ask(9, &commit("a", epoch, 0, 7)).await;
    assert_eq!(peer.ask(1, &stay("a", -1)).await.member_epoch, -1);
    assert_eq!(peer.ask(2, &delete).await.results[0].error_code, 0);
    assert_eq!(cluster.committed("g", "t", 0), Ok(None));
    let code = peer.ask(2, &delete).await.results[0].error_code;
    assert_eq!(error(code), Some(ErrorCode::GroupIdNotFound));
}
