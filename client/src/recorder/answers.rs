//! What brokers answer, as far as it concerns the group.

use super::{Recorder, line};
use crate::record::Chunk;
use crate::wire::Api;
use evenkeel_core::request::{Answered, OffsetsFetched, Response};
use evenkeel_core::{ConnectionId, Misbehaved, RequestId, Shell, Time};
use evenkeel_spec::words::{ErrorCode, HeartbeatAnswer, NodeId, OffsetsCommitted};
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
            self.event(now, "throttled").plain("connection", connection.0).end();
        }
        match response {
            Response::Metadata(_) => self.is_metadata = true,
            Response::FindCoordinator(found) => {
                self.brokers.extend(found.as_ref().map(|found| found.node));
                let line = self.event(now, "coordinator").plain("request", request.0);
                match found {
                    Ok(found) => line.plain("node", found.node.0).end(),
                    Err(code) => line.plain("error", code.number()).end(),
                }
            }
            Response::Heartbeat(answer) => self.heartbeat_answer(now, request, answer),
            Response::OffsetCommit(answer) => self.commit_answer(now, request, answer),
            Response::OffsetFetch(answer) => {
                self.errors(now, "offset_fetch_answer", request, errors(answer));
            }
            Response::Group(answer) => {
                let errors = answer.as_ref().err().copied().into_iter().collect();
                self.errors(now, "describe_group_answer", request, errors);
            }
            Response::ApiVersions(_)
            | Response::Topics(_)
            | Response::ListOffsets(_)
            | Response::OffsetForLeaderEpoch(_)
            | Response::Fetch(_) => {}
        }
    }

    /// The broker does not speak an API, of which only `ConsumerGroupDescribe` is the group's.
    pub(crate) fn unspoken(&mut self, now: Time, request: RequestId, api: Api) {
        if api != Api::ConsumerGroupDescribe {
            return;
        }
        let errors = [ErrorCode::UnsupportedVersion].into();
        self.errors(now, "describe_group_answer", request, errors);
    }

    fn errors(
        &mut self,
        now: Time,
        event: &'static str,
        request: RequestId,
        errors: BTreeSet<ErrorCode>,
    ) {
        let line = self.event(now, event).plain("request", request.0);
        line.array("errors", errors, |text, code| text.push_str(&code.number().to_string())).end();
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
        let line = self.event(now, "metadata").object(
            "topics",
            new.iter().map(|(id, name)| (**id, name.to_string())),
            |id| line::topic(*id),
            |text, name| text.push_str(&format!("\"{name}\"")),
        );
        line.array("brokers", brokers, |text, node| text.push_str(&node.0.to_string())).end();
    }

    fn heartbeat_answer(
        &mut self,
        now: Time,
        request: RequestId,
        answer: &Result<HeartbeatAnswer, ErrorCode>,
    ) {
        let mut line = self.event(now, "heartbeat_answer").plain("request", request.0);
        match answer {
            Ok(answer) => {
                if let Some(epoch) = answer.epoch {
                    line = line.plain("epoch", epoch.0);
                }
                line = line.plain("interval_ms", answer.heartbeat_interval_ms);
                if let Some(assignment) = &answer.assignment {
                    line = line.partitions("assignment", assignment);
                }
            }
            Err(code) => line = line.plain("error", code.number()),
        }
        line.end();
    }

    fn commit_answer(&mut self, now: Time, request: RequestId, answer: &OffsetsCommitted) {
        let line = self.event(now, "offset_commit_answer").plain("request", request.0);
        let number = |text: &mut String, result: &&Result<(), ErrorCode>| {
            text.push_str(&result.err().map_or(0, ErrorCode::number).to_string());
        };
        match answer {
            Ok(results) => line.object("results", results, |p| line::by_id(**p), number).end(),
            Err(code) => line.plain("error", code.number()).end(),
        }
    }
}

fn errors(answer: &OffsetsFetched) -> BTreeSet<ErrorCode> {
    match answer {
        Ok(answer) => answer.values().filter_map(|result| result.as_ref().err().copied()).collect(),
        Err(code) => [*code].into(),
    }
}
