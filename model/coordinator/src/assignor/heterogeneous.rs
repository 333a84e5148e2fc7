//! `uniform` where members subscribe to different topics: sticky, then balanced topic by topic
//! (`UniformHeterogeneousAssignmentBuilder`).

use super::existing;
use crate::MemberSpec;
use evenkeel_spec::words::{MemberId, Partitions, TopicId, TopicIdPartition, Topics};
use std::cmp::Ordering;
use std::collections::BTreeMap;

pub(super) fn assign(
    members: &BTreeMap<MemberId, MemberSpec<'_>>,
    topics: &Topics,
) -> BTreeMap<MemberId, Partitions> {
    let mut plan = Plan::sticky(members, topics);
    plan.assign_unowned();
    plan.balance();
    plan.into_target()
}

/// How often all topics are gone over at most: each pass narrows the imbalance, and the last ones
/// gain nothing (Kafka's `MAX_ITERATION_COUNT`).
const PASSES_MAX: usize = 16;

/// One topic under assignment. Members are indices, in the order of their ids.
struct TopicPlan {
    id: TopicId,
    subscribers: Vec<usize>,
    owners: Vec<Option<usize>>,
}

struct Plan {
    members: Vec<MemberId>,
    /// How many partitions each member has.
    sizes: Vec<usize>,
    /// Those with the most partitions a subscriber first, then with the fewest subscribers.
    topics: Vec<TopicPlan>,
}

impl Plan {
    /// Everybody keeps what it has of the topics it subscribes to.
    fn sticky(members: &BTreeMap<MemberId, MemberSpec<'_>>, topics: &Topics) -> Self {
        let mut plans: BTreeMap<TopicId, TopicPlan> = BTreeMap::new();
        let mut sizes = vec![0; members.len()];
        for (index, spec) in members.values().enumerate() {
            for (id, count) in existing(spec.subscription, topics) {
                let plan = plans.entry(id).or_insert_with(|| TopicPlan {
                    id,
                    subscribers: Vec::new(),
                    owners: vec![None; count as usize],
                });
                plan.subscribers.push(index);
                let kept = TopicIdPartition::new(id, 0)..TopicIdPartition::new(id, count);
                for at in spec.target.range(kept) {
                    plan.owners[at.partition as usize] = Some(index);
                    sizes[index] += 1;
                }
            }
        }
        let mut topics: Vec<TopicPlan> = plans.into_values().collect();
        topics.sort_by(TopicPlan::order);
        Self { members: members.keys().copied().collect(), sizes, topics }
    }

    fn assign_unowned(&mut self) {
        for topic in &mut self.topics {
            if topic.owners.iter().all(Option::is_some) {
                continue;
            }
            let mut balancer = Balancer::new(&topic.subscribers, &self.sizes);
            for owner in topic.owners.iter_mut().filter(|owner| owner.is_none()) {
                let member = balancer.next_least_loaded(&self.sizes);
                *owner = Some(member);
                self.sizes[member] += 1;
            }
        }
    }

    /// Goes over the topics until a whole round has moved nothing.
    fn balance(&mut self) {
        let shared: Vec<usize> =
            (0..self.topics.len()).filter(|&i| self.topics[i].subscribers.len() >= 2).collect();
        let mut last_moved = None;
        for _ in 0..PASSES_MAX {
            for &index in &shared {
                if last_moved == Some(index) {
                    return;
                }
                if self.balance_topic(index) > 0 || last_moved.is_none() {
                    last_moved = Some(index);
                }
            }
        }
    }

