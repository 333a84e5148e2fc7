//! What an action does: it feeds the shipped desk and carries out what it orders, while the onlooker
//! takes note.

use super::{Action, Ask, Budget, Message, Own, Slice, State, Wire, line, name, peer};
use evenkeel_core::connection::ConnectionTimer;
use evenkeel_core::request::desk::{Asker, Desk, Order};
use evenkeel_core::request::ledger::{Discard, End, Failure, Outcome, Ticket};
use evenkeel_core::request::queue::{Lane, Question};
use evenkeel_core::{CallId, Cause, ConnectionId, DisconnectReason};
use evenkeel_spec::rules::requests::{Event, Line, Name, Things, Told};

type Orders = Vec<Order<Ask, ()>>;

impl Slice {
    /// The state after `action`.
    pub(super) fn step(&self, before: &State, action: Action) -> State {
        let mut state = before.clone();
        state.left.faults -= u8::from(action.is_fault());
        self.apply(&mut state, action);
        state.feed(Desk::on_settled);
        state.look();
        if state.seen.is_over() {
            state.bury(self);
        }
        state
    }

    fn apply(&self, state: &mut State, action: Action) {
        match action {
            Action::Call(things) => {
                state.left.asks -= 1;
                state.call(Self::free_call(state), things);
            }
            Action::Ask(own) => {
                state.left.asks -= 1;
                state.has_left |= own == Own::Leave;
                state.ask_own(own);
            }
            Action::Retry(call) => {
                state.resting.remove(&CallId(call));
                let things = state.things_of(call);
                state.put(Ticket::Call(CallId(call)), Lane::User, Ask::Offsets(things));
            }
            Action::Deadline(call) => state.end(Ticket::Call(CallId(call)), End::Deadline),
            Action::Gone(call) => state.end(Ticket::Call(CallId(call)), End::CallerGone),
            Action::Connect(line) => {
                let id = state.current(line);
                state.wires[line as usize].is_connected = true;
                state.feed(|desk, out| desk.on_connected(peer(line), id, out));
            }
            Action::Refuse(line) | Action::Cut(line) => {
                let id = state.current(line);
                state.wires[line as usize] = Wire::default();
                state.see(Event::Failed(line));
                state.feed(|desk, out| {
                    assert!(desk.on_disconnected(peer(line), id, out), "it was current");
                });
            }
            Action::Read(line) => state.read(line),
            Action::Answer(line) => state.answer(line, false),
            Action::Throttle(line) => state.answer(line, true),
            Action::Change => {
                state.left.changes -= 1;
                state.truth += 1;
            }
            Action::SetupTimeout(line)
            | Action::RequestTimeout(line)
            | Action::Idle(line)
            | Action::Rested(line)
            | Action::Reads(line) => state.fire(line, action),
            Action::Close => {
                state.feed(Desk::close);
                state.see(Event::Ended);
            }
            Action::Die => state.die(),
        }
    }
}

impl State {
    /// Gives the desk an input and carries out what it orders.
    fn feed<T>(&mut self, input: impl FnOnce(&mut Desk<Ask, ()>, &mut Orders) -> T) -> T {
        let mut out = Orders::new();
        let result = input(&mut self.desk, &mut out);
        self.carry_out(out);
        result
    }

    fn see(&mut self, event: Event<'_>) {
        if let Err(rule) = self.seen.on(event) {
            self.violation.get_or_insert(rule);
        }
    }

    /// Everything that follows has happened.
    fn look(&mut self) {
        let places = self.places();
        self.seen.look(&places);
        if let Err(rule) = self.seen.at_rest() {
            self.violation.get_or_insert(rule);
        }
    }

    fn call(&mut self, call: CallId, things: Things) {
        let ask = Ask::Offsets(things);
        if !self.desk.open_call(call, ask.kind()) {
            return self.see(Event::Refused);
        }
        let truth = self.truth;
        self.see(Event::Asked(Name::Call(call.0), ask.wish(Lane::User), truth));
        self.put(Ticket::Call(call), Lane::User, ask);
    }

    fn ask_own(&mut self, own: Own) {
        let (ask, lane) = own.ask();
        let ticket = self.desk.open_own(ask.kind(), lane);
        let truth = if ask.things() > 0 { self.truth } else { 0 };
        self.see(Event::Asked(name(ticket), ask.wish(lane), truth));
        self.put(ticket, lane, ask);
    }

    fn put(&mut self, ticket: Ticket, lane: Lane, ask: Ask) {
        let mut out = Orders::new();
        let askers = vec![Asker { ticket, purpose: () }];
        let to = self.desk.ask(ask.to(), lane, ask, askers, &mut out);
        self.see(Event::Put(name(ticket), line(to)));
        self.carry_out(out);
    }

    fn things_of(&self, call: u64) -> Things {
        let mut open = self.seen.open();
        let wish = open.find(|(name, ..)| *name == Name::Call(call)).map(|(_, wish, _)| wish);
        wish.expect("a call that rests is open").things
    }

    fn end(&mut self, ticket: Ticket, end: End) {
        self.feed(|desk, out| desk.end(ticket, end, out));
    }

    fn current(&self, line: Line) -> ConnectionId {
        self.wire(line).id.expect("an action is offered for what there is")
    }

    fn read(&mut self, line: Line) {
        let truth = self.truth;
        let messages = &mut self.wires[line as usize].messages;
        let message = messages.iter_mut().find(|message| message.read.is_none());
        let message = message.expect("an action is offered for what there is");
        let is_question = message.ask.is_some_and(|ask| ask.things() > 0);
        message.read = Some(if is_question { truth } else { 0 });
        if message.ask.is_some() {
            self.see(Event::Read(line));
        }
    }

