//! Replay is itself tested: it agrees where both ends are as shipped, and finds what is wrong.

use super::core::{Sabotage, WrongDriver};
use super::path::{Plans, plans};
use super::{CANDIDATES_MAX, Target, run_plans, run_slice};
use evenkeel_coordinator::Mutant;
use evenkeel_core::group::Mutant as ClientMutant;
use evenkeel_model::bounds::{Slice, one_member, two_members};
use evenkeel_model::explore::{Exploration, Options, explore};
use std::sync::OnceLock;

/// One member and one fault: small, and nearly every abstract transition of the slice.
fn small() -> Slice {
    let mut slice = one_member();
    slice.budget.faults = 1;
    slice
}

fn explored(slice: &Slice) -> Exploration<Slice> {
    explore(slice, Options { keep_settle: false, ..Options::default() })
}

fn small_plans() -> &'static Plans {
    static PLANS: OnceLock<Plans> = OnceLock::new();
    PLANS.get_or_init(|| {
        let slice = small();
        plans(&slice, &explored(&slice), CANDIDATES_MAX).expect("the renaming is right")
    })
}

fn sabotaged(sabotage: Sabotage) -> super::TargetReport {
    run_plans(&small(), small_plans(), Target::Core, sabotage, |_| {})
}

#[test]
fn every_trace_of_one_member_agrees_with_the_client() {
    let report = run_plans(&small(), small_plans(), Target::Client, Sabotage::default(), |_| {});
    let shown: Vec<_> = report.divergences.iter().map(ToString::to_string).collect();
    assert!(report.agrees(), "{} of {}\n{}", report.diverged, report.replayed, shown.join("\n"));
    eprintln!("{:?} {}", report.seconds, report.replayed);
}

#[test]
fn every_trace_of_one_member_agrees_with_the_core_and_few_goals_are_infeasible() {
    let report = sabotaged(Sabotage::default());
    let shown: Vec<_> = report.divergences.iter().map(ToString::to_string).collect();
    assert!(report.agrees(), "{}", shown.join("\n"));
    assert!(report.replayed > 200, "{} traces are too few", report.replayed);
    assert_eq!(report.goals, report.replayed + report.infeasible.len());
    assert!(report.infeasible.len() * 20 < report.goals, "{:#?}", report.infeasible);
}

#[test]
fn two_members_without_faults_agree_with_the_core() {
    let mut slice = two_members();
    slice.budget.faults = 0;
    slice.budget.unsubscribes = 0;
    let mut last = None;
    let reports = run_slice(&slice, &explored(&slice), &[Target::Core], |news| last = Some(news));
    let report = reports.expect("the renaming is right").remove(0);
    let shown: Vec<_> = report.divergences.iter().map(ToString::to_string).collect();
    assert!(report.agrees(), "{}", shown.join("\n"));
    assert!(report.replayed > 20, "{} traces are too few", report.replayed);
    assert_eq!(last.map(|news| (news.done, news.of)), Some((report.replayed, report.replayed)));
}

/// The others need a second member, or two faults.
#[test]
fn wrong_coordinators_are_found() {
    let found = |mutant: &&Mutant| {
        !sabotaged(Sabotage { coordinator: Some(**mutant), client: None }).agrees()
    };
    let found: Vec<Mutant> = Mutant::ALL.iter().filter(found).copied().collect();
    for mutant in [
        Mutant::CommitUnfenced,
        Mutant::FullRequestIgnored,
        Mutant::LeaveKeepsPartitions,
        Mutant::SessionTimeoutKeepsPartitions,
        Mutant::UnknownMemberTolerated,
    ] {
        assert!(found.contains(&mutant), "{mutant:?} is not found, but {found:?}");
    }
}

#[test]
fn a_wrong_driver_of_the_client_is_found_and_its_divergence_is_shrunk() {
    for (wrong, steps_max) in [
        (WrongDriver::EndsCallbacksEarly, 6),
        (WrongDriver::HidesFailures, 7),
        (WrongDriver::HidesDisconnects, 4),
    ] {
        let report = sabotaged(Sabotage { coordinator: None, client: Some(wrong) });
        let shortest = report.divergences.iter().map(|found| found.prefix.len()).min();
        let shortest = shortest.unwrap_or_else(|| panic!("{wrong:?} is not found"));
        assert!(shortest <= steps_max, "{wrong:?} shows after {shortest} steps only");
    }
}

/// The traces of a wrong machine are not those of the shipped one: the mirror of a wrong client.
#[test]
fn machines_that_are_not_the_modelled_ones_are_found() {
    for mutant in [
        ClientMutant::KeepIdAfterLeave,
        ClientMutant::JoinWithoutPoll,
        ClientMutant::RevokedAfterFence,
    ] {
        let mut slice = small();
        slice.mutant = Some(mutant);
        let report = run_slice(&slice, &explored(&slice), &[Target::Core], |_| {});
        let report = report.expect("the renaming is right").remove(0);
        assert!(!report.agrees(), "{mutant:?} is not found");
    }
}
