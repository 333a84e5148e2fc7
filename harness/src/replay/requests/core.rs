//! The target `core`: the shipped timed shell in virtual time, between two brokers without bytes.
//!
//! The broker of the trace is the coordinator, and leads the partition that is fetched: its connections
//! belong to the trace alone. The other one is the bootstrap server, and answers at once whatever any
//! broker can answer. It is kept in use, so that nothing else is asked of the broker of the trace.

mod broker;

use super::application::{self as app, Application};
use super::asks::Life;
use super::plan::Plan;
use super::schedule::{Length, NEVER_MS};
use super::view::{Ended, Heard, Lanes, LineView, Phase, View, at};
use super::{Failed, Sabotage};
use broker::{OTHER_PORT, PORT, address, response, said};
use evenkeel_core::request::desk::Peer;
use evenkeel_core::request::ledger::Ticket;
use evenkeel_core::request::queue::Lane;
use evenkeel_core::request::{Answered, Kind, Request, Response};
use evenkeel_core::{
    Answer, CallFault, CallId, Callback, Cause, Chunk, Command, Config, ConnectionId, OffsetReset,
    Output, RequestId, Shell, Taken, Time,
};
use evenkeel_model::requests::{Action, Slice};
use evenkeel_spec::rules::requests::Line;
use evenkeel_spec::words::{Epoch, ErrorCode, HeartbeatAnswer, HeartbeatEpoch, Offset};
use std::collections::{BTreeMap, VecDeque};

/// The replayed world.
#[derive(Debug)]
pub(super) struct World {
    shell: Shell<NoRecords>,
    now: u64,
    wait: Option<u64>,
    idle_ms: u64,
    links: BTreeMap<ConnectionId, Link>,
    app: Application,
    /// What the broker tells: how often it has changed.
    truth: u64,
    /// The broker of the trace answers by itself: before the trace begins.
    is_free: bool,
    /// The other broker was asked something at this date.
    used_at: u64,
    /// The next question for committed offsets is refused: the broker is no coordinator.
    refuses: bool,
    hides_cuts: bool,
    ended: Vec<Ended>,
    heard: Vec<Heard>,
}

/// A connection.
#[derive(Debug)]
struct Link {
    /// `None`: it leads to the other broker.
    line: Option<Line>,
    is_connected: bool,
    /// Unanswered requests, oldest first.
    messages: VecDeque<Message>,
}

#[derive(Debug)]
struct Message {
    id: RequestId,
    request: Request,
    /// What the answer tells, once the broker has read the request.
    read: Option<u64>,
}

/// No trace has records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoRecords {}

impl Chunk for NoRecords {
    type Part = ();
    type Fault = ();

    fn buffered_bytes(&self) -> usize {
        match *self {}
    }

    fn held_bytes(&self) -> usize {
        self.buffered_bytes()
    }

    fn end_offset(&self) -> Offset {
        match *self {}
    }

    fn is_drained(&self) -> bool {
        match *self {}
    }

    fn take(&mut self, _: usize) -> Result<Taken<()>, ()> {
        match *self {}
    }
}

impl World {
    /// A consumer that knows its coordinator and has no connection to it.
    pub(super) fn new(slice: &Slice, plan: &Plan, sabotage: Sabotage) -> Self {
        let mut world = Self {
            shell: Shell::new(config(slice, plan, sabotage)),
            now: 0,
            wait: None,
            idle_ms: plan.lengths.ms(Length::Idle),
            links: BTreeMap::new(),
            app: Application::new(plan.asks.life),
            truth: 0,
            is_free: true,
            used_at: 0,
            refuses: false,
            hides_cuts: sabotage.hides_cuts,
            ended: Vec::new(),
            heard: Vec::new(),
        };
        for command in world.app.begin() {
            world.command(command);
        }
        world.pump();
        if plan.asks.life == (Life::Settled { tells_first: true }) {
            let [ask, give_up] = world.app.glance();
            world.refuses = true;
            world.command(ask);
            world.pump();
            world.command(give_up);
        }
        while world.links.values().any(|link| link.line.is_some()) {
            let until = world.now + world.idle_ms;
            world.pass(until);
        }
        world.is_free = false;
        world
    }

