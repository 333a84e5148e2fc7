//! Abstract transitions: what remains of a step when numbers, ids and epochs are dropped.

use super::{Action, Asked, Reply, State};
use evenkeel_coordinator::GroupState;
use evenkeel_core::group::Callback;
use evenkeel_core::group::consumer::State as Membership;
use evenkeel_core::group::reconcile::Phase;
use evenkeel_spec::words::HeartbeatEpoch;
use std::fmt;

/// An abstract transition.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    action: Action,
    /// The message that is delivered, if one.
    message: &'static str,
    before: Local,
    after: Local,
    group: (GroupState, GroupState),
}

/// What one consumer looks like from nearby.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Local {
    membership: &'static str,
    phase: &'static str,
    callback: &'static str,
}

impl Key {
    /// The abstract transition of a step.
    pub(super) fn of(before: &State, action: &Action, after: &State) -> Self {
        let i = action.consumer();
        Self {
            action: action.nameless(),
            message: message(before, action),
            before: Local::of(before, i),
            after: Local::of(after, i),
            group: (before.brain.group.state(), after.brain.group.state()),
        }
    }
}

impl Local {
    fn of(state: &State, i: usize) -> Self {
        let node = &state.nodes[i];
        let callback = match &node.app.callback {
            None => "",
            Some((_, Callback::Assigned(_))) => ", assigned open",
            Some((_, Callback::Revoked(_))) => ", revoked open",
            Some((_, Callback::Lost(..))) => ", lost open",
        };
        Self {
            membership: membership(node.group.state(), node.group.is_departing()),
            phase: phase(node.group.phase()),
            callback,
        }
    }
}

/// The class of the message that an action delivers.
fn message(state: &State, action: &Action) -> &'static str {
    match *action {
        Action::Arrive(i) | Action::Refuse(i, _) => {
            state.nodes[i].requests.first().map_or("", asks)
        }
        Action::Answer(i) => state.nodes[i].answers.first().map_or("", told),
        _ => "",
    }
}

fn membership(state: Membership, departing: bool) -> &'static str {
    match (state, departing) {
        (Membership::Unsubscribed, false) => "Unsubscribed",
        (Membership::Unsubscribed, true) => "Unsubscribed leaving",
        (Membership::Subscribed, false) => "Subscribed",
        (Membership::Subscribed, true) => "Subscribed leaving",
        (Membership::Joining, false) => "Joining",
        (Membership::Joining, true) => "Joining leaving",
        (Membership::Joined(_), _) => "Joined",
        (Membership::Fenced, _) => "Fenced",
        (Membership::Stale, false) => "Stale",
        (Membership::Stale, true) => "Stale leaving",
        (Membership::Fatal, _) => "Fatal",
    }
}

fn phase(phase: &Phase) -> &'static str {
    match phase {
        Phase::Idle => "",
        Phase::Withheld(_) => " Withheld",
        Phase::Committing(_) => " Committing",
        Phase::Revocable(_) => " Revocable",
        Phase::Revoking(_) => " Revoking",
        Phase::Assigning(_) => " Assigning",
    }
}

fn asks(asked: &Asked) -> &'static str {
    match asked {
        Asked::Commit(..) => "commit",
        Asked::Heartbeat(_, _, request) => match (request.epoch, request.owned.is_some()) {
            (HeartbeatEpoch::Join, _) => "join",
            (HeartbeatEpoch::Leave, _) => "leave",
            (HeartbeatEpoch::Stay(_), true) => "heartbeat owned",
            (HeartbeatEpoch::Stay(_), false) => "heartbeat",
        },
    }
}

fn told(reply: &Reply) -> &'static str {
    match reply {
        Reply::Commit(_, _, Ok(_)) => "committed",
        Reply::Commit(_, _, Err(code)) | Reply::Heartbeat(_, _, Err(code)) => code.name(),
        Reply::Heartbeat(_, true, Ok(_)) => "left",
        Reply::Heartbeat(_, false, Ok(answer)) if answer.assignment.is_some() => "assignment",
        Reply::Heartbeat(_, false, Ok(_)) => "accepted",
    }
}

impl Action {
    /// The consumer that it concerns; the first for what concerns the coordinator.
    #[must_use]
    pub fn consumer(&self) -> usize {
        match *self {
            Self::Subscribe(i)
            | Self::Narrow(i)
            | Self::Poll(i)
            | Self::Exit(i)
            | Self::Drop(i)
            | Self::Return(i)
            | Self::Commit(i)
            | Self::Unsubscribe(i)
            | Self::Done(i)
            | Self::Fail(i)
            | Self::Resolve(i)
            | Self::Found(i)
            | Self::Arrive(i)
            | Self::Answer(i)
            | Self::Refuse(i, _)
            | Self::Break(i)
            | Self::LateLeave(i)
            | Self::LateCommit(i)
            | Self::LateHeartbeat(i)
            | Self::Fire(i, _)
            | Self::Session(i, _)
            | Self::Bury(i, _)
            | Self::Rebalance(i, _)
            | Self::Crash(i) => i,
            Self::Interval | Self::Failover => 0,
        }
    }

    /// The same action of the first consumer.
    fn nameless(self) -> Self {
        match self {
            Self::Subscribe(_) => Self::Subscribe(0),
            Self::Narrow(_) => Self::Narrow(0),
            Self::Poll(_) => Self::Poll(0),
            Self::Exit(_) => Self::Exit(0),
            Self::Drop(_) => Self::Drop(0),
            Self::Return(_) => Self::Return(0),
            Self::Commit(_) => Self::Commit(0),
            Self::Unsubscribe(_) => Self::Unsubscribe(0),
            Self::Done(_) => Self::Done(0),
            Self::Fail(_) => Self::Fail(0),
            Self::Resolve(_) => Self::Resolve(0),
            Self::Found(_) => Self::Found(0),
            Self::Arrive(_) => Self::Arrive(0),
            Self::Answer(_) => Self::Answer(0),
            Self::Refuse(_, refusal) => Self::Refuse(0, refusal),
            Self::Break(_) => Self::Break(0),
            Self::LateLeave(_) => Self::LateLeave(0),
            Self::LateCommit(_) => Self::LateCommit(0),
            Self::LateHeartbeat(_) => Self::LateHeartbeat(0),
            Self::Fire(_, timer) => Self::Fire(0, timer),
            Self::Session(..) => Self::Session(0, 0),
            Self::Bury(..) => Self::Bury(0, 0),
            Self::Rebalance(..) => Self::Rebalance(0, 0),
            Self::Interval => Self::Interval,
            Self::Failover => Self::Failover,
            Self::Crash(_) => Self::Crash(0),
        }
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { membership, phase, callback } = self;
        write!(f, "{membership}{phase}{callback}")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.action.to_string().replace(" c0", "").replace(" id 0", "");
        let space = if self.message.is_empty() { "" } else { " " };
        let message = self.message;
        write!(f, "{action}{space}{message} | {} [{}]", self.before, self.group.0.name())?;
        write!(f, " => {} [{}]", self.after, self.group.1.name())
    }
}
