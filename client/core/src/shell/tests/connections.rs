//! How many connections a broker has, and for how long.

use super::joined;
use super::world::{NODES, World, address, config, name};
use crate::{Address, Config, DisconnectReason};

fn connects(world: &World) -> Vec<&str> {
    world.connects.iter().map(|(_, to)| &*to.host).collect()
}

#[test]
fn the_bootstrap_servers_connection_is_its_brokers_only_one() {
    let (mut world, _) = joined(&[10, 10]);
    world.consume(20);
    world.poll(60_000);
    let mut brokers = connects(&world);
    brokers.sort_unstable();
    assert_eq!(brokers, ["b1", "b2"], "a connection a broker");
    assert!(world.closed_connections.is_empty(), "{:?}", world.closed_connections);
}

#[test]
fn a_bootstrap_server_that_is_no_broker_is_left_once_brokers_are_known() {
    let bootstrap_servers = vec![Address::new("balancer", 9092)];
    let mut world = World::new(Config { bootstrap_servers, ..config() });
    world.create("orders", &[10]);
    world.subscribe(&["orders"], false);
    world.consume(10);
    assert_eq!(connects(&world)[0], "balancer");
    let [(_, reason)] = &world.closed_connections[..] else {
        panic!("one is closed: {:?}", world.closed_connections)
    };
    assert_eq!(*reason, DisconnectReason::Needless);
}

/// Q8: while the broker does not read the first connection, and no longer.
#[test]
fn heartbeats_pass_a_throttled_connection_by_a_second_one_that_ends_with_the_need() {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    world.poll(20_000);
    let before = world.connects.len();
    assert_eq!(world.closed_connections, []);
    // One answer to a fetch says so.
    world.answers.clear();
    world.throttle_ms = 12_000;
    while world.answers.is_empty() {
        world.poll(10);
    }
    world.throttle_ms = 0;
    assert_eq!(world.answers[0].1, "Fetch");
    world.sent.clear();
    world.poll(11_000);
    let heartbeats = world.sent.iter().filter(|(_, _, r)| name(r) == "Heartbeat").count();
    assert!(heartbeats >= 2, "{heartbeats} in eleven seconds");
    assert!(world.connects.len() > before, "over a second connection");
    world.poll(60_000);
    let needless = |(_, reason): &&(u64, DisconnectReason)| *reason == DisconnectReason::Needless;
    let closed = world.closed_connections.iter().filter(needless).count();
    assert_eq!(world.connects.len() - before, closed, "{:?}", world.closed_connections);
}

/// One lookup, asked for by the first poll; the join goes out in the moment in which it can.
#[test]
fn the_join_goes_out_with_the_answer_of_one_lookup() {
    for coordinator in NODES {
        let mut world = World::new(config());
        world.coordinator = coordinator;
        world.create("orders", &[10]);
        world.subscribe(&["orders"], false);
        world.run(10_000);
        let dates = |world: &World, what: &str| -> Vec<u64> {
            let named = world.sent.iter().filter(|(_, _, request)| name(request) == what);
            named.map(|(date, ..)| *date).collect()
        };
        assert!(dates(&world, "FindCoordinator").is_empty(), "nobody needs it before a poll");
        let polled = world.now;
        world.poll(1_000);
        assert_eq!(dates(&world, "FindCoordinator"), [polled], "at once, and once");
        let answered = |what: &str| {
            let mut answers = world.answers.iter().filter(|(date, _)| *date >= polled);
            answers.find(|(_, of)| *of == what).expect("it was answered").0
        };
        let found = answered("FindCoordinator");
        let is_connected =
            world.connects.iter().any(|(date, to)| *date < found && *to == address(coordinator));
        let ready = if is_connected { found } else { answered("ApiVersions") };
        assert_eq!(dates(&world, "Heartbeat")[0], ready, "coordinator {coordinator:?}");
    }
}
