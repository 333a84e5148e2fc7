//! Replays the model's paths on what is shipped, and compares after every step.
//!
//! One trace for each abstract transition of a slice: its shortest path that a clock can produce
//! under one of the timing profiles (`evenkeel_model::profiles`). Each is driven through a target,
//! and what an onlooker sees there is compared with what he sees in the model. Decided here: what
//! is replayed and what counts as a divergence. Not here: what is right.

pub mod core;
pub mod path;
mod report;
mod retrace;
pub mod schedule;
#[cfg(test)]
mod tests;
pub mod view;

pub use report::{Found, Infeasible, Report, TargetReport};

use self::core::{Sabotage, World};
use self::path::{Plan, Plans, plans};
use self::view::View;
use evenkeel_model::bounds::Slice;
use evenkeel_model::explore::{Exploration, Options, WitnessError, explore};
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
}

impl Target {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
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
    pub actual: Result<View, &'static str>,
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
        if let Err(divergence) = on_core(slice, plan, sabotage) {
            report.diverged += 1;
            let shrunk = shrink(slice, plans, plan, &divergence, sabotage);
            match shrunk {
                Some((plan, divergence)) => report.add(goal, plan, &divergence),
                None => report.add(goal, plan, &divergence),
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

/// Replays one trace on the core.
///
/// # Errors
/// The first difference.
pub fn on_core(slice: &Slice, plan: &Plan, sabotage: Sabotage) -> Result<(), Box<Divergence>> {
    let mut world = World::new(slice, plan, sabotage);
    for (step, action) in plan.actions.iter().enumerate() {
        let actual = world.step(*action, plan, step);
        let expected = &plan.expected[step];
        if actual.as_ref() != Ok(expected) {
            return Err(Box::new(Divergence { step, expected: expected.clone(), actual }));
        }
    }
    Ok(())
}

/// The shortest trace that ends with the abstract transition in which this one diverges, if it
/// diverges there too.
fn shrink<'a>(
    slice: &Slice,
    plans: &'a Plans,
    plan: &Plan,
    divergence: &Divergence,
    sabotage: Sabotage,
) -> Option<(&'a Plan, Box<Divergence>)> {
    let shortest = plans.found.get(&plan.keys[divergence.step])?;
    if shortest.actions.len() > divergence.step {
        return None;
    }
    let shrunk = on_core(slice, shortest, sabotage).err()?;
    Some((shortest, shrunk))
}
