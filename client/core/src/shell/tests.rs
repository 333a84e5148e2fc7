//! The shell against a scripted cluster, in virtual time.

mod calls;
mod chaos;
mod connections;
mod diagnose;
mod dropped;
mod pattern;
mod room;
mod truncation;
mod truth;
mod unnamed;
mod waits;
mod world;

use super::Shell;
use crate::group::Fault;
use crate::request::Request;
use crate::{
    Answer, CallFault, Cause, Command, DisconnectReason, Misbehaved, OffsetReset, PollFault,
    SeekTo, Warning,
};
use evenkeel_spec::words::{ErrorCode, HeartbeatEpoch, NodeId, Offset, TopicIdPartition};
use std::collections::{BTreeMap, BTreeSet};
use world::{NODES, Records, World, at, config, name, partition};

fn joined(ends: &[u64]) -> (World, Vec<TopicIdPartition>) {
    let mut world = World::new(config());
    let topic = world.create("orders", ends);
    world.subscribe(&["orders"], false);
    let ids = (0..ends.len()).map(|i| TopicIdPartition::new(topic, u32::try_from(i).expect("few")));
    (world, ids.collect())
}

#[test]
fn a_member_joins_reads_commits_and_leaves() {
    let (mut world, ids) = joined(&[700, 300]);
    let got = world.consume(1_000);
    let orders = BTreeMap::from([
        (partition("orders", 0), got[&partition("orders", 0)].clone()),
        (partition("orders", 1), got[&partition("orders", 1)].clone()),
    ]);
    for (partition, end) in [(partition("orders", 0), 700), (partition("orders", 1), 300)] {
        let parts = &orders[&partition];
        assert_eq!(parts.first().expect("some").0, 0);
        assert_eq!(parts.last().expect("some").1, end);
        assert!(parts.windows(2).all(|w| w[0].1 == w[1].0), "no record twice, none left out");
    }
    let (taken, timeout_ms) = (world.taken, 1_000);
    let call = world.call(|call| Command::Commit { call, taken, offsets: None, timeout_ms });
    // The broker has parked a fetch on the same connection.
    world.run(510);
    assert_eq!(world.done[&call], Ok(Answer::Done));
    assert_eq!(world.committed, BTreeMap::from([(ids[0], at(700)), (ids[1], at(300))]));
    world.command(Command::Close { taken, timeout_ms });
    world.run(timeout_ms);
    let report = world.report.take().expect("it is closed");
    assert!(report.left);
    assert_eq!((report.calls_failed, report.bytes_discarded), (0, 0));
}

#[test]
fn no_poll_returns_more_than_max_poll_records_and_partitions_take_turns() {
    let (mut world, _) = joined(&[2_000, 2_000]);
    let mut firsts = Vec::new();
    for _ in 0..8 {
        let delivery = world.poll(1_000).expect("records");
        assert_eq!(delivery.parts.iter().map(|part| part.count).sum::<usize>(), 500);
        firsts.push(delivery.parts[0].partition.partition);
        world.run(100);
    }
    assert!(firsts.windows(2).skip(1).all(|w| w[0] != w[1]), "{firsts:?}");
}

#[test]
fn a_backlog_is_read_at_speed_beside_partitions_that_have_no_records() {
    let mut config = config();
    config.max_partition_fetch_bytes = 16_000;
    let mut world = World::new(config);
    world.create("orders", &[20_000, 0, 0, 0]);
    world.subscribe(&["orders"], false);
    world.consume(20_000);
    // Joining, and one request that is parked before the backlog's partition is looked up.
    let took_ms = world.now;
    assert!(took_ms < 2_000, "{took_ms} ms: requests for nothing but empty partitions are parked");
}

