//! `evenkeel validate`: recorded runs, held against what the model permits.

use super::output::{Table, grouped, print, print_json};
use super::{Failure, Format, Outcome};
use evenkeel_harness::validate::{
    self, GroupReport, GroupVerdict, Run, Sensitivity, Tried, Verdict,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Say whether recorded runs are behaviours that the model permits.
///
/// A run is what one consumer writes down with `evenkeel consume --record FILE` or
/// `ConsumerBuilder::record_run`, against any cluster. It is held against the group machine that the
/// model checker explores, with an arbitrary coordinator at the other end, and against the rules of
/// spec. A refused run names its first line that cannot be explained, and what could have stood there,
/// or the rule that it breaks. Runs of one group are held against each other, too: give all of them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The recorded runs.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also alter one event at a time, in every way, and say how many alterations are refused.
    #[arg(long)]
    alterations: bool,
    /// How much the clocks of the machines may differ that the runs of a group come from.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    clocks_differ_by_ms: u64,
}

/// What validating found, as JSON.
#[derive(Debug, Serialize)]
struct Validated {
    runs: Vec<Row>,
    /// Groups of which there are several runs.
    groups: Vec<GroupRow>,
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
    /// From this line on the rules of spec are not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    unjudged_from_line: Option<usize>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    unjudged_because: Option<String>,
    /// The rule that it breaks; without one a refused run is one that the machine cannot produce.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Where it is refused or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    story: Option<String>,
}

#[derive(Debug, Serialize)]
struct GroupRow {
    group: String,
    files: Vec<String>,
    memberships: usize,
    /// Every run says when it began: the runs were held against each other by date.
    dated: bool,
    steps: usize,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// The file that breaks it, and the line there.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    story: Option<String>,
}

#[derive(Debug, Serialize)]
struct Altered {
    tried: usize,
    refused: usize,
    /// Of which nothing is known: they have too many explanations.
    gave_up: usize,
    percent: f64,
}

pub(super) fn run(args: &Args, format: Format) -> Result<Outcome, Failure> {
    let mut rows = Vec::new();
    let mut groups: BTreeMap<String, Vec<(String, Run)>> = BTreeMap::new();
    let mut sensitivity = Sensitivity::default();
    for file in &args.files {
        let run = read(file)?;
        let row = Row::of(file, &run);
        if args.alterations && row.verdict == PERMITTED {
            let altered = validate::sensitivity(&run);
            sensitivity.add(altered.map_err(|report| given_up(file, &report.verdict))?);
        }
        groups.entry(row.group.clone()).or_default().push((row.file.clone(), run));
        rows.push(row);
    }
    groups.retain(|_, runs| runs.len() > 1);
    let groups: Vec<_> = groups
        .iter()
        .map(|(group, runs)| GroupRow::of(group, runs, args.clocks_differ_by_ms))
        .collect();
    let total = sensitivity.total();
    let Tried { tried, refused, gave_up } = total;
    let altered = Altered { tried, refused, gave_up, percent: total.percent() };
    let validated =
        Validated { runs: rows, groups, alterations: args.alterations.then_some(altered) };
    match format {
        Format::Human => print(&validated.text())?,
        Format::Json => print_json(&validated)?,
    }
    let mut verdicts = validated.runs.iter().map(|row| row.verdict);
    let mut of_groups = validated.groups.iter().map(|row| row.verdict);
    Ok(Outcome::of(verdicts.all(is_permitted) && of_groups.all(is_permitted)))
}

fn read(file: &Path) -> Result<Run, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!("{} is no run that can be read: {why}", file.display()))
    };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    Run::parse(&text).map_err(|error| wrong(&error))
}

fn is_permitted(verdict: &str) -> bool {
    verdict == PERMITTED
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
        let rule = match &report.verdict {
            Verdict::Refused(refusal) => refusal.rule.map(|rule| format!("{rule:?}")),
            Verdict::Permitted | Verdict::GaveUp { .. } => None,
        };
        Self {
            file: file.display().to_string(),
            unjudged_from_line: report.unjudged.map(|(line, _)| line),
            unjudged_because: report.unjudged.map(|(_, why)| why.to_string()),
            rule,
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

impl GroupRow {
    fn of(group: &str, runs: &[(String, Run)], clocks_differ_by_ms: u64) -> Self {
        let files: Vec<_> = runs.iter().map(|(file, _)| file.clone()).collect();
        let runs: Vec<_> = runs.iter().map(|(_, run)| run).collect();
        let report = validate::validate_group(&runs, clocks_differ_by_ms);
        let GroupReport { memberships, dated, steps, verdict } = report;
        let overlap = match &verdict {
            GroupVerdict::Permitted => None,
            GroupVerdict::Refused(overlap) => Some(overlap),
        };
        Self {
            group: group.to_owned(),
            memberships,
            dated,
            steps,
            verdict: if overlap.is_none() { PERMITTED } else { "refused" },
            rule: overlap.map(|overlap| format!("{:?}", overlap.rule)),
            file: overlap.map(|overlap| files[overlap.run].clone()),
            line: overlap.map(|overlap| overlap.entry.line),
            story: overlap.map(|overlap| {
                let other = overlap.other.map(|(run, line)| format!(" ({}:{line})", files[run]));
                let file = &files[overlap.run];
                format!("{file}: {overlap}{}", other.unwrap_or_default())
            }),
            files,
        }
    }

    fn text(&self) -> String {
        let Self { group, files, memberships, steps, .. } = self;
        let verdict = if self.verdict == PERMITTED { PERMITTED } else { "REFUSED" };
        let dated =
            if self.dated { "" } else { ", by epochs alone: a run does not say when it began" };
        let (runs, steps) = (files.len(), grouped(*steps));
        format!(
            "group {group}: {verdict} ({runs} runs, {memberships} memberships, {steps} steps{dated})\n"
        )
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
        for group in &self.groups {
            if let Some(story) = &group.story {
                text.push_str(&format!("{story}\n"));
            }
        }
        text.push_str(&table.text());
        for group in &self.groups {
            text.push_str(&group.text());
        }
        if let Some(Altered { tried, refused, gave_up, percent }) = &self.alterations {
            let (tried, refused) = (grouped(*tried), grouped(*refused));
            let unknown = match gave_up {
                0 => String::new(),
                _ => format!(", {} have too many explanations", grouped(*gave_up)),
            };
            text.push_str(&format!(
                "{refused} of {tried} single-event alterations are refused ({percent:.1} %){unknown}\n"
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

Exit codes: 0 every run and group is permitted; 1 one is refused, or has more explanations than are looked at;
2 a file is no recorded run.";
