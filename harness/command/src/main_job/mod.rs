//! The main job: what `evenkeel` does without a subcommand.
//!
//! Belief, then product: the slices are explored and their traces replayed, then two shipped consumers read a million records
//! over TCP from the embedded broker while one of them leaves. One table, one exit code.

mod consume;

use super::check::{AnySlice, Report, examine};
use super::output::{Table, grouped, print, print_json};
use super::replay::{Replayed, TARGETS};
use super::{Failure, Format, Outcome};
use consume::{Consumed, consume};
use serde::Serialize;

/// What the main job prints as JSON.
#[derive(Debug, Serialize)]
struct Job {
    check: Report,
    replay: Replayed,
    consume: Consumed,
    ok: bool,
}

pub(super) fn run(format: Format) -> Result<Outcome, Failure> {
    let mut examined = examine(&AnySlice::all(), TARGETS);
    let targets = examined.iter_mut().flat_map(|slice| std::mem::take(&mut slice.replayed));
    let replay = Replayed::of(targets.collect());
    let check = Report::of_slices(examined);
    let consume = consume(RECORDS)?;
    let complete = replay.covers(AnySlice::replayable(&[])?.len());
    let ok = check.holds() && complete && replay.holds() && consume.holds();
    let job = Job { check, replay, consume, ok };
    match format {
        Format::Human => print(&job.text())?,
        Format::Json => print_json(&job)?,
    }
    Ok(Outcome::of(ok))
}

impl Job {
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
        table.row(vec![
            "consume".to_owned(),
            "two members, one leaves".to_owned(),
            verdict(self.consume.holds()),
            format!("{:.1}", self.consume.seconds),
            self.consume.figures(),
        ]);
        format!("{stories}{}", table.text())
    }
}

/// Records that are consumed.
const RECORDS: u64 = 1_000_000;
