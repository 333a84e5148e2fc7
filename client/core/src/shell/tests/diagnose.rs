//! Each reason of a diagnosis, and each thing that a member waits for, in a situation of its own.

use super::joined;
use super::world::{NODES, World, config, name, partition};
use crate::diagnosis::{
    Aim, Belonging, Diagnosis, Membership, Method, PollFor, Reason, Revocation, Stand,
    TopicTrouble, Wait,
};
use crate::{Command, Config, OffsetReset, Time};
use evenkeel_spec::words::{ErrorCode, TopicIdPartition, TopicName, TopicPartition};
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) fn diagnosis(world: &World) -> Diagnosis {
    world.shell.diagnose(Time(world.now))
}

pub(super) fn reason(world: &World, topic: &str, index: u32) -> Option<Reason> {
    diagnosis(world).partitions.get(&partition(topic, index)).map(|known| known.reason)
}

/// Goes on until the partition's reason is one of these; what it is then.
pub(super) fn until(
    world: &mut World,
    (topic, index): (&str, u32),
    is: fn(&Reason) -> bool,
) -> Reason {
    let deadline = world.now + 20_000;
    loop {
        if let Some(reason) = reason(world, topic, index).filter(is) {
            return reason;
        }
        let seen = diagnosis(world);
        assert!(world.now < deadline && world.step(deadline), "not reached; at last\n{seen}");
    }
}

/// The same inside of a poll that is left open.
pub(super) fn until_in_poll(world: &mut World, at: (&str, u32), is: fn(&Reason) -> bool) -> Reason {
    world.command(Command::Poll { taken: world.taken });
    until(world, at, is)
}

pub(super) fn waits(world: &World) -> Vec<Wait> {
    diagnosis(world).waits.into_iter().map(|(wait, _)| wait).collect()
}

pub(super) fn assign(world: &mut World, partitions: &[(&str, u32)]) {
    let partitions: BTreeSet<TopicPartition> =
        partitions.iter().map(|(topic, index)| partition(topic, *index)).collect();
    let taken = world.taken;
    world.call(|call| Command::Assign { call, taken, partitions });
}

pub(super) fn assigned(config: Config, ends: &[u64]) -> World {
    let mut world = World::new(config);
    world.create("t", ends);
    let all: Vec<_> = (0..).zip(ends).map(|(index, _)| ("t", index)).collect();
    assign(&mut world, &all);
    world
}

pub(super) fn pause(world: &mut World, at: (&str, u32)) {
    let partitions = BTreeSet::from([partition(at.0, at.1)]);
    world.call(|call| Command::Pause { call, partitions });
}

/// The reason's place among all: a new one needs a number, and a scene below that reaches it.
fn place(reason: &Reason) -> usize {
    match reason {
        Reason::NotAssigned => 0,
        Reason::RevocationFirst => 1,
        Reason::AcknowledgementFirst => 2,
        Reason::AwaitingPoll => 3,
        Reason::CallbackRunning => 4,
        Reason::CallbackFailed => 5,
        Reason::RevocationPending(_) => 6,
        Reason::Ending => 7,
        Reason::Unsubscribed => 8,
        Reason::Paused => 9,
        Reason::NeedsSeek => 10,
        Reason::AwaitingMetadata => 11,
        Reason::DoesNotExist => 12,
        Reason::TopicRefused { .. } => 13,
        Reason::AwaitingCoordinator => 14,
        Reason::AwaitingCommitted { .. } => 15,
        Reason::Resetting { .. } => 16,
        Reason::LeaderUnknown => 17,
        Reason::Backoff { .. } => 18,
        Reason::Connecting { .. } => 19,
        Reason::Reconnecting { .. } => 20,
        Reason::Throttled { .. } => 21,
        Reason::HeartbeatFirst { .. } => 22,
        Reason::NextFetch { .. } => 23,
        Reason::BufferHeld { .. } => 24,
        Reason::BufferFull { .. } => 25,
        Reason::Buffered => 26,
        Reason::Fetching { .. } => 27,
        Reason::Validating { .. } => 28,
    }
}

const REASONS: usize = 29;

/// Every scene; each says which reason it reached.
const SCENES: [fn() -> Reason; REASONS] = [
    not_assigned,
    revocation_first,
    acknowledgement_first,
    awaiting_poll,
    callback_running,
    callback_failed,
    revocation_pending,
    ending,
    unsubscribed,
    paused,
    needs_seek,
    awaiting_metadata,
    does_not_exist,
    topic_refused,
    awaiting_coordinator,
    awaiting_committed,
    resetting,
    leader_unknown,
    backoff,
    connecting,
    reconnecting,
    throttled,
    heartbeat_first,
    next_fetch,
    buffer_held,
    buffer_full,
    buffered,
    fetching,
    super::truncation::validating,
];

