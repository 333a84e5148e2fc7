//! Whether one explanation takes one event, and what becomes of it.
//!
//! An event is either an input, which is fed to the machines once everything that they must be seen
//! to do has been seen, or something that they must have ordered.

use super::Refused;
use super::member::{Asked, Due, End, Member, Waiting};
use super::run::{Answer, Event, Kind, Waited};
use super::wire::{About, Wire};
use evenkeel_core::Incarnation;
use evenkeel_core::commit::Offsets;
use evenkeel_core::disposition::data_path::{Action, data_path};
use evenkeel_core::group::{CommitId, Group};
use evenkeel_spec::words::{
    Committed, Epoch, ErrorCode, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, LeaderEpoch, NodeId,
    Offset, OffsetsCommitted, Owner, Partitions, Pattern, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What becomes of an explanation: several where something cannot be seen, none never.
type Next = Result<Vec<Member>, Refused>;

impl Member {
    /// The explanations that this one leads to by `event`.
    pub(super) fn on(&self, event: &Event, about: &About, wire: &Wire) -> Next {
        let mut next = self.clone();
        match event {
            Event::Subscribe { .. }
            | Event::Unsubscribe { .. }
            | Event::Poll { .. }
            | Event::PollEnded
            | Event::CallbackEnded { .. }
            | Event::Commit { .. }
            | Event::Seek { .. }
            | Event::Close { .. }
            | Event::Drop
            | Event::Abandon { .. } => {
                next.rest()?;
                return next.on_application(event, about, wire);
            }
            Event::Ended { .. }
            | Event::Throttled { .. }
            | Event::Metadata { .. }
            | Event::Coordinator { .. }
            | Event::HeartbeatAnswer { .. }
            | Event::OffsetCommitAnswer { .. }
            | Event::OffsetFetchAnswer { .. } => {
                next.rest()?;
                return next.on_network(event, about, wire);
            }
            Event::Waits { request } => next.on_waits(*request)?,
            Event::Unsent { request } => {
                next.rest()?;
                let incarnation = next.unqueue(*request).ok_or("no such request waits")?;
                next.tell(|group, out| group.on_lost(incarnation, out));
                next.carry_out(wire);
            }
            Event::Recalled => {
                let incarnation = next.unqueue(Waited::Commit).ok_or("no commit waits")?;
                next.tell(|group, out| group.on_commit_withdrawn(incarnation, out));
                next.carry_out(wire);
            }
            Event::Disconnect { closing, .. } => {
                if *closing {
                    let is_end = matches!(next.due.front(), Some(Due::Closed { .. }));
                    return if is_end { Ok(vec![next]) } else { Err("the consumer does not end") };
                }
                next.rest()?;
                return Ok(vec![next.lose(about, wire)]);
            }
            Event::Connect { .. } | Event::Ready { .. } | Event::OffsetFetch { .. } => {}
            Event::Lookup { request, .. } => next.on_lookup(*request, wire)?,
            Event::Heartbeat { .. } | Event::OffsetCommit { .. } => next.on_sent(event, about)?,
            Event::Records { number, parts, next: offsets } => {
                next.on_records(*number, parts, offsets, wire)?;
            }
            Event::PollFailed { fault, error } => next.on_poll_failed(*fault, *error, wire)?,
            Event::Answered { call, result: Answer::TimedOut, .. } => {
                next.rest()?;
                next.give_up(*call).ok_or("no such commit is open")?;
                next.carry_out(wire);
            }
            Event::Truncated { partition, to, leader_epoch } => {
                next.rest()?;
                let to = place(Some(*to), *leader_epoch).expect("it has an offset");
                next.on_truncated(partition, &to, wire);
            }
            Event::Callback { .. }
            | Event::Withdrawn { .. }
            | Event::Assignment { .. }
            | Event::Answered { .. }
            | Event::Lost { .. }
            | Event::Closed { .. } => next.on_told(event, about, wire)?,
        }
        Ok(vec![next])
    }

    pub(super) fn rest(&self) -> Result<(), Refused> {
        if self.end == End::Closed && self.due.is_empty() {
            return Err("nothing happens after the end");
        }
        if self.is_at_rest() { Ok(()) } else { Err("something else had to follow at once") }
    }

    fn on_application(mut self, event: &Event, about: &About, wire: &Wire) -> Next {
        let is_closing = self.end != End::Not;
        match event {
            Event::Subscribe { call, .. } | Event::Unsubscribe { call, .. } if is_closing => {
                self.due.push_back(Due::Answer(*call, Answer::Closed, None));
            }
            Event::Poll { .. } | Event::Close { .. } if is_closing => {}
            Event::Subscribe { call, topics, pattern, listens } => {
                let topics = Arc::new(topics.clone());
                match pattern {
                    Some(pattern) => {
                        let pattern = pattern.as_str().into();
                        self.tell(|group, out| group.on_subscribe_pattern(pattern, *listens, out));
                    }
                    None => self.tell(|group, out| group.on_subscribe(topics, *listens, out)),
                }
                self.due.push_back(Due::Answer(*call, Answer::Done, None));
            }
            Event::Unsubscribe { call, taken } => {
                let full = self.refusing(*call);
                self.calls.insert(*call, Waiting::Unsubscribe);
                let seen = self.take_of(*taken)?;
                self.tell(|group, out| group.on_unsubscribe(seen, out));
                self.carry_out(wire);
                return Ok(vec![self, full]);
            }
            Event::Poll { taken } => {
                let seen = self.take_of(*taken)?;
                self.tell(|group, out| group.on_poll(seen, out));
            }
            Event::PollEnded => self.tell(Group::on_poll_ended),
            Event::CallbackEnded { callback, ok } => {
                let ended = self.callback.take_if(|(number, _)| number == callback);
                match ended {
                    Some((_, incarnation)) => {
                        self.tell(|group, out| group.on_callback_done(incarnation, *ok, out));
                    }
                    None if about.is_open_callback => {}
                    None => return Err("no such callback is open"),
                }
            }
            Event::Commit { call, taken, offsets } => {
                return self.on_commit(*call, *taken, offsets.as_ref(), wire);
            }
            Event::Seek { call, partitions, to, leader_epoch } => {
                let to = place(*to, *leader_epoch);
                self.on_seek(*call, partitions, to.as_ref(), wire);
            }
            Event::Close { taken } => {
                let seen = self.take_of(*taken)?;
                self.end = End::Closing { orphaned: false };
                self.tell(|group, out| group.on_close(seen, out));
            }
            Event::Drop => self.on_drop(is_closing),
            Event::Abandon { call } => {
                self.give_up(*call);
            }
            other => unreachable!("{other:?} is none of the application's"),
        }
        self.carry_out(wire);
        Ok(vec![self])
    }

    fn on_drop(&mut self, is_closing: bool) {
        self.end = End::Closing { orphaned: true };
        if !is_closing {
            let taken = self.taken;
            self.take(taken);
            self.tell(|group, out| group.on_close(false, out));
        }
        self.end_callback();
    }

    fn take_of(&mut self, taken: u64) -> Result<bool, Refused> {
        if taken > self.delivered {
            return Err("more was taken than delivered");
        }
        Ok(self.take(taken))
    }

    /// The same with the call refused, since too many are open: that cannot be seen.
    fn refusing(&self, call: u64) -> Self {
        let mut full = self.clone();
        full.due.push_back(Due::Answer(call, Answer::QueueFull, None));
        full
    }

    fn on_commit(
        mut self,
        call: u64,
        taken: u64,
        offsets: Option<&BTreeMap<TopicPartition, Committed>>,
        wire: &Wire,
    ) -> Next {
        let seen = self.take_of(taken)?;
        let offsets = match offsets {
            Some(offsets) => {
                let by_id = offsets.iter().map(|(partition, committed)| {
                    Some((self.owned_by_name(partition, wire)?, committed.clone()))
                });
                let Some(offsets) = by_id.collect::<Option<Offsets>>() else {
                    let full = self.refusing(call);
                    self.calls.insert(call, Waiting::Commit(None));
                    self.end_commit(call, (Answer::NotAssigned, None));
                    return Ok(vec![self, full]);
                };
                Some(offsets)
            }
            None => None,
        };
        let full = self.refusing(call);
        self.calls.insert(call, Waiting::Commit(None));
        self.tell(|group, out| group.on_commit(commit_id(call), seen, offsets, out));
        self.carry_out(wire);
        Ok(vec![self, full])
    }

    fn on_seek(
        &mut self,
        call: u64,
        partitions: &BTreeSet<TopicPartition>,
        to: Option<&Committed>,
        wire: &Wire,
    ) {
        let ids = partitions.iter().map(|partition| self.owned_by_name(partition, wire));
        let Some(ids) = ids.collect::<Option<Partitions>>() else {
            self.due.push_back(Due::Answer(call, Answer::NotAssigned, None));
            return;
        };
        self.withdraw(&ids);
        for id in ids {
            self.group.on_sought(id, to);
        }
        self.due.push_back(Due::Answer(call, Answer::Done, None));
    }

    /// P8: a log lost what was returned of it.
    fn on_truncated(&mut self, partition: &TopicPartition, to: &Committed, wire: &Wire) {
        let Some(id) = self.owned_by_name(partition, wire) else { return };
        self.group.on_truncated(id, to);
    }

    /// The newest topic of that name first: one that was created anew has another id.
    fn owned_by_name(
        &self,
        partition: &TopicPartition,
        wire: &Wire,
    ) -> Option<evenkeel_spec::words::TopicIdPartition> {
        let is_it =
            |id: &&_| wire.by_name([*id]).is_some_and(|name: BTreeSet<_>| name.contains(partition));
        self.owned.iter().find(is_it).copied()
    }

    /// Nobody waits for this call any more. None: it is no open commit.
    fn give_up(&mut self, call: u64) -> Option<()> {
        if let Waiting::Commit(held) = self.calls.remove(&call)? {
            if held.is_none() {
                self.tell(|group, out| group.on_commit_abandoned(commit_id(call), out));
            }
            self.answer_commits();
        }
        Some(())
    }

    fn on_network(mut self, event: &Event, about: &About, wire: &Wire) -> Next {
        match event {
            Event::Throttled { .. } => {}
            Event::Ended { .. } => return Ok(vec![self.lose(about, wire)]),
            Event::Metadata { .. } => {
                let resolved = wire.resolved();
                self.tell(|group, out| group.on_topics_resolved(&resolved, out));
            }
            Event::Coordinator { request, node, error } => {
                let found = answer(node.map(NodeId), *error)?;
                let incarnation = self.answered(*request)?;
                self.tell(|group, out| group.on_coordinator(incarnation, found, out));
            }
            Event::HeartbeatAnswer { request, epoch, interval_ms, assignment, error } => {
                let accepted = interval_ms.map(|heartbeat_interval_ms| HeartbeatAnswer {
                    epoch: epoch.map(Epoch),
                    heartbeat_interval_ms,
                    assignment: assignment.clone(),
                });
                let answer = answer(accepted, *error)?;
                let incarnation = self.answered(*request)?;
                self.tell(|group, out| group.on_heartbeat_answer(incarnation, answer, out));
            }
            Event::OffsetCommitAnswer { request, results, error } => {
                let results = results.as_ref().map(|results| {
                    let result = |code: i16| ErrorCode::from_number(code).map_or(Ok(()), Err);
                    results.iter().map(|(p, code)| (*p, result(*code))).collect()
                });
                let answer: OffsetsCommitted = answer(results, *error)?;
                let incarnation = self.answered(*request)?;
                self.tell(|group, out| group.on_commit_answer(incarnation, answer, out));
            }
            Event::OffsetFetchAnswer { errors, .. } => {
                let moved = |code: &i16| {
                    ErrorCode::from_number(*code)
                        .is_some_and(|c| data_path(c).offset_fetch == Action::FindCoordinator)
                };
                if errors.iter().any(moved) {
                    // Whether the position still waited for it cannot be seen.
                    let unmoved = self.clone();
                    self.tell(Group::on_not_coordinator);
                    self.carry_out(wire);
                    return Ok(vec![self, unmoved]);
                }
            }
            other => unreachable!("{other:?} is none of the network's"),
        }
        self.carry_out(wire);
        Ok(vec![self])
    }

    fn answered(&mut self, request: u32) -> Result<evenkeel_core::Incarnation, Refused> {
        self.flights.remove(&request).ok_or("no such request is to be answered")
    }

    /// A connection ended: what was on it is lost, in order.
    fn lose(mut self, about: &About, wire: &Wire) -> Self {
        for request in &about.lost {
            if let Some(incarnation) = self.flights.remove(request) {
                self.tell(|group, out| group.on_lost(incarnation, out));
            }
        }
        self.carry_out(wire);
        self
    }

    /// What is due is not seen at once: it waits for its connection.
    fn on_waits(&mut self, what: Waited) -> Result<(), Refused> {
        match self.due.pop_front() {
            Some(Due::Send(to, incarnation, asked)) if asked.is(what) => {
                self.queue.push_back((to, incarnation, asked));
                Ok(())
            }
            _ => Err("no such request is due"),
        }
    }

    /// The oldest such request that waits for a connection.
    fn unqueue(&mut self, what: Waited) -> Option<Incarnation> {
        let place = self.queue.iter().position(|(_, _, asked)| asked.is(what))?;
        self.queue.remove(place).map(|(_, incarnation, _)| incarnation)
    }

    /// A request of the group that waited, or else the one that is due.
    fn take_sendable(&mut self, what: Waited) -> Option<(NodeId, Incarnation, Asked)> {
        if let Some(place) = self.queue.iter().position(|(_, _, asked)| asked.is(what)) {
            return self.queue.remove(place);
        }
        match self.due.pop_front() {
            Some(Due::Send(to, incarnation, asked)) => Some((to, incarnation, asked)),
            _ => None,
        }
    }

    /// Who looks positions up needs the coordinator too, which cannot be seen before.
    fn on_lookup(&mut self, request: u32, wire: &Wire) -> Result<(), Refused> {
        if self.lookup.is_none() {
            self.rest()?;
            self.tell(Group::on_coordinator_wanted);
            self.carry_out(wire);
        }
        let incarnation = self.lookup.take().ok_or("nobody needs the coordinator")?;
        self.flights.insert(request, incarnation);
        Ok(())
    }

    /// A request of the group goes out: one that waited, or the next one that is due.
    fn on_sent(&mut self, event: &Event, about: &About) -> Result<(), Refused> {
        let node = about.connection.coordinator.ok_or("no coordinator is there")?;
        let what = match event {
            Event::Heartbeat { .. } => Waited::Heartbeat,
            _ => Waited::Commit,
        };
        let (to, incarnation, asked) = self.take_sendable(what).ok_or("no request is due")?;
        if to != node {
            return Err("the request goes to another coordinator");
        }
        let request = match (&asked, event) {
            (Asked::Heartbeat(heartbeat), Event::Heartbeat { request, .. }) => {
                self.compare_heartbeat(heartbeat, event, about)?;
                *request
            }
            (Asked::Commit(commit), Event::OffsetCommit { request, epoch, offsets, .. }) => {
                self.compare_owner(commit.owner, about.member, *epoch)?;
                if commit.offsets != *offsets {
                    return Err("the commit carries other offsets");
                }
                *request
            }
            _ => return Err("another request is due"),
        };
        self.flights.insert(request, incarnation);
        Ok(())
    }

    fn compare_heartbeat(
        &mut self,
        said: &Heartbeat,
        event: &Event,
        about: &About,
    ) -> Result<(), Refused> {
        let Event::Heartbeat {
            kind,
            epoch,
            rebalance_timeout_ms,
            topics,
            pattern,
            assignor,
            owned,
            ..
        } = event
        else {
            return Err("another request is due");
        };
        let expected = match said.epoch {
            HeartbeatEpoch::Join => (Kind::Join, None),
            HeartbeatEpoch::Stay(epoch) => (Kind::Stay, Some(epoch.0)),
            HeartbeatEpoch::Leave => (Kind::Leave, None),
        };
        if (*kind, *epoch) != expected {
            return Err("the heartbeat says another epoch");
        }
        let said_pattern = said.pattern.as_ref().map(|pattern| match pattern {
            Pattern::Matching(pattern) => pattern,
            Pattern::Ended => "",
        });
        let is_subscription =
            said.subscription.as_deref() == topics.as_ref() && said_pattern == pattern.as_deref();
        let is_assignor = said.assignor == assignor.as_deref().map(super::member::assignor);
        if said.rebalance_timeout_ms != *rebalance_timeout_ms || !is_subscription || !is_assignor {
            return Err("the heartbeat says other terms");
        }
        if said.owned != *owned {
            return Err("the heartbeat says to own something else");
        }
        match about.member {
            Some(name) if self.has_name(said.member.0, name) => Ok(()),
            _ => Err("the heartbeat is another member's"),
        }
    }

    pub(super) fn compare_owner(
        &mut self,
        owner: Option<Owner>,
        member: Option<usize>,
        epoch: Option<u32>,
    ) -> Result<(), Refused> {
        let holds = match (owner, member) {
            (Some(owner), Some(name)) => {
                epoch == Some(owner.epoch.0) && self.has_name(owner.member.0, name)
            }
            (None, None) => epoch.is_none(),
            _ => false,
        };
        if holds { Ok(()) } else { Err("in another member's name, or at another epoch") }
    }
}

/// Either an answer or an error, as it is written.
fn answer<T>(accepted: Option<T>, error: Option<i16>) -> Result<Result<T, ErrorCode>, Refused> {
    match (accepted, error.and_then(ErrorCode::from_number)) {
        (Some(accepted), None) => Ok(Ok(accepted)),
        (None, Some(code)) => Ok(Err(code)),
        _ => Err("neither an answer nor an error"),
    }
}

/// A place in a log, as it is written.
fn place(offset: Option<u64>, leader_epoch: Option<u32>) -> Option<Committed> {
    let at = |offset| Committed {
        leader_epoch: leader_epoch.map(LeaderEpoch),
        ..Committed::at(Offset(offset))
    };
    offset.map(at)
}

/// The handle numbers its calls from 0; a consumer that makes four billion is not validated.
fn commit_id(call: u64) -> CommitId {
    CommitId(u32::try_from(call).unwrap_or(u32::MAX))
}
