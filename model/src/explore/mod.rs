//! Which states a small world can reach, and what is true of all of them.
//!
//! One thread, breadth first, deterministic: two runs give equal figures, paths and witnesses. The
//! states themselves live only in the frontier; of each a fingerprint and its transitions are kept
//! ([`Graph`]), which is what counterexamples, witnesses, coverage and liveness are read from.
//! A run that was cut short says so ([`Ending`]) and never counts as exhausted.
//! Not decided here: what a state is, which rules hold, how a path is printed.

mod cross;
mod fingerprint;
mod graph;
mod liveness;
mod path;
mod renaming;
#[cfg(test)]
mod tests;
mod visited;
mod witness;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;

use stateright::Model;

pub use cross::{CrossCheck, Rate, cross_check};
pub use fingerprint::{FingerprintHasher, fingerprint};
pub use graph::{Bytes, Graph, StateIndex};
pub use liveness::{Divergence, DivergenceOf, LivenessError, LivenessErrorOf, Settled, Why};
pub use path::{Lasso, Path, PathOf, RenamingBroken, RenamingFault};
pub use renaming::{RenamingUnsound, check_renaming};
pub use witness::{Refused, WitnessError, Witnesses, WitnessesOf};

use fingerprint::Build;
use graph::{Edge, narrow};
use visited::Probe;

/// A condition that some reachable state has to fulfil, so that the world is not vacuous.
pub type Condition<S> = fn(&S, &<S as Model>::State) -> bool;

/// A small world that can be explored.
///
/// `actions` offers only effective actions, in an order that depends on the state alone. An action
/// names members and slots, never epochs, ids or anything else that [`Self::canonical`] renames: the
/// same value has to do the same in every state that is renamed to this one.
pub trait System:
    Model<State: Clone + Debug + Eq + Hash, Action: Clone + Debug + Eq + Hash> + Sized
{
    /// An abstract transition: what remains of one when ids and counters are dropped.
    type Key: Clone + Debug + Eq + Hash + Ord;

    /// The representative of all states that differ from this one by a renaming only (epochs to
    /// ranks). It is idempotent, and renaming commutes with every action: see [`check_renaming`].
    fn canonical(&self, state: &Self::State) -> Self::State {
        state.clone()
    }

    /// [`Self::canonical`] of a state that nobody else needs: may be cheaper.
    fn canonical_owned(&self, state: Self::State) -> Self::State {
        self.canonical(&state)
    }

    /// Whether the group has converged.
    fn goal(&self, state: &Self::State) -> bool;

    /// What the fair, fault-free schedule does next. None only when the goal holds, or when the
    /// schedule is stuck, which [`Exploration::settle`] then reports.
    fn settle_action(&self, state: &Self::State) -> Option<Self::Action>;

    /// The abstract transition of a step. `before` is canonical, `after` is its successor before
    /// renaming, so that both have the same epochs. None: no witness is wanted for it. Asked once for every
    /// transition: a small `Copy` type is much cheaper than a string.
    fn key(
        &self,
        before: &Self::State,
        action: &Self::Action,
        after: &Self::State,
    ) -> Option<Self::Key>;

    /// The name of the rule that was broken on the way into this state. Such a state is terminal.
    fn violation(&self, state: &Self::State) -> Option<String>;

    /// Whether the action is weakly fair: enabled for ever, it happens. Perturbations are not.
    fn progress(&self, action: &Self::Action) -> bool;

    /// What must be reached, by name.
    fn sometimes(&self) -> Vec<(&'static str, Condition<Self>)> {
        Vec::new()
    }
}

/// How far to explore and what to keep.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// The exploration stops when it would number one state more than these. 64 million states
    /// are about 4 GiB, more than any slice may take.
    pub states_max: usize,
    /// Stop at the first violation; it has a shortest path of all violations.
    pub stop_at_first_violation: bool,
    /// Keep the settle action of each state, for [`Exploration::settle`].
    pub keep_settle: bool,
    /// Keep the key of each transition, for [`Exploration::witnesses`].
    pub keep_keys: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            states_max: 64_000_000,
            stop_at_first_violation: false,
            keep_settle: true,
            keep_keys: true,
        }
    }
}

/// Why an exploration ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// Every reachable state was visited; those that violate a rule were not left.
    Exhausted,
    /// [`Options::states_max`] was reached.
    StatesMax,
    /// [`Options::stop_at_first_violation`] was asked for and there was one.
    FirstViolation,
    /// Every state was visited but for those that `within_boundary` cut off.
    Boundary,
}