#[test]
fn each_reason_is_reached_in_its_scene() {
    for (number, scene) in SCENES.into_iter().enumerate() {
        let reached = scene();
        assert_eq!(place(&reached), number, "{reached:?}");
    }
}

fn not_assigned() -> Reason {
    let (mut world, ids) = joined(&[10, 10]);
    world.others.insert(ids[1]);
    world.consume(10);
    let known = diagnosis(&world).partitions[&partition("orders", 1)];
    assert_eq!(known.belonging, Belonging::Stranger);
    known.reason
}

pub(super) fn two_topics(listener: bool) -> World {
    let mut world = World::new(config());
    world.create("a", &[10]);
    world.create("b", &[10]);
    world.subscribe(&["a"], listener);
    world
}

fn revocation_first() -> Reason {
    let mut world = two_topics(true);
    world.consume(10);
    world.subscribe(&["a", "b"], true);
    world.others.insert(TopicIdPartition::new(world.topics[&TopicName::from("a")].id, 0));
    let reason = until(&mut world, ("b", 0), |reason| *reason == Reason::RevocationFirst);
    assert_eq!(diagnosis(&world).partitions[&partition("b", 0)].belonging, Belonging::Target);
    reason
}

/// The coordinator falls silent when it was told what is owned, and the other broker names the topic.
fn acknowledgement_first() -> Reason {
    let mut world = World::new(config());
    world.create("a", &[10, 10]);
    world.subscribe(&["a", "b"], false);
    world.consume(20);
    for index in [0, 1] {
        pause(&mut world, ("a", index));
    }
    world.run(2_000);
    world.create("b", &[10]);
    world.log("b").leaders = vec![NODES[1]];
    // Its answer is on the way when the coordinator falls silent.
    let said = world.sent.len();
    let heartbeat = |world: &World| world.sent[said..].iter().any(|(.., r)| name(r) == "Heartbeat");
    while !heartbeat(&world) {
        world.step(world.now + 10_000);
    }
    world.mute.insert(NODES[0]);
    until(&mut world, ("b", 0), |reason| *reason == Reason::AcknowledgementFirst)
}

fn awaiting_poll() -> Reason {
    let mut world = assigned(config(), &[10]);
    until(&mut world, ("t", 0), |reason| *reason == Reason::AwaitingPoll)
}

fn callback_running() -> Reason {
    let mut world = two_topics(true);
    until_in_poll(&mut world, ("a", 0), |reason| *reason == Reason::CallbackRunning)
}

fn callback_failed() -> Reason {
    let mut world = two_topics(true);
    until_in_poll(&mut world, ("a", 0), |reason| *reason == Reason::CallbackRunning);
    let (incarnation, ..) = world.callbacks.pop_front().expect("it is open");
    world.command(Command::CallbackDone { incarnation, ok: false });
    reason(&world, "a", 0).expect("it is owned")
}

fn revocation_pending() -> Reason {
    let mut world = two_topics(false);
    world.consume(10);
    world.subscribe(&["b"], false);
    let is = |reason: &Reason| matches!(reason, Reason::RevocationPending(_));
    let reason = until(&mut world, ("a", 0), is);
    assert_eq!(reason, Reason::RevocationPending(Revocation::Records));
    // Until metadata has named what is to come instead.
    world.run(1_000);
    assert_eq!(waits(&world), [Wait::Poll(PollFor::Release)]);
    reason
}

#[test]
fn a_revocation_says_which_of_its_steps_it_waits_for() {
    let pending = |revocation| Some(Reason::RevocationPending(revocation));
    let mut world = two_topics(true);
    world.consume(10);
    // The records are released, so that they are committed before the callback.
    world.poll(0);
    world.subscribe(&["b"], true);
    let is = |reason: &Reason| matches!(reason, Reason::RevocationPending(_));
    until(&mut world, ("a", 0), is);
    world.run(1_000);
    assert_eq!(reason(&world, "a", 0), pending(Revocation::Poll));
    assert_eq!(waits(&world), [Wait::Poll(PollFor::Callback)]);
    world.command(Command::Poll { taken: world.taken });
    assert_eq!(reason(&world, "a", 0), pending(Revocation::Commit));
    let in_flight = Stand::InFlight { broker: Some(NODES[0]) };
    assert_eq!(waits(&world), [Wait::Commit(in_flight)]);
    while world.callbacks.is_empty() {
        world.step(world.now + 1_000);
    }
    assert_eq!(reason(&world, "a", 0), pending(Revocation::Callback));
    assert_eq!(waits(&world), [Wait::Callback(Method::Revoked)]);
}

fn ending() -> Reason {
    let mut world = assigned(config(), &[10]);
    world.consume(10);
    world.mute.extend(NODES);
    let (taken, timeout_ms) = (world.taken, 1_000);
    world.command(Command::Close { taken, timeout_ms });
    assert_eq!(diagnosis(&world).membership, Membership::Ending);
    reason(&world, "t", 0).expect("it is still assigned")
}

