//! The network between the consumers and the brokers: frames wait here on their way, in both
//! directions, until a trace lets them pass.
//!
//! Each connection keeps the order of its frames. Held back for the trace: FindCoordinator,
//! heartbeats, commits and their answers. A Fetch is parked until a record is to be returned, a
//! Metadata request until the topics may be known; at the latest until they are due or something
//! waits behind them. Everything else passes at once.

use super::stream::{Far, Happened, LinkId, Network};
use crate::replay::view::Sent;
use bytes::{Buf, Bytes, BytesMut};
use evenkeel_broker::{Cluster, RequestWords};
use evenkeel_spec::words::{HeartbeatEpoch, NodeId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::Instant;

/// A request that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frame: Bytes,
    pub(super) why: Why,
}

/// Why a request waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// For nothing but its turn.
    Turn,
    /// A heartbeat or a commit: for the trace.
    Group,
    /// A lookup of the coordinator: for the trace.
    Lookup,
    /// For records, at the latest until this date, milliseconds.
    Records(u64),
    /// For topics to be known, at the latest until this date, milliseconds.
    Topics(u64),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) consumer: usize,
    /// The broker at the other end, by the broker's number.
    pub(super) node: NodeId,
    far: Far,
    broker: DuplexStream,
    /// Bytes of a frame that is not complete.
    written: BytesMut,
    /// Requests that the broker did not get, oldest first.
    pub(super) requests: VecDeque<Waiting>,
    /// Whether the trace holds the answer, of each request that the broker has, oldest first.
    asked: VecDeque<bool>,
    /// Bytes of an answer that is not complete.
    read: BytesMut,
    /// Answers that the consumer did not get, oldest first; whether the trace holds it.
    answers: VecDeque<(Bytes, bool)>,
    /// The consumer's end is gone.
    pub(super) is_over: bool,
}

/// A request that came from a consumer.
#[derive(Debug)]
pub(super) enum Came {
    /// A heartbeat or a commit.
    Group(usize, LinkId, Sent, Bytes, Option<HeartbeatEpoch>),
    /// A lookup of the coordinator.
    Lookup(usize, LinkId),
    /// The group's, but it does not decode.
    Unreadable(usize),
    /// This connection was closed by the consumer.
    Closed(usize, LinkId),
}

/// How requests wait that are not the group's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Lookups of the coordinator wait for the trace.
    pub(super) holds_lookups: bool,
    /// How long requests are parked, milliseconds.
    pub(super) parked_ms: u64,
}

/// Every connection.
pub(super) struct Links {
    network: Network,
    cluster: Cluster,
    habits: Habits,
    links: BTreeMap<LinkId, Link>,
    /// How often each consumer has asked for positions.
    positions_asked: BTreeMap<usize, usize>,
    /// Consumers whose lookups of positions vanish.
    muted: BTreeSet<usize>,
    /// Each frame that passed since this was emptied, in words; `None`: nobody wants to know.
    pub(super) tape: Option<Vec<String>>,
}

impl Links {
    pub(super) fn new(network: Network, cluster: Cluster, habits: Habits, tapes: bool) -> Self {
        let tape = tapes.then(Vec::new);
        Self {
            network,
            cluster,
            habits,
            links: BTreeMap::new(),
            positions_asked: BTreeMap::new(),
            muted: BTreeSet::new(),
            tape,
        }
    }

