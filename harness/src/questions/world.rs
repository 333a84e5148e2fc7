//! One consumer and its only broker in virtual time: the shipped shell, the application, the events
//! between them.
//!
//! Decides nothing: it carries orders out, counts calls, and writes down for each heartbeat when it
//! was due, what was put on the wire before it, and when the broker read it.

use super::broker::{Broker, Records, Terms};
use super::excerpt::Mark;
use evenkeel_core::group::CommitError;
use evenkeel_core::request::{Answered, OffsetAt, Request};
use evenkeel_core::{
    Address, CallFault, CallId, Callback, Command, Config, ConnectionId, Incarnation, Output,
    RequestId, Shell, Time,
};
use evenkeel_spec::words::{HeartbeatEpoch, TopicPartition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The shell, its broker and its application.
pub(super) struct World {
    pub(super) shell: Shell<Records>,
    pub(super) now: u64,
    pub(super) broker: Broker,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub(super) heartbeats: Heartbeats,
    pub(super) calls: Calls,
    pub(super) sockets: Sockets,
    /// Every request that was put on the wire: when, on which connection, of which API.
    pub(super) sent: Vec<(u64, ConnectionId, &'static str)>,
    /// What an excerpt of the run tells beside that.
    pub(super) marks: Vec<Mark>,
    /// Callbacks that are open, or wait for the one before.
    pub(super) callbacks: VecDeque<(Incarnation, Callback)>,
    taken: u64,
    polled_at: u64,
    delivered: VecDeque<u64>,
    /// Records that the application was given.
    pub(super) records: u64,
    next_call: u64,
    random: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Connected(ConnectionId),
    /// The broker has answered what it was at work on.
    Served(ConnectionId),
    /// The broker reads from this connection again.
    Reads(ConnectionId),
}

/// What became of the heartbeats.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    /// Those that were due by their interval and were read.
    pub(super) read: Vec<Beat>,
    interval_ms: u64,
    sent_at: u64,
    due: Option<u64>,
    ahead: u64,
    under_way: Option<(RequestId, Beat)>,
}

/// One heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    /// From due to read by the broker, milliseconds.
    pub(super) wait_ms: u64,
    /// Requests of the application that were put on the wire after it was due and before it.
    pub(super) ahead: u64,
    due: u64,
}

/// What became of the application's calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: BTreeMap<CallId, u64>,
    pub(super) offered: u64,
    pub(super) refused: u64,
    pub(super) completed: u64,
    pub(super) expired: u64,
    /// Ended otherwise.
    pub(super) failed: u64,
    /// Of each that was completed: its time, milliseconds.
    pub(super) times_ms: Vec<u64>,
    pub(super) open_max: usize,
    /// What the call that was made last came to, if it is over.
    pub(super) last_refused: bool,
}

/// What became of the connections.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) opened: u64,
    pub(super) open_max: usize,
}

impl World {
    /// A consumer that polls once, and so joins its group.
    pub(super) fn joined(config: Config, terms: Terms, listener: bool) -> Self {
        let mut world = Self {
            random: config.jitter_seed,
            shell: Shell::new(config),
            now: 0,
            broker: Broker::new(terms),
            events: BTreeMap::new(),
            sequence: 0,
            heartbeats: Heartbeats::default(),
            calls: Calls::default(),
            sockets: Sockets::default(),
            sent: Vec::new(),
            marks: Vec::new(),
            callbacks: VecDeque::new(),
            taken: 0,
            polled_at: 0,
            delivered: VecDeque::new(),
            records: 0,
            next_call: 0,
        };
        let topics = BTreeSet::from([TOPIC.into()]);
        let call = world.next_call();
        world.command(Command::Subscribe { call, topics, listener });
        world.poll();
        world.run(1_000);
        assert!(world.shell.group().owner().is_some(), "a second is enough to join");
        world
    }

    /// Enters poll, takes what was delivered, and leaves. A callback that is called is kept.
    pub(super) fn poll(&mut self) {
        self.polled_at = self.now;
        self.command(Command::Poll { taken: self.taken });
        while let Some(number) = self.delivered.pop_front() {
            self.taken = number;
        }
        if self.callbacks.is_empty() {
            self.command(Command::PollEnded);
        }
    }

    /// Stays inside of poll until something is delivered or a callback is called, at most this long.
    pub(super) fn poll_for(&mut self, ms: u64) {
        self.polled_at = self.now;
        let deadline = self.now + ms;
        self.command(Command::Poll { taken: self.taken });
        while self.delivered.is_empty() && self.callbacks.is_empty() && self.step(deadline) {}
        while let Some(number) = self.delivered.pop_front() {
            self.taken = number;
        }
        if self.callbacks.is_empty() {
            self.command(Command::PollEnded);
        }
    }

