//! What the core orders: requests of the group, and what the application is told.

use super::{Line, Recorder, assignor_name, line};
use crate::record::{Chunk, Slice};
use crate::wire::Members;
use evenkeel_core::group::{CommitError, Fault, LostReason};
use evenkeel_core::request::ledger::{Discard, Failure, Outcome};
use evenkeel_core::request::{Kind, Request};
use evenkeel_core::{
    Answer, CallFault, Callback, ConnectionId, Delivery, DisconnectReason, Output, PollFault,
    RequestId, Shell, Time, Warning,
};
use evenkeel_spec::words::{ErrorCode, Heartbeat, HeartbeatEpoch, OffsetCommit, Pattern};

pub(super) fn write(
    recorder: &mut Recorder,
    now: Time,
    (place, output): (usize, &Output<Chunk>),
    shell: &Shell<Chunk>,
    members: &mut Members,
) {
    match output {
        Output::Connect { connection, address: _ } => {
            recorder.open.insert(*connection);
        }
        Output::Disconnect { connection, reason } => {
            recorder.open.remove(connection);
            unsent(recorder, now, shell, place);
            if recorder.groups.remove(connection) {
                let line = recorder.event(now, "disconnect").plain("connection", connection.0);
                line.plain("closing", *reason == DisconnectReason::Closing).end();
            }
        }
        Output::Waiting(ticket, kind) => {
            recorder.waiting.insert(*ticket);
            recorder.event(now, "waits").text("request", kind.name()).end();
        }
        Output::Ended(ended) => {
            let is_waiting = recorder.waiting.remove(&ended.ticket) && ended.attempts == 0;
            if is_waiting && ended.outcome == Outcome::Discarded(Discard::CallerGone) {
                recorder.event(now, "recalled").end();
            }
        }
        Output::Send { connection, request_id, request, queued_ms: _ } => {
            let is_groups = matches!(
                request,
                Request::Heartbeat(_)
                    | Request::OffsetCommit { .. }
                    | Request::OffsetFetch { .. }
                    | Request::DescribeGroup
            );
            if is_groups
                && !recorder.coordinators.contains(connection)
                && let Some(node) = shell.node_at(*connection)
            {
                recorder.coordinators.insert(*connection);
                let line = recorder.event(now, "connect").plain("connection", connection.0);
                line.plain("coordinator", node.0).end();
                recorder.event(now, "ready").plain("connection", connection.0).end();
            }
            send(recorder, now, (*connection, *request_id), request, members);
        }
        Output::Deliver(delivery) => deliver(recorder, now, delivery),
        Output::EndLease(partitions) => {
            recorder.event(now, "withdrawn").texts("partitions", partitions).end();
        }
        Output::PollFailed(fault) => {
            let line = recorder.event(now, "poll_failed");
            match fault {
                PollFault::Group(Fault::Fatal(code)) => told(line, "fatal", *code),
                PollFault::Group(Fault::Refused(code)) => told(line, "refused", *code),
                _ => line.text("fault", "other").end(),
            }
        }
        Output::Call { incarnation, callback, partitions } => {
            let line = recorder.event(now, "callback").plain("callback", incarnation.0);
            match callback {
                Callback::Assigned => line.text("method", "assigned"),
                Callback::Revoked => line.text("method", "revoked"),
                Callback::Lost(reason) => lost(line.text("method", "lost"), *reason),
            }
            .texts("partitions", partitions)
            .end();
        }
        Output::Assignment(assignment) => {
            let mut line = recorder.event(now, "assignment");
            line = line.texts("partitions", &assignment.partitions);
            if let Some(owner) = assignment.owner {
                let member = members.name(owner.member);
                line = line.text("member", member.as_str()).plain("epoch", owner.epoch.0);
            }
            line.end();
        }
        Output::Done { call, result } => {
            if recorder.calls.remove(call) {
                let line = recorder.event(now, "answered").plain("call", call.0);
                answered(line, result);
            }
        }
        Output::Warn(Warning::PartitionsLost { partitions, reason }) => {
            let line = lost(recorder.event(now, "lost"), *reason);
            line.texts("partitions", partitions).end();
        }
        Output::Warn(Warning::Truncated { partition, diverging: Some(to), .. }) => recorder
            .event(now, "truncated")
            .text("partition", &partition.to_string())
            .plain("to", to.offset.0)
            .plain("leader_epoch", to.leader_epoch.0)
            .end(),
        Output::Warn(_) | Output::Wait(_) => {}
        Output::Closed(report) => {
            recorder.event(now, "closed").plain("left", report.left).end();
        }
    }
}

/// Requests of the group that waited for a connection which has ended: the next outputs say so.
pub(super) fn unsent(recorder: &mut Recorder, now: Time, shell: &Shell<Chunk>, place: usize) {
    let rest = shell.outputs().skip(place.wrapping_add(1));
    let until = rest.take_while(|output| !matches!(output, Output::Disconnect { .. }));
    let mut lost = Vec::new();
    for output in until {
        let Output::Ended(ended) = output else { continue };
        let is_lost = ended.outcome == Outcome::Failed(Failure::Disconnected);
        if is_lost && ended.attempts == 0 && recorder.waiting.remove(&ended.ticket) {
            lost.push(ended.kind);
        }
    }
    for kind in lost {
        recorder.event(now, "unsent").text("request", Kind::name(kind)).end();
    }
}

