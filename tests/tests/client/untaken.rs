//! What was delivered and not returned: it is returned later, or nobody's; no commit covers it.

use crate::support::{
    InMemory, Read, SECOND, append_numbered, committed, member, read, unrecorded,
};
use evenkeel::{
    CommitError, Committed, Consumer, ErrorCode, ListenerError, LookupError, Offset, PollError,
    RebalanceContext, RebalanceListener, Seek, TopicPartition,
};
use evenkeel_broker::Cluster;
use evenkeel_tests::validated::Validated;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

fn cluster(partitions: u32, records: u32) -> Cluster {
    let cluster = Cluster::builder().topic("t", partitions).build().expect("a cluster");
    append_numbered(&cluster, "t", partitions, records);
    cluster
}

fn zero() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// A poll that is dropped when its records are there and nobody has looked.
async fn drop_poll(consumer: &mut Consumer) {
    let mut poll = pin!(consumer.poll(60 * SECOND));
    poll_fn(|context| {
        assert!(poll.as_mut().poll(context).is_pending(), "nothing was there before");
        Poll::Ready(())
    })
    .await;
    sleep(SECOND).await;
}

async fn yielded(consumer: &mut Consumer, count: usize) -> Vec<(u32, u64)> {
    let mut records = consumer.records();
    let mut got = Vec::new();
    for _ in 0..count {
        let record = records.next().await.expect("it does not end").expect("no error");
        got.push((record.partition.partition, record.offset.0));
    }
    got
}

/// O2: a record whose handling failed is not skipped.
#[tokio::test(start_paused = true)]
async fn a_seek_in_the_middle_of_a_stream_takes_back_what_it_yielded() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 20);
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    assert_eq!(yielded(&mut consumer, 4).await.last(), Some(&(0, 3)));
    consumer.seek(&zero(), 3).await.expect("assigned");
    consumer.commit().await.expect("committed");
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(3)));
    assert!(consumer.close(SECOND).await.left);
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(3)), "nor by the end");
}

/// O2: that the beginning is at 0 is not known when it is sought.
#[tokio::test(start_paused = true)]
async fn what_is_read_again_from_the_beginning_is_committed_by_the_end() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 20);
    let builder = member(&cluster, "g", 1).max_poll_records(5);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 10).await;
    consumer.commit().await.expect("committed");
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(10)));
    consumer.seek(&zero(), Seek::Beginning).await.expect("assigned");
    read(&mut consumer, &mut Read::default(), 5).await;
    assert!(consumer.close(SECOND).await.left);
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(5)), "the rest is to be read again");
}

/// O2: the rest of the delivery that the seek ended counts for no commit.
#[tokio::test(start_paused = true)]
async fn after_a_seek_a_commit_never_covers_what_was_not_yielded() {
    let _runs = Validated::begin();
    let cluster = cluster(2, 40);
    let builder = member(&cluster, "g", 1).max_poll_records(10).enable_auto_commit(false);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut next = BTreeMap::new();
    for (partition, offset) in yielded(&mut consumer, 23).await {
        next.insert(partition, offset + 1);
    }
    let sought = next.iter().max_by_key(|(_, next)| **next).map(|(partition, _)| *partition);
    let sought = sought.expect("records came");
    consumer.seek(&TopicPartition::new("t", sought), 5).await.expect("assigned");
    next.insert(sought, 5);
    for _ in 0..30 {
        let (partition, offset) = yielded(&mut consumer, 1).await[0];
        next.insert(partition, offset + 1);
        consumer.commit().await.expect("committed");
        for (partition, next) in &next {
            let committed = committed(&cluster, "g", "t", *partition).expect("of both");
            assert!(committed.0 <= *next, "{partition}: {committed:?} of {next}");
        }
    }
    assert!(consumer.close(SECOND).await.left);
}

/// Commits everything when partitions go.
struct Commits;

