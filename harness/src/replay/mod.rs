//! Replays the model's paths on what is shipped, and compares after every step.
//!
//! One trace for each abstract transition of a slice: its shortest path that a clock can produce
//! under one of the timing profiles (`evenkeel_model::profiles`). Each is driven through a target,
//! and what an onlooker sees there is compared with what he sees in the model. Decided here: what
//! is replayed and what counts as a divergence. Not here: what is right.

mod client;
pub mod core;
mod explain;
pub mod path;
mod report;
pub mod requests;
mod retrace;
pub mod schedule;
#[cfg(test)]
mod tests;
mod told;
pub mod view;

pub use report::{Found, Infeasible, Report, TargetReport};

use self::client::Client;
use self::core::{Sabotage, World};
use self::path::{Plan, Plans, plans};
use self::view::View;
use evenkeel_model::bounds::Slice;
use evenkeel_model::explore::{Exploration, Options, WitnessError, explore};
use evenkeel_model::system::Action;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// How many other paths of one abstract transition are judged when its shortest is not feasible.
/// Bounds how long the choice takes; a goal that none of them reaches is reported with their number.
pub const CANDIDATES_MAX: usize = 300;

/// What is replayed on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Target {
    /// The shipped shell and its machines, in virtual time, without bytes.
    Core,
    /// The shipped tokio client against the test broker, with bytes between them, in paused time.
    Client,
}

impl Target {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Client => "client",
        }
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// The slice's name.
    pub slice: &'static str,
    /// What is replayed on.
    pub target: Target,
    /// Traces replayed.
    pub done: usize,
    /// Traces in all.
    pub of: usize,
}

/// A trace and a target that do not agree.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// The step after which they differ, from 0.
    pub step: usize,
    /// What the model has.
    pub expected: View,
    /// What the target has; or what the step needs and the target lacks.
    pub actual: Result<View, String>,
    /// The frames of the step, in hexadecimal, where the target has bytes, and what else the
    /// application heard.
    pub frames: Vec<String>,
}

/// Why a trace was not replayed to its end.
#[derive(Clone, Debug)]
pub enum Failed {
    /// The target does something else.
    Diverged(Box<Divergence>),
    /// The target cannot take a step, for this reason.
    Infeasible(String),
}

/// Explores each slice, and replays its traces on each target.
///
/// # Errors
/// The model's renaming is wrong.
pub fn run(
    slices: &[Slice],
    targets: &[Target],
    mut progress: impl FnMut(Progress),
) -> Result<Report, WitnessError> {
    let mut report = Report::default();
    for slice in slices {
        let exploration = explore(slice, Options { keep_settle: false, ..Options::default() });
        report.targets.extend(run_slice(slice, &exploration, targets, &mut progress)?);
    }
    Ok(report)
}

/// Replays the traces of a slice that was explored with [`Options::keep_keys`] on each target.
///
/// # Errors
/// The exploration kept no keys, or the model's renaming is wrong.
pub fn run_slice(
    slice: &Slice,
    exploration: &Exploration<Slice>,
    targets: &[Target],
    mut progress: impl FnMut(Progress),
) -> Result<Vec<TargetReport>, WitnessError> {
    let plans = plans(slice, exploration, CANDIDATES_MAX)?;
    let run =
        |target: &Target| run_plans(slice, &plans, *target, Sabotage::default(), &mut progress);
    Ok(targets.iter().map(run).collect())
}

