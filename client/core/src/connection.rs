//! One connection to one broker: connect, handshake, answers in order, backoff, throttle, idleness.
//!
//! Decides when to connect, when requests go out and what is lost when the connection ends. Whom
//! to connect to, and what a lost request means, is the shell's. One request after another is
//! answered on a Kafka connection, so an answer belongs to the oldest request or to none.

use crate::output::{Cause, DisconnectReason, Misbehaved};
use crate::request::Request;
use crate::{ConnectionId, RequestId, Time};
use evenkeel_spec::words::Step;
use std::collections::VecDeque;

/// What a connection wants to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Order<P> {
    /// Connect, as this attempt.
    Open(ConnectionId),
    /// Close it.
    Close(ConnectionId, DisconnectReason),
    /// Send a request; of the shell's requests, when each was queued.
    Send(ConnectionId, RequestId, Request, Option<Time>),
    /// This request's fate is unknown.
    Lost(P),
    /// Arm one of its timers.
    Arm(ConnectionTimer, Step),
    /// Disarm one of its timers, armed or not.
    Disarm(ConnectionTimer),
}

/// A timer of one connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum ConnectionTimer {
    /// `socket.connection.setup.timeout.ms` since the attempt started.
    Setup,
    /// The next attempt may start: `reconnect.backoff.ms` doubled at each step.
    Reconnect,
    /// The broker reads again. Its duration is the broker's word.
    Throttle,
    /// `connections.max.idle.ms` since the last answer.
    Idle,
    /// `request.timeout.ms` since this request was sent.
    Request(RequestId),
}

/// The source of names that are never used twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    connection: u64,
    request: u32,
}

impl Names {
    fn connection(&mut self) -> ConnectionId {
        self.connection += 1;
        ConnectionId(self.connection)
    }

    /// Wraps at 31 bits: by then the first ones are long answered.
    fn request(&mut self) -> RequestId {
        self.request = (self.request + 1) & 0x7fff_ffff;
        RequestId(self.request)
    }
}

/// One connection. `P` is what the shell remembers of a request.
#[derive(Clone, Debug)]
pub(crate) struct Connection<P> {
    state: State,
    step: Step,
    throttled: bool,
    in_flight: VecDeque<(RequestId, Option<P>)>,
    queue: VecDeque<(Request, P, Time)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Closed,
    BackingOff,
    Connecting(ConnectionId),
    Handshaking(ConnectionId),
    Ready(ConnectionId),
}

impl<P> Default for Connection<P> {
    fn default() -> Self {
        Self {
            state: State::Closed,
            step: Step::FIRST,
            throttled: false,
            in_flight: VecDeque::new(),
            queue: VecDeque::new(),
        }
    }
}

