//! Metrics where the client is built without the feature `otel`: none.

use evenkeel_core::Command;
use evenkeel_core::request::{Request, Response};
use evenkeel_spec::words::{Offset, TopicPartition};
use std::collections::BTreeSet;
use std::time::Duration;

/// Nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics;

#[expect(clippy::unused_self, reason = "the other one has something to do")]
impl Metrics {
    pub(crate) fn on_request(&self, _: &'static str, _: Duration, _: Duration, _: &'static str) {}

    pub(crate) fn on_answer<C>(&self, _: &Response<C>, _: Duration) {}

    pub(crate) fn on_sent(&self, _: &Request) {}

    pub(crate) fn on_command(&self, _: &Command) {}

    pub(crate) fn on_delivered(&self, _: &TopicPartition, _: usize, _: Offset) {}

    pub(crate) fn on_assigned(&self, _: &BTreeSet<TopicPartition>) {}

    pub(crate) fn on_rebalanced(&self, _: Duration, _: bool) {}

    pub(crate) fn on_called(&self, _: &str, _: Duration) {}
}
