//! The calls that brokers are asked for, and the order in which commits are answered.

use super::joined;
use super::world::{NODES, World, at, config, name, partition};
use crate::request::{ListedOffset, OffsetAt};
use crate::{Answer, CallFault, CallId, Command, SeekTo};
use evenkeel_spec::words::{ErrorCode, Offset, TopicName, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

fn offsets(world: &mut World, wanted: &[(&str, u32, OffsetAt)], timeout_ms: u64) -> CallId {
    let wanted = wanted.iter().map(|(topic, index, at)| (partition(topic, *index), *at)).collect();
    world.call(|call| Command::Offsets { call, wanted, timeout_ms })
}

fn found(of: &[(&str, u32, u64)]) -> BTreeMap<TopicPartition, Option<ListedOffset>> {
    let listed = |at| ListedOffset { offset: Offset(at), leader_epoch: None, timestamp_ms: None };
    of.iter().map(|(topic, index, at)| (partition(topic, *index), Some(listed(*at)))).collect()
}

fn sent(world: &World, what: &str) -> usize {
    world.sent.iter().filter(|(_, _, request)| name(request) == what).count()
}

#[test]
fn each_leader_is_asked_once_and_the_answers_are_one() {
    let mut world = World::new(config());
    world.create("t", &[7, 8, 9]);
    world.log("t").leaders = vec![NODES[0], NODES[1], NODES[0]];
    let latest =
        [("t", 0, OffsetAt::Latest), ("t", 1, OffsetAt::Latest), ("t", 2, OffsetAt::Earliest)];
    let call = offsets(&mut world, &latest, 1_000);
    world.run(1_000);
    let answer = found(&[("t", 0, 7), ("t", 1, 8), ("t", 2, 0)]);
    assert_eq!(world.done[&call], Ok(Answer::Offsets(answer)));
    assert_eq!((sent(&world, "ListOffsets"), sent(&world, "FindCoordinator")), (2, 0));
    assert_eq!(sent(&world, "Metadata"), 1, "a leader that is known is not asked for");
}

#[test]
fn a_leader_that_is_none_any_more_leads_to_the_next() {
    let mut world = World::new(config());
    world.create("t", &[7]);
    world.log("t").leaders = vec![NODES[0]];
    let first = offsets(&mut world, &[("t", 0, OffsetAt::Latest)], 1_000);
    world.run(1_000);
    world.log("t").leaders = vec![NODES[1]];
    let second = offsets(&mut world, &[("t", 0, OffsetAt::Latest)], 1_000);
    world.run(1_000);
    for call in [first, second] {
        assert_eq!(world.done[&call], Ok(Answer::Offsets(found(&[("t", 0, 7)]))));
    }
}

#[test]
fn a_topic_that_comes_into_being_in_time_is_found_and_one_that_does_not_is_named() {
    let mut world = World::new(config());
    let early = offsets(&mut world, &[("t", 0, OffsetAt::Latest)], 2_000);
    let late = offsets(&mut world, &[("t", 0, OffsetAt::Latest)], 60_000);
    world.run(1_999);
    assert_eq!(world.done.get(&early), None, "it is asked for again until the deadline");
    world.run(1);
    let last = Some(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(world.done[&early], Err(CallFault::TimedOut { last }));
    world.run(8_000);
    let asked = sent(&world, "Metadata");
    assert!((8..=20).contains(&asked), "{asked} requests in ten seconds: it backs off");
    world.create("t", &[7]);
    world.run(2_000);
    assert_eq!(world.done[&late], Ok(Answer::Offsets(found(&[("t", 0, 7)]))));
    let none = offsets(&mut world, &[("t", 1, OffsetAt::Latest)], 2_000);
    world.run(2_000);
    assert_eq!(world.done[&none], Err(CallFault::TimedOut { last }), "the topic has no such index");
}

#[test]
fn what_did_not_exist_before_the_call_is_asked_for_anew() {
    let mut world = World::new(config());
    let partitions = BTreeSet::from([partition("t", 0)]);
    for exists in [false, true] {
        let wanted = partitions.clone();
        let call =
            world.call(|call| Command::Committed { call, partitions: wanted, timeout_ms: 9_000 });
        world.run(5_000);
        let offset = exists.then(|| at(4));
        let answer = Answer::Committed(BTreeMap::from([(partition("t", 0), offset)]));
        assert_eq!(world.done[&call], Ok(answer));
        let id = world.create("t", &[9]);
        world.committed.insert(evenkeel_spec::words::TopicIdPartition::new(id, 0), at(4));
    }
    assert_eq!(world.warnings, [], "nobody subscribes to it");
}

#[test]
fn a_topic_that_may_not_be_read_is_the_calls_error_and_nobody_elses() {
    let mut world = World::new(config());
    let code = ErrorCode::TopicAuthorizationFailed;
    world.create("t", &[7]);
    world.topic_errors.insert("t".into(), code);
    let partitions = BTreeSet::from([partition("t", 0)]);
    let calls = [
        offsets(&mut world, &[("t", 0, OffsetAt::Latest)], 1_000),
        world.call(|call| Command::Committed { call, partitions, timeout_ms: 1_000 }),
    ];
    world.run(500);
    for call in calls {
        assert_eq!(world.done[&call], Err(CallFault::Refused(code)));
    }
    assert!(world.poll(1_000).is_none());
    assert_eq!(world.faults.pop_front(), Some(crate::PollFault::NotSubscribed));
    world.topic_errors.clear();
    let call = offsets(&mut world, &[("t", 0, OffsetAt::Latest)], 5_000);
    world.run(5_000);
    assert_eq!(world.done[&call], Ok(Answer::Offsets(found(&[("t", 0, 7)]))), "asked for anew");
}

#[test]
fn an_abandoned_call_asks_no_more() {
    let mut world = World::new(config());
    let call = offsets(&mut world, &[("t", 0, OffsetAt::Latest)], 60_000);
    world.run(5_000);
    world.command(Command::Abandon { call });
    world.run(2_000);
    let asked = world.sent.len();
    world.run(50_000);
    assert_eq!((world.sent.len(), world.done.get(&call)), (asked, None));
}

#[test]
fn no_more_calls_are_open_than_may_be() {
    let mut world = World::new(config());
    world.down.extend(NODES);
    let calls: Vec<_> = (0..1_025)
        .map(|_| world.call(|call| Command::Topics { call, topic: None, timeout_ms: 5_000 }))
        .collect();
    assert_eq!(world.done.get(&calls[1_023]), None);
    assert_eq!(world.done[&calls[1_024]], Err(CallFault::QueueFull));
    world.run(5_000);
    assert_eq!(world.done[&calls[0]], Err(CallFault::TimedOut { last: None }));
}

#[test]
fn topics_are_asked_of_any_broker_without_a_group() {
    let mut world = World::new(config());
    let id = world.create("t", &[7, 8]);
    let ask = |topic: Option<&str>| {
        let topic = topic.map(TopicName::from);
        move |call| Command::Topics { call, topic, timeout_ms: 1_000 }
    };
    let calls = [Some("t"), Some("none"), None].map(|topic| world.call(ask(topic)));
    world.run(1_000);
    for (call, count) in calls.into_iter().zip([1, 0, 1]) {
        let Ok(Answer::Topics(topics)) = &world.done[&call] else { panic!("{:?}", world.done) };
        assert_eq!(topics.len(), count);
        for topic in topics.values() {
            assert_eq!((topic.id, topic.partitions.len()), (id, 2));
        }
    }
    assert_eq!((sent(&world, "Topics"), sent(&world, "FindCoordinator")), (3, 0));
}

#[test]
fn the_lag_is_known_once_something_was_fetched() {
    let (mut world, _) = joined(&[700]);
    let ask = |world: &mut World, index| {
        let partition = partition("orders", index);
        let call = world.call(|call| Command::Lag { call, partition });
        world.done[&call].clone()
    };
    assert_eq!(ask(&mut world, 0), Err(CallFault::NotAssigned(partition("orders", 0))));
    world.poll(1_000).expect("records");
    assert_eq!(ask(&mut world, 0), Ok(Answer::Lag(Some(200))));
    let to = crate::SeekTo::Offset(Offset(650));
    let seek = |call| Command::Seek { call, partitions: [partition("orders", 0)].into(), to };
    let call = world.call(seek);
    assert_eq!(world.done[&call], Ok(Answer::Done));
    assert_eq!(ask(&mut world, 0), Ok(Answer::Lag(None)));
    assert_eq!(ask(&mut world, 1), Err(CallFault::NotAssigned(partition("orders", 1))));
}

#[test]
fn commits_are_answered_in_the_order_of_their_calls() {
    let (mut world, _) = joined(&[700]);
    world.poll(1_000).expect("records");
    let mine = BTreeMap::from([(partition("orders", 0), at(5))]);
    let stranger = BTreeMap::from([(partition("orders", 9), at(5))]);
    let taken = world.taken;
    let commits = [Some(mine), Some(BTreeMap::new()), Some(stranger)].map(|offsets| {
        world.call(|call| Command::Commit { call, taken, offsets, timeout_ms: 1_000 })
    });
    let early = commits.iter().filter(|call| world.done.contains_key(call)).count();
    assert_eq!(early, 0, "the first is on its way");
    // Behind a fetch that the broker has parked.
    world.run(510);
    let stranger = Err(CallFault::NotAssigned(partition("orders", 9)));
    for (call, result) in commits.into_iter().zip([Ok(Answer::Done), Ok(Answer::Done), stranger]) {
        assert_eq!(world.done[&call], result);
    }
    let order: Vec<_> = world.done_order.iter().filter(|call| commits.contains(call)).collect();
    assert_eq!(order, commits.iter().collect::<Vec<_>>());
}

#[test]
fn a_commit_that_is_given_up_lets_those_after_it_be_answered() {
    let (mut world, _) = joined(&[700]);
    world.poll(1_000).expect("records");
    world.mute.extend(NODES);
    let taken = world.taken;
    let mine = || Some(BTreeMap::from([(partition("orders", 0), at(5))]));
    let first =
        world.call(|call| Command::Commit { call, taken, offsets: mine(), timeout_ms: 1_000 });
    let empty = Some(BTreeMap::new());
    let second =
        world.call(|call| Command::Commit { call, taken, offsets: empty, timeout_ms: 9_000 });
    let third =
        world.call(|call| Command::Commit { call, taken, offsets: mine(), timeout_ms: 500 });
    world.run(999);
    assert_eq!(world.done[&third], Err(CallFault::TimedOut { last: None }), "its own deadline");
    assert_eq!(world.done.get(&second), None);
    world.run(1);
    assert_eq!(world.done[&first], Err(CallFault::TimedOut { last: None }));
    assert_eq!(world.done[&second], Ok(Answer::Done));
}

#[test]
fn the_coordinator_is_looked_for_only_as_long_as_somebody_needs_it() {
    let mut world = World::new(config());
    world.create("t", &[7]);
    world.lookup_errors.extend([ErrorCode::CoordinatorNotAvailable; 1_000]);
    let partitions = BTreeSet::from([partition("t", 0)]);
    let call = world.call(|call| Command::Committed { call, partitions, timeout_ms: 5_000 });
    world.run(5_000);
    assert_eq!(world.done[&call], Err(CallFault::TimedOut { last: None }));
    let lookups = sent(&world, "FindCoordinator");
    assert!((5..=20).contains(&lookups), "{lookups} in five seconds");
    world.run(60_000);
    assert!(sent(&world, "FindCoordinator") <= lookups + 1, "L1: nobody needs it any more");
}

fn describe(world: &mut World, timeout_ms: u64) -> CallId {
    world.call(|call| Command::DescribeGroup { call, timeout_ms })
}

#[test]
fn the_coordinator_describes_the_group_once_for_all_who_ask_before_it_is_sent() {
    let mut world = World::new(config());
    let calls = [describe(&mut world, 1_000), describe(&mut world, 1_000)];
    world.run(1_000);
    for call in calls {
        let Ok(Answer::Group(group)) = &world.done[&call] else { panic!("{:?}", world.done) };
        assert_eq!((&*group.state, group.epoch.0), ("Empty", 7));
    }
    assert_eq!(sent(&world, "DescribeGroup"), 1);
}

#[test]
fn a_coordinator_that_moved_is_found_and_one_that_loads_is_asked_again() {
    let mut world = World::new(config());
    let first = describe(&mut world, 1_000);
    world.run(1_000);
    world.coordinator = NODES[1];
    world.describe_errors.push_back(ErrorCode::CoordinatorLoadInProgress);
    let second = describe(&mut world, 1_000);
    world.run(1_000);
    assert!(world.done[&first].is_ok() && world.done[&second].is_ok(), "{:?}", world.done);
    assert_eq!(sent(&world, "FindCoordinator"), 2);
    world.describe_errors.push_back(ErrorCode::GroupIdNotFound);
    let third = describe(&mut world, 1_000);
    world.run(1_000);
    assert_eq!(world.done[&third], Err(CallFault::Refused(ErrorCode::GroupIdNotFound)));
}

#[test]
fn a_broker_that_does_not_describe_groups_is_good_for_everything_else() {
    let (mut world, _) = joined(&[10, 10]);
    world.describes_none = true;
    world.consume(20);
    let call = describe(&mut world, 1_000);
    world.run(1_000);
    assert_eq!(world.done[&call], Err(CallFault::Refused(ErrorCode::UnsupportedVersion)));
    let offsets = offsets(&mut world, &[("orders", 0, OffsetAt::Latest)], 1_000);
    world.run(1_000);
    assert!(world.done[&offsets].is_ok(), "{:?}", world.done);
    assert!(
        world
            .closed_connections
            .iter()
            .all(|(_, reason)| { matches!(reason, crate::DisconnectReason::Needless) })
    );
}

/// 1. `committed` is asked, and the group may not be used. 2. The application assigns itself what it
///    reads from a place of its own, for which it needs no group.
#[test]
fn a_group_that_a_call_may_not_use_keeps_nobody_from_reading_what_is_assigned() {
    let mut world = World::new(config());
    world.create("t", &[10]);
    let code = ErrorCode::GroupAuthorizationFailed;
    let commands: [fn(CallId) -> Command; 2] = [
        |call| Command::DescribeGroup { call, timeout_ms: 1_000 },
        |call| {
            let partitions = [partition("t", 0)].into();
            Command::Committed { call, partitions, timeout_ms: 1_000 }
        },
    ];
    for command in commands {
        world.lookup_errors.push_back(code);
        let call = world.call(command);
        world.run(1_000);
        assert_eq!(world.done[&call], Err(CallFault::Refused(code)));
    }
    let partitions = BTreeSet::from([partition("t", 0)]);
    world.call(|call| Command::Assign { call, taken: 0, partitions });
    let to = SeekTo::Offset(Offset(3));
    let call =
        world.call(|call| Command::Seek { call, partitions: [partition("t", 0)].into(), to });
    assert_eq!(world.done[&call], Ok(Answer::Done));
    let delivery = world.poll(5_000).expect("records");
    assert_eq!(delivery.parts[0].records, (3, 10));
    assert!(world.faults.is_empty(), "the calls were told, and poll is not: {:?}", world.faults);
}
