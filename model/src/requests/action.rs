//! What may happen next. An action names connections and calls, never requests or attempts.

use super::{Own, Slice, State, Wire};
use evenkeel_core::connection::ConnectionTimer;
use evenkeel_core::request::ledger::Ticket;
use evenkeel_core::request::queue::Question;
use evenkeel_core::{CallId, RequestId};
use evenkeel_spec::rules::requests::{Line, Name, Says, Things, Urgency};
use std::fmt;

/// Something that happens.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Action {
    /// The application asks for these things, under the first number that is free.
    Call(Things),
    /// The consumer asks for something by itself.
    Ask(Own),
    /// A call whose attempt was lost is tried again.
    Retry(u64),
    /// The time of a call is over.
    Deadline(u64),
    /// Whoever called is gone.
    Gone(u64),
    /// The attempt to connect succeeds.
    Connect(Line),
    /// It is refused.
    Refuse(Line),
    /// The connection ends, with everything on it.
    Cut(Line),
    /// The broker reads the oldest request that it has not read.
    Read(Line),
    /// The oldest answer arrives.
    Answer(Line),
    /// The same, and says that the broker will not read for a while.
    Throttle(Line),
    /// What is asked for changes.
    Change,
    /// The attempt takes too long.
    SetupTimeout(Line),
    /// The oldest request takes too long.
    RequestTimeout(Line),
    /// Nothing was on the connection for long.
    Idle(Line),
    /// The next attempt may start.
    Rested(Line),
    /// The broker reads again.
    Reads(Line),
    /// The consumer is closed.
    Close,
    /// The background dies: its embedder tells whoever the ledger says is waiting.
    Die,
}

impl Slice {
    /// Every action that has an effect, in a fixed order.
    pub(super) fn offer(&self, state: &State, actions: &mut Vec<Action>) {
        if state.seen.is_over() {
            return;
        }
        self.offer_application(state, actions);
        for line in Line::ALL {
            self.offer_network(state, line, actions);
        }
        if state.left.changes > 0 && state.wires.iter().any(tells) {
            actions.push(Action::Change);
        }
        if self.ends {
            actions.extend([Action::Close, Action::Die]);
        }
    }

    fn offer_application(&self, state: &State, actions: &mut Vec<Action>) {
        if state.left.asks > 0 {
            actions.extend(self.calls.iter().map(|things| Action::Call(*things)));
            let asked = self.asks.iter().filter(|own| may_ask(state, **own));
            actions.extend(asked.map(|own| Action::Ask(*own)));
        }
        for (name, _, _) in state.seen.open() {
            let Name::Call(number) = name else { continue };
            if state.resting.contains(&CallId(number)) {
                actions.push(Action::Retry(number));
            }
            if state.left.faults > 0 && self.faults.deadline {
                actions.push(Action::Deadline(number));
            }
            if state.left.faults > 0 && self.faults.gone {
                actions.push(Action::Gone(number));
            }
        }
    }

    fn offer_network(&self, state: &State, line: Line, actions: &mut Vec<Action>) {
        let wire = state.wire(line);
        let faulty = state.left.faults > 0;
        if wire.id.is_some() && !wire.is_connected {
            actions.push(Action::Connect(line));
            if faulty && self.faults.cut {
                actions.push(Action::Refuse(line));
            }
        }
        if faulty && self.faults.cut && wire.is_connected {
            actions.push(Action::Cut(line));
        }
        if wire.messages.iter().any(|message| message.read.is_none())
            && !state.seen.is_throttled(line)
        {
            actions.push(Action::Read(line));
        }
        if wire.messages.front().is_some_and(|message| message.read.is_some()) {
            actions.push(Action::Answer(line));
            if faulty && self.faults.throttle {
                actions.push(Action::Throttle(line));
            }
        }
        for action in timers(state, line) {
            if !action.is_fault() || faulty && self.faults.timeouts {
                actions.push(action);
            }
        }
    }

    /// The first call number that nothing is left of.
    pub(super) fn free_call(state: &State) -> CallId {
        let is_free = |number: &u64| {
            !state.seen.is_open(Name::Call(*number))
                && !state.desk.has(Ticket::Call(CallId(*number)))
        };
        let number = (0..).find(is_free).expect("few calls are open");
        CallId(number)
    }
}

/// One heartbeat, one commit and one fetch at a time, and nothing in the group's name after a leave.
fn may_ask(state: &State, own: Own) -> bool {
    let open = |says: &[Says]| state.seen.open().any(|(_, wish, _)| says.contains(&wish.says));
    match own {
        Own::Presence | Own::Owned => !state.has_left && !open(&[Says::Presence, Says::Owned]),
        Own::Leave => !state.has_left,
        Own::Commit | Own::Urgent => !state.has_left && !open(&[Says::Commit]),
        Own::Offsets => true,
        Own::Lookup | Own::Topics => {
            let (ask, _) = own.ask();
            state.desk.ledger().iter().all(|(_, open)| open.kind != ask.kind())
        }
        Own::Fetch => !state.seen.open().any(|(_, wish, _)| wish.urgency == Urgency::Records),
    }
}

