//! Logs that lose records: what was read is held against the next leader's log. spec/11-positions.md.

use super::diagnose::{reason, until};
use super::world::{NODES, World, at, config, epoch_at, name, partition};
use crate::diagnosis::{Aim, Reason};
use crate::request::ledger::Outcome;
use crate::request::queue::Lane;
use crate::request::{EpochEnd, EpochQuestion, Kind, Request};
use crate::{Answer, CallFault, Command, Delivery, OffsetReset, PollFault, SeekTo, Warning};
use evenkeel_spec::words::{
    Committed, ErrorCode, LeaderEpoch, Offset, TopicIdPartition, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

/// A member of a topic with one partition, whose log has ten records of epoch 0.
fn subscribed(policy: OffsetReset) -> (World, TopicIdPartition) {
    let mut config = config();
    config.auto_offset_reset = policy;
    let mut world = World::new(config);
    let topic = world.create("orders", &[10]);
    world.log("orders").epochs[0] = vec![(0, 0)];
    world.subscribe(&["orders"], false);
    (world, TopicIdPartition::new(topic, 0))
}

/// The same, and all is read and nothing is fetched at the moment.
fn read(policy: OffsetReset) -> (World, TopicIdPartition) {
    let (mut world, id) = subscribed(policy);
    world.committed.insert(id, Committed::at(Offset(0)));
    world.consume(10);
    world.sent.clear();
    (world, id)
}

fn questions(world: &World) -> Vec<EpochQuestion> {
    let asked = world.sent.iter().filter_map(|(_, _, request)| match request {
        Request::OffsetForLeaderEpoch { partitions, .. } => Some(partitions.values().copied()),
        _ => None,
    });
    asked.flatten().collect()
}

fn question(leader_epoch: u32, current: u32) -> EpochQuestion {
    EpochQuestion { leader_epoch: LeaderEpoch(leader_epoch), current: LeaderEpoch(current) }
}

fn end(leader_epoch: u32, offset: u64) -> EpochEnd {
    EpochEnd { leader_epoch: LeaderEpoch(leader_epoch), offset: Offset(offset) }
}

fn orders() -> TopicPartition {
    partition("orders", 0)
}

#[test]
fn a_leader_that_lost_nothing_is_asked_once_and_read_from_without_a_gap() {
    let (mut world, _) = read(OffsetReset::Earliest);
    world.log("orders").elect(0, NODES[1], 10);
    world.log("orders").ends[0] = 20;
    assert_eq!(world.consume(10)[&orders()], [(10, 20)]);
    assert_eq!(questions(&world), [question(0, 1)]);
    assert!(world.warnings.is_empty());
    // What is read since then is of the leader's own epoch, and another answer of metadata says
    // nothing new.
    world.poll(600_000);
    assert_eq!(questions(&world).len(), 1);
}

#[test]
fn what_was_fetched_from_the_older_leader_and_not_returned_is_fetched_again() {
    let (mut world, _) = subscribed(OffsetReset::Earliest);
    world.log("orders").ends[0] = 2_000;
    assert_eq!(world.poll(5_000).expect("records").parts[0].records, (0, 500));
    world.run(1_000);
    assert!(world.shell.buffered_bytes() > 0);
    world.log("orders").elect(0, NODES[1], 700);
    world.log("orders").ends[0] = 900;
    world.cut(NODES[0]);
    world.run(2_000);
    assert_eq!(world.consume(400)[&orders()], [(500, 900)]);
    let epochs: Vec<_> = world.served.iter().map(|served| served.epochs.len()).collect();
    assert_eq!(epochs.last(), Some(&2), "of the log as it is now: {epochs:?}");
    assert_eq!(questions(&world), [question(0, 1)]);
    assert!(world.warnings.is_empty(), "500 is still there");
}

#[test]
fn a_log_that_lost_what_was_read_is_read_on_where_it_differs_whatever_the_policy_is() {
    for policy in [OffsetReset::Earliest, OffsetReset::Latest, OffsetReset::ByDuration(1)] {
        let (mut world, id) = read(policy);
        world.command(Command::Poll { taken: world.taken });
        world.run(7_000);
        assert_eq!(world.committed[&id].offset, Offset(10));
        world.log("orders").elect(0, NODES[1], 6);
        world.log("orders").ends[0] = 8;
        world.command(Command::PollEnded);
        assert_eq!(world.consume(2)[&orders()], [(6, 8)]);
        let (partition, offset) = (orders(), Offset(10));
        let warning = Warning::Truncated { partition, offset, diverging: Some(end(0, 6)) };
        assert_eq!(world.warnings, [warning]);
        // P8: what is committed is what there is, although more was accepted before.
        world.poll(7_000);
        let next = Committed { leader_epoch: Some(LeaderEpoch(1)), ..Committed::at(Offset(8)) };
        assert_eq!(world.committed[&id], next);
    }
}

/// P8, where only the offsets tell it.
#[test]
fn a_position_that_is_reset_back_takes_what_a_commit_covers_with_it() {
    let (mut world, id) = read(OffsetReset::Earliest);
    world.tells_no_epochs = true;
    world.command(Command::Poll { taken: world.taken });
    world.run(7_000);
    assert_eq!(world.committed[&id].offset, Offset(10));
    world.command(Command::PollEnded);
    world.log("orders").elect(0, NODES[1], 6);
    assert_eq!(world.consume(6)[&orders()], [(0, 6)]);
    let (partition, to) = (orders(), Offset(0));
    assert_eq!(world.warnings.last(), Some(&Warning::ResetBack { partition, to }));
    world.poll(7_000);
    assert_eq!(world.committed[&id].offset, Offset(6));
}

#[test]
fn a_truncation_lowers_what_a_commit_covers_before_anything_more_is_read() {
    let (mut world, id) = read(OffsetReset::Earliest);
    world.log("orders").elect(0, NODES[1], 6);
    world.poll(3_000);
    assert_eq!(world.warnings.len(), 1);
    let (taken, timeout_ms) = (world.taken, 2_000);
    let call = world.call(|call| Command::Commit { call, taken, offsets: None, timeout_ms });
    world.run(timeout_ms);
    assert_eq!(world.done[&call], Ok(Answer::Done));
    let next = Committed { leader_epoch: Some(LeaderEpoch(0)), ..Committed::at(Offset(6)) };
    assert_eq!(world.committed[&id], next);
}

#[test]
fn without_a_policy_the_application_is_told_in_each_poll_until_it_seeks() {
    let (mut world, _) = read(OffsetReset::None);
    world.log("orders").elect(0, NODES[1], 6);
    world.log("orders").ends[0] = 30;
    let partition = orders();
    let told = PollFault::Truncated { partition, offset: Offset(10), diverging: Some(end(0, 6)) };
    for _ in 0..3 {
        assert_eq!(world.poll(5_000), None);
        assert_eq!(world.faults.pop_front(), Some(told.clone()));
    }
    assert_eq!(reason(&world, "orders", 0), Some(Reason::NeedsSeek));
    let (partition, timeout_ms) = (orders(), 1_000);
    let call = world.call(|call| Command::Position { call, partition, timeout_ms });
    assert_eq!(world.done[&call], Err(CallFault::NoOffset(orders())));
    let to = SeekTo::OffsetAndEpoch(Offset(6), LeaderEpoch(0));
    world.call(|call| Command::Seek { call, partitions: [orders()].into(), to });
    assert_eq!(world.consume(24)[&orders()], [(6, 30)]);
    assert_eq!(questions(&world), [question(0, 1), question(0, 1)]);
    assert!(world.warnings.is_empty());
}

#[test]
fn a_committed_offset_is_held_against_the_log_before_anything_is_fetched() {
    let (mut world, id) = subscribed(OffsetReset::Latest);
    world.committed.insert(id, at(15));
    // Epoch 1 had records up to 15; of those, 12 are left.
    world.log("orders").epochs[0] = vec![(0, 0), (1, 10), (2, 12)];
    world.log("orders").ends[0] = 14;
    assert_eq!(world.consume(2)[&orders()], [(12, 14)]);
    assert_eq!(questions(&world), [question(1, 2)]);
    let fetched: Vec<_> = world.served.iter().map(|served| served.from).collect();
    assert_eq!(fetched, [12]);
}

#[test]
fn a_committed_offset_of_the_leaders_own_epoch_is_believed() {
    let (mut world, id) = subscribed(OffsetReset::Latest);
    world.committed.insert(id, at(7));
    world.log("orders").epochs[0] = vec![(0, 0), (1, 5)];
    assert_eq!(world.consume(3)[&orders()], [(7, 10)]);
    assert_eq!(questions(&world), []);
}

#[test]
fn a_leader_that_does_not_know_a_newer_epoch_yet_is_not_believed() {
    let (mut world, id) = subscribed(OffsetReset::Latest);
    world.committed.insert(id, at(7));
    assert_eq!(world.poll(20_000), None, "it may have lost everything, or be behind");
    let asked = questions(&world);
    assert!((5..40).contains(&asked.len()), "with backoffs: {}", asked.len());
    assert!(asked.iter().all(|asked| *asked == question(1, 1)), "{asked:?}");
    world.log("orders").elect(0, NODES[1], 10);
    assert_eq!(world.consume(3)[&orders()], [(7, 10)]);
    assert!(world.warnings.is_empty());
}

#[test]
fn a_broker_that_tells_no_epochs_is_read_from_unvalidated() {
    let (mut world, _) = read(OffsetReset::Earliest);
    world.tells_no_epochs = true;
    world.log("orders").elect(0, NODES[1], 10);
    world.log("orders").ends[0] = 20;
    assert_eq!(world.consume(10)[&orders()], [(10, 20)]);
    assert_eq!(questions(&world), []);
}

#[test]
fn refusals_are_told_or_cured_by_metadata_and_asked_again() {
    let (mut world, _) = read(OffsetReset::Earliest);
    world.log("orders").elect(0, NODES[1], 6);
    world.log("orders").ends[0] = 8;
    let refused = [
        ErrorCode::TopicAuthorizationFailed,
        ErrorCode::UnknownServerError,
        ErrorCode::FencedLeaderEpoch,
    ];
    world.epoch_errors.extend(refused);
    assert_eq!(world.poll(5_000), None);
    let (partition, error) = (orders(), refused[0]);
    assert_eq!(world.faults.pop_front(), Some(PollFault::Partition { partition, error }));
    assert_eq!(world.consume(2)[&orders()], [(6, 8)]);
    assert_eq!(questions(&world).len(), 4);
}

/// The leader is silent; the parked fetch is given up before it is asked.
fn unanswered() -> World {
    let (mut world, _) = read(OffsetReset::Earliest);
    world.mute.insert(NODES[1]);
    world.log("orders").elect(0, NODES[1], 6);
    world.log("orders").ends[0] = 20;
    let is_validating = |reason: &Reason| matches!(reason, Reason::Validating { .. });
    world.command(Command::Poll { taken: world.taken });
    until(&mut world, ("orders", 0), is_validating);
    world
}

pub(super) fn validating() -> Reason {
    let mut world = unanswered();
    let reached = reason(&world, "orders", 0).expect("it is owned");
    assert_eq!(reached, Reason::Validating { broker: NODES[1] });
    let place = world.shell.diagnose(crate::Time(world.now)).partitions[&orders()].position;
    assert_eq!(place, Some(Offset(10)), "in doubt, and known");
    world.refusing.insert(NODES[1]);
    world.cut(NODES[1]);
    let is_held =
        |reason: &Reason| matches!(reason, Reason::Reconnecting { aim: Aim::Validation, .. });
    until(&mut world, ("orders", 0), is_held);
    reached
}

#[test]
fn while_the_leader_is_silent_nothing_is_returned_and_a_position_waits() {
    let mut world = unanswered();
    let (partition, timeout_ms) = (orders(), 2_000);
    let call = world.call(|call| Command::Position { call, partition, timeout_ms });
    world.run(timeout_ms);
    assert_eq!(world.done[&call], Err(CallFault::TimedOut { last: None }));
    assert!(world.waiting.is_empty());
    let partitions = BTreeSet::from([orders()]);
    world.call(|call| Command::Pause { call, partitions: partitions.clone() });
    assert_eq!(reason(&world, "orders", 0), Some(Reason::Paused));
    world.mute.clear();
    world.run(40_000);
    assert!(world.waiting.is_empty());
    assert_eq!(world.warnings.len(), 1, "validated all the same");
    world.call(|call| Command::Resume { call, partitions });
    world.run(1_000);
    assert_eq!(world.waiting[0].parts[0].records, (6, 20));
}

#[test]
fn a_seek_or_a_newer_leader_overtakes_a_validation_whose_late_answer_says_nothing() {
    for is_seek in [true, false] {
        let (mut world, _) = read(OffsetReset::Earliest);
        world.log("orders").elect(0, NODES[1], 4);
        world.log("orders").ends[0] = 20;
        let is_validating = |reason: &Reason| matches!(reason, Reason::Validating { .. });
        world.command(Command::Poll { taken: world.taken });
        until(&mut world, ("orders", 0), is_validating);
        assert_eq!(questions(&world).len(), 1, "its answer is on the way");
        if is_seek {
            let to = SeekTo::Offset(Offset(18));
            world.call(|call| Command::Seek { call, partitions: [orders()].into(), to });
            world.run(2_000);
            assert_eq!(world.waiting[0].parts[0].records, (18, 20));
            assert!(world.warnings.is_empty(), "{:?}", world.warnings);
        } else {
            world.log("orders").elect(0, NODES[0], 3);
            world.log("orders").ends[0] = 12;
            world.run(2_000);
            assert_eq!(world.waiting[0].parts[0].records, (3, 12));
            assert_eq!(questions(&world).last(), Some(&question(0, 2)));
            assert_eq!(world.warnings.len(), 1, "{:?}", world.warnings);
        }
    }
}

/// Q5, Q7: as every other idempotent request of the system.
#[test]
fn a_question_that_was_not_sent_yet_is_shared_and_one_that_was_is_not() {
    let (mut world, _) = read(OffsetReset::Earliest);
    // Connected to anew by who needs it.
    world.cut(NODES[1]);
    world.run(2_000);
    world.log("orders").elect(0, NODES[1], 10);
    world.log("orders").ends[0] = 20;
    world.command(Command::Poll { taken: world.taken });
    let is_held =
        |reason: &Reason| matches!(reason, Reason::Connecting { aim: Aim::Validation, .. });
    until(&mut world, ("orders", 0), is_held);
    let to = SeekTo::OffsetAndEpoch(Offset(10), LeaderEpoch(0));
    let again = |call| Command::Seek { call, partitions: [orders()].into(), to };
    world.call(again);
    until(&mut world, ("orders", 0), |reason| matches!(reason, Reason::Validating { .. }));
    world.call(again);
    world.run(1_000);
    assert_eq!(questions(&world), [question(0, 1), question(0, 1)]);
    let ended = world.ended.iter().filter(|ended| ended.kind == Kind::OffsetForLeaderEpoch);
    let ended: Vec<_> = ended.map(|e| (e.lane, e.outcome, e.bulked, e.attempts)).collect();
    let of = |bulked| (Lane::System, Outcome::Completed, bulked, 1);
    assert_eq!(ended, [of(1), of(1), of(0)]);
    assert_eq!(world.waiting[0].parts[0].records, (10, 20));
}

#[test]
fn positions_of_one_leader_are_validated_in_one_request() {
    let mut world = World::new(config());
    world.create("orders", &[10; 6]);
    world.log("orders").epochs = vec![vec![(0, 0)]; 6];
    world.subscribe(&["orders"], false);
    world.consume(60);
    for index in 0..6 {
        world.log("orders").elect(index, NODES[1], 10);
        world.log("orders").ends[index] = 11;
    }
    world.sent.clear();
    world.consume(6);
    let asked = world.sent.iter().filter(|(_, _, r)| name(r) == "OffsetForLeaderEpoch");
    assert!((1..=2).contains(&asked.count()), "as they were told of the new leader");
    assert_eq!(questions(&world).len(), 6);
}

const PARTITIONS: u32 = 2;

/// An application that knows of each record that it was given which epoch's it was, in a cluster
/// that loses records at random.
struct Losses {
    world: World,
    seed: u64,
    random: u64,
    /// By offset, the epoch of what was returned last there.
    history: BTreeMap<TopicPartition, Vec<u32>>,
    truncations: usize,
}

impl Losses {
    fn new(seed: u64) -> Self {
        let mut config = config();
        config.jitter_seed = seed;
        config.max_poll_records = 5;
        config.max_partition_fetch_bytes = 900;
        config.auto_commit_interval_ms = 300;
        if seed.is_multiple_of(2) {
            config.auto_offset_reset = OffsetReset::Earliest;
        }
        let mut world = World::new(config);
        world.create("orders", &[5; PARTITIONS as usize]);
        world.log("orders").epochs = vec![vec![(0, 0)]; PARTITIONS as usize];
        world.subscribe(&["orders"], false);
        Self { world, seed, random: seed, history: BTreeMap::new(), truncations: 0 }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn index(&mut self, below: usize) -> usize {
        usize::try_from(self.draw(below as u64)).expect("small")
    }

    fn act(&mut self) {
        let node = NODES[self.index(NODES.len())];
        let index = self.index(PARTITIONS as usize);
        let (start, end) = {
            let log = self.world.log("orders");
            (log.starts[index], log.ends[index])
        };
        match self.draw(20) {
            0..=4 => {
                let count = self.draw(9);
                self.world.log("orders").ends[index] += count;
            }
            5..=9 => {
                let ms = self.draw(900);
                self.poll(ms);
            }
            10 => {
                // A poll that is dropped, perhaps with its delivery on the way.
                self.world.command(Command::Poll { taken: self.world.taken });
                for _ in 0..self.draw(6) {
                    self.world.step(self.world.now + 100);
                }
                self.world.command(Command::PollEnded);
            }
            11 => self.world.log("orders").elect(index, node, end),
            12 | 13 => {
                let left = start + self.draw(end - start + 1);
                self.world.log("orders").elect(index, node, left.max(end.saturating_sub(12)));
            }
            14 => {
                let kept = self.draw(end - start + 1);
                self.world.log("orders").forget(index, end - kept);
            }
            15 => self.world.cut(node),
            16 => {
                if !self.world.mute.remove(&node) {
                    self.world.mute.insert(node);
                }
            }
            17 => {
                let errors = [
                    ErrorCode::UnknownServerError,
                    ErrorCode::FencedLeaderEpoch,
                    ErrorCode::OffsetNotAvailable,
                ];
                let error = errors[self.index(3)];
                self.world.epoch_errors.push_back(error);
            }
            18 => self.world.heartbeat_errors.push_back(ErrorCode::FencedMemberEpoch),
            _ => {
                let ms = self.draw(3_000);
                self.world.run(ms);
            }
        }
    }

    fn poll(&mut self, ms: u64) {
        if let Some(delivery) = self.world.poll(ms) {
            self.check(&delivery);
        }
        self.world.faults.clear();
        let is_truncated = |warning: &Warning| matches!(warning, Warning::Truncated { .. });
        let warnings = std::mem::take(&mut self.world.warnings);
        self.truncations += warnings.into_iter().filter(is_truncated).count();
    }

    /// What is returned begins where the log begins, or follows, in that very log, on what was
    /// returned before: an offset and an epoch name one record and everything before it.
    fn check(&mut self, delivery: &Delivery<(u64, u64)>) {
        for part in &delivery.parts {
            let (from, to) = part.records;
            let index = part.partition.partition;
            let holds =
                |s: &&super::world::Served| s.id.partition == index && s.from <= from && to <= s.to;
            let served = self.world.served.iter().rev().find(holds).expect("it was fetched");
            let history = self.history.entry(part.partition.clone()).or_default();
            let at = usize::try_from(from).expect("small");
            let before = from.checked_sub(1).and_then(|last| epoch_at(&served.epochs, last));
            let follows = at > 0 && history.get(at - 1).copied() == before;
            assert!(
                follows || from == served.start,
                "seed {}: {} at {from} of {served:?} follows on {history:?}",
                self.seed,
                part.partition
            );
            history.resize(at, 0);
            history.extend((from..to).filter_map(|offset| epoch_at(&served.epochs, offset)));
        }
    }

    /// The faults end; what is in the logs comes, to the end.
    fn converge(&mut self) {
        self.world.mute.clear();
        self.world.epoch_errors.clear();
        self.world.heartbeat_errors.clear();
        for end in &mut self.world.log("orders").ends {
            *end += 1;
        }
        let deadline = self.world.now + 120_000;
        while !self.has_all() {
            let now = self.world.now;
            assert!(
                now < deadline,
                "seed {}: {:?} after two calm minutes",
                self.seed,
                self.history
            );
            self.poll(1_000);
        }
    }

    fn has_all(&mut self) -> bool {
        let log = self.world.log("orders").clone();
        (0..PARTITIONS).all(|index| {
            let at = index as usize;
            let history = self.history.get(&partition("orders", index));
            let (start, end) = (log.starts[at], log.ends[at]);
            let is = |offset: u64| {
                let returned = history.and_then(|all| all.get(usize::try_from(offset).ok()?));
                returned.copied() == epoch_at(&log.epochs[at], offset)
            };
            history.is_some_and(|all| all.len() as u64 == end) && (start..end).all(is)
        })
    }
}

#[test]
fn no_lost_record_is_followed_upon_and_none_that_is_left_is_skipped() {
    let mut truncations = 0;
    for seed in 0..300 {
        let mut losses = Losses::new(seed);
        for _ in 0..150 {
            losses.act();
        }
        losses.converge();
        truncations += losses.truncations;
    }
    assert!(truncations > 300, "{truncations}: the test is about them");
}