impl<P> Connection<P> {
    /// Whether requests go out at once.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_)) && !self.throttled
    }

    /// Whether the last attempt failed and the next must wait.
    pub(crate) fn is_backing_off(&self) -> bool {
        self.state == State::BackingOff
    }

    /// How many requests it has that are not answered.
    pub(crate) fn load(&self) -> usize {
        self.in_flight.len() + self.queue.len()
    }

    /// Sends a request as soon as there is a connection.
    pub(crate) fn on_request(
        &mut self,
        request: Request,
        purpose: P,
        queued_at: Time,
        names: &mut Names,
        out: &mut Vec<Order<P>>,
    ) {
        self.queue.push_back((request, purpose, queued_at));
        self.advance(names, out);
    }

    /// The attempt succeeded: shakes hands.
    pub(crate) fn on_connected(
        &mut self,
        id: ConnectionId,
        names: &mut Names,
        out: &mut Vec<Order<P>>,
    ) {
        if self.state != State::Connecting(id) {
            return;
        }
        self.state = State::Handshaking(id);
        out.push(Order::Disarm(ConnectionTimer::Setup));
        let request_id = self.on_sent(None, names, out);
        out.push(Order::Send(id, request_id, Request::ApiVersions, None));
    }

    /// The connection ended or was not made.
    pub(crate) fn on_disconnected(&mut self, id: ConnectionId, out: &mut Vec<Order<P>>) -> bool {
        if self.id() != Some(id) {
            return false;
        }
        self.lose_all(out);
        true
    }

    /// Takes the request that an answer belongs to: `Ok(None)` is the handshake.
    ///
    /// # Errors
    /// The answer is not that of the oldest request.
    pub(crate) fn on_answer(
        &mut self,
        id: ConnectionId,
        request_id: RequestId,
        out: &mut Vec<Order<P>>,
    ) -> Result<Option<P>, Misbehaved> {
        assert_eq!(self.id(), Some(id), "an answer is routed to the connection that it came on");
        match self.in_flight.front() {
            Some((oldest, _)) if *oldest == request_id => {
                out.push(Order::Disarm(ConnectionTimer::Request(request_id)));
                let purpose = self.in_flight.pop_front().and_then(|(_, purpose)| purpose);
                if purpose.is_some() {
                    self.step = Step::FIRST;
                }
                if self.load() == 0 {
                    out.push(Order::Arm(ConnectionTimer::Idle, Step::FIRST));
                }
                Ok(purpose)
            }
            Some(_) | None => Err(Misbehaved::OutOfOrder),
        }
    }

    /// The broker speaks what is needed: requests may go out.
    pub(crate) fn on_shaken(&mut self, names: &mut Names, out: &mut Vec<Order<P>>) {
        if let State::Handshaking(id) = self.state {
            self.state = State::Ready(id);
            self.advance(names, out);
        }
    }

    /// The broker will not read for a while: the shell arms [`ConnectionTimer::Throttle`].
    pub(crate) fn on_throttled(&mut self) {
        self.throttled = true;
    }

    /// It is given up for `cause`.
    pub(crate) fn on_failed(&mut self, cause: Cause, out: &mut Vec<Order<P>>) {
        if let Some(id) = self.id() {
            out.push(Order::Close(id, DisconnectReason::Failed(cause)));
            self.lose_all(out);
        }
    }

    /// The consumer ends.
    pub(crate) fn on_closing(&mut self, out: &mut Vec<Order<P>>) {
        if let Some(id) = self.id() {
            out.push(Order::Close(id, DisconnectReason::Closing));
        }
        self.lose_all(out);
        out.push(Order::Disarm(ConnectionTimer::Reconnect));
        self.state = State::Closed;
    }

    /// One of its timers fired; returns why the connection failed by it.
    pub(crate) fn on_timer(
        &mut self,
        timer: ConnectionTimer,
        names: &mut Names,
        out: &mut Vec<Order<P>>,
    ) -> Option<Cause> {
        match timer {
            ConnectionTimer::Setup => self.fail(Cause::SetupTimedOut, out),
            ConnectionTimer::Request(_) => self.fail(Cause::RequestTimedOut, out),
            ConnectionTimer::Reconnect => {
                assert!(self.is_backing_off(), "only a failed connection backs off");
                self.state = State::Closed;
                self.advance(names, out);
                None
            }
            ConnectionTimer::Throttle => {
                self.throttled = false;
                self.advance(names, out);
                None
            }
            ConnectionTimer::Idle => {
                if let (State::Ready(id), 0) = (self.state, self.load()) {
                    out.push(Order::Close(id, DisconnectReason::Idle));
                    out.push(Order::Disarm(ConnectionTimer::Throttle));
                    *self = Self::default();
                }
                None
            }
        }
    }

    fn fail(&mut self, cause: Cause, out: &mut Vec<Order<P>>) -> Option<Cause> {
        self.on_failed(cause.clone(), out);
        Some(cause)
    }

    /// The attempt or connection that is current.
    pub(crate) fn id(&self) -> Option<ConnectionId> {
        match self.state {
            State::Closed | State::BackingOff => None,
            State::Connecting(id) | State::Handshaking(id) | State::Ready(id) => Some(id),
        }
    }

    /// Connects if something waits, sends if it may.
    fn advance(&mut self, names: &mut Names, out: &mut Vec<Order<P>>) {
        match self.state {
            State::Closed if !self.queue.is_empty() => {
                let id = names.connection();
                self.state = State::Connecting(id);
                out.push(Order::Open(id));
                out.push(Order::Arm(ConnectionTimer::Setup, Step::FIRST));
            }
            State::Ready(id) if !self.throttled => {
                while let Some((request, purpose, queued_at)) = self.queue.pop_front() {
                    let request_id = self.on_sent(Some(purpose), names, out);
                    out.push(Order::Send(id, request_id, request, Some(queued_at)));
                }
            }
            State::Closed
            | State::BackingOff
            | State::Connecting(_)
            | State::Handshaking(_)
            | State::Ready(_) => {}
        }
    }

    fn on_sent(
        &mut self,
        purpose: Option<P>,
        names: &mut Names,
        out: &mut Vec<Order<P>>,
    ) -> RequestId {
        let request_id = names.request();
        out.push(Order::Disarm(ConnectionTimer::Idle));
        out.push(Order::Arm(ConnectionTimer::Request(request_id), Step::FIRST));
        self.in_flight.push_back((request_id, purpose));
        request_id
    }

    /// Everything on it is lost, in order; the next attempt waits.
    fn lose_all(&mut self, out: &mut Vec<Order<P>>) {
        for timer in [ConnectionTimer::Setup, ConnectionTimer::Throttle, ConnectionTimer::Idle] {
            out.push(Order::Disarm(timer));
        }
        for (request_id, purpose) in self.in_flight.drain(..) {
            out.push(Order::Disarm(ConnectionTimer::Request(request_id)));
            out.extend(purpose.map(Order::Lost));
        }
        out.extend(self.queue.drain(..).map(|(_, purpose, _)| Order::Lost(purpose)));
        self.throttled = false;
        self.state = State::BackingOff;
        out.push(Order::Arm(ConnectionTimer::Reconnect, self.step));
        self.step = self.step.next();
    }
}

#[cfg(test)]
mod tests;
