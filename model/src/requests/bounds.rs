//! How small the worlds of requests are, and why.
//!
//! Each bound was raised by one, alone. Beside each slice stands how many thousand states that makes; every
//! larger world was exhausted, broke no rule and came to rest in each of the three ways.

use super::{Ask, Own, State, Wire};
use crate::explore::Condition;
use evenkeel_core::connection::Connection;
use evenkeel_core::request::Mutant;
use evenkeel_core::request::desk::{Desk, DeskConfig};
use evenkeel_core::request::queue::Lane;
use evenkeel_spec::rules::requests::{Bounds, Line, Name, Place, Requests, Says, Things, Urgency};
use std::collections::BTreeSet;

/// A small world of requests.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Its name on the command line.
    pub name: &'static str,
    /// What the application may ask for.
    pub calls: &'static [Things],
    /// What the consumer may ask by itself.
    pub asks: &'static [Own],
    /// Which faults there are.
    pub faults: Faults,
    /// Whether the consumer may be closed, and the background die, at any moment.
    pub ends: bool,
    /// The bounds of the user lane.
    pub bounds: Bounds,
    /// What may be done in all.
    pub budget: Budget,
    /// The fault seeded into the desk.
    pub mutant: Option<Mutant>,
    /// What must be reached, else the slice shows nothing.
    pub sometimes: fn() -> Vec<(&'static str, Condition<Slice>)>,
}

/// What may still be done.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Budget {
    /// Requests, of any kind: so many of the listed kinds meet on one path.
    pub asks: u8,
    /// Faults, of any kind.
    pub faults: u8,
    /// Changes of what is asked for: one makes an answer old.
    pub changes: u8,
}

/// Which faults the adversary has.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Connections are refused and end.
    pub cut: bool,
    /// A broker stops reading.
    pub throttle: bool,
    /// Connecting, or an answer, takes too long.
    pub timeouts: bool,
    /// The time of a call is over.
    pub deadline: bool,
    /// Whoever called is gone.
    pub gone: bool,
}

/// No fault at all.
pub(super) const NO_FAULTS: Faults =
    Faults { cut: false, throttle: false, timeouts: false, deadline: false, gone: false };

const EVERY_FAULT: Faults =
    Faults { cut: true, throttle: true, timeouts: true, deadline: true, gone: true };

const EVERY_ASK: &[Own] =
    &[Own::Presence, Own::Owned, Own::Leave, Own::Offsets, Own::Commit, Own::Urgent, Own::Fetch];

/// A thing, or two: the second question contains the first.
const BOTH_CALLS: &[Things] = &[0b01, 0b11];

/// One user request in flight, so that the next one waits; two calls, so that the third is refused.
const BOUNDS: Bounds = Bounds { in_flight_max: 1, places_max: 2 };

/// Every slice of requests.
#[must_use]
pub fn slices() -> Vec<Slice> {
    vec![requests(), order(), lookups(), deadlines(), teardown()]
}

/// Lanes, sharing, and the second connection. Four requests: one in flight, one that waits behind it,
/// one that shares, and what passes them. One fault of any kind, since a second only repeats the first:
/// each ends a connection, keeps it waiting, or gives up a call; those of which two meet are in
/// [`deadlines`]. One change, which makes one answer old.
///
/// Raised by one: asks 1,331; faults 619; changes 510; calls in flight 238; places 262.
#[must_use]
pub fn requests() -> Slice {
    Slice {
        name: "requests",
        calls: BOTH_CALLS,
        asks: &[Own::Presence, Own::Offsets, Own::Fetch],
        faults: EVERY_FAULT,
        ends: false,
        bounds: BOUNDS,
        budget: Budget { asks: 4, faults: 1, changes: 1 },
        mutant: None,
        sometimes: requests_reach,
    }
}

/// What is said in the group's name, on two connections. Four requests: a fetch that parks, a commit,
/// a heartbeat and a leave. Two faults: one connection throttled and the other, or its successor, cut.
///
/// Raised by one: asks 88; faults 68; the others change nothing here.
#[must_use]
pub fn order() -> Slice {
    Slice {
        name: "order",
        calls: &[],
        asks: &[Own::Presence, Own::Owned, Own::Leave, Own::Commit, Own::Urgent, Own::Fetch],
        faults: Faults { cut: true, throttle: true, ..NO_FAULTS },
        budget: Budget { asks: 4, faults: 2, changes: 0 },
        sometimes: order_reaches,
        ..requests()
    }
}

