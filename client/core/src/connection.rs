//! One connection to one broker: connect, handshake, lanes, answers in order, backoff, throttle,
//! idleness.
//!
//! Decides when to connect, when requests go out and what is lost when the connection ends. Whom
//! to connect to, and what a lost request means, is not its to know. One request after another is
//! answered on a Kafka connection, so an answer belongs to the oldest request or to none.
//! spec/10-requests.md.

mod order;

pub use order::{ConnectionTimer, Names, Order};

use crate::output::{Cause, DisconnectReason, Misbehaved};
use crate::request::Mutant;
use crate::request::desk::Renumbered;
use crate::request::queue::{Lane, Question, Queue, Waiting, Word};
use crate::{ConnectionId, RequestId};
use evenkeel_spec::words::Step;
use std::collections::VecDeque;

/// One connection. `Q` is what is asked, `A` who waits for the answer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Connection<Q, A> {
    state: State,
    step: Step,
    throttled: bool,
    in_flight: VecDeque<Flight<Q, A>>,
    queue: Queue<Q, A>,
    /// The bounds of the user lane.
    limits: Limits,
}

/// What a connection is bounded by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Limits {
    /// User requests in flight at once (Q2).
    pub user_in_flight_max: usize,
    /// The seeded fault.
    pub mutant: Option<Mutant>,
}

/// A request that waits for its answer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Flight<Q, A> {
    id: RequestId,
    /// `None`: the handshake.
    lane: Option<Lane>,
    askers: Vec<A>,
    /// Kept for [`Question::word`] and for a seeded fault.
    word: Word,
    question: Option<Q>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum State {
    Closed,
    BackingOff,
    Connecting(ConnectionId),
    Handshaking(ConnectionId),
    Ready(ConnectionId),
}

/// Where a request that waits on a connection stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Hold {
    /// For others before it.
    Lane,
    /// For the connection.
    Connection,
    /// For the broker to read again.
    Throttle,
}

