//! Listeners that more than one test has.

use evenkeel::{ListenerError, RebalanceContext, RebalanceListener, TopicPartition};
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
