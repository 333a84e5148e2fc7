//! The table "call x error": it has every call, and stands in spec.

use evenkeel::error_rows;
use evenkeel_tests::api;
use std::collections::{BTreeMap, BTreeSet};

/// What a row says of its calls, each by its whole name.
fn named(calls: &str) -> Vec<String> {
    let mut named = Vec::new();
    for part in calls.split_inclusive('}').flat_map(|text| match text.split_once("::{") {
        Some((before, within)) => {
            let (alone, of) = before.rsplit_once(", ").unwrap_or(("", before));
            let within = within.trim_end_matches('}').split(", ");
            let within = within.map(|name| format!("{}::{name}", of.trim_start_matches(", ")));
            alone.split(", ").map(str::to_owned).chain(within).collect::<Vec<_>>()
        }
        None => text.split(", ").map(str::to_owned).collect(),
    }) {
        if !part.is_empty() {
            named.push(part);
        }
    }
    named
}

/// A call without a row would be one whose errors nobody is told of.
#[test]
fn the_table_names_every_public_call_that_can_fail_and_no_other() {
    assert_eq!(named("a, B::{c, d}, E::f, G::{h}"), ["a", "B::c", "B::d", "E::f", "G::h"]);
    let mut of_table = BTreeMap::<String, BTreeSet<String>>::new();
    for row in error_rows() {
        of_table.entry(row.error.to_owned()).or_default().extend(named(row.calls));
    }
    // These do not wait.
    of_table.retain(|error, _| !matches!(error.as_str(), "ConfigError" | "EnforceRebalanceError"));
    let mut of_api = BTreeMap::<String, BTreeSet<String>>::new();
    for (call, error) in api::waiting_calls() {
        if let Some(error) = error {
            of_api.entry(error).or_default().insert(call);
        }
    }
    assert_eq!(of_table, of_api);
}

#[test]
fn what_each_call_can_fail_with_is_the_table_in_spec() {
    let mut table = Vec::new();
    let mut error = "";
    for row in error_rows() {
        if row.error != error {
            error = row.error;
            table.push(format!("\n{error}"));
        }
        let again = if row.is_retriable { "again" } else { "-" };
        let differs =
            if row.differs.is_empty() { String::new() } else { format!("; {}", row.differs) };
        table.push(format!("  {:<17} {again:<6} {}", row.variant, row.remedy));
        table.push(format!("  {:<17} {:<6} by {}", "", "", row.calls));
        table.push(format!("  {:<17} {:<6} Java: {}{differs}", "", "", row.java));
        if let Some(reason) = row.unprovoked {
            table.push(format!("  {:<17} {:<6} not provoked: {reason}", "", ""));
        }
    }
    insta::with_settings!({
        snapshot_path => "../../../spec/snapshot",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!("call-errors", table.join("\n")) });
}
