//! The coordinator of the small world, and what its records and timers tell an onlooker.

use crate::bounds::Slice;
use evenkeel_coordinator::{Group, Order, Record, Timer};
use evenkeel_spec::rules::{Grant, World};
use evenkeel_spec::words::NodeId;
use std::collections::BTreeSet;

/// The coordinator.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Brain {
    /// The shipped coordinator.
    pub group: Group,
    /// Its armed timers; any of them may fire.
    pub timers: BTreeSet<Timer>,
    /// It has moved to the other node.
    pub moved: bool,
}

impl Brain {
    /// The node that coordinates.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(i32::from(self.moved))
    }

    /// Carries out what the coordinator ordered and shows the world what it wrote.
    pub(super) fn carry_out(
        &mut self,
        slice: &Slice,
        world: &mut World,
        records: &[Record],
        orders: &[Order],
    ) {
        for record in records {
            note(slice, world, record);
        }
        for order in orders {
            match *order {
                Order::Arm(timer, _) => {
                    self.timers.insert(timer);
                }
                Order::Disarm(timer) => {
                    self.timers.remove(&timer);
                }
            }
        }
        self.show_timers(world);
    }

    /// Shows the world who is timed.
    pub(super) fn show_timers(&self, world: &mut World) {
        world.sessions.clear();
        world.revocations.clear();
        for timer in &self.timers {
            match *timer {
                Timer::Session(id) => world.sessions.insert(id),
                Timer::Rebalance(id) => world.revocations.insert(id),
                Timer::Assignment => false,
            };
        }
    }
}

/// What one record tells an onlooker.
fn note(slice: &Slice, world: &mut World, record: &Record) {
    match record {
        Record::Current(id, current) => {
            let grant = world.grants.entry(*id).or_insert_with(|| Grant {
                epoch: current.epoch,
                previous: None,
                assigned: Default::default(),
                revoking: Default::default(),
                subscribed: slice.topics.keys().copied().collect(),
            });
            (grant.epoch, grant.previous) = (current.epoch, current.previous_epoch);
            grant.assigned.clone_from(&current.assigned);
            grant.revoking = current.pending_revocation.keys().copied().collect();
        }
        Record::Member(id, metadata) => {
            let topics = slice.topics.iter();
            let subscribed = topics
                .filter(|(_, topic)| metadata.subscription.contains(&topic.name))
                .map(|(id, _)| *id)
                .collect();
            if let Some(grant) = world.grants.get_mut(id) {
                grant.subscribed = subscribed;
            }
        }
        Record::CurrentRemoved(id) | Record::MemberRemoved(id) => {
            world.grants.remove(id);
        }
        Record::Offset(partition, committed) => {
            world.committed.insert(*partition, committed.offset);
        }
        Record::OffsetRemoved(partition) => {
            world.committed.remove(partition);
        }
        Record::Group { .. }
        | Record::GroupRemoved
        | Record::TargetEpoch(_)
        | Record::TargetEpochRemoved
        | Record::Target(..)
        | Record::TargetRemoved(_) => {}
    }
}

/// The grants of a group, a line a member: for reports.
#[must_use]
pub fn describe_grants(world: &World) -> String {
    let line = |(id, grant): (_, &Grant)| {
        format!("{id:?} {:?} {:?} revoking {:?}", grant.epoch, grant.assigned, grant.revoking)
    };
    world.grants.iter().map(line).collect::<Vec<_>>().join("\n")
}
