//! Does the group converge: three questions to the kept graph.
//!
//! * [`Exploration::settle`]: does the one fair, fault-free schedule converge from every state?
//! * [`Exploration::always_convergeable`]: can every state converge at all (AG EF goal)?
//! * [`Exploration::converges_fairly`]: is every run outside the goal in which no fair action waits
//!   for ever finite? Weak fairness, decided exactly on the strongly connected components.
//!
//! None is answered on a graph that is not exhausted. A state that violates a rule ends its run
//! here: it is reported as a violation, not as a divergence.

use std::collections::HashMap;
use std::fmt;

use super::fingerprint::Build;
use super::graph::{ActionId, Edge, FAR, Graph, StateIndex};
use super::path::{Lasso, RenamingBroken, execute_to};
use super::{Ending, Exploration, System};

/// What [`Exploration::settle`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settled {
    /// The states that settle: all of them.
    pub states: usize,
    /// The longest way to the goal by the settle schedule, in actions.
    pub steps_max: usize,
}

/// A run that never converges.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Divergence<S, A> {
    /// What is wrong with it.
    pub why: Why,
    /// The first such state in breadth-first order.
    pub state: StateIndex,
    /// How many states have the same fault; for a fair loop those of its component.
    pub states: usize,
    /// The shortest path to the state, and what follows.
    pub lasso: Lasso<S, A>,
}

/// Why a run does not converge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// The settle schedule has no action, or one that is not offered, and the goal does not hold.
    Stuck,
    /// The settle schedule goes round for ever.
    SettleLoop,
    /// No sequence of actions leads to the goal any more.
    GoalUnreachable,
    /// A loop outside the goal in which no fair action waits for ever.
    FairLoop,
}

/// Why liveness is not established.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LivenessError<S, A> {
    /// The exploration ended early: nothing can be said.
    NotExhausted(Ending),
    /// The settle actions were not kept ([`super::Options::keep_settle`]).
    SettleNotKept,
    /// The divergence could not be executed.
    Renaming(RenamingBroken),
    /// There is a run that never converges.
    Diverges(Box<Divergence<S, A>>),
}

impl<S, A> fmt::Display for LivenessError<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotExhausted(ending) => write!(f, "not exhausted: {ending:?}"),
            Self::SettleNotKept => f.write_str("the settle actions were not kept"),
            Self::Renaming(broken) => broken.fmt(f),
            Self::Diverges(divergence) => write!(
                f,
                "{:?} in {} states, first after {} actions",
                divergence.why, divergence.states, divergence.lasso.stem
            ),
        }
    }
}

impl<S: fmt::Debug, A: fmt::Debug> std::error::Error for LivenessError<S, A> {}

/// The divergence of a system.
pub type DivergenceOf<S> =
    Divergence<<S as stateright::Model>::State, <S as stateright::Model>::Action>;

/// The liveness error of a system.
pub type LivenessErrorOf<S> =
    LivenessError<<S as stateright::Model>::State, <S as stateright::Model>::Action>;

impl<S: System> Exploration<S> {
    /// Whether following [`System::settle_action`] reaches the goal from every state.
    ///
    /// # Errors
    /// The first state from which it does not, with where the schedule ends or goes round.
    pub fn settle(&self, system: &S) -> Result<Settled, LivenessErrorOf<S>> {
        self.demand_exhausted()?;
        if !self.options.keep_settle {
            return Err(LivenessError::SettleNotKept);
        }
        let steps = settle_steps(&self.graph);
        let Some(state) = self.graph.indices().find(|at| steps[*at as usize] == FAR) else {
            let steps_max = steps.iter().max().map_or(0, |most| *most as usize);
            return Ok(Settled { states: steps.len(), steps_max });
        };
        let states = steps.iter().filter(|steps| **steps == FAR).count();
        let (edges, loop_from) = settle_walk(&self.graph, state);
        let why = if loop_from.is_some() { Why::SettleLoop } else { Why::Stuck };
        Err(self.diverges(system, why, state, states, &edges, loop_from))
    }

    /// Whether the goal can be reached from every state (AG EF goal). Gives the longest of the
    /// shortest ways to it, in actions.
    ///
    /// # Errors
    /// The first state from which it cannot.
    pub fn always_convergeable(&self, system: &S) -> Result<usize, LivenessErrorOf<S>> {
        self.demand_exhausted()?;
        let graph = &self.graph;
        let ends = graph.indices().filter(|at| ends_here(graph, *at));
        let distances = graph.reversed().distances(ends);
        let Some(state) = graph.indices().find(|at| distances[*at as usize] == FAR) else {
            return Ok(distances.iter().max().map_or(0, |most| *most as usize));
        };
        let states = distances.iter().filter(|distance| **distance == FAR).count();
        Err(self.diverges(system, Why::GoalUnreachable, state, states, &[], None))
    }

