//! `evenkeel consume` against the embedded broker, and against none.

use crate::child::{Child, Ended, PATIENCE, run};
use evenkeel::ErrorCode;
use evenkeel_broker::{Before, Cluster, Request};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const OFFSET_COMMIT: i16 = 8;
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
const CONSUMER_GROUP_DESCRIBE: i16 = 69;
/// What a pipe of Linux holds unless told otherwise.
const PIPE_BYTES: usize = 65_536;

/// A broker in this process, and the runtime that serves it.
struct Broker {
    cluster: Cluster,
    servers: String,
    _runtime: Runtime,
}

impl Broker {
    /// With a topic of two partitions that have five records each.
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime starts");
        let builder = Cluster::builder().topic("orders", 2);
        let builder = builder.set("group.consumer.heartbeat.interval.ms", "50");
        let cluster = builder.set("group.consumer.assignment.interval.ms", "0").build();
        let cluster = cluster.expect("the settings are sound");
        let _guard = runtime.enter();
        cluster.listen(([127, 0, 0, 1], 0).into()).expect("some port is free");
        for number in 0..10_u32 {
            let (key, value) = (format!("k {number}"), format!("v\t{number}"));
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            cluster.append("orders", number % 2, key, value).expect("the topic exists");
        }
        drop(_guard);
        Self { servers: cluster.bootstrap_servers(), cluster, _runtime: runtime }
    }

    /// The offsets that the group has committed, summed up.
    fn committed(&self, group: &str) -> u64 {
        let committed = (0..2).map(|partition| {
            let committed = self.cluster.committed(group, "orders", partition);
            committed.expect("the topic exists").map_or(0, |committed| committed.offset.0)
        });
        committed.sum()
    }

    /// Counts the requests of this key from now on.
    fn count(&self, key: i16) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        self.cluster.intercept(move |request: &Request| {
            counted.fetch_add(usize::from(request.api_key == key), Ordering::Relaxed);
            Before::Process
        });
        count
    }

    fn consume<'a>(&'a self, group: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["consume", "--bootstrap", &self.servers, "--group", group];
        args.extend(["--topic", "orders", "--from-beginning"]);
        args.extend(more);
        args
    }
}

fn event(line: &str) -> Value {
    let event: Value = serde_json::from_str(line).expect("each line is an object");
    assert!(event["timestamp"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000), "{event}");
    event
}

fn names(ended: &Ended) -> Vec<String> {
    let names = ended.out.lines().map(|line| event(line)["name"].as_str().map(str::to_owned));
    names.map(|name| name.expect("each event has a name")).collect()
}

#[test]
fn no_broker_is_told_in_a_sentence_that_says_what_to_do() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
        listener.local_addr().expect("it is bound").port()
    };
    let servers = format!("127.0.0.1:{port}");
    let started = Instant::now();
    let ended = run(&[
        "consume",
        "--bootstrap",
        &servers,
        "--group",
        "g",
        "--topic",
        "t",
        "--property",
        "default.api.timeout.ms=500",
    ]);
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(started.elapsed() < Duration::from_secs(10), "it took {:?}", started.elapsed());
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    for word in [servers.as_str(), "refused", "--bootstrap"] {
        assert!(ended.err.contains(word), "no {word} in: {}", ended.err);
    }
    assert!(ended.out.is_empty());
}

#[test]
fn wrong_properties_exit_with_2_and_name_their_key() {
    for (property, word) in [
        ("session.timeout.ms=1000", "session.timeout.ms"),
        ("max.poll.record=5", "max.poll.records"),
        ("enable.auto.commit=perhaps", "enable.auto.commit"),
    ] {
        let args = ["consume", "--bootstrap", "localhost:9092", "--group", "g", "--topic", "t"];
        let ended =
            run(&[args.as_slice(), &["--max-messages", "1", "--property", property]].concat());
        assert_eq!(ended.code, 2, "{}", ended.err);
        assert!(ended.err.contains(word), "{}", ended.err);
    }
}

