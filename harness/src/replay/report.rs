//! What a replay found, in words: for the command's table, for JSON, for whoever must mend it.

use super::explain::explain;
use super::path::{Plan, Plans};
use super::view::{ConsumerView, GroupView, View};
use super::{Divergence, Target};
use evenkeel_model::bounds::Slice;
use evenkeel_model::system::Key;
use std::fmt::{self, Debug};

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One for each slice and target.
    pub targets: Vec<TargetReport>,
}

/// One slice on one target.
#[derive(Clone, Debug)]
pub struct TargetReport {
    /// What was replayed on.
    pub target: Target,
    /// The slice's name.
    pub slice: &'static str,
    /// Abstract transitions of the slice.
    pub goals: usize,
    /// Those that were replayed.
    pub replayed: usize,
    /// How many of a hundred have to be, else the slice shows nothing here.
    pub least_percent: usize,
    /// Traces that did not agree.
    pub diverged: usize,
    /// Abstract transitions that no clock produces, or of which the target cannot take the trace:
    /// each by name.
    pub infeasible: Vec<Infeasible>,
    /// How long replaying took, seconds; the choice of traces not included.
    pub seconds: f64,
    /// The different divergences, each as short as it was found.
    pub divergences: Vec<Found>,
}

/// An abstract transition without a trace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Infeasible {
    /// Its name.
    pub goal: String,
    /// What is in the way of its shortest path.
    pub why: String,
    /// How many paths, and beginnings of paths, were judged.
    pub tried: usize,
    /// Whether there is no feasible path at all; else none was found.
    pub complete: bool,
}

/// A divergence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The abstract transition whose trace diverged first.
    pub goal: String,
    /// How many traces diverge in the same abstract transition.
    pub traces: usize,
    /// The abstract transition in which they diverge.
    pub transition: String,
    /// The timing profile.
    pub profile: &'static str,
    /// The dates, milliseconds, and the actions up to there.
    pub prefix: Vec<(u64, String)>,
    /// What differs, a line each: expected, then seen.
    pub differences: Vec<String>,
    /// Which moments of the model would explain what is seen.
    pub explained: Vec<String>,
    /// The frames of the last step, a line each, where there are any.
    pub frames: Vec<String>,
}

/// Of the group's slices nearly everything is feasible: 93 of 100 where it is least, in `whims`.
const LEAST_PERCENT: usize = 90;

impl TargetReport {
    pub(super) fn new(slice: &Slice, target: Target, plans: &Plans) -> Self {
        let infeasible = plans.infeasible.iter().map(|(goal, why)| Infeasible {
            goal: goal.to_string(),
            why: why.shortest.map_or_else(String::new, |why| why.to_string()),
            tried: why.refused.tried,
            complete: why.refused.complete,
        });
        Self {
            target,
            slice: slice.name,
            goals: plans.found.len() + plans.infeasible.len(),
            replayed: plans.found.len(),
            least_percent: LEAST_PERCENT,
            diverged: 0,
            infeasible: infeasible.collect(),
            seconds: 0.0,
            divergences: Vec::new(),
        }
    }

    /// Whether everything that was replayed agreed.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.diverged == 0
    }

    /// Whether so much was replayed that this says something.
    #[must_use]
    pub fn suffices(&self) -> bool {
        self.replayed > 0 && self.replayed * 100 >= self.goals * self.least_percent
    }

    /// A trace of this goal cannot be taken on this target.
    pub(super) fn add_infeasible(&mut self, goal: &Key, why: String) {
        self.replayed -= 1;
        let goal = goal.to_string();
        self.infeasible.push(Infeasible { goal, why, tried: 1, complete: false });
    }

    pub(super) fn add(&mut self, slice: &Slice, goal: &Key, plan: &Plan, divergence: &Divergence) {
        let transition = plan.keys[divergence.step].to_string();
        let mut known = self.divergences.iter_mut();
        if let Some(known) = known.find(|known| known.transition == transition) {
            known.traces += 1;
            return;
        }
        let steps = plan.dates.iter().zip(&plan.actions).take(divergence.step + 1);
        self.divergences.push(Found {
            goal: goal.to_string(),
            traces: 1,
            transition,
            profile: plan.profile.name,
            prefix: steps.map(|(date, action)| (*date, action.to_string())).collect(),
            differences: divergence.differences(),
            explained: explain(slice, plan, divergence),
            frames: divergence.frames.clone(),
        });
    }
}

impl Divergence {
    /// What differs, a line each.
    #[must_use]
    pub fn differences(&self) -> Vec<String> {
        match &self.actual {
            Err(lack) => vec![lack.clone()],
            Ok(actual) => differences(&self.expected, actual),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "goal       {}", self.goal)?;
        writeln!(f, "diverges   {} ({} traces do)", self.transition, self.traces)?;
        writeln!(f, "profile    {}", self.profile)?;
        for (date, action) in &self.prefix {
            writeln!(f, "{date:>10}  {action}")?;
        }
        for line in self.differences.iter().chain(&self.explained).chain(&self.frames) {
            writeln!(f, "           {line}")?;
        }
        Ok(())
    }
}

fn differences(expected: &View, actual: &View) -> Vec<String> {
    let mut lines = Vec::new();
    group(&expected.group, &actual.group, &mut lines);
    let consumers = expected.consumers.iter().zip(&actual.consumers);
    for (i, (expected, actual)) in consumers.enumerate() {
        consumer(i, expected, actual, &mut lines);
    }
    lines
}

fn consumer(i: usize, expected: &ConsumerView, actual: &ConsumerView, lines: &mut Vec<String>) {
    let mut note = |what: &str, expected: &dyn Debug, actual: &dyn Debug| {
        let (expected, actual) = (format!("{expected:?}"), format!("{actual:?}"));
        if expected != actual {
            lines.push(format!("c{i} {what}: expected {expected}, seen {actual}"));
        }
    };
    note("crashed", &expected.crashed, &actual.crashed);
    if actual.member.is_some() {
        note("member", &expected.member, &actual.member);
    }
    note("call", &expected.call, &actual.call);
    note("callback", &expected.callback, &actual.callback);
    note("looks for the coordinator", &expected.looks, &actual.looks);
    note("requests", &expected.requests, &actual.requests);
    note("answers", &expected.answers, &actual.answers);
    note("news", &expected.news, &actual.news);
    if actual.assignment.is_some() {
        note("assignment", &expected.assignment, &actual.assignment);
    }
}

fn group(expected: &GroupView, actual: &GroupView, lines: &mut Vec<String>) {
    let mut note = |what: &str, expected: &dyn Debug, actual: &dyn Debug| {
        let (expected, actual) = (format!("{expected:?}"), format!("{actual:?}"));
        if expected != actual {
            lines.push(format!("group {what}: expected {expected}, seen {actual}"));
        }
    };
    note("coordinator", &expected.coordinator, &actual.coordinator);
    note("state", &expected.state, &actual.state);
    note("epoch", &expected.epoch, &actual.epoch);
    note("assignment epoch", &expected.assignment_epoch, &actual.assignment_epoch);
    note("members", &expected.members, &actual.members);
    note("committed", &expected.committed, &actual.committed);
    note("timers", &expected.timers, &actual.timers);
}
