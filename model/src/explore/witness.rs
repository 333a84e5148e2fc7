//! Which path shows each abstract transition: the shortest, breadth-first-least, feasible one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;

use super::graph::{Edge, FAR, Reversed, StateIndex, narrow};
use super::path::{PathOf, RenamingBroken, execute, execute_to};
use super::{Ending, Exploration, Path, System};

/// One path for each abstract transition, sorted by key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Witnesses<K, S, A> {
    /// The witness of each key: its last action is the transition.
    pub found: BTreeMap<K, Path<S, A>>,
    /// The keys for which no feasible path was found.
    pub refused: BTreeMap<K, Refused>,
}

/// The witnesses of a system.
pub type WitnessesOf<S> = Witnesses<
    <S as System>::Key,
    <S as stateright::Model>::State,
    <S as stateright::Model>::Action,
>;

/// How thoroughly a feasible path was looked for in vain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Paths, and beginnings of paths, that were judged.
    pub tried: usize,
    /// Whether there is none at all, given that a path is as infeasible as its beginning.
    pub complete: bool,
}

/// Why there are no witnesses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WitnessError {
    /// The keys were not kept ([`super::Options::keep_keys`]).
    KeysNotKept,
    /// A witness could not be executed.
    Renaming(RenamingBroken),
}

impl fmt::Display for WitnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeysNotKept => f.write_str("the keys were not kept"),
            Self::Renaming(broken) => broken.fmt(f),
        }
    }
}

impl std::error::Error for WitnessError {}

impl From<RenamingBroken> for WitnessError {
    fn from(broken: RenamingBroken) -> Self {
        Self::Renaming(broken)
    }
}

impl<S: System> Exploration<S> {
    /// The abstract transitions in the order of their first appearance.
    #[must_use]
    pub fn keys(&self) -> &[S::Key] {
        &self.keys
    }

    /// The shortest witness of each key, whether a clock can produce it or not.
    ///
    /// # Errors
    /// If the keys were not kept or the renaming of the system is wrong.
    pub fn shortest_witnesses(
        &self,
        system: &S,
    ) -> Result<BTreeMap<S::Key, PathOf<S>>, WitnessError> {
        Ok(self.witnesses(system, 0, |_| true)?.found)
    }

    /// The shortest feasible witness of each key.
    ///
    /// Judged are, until one is feasible: the shortest path; then, up to `candidates_max`
    /// judgements, all paths in the order of their length, grown from feasible beginnings; what is
    /// found so far is the shortest. If that was not enough: the shortest path to each of up to
    /// `candidates_max` other transitions with the key. So `feasible` is also asked about
    /// beginnings, and has to refuse every path of which it refuses a beginning (deadlines do: more
    /// actions only add constraints).
    ///
    /// # Errors
    /// If the keys were not kept or the renaming of the system is wrong.
    pub fn witnesses(
        &self,
        system: &S,
        candidates_max: usize,
        mut feasible: impl FnMut(&PathOf<S>) -> bool,
    ) -> Result<WitnessesOf<S>, WitnessError> {
        if !self.options.keep_keys {
            return Err(WitnessError::KeysNotKept);
        }
        let mut result = Witnesses { found: BTreeMap::new(), refused: BTreeMap::new() };
        let mut infeasible = Vec::new();
        for (key, first) in (0..).zip(&self.key_firsts) {
            let path = self.path_through(system, *first as usize)?;
            if feasible(&path) {
                result.found.insert(self.keys[key as usize].clone(), path);
            } else {
                infeasible.push(key);
            }
        }
        if infeasible.is_empty() {
            return Ok(result);
        }
        let alternatives = self.alternatives(&infeasible, candidates_max);
        let reversed = self.graph.reversed();
        for key in infeasible {
            let name = self.keys[key as usize].clone();
            let edges = &alternatives[&key];
            match self.next_witness(system, key, edges, &reversed, candidates_max, &mut feasible)? {
                Ok(path) => drop(result.found.insert(name, path)),
                Err(refused) => drop(result.refused.insert(name, refused)),
            }
        }
        Ok(result)
    }

    /// The shortest path that ends with a transition.
    fn path_through(&self, system: &S, at: usize) -> Result<PathOf<S>, RenamingBroken> {
        let tail = [self.graph.edge(at)];
        execute_to(system, &self.graph, self.graph.source(at), &tail)
    }