    /// As the shell does: whose answer it is, what it means for each, then what it made room for.
    fn answer(&mut self, line: Line, throttles: bool) {
        let peer = peer(line);
        let id = self.current(line);
        let message = self.wires[line as usize].messages.pop_front();
        let Message { request, ask, read } =
            message.expect("an action is offered for what there is");
        let truth = read.expect("an answer was read before");
        let answered = self.feed(|desk, out| desk.on_answer(peer, id, request, out));
        if throttles {
            let mut out = Orders::new();
            if self.desk.on_throttled(peer, &mut out) {
                self.timers.insert((line, ConnectionTimer::Throttle));
                self.see(Event::Throttled(line));
            }
            self.carry_out(out);
        }
        match (answered.expect("answers come in order"), ask) {
            (None, None) => {
                self.see(Event::Ready(line));
                self.feed(|desk, out| desk.on_shaken(peer, out));
            }
            (Some(askers), Some(ask)) => {
                self.see(Event::Landed(line));
                for Asker { ticket, .. } in askers {
                    self.see(Event::Answered(name(ticket), ask.things(), truth));
                    self.end(ticket, End::Completed);
                }
            }
            (answered, ask) => unreachable!("{answered:?} answers {ask:?}"),
        }
        self.feed(|desk, out| desk.on_room(peer, out));
    }

    fn fire(&mut self, line: Line, action: Action) {
        let oldest = self.wire(line).messages.front().map(|message| message.request);
        let (_, timer) = action.timer(oldest).expect("it is a timer's");
        assert!(self.timers.remove(&(line, timer)), "what is armed fires");
        match timer {
            ConnectionTimer::Reconnect => self.see(Event::Rested(line)),
            ConnectionTimer::Throttle => self.see(Event::Reads(line)),
            ConnectionTimer::Setup | ConnectionTimer::Idle | ConnectionTimer::Request(_) => {}
        }
        let _: Option<Cause> = self.feed(|desk, out| desk.on_timer(peer(line), timer, out));
    }

    /// Everything is dropped but the ledger, by which the embedder tells whoever waits.
    fn die(&mut self) {
        let open: Vec<_> = self.desk.ledger().iter().map(|(ticket, _)| ticket).collect();
        for ticket in open {
            self.see(Event::Told(name(ticket), Told::Lost));
        }
        self.see(Event::Ended);
    }

    /// After the end all states are one.
    fn bury(&mut self, slice: &Slice) {
        let violation = self.violation;
        *self = State { violation, left: Budget::default(), ..slice.initial() };
        self.see(Event::Ended);
    }

    fn carry_out(&mut self, orders: Orders) {
        // What goes out on a connection waited for it, wherever it waited before.
        for order in &orders {
            let Order::Send { peer, tickets, .. } = order else { continue };
            for ticket in tickets {
                self.see(Event::Put(name(*ticket), line(*peer)));
            }
        }
        for order in orders {
            self.on_order(order);
        }
    }

    fn on_order(&mut self, order: Order<Ask, ()>) {
        match order {
            Order::Open(peer, id) => {
                let line = line(peer);
                self.wires[line as usize] = Wire { id: Some(id), ..Wire::default() };
                self.see(Event::Opened(line));
            }
            Order::Close(id, reason) => {
                let of = Line::ALL.into_iter().find(|line| self.wire(*line).id == Some(id));
                let line = of.expect("only what there is is closed");
                self.wires[line as usize] = Wire::default();
                self.see(match reason {
                    DisconnectReason::Failed(_) => Event::Failed(line),
                    _ => Event::Closed(line),
                });
            }
            Order::Handshake(id, request) => {
                self.write(id, Message { request, ask: None, read: None });
            }
            Order::Send { peer, connection, request, question, tickets, .. } => {
                let names: Vec<_> = tickets.into_iter().map(name).collect();
                self.see(Event::Sent(line(peer), question.says(), &names));
                self.write(connection, Message { request, ask: Some(question), read: None });
            }
            Order::Lost(Ticket::Call(call), ()) => {
                if self.seen.is_open(Name::Call(call.0)) {
                    self.resting.insert(call);
                }
            }
            Order::Lost(Ticket::Own(_), ()) => {}
            Order::Ended(ticket, _, outcome) => {
                if let Ticket::Call(call) = ticket {
                    self.resting.remove(&call);
                }
                self.see(Event::Told(name(ticket), told(outcome)));
            }
            Order::Arm(peer, timer, _) => {
                self.timers.insert((line(peer), timer));
            }
            Order::Disarm(peer, timer) => {
                self.timers.remove(&(line(peer), timer));
            }
        }
    }

    fn write(&mut self, id: ConnectionId, message: Message) {
        let wire = self.wires.iter_mut().find(|wire| wire.id == Some(id));
        wire.expect("only on what there is is written").messages.push_back(message);
    }
}

fn told(outcome: Outcome) -> Told {
    match outcome {
        Outcome::Completed | Outcome::Failed(Failure::Refused) => Told::Answered,
        Outcome::Failed(Failure::Disconnected) => Told::Lost,
        Outcome::ExpiredUnsent => Told::Unsent { expired: true },
        Outcome::ExpiredInFlight => Told::InFlight { expired: true },
        Outcome::Discarded(Discard::CallerGone | Discard::Closing) => {
            Told::Unsent { expired: false }
        }
        Outcome::Failed(Failure::CallerGone | Failure::Closing) => {
            Told::InFlight { expired: false }
        }
    }
}
