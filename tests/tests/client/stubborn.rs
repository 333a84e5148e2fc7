//! What an application may do to its consumer without costing it the membership: all but staying
//! away for longer than `max.poll.interval.ms`.

use crate::listeners::Endless;
use crate::support::{Read, SECOND, append_numbered, member, read};
use evenkeel::{Consumer, ListenerMethod};
use evenkeel_broker::Cluster;
use evenkeel_tests::validated::Validated;
use std::time::Duration;
use tokio::time::sleep;

/// Three seconds of session, a heartbeat a second.
fn impatient() -> Cluster {
    let builder = Cluster::builder()
        .set("group.consumer.session.timeout.ms", "3000")
        .set("group.consumer.heartbeat.interval.ms", "1000")
        .topic("t", 2);
    let cluster = builder.build().expect("a cluster");
    append_numbered(&cluster, "t", 2, 10);
    cluster
}

async fn joined(cluster: &Cluster) -> Consumer {
    let builder = member(cluster, "g", 1).max_poll_records(5).max_poll_interval(60 * SECOND);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    consumer
}

fn members(cluster: &Cluster) -> usize {
    cluster.describe_group("g").expect("it exists").members.len()
}

#[tokio::test(start_paused = true)]
async fn an_application_that_never_polls_again_stays_until_the_poll_interval_is_over_and_no_longer()
{
    let _runs = Validated::begin();
    let cluster = impatient();
    let mut consumer = joined(&cluster).await;
    read(&mut consumer, &mut Read::default(), 20).await;
    sleep(58 * SECOND).await;
    assert_eq!(members(&cluster), 1, "nineteen sessions long");
    sleep(4 * SECOND).await;
    assert_eq!(members(&cluster), 0, "it has left by itself");
    append_numbered(&cluster, "t", 2, 1);
    let mut got = Read::default();
    read(&mut consumer, &mut got, 2).await;
    assert_eq!(members(&cluster), 1, "and joins again with the next poll");
    assert!(consumer.close(SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn whatever_the_application_holds_and_does_not_look_at_keeps_nobody_from_heartbeating() {
    let _runs = Validated::begin();
    let cluster = impatient();
    let mut consumer = joined(&cluster).await;
    let records = loop {
        let records = consumer.poll(SECOND).await.expect("poll goes well");
        if !records.is_empty() {
            break records;
        }
    };
    let committer = consumer.committer();
    let commits: Vec<_> =
        (0..100).flat_map(|_| [committer.commit(), consumer.commit_async()]).collect();
    let mut stream = consumer.records();
    let record = stream.next().await.expect("it does not end").expect("there are more");
    let heartbeats = cluster.requests(68);
    sleep(50 * SECOND).await;
    assert!(cluster.requests(68) - heartbeats >= 45, "it heartbeats");
    assert_eq!(members(&cluster), 1);
    let next = stream.next().await.expect("it does not end").expect("there are more");
    assert_eq!(next.offset.0, record.offset.0 + 1, "it goes on where it was");
    assert_eq!(records.iter().count(), 5);
    for commit in commits {
        commit.await.expect("confirmed long ago");
    }
    assert!(consumer.close(SECOND).await.left);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_never_returns_blocks_its_own_records_and_nothing_else() {
    let _runs = Validated::begin();
    let cluster = impatient();
    let builder = member(&cluster, "g", 1).max_poll_interval(60 * SECOND);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe_with(["t"], Endless(ListenerMethod::Assigned)).await.expect("subscribed");
    for _ in 0..300 {
        assert!(consumer.poll(SECOND).await.expect("poll goes well").is_empty());
    }
    // It polls, so it is alive: five minutes are a hundred sessions and five poll intervals.
    assert_eq!(members(&cluster), 1);
    let report = consumer.close(SECOND).await;
    assert_eq!(report.callbacks_failed.len(), 1, "{report:?}");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(members(&cluster), 0, "{report:?}");
}
