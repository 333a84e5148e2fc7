//! The same slices by stateright's own breadth-first search: does it count the same, and how fast.

use super::super::output::{Table, grouped, spinner};
use evenkeel_model::bounds::Slice;
use evenkeel_model::explore::{Options, cross_check};
use serde::Serialize;

/// What both checkers made of one slice, one after the other on one thread each.
#[derive(Debug, Serialize)]
pub(super) struct Crossed {
    name: &'static str,
    /// Both visited everything, counted the same states and transitions, and reached one verdict.
    pub(super) agrees: bool,
    /// Unique states, as stateright counts them.
    unique_states: usize,
    /// Our transitions a second divided by stateright's: rules and renaming on in both.
    ratio: f64,
}

/// Checks each slice with both.
pub(super) fn cross(slices: &[Slice]) -> Vec<Crossed> {
    slices.iter().map(cross_one).collect()
}

fn cross_one(slice: &Slice) -> Crossed {
    let bar = spinner(slice.name);
    bar.set_message(format!("{} by stateright", slice.name));
    let check = cross_check(slice.clone(), Options::default());
    bar.finish_and_clear();
    Crossed {
        name: slice.name,
        agrees: check.agrees(),
        unique_states: check.stateright.states,
        ratio: check.ratio(),
    }
}

/// The figures as a table.
pub(super) fn table(crossed: &[Crossed]) -> String {
    let mut table = Table::new(&["slice", "stateright's states", "agrees", "speed ratio"], &[1, 3]);
    for slice in crossed {
        table.row(vec![
            slice.name.to_owned(),
            grouped(slice.unique_states),
            if slice.agrees { "yes" } else { "NO" }.to_owned(),
            format!("{:.2}", slice.ratio),
        ]);
    }
    table.text()
}
