//! A small world of one partition: the shipped [`Positions`] of a consumer that reads it, and logs that
//! lose records when leaders change. spec/11-positions.md.
//!
//! The world is what embeds the machine: it asks what the machine wants to know, buffers one record, and
//! drops it when the machine says so. Each leader is elected with any beginning of the log before it, and
//! a record is what it was written as: an offset and a leader epoch. A log never comes back that another
//! leader has cut off: two losses that undo each other are not noticed (spec/11, at its end).

mod action;
mod bounds;
#[cfg(feature = "mutants")]
pub mod mutants;

pub use action::Action;
pub use bounds::{Budget, Slice, positions};

use crate::explore::{Condition, System};
use crate::judged::Judged;
use evenkeel_core::Incarnation;
use evenkeel_core::position::{Order, Positions, Standing, Start, Tell};
use evenkeel_core::request::{EpochEnd, EpochQuestion};
use evenkeel_spec::rules::Rule;
use evenkeel_spec::rules::reading::{Read, Reading};
use evenkeel_spec::words::{ErrorCode, LeaderEpoch, Offset, TopicId, TopicIdPartition};
use stateright::{Model, Property};

/// One moment of the small world.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    /// The shipped machine.
    pub positions: Positions,
    /// The leader's log: the leader epoch of the record at each offset.
    pub log: Vec<u32>,
    /// The leader's epoch.
    pub leader: u32,
    /// The one that metadata has told.
    pub known: u32,
    /// What is being asked.
    pub question: Option<Question>,
    /// A record that was fetched and not returned.
    pub buffered: Option<Read>,
    /// The machine's backoff is running.
    pub backs_off: bool,
    /// What the group has committed, with the leader epoch of the record before.
    pub committed: (Offset, Option<u32>),
    /// What an onlooker has seen.
    pub seen: Reading,
    /// What may still be done.
    pub left: Budget,
    /// The rule that was broken on the way here.
    pub violation: Option<Rule>,
}

/// A question on its way, and its answer once a broker has read it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Question {
    asks: Asks,
    incarnation: Incarnation,
    answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Asks {
    /// The coordinator.
    Committed,
    /// The leader, of the epoch that is known.
    Listed(Start, u32),
    /// Likewise.
    Epoch(EpochQuestion),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Answer {
    Committed(Offset, Option<u32>),
    Listed(Result<Offset, ErrorCode>),
    Epoch(Result<Option<EpochEnd>, ErrorCode>),
}

/// The only partition.
pub const PARTITION: TopicIdPartition = TopicIdPartition::new(TopicId::from_u32(1), 0);

impl State {
    fn end(&self) -> Offset {
        Offset(self.log.len() as u64)
    }

    /// The leader epoch of the record before an offset.
    fn before(&self, offset: Offset) -> Option<u32> {
        let place = usize::try_from(offset.0.checked_sub(1)?).ok()?;
        self.log.get(place).copied()
    }

    /// Whether the record at the position can be fetched: the leader that is known is the leader, and
    /// nothing is buffered.
    fn fetches(&self) -> Option<Offset> {
        let is_idle = self.buffered.is_none() && self.known == self.leader;
        let at = self.positions.position(PARTITION)?.offset;
        (is_idle && self.positions.may_read(PARTITION) && at != self.end()).then_some(at)
    }

    /// Everything that could be read was returned, or only a seek helps.
    fn is_settled(&self) -> bool {
        let is_quiet = self.question.is_none() && self.buffered.is_none() && !self.backs_off;
        let at = self.positions.position(PARTITION).map(|position| position.offset);
        is_quiet && self.known == self.leader && (at == Some(self.end()) || self.is_stuck())
    }

    fn is_stuck(&self) -> bool {
        self.positions.stuck().next().is_some()
    }

    fn judge(&mut self, seen: Result<(), Rule>) {
        if let Err(rule) = seen {
            self.violation.get_or_insert(rule);
        }
    }

    fn carry_out(&mut self, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Backoff(..) => self.backs_off = true,
                Order::Disarm(_) => self.backs_off = false,
                Order::Start(..) | Order::Stop(_) => self.buffered = None,
                Order::WarnReset(..) | Order::Tell(Tell::OutOfRange(..)) => self.seen.on_reset(),
                Order::Listed(_, offset) => self.seen.on_listed(offset),
                Order::WarnTruncated(lost) => match lost.diverging {
                    Some(end) => self.seen.on_truncated(end.offset),
                    None => self.seen.on_reset(),
                },
                Order::RefreshMetadata | Order::NotCoordinator | Order::Tell(_) => {}
            }
        }
        if self.is_stuck() {
            self.seen.on_stuck();
        }
    }

    /// The leader's answer, from the log that it has now.
    fn read(&self, asks: Asks) -> Answer {
        let refuses = |current: u32| current != self.leader;
        match asks {
            Asks::Committed => Answer::Committed(self.committed.0, self.committed.1),
            Asks::Listed(_, current) if refuses(current) => {
                Answer::Listed(Err(ErrorCode::FencedLeaderEpoch))
            }
            Asks::Listed(Start::Latest, _) => Answer::Listed(Ok(self.end())),
            Asks::Listed(Start::Earliest | Start::Age(_), _) => Answer::Listed(Ok(Offset(0))),
            Asks::Epoch(question) if refuses(question.current.0) => {
                Answer::Epoch(Err(ErrorCode::FencedLeaderEpoch))
            }
            Asks::Epoch(question) => Answer::Epoch(Ok(self.end_of(question.leader_epoch.0))),
        }
    }

    /// Where a leader epoch ends in the log, as `LeaderEpochFileCache.endOffsetFor` has it.
    fn end_of(&self, epoch: u32) -> Option<EpochEnd> {
        let end = self.log.iter().position(|other| *other > epoch).unwrap_or(self.log.len());
        let last = self.log[..end].last().copied();
        let first = self.log.first().map(|_| epoch);
        let leader_epoch = LeaderEpoch(last.or(first)?);
        Some(EpochEnd { leader_epoch, offset: Offset(end as u64) })
    }

    fn rename(&mut self) {
        let renamed = self.positions.renumber();
        if let Some(question) = &mut self.question {
            let new = renamed.get(&question.incarnation);
            question.incarnation = new.copied().unwrap_or(NEVER);
        }
    }
}

