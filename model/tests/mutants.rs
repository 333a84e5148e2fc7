//! Every seeded fault dies by the rule named for it, and its shortest counterexample is pinned.

use evenkeel_model::mutants::{Seeded, Verdict, choices, hunt, mutants};
use evenkeel_model::{positions, report, requests};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn hunt_all(name: &str, of: impl Fn(&Seeded) -> bool) {
    let mut entries = Vec::new();
    for seeded in mutants().iter().filter(|seeded| of(seeded)) {
        let hunted = hunt(seeded);
        let Seeded { name, source, expected, .. } = seeded;
        assert!(
            hunted.is_killed(seeded),
            "{name}: {expected:?} was to find it, {:?} did",
            hunted.verdict
        );
        let path = hunted.path.expect("a killed mutant has a counterexample");
        let by =
            format!("{expected:?} in {} after {} steps", seeded.slice.name, path.actions.len());
        let story = report::line(&seeded.slice, &path.actions);
        entries.push(format!("{name}\n  {source}\n  {by}\n  {story}\n"));
    }
    assert!(!entries.is_empty());
    insta::with_settings!({
        snapshot_path => "../../spec/snapshot",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, entries.join("\n")) });
}

#[test]
fn every_fault_of_the_client_is_found_by_its_rule() {
    hunt_all("mutants-client", |seeded| seeded.slice.mutant.is_some());
}

#[test]
fn every_fault_of_the_coordinator_is_found_by_its_rule() {
    hunt_all("mutants-coordinator", |seeded| seeded.slice.coordinator.mutant.is_some());
}

#[test]
fn the_readme_counts_the_faults_and_those_that_are_bugs_of_kafka() {
    let group = mutants().into_iter().map(|seeded| seeded.source);
    let requests = requests::mutants::mutants().into_iter().map(|seeded| seeded.source);
    let turn = requests::mutants::of_turn().into_iter().map(|seeded| seeded.source);
    let positions = positions::mutants::mutants().into_iter().map(|seeded| seeded.source);
    let sources: Vec<_> = group.chain(requests).chain(turn).chain(positions).collect();
    let cited = sources.iter().filter(|source| source.contains("KAFKA-")).count();
    let told =
        format!("{} seeded faults, {cited} of them real bugs of Apache Kafka", sources.len());
    assert!(include_str!("../../README.md").contains(&told), "{told}");
}

#[test]
fn no_rule_forbids_the_other_choices_and_each_is_another_world() {
    for seeded in choices() {
        let hunted = hunt(&seeded);
        assert_eq!(hunted.verdict, Verdict::Survived, "{}", seeded.name);
        let mut shipped = seeded.clone();
        shipped.slice.mutant = None;
        assert_ne!(hunted.states, hunt(&shipped).states, "{} changes nothing", seeded.name);
    }
}
