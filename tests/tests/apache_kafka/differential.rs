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
    let sequences = read()?;
    assert!(sequences.len() >= FILES_MIN, "only {} sequences were found", sequences.len());
    let (next, told) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                while let Some((name, text)) = sequences.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = compare(&address, name, text);
                    told.lock().expect("no other thread panicked").extend(verdict);
                }
            });
        }
    });
    let mut told = told.into_inner().expect("no thread panicked");
    told.sort();
    assert!(told.is_empty(), "{} sequences differ:\n\n{}", told.len(), told.join("\n\n"));
    Ok(())
}

/// Sends one sequence; `Some`: how Kafka's answers differ, or that they should and do not.
fn compare(address: &str, name: &str, text: &str) -> Option<String> {
    let known = KNOWN.iter().find(|(known, _)| *known == name);
    if let Some((_, Why::NotSent)) = known {
        return None;
    }
    let difference = answered(address, name, text).map_or_else(
        |error| Some(format!("no answer: {error}")),
        |actual| difference(text, &actual),
    );
    match (difference, known) {
        (Some(difference), None) => Some(format!("{name}:\n{difference}")),
        (None, Some((_, why))) => Some(format!("{name}: listed as {why:?}, but answered alike")),
        _ => None,
    }
}

/// The file as Apache Kafka answers it.
fn answered(address: &str, name: &str, text: &str) -> Result<String, Box<dyn std::error::Error>> {
    let script = script::parse(text);
    let mut broker = Broker::connect(address, name)?;
    if waits(text) {
        broker.handle(&Request::Set("consumer.session.timeout.ms".into(), SESSION_TIMEOUT_MS))?;
    }
    let mut answers = Vec::new();
    for block in &script.blocks {
        let mut lines = Vec::new();
        for (line, request) in &block.requests {
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
fn comparable(line: &str) -> &str {
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

/// Why Kafka's answers to a sequence are not the file's.
#[derive(Clone, Copy, Debug)]
enum Why {
    /// It needs the coordinator to fail over, but the one node of the cluster is shared.
    NotSent,
}

/// The sequences that are known not to be answered alike. spec/09 explains each difference.
const KNOWN: &[(&str, Why)] = &[
    ("failover_keeps_what_the_log_says", Why::NotSent),
    ("failover_starts_sessions_anew", Why::NotSent),
];

/// What the sequences that wait are written for. The others have the cluster's longer sessions.
const SESSION_TIMEOUT_MS: u32 = 3_000;
/// As many as the project promises by hand.
const FILES_MIN: usize = 60;
/// Most of a sequence's time is waiting; a broker with four I/O threads serves these at once.
const CONNECTIONS: usize = 6;