/// Replays traces on one target, in which something may be deliberately wrong.
pub fn run_plans(
    slice: &Slice,
    plans: &Plans,
    target: Target,
    sabotage: Sabotage,
    mut progress: impl FnMut(Progress),
) -> TargetReport {
    let started = Instant::now();
    let mut report = TargetReport::new(slice, target, plans);
    let of = plans.found.len();
    for (done, (goal, plan)) in plans.found.iter().enumerate() {
        let replayed = match target {
            Target::Core => replay_one(target, slice, plan, sabotage),
            Target::Client => told::told((slice.name, &goal.to_string()), (done, of), || {
                replay_one(target, slice, plan, sabotage)
            }),
        };
        match replayed {
            Ok(()) => {}
            Err(Failed::Infeasible(why)) => report.add_infeasible(goal, why),
            Err(Failed::Diverged(divergence)) => {
                report.diverged += 1;
                let shrunk = shrink(slice, plans, target, plan, &divergence, sabotage);
                let (plan, divergence) = shrunk.unwrap_or((plan, divergence));
                report.add(slice, goal, plan, &divergence);
            }
        }
        if done % PROGRESS_EVERY == 0 || done + 1 == of {
            progress(Progress { slice: slice.name, target, done: done + 1, of });
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    report
}

/// Traces between two pieces of news about a run: a hundredth of a second.
const PROGRESS_EVERY: usize = 100;

/// Replays one trace.
///
/// # Errors
/// The first difference, or why it cannot be taken there.
pub fn replay_one(
    target: Target,
    slice: &Slice,
    plan: &Plan,
    sabotage: Sabotage,
) -> Result<(), Failed> {
    match target {
        Target::Core => {
            let mut world = World::new(slice, plan, sabotage);
            let step_on = |action, step| world.step(action, plan, step).map_err(str::to_owned);
            compare(plan, step_on).map_err(Failed::Diverged)
        }
        Target::Client => on_client(slice, plan, sabotage),
    }
}

/// A trace that diverges is replayed once more, to keep its frames.
fn on_client(slice: &Slice, plan: &Plan, sabotage: Sabotage) -> Result<(), Failed> {
    let mut divergence = match on_client_once(slice, plan, sabotage, &mut None) {
        Err(Failed::Diverged(divergence)) => divergence,
        other => return other,
    };
    let mut frames = Some(Vec::new());
    divergence.frames = match on_client_once(slice, plan, sabotage, &mut frames) {
        Err(Failed::Diverged(again)) if again.step == divergence.step => frames.unwrap_or_default(),
        _ => vec!["it does not diverge so when it is replayed again".to_owned()],
    };
    Err(Failed::Diverged(divergence))
}

/// A panic is a divergence of its trace, not the end of the run.
fn on_client_once(
    slice: &Slice,
    plan: &Plan,
    sabotage: Sabotage,
    frames: &mut Option<Vec<String>>,
) -> Result<(), Failed> {
    let diverged = |step: usize, why: String| {
        let (expected, actual) = (plan.expected[step].clone(), Err(why));
        Failed::Diverged(Box::new(Divergence { step, expected, actual, frames: Vec::new() }))
    };
    let mut at = 0;
    let replayed = catch_unwind(AssertUnwindSafe(|| {
        let mut client =
            Client::new(slice, plan, sabotage, frames.is_some()).map_err(|why| diverged(0, why))?;
        let compared = compare(plan, |action, step| {
            at = step;
            client.step(action, plan, step).map_err(str::to_owned)
        });
        if let (Err(_), Some(frames)) = (&compared, frames) {
            *frames = client.tape();
        }
        compared.map_err(|divergence| {
            client.infeasible().map_or(Failed::Diverged(divergence), Failed::Infeasible)
        })
    }));
    replayed.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(diverged(at, format!("it panicked: {}", said.unwrap_or("without a message"))))
    })
}

/// Compares what a target shows after each step with what the model has.
fn compare(
    plan: &Plan,
    mut step_on: impl FnMut(Action, usize) -> Result<View, String>,
) -> Result<(), Box<Divergence>> {
    for (step, action) in plan.actions.iter().enumerate() {
        let actual = step_on(*action, step);
        let expected = &plan.expected[step];
        if !actual.as_ref().is_ok_and(|actual| actual.is(expected)) {
            let expected = expected.clone();
            return Err(Box::new(Divergence { step, expected, actual, frames: Vec::new() }));
        }
    }
    Ok(())
}

/// The shortest trace that ends with the abstract transition in which this one diverges, if it
/// diverges there too.
fn shrink<'a>(
    slice: &Slice,
    plans: &'a Plans,
    target: Target,
    plan: &Plan,
    divergence: &Divergence,
    sabotage: Sabotage,
) -> Option<(&'a Plan, Box<Divergence>)> {
    let shortest = plans.found.get(&plan.keys[divergence.step])?;
    if shortest.actions.len() > divergence.step {
        return None;
    }
    match replay_one(target, slice, shortest, sabotage) {
        Err(Failed::Diverged(shrunk)) => Some((shortest, shrunk)),
        Ok(()) | Err(Failed::Infeasible(_)) => None,
    }
}