fn unsubscribed() -> Reason {
    let mut world = two_topics(false);
    world.log("a").leaders = vec![NODES[1]];
    world.consume(10);
    world.mute.insert(NODES[0]);
    world.subscribe(&["b"], false);
    until(&mut world, ("a", 0), |reason| *reason == Reason::Unsubscribed)
}

fn paused() -> Reason {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    pause(&mut world, ("orders", 0));
    reason(&world, "orders", 0).expect("it is owned")
}

fn needs_seek() -> Reason {
    let mut config = config();
    config.auto_offset_reset = OffsetReset::None;
    let mut world = assigned(config, &[10]);
    until_in_poll(&mut world, ("t", 0), |reason| *reason == Reason::NeedsSeek)
}

fn awaiting_metadata() -> Reason {
    let world = assigned(config(), &[10]);
    let known = diagnosis(&world).partitions[&partition("t", 0)];
    assert_eq!(known.belonging, Belonging::Assigned);
    assert_eq!(diagnosis(&world).topics[&TopicName::from("t")], TopicTrouble::Unknown);
    known.reason
}

fn does_not_exist() -> Reason {
    let mut world = World::new(config());
    assign(&mut world, &[("nothing", 0)]);
    world.run(1_000);
    assert_eq!(diagnosis(&world).topics[&TopicName::from("nothing")], TopicTrouble::Missing);
    reason(&world, "nothing", 0).expect("it is assigned")
}

#[test]
fn a_partition_that_its_topic_lacks_does_not_exist() {
    let mut world = World::new(config());
    world.create("t", &[10]);
    assign(&mut world, &[("t", 7)]);
    until_in_poll(&mut world, ("t", 7), |reason| *reason == Reason::DoesNotExist);
    assert!(diagnosis(&world).topics.is_empty(), "the topic does");
}

fn topic_refused() -> Reason {
    let mut world = World::new(config());
    world.create("t", &[10]);
    world.topic_errors.insert("t".into(), ErrorCode::TopicAuthorizationFailed);
    assign(&mut world, &[("t", 0)]);
    world.run(1_000);
    reason(&world, "t", 0).expect("it is assigned")
}

fn awaiting_coordinator() -> Reason {
    let mut world = assigned(config(), &[10]);
    world.lookup_errors.extend([ErrorCode::CoordinatorNotAvailable; 100]);
    let is = |reason: &Reason| *reason == Reason::AwaitingCoordinator;
    let reason = until_in_poll(&mut world, ("t", 0), is);
    world.run(50);
    let stand = waits(&world);
    assert!(matches!(stand[..], [Wait::Coordinator(Stand::Backoff { .. })]), "{stand:?}");
    reason
}

fn awaiting_committed() -> Reason {
    let (mut world, _) = joined(&[10]);
    let is = |reason: &Reason| matches!(reason, Reason::AwaitingCommitted { .. });
    let reason = until_in_poll(&mut world, ("orders", 0), is);
    assert_eq!(reason, Reason::AwaitingCommitted { broker: NODES[0] });
    reason
}

fn resetting() -> Reason {
    let (mut world, _) = joined(&[10]);
    let is = |reason: &Reason| matches!(reason, Reason::Resetting { .. });
    let reason = until_in_poll(&mut world, ("orders", 0), is);
    assert_eq!(reason, Reason::Resetting { broker: NODES[0] });
    reason
}

fn leader_unknown() -> Reason {
    let (mut world, _) = joined(&[10]);
    world.log("orders").leaders = vec![NODES[1]];
    world.down.insert(NODES[1]);
    until_in_poll(&mut world, ("orders", 0), |reason| *reason == Reason::LeaderUnknown)
}

fn backoff() -> Reason {
    let (mut world, ids) = joined(&[10]);
    world.consume(10);
    world.fetch_errors.entry(ids[0]).or_default().push_back(ErrorCode::KafkaStorageError);
    let is = |reason: &Reason| matches!(reason, Reason::Backoff { .. });
    let reason = until(&mut world, ("orders", 0), is);
    let Reason::Backoff { left } = reason else { unreachable!() };
    assert!((80..=120).contains(&left.as_millis()), "retry.backoff.ms with jitter: {left:?}");
    reason
}

#[test]
fn a_lookup_that_is_refused_backs_off() {
    let (mut world, _) = joined(&[10]);
    world.offset_fetch_errors.push_back(ErrorCode::CoordinatorLoadInProgress);
    until_in_poll(&mut world, ("orders", 0), |reason| matches!(reason, Reason::Backoff { .. }));
}

fn elsewhere() -> World {
    let (mut world, _) = joined(&[10]);
    world.log("orders").leaders = vec![NODES[1]];
    world
}

