//! Partitions that the application assigns itself, with and without a group.

use crate::support::{InMemory, Read, SECOND, append_numbered, committed, member, read};
use evenkeel::{
    CommitError, Committed, Consumer, ConsumerBuilder, ErrorCode, LookupError, Offset, PollError,
    PositionError, SubscribeError, TopicPartition,
};
use evenkeel_broker::{Before, Cluster, Request, RequestWords};
use evenkeel_harness::validate::{Run, RunError};
use evenkeel_tests::validated::{Recording, Validated};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;

const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const FIND_COORDINATOR: i16 = 10;
const HEARTBEAT: i16 = 68;

/// A consumer that is not recorded: its runs are none of the group protocol.
fn reader(cluster: &Cluster) -> ConsumerBuilder {
    Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .property("auto.offset.reset", "earliest")
        .connector(InMemory::of(cluster))
        .spawn_on(Handle::current())
        .seed(1)
}

fn two_partitions() -> Cluster {
    let cluster = Cluster::builder().nodes(2).topic("t", 2).build().expect("a cluster");
    append_numbered(&cluster, "t", 2, 10);
    cluster
}

fn at(index: u32) -> TopicPartition {
    TopicPartition::new("t", index)
}

/// How often the group's coordinator was looked for, asked for offsets, or told anything.
fn of_group(cluster: &Cluster) -> [u64; 4] {
    [FIND_COORDINATOR, OFFSET_FETCH, OFFSET_COMMIT, HEARTBEAT].map(|key| cluster.requests(key))
}

async fn close(consumer: Consumer) {
    let report = consumer.close(5 * SECOND).await;
    assert!(report.left && report.died.is_none(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_group_it_reads_and_nobody_looks_for_a_coordinator() {
    let cluster = two_partitions();
    let mut consumer = reader(&cluster).build().expect("valid");
    assert_eq!(consumer.poll(SECOND).await.expect_err("nothing"), PollError::NotSubscribed);
    consumer.assign([at(0), at(1)]).await.expect("assigned");
    assert_eq!(*consumer.assignment(), BTreeSet::from([at(0), at(1)]));
    let mut got = Read::default();
    read(&mut consumer, &mut got, 20).await;
    assert!(got.is_exactly(2, 10));
    assert_eq!(consumer.commit().await, Err(CommitError::NoGroupId));
    assert_eq!(consumer.committed([at(0)]).await, Err(LookupError::NoGroupId));
    assert_eq!(consumer.subscribe(["t"]).await, Err(SubscribeError::NoGroupId));
    assert_eq!(consumer.group_metadata().group, None);
    append_numbered(&cluster, "t", 1, 5);
    read(&mut consumer, &mut got, 25).await;
    close(consumer).await;
    assert_eq!(of_group(&cluster), [0; 4]);
}

#[tokio::test(start_paused = true)]
async fn where_every_position_is_sought_and_nothing_committed_nobody_looks_for_a_coordinator() {
    let cluster = two_partitions();
    let builder = reader(&cluster).group_id("g").enable_auto_commit(false);
    let mut consumer = builder.build().expect("valid");
    consumer.assign([at(0), at(1)]).await.expect("assigned");
    tokio::time::sleep(SECOND).await;
    consumer.seek(&at(0), 7).await.expect("assigned");
    consumer.seek_to_beginning([at(1)]).await.expect("assigned");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 13).await;
    assert_eq!(got.0[&at(0)], [7, 8, 9]);
    close(consumer).await;
    assert_eq!(of_group(&cluster), [0; 4]);
}

/// O11: no commit carries a member.
#[tokio::test(start_paused = true)]
async fn with_a_group_it_begins_at_what_is_committed_and_commits_without_a_member() {
    let cluster = two_partitions();
    let owners = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&owners);
    cluster.intercept(move |request: &Request| {
        if let Some(RequestWords::OffsetCommit(_, commit)) = &request.words {
            seen.lock().expect("not poisoned").push(commit.owner);
        }
        Before::Process
    });
    let builder = || reader(&cluster).group_id("g").max_poll_records(4);
    let mut consumer = builder().build().expect("valid");
    consumer.assign([at(0)]).await.expect("assigned");
    read(&mut consumer, &mut Read::default(), 4).await;
    consumer.commit().await.expect("the group has no members");
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(4)));
    read(&mut consumer, &mut Read::default(), 4).await;
    assert_eq!(consumer.poll(SECOND).await.expect("poll goes well").len(), 2);
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(8)), "by interval, what is released");
    close(consumer).await;
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(10)), "by close, the rest");
    assert!(owners.lock().expect("not poisoned").iter().all(Option::is_none));
    append_numbered(&cluster, "t", 1, 1);
    let mut next = builder().build().expect("valid");
    next.assign([at(0)]).await.expect("assigned");
    let mut got = Read::default();
    read(&mut next, &mut got, 1).await;
    assert_eq!(got.0[&at(0)], [10]);
    close(next).await;
    assert_eq!(cluster.requests(HEARTBEAT), 0);
}

