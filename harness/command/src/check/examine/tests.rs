//! Worlds with a seeded fault, and how they are told.

use super::super::any::AnySlice;
use super::{Examined, examine};
use evenkeel_model::mutants::{Seeded, Verdict, mutants};

/// What is found in the world of this mutant.
fn found(name: &str) -> (Seeded, Examined, String) {
    let seeded = mutants().into_iter().find(|seeded| seeded.name == name).expect("it is seeded");
    let mut examined = examine(&[AnySlice::Group(seeded.slice.clone())], &[]);
    let examined = examined.remove(0);
    let told = examined.stories().collect::<Vec<_>>().join("\n");
    (seeded, examined, told)
}

#[test]
fn a_broken_rule_is_told_by_its_path_with_the_world_after_each_step() {
    let (seeded, examined, told) = found("GrantBeforeRelease");
    let Verdict::Broken(rule) = seeded.expected else { panic!("a rule must find it") };
    assert!(!examined.holds());
    let named = format!("{rule:?}");
    let violated = examined.violations.iter().find(|violated| violated.rule == named);
    let violated = violated.expect("the rule named for it is broken");
    assert_eq!(violated.steps, violated.path.len());
    assert_eq!(violated.path.first().map(String::as_str), Some("subscribe c0"));
    assert!(told.contains(rule.sentence()), "{told}");
    let last = told.lines().find(|line| line.starts_with(&format!("{:>4}  ", violated.steps)));
    let last = last.expect("the last step is told");
    assert!(last.contains("granted c0@") && last.contains("| held"), "{last}");
}

#[test]
fn a_group_that_never_rests_is_told_with_who_is_stuck_at_what() {
    let (_, examined, told) = found("LeaveKeepsPartitions");
    assert!(!examined.holds() && !examined.settles);
    assert!(told.contains("settles:"), "{told}");
    assert!(told.contains("from here on:"), "{told}");
    assert!(told.contains("nobody is granted [t1-0 t1-1]"), "{told}");
}