#[test]
fn events_are_those_of_kafkas_verifiable_consumer() {
    let broker = Broker::start();
    let mut consumer = Child::start(&broker.consume("g", &["--events"]));
    assert_eq!(event(&consumer.line())["name"], "startup_complete");
    let assigned = event(&consumer.line());
    assert_eq!(assigned["name"], "partitions_assigned");
    assert_eq!(assigned["partitions"].as_array().map(Vec::len), Some(2), "{assigned}");
    assert_eq!(assigned["partitions"][0]["topic"], "orders");
    let (mut consumed, mut committed) = (0, 0);
    while committed < 10 {
        let event = event(&consumer.line());
        let sum = |list: &str, figure: &str| -> u64 {
            let parts = event[list].as_array().into_iter().flatten();
            parts.map(|part| part[figure].as_u64().expect("a number")).sum()
        };
        if event["name"] == "records_consumed" {
            consumed += event["count"].as_u64().expect("a count");
            assert_eq!(event["count"], sum("partitions", "count"));
            let first = &event["partitions"][0];
            let span = first["maxOffset"].as_u64().zip(first["minOffset"].as_u64());
            assert_eq!(span.map(|(last, first)| last - first + 1), first["count"].as_u64());
        } else {
            assert_eq!(event["name"], "offsets_committed", "{event}");
            assert_eq!(event["success"], true, "{event}");
            committed += sum("offsets", "offset");
        }
    }
    assert_eq!((consumed, broker.committed("g")), (10, 10));
    consumer.signal("TERM");
    let ended = consumer.wait();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(names(&ended), ["partitions_revoked", "shutdown_complete"]);
    let group = broker.cluster.describe_group("g").expect("it was named");
    assert!(group.members.is_empty(), "the member has left");
}

#[test]
fn a_bounded_run_prints_and_commits_exactly_so_many() {
    let broker = Broker::start();
    let ended = run(&broker.consume("g", &["--max-messages", "7"]));
    assert_eq!(ended.code, 0, "{}", ended.err);
    let lines: Vec<Vec<&str>> = ended.out.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), 7, "{}", ended.out);
    for line in lines {
        let [topic, partition, offset, timestamp, key, value] = line[..] else {
            panic!("six columns, not {line:?}");
        };
        assert_eq!(topic, "orders");
        let (partition, offset): (u64, u64) =
            (partition.parse().expect("a number"), offset.parse().expect("a number"));
        let number = offset * 2 + partition;
        assert!(timestamp.parse::<u64>().is_ok(), "{timestamp}");
        assert_eq!((key, value), (&*format!("k\\x20{number}"), &*format!("v\\t{number}")));
    }
    assert_eq!(broker.committed("g"), 7);
    // The rest comes to the next member of the group.
    let rest = run(&broker.consume("g", &["--max-messages", "3", "--format", "json"]));
    assert_eq!(rest.code, 0, "{}", rest.err);
    assert_eq!(rest.out.lines().count(), 3);
    for line in rest.out.lines() {
        let record: Value = serde_json::from_str(line).expect("each line is an object");
        assert_eq!(record["topic"], "orders");
        let key = record["key"].as_str().expect("a text");
        assert_eq!(record["value"].as_str(), Some(&*key.replace("k ", "v\t")));
    }
    assert_eq!(broker.committed("g"), 10);
}

#[test]
fn what_nobody_read_any_more_is_not_committed() {
    let broker = Broker::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(broker.consume("g", &[])).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    assert_eq!(out.lines().take(10).flatten().count(), 10);
    // Its reader is gone.
    for number in 0..10 {
        broker.cluster.append("orders", number % 2, None, Some(b"v")).expect("the topic exists");
    }
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(broker.committed("g"), 10);
}

#[test]
fn who_does_not_read_holds_up_neither_heartbeats_nor_the_end_and_nothing_of_it_is_committed() {
    // With events there is room for `startup_complete`: then a callback waits, else the records do.
    for (signal, more, room) in [("TERM", [].as_slice(), 0), ("INT", &["--events"], 100)] {
        let broker = Broker::start();
        let heartbeats = broker.count(CONSUMER_GROUP_HEARTBEAT);
        let (_unread, mut pipe) = std::io::pipe().expect("there are descriptors");
        pipe.write_all(&vec![b'.'; PIPE_BYTES - room]).expect("that much fits");
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(broker.consume("g", more)).stdin(Stdio::null()).stdout(pipe);
        let mut child = command.spawn().expect("the command starts");
        let deadline = Instant::now() + PATIENCE;
        let (mut code, mut is_asked) = (None, false);
        while code.is_none() && Instant::now() < deadline {
            // Two seconds of heartbeats: it has long been assigned everything.
            if !is_asked && heartbeats.load(Ordering::Relaxed) >= 40 {
                let id = child.id().to_string();
                let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status();
                assert!(sent.expect("kill runs").success(), "it is gone already");
                is_asked = true;
            }
            std::thread::yield_now();
            code = child.try_wait().expect("it is ours").map(|status| status.code());
        }
        // One that has ended already refuses to be killed; that is as good.
        let _ = child.kill();
        child.wait().expect("it has ended");
        assert!(is_asked, "no heartbeats: {more:?}");
        assert_eq!(code, Some(Some(0)), "{signal} {more:?}");
        assert_eq!(broker.committed("g"), 0, "{signal} {more:?}");
        let group = broker.cluster.describe_group("g").expect("it was named");
        assert!(group.members.is_empty(), "the member has left");
    }
}