#[tokio::test(start_paused = true)]
async fn offsets_of_an_empty_group_are_set_without_reading() {
    let cluster = two_partitions();
    let mut consumer = reader(&cluster).group_id("g").build().expect("valid");
    consumer.assign([at(0), at(1)]).await.expect("assigned");
    // No metadata has come yet.
    let offsets = [(at(0), Committed::at(Offset(3))), (at(1), Committed::at(Offset(5)))];
    assert_eq!(consumer.commit_offsets(offsets).await, Ok(()));
    let stranger = [(TopicPartition::new("u", 0), Committed::at(Offset(5)))];
    let refused = consumer.commit_offsets(stranger).await;
    assert!(matches!(refused, Err(CommitError::NotAssigned { .. })), "{refused:?}");
    close(consumer).await;
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(3)));
    assert_eq!(committed(&cluster, "g", "t", 1), Some(Offset(5)));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_has_members_refuses_the_commits_of_others() {
    let _runs = Validated::begin();
    let cluster = two_partitions();
    let mut joined = member(&cluster, "g", 2).build().expect("valid");
    joined.subscribe(["t"]).await.expect("subscribed");
    read(&mut joined, &mut Read::default(), 20).await;
    joined.commit().await.expect("a member");
    let mut consumer = reader(&cluster).group_id("g").build().expect("valid");
    consumer.assign([at(0)]).await.expect("assigned");
    consumer.seek(&at(0), 0).await.expect("assigned");
    read(&mut consumer, &mut Read::default(), 10).await;
    let code = ErrorCode::UnknownMemberId;
    let refused = consumer.commit().await;
    assert_eq!(refused, Err(CommitError::Refused { code }));
    assert!(refused.expect_err("refused").to_string().contains("while the group has no members"));
    // What is committed by interval is refused as well, which nobody else would tell.
    consumer.poll(SECOND).await.expect("nothing to tell yet");
    let told = consumer.poll(10 * SECOND).await.expect_err("told");
    assert_eq!(told, PollError::Refused { group: "g".into(), code });
    close(consumer).await;
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(10)));
    joined.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_and_an_assignment_exclude_each_other_until_unsubscribe() {
    let cluster = two_partitions();
    let mut consumer = reader(&cluster).group_id("g").build().expect("valid");
    consumer.assign([at(0)]).await.expect("assigned");
    assert_eq!(consumer.subscribe(["t"]).await, Err(SubscribeError::Exclusive));
    read(&mut consumer, &mut Read::default(), 10).await;
    consumer.unsubscribe().await.expect("nothing to leave");
    assert!(consumer.assignment().is_empty());
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(10)), "released by it");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 10).await;
    assert_eq!(got.0.keys().collect::<Vec<_>>(), [&at(1)]);
    assert_eq!(consumer.assign([at(0)]).await, Err(SubscribeError::Exclusive));
    assert_eq!(consumer.assign([]).await, Ok(()), "as unsubscribe");
    consumer.assign([at(0)]).await.expect("assigned");
    let illegal = consumer.assign([TopicPartition::new("a topic", 0)]).await;
    assert_eq!(illegal, Err(SubscribeError::InvalidTopic { topic: "a topic".into() }));
    assert_eq!(consumer.position(&at(0)).await, Ok(Offset(10)));
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_assignment_keeps_what_stays_and_commits_what_goes() {
    let cluster = two_partitions();
    let builder = reader(&cluster).group_id("g").max_poll_records(3);
    let mut consumer = builder.build().expect("valid");
    consumer.assign([at(0)]).await.expect("assigned");
    read(&mut consumer, &mut Read::default(), 3).await;
    consumer.assign([at(0), at(1)]).await.expect("assigned");
    assert_eq!(consumer.position(&at(0)).await, Ok(Offset(3)));
    consumer.assign([at(1)]).await.expect("assigned");
    assert_eq!(*consumer.assignment(), BTreeSet::from([at(1)]));
    let stranger = PositionError::NotAssigned { partition: at(0) };
    assert_eq!(consumer.position(&at(0)).await, Err(stranger));
    tokio::time::sleep(SECOND).await;
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(3)));
    let mut got = Read::default();
    read(&mut consumer, &mut got, 10).await;
    assert_eq!(got.0.keys().collect::<Vec<_>>(), [&at(1)]);
    close(consumer).await;
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(3)));
    assert_eq!(committed(&cluster, "g", "t", 1), Some(Offset(10)));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_comes_later_or_comes_anew_is_read() {
    let cluster = Cluster::builder().build().expect("a cluster");
    let mut consumer = reader(&cluster).build().expect("valid");
    consumer.assign([at(0)]).await.expect("assigned");
    consumer.seek(&at(0), 2).await.expect("assigned");
    assert_eq!(consumer.current_lag(&at(0)).await, Ok(None));
    assert_eq!(consumer.poll(5 * SECOND).await.expect("no error").len(), 0);
    cluster.create_topic("t", 1).expect("a legal name");
    append_numbered(&cluster, "t", 1, 5);
    let mut got = Read::default();
    read(&mut consumer, &mut got, 3).await;
    assert_eq!(got.0[&at(0)], [2, 3, 4]);
    consumer.pause([at(0)]).await.expect("assigned");
    cluster.delete_topic("t").expect("it exists");
    cluster.create_topic("t", 1).expect("a legal name");
    append_numbered(&cluster, "t", 1, 2);
    assert_eq!(consumer.poll(10 * SECOND).await.expect("no error").len(), 0, "paused");
    consumer.resume([at(0)]).await.expect("assigned");
    let mut again = Read::default();
    read(&mut consumer, &mut again, 2).await;
    assert_eq!(again.0[&at(0)], [0, 1], "another topic: from its beginning");
    close(consumer).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_the_last_commit_as_long_as_it_may() {
    let cluster = two_partitions();
    let mut consumer = reader(&cluster).group_id("g").build().expect("valid");
    consumer.assign([at(0)]).await.expect("assigned");
    read(&mut consumer, &mut Read::default(), 10).await;
    let coordinator = cluster.coordinator("g").expect("alive");
    cluster.intercept(move |request: &Request| match request.api_key {
        OFFSET_COMMIT if request.node == coordinator => Before::Delay(60 * SECOND),
        _ => Before::Process,
    });
    let before = tokio::time::Instant::now();
    let report = consumer.close(3 * SECOND).await;
    assert_eq!((before.elapsed(), report.left), (3 * SECOND, false));
}

#[tokio::test(start_paused = true)]
async fn a_recorded_run_of_an_assignment_is_refused_by_name() {
    let cluster = two_partitions();
    let recording = Recording::default();
    let mut consumer = reader(&cluster).record_run(recording.clone()).build().expect("valid");
    consumer.assign([at(0)]).await.expect("assigned");
    read(&mut consumer, &mut Read::default(), 10).await;
    close(consumer).await;
    let refused = Run::parse(&recording.text()).expect_err("nothing to validate");
    assert_eq!(refused, RunError::ManualAssignment { line: 2 });
}
