//! What may happen next, and what it does: it feeds the shipped machine and carries out what it orders,
//! while the onlooker takes note.

use super::{Answer, Asks, PARTITION, Question, Slice, State};
use evenkeel_core::SeekTo;
use evenkeel_core::position::Position;
use evenkeel_core::request::ListedOffset;
use evenkeel_spec::rules::reading::Read;
use evenkeel_spec::words::{Committed, LeaderEpoch, Offset, Partitions};
use std::fmt;

/// Something that happens.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Action {
    /// The leader appends a record.
    Append,
    /// Another leader is elected, whose log has so many of the records.
    Elect(u8),
    /// Metadata tells who leads.
    Refresh,
    /// The consumer asks what its position needs.
    Ask,
    /// The broker reads the question.
    Read,
    /// The answer arrives.
    Answer,
    /// The question or its answer is lost.
    Lose,
    /// The backoff is over.
    Rested,
    /// The leader is asked for the record at the position, which comes, or is not there.
    Fetch,
    /// Poll returns what was fetched.
    Return,
    /// The application seeks to the first record, by its offset.
    SeekFirst,
    /// The application seeks to the end.
    SeekEnd,
    /// What was returned is committed, and the partition is taken away and given again.
    Reown,
}

impl Slice {
    /// Every action that has an effect, in a fixed order.
    pub(super) fn offer(state: &State, actions: &mut Vec<Action>) {
        let left = state.left;
        if left.appends > 0 {
            actions.push(Action::Append);
        }
        if left.elections > 0 {
            let kept = u8::try_from(state.log.len()).expect("a small log");
            actions.extend((0..=kept).map(Action::Elect));
        }
        if state.known < state.leader {
            actions.push(Action::Refresh);
        }
        match state.question {
            None if wanted(state).is_some() => actions.push(Action::Ask),
            Some(Question { answer: None, .. }) => actions.push(Action::Read),
            Some(_) => actions.push(Action::Answer),
            None => {}
        }
        if state.question.is_some() && left.losses > 0 {
            actions.push(Action::Lose);
        }
        if state.backs_off {
            actions.push(Action::Rested);
        }
        if state.fetches().is_some() {
            actions.push(Action::Fetch);
        }
        if state.buffered.is_some() && state.positions.may_read(PARTITION) {
            actions.push(Action::Return);
        }
        if left.moves > 0 {
            actions.extend([Action::SeekFirst, Action::SeekEnd, Action::Reown]);
        }
    }

    /// The state after `action`.
    pub(super) fn step(before: &State, action: Action) -> State {
        let mut state = before.clone();
        match action {
            Action::Append => {
                state.left.appends -= 1;
                state.log.push(state.leader);
            }
            Action::Elect(kept) => {
                state.left.elections -= 1;
                state.leader += 1;
                state.log.truncate(kept.into());
            }
            Action::Refresh => {
                state.known = state.leader;
                let epoch = Some(LeaderEpoch(state.leader));
                state.feed(|positions, out| positions.on_leaders(|_| epoch, out));
            }
            Action::Ask => state.ask(),
            Action::Read => {
                let question = state.question.expect("an action is offered for what there is");
                let answer = Some(state.read(question.asks));
                state.question = Some(Question { answer, ..question });
            }
            Action::Answer => state.answer(),
            Action::Lose => {
                state.left.losses -= 1;
                let question = state.question.take().expect("there is one");
                state.feed(|positions, out| {
                    positions.on_lost(PARTITION, question.incarnation, out);
                });
            }
            Action::Rested => {
                state.backs_off = false;
                state.positions.on_backoff(PARTITION);
            }
            Action::Fetch => state.fetch(),
            Action::Return => state.take(),
            Action::SeekFirst | Action::SeekEnd => state.seek(action == Action::SeekEnd),
            Action::Reown => state.reown(),
        }
        state
    }
}

/// What the machine wants to know next.
fn wanted(state: &State) -> Option<Question> {
    let positions = &state.positions;
    let committed = positions.committed_wanted().remove(&PARTITION);
    let committed = committed.map(|incarnation| (Asks::Committed, incarnation));
    let listed = || {
        let (incarnation, start) = positions.listed_wanted().remove(&PARTITION)?;
        Some((Asks::Listed(start, state.known), incarnation))
    };
    let validated = || {
        let (incarnation, question) = positions.validations_wanted().remove(&PARTITION)?;
        Some((Asks::Epoch(question), incarnation))
    };
    let (asks, incarnation) = committed.or_else(listed).or_else(validated)?;
    Some(Question { asks, incarnation, answer: None })
}

