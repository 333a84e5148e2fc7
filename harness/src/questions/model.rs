//! What the model says: which rule another choice breaks, and the shortest way there.

use super::Trace;
use crate::story;
use evenkeel_core::group;
use evenkeel_core::request::Mutant;
use evenkeel_model::judged::Judged;
use evenkeel_model::mutants::{self, Hunted, Seeded, Verdict};
use evenkeel_model::requests;
use evenkeel_spec::rules::Rule;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What became of a hunt in the group's world.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) slice: &'static str,
    pub(super) verdict: Verdict,
    /// To what was found; none where nothing was.
    pub(super) steps: Vec<String>,
    /// Visited, all of them where nothing was found.
    pub(super) states: usize,
}

impl Found {
    /// What was found, for people: a rule by its name.
    pub(super) fn told(&self) -> String {
        match self.verdict {
            Verdict::Broken(rule) => format!("{rule:?}"),
            Verdict::DoesNotSettle => "never comes to rest".to_owned(),
            Verdict::Survived => "nothing".to_owned(),
        }
    }

    /// The rule that was broken, as a sentence.
    pub(super) fn sentence(&self) -> &'static str {
        match self.verdict {
            Verdict::Broken(rule) => Rule::sentence(rule).trim_end_matches('.'),
            Verdict::DoesNotSettle => "the group comes to rest when nothing disturbs it",
            Verdict::Survived => "no rule is broken",
        }
    }

    /// The way there.
    pub(super) fn trace(&self, of: impl Into<String>) -> Trace {
        Trace { of: of.into(), steps: self.steps.clone() }
    }
}

/// Explores the slice that must find this other choice of the group's machines.
pub(super) fn group(mutant: group::Mutant) -> Found {
    static FOUND: Kept<Found> = Kept::new();
    FOUND.of(format!("{mutant:?}"), hunt_group)
}

fn hunt_group(name: &str) -> Found {
    let seeded = mutants::mutants().into_iter().chain(mutants::choices());
    let seeded = named(seeded, name);
    let Hunted { verdict, path, states } = mutants::hunt(&seeded);
    let steps = path.map(|path| story::lines(&seeded.slice, &path)).unwrap_or_default();
    Found { slice: seeded.slice.name, verdict, steps, states }
}

/// The same for the machines of requests: the way to what it breaks, and the rule.
pub(super) fn requests_fault(mutant: Mutant) -> (Trace, String) {
    static FOUND: Kept<(Trace, String)> = Kept::new();
    FOUND.of(format!("{mutant:?}"), hunt_requests)
}

fn hunt_requests(name: &str) -> (Trace, String) {
    let seeded = named(requests::mutants::mutants().into_iter(), name);
    let Hunted { verdict, path, .. } = mutants::hunt(&seeded);
    let steps = path.map(|path| seeded.slice.story(&path)).unwrap_or_default();
    let rule = match verdict {
        Verdict::Broken(rule) => format!("{rule:?}"),
        Verdict::DoesNotSettle | Verdict::Survived => "no rule".to_owned(),
    };
    let of = format!("The shortest way to {rule} with {name}, in slice {}", seeded.slice.name);
    (Trace { of, steps }, rule)
}

/// What was found, by the name of the other choice. A hunt takes seconds and knows nothing of the
/// order in which a question is asked: it is made once.
struct Kept<T>(Mutex<BTreeMap<String, T>>);

impl<T: Clone> Kept<T> {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// What is kept under this name, or what this hunt finds; who asks meanwhile waits.
    fn of(&self, name: String, hunt: impl FnOnce(&str) -> T) -> T {
        // A hunt that panicked has kept nothing.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(name).or_insert_with_key(|name| hunt(name)).clone()
    }
}

fn named<S>(mut seeded: impl Iterator<Item = Seeded<S>>, name: &str) -> Seeded<S> {
    seeded.find(|seeded| seeded.name == name).expect("every other choice has its slice")
}
