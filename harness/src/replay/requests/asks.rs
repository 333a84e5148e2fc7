//! How a shipped consumer is made to ask what the model asks by itself, and what it cannot be made to
//! ask.
//!
//! The model's consumer asks anything at any time. A real one asks for a reason, so the application
//! gives it one. One that assigns itself its partitions looks up where to read a partition that is
//! new, commits what it leaves, and fetches what is not paused. A trace is infeasible where there is
//! no such reason in that moment. Judged from the model alone.

use super::schedule::{Infeasible, lost};
use evenkeel_model::explore::PathOf;
use evenkeel_model::requests::{Action, Own, Slice, State};
use evenkeel_spec::rules::requests::{Line, Name, Says, Urgency};
use std::fmt;

/// How the consumer of a trace is made to ask.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Asks {
    /// By step: the backoff after which the consumer asks this by itself.
    pub(super) again: Vec<Option<Again>>,
    /// By step: what is lost in it and will be asked again by itself.
    pub(super) lost: Vec<Vec<Again>>,
    /// By step: whether the lookup of a position is over by it.
    pub(super) looked: Vec<bool>,
}

/// What a consumer asks again by itself when it was lost.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Again {
    /// A commit.
    Commit,
    /// The lookup of a position.
    Positions,
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "a lost commit",
            Self::Positions => "a lost lookup of positions",
        })
    }
}

/// Why a consumer cannot be made to ask something.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Unasked {
    /// Heartbeats are a member's.
    Membership,
    /// The lookup before it is not over.
    LookupTwice,
    /// Who backs off is not fetched from.
    FetchInBackoff,
    /// The consumer is giving up its partitions.
    Ending,
    /// The commit before it is lost, and goes out again in its own lane.
    OtherCommit,
    /// The consumer would commit, or wait for a commit, before it ends.
    CloseCommits,
}

impl fmt::Display for Unasked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Membership => "only a member sends heartbeats",
            Self::LookupTwice => "positions are looked up one at a time",
            Self::FetchInBackoff => "nothing is fetched from a broker that backs off",
            Self::Ending => "a consumer that gives up its partitions asks for nothing else",
            Self::OtherCommit => "a lost commit is sent again in its own lane",
            Self::CloseCommits => "a consumer that closes commits first",
        })
    }
}

impl Asks {
    /// How the consumer of this path is made to ask.
    ///
    /// # Errors
    /// The first step in which it cannot be, and why.
    pub(super) fn of(_: &Slice, path: &PathOf<Slice>) -> Result<Self, (usize, Infeasible)> {
        let mut asks = Self::default();
        let mut life = Life::default();
        for (step, action) in path.actions.iter().enumerate() {
            let (before, after) = (&path.states[step], &path.states[step + 1]);
            let again = life.act(*action, before);
            asks.again.push(again.map_err(|why| (step, Infeasible::Unasked(why)))?);
            asks.lost.push(life.follow(*action, before, after));
            let looks = |state| has(state, Says::Nothing, Urgency::System);
            asks.looked.push(looks(before) && !looks(after) && !after.seen.is_over());
        }
        Ok(asks)
    }
}

/// What an application that assigns itself its partitions has brought about so far.
#[derive(Clone, Debug, Default)]
struct Life {
    /// A commit was lost and is sent again; whether before the partitions are given up.
    lost_commit: Option<bool>,
    /// The partitions were given up once.
    has_ended: bool,
}

impl Life {
    fn act(&mut self, action: Action, before: &State) -> Result<Option<Again>, Unasked> {
        let is_ending =
            has(before, Says::Commit, Urgency::System) || self.lost_commit == Some(true);
        match action {
            Action::Ask(Own::Presence | Own::Owned | Own::Leave) => Err(Unasked::Membership),
            Action::Ask(Own::Offsets | Own::Fetch) if is_ending => Err(Unasked::Ending),
            Action::Ask(Own::Offsets) if has(before, Says::Nothing, Urgency::System) => {
                Err(Unasked::LookupTwice)
            }
            Action::Ask(Own::Fetch)
                if before.connection(Line::First).is_some_and(|c| c.is_backing_off()) =>
            {
                Err(Unasked::FetchInBackoff)
            }
            Action::Ask(own @ (Own::Commit | Own::Urgent)) => match self.lost_commit.take() {
                None => Ok(None),
                Some(is_urgent) if is_urgent == (own == Own::Urgent) => Ok(Some(Again::Commit)),
                Some(_) => Err(Unasked::OtherCommit),
            },
            Action::Close if is_ending || self.has_ended => Err(Unasked::CloseCommits),
            _ => Ok(None),
        }
    }

    /// What is lost by a step and will be asked again.
    fn follow(&mut self, action: Action, before: &State, after: &State) -> Vec<Again> {
        let is_ending = has(before, Says::Commit, Urgency::System);
        self.has_ended |= is_ending && !has(after, Says::Commit, Urgency::System);
        let mut again = Vec::new();
        for name in lost(action, before, after) {
            let mut open = before.seen.open();
            let (_, wish, _) = open.find(|(of, ..)| *of == name).expect("what is lost was open");
            match (wish.says, wish.urgency) {
                (Says::Commit, urgency) => {
                    self.lost_commit = Some(urgency == Urgency::System);
                    again.push(Again::Commit);
                }
                (Says::Nothing, Urgency::System) if is_ending => again.push(Again::Positions),
                _ => {}
            }
        }
        again
    }
}

/// Whether the consumer has something like that open.
fn has(state: &State, says: Says, urgency: Urgency) -> bool {
    let mut open = state.seen.open();
    open.any(|(name, wish, _)| {
        matches!(name, Name::Own(_)) && (wish.says, wish.urgency) == (says, urgency)
    })
}
