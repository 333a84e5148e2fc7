//! `evenkeel validate`: recorded runs, held against what the model permits.

use super::output::{Table, grouped, print, print_json};
use super::{Failure, Format, Outcome};
use crate::validate::{self, Run, Sensitivity, Tried, Verdict};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Say whether recorded runs are behaviours that the model permits.
///
/// A run is what one consumer writes down with `evenkeel consume --record FILE` or
/// `ConsumerBuilder::record_run`, against any cluster. It is held against the group machine that the
/// model checker explores, with an arbitrary coordinator at the other end. A refused run names its
/// first line that cannot be explained, and what could have stood there.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The recorded runs.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also alter one event at a time, in every way, and say how many alterations are refused.
    #[arg(long)]
    alterations: bool,
}

/// What validating found, as JSON.
#[derive(Debug, Serialize)]
struct Validated {
    runs: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alterations: Option<Altered>,
}

#[derive(Debug, Serialize)]
struct Row {
    file: String,
    client_id: String,
    group: String,
    events: usize,
    explanations_max: usize,
    /// The consumer was closed within the run.
    ended: bool,
    /// The last line was cut off, and is not looked at.
    truncated: bool,
    verdict: &'static str,
    /// Where it is refused or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    story: Option<String>,
}

#[derive(Debug, Serialize)]
struct Altered {
    tried: usize,
    refused: usize,
    percent: f64,
}

pub(super) fn run(args: &Args, format: Format) -> Result<Outcome, Failure> {
    let mut rows = Vec::new();
    let mut sensitivity = Sensitivity::default();
    for file in &args.files {
        let run = read(file)?;
        let row = Row::of(file, &run);
        if args.alterations && row.verdict == PERMITTED {
            let altered = validate::sensitivity(&run);
            sensitivity.add(altered.map_err(|report| given_up(file, &report.verdict))?);
        }
        rows.push(row);
    }
    let total = sensitivity.total();
    let Tried { tried, refused } = total;
    let altered = Altered { tried, refused, percent: total.percent() };
    let validated = Validated { runs: rows, alterations: args.alterations.then_some(altered) };
    match format {
        Format::Human => print(&validated.text())?,
        Format::Json => print_json(&validated)?,
    }
    Ok(Outcome::of(validated.runs.iter().all(|row| row.verdict == PERMITTED)))
}

fn read(file: &Path) -> Result<Run, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!("{} is no run that can be read: {why}", file.display()))
    };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    Run::parse(&text).map_err(|error| wrong(&error))
}

fn given_up(file: &Path, verdict: &Verdict) -> Failure {
    Failure::World(format!("{}: {verdict}", file.display()))
}

impl Row {
    fn of(file: &Path, run: &Run) -> Self {
        let report = validate::validate(run);
        let (verdict, line) = match &report.verdict {
            Verdict::Permitted => (PERMITTED, None),
            Verdict::Refused(refusal) => ("refused", Some(refusal.entry.line)),
            Verdict::GaveUp { line, .. } => ("gave_up", Some(*line)),
        };
        Self {
            file: file.display().to_string(),
            client_id: run.header.client_id.clone(),
            group: run.header.group.clone(),
            events: report.events,
            explanations_max: report.explanations_max,
            ended: report.ended,
            truncated: run.truncated,
            verdict,
            line,
            story: line.map(|_| report.verdict.to_string()),
        }
    }
}

impl Validated {
    fn text(&self) -> String {
        let head = ["run", "group", "verdict", "events", "explanations", "end"];
        let mut table = Table::new(&head, &[1, 2, 5]);
        for row in &self.runs {
            let end = match (row.ended, row.truncated) {
                (true, _) => "closed",
                (false, true) => "cut off within a line",
                (false, false) => "open",
            };
            table.row(vec![
                row.file.clone(),
                row.group.clone(),
                if row.verdict == PERMITTED { PERMITTED } else { "REFUSED" }.to_owned(),
                grouped(row.events),
                grouped(row.explanations_max),
                end.to_owned(),
            ]);
        }
        let mut text = String::new();
        for row in &self.runs {
            if let Some(story) = &row.story {
                text.push_str(&format!("{}: {story}\n", row.file));
            }
        }
        text.push_str(&table.text());
        if let Some(Altered { tried, refused, percent }) = &self.alterations {
            let (tried, refused) = (grouped(*tried), grouped(*refused));
            text.push_str(&format!(
                "{refused} of {tried} single-event alterations are refused ({percent:.1} %)\n"
            ));
        }
        text
    }
}

const PERMITTED: &str = "permitted";

const EXAMPLES: &str = "\
Examples:
  evenkeel consume --bootstrap localhost:9092 --group g --topic orders --record run.jsonl
  evenkeel validate run.jsonl
  evenkeel validate run.jsonl --alterations          how much would be noticed
  evenkeel validate *.jsonl --format json

Exit codes: 0 every run is permitted; 1 one is refused, or has more explanations than are looked at;
2 a file is no recorded run.";
