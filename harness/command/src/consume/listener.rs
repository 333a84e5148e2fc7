//! Tells assignments as they change.

use super::events;
use super::writer::Writer;
use evenkeel::{ListenerError, RebalanceContext, RebalanceListener, TopicPartition};
use std::time::Duration;
use tokio::time::sleep;

/// Prints an event for each change.
#[derive(Debug)]
pub(super) struct Narrator {
    pub(super) writer: Writer,
    pub(super) tells: bool,
    /// How long each callback takes.
    pub(super) takes: Duration,
}

impl Narrator {
    async fn tell(&self, name: &str, partitions: &[TopicPartition]) -> Result<(), ListenerError> {
        if !self.takes.is_zero() {
            sleep(self.takes).await;
        }
        if !self.tells {
            return Ok(());
        }
        // Whether anybody still reads is found out by the next records.
        let written = self.writer.write(events::partitions(name, partitions)).await;
        written.map(drop).map_err(ListenerError::new)
    }
}

impl RebalanceListener for Narrator {
    async fn on_partitions_assigned(
        &mut self,
        _: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.tell("partitions_assigned", partitions).await
    }

    async fn on_partitions_revoked(
        &mut self,
        _: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.tell("partitions_revoked", partitions).await
    }

    async fn on_partitions_lost(
        &mut self,
        _: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.tell("partitions_lost", partitions).await
    }
}
