//! More calls than `request.queue.max`: who is refused is told at once, and how long to wait; who does
//! so gets through.

use crate::calls::OWN;
use crate::support::{Read, SECOND, append_numbered, read, unrecorded};
use evenkeel::{CommitError, Committer, Consumer, SubscribeError};
use evenkeel_broker::{Before, Cluster, Gate, Request};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a refused caller is asked to wait; `None`: it was not refused.
fn wait(committed: Result<(), CommitError>) -> Option<Duration> {
    match committed {
        Ok(()) => None,
        Err(CommitError::QueueFull(full)) => Some(full.retry_after),
        Err(other) => panic!("{other:?}"),
    }
}

/// As many commits in a row are refused, and each asks for so many milliseconds, with a fifth of
/// jitter.
async fn asks_for(millis: &[u64], consumer: &Consumer) {
    for expected in millis {
        let asked = wait(consumer.commit().await).expect("the queue is full");
        let between = [expected * 8 / 10, expected * 12 / 10].map(Duration::from_millis);
        assert!((between[0]..=between[1]).contains(&asked), "{asked:?} for {expected} ms");
    }
}

/// A member with so many places for calls.
async fn narrow(cluster: &Cluster, places: u32) -> Consumer {
    append_numbered(cluster, "t", 1, 10);
    let builder = unrecorded(cluster, "g", 1).request_queue_max(places).enable_auto_commit(false);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 10).await;
    consumer
}

/// Lets nobody's commit be answered until the gate is opened.
fn hold_commits(cluster: &Cluster) -> Gate<Before> {
    let gate = Gate::<Before>::new();
    let held = gate.clone();
    cluster.intercept(move |request: &Request| {
        if request.api_key == 8 { Before::Hold(held.clone()) } else { Before::Process }
    });
    gate
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_other_tasks_keep_full_refuses_at_once_and_keeps_nobody_from_leaving() {
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    let mut consumer = narrow(&cluster, 1_024).await;
    let _gate = hold_commits(&cluster);
    let mut commits: Vec<_> = (0..2_000).map(|_| consumer.commit_async()).collect();
    tokio::task::yield_now().await;
    let begin = Instant::now();
    asks_for(&[100, 200], &consumer).await;
    assert_eq!(consumer.subscribe(["t"]).await, Ok(()), "it needs no room");
    assert_eq!(begin.elapsed(), Duration::ZERO);
    // More calls than the queue takes, before the background has a turn.
    commits.extend((0..2_000).map(|_| consumer.commit_async()));
    let left = consumer.unsubscribe().await;
    assert!(!matches!(left, Err(SubscribeError::QueueFull { .. })), "{left:?}");
    drop(commits);
    consumer.close(OWN).await;
}

#[tokio::test(start_paused = true)]
async fn the_backoff_that_refusals_ask_for_doubles_up_to_its_bound_and_begins_anew_after_a_success()
{
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    let consumer = narrow(&cluster, 2).await;
    for _ in 0..2 {
        let gate = hold_commits(&cluster);
        let open = [consumer.commit_async(), consumer.commit_async()];
        // `retry.backoff.ms` to `retry.backoff.max.ms`.
        asks_for(&[100, 200, 400, 800, 1_000, 1_000, 1_000], &consumer).await;
        gate.open(Before::Process);
        for commit in open {
            assert_eq!(commit.await, Ok(()));
        }
        assert_eq!(consumer.commit().await, Ok(()));
    }
    assert!(consumer.close(OWN).await.left);
}

/// Commits until it is not refused, waiting as long as it is asked to; how often that took.
async fn backing_off(committer: &Committer) -> u32 {
    let mut attempts = 1;
    while let Some(retry_after) = wait(committer.commit().await) {
        sleep(retry_after).await;
        attempts += 1;
    }
    attempts
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_backs_off_as_it_is_asked_to_gets_through() {
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    let consumer = narrow(&cluster, 4).await;

    // Full for half a minute: few attempts, and in time once there is room.
    let gate = hold_commits(&cluster);
    let open: Vec<_> = (0..4).map(|_| consumer.commit_async()).collect();
    let (committer, begin) = (consumer.committer(), Instant::now());
    let caller = tokio::spawn(async move { backing_off(&committer).await });
    sleep(20 * SECOND).await;
    gate.open(Before::Process);
    cluster.intercept_none();
    let attempts = caller.await.expect("no panic");
    let took = begin.elapsed();
    assert!((15..=30).contains(&attempts), "{attempts} attempts in {took:?}");
    assert!(took <= 20 * SECOND + Duration::from_millis(1_200 + 100), "{took:?}");
    drop(open);

    // Four times as many callers as places, each for ten commits of a fifth of a second.
    cluster.intercept(|request: &Request| {
        if request.api_key == 8 { Before::Delay(SECOND / 5) } else { Before::Process }
    });
    let callers: Vec<_> = (0..16).map(|_| consumer.committer()).collect();
    let callers = callers.into_iter().map(|committer| {
        tokio::spawn(async move {
            let mut attempts = 0;
            for _ in 0..10 {
                attempts += backing_off(&committer).await;
            }
            attempts
        })
    });
    let callers: Vec<_> = callers.collect();
    let begin = Instant::now();
    let mut attempts = Vec::new();
    for caller in callers {
        let ended = timeout(600 * SECOND, caller).await.expect("everybody gets through");
        attempts.push(ended.expect("no panic"));
    }
    eprintln!("{attempts:?} attempts for ten commits each, {:?}", begin.elapsed());
    assert!(attempts.iter().sum::<u32>() > 160, "some were refused: {attempts:?}");
    assert!(attempts.iter().all(|attempts| *attempts < 100), "{attempts:?}");
    assert!(consumer.close(OWN).await.left);
}

/// One call, however many partitions it moves.
#[tokio::test(start_paused = true)]
async fn more_partitions_than_there_are_places_are_sought_together() {
    let cluster = Cluster::builder().topic("t", 5).build().expect("a cluster");
    append_numbered(&cluster, "t", 5, 3);
    let builder = unrecorded(&cluster, "g", 1).request_queue_max(2);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 15).await;
    assert_eq!(consumer.seek_to_beginning([]).await, Ok(()));
    let mut again = Read::default();
    read(&mut consumer, &mut again, 15).await;
    assert!(again.0.values().all(|offsets| *offsets == [0, 1, 2]), "{again:?}");
    assert!(consumer.close(OWN).await.left);
}
