//! Does another checker agree: stateright's own breadth-first search of the same system.
//!
//! It hashes with another function, stores nothing of ours and finds the same states by its own
//! loop. Its paths are not compared: they are not the shortest (reference: stateright 0.31, with two
//! properties a later discovery overwrites an earlier one).

use std::time::{Duration, Instant};

use stateright::{Checker, Model, Property};

use super::{Options, Summary, System, explore};

/// What one checker did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// Unique states.
    pub states: usize,
    /// Transitions taken.
    pub transitions: usize,
    /// Whether a rule was violated.
    pub violated: bool,
    /// Wall time.
    pub elapsed: Duration,
}

impl Rate {
    /// Transitions a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate to print")]
    pub fn per_second(&self) -> f64 {
        self.transitions as f64 / self.elapsed.as_secs_f64()
    }
}

/// Both checkers side by side.
#[derive(Clone, Debug)]
pub struct CrossCheck {
    /// The figures of our explorer.
    pub summary: Summary,
    /// Our explorer.
    pub ours: Rate,
    /// Stateright's BFS with one thread.
    pub stateright: Rate,
}

impl CrossCheck {
    /// Whether both visited everything, counted the same states and transitions, and agree on
    /// whether a rule is violated.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.summary.exhausted()
            && self.ours.states == self.stateright.states
            && self.ours.transitions == self.stateright.transitions
            && self.ours.violated == self.stateright.violated
    }

    /// Our transitions a second divided by stateright's.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.ours.per_second() / self.stateright.per_second()
    }
}

/// Explores the system with both checkers, one after the other, renaming on.
/// Stateright gets no bound: call it for systems that are known to be finite.
pub fn cross_check<S>(system: S, options: Options) -> CrossCheck
where
    S: System<State: Send + Sync> + Send + Sync + 'static,
{
    let started = Instant::now();
    let exploration = explore(&system, options);
    let elapsed = started.elapsed();
    let summary = exploration.summary().clone();
    drop(exploration);
    let ours = Rate {
        states: summary.states,
        transitions: summary.transitions,
        violated: summary.violating > 0,
        elapsed,
    };
    let initial = system.init_states().len();
    let started = Instant::now();
    let checker = Renamed(system).checker().threads(1).spawn_bfs().join();
    let elapsed = started.elapsed();
    let stateright = Rate {
        states: checker.unique_state_count(),
        transitions: checker.state_count() - initial,
        violated: checker.discovery(NO_VIOLATION).is_some(),
        elapsed,
    };
    CrossCheck { summary, ours, stateright }
}

/// The system as stateright sees it: renamed in each step, terminal at a violation.
struct Renamed<S>(S);

impl<S: System> Model for Renamed<S> {
    type State = S::State;
    type Action = S::Action;

    fn init_states(&self) -> Vec<S::State> {
        self.0.init_states().iter().map(|state| self.0.canonical(state)).collect()
    }

    fn actions(&self, state: &S::State, actions: &mut Vec<S::Action>) {
        if self.0.violation(state).is_none() {
            self.0.actions(state, actions);
        }
    }

    fn next_state(&self, state: &S::State, action: S::Action) -> Option<S::State> {
        self.0.next_state(state, action).map(|after| self.0.canonical(&after))
    }

    fn within_boundary(&self, state: &S::State) -> bool {
        self.0.within_boundary(state)
    }

    /// The second property is never discovered: without it stateright stops when all are.
    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_VIOLATION, |model: &Self, state| {
                model.0.violation(state).is_none()
            }),
            Property::sometimes("explore everything", |_, _| false),
        ]
    }
}

const NO_VIOLATION: &str = "no violation";
