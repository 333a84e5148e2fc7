//! Which moments of the model would explain what a target shows instead: tells a target that is a
//! step ahead, or behind, from one that does what nothing permits.

use super::Divergence;
use super::path::Plan;
use super::retrace::orders;
use super::view::{View, expected};
use evenkeel_model::bounds::Slice;
use evenkeel_model::system::{Action, State};
use stateright::Model;

/// How many actions of the model are tried from the moment before the divergence.
const ACTIONS_MAX: usize = 2;

/// The shortest ways of the model, from the moment before the divergent step, to what the target
/// shows; in words, at most [`WAYS_MAX`].
pub(super) fn explain(slice: &Slice, plan: &Plan, divergence: &Divergence) -> Vec<String> {
    let Ok(shown) = &divergence.actual else { return Vec::new() };
    let before = at(slice, plan, divergence.step);
    let mut front = vec![Way { actions: Vec::new(), states: vec![before] }];
    for _ in 0..=ACTIONS_MAX {
        let ways = front.iter().filter(|way| way.shows(slice, shown));
        let ways: Vec<String> = ways.take(WAYS_MAX).map(Way::told).collect();
        if !ways.is_empty() {
            return ways;
        }
        front = front.iter().flat_map(|way| way.longer(slice)).collect();
    }
    vec![format!("no moment of the model within {ACTIONS_MAX} actions explains what is seen")]
}

/// Explanations that are told.
const WAYS_MAX: usize = 3;

/// The state before a step of a plan.
fn at(slice: &Slice, plan: &Plan, step: usize) -> State {
    let mut state = slice.initial();
    for action in &plan.actions[..step] {
        state = slice.next_state(&state, *action).expect("the plan is a path of the model");
    }
    state
}

/// Actions from the moment before the divergence, and the states along them.
struct Way {
    actions: Vec<Action>,
    states: Vec<State>,
}

impl Way {
    fn last(&self) -> &State {
        self.states.last().expect("it begins somewhere")
    }

    fn longer(&self, slice: &Slice) -> Vec<Self> {
        let mut offered = Vec::new();
        if self.last().violation.is_none() {
            slice.actions(self.last(), &mut offered);
        }
        let step = |action: Action| {
            let after = slice.next_state(self.last(), action)?;
            let actions = self.actions.iter().copied().chain([action]).collect();
            let states = self.states.iter().cloned().chain([after]).collect();
            Some(Self { actions, states })
        };
        offered.into_iter().filter_map(step).collect()
    }

    /// Whether a target that went this way in one step would show this.
    fn shows(&self, slice: &Slice, shown: &View) -> bool {
        shown.is(&self.view(slice).unwrap_or_else(|| View::of(slice, self.last())))
    }

    /// What is seen at its end, with the news of all its actions; `None` before the first.
    fn view(&self, slice: &Slice) -> Option<View> {
        let steps = self.actions.iter().enumerate();
        let orders: Vec<_> = steps
            .map(|(i, action)| orders(slice, &self.states[i], *action, &self.states[i + 1]))
            .collect();
        let mut views = expected(slice, &self.actions, &self.states, &orders).into_iter();
        let mut view = views.next()?;
        for later in views {
            let heard: Vec<_> = view.consumers.iter().map(|c| c.news.clone()).collect();
            view = later;
            for (consumer, heard) in view.consumers.iter_mut().zip(heard) {
                consumer.news.splice(0..0, heard);
            }
        }
        Some(view)
    }

    fn told(&self) -> String {
        if self.actions.is_empty() {
            return "the model shows this before the step: nothing has happened yet".to_owned();
        }
        let actions: Vec<_> = self.actions.iter().map(ToString::to_string).collect();
        format!("the model shows this after: {}", actions.join(", "))
    }
}
