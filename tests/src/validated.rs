//! Every run of evenkeel's in a test is recorded and held against the model: always, also where a
//! test is about something else. Those of one group are held against each other, too. With `EVENKEEL_RUNS=<folder>` they are kept there.

use evenkeel::{ConsumerBuilder, Counts, Kind, Lane};
use evenkeel_harness::validate::{
    Event, GroupVerdict, Run, Unjudged, Verdict, validate, validate_group,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// A run that is being recorded. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Recording(Arc<Mutex<Vec<u8>>>);

impl Recording {
    /// What was recorded so far.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Holds what was recorded so far against the model.
    ///
    /// # Errors
    /// A sentence: what cannot be read, is not permitted, or has too many explanations.
    pub fn check(&self) -> Result<usize, String> {
        check(&self.text())
    }
}

impl Write for Recording {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Holds a recorded run against the model and the rules; says how many events it has.
///
/// # Errors
/// See [`Recording::check`].
pub fn check(text: &str) -> Result<usize, String> {
    let run = Run::parse(text).map_err(|error| format!("a recorded run: {error}"))?;
    let report = validate(&run);
    if report.verdict == Verdict::Permitted {
        return match report.unjudged {
            Some((line, why)) if !is_expected(&run, line, why) => {
                Err(format!("the rules do not judge it from line {line} on: {why}"))
            }
            _ => Ok(report.events),
        };
    }
    let last = (report.events + 1).saturating_sub(LINES_SHOWN);
    let lines: Vec<_> = text.lines().skip(last).take(LINES_SHOWN).collect();
    Err(format!("{}\nafter\n{}", report.verdict, lines.join("\n")))
}

/// Whether the run itself shows why the rules judge it no further: with any other reason a test would
/// be green and show nothing.
fn is_expected(run: &Run, line: usize, why: Unjudged) -> bool {
    let mut before = run.entries.iter().take_while(|entry| entry.line < line);
    let Some(at) = run.entries.iter().find(|entry| entry.line == line) else { return false };
    match why {
        Unjudged::Dropped => matches!(at.event, Event::Drop),
        Unjudged::UnknownError => matches!(at.event, Event::Lost { .. }),
        Unjudged::Overlaps => {
            let subscribes = |event: &Event| matches!(event, Event::Subscribe { .. });
            subscribes(&at.event) && before.any(|entry| subscribes(&entry.event))
        }
        Unjudged::Late => {
            let is_sent = matches!(at.event, Event::Heartbeat { .. } | Event::OffsetCommit { .. });
            is_sent && before.any(|entry| matches!(entry.event, Event::Waits { .. }))
        }
        Unjudged::IllFormed | Unjudged::Namesakes | Unjudged::Nameless => false,
    }
}

/// Holds the runs of one group against each other, all of one machine.
///
/// # Errors
/// A sentence: what cannot be read, or what cannot both be.
pub fn check_group<T: AsRef<str>>(texts: &[T]) -> Result<(), String> {
    let runs: Result<Vec<_>, _> = texts.iter().map(|text| Run::parse(text.as_ref())).collect();
    let runs = runs.map_err(|error| format!("a recorded run: {error}"))?;
    let report = validate_group(&runs.iter().collect::<Vec<_>>(), 0);
    match report.verdict {
        GroupVerdict::Permitted if report.dated => Ok(()),
        GroupVerdict::Permitted => Err("a run does not say when it began".to_owned()),
        GroupVerdict::Refused(overlap) => Err(overlap.to_string()),
    }
}

/// As long as it lives, what [`recorded`] builds on this thread is recorded; when it is dropped, all
/// of it must be permitted, and of every consumer that has ended each request must have ended once
/// (Q7), else the test fails.
#[derive(Debug)]
#[must_use = "it checks when it is dropped"]
pub struct Validated(());

impl Validated {
    /// Begins to record.
    pub fn begin() -> Self {
        RECORDINGS.with_borrow_mut(|recordings| *recordings = Some(Vec::new()));
        Self(())
    }
}

impl Drop for Validated {
    fn drop(&mut self) {
        let recordings = RECORDINGS.with_borrow_mut(Option::take).unwrap_or_default();
        if std::thread::panicking() {
            return;
        }
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (number, recorded) in recordings.into_iter().enumerate() {
            let Recorded { group, recording, mut requests } = recorded;
            keep(number, &recording);
            // Of one that was dropped and whose test is over, nobody says it.
            for (of, counts) in requests.try_recv().into_iter().flatten() {
                assert_eq!(counts.asked, counts.ended(), "Q7, {of:?}: every request ends once");
            }
            if let Err(why) = recording.check() {
                panic!("a run of this test is not permitted: {why}");
            }
            if let Some(group) = group {
                groups.entry(group).or_default().push(recording.text());
            }
        }
        for runs in groups.into_values() {
            if let Err(why) = check_group(&runs) {
                panic!("a group of this test is not permitted: {why}");
            }
        }
    }
}

/// Records what is built. It is checked alone: nobody says which cluster its group is in.
///
/// # Panics
/// Outside of the life of a [`Validated`].
pub fn recorded(builder: ConsumerBuilder) -> ConsumerBuilder {
    record(builder, None)
}

/// Records what is built, a member of this group of one cluster, whatever that is called.
///
/// # Panics
/// Outside of the life of a [`Validated`].
pub fn recorded_in(group: String, builder: ConsumerBuilder) -> ConsumerBuilder {
    record(builder, Some(group))
}

fn record(builder: ConsumerBuilder, group: Option<String>) -> ConsumerBuilder {
    let recording = Recording::default();
    let (watch, requests) = oneshot::channel();
    RECORDINGS.with_borrow_mut(|recordings| {
        let recordings = recordings.as_mut().expect("a test begins with Validated::begin");
        recordings.push(Recorded { group, recording: recording.clone(), requests });
    });
    builder.record_run(recording).watch_end(watch)
}

/// Writes a run to the folder that `EVENKEEL_RUNS` names, under the test's name.
fn keep(number: usize, recording: &Recording) {
    let Some(folder) = std::env::var_os("EVENKEEL_RUNS") else { return };
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test").replace("::", "-");
    let file = Path::new(&folder).join(format!("{test}-{number}.jsonl"));
    std::fs::write(&file, recording.text()).expect("EVENKEEL_RUNS is a folder");
}

/// A consumer that is watched.
struct Recorded {
    /// Whose other runs it is held against.
    group: Option<String>,
    recording: Recording,
    /// What became of all its requests, once it has ended.
    requests: oneshot::Receiver<BTreeMap<(Lane, Kind), Counts>>,
}

thread_local! {
    static RECORDINGS: RefCell<Option<Vec<Recorded>>> = const { RefCell::new(None) };
}

/// How much of a run is told with what is wrong in it.
const LINES_SHOWN: usize = 14;

#[cfg(test)]
mod tests {
    use super::check;

    const BEGIN: &str = concat!(
        r#"{"evenkeel_run":1,"client_id":"","group":"g","auto_commit":true,"#,
        r#""rebalance_timeout_ms":300000}"#,
        "\n",
        r#"{"t":0,"event":"subscribe","call":0,"topics":["t"],"listens":false}"#,
        "\n",
        r#"{"t":0,"event":"answered","call":0,"result":"done"}"#,
        "\n",
    );

    #[test]
    fn a_run_whose_consumer_is_dropped_is_judged_up_to_there() {
        let text = format!("{BEGIN}{}\n", r#"{"t":0,"event":"drop"}"#);
        assert_eq!(check(&text), Ok(3));
    }

    #[test]
    fn a_run_that_the_rules_cannot_judge_is_no_run_that_they_permit() {
        let topics =
            r#"{"00000000000000000000000000000010":"t","00000000000000000000000000000011":"t"}"#;
        let metadata = format!(r#"{{"t":0,"event":"metadata","topics":{topics},"brokers":[1]}}"#);
        let why = check(&format!("{BEGIN}{metadata}\n")).expect_err("two topics have one name");
        assert!(why.contains("from line 4 on: two topics have one name"), "{why}");
    }
}
