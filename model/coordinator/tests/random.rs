//! Random sequences. Each prints the seed that replays it when it fails.

mod script;

use evenkeel_coordinator::{Config, Group, Record, Timer};
use evenkeel_spec::words::{Epoch, Heartbeat, HeartbeatEpoch};
use script::random::{Plan, Random, run};
use script::{Request, World, request};
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 400;
const STEPS: u32 = 120;

/// Names the seed when the test fails under it.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with seed {}", self.0);
        }
    }
}

#[test]
fn the_log_is_the_state_and_nobody_holds_what_another_holds() {
    let mut epochs = 0;
    for seed in 1..=SEEDS {
        let _named = Seed(seed);
        // `World::handle` checks both after each request.
        let (_, world) = run(seed, STEPS);
        epochs += world.group.describe().epoch.map_or(0, |epoch| epoch.0);
    }
    assert!(epochs > 5_000, "the groups hardly moved: {epochs} epochs");
}

#[test]
fn timers_failovers_and_the_interval_keep_it_so() {
    let mut evicted = 0;
    for seed in 1..=SEEDS {
        let _named = Seed(seed);
        let mut random = Random::new(seed);
        let interval_ms = random.below(2) * 1_000;
        let config =
            Config { assignment_interval_ms: interval_ms, max_size: 3, ..Config::default() };
        let mut world = World::with(config);
        let (plan, make) = Plan::new(&mut random);
        for line in make {
            world.handle(&request(&line));
        }
        for _ in 0..STEPS {
            match random.below(12) {
                0 => evicted += fire_any(&mut random, &mut world),
                1 => {
                    world.fail_over();
                    world.check();
                }
                2 if random.below(6) == 0 => {
                    let count = world.partition_count("t1") + 1;
                    world.create_topic("t1", count);
                }
                _ => {
                    let line = plan.next(&mut random, &world);
                    world.handle(&request(&line));
                }
            }
        }
    }
    assert!(evicted > 500, "only {evicted} timers fired");
}

/// Fires any armed timer, whenever it is due.
fn fire_any(random: &mut Random, world: &mut World) -> u32 {
    let armed: Vec<Timer> = world.timers.keys().copied().collect();
    if armed.is_empty() {
        return 0;
    }
    let timer = armed[random.below(u32::try_from(armed.len()).expect("few")) as usize];
    world.timers.remove(&timer);
    let step = world.group.on_timer(&world.config, &world.topics, timer);
    world.take(step);
    world.check();
    1
}

#[test]
fn a_compacted_log_gives_the_same_state() {
    for seed in 1..=SEEDS {
        let _named = Seed(seed);
        let (_, world) = run(seed, STEPS);
        let mut last = BTreeMap::new();
        for (index, record) in world.log.iter().enumerate() {
            last.insert(record.key(), index);
        }
        let newest = |(index, record): &(usize, &Record)| last[&record.key()] == *index;
        let kept: Vec<&Record> =
            world.log.iter().enumerate().filter(newest).map(|(_, record)| record).collect();
        let live: Vec<&Record> = kept.iter().copied().filter(|r| !r.is_tombstone()).collect();
        assert!(kept.len() < world.log.len());
        let whole = Group::replay(&world.log);
        assert_eq!(Group::replay(kept), whole, "tombstones kept");
        assert_eq!(Group::replay(live), whole, "tombstones dropped");
    }
}

#[test]
fn epochs_may_be_renamed_to_their_ranks() {
    let mut compared = 0;
    for seed in 1..=SEEDS {
        let _named = Seed(seed);
        let mut random = Random::new(seed);
        let mut world = World::new();
        let (plan, make) = Plan::new(&mut random);
        for line in make {
            world.handle(&request(&line));
        }
        for _ in 0..STEPS {
            let line = plan.next(&mut random, &world);
            let asked = request(&line);
            if let Request::Heartbeat { .. } = asked {
                compared += u32::from(commutes(&world, &world.to_heartbeat(&asked)));
            }
            world.handle(&asked);
        }
    }
    assert!(compared > 5_000, "only {compared} heartbeats were compared");
}

/// Whether the heartbeat's epoch has a rank; then the renamed group must do the same with it.
fn commutes(world: &World, request: &Heartbeat) -> bool {
    let mut plain = world.group.clone();
    let (mut renamed, ranks) = ranked(&plain);
    let mut asked = request.clone();
    if let HeartbeatEpoch::Stay(epoch) = request.epoch {
        let Some(rank) = ranks.get(&epoch) else { return false };
        asked.epoch = HeartbeatEpoch::Stay(*rank);
    }
    let there = plain.on_heartbeat(&world.config, &world.topics, request);
    let here = renamed.on_heartbeat(&world.config, &world.topics, &asked);
    assert_eq!(ranked(&plain).0, ranked(&renamed).0, "the states agree by rank");
    assert_eq!(there.orders, here.orders);
    assert_eq!(there.records.len(), here.records.len());
    match (there.answer, here.answer) {
        (Ok(there), Ok(here)) => assert_eq!(there.assignment, here.assignment),
        (there, here) => assert_eq!(there.err(), here.err()),
    }
    true
}

fn ranked(group: &Group) -> (Group, BTreeMap<Epoch, Epoch>) {
    let mut group = group.clone();
    let mut epochs = BTreeSet::new();
    group.for_each_epoch(&mut |epoch| {
        epochs.insert(epoch);
    });
    let ranks: BTreeMap<Epoch, Epoch> = epochs.into_iter().zip((1..).map(Epoch)).collect();
    group.visit_epochs(&mut |epoch| *epoch = ranks[epoch]);
    (group, ranks)
}

#[test]
fn member_ids_may_be_renamed_in_order() {
    for seed in 1..=SEEDS {
        let _named = Seed(seed);
        let (_, world) = run(seed, STEPS);
        let mut group = world.group.clone();
        group.rename_members(|id| evenkeel_spec::words::MemberId(id.0 * 3 + 7));
        assert_ne!(group, world.group);
        group.rename_members(|id| evenkeel_spec::words::MemberId((id.0 - 7) / 3));
        assert_eq!(group, world.group);
    }
}
