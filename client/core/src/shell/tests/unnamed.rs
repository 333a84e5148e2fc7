//! A topic that is deleted before metadata names it: its id is asked for as long as the group waits
//! for it, and keeps nothing else from being asked for (R7).

use super::world::{NODES, World, at, config, name, partition};
use crate::{Answer, Command, Time};
use evenkeel_spec::words::{TopicId, TopicIdPartition};
use std::collections::BTreeMap;

const TMP: TopicIdPartition = TopicIdPartition::new(TopicId::from_u32(99), 0);

/// A member that has read `a`, and is assigned what has no name.
fn waiting(by_pattern: bool) -> World {
    let mut world = World::new(config());
    world.create("a", &[10]);
    if by_pattern {
        let command =
            |call| Command::SubscribePattern { call, pattern: "a".into(), listener: false };
        let call = world.call(command);
        assert_eq!(world.done[&call], Ok(Answer::Done));
    } else {
        world.subscribe(&["a"], false);
    }
    world.consume(10);
    world.unnamed.insert(TMP);
    world.poll(10_000);
    assert!(asked(&world, 5_000).len() >= 4, "it is asked for");
    world
}

/// The requests for metadata of the last `ms`.
fn asked(world: &World, ms: u64) -> Vec<&'static str> {
    let last = world.sent.iter().filter(|(date, ..)| *date + ms > world.now);
    let names = last.map(|(_, _, request)| name(request));
    names.filter(|name| ["Metadata", "TopicsById"].contains(name)).collect()
}

fn move_leader(world: &mut World) {
    let log = world.log("a");
    log.leaders[0] = NODES[usize::from(log.leaders[0] == NODES[0])];
    log.ends[0] += 10;
}

#[test]
fn once_the_target_names_it_no_more_a_leader_is_found_and_nothing_is_asked_for() {
    for by_pattern in [true, false] {
        let mut world = waiting(by_pattern);
        world.unnamed.clear();
        world.poll(10_000);
        assert_eq!(asked(&world, 4_000), Vec::<&str>::new(), "pattern: {by_pattern}");
        move_leader(&mut world);
        assert_eq!(world.consume(10)[&partition("a", 0)], [(10, 20)]);
        world.poll(5_000);
        world.poll(60_000);
        assert_eq!(asked(&world, 60_000), Vec::<&str>::new(), "pattern: {by_pattern}");
    }
}

#[test]
fn after_an_unsubscribe_nothing_is_asked_for() {
    for by_pattern in [true, false] {
        let mut world = waiting(by_pattern);
        let taken = world.taken;
        let call = world.call(|call| Command::Unsubscribe { call, taken });
        world.run(5_000);
        assert_eq!(world.done[&call], Ok(Answer::Left { confirmed: true }));
        world.run(60_000);
        assert_eq!(asked(&world, 60_000), Vec::<&str>::new(), "pattern: {by_pattern}");
        let known = world.shell.diagnose(Time(world.now)).partitions;
        assert!(known.is_empty(), "nor is anything to be given: {known:?}");
    }
}

#[test]
fn while_it_is_waited_for_a_leader_is_found_and_calls_are_answered() {
    let mut world = waiting(true);
    let b = TopicIdPartition::new(world.create("b", &[1]), 0);
    world.committed.insert(b, at(1));
    move_leader(&mut world);
    assert_eq!(world.consume(10)[&partition("a", 0)], [(10, 20)]);
    let partitions = [partition("b", 0)].into();
    let call = world.call(|call| Command::Committed { call, partitions, timeout_ms: 5_000 });
    world.run(5_000);
    let found = BTreeMap::from([(partition("b", 0), Some(at(1)))]);
    assert_eq!(world.done[&call], Ok(Answer::Committed(found)));
    let asked = asked(&world, 5_000);
    assert!(asked.contains(&"TopicsById"), "{asked:?}");
    assert!(asked.len() <= 7, "once a second, and no faster: {asked:?}");
}
