//! Every state of a connection with every input.

use super::World;
use crate::connection::{Connection, ConnectionTimer, State};
use crate::request::queue::Lane;
use crate::table::{Input, check, table};
use crate::{Cause, ConnectionId, DisconnectReason, RequestId};

#[test]
fn every_state_with_every_input_is_the_table_in_spec() {
    check("connection-table", &table(&states(), &inputs(), stands));
}

fn states() -> Vec<(&'static str, World)> {
    let make = |build: fn(&mut World)| {
        let mut world = World::ready();
        build(&mut world);
        world
    };
    let mut connecting = World::new();
    connecting.request("first");
    let mut handshaking = connecting.clone();
    handshaking.act(|machine, names, out| machine.on_connected(ConnectionId(1), names, out));
    vec![
        ("new", World::new()),
        ("connecting", connecting),
        ("handshaking", handshaking),
        ("a request in flight", World::ready()),
        ("a user request in flight, another waits", {
            let mut world = World::ready();
            world.request_in(Lane::User, "second");
            world.request_in(Lane::User, "third");
            world
        }),
        (
            "idle",
            make(|world| {
                world.act(|machine, _, out| {
                    let answered = machine.on_answer(CURRENT, FIRST, out);
                    assert_eq!(answered, Ok(Some(vec!["first"])));
                });
            }),
        ),
        (
            "throttled",
            make(|world| {
                world.machine.on_throttled();
                world.request("second");
            }),
        ),
        (
            "backing off",
            make(|world| {
                world.act(|machine, _, out| machine.on_failed(Cause::Closed, out));
            }),
        ),
        (
            "backing off, wanted",
            make(|world| {
                world.act(|machine, _, out| machine.on_failed(Cause::Closed, out));
                world.request("second");
            }),
        ),
    ]
}

fn inputs() -> Vec<(&'static str, Input<World>)> {
    vec![
        ("system request", |w| w.request("next")),
        ("user request", |w| w.request_in(Lane::User, "next")),
        ("room", |w| w.act(Connection::on_room)),
        ("the first's caller is gone", |w| {
            w.act(|machine, _, _| {
                machine.on_gone(|asker| *asker == "first");
            })
        }),
        ("needless", |w| {
            w.act(|machine, _, out| machine.on_needless(DisconnectReason::Needless, out))
        }),
        ("connected", |w| w.act(|machine, names, out| machine.on_connected(CURRENT, names, out))),
        ("disconnected", |w| {
            w.act(|machine, _, out| {
                machine.on_disconnected(CURRENT, out);
            })
        }),
        ("an earlier attempt disconnected", |w| {
            w.act(|machine, _, out| {
                machine.on_disconnected(ConnectionId(0), out);
            })
        }),
        ("answer to the handshake", |w| {
            w.act(|machine, names, out| {
                if machine.on_answer(CURRENT, RequestId(1), out) == Ok(None) {
                    machine.on_shaken(names, out);
                }
            })
        }),
        ("answer to the first request", |w| answer(w, FIRST)),
        ("answer to no request", |w| answer(w, RequestId(99))),
        ("throttled", |w| {
            w.machine.on_throttled();
            Vec::new()
        }),
        ("given up", |w| w.act(|machine, _, out| machine.on_failed(Cause::Closed, out))),
        ("closing", |w| w.act(|machine, _, out| machine.on_closing(out))),
        ("timer Setup", |w| w.timer(ConnectionTimer::Setup)),
        ("timer Request", |w| w.timer(ConnectionTimer::Request(FIRST))),
        ("timer Reconnect", |w| w.timer(ConnectionTimer::Reconnect)),
        ("timer Throttle", |w| w.timer(ConnectionTimer::Throttle)),
        ("timer Idle", |w| w.timer(ConnectionTimer::Idle)),
    ]
}

fn answer(world: &mut World, to: RequestId) -> Vec<String> {
    let mut misbehaved = None;
    let mut orders = world.act(|machine, _, out| {
        misbehaved = machine.on_answer(CURRENT, to, out).err();
    });
    orders.extend(misbehaved.map(|misbehaved| format!("misbehaved {misbehaved:?}")));
    orders
}

fn stands(world: &World) -> String {
    let machine = &world.machine;
    let state = match machine.state {
        State::Closed => "Closed",
        State::BackingOff => "BackingOff",
        State::Connecting(_) => "Connecting",
        State::Handshaking(_) => "Handshaking",
        State::Ready(_) => "Ready",
    };
    let throttled = if machine.throttled { " throttled" } else { "" };
    let (sent, waiting) = (machine.in_flight.len(), machine.queue.len());
    format!("{state}{throttled}, {sent} in flight, {waiting} queued")
}

const CURRENT: ConnectionId = ConnectionId(1);
/// The handshake is the first of all.
const FIRST: RequestId = RequestId(2);
