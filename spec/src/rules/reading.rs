//! What an onlooker may see of one partition's records: each that is returned follows, in the log that it
//! comes from, on what was returned before. spec/11-positions.md.

use super::Rule;
use crate::words::Offset;
use std::fmt;

/// A record, as the log has it that it was read from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Read {
    /// Its offset.
    pub offset: Offset,
    /// The leader epoch that it was written in.
    pub epoch: u32,
    /// That of the record before it in the same log.
    pub before: Option<u32>,
}

/// What one application has read of one partition.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Reading {
    /// Where reading goes on; `None`: where a broker says.
    next: Option<Offset>,
    /// The leader epoch of the record before that, if the application has read it.
    last: Option<u32>,
    /// The leader epochs of what was read since reading began somewhere, from the first offset on.
    history: Vec<Option<u32>>,
    /// Nothing but a seek helps, and the application knows.
    is_stuck: bool,
}

impl Reading {
    /// A record is returned.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn on_returned(&mut self, read: Read) -> Result<(), Rule> {
        let Read { offset, epoch, before } = read;
        if self.is_stuck {
            return Err(Rule::ReadOnAfterLoss);
        }
        if self.next != Some(offset) {
            return Err(Rule::Misplaced);
        }
        if self.last.is_some() && self.last != before {
            return Err(Rule::ReadOnAfterLoss);
        }
        let place = place(offset);
        self.history.resize(place, None);
        self.history.push(Some(epoch));
        (self.next, self.last) = (Some(Offset(offset.0 + 1)), Some(epoch));
        Ok(())
    }

    /// The application is told that the log differs from here on: reading goes on here, and what was
    /// read before is still there.
    pub fn on_truncated(&mut self, offset: Offset) {
        let before = place(offset).checked_sub(1);
        let last = before.and_then(|before| self.history.get(before).copied().flatten());
        (self.next, self.last) = (Some(offset), last);
    }

    /// The application reads on from here, or the group's commit says so.
    pub fn on_placed(&mut self, offset: Offset, last: Option<u32>) {
        self.is_stuck = false;
        self.on_reset();
        (self.next, self.last) = (Some(offset), last);
        if last.is_some() {
            self.history.resize(place(offset).saturating_sub(1), None);
            self.history.push(last);
        }
    }

    /// The application is told that the position is lost, or seeks an end of the log: a broker says
    /// where reading goes on.
    pub fn on_reset(&mut self) {
        (self.next, self.last) = (None, None);
        self.history.clear();
    }

    /// The same by the application's wish.
    pub fn on_sought_end(&mut self) {
        self.is_stuck = false;
        self.on_reset();
    }

    /// A broker has said where an end of the log is. Of interest only where that was asked for.
    pub fn on_listed(&mut self, offset: Offset) {
        if self.next.is_none() {
            self.next = Some(offset);
        }
    }

    /// The application is told that nothing but a seek helps.
    pub fn on_stuck(&mut self) {
        self.is_stuck = true;
    }

    /// The last record that was returned, and where reading goes on.
    #[must_use]
    pub fn place(&self) -> (Option<Offset>, Option<u32>) {
        (self.next, self.last)
    }
}

fn place(offset: Offset) -> usize {
    usize::try_from(offset.0).expect("a small log")
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_stuck, self.next) {
            (true, _) => f.write_str("stuck"),
            (false, None) => f.write_str("reads on where a broker says"),
            (false, Some(next)) => match self.last {
                Some(last) => write!(f, "reads on at {}, after a record of {last}", next.0),
                None => write!(f, "reads on at {}", next.0),
            },
        }
    }
}
