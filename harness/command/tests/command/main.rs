//! The `evenkeel` command as scripts see it: output, exit codes, signals.

mod child;
mod consume;

use child::{Child, run};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

#[test]
fn help_teaches_by_examples() {
    let help = run(&["--help"]);
    assert_eq!(help.code, 0);
    for word in ["check", "explore", "broker", "consume", "Examples:", "Exit codes:"] {
        assert!(help.out.contains(word), "no {word} in:\n{}", help.out);
    }
    for command in ["check", "explore", "broker", "consume"] {
        let help = run(&[command, "--help"]);
        assert_eq!(help.code, 0);
        assert!(help.out.contains("Example"), "{command} gives no example:\n{}", help.out);
    }
}

#[test]
fn a_wrong_flag_exits_with_2() {
    let ended = run(&["check", "--mutant"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.out.is_empty());
    assert!(ended.err.contains("--mutants"), "what was meant is not offered:\n{}", ended.err);
}

#[cfg(not(feature = "jaeger"))]
#[test]
fn a_jaeger_that_is_not_built_in_exits_with_2_and_says_how_to_build_it() {
    for args in [["--jaeger"].as_slice(), &["replay", "--jaeger=4000"]] {
        let ended = run(args);
        assert_eq!(ended.code, 2, "{}", ended.err);
        assert!(ended.err.contains("--features jaeger"), "{}", ended.err);
        assert!(ended.err.contains("protoc"), "{}", ended.err);
    }
}

#[test]
fn an_unknown_slice_exits_with_2_and_names_the_known_ones() {
    for command in ["check", "explore"] {
        let ended = run(&[command, "no-such-slice"]);
        assert_eq!(ended.code, 2, "{}", ended.err);
        for slice in evenkeel_model::bounds::slices() {
            assert!(ended.err.contains(slice.name), "{} is not named: {}", slice.name, ended.err);
        }
    }
}

#[test]
fn an_unknown_question_or_benchmark_exits_with_2_and_names_the_known_ones() {
    let ended = run(&["questions", "fifo"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.out.is_empty());
    for question in evenkeel_harness::questions::QUESTIONS {
        assert!(ended.err.contains(question.name), "{}: {}", question.name, ended.err);
    }
    let ended = run(&["bench", "records"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("lanes"), "{}", ended.err);
}

#[test]
fn questions_are_listed_and_answered_as_json_with_their_curve() {
    let listed = run(&["questions", "--list"]);
    assert_eq!(listed.code, 0);
    assert_eq!(listed.out.lines().count(), evenkeel_harness::questions::QUESTIONS.len());
    let directory = std::env::temp_dir().join(format!("evenkeel-{}", std::process::id()));
    let svg = directory.to_str().expect("it is text");
    let answered = run(&["questions", "lanes", "bulking", "--svg", svg, "--format", "json"]);
    let report: Value = serde_json::from_str(&answered.out).expect("standard output is one object");
    let names = report["questions"].as_array().expect("questions are listed").iter();
    let names: Vec<_> = names.map(|question| question["name"].as_str()).collect();
    assert_eq!(names, [Some("lanes"), Some("bulking")]);
    for question in report["questions"].as_array().expect("it is one") {
        assert!(question["verdict"].as_str().is_some_and(|text| !text.is_empty()), "{question}");
        assert!(question["figures"].as_object().is_some_and(|rows| rows.len() > 1), "{question}");
        assert!(question["seed"].is_u64(), "{question}");
    }
    let figures = &report["questions"][0]["figures"];
    assert_eq!(figures["full system first"]["evictions"], 0, "{figures}");
    assert!(figures["full FIFO"]["evictions"].as_u64().is_some_and(|n| n > 0), "{figures}");
    let files: Vec<_> = std::fs::read_dir(&directory).expect("it is made").flatten().collect();
    assert_eq!(files.len(), 1, "one of them is a curve");
    let drawn = std::fs::read_to_string(directory.join("lanes.svg")).expect("it is drawn");
    assert!(drawn.contains("<svg") && drawn.contains("FIFO"), "{drawn}");
    std::fs::remove_dir_all(&directory).expect("it is ours");
    assert_eq!(answered.code, 0, "{}", answered.err);
}

#[test]
fn the_lanes_are_measured_as_json() {
    let args = ["bench", "lanes", "--heartbeats", "10", "--offered", "5000", "--format", "json"];
    let measured = run(&args);
    let report: Value = serde_json::from_str(&measured.out).expect("standard output is one object");
    let bench = &report["benches"][0];
    assert_eq!(bench["name"], "lanes");
    let figures = &bench["figures"];
    assert_eq!(
        (&figures["interval_ms"], &figures["offered_per_second"]),
        (&10.into(), &5000.into())
    );
    for ratio in ["lanes_to_no_load_p99", "fifo_to_no_load_p99"] {
        assert!(figures[ratio].is_f64(), "{figures}");
    }
    for scenario in ["no load", "lanes", "fifo"] {
        let scenario = &figures["scenarios"][scenario];
        for figure in
            ["offered", "accepted", "refused", "completed", "failed", "joins", "wait_us_p50"]
        {
            assert!(scenario[figure].is_u64(), "{figure} in {scenario}");
        }
        assert!(scenario["heartbeats"].as_u64().is_some_and(|n| n > 0), "{scenario}");
        let [p50, p99, max] = ["wait_us_p50", "wait_us_p99", "wait_us_max"]
            .map(|figure| scenario[figure].as_u64().expect("it is a number"));
        assert!(p50 <= p99 && p99 <= max, "{scenario}");
    }
    assert_eq!(measured.code, 0, "{}", measured.err);
}

#[test]
fn a_taken_port_exits_with_3() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    for args in [["broker", "--port", &port].as_slice(), &["explore", "commits", "--port", &port]] {
        let ended = run(args);
        assert_eq!(ended.code, 3, "{args:?}: {}", ended.err);
        assert!(ended.err.contains(&port) && ended.err.contains("--port"), "{}", ended.err);
    }
}

#[test]
fn wrong_settings_exit_with_2_and_name_their_key() {
    let unknown = run(&["broker", "--set", "log.dirs=/tmp"]);
    assert_eq!(unknown.code, 2, "{}", unknown.err);
    assert!(unknown.err.contains("log.dirs"), "{}", unknown.err);
    let topic = run(&["broker", "--topic", "orders"]);
    assert_eq!(topic.code, 2, "{}", topic.err);
    assert!(topic.err.contains("NAME:PARTITIONS"), "{}", topic.err);
}

#[test]
fn a_checked_slice_is_told_as_json() {
    let checked = run(&["check", SMALLEST, "--format", "json"]);
    let report: Value = serde_json::from_str(&checked.out).expect("standard output is one object");
    let slices = report["slices"].as_array().expect("slices are listed");
    assert_eq!(slices.len(), 1);
    let slice = &slices[0];
    assert_eq!(slice["name"], SMALLEST);
    for figure in ["unique_states", "transitions", "depth"] {
        assert!(slice[figure].as_u64().is_some_and(|figure| figure > 0), "{figure} in {slice}");
    }
    assert!(slice["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{slice}");
    for verdict in ["exhausted", "settles", "always_can_settle"] {
        assert_eq!(slice[verdict], true, "{verdict} in {slice}");
    }
    assert_eq!(slice["violations"], Value::Array(Vec::new()));
    assert!(report.get("mutants").is_none(), "nobody asked for mutants");
    assert_eq!(checked.code, 0);
}

#[test]
fn a_replayed_slice_is_told_as_json_for_every_target() {
    let replayed = run(&["replay", SMALLEST, "--format", "json"]);
    let report: Value = serde_json::from_str(&replayed.out).expect("standard output is one object");
    let targets = report["targets"].as_array().expect("targets are listed");
    let names: Vec<_> = targets.iter().map(|target| target["target"].as_str()).collect();
    assert_eq!(names, [Some("core"), Some("client")]);
    for target in targets {
        assert_eq!(target["slice"], SMALLEST);
        assert_eq!(target["diverged"], 0, "{target}");
        let count = |figure: &str| target[figure].as_u64().expect("figures are counts");
        assert_eq!(count("goals"), count("replayed") + count("infeasible"), "{target}");
        assert!(count("replayed") > 100, "{target}");
    }
    assert_eq!(replayed.code, 0, "{}", replayed.err);
}

#[test]
fn the_broker_says_where_it_is_and_ends_at_a_signal() {
    for signal in ["TERM", "INT"] {
        let mut broker = Child::start(&["broker", "--port", "0", "--nodes", "2", "--topic", "t:1"]);
        let servers = broker.line();
        let addresses: Vec<_> = servers.split(',').collect();
        assert_eq!(addresses.len(), 2, "{servers}");
        for address in addresses {
            TcpStream::connect(address).expect("it listens there");
        }
        broker.signal(signal);
        assert_eq!(broker.wait().code, 0);
    }
}

#[test]
fn a_broker_that_has_run_out_of_descriptors_goes_on_when_there_are_some() {
    let mut shell = Command::new("sh");
    let broker = "ulimit -n 32 && exec \"$0\" broker --port 0 --topic t:1";
    shell.args(["-c", broker, env!("CARGO_BIN_EXE_evenkeel")]);
    let mut broker = Child::of(shell);
    let address = broker.line();
    let connect = || TcpStream::connect(&address).expect("it listens there");
    // More than it can take: the rest waits in the system's queue.
    let crowd: Vec<_> = (0..64).map(|_| connect()).collect();
    let patience = std::time::Duration::from_secs(30);
    let (begin, opened) = (std::time::Instant::now(), format!("/proc/{}/fd", broker.id()));
    while std::fs::read_dir(&opened).expect("it runs").count() < 32 {
        assert!(begin.elapsed() < patience, "it takes no more of those who wait");
        std::thread::yield_now();
    }
    drop(crowd);
    let mut stream = connect();
    stream.set_read_timeout(Some(patience)).expect("it is no zero");
    // ApiVersions, version 0, correlation id 7, no client id.
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255];
    stream.write_all(&request).expect("it is connected");
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer[4..], [0, 0, 0, 7]);
}

#[test]
fn mutants_are_told_as_json() {
    let hunted = run(&["check", SMALLEST, "--mutants", "--format", "json"]);
    let report: Value = serde_json::from_str(&hunted.out).expect("standard output is one object");
    let mutants = report["mutants"].as_array().expect("mutants are listed");
    assert!(!mutants.is_empty());
    for mutant in mutants {
        for name in ["name", "source", "rule"] {
            assert!(mutant[name].as_str().is_some_and(|text| !text.is_empty()), "{mutant}");
        }
        assert_eq!(mutant["slice"], SMALLEST);
        assert_eq!(mutant["killed"], true, "{mutant}");
        assert!(mutant["steps"].as_u64().is_some_and(|steps| steps > 0), "{mutant}");
    }
    assert_eq!(hunted.code, 0);
}

#[test]
fn the_explorer_shows_actions_and_the_world_after_them() {
    let members = ["\"subscribe c0\"", "\"subscribe c1\"", "granted - | held -"];
    let requests = ["\"call a\"", "\"fetch\"", "call #0 waits"];
    for (slice, all) in [("two-members", members), ("requests", requests)] {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
            listener.local_addr().expect("it is bound").port()
        };
        let mut explorer = Child::start(&["explore", slice, "--port", &port.to_string()]);
        let greeting = explorer.line();
        assert!(greeting.contains(&format!("http://localhost:{port}")), "{greeting}");
        let states = first_states(port);
        for told in all {
            assert!(states.contains(told), "no {told} in {states}");
        }
        explorer.signal("INT");
        assert_eq!(explorer.wait().code, 0);
    }
}