    /// Whether every loop outside the goal leaves some fair action waiting for ever: enabled in
    /// all its states and never taken. Gives the number of looping components that are excused so.
    /// A run that ends outside the goal is not looked for here but by the other two questions.
    ///
    /// # Errors
    /// The first component that has no excuse, with a loop in it that is itself fair.
    pub fn converges_fairly(&self, system: &S) -> Result<usize, LivenessErrorOf<S>> {
        self.demand_exhausted()?;
        let graph = &self.graph;
        let fair: Vec<bool> = graph.actions().iter().map(|by| system.progress(by)).collect();
        let components = looping_components(graph);
        let mut inside = vec![0_u32; graph.states()];
        for (number, component) in (1_u32..).zip(&components) {
            for at in component {
                inside[*at as usize] = number;
            }
        }
        let unexcused =
            components.iter().filter(|component| !excused(graph, component, &inside, &fair));
        let Some(component) = unexcused.min_by_key(|component| component.iter().min()) else {
            return Ok(components.len());
        };
        let state = *component.iter().min().expect("a component has states");
        let edges = fair_loop(graph, state, &inside, &fair);
        Err(self.diverges(system, Why::FairLoop, state, component.len(), &edges, Some(0)))
    }

    fn demand_exhausted(&self) -> Result<(), LivenessErrorOf<S>> {
        match self.summary.ending {
            Ending::Exhausted => Ok(()),
            ending => Err(LivenessError::NotExhausted(ending)),
        }
    }

    /// The error that tells of `state`, followed by `edges`; `loop_from` counts among these.
    fn diverges(
        &self,
        system: &S,
        why: Why,
        state: StateIndex,
        states: usize,
        edges: &[Edge],
        loop_from: Option<usize>,
    ) -> LivenessErrorOf<S> {
        let stem = self.graph.depth_of(state);
        match execute_to(system, &self.graph, state, edges) {
            Err(broken) => LivenessError::Renaming(broken),
            Ok(path) => {
                let loop_from = loop_from.map(|at| stem + at);
                let lasso = Lasso { path, stem, loop_from };
                LivenessError::Diverges(Box::new(Divergence { why, state, states, lasso }))
            }
        }
    }
}

/// Nothing is asked of what comes after this state.
fn ends_here<A>(graph: &Graph<A>, state: StateIndex) -> bool {
    graph.goal(state) || graph.violating(state)
}

fn settle_edge<A>(graph: &Graph<A>, state: StateIndex) -> Option<Edge> {
    let action = graph.settle_action(state)?;
    graph.edges(state).find(|edge| edge.by == action)
}

/// For each state the length of the settle schedule to the goal, or [`FAR`]. Linear: each state is
/// walked through once.
fn settle_steps<A>(graph: &Graph<A>) -> Vec<u32> {
    let mut steps = vec![UNKNOWN; graph.states()];
    let mut walk = Vec::new();
    for start in graph.indices() {
        let mut at = start;
        let mut end = loop {
            match steps[at as usize] {
                UNKNOWN => {}
                ON_WALK => break FAR,
                known => break known,
            }
            if ends_here(graph, at) {
                steps[at as usize] = 0;
                break 0;
            }
            steps[at as usize] = ON_WALK;
            walk.push(at);
            match settle_edge(graph, at) {
                Some(edge) => at = edge.to,
                None => break FAR,
            }
        };
        for at in walk.drain(..).rev() {
            end = if end == FAR { FAR } else { end + 1 };
            steps[at as usize] = end;
        }
    }
    steps
}

/// The settle schedule from a state until it is stuck or comes back, and where the loop begins.
fn settle_walk<A>(graph: &Graph<A>, state: StateIndex) -> (Vec<Edge>, Option<usize>) {
    let mut edges: Vec<Edge> = Vec::new();
    let mut passed: HashMap<StateIndex, usize, Build> = HashMap::default();
    let mut at = state;
    loop {
        if let Some(first) = passed.insert(at, edges.len()) {
            return (edges, Some(first));
        }
        let Some(edge) = settle_edge(graph, at) else { return (edges, None) };
        edges.push(edge);
        at = edge.to;
    }
}

