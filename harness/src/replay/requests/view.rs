//! What is compared after every step of a trace of requests: what is on the broker's two connections,
//! how much is asked for and not over, and what was heard of requests that are over.
//!
//! Not in it, since the model has none of them: other brokers, and what is asked of them; numbers of
//! requests and connections; durations.

use super::application::thing;
use evenkeel_core::request::Kind;
use evenkeel_core::request::ledger::{Discard, Failure, Outcome, Ticket};
use evenkeel_core::request::queue::Lane;
use evenkeel_model::requests::{Action, Ask, Message, State, Wire};
use evenkeel_spec::rules::requests::{Line, Name, Says, Things, Urgency, Wish};
use evenkeel_spec::words::{Committed, TopicPartition};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// One moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct View {
    /// The broker's connections, by [`Line`].
    pub lines: [LineView; 2],
    /// What is asked for and not over, by lane; `None` where a target cannot look inside.
    pub lanes: Option<Lanes>,
    /// The requests that ended in this step, sorted; `None` where a target cannot look inside.
    pub ended: Option<Vec<Ended>>,
    /// What the callers heard in this step, sorted.
    pub heard: Vec<Heard>,
}

/// By lane: how many wait, how many are on the wire. Lanes of which there is nothing are left out.
pub(super) type Lanes = BTreeMap<Lane, (usize, usize)>;

/// One connection, as its network sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LineView {
    /// How far it is.
    pub phase: Phase,
    /// Requests that are not answered, oldest first, and whether the broker has read them.
    pub messages: Vec<(Said, bool)>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Phase {
    /// There is none.
    #[default]
    Closed,
    /// It is being made.
    Connecting,
    /// It is made.
    Open,
}

/// A request, as the broker reads it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Said {
    /// `ApiVersions`.
    Handshake,
    /// What is true of these things.
    Offsets(Things),
    /// A heartbeat that says nothing but that.
    Presence,
    /// A heartbeat that says what is owned.
    Owned,
    /// A leave.
    Leave,
    /// A commit.
    Commit,
    /// Records.
    Fetch,
    /// What no trace expects.
    Other(String),
    /// Who coordinates the group.
    Lookup,
    /// Metadata.
    Topics,
}

/// A logical request that is over.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Ended {
    /// In which lane.
    pub lane: Lane,
    /// Of which kind.
    pub kind: Kind,
    /// How.
    pub outcome: Outcome,
}

/// What a caller hears.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Heard {
    /// This call was answered: what, and when that was true.
    Answered(u64, Things, u64),
    /// Its time is over.
    TimedOut(u64),
    /// The consumer is closed.
    Closed(u64),
    /// The background has died.
    Died(u64),
    /// A call was refused for lack of a place.
    Refused,
    /// What no trace expects.
    Surprised(String),
}

impl View {
    /// What is seen after an action, by the two states around it.
    #[must_use]
    pub(super) fn expected(before: &State, action: Action, after: &State) -> Self {
        let over = over(before, after);
        let end = |(name, wish): &(Name, Wish)| ended(before, action, *name, *wish);
        let mut ended: Vec<_> = over.iter().map(end).collect();
        let mut heard: Vec<_> =
            over.iter().filter_map(|(name, _)| hears(before, action, *name)).collect();
        if matches!(action, Action::Call(_)) && asked(before, after).is_none() {
            heard.push(Heard::Refused);
        }
        ended.sort_unstable();
        heard.sort_unstable();
        let lines = [&after.wires[0], &after.wires[1]].map(LineView::of);
        Self { lines, lanes: Some(lanes(after)), ended: Some(ended), heard }
    }

    /// Whether this, as a target shows it, is what is expected. What a target cannot show is not
    /// compared.
    #[must_use]
    pub fn is(&self, expected: &Self) -> bool {
        self.differences(expected).is_empty()
    }

    /// What a target shows instead of what is expected, a line each.
    #[must_use]
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut note = |what: &str, expected: &dyn Debug, seen: &dyn Debug| {
            let (expected, seen) = (format!("{expected:?}"), format!("{seen:?}"));
            if expected != seen {
                lines.push(format!("{what}: expected {expected}, seen {seen}"));
            }
        };
        for (what, line) in [("first connection", 0), ("second connection", 1)] {
            note(what, &expected.lines[line], &self.lines[line]);
        }
        if let Some(lanes) = &self.lanes {
            note("waiting and in flight", &expected.lanes.as_ref(), &Some(lanes));
        }
        if let Some(ended) = &self.ended {
            note("ended", &expected.ended.as_ref(), &Some(ended));
        }
        note("heard", &expected.heard, &self.heard);
        lines
    }
}

impl LineView {
    fn of(wire: &Wire) -> Self {
        let phase = match wire.id {
            None => Phase::Closed,
            Some(_) if wire.is_connected => Phase::Open,
            Some(_) => Phase::Connecting,
        };
        let message = |message: &Message| (Said::of(message.ask), message.read.is_some());
        Self { phase, messages: wire.messages.iter().map(message).collect() }
    }
}