impl<Q: Question, A> Connection<Q, A> {
    /// Nothing is connected and nothing waits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            state: State::Closed,
            step: Step::FIRST,
            throttled: false,
            in_flight: VecDeque::new(),
            queue: Queue::default(),
            limits,
        }
    }

    /// Whether requests go out at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_)) && !self.throttled
    }

    /// Whether the broker does not read.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.throttled
    }

    /// Whether the last attempt failed and the next must wait.
    #[must_use]
    pub fn is_backing_off(&self) -> bool {
        self.state == State::BackingOff
    }

    /// Whether the broker may park the answers to what comes next.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.in_flight.iter().any(|flight| flight.lane == Some(Lane::Records))
    }

    /// What its waiting requests wait for.
    #[must_use]
    pub fn hold(&self) -> Hold {
        match self.state {
            State::Ready(_) if self.throttled => Hold::Throttle,
            State::Ready(_) => Hold::Lane,
            State::Closed | State::BackingOff | State::Connecting(_) | State::Handshaking(_) => {
                Hold::Connection
            }
        }
    }

    /// How many requests it has that are not answered.
    #[must_use]
    pub fn load(&self) -> usize {
        self.in_flight.len() + self.queue.len()
    }

    /// What waits and was not sent.
    #[must_use]
    pub fn queue(&self) -> &Queue<Q, A> {
        &self.queue
    }

    /// Who waits for what is in flight, and in which lane that is, in the order of the sending.
    pub fn flights(&self) -> impl Iterator<Item = (Lane, &[A])> {
        self.in_flight.iter().filter_map(|flight| Some((flight.lane?, flight.askers.as_slice())))
    }

    /// Who waits for this request in flight.
    #[must_use]
    pub fn askers_of(&self, request: RequestId) -> &[A] {
        let flight = self.in_flight.iter().find(|flight| flight.id == request);
        flight.map_or(&[], |flight| &flight.askers)
    }

    /// Whether a request in flight says one of these.
    #[must_use]
    pub fn has_in_flight(&self, words: &[Word]) -> bool {
        self.in_flight.iter().any(|flight| words.contains(&flight.word))
    }

    /// Sends a request as soon as there is a connection and its lane may.
    pub fn on_request(
        &mut self,
        lane: Lane,
        question: Q,
        askers: Vec<A>,
        names: &mut Names,
        out: &mut Vec<Order<Q, A>>,
    ) {
        if Mutant::AttachInFlight.is(self.limits.mutant)
            && let Some(flight) = self.in_flight.iter_mut().find(|flight| {
                flight.question.as_ref().is_some_and(|asked| asked.covers(&question))
            })
        {
            return flight.askers.extend(askers);
        }
        self.queue.push(lane, question, askers, self.limits.mutant);
        self.advance(names, out);
    }

    /// Takes over what another connection had not sent yet; it goes out with what follows, at the
    /// latest with [`Self::on_room`].
    pub fn on_handed_over(&mut self, lane: Lane, waiting: Waiting<Q, A>) {
        self.queue.put(lane, waiting);
    }

    /// Gives away what was not sent yet.
    pub fn hand_over(&mut self, chosen: impl Fn(Lane, &Q) -> bool) -> Vec<Waiting<Q, A>> {
        self.queue.take(chosen)
    }

    /// These callers are gone (Q6). Gives back those that waited for something unsent; those that
    /// wait for something in flight are forgotten by it.
    pub fn on_gone(&mut self, is_gone: impl Fn(&A) -> bool) -> Vec<A> {
        if !Mutant::AnsweredTwice.is(self.limits.mutant) {
            for flight in &mut self.in_flight {
                flight.askers.retain(|asker| !is_gone(asker));
            }
        }
        if Mutant::SentForNobody.is(self.limits.mutant) {
            return Vec::new();
        }
        self.queue.withdraw(is_gone, self.limits.mutant)
    }

    /// The attempt succeeded: shakes hands.
    pub fn on_connected(
        &mut self,
        id: ConnectionId,
        names: &mut Names,
        out: &mut Vec<Order<Q, A>>,
    ) {
        if self.state != State::Connecting(id) {
            return;
        }
        self.state = State::Handshaking(id);
        out.push(Order::Disarm(ConnectionTimer::Setup));
        let request = names.request();
        self.arm_for(request, out);
        let (lane, askers) = (None, Vec::new());
        let flight = Flight { id: request, lane, askers, word: Word::Nothing, question: None };
        self.in_flight.push_back(flight);
        out.push(Order::Handshake(id, request));
    }

    /// The connection ended or was not made.
    pub fn on_disconnected(&mut self, id: ConnectionId, out: &mut Vec<Order<Q, A>>) -> bool {
        if self.id() != Some(id) {
            return false;
        }
        self.lose_all(out);
        true
    }

    /// Takes those for whom an answer is: `Ok(None)` is the handshake.
    ///
    /// # Errors
    /// The answer is not that of the oldest request.
    pub fn on_answer(
        &mut self,
        id: ConnectionId,
        request: RequestId,
        out: &mut Vec<Order<Q, A>>,
    ) -> Result<Option<Vec<A>>, Misbehaved> {
        assert_eq!(self.id(), Some(id), "an answer is routed to the connection that it came on");
        let flight = match self.in_flight.pop_front() {
            Some(oldest) if oldest.id == request => oldest,
            Some(oldest) => {
                self.in_flight.push_front(oldest);
                return Err(Misbehaved::OutOfOrder);
            }
            None => return Err(Misbehaved::OutOfOrder),
        };
        out.push(Order::Disarm(ConnectionTimer::Request(request)));
        if flight.lane.is_some() {
            self.step = Step::FIRST;
        }
        if self.load() == 0 {
            out.push(Order::Arm(ConnectionTimer::Idle, Step::FIRST));
        }
        Ok(flight.lane.is_some().then_some(flight.askers))
    }

    /// The broker does not speak what was to be sent: it was not. Takes those who wait for it.
    pub fn on_unspoken(&mut self, request: RequestId, out: &mut Vec<Order<Q, A>>) -> Vec<A> {
        let place = self.in_flight.iter().position(|flight| flight.id == request);
        let Some(flight) = place.and_then(|place| self.in_flight.remove(place)) else {
            return Vec::new();
        };
        out.push(Order::Disarm(ConnectionTimer::Request(request)));
        if self.load() == 0 {
            out.push(Order::Arm(ConnectionTimer::Idle, Step::FIRST));
        }
        flight.askers
    }

    /// An answer has made room in the lanes.
    pub fn on_room(&mut self, names: &mut Names, out: &mut Vec<Order<Q, A>>) {
        self.advance(names, out);
    }

    /// The broker speaks what is needed: requests may go out.
    pub fn on_shaken(&mut self, names: &mut Names, out: &mut Vec<Order<Q, A>>) {
        if let State::Handshaking(id) = self.state {
            self.state = State::Ready(id);
            self.advance(names, out);
        }
    }

    /// The broker will not read for a while (Q8): the owner arms [`ConnectionTimer::Throttle`].
    pub fn on_throttled(&mut self) {
        self.throttled = true;
    }

    /// It is given up for `cause`.
    pub fn on_failed(&mut self, cause: Cause, out: &mut Vec<Order<Q, A>>) {
        if let Some(id) = self.id() {
            out.push(Order::Close(id, DisconnectReason::Failed(cause)));
            self.lose_all(out);
        }
    }

    /// Closes it, if nothing is on it or waits for it.
    pub fn on_needless(&mut self, reason: DisconnectReason, out: &mut Vec<Order<Q, A>>) {
        if self.load() > 0 {
            return;
        }
        if let Some(id) = self.id() {
            out.push(Order::Close(id, reason));
        }
        for timer in [ConnectionTimer::Setup, ConnectionTimer::Throttle, ConnectionTimer::Idle] {
            out.push(Order::Disarm(timer));
        }
        if !self.is_backing_off() {
            *self = Self::new(self.limits);
        }
    }

    /// The consumer ends.
    pub fn on_closing(&mut self, out: &mut Vec<Order<Q, A>>) {
        if let Some(id) = self.id() {
            out.push(Order::Close(id, DisconnectReason::Closing));
        }
        self.lose_all(out);
        out.push(Order::Disarm(ConnectionTimer::Reconnect));
        self.state = State::Closed;
    }

    /// One of its timers fired; returns why the connection failed by it.
    pub fn on_timer(
        &mut self,
        timer: ConnectionTimer,
        names: &mut Names,
        out: &mut Vec<Order<Q, A>>,
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
                if matches!(self.state, State::Ready(_)) {
                    self.on_needless(DisconnectReason::Idle, out);
                }
                None
            }
        }
    }

    fn fail(&mut self, cause: Cause, out: &mut Vec<Order<Q, A>>) -> Option<Cause> {
        self.on_failed(cause.clone(), out);
        Some(cause)
    }

    /// The attempt or connection that is current.
    #[must_use]
    pub fn id(&self) -> Option<ConnectionId> {
        match self.state {
            State::Closed | State::BackingOff => None,
            State::Connecting(id) | State::Handshaking(id) | State::Ready(id) => Some(id),
        }
    }

    /// Connects if something waits, sends if it may.
    fn advance(&mut self, names: &mut Names, out: &mut Vec<Order<Q, A>>) {
        let reads = !self.throttled || Mutant::ThrottleIgnored.is(self.limits.mutant);
        match self.state {
            State::Closed if !self.queue.is_empty() => {
                let id = names.connection();
                self.state = State::Connecting(id);
                out.push(Order::Open(id));
                out.push(Order::Arm(ConnectionTimer::Setup, Step::FIRST));
            }
            State::Ready(id) if reads => {
                while let Some((lane, waiting)) = self.pop() {
                    self.send(id, lane, waiting, names, out);
                }
            }
            State::Closed
            | State::BackingOff
            | State::Connecting(_)
            | State::Handshaking(_)
            | State::Ready(_) => {}
        }
    }

    /// Q1, Q2.
    fn pop(&mut self) -> Option<(Lane, Waiting<Q, A>)> {
        let in_flight = self.in_flight.iter().filter(|f| f.lane == Some(Lane::User)).count();
        let has_room = in_flight < self.limits.user_in_flight_max
            || Mutant::InFlightUnbounded.is(self.limits.mutant);
        self.queue.pop(|lane| lane != Lane::User || has_room)
    }

    fn send(
        &mut self,
        connection: ConnectionId,
        lane: Lane,
        waiting: Waiting<Q, A>,
        names: &mut Names,
        out: &mut Vec<Order<Q, A>>,
    ) {
        let request = names.request();
        let Waiting { question, askers } = waiting;
        let kept = Mutant::AttachInFlight.is(self.limits.mutant).then(|| question.clone());
        let word = question.word();
        self.arm_for(request, out);
        let lane_of = Some(lane);
        self.in_flight.push_back(Flight {
            id: request,
            lane: lane_of,
            askers,
            word,
            question: kept,
        });
        out.push(Order::Send { connection, request, lane, question });
    }

    fn arm_for(&self, request: RequestId, out: &mut Vec<Order<Q, A>>) {
        out.push(Order::Disarm(ConnectionTimer::Idle));
        out.push(Order::Arm(ConnectionTimer::Request(request), Step::FIRST));
    }

    /// Everything on it is lost, in order; the next attempt waits (Q10).
    fn lose_all(&mut self, out: &mut Vec<Order<Q, A>>) {
        let mutant = self.limits.mutant;
        for timer in [ConnectionTimer::Setup, ConnectionTimer::Throttle, ConnectionTimer::Idle] {
            out.push(Order::Disarm(timer));
        }
        for Flight { id, askers, .. } in self.in_flight.drain(..) {
            out.push(Order::Disarm(ConnectionTimer::Request(id)));
            if !Mutant::InFlightForgotten.is(mutant) {
                out.extend(lost(askers, true, mutant));
            }
        }
        let unsent: Vec<A> = self.queue.drain().collect();
        if !Mutant::UnsentForgotten.is(mutant) {
            out.extend(unsent.into_iter().map(|asker| Order::Lost { asker, was_sent: false }));
        }
        self.throttled = false;
        if Mutant::NoReconnectBackoff.is(mutant) {
            self.state = State::Closed;
            return;
        }
        self.state = State::BackingOff;
        out.push(Order::Arm(ConnectionTimer::Reconnect, self.step));
        self.step = self.step.next();
    }

    /// Numbers what it names anew, for a model that compares states.
    pub(crate) fn renumber(&mut self, names: &mut Names, renumbered: &mut Renumbered) {
        match &mut self.state {
            State::Closed | State::BackingOff => {}
            State::Connecting(id) | State::Handshaking(id) | State::Ready(id) => {
                let old = std::mem::replace(id, names.connection());
                renumbered.connections.insert(old, *id);
            }
        }
        for flight in &mut self.in_flight {
            let old = std::mem::replace(&mut flight.id, names.request());
            renumbered.requests.insert(old, flight.id);
        }
        self.step = Step::FIRST;
    }

    /// Everybody who waits, to be renamed.
    pub(crate) fn askers_mut(&mut self) -> impl Iterator<Item = &mut A> {
        let in_flight = self.in_flight.iter_mut().flat_map(|flight| &mut flight.askers);
        in_flight.chain(self.queue.askers_mut())
    }
}

fn lost<Q, A>(askers: Vec<A>, was_sent: bool, mutant: Option<Mutant>) -> Vec<Order<Q, A>> {
    let reached = if Mutant::FailureReachesOne.is(mutant) { 1 } else { askers.len() };
    askers.into_iter().take(reached).map(|asker| Order::Lost { asker, was_sent }).collect()
}

#[cfg(test)]
mod tests;
