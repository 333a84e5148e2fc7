//! Brings a broker's answer, or the news that there will be none, to whoever asked.

use super::accounts::Place;
use super::peers::Orders;
use super::timers::Alarm;
use super::{Purpose, Shell};
use crate::connection::ConnectionTimer;
use crate::disposition::data_path::{Action, data_path};
use crate::disposition::{self, Verdict};
use crate::request::desk::{Asker, Peer};
use crate::request::ledger::{End, Ticket};
use crate::request::{Answered, OffsetsFetched, Response, Unsupported};
use crate::{Cause, Chunk, ConnectionId, Incarnation, Misbehaved, PollFault, RequestId};
use evenkeel_spec::words::{Committed, ErrorCode, NodeId, TopicIdPartition};
use std::collections::BTreeMap;

impl<C: Chunk> Shell<C> {
    pub(super) fn on_response(
        &mut self,
        peer: Peer,
        connection: ConnectionId,
        request_id: RequestId,
        answer: Result<Answered<C>, Misbehaved>,
    ) {
        let Answered { response, throttle_ms } = match answer {
            Ok(answered) => answered,
            Err(misbehaved) => return self.give_up(peer, Cause::Misbehaved(misbehaved)),
        };
        let mut orders = Orders::new();
        let desk = &mut self.peers.desk;
        let answered = desk.on_answer(peer, connection, request_id, &mut orders);
        self.carry_out(orders);
        if answered.is_ok() {
            self.throttle(peer, throttle_ms);
        }
        match (answered, response) {
            (Err(misbehaved), _) => self.give_up(peer, Cause::Misbehaved(misbehaved)),
            (Ok(None), Response::ApiVersions(Ok(()))) => self.on_shaken(peer),
            (Ok(None), Response::ApiVersions(Err(unsupported))) => {
                self.on_unsupported(peer, unsupported);
            }
            (Ok(None), _) => self.give_up(peer, Cause::Misbehaved(Misbehaved::WrongKind)),
            (Ok(Some(askers)), response) => {
                if !self.on_answers(askers, response) {
                    return self.give_up(peer, Cause::Misbehaved(Misbehaved::WrongKind));
                }
                self.on_contact();
            }
        }
        self.adopt_bootstrap();
        // It may be another's by now.
        let Some(peer) = self.peers.of(connection) else { return };
        let mut orders = Orders::new();
        self.peers.desk.on_room(peer, &mut orders);
        self.carry_out(orders);
    }

    /// A broker does not speak what it was to be asked: only who can do without it asks for that.
    pub(super) fn on_unspoken(&mut self, peer: Peer, request_id: RequestId) {
        let mut orders = Orders::new();
        let askers = self.peers.desk.on_unspoken(peer, request_id, &mut orders);
        self.carry_out(orders);
        for Asker { ticket, purpose } in askers {
            self.accounts.unspoken(ticket);
            match purpose {
                Purpose::Group(call, _) => {
                    self.on_group(call, Err(ErrorCode::UnsupportedVersion));
                }
                Purpose::Validated(asked) => {
                    self.end_ticket(ticket, End::Refused);
                    let mut orders = Vec::new();
                    for (id, incarnation) in asked {
                        self.positions.on_unspoken(id, incarnation, &mut orders);
                    }
                    self.on_position_orders(orders);
                }
                purpose => unreachable!("the handshake has made sure of {purpose:?}"),
            }
        }
        let mut orders = Orders::new();
        self.peers.desk.on_room(peer, &mut orders);
        self.carry_out(orders);
    }

    /// Brings one answer to all who asked; says whether it is of the kind that they asked for.
    fn on_answers(&mut self, askers: Vec<Asker<Purpose>>, response: Response<C>) -> bool {
        let error = response.error();
        let (riders, mut askers): (Vec<_>, Vec<_>) =
            askers.into_iter().partition(|asker| matches!(asker.purpose, Purpose::Rider));
        for rider in &riders {
            // What is not over with this answer waits for its next attempt.
            self.accounts.place(rider.ticket, Place::Backoff, self.now);
            if let Some(error) = error {
                self.accounts.refused(rider.ticket, error);
            }
        }
        let mut is_right = true;
        let Some(last) = askers.pop() else { return true };
        let shares: Vec<_> = askers.iter().map_while(|_| response.shared()).collect();
        let mut answers: Vec<_> = askers.into_iter().zip(shares).collect();
        answers.push((last, response));
        for (Asker { ticket, purpose }, response) in answers {
            if let Some(error) = error {
                self.accounts.refused(ticket, error);
            }
            let end = if error.is_some() { End::Refused } else { End::Completed };
            if let Ticket::Own(_) = ticket {
                self.end_ticket(ticket, end);
            }
            if let Err(purpose) = self.on_answer(purpose, response) {
                self.on_lost(purpose);
                is_right = false;
            }
        }
        is_right
    }