    /// Takes a step, and lets time pass.
    ///
    /// # Errors
    /// What the step needs and is not there, or why it cannot be taken.
    pub(super) fn step(&mut self, plan: &Plan, step: usize) -> Result<View, Failed> {
        self.ended.clear();
        self.heard.clear();
        let given = plan.given[step];
        // The trace begins when the consumer is ready.
        let begun = *self.app.begun.get_or_insert(self.now);
        self.pass(begun + given.at);
        let lack = |why: &'static str| Failed::lack(plan, step, why);
        self.act(plan, step).map_err(|why| match why {
            Lack::Never(why) => Failed::Infeasible(why.to_owned()),
            Lack::Here(why) => lack(why),
        })?;
        self.pump();
        self.pass(begun + given.date);
        for command in self.app.later() {
            self.command(command);
        }
        self.pump();
        Ok(self.view())
    }

    fn act(&mut self, plan: &Plan, step: usize) -> Result<(), Lack> {
        let given = plan.given[step];
        match plan.actions[step] {
            Action::Call(things) => {
                let (call, partitions) = (self.app.open(given.number), app::of(things));
                self.command(Command::Committed { call, partitions, timeout_ms: given.ms });
            }
            Action::Ask(_) if plan.asks.again[step].is_some() => {}
            Action::Ask(own) => {
                for command in self.app.ask(own) {
                    self.command(command);
                    // Each is a turn of its own.
                    self.pump();
                }
            }
            Action::Gone(number) => {
                let call = self.app.on_gone(number).ok_or(Lack::Here("the call is over"))?;
                self.command(Command::Abandon { call });
            }
            Action::Connect(line) => {
                let (id, link) = self.link(line).ok_or(NOT_CONNECTING)?;
                link.is_connected = true;
                self.shell.handle_connected(Time(self.now), id);
            }
            Action::Refuse(line) => self.cut(line, Cause::Connect("refused".into()))?,
            Action::Cut(line) => self.cut(line, Cause::Closed)?,
            Action::Read(line) => self.read(line)?,
            Action::Answer(line) => self.answer(line, 0)?,
            Action::Throttle(line) => {
                self.answer(line, u32::try_from(given.ms).unwrap_or(u32::MAX))?;
            }
            Action::Change => self.truth += 1,
            Action::Close => {
                let close = Command::Close { taken: 0, timeout_ms: 0 };
                self.command(close);
            }
            Action::Die => return Err(Lack::Never("the core has no background that could die")),
            // Time has passed.
            Action::Retry(_)
            | Action::Deadline(_)
            | Action::SetupTimeout(_)
            | Action::RequestTimeout(_)
            | Action::Idle(_)
            | Action::Rested(_)
            | Action::Reads(_) => {}
        }
        Ok(())
    }

    fn cut(&mut self, line: Line, cause: Cause) -> Result<(), Lack> {
        let hides = self.hides_cuts;
        let (id, link) = self.link(line).ok_or(NOT_CONNECTING)?;
        if hides && cause == Cause::Closed {
            link.messages.clear();
            return Ok(());
        }
        self.links.remove(&id);
        self.shell.handle_disconnected(Time(self.now), id, cause);
        Ok(())
    }

    fn read(&mut self, line: Line) -> Result<(), Lack> {
        let truth = self.truth;
        let (_, link) = self.link(line).ok_or(NOT_CONNECTING)?;
        let message = link.messages.iter_mut().find(|message| message.read.is_none());
        message.ok_or(Lack::Here("nothing is to be read"))?.read = Some(truth);
        Ok(())
    }

    fn answer(&mut self, line: Line, throttle_ms: u32) -> Result<(), Lack> {
        let (id, link) = self.link(line).ok_or(NOT_CONNECTING)?;
        let read = link.messages.front().and_then(|message| message.read);
        let truth = read.ok_or(Lack::Here("the oldest request was not read"))?;
        let message = link.messages.pop_front().expect("it has a front");
        self.respond(id, &message, truth, throttle_ms);
        Ok(())
    }

