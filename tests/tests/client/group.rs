//! The client as a member of a group: against the test broker, in memory, under paused time, all in
//! one current-thread runtime.

use crate::listeners::Diary;
use crate::support::{Read, SECOND, append_numbered, committed, member, read};
use evenkeel::{
    CloseReport, Consumer, ListenerMethod, Offset, PollError, Records, Seek, TopicPartition,
};
use evenkeel_broker::Cluster;
use evenkeel_tests::validated::Validated;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn cluster(nodes: u32, partitions: u32) -> Cluster {
    let builder = Cluster::builder().nodes(nodes).topic("t", partitions);
    builder.build().expect("a cluster")
}

#[tokio::test(start_paused = true)]
async fn one_member_reads_everything_once_and_close_commits_it() {
    let _runs = Validated::begin();
    let cluster = cluster(3, 6);
    append_numbered(&cluster, "t", 6, 500);
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 3_000).await;
    assert!(got.is_exactly(6, 500), "{got:?}");
    assert_eq!(consumer.assignment().len(), 6);
    assert!(consumer.group_metadata().member.is_some());

    let report = consumer.close(5 * SECOND).await;
    assert!(report.left && report.callbacks_failed.is_empty(), "{report:?}");
    for partition in 0..6 {
        assert_eq!(committed(&cluster, "g", "t", partition), Some(Offset(500)));
    }
    let group = cluster.describe_group("g").expect("it exists");
    assert!(group.members.is_empty());
}

#[tokio::test(start_paused = true)]
async fn records_come_with_all_their_fields() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 1);
    cluster.append("t", 0, Some(b"key"), Some(b"value")).expect("it exists");
    cluster.append("t", 0, None, None).expect("it exists");
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut all = Vec::new();
    while all.len() < 2 {
        let records = consumer.poll(SECOND).await.expect("poll goes well");
        all.extend(records.iter().map(|record| record.to_owned()));
    }
    assert_eq!(all[0].partition, TopicPartition::new("t", 0));
    assert_eq!((all[0].offset, all[1].offset), (Offset(0), Offset(1)));
    assert_eq!((all[0].key.as_deref(), all[1].key.as_deref()), (Some(&b"key"[..]), None));
    assert_eq!((all[0].value.as_deref(), all[1].value.as_deref()), (Some(&b"value"[..]), None));
    assert!(all[0].timestamp_ms.is_some());
    drop(consumer);
}

#[tokio::test(start_paused = true)]
async fn commit_covers_what_was_returned_and_a_successor_goes_on_there() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 1);
    append_numbered(&cluster, "t", 1, 30);
    let builder = member(&cluster, "g", 1).enable_auto_commit(false).max_poll_records(10);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 20).await;
    consumer.commit().await.expect("committed");
    let at = TopicPartition::new("t", 0);
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(20)));
    let asked = consumer.committed([at.clone()]).await.expect("answered");
    assert_eq!(asked[&at].as_ref().map(|committed| committed.offset), Some(Offset(20)));
    assert_eq!(consumer.position(&at).await, Ok(Offset(20)));
    assert!(consumer.close(SECOND).await.left);

    let mut successor = member(&cluster, "g", 2).build().expect("valid");
    successor.subscribe(["t"]).await.expect("subscribed");
    let mut rest = Read::default();
    read(&mut successor, &mut rest, 10).await;
    assert_eq!(rest.0[&at], (20..30).collect::<Vec<_>>());
    assert!(successor.close(SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn a_committer_commits_from_another_task_and_outlives_the_consumer() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 1);
    append_numbered(&cluster, "t", 1, 5);
    let mut consumer = member(&cluster, "g", 1).enable_auto_commit(false).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 5).await;
    let committer = consumer.committer();
    let other = committer.clone();
    tokio::spawn(async move { other.commit().await }).await.expect("ran").expect("committed");
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(5)));
    consumer.close(SECOND).await;
    assert_eq!(committer.commit().await, Err(evenkeel::CommitError::Closed));
}

/// Polls both until neither has got anything for `quiet` polls.
async fn read_both(a: &mut Consumer, b: &mut Consumer, got: &mut Read, count: usize) {
    for _ in 0..2_000 {
        if got.count() >= count {
            return;
        }
        let wait = Duration::from_millis(100);
        let (x, y) = tokio::join!(a.poll(wait), b.poll(wait));
        got.take(&x.expect("poll goes well"));
        got.take(&y.expect("poll goes well"));
    }
    panic!("{} of {count} records came", got.count());
}