impl RebalanceListener for Commits {
    async fn on_partitions_revoked(
        &mut self,
        context: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        context.commit().await?;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_poll_left_is_not_committed_by_the_end() {
    for closes in [true, false] {
        let _runs = Validated::begin();
        let cluster = cluster(1, 20);
        let builder = member(&cluster, "g", 1).max_poll_records(5);
        let mut consumer = builder.build().expect("valid");
        consumer.subscribe_with(["t"], Commits).await.expect("subscribed");
        read(&mut consumer, &mut Read::default(), 5).await;
        drop_poll(&mut consumer).await;
        if closes {
            assert!(consumer.close(SECOND).await.left);
        } else {
            consumer.unsubscribe().await.expect("unsubscribed");
        }
        assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(5)), "closes: {closes}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_poll_left_is_returned_after_another_assignment() {
    let cluster = cluster(2, 20);
    let builder = Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .property("auto.offset.reset", "earliest")
        .connector(InMemory::of(&cluster))
        .spawn_on(Handle::current())
        .max_poll_records(5);
    let mut consumer = builder.build().expect("valid");
    consumer.assign([zero()]).await.expect("assigned");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 5).await;
    drop_poll(&mut consumer).await;
    consumer.assign([zero(), TopicPartition::new("t", 1)]).await.expect("assigned");
    read(&mut consumer, &mut got, 40).await;
    assert!(got.is_exactly(2, 20), "{got:?}");
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_after_a_seek_in_the_middle_of_a_stream_asks_for_the_next_records() {
    let _runs = Validated::begin();
    let cluster = cluster(1, 20);
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    yielded(&mut consumer, 4).await;
    consumer.seek(&zero(), 3).await.expect("assigned");
    let began = Instant::now();
    let records = consumer.poll(3_600 * SECOND).await.expect("poll goes well");
    assert_eq!(records.iter().next().map(|record| record.offset), Some(Offset(3)));
    assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
    assert!(consumer.close(SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_poll_was_told_is_told_after_an_unsubscribe() {
    let cluster = cluster(1, 0);
    let builder = unrecorded(&cluster, "g", 1).bootstrap_servers("nobody:9092");
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    {
        let mut poll = pin!(consumer.poll(3_600 * SECOND));
        poll_fn(|context| {
            assert!(poll.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        sleep(61 * SECOND).await;
    }
    let unsubscribed = consumer.unsubscribe().await;
    let told = consumer.poll(SECOND).await.expect_err("nobody was reached");
    assert!(matches!(told, PollError::NoBroker { .. }), "{told:?}, {unsubscribed:?}");
}

#[tokio::test(start_paused = true)]
async fn after_another_assignment_a_commit_is_of_what_is_assigned_still() {
    let cluster = cluster(2, 10);
    let builder = unrecorded(&cluster, "g", 1).max_poll_records(20).enable_auto_commit(false);
    let mut consumer = builder.build().expect("valid");
    let one = TopicPartition::new("t", 1);
    consumer.assign([zero(), one.clone()]).await.expect("assigned");
    let last = *yielded(&mut consumer, 13).await.last().expect("there are so many");
    let (kept, gone) = if last.0 == 0 { (zero(), one) } else { (one, zero()) };
    consumer.assign([kept.clone()]).await.expect("assigned");
    consumer.commit().await.expect("committed");
    let of = |partition: &TopicPartition| committed(&cluster, "g", "t", partition.partition);
    assert_eq!(of(&kept), Some(Offset(last.1 + 1)));
    assert_eq!(of(&gone), None, "it was given up, and nobody committed it");
    consumer.close(SECOND).await;
}

/// It would cost the connection, and everything that is on it.
#[tokio::test(start_paused = true)]
async fn what_no_text_of_the_protocol_holds_is_refused_before_it_is_sent() {
    let cluster = cluster(1, 10);
    let mut consumer = unrecorded(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 10).await;
    let (began, connections) = (Instant::now(), cluster.connections_ever());
    let note = Committed { metadata: "x".repeat(32_768).into(), ..Committed::at(Offset(3)) };
    let refused = consumer.commit_offsets([(zero(), note)]).await;
    let code = ErrorCode::OffsetMetadataTooLarge;
    assert_eq!(refused, Err(CommitError::Refused { code }));
    let topic = "x".repeat(40_000);
    let at = [TopicPartition::new(topic.as_str(), 0)];
    let refused = LookupError::Refused { code: ErrorCode::InvalidTopicException };
    assert_eq!(consumer.partitions_for(topic).await, Err(refused.clone()));
    assert_eq!(consumer.end_offsets(at.clone()).await, Err(refused.clone()));
    assert_eq!(consumer.committed(at).await, Err(refused));
    assert!(began.elapsed().is_zero());
    let note = Committed { metadata: "x".repeat(4_097).into(), ..Committed::at(Offset(3)) };
    let refused = consumer.commit_offsets([(zero(), note)]).await;
    assert_eq!(refused, Err(CommitError::Refused { code }), "by the broker");
    assert_eq!(cluster.connections_ever(), connections);
    consumer.close(SECOND).await;
}