#[test]
fn a_delivery_that_nobody_took_holds_back_the_next_and_is_not_committed() {
    let (mut world, ids) = joined(&[1_200]);
    let first = world.poll(1_000).expect("records");
    // The next poll is dropped while its delivery is on the way.
    world.command(Command::Poll { taken: world.taken });
    assert_eq!(world.waiting.len(), 1);
    world.command(Command::PollEnded);
    let timeout_ms = 1_000;
    let taken = world.taken;
    let call = world.call(|call| Command::Commit { call, taken, offsets: None, timeout_ms });
    // The broker has parked a fetch on the same connection.
    world.run(510);
    assert_eq!(world.done[&call], Ok(Answer::Done));
    assert_eq!(world.committed[&ids[0]].offset, first.parts[0].next_offset);
    // The poll after it finds the delivery and gets nothing further beside it.
    world.command(Command::Poll { taken: world.taken });
    assert_eq!(world.waiting.len(), 1);
    let second = world.waiting.pop_front().expect("it waits");
    world.taken = second.number;
    world.command(Command::PollEnded);
    assert_eq!(second.parts[0].records, (500, 1_000));
    assert_eq!(world.poll(1_000).expect("records").parts[0].records, (1_000, 1_200));
}

#[test]
fn what_is_buffered_stays_within_fetch_max_bytes_and_nothing_is_fetched_twice() {
    let mut config = config();
    config.fetch_max_bytes = 100_000;
    config.max_partition_fetch_bytes = 30_000;
    let mut world = World::new(config);
    world.create("orders", &[5_000; 6]);
    world.subscribe(&["orders"], false);
    let mut left = 30_000;
    while left > 0 {
        let delivery = world.poll(1_000).expect("records");
        left -= delivery.parts.iter().map(|part| part.count).sum::<usize>();
        world.run(600);
        assert!(world.shell.buffered_bytes() <= 100_000, "{}", world.shell.buffered_bytes());
    }
    let mut asked = BTreeMap::<_, Vec<_>>::new();
    for (_, _, request) in &world.sent {
        if let Request::Fetch(fetch) = request {
            for one in &fetch.partitions {
                asked.entry(one.partition).or_default().push(one.offset);
            }
        }
    }
    assert!(asked.values().all(|offsets| offsets.is_sorted()), "no fetch goes back");
}

#[test]
fn an_idle_member_wakes_at_most_twice_a_heartbeat_beside_its_fetches() {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    world.poll(60_000);
    world.command(Command::Poll { taken: world.taken });
    world.timeouts.clear();
    world.answers.clear();
    world.sent.clear();
    let hour_ms = 3_600_000;
    // Inside one long poll, so that the application itself wakes nobody.
    world.run(hour_ms);
    let others = world.answers.iter().filter(|(_, what)| *what != "Fetch").count();
    let wakes = world.timeouts.len() + others;
    let heartbeats = world.sent.iter().filter(|(_, _, r)| name(r) == "Heartbeat").count();
    let intervals = usize::try_from(hour_ms / 5_000).expect("small");
    assert!(heartbeats.abs_diff(intervals) <= 2, "{heartbeats}");
    let refreshes = world.sent.iter().filter(|(_, _, r)| name(r) == "Metadata").count();
    assert!((11..=12).contains(&refreshes), "{refreshes}");
    // Two for each heartbeat (its timer, its answer), one for each answer with new metadata, one for
    // the bootstrap connection that is closed for being idle.
    assert!(wakes <= 2 * heartbeats + refreshes + 1, "{wakes} for {heartbeats} heartbeats");
}

#[test]
fn a_paused_or_withheld_partition_wakes_nobody_and_asks_for_nothing() {
    let (mut world, _) = joined(&[10, 10]);
    world.consume(20);
    let partitions = BTreeSet::from([partition("orders", 0), partition("orders", 1)]);
    let paused = partitions.clone();
    world.call(|call| Command::Pause { call, partitions: paused });
    world.command(Command::Poll { taken: world.taken });
    world.run(1_000);
    world.log("orders").ends = vec![20, 20];
    world.timeouts.clear();
    world.answers.clear();
    world.sent.clear();
    world.run(3_600_000);
    assert!(world.waiting.is_empty());
    let sent = |what| world.sent.iter().filter(|(_, _, request)| name(request) == what).count();
    let wakes = world.timeouts.len() + world.answers.len();
    assert_eq!(sent("Fetch"), 0);
    // One more than when it fetches: the idle connection is closed.
    assert!(wakes <= 2 * sent("Heartbeat") + sent("Metadata") + 3, "{wakes}");
    world.call(|call| Command::Resume { call, partitions });
    world.run(10);
    assert_eq!(world.waiting.len(), 1);
}

