//! What a person reads: paths and worlds as lines of text. Nothing in it depends on a machine, a run
//! or a renaming, so that it can be a snapshot.

use crate::bounds::Slice;
use crate::explore::PathOf;
use crate::system::{Action, State};
use std::fmt::Write;

/// A path as one line: its actions, without the consumer where there is only one.
#[must_use]
pub fn line(slice: &Slice, actions: &[Action]) -> String {
    let word = |action: &Action| {
        let word = action.to_string();
        if slice.members == 1 { word.replace(" c0", "") } else { word }
    };
    actions.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// A path as a story: one action a line, and what an onlooker then sees, where it has changed.
#[must_use]
pub fn story(path: &PathOf<Slice>) -> String {
    let mut text = String::new();
    let mut before = String::new();
    for (number, (action, state)) in path.actions.iter().zip(&path.states[1..]).enumerate() {
        let after = onlooker(state);
        let seen = if after == before { String::new() } else { format!("  {after}") };
        writeln!(text, "{:>3}  {:<24}{seen}", number + 1, action.to_string())
            .expect("a string takes any text");
        before = after;
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// What an onlooker sees: grants, what is held, what is committed.
#[must_use]
pub fn onlooker(state: &State) -> String {
    let mut seen = Vec::new();
    for (id, grant) in &state.world.grants {
        let assigned: Vec<_> = grant.assigned.keys().collect();
        let mut text = format!("{id:?} granted {assigned:?} at {:?}", grant.epoch);
        if !grant.revoking.is_empty() {
            let _ = write!(text, " revoking {:?}", grant.revoking);
        }
        seen.push(text);
    }
    for (i, consumer) in state.world.consumers.iter().enumerate() {
        if !consumer.held.is_empty() {
            seen.push(format!("c{i} holds {:?}", consumer.held));
        }
    }
    if !state.world.committed.is_empty() {
        seen.push(format!("committed {:?}", state.world.committed));
    }
    seen.join("; ")
}