/// Whether an answer is on its way that a change makes old. Any other change is as if it had happened
/// before.
fn tells(wire: &Wire) -> bool {
    let mut messages = wire.messages.iter();
    messages
        .any(|message| message.read.is_some() && message.ask.is_some_and(|ask| ask.things() > 0))
}

/// The timers that may fire. Requests have one duration: the oldest is the first that is over.
fn timers(state: &State, line: Line) -> impl Iterator<Item = Action> {
    let oldest = state.wire(line).messages.front().map(|message| message.request);
    let of_line = state.timers.iter().filter(move |(of, _)| *of == line);
    of_line.filter_map(move |(_, timer)| match timer {
        ConnectionTimer::Setup => Some(Action::SetupTimeout(line)),
        ConnectionTimer::Reconnect => Some(Action::Rested(line)),
        ConnectionTimer::Throttle => Some(Action::Reads(line)),
        ConnectionTimer::Idle => Some(Action::Idle(line)),
        ConnectionTimer::Request(request) => {
            (Some(*request) == oldest).then_some(Action::RequestTimeout(line))
        }
    })
}

impl Action {
    /// Whether it is one of the adversary's faults.
    pub(super) fn is_fault(&self) -> bool {
        match self {
            Self::Deadline(_)
            | Self::Gone(_)
            | Self::Refuse(_)
            | Self::Cut(_)
            | Self::Throttle(_)
            | Self::SetupTimeout(_)
            | Self::RequestTimeout(_) => true,
            Self::Call(_)
            | Self::Ask(_)
            | Self::Retry(_)
            | Self::Connect(_)
            | Self::Read(_)
            | Self::Answer(_)
            | Self::Change
            | Self::Idle(_)
            | Self::Rested(_)
            | Self::Reads(_)
            | Self::Close
            | Self::Die => false,
        }
    }

    /// What a fair schedule may not put off for ever.
    pub(super) fn is_fair(&self) -> bool {
        self.urgency().is_some()
    }

    /// The fair schedule's order: answers before requests before connections before timers. A
    /// connection is not left to its idle timer, which is minutes.
    pub(super) fn urgency(&self) -> Option<u8> {
        match self {
            Self::Answer(_) => Some(0),
            Self::Read(_) => Some(1),
            Self::Connect(_) => Some(2),
            Self::Retry(_) => Some(3),
            Self::Reads(_) => Some(4),
            Self::Rested(_) => Some(5),
            Self::Call(_)
            | Self::Ask(_)
            | Self::Deadline(_)
            | Self::Gone(_)
            | Self::Refuse(_)
            | Self::Cut(_)
            | Self::Throttle(_)
            | Self::Change
            | Self::SetupTimeout(_)
            | Self::RequestTimeout(_)
            | Self::Idle(_)
            | Self::Close
            | Self::Die => None,
        }
    }

    /// The timer that fires, if one does.
    pub(super) fn timer(&self, oldest: Option<RequestId>) -> Option<(Line, ConnectionTimer)> {
        match *self {
            Self::SetupTimeout(line) => Some((line, ConnectionTimer::Setup)),
            Self::RequestTimeout(line) => Some((line, ConnectionTimer::Request(oldest?))),
            Self::Idle(line) => Some((line, ConnectionTimer::Idle)),
            Self::Rested(line) => Some((line, ConnectionTimer::Reconnect)),
            Self::Reads(line) => Some((line, ConnectionTimer::Throttle)),
            _ => None,
        }
    }
}

/// Which connection, where it is not the one for everything.
fn on(line: Line) -> &'static str {
    match line {
        Line::First => "",
        Line::Second => " second",
    }
}

fn things(things: Things) -> &'static str {
    match things {
        1 => "a",
        2 => "b",
        3 => "a b",
        _ => unreachable!("there are two things"),
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Call(asked) => write!(f, "call {}", things(asked)),
            Self::Ask(own) => own.fmt(f),
            Self::Retry(call) => write!(f, "retry #{call}"),
            Self::Deadline(call) => write!(f, "deadline #{call}"),
            Self::Gone(call) => write!(f, "gone #{call}"),
            Self::Connect(line) => write!(f, "connect{}", on(line)),
            Self::Refuse(line) => write!(f, "refuse{}", on(line)),
            Self::Cut(line) => write!(f, "cut{}", on(line)),
            Self::Read(line) => write!(f, "read{}", on(line)),
            Self::Answer(line) => write!(f, "answer{}", on(line)),
            Self::Throttle(line) => write!(f, "answer{} throttled", on(line)),
            Self::Change => f.write_str("change"),
            Self::SetupTimeout(line) => write!(f, "timer{} setup", on(line)),
            Self::RequestTimeout(line) => write!(f, "timer{} request", on(line)),
            Self::Idle(line) => write!(f, "timer{} idle", on(line)),
            Self::Rested(line) => write!(f, "timer{} reconnect", on(line)),
            Self::Reads(line) => write!(f, "timer{} throttle", on(line)),
            Self::Close => f.write_str("close"),
            Self::Die => f.write_str("die"),
        }
    }
}
