mod table;

use super::{Connection, ConnectionTimer, Limits, Names, Order};
use crate::request::Kind;
use crate::request::queue::{Lane, Question, Word};
use crate::{Cause, ConnectionId, DisconnectReason, Misbehaved, RequestId};
use evenkeel_spec::words::Step;

/// What is asked here: nothing that is ever shared.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Ask;

impl Question for Ask {
    fn covers(&self, _: &Self) -> bool {
        false
    }

    fn word(&self) -> Word {
        Word::Nothing
    }

    fn kind(&self) -> Kind {
        Kind::Metadata
    }
}

type Orders = Vec<Order<Ask, &'static str>>;

#[derive(Clone)]
struct World {
    machine: Connection<Ask, &'static str>,
    names: Names,
}

impl World {
    fn new() -> Self {
        let limits = Limits { user_in_flight_max: 1, mutant: None };
        Self { machine: Connection::new(limits), names: Names::default() }
    }

    fn act(
        &mut self,
        act: impl FnOnce(&mut Connection<Ask, &'static str>, &mut Names, &mut Orders),
    ) -> Vec<String> {
        let mut out = Vec::new();
        act(&mut self.machine, &mut self.names, &mut out);
        out.iter().map(show).collect()
    }

    fn request(&mut self, purpose: &'static str) -> Vec<String> {
        self.request_in(Lane::System, purpose)
    }

    fn request_in(&mut self, lane: Lane, purpose: &'static str) -> Vec<String> {
        self.act(|machine, names, out| machine.on_request(lane, Ask, vec![purpose], names, out))
    }

    fn ready() -> Self {
        let mut world = Self::new();
        world.request("first");
        world.act(|machine, names, out| machine.on_connected(ConnectionId(1), names, out));
        world.act(|machine, names, out| {
            assert_eq!(machine.on_answer(ConnectionId(1), RequestId(1), out), Ok(None));
            machine.on_shaken(names, out);
        });
        world
    }

    fn timer(&mut self, timer: ConnectionTimer) -> Vec<String> {
        self.act(|machine, names, out| {
            machine.on_timer(timer, names, out);
        })
    }
}

fn show(order: &Order<Ask, &'static str>) -> String {
    match order {
        Order::Open(ConnectionId(id)) => format!("open {id}"),
        Order::Close(ConnectionId(id), DisconnectReason::Failed(cause)) => {
            format!("close {id}: {cause:?}")
        }
        Order::Close(ConnectionId(id), reason) => format!("close {id}: {reason:?}"),
        Order::Handshake(ConnectionId(id), RequestId(request)) => {
            format!("send {id}: {request} handshake")
        }
        Order::Send { connection: ConnectionId(id), request: RequestId(request), lane, .. } => {
            let lane = if *lane == Lane::System { "" } else { lane.name() };
            format!("send {id}: {request} {lane}").trim_end().to_owned()
        }
        Order::Lost { asker, was_sent: true } => format!("lost {asker}"),
        Order::Lost { asker, was_sent: false } => format!("lost {asker} unsent"),
        Order::Arm(timer, step) => format!("arm {timer:?} {}", step.exponent()),
        Order::Disarm(timer) => format!("disarm {timer:?}"),
    }
}

/// Without the timers, which each test that is about them names.
fn but_timers(orders: Vec<String>) -> Vec<String> {
    orders.into_iter().filter(|o| !o.starts_with("arm") && !o.starts_with("disarm")).collect()
}

#[test]
fn a_request_connects_shakes_hands_and_goes_out_in_order() {
    let mut world = World::new();
    assert_eq!(world.request("a"), ["open 1", "arm Setup 0"]);
    assert!(world.request("b").is_empty());
    let orders = world.act(|m, names, out| m.on_connected(ConnectionId(1), names, out));
    assert_eq!(
        orders,
        ["disarm Setup", "disarm Idle", "arm Request(RequestId(1)) 0", "send 1: 1 handshake"]
    );
    let orders = world.act(|m, names, out| {
        assert_eq!(m.on_answer(ConnectionId(1), RequestId(1), out), Ok(None));
        m.on_shaken(names, out);
    });
    assert_eq!(but_timers(orders), ["send 1: 2", "send 1: 3"]);
    for (id, purpose) in [(2, "a"), (3, "b")] {
        world.act(|m, _, out| {
            assert_eq!(m.on_answer(ConnectionId(1), RequestId(id), out), Ok(Some(vec![purpose])));
        });
    }
}

#[test]
fn an_answer_to_another_request_than_the_oldest_is_misbehaviour() {
    let mut world = World::ready();
    world.request("second");
    world.act(|m, _, out| {
        let answered = m.on_answer(ConnectionId(1), RequestId(3), out);
        assert_eq!(answered, Err(Misbehaved::OutOfOrder));
    });
}

#[test]
fn a_lost_connection_loses_what_was_sent_and_what_waits_and_backs_off() {
    let mut world = World::ready();
    world.act(|m, _, _| m.on_throttled());
    assert!(world.request("waits").is_empty());
    let orders = world.act(|m, _, out| assert!(m.on_disconnected(ConnectionId(1), out)));
    assert_eq!(but_timers(orders.clone()), ["lost first", "lost waits unsent"]);
    assert_eq!(orders.last().map(String::as_str), Some("arm Reconnect 0"));
    assert!(world.request("next").is_empty(), "nothing connects while it backs off");
    assert_eq!(world.timer(ConnectionTimer::Reconnect), ["open 2", "arm Setup 0"]);
    let orders = world.act(|m, _, out| assert!(!m.on_disconnected(ConnectionId(1), out)));
    assert!(orders.is_empty(), "the first connection's end is told once");
}

#[test]
fn backoffs_grow_until_a_broker_answers_more_than_a_handshake() {
    let mut world = World::new();
    let mut step = Step::FIRST;
    for attempt in 1..8 {
        world.request("x");
        let id = ConnectionId(attempt);
        let orders = world.act(|m, names, out| {
            m.on_connected(id, names, out);
            assert!(m.on_disconnected(id, out));
        });
        let expected = format!("arm Reconnect {}", step.exponent());
        assert_eq!(orders.last(), Some(&expected));
        step = step.next();
        world.timer(ConnectionTimer::Reconnect);
    }
    assert_eq!(step, Step::MAX);
    let mut world = World::ready();
    world.act(|m, _, out| {
        assert_eq!(m.on_answer(ConnectionId(1), RequestId(2), out), Ok(Some(vec!["first"])));
    });
    let orders = world.act(|m, _, out| m.on_failed(Cause::Closed, out));
    assert_eq!(orders.last().map(String::as_str), Some("arm Reconnect 0"));
}

#[test]
fn a_silent_broker_is_given_up_for_its_oldest_request() {
    let mut world = World::ready();
    let orders = world.timer(ConnectionTimer::Request(RequestId(2)));
    assert_eq!(but_timers(orders), ["close 1: RequestTimedOut", "lost first"]);
    let mut world = World::new();
    world.request("a");
    let orders = world.timer(ConnectionTimer::Setup);
    assert_eq!(but_timers(orders), ["close 1: SetupTimedOut", "lost a unsent"]);
}

#[test]
fn an_idle_connection_is_closed_and_made_anew_without_a_backoff() {
    let mut world = World::ready();
    assert!(world.timer(ConnectionTimer::Idle).is_empty(), "one that waits for an answer is not");
    let orders = world.act(|m, _, out| {
        assert_eq!(m.on_answer(ConnectionId(1), RequestId(2), out), Ok(Some(vec!["first"])));
    });
    assert_eq!(orders, ["disarm Request(RequestId(2))", "arm Idle 0"]);
    assert_eq!(but_timers(world.timer(ConnectionTimer::Idle)), ["close 1: Idle"]);
    assert_eq!(but_timers(world.request("again")), ["open 2"]);
}

#[test]
fn a_throttled_connection_holds_requests_back() {
    let mut world = World::ready();
    world.act(|m, _, _| m.on_throttled());
    assert!(world.request("second").is_empty());
    assert_eq!(but_timers(world.timer(ConnectionTimer::Throttle)), ["send 1: 3"]);
}

#[test]
fn what_waits_goes_out_lane_by_lane_and_of_the_user_lane_no_more_than_it_may() {
    let mut world = World::ready();
    world.act(|m, _, _| m.on_throttled());
    for (lane, purpose) in [
        (Lane::Records, "fetch"),
        (Lane::User, "commit"),
        (Lane::User, "committed"),
        (Lane::System, "heartbeat"),
    ] {
        assert!(world.request_in(lane, purpose).is_empty());
    }
    let sent = but_timers(world.timer(ConnectionTimer::Throttle));
    assert_eq!(sent, ["send 1: 3", "send 1: 4 user", "send 1: 5 records"]);
    for (id, purpose) in [(2, "first"), (3, "heartbeat")] {
        let orders = world.act(|m, names, out| {
            let answered = m.on_answer(ConnectionId(1), RequestId(id), out);
            assert_eq!(answered, Ok(Some(vec![purpose])));
            m.on_room(names, out);
        });
        assert!(but_timers(orders).is_empty(), "there is no room for another one yet");
    }
    let orders = world.act(|m, names, out| {
        let answered = m.on_answer(ConnectionId(1), RequestId(4), out);
        assert_eq!(answered, Ok(Some(vec!["commit"])));
        m.on_room(names, out);
    });
    assert_eq!(but_timers(orders), ["send 1: 6 user"]);
}

#[test]
fn a_withdrawn_request_does_not_go_out_and_one_in_flight_is_nobodys() {
    let mut world = World::ready();
    world.act(|m, _, _| m.on_throttled());
    world.request("second");
    world.act(|m, _, _| {
        assert_eq!(m.on_gone(|asker| *asker == "second"), ["second"]);
        assert!(m.on_gone(|asker| *asker == "first").is_empty());
    });
    assert!(but_timers(world.timer(ConnectionTimer::Throttle)).is_empty());
    world.act(|m, _, out| {
        assert_eq!(m.on_answer(ConnectionId(1), RequestId(2), out), Ok(Some(Vec::new())));
    });
}
