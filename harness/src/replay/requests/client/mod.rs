//! The target `client`: the shipped tokio client, with bytes, between two nodes of the test broker, in
//! one runtime whose clock only the trace moves.
//!
//! One node is the broker of the trace; the network holds what is on its connections as the trace
//! says. The other one is the bootstrap server and answers at once.

mod broker;
mod person;
mod wire;

use super::application::{self as app, Application};
use super::plan::Plan;
use super::schedule::{Length, NEVER_MS};
use super::view::{Heard, LineView, Said, View, at};
use super::{Failed, Sabotage};
use crate::replay::client::quiet::{self, Quiet};
use crate::replay::client::stream::{Happened, LinkId, Network};
use broker::{GROUP, INT_MAX, OTHER_PORT, PORT, Throttles, cluster, said};
use evenkeel::{Consumer, LookupError};
use evenkeel_broker::Cluster;
use evenkeel_model::requests::{Action, Own, Slice};
use evenkeel_spec::rules::requests::Line;
use evenkeel_spec::words::{NodeId, Offset};
use person::{Found, Person};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::time::Instant;
use wire::Wire;

/// The replayed world, and the runtime that it lives in.
pub(super) struct Client {
    runtime: Runtime,
    world: World,
}

struct World {
    quiet: Quiet,
    started: Instant,
    cluster: Cluster,
    throttles: Throttles,
    network: Network,
    wires: BTreeMap<LinkId, Wire>,
    person: Person,
    app: Application,
    /// Calls that the application may have open.
    places_max: usize,
    truth: u64,
    /// The broker of the trace answers by itself: before the trace begins.
    is_free: bool,
    idle_ms: u64,
    /// The other broker was asked something at this date.
    used_at: u64,
    /// The second connection's backoff ends in this step.
    second_rested: bool,
    sabotage: Sabotage,
    heard: Vec<Heard>,
}

impl Client {
    /// A consumer that knows its coordinator and has no connection to it.
    ///
    /// # Errors
    /// Why it could not be started.
    pub(super) fn new(slice: &Slice, plan: &Plan, sabotage: Sabotage) -> Result<Self, String> {
        let (runtime, quiet) = quiet::runtime();
        let entered = runtime.enter();
        let throttles = Throttles::default();
        let cluster = cluster(&throttles).map_err(|why| format!("no test broker: {why}"))?;
        let network = Network::default();
        let consumer = consumer(slice, plan, &network).map_err(|error| error.to_string())?;
        let world = World {
            quiet,
            started: Instant::now(),
            cluster,
            throttles,
            network,
            wires: BTreeMap::new(),
            person: Person::start(consumer),
            app: Application::new(plan.asks.life),
            places_max: slice.bounds.places_max,
            truth: 0,
            is_free: true,
            idle_ms: plan.lengths.ms(Length::Idle),
            used_at: 0,
            second_rested: false,
            sabotage,
            heard: Vec::new(),
        };
        drop(entered);
        let mut client = Self { runtime, world };
        let Self { runtime, world } = &mut client;
        runtime.block_on(world.begin());
        Ok(client)
    }

    /// Takes a step, and lets time pass.
    ///
    /// # Errors
    /// What the step needs and is not there, or why it cannot be taken.
    pub(super) fn step(&mut self, plan: &Plan, step: usize) -> Result<View, Failed> {
        let Self { runtime, world } = self;
        runtime.block_on(world.step(plan, step))
    }
}

impl World {
    async fn begin(&mut self) {
        self.tell_truth();
        for command in self.app.begin() {
            self.person.order(command);
        }
        self.settle().await;
        while self.wires.values().any(|wire| wire.line.is_some()) {
            self.wait(self.now() + self.idle_ms).await;
        }
        self.is_free = false;
    }

    async fn step(&mut self, plan: &Plan, step: usize) -> Result<View, Failed> {
        self.heard.clear();
        let (given, action) = (plan.given[step], plan.actions[step]);
        self.second_rested = action == Action::Rested(Line::Second);
        // The trace begins when the consumer is ready.
        let now = self.now();
        let begun = *self.app.begun.get_or_insert(now);
        self.wait(begun + given.at).await;
        if matches!(action, Action::Ask(_)) && plan.asks.again[step].is_none() {
            self.has_room()?;
        }
        self.act(plan, step).await.map_err(|why| Failed::lack(plan, step, why))?;
        self.settle().await;
        if plan.asks.looked[step] {
            self.has_room()?;
            self.app.on_looked();
            self.settle().await;
        }
        let ends = if action == Action::Close { LAST_WORDS_MS } else { 0 };
        self.wait(begun + given.date + ends).await;
        Ok(self.view())
    }

    /// What the application does for the trace is a call, too.
    fn has_room(&self) -> Result<(), Failed> {
        let is_full = self.app.open_calls() >= self.places_max;
        let why = "every place is taken, and the application needs one to make the consumer ask";
        if is_full { Err(Failed::Infeasible(why.to_owned())) } else { Ok(()) }
    }

