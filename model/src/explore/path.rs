//! How a reached state is told: by executing its actions again from the initial state, un-renamed.

use std::fmt;

use super::System;
use super::fingerprint::fingerprint;
use super::graph::{Edge, Graph, StateIndex};

/// A run from an initial state, with real (un-renamed) values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Path<S, A> {
    /// The actions in order.
    pub actions: Vec<A>,
    /// The states: `states[i]` is before `actions[i]`, the last one is the end.
    pub states: Vec<S>,
}

impl<S, A> Path<S, A> {
    /// The number of actions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// Whether the path is an initial state alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// The state that the path ends in.
    ///
    /// # Panics
    /// Never for a path of the explorer: it holds the initial state at least.
    #[must_use]
    pub fn last_state(&self) -> &S {
        self.states.last().expect("a path has an initial state")
    }
}

/// A path that may go round for ever at its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lasso<S, A> {
    /// The stem, then one round of the loop.
    pub path: Path<S, A>,
    /// How many actions the stem to the reported state has.
    pub stem: usize,
    /// The number of the action with which the loop begins; None when the path ends in a dead end.
    /// The state there and the last one are equal after renaming.
    pub loop_from: Option<usize>,
}

/// The renaming of a system is wrong: an action of a canonical state does not do the same in the
/// un-renamed state that it stands for. Actions have to name members and slots, never epochs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RenamingBroken {
    /// The number of the action in its path, from 0.
    pub step: usize,
    /// The action, as `Debug` prints it.
    pub action: String,
    /// What went wrong.
    pub reason: RenamingFault,
}

/// What an action did in the un-renamed state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RenamingFault {
    /// The state does not offer it.
    NotOffered,
    /// It has no effect there.
    NoEffect,
    /// It leads to a state that is renamed to another one.
    OtherState,
}

impl fmt::Display for RenamingBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            RenamingFault::NotOffered => "is not offered by",
            RenamingFault::NoEffect => "has no effect in",
            RenamingFault::OtherState => "leads elsewhere from",
        };
        write!(f, "step {}: {} {reason} the un-renamed state", self.step, self.action)
    }
}

impl std::error::Error for RenamingBroken {}

/// The path of a system.
pub type PathOf<S> = Path<<S as stateright::Model>::State, <S as stateright::Model>::Action>;

/// Executes the shortest path to a state, followed by `tail`.
pub(super) fn execute_to<S: System>(
    system: &S,
    graph: &Graph<S::Action>,
    state: StateIndex,
    tail: &[Edge],
) -> Result<PathOf<S>, RenamingBroken> {
    let (initial, mut edges) = graph.way_to(state);
    edges.extend_from_slice(tail);
    execute(system, graph, initial, &edges)
}

/// Executes transitions from the initial state number `initial` and compares each state with the
/// one that the graph has there.
pub(super) fn execute<S: System>(
    system: &S,
    graph: &Graph<S::Action>,
    initial: usize,
    edges: &[Edge],
) -> Result<PathOf<S>, RenamingBroken> {
    let mut state = system.init_states().swap_remove(initial);
    let mut path = Path { actions: Vec::with_capacity(edges.len()), states: Vec::new() };
    let mut offered = Vec::new();
    for (step, edge) in edges.iter().enumerate() {
        let action = graph.action(edge.by);
        let broken = |reason| RenamingBroken { step, action: format!("{action:?}"), reason };
        offered.clear();
        system.actions(&state, &mut offered);
        if !offered.contains(action) {
            return Err(broken(RenamingFault::NotOffered));
        }
        let after = system
            .next_state(&state, action.clone())
            .ok_or_else(|| broken(RenamingFault::NoEffect))?;
        let reached = fingerprint(&system.canonical(&after));
        if reached != graph.visited.fingerprint(edge.to) {
            return Err(broken(RenamingFault::OtherState));
        }
        path.states.push(std::mem::replace(&mut state, after));
        path.actions.push(action.clone());
    }
    path.states.push(state);
    Ok(path)
}
