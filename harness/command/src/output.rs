//! What goes to the terminal: tables and JSON on standard output, progress and complaints on
//! standard error.

use super::Failure;
pub(crate) use evenkeel_harness::table::{Table, grouped};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;

/// Writes text to standard output. That nobody reads it any more (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    emit(text).map(drop)
}

/// As [`print`]; false when nobody reads any more.
pub(super) fn emit(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes one JSON object to standard output.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(io::Error::from)?;
    print(&format!("{text}\n"))
}

/// Tells a failure on standard error.
pub(super) fn complain(failure: &impl std::fmt::Display) {
    // If standard error is gone too there is nobody left to tell.
    let _ = writeln!(io::stderr(), "evenkeel: {failure}");
}

/// A bar on standard error that counts to `length`. Invisible where that is no terminal.
pub(super) fn bar(length: u64, what: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg:<24} {bar:40} {human_pos}/{human_len} {elapsed}");
    let bar = ProgressBar::new(length).with_style(style.expect("the template is well formed"));
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

/// As [`bar`] for work whose end is not known.
pub(super) fn spinner(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg:<22} {elapsed}");
    let spinner =
        ProgressBar::new_spinner().with_style(style.expect("the template is well formed"));
    spinner.set_message(what.to_owned());
    spinner.enable_steady_tick(TICK);
    spinner
}

const TICK: Duration = Duration::from_millis(100);
