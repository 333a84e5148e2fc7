//! What the core orders: requests of the group, and what the application is told.

use super::event::{Event, Loss, Owner, Said, Sent};
use super::words::{Offsets, Part, Text, Texts};
use super::{Recorder, assignor_name};
use crate::record::{Chunk, Slice};
use crate::wire::Members;
use evenkeel_core::group::{CommitError, Fault, LostReason};
use evenkeel_core::request::Request;
use evenkeel_core::request::ledger::{Discard, Failure, Outcome};
use evenkeel_core::{
    Answer, CallFault, Callback, ConnectionId, Delivery, DisconnectReason, Output, PollFault,
    RequestId, Shell, Time, Warning,
};
use evenkeel_spec::words::{Heartbeat, HeartbeatEpoch, Pattern};

pub(super) fn write(
    recorder: &mut Recorder,
    now: Time,
    (place, output): (usize, &Output<Chunk>),
    shell: &Shell<Chunk>,
    members: &mut Members,
) {
    match output {
        Output::Connect { connection, .. } => {
            recorder.open.insert(*connection);
        }
        Output::Disconnect { connection, reason } => {
            recorder.open.remove(connection);
            unsent(recorder, now, shell, place);
            if recorder.groups.remove(connection) {
                let closing = *reason == DisconnectReason::Closing;
                recorder.event(now, Event::Disconnect { connection: connection.0, closing });
            }
        }
        Output::Waiting(ticket, kind) => {
            recorder.waiting.insert(*ticket);
            recorder.event(now, Event::Waits { request: kind.name() });
        }
        Output::Ended(ended) => {
            let is_waiting = recorder.waiting.remove(&ended.ticket) && ended.attempts == 0;
            if is_waiting && ended.outcome == Outcome::Discarded(Discard::CallerGone) {
                recorder.event(now, Event::Recalled);
            }
        }
        Output::Send { connection, request_id, request, .. } => {
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
                let connection = connection.0;
                recorder.event(now, Event::Connect { connection, coordinator: node.0 });
                recorder.event(now, Event::Ready { connection });
            }
            send(recorder, now, (*connection, *request_id), request, members);
        }
        Output::Deliver(delivery) => deliver(recorder, now, delivery),
        Output::EndLease(partitions) => {
            recorder.event(now, Event::Withdrawn { partitions: Texts(partitions) });
        }
        Output::PollFailed(fault) => {
            let (fault, error) = match fault {
                PollFault::Group(Fault::Fatal(code)) => ("fatal", Some(code.number())),
                PollFault::Group(Fault::Refused(code)) => ("refused", Some(code.number())),
                _ => ("other", None),
            };
            recorder.event(now, Event::PollFailed { fault, error });
        }
        Output::Call { incarnation, callback, partitions } => {
            let (method, loss) = match callback {
                Callback::Assigned => ("assigned", None),
                Callback::Revoked => ("revoked", None),
                Callback::Lost(reason) => ("lost", Some(lost(*reason))),
            };
            let partitions = Texts(partitions);
            let callback = incarnation.0;
            recorder.event(now, Event::Callback { callback, method, loss, partitions });
        }
        Output::Assignment(assignment) => {
            let named = assignment.owner.map(|owner| (members.name(owner.member), owner.epoch.0));
            let owner = named.as_ref().map(|(member, epoch)| Owner { member, epoch: *epoch });
            let partitions = Texts(&assignment.partitions);
            recorder.event(now, Event::Assignment { partitions, owner });
        }
        Output::Done { call, result } => {
            if recorder.calls.remove(call) {
                let (result, error) = answered(result);
                recorder.event(now, Event::Answered { call: call.0, result, error });
            }
        }
        Output::Warn(Warning::PartitionsLost { partitions, reason }) => {
            let (loss, partitions) = (lost(*reason), Texts(partitions));
            recorder.event(now, Event::Lost { loss, partitions });
        }
        Output::Warn(Warning::Truncated { partition, diverging: Some(to), .. }) => {
            let (to, leader_epoch) = (to.offset.0, Some(to.leader_epoch.0));
            recorder.event(now, Event::Truncated { partition: Text(partition), to, leader_epoch });
        }
        Output::Warn(Warning::ResetBack { partition, to }) => {
            let (to, leader_epoch) = (to.0, None);
            recorder.event(now, Event::Truncated { partition: Text(partition), to, leader_epoch });
        }
        Output::Warn(_) | Output::Wait(_) => {}
        Output::Closed(report) => {
            recorder.event(now, Event::Closed { left: report.left });
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
        recorder.event(now, Event::Unsent { request: kind.name() });
    }
}