/// What keeps the partition from being read.
fn stands(state: &State) -> &'static str {
    let mut standings = state.positions.standings();
    let standing = standings.find(|(id, _)| *id == PARTITION).map(|(_, standing)| standing);
    match standing.expect("it is owned") {
        Standing::Withheld => "withheld",
        Standing::Unopened => "unopened",
        Standing::Paused => "paused",
        Standing::Stuck => "stuck",
        Standing::Pausing => "backing off",
        Standing::Committed { asked: false } => "committed offset wanted",
        Standing::Committed { asked: true } => "committed offset asked",
        Standing::Listed { asked: false } => "end wanted",
        Standing::Listed { asked: true } => "end asked",
        Standing::Validating { asked: false } => "doubted",
        Standing::Validating { asked: true } => "doubted, asked",
        Standing::Open if state.buffered.is_some() => "open, fetched",
        Standing::Open => "open",
    }
}

/// The name of what is not current any more.
const NEVER: Incarnation = Incarnation(u32::MAX);

impl Model for Slice {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.initial()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        Self::offer(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(Self::step(state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("the rules hold", |_, state: &State| state.violation.is_none())]
    }
}

impl System for Slice {
    type Key = String;

    fn canonical(&self, state: &State) -> State {
        self.canonical_owned(state.clone())
    }

    fn canonical_owned(&self, mut state: State) -> State {
        state.rename();
        state
    }

    fn goal(&self, state: &State) -> bool {
        state.is_settled()
    }

    fn settle_action(&self, state: &State) -> Option<Action> {
        if state.is_settled() {
            return None;
        }
        let mut actions = Vec::new();
        Self::offer(state, &mut actions);
        actions.into_iter().filter(|action| action.urgency().is_some()).min_by_key(Action::urgency)
    }

    /// What happened, and what keeps the partition from being read before and after.
    fn key(&self, before: &State, action: &Action, after: &State) -> Option<String> {
        Some(format!("{action} | {} => {}", stands(before), stands(after)))
    }

    fn violation(&self, state: &State) -> Option<String> {
        state.violation.map(|rule| format!("{rule:?}"))
    }

    fn progress(&self, action: &Action) -> bool {
        action.urgency().is_some()
    }

    fn sometimes(&self) -> Vec<(&'static str, Condition<Self>)> {
        (self.sometimes)()
    }
}

impl Judged for Slice {
    fn name(&self) -> &'static str {
        self.name
    }

    fn broken(&self, state: &State) -> Option<Rule> {
        state.violation
    }

    fn onlooker(&self, state: &State) -> String {
        let log: Vec<_> = state.log.iter().map(ToString::to_string).collect();
        let log = if log.is_empty() { "empty".to_owned() } else { log.join(" ") };
        format!("leader {} has {log}; {}", state.leader, state.seen)
    }
}
