//! The calls that brokers are asked for: sends each its requests, and makes its answer of theirs.
//!
//! A call has at most one request outstanding for each partition, and one backoff. Decides by
//! [`data_path`] what an error means to a call; what it means to positions is theirs to decide.

use super::accounts::Place;
use super::answer::split;
use super::peers::Picked;
use super::timers::Alarm;
use super::{Purpose, Shell};
use crate::call::{ById, Call, Inquiry, Question};
use crate::disposition::data_path::{Action, data_path};
use crate::request::desk::{Peer, To};
use crate::request::ledger::Ticket;
use crate::request::{
    GroupDescription, ListOffset, ListedOffset, OffsetsFetched, Request, TopicsDescribed,
};
use crate::{Answer, CallFault, CallId, Chunk};
use evenkeel_spec::words::{ErrorCode, NodeId, TopicIdPartition, TopicPartition};
use std::collections::BTreeMap;

/// What one leader is asked for one call.
type AtLeader = BTreeMap<TopicIdPartition, (TopicPartition, ListOffset)>;

impl<C: Chunk> Shell<C> {
    /// Says whether a coordinator must be found first.
    pub(super) fn ask_calls(&mut self) -> bool {
        self.metadata.on_asked(self.calls.topics());
        self.ask_leaders();
        self.ask_topics();
        let is_wanted = self.ask_group();
        self.ask_committed() || is_wanted
    }

    /// Says whether a coordinator must be found first.
    fn ask_group(&mut self) -> bool {
        let waits = |inquiry: &Inquiry| {
            inquiry.question == Question::Group { is_asked: false } && !inquiry.is_pausing
        };
        let asking = self.calls.inquiries().filter(|(_, inquiry)| waits(inquiry));
        let asking: Vec<_> = asking.map(|(id, _)| id).collect();
        let is_wanted = !asking.is_empty() && self.group.coordinator().is_none();
        for id in asking {
            let Some(coordinator) = self.group.coordinator() else {
                self.accounts.place(Ticket::Call(id), Place::Coordinator, self.now);
                self.want_coordinator();
                continue;
            };
            if let Some(Inquiry { question: Question::Group { is_asked }, .. }) =
                self.calls.inquiry(id)
            {
                *is_asked = true;
            }
            let purpose = Purpose::Group(id, coordinator);
            self.send_to(To::Coordinator(coordinator), Request::DescribeGroup, purpose);
        }
        is_wanted
    }

    pub(super) fn on_group(
        &mut self,
        call_id: CallId,
        answer: Result<GroupDescription, ErrorCode>,
    ) {
        let Some(call) = self.calls.inquiry(call_id) else { return };
        call.on_none([].into_iter());
        let code = match answer {
            Ok(group) => return self.end_call(call_id, Ok(Answer::Group(group))),
            Err(code) => code,
        };
        call.last = Some(code);
        // What the coordinator answers here, it answers to `OffsetFetch` as well.
        let refused = match data_path(code).offset_fetch {
            Action::FindCoordinator => {
                self.with_group(crate::group::Group::on_not_coordinator);
                None
            }
            Action::Retry | Action::RefreshMetadata => None,
            Action::Tell | Action::Reset | Action::Absent | Action::Rebootstrap => Some(code),
        };
        self.go_on(call_id, refused);
    }

    fn ask_committed(&mut self) -> bool {
        let mut is_wanted = false;
        for (call, partitions) in self.askable_committed() {
            let Some(coordinator) = self.group.coordinator() else {
                self.accounts.place(Ticket::Call(call), Place::Coordinator, self.now);
                self.want_coordinator();
                is_wanted = true;
                continue;
            };
            if let Some(Inquiry { question: Question::Committed(parts), .. }) =
                self.calls.inquiry(call)
            {
                partitions.values().for_each(|partition| parts.on_asked(partition));
            }
            let request = self.offset_fetch(partitions.keys().copied());
            let purpose = Purpose::Committed(call, coordinator, partitions);
            self.send_to(To::Coordinator(coordinator), request, purpose);
        }
        is_wanted
    }

    /// The `committed` calls that wait for nothing but an answer.
    fn askable_committed(&self) -> Vec<(CallId, ById)> {
        let mut askable = Vec::new();
        for (id, call) in self.calls.iter() {
            let Call::Inquiry(inquiry) = call else { continue };
            let (Question::Committed(parts), false) = (&inquiry.question, inquiry.is_pausing)
            else {
                continue;
            };
            let unasked = parts.unasked().map(|(partition, ())| partition);
            let known = unasked.filter(|p| !self.metadata.is_absent(&p.topic));
            let ids = known.map(|partition| Some((self.id_of(partition)?, partition.clone())));
            if let Some(ids) = ids.collect::<Option<ById>>().filter(|ids| !ids.is_empty()) {
                askable.push((id, ids));
            }
        }
        askable
    }