    /// Moves partitions of one topic from the most to the least loaded of its subscribers. How many
    /// it moved.
    fn balance_topic(&mut self, index: usize) -> usize {
        let topic = &mut self.topics[index];
        let mut balancer = Balancer::new(&topic.subscribers, &self.sizes);
        if balancer.imbalance(&self.sizes) <= 1 {
            return 0;
        }
        let mut owned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (partition, owner) in topic.owners.iter().enumerate() {
            if let Some(owner) = owner {
                owned.entry(*owner).or_default().push(partition);
            }
        }
        let mut moved = 0;
        while !balancer.is_balanced() {
            let Some(from) = balancer.next_most_loaded(&self.sizes) else { break };
            let Some(partition) = owned.get_mut(&from).and_then(Vec::pop) else {
                balancer.exclude_most_loaded();
                continue;
            };
            let to = balancer.next_least_loaded(&self.sizes);
            if balancer.is_balanced() {
                break;
            }
            topic.owners[partition] = Some(to);
            self.sizes[from] -= 1;
            self.sizes[to] += 1;
            moved += 1;
        }
        moved
    }

    fn into_target(self) -> BTreeMap<MemberId, Partitions> {
        let mut target: Vec<Partitions> = vec![Partitions::new(); self.members.len()];
        for topic in &self.topics {
            for (partition, owner) in (0..).zip(&topic.owners) {
                let owner = owner.expect("a topic that has subscribers has owners");
                target[owner].insert(TopicIdPartition::new(topic.id, partition));
            }
        }
        self.members.into_iter().zip(target).collect()
    }
}

impl TopicPlan {
    fn order(&self, other: &Self) -> Ordering {
        let load = |a: &Self, b: &Self| a.owners.len() * b.subscribers.len();
        load(other, self)
            .cmp(&load(self, other))
            .then(self.subscribers.len().cmp(&other.subscribers.len()))
            .then(self.id.cmp(&other.id))
    }
}

/// Deals partitions to the least and from the most loaded of some members, round robin among
/// equals. It keeps a range of equally loaded members at each end of the members sorted by load, so
/// that no step sorts again.
struct Balancer {
    sorted: Vec<usize>,
    /// `sorted[..least_end]` have `least` partitions, those before `next_least` one more already.
    least_end: usize,
    least: usize,
    next_least: usize,
    /// `sorted[most_start..most_end]` have `most` partitions, those from `next_most` on one less.
    most_start: usize,
    most_end: usize,
    most: usize,
    next_most: usize,
    started: bool,
}

impl Balancer {
    fn new(subscribers: &[usize], sizes: &[usize]) -> Self {
        let mut sorted = subscribers.to_vec();
        sorted.sort_by_key(|&member| (sizes[member], member));
        let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
        let count = sorted.len();
        Self {
            sorted,
            least_end: 0,
            least: sizes[first],
            next_least: 0,
            most_start: count,
            most_end: count,
            most: sizes[last] + 1,
            next_most: count,
            started: false,
        }
    }

    fn imbalance(&self, sizes: &[usize]) -> usize {
        sizes[self.sorted[self.sorted.len() - 1]] - sizes[self.sorted[0]]
    }

    fn next_least_loaded(&mut self, sizes: &[usize]) -> usize {
        if self.next_least >= self.least_end {
            self.least += usize::from(self.started);
            self.started = true;
            while self.least_end < self.sorted.len()
                && sizes[self.sorted[self.least_end]] == self.least
            {
                self.least_end += 1;
            }
            self.next_least = 0;
        }
        let member = self.sorted[self.next_least];
        self.next_least += 1;
        member
    }

    fn next_most_loaded(&mut self, sizes: &[usize]) -> Option<usize> {
        if self.next_most <= self.most_start {
            if self.most_end <= self.most_start && self.most_start > 0 {
                self.most = sizes[self.sorted[self.most_start - 1]];
            } else {
                self.most = self.most.checked_sub(1)?;
            }
            while self.most_start > 0 && sizes[self.sorted[self.most_start - 1]] == self.most {
                self.most_start -= 1;
            }
            self.next_most = self.most_end;
        }
        self.next_most = self.next_most.checked_sub(1)?;
        Some(self.sorted[self.next_most])
    }

    /// The member just dealt from has no partition of the topic: it is out.
    fn exclude_most_loaded(&mut self) {
        self.sorted.swap(self.next_most, self.most_end - 1);
        self.most_end -= 1;
    }

    /// `least` counts as one less until somebody was dealt to.
    fn is_balanced(&self) -> bool {
        self.most + usize::from(!self.started) <= self.least + 1
    }
}
