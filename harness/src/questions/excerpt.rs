//! A run in virtual time as a trace: what went on the wire and what happened beside it, with dates.
//!
//! Requests of one kind that follow each other are one line, so that what differs is seen. Handshakes
//! and metadata, which go on by themselves, are left out.

use super::Trace;
use super::world::World;
use crate::table::grouped;

/// What happened beside the wire.
#[derive(Debug)]
pub(super) struct Mark {
    date: u64,
    /// So many requests were on the wire before it.
    after: usize,
    what: String,
}

impl World {
    /// Something happens that the wire does not show.
    pub(super) fn mark(&mut self, what: impl Into<String>) {
        self.marks.push(Mark { date: self.now, after: self.sent.len(), what: what.into() });
    }

    /// Everything that was sent or marked since the `from`th request.
    pub(super) fn excerpt(&self, of: impl Into<String>, from: usize) -> Trace {
        let mut rows: Vec<Row<'_>> = Vec::new();
        let mut marks = self.marks.iter().filter(|mark| mark.after >= from).peekable();
        for after in from..=self.sent.len() {
            while let Some(mark) = marks.next_if(|mark| mark.after == after) {
                rows.push(Row { first: mark.date, last: mark.date, times: 1, what: &mark.what });
            }
            let Some((date, _, api)) = self.sent.get(after) else { break };
            if ["ApiVersions", "Metadata"].contains(api) {
                continue;
            }
            match rows.last_mut().filter(|row| row.what == *api) {
                Some(row) => (row.last, row.times) = (*date, row.times + 1),
                None => rows.push(Row { first: *date, last: *date, times: 1, what: api }),
            }
        }
        let steps = rows.iter().enumerate();
        let steps = steps.map(|(at, row)| format!("{:>4}  {}", at + 1, row.text())).collect();
        Trace { of: of.into(), steps }
    }
}

/// A line of the excerpt.
struct Row<'a> {
    first: u64,
    last: u64,
    times: u64,
    what: &'a str,
}

impl Row<'_> {
    fn text(&self) -> String {
        let Self { first, last, times, what } = self;
        let first = grouped(*first);
        match times {
            1 => format!("{first:>9} ms  {what}"),
            _ => {
                format!("{first:>9} ms  {what}, {times} times until {} ms", grouped(*last))
            }
        }
    }
}
