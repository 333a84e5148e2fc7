//! The clocks that tick while a rebalance goes on, as far as this member sees them.
//!
//! The poll interval ticks while the application is outside of a call, and anew from the beginning
//! of each callback (spec/04). The session's clock is the coordinator's: known is only when it last
//! accepted a heartbeat.

use std::time::Duration;
use tokio::time::Instant;

/// What they show.
#[derive(Debug)]
pub(super) struct Clocks {
    /// `max.poll.interval.ms`: the poll interval, and the rebalance timeout.
    pub(super) interval: Duration,
    /// Since when the application has been outside of a call.
    outside: Option<Instant>,
    /// Since when a callback runs, and which.
    called: Option<(Instant, &'static str)>,
    /// When an accepted heartbeat was answered last.
    pub(super) accepted: Option<Instant>,
    /// What takes longer than the heartbeat interval keeps the group waiting for a heartbeat more.
    pub(super) slow_over: Duration,
}

impl Clocks {
    pub(super) fn new(interval: Duration) -> Self {
        let (outside, called, accepted) = (None, None, None);
        Self { interval, outside, called, accepted, slow_over: HEARTBEAT_INTERVAL }
    }

    /// The application enters a call; since when it was outside.
    pub(super) fn on_inside(&mut self) -> Option<Instant> {
        self.outside.take()
    }

    pub(super) fn on_outside(&mut self) {
        self.outside.get_or_insert_with(Instant::now);
    }

    pub(super) fn on_call(&mut self, callback: &'static str) {
        self.called = Some((Instant::now(), callback));
    }

    /// Whether a callback runs.
    pub(super) fn is_calling(&self) -> bool {
        self.called.is_some()
    }

    /// How long the callback took that is over, and which it was.
    pub(super) fn on_called(&mut self) -> Option<(Duration, &'static str)> {
        self.called.take().map(|(since, callback)| (since.elapsed(), callback))
    }

    pub(super) fn on_accepted(&mut self, heartbeat_interval_ms: u32) {
        self.accepted = Some(Instant::now());
        self.slow_over = Duration::from_millis(heartbeat_interval_ms.into());
    }

    /// When the poll interval is over, if it ticks.
    pub(super) fn poll_due(&self) -> Option<Instant> {
        let since = self.called.map(|(since, _)| since).or(self.outside)?;
        Some(since + self.interval)
    }
}

/// Before a broker has said one: `group.consumer.heartbeat.interval.ms` (Apache Kafka 4.3.1).
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
