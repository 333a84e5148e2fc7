//! The loop around the core: what happened goes in, what the core [orders](orders) is done.
//!
//! Decides nothing: whose turn it is says [`Turn`], and everything else is the core's.

mod orders;

use super::flight::{Flights, Link};
use super::lease::Leases;
use super::rebalance::Rebalances;
use super::trace;
use super::{Event, Note, Shown, Start, Teller};
use crate::builder::EndWatch;
use crate::link::{Message, Messages};
use crate::net::connection::{NetEvent, News};
use crate::net::last::LastWords;
use crate::net::transport::Connector;
use crate::record::{Chunk, ChunkOptions};
use crate::recorder::Recorder;
use crate::telemetry::{Landing, Metrics, Queued};
use crate::wire::{Api, Codec, Members};
use bytes::Bytes;
use evenkeel_core::turn::{Branch, Ready, Shares, Turn};
use evenkeel_core::{
    Answer, CallFault, CallId, Cause, CloseReport, Command, ConnectionId, Misbehaved, RequestId,
    Shell, Time,
};
use kafka_protocol::protocol::StrBytes;
use orders::Next;
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// Everything that the background owns.
#[derive(Debug)]
pub(super) struct Driver {
    shell: Shell<Chunk>,
    codec: Codec,
    connector: Arc<dyn Connector>,
    started: Instant,
    links: BTreeMap<ConnectionId, Link>,
    flights: Flights,
    net: mpsc::Receiver<NetEvent>,
    net_sender: mpsc::Sender<NetEvent>,
    messages: Messages,
    events: mpsc::UnboundedSender<Queued<Event>>,
    leases: Leases,
    rebalances: Rebalances,
    metrics: Metrics,
    teller: Teller,
    asked: BTreeMap<CallId, Waiting>,
    turn: Turn,
    arrived: Arrived,
    /// What was to be sent to brokers that do not speak it.
    unspoken: Vec<(ConnectionId, RequestId, Api)>,
    closing: Option<oneshot::Sender<CloseReport>>,
    /// No handle is left that could say anything.
    is_orphaned: bool,
    shown: Shown,
    /// What is assigned, if it was the last thing that the handle was told.
    note: Option<Note>,
    recorder: Option<Recorder>,
    watch: Option<EndWatch>,
    frame_max: u32,
    /// Connections that end with the consumer.
    last: LastWords,
}

/// What came while the loop waited, until it is its turn.
#[derive(Debug, Default)]
struct Arrived {
    net: Option<NetEvent>,
    message: Option<Queued<Message>>,
}

/// A call that waits for its answer, and its place until then.
#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Result<Answer, CallFault>>,
    _place: OwnedSemaphorePermit,
}

