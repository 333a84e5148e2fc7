//! Subscription by pattern: the coordinator finds the topics (KIP-848, `SubscribedTopicRegex`).
//!
//! Decides only whether a pattern can be told; whether it is one says the coordinator.

use super::Consumer;
use crate::error::SubscribeError;
use crate::listener::{ErasedListener, RebalanceListener};
use evenkeel_core::Command;
use std::sync::Arc;

impl Consumer {
    /// Subscribes to every topic whose whole name matches a pattern (RE2J), also those that come into
    /// being later; replaces an earlier subscription. The member joins in the next poll.
    ///
    /// The coordinator resolves the pattern, and not at once: a member joins with nothing and is
    /// given partitions with a later heartbeat; a new topic is found some ten seconds after it was
    /// made (Apache Kafka 4.3.1; at the latest after `group.consumer.regex.refresh.interval.ms`). A
    /// pattern that the coordinator refuses fails the next poll with
    /// [`PollError::Fatal`](crate::PollError::Fatal), code `INVALID_REGULAR_EXPRESSION`. Source:
    /// KIP-848, "Regular expression"; `KafkaConsumer.subscribe(SubscriptionPattern)`.
    ///
    /// Cancel-safe: once polled it takes effect.
    ///
    /// # Errors
    /// See [`SubscribeError`]; the subscription is unchanged.
    pub async fn subscribe_pattern(
        &mut self,
        pattern: impl Into<String>,
    ) -> Result<(), SubscribeError> {
        self.subscribe_matching(pattern.into(), None).await
    }

    /// The same with a listener that is told when partitions come and go, as
    /// [`Self::subscribe_with`] has it.
    ///
    /// Cancel-safe: once polled it takes effect.
    ///
    /// # Errors
    /// See [`SubscribeError`]; the subscription is unchanged.
    pub async fn subscribe_pattern_with(
        &mut self,
        pattern: impl Into<String>,
        listener: impl RebalanceListener,
    ) -> Result<(), SubscribeError> {
        self.subscribe_matching(pattern.into(), Some(Box::new(listener))).await
    }

    async fn subscribe_matching(
        &mut self,
        pattern: String,
        listener: Option<Box<dyn ErasedListener>>,
    ) -> Result<(), SubscribeError> {
        if !(1..=PATTERN_MAX).contains(&pattern.len()) {
            return Err(SubscribeError::InvalidPattern { length: pattern.len() });
        }
        let (pattern, has) = (Arc::from(pattern), listener.is_some());
        let command = |call| Command::SubscribePattern { call, pattern, listener: has };
        self.subscribe_erased(command, listener).await
    }
}

/// What Kafka reads of a string, bytes (`Short.MAX_VALUE`).
const PATTERN_MAX: usize = 32_767;