    /// The callback that is open returns well, and the poll that it was called in with nothing.
    pub(super) fn return_from_callback(&mut self) {
        if let Some((incarnation, _)) = self.callbacks.pop_front() {
            self.command(Command::CallbackDone { incarnation, ok: true });
            self.command(Command::PollEnded);
        }
    }

    /// Polls once a minute, so that the member is not taken for stuck.
    pub(super) fn poll_now_and_then(&mut self) {
        if self.now >= self.polled_at + 60_000 {
            self.poll();
        }
    }

    /// Something that the application asks for.
    pub(super) fn command(&mut self, command: Command) {
        self.shell.handle_command(Time(self.now), command);
        self.drain();
    }

    pub(super) fn next_call(&mut self) -> CallId {
        self.next_call += 1;
        CallId(self.next_call)
    }

    /// A call that is counted.
    pub(super) fn call(&mut self, make: impl FnOnce(CallId) -> Command) {
        self.call_since(self.now, make);
    }

    fn call_since(&mut self, since: u64, make: impl FnOnce(CallId) -> Command) {
        let call = self.next_call();
        self.calls.offered += 1;
        self.calls.last_refused = false;
        self.calls.open.insert(call, since);
        self.command(make(call));
        self.calls.open_max = self.calls.open_max.max(self.calls.open.len());
    }

    /// Asks for the offset at a date that nobody has asked for, so that it is a request of its own.
    pub(super) fn ask(&mut self, timeout_ms: u64) {
        self.ask_since(self.now, timeout_ms);
    }

    /// The same for something that was to be asked since a date: its time counts from there.
    pub(super) fn ask_since(&mut self, since: u64, timeout_ms: u64) {
        let at = OffsetAt::Timestamp(self.next_call + 1);
        let wanted = BTreeMap::from([(TopicPartition::new(TOPIC, 0), at)]);
        self.call_since(since, |call| Command::Offsets { call, wanted, timeout_ms });
    }

    /// How many requests of an API were put on the wire.
    pub(super) fn sent_of(&self, api: &str) -> u64 {
        self.sent.iter().filter(|(_, _, sent)| *sent == api).count() as u64
    }

    /// Calls that are not over.
    pub(super) fn open(&self) -> usize {
        self.calls.open.len()
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, ms: u64) {
        let deadline = self.now + ms;
        while self.step(deadline) {}
    }

    /// The next thing that happens before the deadline; else the deadline comes.
    pub(super) fn step(&mut self, deadline: u64) -> bool {
        let Output::Wait(wait) = self.shell.poll_output() else { panic!("it was drained") };
        let event = self.events.first_key_value().map(|(key, _)| *key);
        let dates = wait.map(|time| time.0).into_iter().chain(event.map(|(date, _)| date));
        let Some(date) = dates.min().filter(|date| *date <= deadline) else {
            self.now = deadline;
            return false;
        };
        self.now = date;
        match event.filter(|(event, _)| *event == date) {
            Some(key) => {
                let event = self.events.remove(&key).expect("it was just looked at");
                self.happen(event);
            }
            None => self.shell.handle_timeout(Time(date)),
        }
        self.drain();
        true
    }

