use super::{Asker, Desk, DeskConfig, Order, Peer, To};
use crate::connection::{Connection, ConnectionTimer};
use crate::request::Kind;
use crate::request::ledger::{Discard, End, Failure, Outcome, Ticket};
use crate::request::queue::{Lane, Question, Word};
use crate::{CallId, ConnectionId, RequestId};
use evenkeel_spec::words::NodeId;

#[derive(Clone, Debug, Eq, PartialEq)]
struct Ask(&'static str, Word);

impl Question for Ask {
    fn covers(&self, other: &Self) -> bool {
        self.1 == Word::Nothing && self == other
    }

    fn word(&self) -> Word {
        self.1
    }

    fn kind(&self) -> Kind {
        if self.0 == "metadata" { Kind::Metadata } else { Kind::OffsetFetch }
    }
}

struct World {
    desk: Desk<Ask, &'static str>,
    orders: Vec<Order<Ask, &'static str>>,
}

const NODE: NodeId = NodeId(1);
const FIRST: Peer = Peer::Node(NODE);
const SECOND: Peer = Peer::Second(NODE);

impl World {
    fn new() -> Self {
        let config =
            DeskConfig { places_max: 2, user_in_flight_max: 1, dedicated: false, mutant: None };
        Self { desk: Desk::new(config), orders: Vec::new() }
    }

    fn own(&mut self, lane: Lane, name: &'static str, word: Word) -> (Ticket, Peer) {
        let ticket = self.desk.open_own(Kind::OffsetFetch, lane);
        let askers = vec![Asker { ticket, purpose: name }];
        let to = To::Coordinator(NODE);
        (ticket, self.desk.ask(to, lane, Ask(name, word), askers, &mut self.orders))
    }

    fn call(&mut self, id: u64, name: &'static str) -> Ticket {
        let ticket = Ticket::Call(CallId(id));
        assert!(self.desk.open_call(CallId(id), Kind::OffsetFetch));
        let askers = vec![Asker { ticket, purpose: name }];
        let ask = Ask(name, Word::Nothing);
        self.desk.ask(To::Coordinator(NODE), Lane::User, ask, askers, &mut self.orders);
        ticket
    }

    fn end(&mut self, ticket: Ticket, end: End) -> Option<Outcome> {
        self.desk.end(ticket, end, &mut self.orders)
    }

    /// Connects and shakes hands.
    fn ready(&mut self, peer: Peer) {
        let id = self.id(peer);
        self.desk.on_connected(peer, id, &mut self.orders);
        let handshake = self.orders.iter().rev().find_map(|order| match order {
            Order::Handshake(_, request) => Some(*request),
            _ => None,
        });
        let request = handshake.expect("hands are shaken");
        assert_eq!(self.desk.on_answer(peer, id, request, &mut self.orders), Ok(None));
        self.desk.on_shaken(peer, &mut self.orders);
    }

    fn id(&self, peer: Peer) -> ConnectionId {
        self.desk.connection(peer).and_then(Connection::id).expect("it is wanted")
    }

    /// The names of what was sent, and where to.
    fn sent(&self) -> Vec<(Peer, &'static str)> {
        let sent = self.orders.iter().filter_map(|order| match order {
            Order::Send { peer, question, .. } => Some((*peer, question.0)),
            _ => None,
        });
        sent.collect()
    }

    fn answer(&mut self, peer: Peer, name: &'static str) -> Vec<Asker<&'static str>> {
        let request = self.orders.iter().find_map(|order| match order {
            Order::Send { peer: to, question, request, .. } => {
                (*to == peer && question.0 == name).then_some(*request)
            }
            _ => None,
        });
        let request: RequestId = request.expect("it was sent");
        let id = self.id(peer);
        let answered = self.desk.on_answer(peer, id, request, &mut self.orders);
        self.desk.on_room(peer, &mut self.orders);
        self.desk.on_settled(&mut self.orders);
        answered.expect("it is the oldest").expect("it is no handshake")
    }
}

#[test]
fn a_place_is_held_from_the_call_to_its_outcome() {
    let mut world = World::new();
    let first = world.call(1, "a");
    world.call(2, "b");
    assert!(!world.desk.open_call(CallId(3), Kind::OffsetFetch));
    assert_eq!(world.end(first, End::Completed), Some(Outcome::Completed));
    assert_eq!(world.end(first, End::Deadline), None, "it ends once");
    world.call(4, "c");
}

#[test]
fn a_request_whose_time_is_over_never_goes_out_and_one_in_flight_answers_nobody() {
    let mut world = World::new();
    let sent = world.call(1, "sent");
    let unsent = world.call(2, "unsent");
    world.ready(FIRST);
    assert_eq!(world.sent(), [(FIRST, "sent")], "one user request is in flight");
    assert_eq!(world.end(unsent, End::Deadline), Some(Outcome::ExpiredUnsent));
    assert_eq!(world.end(sent, End::Deadline), Some(Outcome::ExpiredInFlight));
    assert!(world.answer(FIRST, "sent").is_empty());
    assert_eq!(world.sent().len(), 1);
    let gone = world.call(3, "gone");
    assert_eq!(world.end(gone, End::CallerGone), Some(Outcome::Failed(Failure::CallerGone)));
}

#[test]
fn close_ends_everything_once_and_says_what_was_sent() {
    let mut world = World::new();
    let sent = world.call(1, "sent");
    let unsent = world.call(2, "unsent");
    world.ready(FIRST);
    world.orders.clear();
    world.desk.close(&mut world.orders);
    let ended: Vec<_> = world
        .orders
        .iter()
        .filter_map(|order| match order {
            Order::Ended(ticket, _, outcome) => Some((*ticket, *outcome)),
            _ => None,
        })
        .collect();
    let expected =
        [(sent, Outcome::Failed(Failure::Closing)), (unsent, Outcome::Discarded(Discard::Closing))];
    assert_eq!(ended, expected);
    assert_eq!(world.desk.ledger().iter().count(), 0);
}

#[test]
fn what_cannot_wait_for_a_parked_or_throttled_broker_takes_a_second_connection_for_as_long() {
    let mut world = World::new();
    world.own(Lane::Records, "fetch", Word::Nothing);
    world.ready(FIRST);
    assert_eq!(world.own(Lane::System, "heartbeat", Word::Presence).1, SECOND);
    assert_eq!(world.own(Lane::User, "commit", Word::Commit).1, FIRST);
    world.ready(SECOND);
    world.answer(SECOND, "heartbeat");
    assert_eq!(world.desk.connection(SECOND).and_then(Connection::id), None);
    world.answer(FIRST, "fetch");
    world.answer(FIRST, "commit");
    assert!(world.desk.on_throttled(FIRST, &mut world.orders));
    assert_eq!(world.own(Lane::System, "next", Word::Presence).1, SECOND);
    world.ready(SECOND);
    world.answer(SECOND, "next");
    assert!(world.desk.connection(SECOND).and_then(Connection::id).is_some());
    world.desk.on_timer(FIRST, ConnectionTimer::Throttle, &mut world.orders);
    world.desk.on_settled(&mut world.orders);
    assert_eq!(world.desk.connection(SECOND).and_then(Connection::id), None);
}

/// Q8: what any broker can answer goes where it is answered first.
#[test]
fn a_lookup_passes_a_parked_fetch_and_metadata_only_a_throttle() {
    let mut world = World::new();
    world.own(Lane::Records, "fetch", Word::Nothing);
    world.ready(FIRST);
    let ask = |world: &mut World, name| {
        let ticket = world.desk.open_own(Kind::Metadata, Lane::System);
        let askers = vec![Asker { ticket, purpose: name }];
        let ask = Ask(name, Word::Nothing);
        world.desk.ask(To::Peer(FIRST), Lane::System, ask, askers, &mut world.orders)
    };
    assert_eq!(ask(&mut world, "metadata"), FIRST);
    assert_eq!(ask(&mut world, "lookup"), SECOND);
    world.ready(SECOND);
    world.answer(SECOND, "lookup");
    world.answer(FIRST, "fetch");
    world.answer(FIRST, "metadata");
    assert!(world.desk.on_throttled(FIRST, &mut world.orders));
    assert_eq!(ask(&mut world, "metadata"), SECOND);
}

/// With a connection of its own for the group, nothing else takes it, and there are no others.
#[test]
fn a_dedicated_connection_is_for_the_group_alone() {
    let mut world = World::new();
    world.desk.config.dedicated = true;
    world.own(Lane::Records, "fetch", Word::Nothing);
    assert_eq!(world.own(Lane::System, "heartbeat", Word::Presence).1, SECOND);
    let ticket = world.desk.open_own(Kind::ListOffsets, Lane::System);
    let askers = vec![Asker { ticket, purpose: "positions" }];
    let ask = Ask("positions", Word::Nothing);
    let to = To::Leader(NODE);
    assert_eq!(world.desk.ask(to, Lane::System, ask, askers, &mut world.orders), FIRST);
}

#[test]
fn an_acknowledgement_follows_the_commit_and_a_leave_the_heartbeat() {
    let mut world = World::new();
    world.own(Lane::User, "commit", Word::Commit);
    world.ready(FIRST);
    world.own(Lane::Records, "fetch", Word::Nothing);
    assert_eq!(world.own(Lane::System, "owned", Word::Owned).1, FIRST, "the commit is in flight");
    assert_eq!(world.own(Lane::System, "leave", Word::Leave).1, FIRST, "so is the heartbeat");
    let mut world = World::new();
    world.own(Lane::Records, "fetch", Word::Nothing);
    world.ready(FIRST);
    assert!(world.desk.on_throttled(FIRST, &mut world.orders));
    world.own(Lane::User, "commit", Word::Commit);
    assert_eq!(world.own(Lane::System, "owned", Word::Owned).1, SECOND);
    world.ready(SECOND);
    assert_eq!(world.sent()[1..], [(SECOND, "commit"), (SECOND, "owned")]);
}

/// A leave follows both, in their order: found by the slice `order`.
#[test]
fn a_leave_brings_the_commit_and_the_heartbeat_behind_it_that_were_not_sent() {
    let mut world = World::new();
    world.own(Lane::User, "commit", Word::Commit);
    world.own(Lane::System, "owned", Word::Owned);
    world.own(Lane::System, "leave", Word::Leave);
    world.ready(FIRST);
    assert_eq!(world.sent(), [(FIRST, "commit"), (FIRST, "owned"), (FIRST, "leave")]);
}

/// The handshake's own answer throttles: found by the slice `requests`.
#[test]
fn what_waits_for_a_broker_that_stops_reading_goes_over_the_second_connection() {
    let mut world = World::new();
    world.own(Lane::System, "heartbeat", Word::Presence);
    let id = world.id(FIRST);
    world.desk.on_connected(FIRST, id, &mut world.orders);
    assert!(world.desk.on_throttled(FIRST, &mut world.orders));
    world.ready(SECOND);
    assert_eq!(world.sent(), [(SECOND, "heartbeat")]);
}

/// And back, when that one is not there yet.
#[test]
fn what_waits_for_the_second_connection_goes_out_on_the_first_as_soon_as_it_may() {
    let mut world = World::new();
    world.own(Lane::Records, "fetch", Word::Nothing);
    world.ready(FIRST);
    assert_eq!(world.own(Lane::System, "heartbeat", Word::Presence).1, SECOND);
    world.answer(FIRST, "fetch");
    assert_eq!(world.sent()[1..], [(FIRST, "heartbeat")]);
    let second = world.desk.connection(SECOND);
    assert_eq!(second.and_then(Connection::id), None, "nothing needs it any more");
}

#[test]
fn the_second_connection_ends_with_the_failure_that_ends_its_need() {
    let mut world = World::new();
    world.own(Lane::System, "first", Word::Presence);
    world.ready(FIRST);
    assert!(world.desk.on_throttled(FIRST, &mut world.orders));
    world.own(Lane::System, "leave", Word::Nothing);
    world.ready(SECOND);
    world.answer(SECOND, "leave");
    let id = world.id(FIRST);
    assert!(world.desk.on_disconnected(FIRST, id, &mut world.orders));
    world.desk.on_settled(&mut world.orders);
    assert_eq!(world.desk.connection(SECOND).and_then(Connection::id), None);
}