    async fn act(&mut self, plan: &Plan, step: usize) -> Result<(), &'static str> {
        let given = plan.given[step];
        match plan.actions[step] {
            Action::Call(things) => {
                let call = self.app.open(given.number);
                self.person.call(call, app::of(things), Duration::from_millis(given.ms));
            }
            Action::Ask(_) if plan.asks.again[step].is_some() => {}
            Action::Ask(own) => self.ask(own).await,
            Action::Gone(number) => {
                let call = self.app.on_gone(number).ok_or("the call is over")?;
                self.person.drop_call(call);
            }
            Action::Connect(line) => self.decide(line, true)?,
            Action::Refuse(line) => self.decide(line, false)?,
            Action::Cut(line) => {
                let hides = self.sabotage.hides_cuts;
                let (id, wire) = self.wire(line).ok_or(NOT_CONNECTED)?;
                if hides {
                    wire.messages.clear();
                } else {
                    wire.cut();
                    self.wires.remove(&id);
                }
            }
            Action::Read(line) => self.read(line, plan, step)?,
            Action::Answer(line) => self.answer(line, 0)?,
            Action::Throttle(line) => {
                self.answer(line, u32::try_from(given.ms).unwrap_or(u32::MAX))?;
            }
            Action::Change => {
                self.truth += 1;
                self.tell_truth();
            }
            Action::Close => self.person.close(),
            Action::Die => self.person.die(),
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

    async fn ask(&mut self, own: Own) {
        for command in self.app.ask(own) {
            self.person.order(command);
            // Each is a turn of its own.
            self.settle().await;
        }
    }

    fn decide(&mut self, line: Line, lets_in: bool) -> Result<(), &'static str> {
        let (id, wire) = self.wire(line).ok_or(NOT_CONNECTED)?;
        let attempt = wire.attempt.take().ok_or("it is connected")?;
        attempt.send(lets_in).map_err(|_| "the attempt was given up")?;
        if !lets_in {
            self.wires.remove(&id);
        }
        Ok(())
    }

    fn read(&mut self, line: Line, plan: &Plan, step: usize) -> Result<(), &'static str> {
        let throttle_ms = handshake_throttle(plan, step, line);
        let throttles = self.throttles.clone();
        let (_, wire) = self.wire(line).ok_or(NOT_CONNECTED)?;
        if wire.messages.front().is_some_and(|message| message.said == Said::Handshake) {
            throttles.next(throttle_ms);
        }
        wire.forward().then_some(()).ok_or("nothing is to be read")
    }

    fn answer(&mut self, line: Line, throttle_ms: u32) -> Result<(), &'static str> {
        let (_, wire) = self.wire(line).ok_or(NOT_CONNECTED)?;
        wire.answer(throttle_ms).then_some(()).ok_or("the oldest request has no answer")
    }

    fn wire(&mut self, line: Line) -> Option<(LinkId, &mut Wire)> {
        let mut wires = self.wires.iter_mut();
        wires.find(|(_, wire)| wire.line == Some(line)).map(|(id, wire)| (*id, wire))
    }

    fn tell_truth(&self) {
        for partition in 0..app::PARTITIONS {
            let (topic, offset) = (app::topic(), Offset(self.truth));
            let committed = self.cluster.commit(GROUP, topic.as_str(), partition, offset);
            committed.expect("the group has no member");
        }
    }

    /// Lets time pass until `until`, with everything that happens by itself.
    async fn wait(&mut self, until: u64) {
        loop {
            self.settle().await;
            let now = self.now();
            let refresh = self.used_at + self.idle_ms / 2;
            if refresh <= now {
                self.used_at = now;
                self.person.touch();
                continue;
            }
            if now >= until {
                return;
            }
            let next = self.started + Duration::from_millis(until.min(refresh));
            self.network.happens_before(next).await;
        }
    }

    /// Lets everything happen that takes no time.
    async fn settle(&mut self) {
        loop {
            self.quiet.come().await;
            let mut goes_on = false;
            while let Some(happened) = self.network.next() {
                self.on_happened(happened);
                goes_on = true;
            }
            goes_on |= self.pass();
            goes_on |= self.hear();
            if self.app.open_calls() < self.places_max {
                for command in self.app.tidy() {
                    self.person.order(command);
                    goes_on = true;
                }
            }
            if !goes_on {
                return;
            }
        }
    }

    fn on_happened(&mut self, happened: Happened) {
        match happened {
            Happened::Knocked(id, port, attempt) => {
                let line = (port == PORT).then(|| self.new_line());
                self.wires.insert(id, Wire::knocking(line, attempt));
            }
            Happened::Connected(id, _, port, far) => {
                let broker = self.cluster.connect_in_memory(NodeId(port.into()));
                match (self.wires.get_mut(&id), broker) {
                    (Some(wire), Some(broker)) => wire.on_connected(far, broker),
                    _ => far.cut(),
                }
            }
            Happened::Wrote(id, bytes) => {
                let cluster = &self.cluster;
                if let Some(wire) = self.wires.get_mut(&id) {
                    wire.on_written(&bytes, |frame| said(cluster, frame));
                }
            }
            Happened::Closed(id) => drop(self.wires.remove(&id)),
        }
    }

    /// As an onlooker tells them apart: the second connection is made beside the first, or again after
    /// its own backoff.
    fn new_line(&self) -> Line {
        let has_first = self.wires.values().any(|wire| wire.line == Some(Line::First));
        if has_first || self.second_rested { Line::Second } else { Line::First }
    }

    /// Lets everything pass that does not wait for the trace; whether anything did.
    fn pass(&mut self) -> bool {
        let (is_free, now) = (self.is_free, self.now());
        let mut has_passed = false;
        for wire in self.wires.values_mut() {
            has_passed |= wire.take_answers();
            if !is_free && wire.line.is_some() {
                continue;
            }
            if let Some(attempt) = wire.attempt.take() {
                has_passed |= attempt.send(true).is_ok();
            }
            while wire.forward() {
                has_passed = true;
            }
            while wire.is_answered() {
                if wire.line.is_none() {
                    self.used_at = now;
                }
                has_passed |= wire.answer(0);
            }
        }
        has_passed
    }

    /// What the application heard; whether it was anything.
    fn hear(&mut self) -> bool {
        let ear = std::mem::take(&mut *self.person.ear());
        let has_heard = !ear.found.is_empty() || ear.given_up.is_some();
        for (call, found) in ear.found {
            if let Some(number) = self.app.on_done(call) {
                self.heard.push(heard(number, &found));
            }
        }
        if let Some(call) = ear.given_up {
            self.app.on_done(call);
        }
        self.heard.extend(ear.surprises.into_iter().map(Heard::Surprised));
        has_heard
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn view(&mut self) -> View {
        let mut lines = [LineView::default(), LineView::default()];
        for wire in self.wires.values() {
            if let Some(line) = wire.line {
                lines[at(line)] = wire.view();
            }
        }
        self.heard.sort_unstable();
        View { lines, lanes: None, ended: None, heard: self.heard.clone() }
    }
}

