//! Which goals of the slices of requests are replayed, and which cannot be, by reason.

use evenkeel_harness::replay::TargetReport;
use evenkeel_harness::replay::requests::{TARGETS, run};
use evenkeel_model::requests::slices;
use std::collections::BTreeMap;
use std::fmt::Write;

#[test]
fn every_trace_of_requests_agrees_and_each_goal_without_one_has_a_reason() {
    let mut text = String::new();
    for slice in slices() {
        for report in run(&slice, TARGETS, |_| {}).expect("the renaming is right") {
            let shown: Vec<_> = report.divergences.iter().map(ToString::to_string).collect();
            assert!(report.agrees(), "{}", shown.join("\n"));
            assert_eq!(report.goals, report.replayed + report.infeasible.len());
            tell(&report, &mut text);
        }
    }
    insta::with_settings!({
        snapshot_path => "../../../spec/snapshot",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!("replay-requests", text) });
}

fn tell(report: &TargetReport, text: &mut String) {
    let mut reasons = BTreeMap::<&str, usize>::new();
    for goal in &report.infeasible {
        *reasons.entry(&goal.why).or_default() += 1;
    }
    let (slice, target) = (report.slice, report.target.name());
    writeln!(text, "## {slice} on {target}: {} of {}", report.replayed, report.goals)
        .expect("a string takes any text");
    for (why, goals) in reasons {
        writeln!(text, "{goals:>5}  {why}").expect("a string takes any text");
    }
}
