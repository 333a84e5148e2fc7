//! Is the renaming sound: does it commute with every action and hide nothing that is asked for.
//!
//! Checked on un-renamed states, each with its canonical representative beside it.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use super::System;
use super::fingerprint::{Build, fingerprint};

/// A state in which the renaming changes what happens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RenamingUnsound<S, A> {
    /// The un-renamed state.
    pub state: S,
    /// The action that does not commute; None when the states themselves are judged differently.
    pub action: Option<A>,
    /// What differs, in words.
    pub difference: &'static str,
}

impl<S: fmt::Debug, A: fmt::Debug> fmt::Display for RenamingUnsound<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: action {:?} in {:?}", self.difference, self.action, self.state)
    }
}

impl<S: fmt::Debug, A: fmt::Debug> std::error::Error for RenamingUnsound<S, A> {}

type Unsound<S> =
    RenamingUnsound<<S as stateright::Model>::State, <S as stateright::Model>::Action>;

/// Compares up to `states_max` un-renamed states, breadth first, with their representatives: the
/// same actions in the same order, `canonical(next(s, a)) == canonical(next(canonical(s), a))`, the
/// same goal, violation, settle action and conditions; and `canonical` is idempotent. Gives the
/// number of states compared.
///
/// # Errors
/// The first state in which one of these fails.
pub fn check_renaming<S: System>(system: &S, states_max: usize) -> Result<usize, Unsound<S>> {
    let mut queue: VecDeque<S::State> = VecDeque::new();
    let mut seen: HashSet<u128, Build> = HashSet::default();
    for state in system.init_states() {
        if seen.insert(fingerprint(&state)) {
            queue.push_back(state);
        }
    }
    let mut compared = 0;
    while let Some(state) = queue.pop_front() {
        if compared == states_max {
            break;
        }
        compared += 1;
        for after in compare(system, &state)? {
            if seen.len() < states_max && seen.insert(fingerprint(&after)) {
                queue.push_back(after);
            }
        }
    }
    Ok(compared)
}

/// The successors of an un-renamed state, if it and its representative do the same.
fn compare<S: System>(system: &S, state: &S::State) -> Result<Vec<S::State>, Unsound<S>> {
    let unsound = |action: Option<&S::Action>, difference| RenamingUnsound {
        state: state.clone(),
        action: action.cloned(),
        difference,
    };
    let canonical = system.canonical(state);
    if system.canonical(&canonical) != canonical {
        return Err(unsound(None, "renaming twice is not renaming once"));
    }
    if let Some(difference) = judged_differently(system, state, &canonical) {
        return Err(unsound(None, difference));
    }
    if system.violation(state).is_some() {
        return Ok(Vec::new());
    }
    let (mut actions, mut renamed) = (Vec::new(), Vec::new());
    system.actions(state, &mut actions);
    system.actions(&canonical, &mut renamed);
    if actions != renamed {
        return Err(unsound(None, "the representative offers other actions"));
    }
    let mut successors = Vec::new();
    for action in &actions {
        let after = system.next_state(state, action.clone());
        let renamed = system.next_state(&canonical, action.clone());
        let canonical = |state: &Option<S::State>| state.as_ref().map(|s| system.canonical(s));
        if canonical(&after) != canonical(&renamed) {
            return Err(unsound(Some(action), "the representative steps elsewhere"));
        }
        successors.extend(after.filter(|after| system.within_boundary(after)));
    }
    Ok(successors)
}

fn judged_differently<S: System>(
    system: &S,
    state: &S::State,
    canonical: &S::State,
) -> Option<&'static str> {
    if system.goal(state) != system.goal(canonical) {
        return Some("the goal differs");
    }
    if system.violation(state) != system.violation(canonical) {
        return Some("the violation differs");
    }
    if system.settle_action(state) != system.settle_action(canonical) {
        return Some("the settle action differs");
    }
    let mut conditions = system.sometimes().into_iter();
    conditions
        .any(|(_, condition)| condition(system, state) != condition(system, canonical))
        .then_some("a condition of the vacuity list differs")
}
