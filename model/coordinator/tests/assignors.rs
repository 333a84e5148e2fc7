//! What each assignor promises, on random groups: every partition of a subscribed topic goes to one
//! of its subscribers, loads are even, and uniform moves no more than it must. That the choice among
//! equals is Kafka's too, the sequences show.

mod script;

use evenkeel_coordinator::{MemberSpec, assign};
use evenkeel_spec::words::{
    Assignor, MemberId, Partitions, Subscription, Topic, TopicId, TopicIdPartition, TopicName,
    Topics,
};
use script::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;

type Target = BTreeMap<MemberId, Partitions>;
type Subscriptions = BTreeMap<MemberId, Subscription>;

const SEEDS: u64 = 2_000;

#[test]
fn every_partition_goes_to_one_of_its_subscribers() {
    for seed in 1..=SEEDS {
        let group = Case::new(seed);
        for assignor in [Assignor::Uniform, Assignor::Range] {
            let target = group.assign(&assignor, &group.members, &Target::new());
            check_coverage(&group, &group.members, &target, seed);
        }
    }
}

#[test]
fn uniform_is_even_and_moves_no_more_than_it_must() {
    let mut kept_in_all = 0;
    for seed in 1..=SEEDS {
        let group = Case::homogeneous(seed);
        let fewer: Subscriptions = group.members.clone().into_iter().skip(1).collect();
        let before = group.assign(&Assignor::Uniform, &fewer, &Target::new());
        let after = group.assign(&Assignor::Uniform, &group.members, &before);
        for (target, members) in [(&before, fewer.len()), (&after, group.members.len())] {
            let sizes: Vec<usize> = target.values().map(Partitions::len).collect();
            let (least, most) = (sizes.iter().min(), sizes.iter().max());
            if members > 0 {
                assert!(most.unwrap() - least.unwrap() <= 1, "seed {seed}: {sizes:?}");
            }
        }
        let joiner = group.members.keys().next().expect("a member");
        for (id, partitions) in before.iter().filter(|(id, _)| *id != joiner) {
            let gained = after[id].difference(partitions).count();
            assert_eq!(gained, 0, "seed {seed}: {id:?} gains by a join");
            kept_in_all += after[id].len();
        }
    }
    assert!(kept_in_all > 1_000);
}

#[test]
fn uniform_with_different_subscriptions_leaves_no_move_that_evens() {
    for seed in 1..=SEEDS {
        let group = Case::new(seed);
        let target = group.assign(&Assignor::Uniform, &group.members, &Target::new());
        for (from, partitions) in &target {
            for (to, others) in &target {
                let movable = partitions.iter().any(|at| group.subscribes(*to, at.topic));
                let evens = partitions.len() > others.len() + 1;
                assert!(
                    !(movable && evens),
                    "seed {seed}: {from:?} could give to {to:?}: {target:?}"
                );
            }
        }
        let again = group.assign(&Assignor::Uniform, &group.members, &target);
        assert_eq!(again, target, "seed {seed}: nothing changed, nothing moves");
    }
}

#[test]
fn range_gives_equal_topics_equal_ranges() {
    for seed in 1..=SEEDS {
        let group = Case::homogeneous(seed);
        let target = group.assign(&Assignor::Range, &group.members, &Target::new());
        for partitions in target.values() {
            for (one, topic) in &group.topics {
                for (other, _) in
                    group.topics.iter().filter(|(_, t)| t.partitions == topic.partitions)
                {
                    assert_eq!(of(partitions, *one), of(partitions, *other), "seed {seed}");
                }
                let range = of(partitions, *one);
                assert!(range.windows(2).all(|pair| pair[0] + 1 == pair[1]), "seed {seed}");
            }
        }
    }
}

fn of(partitions: &Partitions, topic: TopicId) -> Vec<u32> {
    partitions.iter().filter(|at| at.topic == topic).map(|at| at.partition).collect()
}

fn check_coverage(group: &Case, members: &Subscriptions, target: &Target, seed: u64) {
    for (&id, topic) in &group.topics {
        let is_subscribed = members.values().any(|names| names.contains(&topic.name));
        for partition in 0..topic.partitions {
            let at = TopicIdPartition::new(id, partition);
            let owners: Vec<&MemberId> =
                target.iter().filter(|(_, has)| has.contains(&at)).map(|(id, _)| id).collect();
            assert_eq!(owners.len(), usize::from(is_subscribed), "seed {seed}: {at:?}");
            assert!(owners.iter().all(|owner| group.subscribes(**owner, id)), "seed {seed}");
        }
    }
}

/// A random group.
struct Case {
    topics: Topics,
    members: Subscriptions,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let topics: Topics = (1..=1 + random.below(4))
            .map(|n| {
                let topic = Topic { name: name(n), partitions: 1 + random.below(9) };
                (TopicId::from_u32(n), topic)
            })
            .collect();
        let members = (0..1 + random.below(5))
            .map(|n| {
                let names = topics.values().map(|topic| topic.name.clone());
                let some = names.filter(|_| random.below(3) > 0).collect();
                (MemberId(n), Arc::new(some))
            })
            .collect();
        Self { topics, members }
    }

    fn homogeneous(seed: u64) -> Self {
        let mut case = Self::new(seed);
        let all: Subscription = Arc::new(case.topics.values().map(|t| t.name.clone()).collect());
        case.members.values_mut().for_each(|names| *names = all.clone());
        case
    }

    fn assign(&self, assignor: &Assignor, members: &Subscriptions, before: &Target) -> Target {
        let nothing = Partitions::new();
        let specs = members
            .iter()
            .map(|(id, subscription)| {
                (*id, MemberSpec { subscription, target: before.get(id).unwrap_or(&nothing) })
            })
            .collect();
        let mut subscriptions = members.values();
        let first = subscriptions.next();
        let homogeneous = subscriptions.all(|subscription| Some(subscription) == first);
        assign(assignor, &specs, &self.topics, homogeneous)
    }

    fn subscribes(&self, member: MemberId, topic: TopicId) -> bool {
        self.members[&member].contains(&self.topics[&topic].name)
    }
}

fn name(n: u32) -> TopicName {
    format!("t{n}").into()
}
