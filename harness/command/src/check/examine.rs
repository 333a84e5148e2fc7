//! One slice after the other: explored, judged, and what was found told.

use super::super::output::spinner;
use super::any::{AnySlice, Told};
use super::on_two_threads;
use evenkeel_harness::replay::{self, Target, TargetReport, requests};
use evenkeel_model::bounds::Slice;
use evenkeel_model::explore::{
    Exploration, LivenessError, LivenessErrorOf, Options, Path, explore,
};
use indicatif::MultiProgress;
use serde::Serialize;
use std::time::Instant;

/// What is true of one slice.
#[derive(Debug, Serialize)]
pub(crate) struct Examined {
    pub(crate) name: &'static str,
    pub(crate) unique_states: usize,
    pub(crate) transitions: usize,
    pub(crate) depth: usize,
    /// Every reachable state was visited.
    pub(crate) exhausted: bool,
    pub(crate) violations: Vec<Violated>,
    /// The fair schedule leads every state to rest.
    pub(crate) settles: bool,
    /// Every state can come to rest.
    pub(crate) always_can_settle: bool,
    /// No fair run goes round for ever.
    pub(crate) converges_fairly: bool,
    /// How much must be reached; with a lowered bound nothing.
    #[serde(skip)]
    pub(crate) asked: usize,
    /// What must be reached and was not.
    pub(crate) unreached: Vec<&'static str>,
    /// Everything, liveness included.
    pub(crate) seconds: f64,
    /// Of the exploration alone.
    pub(crate) transitions_per_second: f64,
    #[serde(skip)]
    stories: Vec<String>,
    /// What replaying the slice's traces found, where that was asked for.
    #[serde(skip)]
    pub(crate) replayed: Vec<TargetReport>,
}

/// A broken rule and the shortest path that breaks it.
#[derive(Debug, Serialize)]
pub(crate) struct Violated {
    rule: String,
    steps: usize,
    path: Vec<String>,
}

impl Examined {
    /// Whether nothing is wrong, and the slice shows what it is meant to show.
    pub(crate) fn holds(&self) -> bool {
        let lives = self.settles && self.always_can_settle && self.converges_fairly;
        self.exhausted && self.violations.is_empty() && lives && self.unreached.is_empty()
    }

    /// What was found, a line each.
    pub(crate) fn stories(&self) -> impl Iterator<Item = &str> {
        self.stories.iter().map(String::as_str)
    }
}

/// Examines these slices, two at a time, and replays the traces of theirs on these targets.
pub(crate) fn examine(slices: &[AnySlice], targets: &[Target]) -> Vec<Examined> {
    let bars = MultiProgress::new();
    on_two_threads(slices, |slice| {
        let bar = bars.add(spinner(slice.name()));
        let doing = |doing: &str| bar.set_message(format!("{} {doing}", slice.name()));
        let examined = match slice {
            AnySlice::Group(slice) if targets.is_empty() => examine_one(slice, doing, None),
            AnySlice::Group(slice) => examine_one(slice, doing, Some(&replayed(slice, targets))),
            AnySlice::Requests(slice) if targets.is_empty() => examine_one(slice, doing, None),
            AnySlice::Requests(slice) => {
                let replay = |exploration: &Exploration<_>| {
                    let replayed = requests::run_explored(slice, exploration, targets, |_| {});
                    replayed.map_err(|error| error.to_string())
                };
                examine_one(slice, doing, Some(&replay))
            }
            AnySlice::Positions(slice) => examine_one(slice, doing, None),
            AnySlice::Turn(slice) => examine_one(slice, doing, None),
        };
        bar.finish_and_clear();
        examined
    })
}

/// Replays what was explored.
type Replay<'a, S> = &'a dyn Fn(&Exploration<S>) -> Result<Vec<TargetReport>, String>;

