//! What happens at every input: due timers first, then the input, then all that can go on.
//!
//! Decides the order in which the machines are asked, and when the consumer is over.

use super::accounts::Place;
use super::assign::Manual;
use super::peers::Orders;
use super::timers::Alarm;
use super::{End, Shell};
use crate::connection::ConnectionTimer;
use crate::group::{self, Group};
use crate::request::desk::Peer;
use crate::request::ledger::Ticket;
use crate::{Assignment, Cause, Chunk, CloseReport, Lifecycle, Output, PollFault, Time};
use std::sync::Arc;

/// How many timers may fire at one date: far more than a consumer has, so that more is a timer that
/// re-arms itself without end.
const ALARMS_MAX: usize = 1_000_000;

/// How many different pieces of news wait for the next poll: beyond that, older ones say enough.
const FAULTS_MAX: usize = 64;

impl<C: Chunk> Shell<C> {
    pub(super) fn input(&mut self, now: Time, handle: impl FnOnce(&mut Self)) {
        assert!(now >= self.now, "time does not go back");
        if now > self.now {
            // Once a millisecond, however many inputs it has: what stands at its end has lasted.
            self.note_reasons();
        }
        self.now = now;
        if self.end == End::Closed {
            return;
        }
        self.fire();
        if self.end == End::Closed {
            return;
        }
        assert!(
            !self.timers.is_due(now),
            "a due timer is handled before any other input of its date"
        );
        handle(self);
        self.settle();
        self.fire();
    }

    /// Handles every timer that is due, also those that become due by it.
    fn fire(&mut self) {
        let mut count = 0;
        while let Some(alarm) = self.timers.pop_due(self.now) {
            self.on_alarm(alarm);
            self.settle();
            count += 1;
            assert!(count < ALARMS_MAX, "{alarm:?} re-arms itself at its own date");
        }
    }

    fn on_alarm(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Group(timer) => self.with_group(|group, out| group.on_timer(timer, out)),
            Alarm::Connection(peer, timer) => self.on_connection_timer(peer, timer),
            Alarm::MetadataBackoff | Alarm::MetadataRest => self.metadata.on_backoff(),
            Alarm::MetadataAge => self.metadata.on_age(),
            Alarm::Rebootstrap => self.rebootstrap(),
            Alarm::Position(partition) => self.positions.on_backoff(partition),
            Alarm::Fetch(partition) => self.fetcher.on_backoff(partition),
            Alarm::Deadline(call) => self.on_deadline(call),
            Alarm::CallBackoff(call) => {
                self.accounts.place(Ticket::Call(call), Place::Queue, self.now);
                if let Some(call) = self.calls.inquiry(call) {
                    call.is_pausing = false;
                }
            }
            Alarm::Contact => {
                self.tell_no_broker();
                self.arm_contact();
            }
        }
    }

    /// Goes on with everything that can go on.
    pub(super) fn settle(&mut self) {
        loop {
            self.drain_group();
            if self.end == End::Closed {
                return;
            }
            self.follow_assignment();
            self.drain_group();
            self.answer_calls();
            self.ask();
            let has_room = self.deliver();
            if self.group_orders.is_empty() && !has_room {
                break;
            }
        }
        self.show_assignment();
        self.close_needless();
        #[cfg(debug_assertions)]
        self.audit();
        self.follow_lookup();
    }

    fn follow_lookup(&mut self) {
        if self.end == End::Not {
            let lookup = self.group.lookup();
            self.lifecycle.step(match (lookup.known(), lookup.is_under_way()) {
                (Some(_), _) => Lifecycle::Stable,
                (None, true) => Lifecycle::Discovering,
                (None, false) => Lifecycle::Initialized,
            });
        }
    }

    pub(super) fn with_group(&mut self, act: impl FnOnce(&mut Group, &mut Vec<group::Output>)) {
        let mut out = Vec::new();
        act(&mut self.group, &mut out);
        self.group_orders.extend(out);
    }

    pub(super) fn arm(&mut self, alarm: Alarm, ms: u64) {
        self.timers.arm(alarm, self.now, ms);
    }

    /// Not more often than brokers are tried.
    pub(super) fn arm_contact(&mut self) {
        let pace_ms = self.config.reconnect_backoff_max_ms.max(1);
        self.arm(Alarm::Contact, self.config.default_api_timeout_ms.max(pace_ms));
    }

    /// A broker that lacks an API was reached, and that was told when it said so.
    fn tell_no_broker(&mut self) {
        let causes = self.peers.causes();
        let reached = |(_, cause): &(_, Cause)| matches!(cause, Cause::Unsupported(_));
        if causes.is_empty() || !causes.iter().all(reached) {
            self.tell(PollFault::NoBroker(causes));
        }
    }

    /// Keeps news for the next poll, each once.
    pub(super) fn tell(&mut self, fault: PollFault<C::Fault>) {
        let faults = &mut self.application.faults;
        if !faults.contains(&fault) && faults.len() < FAULTS_MAX {
            faults.push_back(fault);
        }
    }

    fn on_connection_timer(&mut self, peer: Peer, timer: ConnectionTimer) {
        let mut orders = Orders::new();
        let cause = self.peers.desk.on_timer(peer, timer, &mut orders);
        if let Some(cause) = cause {
            self.on_connection_failed(peer, cause);
        }
        self.carry_out(orders);
    }

    /// The brokers may have changed: asks for them again.
    pub(super) fn on_connection_failed(&mut self, peer: Peer, cause: Cause) {
        self.peers.on_cause(peer, cause);
        if self.peers.is_contacted() {
            self.metadata.request_update();
        }
    }

    /// The consumer is over.
    pub(super) fn finish(&mut self, left: bool) {
        let mut report = CloseReport { left, ..CloseReport::default() };
        // Partitions were given up since, and what was buffered of them with them.
        report.bytes_discarded = self.discarded_bytes;
        report.calls_failed = self.fail_calls();
        let mut orders = Orders::new();
        self.peers.desk.close(&mut orders);
        self.carry_out(orders);
        report.requests = self.accounts.counts().clone();
        self.timers.clear();
        self.group_orders.clear();
        self.end = End::Closed;
        #[cfg(debug_assertions)]
        self.audit();
        self.lifecycle.step(Lifecycle::Down);
        self.outputs.push_back(Output::Closed(report));
    }

    /// Shows the application what is assigned, if that changed.
    pub(super) fn show_assignment(&mut self) {
        let owner = self.group.owner();
        let application = &mut self.application;
        if !std::mem::take(&mut application.assignment_changed) && application.shown_owner == owner
        {
            return;
        }
        application.shown_owner = owner;
        let owned = || self.owned.iter().map(|id| self.metadata.by_name(*id)).collect();
        let partitions = self.manual.as_ref().map_or_else(owned, Manual::partitions);
        let assignment = Assignment { partitions, owner };
        self.outputs.push_back(Output::Assignment(Arc::new(assignment)));
    }
}
