//! What the model's edges ask of the coordinator, asked of Apache Kafka and of ours: the answers
//! must be the same.
//!
//! Each sequence of [`crate::edges`] has a group of its own on topics that all share, and ends with
//! a description of the group. Epochs, error codes and assignments are compared as written, which
//! is more than by rank.

use crate::broker::Broker;
use crate::differential::comparable;
use crate::edges::Edges;
use crate::script::{self, Request, World};
use crate::{Outcome, Peers};
use evenkeel_coordinator::Config;
use evenkeel_model::bounds::{self, Slice};
use evenkeel_spec::words::Topic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// All sequences of slices with the same topics.
struct Cast {
    name: &'static str,
    topics: Vec<(String, u32)>,
    sequences: Vec<Vec<String>>,
    pairs: usize,
}

/// A sequence and Kafka's answers.
struct Answered {
    cast: usize,
    lines: Vec<String>,
    answers: Vec<String>,
}

/// Our coordinator gives Apache Kafka's answers to every sequence, and a wrong one does not.
pub(crate) fn edges(peers: &Peers) -> Outcome {
    let start = Instant::now();
    let casts = generate();
    let generated = start.elapsed();
    let count: usize = casts.iter().map(|cast| cast.sequences.len()).sum();
    let pairs: usize = casts.iter().map(|cast| cast.pairs).sum();
    assert!(count >= SEQUENCES_MIN, "only {count} sequences were generated");
    let address = peers.kafka()?.address(1);
    let start = Instant::now();
    let answered = ask_all(&address, &casts).map_err(|error| error.to_string())?;
    let requests: usize = answered.iter().map(|sequence| sequence.lines.len()).sum();
    eprintln!(
        "{count} sequences ({pairs} requests in different states) generated in {generated:.1?}; \
         {requests} requests answered by Apache Kafka in {:.1?}",
        start.elapsed()
    );
    let told = differences(&casts, &answered, &settings());
    let shown = told.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join("\n\n");
    assert!(told.is_empty(), "{} of {count} sequences differ:\n\n{shown}", told.len());
    for (what, wrong) in wrong_ones() {
        let told = differences(&casts, &answered, &wrong).len();
        eprintln!("{what}: {told} sequences differ");
        assert!(told > 0, "a coordinator with {what} was not told from Apache Kafka");
    }
    Ok(())
}

/// The settings of the cluster that all tests share.
fn settings() -> Config {
    World::new().config
}

/// Coordinators that must be found out.
fn wrong_ones() -> [(&'static str, Config); 2] {
    [
        ("a target that lags", Config { assignment_interval_ms: 1_000, ..settings() }),
        ("room for one member", Config { max_size: 1, ..settings() }),
    ]
}

/// The slices by their topics. `interval` has its targets at once, as the others.
fn generate() -> Vec<Cast> {
    let casts = [
        ("edges-1", vec![bounds::one_member(), bounds::commits(), bounds::interval()]),
        ("edges-2", vec![bounds::two_members(), bounds::two_faults()]),
    ];
    std::thread::scope(|scope| {
        let generating = casts.map(|(name, slices)| scope.spawn(move || cast(name, slices)));
        generating.map(|cast| cast.join().expect("the slices are sound")).into()
    })
}

fn cast(name: &'static str, slices: Vec<Slice>) -> Cast {
    let all = slices[0].topics.clone();
    let mut edges = Edges::default();
    for mut slice in slices {
        assert_eq!(slice.topics, all, "{} has the topics of its cast", slice.name);
        slice.coordinator = settings();
        edges.visit(&slice);
    }
    let topic = |topic: &Topic| (topic.name.as_str().to_owned(), topic.partitions);
    let owned = |lines: Vec<&str>| lines.into_iter().map(str::to_owned).collect();
    eprintln!("{name}: {} states, {} edges", edges.states, edges.edges);
    Cast {
        name,
        topics: all.values().map(topic).collect(),
        sequences: edges.sequences().into_iter().map(owned).collect(),
        pairs: edges.pairs(),
    }
}

/// Kafka's answers to all sequences, many groups at once.
fn ask_all(address: &str, casts: &[Cast]) -> Result<Vec<Answered>, Failure> {
    let mut all = Vec::new();
    for (at, cast) in casts.iter().enumerate() {
        let mut stage = Broker::connect(address, cast.name)?;
        stage.stage(&cast.topics)?;
        let stage = Arc::new(stage);
        let sequences = cast.sequences.iter();
        all.extend(sequences.map(|sequence| (at, Arc::clone(&stage), sequence)));
    }
    let (next, answered) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || -> Result<(), Failure> {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some((cast, stage, sequence)) = all.get(n) else { return Ok(()) };
            let mut group = stage.another_group(address, &format!("{}-{n}", casts[*cast].name))?;
            let answers = ask(sequence, |request| Ok(group.handle(request)?))?;
            let one = Answered { cast: *cast, lines: sequence.to_vec(), answers };
            answered.lock().expect("nobody panicked").push((n, one));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        let ends = workers.into_iter().map(|worker| worker.join().expect("nobody panicked"));
        ends.collect::<Result<Vec<()>, _>>()
    })?;
    let mut answered = answered.into_inner().expect("nobody panicked");
    answered.sort_by_key(|(n, _)| *n);
    Ok(answered.into_iter().map(|(_, one)| one).collect())
}

/// The answers to a sequence, and what the group looks like after it.
fn ask(
    lines: &[String],
    mut answer: impl FnMut(&Request) -> Result<Vec<String>, Failure>,
) -> Result<Vec<String>, Failure> {
    let mut answers = Vec::new();
    for line in lines {
        answers.extend(answer(&script::request(line))?);
    }
    answers.extend(answer(&Request::Describe)?);
    Ok(answers)
}

/// The sequences that a coordinator with these settings answers otherwise than Kafka did.
fn differences(casts: &[Cast], answered: &[Answered], config: &Config) -> Vec<String> {
    let mut told = Vec::new();
    for Answered { cast, lines, answers } in answered {
        let mut world = World::with(config.clone());
        for (name, partitions) in &casts[*cast].topics {
            world.create_topic(name, *partitions);
        }
        let ours = ask(lines, |request| Ok(world.handle(request)));
        let ours = ours.expect("our coordinator answers everything");
        if !ours.iter().zip(answers).all(|(ours, kafkas)| comparable(ours) == kafkas)
            || ours.len() != answers.len()
        {
            told.push(side_by_side(lines, &ours, answers));
        }
    }
    told
}

fn side_by_side(lines: &[String], ours: &[String], kafkas: &[String]) -> String {
    let mut text = String::new();
    for n in 0..ours.len().max(kafkas.len()) {
        let part = |all: &[String]| all.get(n).map_or("", String::as_str).to_owned();
        let (request, ours, kafkas) = (part(lines), part(ours), part(kafkas));
        text += &format!("    {request}\n        {kafkas}\n");
        if comparable(&ours) != kafkas {
            text += &format!("      - {ours}\n");
        }
    }
    text
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// As many as the project promises.
const SEQUENCES_MIN: usize = 2_000;
/// Kafka writes a group's records some milliseconds after it took them, with those of others.
const CONNECTIONS: usize = 24;
/// One difference seldom comes alone.
const SHOWN_MAX: usize = 5;
