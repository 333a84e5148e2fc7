//! `uniform` where all members subscribe to the same topics: balanced within one partition, and
//! sticky (`UniformHomogeneousAssignmentBuilder`).

use super::existing;
use crate::MemberSpec;
use evenkeel_spec::words::{MemberId, Partitions, TopicIdPartition, Topics};
use std::collections::{BTreeMap, VecDeque};

pub(super) fn assign(
    members: &BTreeMap<MemberId, MemberSpec<'_>>,
    topics: &Topics,
) -> BTreeMap<MemberId, Partitions> {
    let Some(first) = members.values().next() else { return BTreeMap::new() };
    let all: Partitions = existing(first.subscription, topics)
        .flat_map(|(topic, count)| (0..count).map(move |p| TopicIdPartition::new(topic, p)))
        .collect();
    let mut unassigned: VecDeque<TopicIdPartition> = all
        .iter()
        .filter(|at| !members.values().any(|spec| spec.target.contains(at)))
        .copied()
        .collect();

    let (quota, mut extras) = (all.len() / members.len(), all.len() % members.len());
    let mut target = BTreeMap::new();
    let mut unfilled = Vec::new();
    for (index, (&id, spec)) in members.iter().enumerate() {
        let may_have_extra = extras > 0;
        let mut room = quota + usize::from(may_have_extra);
        let mut kept = Partitions::new();
        for at in spec.target.intersection(&all) {
            if room > 0 {
                room -= 1;
                kept.insert(*at);
            } else {
                unassigned.push_back(*at);
            }
        }
        // A member short of its share leaves the extra one to those after it, while enough of them
        // are left to take it.
        let leaves_extra = room > 0 && may_have_extra && members.len() - index > extras;
        room -= usize::from(leaves_extra);
        extras -= usize::from(may_have_extra && !leaves_extra);
        unfilled.push((id, room));
        target.insert(id, kept);
    }
    for (id, room) in unfilled {
        let next = unassigned.drain(..room.min(unassigned.len()));
        target.entry(id).or_default().extend(next);
    }
    assert!(unassigned.is_empty(), "the members' shares sum to all partitions");
    target
}
