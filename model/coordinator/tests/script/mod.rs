//! Scripts: sequences of requests with the answers that a coordinator gives, as text.
//!
//! A file opens with `# Goal:` and `# Source:`; then blocks, a blank line apart: requests, one a
//! line, `----`, their answers, one a line. tests/sequences/README.md has the grammar. [`parse`]
//! knows nothing of who answers; [`World`] answers with our coordinator in virtual time.

// Each test uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod random;
mod world;

pub use world::World;

use evenkeel_spec::words::{Assignor, Epoch, HeartbeatEpoch, MemberId};

/// One file.
#[derive(Debug)]
pub struct Script {
    /// The lines that start with `#`.
    pub head: Vec<String>,
    /// The rest.
    pub blocks: Vec<Block>,
}

/// Requests and their answers.
#[derive(Debug)]
pub struct Block {
    /// The requests, as written and as understood.
    pub requests: Vec<(String, Request)>,
    /// The answers; `describe` has a line for the group and one for each member.
    pub answers: Vec<String>,
}

/// Partitions by topic name.
pub type Named = Vec<(String, u32)>;

/// One request.
#[derive(Clone, Debug)]
pub enum Request {
    /// `topic t1 partitions=2`: creates it, or adds partitions.
    Topic(String, u32),
    /// `delete t1`.
    Delete(String),
    /// `set consumer.assignment.interval.ms=1000`: a setting of this group.
    Set(String, u32),
    /// `heartbeat m0 epoch=0 timeout=60000 topics=t1 owned=- assignor=range`; what is not written is
    /// null on the wire.
    Heartbeat {
        member: MemberId,
        epoch: HeartbeatEpoch,
        timeout_ms: Option<u32>,
        topics: Option<Vec<String>>,
        owned: Option<Named>,
        assignor: Option<Assignor>,
    },
    /// `commit m0 epoch=2 t1[0]@5 note=10` or `commit - t1[0]@5`; `note`: the length of the metadata.
    Commit { owner: Option<(MemberId, Epoch)>, offsets: Vec<(String, u32, u64)>, note: usize },
    /// `fetch m0 epoch=2 t1[0,1]`, `fetch - all`.
    Fetch { owner: Option<(MemberId, Epoch)>, partitions: Option<Named> },
    /// `wait 1000`: that many milliseconds pass.
    Wait(u64),
    /// `failover`: another coordinator takes the group over.
    Failover,
    /// `describe`.
    Describe,
    /// `delete-group`.
    DeleteGroup,
}

/// Reads a file.
///
/// # Panics
/// When it is not well-formed, with the line.
pub fn parse(text: &str) -> Script {
    let (head, body): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
    let mut blocks = Vec::new();
    for block in body.split(|line| line.trim().is_empty()).filter(|block| !block.is_empty()) {
        let bar = block.iter().position(|line| *line == "----");
        let (requests, answers) = block.split_at(bar.unwrap_or(block.len()));
        blocks.push(Block {
            requests: requests.iter().map(|line| ((*line).to_owned(), request(line))).collect(),
            answers: answers.iter().skip(1).map(|line| (*line).to_owned()).collect(),
        });
    }
    Script { head: head.into_iter().map(str::to_owned).collect(), blocks }
}

/// The file of these answers.
pub fn render(script: &Script, answers: &[Vec<String>]) -> String {
    let mut text = script.head.join("\n") + "\n";
    for (index, (block, answers)) in script.blocks.iter().zip(answers).enumerate() {
        if index > 0 {
            text += "\n";
        }
        for (line, _) in &block.requests {
            text += line;
            text += "\n";
        }
        text += "----\n";
        for answer in answers {
            text += answer;
            text += "\n";
        }
    }
    text
}

/// Reads one request line.
pub fn request(line: &str) -> Request {
    let words: Vec<&str> = line.split_whitespace().collect();
    let bad = || -> ! { panic!("not a request: {line}") };
    let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| bad());
    let (command, rest) = words.split_first().unwrap_or_else(|| bad());
    let field =
        |name: &str| rest.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let plain = || rest.iter().skip(1).filter(|word| !word.contains('='));
    match *command {
        "topic" => Request::Topic(rest[0].to_owned(), number(field("partitions").unwrap_or("?"))),
        "delete" => Request::Delete(rest[0].to_owned()),
        "set" => {
            let (key, value) = rest[0].split_once('=').unwrap_or_else(|| bad());
            Request::Set(key.to_owned(), number(value))
        }
        "heartbeat" => Request::Heartbeat {
            member: member(rest[0]).unwrap_or_else(|| bad()),
            epoch: match field("epoch").unwrap_or("?") {
                "0" => HeartbeatEpoch::Join,
                "-1" => HeartbeatEpoch::Leave,
                epoch => HeartbeatEpoch::Stay(Epoch(number(epoch))),
            },
            timeout_ms: field("timeout").map(number),
            topics: field("topics").map(names),
            owned: field("owned").map(partitions),
            assignor: field("assignor").map(assignor),
        },
        "commit" => Request::Commit {
            owner: member(rest[0]).map(|m| (m, Epoch(number(field("epoch").unwrap_or("?"))))),
            offsets: plain().map(|word| offset(word).unwrap_or_else(|| bad())).collect(),
            note: field("note").map_or(0, |note| number(note) as usize),
        },
        "fetch" => Request::Fetch {
            owner: member(rest[0]).map(|m| (m, Epoch(number(field("epoch").unwrap_or("?"))))),
            partitions: match plain().next().copied() {
                Some("all") => None,
                Some(word) => Some(partitions(word)),
                None => bad(),
            },
        },
        "wait" => Request::Wait(u64::from(number(rest[0]))),
        "failover" => Request::Failover,
        "describe" => Request::Describe,
        "delete-group" => Request::DeleteGroup,
        _ => bad(),
    }
}

/// `t1[0,1],t2[3]`; `-` for none.
pub fn partitions(text: &str) -> Named {
    let mut named = Vec::new();
    for part in text.split_terminator(']').filter(|part| *part != "-") {
        let (topic, list) =
            part.trim_start_matches(',').split_once('[').expect("topic[partitions]");
        for partition in list.split(',') {
            named.push((topic.to_owned(), partition.parse().expect("a partition")));
        }
    }
    named
}

/// The text of some partitions, sorted by topic name.
pub fn render_partitions(named: impl IntoIterator<Item = (String, u32)>) -> String {
    let mut named: Named = named.into_iter().collect();
    named.sort();
    let mut text = String::new();
    let mut last: Option<&str> = None;
    for (topic, partition) in &named {
        match last {
            Some(last) if last == topic => text += &format!(",{partition}"),
            Some(_) => text += &format!("],{topic}[{partition}"),
            None => text += &format!("{topic}[{partition}"),
        }
        last = Some(topic);
    }
    if named.is_empty() { "-".to_owned() } else { text + "]" }
}

fn member(text: &str) -> Option<MemberId> {
    text.strip_prefix('m')?.parse().ok().map(MemberId)
}

fn names(text: &str) -> Vec<String> {
    text.split(',').filter(|name| *name != "-").map(str::to_owned).collect()
}

fn assignor(name: &str) -> Assignor {
    match name {
        "uniform" => Assignor::Uniform,
        "range" => Assignor::Range,
        other => Assignor::Other(other.into()),
    }
}

fn offset(text: &str) -> Option<(String, u32, u64)> {
    let (partition, offset) = text.split_once('@')?;
    let (topic, partition) = partition.strip_suffix(']')?.split_once('[')?;
    Some((topic.to_owned(), partition.parse().ok()?, offset.parse().ok()?))
}
