//! Our coordinator's sequences, sent to Apache Kafka: the answers must be the same.
//!
//! The files are those of `model/coordinator/tests/sequences`, where the coordinator's own test
//! gives them to ours. Here each has a group and topics of its own. Epochs, error codes and
//! assignments are compared as written.

use crate::broker::Broker;
use crate::script::{self, Request};
use crate::{Outcome, Peers};
use evenkeel_tests::workspace;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Each sequence is answered by Apache Kafka as the file says.
pub(crate) fn sequences(peers: &Peers) -> Outcome {
    let address = peers.kafka()?.address(1);
    let (with_failover, sequences): (Vec<_>, Vec<_>) = read()?.into_iter().partition(fails_over);
    let count = with_failover.len() + sequences.len();
    assert!(count >= FILES_MIN, "only {count} sequences were found");
    let (next, told) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                while let Some((name, text)) = sequences.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let shared = || Err("the node is shared".into());
                    let verdict = compare(&address, name, text, shared);
                    told.lock().expect("no other thread panicked").extend(verdict);
                }
            });
        }
    });
    none(told.into_inner().expect("no thread panicked"))
}

/// Each sequence with a failover is answered by Apache Kafka as the file says: on a node of its own,
/// which is stopped and started again.
pub(crate) fn failovers(_: &Peers) -> Outcome {
    let sequences: Vec<_> = read()?.into_iter().filter(fails_over).collect();
    assert!(sequences.len() >= FAILOVERS_MIN, "only {} were found", sequences.len());
    let mut kafka = crate::cluster_for_sequences().start()?;
    let address = kafka.address(1);
    let mut told = Vec::new();
    for (name, text) in &sequences {
        let restart = || -> Outcome {
            kafka.stop_node(1)?;
            Ok(kafka.start_node(1)?)
        };
        told.extend(compare(&address, name, text, restart));
    }
    none(told)
}

fn none(mut told: Vec<String>) -> Outcome {
    told.sort();
    assert!(told.is_empty(), "{} sequences differ:\n\n{}", told.len(), told.join("\n\n"));
    Ok(())
}

/// Sends one sequence; `Some`: how Kafka's answers differ.
fn compare(
    address: &str,
    name: &str,
    text: &str,
    restart: impl FnMut() -> Outcome,
) -> Option<String> {
    let difference = answered(address, name, text, restart).map_or_else(
        |error| Some(format!("no answer: {error}")),
        |actual| difference(text, &actual),
    );
    difference.map(|difference| format!("{name}:\n{difference}"))
}

/// The file as Apache Kafka answers it.
fn answered(
    address: &str,
    name: &str,
    text: &str,
    mut restart: impl FnMut() -> Outcome,
) -> Result<String, Box<dyn std::error::Error>> {
    let script = script::parse(text);
    let mut broker = Broker::connect(address, name)?;
    if waits(text) {
        broker.handle(&Request::Set("consumer.session.timeout.ms".into(), SESSION_TIMEOUT_MS))?;
    }
    let mut answers = Vec::new();
    for block in &script.blocks {
        let mut lines = Vec::new();
        for (line, request) in &block.requests {
            if matches!(request, Request::Failover) {
                restart()?;
                broker.reconnect(address)?;
                lines.push("ok".to_owned());
                continue;
            }
            let answer = broker.handle(request).map_err(|error| format!("{line}: {error}"))?;
            lines.extend(answer);
        }
        answers.push(lines);
    }
    broker.clean_up()?;
    Ok(script::render(&script, &answers))
}

/// The lines of `wanted` that are not those of `actual`, in the manner of diff.
fn difference(wanted: &str, actual: &str) -> Option<String> {
    let (wanted, actual): (Vec<&str>, Vec<&str>) =
        (wanted.lines().map(comparable).collect(), actual.lines().map(comparable).collect());
    if wanted == actual {
        return None;
    }
    let start = wanted.iter().zip(&actual).take_while(|(a, b)| a == b).count();
    let tails = wanted[start..].iter().rev().zip(actual[start..].iter().rev());
    let same = tails.take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    for line in &wanted[..start] {
        text += &format!("    {line}\n");
    }
    for line in &wanted[start..wanted.len() - same] {
        text += &format!("  - {line}\n");
    }
    for line in &actual[start..actual.len() - same] {
        text += &format!("  + {line}\n");
    }
    Some(text)
}

/// Kafka's answer to a commit has a code a partition, also where the whole request was refused.
pub(crate) fn comparable(line: &str) -> &str {
    line.strip_suffix(" in a partition").unwrap_or(line)
}

fn read() -> std::io::Result<Vec<(String, String)>> {
    let folder = workspace::root().join("model/coordinator/tests/sequences");
    let mut sequences = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            sequences.push((name, fs::read_to_string(&path)?));
        }
    }
    sequences.sort_by_key(|(name, text)| (!waits(text), name.clone()));
    Ok(sequences)
}

/// Those that wait for timers begin first, so that the others run beside them.
fn waits(text: &str) -> bool {
    let script = script::parse(text);
    script.blocks.iter().flat_map(|b| &b.requests).any(|(_, r)| matches!(r, Request::Wait(_)))
}

fn fails_over((_, text): &(String, String)) -> bool {
    let script = script::parse(text);
    script.blocks.iter().flat_map(|b| &b.requests).any(|(_, r)| matches!(r, Request::Failover))
}

/// What the sequences that wait are written for. The others have the cluster's longer sessions.
const SESSION_TIMEOUT_MS: u32 = 3_000;
/// As many as the project promises by hand.
const FILES_MIN: usize = 60;
/// Sequences with a failover.
const FAILOVERS_MIN: usize = 2;
/// Most of a sequence's time is waiting; a broker with four I/O threads serves these at once.
const CONNECTIONS: usize = 6;
