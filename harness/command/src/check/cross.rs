//! The same slices by stateright's own breadth-first search: does it count the same, and how fast.

use super::super::output::{Table, grouped, spinner};
use super::any::{AnySlice, Told};
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
pub(super) fn cross(slices: &[AnySlice]) -> Vec<Crossed> {
    let crossed = slices.iter().map(|slice| match slice {
        AnySlice::Group(slice) => cross_one(slice),
        AnySlice::Requests(slice) => cross_one(slice),
        AnySlice::Positions(slice) => cross_one(slice),
        AnySlice::Turn(slice) => cross_one(slice),
    });
    crossed.collect()
}

fn cross_one<S>(slice: &S) -> Crossed
where
    S: Told<State: Send + Sync> + Clone + Send + Sync + 'static,
{
    let name = slice.name();
    let bar = spinner(name);
    bar.set_message(format!("{name} by stateright"));
    let check = cross_check(slice.clone(), Options::default());
    bar.finish_and_clear();
    Crossed {
        name,
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
