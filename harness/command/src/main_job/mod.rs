//! The main job: what `evenkeel` does without a subcommand.
//!
//! Belief, then product: the slices are explored and their traces replayed, then two shipped consumers read a million records
//! over TCP from the embedded broker while one of them leaves. One table, one exit code.

mod consume;

use super::check::{AnySlice, Report, examine};
use super::output::{Table, complain, grouped, print, print_json};
use super::replay::{Replayed, TARGETS};
use super::{Failure, Format, Outcome};
use consume::{Consumed, consume};
use serde::Serialize;

/// What the main job prints as JSON.
#[derive(Debug, Serialize)]
struct Job {
    check: Report,
    replay: Replayed,
    /// `None`: the world failed, as [`Job::failed`] says.
    consume: Option<Consumed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
    ok: bool,
}

pub(super) fn run(format: Format) -> Result<Outcome, Failure> {
    let mut examined = examine(&AnySlice::all(), TARGETS);
    let targets = examined.iter_mut().flat_map(|slice| std::mem::take(&mut slice.replayed));
    let replay = Replayed::of(targets.collect());
    let check = Report::of_slices(examined);
    let complete = replay.covers(AnySlice::replayable(&[])?.len());
    let (job, outcome) = Job::of(check, replay, complete, consume(RECORDS));
    match format {
        Format::Human => print(&job.text())?,
        Format::Json => print_json(&job)?,
    }
    outcome
}

impl Job {
    /// What was found comes before what failed: it is true of any world.
    fn of(
        check: Report,
        replay: Replayed,
        complete: bool,
        consumed: Result<Consumed, Failure>,
    ) -> (Self, Result<Outcome, Failure>) {
        let believed = check.holds() && complete && replay.holds();
        let (consume, failed, outcome) = match consumed {
            Ok(consumed) => {
                let outcome = Ok(Outcome::of(believed && consumed.holds()));
                (Some(consumed), None, outcome)
            }
            Err(failure) if believed => (None, Some(failure.to_string()), Err(failure)),
            Err(failure) => {
                complain(&failure);
                (None, Some(failure.to_string()), Ok(Outcome::Found))
            }
        };
        let ok = outcome == Ok(Outcome::Holds);
        (Self { check, replay, consume, failed, ok }, outcome)
    }

    fn text(&self) -> String {
        let verdict = |holds: bool| if holds { "holds" } else { "BROKEN" }.to_owned();
        let mut table = Table::new(&["part", "what", "verdict", "seconds", "figures"], &[1, 2, 4]);
        let mut stories = String::new();
        for slice in self.check.slices() {
            let (states, transitions) = (grouped(slice.unique_states), grouped(slice.transitions));
            table.row(vec![
                "check".to_owned(),
                slice.name.to_owned(),
                verdict(slice.holds()),
                format!("{:.1}", slice.seconds),
                format!("{states} states, {transitions} transitions, depth {}", slice.depth),
            ]);
            for line in slice.stories() {
                stories.push_str(line);
                stories.push('\n');
            }
        }
        self.replay.rows(&mut table);
        stories.push_str(&self.replay.stories());
        let (held, seconds, figures) = match &self.consume {
            Some(consumed) => {
                (verdict(consumed.holds()), format!("{:.1}", consumed.seconds), consumed.figures())
            }
            None => ("FAILED".to_owned(), "-".to_owned(), self.failed.clone().unwrap_or_default()),
        };
        let what = "two members, one leaves".to_owned();
        table.row(vec!["consume".to_owned(), what, held, seconds, figures]);
        format!("{stories}{}", table.text())
    }
}

/// Records that are consumed.
const RECORDS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::{Failure, Job, Outcome, Replayed, Report};

    #[test]
    fn what_was_found_is_told_and_is_the_exit_code_also_where_the_world_failed() {
        let failure = Failure::World("no port is free".to_owned());
        let job = |complete| {
            let (check, replay) = (Report::of_slices(Vec::new()), Replayed::of(Vec::new()));
            Job::of(check, replay, complete, Err(failure.clone()))
        };
        for (complete, outcome) in [(true, Err(failure.clone())), (false, Ok(Outcome::Found))] {
            let (job, ended) = job(complete);
            assert_eq!(ended, outcome);
            assert!(!job.ok && job.consume.is_none());
            let text = job.text();
            assert!(text.contains("FAILED") && text.contains("no port is free"), "{text}");
            let object = serde_json::to_value(&job).expect("it is an object");
            assert_eq!(object["failed"], "no port is free");
        }
    }
}
