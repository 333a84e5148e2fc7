//! What the member waits for, other than its next heartbeat.

use super::Shell;
use super::diagnose::{At, Outstanding};
use super::timers::Alarm;
use crate::Chunk;
use crate::connection::{Connection, ConnectionTimer, Hold};
use crate::diagnosis::{Stand, Wait};
use crate::group::consumer::State;
use crate::group::view::Saying;
use evenkeel_spec::words::{BackoffKind, Timer};
use std::time::Duration;

impl<C: Chunk> Shell<C> {
    /// Shows each thing that the member waits for.
    pub(super) fn for_each_wait(&self, outstanding: &Outstanding<'_>, f: &mut dyn FnMut(Wait)) {
        let group = &self.group;
        if let Some(what) = group.poll_wanted() {
            f(Wait::Poll(what));
        }
        if let Some(method) = group.method() {
            f(Wait::Callback(method));
        }
        if group.lookup().is_under_way() {
            f(Wait::Coordinator(self.stand_of_lookup(outstanding)));
        }
        let say = |saying, kind, at| self.stand_of(saying, kind, at);
        if let Some(saying) = group.leave_saying() {
            f(Wait::Leave(say(saying, BackoffKind::Heartbeat, outstanding.heartbeat)));
        } else if let State::Joining | State::Joined(_) = group.state() {
            let saying = group.heartbeat_saying();
            let stand = say(saying, BackoffKind::Heartbeat, outstanding.heartbeat);
            let is_on_its_way = matches!(stand, Stand::InFlight { .. });
            if group.state() == State::Joining {
                f(Wait::Join(stand));
            } else if saying.is_pausing
                || (saying.is_asked && !is_on_its_way)
                || (group.is_in_doubt() && !self.group.is_reconciled())
            {
                f(Wait::Heartbeat(stand));
            }
        }
        if let Some(saying) = group.commit_saying() {
            f(Wait::Commit(say(saying, BackoffKind::Commit, outstanding.commit)));
        }
        match group.state() {
            State::Fatal => f(Wait::Subscribe),
            State::Joined(_) => self.waits_of_member(f),
            State::Unsubscribed
            | State::Subscribed
            | State::Joining
            | State::Fenced
            | State::Stale => {}
        }
    }

    fn waits_of_member(&self, f: &mut dyn FnMut(Wait)) {
        let unnamed = self.metadata.unresolved();
        if !unnamed.is_empty() {
            f(Wait::TopicNames(unnamed));
        } else if self.owned.is_empty() && self.group.is_reconciled() && !self.group.is_ending() {
            f(Wait::Assignment);
        }
    }

    fn stand_of(&self, saying: Saying, kind: BackoffKind, at: Option<At>) -> Stand {
        match at {
            _ if saying.is_pausing => {
                Stand::Backoff { left: self.left(Alarm::Group(Timer::Backoff(kind))) }
            }
            Some(at) => self.stand(at),
            None => match self.group.coordinator() {
                Some(node) => Stand::Queued { broker: Some(node) },
                None => Stand::NoCoordinator,
            },
        }
    }

    fn stand_of_lookup(&self, outstanding: &Outstanding<'_>) -> Stand {
        match outstanding.lookup {
            _ if self.group.lookup().is_backing_off() => {
                let timer = Timer::Backoff(BackoffKind::Lookup);
                Stand::Backoff { left: self.left(Alarm::Group(timer)) }
            }
            Some(at) => self.stand(at),
            None => Stand::Reconnecting { broker: None, left: self.left_to_reconnect() },
        }
    }

    /// Until the first of the brokers that failed is tried again.
    fn left_to_reconnect(&self) -> Duration {
        let failed = self.peers.desk.connections().filter(|(_, c)| c.is_backing_off());
        let left =
            failed.map(|(peer, _)| self.left(Alarm::Connection(peer, ConnectionTimer::Reconnect)));
        left.min().unwrap_or_default()
    }

    fn stand(&self, at: At) -> Stand {
        let broker = at.peer.node();
        let connection = self.peers.desk.connection(at.peer);
        if at.is_sent {
            return Stand::InFlight { broker };
        }
        if connection.is_some_and(Connection::is_backing_off) {
            let left = self.left(Alarm::Connection(at.peer, ConnectionTimer::Reconnect));
            return Stand::Reconnecting { broker, left };
        }
        match connection.map(Connection::hold) {
            Some(Hold::Lane) => Stand::Queued { broker },
            Some(Hold::Throttle) => {
                let left = self.left(Alarm::Connection(at.peer, ConnectionTimer::Throttle));
                Stand::Throttled { broker, left }
            }
            Some(Hold::Connection) | None => Stand::Connecting { broker },
        }
    }
}
