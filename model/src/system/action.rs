//! What may happen next. An action names consumers and kinds, never epochs or ids.

use crate::bounds::{Budget, Slice};
use crate::system::{Call, Node, State};
use evenkeel_spec::words::{ErrorCode, HeartbeatEpoch, Timer};
use std::fmt;

/// Something that happens. The number is the consumer's.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Action {
    /// The application subscribes.
    Subscribe(usize),
    /// The application subscribes to fewer topics.
    Narrow(usize),
    /// The application enters poll.
    Poll(usize),
    /// Poll returns with nothing.
    Exit(usize),
    /// Poll is dropped in the middle of a callback, which the next call resumes.
    Drop(usize),
    /// Poll returns the next record of the first partition that has one.
    Return(usize),
    /// The next record comes for a poll that is dropped: the next one returns it.
    Miss(usize),
    /// The application reads the first partition with records from elsewhere.
    Seek(usize, Place),
    /// The application commits everything that was returned.
    Commit(usize),
    /// The application unsubscribes.
    Unsubscribe(usize),
    /// The application drops its unsubscribe: the call ends, what was begun goes on.
    Abandon(usize),
    /// The application subscribes once more to the same.
    Repeat(usize),
    /// A call of the application needs the coordinator, whoever is subscribed.
    Ask(usize),
    /// The open callback succeeds.
    Done(usize),
    /// The open callback fails.
    Fail(usize),
    /// Metadata can name one more topic.
    Resolve(usize),
    /// The lookup is answered with who coordinates now.
    Found(usize),
    /// The lookup is refused for good.
    Deny(usize),
    /// The oldest request on the connection (N1) reaches its broker and is processed.
    Arrive(usize),
    /// The oldest answer reaches the consumer.
    Answer(usize),
    /// The oldest request, a heartbeat, is answered with an error and not processed.
    Refuse(usize, Refusal),
    /// The connections break: what was on them is lost.
    Break(usize),
    /// A leave from a broken connection is processed after all.
    LateLeave(usize),
    /// A commit from a broken connection is processed after all.
    LateCommit(usize),
    /// A heartbeat from a broken connection is processed after all: under the network assumption
    /// only before the member's next one.
    LateHeartbeat(usize),
    /// A timer of the consumer fires.
    Fire(usize, Timer),
    /// The session of a member id of this consumer expires, although it lives; the id is told by its
    /// number.
    Session(usize, u32),
    /// The session of a member id expires that nobody speaks for any more.
    Bury(usize, u32),
    /// The coordinator's patience with this consumer's revocation ends.
    Rebalance(usize, u32),
    /// The coordinator's assignment interval is over.
    Interval,
    /// Another node becomes coordinator and replays the log.
    Failover,
    /// The consumer's process dies.
    Crash(usize),
}

/// Where a seek goes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// To the first record, by its offset.
    First,
    /// After the last record, by its offset.
    Last,
    /// To the beginning, whose offset is not known before it is asked for.
    Beginning,
}

/// Errors that a broker may answer for reasons outside of this world.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Refusal {
    /// `COORDINATOR_LOAD_IN_PROGRESS`.
    Loading,
    /// `FENCED_MEMBER_EPOCH`.
    Fenced,
    /// `GROUP_AUTHORIZATION_FAILED`.
    Unauthorized,
}

impl Refusal {
    /// The error code.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Loading => ErrorCode::CoordinatorLoadInProgress,
            Self::Fenced => ErrorCode::FencedMemberEpoch,
            Self::Unauthorized => ErrorCode::GroupAuthorizationFailed,
        }
    }
}

impl Slice {
    /// Every action that has an effect, in a fixed order.
    pub(super) fn offer(&self, state: &State, actions: &mut Vec<Action>) {
        for (i, node) in state.nodes.iter().enumerate() {
            if !node.crashed {
                self.offer_application(state, i, node, actions);
                self.offer_network(state, i, node, actions);
                self.offer_timers(state, i, node, actions);
            }
            if node.late_leave.is_some() {
                actions.push(Action::LateLeave(i));
            }
            if node.late_commit.is_some() {
                actions.push(Action::LateCommit(i));
            }
            if node.late_heartbeat.is_some() {
                actions.push(Action::LateHeartbeat(i));
            }
        }
        self.offer_coordinator(state, actions);
    }

    fn offer_application(&self, state: &State, i: usize, node: &Node, actions: &mut Vec<Action>) {
        let app = &node.app;
        let left = &state.left;
        if app.call == Call::Outside {
            if (!app.subscribed || app.refused) && left.subscribes > 0 {
                actions.push(Action::Subscribe(i));
            }
            let is_dropped = node.group.is_ending();
            if app.subscribed || is_dropped || (self.detail.exit && left.unsubscribes == 0) {
                actions.push(Action::Poll(i));
            }
            if app.subscribed {
                if left.unsubscribes > 0 && i < self.restless {
                    actions.push(Action::Unsubscribe(i));
                }
                if left.narrows > 0 && !app.narrowed {
                    actions.push(Action::Narrow(i));
                }
            }
            if left.commits > 0 && i < self.restless && node.has_returned() {
                actions.push(Action::Commit(i));
            }
            if left.seeks > 0 && i < self.restless && node.sought(self).is_some() {
                let places = [Place::First, Place::Last, Place::Beginning];
                actions.extend(places.map(|place| Action::Seek(i, place)));
            }
        }
        if app.call == Call::Poll {
            if app.callback.is_none() && self.detail.exit {
                actions.push(Action::Exit(i));
            }
            if app.callback.is_some() && left.faults > 0 && self.faults.fail {
                actions.push(Action::Drop(i));
            }
            if i < self.restless && node.next_record(self).is_some() {
                actions.push(Action::Return(i));
                if left.misses > 0 {
                    actions.push(Action::Miss(i));
                }
            }
        }
        self.offer_whims(left, i, node, actions);
        if app.call != Call::Outside && app.callback.is_some() {
            actions.push(Action::Done(i));
            if left.faults > 0 && self.faults.fail {
                actions.push(Action::Fail(i));
            }
        }
        if node.resolved < self.topics.len() {
            actions.push(Action::Resolve(i));
        }
    }

