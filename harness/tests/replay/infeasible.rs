//! Which goals no clock produces: few, and each by name.

use evenkeel_harness::replay::CANDIDATES_MAX;
use evenkeel_harness::replay::path::{Plans, plans};
use evenkeel_model::bounds::{Slice, slices};
use evenkeel_model::explore::{Options, explore};
use std::fmt::Write;

#[test]
fn fewer_than_one_goal_in_twenty_is_infeasible_and_each_is_named() {
    let chosen: Vec<(Slice, Plans)> = slices().into_iter().map(choose).collect();
    let infeasible: usize = chosen.iter().map(|(_, plans)| plans.infeasible.len()).sum();
    let feasible: usize = chosen.iter().map(|(_, plans)| plans.found.len()).sum();
    assert!(infeasible * 20 < infeasible + feasible, "{infeasible} beside {feasible}");
    insta::with_settings!({
        snapshot_path => "../../../spec/snapshot",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!("replay-infeasible", named(&chosen)) });
}

fn choose(slice: Slice) -> (Slice, Plans) {
    let exploration = explore(&slice, Options { keep_settle: false, ..Options::default() });
    let plans = plans(&slice, &exploration, CANDIDATES_MAX).expect("the renaming is right");
    (slice, plans)
}

/// The goals by slice, each with what is in the way of its shortest path.
fn named(chosen: &[(Slice, Plans)]) -> String {
    let mut text = String::new();
    for (slice, plans) in chosen {
        let (none, all) = (plans.infeasible.len(), plans.infeasible.len() + plans.found.len());
        writeln!(text, "## {}: {none} of {all}", slice.name).expect("a string takes any text");
        for (goal, why) in &plans.infeasible {
            let why = why.shortest.map_or_else(String::new, |why| why.to_string());
            writeln!(text, "{goal}\n    {why}").expect("a string takes any text");
        }
    }
    text
}
