//! evenkeel beside librdkafka, on the same machine in the same minutes.
//!
//! * `consume`: both read the same records from the test broker, which is a process of its own; what
//!   is compared is the client process's CPU time a record.
//! * `latency`: how late heartbeats are and how long commits take, with one connection a broker and
//!   with one of the group's own.
//! * `join`: on Apache Kafka, how long it takes from a second member's first poll until both
//!   members have their half.
//!
//! Only the ratios mean something: both sides are measured alternately, under the same load.

mod broker;
mod consume;
mod join;
mod latency;
mod reader;
mod sample;
mod workspace;

// From the tests' crate by path: a dependency on it would build the model and the harness too. The
// benches use a part of each, hence the allowed lints.
#[path = "../../src/kafka/mod.rs"]
#[allow(dead_code, unreachable_pub, unused_imports)]
mod kafka;
#[path = "../../src/process.rs"]
#[allow(dead_code, unreachable_pub, unused_imports)]
mod process;
#[path = "../../src/setup.rs"]
#[allow(dead_code, unreachable_pub, unused_imports)]
mod setup;
#[path = "../../src/wire.rs"]
#[allow(dead_code, unreachable_pub, unused_imports)]
mod wire;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::process::ExitCode;

/// Anything that ends a bench.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Debug, Parser)]
#[command(about = "Benches of evenkeel beside librdkafka")]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// CPU time of a client that reads from the test broker.
    Consume(consume::Args),
    /// Time from a second member's first poll until both have their half, on Apache Kafka.
    Join(join::Args),
    /// How late heartbeats are and how long commits take, on the test broker.
    Latency(latency::Args),
    /// One client that reads a topic to its end; `consume` starts it.
    #[command(hide = true)]
    Read(reader::Args),
    /// The test broker with full topics; `consume` starts it.
    #[command(hide = true)]
    Broker(broker::Args),
}

fn main() -> ExitCode {
    let done = match Command::parse().what {
        What::Consume(args) => consume::run(&args),
        What::Join(args) => join::run(&args),
        What::Latency(args) => latency::run(&args),
        What::Read(args) => reader::run(&args),
        What::Broker(args) => broker::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