fn replayed(
    slice: &Slice,
    targets: &[Target],
) -> impl Fn(&Exploration<Slice>) -> Result<Vec<TargetReport>, String> {
    move |exploration| {
        replay::run_slice(slice, exploration, targets, |_| {}).map_err(|error| error.to_string())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate to print")]
fn examine_one<S: Told>(
    slice: &S,
    doing: impl Fn(&str),
    replay: Option<Replay<'_, S>>,
) -> Examined {
    let started = Instant::now();
    doing("explored");
    let name = slice.name();
    let keep_keys = replay.is_some();
    let exploration = explore(slice, Options { keep_keys, ..Options::default() });
    let explored = started.elapsed().as_secs_f64();
    let summary = exploration.summary().clone();
    let mut stories = Vec::new();
    let violations = violations(slice, &exploration, &mut stories);
    let mut asked = |question: &str, answer: Option<LivenessErrorOf<S>>| {
        doing(question);
        let holds = answer.is_none();
        stories.extend(answer.into_iter().flat_map(|error| diverging(slice, question, &error)));
        holds
    };
    let settles = asked("settles", exploration.settle(slice).err());
    let always_can_settle = asked("AG EF", exploration.always_convergeable(slice).err());
    let converges_fairly = asked("fair", exploration.converges_fairly(slice).err());
    let unreached: Vec<_> = exploration.unreached().collect();
    stories.extend(unreached.iter().map(|what| format!("{name}: never reached: {what}")));
    let seconds = started.elapsed().as_secs_f64();
    doing("replayed");
    let replayed = replay.map_or_else(|| Ok(Vec::new()), |replay| replay(&exploration));
    let replayed = replayed.unwrap_or_else(|error| {
        stories.push(format!("{name}: {error}"));
        Vec::new()
    });
    Examined {
        name,
        unique_states: summary.states,
        transitions: summary.transitions,
        depth: summary.depth,
        exhausted: summary.exhausted(),
        violations,
        settles,
        always_can_settle,
        converges_fairly,
        asked: exploration.sometimes().len(),
        unreached,
        seconds,
        transitions_per_second: summary.transitions as f64 / explored,
        stories,
        replayed,
    }
}

fn violations<S: Told>(
    slice: &S,
    exploration: &Exploration<S>,
    stories: &mut Vec<String>,
) -> Vec<Violated> {
    // The names alone say what is broken, should the renaming be wrong as well.
    let nowhere = || Path { actions: Vec::new(), states: Vec::new() };
    let paths = exploration.violations(slice).unwrap_or_else(|broken| {
        stories.push(format!("{}: {broken}", slice.name()));
        exploration.violated().map(|rule| (rule.to_owned(), nowhere())).collect()
    });
    let mut violations = Vec::new();
    for (rule, path) in paths {
        let violation = path.states.last().and_then(|state| slice.told(state));
        let told = violation.map_or_else(
            || rule.clone(),
            |violation| format!("{violation}: {}", violation.rule.sentence()),
        );
        stories.push(format!("\n{} breaks {told}", slice.name()));
        stories.extend(slice.lines(&path));
        let steps = path.actions.len();
        let path = path.actions.iter().map(ToString::to_string).collect();
        violations.push(Violated { rule, steps, path });
    }
    violations
}

/// A liveness question that is answered with no: the way into it, and who is stuck at what.
fn diverging<S: Told>(slice: &S, question: &str, error: &LivenessErrorOf<S>) -> Vec<String> {
    let mut lines = vec![format!("\n{}: {question}: {error}", slice.name())];
    if let LivenessError::Diverges(divergence) = error {
        let lasso = &divergence.lasso;
        for (step, line) in slice.lines(&lasso.path).into_iter().enumerate() {
            if step == lasso.stem {
                lines.push("      from here on:".to_owned());
            }
            if Some(step) == lasso.loop_from {
                lines.push("      for ever:".to_owned());
            }
            lines.push(line);
        }
        lines.extend(lasso.path.states.last().into_iter().flat_map(|end| slice.stuck(end)));
    }
    lines
}

#[cfg(test)]
mod tests;
