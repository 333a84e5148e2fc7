//! How much CPU time a client needs for a million records.

use crate::process::Process;
use crate::reader::Client;
use crate::sample::Sample;
use crate::{Result, broker, reader};
use clap::ValueEnum;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What is read how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds; in each, every client reads every topic once, in an order that turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Records of 100 bytes that each reads; a fifth as many of 1 KiB.
    #[arg(long, default_value_t = 3_000_000)]
    records: u64,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 8)]
    partitions: u32,
}

/// One size of records.
#[derive(Clone, Copy, Debug)]
struct Case {
    topic: &'static str,
    value_bytes: u64,
    records: u64,
}

/// What one client needed in one case.
#[derive(Clone, Debug, Default)]
struct Cost {
    cpu_s_per_million: Sample,
    million_per_s: Sample,
}

/// Prints one table.
pub(crate) fn run(args: &Args) -> Result<()> {
    let dir = Scratch::new()?;
    let whole = |records: u64| records.next_multiple_of(u64::from(args.partitions.max(1)));
    let cases = [
        Case { topic: "small", value_bytes: 100, records: whole(args.records) },
        Case { topic: "large", value_bytes: 1_024, records: whole(args.records / 5) },
    ];
    let (_broker, bootstrap) = start_broker(&cases, args.partitions, &dir.0)?;
    let mut costs = vec![vec![Cost::default(); CLIENTS.len()]; cases.len()];
    for round in 0..args.rounds {
        for (case, costs) in cases.iter().zip(&mut costs) {
            for turn in 0..CLIENTS.len() {
                let client = (round + turn) % CLIENTS.len();
                let group = format!("{}-{round}-{client}", case.topic);
                let event = read(CLIENTS[client], *case, &bootstrap, &group, &dir.0)?;
                costs[client].note(case, &event)?;
            }
        }
    }
    for (case, costs) in cases.iter().zip(&costs) {
        print_case(case, costs, args.rounds);
    }
    Ok(())
}

fn start_broker(cases: &[Case], partitions: u32, dir: &Path) -> Result<(Process, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("broker");
    for Case { topic, value_bytes, records } in cases {
        command.arg("--topic").arg(format!("{topic}:{partitions}:{records}:{value_bytes}"));
    }
    let mut broker = Process::spawn("the broker", &mut command, &dir.join("broker.log"))?;
    let (_, event) = broker.await_event(0, "the broker's address", PATIENCE, |event| {
        event["name"] == broker::SERVES
    })?;
    let servers = event["servers"].as_str().ok_or("the broker told no address")?.to_owned();
    Ok((broker, servers))
}

fn read(client: Client, case: Case, bootstrap: &str, group: &str, dir: &Path) -> Result<Value> {
    let name = client.to_possible_value().expect("no client is hidden").get_name().to_owned();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["read", &name, "--bootstrap", bootstrap, "--group", group]);
    command.args(["--topic", case.topic, "--records", &case.records.to_string()]);
    let mut reader = Process::spawn(&name, &mut command, &dir.join("readers.log"))?;
    let read = |event: &Value| event["name"] == reader::READ;
    let (_, event) = reader.await_event(0, "the reader's cost", PATIENCE, read)?;
    reader.await_exit(PATIENCE)?;
    Ok(event)
}

impl Cost {
    fn note(&mut self, case: &Case, event: &Value) -> Result<()> {
        let number = |key: &str| event[key].as_f64().ok_or(format!("no {key} in {event}"));
        let (records, bytes) = (number("records")?, number("bytes")?);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let expected = ((case.records as f64), (case.records * case.value_bytes) as f64);
        if (records, bytes) != expected {
            return Err(
                format!("{records} records of {bytes} bytes instead of {expected:?}").into()
            );
        }
        self.cpu_s_per_million.push(number("cpu_s")? / records * 1e6);
        self.million_per_s.push(records / number("wall_s")? / 1e6);
        Ok(())
    }
}

fn print_case(case: &Case, costs: &[Cost], rounds: usize) {
    let Case { value_bytes, records, .. } = case;
    println!("\n{records} records of {value_bytes} B, {rounds} rounds, medians (least to most)");
    println!("{:<16} {:>30} {:>22}", "client", "CPU-s per million", "million/s (wall)");
    for (client, cost) in CLIENTS.iter().zip(costs) {
        let (cpu, rate) = (&cost.cpu_s_per_million, &cost.million_per_s);
        let spread = format!("({:.3} to {:.3})", cpu.quantile(0.0), cpu.quantile(1.0));
        let name = client.to_possible_value().expect("no client is hidden");
        let cpu = cpu.median();
        println!("{:<16} {cpu:>12.3} {spread:>17} {:>22.2}", name.get_name(), rate.median());
    }
    let ours = costs[0].cpu_s_per_million.median();
    for (client, cost) in CLIENTS.iter().zip(costs).skip(1) {
        let name = client.to_possible_value().expect("no client is hidden");
        let ratio = ours / cost.cpu_s_per_million.median();
        println!("CPU of evenkeel / {}: {ratio:.2}", name.get_name());
    }
}

/// A folder for the children's logs, deleted at the end.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("evenkeel-peers-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: what stays is a folder in the temp dir.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// evenkeel first: the others are what it is compared with.
const CLIENTS: [Client; 3] = [Client::Evenkeel, Client::Librdkafka, Client::LibrdkafkaCrc];
/// Longer than any reader or the broker's filling takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
