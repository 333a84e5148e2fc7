//! A small world: members, applications, connections, a coordinator, and what may happen to them.

mod action;
mod brain;
mod canonical;
mod delivery;
mod key;
mod node;
mod settle;
mod shared;
mod step;

pub use action::{Action, Place, Refusal};
pub use brain::{Brain, describe_grants};
pub use key::{Key, Local};
pub use node::{App, Asked, Call, Node, Reply};
pub use shared::Shared;

use crate::bounds::{Budget, Slice};
use crate::explore::{Condition, System};
use crate::judged::Judged;
use crate::report;
use evenkeel_spec::rules::{Rule, Violation, World};
use stateright::{Model, Property};

/// One moment of the small world.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    /// The consumers, each with its application and its connections.
    pub nodes: Vec<Shared<Node>>,
    /// The coordinator.
    pub brain: Shared<Brain>,
    /// What an onlooker sees.
    pub world: Shared<World>,
    /// What the adversary and the applications may still do.
    pub left: Budget,
    /// The rule that was broken on the way here.
    pub violation: Option<Violation>,
}

impl Model for Slice {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.offer(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.step(state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("the rules hold", |_, state: &State| state.violation.is_none())]
    }
}

impl System for Slice {
    type Key = Key;

    fn canonical(&self, state: &State) -> State {
        canonical::canonical(state.clone())
    }

    fn canonical_owned(&self, state: State) -> State {
        canonical::canonical(state)
    }

    fn goal(&self, state: &State) -> bool {
        settle::is_settled(self, state)
    }

    fn settle_action(&self, state: &State) -> Option<Action> {
        settle::next(self, state)
    }

    fn key(&self, before: &State, action: &Action, after: &State) -> Option<Key> {
        Some(Key::of(before, action, after))
    }

    fn violation(&self, state: &State) -> Option<String> {
        state.violation.map(|violation| format!("{:?}", violation.rule))
    }

    fn progress(&self, action: &Action) -> bool {
        settle::is_fair(action)
    }

    fn sometimes(&self) -> Vec<(&'static str, Condition<Self>)> {
        self.must_reach()
    }
}

impl Judged for Slice {
    fn name(&self) -> &'static str {
        self.name
    }

    fn broken(&self, state: &State) -> Option<Rule> {
        state.violation.map(|violation| violation.rule)
    }

    fn told(&self, state: &State) -> Option<Violation> {
        state.violation
    }

    fn onlooker(&self, state: &State) -> String {
        report::onlooker(state)
    }
}
