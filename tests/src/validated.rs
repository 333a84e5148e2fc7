//! Every run of evenkeel's in a test is recorded and held against the model: always, also where a
//! test is about something else. With `EVENKEEL_RUNS=<folder>` they are kept there.

use evenkeel::ConsumerBuilder;
use evenkeel_harness::validate::{Run, Verdict, validate};
use std::cell::RefCell;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

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

/// Holds a recorded run against the model; says how many events it has.
///
/// # Errors
/// See [`Recording::check`].
pub fn check(text: &str) -> Result<usize, String> {
    let run = Run::parse(text).map_err(|error| format!("a recorded run: {error}"))?;
    let report = validate(&run);
    if report.verdict == Verdict::Permitted {
        return Ok(report.events);
    }
    let last = (report.events + 1).saturating_sub(LINES_SHOWN);
    let lines: Vec<_> = text.lines().skip(last).take(LINES_SHOWN).collect();
    Err(format!("{}\nafter\n{}", report.verdict, lines.join("\n")))
}

/// As long as it lives, what [`recorded`] builds on this thread is recorded; when it is dropped, all
/// of it must be permitted, else the test fails.
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
        for (number, recording) in recordings.into_iter().enumerate() {
            keep(number, &recording);
            if let Err(why) = recording.check() {
                panic!("a run of this test is not permitted: {why}");
            }
        }
    }
}

/// Records what is built.
///
/// # Panics
/// Outside of the life of a [`Validated`].
pub fn recorded(builder: ConsumerBuilder) -> ConsumerBuilder {
    let recording = Recording::default();
    RECORDINGS.with_borrow_mut(|recordings| {
        let recordings = recordings.as_mut().expect("a test begins with Validated::begin");
        recordings.push(recording.clone());
    });
    builder.record_run(recording)
}

/// Writes a run to the folder that `EVENKEEL_RUNS` names, under the test's name.
fn keep(number: usize, recording: &Recording) {
    let Some(folder) = std::env::var_os("EVENKEEL_RUNS") else { return };
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test").replace("::", "-");
    let file = Path::new(&folder).join(format!("{test}-{number}.jsonl"));
    std::fs::write(&file, recording.text()).expect("EVENKEEL_RUNS is a folder");
}

thread_local! {
    static RECORDINGS: RefCell<Option<Vec<Recording>>> = const { RefCell::new(None) };
}

/// How much of a run is told with what is wrong in it.
const LINES_SHOWN: usize = 14;
