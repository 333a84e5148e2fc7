//! What the core orders, and what is done for it.

use super::{Driver, Waiting};
use crate::background::flight::{InFlight, Link};
use crate::background::{Assigned, Delivery, Event, LeasedPart, Note, trace};
use crate::net::connection::Connection;
use crate::record::Slice;
use crate::records::PartitionRecords;
use crate::telemetry::{Landing, Queue};
use crate::wire::Api;
use evenkeel_core::group::Fault;
use evenkeel_core::request::Request;
use evenkeel_core::request::ledger::Ticket;
use evenkeel_core::request::queue::Lane;
use evenkeel_core::{
    Address, Answer, Assignment, CallFault, CallId, CloseReport, ConnectionId, Detour,
    DisconnectReason, Output, Part, PollFault, RequestId, Time, Warning,
};
use evenkeel_spec::words::Epoch;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What the core wants next.
pub(super) enum Next {
    /// To be called at this date, or never.
    Wait(Option<Instant>),
    /// Nothing any more, but to tell this.
    End(CloseReport),
}

impl Driver {
    /// Does what the core orders until it waits.
    pub(super) fn carry_out(&mut self) -> Next {
        let now = self.shell.lifecycle();
        if self.shown.show(now) {
            trace::lifecycle(&self.teller, &self.codec.group, now);
        }
        loop {
            if let Some(recorder) = &mut self.recorder {
                recorder.carried_out();
            }
            match self.shell.poll_output() {
                Output::Connect { connection, address, detour } => {
                    self.connect(connection, address, detour);
                }
                Output::Disconnect { connection, reason } => self.disconnect(connection, reason),
                Output::Send { connection, request_id, request, lane, tickets, queued_ms } => {
                    self.send((connection, request_id), request, (lane, &tickets), queued_ms);
                }
                Output::Deliver(delivery) => self.deliver(delivery),
                Output::EndLease(partitions) => {
                    for partition in &partitions {
                        self.leases.end(partition);
                    }
                }
                Output::PollFailed(fault) => {
                    if let PollFault::Group(Fault::Fatal(_)) = fault {
                        self.rebalances.on_fatal();
                    }
                    self.tell(Event::Failed(fault));
                }
                Output::Call { incarnation, callback, partitions } => {
                    let within = self.rebalances.on_call(incarnation, callback);
                    self.tell(Event::Call { incarnation, callback, partitions, within });
                }
                Output::Assignment(assignment) => self.assign(&assignment),
                Output::Done { call, result } => self.answer(call, result),
                Output::Waiting(..) => {}
                Output::Ended(ended) => {
                    self.metrics.on_ended(&ended);
                    let flown = self.flights.on_ended(ended.ticket);
                    trace::ended(&self.teller, ended, flown);
                }
                Output::Warn(warning) => {
                    if let Warning::PartitionsLost { reason, .. } = &warning {
                        self.rebalances.on_lost(*reason);
                    }
                    trace::warning(&self.teller, &self.codec.group, warning);
                }
                Output::Closed(report) => return Next::End(report),
                Output::Wait(_) if !self.unspoken.is_empty() => {
                    self.say_unspoken();
                }
                Output::Wait(None) => return Next::Wait(None),
                Output::Wait(Some(Time(ms))) => {
                    return Next::Wait(Some(self.started + Duration::from_millis(ms)));
                }
            }
        }
    }

    fn connect(&mut self, id: ConnectionId, address: Address, detour: Option<Detour>) {
        if let Some(detour) = detour {
            trace::second(&self.teller, &address, detour, None);
        }
        let events = self.net_sender.clone();
        let connection = Connection::open(id, &address, &self.connector, self.frame_max, events);
        self.links.insert(id, Link::new(connection, address, detour));
    }

    fn disconnect(&mut self, id: ConnectionId, reason: DisconnectReason) {
        let Some(mut link) = self.links.remove(&id) else { return };
        let is_closing = reason == DisconnectReason::Closing;
        let end = match &reason {
            DisconnectReason::Idle => "idle",
            DisconnectReason::Needless => "needless",
            DisconnectReason::Failed(_) => "failed",
            DisconnectReason::Closing => "closing",
        };
        trace::disconnected(&self.teller, &link.address, reason);
        link.over((&self.metrics, &self.teller), Landing::GivenUp, end);
        if is_closing {
            self.last.of(link.connection);
        }
    }

    fn send(
        &mut self,
        (id, request_id): (ConnectionId, RequestId),
        request: Request,
        (lane, tickets): (Lane, &[Ticket]),
        queued_ms: u64,
    ) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.node = self.shell.node_at(id);
        let api = Api::of(&request);
        if !link.versions.speaks(api) {
            self.unspoken.push((id, request_id, api));
            return;
        }
        let piece = self.rebalances.on_sent(request_id, &request);
        let (frame, sent) = self
            .codec
            .encode(request_id, request, &link.versions)
            .expect("the configuration and the handle admit only what Kafka can carry");
        link.connection.send(frame);
        let at = Instant::now();
        let is_own = self.flights.on_sent(tickets, at, &piece);
        link.in_flight.push_back(InFlight { id: request_id, sent, at, queued_ms, lane, is_own });
    }

    /// The core hears of what was not sent, since the broker does not speak it.
    fn say_unspoken(&mut self) {
        for unspoken in std::mem::take(&mut self.unspoken) {
            self.feed(
                unspoken,
                |recorder, now, (_, request, api)| recorder.unspoken(now, *request, *api),
                |shell, now, (id, request, _)| shell.handle_unspoken(now, id, request),
            );
        }
    }

    fn deliver(&mut self, delivery: evenkeel_core::Delivery<Slice>) {
        self.leases.begin();
        let leased = |part: Part<Slice>| LeasedPart {
            lease: self.leases.of(&part.partition),
            records: PartitionRecords::new(part.partition, part.records),
            next_offset: part.next_offset,
            leader_epoch: part.leader_epoch,
        };
        let parts: Vec<_> = delivery.parts.into_iter().map(leased).collect();
        self.tell(Event::Deliver(Delivery { number: delivery.number, parts }));
    }

    fn assign(&mut self, assignment: &Assignment) {
        trace::assigned(&self.teller, &self.codec.group, &assignment.partitions);
        self.metrics.on_assigned(&assignment.partitions);
        let member = assignment.owner.map(|owner| -> (Arc<str>, Epoch) {
            (self.codec.members.name(owner.member).as_str().into(), owner.epoch)
        });
        let partitions = Arc::new(assignment.partitions.clone());
        let assigned = Assigned { partitions, member };
        if self.note.as_ref().is_some_and(|note| note.amend(&assigned)) {
            return;
        }
        let note = Note::new(assigned);
        self.tell(Event::Assigned(note.clone()));
        self.note = Some(note);
    }

    fn answer(&mut self, call: CallId, result: Result<Answer, CallFault>) {
        if let Ok(Answer::Left { .. }) = result {
            self.rebalances.on_left();
        }
        if let Some(Waiting { answer, .. }) = self.asked.remove(&call)
            && let Err(Err(fault)) = answer.send(result)
        {
            trace::unheard(&self.teller, fault);
        }
    }

    /// Tells the consumer, which may have been dropped.
    fn tell(&mut self, event: Event) {
        self.note = None;
        let _ = self.events.send(self.metrics.queued(Queue::Background, event));
    }
}
