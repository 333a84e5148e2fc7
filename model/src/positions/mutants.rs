//! The seeded faults of positions, and the rule that must find each.

use super::{Slice, positions};
use crate::mutants::{Seeded, Verdict};
use evenkeel_core::position::Mutant;
use evenkeel_spec::rules::Rule;

/// Every fault of the machine of positions.
#[must_use]
pub fn mutants() -> Vec<Seeded<Slice>> {
    let seeded = |&mutant: &Mutant| Seeded {
        name: format!("{mutant:?}"),
        source: mutant.source(),
        slice: Slice { mutant: Some(mutant), ..positions() },
        expected: Verdict::Broken(match mutant {
            Mutant::DoubtsNothing | Mutant::FormerLeaderBelieved | Mutant::FetchedKept => {
                Rule::ReadOnAfterLoss
            }
            Mutant::LateOffsetBelieved => Rule::Misplaced,
        }),
    };
    Mutant::ALL.iter().map(seeded).collect()
}
