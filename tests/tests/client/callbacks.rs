//! Who runs a callback: the task that is inside of `poll`, `unsubscribe` or `close`, one at a time,
//! and nobody else. Every other call that waits keeps what there is to tell for the next poll.

use crate::calls::{Failure, OUTLIVING_CALLS, QUIET_CALLS, call};
use crate::support::{Read, SECOND, append_numbered, member, read, unrecorded};
use evenkeel::{
    Consumer, ListenerError, RebalanceContext, RebalanceListener, SubscribeError, TopicPartition,
};
use evenkeel_broker::Cluster;
use evenkeel_tests::validated::Validated;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task;
use tokio::time::sleep;

/// Asserts where it runs, and counts.
#[derive(Clone, Default)]
struct Strict {
    task: Arc<Mutex<Option<task::Id>>>,
    /// The application is inside of a call that may run callbacks.
    allowed: Arc<AtomicBool>,
    running: Arc<AtomicBool>,
    told: Arc<Mutex<Vec<&'static str>>>,
}

impl Strict {
    async fn run(&self, what: &'static str) -> Result<(), ListenerError> {
        assert!(!self.running.swap(true, Ordering::Relaxed), "{what} inside of another");
        for _ in 0..3 {
            let home = *self.task.lock().expect("no panic");
            assert_eq!(task::try_id(), home, "{what} runs on the application's task");
            assert!(
                self.allowed.load(Ordering::Relaxed),
                "{what} runs inside of poll and the like"
            );
            sleep(Duration::from_millis(10)).await;
        }
        self.running.store(false, Ordering::Relaxed);
        self.told.lock().expect("no panic").push(what);
        Ok(())
    }

    fn told(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.told.lock().expect("no panic"))
    }

    async fn allow<T>(&self, call: impl Future<Output = T>) -> T {
        self.allowed.store(true, Ordering::Relaxed);
        let outcome = call.await;
        self.allowed.store(false, Ordering::Relaxed);
        outcome
    }
}

impl RebalanceListener for Strict {
    async fn on_partitions_assigned(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        for partition in partitions {
            context.position(partition).await?;
        }
        self.run("assigned").await
    }

    async fn on_partitions_revoked(
        &mut self,
        context: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        context.commit().await?;
        self.run("revoked").await
    }

    async fn on_partitions_lost(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.run("lost").await
    }
}

#[tokio::test(start_paused = true)]
async fn callbacks_run_on_the_task_that_polls_one_at_a_time_and_no_other_call_runs_any() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 2).build().expect("a cluster");
    append_numbered(&cluster, "t", 2, 10);
    // A run in which partitions are assigned by hand, though it be refused, cannot be validated.
    for (group, assigns) in [("g", false), ("h", true)] {
        let builder = |seed| {
            if assigns { unrecorded(&cluster, group, seed) } else { member(&cluster, group, seed) }
        };
        let consumer = builder(1).build().expect("valid");
        let second = builder(2).build().expect("valid");
        // The application's own task, so that the one of the background, and of the test, is another.
        task::spawn(application(consumer, second, assigns)).await.expect("no panic");
    }
}

async fn application(mut consumer: Consumer, mut second: Consumer, assigns: bool) {
    let strict = Strict::default();
    *strict.task.lock().expect("no panic") = task::try_id();
    assert!(task::try_id().is_some());
    consumer.subscribe_with(["t"], strict.clone()).await.expect("subscribed");
    strict.allow(read(&mut consumer, &mut Read::default(), 20)).await;
    assert_eq!(strict.told(), ["assigned"]);

    // Another member joins: from here on a callback is wanted. Nobody polls for a minute.
    second.subscribe(["t"]).await.expect("subscribed");
    second.poll(10 * SECOND).await.expect("poll goes well");
    for _ in 0..10 {
        for name in QUIET_CALLS.into_iter().chain(OUTLIVING_CALLS) {
            assert_eq!(call(name, &mut consumer).await, Ok(()), "{name}");
            assert!(strict.told().is_empty(), "{name} runs no callback");
        }
        if assigns {
            let refused = call("assign", &mut consumer).await;
            assert_eq!(refused, Err(Failure::Subscribe(SubscribeError::Exclusive)));
        }
        sleep(SECOND).await;
    }
    assert!(strict.told().is_empty(), "none of these calls runs a callback");
    assert_eq!(consumer.assignment().len(), 2, "nor shows another assignment");

    // The next poll runs what was wanted.
    for _ in 0..20 {
        strict.allow(consumer.poll(SECOND)).await.expect("poll goes well");
    }
    assert_eq!(strict.told(), ["revoked", "assigned"]);
    assert_eq!(consumer.assignment().len(), 1);

    // `subscribe` runs none either: what it gives up goes in a later poll.
    consumer.subscribe_with(["u"], strict.clone()).await.expect("subscribed");
    sleep(10 * SECOND).await;
    assert!(strict.told().is_empty());
    for _ in 0..20 {
        strict.allow(consumer.poll(SECOND)).await.expect("poll goes well");
    }
    assert_eq!(strict.told(), ["revoked", "assigned"]);
    consumer.subscribe_with(["t"], strict.clone()).await.expect("subscribed");
    for _ in 0..20 {
        strict.allow(consumer.poll(SECOND)).await.expect("poll goes well");
    }
    assert_eq!(strict.told(), ["assigned"]);

    strict.allow(consumer.unsubscribe()).await.expect("left");
    assert_eq!(strict.told(), ["revoked"]);
    consumer.subscribe_with(["t"], strict.clone()).await.expect("subscribed");
    for _ in 0..20 {
        strict.allow(consumer.poll(SECOND)).await.expect("poll goes well");
    }
    assert_eq!(strict.told().last(), Some(&"assigned"));
    assert!(strict.allow(consumer.close(10 * SECOND)).await.left);
    assert_eq!(strict.told(), ["revoked"]);
    assert!(second.close(10 * SECOND).await.left);
}
