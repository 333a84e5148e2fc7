//! `range`: each topic's partitions in contiguous ranges, in the order of member ids. Equal
//! subscriptions get equal ranges of topics with equal partition counts (co-partitioning). It is
//! not sticky in 4.3.1 (`RangeAssignor`): the old target plays no part.

use super::existing;
use crate::MemberSpec;
use evenkeel_spec::words::{MemberId, Partitions, TopicId, TopicIdPartition, Topics};
use std::collections::BTreeMap;

pub(super) fn assign(
    members: &BTreeMap<MemberId, MemberSpec<'_>>,
    topics: &Topics,
    homogeneous: bool,
) -> BTreeMap<MemberId, Partitions> {
    let first = members.values().next().map(|spec| spec.subscription);
    let subscription = |spec: &MemberSpec<'_>| match first {
        Some(first) if homogeneous => first.clone(),
        _ => spec.subscription.clone(),
    };
    let mut subscribers: BTreeMap<TopicId, u32> = BTreeMap::new();
    for spec in members.values() {
        for (topic, _) in existing(&subscription(spec), topics) {
            *subscribers.entry(topic).or_default() += 1;
        }
    }
    let mut dealt: BTreeMap<TopicId, Dealt> = BTreeMap::new();
    members
        .iter()
        .map(|(id, spec)| {
            let mut target = Partitions::new();
            for (topic, count) in existing(&subscription(spec), topics) {
                let dealt = dealt.entry(topic).or_default();
                for partition in dealt.range(count, subscribers[&topic]) {
                    target.insert(TopicIdPartition::new(topic, partition));
                }
            }
            (*id, target)
        })
        .collect()
}

/// How far one topic has been dealt out.
#[derive(Default)]
struct Dealt {
    members: u32,
    partitions: u32,
}

impl Dealt {
    /// The next member's range: the first `count % members` get one more than the others.
    fn range(&mut self, count: u32, members: u32) -> std::ops::Range<u32> {
        let quota = count / members + u32::from(self.members < count % members);
        let start = self.partitions;
        self.members += 1;
        self.partitions += quota;
        start..self.partitions
    }
}