#[test]
fn the_explorer_tells_the_port_that_it_took_as_json() {
    let mut explorer = Child::start(&["explore", SMALLEST, "--port", "0", "--format", "json"]);
    let greeting: Value = serde_json::from_str(&explorer.line()).expect("it is one object");
    let url = greeting["url"].as_str().expect("a text");
    let port = url.strip_prefix("http://localhost:").and_then(|port| port.parse().ok());
    let port: u16 = port.unwrap_or_else(|| panic!("{url} has no port"));
    assert!(port > 0 && first_states(port).contains("\"action\""), "{url}");
    explorer.signal("INT");
    let ended = explorer.wait();
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
}

#[test]
fn a_slice_with_fewer_faults_than_it_is_made_for_need_not_reach_what_they_lead_to() {
    for slice in [SMALLEST, "one-member"] {
        let checked = run(&["check", slice, "--faults", "0"]);
        assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
        let row = checked.out.lines().find(|line| line.starts_with(slice));
        assert!(row.is_some_and(|row| row.trim_end().ends_with('-')), "{}", checked.out);
    }
}

#[test]
fn mutants_where_none_are_seeded_or_under_another_bound_are_wrong_usage() {
    for slice in ["two-faults", "deadlines"] {
        let ended = run(&["check", slice, "--mutants"]);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{}", ended.err);
        for word in [slice, "no fault is seeded", "two-members"] {
            assert!(ended.err.contains(word), "no {word} in: {}", ended.err);
        }
    }
    let ended = run(&["check", SMALLEST, "--mutants", "--faults", "0"]);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{}", ended.err);
    assert!(ended.err.contains("cannot be used with"), "{}", ended.err);
}

/// What the Explorer shows after the initial state, as it came.
fn first_states(port: u16) -> String {
    let deadline = Instant::now() + child::PATIENCE;
    let stream = loop {
        // It listens a moment after it has greeted.
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "the Explorer: {error}"),
        }
    };
    let ask = "GET /.states/0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    (&stream).write_all(ask.as_bytes()).expect("it is asked");
    let mut answer = String::new();
    (&stream).read_to_string(&mut answer).expect("it answers");
    answer
}

/// The slice with the fewest states.
const SMALLEST: &str = "commits";
