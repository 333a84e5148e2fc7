//! The slices of requests, of positions and of the loop exhausted, and their seeded faults found.

use evenkeel_model::explore::{Exploration, Options, PathOf, check_renaming, cross_check, explore};
use evenkeel_model::judged::Judged;
use evenkeel_model::{positions, requests, turn};
use std::fmt::{Display, Write};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Explores a slice and demands everything of it; its figures as a line of the snapshot.
fn figures<S>(slice: &S) -> String
where
    S: Judged<Key: Display, Action: Display>,
{
    let name = slice.name();
    let exploration = explore(slice, Options::default());
    let summary = exploration.summary();
    assert!(summary.exhausted(), "{name} was cut short: {:?}", summary.ending);
    let violations = exploration.violations(slice).expect("the renaming is sound");
    if let Some((rule, path)) = violations.iter().next() {
        panic!("{name} breaks {rule}:\n{}", slice.story(path).join("\n"));
    }
    let unreached: Vec<_> = exploration.unreached().collect();
    assert!(unreached.is_empty(), "{name} never reaches {unreached:?}");
    let settled = exploration.settle(slice).unwrap_or_else(|error| panic!("{name}: {error}"));
    let nearest = exploration.always_convergeable(slice).unwrap_or_else(|error| panic!("{error}"));
    let excused = exploration.converges_fairly(slice).unwrap_or_else(|error| panic!("{error}"));
    snapshot(&format!("witnesses-{name}"), &witnesses(slice, &exploration));
    let mut text = format!("## {name}\n");
    for (name, figure) in [
        ("states", summary.states),
        ("transitions", summary.transitions),
        ("depth", summary.depth),
        ("states at rest", summary.goals),
        ("abstract transitions", summary.keys),
        ("longest way to rest on the fair schedule", settled.steps_max),
        ("longest shortest way to rest", nearest),
        ("loops in which something fair waits", excused),
    ] {
        writeln!(text, "{name:<42}{figure:>9}").expect("a string takes any text");
    }
    for (name, _) in exploration.sometimes() {
        writeln!(text, "reached: {name}").expect("a string takes any text");
    }
    text
}

/// The shortest witness of every abstract transition, sorted by key.
fn witnesses<S>(slice: &S, exploration: &Exploration<S>) -> String
where
    S: Judged<Key: Display, Action: Display>,
{
    let witnesses = exploration.shortest_witnesses(slice).expect("the keys were kept");
    let entry = |(key, path): (&_, &PathOf<S>)| format!("{key}\n    {}", line::<S>(path));
    witnesses.iter().map(entry).collect::<Vec<_>>().join("\n")
}

