//! Each thing that a member waits for, in a situation of its own; and what a human reads.

use super::diagnose::{diagnosis, two_topics, until_in_poll, waits};
use super::joined;
use super::world::{NODES, World, config, partition};
use crate::Command;
use crate::diagnosis::{Belonging, Membership, Method, PollFor, Reason, Stand, Wait};
use evenkeel_spec::words::{ErrorCode, NodeId};
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn each_thing_that_a_member_waits_for_is_reached() {
    let mut reached = BTreeSet::new();
    let mut note = |world: &World, expected: &[Wait]| {
        let waits = waits(world);
        assert_eq!(waits, expected, "{}", diagnosis(world));
        reached.extend(waits.iter().map(Wait::kind));
    };
    let at = |node: NodeId| Stand::InFlight { broker: Some(node) };
    let step_until = |world: &mut World, is: fn(&World) -> bool| {
        while !is(world) {
            assert!(world.step(world.now + 10_000), "{}", diagnosis(world));
        }
    };
    let (mut world, _) = joined(&[10]);
    note(&world, &[Wait::Poll(PollFor::Join)]);
    world.command(Command::Poll { taken: 0 });
    let connecting = Stand::Connecting { broker: None };
    note(&world, &[Wait::Coordinator(connecting), Wait::Join(Stand::NoCoordinator)]);
    step_until(&mut world, |world| {
        matches!(waits(world)[..], [Wait::Join(Stand::InFlight { .. })])
    });
    note(&world, &[Wait::Join(at(NODES[0]))]);
    step_until(&mut world, |world| world.assignment.len() == 1);
    world.command(Command::PollEnded);
    world.run(1_000);
    note(&world, &[]);
    world.heartbeat_errors.extend([ErrorCode::CoordinatorLoadInProgress; 9]);
    step_until(&mut world, |world| !waits(world).is_empty());
    let backing_off = waits(&world);
    assert!(matches!(backing_off[..], [Wait::Heartbeat(Stand::Backoff { .. })]));
    note(&world, &backing_off);
    world.run(1_000);
    world.heartbeat_errors = [ErrorCode::GroupAuthorizationFailed].into();
    world.run(10_000);
    note(&world, &[Wait::Subscribe]);

    let (mut world, ids) = joined(&[10]);
    world.others.insert(ids[0]);
    world.poll(1_000);
    note(&world, &[Wait::Assignment]);
    world.others.clear();
    world.log("orders").id = evenkeel_spec::words::TopicId::from_u32(77);
    world.mute.insert(NODES[1]);
    step_until(&mut world, |world| matches!(waits(world)[..], [Wait::TopicNames(_)]));
    note(&world, &waits(&world));

    let mut world = two_topics(true);
    until_in_poll(&mut world, ("a", 0), |reason| *reason == Reason::CallbackRunning);
    note(&world, &[Wait::Callback(Method::Assigned)]);
    let (incarnation, ..) = world.callbacks.pop_front().expect("it is open");
    world.command(Command::CallbackDone { incarnation, ok: true });
    world.consume(10);
    world.mute.insert(NODES[0]);
    let taken = world.taken;
    world.call(|call| Command::Unsubscribe { call, taken });
    note(&world, &[Wait::Commit(Stand::Connecting { broker: Some(NODES[0]) })]);
    world.mute.clear();
    world.cut(NODES[0]);
    step_until(&mut world, |world| !world.callbacks.is_empty());
    world.mute.insert(NODES[0]);
    let (incarnation, ..) = world.callbacks.pop_front().expect("it is open");
    world.command(Command::CallbackDone { incarnation, ok: true });
    let leaving = waits(&world);
    assert!(matches!(leaving[..], [Wait::Leave(_)]), "{}", diagnosis(&world));
    note(&world, &leaving);
    assert_eq!(reached, (0..Wait::KINDS).collect());
}

#[test]
fn a_member_that_did_not_poll_says_so_and_for_how_long() {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    let left_at = world.now;
    world.run(299_000);
    let away = diagnosis(&world).away;
    assert_eq!(away, Some(Duration::from_secs(299)));
    assert_eq!(diagnosis(&world).away_max, Duration::from_secs(300));
    world.run(2_000);
    assert_eq!(world.now - left_at, 301_000);
    let late = diagnosis(&world);
    assert_eq!(
        (late.membership, &waits(&world)[..]),
        (Membership::Stale, &[Wait::Poll(PollFor::Rejoin)][..])
    );
    assert_eq!(late.waits[0].1, Duration::from_secs(1));
    let known = late.partitions[&partition("orders", 0)];
    assert_eq!((known.belonging, known.reason), (Belonging::Stranger, Reason::NotAssigned));
    assert_eq!(known.lasts, Duration::from_secs(1));
}

#[test]
fn without_any_broker_the_lookup_says_when_one_is_tried_again() {
    let mut config = config();
    (config.reconnect_backoff_ms, config.reconnect_backoff_max_ms) = (10_000, 10_000);
    let mut world = World::new(config);
    world.refusing.extend(NODES);
    world.subscribe(&["orders"], false);
    world.command(Command::Poll { taken: 0 });
    world.run(1_000);
    let waits = waits(&world);
    let tried_again = |wait: &Wait| matches!(wait, Wait::Coordinator(Stand::Reconnecting { broker: None, left }) if !left.is_zero());
    assert!(waits.iter().any(tried_again), "{waits:?}");
    assert_eq!(diagnosis(&world).membership, Membership::Joining);
}

#[test]
fn a_diagnosis_reads_in_one_look() {
    let (mut world, ids) = joined(&[10, 900, 10]);
    world.others.insert(ids[2]);
    world.consume(510);
    world.run(12_300);
    let text = diagnosis(&world).to_string();
    insta::assert_snapshot!(text, @r"
    member of epoch 1; the coordinator is broker 1; the application has not polled for 12.3 s of 300.0 s
      owned: broker 1 is asked for newer records (12.3 s): orders-0
      owned: records are buffered: the application must poll (12.3 s): orders-1
      not mine: another member has it, or none (12.3 s): orders-2
    ");
}

#[test]
fn answers_of_nothing_but_skipped_records_do_not_stop_the_reading() {
    let mut config = config();
    config.max_partition_fetch_bytes = 1_000;
    let mut world = World::new(config);
    world.create("orders", &[1_000]);
    world.hollow_before = 1_000;
    world.subscribe(&["orders"], false);
    world.poll(500);
    let position = diagnosis(&world).partitions[&partition("orders", 0)].position;
    assert_eq!(position.map(|offset| offset.0), Some(1_000), "100 answers, two milliseconds each");
}

/// The marker of a transaction, say, at the end of a partition to which nothing more is written.
#[test]
fn what_is_skipped_after_the_last_record_is_committed_too() {
    let (mut world, ids) = joined(&[10]);
    world.consume(10);
    world.hollow_before = 11;
    world.log("orders").ends[0] = 11;
    world.poll(1_000);
    world.run(10_000);
    assert_eq!(world.committed[&ids[0]].offset.0, 11);
    assert!(world.waiting.is_empty());
}
