//! Convergence: where a group is at rest, and the fair, fault-free schedule that must lead there.

use super::{Action, Call, Node, State};
use crate::bounds::Slice;
use evenkeel_coordinator::{GroupState, MemberState, Timer as Patience};
use evenkeel_spec::words::{Partitions, Timer};

/// Whether the group is at rest, judged from outside: what every living subscriber holds and may
/// return is what the coordinator grants it (R2, R7), all partitions are granted, everybody else is
/// gone, nothing is on its way but automatic commits and heartbeats that say and tell nothing new, and
/// the application waits for no commit.
pub(super) fn is_settled(slice: &Slice, state: &State) -> bool {
    let mut granted = Partitions::new();
    let mut members = 0;
    for (i, node) in state.nodes.iter().enumerate() {
        let conduct = &state.world.consumers[i];
        let ends = node.app.call == Call::Unsubscribe || node.group.is_ending();
        if !node.crashed && (!node.is_at_ease() || ends || conduct.is_asking()) {
            return false;
        }
        if !is_member(node) {
            if node.group.is_departing() {
                return false;
            }
            continue;
        }
        let Some(grant) = conduct.id.and_then(|id| state.world.grants.get(&id)) else {
            return false;
        };
        if grant.partitions() != conduct.held || conduct.held != *conduct.open() {
            return false;
        }
        if node.app.callback.is_some() {
            return false;
        }
        members += 1;
        granted.extend(grant.partitions());
    }
    if members != state.world.grants.len() {
        return false;
    }
    members == 0
        || (granted == slice.wanted(state) && state.brain.group.state() == GroupState::Stable)
}

/// Whether the consumer should be a member once all is quiet.
fn is_member(node: &Node) -> bool {
    !node.crashed && node.app.subscribed && !node.app.refused
}

/// What the fair schedule does next: answers before requests before applications before timers.
pub(super) fn next(slice: &Slice, state: &State) -> Option<Action> {
    if is_settled(slice, state) {
        return None;
    }
    let alive = || state.nodes.iter().enumerate().filter(|(_, node)| !node.crashed);
    for (i, node) in alive() {
        if let Some(action) = communicate(slice, i, node) {
            return Some(action);
        }
    }
    for (i, node) in alive() {
        let app = &node.app;
        if app.callback.is_some() && app.call != Call::Outside {
            return Some(Action::Done(i));
        }
        // Outside of an unsubscribe that goes on, it has dropped that.
        let waits = app.subscribed || node.group.is_ending();
        if waits && app.call == Call::Outside {
            return Some(Action::Poll(i));
        }
    }
    for (i, node) in alive() {
        if let Some(timer) = node.timers.iter().find(|t| matches!(t, Timer::Backoff(_))) {
            return Some(Action::Fire(i, *timer));
        }
    }
    coordinator(slice, state).or_else(|| heartbeat(state))
}

fn communicate(slice: &Slice, i: usize, node: &Node) -> Option<Action> {
    if !node.answers.is_empty() {
        Some(Action::Answer(i))
    } else if !node.requests.is_empty() {
        Some(Action::Arrive(i))
    } else if node.lookup.is_some() {
        Some(Action::Found(i))
    } else if node.resolved < slice.topics.len() {
        Some(Action::Resolve(i))
    } else {
        None
    }
}

/// The coordinator gives up on ids that nobody speaks for any more, and computes what is due.
fn coordinator(slice: &Slice, state: &State) -> Option<Action> {
    state.brain.timers.iter().find_map(|timer| match *timer {
        Patience::Session(id) => {
            let (i, number) = slice.consumer_of(id);
            state.nodes[i].is_gone(slice, id).then_some(Action::Bury(i, number))
        }
        Patience::Assignment => Some(Action::Interval),
        Patience::Rebalance(_) => None,
    })
}

/// Everybody heartbeats in turn: who lags behind the target first, then who waits for partitions.
/// Who leaves or lets go of partitions has to do so without: it would wait for an interval.
fn heartbeat(state: &State) -> Option<Action> {
    let described = state.brain.group.describe();
    let urgency = |i: usize| {
        let member = state.world.consumers[i].id.and_then(|id| described.members.get(&id));
        let waits = member.is_some_and(|member| member.state == MemberState::Stable);
        (member.map(|member| member.epoch), waits, i)
    };
    let due = state.nodes.iter().enumerate();
    let due = due.filter(|(i, node)| {
        let hurries = node.group.is_ending() || state.world.consumers[*i].is_letting_go();
        !node.crashed && !hurries && node.timers.contains(&Timer::Heartbeat)
    });
    let (i, _) = due.min_by_key(|(i, _)| urgency(*i))?;
    Some(Action::Fire(i, Timer::Heartbeat))
}

/// What a fair schedule may not put off for ever: everything but faults and the application's whims.
pub(super) fn is_fair(action: &Action) -> bool {
    match action {
        Action::Poll(_)
        | Action::Done(_)
        | Action::Resolve(_)
        | Action::Found(_)
        | Action::Arrive(_)
        | Action::Answer(_)
        | Action::Interval
        | Action::Bury(..)
        | Action::Fire(_, Timer::Heartbeat | Timer::Backoff(_)) => true,
        Action::Subscribe(_)
        | Action::Narrow(_)
        | Action::Exit(_)
        | Action::Drop(_)
        | Action::Return(_)
        | Action::Miss(_)
        | Action::Seek(..)
        | Action::Commit(_)
        | Action::Unsubscribe(_)
        | Action::Abandon(_)
        | Action::Repeat(_)
        | Action::Ask(_)
        | Action::Deny(_)
        | Action::Fail(_)
        | Action::Refuse(..)
        | Action::Break(_)
        | Action::LateLeave(_)
        | Action::LateCommit(_)
        | Action::LateHeartbeat(_)
        | Action::Fire(..)
        | Action::Session(..)
        | Action::Rebalance(..)
        | Action::Failover
        | Action::Crash(_) => false,
    }
}
