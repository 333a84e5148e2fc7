//! Carries what the group, the metadata, the positions and the fetcher order to where it belongs.

use super::timers::Alarm;
use super::{End, OnDesk, Purpose, Shell};
use crate::connection::ConnectionTimer;
use crate::group::{self, Output as Order};
use crate::position::{Tell, Truncation};
use crate::request::desk::To;
use crate::request::ledger::Ticket;
use crate::request::queue::Lane;
use crate::request::{EpochEnd, Request, TopicNames};
use crate::{
    Answer, CallFault, Callback, Chunk, Incarnation, Output, PollFault, Warning, fetch, metadata,
    position,
};
use evenkeel_spec::words::{
    Committed, Offset, Partitions, Step, Timer, TopicIdPartition, TopicPartition,
};
use std::collections::BTreeSet;

impl<C: Chunk> Shell<C> {
    /// Carries out what the group orders, and what it orders because of it.
    pub(super) fn drain_group(&mut self) {
        while let Some(order) = self.group_orders.pop_front() {
            self.on_group_order(order);
        }
        // A leave that was not sent in time is sent after `Left`, so the end comes after it.
        if let Some(left) = self.left.take() {
            self.finish(left);
        }
    }

    fn on_group_order(&mut self, order: Order) {
        match order {
            Order::FindCoordinator { incarnation } => self.lookup = Some(incarnation),
            Order::Heartbeat { incarnation, to, request } => {
                let purpose = Purpose::Heartbeat(incarnation);
                self.send_to(To::Coordinator(to), Request::Heartbeat(request), purpose);
            }
            Order::OffsetCommit { incarnation, to, request: commit, commits, is_urgent } => {
                let names = self.names(commit.offsets.keys());
                let request = Request::OffsetCommit { commit, names };
                let lane = if is_urgent { Lane::System } else { Lane::User };
                let ticket = self.open_own(lane, &request);
                let riders = commits.into_iter().filter_map(|id| self.calls.of_commit(id));
                let riders = riders.map(Ticket::Call).collect();
                self.send_commit(to, lane, request, OnDesk { ticket, incarnation, riders });
            }
            Order::Arm(timer, step) => {
                let ms = self.group_ms(timer, step);
                self.arm(Alarm::Group(timer), ms);
            }
            Order::Disarm(timer) => self.timers.disarm(Alarm::Group(timer)),
            Order::HeartbeatInterval(ms) => {
                self.heartbeat_interval_ms = u64::from(ms).max(1);
                self.timers.redate(Alarm::Group(Timer::Heartbeat), self.heartbeat_interval_ms);
            }
            Order::Call { incarnation, callback } => self.call(incarnation, callback),
            Order::Own(partitions) => self.own(&partitions),
            Order::Fetch(partitions) => self.positions.on_fetch(&partitions),
            Order::Withhold(partitions) => self.positions.on_withheld(&partitions),
            Order::Release(partitions) => self.release(&partitions),
            Order::Lost(reason, partitions) => {
                let partitions = self.by_name(&partitions);
                let warning = Warning::PartitionsLost { partitions, reason };
                self.outputs.push_back(Output::Warn(warning));
            }
            Order::ResolveTopics(ids) => self.metadata.on_unresolved(ids),
            Order::CommitDone { id, result } => {
                if let Some(call) = self.calls.of_commit(id) {
                    let result = result.map(|()| Answer::Done).map_err(CallFault::Commit);
                    self.end_commit(call, result);
                }
            }
            Order::Left { clean } => self.on_left(clean),
            Order::Fault(fault) => self.tell(PollFault::Group(fault)),
        }
    }

    /// How long a timer of the group runs, milliseconds. What repeats by itself takes at least 1.
    fn group_ms(&mut self, timer: Timer, step: Step) -> u64 {
        match timer {
            Timer::Heartbeat => self.heartbeat_interval_ms,
            Timer::PollInterval | Timer::Revocation => u64::from(self.config.max_poll_interval_ms),
            Timer::AutoCommit => self.config.auto_commit_interval_ms.max(1),
            Timer::Backoff(_) => self.backoffs.retry_ms(step),
            Timer::Leave => self.leave_timeout_ms,
        }
    }