fn line<S: Judged<Action: Display>>(path: &PathOf<S>) -> String {
    path.actions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "../../spec/snapshot",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

#[test]
fn requests_are_exhausted_and_hold() {
    snapshot("slice-requests", &figures(&requests::requests()));
}

#[test]
fn the_order_of_what_is_said_is_exhausted_and_holds() {
    snapshot("slice-order", &figures(&requests::order()));
}

#[test]
fn teardown_is_exhausted_and_holds() {
    snapshot("slice-teardown", &figures(&requests::teardown()));
}

#[test]
fn deadlines_are_exhausted_and_hold() {
    snapshot("slice-deadlines", &figures(&requests::deadlines()));
}

#[test]
fn lookups_are_exhausted_and_hold() {
    snapshot("slice-lookups", &figures(&requests::lookups()));
}

#[test]
fn positions_are_exhausted_and_hold() {
    snapshot("slice-positions", &figures(&positions::positions()));
}

#[test]
fn the_loop_is_exhausted_and_holds() {
    snapshot("slice-turn", &figures(&turn::turn()));
}

#[test]
fn renaming_commutes_with_every_action_on_twenty_thousand_states() {
    for slice in requests::slices() {
        let compared = check_renaming(&slice, 20_000).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(compared, 20_000, "{}", slice.name);
    }
    let compared = check_renaming(&positions::positions(), 20_000);
    assert_eq!(compared.unwrap_or_else(|error| panic!("{error}")), 20_000);
}

#[test]
fn stateright_agrees_on_states_and_verdict() {
    let check = cross_check(requests::order(), Options::default());
    assert!(check.agrees(), "{check:?}");
    let check = cross_check(turn::turn(), Options::default());
    assert!(check.agrees(), "{check:?}");
    let mut slice = positions::positions();
    slice.budget.moves = 1;
    let check = cross_check(slice, Options::default());
    assert!(check.agrees(), "{check:?}");
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::{line, snapshot};
    use evenkeel_model::judged::Judged;
    use evenkeel_model::mutants::{Seeded, hunt};
    use evenkeel_model::positions::mutants as of_positions;
    use evenkeel_model::requests::{Budget, Faults, Slice, mutants, slices};
    use std::fmt::Display;

    fn entry<S: Judged<Action: Display>>(seeded: &Seeded<S>) -> Result<String, String> {
        let hunted = hunt(seeded);
        let Seeded { name, source, expected, slice } = seeded;
        if !hunted.is_killed(seeded) {
            let found = hunted.path.as_ref().map(|path| slice.story(path).join("\n"));
            let (verdict, found) = (hunted.verdict, found.unwrap_or_default());
            return Err(format!("{name}: {expected:?} was to find it, {verdict:?} did\n{found}"));
        }
        let path = hunted.path.expect("a killed mutant has a counterexample");
        let steps = path.actions.len();
        let slice = slice.name();
        let line = line::<S>(&path);
        Ok(format!("{name}\n  {source}\n  {expected:?} in {slice} after {steps} steps\n  {line}\n"))
    }

    /// Whether everything that happens in `part` happens in `whole`.
    fn is_part(part: &Slice, whole: &Slice) -> bool {
        let flags = |faults: Faults, ends: bool| {
            let Faults { cut, throttle, timeouts, deadline, gone } = faults;
            [cut, throttle, timeouts, deadline, gone, ends]
        };
        let sizes = |Budget { asks, faults, changes }: Budget| [asks, faults, changes];
        let both = flags(part.faults, part.ends).into_iter().zip(flags(whole.faults, whole.ends));
        let budgets = sizes(part.budget).into_iter().zip(sizes(whole.budget));
        part.calls.iter().all(|things| whole.calls.contains(things))
            && part.asks.iter().all(|own| whole.asks.contains(own))
            && both.into_iter().all(|(part, whole)| part <= whole)
            && budgets.into_iter().all(|(part, whole)| part <= whole)
            && part.bounds == whole.bounds
    }

    #[test]
    fn the_world_of_each_fault_is_a_part_of_the_slice_that_it_is_named_after() {
        for Seeded { name, slice, .. } in mutants::mutants() {
            let whole = slices().into_iter().find(|whole| whole.name == slice.name);
            assert!(is_part(&slice, &whole.expect("it is a slice")), "{name} in {}", slice.name);
        }
    }

    #[test]
    fn every_fault_of_positions_is_found_by_its_rule() {
        let hunted: Result<Vec<_>, _> = of_positions::mutants().iter().map(entry).collect();
        snapshot(
            "mutants-positions",
            &hunted.unwrap_or_else(|missed| panic!("{missed}")).join("\n"),
        );
    }

    #[test]
    fn every_fault_of_the_requests_is_found_by_its_rule() {
        let desk = mutants::mutants();
        let turn = mutants::of_turn();
        let hunted = desk.iter().map(entry).chain(turn.iter().map(entry));
        let (entries, missed): (Vec<_>, Vec<_>) = hunted.partition(Result::is_ok);
        let missed: Vec<_> = missed.into_iter().filter_map(Result::err).collect();
        assert!(missed.is_empty(), "{}", missed.join("\n\n"));
        let entries: Vec<_> = entries.into_iter().flatten().collect();
        assert_eq!(entries.len(), evenkeel_core::request::Mutant::ALL.len());
        snapshot("mutants-requests", &entries.join("\n"));
    }
}
