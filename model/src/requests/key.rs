//! Abstract transitions: what remains of a step when names and numbers are dropped.

use super::{Action, State};
use evenkeel_spec::rules::requests::{Line, Place};
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
struct Local {
    phase: Phase,
    /// Whether something waits for it.
    waiting: bool,
    /// Whether something is in flight.
    flying: bool,
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
        let has = |at| state.seen.open().any(|(_, _, place)| place == at);
        let (waiting, flying) = (has(Place::Waiting(line)), has(Place::Flying(line)));
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
        f.write_str(if self.waiting { ", waited for" } else { "" })?;
        f.write_str(if self.flying { ", used" } else { "" })
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