    /// How long a timer of a connection runs, milliseconds; `None`: for ever.
    pub(super) fn connection_ms(&mut self, timer: ConnectionTimer, step: Step) -> Option<u64> {
        match timer {
            ConnectionTimer::Setup => Some(self.config.connection_setup_timeout_ms),
            ConnectionTimer::Reconnect => Some(self.backoffs.reconnect_ms(step)),
            ConnectionTimer::Request(_) => Some(self.config.request_timeout_ms),
            ConnectionTimer::Idle => self.config.connections_max_idle_ms,
            ConnectionTimer::Throttle => unreachable!("the broker says how long it throttles"),
        }
    }

    fn call(&mut self, incarnation: Incarnation, callback: group::Callback) {
        if (End::Closing { orphaned: true }) == self.end {
            self.with_group(|group, out| group.on_callback_done(incarnation, true, out));
            return;
        }
        let (callback, partitions) = match callback {
            group::Callback::Assigned(partitions) => (Callback::Assigned, partitions),
            group::Callback::Revoked(partitions) => (Callback::Revoked, partitions),
            group::Callback::Lost(reason, partitions) => (Callback::Lost(reason), partitions),
        };
        // The application sees inside of the callback what is assigned at that moment.
        self.show_assignment();
        let partitions = self.by_name(&partitions);
        self.outputs.push_back(Output::Call { incarnation, callback, partitions });
    }

    fn own(&mut self, partitions: &Partitions) {
        self.owned.extend(partitions);
        self.metadata.on_owned(&self.owned);
        self.positions.on_owned(partitions);
        self.follow_leaders();
        self.apply_wishes(partitions);
        self.application.assignment_changed = true;
    }

    fn release(&mut self, partitions: &Partitions) {
        let mut orders = Vec::new();
        self.positions.on_released(partitions, &mut orders);
        self.on_position_orders(orders);
        self.end_leases(partitions);
        for id in partitions {
            self.stop_fetching(*id);
            self.owned.remove(id);
        }
        self.note_released(partitions);
        self.metadata.on_owned(&self.owned);
        self.application.assignment_changed = true;
    }

    fn on_left(&mut self, clean: bool) {
        match self.end {
            End::Closing { .. } => self.left = Some(clean),
            End::Not => self.answer_unsubscribes(clean),
            End::Closed => unreachable!("nothing is carried out after the end"),
        }
    }

    /// A delivery that waits in the handle must not return records of these.
    pub(super) fn end_leases(&mut self, partitions: &Partitions) {
        if self.application.taken < self.application.delivered {
            self.outputs.push_back(Output::EndLease(self.by_name(partitions)));
        }
    }

    pub(super) fn stop_fetching(&mut self, id: TopicIdPartition) {
        let mut orders = Vec::new();
        self.fetcher.on_stopped(id, &mut orders);
        self.on_fetch_orders(orders);
    }

    pub(super) fn on_metadata_orders(&mut self, orders: Vec<metadata::Order>) {
        for order in orders {
            match order {
                metadata::Order::ArmBackoff(step) => {
                    let ms = self.backoffs.retry_ms(step);
                    self.arm(Alarm::MetadataRest, ms);
                }
                metadata::Order::ArmAge => {
                    self.arm(Alarm::MetadataAge, self.config.metadata_max_age_ms.max(1));
                }
                metadata::Order::Changed => {
                    let resolved = self.metadata.resolved();
                    self.with_group(|group, out| group.on_topics_resolved(&resolved, out));
                    self.fetcher.on_leaders(|id| self.metadata.leader(id));
                    self.follow_leaders();
                    self.note_known();
                }
                metadata::Order::WarnUnknown(topic) => {
                    self.outputs.push_back(Output::Warn(Warning::UnknownTopic(topic)));
                }
                metadata::Order::Tell(topic, error) => {
                    self.tell(PollFault::Topic { topic, error });
                }
                metadata::Order::Rebootstrap => {
                    self.outputs.push_back(Output::Warn(Warning::Rebootstrap));
                }
            }
        }
    }

    /// What was read under an older leader epoch may be lost.
    fn follow_leaders(&mut self) {
        let mut orders = Vec::new();
        self.positions.on_leaders(|id| self.metadata.leader_epoch(id), &mut orders);
        self.on_position_orders(orders);
    }

