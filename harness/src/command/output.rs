//! What goes to the terminal: tables and JSON on standard output, progress and complaints on
//! standard error.

use super::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;

/// A table whose columns are as wide as their widest cell. The first column is aligned left, and so
/// are those named so; the others right.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    left: &'static [usize],
}

impl Table {
    pub(super) fn new(head: &[&str], left: &'static [usize]) -> Self {
        Self { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()], left }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text, each row ended by a newline.
    pub(super) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, &width))| {
                if column == 0 || self.left.contains(&column) {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

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

/// A number with its thousands marked.
pub(super) fn grouped(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().map_or_else(|_| "too many".to_owned(), |n: u64| n.to_string());
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    text
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

#[cfg(test)]
mod tests {
    use super::{Table, grouped};

    #[test]
    fn thousands_are_marked() {
        let texts = [0_u64, 7, 999, 1_000, 12_345, 1_000_000].map(grouped);
        assert_eq!(texts, ["0", "7", "999", "1,000", "12,345", "1,000,000"]);
    }

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let mut table = Table::new(&["slice", "states", "verdict"], &[2]);
        table.row(vec!["one-member".into(), "7".into(), "holds".into()]);
        let expected = "slice       states  verdict\none-member       7  holds\n";
        assert_eq!(table.text(), expected);
    }
}
