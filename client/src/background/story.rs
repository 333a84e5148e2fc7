//! The span of a rebalance, made where it is first needed and never by the background: what it
//! begins with is known there, and told elsewhere.

use crate::telemetry::unix_us;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;
use tracing::{Level, Span, enabled, field, info_span};

/// What a rebalance begins with, and its span.
#[derive(Debug)]
pub(super) struct Story {
    group: Arc<str>,
    trigger: &'static str,
    began_us: u64,
    epoch_before: Option<u32>,
    partitions_before: u64,
    span: OnceLock<Span>,
}

impl Story {
    /// `None`: nobody listens.
    pub(super) fn begin(
        group: &Arc<str>,
        trigger: &'static str,
        begun: Instant,
        (epoch_before, partitions_before): (Option<u32>, u64),
    ) -> Option<Arc<Self>> {
        let is_told = enabled!(target: "evenkeel::rebalance", Level::INFO);
        is_told.then(|| {
            Arc::new(Self {
                group: Arc::clone(group),
                trigger,
                began_us: unix_us(begun),
                epoch_before,
                partitions_before,
                span: OnceLock::new(),
            })
        })
    }

    /// The span; not for the background itself.
    pub(super) fn span(&self) -> &Span {
        self.span.get_or_init(|| {
            info_span!(
                target: "evenkeel::rebalance",
                parent: None,
                "rebalance",
                otel.name = field::Empty,
                otel.status_code = field::Empty,
                otel.status_message = field::Empty,
                began_us = self.began_us,
                lasted_us = field::Empty,
                group = &*self.group,
                trigger = self.trigger,
                epoch_before = self.epoch_before,
                partitions_before = self.partitions_before,
                epoch_after = field::Empty,
                partitions_after = field::Empty,
                reason = field::Empty,
                error = field::Empty,
                outcome = field::Empty,
                slowest = field::Empty,
                slowest_ms = field::Empty,
                rebalance_timeout_ms = field::Empty,
                rebalance_left_ms = field::Empty,
                poll_interval_left_ms = field::Empty,
                heartbeat_age_ms = field::Empty,
            )
        })
    }
}

/// The span of a story, or none.
pub(super) fn span_of(story: Option<&Arc<Story>>) -> Span {
    story.map_or_else(Span::none, |story| story.span().clone())
}
