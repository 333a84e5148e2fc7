#![allow(dead_code)] // More than one test binary has this file; each uses a part of it.
//! Listeners that more than one test has.

use evenkeel::{
    ListenerError, ListenerMethod, RebalanceContext, RebalanceListener, TopicPartition,
};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

/// Takes 700 ms for what is assigned, 300 for what is revoked, 100 for what is lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slow {
    /// The revocation fails at its end.
    pub(crate) fails: bool,
}

impl RebalanceListener for Slow {
    async fn on_partitions_assigned(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        sleep(Duration::from_millis(700)).await;
        Ok(())
    }

    async fn on_partitions_revoked(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        sleep(Duration::from_millis(300)).await;
        if self.fails { Err(ListenerError::new("on purpose")) } else { Ok(()) }
    }

    async fn on_partitions_lost(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        sleep(Duration::from_millis(100)).await;
        Ok(())
    }
}

/// One of its methods does not return.
#[derive(Debug)]
pub(crate) struct Endless(pub(crate) ListenerMethod);

impl Endless {
    async fn run(&self, method: ListenerMethod) -> Result<(), ListenerError> {
        if method == self.0 { pending().await } else { Ok(()) }
    }
}

impl RebalanceListener for Endless {
    async fn on_partitions_assigned(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.run(ListenerMethod::Assigned).await
    }

    async fn on_partitions_revoked(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.run(ListenerMethod::Revoked).await
    }
}

/// Writes down what it is told, by the partitions' indices, and when that is over. Looks positions
/// up and commits, as applications do; may be slow, and fail or panic once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary {
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
    pub(crate) slow: Duration,
    /// What it fails with; `panic` is a panic.
    pub(crate) fail_once: Arc<Mutex<Option<&'static str>>>,
}

impl Diary {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    async fn write(&self, what: &str, partitions: &[TopicPartition]) -> Result<(), ListenerError> {
        let partitions: Vec<_> = partitions.iter().map(|at| at.partition).collect();
        self.lines.lock().expect("no panic").push(format!("{what} {partitions:?}"));
        sleep(self.slow).await;
        let failure = self.fail_once.lock().expect("no panic").take();
        match failure {
            Some("panic") => panic!("by design"),
            Some(reason) => return Err(ListenerError::new(reason)),
            None => {}
        }
        self.lines.lock().expect("no panic").push(format!("{what} over"));
        Ok(())
    }
}

impl RebalanceListener for Diary {
    async fn on_partitions_assigned(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        for partition in partitions {
            context.position(partition).await?;
        }
        self.write("assigned", partitions).await
    }

    async fn on_partitions_revoked(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        context.commit().await?;
        self.write("revoked", partitions).await
    }

    async fn on_partitions_lost(
        &mut self,
        _: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.write("lost", partitions).await
    }
}
