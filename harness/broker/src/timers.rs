//! The groups' timers: when each is due. Decides which one fires next, never what it does.

use evenkeel_coordinator::Timer;
use evenkeel_spec::words::GroupId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Every armed timer of every group.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    armed: BTreeMap<(GroupId, Timer), Instant>,
    order: BTreeSet<(Instant, GroupId, Timer)>,
    /// Whether the earliest timer became earlier since it was last looked at.
    earlier: bool,
}

impl Timers {
    /// Fires the timer in `after_ms` milliseconds from now, whether it was armed or not.
    pub(crate) fn arm(&mut self, group: &GroupId, timer: Timer, after_ms: u32) {
        self.disarm(group, timer);
        let at = Instant::now() + Duration::from_millis(after_ms.into());
        self.earlier |= self.next().is_none_or(|next| at < next);
        self.armed.insert((group.clone(), timer), at);
        self.order.insert((at, group.clone(), timer));
    }

    /// Does not fire the timer; false if it was not armed.
    pub(crate) fn disarm(&mut self, group: &GroupId, timer: Timer) -> bool {
        match self.armed.remove(&(group.clone(), timer)) {
            Some(at) => self.order.remove(&(at, group.clone(), timer)),
            None => false,
        }
    }

    /// Does not fire any timer of the group.
    pub(crate) fn disarm_group(&mut self, group: &GroupId) {
        for (timer, _) in self.of(group) {
            self.disarm(group, timer);
        }
    }

    /// The group's armed timers and when they are due.
    pub(crate) fn of(&self, group: &GroupId) -> Vec<(Timer, Instant)> {
        let armed = self.armed.iter().filter(|((of, _), _)| of == group);
        armed.map(|(&(_, timer), &at)| (timer, at)).collect()
    }

    /// When the earliest timer is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|&(at, ..)| at)
    }

    /// The earliest timer, if it is due.
    pub(crate) fn due(&self, now: Instant) -> Option<(GroupId, Timer)> {
        let (at, group, timer) = self.order.first()?;
        (*at <= now).then(|| (group.clone(), *timer))
    }

    /// Whether whoever waits for the earliest timer must look again.
    pub(crate) fn take_earlier(&mut self) -> bool {
        std::mem::take(&mut self.earlier)
    }
}
