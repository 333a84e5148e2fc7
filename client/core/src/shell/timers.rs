//! When timers fire: the table of dates, the length of each step, the jitter.

use crate::connection::ConnectionTimer;
use crate::request::desk::Peer;
use crate::{CallId, Config, Time};
use evenkeel_spec::words::{Step, Timer, TopicIdPartition};
use std::collections::{BTreeMap, BTreeSet};

/// Every timer of a shell.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Alarm {
    /// The group's own.
    Group(Timer),
    /// A connection's own.
    Connection(Peer, ConnectionTimer),
    /// The pause before a metadata request that is due.
    MetadataBackoff,
    /// The pause before a metadata request that nobody needs yet.
    MetadataRest,
    /// `metadata.max.age.ms` since the last answer.
    MetadataAge,
    /// Nobody has answered for `metadata.recovery.rebootstrap.trigger.ms` what metadata asks.
    Rebootstrap,
    /// A partition's position may be looked up again.
    Position(TopicIdPartition),
    /// A partition may be fetched again.
    Fetch(TopicIdPartition),
    /// A call's time is over.
    Deadline(CallId),
    /// A call may ask again.
    CallBackoff(CallId),
    /// No broker was reached for `default.api.timeout.ms`.
    Contact,
}

impl Alarm {
    /// How late it may fire, milliseconds, with whatever wakes the driver next, so that it costs no
    /// wake-up of its own. Only what repeats and nobody waits for may be late: an automatic commit
    /// by the longest that a parked fetch takes by default (`fetch.max.wait.ms`), the metadata's
    /// age by Kafka's default heartbeat interval.
    fn slack_ms(self) -> u64 {
        match self {
            Self::Group(Timer::AutoCommit) => 500,
            Self::MetadataAge | Self::MetadataRest => 5_000,
            Self::Group(_)
            | Self::Connection(..)
            | Self::MetadataBackoff
            | Self::Rebootstrap
            | Self::Position(_)
            | Self::Fetch(_)
            | Self::Deadline(_)
            | Self::CallBackoff(_)
            | Self::Contact => 0,
        }
    }
}

/// The running timers.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    running: BTreeMap<Alarm, Running>,
    strict: BTreeSet<(Time, Alarm)>,
    lazy: BTreeSet<(Time, Alarm)>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    armed_at: Time,
    due: Time,
}

impl Timers {
    /// Starts a timer, anew if it runs.
    pub(super) fn arm(&mut self, alarm: Alarm, now: Time, ms: u64) {
        self.disarm(alarm);
        self.insert(alarm, Running { armed_at: now, due: now.after(ms) });
    }

    /// Stops a timer, if it runs.
    pub(super) fn disarm(&mut self, alarm: Alarm) {
        if let Some(running) = self.running.remove(&alarm) {
            self.dates(alarm).remove(&(running.due, alarm));
        }
    }

    /// Gives a running timer another length, counted from when it was armed.
    pub(super) fn redate(&mut self, alarm: Alarm, ms: u64) {
        if let Some(Running { armed_at, .. }) = self.running.get(&alarm).copied() {
            self.disarm(alarm);
            self.insert(alarm, Running { armed_at, due: armed_at.after(ms) });
        }
    }

    /// Lets another timer fire at the date of this one, if this one runs.
    pub(super) fn replace(&mut self, old: Alarm, new: Alarm) {
        if let Some(running) = self.running.get(&old).copied() {
            self.disarm(old);
            self.disarm(new);
            self.insert(new, running);
        }
    }

    /// When a timer is due, if it runs.
    pub(super) fn due(&self, alarm: Alarm) -> Option<Time> {
        self.running.get(&alarm).map(|running| running.due)
    }

    /// When a timer was armed, if it runs.
    pub(super) fn armed_at(&self, alarm: Alarm) -> Option<Time> {
        self.running.get(&alarm).map(|running| running.armed_at)
    }

    /// Gives running timers other names.
    pub(super) fn rekey(&mut self, name: impl Fn(Alarm) -> Option<Alarm>) {
        let renamed = |alarm: &Alarm| name(*alarm).map(|new| (*alarm, new));
        let renamed: Vec<_> = self.running.keys().filter_map(renamed).collect();
        for (old, new) in renamed {
            self.replace(old, new);
        }
    }

    /// Whether a timer runs.
    pub(super) fn is_armed(&self, alarm: Alarm) -> bool {
        self.running.contains_key(&alarm)
    }

