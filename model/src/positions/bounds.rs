//! How small the world of positions is, and why.

use super::{Asks, PARTITION, Question, State};
use crate::explore::Condition;
use evenkeel_core::OffsetReset;
use evenkeel_core::position::{Mutant, Positions};
use evenkeel_spec::rules::reading::Reading;
use evenkeel_spec::words::{LeaderEpoch, Offset, Partitions};

/// A small world of one partition.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Its name on the command line.
    pub name: &'static str,
    /// What may be done in all.
    pub budget: Budget,
    /// The fault seeded into the machine.
    pub mutant: Option<Mutant>,
    /// What must be reached, else the slice shows nothing.
    pub sometimes: fn() -> Vec<(&'static str, Condition<Slice>)>,
}

/// What may still be done.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Budget {
    /// Records that leaders append. Two, so that a log grows beyond where it was cut off.
    pub appends: u8,
    /// Elections. Two, so that an answer of a leader comes when there is another one.
    pub elections: u8,
    /// Questions or answers that are lost.
    pub losses: u8,
    /// Seeks, and changes of ownership. Two: one after which something is committed, and one that makes an
    /// answer old.
    pub moves: u8,
}

/// The slice `positions`: a log of two records, with each reset policy that there is: one that lists the
/// beginning, and none.
///
/// Raised by one, in thousand states: appends 1,083; elections 1,347; losses 594; moves 938. Nothing was found.
#[must_use]
pub fn positions() -> Slice {
    let budget = Budget { appends: 2, elections: 2, losses: 1, moves: 2 };
    Slice { name: "positions", budget, mutant: None, sometimes: reached }
}

impl Slice {
    /// The world before anything has happened, with each reset policy.
    pub(super) fn initial(&self) -> Vec<State> {
        [OffsetReset::Earliest, OffsetReset::None].map(|policy| self.begin(policy)).into()
    }

    fn begin(&self, policy: OffsetReset) -> State {
        let mut positions = Positions::new(policy, true).seeded(self.mutant);
        let all = Partitions::from([PARTITION]);
        positions.on_owned(&all);
        positions.on_leaders(|_| Some(LeaderEpoch(1)), &mut Vec::new());
        positions.on_fetch(&all);
        let mut seen = Reading::default();
        seen.on_placed(Offset(0), None);
        State {
            positions,
            log: vec![1, 1],
            leader: 1,
            known: 1,
            question: None,
            buffered: None,
            backs_off: false,
            committed: (Offset(0), None),
            seen,
            left: self.budget,
            violation: None,
        }
    }
}

/// What must be reached, else the slice shows nothing.
pub(super) fn reached() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("a leader is asked that lost nothing", |_, s| validates(s) && s.before_is_there()),
        ("a leader is asked that lost what was read last", |_, s| {
            validates(s) && !s.before_is_there()
        }),
        ("an answer is on its way when there is another leader", |_, s| {
            s.question.is_some_and(|question| question.answer.is_some()) && s.known < s.leader
        }),
        ("a late answer of a former leader is on its way to who knows the new one", |slice, s| {
            let of_former = |asks: Asks| match asks {
                Asks::Epoch(question) => question.current.0 < s.known,
                Asks::Listed(_, current) => current < s.known,
                Asks::Committed => false,
            };
            let is_late =
                |question: Question| question.answer.is_some() && of_former(question.asks);
            s.question.is_some_and(is_late) && s.left.elections < slice.budget.elections
        }),
        ("only a seek helps", |_, s| s.is_stuck()),
        ("a record is read at an offset that was read before, of another leader", |_, s| {
            let (next, last) = s.seen.place();
            next == Some(Offset(1)) && last == Some(3)
        }),
        ("nothing is left of the log", |_, s| s.log.is_empty() && s.seen.place().0.is_some()),
    ]
}

fn validates(state: &State) -> bool {
    state.question.is_some_and(|question| matches!(question.asks, Asks::Epoch(_)))
}

impl State {
    /// Whether the leader's log has the record that was read last.
    fn before_is_there(&self) -> bool {
        let (next, last) = self.seen.place();
        next.is_some_and(|next| self.before(next) == last)
    }
}