    pub(super) fn on_position_orders(&mut self, orders: Vec<position::Order>) {
        for order in orders {
            match order {
                position::Order::Backoff(id, step) => {
                    let ms = self.backoffs.retry_ms(step);
                    self.arm(Alarm::Position(id), ms);
                }
                position::Order::Disarm(id) => self.timers.disarm(Alarm::Position(id)),
                position::Order::Start(id, position) => {
                    let mut orders = Vec::new();
                    self.fetcher.on_start(id, position, &mut orders);
                    self.on_fetch_orders(orders);
                }
                position::Order::Stop(id) => self.stop_fetching(id),
                position::Order::RefreshMetadata => self.metadata.request_update(),
                position::Order::NotCoordinator => {
                    self.with_group(crate::group::Group::on_not_coordinator);
                }
                position::Order::WarnReset(id, offset) => {
                    let partition = self.metadata.by_name(id);
                    let warning = Warning::OffsetReset { partition, offset };
                    self.outputs.push_back(Output::Warn(warning));
                }
                position::Order::Listed(id, offset) => self.on_listed_place(id, offset),
                position::Order::WarnTruncated(truncation) => self.on_truncated(truncation),
                position::Order::Tell(tell) => {
                    let fault = self.fault_of(tell);
                    self.tell(fault);
                }
            }
        }
    }

    /// A log lost what was read of it: no mark lies beyond where reading goes on (P8).
    fn on_truncated(&mut self, Truncation { partition: id, offset, diverging }: Truncation) {
        let partition = self.metadata.by_name(id);
        let warning = Warning::Truncated { partition, offset, diverging };
        self.outputs.push_back(Output::Warn(warning));
        if let Some(EpochEnd { offset, leader_epoch }) = diverging {
            let to = Committed { leader_epoch: Some(leader_epoch), ..Committed::at(offset) };
            self.lower(id, &to);
        }
    }

    /// Where the position of a partition was reset to, or begins (P8).
    fn on_listed_place(&mut self, id: TopicIdPartition, to: Offset) {
        if self.lower(id, &Committed::at(to)) {
            let partition = self.metadata.by_name(id);
            self.outputs.push_back(Output::Warn(Warning::ResetBack { partition, to }));
        }
    }

    /// No mark of a partition lies beyond this; says whether one did.
    fn lower(&mut self, id: TopicIdPartition, to: &Committed) -> bool {
        self.group.on_truncated(id, to)
    }

    pub(super) fn on_fetch_orders(&mut self, orders: Vec<fetch::Order>) {
        for order in orders {
            match order {
                fetch::Order::Backoff(id, step) => {
                    let ms = self.backoffs.retry_ms(step);
                    self.arm(Alarm::Fetch(id), ms);
                }
                fetch::Order::Disarm(id) => self.timers.disarm(Alarm::Fetch(id)),
                fetch::Order::RefreshMetadata => self.metadata.request_update(),
                fetch::Order::OutOfRange(id, offset) => {
                    self.stop_fetching(id);
                    let mut orders = Vec::new();
                    self.positions.on_out_of_range(id, offset, &mut orders);
                    self.on_position_orders(orders);
                }
                fetch::Order::Tell(id, error) => {
                    let partition = self.metadata.by_name(id);
                    self.tell(PollFault::Partition { partition, error });
                }
            }
        }
    }

    pub(super) fn fault_of(&self, tell: Tell) -> PollFault<C::Fault> {
        match tell {
            Tell::NoOffset(id) => PollFault::NoOffset(self.metadata.by_name(id)),
            Tell::OutOfRange(id, offset) => {
                PollFault::OffsetOutOfRange { partition: self.metadata.by_name(id), offset }
            }
            Tell::Truncated(Truncation { partition, offset, diverging }) => PollFault::Truncated {
                partition: self.metadata.by_name(partition),
                offset,
                diverging,
            },
            Tell::Partition(id, error) => {
                PollFault::Partition { partition: self.metadata.by_name(id), error }
            }
        }
    }

    pub(super) fn by_name(&self, partitions: &Partitions) -> BTreeSet<TopicPartition> {
        partitions.iter().map(|id| self.metadata.by_name(*id)).collect()
    }

    pub(super) fn names<'a>(
        &self,
        partitions: impl Iterator<Item = &'a TopicIdPartition>,
    ) -> TopicNames {
        let mut names = TopicNames::new();
        for partition in partitions {
            if !names.contains_key(&partition.topic)
                && let Some(name) = self.metadata.name(partition.topic)
            {
                names.insert(partition.topic, name.clone());
            }
        }
        names
    }
}
