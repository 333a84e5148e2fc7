//! How a shipped consumer is made to ask what the model asks by itself, and what it cannot be made to
//! ask.
//!
//! The model's consumer asks anything at any time. A real one asks for a reason, so the application
//! gives it one, in one of three lives. A trace is infeasible where there is no such reason in that
//! moment in any of them. Judged from the model alone.

mod assigned;
mod member;

use super::schedule::{Infeasible, lost};
use crate::replay::Target;
use assigned::Assigned;
use evenkeel_core::connection::Connection;
use evenkeel_model::explore::PathOf;
use evenkeel_model::requests::{Action, Own, Slice, State};
use evenkeel_spec::rules::requests::{Line, Name, Says, Urgency, Wish};
use member::Member;
use std::fmt;

/// How the consumer of a trace lives.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Life {
    /// It assigns itself its partitions: it looks up where to read a partition that is new, and
    /// commits what it leaves.
    #[default]
    Assigned,
    /// It is a member whose listener is in a callback, after which it tells what it owns. What is
    /// committed by interval hurries meanwhile.
    Telling,
    /// It is a member without a listener, which may leave.
    Settled {
        /// Its first heartbeat says everything: it has lost its coordinator once.
        tells_first: bool,
    },
}

/// How the consumer of a trace is made to ask.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Asks {
    /// How it lives.
    pub(super) life: Life,
    /// It commits by interval, at every moment.
    pub(super) by_interval: bool,
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
    /// A heartbeat.
    Heartbeat,
    /// A leave.
    Leave,
    /// The lookup of a position.
    Positions,
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "a lost commit",
            Self::Heartbeat => "a lost heartbeat",
            Self::Leave => "a lost leave",
            Self::Positions => "a lost lookup of positions",
        })
    }
}

/// Why a consumer cannot be made to ask something.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Unasked {
    /// Heartbeats are a member's.
    Membership,
    /// Lookups and metadata are asked for when something needs them.
    AnyBroker,
    /// Positions are looked up when partitions are taken.
    MemberLooks,
    /// The lookup before it is not over.
    LookupTwice,
    /// Who backs off is not fetched from.
    FetchInBackoff,
    /// The consumer is giving up its partitions.
    Ending,
    /// The commit before it is lost, and goes out again in its own lane.
    OtherCommit,
    /// Whether a commit hurries is not the application's choice.
    Hurry,
    /// The heartbeat says more, or less.
    OtherHeartbeat,
    /// A leave waits for the commit before it.
    LeaveWaits,
    /// Who has left asks in no name, so that the question is another one.
    OtherName,
    /// A listener's calls are the system's.
    InCallback,
    /// The consumer would commit, or leave, before it ends.
    CloseAsks,
}

impl fmt::Display for Unasked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Membership => "only a member sends heartbeats",
            Self::AnyBroker => "the coordinator is looked up, and metadata asked for, when needed",
            Self::MemberLooks => "a member looks up positions only when it takes partitions",
            Self::LookupTwice => "positions are looked up one at a time",
            Self::FetchInBackoff => "nothing is fetched from a broker that backs off",
            Self::Ending => "a consumer that gives up its partitions asks for nothing else",
            Self::OtherCommit => "a lost commit is sent again in its own lane",
            Self::Hurry => "a commit hurries before partitions are given up, and only then",
            Self::OtherHeartbeat => "what a heartbeat says is not the application's choice",
            Self::LeaveWaits => "a leave waits for the commit before it",
            Self::OtherName => "questions in the name of a member are not those of who has left",
            Self::InCallback => "what is called from within a callback takes no place",
            Self::CloseAsks => "a consumer that closes commits, or leaves, first",
        })
    }
}

impl Asks {
    /// How the consumer of this path is made to ask.
    ///
    /// # Errors
    /// The first step in which it cannot be, and why, in the life in which the path comes farthest.
    pub(super) fn of(life: Life, path: &PathOf<Slice>) -> Result<Self, (usize, Infeasible)> {
        match life {
            Life::Assigned => Self::judged(life, path, Assigned::default()),
            Life::Telling | Life::Settled { .. } => Self::judged(life, path, Member::new(life)),
        }
    }

    fn judged(
        life: Life,
        path: &PathOf<Slice>,
        mut lived: impl Lived,
    ) -> Result<Self, (usize, Infeasible)> {
        let commits = |action: &Action| matches!(action, Action::Ask(Own::Commit | Own::Urgent));
        let by_interval = life != Life::Assigned && path.actions.iter().any(commits);
        let mut asks = Self { life, by_interval, ..Self::default() };
        for (step, action) in path.actions.iter().enumerate() {
            let (before, after) = (&path.states[step], &path.states[step + 1]);
            let again = common(*action, before).and_then(|()| lived.act(*action, before));
            asks.again.push(again.map_err(|why| (step, Infeasible::Unasked(why)))?);
            asks.lost.push(lived.follow(*action, before, after));
            let looks = |state| has(state, Says::Nothing, Urgency::System);
            asks.looked.push(looks(before) && !looks(after) && !after.seen.is_over());
        }
        Ok(asks)
    }
}

/// The lives to be tried for a path, the plainest first. The test broker's coordinator deals out
/// partitions by itself, so that the trace would not be alone with its broker: the client's consumers
/// are no members.
pub(super) fn lives(target: Target, path: &PathOf<Slice>) -> Vec<Life> {
    if target == Target::Client {
        return vec![Life::Assigned];
    }
    let heartbeats = path.actions.iter().filter_map(|action| match action {
        Action::Ask(own @ (Own::Presence | Own::Owned)) => Some(*own),
        _ => None,
    });
    let tells_first = heartbeats.take(1).any(|own| own == Own::Owned);
    vec![Life::Assigned, Life::Telling, Life::Settled { tells_first }]
}

/// What an application has brought about so far in one life.
trait Lived {
    /// Whether it can bring this about now; if that is a matter of waiting, for what.
    fn act(&mut self, action: Action, before: &State) -> Result<Option<Again>, Unasked>;

    /// What is lost by a step and will be asked again.
    fn follow(&mut self, action: Action, before: &State, after: &State) -> Vec<Again>;
}

/// What no life can bring about.
fn common(action: Action, before: &State) -> Result<(), Unasked> {
    let backs_off = || before.connection(Line::First).is_some_and(Connection::is_backing_off);
    match action {
        Action::Ask(Own::Fetch) if backs_off() => Err(Unasked::FetchInBackoff),
        Action::Ask(Own::Lookup | Own::Topics) => Err(Unasked::AnyBroker),
        _ => Ok(()),
    }
}

/// Whether the consumer has something like that open.
fn has(state: &State, says: Says, urgency: Urgency) -> bool {
    let mut open = state.seen.open();
    open.any(|(name, wish, _)| {
        matches!(name, Name::Own(_)) && (wish.says, wish.urgency) == (says, urgency)
    })
}

/// What the consumer wanted by itself, and is lost by a step.
fn lost_wishes(action: Action, before: &State, after: &State) -> Vec<Wish> {
    let names = lost(action, before, after);
    let wishes = before.seen.open().filter(|(name, ..)| names.contains(name));
    wishes.map(|(_, wish, _)| wish).collect()
}