/// The figures of an exploration: what a summary prints and a test pins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Summary {
    /// States reached, after renaming.
    pub states: usize,
    /// Transitions taken, self-loops and parallel ones included.
    pub transitions: usize,
    /// Initial states, after renaming.
    pub initial: usize,
    /// The length of the longest shortest path, in actions.
    pub depth: usize,
    /// Converged states.
    pub goals: usize,
    /// States that violate a rule.
    pub violating: usize,
    /// Different abstract transitions.
    pub keys: usize,
    /// Transitions that `within_boundary` cut off.
    pub outside: usize,
    /// Offered actions without effect (`next_state` gave None); a well-made world has none.
    pub ineffective: usize,
    /// Why the exploration ended.
    pub ending: Ending,
}

impl Summary {
    /// Whether every reachable state was visited.
    #[must_use]
    pub fn exhausted(&self) -> bool {
        self.ending == Ending::Exhausted
    }
}

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Exploration<S: System> {
    options: Options,
    graph: Graph<S::Action>,
    summary: Summary,
    /// The first state of each broken rule.
    violations: BTreeMap<String, StateIndex>,
    sometimes: Vec<(&'static str, Option<StateIndex>)>,
    keys: Vec<S::Key>,
    /// The first transition of each key.
    key_firsts: Vec<u32>,
}

/// Explores a system from its initial states.
///
/// # Panics
/// If the system has more than 65,535 different actions or initial states, or more than 2^32 - 1
/// transitions.
pub fn explore<S: System>(system: &S, options: Options) -> Exploration<S> {
    let mut explorer = Explorer::new(system, options);
    let ending = explorer.run();
    explorer.finish(ending)
}

impl<S: System> Exploration<S> {
    /// The figures.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The kept graph.
    #[must_use]
    pub fn graph(&self) -> &Graph<S::Action> {
        &self.graph
    }

    /// The number of a reached state, given in any renaming; None if it was not reached.
    #[must_use]
    pub fn index_of(&self, system: &S, state: &S::State) -> Option<StateIndex> {
        self.graph.find(&system.canonical(state))
    }

    /// The shortest path to a state.
    ///
    /// # Errors
    /// If the renaming of the system is wrong.
    pub fn path_to(&self, system: &S, state: StateIndex) -> Result<PathOf<S>, RenamingBroken> {
        path::execute_to(system, &self.graph, state, &[])
    }

    /// The names of the broken rules, sorted.
    pub fn violated(&self) -> impl Iterator<Item = &str> {
        self.violations.keys().map(String::as_str)
    }

    /// For each broken rule the shortest path that breaks it.
    ///
    /// # Errors
    /// If the renaming of the system is wrong.
    pub fn violations(&self, system: &S) -> Result<BTreeMap<String, PathOf<S>>, RenamingBroken> {
        let paths = self.violations.iter();
        paths.map(|(rule, state)| Ok((rule.clone(), self.path_to(system, *state)?))).collect()
    }

    /// Each condition of [`System::sometimes`] in its order, with the first state that fulfils it.
    #[must_use]
    pub fn sometimes(&self) -> &[(&'static str, Option<StateIndex>)] {
        &self.sometimes
    }

    /// The conditions that no state fulfils: the world is vacuous in these.
    pub fn unreached(&self) -> impl Iterator<Item = &'static str> {
        self.sometimes.iter().filter(|(_, first)| first.is_none()).map(|(name, _)| *name)
    }
}

/// The exploration under way.
struct Explorer<'a, S: System> {
    system: &'a S,
    options: Options,
    graph: Graph<S::Action>,
    frontier: VecDeque<S::State>,
    violations: BTreeMap<String, StateIndex>,
    conditions: Vec<(&'static str, Condition<S>)>,
    sometimes: Vec<(&'static str, Option<StateIndex>)>,
    conditions_open: usize,
    keys: Vec<S::Key>,
    key_ids: HashMap<S::Key, u32, Build>,
    key_firsts: Vec<u32>,
    goals: usize,
    violating: usize,
    initial: usize,
    outside: usize,
    ineffective: usize,
}

impl<'a, S: System> Explorer<'a, S> {
    fn new(system: &'a S, options: Options) -> Self {
        let conditions = system.sometimes();
        Self {
            system,
            options,
            graph: Graph::new(),
            frontier: VecDeque::new(),
            violations: BTreeMap::new(),
            sometimes: conditions.iter().map(|(name, _)| (*name, None)).collect(),
            conditions_open: conditions.len(),
            conditions,
            keys: Vec::new(),
            key_ids: HashMap::default(),
            key_firsts: Vec::new(),
            goals: 0,
            violating: 0,
            initial: 0,
            outside: 0,
            ineffective: 0,
        }
    }

    fn run(&mut self) -> Ending {
        match self.start().and_then(|()| self.expand_all()) {
            Err(ending) => ending,
            Ok(()) if self.outside > 0 => Ending::Boundary,
            Ok(()) => Ending::Exhausted,
        }
    }

    fn start(&mut self) -> Result<(), Ending> {
        for (number, state) in self.system.init_states().into_iter().enumerate() {
            let number =
                u16::try_from(number).expect("the explorer numbers initial states with 16 bits");
            self.reach(state, None, number)?;
        }
        self.initial = self.graph.states();
        Ok(())
    }

    fn expand_all(&mut self) -> Result<(), Ending> {
        let mut from = 0;
        let mut actions = Vec::new();
        while let Some(state) = self.frontier.pop_front() {
            self.graph.open(from);
            self.expand(from, &state, &mut actions)?;
            from += 1;
        }
        Ok(())
    }

    fn expand(
        &mut self,
        from: StateIndex,
        state: &S::State,
        actions: &mut Vec<S::Action>,
    ) -> Result<(), Ending> {
        let system = self.system;
        let terminal = self.graph.violating(from);
        if self.options.keep_settle {
            let action = if terminal { None } else { system.settle_action(state) };
            let action = action.map(|action| self.graph.intern(&action));
            self.graph.add_settle(action);
        }
        if terminal {
            return Ok(());
        }
        actions.clear();
        system.actions(state, actions);
        for action in actions.drain(..) {
            let by = self.graph.intern(&action);
            let Some(after) = system.next_state(state, action) else {
                self.ineffective += 1;
                continue;
            };
            let keeps_keys = self.options.keep_keys;
            let key = keeps_keys.then(|| system.key(state, self.graph.action(by), &after));
            let Some(to) = self.reach(after, Some(from), by)? else { continue };
            if let Some(key) = key {
                let key = key.map(|key| self.intern_key(key));
                self.graph.add_key(key);
            }
            self.graph.add_edge(Edge { by, to });
        }
        Ok(())
    }

    /// The number of a state, which is judged and queued if it is new. None: outside the boundary.
    #[inline]
    fn reach(
        &mut self,
        state: S::State,
        parent: Option<StateIndex>,
        via: u16,
    ) -> Result<Option<StateIndex>, Ending> {
        let state = self.system.canonical_owned(state);
        if !self.system.within_boundary(&state) {
            self.outside += 1;
            return Ok(None);
        }
        let fingerprint = fingerprint(&state);
        let slot = match self.graph.visited.probe(fingerprint) {
            Probe::Seen(index) => return Ok(Some(index)),
            Probe::Vacant(slot) => slot,
        };
        if self.graph.states() >= self.options.states_max {
            return Err(Ending::StatesMax);
        }
        let index = self.graph.add_state(fingerprint, slot, parent, via);
        let violated = self.judge(index, &state);
        self.frontier.push_back(state);
        if violated && self.options.stop_at_first_violation {
            return Err(Ending::FirstViolation);
        }
        Ok(Some(index))
    }

    /// Whether the new state violates a rule.
    fn judge(&mut self, index: StateIndex, state: &S::State) -> bool {
        if self.conditions_open > 0 {
            self.meet_conditions(index, state);
        }
        if self.system.goal(state) {
            self.goals += 1;
            self.graph.mark_goal(index);
        }
        let Some(rule) = self.system.violation(state) else { return false };
        self.violating += 1;
        self.graph.mark_violating(index);
        self.violations.entry(rule).or_insert(index);
        true
    }

    fn meet_conditions(&mut self, index: StateIndex, state: &S::State) {
        for ((_, first), (_, condition)) in self.sometimes.iter_mut().zip(&self.conditions) {
            if first.is_none() && condition(self.system, state) {
                *first = Some(index);
                self.conditions_open -= 1;
            }
        }
    }

    fn intern_key(&mut self, key: S::Key) -> u32 {
        if let Some(id) = self.key_ids.get(&key) {
            return *id;
        }
        let id = narrow(self.keys.len());
        self.keys.push(key.clone());
        self.key_firsts.push(narrow(self.graph.transitions()));
        self.key_ids.insert(key, id);
        id
    }

    fn finish(mut self, ending: Ending) -> Exploration<S> {
        self.graph.shrink();
        let summary = Summary {
            states: self.graph.states(),
            transitions: self.graph.transitions(),
            initial: self.initial,
            depth: self.graph.depth(),
            goals: self.goals,
            violating: self.violating,
            keys: self.keys.len(),
            outside: self.outside,
            ineffective: self.ineffective,
            ending,
        };
        Exploration {
            options: self.options,
            graph: self.graph,
            summary,
            violations: self.violations,
            sometimes: self.sometimes,
            keys: self.keys,
            key_firsts: self.key_firsts,
        }
    }
}
