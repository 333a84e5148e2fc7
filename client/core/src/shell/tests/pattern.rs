//! A subscription by pattern (M13): the coordinator says what matches, metadata names it by its id.

use super::world::{World, config, name, partition};
use crate::diagnosis::{Belonging, Reason};
use crate::group::Fault;
use crate::{Answer, CallFault, Command, PollFault, Time};
use evenkeel_spec::words::{ErrorCode, Heartbeat, Pattern};
use std::sync::Arc;

fn subscribe(world: &mut World, pattern: &str) {
    let pattern = Arc::from(pattern);
    let call = world.call(|call| Command::SubscribePattern { call, pattern, listener: false });
    assert_eq!(world.done[&call], Ok(Answer::Done));
}

fn heartbeats(world: &World) -> Vec<Heartbeat> {
    let heartbeats = world.sent.iter().filter_map(|(_, _, request)| match request {
        crate::request::Request::Heartbeat(heartbeat) => Some(heartbeat.clone()),
        _ => None,
    });
    heartbeats.collect()
}

fn matching(pattern: &str) -> Option<Pattern> {
    Some(Pattern::Matching(pattern.into()))
}

#[test]
fn what_matches_is_read_and_so_is_what_comes_to_match() {
    let mut world = World::new(config());
    world.create("orders-a", &[10]);
    world.create("payments", &[10]);
    subscribe(&mut world, "orders");
    world.consume(10);
    world.create("orders-b", &[10]);
    let got = world.consume(10);
    assert_eq!(got.keys().collect::<Vec<_>>(), [&partition("orders-b", 0)]);
    assert_eq!(world.assignment, [partition("orders-a", 0), partition("orders-b", 0)].into());
    let by_id = world.sent.iter().filter(|(_, _, request)| name(request) == "TopicsById").count();
    assert_eq!(by_id, 2, "one for each assignment of what has no name");
    let join = &heartbeats(&world)[0];
    assert_eq!(
        (join.pattern.clone(), join.subscription.as_ref().map(|s| s.len())),
        (matching("orders"), Some(0))
    );
    assert!(heartbeats(&world)[1..].iter().all(|later| later.pattern.is_none()), "unchanged");
}

#[test]
fn a_change_from_names_to_a_pattern_and_back_is_told_and_read() {
    let mut world = World::new(config());
    world.create("a", &[10]);
    world.create("b", &[10, 10]);
    world.subscribe(&["a"], false);
    world.consume(10);
    subscribe(&mut world, "b");
    world.consume(20);
    assert_eq!(world.assignment, [partition("b", 0), partition("b", 1)].into());
    world.log("a").ends[0] += 10;
    world.subscribe(&["a"], false);
    let got = world.consume(10);
    assert_eq!(got[&partition("a", 0)], [(10, 20)], "from where it was committed");
    let said: Vec<_> = heartbeats(&world).into_iter().filter_map(|said| said.pattern).collect();
    assert_eq!(said, [Pattern::Matching("b".into()), Pattern::Ended]);
    let known = world.shell.diagnose(Time(world.now)).partitions;
    assert!(known.values().all(|known| known.belonging == Belonging::Owned), "{known:?}");
}

#[test]
fn a_fenced_member_says_its_pattern_again_and_ends_one_that_it_said() {
    let mut world = World::new(config());
    world.create("a", &[10]);
    subscribe(&mut world, "a");
    world.consume(10);
    world.heartbeat_errors.push_back(ErrorCode::FencedMemberEpoch);
    world.run(6_000);
    world.poll(1_000);
    let joins = heartbeats(&world);
    let joins: Vec<_> = joins.iter().filter(|said| said.is_full()).collect();
    assert_eq!(joins.len(), 2, "it joined twice");
    assert!(joins.iter().all(|join| join.pattern == matching("a")), "{joins:?}");
    // Names now, and the coordinator does not answer: whatever it knows, the pattern has ended.
    world.heartbeat_errors.push_back(ErrorCode::CoordinatorLoadInProgress);
    world.subscribe(&["a"], false);
    world.run(3_000);
    let all = heartbeats(&world);
    let ended = all.iter().filter(|said| said.pattern == Some(Pattern::Ended)).count();
    assert_eq!(ended, 2, "with the change, and with the full heartbeat after the refusal");
}

/// Kafka's consumer forgets with the fence that it had told one, so that the coordinator goes on with
/// it.
#[test]
fn a_pattern_that_ended_while_the_member_was_fenced_is_ended_by_its_next_join() {
    let mut world = World::new(config());
    world.create("a", &[10]);
    world.create("b", &[10]);
    subscribe(&mut world, "a");
    world.consume(10);
    world.heartbeat_errors.push_back(ErrorCode::FencedMemberEpoch);
    let before = heartbeats(&world).len();
    while heartbeats(&world).len() == before {
        world.step(world.now + 10_000);
    }
    // The heartbeat that will be fenced is on its way.
    world.subscribe(&["b"], false);
    let got = world.consume(10);
    assert_eq!(got.keys().collect::<Vec<_>>(), [&partition("b", 0)]);
    let all = heartbeats(&world);
    let join = all[before + 1..].iter().find(|said| said.is_full()).expect("it joined again");
    assert_eq!(join.pattern, Some(Pattern::Ended));
    assert_eq!(world.assignment, [partition("b", 0)].into());
}

#[test]
fn a_pattern_that_the_coordinator_refuses_is_the_end_of_the_membership() {
    let mut world = World::new(config());
    world.create("a", &[10]);
    world.heartbeat_errors.push_back(ErrorCode::InvalidRegularExpression);
    subscribe(&mut world, "a(");
    world.poll(1_000);
    let fault = Fault::Fatal(ErrorCode::InvalidRegularExpression);
    assert_eq!(world.faults.pop_front(), Some(PollFault::Group(fault)));
    subscribe(&mut world, "a");
    world.consume(10);
}

#[test]
fn a_pattern_needs_a_group_and_excludes_an_assignment() {
    let mut without = config();
    without.has_group = false;
    let mut world = World::new(without);
    let pattern = || Arc::from("a");
    let command = |call| Command::SubscribePattern { call, pattern: pattern(), listener: false };
    let call = world.call(command);
    assert_eq!(world.done[&call], Err(CallFault::NoGroupId));
    let mut world = World::new(config());
    let partitions = [partition("a", 0)].into();
    world.call(|call| Command::Assign { call, taken: 0, partitions });
    let call = world.call(command);
    assert_eq!(world.done[&call], Err(CallFault::Exclusive));
}

#[test]
fn a_partition_by_pattern_is_paused_and_diagnosed_as_any_other() {
    let mut world = World::new(config());
    world.create("a", &[1_000]);
    subscribe(&mut world, "a");
    world.consume(500);
    world.run(1_000);
    let known = world.shell.diagnose(Time(world.now)).partitions[&partition("a", 0)];
    assert_eq!((known.belonging, known.reason), (Belonging::Owned, Reason::Buffered));
}
