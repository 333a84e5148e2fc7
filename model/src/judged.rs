//! What all small worlds have in common for whoever checks and tells of them.

use crate::explore::{PathOf, System};
use evenkeel_spec::rules::{Rule, Violation};
use stateright::Model;

/// A small world with a name, judged by the rules of spec.
pub trait Judged: System {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// The rule that was broken on the way into this state.
    fn broken(&self, state: &<Self as Model>::State) -> Option<Rule>;

    /// The same, with who broke it and where.
    fn told(&self, state: &<Self as Model>::State) -> Option<Violation> {
        self.broken(state).map(Violation::of)
    }

    /// What an onlooker sees, as one line.
    fn onlooker(&self, state: &<Self as Model>::State) -> String;

    /// A path as a story: one action a line, and what an onlooker then sees.
    fn story(&self, path: &PathOf<Self>) -> Vec<String>
    where
        <Self as Model>::Action: std::fmt::Display,
    {
        let names: Vec<String> = path.actions.iter().map(ToString::to_string).collect();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        let steps = names.iter().zip(path.states.iter().skip(1)).enumerate();
        steps
            .map(|(at, (name, after))| {
                let line = format!("{:>4}  {name:<width$}  {}", at + 1, self.onlooker(after));
                line.trim_end().to_owned()
            })
            .collect()
    }
}