    /// Offsets of logs, of each leader; who has none is asked for.
    fn ask_leaders(&mut self) {
        let mut requests = BTreeMap::<(CallId, NodeId), AtLeader>::new();
        let mut is_leaderless = false;
        for (call, inquiry) in self.calls.iter().filter_map(|(id, call)| match call {
            Call::Inquiry(inquiry) if !inquiry.is_pausing => Some((id, inquiry)),
            _ => None,
        }) {
            let Question::Offsets(parts) = &inquiry.question else { continue };
            for (partition, &at) in parts.unasked() {
                let id = self.id_of(partition);
                let Some((id, leader)) = id.and_then(|id| Some((id, self.metadata.leader(id)?)))
                else {
                    is_leaderless = true;
                    continue;
                };
                if !self.peers.is_backing_off(Peer::Node(leader)) {
                    let asked = ListOffset { at, leader_epoch: self.metadata.leader_epoch(id) };
                    let request = requests.entry((call, leader)).or_default();
                    request.insert(id, (partition.clone(), asked));
                }
            }
        }
        if is_leaderless {
            self.metadata.request_leader();
        }
        for ((call, leader), asked) in requests {
            self.ask_leader(call, leader, asked);
        }
    }

    fn ask_leader(&mut self, call: CallId, leader: NodeId, asked: AtLeader) {
        if let Some(Inquiry { question: Question::Offsets(parts), .. }) = self.calls.inquiry(call) {
            asked.values().for_each(|(partition, _)| parts.on_asked(partition));
        }
        let names = self.names(asked.keys());
        let isolation = self.config.isolation;
        let partitions = asked.iter().map(|(id, (_, asked))| (*id, *asked)).collect();
        let by_id = asked.into_iter().map(|(id, (partition, _))| (id, partition)).collect();
        let request = Request::ListOffsets { partitions, isolation, names };
        self.send_to(To::Leader(leader), request, Purpose::Offsets(call, by_id));
    }

    fn ask_topics(&mut self) {
        let waits = |inquiry: &Inquiry| match &inquiry.question {
            Question::Topics { topic, is_asked: false } if !inquiry.is_pausing => {
                Some(topic.clone())
            }
            _ => None,
        };
        let inquiries = self.calls.inquiries();
        let asking = inquiries.filter_map(|(id, inquiry)| Some((id, waits(inquiry)?)));
        for (id, topic) in asking.collect::<Vec<_>>() {
            let Some(Picked { peer, address, .. }) = self.pick() else { return };
            if let Some(Inquiry { question: Question::Topics { is_asked, .. }, .. }) =
                self.calls.inquiry(id)
            {
                *is_asked = true;
            }
            self.send(peer, &address, Request::Topics { topic }, Purpose::Topics(id));
        }
    }

    pub(super) fn on_committed(&mut self, call_id: CallId, asked: &ById, answer: OffsetsFetched) {
        let (mut answer, whole) = split(answer);
        let Some(call) = self.calls.inquiry(call_id) else { return };
        call.on_none(asked.values());
        let (mut refused, mut is_moved) = (None, false);
        for (id, name) in asked {
            match answer.remove(id).or(whole.map(Err)) {
                Some(Ok(committed)) => {
                    if let Question::Committed(parts) = &mut call.question {
                        parts.on_found(name, committed);
                    }
                }
                Some(Err(code)) => {
                    call.last = Some(code);
                    match data_path(code).offset_fetch {
                        Action::FindCoordinator => is_moved = true,
                        Action::Retry | Action::RefreshMetadata => {}
                        Action::Tell | Action::Reset | Action::Absent | Action::Rebootstrap => {
                            refused = Some(code);
                        }
                    }
                }
                None => {}
            }
        }
        if is_moved {
            self.with_group(crate::group::Group::on_not_coordinator);
        }
        self.go_on(call_id, refused);
    }

    pub(super) fn on_offsets(
        &mut self,
        call_id: CallId,
        asked: &ById,
        mut answer: BTreeMap<TopicIdPartition, Result<Option<ListedOffset>, ErrorCode>>,
    ) {
        let Some(call) = self.calls.inquiry(call_id) else { return };
        call.on_none(asked.values());
        let mut refused = None;
        for (id, name) in asked {
            match answer.remove(id) {
                Some(Ok(found)) => {
                    if let Question::Offsets(parts) = &mut call.question {
                        parts.on_found(name, found);
                    }
                }
                Some(Err(code)) => {
                    call.last = Some(code);
                    match data_path(code).list_offsets {
                        Action::RefreshMetadata => self.metadata.request_update(),
                        Action::Retry | Action::FindCoordinator => {}
                        Action::Tell | Action::Reset | Action::Absent | Action::Rebootstrap => {
                            refused = Some(code);
                        }
                    }
                }
                None => {}
            }
        }
        self.go_on(call_id, refused);
    }

