//! How a consumer of the target `core` is configured: as its slice and the trace's profile say.

use crate::replay::schedule::{api_timeout_ms, auto_commit_interval_ms, poll_interval_ms};
use evenkeel_core::{Address, Config, CoordinatorConnection, OffsetReset};
use evenkeel_model::bounds::Slice;
use evenkeel_model::profiles::Profile;

/// How long a Fetch is parked, milliseconds: long, so that little happens without need, and shorter
/// than any request timeout.
pub(super) const FETCH_WAIT_MS: u32 = 20_000;

pub(super) fn config(slice: &Slice, profile: &Profile, i: usize) -> Config {
    let mut config = Config::new(vec![Address::new("bootstrap", 9)]);
    config.auto_commit = slice.auto_commit;
    // The model's small world gives the group's requests a connection of their own.
    config.coordinator_connection = CoordinatorConnection::Dedicated;
    config.auto_commit_interval_ms = auto_commit_interval_ms(slice, profile);
    config.auto_offset_reset = OffsetReset::Earliest;
    config.connections_max_idle_ms = None;
    config.default_api_timeout_ms = api_timeout_ms(slice, profile);
    config.fetch_max_wait_ms = FETCH_WAIT_MS;
    config.max_poll_interval_ms = poll_interval_ms(slice, profile);
    config.max_poll_records = 1;
    config.reconnect_backoff_ms = 1;
    config.reconnect_backoff_max_ms = 1;
    config.request_timeout_ms = profile.request_timeout_ms;
    config.retry_backoff_ms = profile.retry_backoff_ms;
    config.retry_backoff_max_ms = profile.retry_backoff_max_ms;
    config.jitter_seed = i as u64;
    config
}