    /// Whether a timer is due.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.first().is_some_and(|(due, _)| due <= now)
    }

    /// Stops and returns the timer that is due first, if one is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<Alarm> {
        let (due, alarm) = self.first()?;
        if due > now {
            return None;
        }
        self.disarm(alarm);
        Some(alarm)
    }

    /// When the driver must call at the latest.
    pub(super) fn wait(&self) -> Option<Time> {
        let strict = self.strict.first().map(|(due, _)| *due);
        let lazy = self.lazy.iter().map(|(due, alarm)| due.after(alarm.slack_ms())).min();
        [strict, lazy].into_iter().flatten().min()
    }

    /// Stops all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn first(&self) -> Option<(Time, Alarm)> {
        [self.strict.first(), self.lazy.first()].into_iter().flatten().min().copied()
    }

    fn insert(&mut self, alarm: Alarm, running: Running) {
        self.running.insert(alarm, running);
        self.dates(alarm).insert((running.due, alarm));
    }

    fn dates(&mut self, alarm: Alarm) -> &mut BTreeSet<(Time, Alarm)> {
        if alarm.slack_ms() > 0 { &mut self.lazy } else { &mut self.strict }
    }
}

/// How long backoffs take.
#[derive(Clone, Debug)]
pub(super) struct Backoffs {
    retry: (u64, u64),
    reconnect: (u64, u64),
    jitter: u64,
}

impl Backoffs {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            retry: (config.retry_backoff_ms, config.retry_backoff_max_ms),
            reconnect: (config.reconnect_backoff_ms, config.reconnect_backoff_max_ms),
            jitter: config.jitter_seed,
        }
    }

    /// `retry.backoff.ms` at this step, milliseconds.
    pub(super) fn retry_ms(&mut self, step: Step) -> u64 {
        self.length(self.retry, step)
    }

    /// `reconnect.backoff.ms` at this step, milliseconds.
    pub(super) fn reconnect_ms(&mut self, step: Step) -> u64 {
        self.length(self.reconnect, step)
    }

    /// Doubled at each step, at most `cap`, times 0.8 to 1.2 (KIP-580); at least 1 ms, so that
    /// nothing spins however it is configured. The last step is the cap itself, also where the
    /// doublings that a [`Step`] counts do not reach it.
    fn length(&mut self, (base, cap): (u64, u64), step: Step) -> u64 {
        let doubled = base.saturating_mul(1 << step.exponent());
        let length = if step == Step::MAX { cap } else { doubled.min(cap) };
        (length.saturating_mul(800 + self.draw() % 401) / 1000).max(1)
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.jitter;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::{Alarm, Backoffs, Timers};
    use crate::{Address, Config, Time};
    use evenkeel_spec::words::{Step, Timer};

    #[test]
    fn timers_fire_in_the_order_of_their_dates_and_lazy_ones_ask_for_no_date_of_their_own() {
        let mut timers = Timers::default();
        timers.arm(Alarm::Group(Timer::AutoCommit), Time(0), 100);
        assert_eq!(timers.wait(), Some(Time(600)));
        timers.arm(Alarm::Contact, Time(0), 150);
        timers.arm(Alarm::MetadataBackoff, Time(0), 120);
        assert_eq!(timers.wait(), Some(Time(120)));
        assert_eq!(timers.pop_due(Time(99)), None);
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop_due(Time(150))).collect();
        let order = [Alarm::Group(Timer::AutoCommit), Alarm::MetadataBackoff, Alarm::Contact];
        assert_eq!(fired, order);
        assert_eq!(timers.wait(), None);
    }

    #[test]
    fn a_new_heartbeat_interval_counts_from_the_last_heartbeat() {
        let mut timers = Timers::default();
        timers.arm(Alarm::Group(Timer::Heartbeat), Time(1_000), 5_000);
        timers.redate(Alarm::Group(Timer::Heartbeat), 3_000);
        assert_eq!(timers.wait(), Some(Time(4_000)));
        timers.redate(Alarm::Contact, 1);
        assert!(!timers.is_armed(Alarm::Contact));
    }

    #[test]
    fn backoffs_double_with_jitter_up_to_their_cap_and_are_never_zero() {
        let mut config = Config::new(vec![Address::new("b", 1)]);
        let mut backoffs = Backoffs::new(&config);
        let mut step = Step::FIRST;
        for middle in [100, 200, 400, 800, 1_000, 1_000] {
            for _ in 0..100 {
                let ms = backoffs.retry_ms(step);
                assert!((middle * 8 / 10..=middle * 12 / 10).contains(&ms), "{ms} at {step:?}");
            }
            step = step.next();
        }
        config.retry_backoff_ms = 0;
        config.retry_backoff_max_ms = 0;
        assert_eq!(Backoffs::new(&config).retry_ms(Step::MAX), 1);
    }
}