    /// A broker that throttles for longer than a request may take is asked again then: it reads
    /// when it likes (KIP-219), and nothing waits for ever on its word.
    fn throttle(&mut self, peer: Peer, ms: u32) {
        if ms == 0 {
            return;
        }
        let mut orders = Orders::new();
        if self.peers.desk.on_throttled(peer, &mut orders) {
            let ms = u64::from(ms).min(self.config.request_timeout_ms);
            self.arm(Alarm::Connection(peer, ConnectionTimer::Throttle), ms);
        }
        self.carry_out(orders);
    }

    /// A broker has answered. That it told the API versions is not enough: one that wants SASL does
    /// that, and hangs up at the next request (`SaslServerAuthenticator`, Kafka 4.3.1).
    fn on_contact(&mut self) {
        if !self.peers.is_contacted() {
            self.peers.on_contact();
            self.timers.disarm(Alarm::Contact);
            self.application.faults.retain(|fault| !matches!(fault, PollFault::NoBroker(_)));
        }
    }

    fn on_shaken(&mut self, peer: Peer) {
        let mut orders = Orders::new();
        self.peers.desk.on_shaken(peer, &mut orders);
        self.carry_out(orders);
    }

    fn on_unsupported(&mut self, peer: Peer, unsupported: Unsupported) {
        let address = self.peers.address(peer).clone();
        self.tell(PollFault::Unsupported { address, unsupported: unsupported.clone() });
        self.give_up(peer, Cause::Unsupported(unsupported));
    }

    fn give_up(&mut self, peer: Peer, cause: Cause) {
        let mut orders = Orders::new();
        self.peers.desk.on_failed(peer, cause.clone(), &mut orders);
        self.on_connection_failed(peer, cause);
        self.carry_out(orders);
    }

    /// Gives the purpose back if the answer is not of its kind.
    fn on_answer(&mut self, purpose: Purpose, response: Response<C>) -> Result<(), Purpose> {
        match (purpose, response) {
            (Purpose::Metadata, Response::Metadata(answer)) => {
                let mut orders = Vec::new();
                self.metadata.on_answer(answer, &mut orders);
                self.rebootstrapping = false;
                self.timers.disarm(Alarm::Rebootstrap);
                self.on_metadata_orders(orders);
            }
            (Purpose::Lookup(incarnation), Response::FindCoordinator(answer)) => {
                if let Err(code) = answer
                    && disposition::find_coordinator(code) == Verdict::Fatal
                {
                    self.refuse_committed(code);
                }
                let found = answer.map(|coordinator| {
                    self.metadata.on_broker(coordinator.node, coordinator.address);
                    coordinator.node
                });
                self.with_group(|group, out| group.on_coordinator(incarnation, found, out));
            }
            (Purpose::Heartbeat(incarnation), Response::Heartbeat(answer)) => {
                self.with_group(|group, out| group.on_heartbeat_answer(incarnation, answer, out));
            }
            (Purpose::Commit(incarnation), Response::OffsetCommit(answer)) => {
                self.with_group(|group, out| group.on_commit_answer(incarnation, answer, out));
            }
            (Purpose::Positions(_, asked), Response::OffsetFetch(answer)) => {
                self.on_positions(asked, answer);
            }
            (Purpose::Committed(call, _, asked), Response::OffsetFetch(answer)) => {
                self.on_committed(call, &asked, answer);
            }
            (Purpose::Offsets(call, asked), Response::ListOffsets(answer)) => {
                self.on_offsets(call, &asked, answer);
            }
            (Purpose::Topics(call), Response::Topics(answer)) => self.on_topics(call, answer),
            (Purpose::Group(call, _), Response::Group(answer)) => self.on_group(call, answer),
            (Purpose::Listed(asked), Response::ListOffsets(mut answer)) => {
                let mut orders = Vec::new();
                for (id, incarnation) in asked {
                    match answer.remove(&id) {
                        Some(answer) => {
                            self.positions.on_listed(id, incarnation, answer, &mut orders);
                        }
                        None => self.positions.on_lost(id, incarnation, &mut orders),
                    }
                }
                self.on_position_orders(orders);
            }
            (Purpose::Validated(asked), Response::OffsetForLeaderEpoch(mut answer)) => {
                let mut orders = Vec::new();
                for (id, incarnation) in asked {
                    match answer.remove(&id) {
                        Some(answer) => {
                            self.positions.on_epoch_end(id, incarnation, answer, &mut orders);
                        }
                        None => self.positions.on_lost(id, incarnation, &mut orders),
                    }
                }
                self.on_position_orders(orders);
            }
            (Purpose::Fetch(node), Response::Fetch(answer)) => {
                let mut orders = Vec::new();
                self.fetcher.on_answer(node, answer, &mut orders);
                self.on_fetch_orders(orders);
            }
            (purpose, _) => return Err(purpose),
        }
        Ok(())
    }

