//! What the background of a consumer is doing, as an operator would ask. After the states of the
//! thread in Kafka's "Consumer threading model refactor": down, initialized, coordinator discovery,
//! stable; with the end as a state of its own, since it takes time.
//!
//! Decides nothing: it follows what the machines are doing, and says which steps they may take.

use std::fmt;

/// What the background is doing. Shown by the client's `Consumer::lifecycle`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Lifecycle {
    /// Nothing needs the group's coordinator, or nobody was asked for it yet: no lookup is under
    /// way. It may be reading all the same, and goes back to this when looking has no purpose left.
    #[default]
    Initialized,
    /// It looks for the group's coordinator, or waits before it looks again.
    Discovering,
    /// The coordinator is known.
    Stable,
    /// The application ends it: last commits, callbacks, the leave.
    Closing,
    /// Over, whatever the reason: connections are closed and every call fails.
    Down,
}

impl Lifecycle {
    /// Every state, in order.
    pub const ALL: [Self; 5] =
        [Self::Initialized, Self::Discovering, Self::Stable, Self::Closing, Self::Down];

    /// Whether this step may be taken. Any state but the last one may end at once: by the death of
    /// the background, which asks nobody.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match (self, next) {
            // A lookup is asked before it is answered.
            (Self::Initialized, Self::Discovering) => true,
            // It was found, or what needed it is gone.
            (Self::Discovering, Self::Stable | Self::Initialized) => true,
            // It moved: looked for again at once, or when something needs it.
            (Self::Stable, Self::Discovering | Self::Initialized) => true,
            (Self::Initialized | Self::Discovering | Self::Stable, Self::Closing) => true,
            (from, Self::Down) => from != Self::Down,
            (_, _) => false,
        }
    }

    /// Takes a step; says whether it is one.
    ///
    /// # Panics
    /// If it may not be taken: that is a bug of ours.
    pub(crate) fn step(&mut self, next: Self) -> bool {
        if *self == next {
            return false;
        }
        assert!(self.may_become(next), "a background that is {self} does not become {next}");
        *self = next;
        true
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialized => "initialized",
            Self::Discovering => "discovering",
            Self::Stable => "stable",
            Self::Closing => "closing",
            Self::Down => "down",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Lifecycle;
    use crate::table::{Input, check, table};

    #[test]
    fn every_state_with_every_step_is_the_table_in_spec() {
        let states = Lifecycle::ALL.map(|state| ("it is", state));
        let inputs: [(&str, Input<Lifecycle>); 5] = [
            ("nothing looks for the coordinator", |l| step(l, Lifecycle::Initialized)),
            ("a lookup is under way", |l| step(l, Lifecycle::Discovering)),
            ("the coordinator is known", |l| step(l, Lifecycle::Stable)),
            ("close or drop", |l| step(l, Lifecycle::Closing)),
            ("the end, or death", |l| step(l, Lifecycle::Down)),
        ];
        check("lifecycle-table", &table(&states, &inputs, ToString::to_string));
    }

    fn step(state: &mut Lifecycle, next: Lifecycle) -> Vec<String> {
        state.step(next);
        Vec::new()
    }
}