    pub(super) fn get(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id).filter(|link| !link.is_over)
    }

    /// The connections of a consumer that last, in the order of their beginning.
    fn open(&mut self, consumer: usize) -> impl Iterator<Item = &mut Link> {
        self.links.values_mut().filter(move |link| link.consumer == consumer && !link.is_over)
    }

    /// The connection on which a consumer waits for records.
    pub(super) fn fetching(&mut self, consumer: usize) -> Option<&mut Link> {
        let is_fetch = |first: &Waiting| matches!(first.why, Why::Records(_));
        self.open(consumer).find(|link| link.requests.front().is_some_and(is_fetch))
    }

    /// How often a consumer has asked for positions, answered or not.
    pub(super) fn positions_asked(&self, consumer: usize) -> usize {
        self.positions_asked.get(&consumer).copied().unwrap_or(0)
    }

    /// From now on it is as if this consumer asked for no positions.
    pub(super) fn mute_positions(&mut self, consumer: usize) {
        self.muted.insert(consumer);
    }

    /// Metadata requests of this consumer wait no more.
    pub(super) fn on_resolved(&mut self, consumer: usize) {
        for waiting in self.open(consumer).flat_map(|link| &mut link.requests) {
            if matches!(waiting.why, Why::Topics(_)) {
                waiting.why = Why::Turn;
            }
        }
    }

    /// Takes what consumers wrote; what of it concerns the trace. `parks` says of a consumer
    /// whether its Metadata requests wait.
    pub(super) fn collect(&mut self, now: u64, parks: impl Fn(usize) -> bool) -> Vec<Came> {
        let mut came = Vec::new();
        while let Some(happened) = self.network.next() {
            match happened {
                Happened::Knocked(..) => unreachable!("these consumers are let in at once"),
                Happened::Connected(id, consumer, port, far) => {
                    self.connect(id, consumer, port, far);
                }
                Happened::Closed(id) => {
                    if let Some(link) = self.links.get_mut(&id).filter(|link| !link.is_over) {
                        link.is_over = true;
                        came.push(Came::Closed(link.consumer, id));
                    }
                }
                Happened::Wrote(id, bytes) => {
                    let Some(link) = self.links.get_mut(&id) else { continue };
                    link.written.extend_from_slice(&bytes);
                    while let Some(frame) = next_frame(&mut link.written) {
                        note(&mut self.tape, link, "->", &frame);
                        let parks = parks(link.consumer);
                        let until = now + self.habits.parked_ms;
                        let key = i16::from_be_bytes([frame[4], frame[5]]);
                        if key == OFFSET_FETCH {
                            if self.muted.contains(&link.consumer) {
                                continue;
                            }
                            *self.positions_asked.entry(link.consumer).or_default() += 1;
                        }
                        let why = match key {
                            FETCH => Why::Records(until),
                            METADATA if parks => Why::Topics(until),
                            FIND_COORDINATOR if self.habits.holds_lookups => {
                                came.push(Came::Lookup(link.consumer, id));
                                Why::Lookup
                            }
                            HEARTBEAT | OFFSET_COMMIT => {
                                let words = self.cluster.read_words(frame.slice(4..));
                                came.push(group(link, id, words, &frame));
                                Why::Group
                            }
                            _ => Why::Turn,
                        };
                        link.requests.push_back(Waiting { frame, why });
                    }
                }
            }
        }
        came
    }

    fn connect(&mut self, id: LinkId, consumer: usize, port: u16, far: Far) {
        let node = NodeId(i32::from(port));
        let Some(broker) = self.cluster.connect_in_memory(node) else { return far.cut() };
        let link = Link {
            consumer,
            node,
            far,
            broker,
            written: BytesMut::new(),
            requests: VecDeque::new(),
            asked: VecDeque::new(),
            read: BytesMut::new(),
            answers: VecDeque::new(),
            is_over: false,
        };
        self.links.insert(id, link);
    }

    /// Lets everything pass that waits for nothing but its turn; whether anything did.
    pub(super) fn pass(&mut self, now: u64) -> bool {
        let mut has_passed = false;
        for link in self.links.values_mut().filter(|link| !link.is_over) {
            while link.requests.front().is_some_and(|first| match first.why {
                Why::Turn => true,
                Why::Group | Why::Lookup => false,
                Why::Records(due) | Why::Topics(due) => due <= now || link.requests.len() > 1,
            }) {
                link.forward(false);
                has_passed = true;
            }
            link.take_answers();
            while link.answers.front().is_some_and(|(_, is_held)| !is_held) {
                note_answer(&mut self.tape, link);
                link.answer();
                has_passed = true;
            }
        }
        has_passed
    }

    /// When the first of the parked requests is due, milliseconds.
    pub(super) fn due(&self) -> Option<u64> {
        let links = self.links.values().filter(|link| !link.is_over);
        let due = links.filter_map(|link| match link.requests.front()?.why {
            Why::Records(due) | Why::Topics(due) => Some(due),
            Why::Turn | Why::Group | Why::Lookup => None,
        });
        due.min()
    }

    /// Gives a consumer the oldest answer on a connection.
    pub(super) fn answer(&mut self, id: LinkId) -> Result<(), &'static str> {
        let link = self.links.get_mut(&id).filter(|link| !link.is_over);
        let link = link.ok_or("its connection is gone")?;
        link.take_answers();
        if link.answers.front().is_none_or(|(_, is_held)| !is_held) {
            return Err("an older request of its connection is not answered");
        }
        note_answer(&mut self.tape, link);
        link.answer();
        Ok(())
    }

    /// Breaks a connection: nothing that is on it arrives any more, but what the broker is given.
    pub(super) fn cut(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.is_over = true;
            link.far.cut();
        }
    }

    /// Waits until a consumer does something, at the latest until `date`.
    pub(super) async fn happens_before(&self, date: Instant) {
        self.network.happens_before(date).await;
    }

    /// Gives a broker a request of a connection that is over.
    pub(super) fn arrive_late(&mut self, id: LinkId, frame: &Bytes) {
        let link = self.links.get_mut(&id).expect("connections are remembered");
        link.write(frame);
    }
}