impl Driver {
    pub(super) fn new(
        start: Start,
        messages: Messages,
        events: mpsc::UnboundedSender<Queued<Event>>,
        shown: Shown,
    ) -> Self {
        let Start { mut config, connector, seed, record, watch, metrics, runtime } = start;
        let teller = match runtime {
            Some(_) => Teller::here(),
            None => Teller::aside(metrics.untold_words()),
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        config.core.wall_clock_start_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        config.core.jitter_seed = seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
        let (net_sender, net) = mpsc::channel(NET_QUEUE_MAX);
        // Nothing is asked for in the name of no group.
        let group = config.group_id.clone().unwrap_or_else(|| "".into());
        let interval = Duration::from_millis(config.core.max_poll_interval_ms.into());
        let rebalances = Rebalances::new(group.as_str(), interval, metrics.clone(), teller.clone());
        let recorder = record.map(|sink| Recorder::new(sink, &config));
        Self {
            recorder,
            watch,
            frame_max: config.core.fetch_max_bytes.saturating_add(FRAME_SLACK),
            codec: Codec {
                group,
                client_id: StrBytes::from_string(config.client_id),
                members: Members::new(seed),
                chunks: ChunkOptions { check_crcs: config.check_crcs, ..ChunkOptions::default() },
            },
            shell: Shell::new(config.core),
            connector,
            started: Instant::now(),
            links: BTreeMap::new(),
            flights: Flights::default(),
            net,
            net_sender,
            messages,
            events,
            leases: Leases::default(),
            rebalances,
            metrics,
            teller,
            asked: BTreeMap::new(),
            turn: Turn::new(Shares::default(), None),
            arrived: Arrived::default(),
            unspoken: Vec::new(),
            closing: None,
            is_orphaned: false,
            shown,
            note: None,
            last: LastWords::default(),
        }
    }

    /// Runs until the core has ended.
    pub(super) async fn run(&mut self) {
        self.metrics.on_woken();
        if let Some(recorder) = &mut self.recorder {
            recorder.begin();
        }
        let mut turns_at_once = 0;
        loop {
            let deadline = match self.carry_out() {
                Next::Wait(deadline) => deadline,
                Next::End(report) => return self.end(report).await,
            };
            match self.turn.next(self.ready(deadline)) {
                Branch::Timer => {
                    self.feed((), |_, _, ()| {}, |shell, now, ()| shell.handle_timeout(now));
                }
                Branch::Socket => {
                    if let Some(event) =
                        self.arrived.net.take().or_else(|| self.net.try_recv().ok())
                    {
                        self.on_net(event);
                    }
                }
                Branch::Command => self.on_next_message(),
                Branch::Wait => {
                    self.metrics.on_wait(&self.shell, self.started, self.links.keys());
                    self.wait(deadline).await;
                    self.metrics.on_woken();
                    self.shown.turned();
                    turns_at_once = 0;
                }
            }
            turns_at_once += 1;
            if turns_at_once >= TURNS_AT_ONCE_MAX {
                turns_at_once = 0;
                // What gauges show is true also of a loop that never waits.
                self.metrics.on_wait(&self.shell, self.started, self.links.keys());
                self.metrics.on_woken();
                tokio::task::yield_now().await;
            }
        }
    }

    fn ready(&self, deadline: Option<Instant>) -> Ready {
        Ready {
            timer: deadline.is_some_and(|deadline| deadline <= Instant::now()),
            sockets: self.arrived.net.is_some() || !self.net.is_empty(),
            commands: self.arrived.message.is_some() || !self.messages.is_empty(),
        }
    }

    /// Until something is ready; what has arrived is kept for its turn.
    async fn wait(&mut self, deadline: Option<Instant>) {
        tokio::select! {
            biased;
            () = due(deadline) => {}
            Some(event) = self.net.recv() => self.arrived.net = Some(event),
            message = self.messages.recv(), if !self.is_orphaned => {
                // Every handle is gone. The consumer's has said so: the core ends by itself.
                self.is_orphaned = message.is_none();
                self.arrived.message = message;
            }
        }
    }

    fn on_next_message(&mut self) {
        if let Some(message) = self.arrived.message.take().or_else(|| self.messages.try_recv().ok())
        {
            let (message, _handling) = message.take(Message::name);
            self.on_message(message);
        }
    }

    fn now(&self) -> Time {
        let elapsed = self.started.elapsed().as_millis();
        Time(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// Tells the core what happened, and whoever takes note of it before and after. What is due by
    /// the clock comes first, as the core itself does it.
    fn feed<T>(
        &mut self,
        happened: T,
        note: fn(&mut Recorder, Time, &T),
        tell: fn(&mut Shell<Chunk>, Time, T),
    ) {
        let now = self.now();
        if let Some(recorder) = &mut self.recorder {
            self.shell.handle_timeout(now);
            recorder.settled(now, &self.shell, &mut self.codec.members);
            note(recorder, now, &happened);
        }
        tell(&mut self.shell, now, happened);
        if let Some(recorder) = &mut self.recorder {
            recorder.settled(now, &self.shell, &mut self.codec.members);
        }
    }

    fn on_message(&mut self, message: Message) {
        let command = match message {
            Message::Tell(command) => command,
            Message::PollEnded { .. } => Command::PollEnded,
            Message::Ask { call, command, answer, permit } => {
                self.asked.insert(call, Waiting { answer, _place: permit });
                command
            }
            Message::Diagnose { answer, .. } => {
                self.feed((), |_, _, ()| {}, |shell, now, ()| shell.handle_timeout(now));
                // Who asked may be gone.
                let _ = answer.send(self.shell.diagnose(self.now()));
                return;
            }
            Message::Close { command, answer } => {
                self.closing = Some(answer);
                command
            }
        };
        if let Command::Abandon { call } = &command {
            // It is not answered any more.
            self.asked.remove(call);
        }
        self.rebalances.on_command(&command);
        self.feed(command, Recorder::command, Shell::handle_command);
    }

    fn on_net(&mut self, event: NetEvent) {
        let id = event.connection;
        // What a connection reports that the core has closed meanwhile is of no interest.
        if !self.links.contains_key(&id) {
            return;
        }
        match event.news {
            News::Connected => {
                self.metrics.on_connected(self.shell.role_of(id));
                self.feed(id, |_, _, _| {}, Shell::handle_connected);
            }
            News::Frame(frame) => self.on_frame(id, frame),
            News::Ended(cause) => {
                if let Some(mut link) = self.links.remove(&id) {
                    trace::lost(&self.teller, &link.address, &cause);
                    link.over((&self.metrics, &self.teller), Landing::Disconnected, "lost");
                }
                self.disconnected(id, cause);
            }
        }
    }

    fn on_frame(&mut self, id: ConnectionId, frame: Bytes) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let answered = Codec::answered(&frame);
        let Some(in_flight) = link.in_flight.pop_front() else {
            let unasked = Misbehaved::Malformed("an answer to nothing".into());
            self.disconnected(id, Cause::Misbehaved(unasked));
            if let Some(mut link) = self.links.remove(&id) {
                link.over((&self.metrics, &self.teller), Landing::Malformed, "malformed");
            }
            return;
        };
        let answer = match answered {
            Ok(answered) if answered == in_flight.id => self.codec.decode(&in_flight.sent, frame),
            Ok(_) => Err(Misbehaved::OutOfOrder),
            Err(misbehaved) => Err(misbehaved),
        };
        let landing = answer
            .as_ref()
            .map_or(Landing::Malformed, |(answered, _)| Landing::of(&answered.response));
        let (request, took) = (in_flight.id, in_flight.at.elapsed());
        link.emit((&self.metrics, &self.teller), in_flight, landing);
        let (rebalances, metrics) = (&mut self.rebalances, &self.metrics);
        let answer = answer.map(|(answered, versions)| {
            rebalances.on_answer(request, &answered.response);
            metrics.on_answer(&answered.response, took);
            if let Some(versions) = versions {
                link.versions = versions;
            }
            answered
        });
        self.feed(
            (id, request, answer),
            |recorder, now, (id, request, answer)| recorder.answer(now, *id, *request, answer),
            |shell, now, (id, request, answer)| shell.handle_response(now, id, request, answer),
        );
    }

    fn disconnected(&mut self, id: ConnectionId, cause: Cause) {
        self.feed(
            (id, cause),
            |recorder, _, (id, _)| recorder.ended(*id),
            |shell, now, (id, cause)| shell.handle_disconnected(now, id, cause),
        );
    }

    async fn end(&mut self, report: CloseReport) {
        self.last.write(&mut self.net).await;
        self.rebalances.on_left();
        self.teller.flush();
        self.metrics.flush();
        if let Some(watch) = self.watch.take() {
            // Who does not watch any more need not know.
            let _ = watch.send(report.requests.clone());
        }
        // Nobody asked, or who did is gone.
        let unheard = match self.closing.take() {
            Some(closing) => closing.send(report).err(),
            None => Some(report),
        };
        if let Some(report) = unheard {
            trace::orphan_ended(&self.teller, &self.codec.group, report);
            self.teller.flush();
        }
    }
}

async fn due(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Frames that wait for the loop, over all connections; then readers wait. A few answers a broker.
const NET_QUEUE_MAX: usize = 64;

/// Turns without letting other tasks of the runtime have theirs: connections are read by tasks.
const TURNS_AT_ONCE_MAX: usize = 32;

/// How much longer than `fetch.max.bytes` an answer may be, bytes: a first batch larger than it is
/// sent all the same (KIP-74), and a topic's `message.max.bytes` may be anything; 64 MiB is 60
/// times its default.
const FRAME_SLACK: u32 = 64 << 20;