#[tokio::test(start_paused = true)]
async fn two_members_share_the_partitions_and_lose_and_repeat_nothing() {
    let _runs = Validated::begin();
    let cluster = cluster(3, 6);
    append_numbered(&cluster, "t", 6, 100);
    let mut first = member(&cluster, "g", 1).build().expect("valid");
    first.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut first, &mut got, 600).await;

    let mut second = member(&cluster, "g", 2).build().expect("valid");
    second.subscribe(["t"]).await.expect("subscribed");
    for _ in 0..300 {
        let wait = Duration::from_millis(100);
        let (x, y) = tokio::join!(first.poll(wait), second.poll(wait));
        got.take(&x.expect("poll goes well"));
        got.take(&y.expect("poll goes well"));
    }
    assert_eq!((first.assignment().len(), second.assignment().len()), (3, 3));
    assert!(first.assignment().is_disjoint(second.assignment()));
    append_numbered(&cluster, "t", 6, 100);
    read_both(&mut first, &mut second, &mut got, 1_200).await;

    assert!(second.close(5 * SECOND).await.left);
    append_numbered(&cluster, "t", 6, 100);
    read(&mut first, &mut got, 1_800).await;
    assert!(got.is_exactly(6, 300), "{got:?}");
    assert!(first.close(5 * SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_told_of_assignment_and_of_the_revocation_at_the_end() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 2);
    append_numbered(&cluster, "t", 2, 10);
    let diary = Diary::default();
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe_with(["t"], diary.clone()).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 20).await;
    assert_eq!(diary.lines(), ["assigned [0, 1]", "assigned over"]);
    let report = consumer.close(5 * SECOND).await;
    assert!(report.left && report.callbacks_failed.is_empty(), "{report:?}");
    let all = ["assigned [0, 1]", "assigned over", "revoked [0, 1]", "revoked over"];
    assert_eq!(diary.lines(), all);
    assert_eq!(committed(&cluster, "g", "t", 1), Some(Offset(10)));
}

#[tokio::test(start_paused = true)]
async fn a_callback_of_ten_seconds_keeps_a_membership_of_three() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder()
        .topic("t", 1)
        .set("group.consumer.session.timeout.ms", "3000")
        .set("group.consumer.heartbeat.interval.ms", "1000")
        .build()
        .expect("a cluster");
    append_numbered(&cluster, "t", 1, 10);
    let diary = Diary { slow: 10 * SECOND, ..Diary::default() };
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe_with(["t"], diary.clone()).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 10).await;
    assert_eq!(diary.lines(), ["assigned [0]", "assigned over"]);
    assert!(got.is_exactly(1, 10));
    consumer.close(60 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_poll_leaves_the_callback_to_the_next_one() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 1);
    append_numbered(&cluster, "t", 1, 10);
    let diary = Diary { slow: 5 * SECOND, ..Diary::default() };
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe_with(["t"], diary.clone()).await.expect("subscribed");
    for _ in 0..100 {
        let dropped = tokio::time::timeout(SECOND, consumer.poll(60 * SECOND)).await;
        if let Ok(polled) = dropped {
            assert_eq!(polled.expect("poll goes well").len(), 10);
            assert_eq!(diary.lines(), ["assigned [0]", "assigned over"]);
            consumer.close(60 * SECOND).await;
            return;
        }
    }
    panic!("the callback never ended: {:?}", diary.lines());
}

#[tokio::test(start_paused = true)]
async fn a_failed_or_panicked_assignment_is_told_and_run_again_before_records() {
    let _runs = Validated::begin();
    for failure in ["out of order", "panic"] {
        let cluster = cluster(1, 1);
        append_numbered(&cluster, "t", 1, 10);
        let fail_once = Arc::new(Mutex::new(Some(failure)));
        let diary = Diary { fail_once, ..Diary::default() };
        let mut consumer = member(&cluster, "g", 1).build().expect("valid");
        consumer.subscribe_with(["t"], diary.clone()).await.expect("subscribed");
        let mut errors = Vec::new();
        let mut got = Read::default();
        for _ in 0..100 {
            match consumer.poll(SECOND).await {
                Ok(records) => got.take(&records),
                Err(error) => errors.push(error),
            }
        }
        assert!(got.is_exactly(1, 10), "{got:?}");
        assert_eq!(errors.len(), 1, "{errors:?}");
        let PollError::Listener { method: ListenerMethod::Assigned, reason, .. } = &errors[0]
        else {
            panic!("{errors:?}");
        };
        let said = if failure == "panic" { "panicked: by design" } else { failure };
        assert_eq!(&**reason, said);
        assert_eq!(diary.lines(), ["assigned [0]", "assigned [0]", "assigned over"]);
        consumer.close(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn close_drops_a_callback_that_does_not_end_and_says_so() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 1);
    let diary = Diary { slow: 3_600 * SECOND, ..Diary::default() };
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe_with(["t"], diary.clone()).await.expect("subscribed");
    for _ in 0..10 {
        assert!(consumer.poll(SECOND).await.expect("no error").is_empty());
    }
    assert_eq!(diary.lines(), ["assigned [0]"]);
    let begin = Instant::now();
    let CloseReport { callbacks_failed, .. } = consumer.close(5 * SECOND).await;
    assert!(begin.elapsed() <= 6 * SECOND, "{:?}", begin.elapsed());
    assert_eq!(callbacks_failed.len(), 1, "{callbacks_failed:?}");
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Polls the future of `consumer.poll` at most `times` and drops it.
async fn poll_at_most(consumer: &mut Consumer, mut times: u64) -> Option<Records> {
    let mut polling = pin!(consumer.poll(SECOND));
    poll_fn(|context| {
        if times == 0 {
            return Poll::Ready(None);
        }
        times -= 1;
        let polled = polling.as_mut().poll(context);
        polled.map(|records| Some(records.expect("poll goes well")))
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn polls_dropped_at_random_awaits_lose_and_repeat_nothing() {
    let _runs = Validated::begin();
    let seed = 848;
    let mut random = Random(seed);
    let cluster = cluster(3, 6);
    append_numbered(&cluster, "t", 6, 2_000);
    let builder = member(&cluster, "g", 1).max_poll_records(7);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let (mut got, mut dropped) = (Read::default(), 0);
    while dropped < 10_000 {
        match poll_at_most(&mut consumer, random.below(4)).await {
            Some(records) => got.take(&records),
            None => dropped += 1,
        }
        for _ in 0..random.below(4) {
            tokio::task::yield_now().await;
        }
    }
    read(&mut consumer, &mut got, 12_000).await;
    assert!(got.is_exactly(6, 2_000), "seed {seed}: {} records", got.count());
    consumer.close(SECOND).await;
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(2_000)));
}

#[tokio::test(start_paused = true)]
async fn commit_does_not_cover_a_delivery_that_no_poll_returned() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 1);
    append_numbered(&cluster, "t", 1, 40);
    let builder = member(&cluster, "g", 1).max_poll_records(10).enable_auto_commit(false);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 10).await;
    assert!(poll_at_most(&mut consumer, 1).await.is_none());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    consumer.commit().await.expect("committed");
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(10)));
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_yields_every_record_and_close_commits_what_it_yielded() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 1);
    append_numbered(&cluster, "t", 1, 100);
    let builder = member(&cluster, "g", 1).max_poll_records(10);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut records = consumer.records();
    for offset in 0..34 {
        let record = records.next().await.expect("it never ends").expect("no error");
        assert_eq!(record.offset, Offset(offset));
    }
    consumer.commit().await.expect("committed");
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(34)));
    let rest = consumer.poll(SECOND).await.expect("poll goes well");
    let offsets: Vec<u64> = rest.iter().map(|record| record.offset.0).collect();
    assert_eq!(offsets, (34..40).collect::<Vec<_>>());
    let record = consumer.records().next().await.expect("it never ends").expect("no error");
    assert_eq!(record.offset, Offset(40));
    assert!(consumer.close(SECOND).await.left);
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(41)));
}