/// What any broker can answer, beside what keeps this one from answering. Four requests: a fetch that
/// parks, a lookup, metadata, and a heartbeat, which needs the second connection as well. Two faults: as
/// in `order`.
///
/// Raised by one: asks 69; faults 50; the others change nothing here.
#[must_use]
pub fn lookups() -> Slice {
    Slice {
        name: "lookups",
        asks: &[Own::Presence, Own::Lookup, Own::Topics, Own::Fetch],
        sometimes: lookups_reach,
        ..order()
    }
}

/// Calls whose time is over: waiting, in flight, or to be tried again, at a broker that is cut off, stops
/// reading or answers late. Three faults, so that a call is out of time on a connection that another fault
/// has throttled and a third one ends. Three requests: one in flight, one behind it, and one that shares
/// or passes; with a fourth the world is ten times larger.
///
/// Raised by one: asks 1,260; faults 202; changes 291; calls in flight 152; places 151.
#[must_use]
pub fn deadlines() -> Slice {
    Slice {
        name: "deadlines",
        faults: Faults { gone: false, ..EVERY_FAULT },
        budget: Budget { asks: 3, faults: 3, changes: 1 },
        sometimes: deadlines_reach,
        ..requests()
    }
}

/// Two faults of any kind, and the end at any moment: nobody waits for ever. Three requests, one in each
/// lane; with the fourth the world is ten times larger, and the end is over all of them alike.
///
/// Raised by one: asks 814; faults 149; changes 184; calls in flight 91; places 88.
#[must_use]
pub fn teardown() -> Slice {
    Slice {
        name: "teardown",
        asks: EVERY_ASK,
        faults: EVERY_FAULT,
        ends: true,
        budget: Budget { asks: 3, faults: 2, changes: 0 },
        sometimes: teardown_reaches,
        ..requests()
    }
}

impl Slice {
    /// The world before anything has happened.
    #[must_use]
    pub fn initial(&self) -> State {
        let Bounds { in_flight_max, places_max } = self.bounds;
        let config = DeskConfig {
            places_max,
            user_in_flight_max: in_flight_max,
            dedicated: false,
            mutant: self.mutant,
        };
        State {
            desk: Desk::new(config),
            wires: [Wire::default(), Wire::default()],
            timers: BTreeSet::new(),
            resting: BTreeSet::new(),
            truth: 0,
            seen: Requests::new(self.bounds),
            left: self.budget,
            has_left: false,
            violation: None,
        }
    }
}

fn waits(state: &State, urgency: Urgency, line: Line) -> bool {
    let mut open = state.seen.open();
    open.any(|(_, wish, place)| wish.urgency == urgency && place == Place::Waiting(line))
}

fn flies(state: &State, says: Says, line: Line) -> bool {
    let mut open = state.seen.open();
    open.any(|(_, wish, place)| wish.says == says && place == Place::Flying(line))
}

/// How many share the request that most share.
fn shared(state: &State) -> usize {
    let connections = state.desk.connections();
    let sizes = connections.flat_map(|(_, connection)| {
        let waiting = connection.queue().iter().map(|(_, waiting)| waiting.askers.len());
        waiting.chain(connection.flights().map(|(_, askers)| askers.len())).collect::<Vec<_>>()
    });
    sizes.max().unwrap_or(0)
}

