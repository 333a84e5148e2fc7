//! Every slice exhausted: its figures pinned, every rule held, every state at rest in the end.

use evenkeel_model::bounds::{self, Disconnect, Slice};
use evenkeel_model::explore::{Exploration, Options, PathOf, check_renaming, cross_check, explore};
use evenkeel_model::report;
use std::fmt::Write;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Explores a slice and demands everything of it; its figures as a line of the snapshot.
fn figures(slice: &Slice) -> String {
    let exploration = explore(slice, Options::default());
    let summary = exploration.summary();
    assert!(summary.exhausted(), "{} was cut short: {:?}", slice.name, summary.ending);
    let violations = exploration.violations(slice).expect("the renaming is sound");
    if let Some((rule, path)) = violations.iter().next() {
        panic!("{} breaks {rule}:\n{}", slice.name, report::story(path));
    }
    let unreached: Vec<_> = exploration.unreached().collect();
    assert!(unreached.is_empty(), "{} never reaches {unreached:?}", slice.name);
    let settled = exploration.settle(slice).unwrap_or_else(|error| panic!("{error}"));
    let nearest = exploration.always_convergeable(slice).unwrap_or_else(|error| panic!("{error}"));
    let excused = exploration.converges_fairly(slice).unwrap_or_else(|error| panic!("{error}"));
    snapshot(&format!("witnesses-{}", slice.name), &witnesses(slice, &exploration));
    let mut text = format!("## {}\n", slice.name);
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
fn witnesses(slice: &Slice, exploration: &Exploration<Slice>) -> String {
    let witnesses = exploration.shortest_witnesses(slice).expect("the keys were kept");
    let entry = |(key, path): (&_, &PathOf<Slice>)| {
        format!("{key}\n    {}", report::line(slice, &path.actions))
    };
    witnesses.iter().map(entry).collect::<Vec<_>>().join("\n")
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "../../spec/snapshot",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

macro_rules! slices {
    ($($test:ident $slice:ident)*) => {
        $(#[test]
        fn $test() {
            let slice = bounds::$slice();
            snapshot(&format!("slice-{}", slice.name), &figures(&slice));
        })*
    };
}

slices! {
    one_member_is_exhausted_and_holds one_member
    two_members_are_exhausted_and_hold two_members
    two_faults_are_exhausted_and_hold two_faults
    commits_are_exhausted_and_hold commits
    interval_is_exhausted_and_holds interval
    untaken_is_exhausted_and_holds untaken
    seeks_are_exhausted_and_hold seeks
    whims_are_exhausted_and_hold whims
}

#[test]
fn renaming_commutes_with_every_action_on_a_hundred_thousand_states() {
    for slice in [bounds::one_member(), bounds::two_members()] {
        let compared = check_renaming(&slice, 100_000).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(compared, 100_000, "{}", slice.name);
    }
}

#[test]
fn stateright_agrees_on_states_and_verdict() {
    let mut slice = bounds::one_member();
    slice.budget.faults = 1;
    let check = cross_check(slice, Options::default());
    assert!(check.agrees(), "{check:?}");
}

/// C3 of Kafka's candidates: without the network assumption the protocol itself breaks.
#[test]
fn a_heartbeat_that_arrives_after_its_successor_breaks_the_protocol() {
    let mut slice = Slice { ordered: false, ..bounds::two_members() };
    slice.faults.session = false;
    slice.faults.failover = false;
    slice.faults.crash = false;
    slice.faults.rebalance = false;
    slice.faults.disconnect = Disconnect::Any;
    let options = Options { stop_at_first_violation: true, ..Options::default() };
    let exploration = explore(&slice, options);
    let violations = exploration.violations(&slice).expect("the renaming is sound");
    let (rule, path) = violations.iter().next().expect("a counterexample");
    snapshot("network-assumption", &format!("{rule}\n\n{}", report::story(path)));
}
