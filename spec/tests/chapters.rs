//! The chapters and the rules tell of the same sentences.

use evenkeel_spec::rules::Rule;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Each tagged sentence with everything up to the next blank line, by its tag.
fn sentences() -> BTreeMap<String, String> {
    let mut sentences = BTreeMap::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(folder).expect("the folder of the chapters can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a chapter can be read");
        for paragraph in text.split("\n\n") {
            if let Some((tag, _)) = paragraph.strip_prefix("**[").and_then(|p| p.split_once("]**"))
            {
                let twice = sentences.insert(tag.to_owned(), paragraph.to_owned());
                assert_eq!(twice, None, "{tag} is defined twice");
            }
        }
    }
    sentences
}

/// The rules that a sentence names.
fn named(sentence: &str) -> BTreeSet<String> {
    let Some((_, after)) = sentence.split_once("*Rule*") else { return BTreeSet::new() };
    let listed = after.split_once("*Source").map_or(after, |(listed, _)| listed);
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn each_rule_is_named_by_the_sentence_whose_tag_it_bears() {
    let sentences = sentences();
    for rule in Rule::ALL {
        let sentence = sentences.get(rule.tag());
        let names = sentence.map(|sentence| named(sentence)).unwrap_or_default();
        assert!(names.contains(&format!("{rule:?}")), "{rule:?} [{}]: {names:?}", rule.tag());
    }
}

#[test]
fn each_rule_that_a_sentence_names_exists() {
    let rules: BTreeSet<String> = Rule::ALL.iter().map(|rule| format!("{rule:?}")).collect();
    let mut count = 0;
    for (tag, sentence) in sentences() {
        for name in named(&sentence) {
            assert!(rules.contains(&name), "{tag} names {name}");
            count += 1;
        }
    }
    assert!(count >= Rule::ALL.len(), "only {count} rules are named");
}

#[test]
fn each_sentence_has_a_must() {
    for (tag, sentence) in sentences() {
        assert!(sentence.contains("MUST"), "{tag} demands nothing");
    }
}