    /// What an application does that changes its mind, or asks for more at once.
    fn offer_whims(&self, left: &Budget, i: usize, node: &Node, actions: &mut Vec<Action>) {
        if left.whims == 0 {
            return;
        }
        match node.app.call {
            Call::Unsubscribe => actions.push(Action::Abandon(i)),
            Call::Outside if node.app.subscribed => actions.push(Action::Repeat(i)),
            Call::Outside | Call::Poll => {}
        }
        if node.app.call == Call::Outside && node.group.coordinator().is_none() {
            actions.push(Action::Ask(i));
        }
    }

    fn offer_network(&self, state: &State, i: usize, node: &Node, actions: &mut Vec<Action>) {
        let faulty = state.left.faults > 0;
        if node.lookup.is_some() {
            actions.push(Action::Found(i));
            if faulty && self.faults.lookup {
                actions.push(Action::Deny(i));
            }
        }
        if let Some(asked) = node.requests.first() {
            actions.push(Action::Arrive(i));
            if faulty && asked.is_heartbeat_but(HeartbeatEpoch::Leave) {
                for &refusal in self.faults.refusals {
                    actions.push(Action::Refuse(i, refusal));
                }
            }
        }
        if !node.answers.is_empty() {
            actions.push(Action::Answer(i));
        }
        if faulty && i < self.restless && self.faults.disconnect.applies(node) {
            actions.push(Action::Break(i));
        }
        if faulty && self.faults.crash && node.app.subscribed {
            actions.push(Action::Crash(i));
        }
    }

    fn offer_timers(&self, state: &State, i: usize, node: &Node, actions: &mut Vec<Action>) {
        for &timer in &node.timers {
            let is_slowness =
                matches!(timer, Timer::PollInterval | Timer::Revocation | Timer::Leave);
            if timer == Timer::AutoCommit && !self.detail.interval_commit {
                continue;
            }
            if !is_slowness || (state.left.faults > 0 && self.faults.slow) {
                actions.push(Action::Fire(i, timer));
            }
        }
    }

    fn offer_coordinator(&self, state: &State, actions: &mut Vec<Action>) {
        use evenkeel_coordinator::Timer as Patience;
        let faulty = state.left.faults > 0;
        for &timer in &state.brain.timers {
            match timer {
                Patience::Session(id) => {
                    let (i, number) = self.consumer_of(id);
                    if state.nodes[i].is_gone(self, id) {
                        actions.push(Action::Bury(i, number));
                    } else if faulty && self.faults.session {
                        actions.push(Action::Session(i, number));
                    }
                }
                Patience::Rebalance(id) if faulty && self.faults.rebalance => {
                    let (i, number) = self.consumer_of(id);
                    actions.push(Action::Rebalance(i, number));
                }
                Patience::Rebalance(_) => {}
                Patience::Assignment => actions.push(Action::Interval),
            }
        }
        if faulty && self.faults.failover {
            actions.push(Action::Failover);
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribe(i) => write!(f, "subscribe c{i}"),
            Self::Narrow(i) => write!(f, "narrow c{i}"),
            Self::Poll(i) => write!(f, "poll c{i}"),
            Self::Exit(i) => write!(f, "exit c{i}"),
            Self::Drop(i) => write!(f, "drop c{i}"),
            Self::Return(i) => write!(f, "return c{i}"),
            Self::Miss(i) => write!(f, "miss c{i}"),
            Self::Seek(i, place) => write!(f, "seek c{i} {place:?}"),
            Self::Commit(i) => write!(f, "commit c{i}"),
            Self::Unsubscribe(i) => write!(f, "unsubscribe c{i}"),
            Self::Abandon(i) => write!(f, "abandon c{i}"),
            Self::Repeat(i) => write!(f, "repeat c{i}"),
            Self::Ask(i) => write!(f, "ask c{i}"),
            Self::Done(i) => write!(f, "callback c{i} done"),
            Self::Fail(i) => write!(f, "callback c{i} fails"),
            Self::Resolve(i) => write!(f, "resolve c{i}"),
            Self::Found(i) => write!(f, "found c{i}"),
            Self::Deny(i) => write!(f, "deny c{i}"),
            Self::Arrive(i) => write!(f, "arrive c{i}"),
            Self::Answer(i) => write!(f, "answer c{i}"),
            Self::Refuse(i, refusal) => write!(f, "refuse c{i} {refusal:?}"),
            Self::Break(i) => write!(f, "break c{i}"),
            Self::LateLeave(i) => write!(f, "late c{i} leave"),
            Self::LateCommit(i) => write!(f, "late c{i} commit"),
            Self::LateHeartbeat(i) => write!(f, "late c{i} heartbeat"),
            Self::Fire(i, timer) => write!(f, "timer c{i} {timer:?}"),
            Self::Bury(i, number) => write!(f, "bury c{i} id {number}"),
            Self::Session(i, 0) => write!(f, "session c{i}"),
            Self::Session(i, number) => write!(f, "session c{i} id {number}"),
            Self::Rebalance(i, 0) => write!(f, "rebalance c{i}"),
            Self::Rebalance(i, number) => write!(f, "rebalance c{i} id {number}"),
            Self::Interval => f.write_str("interval"),
            Self::Failover => f.write_str("failover"),
            Self::Crash(i) => write!(f, "crash c{i}"),
        }
    }
}