#[tokio::test(start_paused = true)]
async fn seek_moves_the_position_and_pause_withholds() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 2);
    append_numbered(&cluster, "t", 2, 20);
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 40).await;
    let (zero, one) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
    consumer.pause([one.clone()]).await.expect("assigned");
    consumer.seek(&zero, 15).await.expect("assigned");
    consumer.seek(&one, Seek::Beginning).await.expect("assigned");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 5).await;
    for _ in 0..5 {
        got.take(&consumer.poll(SECOND).await.expect("poll goes well"));
    }
    assert_eq!(got.0[&zero], (15..20).collect::<Vec<_>>());
    assert_eq!(got.0.get(&one), None);
    consumer.resume([one.clone()]).await.expect("assigned");
    read(&mut consumer, &mut got, 25).await;
    assert_eq!(got.0[&one], (0..20).collect::<Vec<_>>());
    let stranger = TopicPartition::new("u", 0);
    let refused = consumer.seek(&stranger, 0).await;
    assert_eq!(refused, Err(evenkeel::PositionError::NotAssigned { partition: stranger }));
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn unsubscribe_leaves_and_the_consumer_may_subscribe_again() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 1);
    append_numbered(&cluster, "t", 1, 10);
    let diary = Diary::default();
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    assert_eq!(consumer.poll(SECOND).await.err(), Some(PollError::NotSubscribed));
    consumer.subscribe_with(["t"], diary.clone()).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 10).await;
    consumer.unsubscribe().await.expect("left");
    assert!(consumer.assignment().is_empty());
    assert_eq!(diary.lines().last().map(String::as_str), Some("revoked over"));
    assert!(cluster.describe_group("g").is_some_and(|group| group.members.is_empty()));
    append_numbered(&cluster, "t", 1, 10);
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 10).await;
    assert_eq!(got.0[&TopicPartition::new("t", 0)], (10..20).collect::<Vec<_>>());
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_dropped_without_close_leaves_in_the_background() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 1);
    append_numbered(&cluster, "t", 1, 10);
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 10).await;
    drop(consumer);
    sleep(SECOND).await;
    let group = cluster.describe_group("g").expect("it exists");
    assert!(group.members.is_empty(), "{group:?}");
    assert!(cluster.connections().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_exist_yet_is_consumed_once_it_does() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 1);
    append_numbered(&cluster, "t", 1, 10);
    let builder = member(&cluster, "g", 1).property("metadata.max.age.ms", "10000");
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t", "later"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 10).await;
    cluster.create_topic("later", 1).expect("new");
    append_numbered(&cluster, "later", 1, 5);
    read(&mut consumer, &mut got, 15).await;
    assert_eq!(got.0[&TopicPartition::new("later", 0)], (0..5).collect::<Vec<_>>());
    consumer.close(SECOND).await;
}
