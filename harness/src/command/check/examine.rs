//! One slice after the other: explored, judged, and what was found told.

use super::super::output::spinner;
use super::super::story;
use super::on_two_threads;
use crate::replay::{self, Target, TargetReport};
use evenkeel_model::bounds::Slice;
use evenkeel_model::explore::{
    Exploration, LivenessError, LivenessErrorOf, Options, Path, explore,
};
use indicatif::MultiProgress;
use serde::Serialize;
use std::time::Instant;

/// What is true of one slice.
#[derive(Debug, Serialize)]
pub(in crate::command) struct Examined {
    pub(in crate::command) name: &'static str,
    pub(in crate::command) unique_states: usize,
    pub(in crate::command) transitions: usize,
    pub(in crate::command) depth: usize,
    /// Every reachable state was visited.
    pub(in crate::command) exhausted: bool,
    pub(in crate::command) violations: Vec<Violated>,
    /// The fair schedule leads every state to rest.
    pub(in crate::command) settles: bool,
    /// Every state can come to rest.
    pub(in crate::command) always_can_settle: bool,
    /// No fair run goes round for ever.
    pub(in crate::command) converges_fairly: bool,
    /// What must be reached and was not.
    pub(in crate::command) unreached: Vec<&'static str>,
    /// Everything, liveness included.
    pub(in crate::command) seconds: f64,
    /// Of the exploration alone.
    pub(in crate::command) transitions_per_second: f64,
    #[serde(skip)]
    stories: Vec<String>,
    /// What replaying the slice's traces found, where that was asked for.
    #[serde(skip)]
    pub(in crate::command) replayed: Vec<TargetReport>,
}

/// A broken rule and the shortest path that breaks it.
#[derive(Debug, Serialize)]
pub(in crate::command) struct Violated {
    rule: String,
    steps: usize,
    path: Vec<String>,
}

impl Examined {
    /// Whether nothing is wrong, and the slice shows what it is meant to show.
    pub(in crate::command) fn holds(&self) -> bool {
        let lives = self.settles && self.always_can_settle && self.converges_fairly;
        self.exhausted && self.violations.is_empty() && lives && self.unreached.is_empty()
    }

    /// What was found, a line each.
    pub(in crate::command) fn stories(&self) -> impl Iterator<Item = &str> {
        self.stories.iter().map(String::as_str)
    }
}

/// Examines these slices, two at a time, and replays their traces on these targets.
pub(in crate::command) fn examine(slices: &[Slice], targets: &[Target]) -> Vec<Examined> {
    let bars = MultiProgress::new();
    on_two_threads(slices, |slice| {
        let bar = bars.add(spinner(slice.name));
        let doing = |doing: &str| bar.set_message(format!("{} {doing}", slice.name));
        let examined = examine_one(slice, targets, doing);
        bar.finish_and_clear();
        examined
    })
}

#[expect(clippy::cast_precision_loss, reason = "a rate to print")]
fn examine_one(slice: &Slice, targets: &[Target], doing: impl Fn(&str)) -> Examined {
    let started = Instant::now();
    doing("explored");
    let keep_keys = !targets.is_empty();
    let exploration = explore(slice, Options { keep_keys, ..Options::default() });
    let explored = started.elapsed().as_secs_f64();
    let summary = exploration.summary().clone();
    let mut stories = Vec::new();
    let violations = violations(slice, &exploration, &mut stories);
    let mut asked = |question: &str, answer: Option<LivenessErrorOf<Slice>>| {
        doing(question);
        let holds = answer.is_none();
        stories.extend(answer.into_iter().flat_map(|error| diverging(slice, question, &error)));
        holds
    };
    let settles = asked("settles", exploration.settle(slice).err());
    let always_can_settle = asked("AG EF", exploration.always_convergeable(slice).err());
    let converges_fairly = asked("fair", exploration.converges_fairly(slice).err());
    let unreached: Vec<_> = exploration.unreached().collect();
    stories.extend(unreached.iter().map(|what| format!("{}: never reached: {what}", slice.name)));
    let seconds = started.elapsed().as_secs_f64();
    doing("replayed");
    let replayed = if keep_keys {
        replay::run_slice(slice, &exploration, targets, |_| {}).unwrap_or_else(|error| {
            stories.push(format!("{}: {error}", slice.name));
            Vec::new()
        })
    } else {
        Vec::new()
    };
    Examined {
        name: slice.name,
        unique_states: summary.states,
        transitions: summary.transitions,
        depth: summary.depth,
        exhausted: summary.exhausted(),
        violations,
        settles,
        always_can_settle,
        converges_fairly,
        unreached,
        seconds,
        transitions_per_second: summary.transitions as f64 / explored,
        stories,
        replayed,
    }
}

fn violations(
    slice: &Slice,
    exploration: &Exploration<Slice>,
    stories: &mut Vec<String>,
) -> Vec<Violated> {
    // The names alone say what is broken, should the renaming be wrong as well.
    let nowhere = || Path { actions: Vec::new(), states: Vec::new() };
    let paths = exploration.violations(slice).unwrap_or_else(|broken| {
        stories.push(format!("{}: {broken}", slice.name));
        exploration.violated().map(|rule| (rule.to_owned(), nowhere())).collect()
    });
    let mut violations = Vec::new();
    for (rule, path) in paths {
        let violation = path.states.last().and_then(|state| state.violation);
        let told = violation.map_or_else(
            || rule.clone(),
            |violation| format!("{violation}: {}", violation.rule.sentence()),
        );
        stories.push(format!("\n{} breaks {told}", slice.name));
        stories.extend(story::lines(slice, &path));
        let steps = path.actions.len();
        let path = path.actions.iter().map(ToString::to_string).collect();
        violations.push(Violated { rule, steps, path });
    }
    violations
}

/// A liveness question that is answered with no: the way into it, and who is stuck at what.
fn diverging(slice: &Slice, question: &str, error: &LivenessErrorOf<Slice>) -> Vec<String> {
    let mut lines = vec![format!("\n{}: {question}: {error}", slice.name)];
    if let LivenessError::Diverges(divergence) = error {
        let lasso = &divergence.lasso;
        for (step, line) in story::lines(slice, &lasso.path).into_iter().enumerate() {
            if step == lasso.stem {
                lines.push("      from here on:".to_owned());
            }
            if Some(step) == lasso.loop_from {
                lines.push("      for ever:".to_owned());
            }
            lines.push(line);
        }
        lines.extend(lasso.path.states.last().into_iter().flat_map(|end| story::stuck(slice, end)));
    }
    lines
}

#[cfg(test)]
mod tests;
