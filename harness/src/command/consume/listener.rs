//! Tells assignments as they change.

use super::super::output::emit;
use super::events;
use evenkeel::{ListenerError, RebalanceContext, RebalanceListener, TopicPartition};

/// Prints an event for each change.
#[derive(Debug)]
pub(super) struct Narrator;

fn tell(name: &str, partitions: &[TopicPartition]) -> Result<(), ListenerError> {
    // Whether anybody still reads is found out by the next records.
    emit(&events::partitions(name, partitions)).map(drop).map_err(ListenerError::new)
}

impl RebalanceListener for Narrator {
    async fn on_partitions_assigned(
        &mut self,
        _: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        tell("partitions_assigned", partitions)
    }

    async fn on_partitions_revoked(
        &mut self,
        _: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        tell("partitions_revoked", partitions)
    }

    async fn on_partitions_lost(
        &mut self,
        _: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        tell("partitions_lost", partitions)
    }
}