    fn respond(&mut self, id: ConnectionId, message: &Message, truth: u64, throttle_ms: u32) {
        let response = match &message.request {
            Request::Heartbeat(heartbeat) => {
                let epoch = match heartbeat.epoch {
                    HeartbeatEpoch::Join => Some(Epoch(1)),
                    HeartbeatEpoch::Stay(epoch) => Some(epoch),
                    HeartbeatEpoch::Leave => None,
                };
                let assignment = self.app.target(heartbeat);
                let heartbeat_interval_ms = u32::MAX / 2;
                Response::Heartbeat(Ok(HeartbeatAnswer {
                    epoch,
                    heartbeat_interval_ms,
                    assignment,
                }))
            }
            Request::OffsetFetch { .. } if std::mem::take(&mut self.refuses) => {
                Response::OffsetFetch(Err(ErrorCode::NotCoordinator))
            }
            request => response(request, truth),
        };
        let answered = Ok(Answered { response, throttle_ms });
        self.shell.handle_response(Time(self.now), id, message.id, answered);
    }

    fn link(&mut self, line: Line) -> Option<(ConnectionId, &mut Link)> {
        let mut links = self.links.iter_mut();
        links.find(|(_, link)| link.line == Some(line)).map(|(id, link)| (*id, link))
    }

    fn command(&mut self, command: Command) {
        self.shell.handle_command(Time(self.now), command);
    }

    /// Lets time pass until `until`, with everything that happens by itself.
    fn pass(&mut self, until: u64) {
        loop {
            let refresh = self.used_at + self.idle_ms / 2;
            let next = self.wait.into_iter().chain([refresh]).min();
            let Some(date) = next.filter(|date| *date <= until) else { break };
            self.now = self.now.max(date);
            self.shell.handle_timeout(Time(self.now));
            if refresh <= self.now {
                self.used_at = self.now;
                let command = self.app.refresh();
                self.command(command);
            }
            self.pump();
        }
        self.now = until;
    }

    /// Carries out orders and answers for the other broker, until nothing is left to do.
    fn pump(&mut self) {
        loop {
            self.drain();
            let commands = self.app.tidy();
            if !commands.is_empty() {
                commands.into_iter().for_each(|command| self.command(command));
                continue;
            }
            let is_free = self.is_free;
            let mut links = self.links.iter_mut();
            let next = links.find(|(_, link)| {
                (is_free || link.line.is_none()) && !(link.is_connected && link.messages.is_empty())
            });
            let Some((&id, link)) = next else { return };
            if !link.is_connected {
                link.is_connected = true;
                self.shell.handle_connected(Time(self.now), id);
            } else if let Some(message) = link.messages.pop_front() {
                if link.line.is_none() {
                    self.used_at = self.now;
                }
                self.respond(id, &message, self.truth, 0);
            }
        }
    }

    fn drain(&mut self) {
        loop {
            match self.shell.poll_output() {
                Output::Wait(wait) => {
                    self.wait = wait.map(|date| date.0);
                    return;
                }
                output => self.carry_out(output),
            }
        }
    }

    fn carry_out(&mut self, output: Output<NoRecords>) {
        match output {
            Output::Connect { connection, address, .. } => {
                let is_second = matches!(self.shell.peer_at(connection), Some(Peer::Second(_)));
                let line = if is_second { Line::Second } else { Line::First };
                let line = (address.port == PORT).then_some(line);
                let link = Link { line, is_connected: false, messages: VecDeque::new() };
                self.links.insert(connection, link);
            }
            Output::Disconnect { connection, .. } => drop(self.links.remove(&connection)),
            Output::Send { connection, request_id, request, .. } => {
                let link = self.links.get_mut(&connection).expect("it goes out on what there is");
                link.messages.push_back(Message { id: request_id, request, read: None });
            }
            Output::Done { call, result } => self.on_done(call, &result),
            Output::Ended(ended) => {
                if matches!(ended.ticket, Ticket::Own(_)) && ended.kind == Kind::OffsetFetch {
                    self.app.on_looked();
                }
                let is_traced = match ended.kind {
                    Kind::OffsetFetch
                    | Kind::OffsetCommit
                    | Kind::Fetch
                    | Kind::ConsumerGroupHeartbeat => true,
                    Kind::Metadata
                    | Kind::FindCoordinator
                    | Kind::ListOffsets
                    | Kind::OffsetForLeaderEpoch
                    | Kind::ConsumerGroupDescribe
                    | Kind::Position
                    | Kind::Unsubscribe => false,
                };
                if is_traced {
                    let (lane, kind, outcome) = (ended.lane, ended.kind, ended.outcome);
                    self.ended.push(Ended { lane, kind, outcome });
                }
            }
            Output::Deliver(_) => self.surprise("records"),
            Output::PollFailed(fault) => self.surprise(&format!("{fault:?}")),
            Output::Call { incarnation, callback: Callback::Assigned, partitions } => {
                self.app.on_call(incarnation, !partitions.is_empty());
            }
            Output::Call { .. } => self.surprise("a callback that gives up partitions"),
            Output::Assignment(assignment) => {
                if self.is_free {
                    self.app.on_assigned(&assignment.partitions);
                }
            }
            Output::EndLease(_) | Output::Waiting(..) | Output::Warn(_) | Output::Closed(_) => {}
            Output::Wait(_) => unreachable!("it ends the draining"),
        }
    }

