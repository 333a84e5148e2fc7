//! Every question's answer is a snapshot, and what the order of the lanes decides is known.

use super::{Answer, Order, QUESTIONS};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

#[test]
fn every_question_has_its_verdict() {
    for answer in shipped() {
        insta::with_settings!({
            snapshot_path => "../../../spec/questions",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { insta::assert_snapshot!(answer.name, answer.text()) });
    }
}

#[test]
fn every_answer_shows_a_way_to_what_decides_it() {
    for answer in shipped() {
        assert!(!answer.traces.is_empty(), "{}", answer.name);
        for trace in &answer.traces {
            assert!(!trace.steps.is_empty(), "{}: {}", answer.name, trace.of);
        }
    }
}

/// What a change of one line, the lane that `Queue::push` puts a request in, changes; and why.
const BY_ORDER: &[(&str, &str)] = &[
    ("connections", "metadata that waits behind a throttle moves only from the system's lane (Q8)"),
    ("lanes", "it is the question"),
    ("queue", "a heartbeat waits for what waits in the client"),
];

#[test]
fn another_order_of_the_lanes_changes_exactly_the_answers_that_depend_on_it() {
    // First these, while the other test asks for those as shipped.
    let fifo: Vec<_> = QUESTIONS.iter().map(|question| question.answer(Order::Fifo)).collect();
    let shipped: BTreeMap<_, _> = shipped().iter().map(|answer| (answer.name, answer)).collect();
    let changed = fifo.iter().filter(|answer| answer.text() != shipped[answer.name].text());
    let changed: BTreeMap<_, _> = changed.map(|answer| (answer.name, answer.text())).collect();
    let names: BTreeSet<_> = changed.keys().copied().collect();
    let expected: BTreeSet<_> = BY_ORDER.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected, "{changed:#?}");
}

#[test]
fn names_are_unique_and_each_has_its_snapshot() {
    let names: BTreeSet<_> = QUESTIONS.iter().map(|question| question.name).collect();
    assert_eq!(names.len(), QUESTIONS.len());
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/questions");
    let kept = std::fs::read_dir(directory).expect("the snapshots are kept");
    let kept: BTreeSet<String> = kept
        .map(|file| file.expect("it is listed").file_name().to_string_lossy().into_owned())
        .collect();
    let expected: BTreeSet<String> = names.iter().map(|name| format!("{name}.snap")).collect();
    assert_eq!(kept, expected);
}

/// The answers as shipped, found once for all tests.
fn shipped() -> &'static [Answer] {
    static ANSWERS: OnceLock<Vec<Answer>> = OnceLock::new();
    let answers = || QUESTIONS.iter().map(|question| question.answer(Order::Lanes)).collect();
    ANSWERS.get_or_init(answers)
}