/// The strongly connected components outside the goal in which a run can stay for ever. Tarjan's
/// algorithm with its own stack.
fn looping_components<A>(graph: &Graph<A>) -> Vec<Vec<StateIndex>> {
    let mut order = vec![UNSEEN; graph.states()];
    let mut low = vec![UNSEEN; graph.states()];
    let mut count = UNSEEN;
    let mut open: Vec<StateIndex> = Vec::new();
    let mut calls: Vec<(StateIndex, usize)> = Vec::new();
    let mut components = Vec::new();
    for root in graph.indices() {
        let mut enter =
            Some(root).filter(|at| order[*at as usize] == UNSEEN && !ends_here(graph, *at));
        loop {
            if let Some(at) = enter.take() {
                count += 1;
                order[at as usize] = count;
                low[at as usize] = count;
                open.push(at);
                calls.push((at, graph.edge_range(at).start));
            }
            let Some((at, next)) = calls.last_mut() else { break };
            let at = *at;
            if *next < graph.edge_range(at).end {
                let to = graph.edge(*next).to;
                *next += 1;
                match order[to as usize] {
                    UNSEEN if ends_here(graph, to) => {}
                    UNSEEN => enter = Some(to),
                    CLOSED => {}
                    seen => low[at as usize] = low[at as usize].min(seen),
                }
                continue;
            }
            calls.pop();
            if let Some((caller, _)) = calls.last() {
                low[*caller as usize] = low[*caller as usize].min(low[at as usize]);
            }
            if low[at as usize] == order[at as usize] {
                let first = open.iter().rposition(|member| *member == at).expect("it is open");
                let component = open.split_off(first);
                for member in &component {
                    order[*member as usize] = CLOSED;
                }
                if component.len() > 1 || graph.edges(at).any(|edge| edge.to == at) {
                    components.push(component);
                }
            }
        }
    }
    components
}

/// Whether some fair action is enabled in all states of a component and never taken inside.
fn excused<A>(graph: &Graph<A>, component: &[StateIndex], inside: &[u32], fair: &[bool]) -> bool {
    let number = inside[component[0] as usize];
    let mut waiting: Vec<ActionId> =
        graph.edges(component[0]).map(|edge| edge.by).filter(|by| fair[*by as usize]).collect();
    for at in component {
        if waiting.is_empty() {
            break;
        }
        let leaves = |by: ActionId| {
            let mut taken = graph.edges(*at).filter(|edge| edge.by == by).peekable();
            taken.peek().is_some() && taken.all(|edge| inside[edge.to as usize] != number)
        };
        waiting.retain(|by| leaves(*by));
    }
    !waiting.is_empty()
}

/// A loop through `start` inside its component that takes each fair action or passes a state that
/// does not offer it.
fn fair_loop<A>(graph: &Graph<A>, start: StateIndex, inside: &[u32], fair: &[bool]) -> Vec<Edge> {
    let offers = |at: StateIndex, by: ActionId| graph.edges(at).any(|edge| edge.by == by);
    let mut edges: Vec<Edge> = Vec::new();
    let mut at = start;
    for by in (0..ActionId::MAX).zip(fair).filter(|(_, fair)| **fair).map(|(by, _)| by) {
        let satisfies = |edge: &Edge| edge.by == by || !offers(edge.to, by);
        if offers(start, by) && !edges.iter().any(satisfies) {
            edges.extend(nearest(graph, at, inside, satisfies));
            at = edges.last().map_or(start, |edge| edge.to);
        }
    }
    if at != start || edges.is_empty() {
        edges.extend(nearest(graph, at, inside, |edge| edge.to == start));
    }
    edges
}

/// The shortest way inside the component of `from`, of one transition at least, whose last
/// transition is a hit.
fn nearest<A>(
    graph: &Graph<A>,
    from: StateIndex,
    inside: &[u32],
    hit: impl Fn(&Edge) -> bool,
) -> Vec<Edge> {
    let number = inside[from as usize];
    let mut reached: Vec<(usize, Option<Edge>)> = vec![(0, None)];
    let mut seen: HashMap<StateIndex, (), Build> = HashMap::default();
    let mut head = 0;
    while let Some((_, entered)) = reached.get(head).copied() {
        let at = entered.map_or(from, |edge| edge.to);
        for edge in graph.edges(at).filter(|edge| inside[edge.to as usize] == number) {
            if hit(&edge) {
                let mut edges = vec![edge];
                let mut back = head;
                while let (before, Some(edge)) = reached[back] {
                    edges.push(edge);
                    back = before;
                }
                edges.reverse();
                return edges;
            }
            if seen.insert(edge.to, ()).is_none() {
                reached.push((head, Some(edge)));
            }
        }
        head += 1;
    }
    unreachable!("an unexcused component has a way to everything that fairness asks for")
}

const UNSEEN: u32 = 0;
const CLOSED: u32 = u32::MAX;
const UNKNOWN: u32 = u32::MAX - 1;
const ON_WALK: u32 = u32::MAX - 2;
