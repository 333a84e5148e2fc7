//! Every seeded fault must be found, by what is named for it.

use super::super::output::bar;
use super::on_two_threads;
use evenkeel_model::bounds::Slice;
use evenkeel_model::mutants::{self, Seeded, Verdict};
use serde::Serialize;

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

/// Hunts every seeded fault that lives in one of these slices, two at a time.
pub(super) fn hunt(slices: &[Slice]) -> Vec<Hunt> {
    let lives_here = |seeded: &Seeded| slices.iter().any(|slice| slice.name == seeded.slice.name);
    let seeded: Vec<Seeded> = mutants::mutants().into_iter().filter(lives_here).collect();
    let bar = bar(seeded.len() as u64, "mutants");
    let hunts = on_two_threads(&seeded, |seeded| {
        let hunted = mutants::hunt(seeded);
        bar.inc(1);
        let path = hunted.path.as_ref().map(|path| path.actions.as_slice()).unwrap_or_default();
        Hunt {
            name: seeded.name.clone(),
            source: seeded.source,
            slice: seeded.slice.name,
            rule: verdict(seeded.expected),
            killed: hunted.is_killed(seeded),
            found: verdict(hunted.verdict),
            steps: path.len(),
            path: path.iter().map(ToString::to_string).collect(),
        }
    });
    bar.finish_and_clear();
    hunts
}

fn verdict(verdict: Verdict) -> String {
    match verdict {
        Verdict::Broken(rule) => format!("{rule:?}"),
        Verdict::DoesNotSettle => "settle".to_owned(),
        Verdict::Survived => "survived".to_owned(),
    }
}
