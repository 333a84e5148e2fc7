//! Validation of recorded runs: what it finds, and the command.
//!
//! The runs of `runs/` are those of some of the client's tests (`tests/tests/client`, in memory and
//! under paused time, with seeds), kept by `EVENKEEL_RUNS=<folder>`.

#[path = "../command/child.rs"]
#[expect(dead_code, reason = "the command's tests use all of it")]
mod child;
mod group;

use child::{Child, Ended, run};
use evenkeel_broker::Cluster;
use evenkeel_harness::validate::{
    Judged, Run, RunError, Sensitivity, Verdict, judge, sensitivity, validate,
};
use evenkeel_spec::rules::Rule;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;

#[test]
fn recorded_runs_are_permitted_and_at_least_85_of_100_alterations_of_them_refused() {
    let mut all = Sensitivity::default();
    for (name, text) in RUNS {
        let run = Run::parse(text).expect("it is a run");
        let report = validate(&run);
        assert_eq!(report.verdict, Verdict::Permitted, "{name}: {}", report.verdict);
        let of_run = sensitivity(&run).expect("it is permitted");
        assert!(of_run.total().percent() >= 85.0, "{name}: {:?}", of_run.total());
        all.add(of_run);
    }
    let total = all.total();
    eprintln!("{} of {} alterations refused: {:.1} %", total.refused, total.tried, total.percent());
    assert_eq!(total.gave_up, 0, "{total:?}");
    assert!(total.tried > 3_000 && total.percent() >= 90.0, "{total:?}");
    for field in ["epoch", "member", "request", "less partitions", "less offsets"] {
        assert!(all.by_kind[field].percent() >= 97.0, "{field}: {:?}", all.by_kind[field]);
    }
}

#[test]
fn a_heartbeat_at_another_epoch_is_refused_where_it_stands() {
    let text = one_member();
    let (before, after) = text.split_once("\"kind\":\"stay\",\"epoch\":2").expect("it stays");
    let altered = format!("{before}\"kind\":\"stay\",\"epoch\":3{after}");
    let line = before.lines().count();
    let Verdict::Refused(refusal) = validate(&Run::parse(&altered).expect("it is a run")).verdict
    else {
        panic!("another epoch is permitted")
    };
    assert_eq!(refusal.entry.line, line);
    assert!(refusal.to_string().contains("another epoch"), "{refusal}");
}

#[test]
fn a_rule_is_judged_from_the_lines_alone() {
    let text = one_member();
    let run = Run::parse(text).expect("it is a run");
    assert_eq!(judge(&run), Judged::default());
    let taken = "\"event\":\"assignment\",\"partitions\":[\"t-0\",";
    for (before, after, rule) in [
        (
            "\"kind\":\"join\",\"rebalance_timeout_ms\":300000,",
            "\"kind\":\"join\",",
            Rule::JoinIncomplete,
        ),
        (taken, "\"event\":\"assignment\",\"partitions\":[", Rule::AcknowledgedUntrue),
    ] {
        let altered = text.replacen(before, after, 1);
        assert_ne!(altered, text, "{rule:?}");
        let judged = judge(&Run::parse(&altered).expect("it is a run"));
        assert_eq!(judged.broken.map(|(rule, _)| rule), Some(rule));
    }
}

#[test]
fn what_is_no_run_is_told_by_its_line() {
    assert_eq!(Run::parse(""), Err(RunError::Empty));
    assert!(matches!(Run::parse("hello\n"), Err(RunError::NoRun { .. })));
    let later = one_member().replacen("\"evenkeel_run\":1", "\"evenkeel_run\":2", 1);
    assert_eq!(Run::parse(&later), Err(RunError::UnknownVersion { version: 2 }));
    let mut lines: Vec<_> = one_member().lines().collect();
    lines[4] = "{\"t\":0,\"event\":\"nod\"}";
    let ill_formed = Run::parse(&lines.join("\n"));
    assert!(matches!(ill_formed, Err(RunError::IllFormed { line: 5, .. })), "{ill_formed:?}");
}

#[test]
fn a_last_line_that_was_cut_off_is_told_and_not_judged() {
    let text = one_member();
    let cut = Run::parse(&text[..text.len() - 5]).expect("all but its last line is a run");
    assert!(cut.truncated);
    let report = validate(&cut);
    assert_eq!((report.verdict, report.ended), (Verdict::Permitted, false));
    assert!(!Run::parse(text).expect("it is whole").truncated);
}