    fn on_positions(
        &mut self,
        asked: BTreeMap<TopicIdPartition, Incarnation>,
        answer: OffsetsFetched,
    ) {
        self.positions_asked = false;
        let (mut answer, whole) = split(answer);
        let whole = whole.filter(|code| !self.is_group_refused(*code));
        let mut orders = Vec::new();
        for (id, incarnation) in asked {
            match answer.remove(&id).or(whole.map(Err)) {
                Some(answer) => self.positions.on_committed(id, incarnation, answer, &mut orders),
                None => self.positions.on_lost(id, incarnation, &mut orders),
            }
        }
        self.on_position_orders(orders);
    }

    /// The whole group's offsets are refused: said once, not once a partition.
    fn is_group_refused(&mut self, code: ErrorCode) -> bool {
        let is_refused = data_path(code).offset_fetch == Action::Tell;
        if is_refused {
            self.tell(PollFault::GroupRefused(code));
        }
        is_refused
    }

    /// It cannot be reached, or not now: nobody believes in it any more (L3).
    fn on_coordinator_lost(&mut self, coordinator: NodeId) {
        if self.group.coordinator() == Some(coordinator) {
            self.with_group(crate::group::Group::on_not_coordinator);
        }
    }

    /// Nobody will answer.
    pub(super) fn on_lost(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Metadata => {
                let mut orders = Vec::new();
                self.metadata.on_lost(&mut orders);
                self.on_metadata_orders(orders);
            }
            Purpose::Lookup(incarnation)
            | Purpose::Heartbeat(incarnation)
            | Purpose::Commit(incarnation) => {
                self.with_group(|group, out| group.on_lost(incarnation, out));
            }
            Purpose::Positions(coordinator, asked) => {
                self.positions_asked = false;
                self.on_coordinator_lost(coordinator);
                let mut orders = Vec::new();
                for (id, incarnation) in asked {
                    self.positions.on_lost(id, incarnation, &mut orders);
                }
                self.on_position_orders(orders);
            }
            Purpose::Committed(call, coordinator, asked) => {
                self.on_coordinator_lost(coordinator);
                self.on_inquiry_lost(call, asked.values());
            }
            Purpose::Group(call, coordinator) => {
                self.on_coordinator_lost(coordinator);
                self.on_inquiry_lost(call, [].into_iter());
            }
            Purpose::Offsets(call, asked) => self.on_inquiry_lost(call, asked.values()),
            Purpose::Topics(call) => self.on_inquiry_lost(call, [].into_iter()),
            Purpose::Listed(asked) | Purpose::Validated(asked) => {
                let mut orders = Vec::new();
                for (id, incarnation) in asked {
                    self.positions.on_lost(id, incarnation, &mut orders);
                }
                self.on_position_orders(orders);
            }
            Purpose::Fetch(node) => self.fetcher.on_lost(node),
            // The group answers it.
            Purpose::Rider => {}
        }
    }
}

type ByPartition = BTreeMap<TopicIdPartition, Result<Option<Committed>, ErrorCode>>;

pub(super) fn split(answer: OffsetsFetched) -> (ByPartition, Option<ErrorCode>) {
    match answer {
        Ok(answer) => (answer, None),
        Err(code) => (BTreeMap::new(), Some(code)),
    }
}
