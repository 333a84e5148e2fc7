//! Every seeded fault must be found, by what is named for it.

use super::super::Failure;
use super::super::output::bar;
use super::any::{AnySlice, Told};
use super::on_two_threads;
use evenkeel_model::mutants::{self, Seeded, Verdict};
use evenkeel_model::{positions, requests};
use serde::Serialize;
use std::collections::BTreeSet;

/// One fault, and whether it was found.
#[derive(Debug, Serialize)]
pub(super) struct Hunt {
    pub(super) name: String,
    pub(super) source: &'static str,
    pub(super) slice: &'static str,
    /// What must find it: a rule, or that a state does not settle.
    pub(super) rule: String,
    /// It was found, and by that.
    pub(super) killed: bool,
    /// What found it.
    pub(super) found: String,
    /// The length of the shortest path to it.
    pub(super) steps: usize,
    /// That path.
    pub(super) path: Vec<String>,
}

/// Whether a fault is seeded in each of the slices that were named. Errors: where there is none.
pub(super) fn all_seeded(slices: &[AnySlice], named: &[String]) -> Result<(), Failure> {
    let group = mutants::mutants().into_iter().map(|seeded| seeded.slice.name);
    let requests = requests::mutants::mutants().into_iter().map(|seeded| seeded.slice.name);
    let positions = positions::mutants::mutants().into_iter().map(|seeded| seeded.slice.name);
    let turn = requests::mutants::of_turn().into_iter().map(|seeded| seeded.slice.name);
    let seeded: BTreeSet<_> = group.chain(requests).chain(positions).chain(turn).collect();
    let is_bare = |slice: &&AnySlice| {
        !seeded.contains(slice.name()) && named.iter().any(|name| name == slice.name())
    };
    slices.iter().find(is_bare).map_or(Ok(()), |slice| {
        let known = seeded.iter().copied().collect::<Vec<_>>().join(", ");
        let name = slice.name();
        Err(Failure::Usage(format!(
            "--mutants: no fault is seeded in {name}; there are some in {known}"
        )))
    })
}

/// Hunts every seeded fault that lives in one of these slices, two at a time.
pub(super) fn hunt(slices: &[AnySlice]) -> Vec<Hunt> {
    let lives_here = |name: &str| slices.iter().any(|slice| slice.name() == name);
    let mut hunts = Vec::new();
    add(&mut hunts, mutants::mutants(), lives_here);
    add(&mut hunts, requests::mutants::mutants(), lives_here);
    add(&mut hunts, positions::mutants::mutants(), lives_here);
    add(&mut hunts, requests::mutants::of_turn(), lives_here);
    let bar = bar(hunts.len() as u64, "mutants");
    let hunts = on_two_threads(&hunts, |hunt| {
        let hunted = hunt();
        bar.inc(1);
        hunted
    });
    bar.finish_and_clear();
    hunts
}

type Job = Box<dyn Fn() -> Hunt + Sync>;

fn add<S>(jobs: &mut Vec<Job>, seeded: Vec<Seeded<S>>, lives_here: impl Fn(&str) -> bool)
where
    S: Told + Sync + 'static,
{
    let seeded = seeded.into_iter().filter(|seeded| lives_here(seeded.slice.name()));
    jobs.extend(seeded.map(|seeded| Box::new(move || hunt_one(&seeded)) as Job));
}

fn hunt_one<S: Told>(seeded: &Seeded<S>) -> Hunt {
    let hunted = mutants::hunt(seeded);
    let path = hunted.path.as_ref().map(|path| path.actions.as_slice()).unwrap_or_default();
    Hunt {
        name: seeded.name.clone(),
        source: seeded.source,
        slice: seeded.slice.name(),
        rule: verdict(seeded.expected),
        killed: hunted.is_killed(seeded),
        found: verdict(hunted.verdict),
        steps: path.len(),
        path: path.iter().map(ToString::to_string).collect(),
    }
}

fn verdict(verdict: Verdict) -> String {
    match verdict {
        Verdict::Broken(rule) => format!("{rule:?}"),
        Verdict::DoesNotSettle => "settle".to_owned(),
        Verdict::Survived => "survived".to_owned(),
    }
}
