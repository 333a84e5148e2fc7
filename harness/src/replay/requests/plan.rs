//! The traces of a slice of requests: for each abstract transition the shortest path that a shipped
//! consumer and a clock can produce.

use super::asks::{Asks, Unasked};
use super::schedule::{Given, Infeasible, Lengths, schedule};
use super::view::View;
use crate::replay::Target;
use evenkeel_model::explore::{Exploration, Options, PathOf, System, WitnessError, explore};
use evenkeel_model::requests::{Action, Key, Own, Slice};
use stateright::Model;
use std::collections::BTreeMap;

/// A path with its dates and with what must be seen.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The durations under which it happens.
    pub lengths: Lengths,
    /// How the consumer is made to ask.
    pub asks: Asks,
    /// The actions in order: to the goal, and on to rest.
    pub actions: Vec<Action>,
    /// Each action in time.
    pub given: Vec<Given>,
    /// What must be seen after each action.
    pub expected: Vec<View>,
    /// The abstract transition of each action.
    pub keys: Vec<Key>,
}

/// The traces of one slice.
#[derive(Clone, Debug, Default)]
pub struct Plans {
    /// By abstract transition.
    pub found: BTreeMap<Key, Plan>,
    /// Those of which no feasible path was found.
    pub infeasible: BTreeMap<Key, Why>,
}

/// Why an abstract transition has no trace.
#[derive(Clone, Debug)]
pub struct Why {
    /// What is in the way of its shortest path.
    pub shortest: Infeasible,
    /// How many paths, and beginnings of paths, were judged.
    pub tried: usize,
    /// Whether there is no feasible path at all; else none was found.
    pub complete: bool,
}

impl Plan {
    /// A path's plan.
    ///
    /// # Errors
    /// Why it cannot happen.
    pub fn of(slice: &Slice, target: Target, path: &PathOf<Slice>) -> Result<Self, Infeasible> {
        let path = &settled(slice, target, path);
        let (lengths, asks, given) = schedule(target, path).map_err(|(_, why)| why)?;
        let steps = path.actions.iter().enumerate();
        let expected = steps.clone().map(|(step, action)| {
            View::expected(&path.states[step], *action, &path.states[step + 1])
        });
        let key = |(step, action): (usize, &Action)| {
            let key = slice.key(&path.states[step], action, &path.states[step + 1]);
            key.expect("every transition has a key")
        };
        Ok(Self {
            lengths,
            asks,
            given,
            expected: expected.collect(),
            keys: steps.map(key).collect(),
            actions: path.actions.clone(),
        })
    }
}

/// A path and the fair schedule's way from its end to rest, as far as that is feasible: what a step
/// has brought about may show only when it is answered.
fn settled(slice: &Slice, target: Target, path: &PathOf<Slice>) -> PathOf<Slice> {
    let mut longer = path.clone();
    while let Some(action) = slice.settle_action(longer.last_state()) {
        let after = slice.next_state(longer.last_state(), action);
        longer.states.push(after.expect("the schedule takes what is offered"));
        longer.actions.push(action);
    }
    if let Err((step, _)) = schedule(target, &longer) {
        let kept = step.max(path.len());
        longer.actions.truncate(kept);
        longer.states.truncate(kept + 1);
        if schedule(target, &longer).is_err() {
            return path.clone();
        }
    }
    longer
}

/// The traces of a slice on a target. Of each abstract transition up to `candidates_max` paths are
/// judged.
///
/// # Errors
/// The exploration kept no keys, or the model's renaming is wrong.
pub fn plans(
    slice: &Slice,
    exploration: &Exploration<Slice>,
    target: Target,
    candidates_max: usize,
) -> Result<Plans, WitnessError> {
    let plain = Slice { asks: plain(slice.asks, target), ..slice.clone() };
    if plain.asks.len() == slice.asks.len() {
        return searched(slice, exploration, target, candidates_max);
    }
    let never =
        if slice.asks.iter().any(is_anyones) { Unasked::AnyBroker } else { Unasked::Membership };
    // What no consumer reaches that asks for nothing else need not be looked for.
    let less = explore(&plain, Options { keep_settle: false, ..Options::default() });
    let mut plans = searched(&plain, &less, target, candidates_max)?;
    for key in exploration.keys() {
        if !plans.found.contains_key(key) && !plans.infeasible.contains_key(key) {
            let shortest = Infeasible::Unasked(never);
            plans.infeasible.insert(*key, Why { shortest, tried: 0, complete: true });
        }
    }
    Ok(plans)
}

/// What a target's consumers can be made to ask: the client's are no members.
fn plain(asks: &'static [Own], target: Target) -> &'static [Own] {
    let is_members = |own: &Own| matches!(own, Own::Presence | Own::Owned | Own::Leave);
    let is_asked = |own: &&Own| !is_anyones(own) && (target == Target::Core || !is_members(own));
    let left: Vec<Own> = asks.iter().filter(is_asked).copied().collect();
    let known = PLAIN.into_iter().find(|plain| **plain == left[..]);
    known.unwrap_or(asks)
}

/// Whether any broker answers it: it is asked for when something needs it.
fn is_anyones(own: &Own) -> bool {
    matches!(own, Own::Lookup | Own::Topics)
}

/// What is left of the slices' asks without those that cannot be brought about.
const PLAIN: [&[Own]; 6] = [
    &[],
    &[Own::Fetch],
    &[Own::Presence, Own::Fetch],
    &[Own::Offsets, Own::Fetch],
    &[Own::Commit, Own::Urgent, Own::Fetch],
    &[Own::Offsets, Own::Commit, Own::Urgent, Own::Fetch],
];

fn searched(
    slice: &Slice,
    exploration: &Exploration<Slice>,
    target: Target,
    candidates_max: usize,
) -> Result<Plans, WitnessError> {
    let feasible = |path: &PathOf<Slice>| schedule(target, path).is_ok();
    let witnesses = exploration.witnesses(slice, candidates_max, feasible)?;
    let mut plans = Plans::default();
    for (key, path) in witnesses.found {
        plans.found.insert(key, Plan::of(slice, target, &path).expect("a witness is feasible"));
    }
    if witnesses.refused.is_empty() {
        return Ok(plans);
    }
    let mut shortest = exploration.shortest_witnesses(slice)?;
    for (key, refused) in witnesses.refused {
        let path = shortest.remove(&key).expect("each key has a shortest path");
        let Err((_, shortest)) = schedule(target, &path) else { continue };
        let why = Why { shortest, tried: refused.tried, complete: refused.complete };
        plans.infeasible.insert(key, why);
    }
    Ok(plans)
}
