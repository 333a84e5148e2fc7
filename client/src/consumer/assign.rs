//! Which partitions the application assigns itself, and which topics it may name.
//!
//! Decides what a name must look like; who may subscribe or assign is the core's to decide.

use super::Consumer;
use crate::error::SubscribeError;
use evenkeel_core::Command;
use evenkeel_spec::words::{TopicName, TopicPartition};
use std::collections::BTreeSet;

impl Consumer {
    /// Assigns exactly these partitions, without joining a group (KafkaConsumer, "Manual Partition
    /// Assignment"); none unsubscribes. They need not exist yet. [`Self::assignment`] shows them at
    /// once. Positions begin at the committed offset if there is a `group.id`, else by
    /// `auto.offset.reset`, and are looked up from the next poll on: whoever seeks before it needs
    /// neither. Of a partition that was assigned before and is again, nothing changes.
    ///
    /// Commits are made without a member, which the coordinator accepts while the group has none;
    /// with auto-commit, what was returned so far is released now, and that of partitions which are
    /// assigned no longer is committed.
    ///
    /// Cancel-safe: once polled it takes effect.
    ///
    /// # Errors
    /// See [`SubscribeError`]; then nothing is changed.
    pub async fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), SubscribeError> {
        let partitions: BTreeSet<_> = partitions.into_iter().collect();
        topic_names(partitions.iter().map(|partition| partition.topic.as_str()))?;
        if partitions.is_empty() {
            return self.unsubscribe().await;
        }
        self.commit_partial();
        let (taken, kept) = (self.link.taken(), partitions.clone());
        let answer = self.link.ask(|call| Command::Assign { call, taken, partitions }).await;
        self.attend_what_came();
        answer?;
        self.link.retain_partial(|partition| kept.contains(partition));
        Ok(())
    }
}

/// Checks the names as Kafka does (`Topic.validate`, 4.3.1).
pub(super) fn topic_names<T: Into<String>>(
    topics: impl IntoIterator<Item = T>,
) -> Result<BTreeSet<TopicName>, SubscribeError> {
    let checked = |topic: T| {
        let topic = topic.into();
        if is_legal(&topic) {
            Ok(TopicName::from(topic))
        } else {
            Err(SubscribeError::InvalidTopic { topic })
        }
    };
    topics.into_iter().map(checked).collect()
}

/// Whether a topic can have this name. A broker would not only refuse another: one that is too long
/// for the protocol's texts costs the connection, and everything that is on it.
pub(crate) fn is_legal(topic: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let named = (1..=TOPIC_NAME_MAX).contains(&topic.len()) && topic != "." && topic != "..";
    named && topic.chars().all(legal)
}

/// `Topic.MAX_NAME_LENGTH`.
const TOPIC_NAME_MAX: usize = 249;
