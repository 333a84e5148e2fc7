//! A callback of the application's, as a span inside of its rebalance: made and ended on the task
//! that runs it, never by the background.

use super::story::{Story, span_of};
use super::trace::{left_ms, micros};
use crate::telemetry::unix_us;
use evenkeel_core::Callback;
use evenkeel_spec::words::TopicPartition;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Span, field, info_span};

/// The rebalance that a callback is a part of, and its clocks.
#[derive(Clone, Debug)]
pub(crate) struct Within {
    pub(super) story: Option<Arc<Story>>,
    /// When the rebalance timeout is over, which began with the target; `None`: there was none.
    pub(super) due: Option<Instant>,
    /// `max.poll.interval.ms`, which begins anew with each callback.
    pub(super) poll_interval: Duration,
    /// A callback that takes longer keeps others waiting for another heartbeat at least.
    pub(super) slow_over: Duration,
}

/// A callback that runs on the application's task, as a span. Dropped before it has ended, it was
/// suspended and nobody went on with it.
#[derive(Debug)]
pub(crate) struct CallbackSpan {
    span: Span,
    name: &'static str,
    within: Within,
    begun: Instant,
    suspended: u64,
    is_over: bool,
}

impl CallbackSpan {
    /// It begins: `callback` is `assigned`, `revoked` or `lost`.
    pub(crate) fn begin(
        within: Within,
        group: &str,
        callback: Callback,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Self {
        let begun = Instant::now();
        let (callback, name) = match callback {
            Callback::Assigned => ("assigned", "assigned callback"),
            Callback::Revoked => ("revoked", "revoked callback"),
            Callback::Lost(_) => ("lost", "lost callback"),
        };
        let span = info_span!(
            target: "evenkeel::rebalance",
            parent: &span_of(within.story.as_ref()),
            "callback",
            otel.name = name,
            otel.status_code = field::Empty,
            otel.status_message = field::Empty,
            began_us = unix_us(begun),
            lasted_us = field::Empty,
            group,
            callback,
            partitions = partitions.len(),
            partitions_named = %Listed(partitions),
            suspended = field::Empty,
            outcome = field::Empty,
            slow = field::Empty,
            slow_over_ms = field::Empty,
            rebalance_left_ms = field::Empty,
            poll_interval_left_ms = field::Empty,
        );
        Self { span, name, within, begun, suspended: 0, is_over: false }
    }

    /// What the callback itself tells `tracing` is told inside of it.
    pub(crate) fn within<T>(&self, run: impl FnOnce() -> T) -> T {
        self.span.in_scope(run)
    }

    /// The call that it ran in is over, and another one goes on with it.
    pub(crate) fn resumed(&mut self) {
        self.suspended += 1;
        self.span.record("suspended", self.suspended);
    }

    /// It is over.
    pub(crate) fn end(mut self, outcome: &str) {
        self.ended(outcome);
    }

    fn ended(&mut self, outcome: &str) {
        self.is_over = true;
        if self.span.is_disabled() {
            return;
        }
        let lasted = self.begun.elapsed();
        let Within { due, poll_interval, slow_over, .. } = self.within;
        if outcome != "ok" {
            self.span.record("otel.name", format!("{} ({outcome})", self.name));
            self.span.record("otel.status_code", "ERROR");
            self.span.record("otel.status_message", outcome);
        } else if lasted > slow_over {
            self.span.record("otel.name", format!("{} (slow)", self.name));
        }
        if lasted > slow_over {
            self.span.record("slow", true);
            self.span.record("slow_over_ms", micros(slow_over) / 1_000);
        }
        if let Some(due) = due {
            self.span.record("rebalance_left_ms", left_ms(due));
        }
        self.span.record("poll_interval_left_ms", left_ms(self.begun + poll_interval));
        self.span.record("outcome", outcome);
        self.span.record("lasted_us", micros(lasted));
    }
}

impl Drop for CallbackSpan {
    fn drop(&mut self) {
        if !self.is_over {
            self.ended("suspended");
        }
    }
}

/// Partitions as a human reads them: `orders 0 1 2, payments 7`.
struct Listed<'a>(&'a BTreeSet<TopicPartition>);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut topic = None;
        for TopicPartition { topic: named, partition } in self.0.iter().take(LISTED_MAX) {
            if topic != Some(named) {
                f.write_str(if topic.is_some() { ", " } else { "" })?;
                f.write_str(named.as_str())?;
                topic = Some(named);
            }
            write!(f, " {partition}")?;
        }
        match self.0.len().saturating_sub(LISTED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Partitions that are named in one attribute: one line of a viewer.
const LISTED_MAX: usize = 32;