    /// A number below `bound`, by the seed (splitmix64).
    pub(super) fn random(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn later(&mut self, date: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((date, self.sequence), event);
    }

    fn happen(&mut self, event: Event) {
        let now = Time(self.now);
        match event {
            Event::Connected(id) if self.broker.is_open(id) => {
                self.shell.handle_connected(now, id);
            }
            Event::Served(id) if self.broker.is_open(id) => {
                let (request_id, response, throttle_ms) = self.broker.answer(id, self.now);
                if throttle_ms > 0 {
                    self.later(self.now + u64::from(throttle_ms), Event::Reads(id));
                }
                self.heartbeats.on_answer(request_id, self.broker.terms(), self.now);
                let answered = Answered { response, throttle_ms };
                self.shell.handle_response(now, id, request_id, Ok(answered));
                self.serve(id);
            }
            Event::Reads(id) if self.broker.is_open(id) => {
                self.shell.handle_timeout(now);
                self.serve(id);
            }
            // The connection is gone; a timer may be due at the same date.
            Event::Connected(_) | Event::Served(_) | Event::Reads(_) => {
                self.shell.handle_timeout(now);
            }
        }
    }

    /// Lets the broker begin with what comes next on a connection, if it is free.
    fn serve(&mut self, id: ConnectionId) {
        if let Some((request, until)) = self.broker.begin(id, self.now) {
            self.heartbeats.on_read(request, self.now);
            self.later(until, Event::Served(id));
        }
    }

    fn drain(&mut self) {
        loop {
            match self.shell.poll_output() {
                Output::Wait(_) => return,
                output => self.carry_out(output),
            }
        }
    }

    fn carry_out(&mut self, output: Output<Records>) {
        match output {
            Output::Connect { connection, .. } => {
                self.broker.open(connection);
                self.sockets.opened += 1;
                self.sockets.open_max = self.sockets.open_max.max(self.broker.connections());
                self.later(self.now + 1, Event::Connected(connection));
            }
            Output::Disconnect { connection, .. } => self.broker.close(connection),
            Output::Send { connection, request_id, request, .. } => {
                self.sent.push((self.now, connection, api(&request)));
                self.heartbeats.on_send(request_id, &request, self.now);
                self.broker.receive(connection, request_id, request);
                self.serve(connection);
            }
            Output::Deliver(delivery) => {
                self.records += delivery.parts.iter().map(|part| part.count as u64).sum::<u64>();
                self.delivered.push_back(delivery.number);
            }
            Output::Call { incarnation, callback, .. } => {
                self.callbacks.push_back((incarnation, callback));
            }
            Output::Done { call, result } => {
                self.calls.on_done(call, result.err().as_ref(), self.now);
            }
            Output::PollFailed(_)
            | Output::EndLease(_)
            | Output::Assignment(_)
            | Output::Waiting(..)
            | Output::Ended(_)
            | Output::Warn(_)
            | Output::Closed(_)
            | Output::Wait(_) => {}
        }
    }
}

impl Heartbeats {
    /// The interval counts from the sending; a heartbeat is due then, or when the one before it is
    /// answered, whichever is later (M3).
    fn on_answer(&mut self, request: RequestId, terms: &Terms, now: u64) {
        self.interval_ms = u64::from(terms.heartbeat_interval_ms);
        if let Some((_, beat)) = self.under_way.take_if(|(id, _)| *id == request) {
            self.due = Some(now.max(self.sent_at + self.interval_ms));
            if beat.due > 0 {
                self.read.push(beat);
            }
        }
    }

    fn on_send(&mut self, id: RequestId, request: &Request, now: u64) {
        match request {
            Request::Heartbeat(heartbeat) if heartbeat.epoch != HeartbeatEpoch::Leave => {
                let due = self.due.take().filter(|due| *due <= now).unwrap_or(0);
                let ahead = std::mem::take(&mut self.ahead);
                self.under_way = Some((id, Beat { wait_ms: 0, ahead, due }));
                self.sent_at = now;
            }
            Request::ListOffsets { .. } | Request::Topics { .. } | Request::OffsetFetch { .. } => {
                self.ahead += u64::from(self.due.is_some_and(|due| due <= now));
            }
            _ => {}
        }
    }

    fn on_read(&mut self, request: RequestId, now: u64) {
        if let Some((_, beat)) = self.under_way.as_mut().filter(|(id, _)| *id == request) {
            beat.wait_ms = now.saturating_sub(beat.due);
        }
    }

    /// The waits of all, milliseconds, with the one that is due now.
    pub(super) fn waits_ms(&self, now: u64) -> Vec<u64> {
        let late = self.due.filter(|due| *due < now).map(|due| now - due);
        self.read.iter().map(|beat| beat.wait_ms).chain(late).collect()
    }

    /// The most requests of the application that were put on the wire while one was due.
    pub(super) fn ahead_max(&self) -> u64 {
        self.read.iter().map(|beat| beat.ahead).chain([self.ahead]).max().unwrap_or(0)
    }
}

impl Calls {
    fn on_done(&mut self, call: CallId, fault: Option<&CallFault>, now: u64) {
        let Some(asked_at) = self.open.remove(&call) else { return };
        *match fault {
            None => {
                self.times_ms.push(now - asked_at);
                &mut self.completed
            }
            Some(CallFault::QueueFull) => {
                self.last_refused = true;
                &mut self.refused
            }
            Some(CallFault::TimedOut { .. } | CallFault::Commit(CommitError::Expired)) => {
                &mut self.expired
            }
            Some(_) => &mut self.failed,
        } += 1;
    }
}

fn api(request: &Request) -> &'static str {
    use evenkeel_core::request::queue::Question as _;
    match request {
        Request::ApiVersions => "ApiVersions",
        Request::Heartbeat(heartbeat) => match heartbeat.epoch {
            HeartbeatEpoch::Join => "ConsumerGroupHeartbeat that joins",
            HeartbeatEpoch::Stay(_) => "ConsumerGroupHeartbeat",
            HeartbeatEpoch::Leave => "ConsumerGroupHeartbeat that leaves",
        },
        request => request.kind().name(),
    }
}

/// Where the broker listens.
pub(super) fn address() -> Address {
    Address::new("broker", 9092)
}

/// The only topic.
pub(super) const TOPIC: &str = "orders";