impl State {
    fn feed(
        &mut self,
        input: impl FnOnce(
            &mut evenkeel_core::position::Positions,
            &mut Vec<evenkeel_core::position::Order>,
        ),
    ) {
        let mut out = Vec::new();
        input(&mut self.positions, &mut out);
        self.carry_out(out);
    }

    fn ask(&mut self) {
        let question = wanted(self).expect("an action is offered for what there is");
        self.positions.on_asked(PARTITION);
        self.question = Some(question);
    }

    fn answer(&mut self) {
        let question = self.question.take().expect("an action is offered for what there is");
        let incarnation = question.incarnation;
        assert!(question.answer.is_some(), "an answer was read before");
        match question.answer {
            Some(Answer::Committed(offset, epoch)) => {
                let leader_epoch = epoch.map(LeaderEpoch);
                let committed = Committed { leader_epoch, ..Committed::at(offset) };
                self.feed(|positions, out| {
                    positions.on_committed(PARTITION, incarnation, Ok(Some(committed)), out);
                });
            }
            Some(Answer::Listed(found)) => {
                let found = found.map(|offset| {
                    Some(ListedOffset { offset, leader_epoch: None, timestamp_ms: None })
                });
                self.feed(|positions, out| {
                    positions.on_listed(PARTITION, incarnation, found, out);
                });
            }
            Some(Answer::Epoch(end)) => {
                self.feed(|positions, out| {
                    positions.on_epoch_end(PARTITION, incarnation, end, out);
                });
            }
            None => {}
        }
    }

    fn fetch(&mut self) {
        let at = self.fetches().expect("an action is offered for what there is");
        let place = usize::try_from(at.0).expect("a small log");
        match self.log.get(place) {
            Some(epoch) => {
                self.buffered = Some(Read { offset: at, epoch: *epoch, before: self.before(at) });
            }
            None => self.feed(|positions, out| positions.on_out_of_range(PARTITION, at, out)),
        }
    }

    fn take(&mut self) {
        let read = self.buffered.take().expect("an action is offered for what there is");
        let seen = self.seen.on_returned(read);
        self.judge(seen);
        let leader_epoch = Some(LeaderEpoch(read.epoch));
        let next = Position { offset: Offset(read.offset.0 + 1), leader_epoch };
        self.positions.on_advanced(PARTITION, next);
    }

    fn seek(&mut self, to_end: bool) {
        self.left.moves -= 1;
        self.buffered = None;
        let to = if to_end {
            self.seen.on_sought_end();
            SeekTo::End
        } else {
            self.seen.on_placed(Offset(0), None);
            SeekTo::Offset(Offset(0))
        };
        self.feed(|positions, out| positions.on_seek(PARTITION, to, out));
    }

    fn reown(&mut self) {
        self.left.moves -= 1;
        self.buffered = None;
        let (next, last) = self.seen.place();
        if let Some(next) = next {
            self.committed = (next, last);
        }
        self.seen.on_placed(self.committed.0, self.committed.1);
        let all = Partitions::from([PARTITION]);
        let epoch = Some(LeaderEpoch(self.known));
        self.feed(|positions, out| {
            positions.on_released(&all, out);
            positions.on_owned(&all);
            positions.on_leaders(|_| epoch, out);
            positions.on_fetch(&all);
        });
    }
}

impl Action {
    /// The fair schedule's order; `None`: a whim or a fault.
    pub(super) fn urgency(&self) -> Option<u8> {
        match self {
            Self::Answer => Some(0),
            Self::Read => Some(1),
            Self::Ask => Some(2),
            Self::Refresh => Some(3),
            Self::Return => Some(4),
            Self::Fetch => Some(5),
            Self::Rested => Some(6),
            Self::Append
            | Self::Elect(_)
            | Self::Lose
            | Self::SeekFirst
            | Self::SeekEnd
            | Self::Reown => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append => f.write_str("append"),
            Self::Elect(kept) => write!(f, "elect {kept}"),
            Self::Refresh => f.write_str("metadata"),
            Self::Ask => f.write_str("ask"),
            Self::Read => f.write_str("read"),
            Self::Answer => f.write_str("answer"),
            Self::Lose => f.write_str("lose"),
            Self::Rested => f.write_str("timer backoff"),
            Self::Fetch => f.write_str("fetch"),
            Self::Return => f.write_str("return"),
            Self::SeekFirst => f.write_str("seek first"),
            Self::SeekEnd => f.write_str("seek end"),
            Self::Reown => f.write_str("own anew"),
        }
    }
}
