//! Dates of spans: what tokio's clock says, as the calendar has it.
//!
//! Under paused time two dates differ by exactly what the clock was moved, whichever consumer tells
//! them: the whole process has one anchor.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Microseconds since 1970 at an instant of tokio's clock, as `began_us` has it: for spans of an
/// application that are to lie among the consumer's.
#[must_use]
pub fn unix_us(at: Instant) -> u64 {
    let (anchor, date) = anchor();
    let at = at.into_std();
    let date = match at.checked_duration_since(anchor) {
        Some(later) => date.checked_add(later),
        None => date.checked_sub(anchor.duration_since(at)),
    };
    let since = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// An instant and its date, found anew where the last ones are old: the machine may have slept, or
/// its date been set.
fn anchor() -> (StdInstant, SystemTime) {
    static ANCHOR: Mutex<Option<(StdInstant, SystemTime)>> = Mutex::new(None);
    let mut anchor = ANCHOR.lock().unwrap_or_else(PoisonError::into_inner);
    let now = StdInstant::now();
    match *anchor {
        Some((instant, date)) if now.duration_since(instant) < AGE_MAX => (instant, date),
        _ => *anchor.insert((now, SystemTime::now())),
    }
}

/// Longer than any test in paused time takes; a date is wrong by as much as a clock runs wrong in
/// it.
const AGE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::unix_us;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};
    use tokio::time::{Instant, sleep};

    #[tokio::test(start_paused = true)]
    async fn dates_move_with_the_paused_clock_and_are_of_today() {
        let before = unix_us(Instant::now());
        sleep(Duration::from_millis(3_600_123)).await;
        assert_eq!(unix_us(Instant::now()) - before, 3_600_123_000);
        let today = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let today = u64::try_from(today.as_micros()).expect("it is not that late");
        assert!(today.abs_diff(before) < 60_000_000, "{before} is not {today}");
    }
}
