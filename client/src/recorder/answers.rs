//! What brokers answer, as far as it concerns the group.

use super::Recorder;
use super::event::{Answer, Event, Found, HeartbeatAnswer, OffsetCommitAnswer};
use super::words::{Results, Texts, TopicNames};
use crate::record::Chunk;
use crate::wire::Api;
use evenkeel_core::request::{Answered, OffsetsFetched, Response};
use evenkeel_core::{ConnectionId, Misbehaved, RequestId, Shell, Time};
use evenkeel_spec::words::{self, ErrorCode, NodeId};
use std::collections::BTreeSet;

impl Recorder {
    /// A broker answered; to be told before the core is.
    pub(crate) fn answer(
        &mut self,
        now: Time,
        connection: ConnectionId,
        request: RequestId,
        answer: &Result<Answered<Chunk>, Misbehaved>,
    ) {
        // What is no answer ends the connection, which is written when it is closed.
        let Ok(Answered { response, throttle_ms }) = answer else { return };
        if !self.open.contains(&connection) {
            return;
        }
        let is_groups = self.groups.contains(&connection);
        if *throttle_ms > 0 && is_groups {
            self.event(now, Event::Throttled { connection: connection.0 });
        }
        let request = request.0;
        let event = match response {
            Response::Metadata(_) => {
                self.is_metadata = true;
                return;
            }
            Response::FindCoordinator(found) => {
                self.brokers.extend(found.as_ref().map(|found| found.node));
                let answer = said(found, |found| Found { node: found.node.0 });
                Event::Coordinator { request, answer }
            }
            Response::Heartbeat(answer) => {
                Event::HeartbeatAnswer { request, answer: said(answer, heartbeat) }
            }
            Response::OffsetCommit(answer) => {
                let results = |results| OffsetCommitAnswer { results: Results(results) };
                Event::OffsetCommitAnswer { request, answer: said(answer, results) }
            }
            Response::OffsetFetch(answer) => {
                Event::OffsetFetchAnswer { request, errors: numbers(errors(answer)) }
            }
            Response::Group(answer) => {
                let errors = numbers(answer.as_ref().err().copied().into_iter().collect());
                Event::DescribeGroupAnswer { request, errors }
            }
            Response::ApiVersions(_)
            | Response::Topics(_)
            | Response::ListOffsets(_)
            | Response::OffsetForLeaderEpoch(_)
            | Response::Fetch(_) => return,
        };
        self.event(now, event);
    }

    /// The broker does not speak an API, of which only `ConsumerGroupDescribe` is the group's.
    pub(crate) fn unspoken(&mut self, now: Time, request: RequestId, api: Api) {
        if api != Api::ConsumerGroupDescribe {
            return;
        }
        let errors = vec![ErrorCode::UnsupportedVersion.number()];
        self.event(now, Event::DescribeGroupAnswer { request: request.0, errors });
    }

    /// What metadata has shown that was not written yet: topics' names, and the brokers there are.
    pub(super) fn metadata(&mut self, now: Time, shell: &Shell<Chunk>) {
        let names = shell.topic_names();
        let new: Vec<_> = names.iter().filter(|(id, _)| !self.named.contains(id)).collect();
        let brokers: BTreeSet<NodeId> = shell.brokers().collect();
        if new.is_empty() && brokers == self.brokers {
            return;
        }
        self.named.extend(new.iter().map(|(id, _)| **id));
        self.brokers.clone_from(&brokers);
        let brokers = brokers.into_iter().map(|node| node.0).collect();
        self.event(now, Event::Metadata { topics: TopicNames(new), brokers });
    }
}

/// An answer by what `of` makes of it.
fn said<'a, T, U>(answer: &'a Result<T, ErrorCode>, of: impl FnOnce(&'a T) -> U) -> Answer<U> {
    match answer {
        Ok(answer) => Answer::Well(of(answer)),
        Err(code) => Answer::Refused { error: code.number() },
    }
}

fn heartbeat(answer: &words::HeartbeatAnswer) -> HeartbeatAnswer<'_> {
    HeartbeatAnswer {
        epoch: answer.epoch.map(|epoch| epoch.0),
        interval_ms: answer.heartbeat_interval_ms,
        assignment: answer.assignment.as_ref().map(Texts),
    }
}

fn errors(answer: &OffsetsFetched) -> BTreeSet<ErrorCode> {
    match answer {
        Ok(answer) => answer.values().filter_map(|result| result.as_ref().err().copied()).collect(),
        Err(code) => [*code].into(),
    }
}

fn numbers(errors: BTreeSet<ErrorCode>) -> Vec<i16> {
    errors.into_iter().map(ErrorCode::number).collect()
}
