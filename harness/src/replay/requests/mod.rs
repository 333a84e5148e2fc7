//! Replays the traces of the slices of requests: one consumer, one broker with two connections.
//!
//! As for the group's slices, one trace for each abstract transition, compared after each step. What
//! the model's consumer asks by itself the replayed one asks for a reason (`asks`), and how long
//! everything takes is chosen for each trace (`schedule`).

mod application;
mod asks;
mod client;
mod core;
mod plan;
mod schedule;
#[cfg(test)]
mod tests;
mod view;

pub use plan::{Plan, Plans, plans};

use self::client::Client;
use self::core::World;
use super::report::{Found, Infeasible, TargetReport};
use super::{CANDIDATES_MAX, PROGRESS_EVERY, Progress, Target};
use evenkeel_model::explore::{Exploration, Options, WitnessError, explore};
use evenkeel_model::requests::{Key, Slice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use view::View;

/// What these traces are replayed on.
pub const TARGETS: &[Target] = &[Target::Core, Target::Client];

/// What is deliberately wrong, to see that it is found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sabotage {
    /// A fault of the desk, on targets that can seed it: the core.
    pub desk: Option<evenkeel_core::request::Mutant>,
    /// Nobody tells the client that a connection broke.
    pub hides_cuts: bool,
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
}

/// Why a trace was not replayed to its end.
#[derive(Clone, Debug)]
pub enum Failed {
    /// The target does something else.
    Diverged(Box<Divergence>),
    /// The target cannot take a step, for this reason.
    Infeasible(String),
}

impl Failed {
    fn lack(plan: &Plan, step: usize, why: impl Into<String>) -> Self {
        let (expected, actual) = (plan.expected[step].clone(), Err(why.into()));
        Self::Diverged(Box::new(Divergence { step, expected, actual }))
    }
}

impl Divergence {
    /// What differs, a line each.
    #[must_use]
    pub fn differences(&self) -> Vec<String> {
        match &self.actual {
            Err(lack) => vec![lack.clone()],
            Ok(actual) => actual.differences(&self.expected),
        }
    }
}

/// Explores a slice, and replays its traces on each target.
///
/// # Errors
/// The model's renaming is wrong.
pub fn run(
    slice: &Slice,
    targets: &[Target],
    mut progress: impl FnMut(Progress),
) -> Result<Vec<TargetReport>, WitnessError> {
    let exploration = explore(slice, Options { keep_settle: false, ..Options::default() });
    run_explored(slice, &exploration, targets, &mut progress)
}

/// Replays the traces of a slice that was explored with [`Options::keep_keys`] on each target.
///
/// # Errors
/// The exploration kept no keys, or the model's renaming is wrong.
pub fn run_explored(
    slice: &Slice,
    exploration: &Exploration<Slice>,
    targets: &[Target],
    mut progress: impl FnMut(Progress),
) -> Result<Vec<TargetReport>, WitnessError> {
    let run = |target: &Target| {
        let plans = plans(slice, exploration, *target, CANDIDATES_MAX)?;
        Ok(run_plans(slice, &plans, *target, Sabotage::default(), &mut progress))
    };
    targets.iter().map(run).collect()
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
    let mut report = begun(slice, target, plans);
    let of = plans.found.len();
    for (done, (goal, plan)) in plans.found.iter().enumerate() {
        match replay_one(target, slice, plan, sabotage) {
            Ok(()) => {}
            Err(Failed::Infeasible(why)) => {
                report.replayed -= 1;
                let goal = goal.to_string();
                report.infeasible.push(Infeasible { goal, why, tried: 1, complete: false });
            }
            Err(Failed::Diverged(divergence)) => {
                report.diverged += 1;
                let shrunk = shrink(slice, plans, target, plan, &divergence, sabotage);
                let (plan, divergence) = shrunk.unwrap_or((plan, divergence));
                add(&mut report, goal, plan, &divergence);
            }
        }
        if done % PROGRESS_EVERY == 0 || done + 1 == of {
            progress(Progress { slice: slice.name, target, done: done + 1, of });
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    report
}

/// Replays one trace. A panic is a divergence of its trace.
///
/// # Errors
/// The first difference, or why it cannot be taken there.
pub fn replay_one(
    target: Target,
    slice: &Slice,
    plan: &Plan,
    sabotage: Sabotage,
) -> Result<(), Failed> {
    let mut at = 0;
    let replayed = catch_unwind(AssertUnwindSafe(|| match target {
        Target::Core => {
            let mut world = World::new(slice, plan, sabotage);
            compare(plan, &mut at, |step| world.step(plan, step))
        }
        Target::Client => {
            let client = Client::new(slice, plan, sabotage);
            let mut client = client.map_err(|why| Failed::lack(plan, 0, why))?;
            compare(plan, &mut at, |step| client.step(plan, step))
        }
    }));
    replayed.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        let said = said.unwrap_or("without a message");
        Err(Failed::lack(plan, at, format!("it panicked: {said}")))
    })
}

/// Compares what a target shows after each step with what the model has.
fn compare(
    plan: &Plan,
    at: &mut usize,
    mut step_on: impl FnMut(usize) -> Result<View, Failed>,
) -> Result<(), Failed> {
    for (step, expected) in plan.expected.iter().enumerate() {
        *at = step;
        let actual = step_on(step)?;
        if !actual.is(expected) {
            let (expected, actual) = (expected.clone(), Ok(actual));
            return Err(Failed::Diverged(Box::new(Divergence { step, expected, actual })));
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

/// The application cannot make the client ask for what slice `lookups` asks for, but by its first
/// connection (22 of 907), and only a member heartbeats (449 of 1,210 in slice `order`).
fn least_percent(slice: &Slice, target: Target) -> usize {
    match (target, slice.name) {
        (Target::Client, "lookups") => 2,
        (Target::Client, "order") => 35,
        (Target::Core, "lookups") => 45,
        _ => 60,
    }
}

fn begun(slice: &Slice, target: Target, plans: &Plans) -> TargetReport {
    let infeasible = plans.infeasible.iter().map(|(goal, why)| Infeasible {
        goal: goal.to_string(),
        why: why.shortest.to_string(),
        tried: why.tried,
        complete: why.complete,
    });
    TargetReport {
        target,
        slice: slice.name,
        goals: plans.found.len() + plans.infeasible.len(),
        replayed: plans.found.len(),
        least_percent: least_percent(slice, target),
        diverged: 0,
        infeasible: infeasible.collect(),
        seconds: 0.0,
        divergences: Vec::new(),
    }
}

fn add(report: &mut TargetReport, goal: &Key, plan: &Plan, divergence: &Divergence) {
    let transition = plan.keys[divergence.step].to_string();
    let mut known = report.divergences.iter_mut();
    if let Some(known) = known.find(|known| known.transition == transition) {
        known.traces += 1;
        return;
    }
    let steps = plan.given.iter().zip(&plan.actions).take(divergence.step + 1);
    report.divergences.push(Found {
        goal: goal.to_string(),
        traces: 1,
        transition,
        profile: "durations of its own",
        prefix: steps.map(|(given, action)| (given.date, action.to_string())).collect(),
        differences: divergence.differences(),
        explained: Vec::new(),
        frames: Vec::new(),
    });
}
