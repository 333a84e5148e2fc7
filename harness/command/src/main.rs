//! The `evenkeel` command: its grammar, its exit codes, and one file for each subcommand.
//!
//! Decides how what the project knows is asked for and told. Nothing is decided here about the
//! protocol; whoever wants the figures without a terminal calls the model or replay.

mod bench;
mod broker;
mod check;
mod consume;
mod explore;
#[cfg(feature = "jaeger")]
mod jaeger;
#[cfg(not(feature = "jaeger"))]
#[path = "jaeger/absent.rs"]
mod jaeger;
mod main_job;
mod output;
mod questions;
mod replay;
mod signal;
mod telemetry;
mod validate;

use clap::{Parser, Subcommand, ValueEnum};
use jaeger::Jaeger;
use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;
use telemetry::Delivery;
use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// A Kafka consumer whose group protocol is model-checked. Without a subcommand: the main job.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, about, long_about = LONG_ABOUT, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// How results are printed on standard output; progress and logs go to standard error.
    #[arg(long, value_enum, global = true, default_value_t = Format::Human)]
    format: Format,
    /// Show the client's spans in a Jaeger of this process, at localhost:PORT (16686), until Ctrl-C
    /// after the job is done: for the main job, replay and consume. Needs `--features jaeger`.
    #[arg(long, value_name = "PORT", global = true, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "16686")]
    jaeger: Option<u16>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// Tables and lines for people.
    Human,
    /// One JSON object; of `consume` one a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Explore small worlds exhaustively and judge every transition by the protocol's rules.
    Check(check::Args),
    /// Replay one trace for each abstract transition on what is shipped, compared after each step.
    Replay(replay::Args),
    /// Walk through a small world step by step in a web browser (stateright's Explorer).
    Explore(explore::Args),
    /// Say whether recorded runs are behaviours that the model permits.
    Validate(validate::Args),
    /// Answer the design questions by running: verdicts, figures, traces, curves.
    Questions(questions::Args),
    /// Measure the client in real time.
    Bench(bench::Args),
    /// Run a test broker that any Kafka client can use.
    Broker(broker::Args),
    /// Consume topics as a member of a group and print the records.
    Consume(consume::Args),
}

/// What a command that did its work has to say by its exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// All holds: 0.
    Holds,
    /// A violation, a survivor, a divergence, a lost record: 1.
    Found,
}

impl Outcome {
    fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Found }
    }
}

/// Why a command could not do its work, as a sentence for who typed it.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Failure {
    /// Wrong usage or configuration: 2.
    Usage(String),
    /// No broker, a port that is taken: 3.
    World(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) | Self::World(sentence) => f.write_str(sentence),
        }
    }
}

impl From<std::io::Error> for Failure {
    /// Of standard output, a runtime or signals: nothing that another usage would mend.
    fn from(error: std::io::Error) -> Self {
        Self::World(format!("the operating system refused: {error}"))
    }
}

/// The explorer makes and drops millions of small maps: a quarter of its time was the system's
/// allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the command that this process was started with. Exit codes: 0 all holds, 1 something was
/// found, 2 wrong usage or configuration, 3 the world failed.
fn main() -> ExitCode {
    let cli = Cli::parse();
    let jaeger = match cli.start_jaeger() {
        Ok(jaeger) => jaeger,
        Err(failure) => return ExitCode::from(code(Err(failure))),
    };
    let result = cli.run(jaeger.as_ref());
    // Whoever has to type it again waits for no page.
    let jaeger = jaeger.filter(|_| !matches!(result, Err(Failure::Usage(_))));
    let code = code(result);
    // What the job found is said already, and is the exit code whatever becomes of the page.
    if let Some(Err(failure)) = jaeger.map(|jaeger| jaeger.stay()) {
        output::complain(&failure);
    }
    ExitCode::from(code)
}

impl Cli {
    /// Starts what `--jaeger` asks for.
    fn start_jaeger(&self) -> Result<Option<Jaeger>, Failure> {
        let Some(port) = self.jaeger else { return Ok(None) };
        match &self.command {
            None | Some(Command::Replay(_) | Command::Consume(_)) => Jaeger::start(port).map(Some),
            Some(_) => Err(Failure::Usage(
                "--jaeger shows what the client does: in the main job, replay and consume".into(),
            )),
        }
    }

