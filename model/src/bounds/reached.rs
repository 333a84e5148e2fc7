//! What must be reached in each slice, else it shows nothing.

use super::Slice;
use crate::explore::Condition;
use crate::system::Call;
use evenkeel_spec::words::{BackoffKind, Timer};

pub(super) fn one_member_reaches() -> Vec<(&'static str, Condition<Slice>)> {
    use evenkeel_core::group::consumer::State as Membership;
    use evenkeel_spec::rules::Told;
    vec![
        ("stable", |_, s| s.nodes[0].group.is_stable()),
        ("fenced, lost callback open", |_, s| {
            s.world.consumers[0].telling() == Some(Told::Lost)
                && s.nodes[0].group.state() == Membership::Fenced
        }),
        ("stale", |_, s| s.nodes[0].group.state() == Membership::Stale),
        ("fatal", |_, s| s.nodes[0].group.state() == Membership::Fatal),
        ("revoked callback open while unsubscribing", |_, s| {
            s.world.consumers[0].telling() == Some(Told::Revoked) && s.nodes[0].group.is_ending()
        }),
        ("session expired during a callback", |_, s| {
            s.world.consumers[0].telling().is_some() && s.world.grants.is_empty()
        }),
        ("a record was committed", |_, s| !s.world.committed.is_empty()),
        ("joined again under a new id", |_, s| {
            s.world.grants.keys().any(|id| id.0 > 0)
                && matches!(s.nodes[0].group.state(), Membership::Joined(_))
        }),
    ]
}

pub(super) fn two_members_reach() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("two stable members share the topic", |slice, s| {
            s.nodes.iter().all(|n| n.group.is_stable() && !n.group.owned().is_empty())
                && s.world.grants.len() == slice.members
        }),
        ("a revocation waits while a member joins", |_, s| {
            s.world.grants.values().any(|grant| !grant.revoking.is_empty())
                && s.world.grants.len() == 2
        }),
        ("a commit in flight during a revocation", |_, s| {
            s.world.grants.values().any(|grant| !grant.revoking.is_empty())
                && s.world.consumers.iter().any(|c| c.is_committing())
        }),
        ("a crashed member's partitions are the other's", |_, s| {
            s.nodes.iter().any(|n| n.crashed)
                && s.nodes.iter().any(|n| !n.crashed && n.group.owned().len() == 2)
                && s.world.grants.len() == 1
        }),
    ]
}

pub(super) fn two_faults_reach() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("both members crashed", |_, s| s.nodes.iter().all(|n| n.crashed)),
        ("a member joined again under its second new id", |_, s| {
            s.nodes.iter().any(|n| n.group.member_id().0 == 2 && n.group.is_stable())
        }),
        ("nobody is a member while one revokes", |_, s| {
            s.world.grants.is_empty() && s.nodes.iter().any(|n| !n.group.owned().is_empty())
        }),
    ]
}

pub(super) fn commits_reach() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("both records were committed", |_, s| s.world.committed.values().any(|at| at.0 == 2)),
        ("a commit may arrive late", |_, s| s.nodes[0].late_commit.is_some()),
        ("a commit in flight of a member that is gone", |_, s| {
            s.world.consumers[0].is_committing() && s.world.grants.is_empty()
        }),
    ]
}

pub(super) fn interval_reaches() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("the target lags behind the group", |_, s| {
            s.brain.group.state() == evenkeel_coordinator::GroupState::Assigning
        }),
        ("a commit may arrive late", |_, s| s.nodes.iter().any(|n| n.late_commit.is_some())),
    ]
}

pub(super) fn untaken_reaches() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("a revocation waits for what a dropped poll left", |_, s| {
            s.nodes[0].app.waiting.is_some() && s.world.consumers[0].is_letting_go()
        }),
        ("an unsubscribe with what a dropped poll left", |_, s| {
            s.nodes[0].app.waiting.is_some() && s.nodes[0].group.is_ending()
        }),
        ("a commit in flight after a seek", |_, s| {
            s.left.seeks == 0 && s.world.consumers[0].is_committing()
        }),
        ("the other reads on where a seek led back to", |_, s| {
            s.nodes[1].group.owned().len() == 2 && s.world.committed.values().any(|at| at.0 == 0)
        }),
    ]
}

pub(super) fn seeks_reach() -> Vec<(&'static str, Condition<Slice>)> {
    vec![
        ("a record is read again although it was committed", |_, s| {
            s.world.committed.values().any(|at| at.0 == 1)
                && s.nodes[0].app.positions.values().any(|at| at.0 == 0)
        }),
        ("where a seek led back to is committed", |_, s| {
            s.world.committed.values().any(|at| at.0 == 0)
        }),
        ("a commit is retried after a seek", |_, s| {
            s.left.seeks == 0 && s.nodes[0].timers.contains(&Timer::Backoff(BackoffKind::Commit))
        }),
        ("a commit may arrive late after a seek", |_, s| {
            s.left.seeks == 0 && s.nodes[0].late_commit.is_some()
        }),
    ]
}

pub(super) fn whims_reach() -> Vec<(&'static str, Condition<Slice>)> {
    use evenkeel_core::group::consumer::State as Membership;
    vec![
        ("a poll has begun while a dropped unsubscribe goes on", |_, s| {
            s.nodes[0].app.call == Call::Poll && s.nodes[0].group.is_ending()
        }),
        ("a callback of a dropped unsubscribe is open", |_, s| {
            s.nodes[0].app.call == Call::Outside
                && s.nodes[0].group.is_ending()
                && s.nodes[0].app.callback.is_some()
        }),
        ("a subscription waits for the end of a dropped unsubscribe", |_, s| {
            s.nodes[0].app.call != Call::Unsubscribe
                && s.nodes[0].app.subscribed
                && s.nodes[0].group.is_ending()
        }),
        ("subscribed anew in a callback of the membership before", |_, s| {
            s.world.consumers[0].telling().is_some()
                && s.nodes[0].group.state() == Membership::Subscribed
        }),
        ("a refused lookup has ended a membership", |slice, s| {
            s.nodes[0].group.state() == Membership::Fatal && s.left.faults < slice.budget.faults
        }),
        ("the coordinator is looked for without a subscription", |_, s| {
            s.nodes[0].lookup.is_some()
                && s.nodes[0].group.state() == Membership::Unsubscribed
                && !s.nodes[0].group.is_departing()
        }),
        ("a subscription is said again while a heartbeat is in flight", |slice, s| {
            s.left.whims < slice.budget.whims
                && s.left.unsubscribes == slice.budget.unsubscribes
                && !s.nodes[0].requests.is_empty()
        }),
    ]
}