fn send(
    recorder: &mut Recorder,
    now: Time,
    (connection, request_id): (ConnectionId, RequestId),
    request: &Request,
    members: &mut Members,
) {
    let sent = Sent { connection: connection.0, request: request_id.0 };
    let named;
    let event = match request {
        Request::FindCoordinator => Event::Lookup(sent),
        Request::Heartbeat(heartbeat) => {
            named = members.name(heartbeat.member);
            said(sent, &named, heartbeat)
        }
        Request::OffsetCommit { commit, .. } => {
            named = commit.owner.map(|owner| members.name(owner.member)).unwrap_or_default();
            let owner = commit.owner.map(|owner| Owner { member: &named, epoch: owner.epoch.0 });
            Event::OffsetCommit { sent, owner, offsets: Offsets(&commit.offsets) }
        }
        Request::OffsetFetch { .. } => Event::OffsetFetch(sent),
        Request::DescribeGroup => Event::DescribeGroup(sent),
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
    recorder.event(now, event);
}

fn said<'a>(sent: Sent, member: &'a str, heartbeat: &'a Heartbeat) -> Event<'a> {
    let (kind, epoch) = match heartbeat.epoch {
        HeartbeatEpoch::Join => ("join", None),
        HeartbeatEpoch::Stay(epoch) => ("stay", Some(epoch.0)),
        HeartbeatEpoch::Leave => ("leave", None),
    };
    let said = Said {
        epoch,
        rebalance_timeout_ms: heartbeat.rebalance_timeout_ms,
        topics: heartbeat.subscription.as_deref().map(Texts),
        pattern: heartbeat.pattern.as_ref().map(|pattern| match pattern {
            Pattern::Matching(pattern) => &**pattern,
            Pattern::Ended => "",
        }),
        assignor: heartbeat.assignor.as_ref().map(assignor_name),
        owned: heartbeat.owned.as_ref().map(Texts),
    };
    Event::Heartbeat { sent, member, kind, said }
}

fn deliver(recorder: &mut Recorder, now: Time, delivery: &Delivery<Slice>) {
    let parts = delivery.parts.iter().map(|part| Part {
        partition: Text(&part.partition),
        count: part.count,
        next: part.next_offset.0,
    });
    let (number, parts) = (delivery.number, parts.collect());
    recorder.event(now, Event::Records { number, parts, next: Offsets(&delivery.next) });
}

/// The outcome's name, and the broker's error.
fn answered(result: &Result<Answer, CallFault>) -> (&'static str, Option<i16>) {
    let name = match result {
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
            return ("refused", Some(code.number()));
        }
        Err(CallFault::Exclusive) => "exclusive",
        Err(CallFault::NoGroupId) => "no_group_id",
        Err(CallFault::Closed) => "closed",
        Err(CallFault::QueueFull) => "queue_full",
    };
    (name, None)
}

fn lost(reason: LostReason) -> Loss {
    let (reason, error) = match reason {
        LostReason::Fenced(code) => ("fenced", Some(code.number())),
        LostReason::PollInterval => ("poll_interval", None),
        LostReason::RebalanceTimeout => ("rebalance_timeout", None),
        LostReason::Fatal(code) => ("fatal", Some(code.number())),
        LostReason::LeaveTimeout => ("leave_timeout", None),
    };
    Loss { reason, error }
}
