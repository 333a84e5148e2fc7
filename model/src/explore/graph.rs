//! What is kept of every state and transition once the state itself is gone.
//!
//! A state costs its fingerprint, a table slot, its parent, the action that reached it first, its
//! flags, its settle action and the offset of its transitions; a transition costs 10 bytes (target,
//! action, key). Indices are breadth-first: a smaller index is never deeper.

use std::collections::HashMap;
use std::hash::Hash;

use super::fingerprint::{Build, fingerprint};
use super::visited::{Probe, Visited};

/// A state of the kept graph: its number in breadth-first order, 0 for the first initial state.
pub type StateIndex = u32;

/// The number of an action value, in the order of its first appearance.
pub(super) type ActionId = u16;

/// The kept graph of one exploration.
#[derive(Clone, Debug)]
pub struct Graph<A> {
    pub(super) visited: Visited,
    parents: Vec<u32>,
    via: Vec<ActionId>,
    flags: Vec<u8>,
    settle: Vec<ActionId>,
    /// The first state of each depth.
    levels: Vec<u32>,
    /// The first transition of each expanded state.
    offsets: Vec<u32>,
    to: Vec<StateIndex>,
    by: Vec<ActionId>,
    keys: Vec<u32>,
    actions: Vec<A>,
    action_ids: HashMap<A, ActionId, Build>,
}

/// One transition of the kept graph.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Edge {
    pub(super) by: ActionId,
    pub(super) to: StateIndex,
}

/// Memory held by a graph (capacities, not lengths), in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bytes {
    /// Everything that is kept once a state.
    pub states: usize,
    /// Everything that is kept once a transition.
    pub transitions: usize,
}

impl<A> Graph<A> {
    /// How many states were reached.
    #[must_use]
    pub fn states(&self) -> usize {
        self.visited.len()
    }

    /// How many transitions were taken, self-loops and parallel ones included.
    #[must_use]
    pub fn transitions(&self) -> usize {
        self.to.len()
    }

    /// The length of the longest shortest path, in actions.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.levels.len().saturating_sub(1)
    }

    /// The length of the shortest path to a state, in actions.
    #[must_use]
    pub fn depth_of(&self, state: StateIndex) -> usize {
        self.levels.partition_point(|first| *first <= state) - 1
    }

    /// Whether the state is converged, as [`super::System::goal`] said.
    #[must_use]
    pub fn goal(&self, state: StateIndex) -> bool {
        self.flags[state as usize] & GOAL != 0
    }

    /// Whether the state violates a rule; such a state has no transitions here.
    #[must_use]
    pub fn violating(&self, state: StateIndex) -> bool {
        self.flags[state as usize] & VIOLATING != 0
    }

    /// What the graph holds in memory.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let words = self.parents.capacity() + self.offsets.capacity();
        let halves = self.via.capacity() + self.settle.capacity();
        Bytes {
            states: self.visited.bytes() + words * 4 + halves * 2 + self.flags.capacity(),
            transitions: (self.to.capacity() + self.keys.capacity()) * 4 + self.by.capacity() * 2,
        }
    }

    /// The state with this fingerprint.
    pub(super) fn find<S: Hash>(&self, canonical: &S) -> Option<StateIndex> {
        match self.visited.probe(fingerprint(canonical)) {
            Probe::Seen(index) => Some(index),
            Probe::Vacant(_) => None,
        }
    }

    pub(super) fn indices(&self) -> std::ops::Range<StateIndex> {
        0..narrow(self.states())
    }

    pub(super) fn edges(&self, from: StateIndex) -> impl Iterator<Item = Edge> + '_ {
        self.edge_range(from).map(|at| self.edge(at))
    }

    /// The numbers of the transitions of a state: none if it was not expanded.
    pub(super) fn edge_range(&self, from: StateIndex) -> std::ops::Range<usize> {
        let end = |at: usize| self.offsets.get(at).map_or(self.to.len(), |offset| *offset as usize);
        end(from as usize)..end(from as usize + 1)
    }

    pub(super) fn edge(&self, at: usize) -> Edge {
        Edge { by: self.by[at], to: self.to[at] }
    }

    /// The state that a transition leaves.
    pub(super) fn source(&self, at: usize) -> StateIndex {
        narrow(self.offsets.partition_point(|offset| *offset as usize <= at) - 1)
    }

    pub(super) fn action(&self, id: ActionId) -> &A {
        &self.actions[id as usize]
    }

    /// The action of each number.
    pub(super) fn actions(&self) -> &[A] {
        &self.actions
    }

    pub(super) fn settle_action(&self, state: StateIndex) -> Option<ActionId> {
        self.settle.get(state as usize).copied().filter(|id| *id != NONE)
    }

    pub(super) fn edge_keys(&self) -> &[u32] {
        &self.keys
    }

    /// The shortest way to a state: which initial state it starts from, and the transitions taken.
    pub(super) fn way_to(&self, state: StateIndex) -> (usize, Vec<Edge>) {
        let mut edges = Vec::new();
        let mut at = state;
        while self.parents[at as usize] != ROOT {
            edges.push(Edge { by: self.via[at as usize], to: at });
            at = self.parents[at as usize];
        }
        edges.reverse();
        (usize::from(self.via[at as usize]), edges)
    }

    /// For each state the sources of the transitions that enter it.
    pub(super) fn reversed(&self) -> Reversed {
        let mut offsets = vec![0_u32; self.states() + 1];
        for to in &self.to {
            offsets[*to as usize + 1] += 1;
        }
        for at in 1..offsets.len() {
            offsets[at] += offsets[at - 1];
        }
        let mut next = offsets.clone();
        let mut sources = vec![0; self.to.len()];
        for from in self.indices() {
            for edge in self.edges(from) {
                let at = &mut next[edge.to as usize];
                sources[*at as usize] = from;
                *at += 1;
            }
        }
        Reversed { offsets, sources }
    }
}

