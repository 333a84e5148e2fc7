//! What a poll returns: records or news, one of them, and only while the group allows it.

use super::Shell;
use crate::fetch::Harvest;
use crate::position::Position;
use crate::{Chunk, Delivery, Output, Part, PollFault};
use evenkeel_spec::words::{Committed, TopicIdPartition};
use std::collections::BTreeMap;

impl<C: Chunk> Shell<C> {
    /// Ends the poll with what there is, if it is open and everything before it was taken. Says
    /// whether more may be fetched now.
    pub(super) fn deliver(&mut self) -> bool {
        let is_taken = self.application.taken == self.application.delivered;
        // What the group ordered last may withhold or release: carried out before anything is
        // returned.
        if !is_taken || !self.group_orders.is_empty() || !self.group.may_return() {
            return false;
        }
        let fault_first = self.application.fault_first;
        let delivered_before = self.application.delivered;
        let held_before = self.fetcher.held_bytes();
        let delivered =
            (fault_first && self.deliver_fault()) || self.deliver_records() || self.deliver_fault();
        if !delivered {
            self.tell_stuck();
        }
        self.fetcher.held_bytes() < held_before || self.application.delivered > delivered_before
    }

    fn deliver_records(&mut self) -> bool {
        let mut orders = Vec::new();
        let may_read = |id| self.positions.may_read(id) && self.metadata.is_subscribed(id);
        let harvest = self.fetcher.take(self.config.max_poll_records, may_read, &mut orders);
        self.on_fetch_orders(orders);
        let Harvest { parts, advanced, fault } = harvest;
        for (id, position) in advanced {
            self.positions.on_advanced(id, position);
            self.application.skipped.insert(id, committed(position));
        }
        if let Some((id, fault)) = fault {
            let partition = self.metadata.by_name(id);
            self.fail_poll(PollFault::Records { partition, fault });
            return true;
        }
        if parts.is_empty() {
            return false;
        }
        let application = &mut self.application;
        application.delivered += 1;
        application.fault_first = true;
        self.turns.on_delivered(self.now);
        // What was withheld meanwhile must not count as given to the application just now.
        let (returned, kept): (BTreeMap<_, _>, _) = std::mem::take(&mut application.skipped)
            .into_iter()
            .partition(|(id, _)| self.positions.may_read(*id));
        application.skipped = kept;
        let parts = parts.into_iter().map(|(id, taken)| Part {
            partition: self.metadata.by_name(id),
            records: taken.part,
            count: taken.records,
            next_offset: taken.next_offset,
            leader_epoch: taken.leader_epoch,
        });
        let delivery = Delivery {
            number: self.application.delivered,
            next: returned.clone(),
            parts: parts.collect(),
        };
        self.show_assignment();
        self.outputs.push_back(Output::Deliver(delivery));
        self.with_group(|group, out| group.on_delivered(&returned, out));
        true
    }

    fn deliver_fault(&mut self) -> bool {
        match self.application.faults.pop_front() {
            Some(fault) => {
                self.fail_poll(fault);
                true
            }
            None => false,
        }
    }

    /// Partitions that only a seek helps fail each poll that has nothing better.
    fn tell_stuck(&mut self) {
        if std::mem::replace(&mut self.application.told_stuck, true) {
            return;
        }
        let stuck: Option<(TopicIdPartition, _)> = self.positions.stuck().next();
        match stuck {
            Some((_, tell)) => {
                let fault = self.fault_of(tell);
                self.fail_poll(fault);
            }
            None => self.application.told_stuck = false,
        }
    }

    fn fail_poll(&mut self, fault: PollFault<C::Fault>) {
        self.application.fault_first = false;
        self.show_assignment();
        self.outputs.push_back(Output::PollFailed(fault));
        self.with_group(crate::group::Group::on_poll_ended);
    }
}

fn committed(position: Position) -> Committed {
    Committed { leader_epoch: position.leader_epoch, ..Committed::at(position.offset) }
}
