//! What the application asks for, and the answers to its calls.

use super::timers::Alarm;
use super::{End, Following, Shell};
use crate::call::{Call, Inquiry, Parts, Question};
use crate::group::CommitError;
use crate::request::Kind;
use crate::request::ledger::{End as Over, Ticket};
use crate::request::queue::Lane;
use crate::{Answer, CallFault, CallId, Chunk, Command, Lifecycle, Output, PollFault, SeekTo};
use evenkeel_spec::words::{Committed, Partitions, TopicIdPartition, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl<C: Chunk> Shell<C> {
    pub(super) fn on_command(&mut self, command: Command) {
        if self.end != End::Not && self.is_refused_at_end(&command) {
            return;
        }
        if let (
            Command::Subscribe { call, .. }
            | Command::SubscribePattern { call, .. }
            | Command::Commit { call, .. }
            | Command::Committed { call, .. }
            | Command::DescribeGroup { call, .. },
            false,
        ) = (&command, self.config.has_group)
        {
            return self.done(*call, Err(CallFault::NoGroupId));
        }
        match command {
            Command::Subscribe { call, .. } | Command::SubscribePattern { call, .. }
                if self.application.following == Following::Assignment =>
            {
                self.done(call, Err(CallFault::Exclusive));
            }
            Command::Subscribe { call, topics, listener } => {
                self.application.following = Following::Subscription;
                self.metadata.on_subscribed(topics.clone());
                let topics = Arc::new(topics);
                self.with_group(|group, out| group.on_subscribe(topics, listener, out));
                self.done(call, Ok(Answer::Done));
            }
            Command::SubscribePattern { call, pattern, listener } => {
                self.application.following = Following::Subscription;
                self.metadata.on_subscribed_pattern();
                self.with_group(|group, out| group.on_subscribe_pattern(pattern, listener, out));
                self.done(call, Ok(Answer::Done));
            }
            Command::Assign { call, taken, partitions } => self.assign(call, taken, partitions),
            Command::Unsubscribe { call, taken } => self.unsubscribe(call, taken),
            Command::Poll { taken } => self.poll(taken),
            Command::PollEnded => self.with_group(crate::group::Group::on_poll_ended),
            Command::CallbackDone { incarnation, ok } => {
                self.with_group(|group, out| group.on_callback_done(incarnation, ok, out));
            }
            Command::Commit { call, taken, offsets, timeout_ms } => {
                self.commit(call, taken, offsets, timeout_ms);
            }
            Command::Position { call, partition, timeout_ms } => {
                self.read_assigned();
                self.open_call(call, Call::Position(partition), timeout_ms);
            }
            Command::Committed { call, partitions, timeout_ms } => {
                self.inquire(call, Inquiry::committed(partitions), timeout_ms);
            }
            Command::Offsets { call, wanted, timeout_ms } => {
                let question = Question::Offsets(Parts::new(wanted));
                self.inquire(call, Inquiry::new(question), timeout_ms);
            }
            Command::Topics { call, topic, timeout_ms } => {
                let question = Question::Topics { topic, is_asked: false };
                self.inquire(call, Inquiry::new(question), timeout_ms);
            }
            Command::DescribeGroup { call, timeout_ms } => {
                let question = Question::Group { is_asked: false };
                self.inquire(call, Inquiry::new(question), timeout_ms);
            }
            Command::Lag { call, partition } => self.lag(call, partition),
            Command::Seek { call, partitions, to } => self.seek(call, &partitions, to),
            Command::Pause { call, partitions } => self.pause(call, &partitions, true),
            Command::Resume { call, partitions } => self.pause(call, &partitions, false),
            Command::Close { taken, timeout_ms } => self.close(taken, timeout_ms, false),
            Command::Abandon { call } => self.abandon(call),
            Command::Dropped => {
                let taken = self.application.taken;
                self.close(taken, self.config.default_api_timeout_ms, true);
            }
        }
    }

    /// What a closing consumer does not do any more; what callbacks need goes on. The first close
    /// counts; a handle that is dropped during it leaves nobody to run callbacks.
    fn is_refused_at_end(&mut self, command: &Command) -> bool {
        match command {
            Command::Subscribe { call, .. }
            | Command::SubscribePattern { call, .. }
            | Command::Assign { call, .. }
            | Command::Unsubscribe { call, .. } => {
                self.done(*call, Err(CallFault::Closed));
                true
            }
            Command::Dropped => {
                self.end = End::Closing { orphaned: true };
                self.end_callback();
                true
            }
            Command::Poll { .. } | Command::Close { .. } => true,
            Command::PollEnded
            | Command::CallbackDone { .. }
            | Command::Commit { .. }
            | Command::Position { .. }
            | Command::Committed { .. }
            | Command::Offsets { .. }
            | Command::Topics { .. }
            | Command::DescribeGroup { .. }
            | Command::Lag { .. }
            | Command::Seek { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Abandon { .. } => false,
        }
    }

    /// Answers a call that came after the end.
    pub(super) fn on_command_after_end(&mut self, command: &Command) {
        match command {
            Command::Subscribe { call, .. }
            | Command::SubscribePattern { call, .. }
            | Command::Assign { call, .. }
            | Command::Unsubscribe { call, .. }
            | Command::Commit { call, .. }
            | Command::Position { call, .. }
            | Command::Committed { call, .. }
            | Command::Offsets { call, .. }
            | Command::Topics { call, .. }
            | Command::DescribeGroup { call, .. }
            | Command::Lag { call, .. }
            | Command::Seek { call, .. }
            | Command::Pause { call, .. }
            | Command::Resume { call, .. } => self.done(*call, Err(CallFault::Closed)),
            Command::Poll { .. }
            | Command::PollEnded
            | Command::CallbackDone { .. }
            | Command::Close { .. }
            | Command::Abandon { .. }
            | Command::Dropped => {}
        }
    }

    fn unsubscribe(&mut self, call: CallId, taken: u64) {
        self.application.following = Following::Nothing;
        self.forget_assignment();
        self.leave_timeout_ms = self.config.default_api_timeout_ms;
        self.calls.open(call, Call::Unsubscribe);
        self.open_ticket(call, Kind::Unsubscribe);
        let seen = self.on_taken(taken);
        self.metadata.on_subscribed(BTreeSet::new());
        self.with_group(|group, out| group.on_unsubscribe(seen, out));
    }

    fn poll(&mut self, taken: u64) {
        self.application.told_stuck = false;
        self.read_assigned();
        if self.application.following == Following::Nothing {
            self.tell(PollFault::NotSubscribed);
        }
        let seen = self.on_taken(taken);
        self.with_group(|group, out| group.on_poll(seen, out));
    }

    /// Says whether the application has everything that it was given.
    pub(super) fn on_taken(&mut self, taken: u64) -> bool {
        let application = &mut self.application;
        assert!(taken <= application.delivered, "only what was delivered is taken");
        application.taken = application.taken.max(taken);
        application.taken == application.delivered
    }

    fn commit(
        &mut self,
        call: CallId,
        taken: u64,
        offsets: Option<BTreeMap<TopicPartition, Committed>>,
        timeout_ms: u64,
    ) {
        let seen = self.on_taken(taken);
        let id = self.calls.commit_id();
        if !self.open_call(call, Call::Commit { id, held: None }, timeout_ms) {
            return;
        }
        let offsets = match offsets {
            Some(offsets) => match self.offsets_by_id(&offsets) {
                Ok(offsets) => Some(offsets),
                Err(partition) => return self.await_topic(call, partition, offsets),
            },
            None => None,
        };
        self.with_group(|group, out| group.on_commit(id, seen, offsets, out));
    }

    pub(super) fn offsets_by_id(
        &self,
        offsets: &BTreeMap<TopicPartition, Committed>,
    ) -> Result<BTreeMap<TopicIdPartition, Committed>, TopicPartition> {
        let by_id = |(partition, committed): (&TopicPartition, &Committed)| {
            let id = self.owned_by_name(partition);
            id.map(|id| (id, committed.clone())).ok_or_else(|| partition.clone())
        };
        offsets.iter().map(by_id).collect()
    }

    fn seek(&mut self, call: CallId, partitions: &BTreeSet<TopicPartition>, to: SeekTo) {
        let is_mine = |p: &&TopicPartition| self.owned_by_name(p).is_some() || self.is_wished(p);
        if let Some(stranger) = partitions.iter().find(|partition| !is_mine(partition)) {
            self.done(call, Err(CallFault::NotAssigned(stranger.clone())));
            return;
        }
        let owned = partitions.iter().filter_map(|partition| self.owned_by_name(partition));
        self.move_to(&owned.collect(), to);
        for partition in partitions {
            if self.owned_by_name(partition).is_none() {
                self.wish_seek(partition, to);
            }
        }
        self.done(call, Ok(Answer::Done));
    }

    /// Moves the positions of owned partitions.
    pub(super) fn move_to(&mut self, ids: &Partitions, to: SeekTo) {
        if ids.is_empty() {
            return;
        }
        self.end_leases(ids);
        for id in ids {
            self.move_one_to(*id, to);
        }
    }

    fn move_one_to(&mut self, id: TopicIdPartition, to: SeekTo) {
        self.stop_fetching(id);
        let place = match to {
            SeekTo::Offset(offset) => Some(Committed::at(offset)),
            SeekTo::OffsetAndEpoch(offset, epoch) => {
                Some(Committed { leader_epoch: Some(epoch), ..Committed::at(offset) })
            }
            SeekTo::Beginning | SeekTo::End => None,
        };
        // It replaces what was returned of the partition (O2).
        self.group.on_sought(id, place.as_ref());
        let mut orders = Vec::new();
        self.positions.on_seek(id, to, &mut orders);
        self.on_position_orders(orders);
    }

    fn lag(&mut self, call: CallId, partition: TopicPartition) {
        let answer = match self.owned_by_name(&partition) {
            Some(id) => Ok(Answer::Lag(self.fetcher.lag(id))),
            None if self.is_awaited(&partition) => Ok(Answer::Lag(None)),
            None => Err(CallFault::NotAssigned(partition)),
        };
        self.done(call, answer);
    }

    fn pause(&mut self, call: CallId, partitions: &BTreeSet<TopicPartition>, paused: bool) {
        let mut ids = Vec::new();
        for partition in partitions {
            match self.owned_by_name(partition) {
                Some(id) => ids.push(id),
                None if self.is_awaited(partition) => {}
                None => return self.done(call, Err(CallFault::NotAssigned(partition.clone()))),
            }
        }
        for id in ids {
            self.positions.on_paused(id, paused);
        }
        for partition in partitions {
            self.wish_paused(partition, paused);
        }
        self.done(call, Ok(Answer::Done));
    }

    fn close(&mut self, taken: u64, timeout_ms: u64, orphaned: bool) {
        let seen = self.on_taken(taken) && !orphaned;
        self.end = End::Closing { orphaned };
        self.lifecycle.step(Lifecycle::Closing);
        self.discarded_bytes = self.fetcher.buffered_bytes();
        self.leave_timeout_ms = timeout_ms;
        self.with_group(|group, out| group.on_close(seen, out));
        if orphaned {
            self.end_callback();
        }
    }

    /// Nobody runs the open callback any more: it counts as returned.
    fn end_callback(&mut self) {
        if let Some((incarnation, _)) = self.group.open_callback() {
            self.with_group(|group, out| group.on_callback_done(incarnation, true, out));
        }
    }

    /// An owned partition by name: also one of a topic that was deleted or created anew since.
    pub(super) fn owned_by_name(&self, partition: &TopicPartition) -> Option<TopicIdPartition> {
        let newest = self.metadata.id(&partition.topic);
        let newest = newest.map(|topic| TopicIdPartition::new(topic, partition.partition));
        newest.filter(|id| self.owned.contains(id)).or_else(|| {
            let mut owned = self.owned.iter();
            owned.find(|id| self.metadata.by_name(**id) == *partition).copied()
        })
    }

    /// Says whether the call was taken.
    fn open_call(&mut self, id: CallId, call: Call, timeout_ms: u64) -> bool {
        let kind = call.kind();
        // A listener's call needs no place: the rebalance waits for it.
        if self.group.open_callback().is_some() {
            self.open_ticket(id, kind);
        } else if self.peers.desk.open_call(id, kind) {
            self.accounts.open(Ticket::Call(id), (Lane::User, kind), self.now);
        } else {
            self.done(id, Err(CallFault::QueueFull));
            return false;
        }
        self.calls.open(id, call);
        self.accounts.due(Ticket::Call(id), self.now.after(timeout_ms));
        self.arm(Alarm::Deadline(id), timeout_ms);
        true
    }

    /// A topic that did not exist before this call may exist now.
    fn inquire(&mut self, id: CallId, inquiry: Inquiry, timeout_ms: u64) {
        if self.open_call(id, Call::Inquiry(inquiry), timeout_ms) {
            self.metadata.on_asked(self.calls.topics());
        }
    }

    /// A call that needs no place in the bounded lane.
    fn open_ticket(&mut self, call: CallId, kind: Kind) {
        self.peers.desk.open_unbounded(call, kind);
        self.accounts.open(Ticket::Call(call), (Lane::System, kind), self.now);
    }

    fn abandon(&mut self, id: CallId) {
        let is_sent = self.peers.desk.is_in_flight(Ticket::Call(id));
        if let Some(call) = self.take_call(id, Over::CallerGone) {
            self.abandon_commit(id, &call, is_sent);
        }
    }

    /// What was not sent is not sent for it any more; what was may take effect.
    fn abandon_commit(&mut self, call_id: CallId, call: &Call, is_sent: bool) {
        if let Call::Commit { id, held } = call {
            if held.is_none() {
                self.with_group(|group, out| group.on_commit_abandoned(*id, out));
                if !is_sent {
                    self.recall_commit(call_id);
                }
            }
            self.answer_commits();
        }
    }

    /// The deadline of a call counts for more than the order of commits.
    pub(super) fn on_deadline(&mut self, id: CallId) {
        let is_sent = self.peers.desk.is_in_flight(Ticket::Call(id));
        let held = self.calls.held(id);
        let over = held.as_ref().map_or(Over::Deadline, over);
        let call = self.take_call(id, over).expect("a call's deadline ends with it");
        let last = match &call {
            Call::Inquiry(inquiry) => self.why_open(inquiry),
            Call::Unsubscribe | Call::Commit { .. } | Call::Position(_) => None,
        };
        self.done(id, held.unwrap_or(Err(CallFault::TimedOut { last })));
        self.abandon_commit(id, &call, is_sent);
    }

    fn take_call(&mut self, id: CallId, over: Over) -> Option<Call> {
        self.timers.disarm(Alarm::Deadline(id));
        self.timers.disarm(Alarm::CallBackoff(id));
        let call = self.calls.end(id)?;
        self.end_ticket(Ticket::Call(id), over);
        Some(call)
    }

    /// Answers a call, if anybody still waits.
    pub(super) fn end_call(&mut self, id: CallId, result: Result<Answer, CallFault>) {
        let over = match (&result, self.end) {
            // What is owned ends with the consumer; nobody has refused anything.
            (Err(CallFault::Commit(CommitError::OwnershipEnded)), End::Closing { .. }) => {
                Over::Closing
            }
            _ => over(&result),
        };
        if self.take_call(id, over).is_some() {
            self.done(id, result);
        }
    }

    pub(super) fn done(&mut self, call: CallId, result: Result<Answer, CallFault>) {
        self.outputs.push_back(Output::Done { call, result });
    }

    /// A commit is over: it is answered once every earlier one is, as Kafka's callbacks are called
    /// (`KafkaConsumer.commitAsync`: "in the same order").
    pub(super) fn end_commit(&mut self, id: CallId, result: Result<Answer, CallFault>) {
        self.calls.hold(id, result);
        self.answer_commits();
    }

    fn answer_commits(&mut self) {
        while let Some((id, result)) = self.calls.next_held() {
            self.end_call(id, result);
        }
    }

    pub(super) fn answer_unsubscribes(&mut self, confirmed: bool) {
        let ids = self.calls.iter().filter(|(_, call)| **call == Call::Unsubscribe);
        for id in ids.map(|(id, _)| id).collect::<Vec<_>>() {
            self.end_call(id, Ok(Answer::Left { confirmed }));
        }
    }

    /// Answers what can be answered from what is known.
    pub(super) fn answer_calls(&mut self) {
        let mut answers = Vec::new();
        for (id, call) in self.calls.iter() {
            let answer = match call {
                Call::Position(partition) => self.position_answer(partition),
                Call::Inquiry(inquiry) => self.inquiry_answer(inquiry),
                Call::Unsubscribe | Call::Commit { .. } => None,
            };
            answers.extend(answer.map(|answer| (id, answer)));
        }
        for (id, answer) in answers {
            self.end_call(id, answer);
        }
    }

    fn position_answer(&self, partition: &TopicPartition) -> Option<Result<Answer, CallFault>> {
        let Some(id) = self.owned_by_name(partition) else {
            let is_stranger = !self.is_awaited(partition);
            return is_stranger.then(|| Err(CallFault::NotAssigned(partition.clone())));
        };
        if let Some(position) = self.positions.position(id) {
            return Some(Ok(Answer::Position(position.offset)));
        }
        let is_stuck = self.positions.stuck().any(|(stuck, _)| stuck == id);
        is_stuck.then(|| Err(CallFault::NoOffset(partition.clone())))
    }

    /// Answers every open call, with [`CallFault::Closed`] what is not over; says how many those are.
    pub(super) fn fail_calls(&mut self) -> usize {
        let outcome = |call: &Call| match call {
            Call::Commit { held: Some(held), .. } => held.clone(),
            _ => Err(CallFault::Closed),
        };
        let open: Vec<_> = self.calls.iter().map(|(id, call)| (id, outcome(call))).collect();
        let failed = open.iter().filter(|(_, outcome)| *outcome == Err(CallFault::Closed)).count();
        for (id, outcome) in open {
            self.end_call(id, outcome);
        }
        failed
    }
}

/// What an answer means to the ledger.
fn over(result: &Result<Answer, CallFault>) -> Over {
    match result {
        Ok(_) => Over::Completed,
        Err(CallFault::TimedOut { .. }) => Over::Deadline,
        Err(CallFault::Closed) => Over::Closing,
        Err(_) => Over::Refused,
    }
}