fn connecting() -> Reason {
    // The other broker is the coordinator, and the bootstrap server that was asked.
    let (mut world, _) = joined(&[10]);
    world.coordinator = NODES[1];
    let is = |reason: &Reason| matches!(reason, Reason::Connecting { .. });
    let reason = until_in_poll(&mut world, ("orders", 0), is);
    assert_eq!(reason, Reason::Connecting { broker: NODES[0], aim: Aim::StartOffset });
    reason
}

fn reconnecting() -> Reason {
    let mut world = elsewhere();
    world.run(1_000);
    world.refusing.insert(NODES[1]);
    world.cut(NODES[1]);
    let is = |reason: &Reason| matches!(reason, Reason::Reconnecting { .. });
    let reason = until_in_poll(&mut world, ("orders", 0), is);
    let Reason::Reconnecting { broker, aim: Aim::StartOffset, left } = reason else {
        panic!("{reason:?}")
    };
    assert_eq!(broker, NODES[1]);
    assert!(left <= Duration::from_millis(1_200), "{left:?}");
    reason
}

#[test]
fn a_broker_that_fails_while_it_is_read_from_is_reconnected_to_for_records() {
    let mut world = elsewhere();
    world.consume(10);
    world.refusing.insert(NODES[1]);
    world.cut(NODES[1]);
    let is = |reason: &Reason| matches!(reason, Reason::Reconnecting { aim: Aim::Records, .. });
    until(&mut world, ("orders", 0), is);
}

fn throttled() -> Reason {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    world.throttle_ms = 5_000;
    let is = |reason: &Reason| matches!(reason, Reason::Throttled { .. });
    let reason = until(&mut world, ("orders", 0), is);
    let left = Duration::from_secs(5);
    assert_eq!(reason, Reason::Throttled { broker: NODES[0], aim: Aim::Records, left });
    reason
}

fn heartbeat_first() -> Reason {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    let is = |reason: &Reason| matches!(reason, Reason::HeartbeatFirst { .. });
    until(&mut world, ("orders", 0), is)
}

fn next_fetch() -> Reason {
    let (mut world, _) = joined(&[10, 10]);
    world.log("orders").leaders = vec![NODES[0]; 2];
    world.consume(20);
    pause(&mut world, ("orders", 1));
    world.run(1_000);
    let partitions = BTreeSet::from([partition("orders", 1)]);
    world.call(|call| Command::Resume { call, partitions });
    let is = |reason: &Reason| matches!(reason, Reason::NextFetch { .. });
    let reason = until(&mut world, ("orders", 1), is);
    let fetching = self::reason(&world, "orders", 0);
    assert_eq!(fetching, Some(Reason::Fetching { broker: NODES[0] }));
    reason
}

fn small() -> Config {
    let mut config = config();
    (config.max_partition_fetch_bytes, config.fetch_max_bytes) = (1_000, 1_000);
    config
}

fn buffer_held() -> Reason {
    let mut config = small();
    config.fetch_max_bytes = 100_000;
    let mut world = World::new(config);
    world.create("orders", &[10_000, 0]);
    world.log("orders").leaders = vec![NODES[0]; 2];
    world.subscribe(&["orders"], false);
    world.consume(10);
    let is = |reason: &Reason| matches!(reason, Reason::BufferHeld { .. });
    let reason = until(&mut world, ("orders", 1), is);
    assert_eq!(self::reason(&world, "orders", 0), Some(Reason::Buffered));
    reason
}

fn buffer_full() -> Reason {
    let mut world = World::new(small());
    world.create("orders", &[1_000, 1_000, 1_000]);
    world.log("orders").leaders = vec![NODES[0], NODES[1], NODES[1]];
    world.subscribe(&["orders"], false);
    world.consume(10);
    world.run(3_000);
    let full = Some(Reason::BufferFull { buffered: 1_000 });
    let mut both = [1, 2].into_iter();
    let index = both.find(|i| reason(&world, "orders", *i) == full).expect("one has no room");
    assert_eq!(reason(&world, "orders", 3 - index), Some(Reason::Buffered));
    reason(&world, "orders", index).expect("it is owned")
}

fn buffered() -> Reason {
    let (mut world, _) = joined(&[2_000]);
    world.consume(500);
    world.run(3_000);
    let diagnosis = diagnosis(&world);
    assert_eq!(diagnosis.away, Some(Duration::from_secs(3)));
    diagnosis.partitions[&partition("orders", 0)].reason
}

fn fetching() -> Reason {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    world.run(1_000);
    let known = diagnosis(&world).partitions[&partition("orders", 0)];
    assert_eq!((known.position.expect("it has one").0, known.lag), (10, Some(0)));
    assert_eq!(known.lasts.as_secs(), 1, "one fetch after the other");
    known.reason
}
