//! What a question is answered with, and how it is told: a verdict, figures, a trace.

use crate::table::{Table, grouped};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The answer to a question.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Answer {
    /// The question's name.
    pub name: &'static str,
    /// The question.
    pub asked: &'static str,
    /// The answer in a sentence or two, with the figures that decide it.
    pub verdict: String,
    /// What was run, so that the figures can be judged.
    pub world: String,
    /// The figures.
    pub figures: Figures,
    /// Seeds the jitter of backoffs and of arrivals.
    pub seed: u64,
    /// The shortest way to what decides the question: a path of the model, or an excerpt of a run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<Trace>,
    /// The figures as a curve, where that says more.
    #[serde(skip)]
    pub curve: Option<Curve>,
}

/// Figures by alternative, in JSON an object of objects.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// What is compared.
    pub of: &'static str,
    /// What was counted or measured, with units.
    pub columns: Vec<&'static str>,
    /// Each alternative, and its figures in the order of the columns.
    pub rows: Vec<(String, Vec<Cell>)>,
}

/// One figure.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// A count or a measure.
    Number(u64),
    /// A word, as the name of a rule.
    Word(String),
}

/// The shortest way to what decides a question: a state that a rule forbids, or what a run led to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Trace {
    /// What it shows.
    pub of: String,
    /// A line each step.
    pub steps: Vec<String>,
}

/// Figures over a quantity, as lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Curve {
    /// What the figures are over, with its unit.
    pub x: &'static str,
    /// What they are, with their unit.
    pub y: &'static str,
    /// Each line's name and points.
    pub lines: Vec<(&'static str, Vec<(u64, u64)>)>,
}

impl Figures {
    /// Figures of what is compared, without a row yet.
    #[must_use]
    pub fn new(of: &'static str, columns: &[&'static str]) -> Self {
        Self { of, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// One more alternative.
    ///
    /// # Panics
    /// It has not one figure for each column.
    pub fn row(&mut self, name: impl Into<String>, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "a figure for each column");
        self.rows.push((name.into(), cells));
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<&str> for Cell {
    fn from(word: &str) -> Self {
        Self::Word(word.to_owned())
    }
}

impl From<String> for Cell {
    fn from(word: String) -> Self {
        Self::Word(word)
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = |cells: &'_ [Cell]| -> BTreeMap<&'static str, Cell> {
            self.columns.iter().copied().zip(cells.iter().cloned()).collect()
        };
        serializer.collect_map(self.rows.iter().map(|(name, cells)| (name, columns(cells))))
    }
}

impl Answer {
    /// The answer as text: a heading, the verdict, the figures, the trace.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { name, asked, verdict, world, figures, seed, traces, .. } = self;
        let mut head = vec![figures.of];
        head.extend(&figures.columns);
        let mut table = Table::new(&head, &[]);
        for (name, cells) in &figures.rows {
            let cells = cells.iter().map(|cell| match cell {
                Cell::Number(number) => grouped(*number),
                Cell::Word(word) => word.clone(),
            });
            table.row([name.clone()].into_iter().chain(cells).collect());
        }
        let table = table.text();
        let mut text =
            format!("# {name}\n{asked}\n\n{verdict}\n\n{table}\nMeasured: {world} Seed {seed}.\n");
        for Trace { of, steps } in traces {
            write!(text, "\n{of}:\n{}\n", steps.join("\n")).expect("a string takes any text");
        }
        text
    }
}

/// The figure that this share of all, in hundredths, does not exceed; 0 of none.
#[must_use]
pub fn percentile(figures: &[u64], hundredths: usize) -> u64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    sorted.get((last * hundredths).div_ceil(100)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Answer, Figures, percentile};

    #[test]
    fn percentiles_are_figures_that_occurred() {
        let figures: Vec<u64> = (1..=101).rev().collect();
        assert_eq!([0, 50, 99, 100].map(|share| percentile(&figures, share)), [1, 51, 100, 101]);
        assert_eq!(percentile(&[], 50), 0);
        assert_eq!(percentile(&[7], 99), 7);
    }

    #[test]
    fn an_answer_is_told_as_text_and_as_json() {
        let mut figures = Figures::new("design", &["calls", "ends"]);
        figures.row("one", vec![1_000_u64.into(), "well".into()]);
        let answer = Answer {
            name: "n",
            asked: "Which?",
            verdict: "One.".into(),
            world: "nothing.".into(),
            figures,
            seed: 1,
            traces: Vec::new(),
            curve: None,
        };
        let table = "design  calls  ends\none     1,000  well\n";
        let expected = format!("# n\nWhich?\n\nOne.\n\n{table}\nMeasured: nothing. Seed 1.\n");
        assert_eq!(answer.text(), expected);
        let json = serde_json::to_value(&answer).expect("it is told");
        assert_eq!(json["figures"]["one"]["calls"], 1_000);
        assert_eq!(json["figures"]["one"]["ends"], "well");
        assert!(json.get("traces").is_none(), "{json}");
    }
}