impl<A: Clone + Eq + Hash> Graph<A> {
    pub(super) fn new() -> Self {
        Self {
            visited: Visited::new(),
            parents: Vec::new(),
            via: Vec::new(),
            flags: Vec::new(),
            settle: Vec::new(),
            levels: Vec::new(),
            offsets: Vec::new(),
            to: Vec::new(),
            by: Vec::new(),
            keys: Vec::new(),
            actions: Vec::new(),
            action_ids: HashMap::default(),
        }
    }

    /// The number of an action value.
    ///
    /// # Panics
    /// If the system has more than 65,535 different actions.
    #[inline]
    pub(super) fn intern(&mut self, action: &A) -> ActionId {
        if let Some(id) = self.action_ids.get(action) {
            return *id;
        }
        let id = ActionId::try_from(self.actions.len())
            .ok()
            .filter(|id| *id != NONE)
            .expect("the explorer numbers actions with 16 bits");
        self.actions.push(action.clone());
        self.action_ids.insert(action.clone(), id);
        id
    }

    /// Adds a state that was not seen; `parent` is None for the initial state number `via`.
    pub(super) fn add_state(
        &mut self,
        fingerprint: u128,
        slot: usize,
        parent: Option<StateIndex>,
        via: ActionId,
    ) -> StateIndex {
        let index = self.visited.insert(fingerprint, slot);
        self.parents.push(parent.unwrap_or(ROOT));
        self.via.push(via);
        self.flags.push(0);
        let opens_level = match parent {
            None => self.levels.is_empty(),
            Some(parent) => self.levels.last().is_some_and(|first| parent >= *first),
        };
        if opens_level {
            self.levels.push(index);
        }
        index
    }

    pub(super) fn mark_goal(&mut self, state: StateIndex) {
        self.flags[state as usize] |= GOAL;
    }

    pub(super) fn mark_violating(&mut self, state: StateIndex) {
        self.flags[state as usize] |= VIOLATING;
    }

    /// The transitions added from now on are those of `state`, the next in order.
    pub(super) fn open(&mut self, state: StateIndex) {
        assert_eq!(self.offsets.len(), state as usize, "states are expanded in order");
        self.offsets.push(narrow(self.to.len()));
    }

    pub(super) fn add_edge(&mut self, edge: Edge) {
        self.to.push(edge.to);
        self.by.push(edge.by);
    }

    /// Gives the transition added next its key; either all transitions have one or none.
    pub(super) fn add_key(&mut self, key: Option<u32>) {
        self.keys.push(key.unwrap_or(NO_KEY));
    }

    pub(super) fn add_settle(&mut self, action: Option<ActionId>) {
        self.settle.push(action.unwrap_or(NONE));
    }

    /// Gives back what growth reserved and nothing needs any more.
    pub(super) fn shrink(&mut self) {
        self.visited.shrink();
        self.parents.shrink_to_fit();
        self.via.shrink_to_fit();
        self.flags.shrink_to_fit();
        self.settle.shrink_to_fit();
        self.offsets.shrink_to_fit();
        self.to.shrink_to_fit();
        self.by.shrink_to_fit();
        self.keys.shrink_to_fit();
    }
}

/// The graph with its transitions turned round.
#[derive(Clone, Debug)]
pub(super) struct Reversed {
    offsets: Vec<u32>,
    sources: Vec<StateIndex>,
}

impl Reversed {
    pub(super) fn sources(&self, to: StateIndex) -> &[StateIndex] {
        let at = to as usize;
        &self.sources[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }

    /// How many transitions each state is away from the nearest of `targets`.
    pub(super) fn distances(&self, targets: impl IntoIterator<Item = StateIndex>) -> Vec<u32> {
        let mut distances = vec![FAR; self.offsets.len() - 1];
        let mut queue: Vec<StateIndex> = Vec::new();
        for target in targets {
            if distances[target as usize] == FAR {
                distances[target as usize] = 0;
                queue.push(target);
            }
        }
        let mut head = 0;
        while let Some(to) = queue.get(head).copied() {
            head += 1;
            for from in self.sources(to) {
                if distances[*from as usize] == FAR {
                    distances[*from as usize] = distances[to as usize] + 1;
                    queue.push(*from);
                }
            }
        }
        distances
    }
}

/// 32 bits number everything that is kept.
pub(super) fn narrow(count: usize) -> u32 {
    u32::try_from(count).expect("the explorer numbers states and transitions with 32 bits")
}

/// The distance of a state from which no target can be reached.
pub(super) const FAR: u32 = u32::MAX;
/// The key of a transition that has none.
pub(super) const NO_KEY: u32 = u32::MAX;
const ROOT: u32 = u32::MAX;
const NONE: ActionId = ActionId::MAX;
const GOAL: u8 = 1;
const VIOLATING: u8 = 2;
