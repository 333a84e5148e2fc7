//! Which goals no clock produces, and which the client cannot take besides: few, and each with its
//! reason.

use evenkeel_harness::replay::core::Sabotage;
use evenkeel_harness::replay::path::{Plans, plans};
use evenkeel_harness::replay::{CANDIDATES_MAX, Target, TargetReport, run_plans};
use evenkeel_model::bounds::{Slice, slices};
use evenkeel_model::explore::{Options, explore};
use std::collections::BTreeMap;
use std::fmt::Write;

#[test]
fn fewer_than_one_goal_in_twenty_is_infeasible_and_each_is_named() {
    let chosen: Vec<(Slice, Plans)> = slices().into_iter().map(choose).collect();
    let infeasible: usize = chosen.iter().map(|(_, plans)| plans.infeasible.len()).sum();
    let feasible: usize = chosen.iter().map(|(_, plans)| plans.found.len()).sum();
    assert!(infeasible * 20 < infeasible + feasible, "{infeasible} beside {feasible}");
    let mut on_client = String::new();
    for (slice, plans) in &chosen {
        let report = run_plans(slice, plans, Target::Client, Sabotage::default(), |_| {});
        let shown: Vec<_> = report.divergences.iter().map(ToString::to_string).collect();
        assert!(report.agrees(), "{}", shown.join("\n"));
        assert!(report.suffices(), "{}: {} of {}", slice.name, report.replayed, report.goals);
        tell(&report, plans.infeasible.len(), &mut on_client);
    }
    insta::with_settings!({
        snapshot_path => "../../../spec/snapshot",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!("replay-infeasible", named(&chosen));
        insta::assert_snapshot!("replay-client", on_client);
    });
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

/// How many of a slice's goals the client cannot take, beside those that no clock produces, by reason.
fn tell(report: &TargetReport, by_clock: usize, text: &mut String) {
    let mut reasons = BTreeMap::<&str, usize>::new();
    for goal in &report.infeasible[by_clock..] {
        *reasons.entry(&goal.why).or_default() += 1;
    }
    let TargetReport { slice, replayed, goals, .. } = report;
    writeln!(text, "## {slice}: {replayed} of {goals}").expect("a string takes any text");
    writeln!(text, "{by_clock:>5}  no clock produces it").expect("a string takes any text");
    for (why, goals) in reasons {
        writeln!(text, "{goals:>5}  {why}").expect("a string takes any text");
    }
}
