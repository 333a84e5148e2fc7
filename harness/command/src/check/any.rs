//! The slices of all kinds of small worlds, by their names.

use super::super::Failure;
use evenkeel_harness::story;
use evenkeel_model::bounds::{self, Slice};
use evenkeel_model::explore::PathOf;
use evenkeel_model::judged::Judged;
use evenkeel_model::system::State;
use evenkeel_model::{positions, requests, turn};
use std::fmt::Display;

/// A slice of any kind.
#[derive(Clone, Debug)]
pub(crate) enum AnySlice {
    /// Members and their coordinator.
    Group(Slice),
    /// One consumer's requests.
    Requests(requests::Slice),
    /// Where one partition is read.
    Positions(positions::Slice),
    /// The loop.
    Turn(turn::Slice),
}

impl AnySlice {
    /// Every slice.
    pub(crate) fn all() -> Vec<Self> {
        let group = bounds::slices().into_iter().map(Self::Group);
        let requests = requests::slices().into_iter().map(Self::Requests);
        let others = [Self::Positions(positions::positions()), Self::Turn(turn::turn())];
        group.chain(requests).chain(others).collect()
    }

    /// The slices of these names, in the order given; all of them when none is named.
    pub(crate) fn named(names: &[String]) -> Result<Vec<Self>, Failure> {
        Self::chosen(names, Self::all())
    }

    /// The same of those whose traces can be replayed.
    pub(crate) fn replayable(names: &[String]) -> Result<Vec<Self>, Failure> {
        let all = Self::all().into_iter();
        let replays = |slice: &Self| matches!(slice, Self::Group(_) | Self::Requests(_));
        Self::chosen(names, all.filter(replays).collect())
    }

    fn chosen(names: &[String], all: Vec<Self>) -> Result<Vec<Self>, Failure> {
        if names.is_empty() {
            return Ok(all);
        }
        let named = |name: &String| {
            all.iter().find(|slice| slice.name() == *name).cloned().ok_or_else(|| {
                let known: Vec<_> = all.iter().map(Self::name).collect();
                let known = known.join(", ");
                Failure::Usage(format!("there is no slice {name:?}; there are {known}"))
            })
        };
        names.iter().map(named).collect()
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Group(slice) => slice.name,
            Self::Requests(slice) => slice.name,
            Self::Positions(slice) => slice.name,
            Self::Turn(slice) => slice.name,
        }
    }

    /// How many faults may happen on one path; the loop has none. What a slice must reach is meant
    /// for its own bound: with less than that nothing is asked for.
    pub(super) fn limit_faults(&mut self, faults: u8) {
        match self {
            Self::Group(slice) => lower(&mut slice.budget.faults, &mut slice.sometimes, faults),
            Self::Requests(slice) => lower(&mut slice.budget.faults, &mut slice.sometimes, faults),
            Self::Positions(slice) => {
                lower(&mut slice.budget.losses, &mut slice.sometimes, faults);
            }
            Self::Turn(_) => {}
        }
    }
}

fn lower<C>(bound: &mut u8, sometimes: &mut fn() -> Vec<C>, faults: u8) {
    if faults < *bound {
        *sometimes = Vec::new;
    }
    *bound = faults;
}

/// A small world that can be told to a person.
pub(crate) trait Told: Judged<Action: Display> {
    /// A path, a line each step.
    fn lines(&self, path: &PathOf<Self>) -> Vec<String> {
        self.story(path)
    }

    /// The world, in lines.
    fn world(&self, state: &Self::State) -> String {
        self.onlooker(state)
    }

    /// Who is stuck at what, a line each.
    fn stuck(&self, state: &Self::State) -> Vec<String> {
        vec![format!("      {}", self.onlooker(state))]
    }
}

impl Told for Slice {
    fn lines(&self, path: &PathOf<Self>) -> Vec<String> {
        story::lines(self, path)
    }

    fn world(&self, state: &State) -> String {
        story::world(self, state)
    }

    fn stuck(&self, state: &State) -> Vec<String> {
        story::stuck(self, state)
    }
}

impl Told for requests::Slice {}

impl Told for positions::Slice {}

impl Told for turn::Slice {}

#[cfg(test)]
mod tests {
    use super::{AnySlice, Failure};

    #[test]
    fn an_unknown_slice_is_answered_with_those_of_every_kind() {
        let told = AnySlice::named(&["three-members".to_owned()]);
        let Err(Failure::Usage(sentence)) = told else { panic!("it is unknown") };
        assert!(sentence.contains("one-member, two-members"), "{sentence}");
        assert!(
            sentence.ends_with("requests, order, lookups, deadlines, teardown, positions, turn"),
            "{sentence}"
        );
    }

    #[test]
    fn the_loop_has_no_traces_to_replay() {
        let told = AnySlice::replayable(&["turn".to_owned()]);
        let Err(Failure::Usage(sentence)) = told else { panic!("it is not replayed") };
        assert!(sentence.ends_with("requests, order, lookups, deadlines, teardown"), "{sentence}");
        let requests = AnySlice::replayable(&["requests".to_owned()]);
        assert!(matches!(requests.as_deref(), Ok([AnySlice::Requests(_)])));
    }
}