    pub(super) fn on_topics(&mut self, call_id: CallId, answer: TopicsDescribed) {
        let Some(call) = self.calls.inquiry(call_id) else { return };
        call.on_none([].into_iter());
        let mut found = BTreeMap::new();
        let (mut refused, mut retried) = (None, None);
        match answer {
            Ok(topics) => {
                for (name, topic) in topics {
                    match topic {
                        Ok(topic) => drop(found.insert(name, topic)),
                        Err(code) => match data_path(code).metadata {
                            Action::Absent => {}
                            Action::Tell | Action::Reset => refused = Some(code),
                            Action::Retry
                            | Action::RefreshMetadata
                            | Action::FindCoordinator
                            | Action::Rebootstrap => retried = Some(code),
                        },
                    }
                }
            }
            Err(code) if data_path(code).metadata == Action::Tell => refused = Some(code),
            Err(code) => {
                retried = Some(code);
                self.metadata.request_update();
            }
        }
        if refused.is_none() && retried.is_none() {
            return self.end_call(call_id, Ok(Answer::Topics(found)));
        }
        call.last = retried;
        self.go_on(call_id, refused);
    }

    /// Nobody will answer what was asked for a call.
    pub(super) fn on_inquiry_lost<'a>(
        &mut self,
        call_id: CallId,
        asked: impl Iterator<Item = &'a TopicPartition>,
    ) {
        if let Some(call) = self.calls.inquiry(call_id) {
            call.on_none(asked);
            self.go_on(call_id, None);
        }
    }

    /// No coordinator can be found for the group, for good.
    pub(super) fn refuse_committed(&mut self, code: ErrorCode) {
        let is_asked = |call: &Inquiry| {
            matches!(call.question, Question::Committed(_) | Question::Group { .. })
        };
        let mut calls: Vec<CallId> = Vec::new();
        calls.extend(self.calls.inquiries().filter(|(_, call)| is_asked(call)).map(|(id, _)| id));
        for id in calls {
            self.end_call(id, Err(CallFault::Refused(code)));
        }
    }

    /// A call got an answer, or none: it is refused, or what is missing is asked for again.
    fn go_on(&mut self, id: CallId, refused: Option<ErrorCode>) {
        if let Some(code) = refused {
            return self.end_call(id, Err(CallFault::Refused(code)));
        }
        let Some(call) = self.calls.inquiry(id) else { return };
        let is_open = match &call.question {
            Question::Committed(parts) => parts.unasked().next().is_some(),
            Question::Offsets(parts) => parts.unasked().next().is_some(),
            Question::Topics { .. } | Question::Group { .. } => true,
        };
        if !is_open || std::mem::replace(&mut call.is_pausing, true) {
            return;
        }
        let step = call.step;
        call.step = step.next();
        let ms = self.backoffs.retry_ms(step);
        self.accounts.place(Ticket::Call(id), Place::Backoff, self.now);
        self.arm(Alarm::CallBackoff(id), ms);
    }

    /// The answer to a call, once nothing is missing or a topic may not be read.
    pub(super) fn inquiry_answer(&self, inquiry: &Inquiry) -> Option<Result<Answer, CallFault>> {
        let refusal = |partition: &TopicPartition| self.metadata.refusal(&partition.topic);
        match &inquiry.question {
            Question::Committed(parts) => {
                if let Some(code) = parts.missing().find_map(|(partition, ())| refusal(partition)) {
                    return Some(Err(CallFault::Refused(code)));
                }
                // A topic that does not exist has no offsets.
                let mut parts = parts.clone();
                let absent = parts.missing().map(|(partition, ())| partition.clone());
                let absent = absent.filter(|p| self.metadata.is_absent(&p.topic));
                for partition in absent.collect::<Vec<_>>() {
                    parts.on_found(&partition, None);
                }
                parts.whole().map(Answer::Committed).map(Ok)
            }
            Question::Offsets(parts) => {
                match parts.missing().find_map(|(partition, _)| refusal(partition)) {
                    Some(code) => Some(Err(CallFault::Refused(code))),
                    None => parts.whole().map(Answer::Offsets).map(Ok),
                }
            }
            Question::Topics { .. } | Question::Group { .. } => None,
        }
    }

    /// Why a call is still open: the last error, or what is known of the partitions that miss.
    pub(super) fn why_open(&self, inquiry: &Inquiry) -> Option<ErrorCode> {
        let Question::Offsets(parts) = &inquiry.question else { return inquiry.last };
        let why = |partition: &TopicPartition| match self.id_of(partition) {
            None => self
                .metadata
                .is_absent(&partition.topic)
                .then_some(ErrorCode::UnknownTopicOrPartition),
            Some(id) if !self.metadata.has_partition(id) => {
                Some(ErrorCode::UnknownTopicOrPartition)
            }
            Some(id) => self.metadata.leader(id).is_none().then_some(ErrorCode::LeaderNotAvailable),
        };
        inquiry.last.or_else(|| parts.missing().find_map(|(partition, _)| why(partition)))
    }

    /// A partition's id, as the newest answer has it.
    pub(super) fn id_of(&self, partition: &TopicPartition) -> Option<TopicIdPartition> {
        let topic = self.metadata.id(&partition.topic)?;
        Some(TopicIdPartition::new(topic, partition.partition))
    }
}
