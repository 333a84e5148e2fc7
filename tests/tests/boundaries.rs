//! Who may see whom: the edges of ARCHITECTURE.md section 2, as cargo resolves them.

use evenkeel_tests::workspace;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

type Edges = BTreeMap<String, BTreeSet<String>>;

/// What each crate that must stay clean may use, ours and others: its normal and its build
/// dependencies, of every target and whether optional or not.
const ALLOWED: &[(&str, &[&str])] = &[
    ("evenkeel-spec", &[]),
    ("evenkeel-core", &["evenkeel-spec"]),
    ("evenkeel-coordinator", &["evenkeel-spec"]),
];

/// Which of our crates must never be reached from which, over any number of edges.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("evenkeel-spec", &["evenkeel"]),
    ("evenkeel-core", &["evenkeel", "evenkeel-coordinator"]),
    ("evenkeel-coordinator", &["evenkeel", "evenkeel-core"]),
    ("evenkeel-model", &["evenkeel", "evenkeel-broker", "evenkeel-harness"]),
    (
        "evenkeel",
        &["evenkeel-coordinator", "evenkeel-model", "evenkeel-broker", "evenkeel-harness"],
    ),
    ("evenkeel-broker", &["evenkeel", "evenkeel-core", "evenkeel-model", "evenkeel-harness"]),
    // What is for a terminal or a browser is the command's alone.
    ("evenkeel-harness", &["evenkeel-command", "axum", "clap", "indicatif", "tracing-subscriber"]),
    ("evenkeel-tests", &["evenkeel-command"]),
];

#[test]
fn spec_sees_nothing_and_core_and_coordinator_see_only_spec() {
    let edges = edges();
    for (krate, allowed) in ALLOWED {
        let used: Vec<&str> = edges[*krate].iter().map(String::as_str).collect();
        assert_eq!(used, *allowed, "what {krate} depends on");
    }
}

#[test]
fn no_crate_reaches_one_it_must_not_know() {
    let edges = edges();
    for (from, forbidden) in FORBIDDEN {
        let reached = reachable(&edges, from);
        for to in *forbidden {
            assert!(!reached.contains(*to), "{from} reaches {to}");
        }
    }
}

#[test]
fn the_client_is_built_without_the_mutants() {
    let tree = cargo(&["tree", "-p", "evenkeel", "-e", "normal,features", "--prefix", "none"]);
    assert!(tree.contains("evenkeel-core"), "the tree does not show the core:\n{tree}");
    assert!(!tree.contains("mutants"), "the client's tree has the mutants:\n{tree}");
    // That the needle would be found where it is:
    let model = ["tree", "-p", "evenkeel-harness", "-e", "normal,features", "--prefix", "none"];
    assert!(cargo(&model).contains("mutants"), "the harness runs the mutants");
}

#[test]
fn reaching_goes_over_several_edges() {
    let one = |to: &str| BTreeSet::from([to.to_owned()]);
    let edges = Edges::from([("a".into(), one("b")), ("b".into(), one("c"))]);
    assert!(reachable(&edges, "a").contains("c"));
    assert!(!reachable(&edges, "b").contains("a"));
}

/// Normal and build dependencies of each crate of the workspace.
fn edges() -> Edges {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&text).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages are listed");
    let edges: Edges = packages.iter().map(|package| (name(package), used(package))).collect();
    assert!(edges.len() >= 9, "the workspace has nine crates, cargo shows {}", edges.len());
    edges
}

fn used(package: &Value) -> BTreeSet<String> {
    let all = package["dependencies"].as_array().expect("dependencies are listed");
    all.iter().filter(|dependency| dependency["kind"] != "dev").map(name).collect()
}

fn name(value: &Value) -> String {
    value["name"].as_str().expect("it has a name").into()
}

fn reachable(edges: &Edges, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(krate) = open.pop() {
        for next in edges.get(&krate).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    reached
}

fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo).current_dir(workspace::root()).args(args).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}
