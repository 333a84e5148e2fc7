//! The broker's time: milliseconds since 1970 that advance with tokio's clock, so that under paused
//! time a run's timestamps are the same each time.

use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A start in both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_ms: i64,
}

impl Clock {
    /// Starts at `start_ms` milliseconds since 1970; `None`: the present.
    pub(crate) fn new(start_ms: Option<u64>) -> Self {
        let present = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        };
        let start_ms = i64::try_from(start_ms.unwrap_or_else(present)).unwrap_or(i64::MAX);
        Self { start: Instant::now(), start_ms }
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        let passed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.start_ms.saturating_add(passed)
    }
}