impl Link {
    /// Gives the broker the oldest request.
    pub(super) fn forward(&mut self, is_held: bool) {
        if let Some(waiting) = self.requests.pop_front() {
            self.write(&waiting.frame);
            self.asked.push_back(is_held);
        }
    }

    fn write(&mut self, frame: &Bytes) {
        let mut context = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut self.broker).poll_write(&mut context, frame);
        // A broker that is gone does not answer either, which shows.
        if let Poll::Ready(Ok(count)) = written {
            assert_eq!(count, frame.len(), "the broker's buffer holds more than a trace sends");
        }
    }

    fn take_answers(&mut self) {
        while !self.asked.is_empty() {
            if let Some(frame) = next_frame(&mut self.read) {
                let is_held = self.asked.pop_front().expect("it is not empty");
                self.answers.push_back((frame, is_held));
                continue;
            }
            let mut bytes = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            let mut context = Context::from_waker(Waker::noop());
            let read = Pin::new(&mut self.broker).poll_read(&mut context, &mut buffer);
            if !matches!(read, Poll::Ready(Ok(()))) || buffer.filled().is_empty() {
                return;
            }
            self.read.extend_from_slice(buffer.filled());
        }
    }

    fn answer(&mut self) {
        if let Some((frame, _)) = self.answers.pop_front() {
            self.far.deliver(&frame);
        }
    }
}

fn group(link: &Link, id: LinkId, words: Option<RequestWords>, frame: &Bytes) -> Came {
    let to = model_node(link.node);
    match words {
        Some(RequestWords::Heartbeat(_, request)) => {
            let sent = Sent::heartbeat(to, &request);
            Came::Group(link.consumer, id, sent, frame.clone(), Some(request.epoch))
        }
        Some(RequestWords::OffsetCommit(_, request)) => {
            Came::Group(link.consumer, id, Sent::commit(to, &request), frame.clone(), None)
        }
        _ => Came::Unreadable(link.consumer),
    }
}

/// A broker as the model numbers it: from 0.
pub(super) fn model_node(node: NodeId) -> NodeId {
    NodeId(node.0 - 1)
}

/// The next whole frame, with its length.
pub(in crate::replay) fn next_frame(bytes: &mut BytesMut) -> Option<Bytes> {
    let mut head = bytes.get(..4)?;
    let end = 4 + head.get_u32() as usize;
    (bytes.len() >= end).then(|| bytes.split_to(end).freeze())
}

fn note_answer(tape: &mut Option<Vec<String>>, link: &Link) {
    if let Some((frame, _)) = link.answers.front() {
        note(tape, link, "<-", frame);
    }
}

fn note(tape: &mut Option<Vec<String>>, link: &Link, direction: &str, frame: &[u8]) {
    let Some(tape) = tape else { return };
    let node = model_node(link.node).0;
    let mut line = format!("c{} {direction} node {node}: ", link.consumer);
    for byte in frame {
        write!(line, "{byte:02x}").expect("a string takes everything");
    }
    tape.push(line);
}

const FETCH: i16 = 1;
const METADATA: i16 = 3;
const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const FIND_COORDINATOR: i16 = 10;
const HEARTBEAT: i16 = 68;

/// Bytes that are read at once: most answers whole.
const READ_BYTES: usize = 1024;