#[test]
fn the_command_says_permitted_by_0_refused_by_1_and_no_run_by_2() {
    let permitted = file("permitted", one_member());
    let ended = command(&[&permitted], &["--format", "json", "--alterations"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let report: Value = serde_json::from_str(&ended.out).expect("one object");
    let told = &report["runs"][0];
    assert_eq!(told["verdict"], "permitted", "{report}");
    assert_eq!((&told["ended"], &told["truncated"]), (&true.into(), &false.into()), "{report}");
    assert_eq!(told["group"], "g");
    assert!(
        report["alterations"]["percent"].as_f64().is_some_and(|share| share > 85.0),
        "{report}"
    );

    let other = one_member().replacen("\"left\":true", "\"left\":false", 1);
    let refused = file("refused", &other);
    let ended = command(&[&permitted, &refused], &["--format", "json"]);
    assert_eq!(ended.code, 1, "{}", ended.out);
    let report: Value = serde_json::from_str(&ended.out).expect("one object");
    assert_eq!(report["runs"][1]["verdict"], "refused", "{report}");
    assert_eq!(report["runs"][1]["line"], one_member().lines().count(), "{report}");
    let told = command(&[&refused], &[]);
    assert!(told.out.contains("REFUSED") && told.out.contains("something else"), "{}", told.out);

    for (name, text) in [("other", "{\"evenkeel_run\":7}\n"), ("text", "hello\n"), ("empty", "")] {
        let wrong = file(name, text);
        let ended = command(&[&wrong], &[]);
        assert_eq!(ended.code, 2, "{name}: {}", ended.err);
        assert!(ended.err.contains(name), "the file is not named: {}", ended.err);
    }
    assert_eq!(command(&[Path::new("no-such-file.jsonl")], &[]).code, 2);
    let help = run(&["validate", "--help"]);
    assert!(help.out.contains("Example") && help.out.contains("--record"), "{}", help.out);
}

#[test]
fn what_consume_records_over_tcp_is_permitted() {
    let runtime = Runtime::new().expect("a runtime starts");
    let builder = Cluster::builder().topic("orders", 2);
    let cluster = builder.set("group.consumer.heartbeat.interval.ms", "50").build();
    let cluster = cluster.expect("the settings are sound");
    {
        let _guard = runtime.enter();
        cluster.listen(([127, 0, 0, 1], 0).into()).expect("some port is free");
    }
    for number in 0..10 {
        cluster.append("orders", number % 2, None, Some(b"value")).expect("the topic exists");
    }
    let recorded = file("recorded", "");
    let path = recorded.to_str().expect("the folder's name is text");
    let servers = cluster.bootstrap_servers();
    let mut args = vec!["consume", "--bootstrap", &servers, "--group", "g", "--topic", "orders"];
    args.extend(["--from-beginning", "--max-messages", "10", "--record", path]);
    let consumed = Child::start(&args).wait();
    assert_eq!((consumed.code, consumed.out.lines().count()), (0, 10), "{}", consumed.err);
    let ended = command(&[&recorded], &["--format", "json"]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let report: Value = serde_json::from_str(&ended.out).expect("one object");
    assert_eq!(report["runs"][0]["ended"], true, "{report}");
    assert!(report["runs"][0]["events"].as_u64().is_some_and(|events| events > 20), "{report}");
}

pub(crate) fn command(files: &[&Path], more: &[&str]) -> Ended {
    let mut args = vec!["validate"];
    args.extend(files.iter().map(|file| file.to_str().expect("a name is text")));
    args.extend(more);
    run(&args)
}

/// A file of this content, named so.
pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("validate-{name}.jsonl"));
    std::fs::write(&path, text).expect("the folder can be written to");
    path
}

fn one_member() -> &'static str {
    RUNS[0].1
}

const RUNS: &[(&str, &str)] = &[
    ("one_member", include_str!("runs/one_member.jsonl")),
    ("unsubscribe", include_str!("runs/unsubscribe.jsonl")),
    ("listener", include_str!("runs/listener.jsonl")),
    ("dropped_poll", include_str!("runs/dropped_poll.jsonl")),
    ("refused_commit", include_str!("runs/refused_commit.jsonl")),
    ("refused_member", include_str!("runs/refused_member.jsonl")),
    ("outage", include_str!("runs/outage.jsonl")),
    ("two_members", include_str!("runs/two_members.jsonl")),
    ("seek", include_str!("runs/seek.jsonl")),
];
