//! Abstract transitions: what remains of a step when names and numbers are dropped.

use super::{Action, State};
use evenkeel_spec::rules::requests::{Line, Place, Urgency};
use std::fmt;

/// An abstract transition.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    action: Action,
    before: [Local; 2],
    after: [Local; 2],
}

/// What one connection looks like from nearby.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Local {
    phase: Phase,
    /// Whether requests of each urgency wait, and whether they are in flight.
    waiting: [bool; 3],
    flying: [bool; 3],
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Phase {
    Closed,
    BackingOff,
    Connecting,
    Handshaking,
    Ready,
    Throttled,
}

impl Key {
    /// The abstract transition of a step.
    pub(super) fn of(before: &State, action: Action, after: &State) -> Self {
        Self { action: nameless(action), before: locals(before), after: locals(after) }
    }
}

fn locals(state: &State) -> [Local; 2] {
    Line::ALL.map(|line| {
        let (mut waiting, mut flying) = ([false; 3], [false; 3]);
        for (_, wish, place) in state.seen.open() {
            waiting[wish.urgency as usize] |= place == Place::Waiting(line);
            flying[wish.urgency as usize] |= place == Place::Flying(line);
        }
        Local { phase: phase(state, line), waiting, flying }
    })
}

fn phase(state: &State, line: Line) -> Phase {
    let wire = state.wire(line);
    match state.connection(line) {
        Some(connection) if connection.is_backing_off() => Phase::BackingOff,
        Some(connection) if connection.is_throttled() => Phase::Throttled,
        Some(connection) if connection.is_ready() => Phase::Ready,
        Some(_) if wire.is_connected => Phase::Handshaking,
        Some(_) if wire.id.is_some() => Phase::Connecting,
        Some(_) | None => Phase::Closed,
    }
}

/// The same action of the first call.
fn nameless(action: Action) -> Action {
    match action {
        Action::Retry(_) => Action::Retry(0),
        Action::Deadline(_) => Action::Deadline(0),
        Action::Gone(_) => Action::Gone(0),
        _ => action,
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.phase {
            Phase::Closed => "closed",
            Phase::BackingOff => "backing off",
            Phase::Connecting => "connecting",
            Phase::Handshaking => "handshaking",
            Phase::Ready => "ready",
            Phase::Throttled => "throttled",
        })?;
        for (what, of) in [("waiting", self.waiting), ("in flight", self.flying)] {
            let names = [Urgency::System, Urgency::User, Urgency::Records].into_iter();
            let names: Vec<_> = names.filter(|u| of[*u as usize]).map(word).collect();
            if !names.is_empty() {
                write!(f, " {what} {}", names.join("+"))?;
            }
        }
        Ok(())
    }
}

fn word(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::System => "system",
        Urgency::User => "user",
        Urgency::Records => "records",
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.action.to_string().replace(" #0", "");
        let [first, second] = self.before;
        write!(f, "{action} | {first} / {second}")?;
        let [first, second] = self.after;
        write!(f, " => {first} / {second}")
    }
}