fn requests_reach() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("a call waits for room while a question of the system is in flight", |_, s| {
            waits(s, Urgency::User, Line::First) && flies(s, Says::Nothing, Line::First)
        }),
        ("three share one request", |_, s| shared(s) >= 3),
        ("a call and the system share a request in flight", |_, s| {
            let own = |(name, _, place): (Name, _, _)| {
                matches!((name, place), (Name::Own(_), Place::Flying(_)))
            };
            shared(s) >= 2 && s.seen.open().any(own)
        }),
        ("a heartbeat passes a parked fetch", |_, s| {
            s.connection(Line::First).is_some_and(Connection::is_parked)
                && flies(s, Says::Presence, Line::Second)
        }),
        ("a heartbeat passes a broker that does not read", |_, s| {
            s.seen.is_throttled(Line::First) && flies(s, Says::Presence, Line::Second)
        }),
        ("both connections are throttled or parked", |_, s| {
            Line::ALL
                .into_iter()
                .all(|line| s.connection(line).is_some_and(|c| c.is_throttled() || c.is_parked()))
        }),
        ("an answer comes that is old", |_, s| {
            s.truth > 0 && s.wires.iter().flat_map(|wire| &wire.messages).any(|m| m.read == Some(0))
        }),
        ("every place is taken", |slice, s| s.desk.ledger().places() == slice.bounds.places_max),
    ]
}

fn order_reaches() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("a commit goes before what is owned, on the second connection", |_, s| {
            flies(s, Says::Commit, Line::Second) && flies(s, Says::Owned, Line::Second)
        }),
        ("a leave follows a heartbeat that waits in a parked connection", |_, s| {
            flies(s, Says::Presence, Line::First)
                && flies(s, Says::Leave, Line::First)
                && s.desk.ledger().iter().any(|(_, open)| open.lane == Lane::Records)
        }),
    ]
}

fn lookups_reach() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("a lookup passes a parked fetch", |_, s| {
            s.connection(Line::First).is_some_and(Connection::is_parked)
                && carries(s, Line::Second, Ask::Lookup)
        }),
        ("a lookup passes a broker that does not read", |_, s| {
            s.seen.is_throttled(Line::First) && carries(s, Line::Second, Ask::Lookup)
        }),
        ("metadata passes a broker that does not read", |_, s| {
            s.seen.is_throttled(Line::First) && carries(s, Line::Second, Ask::Topics)
        }),
        ("metadata waits behind a parked fetch", |_, s| {
            let mut asks = s.wire(Line::First).messages.iter().map(|message| message.ask);
            asks.any(|ask| ask == Some(Ask::Fetch)) && asks.any(|ask| ask == Some(Ask::Topics))
        }),
    ]
}

fn carries(state: &State, line: Line, ask: Ask) -> bool {
    state.wire(line).messages.iter().any(|message| message.ask == Some(ask))
}

fn deadlines_reach() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("the late answer of a call that is out of time is on its way", |_, s| is_late(s)),
        ("a late answer is on its way to whom the broker does not read", |_, s| {
            is_late(s) && s.seen.is_throttled(Line::First)
        }),
        ("a call waits for a broker that does not read, on the second attempt", |slice, s| {
            s.seen.is_throttled(Line::First)
                && waits(s, Urgency::User, Line::First)
                && s.left.faults + 2 <= slice.budget.faults
                && s.left.asks + 1 == slice.budget.asks
        }),
        ("a call is to be tried again when every fault was used", |_, s| {
            s.left.faults == 0 && !s.resting.is_empty()
        }),
    ]
}

/// An answer is on its way that nobody waits for.
fn is_late(state: &State) -> bool {
    let is_call = |ask: Option<Ask>| matches!(ask, Some(Ask::Offsets(_)));
    let mut messages = state.wire(Line::First).messages.iter();
    messages.any(|message| message.read.is_some() && is_call(message.ask))
        && !flies(state, Says::Nothing, Line::First)
}

fn teardown_reaches() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("the end", |_, s| s.seen.is_over()),
        ("a call waits to be tried again", |_, s| !s.resting.is_empty()),
        ("a call has ended and its answer is on its way", |_, s| {
            s.seen.open().next().is_none()
                && s.wires.iter().flat_map(|wire| &wire.messages).any(|m| m.read.is_some())
        }),
        ("both connections fail", |_, s| Line::ALL.into_iter().all(|line| s.seen.must_rest(line))),
        ("something is in flight on both connections", |_, s| {
            Line::ALL
                .into_iter()
                .all(|line| s.connection(line).is_some_and(|c| c.flights().next().is_some()))
        }),
    ]
}