    fn surprise(&mut self, what: &str) {
        self.heard.push(Heard::Surprised(what.to_owned()));
    }

    fn on_done(&mut self, call: CallId, result: &Result<Answer, CallFault>) {
        let Some(number) = self.app.on_done(call) else { return };
        self.heard.push(match (result, number) {
            (Err(CallFault::QueueFull), None) => Heard::Refused,
            (Ok(Answer::Committed(found)), Some(number)) => Heard::answered(number, found),
            (Err(CallFault::TimedOut { .. }), Some(number)) => Heard::TimedOut(number),
            (Err(CallFault::Closed), Some(number)) => Heard::Closed(number),
            _ => Heard::Surprised(format!("{result:?}")),
        });
    }

    fn view(&mut self) -> View {
        let mut lines = [LineView::default(), LineView::default()];
        for link in self.links.values() {
            let Some(line) = link.line else { continue };
            let phase = if link.is_connected { Phase::Open } else { Phase::Connecting };
            let message = |message: &Message| (said(&message.request), message.read.is_some());
            let messages = link.messages.iter().map(message).collect();
            lines[at(line)] = LineView { phase, messages };
        }
        let depths = self.shell.lanes().into_iter();
        let mut lanes: Lanes =
            depths.map(|(lane, depth)| (lane, (depth.waiting, depth.in_flight))).collect();
        // The call that gives up the partitions waits for the commit, and is no request.
        if let Some(system) = lanes.get_mut(&Lane::System) {
            system.0 -= usize::from(self.app.is_ending());
        }
        lanes.retain(|_, depth| *depth != (0, 0));
        self.ended.sort_unstable();
        self.heard.sort_unstable();
        let (ended, heard) = (Some(self.ended.clone()), self.heard.clone());
        View { lines, lanes: Some(lanes), ended, heard }
    }
}

/// Why a step cannot be taken.
enum Lack {
    /// What it needs is not there.
    Here(&'static str),
    /// This target never can.
    Never(&'static str),
}

const NOT_CONNECTING: Lack = Lack::Here("there is no such connection");

fn config(slice: &Slice, plan: &Plan, sabotage: Sabotage) -> Config {
    let mut config = Config::new(vec![address(OTHER_PORT)]);
    config.request_queue_max = slice.bounds.places_max;
    config.in_flight_max = slice.bounds.in_flight_max;
    config.auto_commit = true;
    config.auto_commit_interval_ms = if plan.asks.by_interval { 1 } else { NEVER_MS };
    config.max_poll_interval_ms = u32::MAX;
    config.auto_offset_reset = OffsetReset::None;
    config.metadata_max_age_ms = NEVER_MS;
    config.default_api_timeout_ms = NEVER_MS;
    let ms = |length| plan.lengths.ms(length);
    config.connections_max_idle_ms = Some(ms(Length::Idle));
    config.connection_setup_timeout_ms = ms(Length::Setup);
    config.request_timeout_ms = ms(Length::Request);
    (config.reconnect_backoff_ms, config.reconnect_backoff_max_ms) =
        (ms(Length::Reconnect), ms(Length::Reconnect));
    (config.retry_backoff_ms, config.retry_backoff_max_ms) = (ms(Length::Retry), ms(Length::Retry));
    config.requests_mutant = sabotage.desk;
    config
}
