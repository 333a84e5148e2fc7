//! Named timers. A machine arms and disarms them by name; durations, dates and jitter live in the
//! shell that embeds it.

/// A timer of one consumer's group side.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Timer {
    /// The next heartbeat is due: the interval that the coordinator told last. Armed when a
    /// heartbeat is sent.
    Heartbeat,
    /// The application has not polled for `max.poll.interval.ms`. Armed while it is outside of
    /// `poll` or inside of a callback; disarmed by poll.
    PollInterval,
    /// A revocation has waited for the application for the rebalance timeout
    /// (`max.poll.interval.ms`). Armed when the wait starts; disarmed when it ends.
    Revocation,
    /// `auto.commit.interval.ms` has passed since the last automatic commit.
    AutoCommit,
    /// A retry may go out: `retry.backoff.ms` doubled at each step up to `retry.backoff.max.ms`.
    Backoff(BackoffKind),
    /// A leave or a close has no more time: its own timeout, told by the caller.
    Leave,
}

/// What a retry is for: each kind and target backs off by itself.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum BackoffKind {
    /// `FindCoordinator`.
    Lookup,
    /// `ConsumerGroupHeartbeat`.
    Heartbeat,
    /// `OffsetCommit`.
    Commit,
}

/// How often in a row something was retried; saturates, so that a state stays finite. The shell
/// maps it to a duration: base times two to the power of the step, at most the cap, with jitter.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Step(u8);

impl Step {
    /// The first step.
    pub const FIRST: Self = Self(0);
    /// From here on every step has the same length: 100 ms doubled four times exceeds Kafka's
    /// default cap of 1,000 ms (`retry.backoff.max.ms`).
    pub const MAX: Self = Self(4);

    /// The step after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1).min(Self::MAX.0))
    }

    /// The exponent, from 0 to [`Step::MAX`].
    #[must_use]
    pub fn exponent(self) -> u8 {
        self.0
    }
}
