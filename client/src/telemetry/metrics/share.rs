//! Which share of the time something goes on.

use std::time::Duration;
use tokio::time::Instant;

/// Something that goes on and off; how long it was on since it was last asked about.
#[derive(Debug)]
pub(super) struct Share {
    asked: Instant,
    on: Duration,
    /// Since when it is on.
    since: Option<Instant>,
}

impl Share {
    /// It is off.
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: now, on: Duration::ZERO, since: None }
    }

    pub(super) fn on(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    pub(super) fn off(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.on += now.saturating_duration_since(since);
        }
    }

    /// The share since the last question that came `WINDOW_MIN` after the one before: several
    /// readers do not take each other's time away. `None`: no time has passed.
    pub(super) fn ask(&mut self, now: Instant) -> Option<f64> {
        if self.since.is_some() {
            self.off(now);
            self.on(now);
        }
        let whole = now.saturating_duration_since(self.asked);
        let share = (!whole.is_zero()).then(|| self.on.as_secs_f64() / whole.as_secs_f64());
        if whole >= WINDOW_MIN {
            (self.asked, self.on) = (now, Duration::ZERO);
        }
        share
    }
}

const WINDOW_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::Share;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn a_share_is_of_the_time_since_the_last_question() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut share = Share::new(begun);
        assert_eq!(share.ask(begun), None);
        share.on(at(500));
        // One reader asks while it is on, and another one shortly after: the time is the same.
        assert_eq!(share.ask(at(750)), Some(250.0 / 750.0));
        assert_eq!(share.ask(at(1_000)), Some(0.5));
        share.off(at(1_250));
        assert_eq!(share.ask(at(2_000)), Some(0.25));
        assert_eq!(share.ask(at(3_000)), Some(0.0));
    }
}
