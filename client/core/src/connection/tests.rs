mod table;

use super::{Connection, ConnectionTimer, Names, Order};
use crate::request::Request;
use crate::{Cause, ConnectionId, DisconnectReason, Misbehaved, RequestId, Time};
use evenkeel_spec::words::Step;

#[derive(Clone)]
struct World {
    machine: Connection<&'static str>,
    names: Names,
}

impl World {
    fn new() -> Self {
        Self { machine: Connection::default(), names: Names::default() }
    }

    fn act(
        &mut self,
        act: impl FnOnce(&mut Connection<&'static str>, &mut Names, &mut Vec<Order<&'static str>>),
    ) -> Vec<String> {
        let mut out = Vec::new();
        act(&mut self.machine, &mut self.names, &mut out);
        out.iter().map(show).collect()
    }

    fn request(&mut self, purpose: &'static str) -> Vec<String> {
        let request = Request::FindCoordinator;
        self.act(|machine, names, out| machine.on_request(request, purpose, Time(0), names, out))
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

fn show(order: &Order<&'static str>) -> String {
    match order {
        Order::Open(ConnectionId(id)) => format!("open {id}"),
        Order::Close(ConnectionId(id), DisconnectReason::Failed(cause)) => {
            format!("close {id}: {cause:?}")
        }
        Order::Close(ConnectionId(id), reason) => format!("close {id}: {reason:?}"),
        Order::Send(ConnectionId(id), RequestId(request), Request::ApiVersions, None) => {
            format!("send {id}: {request} handshake")
        }
        Order::Send(ConnectionId(id), RequestId(request), ..) => format!("send {id}: {request}"),
        Order::Lost(purpose) => format!("lost {purpose}"),
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
            assert_eq!(m.on_answer(ConnectionId(1), RequestId(id), out), Ok(Some(purpose)));
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
    assert_eq!(but_timers(orders.clone()), ["lost first", "lost waits"]);
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
        assert_eq!(m.on_answer(ConnectionId(1), RequestId(2), out), Ok(Some("first")));
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
    assert_eq!(but_timers(orders), ["close 1: SetupTimedOut", "lost a"]);
}

#[test]
fn an_idle_connection_is_closed_and_made_anew_without_a_backoff() {
    let mut world = World::ready();
    assert!(world.timer(ConnectionTimer::Idle).is_empty(), "one that waits for an answer is not");
    let orders = world.act(|m, _, out| {
        assert_eq!(m.on_answer(ConnectionId(1), RequestId(2), out), Ok(Some("first")));
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