    /// Does what was asked; the last spans are on their way when it returns.
    fn run(self, jaeger: Option<&Jaeger>) -> Result<Outcome, Failure> {
        let Self { command, format, .. } = self;
        let _delivery = start_log(command.as_ref(), jaeger.map(Jaeger::url))?;
        match command {
            None => main_job::run(format),
            Some(Command::Check(args)) => check::run(&args, format),
            Some(Command::Replay(args)) => replay::run(&args, format),
            Some(Command::Explore(args)) => explore::run(&args, format),
            Some(Command::Validate(args)) => validate::run(&args, format),
            Some(Command::Questions(args)) => questions::run(&args, format),
            Some(Command::Bench(args)) => bench::run(&args, format),
            Some(Command::Broker(args)) => broker::run(args, format),
            Some(Command::Consume(args)) => consume::run(args, format),
        }
    }
}

/// The exit code of a result; a failure is told.
fn code(result: Result<Outcome, Failure>) -> u8 {
    match result {
        Ok(Outcome::Holds) => 0,
        Ok(Outcome::Found) => 1,
        Err(failure) => {
            output::complain(&failure);
            match failure {
                Failure::Usage(_) => 2,
                Failure::World(_) => 3,
            }
        }
    }
}

/// Logs to standard error what `RUST_LOG` asks for; without it the client's warnings while
/// consuming, and nothing else. Spans go to this Jaeger, else to `OTEL_EXPORTER_OTLP_ENDPOINT`
/// where it is set, the last of them when what is returned is dropped.
fn start_log(
    command: Option<&Command>,
    jaeger: Option<String>,
) -> Result<Option<Delivery>, Failure> {
    let unasked = match command {
        Some(Command::Consume(_)) => "evenkeel=warn,evenkeel::connection=off",
        _ => "off",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(unasked));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = log.with_ansi(std::io::stderr().is_terminal()).with_filter(filter);
    let endpoint = jaeger.or_else(|| std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok());
    let endpoint = endpoint.filter(|endpoint| !endpoint.trim().is_empty());
    let exported = endpoint.map(|endpoint| telemetry::layer(endpoint.trim())).transpose();
    let (exporter, delivery) = exported.map_err(Failure::Usage)?.unzip();
    let spans = Targets::new().with_target("evenkeel", Level::DEBUG);
    let exporter = exporter.map(|exporter| exporter.with_filter(spans));
    tracing_subscriber::registry().with(log).with(exporter).init();
    Ok(delivery)
}

/// Reads `KEY=VALUE`.
fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

const LONG_ABOUT: &str = "\
A Kafka consumer whose group protocol (KIP-848) is model-checked.

Without a subcommand the main job runs: explore the small worlds (\"slices\") exhaustively, \
replay their traces on the shipped core and the shipped client, then consume 1,000,000 records over TCP from the embedded broker with two members of which one leaves, \
and print one table.";

const EXAMPLES: &str = "\
Examples:
  evenkeel                                   the main job, under a minute
  evenkeel check one-member                  one slice: states, rules, liveness
  evenkeel check --mutants                   also seed every known fault: each must be found
  evenkeel replay one-member                 its traces on the shipped core and client, in virtual time
  evenkeel explore two-members               click through the protocol at localhost:3000
  evenkeel validate run.jsonl                a run that consume --record wrote: is it permitted?
  evenkeel questions                         why it is built as it is, in figures
  evenkeel bench lanes                       the wait of a heartbeat under load, in real time
  evenkeel broker --topic orders:6           a broker on localhost:9092, logs in memory
  evenkeel consume --bootstrap localhost:9092 --group g --topic orders --from-beginning

Exit codes: 0 all holds; 1 something was found; 2 wrong usage or configuration; 3 the world failed
(no broker, port taken). RUST_LOG=evenkeel=debug shows the client's log. Where
OTEL_EXPORTER_OTLP_ENDPOINT=http://host:4318 is set, the client's spans go there (OTLP/HTTP); with
--jaeger they are shown by this process itself.";

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }
}
