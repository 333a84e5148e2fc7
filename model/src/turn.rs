//! The smallest world: the shipped [`Turn`], and an adversary that says what is ready at each turn.
//! spec/10-requests.md, Q12 and Q13.

use crate::explore::{Condition, System};
use crate::judged::Judged;
use evenkeel_core::request::Mutant;
use evenkeel_core::turn::{Branch, Ready, Shares, Turn};
use evenkeel_spec::rules::Rule;
use stateright::{Model, Property};
use std::fmt;

/// A loop of which anything may be ready at any turn.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Its name on the command line.
    pub name: &'static str,
    /// How many turns in a row each has.
    pub shares: Shares,
    /// The fault seeded into the machine.
    pub mutant: Option<Mutant>,
}

/// The slice `turn`: shares of two and three, so that they differ and each has a turn in its middle.
#[must_use]
pub fn turn() -> Slice {
    Slice { name: "turn", shares: Shares { sockets_max: 2, commands_max: 3 }, mutant: None }
}

/// One moment of the loop.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    turn: Turn,
    /// For how many turns timers, sockets and commands have been ready and were not served.
    waited: [u8; 3],
    violation: Option<Rule>,
}

/// One turn, with what is ready at its start.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Action {
    timer: bool,
    sockets: bool,
    commands: bool,
}

impl Action {
    fn all() -> impl Iterator<Item = Self> {
        (0..8).map(|bits| Self::of([bits & 1 != 0, bits & 2 != 0, bits & 4 != 0]))
    }

    fn of([timer, sockets, commands]: [bool; 3]) -> Self {
        Self { timer, sockets, commands }
    }

    fn is_ready(self) -> [bool; 3] {
        [self.timer, self.sockets, self.commands]
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = BRANCHES.into_iter().zip(self.is_ready());
        let ready: Vec<_> = names.filter(|(_, ready)| *ready).map(|(name, _)| name).collect();
        f.write_str(if ready.is_empty() { "nothing" } else { "" })?;
        f.write_str(&ready.join("+"))
    }
}

/// What may be ready.
const BRANCHES: [&str; 3] = ["timer", "sockets", "commands"];

/// The place of a branch among [`BRANCHES`].
fn place(branch: Branch) -> Option<usize> {
    match branch {
        Branch::Timer => Some(0),
        Branch::Socket => Some(1),
        Branch::Command => Some(2),
        Branch::Wait => None,
    }
}

impl Slice {
    fn step(&self, before: &State, action: Action) -> (State, Branch) {
        let mut state = before.clone();
        let Action { timer, sockets, commands } = action;
        let branch = state.turn.next(Ready { timer, sockets, commands });
        let served = place(branch);
        let ready = action.is_ready();
        for (at, waited) in state.waited.iter_mut().enumerate() {
            let waits = ready[at] && served != Some(at);
            *waited = if waits { waited.saturating_add(1) } else { 0 };
        }
        let idles = ready.contains(&true) && served.is_none();
        if idles || served.is_some_and(|at| !ready[at]) {
            state.violation = Some(Rule::Spun);
        } else if state.waited.iter().any(|waited| usize::from(*waited) > self.shares.wait_max()) {
            state.violation = Some(Rule::Starved);
        }
        (state, branch)
    }
}

impl Model for Slice {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let turn = Turn::new(self.shares, self.mutant);
        vec![State { turn, waited: [0; 3], violation: None }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend(Action::all());
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.step(state, action).0)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("the rules hold", |_, state: &State| state.violation.is_none())]
    }
}

impl System for Slice {
    type Key = String;

    /// Nothing waits.
    fn goal(&self, state: &State) -> bool {
        state.waited == [0; 3]
    }

    /// What waits goes on waiting, and nothing comes.
    fn settle_action(&self, state: &State) -> Option<Action> {
        (!self.goal(state)).then(|| Action::of(state.waited.map(|waited| waited > 0)))
    }

    /// What was ready, what waited already, and whose turn it was.
    fn key(&self, before: &State, action: &Action, _: &State) -> Option<String> {
        let (_, branch) = self.step(before, *action);
        let waited = BRANCHES.into_iter().zip(before.waited).filter(|(_, waited)| *waited > 0);
        let waited: Vec<_> = waited.map(|(name, _)| name).collect();
        let waited = if waited.is_empty() { "-".to_owned() } else { waited.join("+") };
        Some(format!("{action} | waited {waited} => {branch:?}"))
    }

    fn violation(&self, state: &State) -> Option<String> {
        state.violation.map(|rule| format!("{rule:?}"))
    }

    /// Now and then nothing is ready.
    fn progress(&self, action: &Action) -> bool {
        *action == Action::of([false; 3])
    }

    fn sometimes(&self) -> Vec<(&'static str, Condition<Self>)> {
        vec![
            ("timers wait for one turn", |_, s| s.waited[0] == 1),
            ("something waits for as long as it may", |slice, s| {
                s.waited.iter().any(|waited| usize::from(*waited) == slice.shares.wait_max())
            }),
            ("sockets wait for both a timer and the commands", |slice, s| {
                s.waited[1] > slice.shares.commands_max
            }),
            ("commands wait for both a timer and the sockets", |slice, s| {
                s.waited[2] > slice.shares.sockets_max
            }),
            ("all wait", |_, s| s.waited.iter().filter(|waited| **waited > 0).count() >= 2),
        ]
    }
}

impl Judged for Slice {
    fn name(&self) -> &'static str {
        self.name
    }

    fn broken(&self, state: &State) -> Option<Rule> {
        state.violation
    }

    fn onlooker(&self, state: &State) -> String {
        let waits = BRANCHES.into_iter().zip(state.waited).filter(|(_, waited)| *waited > 0);
        let waits: Vec<_> = waits.map(|(name, turns)| format!("{name} {turns}")).collect();
        if waits.is_empty() { String::new() } else { format!("waiting {}", waits.join(", ")) }
    }
}