fn send(
    recorder: &mut Recorder,
    now: Time,
    (connection, request_id): (ConnectionId, RequestId),
    request: &Request,
    members: &mut Members,
) {
    let event = match request {
        Request::FindCoordinator => "lookup",
        Request::Heartbeat(_) => "heartbeat",
        Request::OffsetCommit { .. } => "offset_commit",
        Request::OffsetFetch { .. } => "offset_fetch",
        Request::DescribeGroup => "describe_group",
        Request::ApiVersions
        | Request::Metadata { .. }
        | Request::TopicsById { .. }
        | Request::Topics { .. }
        | Request::ListOffsets { .. }
        | Request::OffsetForLeaderEpoch { .. }
        | Request::Fetch(_) => return,
    };
    // Also one to another broker concerns the group once a lookup is on it.
    recorder.groups.insert(connection);
    let line = recorder.event(now, event).plain("connection", connection.0);
    let line = line.plain("request", request_id.0);
    match request {
        Request::Heartbeat(heartbeat) => said(line, heartbeat, members).end(),
        Request::OffsetCommit { commit, .. } => committed(line, commit, members).end(),
        _ => line.end(),
    }
}

fn said<'a>(line: Line<'a>, heartbeat: &Heartbeat, members: &mut Members) -> Line<'a> {
    let mut line = line.text("member", members.name(heartbeat.member).as_str());
    line = match heartbeat.epoch {
        HeartbeatEpoch::Join => line.text("kind", "join"),
        HeartbeatEpoch::Stay(epoch) => line.text("kind", "stay").plain("epoch", epoch.0),
        HeartbeatEpoch::Leave => line.text("kind", "leave"),
    };
    if let Some(ms) = heartbeat.rebalance_timeout_ms {
        line = line.plain("rebalance_timeout_ms", ms);
    }
    if let Some(topics) = &heartbeat.subscription {
        line = line.texts("topics", topics.iter());
    }
    line = match &heartbeat.pattern {
        Some(Pattern::Matching(pattern)) => line.text("pattern", pattern),
        Some(Pattern::Ended) => line.text("pattern", ""),
        None => line,
    };
    if let Some(assignor) = &heartbeat.assignor {
        line = line.text("assignor", assignor_name(assignor));
    }
    match &heartbeat.owned {
        Some(owned) => line.partitions("owned", owned),
        None => line,
    }
}

fn committed<'a>(line: Line<'a>, commit: &OffsetCommit, members: &mut Members) -> Line<'a> {
    let mut line = line;
    if let Some(owner) = commit.owner {
        let member = members.name(owner.member);
        line = line.text("member", member.as_str()).plain("epoch", owner.epoch.0);
    }
    line.object(
        "offsets",
        &commit.offsets,
        |partition| line::by_id(**partition),
        |text, offset| line::committed(text, offset),
    )
}

fn deliver(recorder: &mut Recorder, now: Time, delivery: &Delivery<Slice>) {
    recorder
        .event(now, "records")
        .plain("number", delivery.number)
        .array("parts", &delivery.parts, |text, part| {
            line::part(text, &part.partition, part.count, part.next_offset.0);
        })
        .object(
            "next",
            &delivery.next,
            |partition| line::by_id(**partition),
            |text, next| line::committed(text, next),
        )
        .end();
}

fn answered(line: Line<'_>, result: &Result<Answer, CallFault>) {
    let result = match result {
        Ok(Answer::Left { confirmed: true }) => "left",
        Ok(Answer::Left { confirmed: false }) => "left_unconfirmed",
        Ok(
            Answer::Done
            | Answer::Position(_)
            | Answer::Committed(_)
            | Answer::Offsets(_)
            | Answer::Topics(_)
            | Answer::Group(_)
            | Answer::Lag(_),
        ) => "done",
        Err(CallFault::TimedOut { .. }) => "timed_out",
        Err(CallFault::NotAssigned(_)) => "not_assigned",
        Err(CallFault::NoOffset(_)) => "no_offset",
        Err(CallFault::Commit(CommitError::NotAMember)) => "not_a_member",
        Err(CallFault::Commit(CommitError::NotOwned)) => "not_owned",
        Err(CallFault::Commit(CommitError::OwnershipEnded)) => "ownership_ended",
        Err(CallFault::Commit(CommitError::Expired)) => "expired",
        Err(CallFault::Commit(CommitError::Refused(code)) | CallFault::Refused(code)) => {
            return line.text("result", "refused").plain("error", code.number()).end();
        }
        Err(CallFault::Exclusive) => "exclusive",
        Err(CallFault::NoGroupId) => "no_group_id",
        Err(CallFault::Closed) => "closed",
        Err(CallFault::QueueFull) => "queue_full",
    };
    line.text("result", result).end();
}

fn told(line: Line<'_>, fault: &str, code: ErrorCode) {
    line.text("fault", fault).plain("error", code.number()).end();
}

fn lost(line: Line<'_>, reason: LostReason) -> Line<'_> {
    match reason {
        LostReason::Fenced(code) => line.text("reason", "fenced").plain("error", code.number()),
        LostReason::PollInterval => line.text("reason", "poll_interval"),
        LostReason::RebalanceTimeout => line.text("reason", "rebalance_timeout"),
        LostReason::Fatal(code) => line.text("reason", "fatal").plain("error", code.number()),
        LostReason::LeaveTimeout => line.text("reason", "leave_timeout"),
    }
}