impl Said {
    fn of(ask: Option<Ask>) -> Self {
        match ask {
            None => Self::Handshake,
            Some(Ask::Offsets(things)) => Self::Offsets(things),
            Some(Ask::Presence) => Self::Presence,
            Some(Ask::Owned) => Self::Owned,
            Some(Ask::Leave) => Self::Leave,
            Some(Ask::Commit) => Self::Commit,
            Some(Ask::Fetch) => Self::Fetch,
            Some(Ask::Lookup) => Self::Lookup,
            Some(Ask::Topics) => Self::Topics,
        }
    }
}

impl Heard {
    /// What an answer to a call tells, and when that was true.
    pub(super) fn answered(
        number: u64,
        found: &BTreeMap<TopicPartition, Option<Committed>>,
    ) -> Self {
        let things = found.keys().map(thing).try_fold(0, |all, thing| Some(all | thing?));
        let mut truths = found.values().map(|committed| committed.as_ref().map(|c| c.offset.0));
        let truth = truths.next().flatten();
        match (things, truth) {
            (Some(things), Some(truth)) if truths.all(|other| other == Some(truth)) => {
                Self::Answered(number, things, truth)
            }
            _ => Self::Surprised(format!("{found:?}")),
        }
    }
}

/// The number of the call that an action opened; `None`: it was refused, or is no call.
pub(super) fn asked(before: &State, after: &State) -> Option<u64> {
    let mut open = after.seen.open();
    open.find_map(|(name, ..)| match name {
        Name::Call(number) if !before.seen.is_open(name) => Some(number),
        Name::Call(_) | Name::Own(_) => None,
    })
}

/// What was open and is not any more.
pub(super) fn over(before: &State, after: &State) -> Vec<(Name, Wish)> {
    let open = before.seen.open().map(|(name, wish, _)| (name, wish));
    open.filter(|(name, _)| !after.seen.is_open(*name)).collect()
}

/// What a request is counted as.
fn kind(wish: Wish) -> Kind {
    match (wish.says, wish.urgency) {
        (Says::Presence | Says::Owned | Says::Leave, _) => Kind::ConsumerGroupHeartbeat,
        (Says::Commit, _) => Kind::OffsetCommit,
        (Says::Nothing, Urgency::Records) => Kind::Fetch,
        (Says::Nothing, Urgency::System | Urgency::User) => Kind::OffsetFetch,
    }
}

/// How a request ends by an action; all of one step end for one reason (spec/10-requests.md, Q7).
fn ended(before: &State, action: Action, name: Name, wish: Wish) -> Ended {
    let lane = match wish.urgency {
        Urgency::System => Lane::System,
        Urgency::User => Lane::User,
        Urgency::Records => Lane::Records,
    };
    let in_flight = is_in_flight(before, name);
    let outcome = match action {
        Action::Answer(_) | Action::Throttle(_) => Outcome::Completed,
        Action::Deadline(_) if in_flight => Outcome::ExpiredInFlight,
        Action::Deadline(_) => Outcome::ExpiredUnsent,
        Action::Gone(_) if in_flight => Outcome::Failed(Failure::CallerGone),
        Action::Gone(_) => Outcome::Discarded(Discard::CallerGone),
        Action::Close if in_flight => Outcome::Failed(Failure::Closing),
        Action::Close => Outcome::Discarded(Discard::Closing),
        _ => Outcome::Failed(Failure::Disconnected),
    };
    Ended { lane, kind: kind(wish), outcome }
}

fn hears(before: &State, action: Action, name: Name) -> Option<Heard> {
    let Name::Call(number) = name else { return None };
    match action {
        Action::Answer(line) | Action::Throttle(line) => {
            let answer = before.wires[line as usize].messages.front()?;
            let mut open = before.seen.open();
            let (_, wish, _) = open.find(|(other, ..)| *other == name)?;
            Some(Heard::Answered(number, wish.things, u64::from(answer.read?)))
        }
        Action::Deadline(_) => Some(Heard::TimedOut(number)),
        Action::Close => Some(Heard::Closed(number)),
        Action::Die => Some(Heard::Died(number)),
        _ => None,
    }
}

/// Whether an attempt of it is on the wire.
pub(super) fn is_in_flight(state: &State, name: Name) -> bool {
    let open = state.desk.ledger().get(ticket(name));
    open.is_some_and(|open| open.in_flight > 0)
}

fn ticket(name: Name) -> Ticket {
    match name {
        Name::Call(number) => Ticket::Call(evenkeel_core::CallId(number)),
        Name::Own(number) => Ticket::Own(number),
    }
}

fn lanes(state: &State) -> Lanes {
    let mut lanes = Lanes::new();
    for (_, open) in state.desk.ledger().iter() {
        let (waiting, in_flight) = lanes.entry(open.lane).or_default();
        *(if open.in_flight > 0 { in_flight } else { waiting }) += 1;
    }
    lanes
}

/// Which connection, by its place in [`View::lines`].
pub(super) fn at(line: Line) -> usize {
    line as usize
}
