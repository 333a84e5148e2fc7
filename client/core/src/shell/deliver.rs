//! What a poll returns: records or news, one of them, and only while the group allows it.

use super::Shell;
use crate::fetch::Harvest;
use crate::position::Position;
use crate::{Chunk, Delivery, Output, Part, PollFault};
use evenkeel_spec::words::Committed;
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
        for (id, position) in &advanced {
            self.positions.on_advanced(*id, *position);
        }
        if let Some((id, fault)) = fault {
            let partition = self.metadata.by_name(id);
            self.fail_poll(PollFault::Records { partition, fault });
            return true;
        }
        if advanced.is_empty() {
            return false;
        }
        let application = &mut self.application;
        application.delivered += 1;
        application.fault_first = !parts.is_empty();
        self.turns.on_delivered(self.now);
        let returned: BTreeMap<_, _> =
            advanced.into_iter().map(|(id, position)| (id, committed(position))).collect();
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

    /// Partitions that only a seek helps fail each poll that has nothing better, by turns; but not
    /// those that are paused, of which the application wants nothing.
    fn tell_stuck(&mut self) {
        if self.application.told_stuck {
            return;
        }
        let last = self.application.told_last;
        let stuck = || self.positions.stuck().filter(|(id, _)| !self.positions.is_paused(*id));
        let next = stuck().find(|(id, _)| Some(*id) > last).or_else(|| stuck().next());
        if let Some((id, tell)) = next {
            self.application.told_stuck = true;
            self.application.told_last = Some(id);
            let fault = self.fault_of(tell);
            self.fail_poll(fault);
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
