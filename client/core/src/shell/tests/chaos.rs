//! Seeded faults in any order, then calm: what is returned has neither gaps nor repetitions, but
//! for what a fence gives back.

use super::world::{NODES, World, config, partition};
use crate::{Command, Delivery};
use evenkeel_spec::words::{ErrorCode, TopicIdPartition, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

const PARTITIONS: u32 = 3;

struct Chaos {
    world: World,
    seed: u64,
    random: u64,
    fences: bool,
    /// The next record of each partition; after a fence it may go back to what was committed.
    next: BTreeMap<TopicPartition, u64>,
    /// Partitions that a fence took since their last record.
    fenced: BTreeSet<TopicPartition>,
    ids: Vec<TopicIdPartition>,
}

impl Chaos {
    fn new(seed: u64, fences: bool) -> Self {
        let mut config = config();
        config.jitter_seed = seed;
        config.max_poll_records = 7;
        config.fetch_max_bytes = 4_000;
        config.max_partition_fetch_bytes = 1_500;
        let mut world = World::new(config);
        let topic = world.create("orders", &[5; PARTITIONS as usize]);
        world.subscribe(&["orders"], false);
        let ids = (0..PARTITIONS).map(|index| TopicIdPartition::new(topic, index)).collect();
        let (next, fenced) = (BTreeMap::new(), BTreeSet::new());
        Self { world, seed, random: seed, fences, next, fenced, ids }
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
        match self.draw(18) {
            0..=3 => {
                let count = self.draw(20);
                self.world.log("orders").ends[index] += count;
            }
            4..=8 => {
                let ms = self.draw(800);
                self.poll(ms);
            }
            9 => {
                // A poll that is dropped, perhaps with its delivery on the way.
                self.world.command(Command::Poll { taken: self.world.taken });
                let steps = self.draw(6);
                for _ in 0..steps {
                    self.world.step(self.world.now + 100);
                }
                self.world.command(Command::PollEnded);
            }
            10 => self.world.cut(node),
            11 => {
                if !self.world.down.remove(&node) {
                    self.world.down.insert(node);
                    self.world.cut(node);
                }
            }
            12 => {
                if !self.world.mute.remove(&node) {
                    self.world.mute.insert(node);
                }
            }
            13 => self.world.log("orders").leaders[index] = node,
            14 => self.world.coordinator = node,
            15 => self.inject(index),
            16 => self.world.throttle_ms = [0, 40, 900][self.index(3)],
            _ => {
                let ms = self.draw(3_000);
                self.world.run(ms);
            }
        }
    }

    fn inject(&mut self, index: usize) {
        let error = [
            ErrorCode::NotLeaderOrFollower,
            ErrorCode::UnknownTopicId,
            ErrorCode::KafkaStorageError,
            ErrorCode::UnknownServerError,
        ][self.index(4)];
        let errors = self.world.fetch_errors.entry(self.ids[index]).or_default();
        errors.push_back(error);
        self.world.offset_fetch_errors.push_back(ErrorCode::CoordinatorLoadInProgress);
        let heartbeat_error = match self.draw(if self.fences { 3 } else { 2 }) {
            0 => ErrorCode::CoordinatorLoadInProgress,
            1 => ErrorCode::CoordinatorNotAvailable,
            _ => ErrorCode::FencedMemberEpoch,
        };
        self.world.heartbeat_errors.push_back(heartbeat_error);
    }

    fn poll(&mut self, ms: u64) {
        if let Some(delivery) = self.world.poll(ms) {
            self.check(&delivery);
        }
        self.world.faults.clear();
    }

    fn check(&mut self, delivery: &Delivery<(u64, u64)>) {
        for warning in std::mem::take(&mut self.world.warnings) {
            if let crate::Warning::PartitionsLost { partitions, .. } = warning {
                assert!(self.fences, "seed {}: nothing fences here", self.seed);
                self.fenced.extend(partitions);
            }
        }
        for part in &delivery.parts {
            let (from, to) = part.records;
            let next = self.next.entry(part.partition.clone()).or_default();
            let is_fenced = self.fenced.remove(&part.partition);
            let goes_on = if is_fenced { from <= *next } else { from == *next };
            assert!(goes_on, "seed {}: {} at {from}, not {next}", self.seed, part.partition);
            *next = to;
        }
    }

    /// The faults end; everything that was written comes.
    fn converge(&mut self) {
        self.world.down.clear();
        self.world.mute.clear();
        self.world.throttle_ms = 0;
        self.world.fetch_errors.clear();
        self.world.heartbeat_errors.clear();
        self.world.offset_fetch_errors.clear();
        let ends = self.world.log("orders").ends.clone();
        let deadline = self.world.now + 120_000;
        while self.world.now < deadline {
            self.poll(1_000);
            let done = (0..PARTITIONS)
                .zip(&ends)
                .all(|(index, end)| self.next.get(&partition("orders", index)) == Some(end));
            if done {
                return;
            }
        }
        panic!("seed {}: {:?} of {ends:?} after two calm minutes", self.seed, self.next);
    }
}

fn run(fences: bool, seeds: u64) {
    for seed in 0..seeds {
        let mut chaos = Chaos::new(seed, fences);
        for _ in 0..150 {
            chaos.act();
        }
        chaos.converge();
    }
}

#[test]
fn whatever_the_network_does_nothing_is_left_out_or_comes_twice() {
    run(false, 300);
}

#[test]
fn a_fence_gives_back_at_most_what_was_not_committed_and_leaves_nothing_out() {
    run(true, 300);
}