/// How long the client lets its connections write what they were given before it closes them,
/// milliseconds.
const LAST_WORDS_MS: u64 = 10;

const NOT_CONNECTED: &str = "there is no such connection";

fn heard(number: Option<u64>, found: &Found) -> Heard {
    match (number, found) {
        (None, Err(LookupError::QueueFull { .. })) => Heard::Refused,
        (Some(number), Ok(found)) => Heard::answered(number, found),
        (Some(number), Err(LookupError::TimedOut { .. })) => Heard::TimedOut(number),
        (Some(number), Err(LookupError::Closed)) => Heard::Closed(number),
        (Some(number), Err(LookupError::Background(_))) => Heard::Died(number),
        _ => Heard::Surprised(format!("{found:?}")),
    }
}

/// For how long the broker throttles with its answer to a handshake that it reads now, milliseconds.
fn handshake_throttle(plan: &Plan, step: usize, line: Line) -> u64 {
    let later = plan.actions.iter().zip(&plan.given).skip(step + 1);
    let mut answers = later
        .filter(|(action, _)| [Action::Answer(line), Action::Throttle(line)].contains(*action));
    match answers.next() {
        Some((Action::Throttle(_), given)) => given.ms,
        _ => 0,
    }
}

fn consumer(
    slice: &Slice,
    plan: &Plan,
    network: &Network,
) -> Result<Consumer, evenkeel::ConfigError> {
    let ms = |length| plan.lengths.ms(length).to_string();
    let never = NEVER_MS.min(INT_MAX).to_string();
    Consumer::builder()
        .bootstrap_servers(format!("b:{OTHER_PORT}"))
        .group_id(GROUP)
        .property("enable.auto.commit", "true")
        .property("auto.commit.interval.ms", &never)
        .property("auto.offset.reset", "none")
        .property("connections.max.idle.ms", ms(Length::Idle))
        .property("default.api.timeout.ms", &never)
        .property("fetch.max.wait.ms", "1")
        .property("fetch.min.bytes", "0")
        .property("in.flight.max", slice.bounds.in_flight_max.to_string())
        .property("metadata.max.age.ms", &never)
        .property("reconnect.backoff.ms", ms(Length::Reconnect))
        .property("reconnect.backoff.max.ms", ms(Length::Reconnect))
        .property("request.queue.max", slice.bounds.places_max.to_string())
        .property("request.timeout.ms", ms(Length::Request))
        .property("retry.backoff.ms", ms(Length::Retry))
        .property("retry.backoff.max.ms", ms(Length::Retry))
        .property("socket.connection.setup.timeout.ms", ms(Length::Setup))
        .spawn_on(Handle::current())
        .connector(network.strict_connector())
        .seed(0)
        .build()
}