    /// For each of the keys the transitions that have it after the first.
    fn alternatives(&self, keys: &[u32], count_max: usize) -> BTreeMap<u32, Vec<usize>> {
        let mut edges: BTreeMap<u32, Vec<usize>> =
            keys.iter().map(|key| (*key, Vec::new())).collect();
        for (at, key) in self.graph.edge_keys().iter().enumerate() {
            if let Some(edges) = edges.get_mut(key)
                && edges.len() < count_max
                && at != self.key_firsts[*key as usize] as usize
            {
                edges.push(at);
            }
        }
        edges
    }

    fn next_witness(
        &self,
        system: &S,
        key: u32,
        alternatives: &[usize],
        reversed: &Reversed,
        candidates_max: usize,
        feasible: &mut impl FnMut(&PathOf<S>) -> bool,
    ) -> Result<Result<PathOf<S>, Refused>, RenamingBroken> {
        let mut search = Search::new(self, key, reversed);
        let mut tried = 0;
        while tried < candidates_max {
            let Some(step) = search.pop() else { break };
            let (initial, edges) = search.way(step);
            let path = execute(system, &self.graph, initial, &edges)?;
            tried += 1;
            if !feasible(&path) {
                continue;
            }
            if search.is_complete(step) {
                return Ok(Ok(path));
            }
            search.grow(step);
        }
        if search.is_empty() {
            let complete = self.summary.ending == Ending::Exhausted;
            return Ok(Err(Refused { tried: 1 + tried, complete }));
        }
        for at in alternatives {
            let path = self.path_through(system, *at)?;
            if feasible(&path) {
                return Ok(Ok(path));
            }
        }
        Ok(Err(Refused { tried: 1 + tried + alternatives.len(), complete: false }))
    }
}

/// All paths that end with a transition of one key, shortest first: a best-first search whose
/// estimate (the distance to the nearest such transition) is exact.
struct Search<'a, S: System> {
    exploration: &'a Exploration<S>,
    key: u32,
    /// From each state to the source of the nearest transition with the key.
    distances: Vec<u32>,
    steps: Vec<Step>,
    /// Least total length first, then longest beginning, then oldest.
    queue: BinaryHeap<Reverse<(u32, Reverse<u32>, u32)>>,
}

/// The last transition of a beginning, and the beginning before it.
#[derive(Clone, Copy)]
struct Step {
    before: Option<u32>,
    /// The initial state that the path starts from.
    initial: StateIndex,
    edge: usize,
    length: u32,
}

impl<'a, S: System> Search<'a, S> {
    fn new(exploration: &'a Exploration<S>, key: u32, reversed: &Reversed) -> Self {
        let graph = &exploration.graph;
        let keys = graph.edge_keys().iter().enumerate();
        let sources = keys.filter(|(_, of)| **of == key).map(|(at, _)| graph.source(at));
        let distances = reversed.distances(sources);
        let (steps, queue) = (Vec::new(), BinaryHeap::new());
        let mut search = Self { exploration, key, distances, steps, queue };
        for initial in 0..narrow(exploration.summary.initial) {
            search.grow_from(initial, None, initial, 0);
        }
        search
    }

    fn pop(&mut self) -> Option<u32> {
        self.queue.pop().map(|Reverse((_, _, step))| step)
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn is_complete(&self, step: u32) -> bool {
        self.has_key(self.steps[step as usize].edge)
    }

    fn has_key(&self, edge: usize) -> bool {
        self.exploration.graph.edge_keys()[edge] == self.key
    }

    fn grow(&mut self, step: u32) {
        let Step { initial, edge, length, .. } = self.steps[step as usize];
        self.grow_from(self.exploration.graph.edge(edge).to, Some(step), initial, length);
    }

    fn grow_from(&mut self, at: StateIndex, before: Option<u32>, initial: StateIndex, length: u32) {
        let length = length + 1;
        for edge in self.exploration.graph.edge_range(at) {
            let to = self.exploration.graph.edge(edge).to;
            let left = match self.distances[to as usize] {
                _ if self.has_key(edge) => 0,
                FAR => continue,
                distance => distance + 1,
            };
            let step = narrow(self.steps.len());
            self.steps.push(Step { before, initial, edge, length });
            self.queue.push(Reverse((length + left, Reverse(length), step)));
        }
    }

    /// The number of the initial state of a beginning, and its transitions.
    fn way(&self, step: u32) -> (usize, Vec<Edge>) {
        let graph = &self.exploration.graph;
        let mut edges = Vec::new();
        let mut at = Some(step);
        while let Some(step) = at {
            let step = self.steps[step as usize];
            edges.push(graph.edge(step.edge));
            at = step.before;
        }
        edges.reverse();
        let (initial, _) = graph.way_to(self.steps[step as usize].initial);
        (initial, edges)
    }
}
