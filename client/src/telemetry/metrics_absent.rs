//! Metrics where the client is built without the feature `otel`: none.

use super::Landed;
use evenkeel_core::request::{Ended, Response};
use evenkeel_core::{Chunk, ConnectionId, Role, Shell};
use evenkeel_spec::words::TopicPartition;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::Instant;

/// Nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {}

/// Which queue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Queue {
    Application,
    Background,
}

/// Something in a queue.
#[derive(Debug)]
pub(crate) struct Queued<T>(T);

/// Something was taken out of a queue.
#[derive(Debug)]
pub(crate) struct Handling {}

impl<T> Queued<T> {
    pub(crate) fn take(self, _: fn(&T) -> &'static str) -> (T, Handling) {
        (self.0, Handling {})
    }
}

#[expect(clippy::unused_self, reason = "the other one has something to do")]
impl Metrics {
    pub(crate) fn queued<T>(&self, _: Queue, it: T) -> Queued<T> {
        Queued(it)
    }

    pub(crate) fn on_expired(&self, _: &'static str) {}

    pub(crate) fn of_handle(&self) -> Self {
        Self {}
    }

    pub(crate) fn is_on(&self) -> bool {
        false
    }

    pub(crate) fn on_wait<'a, C: Chunk>(
        &self,
        _: &Shell<C>,
        _: Instant,
        _: impl Iterator<Item = &'a ConnectionId>,
    ) {
    }

    pub(crate) fn on_woken(&self) {}

    pub(crate) fn on_connected(&self, _: Option<Role>) {}

    pub(crate) fn on_landed(&self, _: Landed) {}

    pub(crate) fn on_ended(&self, _: &Ended) {}

    pub(crate) fn on_refused(&self, _: &'static str) {}

    pub(crate) fn untold_words(&self) -> Arc<AtomicU64> {
        Arc::default()
    }

    pub(crate) fn flush(&self) {}

    pub(crate) fn on_answer<C>(&self, _: &Response<C>, _: Duration) {}

    pub(crate) fn on_assigned(&self, _: &BTreeSet<TopicPartition>) {}

    pub(crate) fn on_rebalanced(&self, _: Duration, _: bool) {}

    pub(crate) fn on_called(&self, _: &'static str, _: Duration) {}

    pub(crate) fn on_inside(&self) {}

    pub(crate) fn on_outside(&self) {}

    pub(crate) fn on_polled(&self, _: Duration, _: usize, _: Option<&str>) {}

    pub(crate) fn on_processed(&self, _: Duration, _: Option<&str>) {}
}
