//! `evenkeel bench`: what can be measured without anybody else's client, in real time.

mod lanes;

use super::output::{Table, grouped, print, print_json};
use super::{Failure, Format, Outcome};
use lanes::{Lanes, Measured};
use serde::Serialize;

/// Measure what the client does in real time, against the embedded broker over TCP.
///
/// lanes: the wait of a heartbeat while the application asks for far more than can be done, with the
/// consumer's lanes, with one FIFO instead, and without load. Client, load and broker are in this
/// process, so measure on a machine with nothing else to do. A heartbeat is due one interval after
/// the broker has read the one before it, or when that one was answered, if that is later; its wait
/// ends when the broker reads it. The client's own clock counts whole milliseconds.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The benchmarks; all of them when none is named. There is one: lanes.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// lanes: how many heartbeats are measured in each scenario; fewer, where they do not come within
    /// twice their intervals.
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    heartbeats: u32,
    /// lanes: how many calls a second the application makes.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    offered: u32,
    /// lanes: the broker's heartbeat interval, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=60_000))]
    interval: u32,
}

/// What `bench` prints as JSON.
#[derive(Debug, Serialize)]
struct Report {
    benches: Vec<Bench>,
}

#[derive(Debug, Serialize)]
struct Bench {
    name: &'static str,
    figures: Measured,
}

pub(super) fn run(args: &Args, format: Format) -> Result<Outcome, Failure> {
    if let Some(name) = args.names.iter().find(|name| *name != NAME) {
        return Err(Failure::Usage(format!("there is no benchmark {name:?}; there is {NAME}")));
    }
    let Args { heartbeats, offered, interval, .. } = *args;
    let figures = lanes::measure(Lanes { heartbeats, offered, interval_ms: interval })?;
    match format {
        Format::Human => print(&text(&figures))?,
        Format::Json => print_json(&Report { benches: vec![Bench { name: NAME, figures }] })?,
    }
    Ok(Outcome::Holds)
}

fn text(measured: &Measured) -> String {
    let mut table = Table::new(
        &[
            "scenario",
            "heartbeats",
            "wait us p50",
            "p99",
            "max",
            "offered/s",
            "accepted/s",
            "refused/s",
            "completed/s",
            "joins",
        ],
        &[],
    );
    for (name, scenario) in &measured.scenarios {
        table.row(vec![
            (*name).to_owned(),
            grouped(scenario.heartbeats),
            grouped(scenario.wait_us_p50),
            grouped(scenario.wait_us_p99),
            grouped(scenario.wait_us_max),
            grouped(scenario.per_second(scenario.offered)),
            grouped(scenario.per_second(scenario.accepted)),
            grouped(scenario.per_second(scenario.refused)),
            grouped(scenario.per_second(scenario.completed)),
            grouped(scenario.joins),
        ]);
    }
    let Measured { lanes_to_no_load_p99, fifo_to_no_load_p99, .. } = measured;
    format!(
        "{}p99 with lanes {lanes_to_no_load_p99:.2} times that without load, in a FIFO \
         {fifo_to_no_load_p99:.2} times\n",
        table.text()
    )
}

const NAME: &str = "lanes";

const EXAMPLES: &str = "\
Examples:
  evenkeel bench                                   a minute for each of the three scenarios
  evenkeel bench lanes --heartbeats 500            a tenth of that
  evenkeel bench lanes --format json

JSON: {\"benches\":[{\"name\":\"lanes\",\"figures\":{\"interval_ms\",\"offered_per_second\",
\"lanes_to_no_load_p99\",\"fifo_to_no_load_p99\",\"scenarios\":{\"no load\":S,\"lanes\":S,\"fifo\":S}}}]}
where S is {\"heartbeats\",\"wait_us_p50\",\"wait_us_p99\",\"wait_us_max\",\"offered\",\"accepted\",\"refused\",
\"completed\",\"failed\",\"joins\",\"seconds\"}; a call that is not over at the end is accepted only.";
