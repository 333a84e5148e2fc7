//! Every tagged MUST of spec's chapters has code and a test, and every citation exists.

use evenkeel_tests::tags::Tags;
use evenkeel_tests::workspace;

#[test]
fn every_tagged_must_is_cited_by_code_and_by_a_test_and_every_citation_exists() {
    let tags = Tags::read(workspace::root()).expect("the sources can be read");
    assert!(!tags.defined.is_empty(), "no chapter under spec/ defines a tag");
    let told: Vec<String> = tags.faults().iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{} faults:\n{}", told.len(), told.join("\n"));
}
