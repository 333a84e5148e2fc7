//! `evenkeel replay`: the model's traces on what is shipped.

use super::check::AnySlice;
use super::output::{Table, bar, grouped, print, print_json};
use super::{Failure, Format, Outcome};
use clap::ValueEnum;
use evenkeel_harness::replay::{self, Progress, Target, TargetReport};
use evenkeel_model::explore::WitnessError;
use serde::Serialize;
use std::collections::BTreeSet;

/// Everything that traces are replayed on.
pub(super) const TARGETS: &[Target] = &[Target::Core, Target::Client];

/// What is replayed, on what.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The slices; all of them when none is named.
    slices: Vec<String>,
    /// What to replay on; may be given more than once. Everything there is when none is given.
    #[arg(long = "target", value_enum)]
    targets: Vec<TargetName>,
}

/// A target on the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum TargetName {
    /// The shipped shell and its machines, in virtual time.
    Core,
    /// The shipped tokio client against the test broker, in paused time.
    Client,
}

impl TargetName {
    fn target(self) -> Target {
        match self {
            Self::Core => Target::Core,
            Self::Client => Target::Client,
        }
    }
}

/// What replaying found, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Replayed {
    targets: Vec<Row>,
    #[serde(skip)]
    stories: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    target: &'static str,
    slice: &'static str,
    goals: usize,
    replayed: usize,
    diverged: usize,
    infeasible: usize,
    /// Whether enough was replayed.
    suffices: bool,
    /// The abstract transitions that no clock produces.
    infeasible_goals: Vec<String>,
    seconds: f64,
}

pub(super) fn run(args: &Args, format: Format) -> Result<Outcome, Failure> {
    let targets: Vec<Target> = match args.targets.as_slice() {
        [] => TARGETS.to_vec(),
        names => names.iter().map(|name| name.target()).collect(),
    };
    let slices = AnySlice::replayable(&args.slices)?;
    let bar = bar(0, "replay");
    let mut progress = |progress: Progress| {
        bar.set_message(progress.slice);
        bar.set_length(progress.of as u64);
        bar.set_position(progress.done as u64);
    };
    let reports = slices.iter().map(|slice| run_slice(slice, &targets, &mut progress));
    let reports: Result<Vec<_>, _> = reports.collect();
    bar.finish_and_clear();
    let reports = reports.map_err(|error| Failure::World(error.to_string()))?;
    let replayed = Replayed::of(reports.concat());
    match format {
        Format::Human => {
            let mut table =
                Table::new(&["part", "what", "verdict", "seconds", "figures"], &[1, 2, 4]);
            replayed.rows(&mut table);
            print(&format!("{}{}", replayed.stories(), table.text()))?;
        }
        Format::Json => print_json(&replayed)?,
    }
    Ok(Outcome::of(replayed.holds()))
}

fn run_slice(
    slice: &AnySlice,
    targets: &[Target],
    progress: &mut impl FnMut(Progress),
) -> Result<Vec<TargetReport>, WitnessError> {
    match slice {
        AnySlice::Group(slice) => {
            Ok(replay::run(std::slice::from_ref(slice), targets, progress)?.targets)
        }
        AnySlice::Requests(slice) => replay::requests::run(slice, targets, progress),
        AnySlice::Positions(_) | AnySlice::Turn(_) => unreachable!("they are not replayed"),
    }
}

impl Replayed {
    pub(super) fn of(reports: Vec<TargetReport>) -> Self {
        let stories = reports.iter().flat_map(|report| report.divergences.iter());
        let stories = stories.map(ToString::to_string).collect();
        let row = |report: TargetReport| Row {
            target: report.target.name(),
            slice: report.slice,
            goals: report.goals,
            replayed: report.replayed,
            diverged: report.diverged,
            suffices: report.suffices(),
            infeasible: report.infeasible.len(),
            infeasible_goals: report.infeasible.into_iter().map(|goal| goal.goal).collect(),
            seconds: report.seconds,
        };
        Self { targets: reports.into_iter().map(row).collect(), stories }
    }

    /// Whether every trace agreed with the model, and there were enough of them.
    pub(super) fn holds(&self) -> bool {
        self.targets.iter().all(Row::holds)
    }

    /// Whether as many slices were replayed.
    pub(super) fn covers(&self, slices: usize) -> bool {
        let names: BTreeSet<_> = self.targets.iter().map(|row| row.slice).collect();
        names.len() == slices
    }

    /// The divergences, in words.
    pub(super) fn stories(&self) -> String {
        self.stories.iter().map(|story| format!("{story}\n")).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate to print")]
    pub(super) fn rows(&self, table: &mut Table) {
        for row in &self.targets {
            let verdict = match row {
                _ if row.holds() => "holds",
                Row { diverged: 0, .. } => "TOO FEW",
                _ => "BROKEN",
            };
            let rate = row.replayed as f64 / row.seconds.max(f64::EPSILON);
            table.row(vec![
                "replay".to_owned(),
                format!("{} on {}", row.slice, row.target),
                verdict.to_owned(),
                format!("{:.1}", row.seconds),
                format!(
                    "{} of {} traces, {} diverged, {} infeasible, {rate:.0} traces/s",
                    grouped(row.replayed),
                    grouped(row.goals),
                    row.diverged,
                    row.infeasible,
                ),
            ]);
        }
    }
}

impl Row {
    fn holds(&self) -> bool {
        self.diverged == 0 && self.suffices
    }
}

#[cfg(test)]
mod tests {
    use super::{Replayed, Target, TargetReport};

    fn replayed(replayed: usize, diverged: usize) -> Replayed {
        Replayed::of(vec![TargetReport {
            target: Target::Client,
            slice: "one-member",
            goals: 200,
            replayed,
            least_percent: 90,
            diverged,
            infeasible: Vec::new(),
            seconds: 1.0,
            divergences: Vec::new(),
        }])
    }

    #[test]
    fn a_replay_holds_if_nothing_diverges_and_enough_was_replayed() {
        assert!(replayed(180, 0).holds());
        assert!(!replayed(180, 1).holds());
        assert!(!replayed(179, 0).holds());
        assert!(!replayed(0, 0).holds());
    }
}
