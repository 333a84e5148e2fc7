//! Room in the buffer, and brokers that cannot be reached: nobody waits for ever.

use super::diagnose::{assign, assigned, pause};
use super::world::{NODES, World, address, config, partition};
use crate::request::Request;
use crate::{Address, Config, Warning};

/// One partition may ask for all that there is room for.
fn narrow() -> Config {
    let mut config = config();
    config.has_group = false;
    (config.fetch_max_bytes, config.max_partition_fetch_bytes) = (1_000, 1_000);
    config
}

#[test]
fn a_leader_without_records_does_not_keep_the_room_from_the_next_one() {
    let mut world = assigned(narrow(), &[0, 30]);
    let began = world.now;
    let got = world.consume(30);
    assert_eq!(got.keys().collect::<Vec<_>>(), [&partition("t", 1)]);
    // What the other leader has parked reserves its share, not all.
    assert!(world.now - began < 500, "{} ms", world.now - began);
}

#[test]
fn what_is_buffered_of_a_paused_partition_does_not_keep_the_others_from_being_read() {
    let mut config = narrow();
    config.max_poll_records = 3;
    let mut world = assigned(config, &[10, 0]);
    world.consume(3);
    pause(&mut world, ("t", 0));
    world.log("t").ends[1] = 4;
    let got = world.consume(4);
    let of_the_other = got.get(&partition("t", 1)).into_iter().flatten();
    assert_eq!(of_the_other.map(|(from, to)| to - from).sum::<u64>(), 4);
    // Nothing of it is lost, or comes twice.
    let partitions = [partition("t", 0)].into();
    world.call(|call| crate::Command::Resume { call, partitions });
    let got = world.consume(7);
    assert_eq!(got[&partition("t", 0)].first().map(|(from, _)| *from), Some(3));
}

/// L3, of a consumer whose coordinator hears nothing else of it.
#[test]
fn a_coordinator_that_loses_a_lookup_of_offsets_is_looked_up_again() {
    let mut config = config();
    config.auto_commit = false;
    let mut world = World::new(config);
    world.create("t", &[10, 10]);
    assign(&mut world, &[("t", 1)]);
    world.consume(10);
    world.down.insert(NODES[0]);
    world.cut(NODES[0]);
    world.coordinator = NODES[1];
    world.log("t").leaders[0] = NODES[1];
    assign(&mut world, &[("t", 0), ("t", 1)]);
    let got = world.consume(10);
    assert!(got.contains_key(&partition("t", 0)), "{got:?}");
    let lookups = world.sent.iter().filter(|(_, _, request)| *request == Request::FindCoordinator);
    assert_eq!(lookups.count(), 2);
}

/// 2,000 records of one partition are buffered, which a slow application needs 40 polls for.
#[test]
fn a_slow_backlog_does_not_keep_the_other_partitions_of_its_leader_from_being_read() {
    let mut config = config();
    config.has_group = false;
    (config.max_partition_fetch_bytes, config.max_poll_records) = (100_000, 50);
    let mut world = assigned(config, &[10_000, 0]);
    world.log("t").leaders = vec![NODES[0]; 2];
    world.consume(1_050);
    world.run(2_000);
    world.log("t").ends[1] = 3;
    let mut polls = 0;
    loop {
        polls += 1;
        let delivery = world.poll(1_000).expect("records");
        if delivery.parts.iter().any(|part| part.partition == partition("t", 1)) {
            break;
        }
        assert!(polls < 4, "{delivery:?}");
        world.run(1_000);
    }
}

/// Else each delivery would cost a request.
#[test]
fn a_backlog_beside_partitions_without_records_costs_one_request_more_in_fetch_max_wait_ms() {
    let mut config = config();
    config.has_group = false;
    (config.max_partition_fetch_bytes, config.max_poll_records) = (100_000, 1);
    let mut world = assigned(config, &[10_000, 0]);
    world.log("t").leaders = vec![NODES[0]; 2];
    world.consume(10);
    world.run(1_000);
    let before = world.sent.len();
    for _ in 0..400 {
        world.poll(1_000).expect("records");
        world.run(5);
    }
    let requests: Vec<_> = world.sent[before..].iter().collect();
    let at_once = requests.iter().filter(
        |(_, _, request)| matches!(request, Request::Fetch(fetch) if fetch.wait_max_ms == 0),
    );
    assert!((4..=5).contains(&at_once.count()), "{requests:?}");
    assert!(requests.len() <= 6, "{requests:?}");
}

/// The cluster moved, and its old addresses swallow what is sent to them: of two brokers, one is
/// always being connected to.
#[test]
fn known_brokers_that_swallow_everything_do_not_keep_the_bootstrap_server_from_being_asked() {
    let mut config = config();
    let balancer = Address::new("balancer", 9092);
    config.max_poll_interval_ms = 3_600_000;
    config.bootstrap_servers = vec![balancer.clone()];
    let mut world = World::new(config);
    world.create("t", &[10, 10]);
    world.subscribe(&["t"], false);
    world.consume(20);
    world.hanging = NODES.map(address).into();
    for node in NODES {
        world.cut(node);
        world.run(5_000);
    }
    let (since, asked) = (world.now, world.connects.len());
    world.run(400_000);
    let again = world.connects[asked..].iter().find(|(_, to)| *to == balancer);
    let after = again.map(|(at, _)| at - since);
    assert!(after.is_some_and(|after| after < 345_000), "{after:?}");
    assert!(world.warnings.contains(&Warning::Rebootstrap));
    // The old addresses are heard again.
    world.hanging.clear();
    world.run(60_000);
    world.log("t").ends = vec![11, 11];
    eprintln!("{}", super::diagnose::diagnosis(&world));

    world.consume(2);
}
