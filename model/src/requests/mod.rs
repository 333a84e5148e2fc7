//! A small world of one consumer's requests: the shipped [`Desk`], one broker with two connections,
//! and an adversary between them. spec/10-requests.md.
//!
//! The world is what embeds the desk: it asks in the name of calls and of the core, ends what was
//! answered, asks again for a call whose attempt was lost, and tells whoever waits when the background
//! dies. What it asks is as small as the rules allow. A second broker is not in it: brokers have no
//! connection in common.

mod action;
mod ask;
mod bounds;
mod key;
#[cfg(feature = "mutants")]
pub mod mutants;
mod step;

pub use action::Action;
pub use ask::{Ask, Own};
pub use bounds::{Budget, Faults, Slice, deadlines, lookups, order, requests, slices, teardown};
pub use key::Key;

use crate::explore::{Condition, System};
use crate::judged::Judged;
use evenkeel_core::connection::{Connection, ConnectionTimer};
use evenkeel_core::request::desk::{Asker, Desk, Peer, Renumbered};
use evenkeel_core::request::ledger::Ticket;
use evenkeel_core::{CallId, ConnectionId, RequestId};
use evenkeel_spec::rules::Rule;
use evenkeel_spec::rules::requests::{Line, Name, Place, Requests};
use evenkeel_spec::words::NodeId;
use stateright::{Model, Property};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One moment of the small world.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    /// The shipped machine.
    pub desk: Desk<Ask, ()>,
    /// The network, by [`Line`].
    pub wires: [Wire; 2],
    /// The timers that are armed.
    pub timers: BTreeSet<(Line, ConnectionTimer)>,
    /// Calls whose last attempt was lost.
    pub resting: BTreeSet<CallId>,
    /// What the broker's answers tell: how often it has changed.
    pub truth: u8,
    /// What an onlooker has seen.
    pub seen: Requests,
    /// What may still be done.
    pub left: Budget,
    /// The consumer has left: no heartbeat follows.
    pub has_left: bool,
    /// The rule that was broken on the way here.
    pub violation: Option<Rule>,
}

/// What is on one connection.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Wire {
    /// The attempt or connection; `None`: there is none.
    pub id: Option<ConnectionId>,
    /// Whether the attempt has succeeded.
    pub is_connected: bool,
    /// Requests and, of those that the broker has read, answers; in order.
    pub messages: VecDeque<Message>,
}

/// A request and its answer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Message {
    /// Its name.
    pub request: RequestId,
    /// `None`: the handshake.
    pub ask: Option<Ask>,
    /// The truth when the broker read it, which is what the answer tells.
    pub read: Option<u8>,
}

/// The only broker.
pub const NODE: NodeId = NodeId(1);

pub(crate) fn peer(line: Line) -> Peer {
    match line {
        Line::First => Peer::Node(NODE),
        Line::Second => Peer::Second(NODE),
    }
}

pub(crate) fn line(peer: Peer) -> Line {
    match peer {
        Peer::Node(_) => Line::First,
        Peer::Second(_) => Line::Second,
        Peer::Bootstrap(_) => unreachable!("there are no bootstrap servers in this world"),
    }
}

pub(crate) fn name(ticket: Ticket) -> Name {
    match ticket {
        Ticket::Call(call) => Name::Call(call.0),
        Ticket::Own(number) => Name::Own(number),
    }
}

pub(crate) fn ticket(name: Name) -> Ticket {
    match name {
        Name::Call(number) => Ticket::Call(CallId(number)),
        Name::Own(number) => Ticket::Own(number),
    }
}

impl State {
    /// Where the requests are: what the desk shows of them, and who asks again.
    fn places(&self) -> BTreeMap<Name, Place> {
        let mut places = BTreeMap::new();
        for (peer, connection) in self.desk.connections() {
            let line = line(peer);
            let mut put = |asker: &Asker<()>, place| places.insert(name(asker.ticket), place);
            for asker in connection.queue().iter().flat_map(|(_, waiting)| &waiting.askers) {
                put(asker, Place::Waiting(line));
            }
            for asker in connection.flights().flat_map(|(_, askers)| askers) {
                put(asker, Place::Flying(line));
            }
        }
        places.extend(self.resting.iter().map(|call| (Name::Call(call.0), Place::Resting)));
        places
    }

    /// The desk's side of a connection.
    #[must_use]
    pub fn connection(&self, line: Line) -> Option<&Connection<Ask, Asker<()>>> {
        self.desk.connection(peer(line))
    }

    pub(crate) fn wire(&self, line: Line) -> &Wire {
        &self.wires[line as usize]
    }

    fn rename(&mut self) {
        let Renumbered { connections, requests, tickets } = self.desk.renumber();
        for wire in &mut self.wires {
            wire.id = wire.id.map(|id| connections.get(&id).copied().unwrap_or(id));
            for message in &mut wire.messages {
                message.request =
                    requests.get(&message.request).copied().unwrap_or(message.request);
            }
        }
        let timers = std::mem::take(&mut self.timers).into_iter();
        self.timers = timers
            .map(|(line, timer)| match timer {
                ConnectionTimer::Request(old) => {
                    let new = requests.get(&old).copied().unwrap_or(old);
                    (line, ConnectionTimer::Request(new))
                }
                _ => (line, timer),
            })
            .collect();
        self.seen.rename(|old| tickets.get(&ticket(old)).copied().map_or(old, name));
    }

    /// Whether nothing is open, and nothing is connected that nobody needs.
    fn is_settled(&self) -> bool {
        self.seen.open().next().is_none() && self.wire(Line::Second).id.is_none()
    }
}

impl Model for Slice {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.offer(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.step(state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("the rules hold", |_, state: &State| state.violation.is_none())]
    }
}

impl System for Slice {
    type Key = Key;

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
        self.offer(state, &mut actions);
        actions.into_iter().filter(Action::is_fair).min_by_key(Action::urgency)
    }

    fn key(&self, before: &State, action: &Action, after: &State) -> Option<Key> {
        Some(Key::of(before, *action, after))
    }

    fn violation(&self, state: &State) -> Option<String> {
        state.violation.map(|rule| format!("{rule:?}"))
    }

    fn progress(&self, action: &Action) -> bool {
        action.is_fair()
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
        let open = state.seen.open().map(|(name, wish, place)| {
            let name = match name {
                Name::Call(number) => format!("call #{number}"),
                Name::Own(_) => ask::title(wish).to_owned(),
            };
            match place {
                Place::Waiting(Line::First) => format!("{name} waits"),
                Place::Waiting(Line::Second) => format!("{name} waits for the second connection"),
                Place::Flying(Line::First) => format!("{name} is in flight"),
                Place::Flying(Line::Second) => format!("{name} is in flight on the second"),
                Place::Resting => format!("{name} is to be tried again"),
                Place::Nowhere => format!("{name} is forgotten"),
            }
        });
        open.collect::<Vec<_>>().join(", ")
    }
}