#[test]
fn a_broker_that_refuses_is_tried_again_ever_more_slowly_and_poll_says_so_before_first_contact() {
    let mut world = World::new(config());
    world.down = BTreeSet::from(NODES);
    world.create("orders", &[10]);
    world.subscribe(&["orders"], false);
    assert_eq!(world.poll(70_000), None);
    match world.faults.pop_front() {
        Some(PollFault::NoBroker(tried)) => {
            assert_eq!(tried.len(), 2);
            assert!(tried.iter().all(|(_, cause)| matches!(cause, Cause::Connect(_))));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.now, 60_000);
    let first_second = world.connects.iter().filter(|(at, _)| *at < 1_000).count();
    let last_ten = world.connects.iter().filter(|(at, _)| *at >= 50_000).count();
    assert!((4..=14).contains(&first_second), "{first_second}");
    assert!((10..=26).contains(&last_ten), "{last_ten}");
    world.down.clear();
    assert_eq!(world.poll(5_000).expect("records").parts[0].count, 10);
    assert!(world.faults.is_empty());
}

#[test]
fn a_broker_that_lacks_an_api_was_reached_so_that_only_what_it_lacks_is_told() {
    let mut world = World::new(config());
    world.old = BTreeSet::from(NODES);
    world.create("orders", &[10]);
    world.subscribe(&["orders"], false);
    let mut told_until = |end: u64, down: &[NodeId]| {
        world.down = down.iter().copied().collect();
        let mut told = Vec::new();
        while world.now < end {
            assert_eq!(world.poll(1_000), None);
            told.extend(world.faults.drain(..));
        }
        told
    };
    let told = told_until(200_000, &[]);
    let lacks = |fault: &PollFault<_>| matches!(fault, PollFault::Unsupported { .. });
    assert!(told.len() > 2 && told.iter().all(lacks), "{told:?}");
    // One that cannot be reached beside it is told of.
    let told = told_until(400_000, &NODES[..1]);
    let both = |fault: &PollFault<_>| matches!(fault, PollFault::NoBroker(all) if all.len() == 2);
    assert!(told.iter().any(both), "{told:?}");
}

#[test]
fn a_broker_that_never_answers_is_given_up_after_the_request_timeout() {
    let mut world = World::new(config());
    world.mute = BTreeSet::from([NODES[0], NODES[1]]);
    world.create("orders", &[10]);
    world.subscribe(&["orders"], false);
    assert_eq!(world.poll(70_000), None);
    assert!(matches!(world.faults.pop_front(), Some(PollFault::NoBroker(tried))
        if tried.iter().all(|(_, cause)| *cause == Cause::RequestTimedOut)));
    let timed_out = DisconnectReason::Failed(Cause::RequestTimedOut);
    assert_eq!(world.closed_connections[0], (30_001, timed_out));
    assert!(world.connects.len() < 10, "{}", world.connects.len());
}

#[test]
fn a_mute_leader_delays_its_own_partitions_only_and_is_asked_again() {
    let (mut world, _) = joined(&[100, 100]);
    world.consume(200);
    world.mute.insert(NODES[1]);
    assert_eq!(world.poll(2_000), None);
    world.log("orders").ends = vec![200, 200];
    let got = world.consume(100);
    assert_eq!(got, BTreeMap::from([(partition("orders", 0), vec![(100, 200)])]));
    assert_eq!(world.poll(20_000), None);
    world.mute.clear();
    let got = world.consume(100);
    assert_eq!(got, BTreeMap::from([(partition("orders", 1), vec![(100, 200)])]));
    assert!((30_000..32_000).contains(&world.now), "{}", world.now);
}

#[test]
fn a_moved_coordinator_is_found_and_the_member_keeps_its_epoch() {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    world.coordinator = NODES[1];
    world.command(Command::Poll { taken: world.taken });
    world.run(12_000);
    let epochs: BTreeSet<_> = world
        .sent
        .iter()
        .filter_map(|(_, _, request)| match request {
            Request::Heartbeat(heartbeat) => Some(heartbeat.epoch),
            _ => None,
        })
        .collect();
    assert_eq!(epochs.len(), 2, "one join, one epoch: {epochs:?}");
    assert!(world.shell.group().is_stable());
    assert_eq!(world.shell.group().coordinator(), Some(NODES[1]));
}

#[test]
fn a_moved_leader_is_followed_without_a_gap() {
    let (mut world, _) = joined(&[100]);
    assert_eq!(world.consume(100)[&partition("orders", 0)], [(0, 100)]);
    let log = world.log("orders");
    log.leaders[0] = NodeId(2);
    log.ends[0] = 200;
    assert_eq!(world.consume(100)[&partition("orders", 0)], [(100, 200)]);
}

#[test]
fn an_unknown_topic_is_warned_of_once_and_read_once_it_is_created_while_others_flow() {
    let mut world = World::new(config());
    world.create("orders", &[10]);
    world.subscribe(&["orders", "later"], false);
    world.consume(10);
    assert_eq!(world.poll(3_600_000), None);
    assert_eq!(world.warnings, [Warning::UnknownTopic("later".into())]);
    world.create("later", &[7]);
    let got = world.consume(7);
    assert_eq!(got[&partition("later", 0)], [(0, 7)]);
    assert_eq!(world.warnings.len(), 1);
}

#[test]
fn an_outage_of_all_brokers_never_ends_a_consumer() {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    world.down = BTreeSet::from(NODES);
    for node in NODES {
        world.cut(node);
    }
    world.poll(600_000);
    assert_eq!(world.faults.pop_front(), None);
    let attempts = world.connects.iter().filter(|(at, _)| *at >= world.now - 10_000).count();
    assert!(attempts <= 40, "{attempts} in 10 s");
    world.down.clear();
    world.log("orders").ends[0] = 20;
    assert_eq!(world.consume(10)[&partition("orders", 0)], [(10, 20)]);
}

#[test]
fn an_offset_out_of_range_is_reset_after_what_was_buffered_or_told_without_a_policy() {
    for (policy, position) in [
        (OffsetReset::Earliest, Some(50)),
        (OffsetReset::Latest, Some(60)),
        (OffsetReset::ByDuration(1_000), Some(60)),
        (OffsetReset::None, None),
    ] {
        let mut config = config();
        config.auto_offset_reset = policy;
        let mut world = World::new(config);
        let topic = world.create("orders", &[60]);
        let id = TopicIdPartition::new(topic, 0);
        world.committed.insert(id, at(10));
        world.log("orders").starts[0] = 50;
        world.subscribe(&["orders"], false);
        world.poll(2_000);
        let call = world.call(|call| Command::Position {
            call,
            partition: partition("orders", 0),
            timeout_ms: 1_000,
        });
        match position {
            Some(50) => assert_eq!(world.done[&call], Ok(Answer::Position(Offset(60)))),
            Some(end) => assert_eq!(world.done[&call], Ok(Answer::Position(Offset(end)))),
            None => {
                let fault = PollFault::OffsetOutOfRange {
                    partition: partition("orders", 0),
                    offset: Offset(10),
                };
                assert_eq!(world.faults.pop_front(), Some(fault.clone()));
                let stuck = Err(CallFault::NoOffset(partition("orders", 0)));
                assert_eq!(world.done[&call], stuck);
                world.poll(100);
                assert_eq!(world.faults.pop_front(), Some(fault), "told in each poll");
                seek(&mut world, 55);
                assert_eq!(world.consume(5)[&partition("orders", 0)], [(55, 60)]);
            }
        }
        assert_eq!(world.warnings.len(), usize::from(position.is_some()));
    }
}

#[test]
fn of_several_partitions_that_only_a_seek_helps_each_is_told_and_none_that_is_paused() {
    let mut config = config();
    config.auto_offset_reset = OffsetReset::None;
    let mut world = World::new(config);
    world.create("orders", &[1, 1, 1]);
    world.subscribe(&["orders"], false);
    let told = |world: &mut World, polls: usize| {
        let mut told = BTreeSet::new();
        for _ in 0..polls {
            world.poll(2_000);
            match world.faults.pop_front() {
                Some(PollFault::NoOffset(partition)) => told.insert(partition.partition),
                other => panic!("{other:?}"),
            };
        }
        told
    };
    assert_eq!(told(&mut world, 3), BTreeSet::from([0, 1, 2]));
    let partitions = [partition("orders", 1)].into();
    world.call(|call| Command::Pause { call, partitions });
    assert_eq!(told(&mut world, 4), BTreeSet::from([0, 2]));
}

fn seek(world: &mut World, offset: u64) {
    let to = SeekTo::Offset(Offset(offset));
    let call =
        world.call(|call| Command::Seek { call, partitions: [partition("orders", 0)].into(), to });
    assert_eq!(world.done[&call], Ok(Answer::Done));
}

#[test]
fn a_seek_overrides_a_lookup_under_way_and_ends_the_lease_of_what_waits() {
    let (mut world, _) = joined(&[100]);
    world.command(Command::Poll { taken: 0 });
    while world.assignment.is_empty() {
        assert!(world.step(10_000));
    }
    seek(&mut world, 40);
    world.run(100);
    assert_eq!(world.waiting[0].parts[0].records, (40, 100));
    seek(&mut world, 90);
    assert_eq!(world.ended_leases, BTreeSet::from([partition("orders", 0)]));
    world.taken = world.waiting.pop_front().expect("it waits").number;
    assert_eq!(world.consume(10)[&partition("orders", 0)], [(90, 100)]);
}

#[test]
fn records_that_cannot_be_read_are_told_after_those_before_them_and_fetched_again() {
    let (mut world, _) = joined(&[100]);
    world.damaged_at = Some(30);
    assert_eq!(world.poll(1_000).expect("records").parts[0].records, (0, 30));
    for _ in 0..3 {
        assert_eq!(world.poll(5_000), None);
        let told = world.faults.pop_front();
        let fault = "damaged";
        assert_eq!(told, Some(PollFault::Records { partition: partition("orders", 0), fault }));
    }
    world.damaged_at = None;
    world.poll(5_000);
    world.faults.clear();
    seek(&mut world, 30);
    assert_eq!(world.consume(70)[&partition("orders", 0)], [(30, 100)]);
}

#[test]
fn lookups_that_a_coordinator_refuses_are_repeated_with_a_backoff_and_never_spin() {
    let (mut world, ids) = joined(&[10]);
    world.committed.insert(ids[0], at(4));
    let errors = [
        ErrorCode::StaleMemberEpoch,
        ErrorCode::UnstableOffsetCommit,
        ErrorCode::NotCoordinator,
        ErrorCode::CoordinatorLoadInProgress,
    ];
    world.offset_fetch_errors.extend(errors);
    assert_eq!(world.consume(6)[&partition("orders", 0)], [(4, 10)]);
    let asked = world.sent.iter().filter(|(_, _, r)| name(r) == "OffsetFetch").count();
    assert_eq!(asked, errors.len() + 1);
    assert!(world.now >= 80 + 160 + 320 + 640, "{}", world.now);
}

#[test]
fn an_answer_out_of_order_or_of_another_kind_ends_the_connection() {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    let (_, connection, _) = world.sent.last().expect("some").clone();
    let malformed = Misbehaved::Malformed("HTTP".into());
    world.misbehave(connection, malformed.clone());
    let failed = DisconnectReason::Failed(Cause::Misbehaved(malformed));
    assert_eq!(world.closed_connections.last().map(|(_, reason)| reason), Some(&failed));
    world.log("orders").ends[0] = 20;
    assert_eq!(world.consume(10)[&partition("orders", 0)], [(10, 20)]);
}

#[test]
fn calls_end_at_their_deadline_and_a_missing_topic_has_no_offsets() {
    let (mut world, _) = joined(&[10]);
    let committed = |partitions: &[_]| {
        let partitions: BTreeSet<_> = partitions.iter().cloned().collect();
        move |call| Command::Committed { call, partitions, timeout_ms: 2_000 }
    };
    let both = [partition("orders", 0), partition("nowhere", 3)];
    let call = world.call(committed(&both));
    world.run(2_000);
    let none = both.iter().cloned().map(|partition| (partition, None)).collect();
    assert_eq!(world.done[&call], Ok(Answer::Committed(none)));
    world.offset_fetch_errors.extend([ErrorCode::CoordinatorLoadInProgress; 20]);
    let call = world.call(committed(&both[..1]));
    world.run(1_999);
    assert_eq!(world.done.get(&call), None);
    world.run(1);
    let last = Some(ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(world.done[&call], Err(CallFault::TimedOut { last }));
}

#[test]
fn a_listener_is_called_before_records_come_and_a_dropped_handle_leaves_without_it() {
    let mut world = World::new(config());
    world.create("orders", &[10]);
    world.subscribe(&["orders"], true);
    world.command(Command::Poll { taken: 0 });
    world.run(60_000);
    assert!(world.waiting.is_empty(), "nothing is returned before the callback has returned");
    let (incarnation, callback, partitions) = world.callbacks.pop_front().expect("assigned");
    assert_eq!(callback, crate::Callback::Assigned);
    assert_eq!(partitions, BTreeSet::from([partition("orders", 0)]));
    assert_eq!(world.assignment, partitions);
    world.command(Command::CallbackDone { incarnation, ok: true });
    world.run(1_000);
    assert_eq!(world.waiting.len(), 1);
    world.command(Command::Dropped);
    world.run(60_000);
    assert!(world.callbacks.is_empty());
    assert!(world.report.is_some(), "bounded by default.api.timeout.ms");
    let left = world.sent.iter().any(|(_, _, request)| match request {
        Request::Heartbeat(heartbeat) => heartbeat.epoch == HeartbeatEpoch::Leave,
        _ => false,
    });
    assert!(left);
    assert!(world.committed.is_empty(), "what nobody took is not committed");
}

#[test]
fn a_fatal_answer_is_told_and_a_fence_loses_the_partitions() {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    world.heartbeat_errors.push_back(ErrorCode::FencedMemberEpoch);
    world.poll(10_000);
    let lost = world.warnings.iter().any(|w| matches!(w, Warning::PartitionsLost { .. }));
    assert!(lost, "{:?}", world.warnings);
    assert_eq!(world.assignment.len(), 1, "it joined again");
    world.heartbeat_errors.push_back(ErrorCode::GroupMaxSizeReached);
    world.poll(10_000);
    let fault = PollFault::Group(Fault::Fatal(ErrorCode::GroupMaxSizeReached));
    assert!(world.faults.contains(&fault), "{:?}", world.faults);
}

#[test]
fn poll_without_a_subscription_says_so() {
    let mut world = World::new(config());
    world.poll(10);
    assert_eq!(world.faults.pop_front(), Some(PollFault::NotSubscribed));
}

#[test]
fn a_throttled_connection_sends_nothing_until_the_broker_reads_again() {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    world.throttle_ms = 700;
    world.command(Command::Poll { taken: world.taken });
    world.run(2_000);
    world.shortest_pause = u64::MAX;
    world.run(20_000);
    assert_eq!(world.shortest_pause, 700);
}

#[test]
#[should_panic(expected = "time does not go back")]
fn time_that_goes_back_is_refused() {
    let mut shell = Shell::<Records>::new(config());
    shell.handle_timeout(crate::Time(5));
    shell.handle_timeout(crate::Time(4));
}
