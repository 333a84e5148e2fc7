//! What the application asks about the cluster and its logs: offsets, topics, lag, and the order in
//! which commits are answered.

use crate::support::{Read, SECOND, append_numbered, committed, member, read};
use evenkeel::{
    Consumer, EnforceRebalanceError, ErrorCode, LookupError, Offset, PositionError, TopicPartition,
};
use evenkeel_broker::{Before, Cluster, Gate, Request};
use evenkeel_spec::words::NodeId;
use evenkeel_tests::validated::Validated;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::time::Instant;

const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const OFFSET_COMMIT: i16 = 8;
const FIND_COORDINATOR: i16 = 10;

fn partitions(topic: &str, count: u32) -> Vec<TopicPartition> {
    (0..count).map(|index| TopicPartition::new(topic, index)).collect()
}

fn three_nodes() -> Cluster {
    let cluster = Cluster::builder().nodes(3).topic("t", 3).build().expect("a cluster");
    append_numbered(&cluster, "t", 3, 10);
    cluster.delete_records("t", 1, Offset(4)).expect("it exists");
    cluster
}

/// Refuses the first `count` requests of an API.
fn refuse(cluster: &Cluster, api_key: i16, count: u64, code: ErrorCode) {
    let refused = AtomicU64::new(0);
    cluster.intercept(move |request: &Request| {
        let is_refused =
            request.api_key == api_key && refused.fetch_add(1, Ordering::Relaxed) < count;
        if is_refused { Before::Forge(code) } else { Before::Process }
    });
}

