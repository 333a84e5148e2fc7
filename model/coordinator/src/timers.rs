//! The coordinator's timers, by name. Dates live in whoever embeds the coordinator.

use evenkeel_spec::words::MemberId;

/// A timer of one group.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Timer {
    /// The member has not been heard of for `group.consumer.session.timeout.ms`: it is removed.
    /// Restarted by accepted heartbeats only, never by commits; disarmed when the member goes.
    Session(MemberId),
    /// The member has not revoked within its own rebalance timeout: it is removed. Armed when it
    /// becomes UNREVOKED, restarted when it must revoke more, disarmed when it has revoked or goes.
    Rebalance(MemberId),
    /// `group.consumer.assignment.interval.ms` has passed since the last target: the next heartbeat
    /// may compute one. Armed with each target, unless the interval is 0.
    Assignment,
}

/// What to do with a timer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Order {
    /// Fire it in this many milliseconds from now, whether it was armed or not.
    Arm(Timer, u32),
    /// Do not fire it.
    Disarm(Timer),
}
