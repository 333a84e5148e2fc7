//! Abstract transitions: what remains of a step when numbers, ids and epochs are dropped.

use super::{Action, Asked, Reply, State};
use evenkeel_coordinator::GroupState;
use evenkeel_core::group::Callback;
use evenkeel_core::group::consumer::State as Membership;
use evenkeel_core::group::reconcile::Phase;
use evenkeel_spec::words::{HeartbeatEpoch, Timer};
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
    membership: Name,
    phase: Name,
    callback: Name,
}

/// A name: its place in its table. The tables are sorted, so that names are ordered as texts are and
/// compared as numbers: every transition of an exploration has four.
type Name = u8;

const MEMBERSHIPS: [&str; 11] = [
    "Fatal",
    "Fenced",
    "Joined",
    "Joining",
    "Joining leaving",
    "Stale",
    "Stale leaving",
    "Subscribed",
    "Subscribed leaving",
    "Unsubscribed",
    "Unsubscribed leaving",
];
const PHASES: [&str; 6] = ["", " Assigning", " Committing", " Revocable", " Revoking", " Withheld"];
const CALLBACKS: [&str; 4] = ["", ", assigned open", ", lost open", ", revoked open"];

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
        Self {
            membership: membership(node.group.state(), node.group.is_departing()),
            phase: phase(node.group.phase()),
            callback: callback(node.app.callback.as_ref().map(|(_, callback)| callback)),
        }
    }
}

/// The class of the message that an action delivers; or whether a dropped poll has left records.
fn message(state: &State, action: &Action) -> &'static str {
    match *action {
        Action::Arrive(i) | Action::Refuse(i, _) => {
            state.nodes[i].requests.first().map_or("", asks)
        }
        Action::Answer(i) => state.nodes[i].answers.first().map_or("", told),
        Action::Poll(i)
        | Action::Seek(i, _)
        | Action::Commit(i)
        | Action::Unsubscribe(i)
        | Action::Fire(i, Timer::AutoCommit)
            if state.nodes[i].app.waiting.is_some() =>
        {
            "with records left"
        }
        _ => "",
    }
}

fn membership(state: Membership, departing: bool) -> Name {
    let leaving = u8::from(departing);
    match state {
        Membership::Fatal => 0,
        Membership::Fenced => 1,
        Membership::Joined(_) => 2,
        Membership::Joining => 3 + leaving,
        Membership::Stale => 5 + leaving,
        Membership::Subscribed => 7 + leaving,
        Membership::Unsubscribed => 9 + leaving,
    }
}

fn phase(phase: &Phase) -> Name {
    match phase {
        Phase::Idle => 0,
        Phase::Assigning(_) => 1,
        Phase::Committing(_) => 2,
        Phase::Revocable(_) => 3,
        Phase::Revoking(_) => 4,
        Phase::Withheld(_) => 5,
    }
}

fn callback(callback: Option<&Callback>) -> Name {
    match callback {
        None => 0,
        Some(Callback::Assigned(_)) => 1,
        Some(Callback::Lost(..)) => 2,
        Some(Callback::Revoked(_)) => 3,
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
            | Self::Miss(i)
            | Self::Seek(i, _)
            | Self::Commit(i)
            | Self::Unsubscribe(i)
            | Self::Abandon(i)
            | Self::Repeat(i)
            | Self::Ask(i)
            | Self::Done(i)
            | Self::Fail(i)
            | Self::Resolve(i)
            | Self::Found(i)
            | Self::Deny(i)
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
            Self::Miss(_) => Self::Miss(0),
            Self::Seek(_, place) => Self::Seek(0, place),
            Self::Commit(_) => Self::Commit(0),
            Self::Unsubscribe(_) => Self::Unsubscribe(0),
            Self::Abandon(_) => Self::Abandon(0),
            Self::Repeat(_) => Self::Repeat(0),
            Self::Ask(_) => Self::Ask(0),
            Self::Done(_) => Self::Done(0),
            Self::Fail(_) => Self::Fail(0),
            Self::Resolve(_) => Self::Resolve(0),
            Self::Found(_) => Self::Found(0),
            Self::Deny(_) => Self::Deny(0),
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
        let name = |table: &[&'static str], name: Name| table[usize::from(name)];
        let membership = name(&MEMBERSHIPS, self.membership);
        let (phase, callback) = (name(&PHASES, self.phase), name(&CALLBACKS, self.callback));
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

#[cfg(test)]
mod tests {
    use super::{CALLBACKS, MEMBERSHIPS, PHASES};

    #[test]
    fn names_are_ordered_as_texts_are() {
        assert!(MEMBERSHIPS.is_sorted() && PHASES.is_sorted() && CALLBACKS.is_sorted());
    }
}