async fn close(consumer: Consumer) {
    assert!(consumer.close(SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn both_ends_of_logs_are_known_without_a_subscription_or_a_coordinator() {
    let _runs = Validated::begin();
    let cluster = three_nodes();
    let consumer = member(&cluster, "g", 1).build().expect("valid");
    let all = partitions("t", 3);
    let beginning = consumer.beginning_offsets(all.clone()).await.expect("answered");
    assert_eq!(beginning.into_values().map(|offset| offset.0).collect::<Vec<_>>(), [0, 4, 0]);
    let end = consumer.end_offsets(all).await.expect("answered");
    assert_eq!(end.into_values().map(|offset| offset.0).collect::<Vec<_>>(), [10, 10, 10]);
    assert_eq!(cluster.requests(LIST_OFFSETS), 6, "one a leader and call");
    assert_eq!(cluster.requests(FIND_COORDINATOR), 0);
    assert_eq!(consumer.end_offsets([]).await, Ok(BTreeMap::new()));
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn records_are_found_by_their_date() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    let mut dates = Vec::new();
    for _ in 0..3 {
        cluster.append("t", 0, None, Some(b"x")).expect("it exists");
        tokio::time::sleep(SECOND).await;
    }
    consumer.subscribe(["t"]).await.expect("subscribed");
    while dates.len() < 3 {
        let records = consumer.poll(SECOND).await.expect("poll goes well");
        dates.extend(records.iter().map(|record| record.timestamp_ms.expect("dated")));
    }
    let at = TopicPartition::new("t", 0);
    let find = async |date: i64| {
        let date = u64::try_from(date).expect("after 1970");
        let found = consumer.offsets_for_times([(at.clone(), date)]).await.expect("answered");
        found[&at].map(|found| (found.offset.0, found.timestamp_ms))
    };
    assert_eq!(find(dates[1]).await, Some((1, dates[1])));
    assert_eq!(find(dates[1] + 1).await, Some((2, dates[2])));
    assert_eq!(find(0).await, Some((0, dates[0])));
    assert_eq!(find(dates[2] + 1).await, None);
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_leader_is_asked_no_more_once_metadata_names_the_next() {
    let _runs = Validated::begin();
    let cluster = three_nodes();
    let consumer = member(&cluster, "g", 1).build().expect("valid");
    let one = || [TopicPartition::new("t", 0)];
    consumer.end_offsets(one()).await.expect("answered");
    let leader = cluster.leader("t", 0).expect("it exists");
    let next = cluster.nodes().into_iter().find(|node| Some(*node) != leader).expect("three");
    cluster.move_leader("t", 0, next).expect("a replica");
    let before = Instant::now();
    let end = consumer.end_offsets(one()).await.expect("answered");
    assert_eq!(end[&one()[0]], Offset(10));
    assert!(before.elapsed() < SECOND, "{:?}", before.elapsed());
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_now_is_asked_for_again_and_what_is_refused_for_good_is_told() {
    let _runs = Validated::begin();
    let cluster = three_nodes();
    let consumer = member(&cluster, "g", 1).build().expect("valid");
    let all = || partitions("t", 3);
    refuse(&cluster, LIST_OFFSETS, 4, ErrorCode::OffsetNotAvailable);
    assert_eq!(consumer.end_offsets(all()).await.map(|found| found.len()), Ok(3));
    refuse(&cluster, METADATA, 2, ErrorCode::LeaderNotAvailable);
    assert_eq!(consumer.partitions_for("t").await.map(|found| found.len()), Ok(3));
    let code = ErrorCode::TopicAuthorizationFailed;
    let refused = LookupError::Refused { code };
    refuse(&cluster, LIST_OFFSETS, u64::MAX, code);
    assert_eq!(consumer.end_offsets(all()).await, Err(refused.clone()));
    refuse(&cluster, METADATA, u64::MAX, code);
    assert_eq!(consumer.partitions_for("t").await, Err(refused));
    refuse(&cluster, FIND_COORDINATOR, u64::MAX, ErrorCode::GroupAuthorizationFailed);
    let refused = LookupError::Refused { code: ErrorCode::GroupAuthorizationFailed };
    assert_eq!(consumer.committed(all()).await, Err(refused));
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn calls_end_at_their_deadline_with_the_last_error() {
    let _runs = Validated::begin();
    let cluster = three_nodes();
    let builder = member(&cluster, "g", 1).default_api_timeout(5 * SECOND);
    let consumer = builder.build().expect("valid");
    let unknown = [TopicPartition::new("none", 0)];
    let before = Instant::now();
    let last = Some(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(consumer.end_offsets(unknown).await, Err(LookupError::TimedOut { last }));
    assert_eq!(before.elapsed(), 5 * SECOND);
    let all = || partitions("t", 3);
    refuse(&cluster, LIST_OFFSETS, u64::MAX, ErrorCode::OffsetNotAvailable);
    let last = Some(ErrorCode::OffsetNotAvailable);
    assert_eq!(consumer.beginning_offsets(all()).await, Err(LookupError::TimedOut { last }));
    for node in 1..=3 {
        cluster.kill_node(NodeId(node)).await;
    }
    let before = Instant::now();
    assert_eq!(consumer.list_topics().await, Err(LookupError::TimedOut { last: None }));
    assert_eq!(before.elapsed(), 5 * SECOND);
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_future_is_dropped_asks_no_more() {
    let _runs = Validated::begin();
    let cluster = three_nodes();
    let consumer = member(&cluster, "g", 1).build().expect("valid");
    let unknown = [TopicPartition::new("none", 0)];
    let dropped = tokio::time::timeout(5 * SECOND, consumer.end_offsets(unknown)).await;
    assert!(dropped.is_err(), "it goes on trying");
    tokio::time::sleep(2 * SECOND).await;
    let asked = cluster.requests(METADATA);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(cluster.requests(METADATA), asked);
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn topics_are_described_internal_ones_too_and_asking_creates_none() {
    let _runs = Validated::begin();
    let cluster = three_nodes();
    cluster.create_topic("__consumer_offsets", 50).expect("a legal name");
    let consumer = member(&cluster, "g", 1).build().expect("valid");
    let of_t = consumer.partitions_for("t").await.expect("answered");
    for (index, partition) in (0..).zip(&of_t) {
        assert_eq!(partition.partition, TopicPartition::new("t", index));
        assert_eq!(partition.leader, cluster.leader("t", index).expect("it exists"));
        assert_eq!(partition.in_sync, partition.replicas);
        assert!(partition.offline.is_empty());
    }
    assert_eq!(of_t.len(), 3);
    assert_eq!(consumer.partitions_for("none").await, Ok(vec![]));
    let all = consumer.list_topics().await.expect("answered");
    let said: Vec<_> = all.iter().map(|(name, topic)| (name.as_str(), topic.is_internal)).collect();
    assert_eq!(said, [("__consumer_offsets", true), ("t", false)]);
    assert_eq!(all[&"t".into()].partitions, of_t);
    assert_eq!(cluster.requests(FIND_COORDINATOR), 0);
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn the_lag_counts_from_the_position_to_the_end() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    append_numbered(&cluster, "t", 1, 100);
    let mut consumer = member(&cluster, "g", 1).max_poll_records(30).build().expect("valid");
    let at = TopicPartition::new("t", 0);
    let unassigned = PositionError::NotAssigned { partition: at.clone() };
    assert_eq!(consumer.current_lag(&at).await, Err(unassigned));
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 30).await;
    assert_eq!(consumer.current_lag(&at).await, Ok(Some(70)));
    read(&mut consumer, &mut got, 100).await;
    append_numbered(&cluster, "t", 1, 5);
    tokio::time::sleep(SECOND).await;
    assert_eq!(consumer.current_lag(&at).await, Ok(Some(5)), "as fetched meanwhile");
    consumer.seek(&at, 0).await.expect("assigned");
    assert_eq!(consumer.current_lag(&at).await, Ok(None));
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn many_partitions_move_at_once_or_none() {
    let _runs = Validated::begin();
    let cluster = three_nodes();
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 26).await;
    let all = partitions("t", 3);
    let stranger = TopicPartition::new("u", 0);
    let refused = consumer.seek_to_beginning([all[0].clone(), stranger.clone()]).await;
    assert_eq!(refused, Err(PositionError::NotAssigned { partition: stranger }));
    assert_eq!(consumer.position(&all[0]).await, Ok(Offset(10)));
    consumer.seek_to_beginning([all[0].clone(), all[1].clone()]).await.expect("assigned");
    for (partition, offset) in all.iter().zip([0, 4, 10]) {
        assert_eq!(consumer.position(partition).await, Ok(Offset(offset)));
    }
    consumer.seek_to_beginning([]).await.expect("assigned");
    let mut again = Read::default();
    read(&mut consumer, &mut again, 26).await;
    assert_eq!(again.count(), 26);
    consumer.seek_to_beginning([]).await.expect("assigned");
    consumer.seek_to_end([]).await.expect("assigned");
    assert_eq!(consumer.poll(SECOND).await.expect("poll goes well").len(), 0);
    assert_eq!(consumer.position(&all[2]).await, Ok(Offset(10)));
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_cannot_be_enforced() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    let consumer = member(&cluster, "g", 1).build().expect("valid");
    assert_eq!(consumer.enforce_rebalance(), Err(EnforceRebalanceError::Unsupported));
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn commits_that_nobody_waited_for_are_sent_and_answered_in_their_order() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    append_numbered(&cluster, "t", 1, 10);
    let mut consumer = member(&cluster, "g", 1).max_poll_records(1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let (gate, order) = (Gate::<Before>::new(), Arc::new(Mutex::new(Vec::new())));
    let held = gate.clone();
    cluster.intercept(move |request: &Request| match request.api_key {
        OFFSET_COMMIT => Before::Hold(held.clone()),
        _ => Before::Process,
    });
    let (mut got, mut tasks) = (Read::default(), Vec::new());
    for number in 0..6 {
        read(&mut consumer, &mut got, number + 1).await;
        let mut commit = if number % 2 == 0 {
            consumer.commit_async()
        } else {
            // Nothing to send: over before the one that is held, but not answered before it.
            consumer.committer().commit_offsets([])
        };
        let order = Arc::clone(&order);
        tasks.push(tokio::spawn(std::future::poll_fn(move |context| {
            let done = std::pin::Pin::new(&mut commit).poll(context);
            if done.is_ready() {
                order.lock().expect("not poisoned").push(number);
            }
            match done {
                Poll::Ready(done) => Poll::Ready(done),
                Poll::Pending => Poll::Pending,
            }
        })));
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(*order.lock().expect("not poisoned"), [0; 0]);
    gate.open(Before::Process);
    for task in tasks {
        assert_eq!(task.await.expect("no panic"), Ok(()));
    }
    assert_eq!(*order.lock().expect("not poisoned"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(5)), "the last one with offsets");
    close(consumer).await;
}