#[test]
fn a_bounded_run_whose_commit_failed_has_found_something() {
    let broker = Broker::start();
    broker.cluster.intercept(|request: &Request| match request.api_key {
        OFFSET_COMMIT => Before::Forge(ErrorCode::InvalidCommitOffsetSize),
        _ => Before::Process,
    });
    let ended = run(&broker.consume("g", &["--max-messages", "10"]));
    assert_eq!((ended.code, ended.out.lines().count()), (1, 10), "{}", ended.err);
    assert!(ended.err.contains("comes again: orders-0, orders-1"), "{}", ended.err);
    assert_eq!(broker.committed("g"), 0);
}

#[test]
fn a_recording_is_kept_until_another_one_begins() {
    let broker = Broker::start();
    let file = std::env::temp_dir().join(format!("evenkeel-run-{}.jsonl", std::process::id()));
    let path = file.to_str().expect("it is text");
    let read = || std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, "x".repeat(100_000)).expect("it is ours");
    let record = ["--max-messages", "1", "--record", path];
    let wrong = [&record[..], &["--property", "session.timeout.ms=1"]].concat();
    assert_eq!(run(&broker.consume("g", &wrong)).code, 2);
    assert_eq!(read().len(), 100_000);
    assert_eq!(run(&broker.consume("g", &record)).code, 0);
    let lines = read();
    std::fs::remove_file(&file).expect("it is ours");
    assert!(!lines.is_empty());
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).expect("nothing of the old one is left");
        assert!(event.is_object(), "{line}");
    }
}

#[test]
fn a_bounded_run_commits_no_more_however_its_yes_is_spelled() {
    let broker = Broker::start();
    let yes = ["--max-messages", "3", "--property", "enable.auto.commit=True"];
    let ended = run(&broker.consume("g", &yes));
    assert_eq!((ended.code, ended.out.lines().count()), (0, 3), "{}", ended.err);
    assert_eq!(broker.committed("g"), 3);
}

#[test]
fn an_interrupted_consumer_commits_what_it_printed_and_leaves() {
    let broker = Broker::start();
    let mut consumer = Child::start(&broker.consume("g", &[]));
    for _ in 0..10 {
        consumer.line();
    }
    consumer.signal("INT");
    let ended = consumer.wait();
    assert_eq!((ended.code, &*ended.err), (0, ""));
    assert_eq!(broker.committed("g"), 10);
    assert!(broker.cluster.describe_group("g").expect("it was named").members.is_empty());
}

#[test]
fn topics_by_pattern_are_read_and_a_pattern_that_is_none_is_wrong_usage() {
    let broker = Broker::start();
    let by = |pattern| {
        let servers = ["consume", "--bootstrap", &broker.servers, "--group", "g"];
        let args =
            [&servers[..], &["--from-beginning", "--max-messages", "10", "--pattern", pattern]];
        run(&args.concat())
    };
    let read = by("ord.*");
    assert_eq!((read.code, read.out.lines().count()), (0, 10), "{}", read.err);
    assert_eq!(broker.committed("g"), 10);
    let refused = by("ord(");
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("--pattern"), "{}", refused.err);
    assert!(refused.err.contains("INVALID_REGULAR_EXPRESSION"), "{}", refused.err);
}

#[test]
fn while_nothing_arrives_explain_says_why_and_who_has_what_is_waited_for() {
    let broker = Broker::start();
    // It keeps what it has: its callbacks take longer than this test.
    let slow = ["--events", "--callback-ms", "100000", "--property", "client.id=slow"];
    let args = broker.consume("g", &slow);
    let mut first = Child::start(&args);
    while !first.line().contains("startup_complete") {}
    let deadline = Instant::now() + Duration::from_secs(60);
    while broker.cluster.describe_group("g").is_none_or(|group| group.members.is_empty()) {
        assert!(Instant::now() < deadline, "the first member joins");
        std::thread::yield_now();
    }
    let described = broker.count(CONSUMER_GROUP_DESCRIBE);
    let args = broker.consume("g", &["--explain", "1", "--topic", "absent"]);
    let second = Child::start(&args);
    // By the third time it has joined, and the first two were told.
    while described.load(Ordering::Relaxed) < 3 {
        assert!(Instant::now() < deadline, "it explains");
        std::thread::yield_now();
    }
    second.signal("TERM");
    let ended = second.wait();
    assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{}", ended.err);
    for expected in [
        "evenkeel: nothing arrived for ",
        "waits for the coordinator to assign something",
        "topic absent: does not exist",
        "not mine: another member has it, or none",
        ", 2 member(s)\n",
        "is still with ",
        " (slow at ",
    ] {
        assert!(ended.err.contains(expected), "{expected:?} is not in\n{}", ended.err);
    }
}
