//! What the application is told and given: whether one explanation has ordered it.

use super::Refused;
use super::member::{Due, Member};
use super::run::{Event, Fault, Method, Part, Reason};
use super::wire::{About, Wire};
use evenkeel_core::commit::Offsets;
use evenkeel_core::group::{self, Callback, Group, LostReason};
use evenkeel_spec::words::{ErrorCode, Owner, Partitions, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

impl Member {
    pub(super) fn on_records(
        &mut self,
        number: u64,
        parts: &[Part],
        next: &Offsets,
        wire: &Wire,
    ) -> Result<(), Refused> {
        self.may_end_poll()?;
        if number != self.delivered + 1 {
            return Err("a delivery's number is wrong");
        }
        if !next.keys().all(|partition| self.open.contains(partition)) {
            return Err("records of a partition that is not open");
        }
        let mut ends = BTreeMap::new();
        for part in parts {
            if part.count == 0 || part.count > part.next {
                return Err("more records than offsets");
            }
            ends.insert(&part.partition, part.next);
        }
        for (id, committed) in next {
            let name = wire.by_name([id]).and_then(|mut names| names.pop_first());
            let end = name.and_then(|name| ends.remove(&name));
            // Where a delivery moves a partition beyond its records, it has none to return there.
            if end.is_some_and(|end| end > committed.offset.0) {
                return Err("the position lies before the records that were returned");
            }
        }
        if !ends.is_empty() {
            return Err("records of a partition that does not move");
        }
        self.delivered = number;
        self.tell(|group, out| group.on_delivered(next, out));
        self.carry_out(wire);
        Ok(())
    }

    fn may_end_poll(&self) -> Result<(), Refused> {
        self.rest()?;
        if self.taken != self.delivered || !self.group.may_return() {
            return Err("the application does not wait in a poll");
        }
        Ok(())
    }

    pub(super) fn on_poll_failed(
        &mut self,
        fault: Fault,
        error: Option<i16>,
        wire: &Wire,
    ) -> Result<(), Refused> {
        self.may_end_poll()?;
        let code = error.and_then(ErrorCode::from_number);
        let told = match (fault, code) {
            (Fault::Fatal, Some(code)) => Some(group::Fault::Fatal(code)),
            (Fault::Refused, Some(code)) => Some(group::Fault::Refused(code)),
            (Fault::Other, None) => None,
            _ => return Err("an error without its code"),
        };
        if let Some(told) = told {
            let at = self.faults.iter().position(|fault| *fault == told);
            self.faults.remove(at.ok_or("the group has no such news")?);
        }
        self.tell(Group::on_poll_ended);
        self.carry_out(wire);
        Ok(())
    }

    /// What the application is told.
    pub(super) fn on_told(
        &mut self,
        event: &Event,
        about: &About,
        wire: &Wire,
    ) -> Result<(), Refused> {
        if let (Event::Assignment { partitions, epoch, .. }, None) = (event, self.due.front()) {
            if !self.is_assignment_due() {
                return Err("the assignment did not change");
            }
            let (owned, owner) = self.show_assignment();
            return self.compare_assignment(&owned, owner, (partitions, *epoch), about, wire);
        }
        let due = self.due.pop_front().ok_or("the application is told what nobody ordered")?;
        let named = |ids: &Partitions, names: &BTreeSet<TopicPartition>| {
            wire.by_name(ids).is_some_and(|expected| expected == *names)
        };
        let holds = match (due, event) {
            (Due::Assignment(owned, owner), Event::Assignment { partitions, epoch, .. }) => {
                return self.compare_assignment(&owned, owner, (partitions, *epoch), about, wire);
            }
            (
                Due::Callback(incarnation, expected),
                Event::Callback { callback, method, reason, error, partitions },
            ) => {
                self.callback = Some((*callback, incarnation));
                match (expected, method) {
                    (Callback::Assigned(ids), Method::Assigned)
                    | (Callback::Revoked(ids), Method::Revoked) => named(&ids, partitions),
                    (Callback::Lost(why, ids), Method::Lost) => {
                        is_reason(why, *reason, *error) && named(&ids, partitions)
                    }
                    _ => false,
                }
            }
            (Due::Withdrawn(ids), Event::Withdrawn { partitions }) => named(&ids, partitions),
            (Due::Answer(to, answer, code), Event::Answered { call, result, error }) => {
                (to, answer, code) == (*call, *result, *error)
            }
            (Due::Lost(why, ids), Event::Lost { reason, error, partitions }) => {
                is_reason(why, Some(*reason), *error) && named(&ids, partitions)
            }
            (Due::Closed { left }, Event::Closed { left: told }) => left == *told,
            _ => false,
        };
        if holds { Ok(()) } else { Err("the application is told something else") }
    }

    fn compare_assignment(
        &mut self,
        owned: &Partitions,
        owner: Option<Owner>,
        (partitions, epoch): (&BTreeSet<TopicPartition>, Option<u32>),
        about: &About,
        wire: &Wire,
    ) -> Result<(), Refused> {
        if wire.by_name(owned).is_none_or(|owned| owned != *partitions) {
            return Err("something else is assigned");
        }
        self.compare_owner(owner, about.member, epoch)
    }
}

fn is_reason(expected: LostReason, reason: Option<Reason>, error: Option<i16>) -> bool {
    let told = match expected {
        LostReason::Fenced(code) => (Reason::Fenced, Some(code.number())),
        LostReason::PollInterval => (Reason::PollInterval, None),
        LostReason::RebalanceTimeout => (Reason::RebalanceTimeout, None),
        LostReason::Fatal(code) => (Reason::Fatal, Some(code.number())),
        LostReason::LeaveTimeout => (Reason::LeaveTimeout, None),
    };
    (Some(told.0), told.1) == (reason, error)
}
