//! A scripted cluster in virtual time: two brokers that answer everything after a millisecond, and
//! an application that keeps what it was given.

use super::truth::Truth;
use crate::request::{
    Answered, Coordinator, Ended, EpochEnd, Fetched, GroupDescription, ListedOffset, Metadata,
    OffsetAt, PartitionDescription, PartitionMetadata, Request, Response, TopicDescription,
    TopicMetadata, Unsupported,
};
use crate::{
    Address, Answer, CallFault, CallId, Callback, Cause, Chunk, CloseReport, Command, Config,
    ConnectionId, Delivery, Incarnation, Misbehaved, Output, PollFault, RequestId, Shell, Taken,
    Time, Warning,
};
use evenkeel_spec::words::{
    Committed, Epoch, ErrorCode, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, LeaderEpoch, NodeId,
    Offset, Partitions, Pattern, TopicId, TopicIdPartition, TopicName, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

type TopicDescribed = Result<TopicDescription, ErrorCode>;

/// Records of 100 bytes from `next` to `end`; the one at `damaged_at` cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Records {
    pub(crate) next: u64,
    pub(crate) end: u64,
    pub(crate) damaged_at: Option<u64>,
    /// Nothing but what is skipped: of aborted transactions, say.
    pub(crate) is_hollow: bool,
    pub(crate) epochs: Epochs,
}

impl Records {
    pub(crate) fn new(next: u64, end: u64) -> Self {
        Self { next, end, damaged_at: None, is_hollow: false, epochs: Epochs::new() }
    }
}

/// Bytes of one record.
pub(crate) const RECORD_BYTES: u64 = 100;

impl Chunk for Records {
    type Part = (u64, u64);
    type Fault = &'static str;

    fn buffered_bytes(&self) -> usize {
        usize::try_from((self.end - self.next) * RECORD_BYTES).expect("small")
    }

    fn end_offset(&self) -> Offset {
        Offset(self.end)
    }

    fn is_drained(&self) -> bool {
        self.next == self.end
    }

    fn take(&mut self, records_max: usize) -> Result<Taken<(u64, u64)>, &'static str> {
        let from = self.next;
        if self.is_hollow {
            self.next = self.end;
            let (next_offset, leader_epoch) = (Offset(self.end), self.leader_epoch());
            return Ok(Taken { part: (from, from), records: 0, next_offset, leader_epoch });
        }
        let until = self.damaged_at.unwrap_or(self.end);
        if from == until {
            return Err("damaged");
        }
        self.next = until.min(from + records_max as u64);
        Ok(Taken {
            part: (from, self.next),
            records: usize::try_from(self.next - from).expect("small"),
            next_offset: Offset(self.next),
            leader_epoch: self.leader_epoch(),
        })
    }
}

impl Records {
    /// Of what was taken last; 1 in a cluster that knows no epochs.
    fn leader_epoch(&self) -> Option<LeaderEpoch> {
        let last = self.next.saturating_sub(1);
        Some(LeaderEpoch(epoch_at(&self.epochs, last).unwrap_or(1)))
    }
}

/// A topic of the cluster: each partition's leader and log.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) id: TopicId,
    pub(crate) leaders: Vec<NodeId>,
    pub(crate) starts: Vec<u64>,
    pub(crate) ends: Vec<u64>,
    /// Each leader epoch and where it begins; none: the cluster knows no epochs.
    pub(crate) epochs: Vec<Epochs>,
}

/// Leader epochs with the offsets at which they begin, ascending.
pub(crate) type Epochs = Vec<(u32, u64)>;

/// Records that a fetch was answered with, and their log at that moment.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) id: TopicIdPartition,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) start: u64,
    pub(crate) epochs: Epochs,
}

/// The leader epoch of the record at this offset.
pub(crate) fn epoch_at(epochs: &Epochs, offset: u64) -> Option<u32> {
    epochs.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
}

impl Log {
    /// Another leader, under the next epoch, which lacks what lies at `end` and after it. As
    /// `LeaderEpochFileCache.assign` of Apache Kafka: an epoch that has no records is forgotten.
    pub(crate) fn elect(&mut self, index: usize, leader: NodeId, end: u64) {
        self.leaders[index] = leader;
        self.ends[index] = end;
        let next = self.epochs[index].last().map_or(0, |(epoch, _)| epoch + 1);
        self.epochs[index].retain(|(_, start)| *start < end);
        self.epochs[index].push((next, end));
    }

    /// Retention: what lies before `start` is forgotten, and the epochs that lie there. As
    /// `LeaderEpochFileCache.truncateFromStart` of Apache Kafka.
    pub(crate) fn forget(&mut self, index: usize, start: u64) {
        self.starts[index] = start;
        let epochs = &mut self.epochs[index];
        let gone = epochs.iter().take_while(|(_, begins)| *begins <= start).count();
        epochs.drain(..gone.saturating_sub(1));
        if gone > 0 {
            epochs[0].1 = start;
        }
    }

    fn leader_epoch(&self, index: usize) -> Option<LeaderEpoch> {
        self.epochs[index].last().map(|(epoch, _)| LeaderEpoch(*epoch))
    }

    /// Why a broker refuses what is asked under this leader epoch.
    fn refusal(&self, index: usize, node: NodeId, asked: Option<LeaderEpoch>) -> Option<ErrorCode> {
        if self.leaders[index] != node {
            return Some(ErrorCode::NotLeaderOrFollower);
        }
        match (asked, self.leader_epoch(index)) {
            (Some(asked), Some(known)) if asked < known => Some(ErrorCode::FencedLeaderEpoch),
            (Some(asked), Some(known)) if asked > known => Some(ErrorCode::UnknownLeaderEpoch),
            _ => None,
        }
    }

    /// As `LeaderEpochFileCache.endOffsetFor` of Apache Kafka.
    fn epoch_end(&self, index: usize, asked: LeaderEpoch) -> Option<EpochEnd> {
        let epochs = &self.epochs[index];
        let end = |leader_epoch, offset| EpochEnd { leader_epoch, offset: Offset(offset) };
        if epochs.last().is_some_and(|(last, _)| *last == asked.0) {
            return Some(end(asked, self.ends[index]));
        }
        let (_, next) = epochs.iter().find(|(epoch, _)| *epoch > asked.0)?;
        let floor = epochs.iter().rev().find(|(epoch, _)| *epoch <= asked.0);
        Some(end(floor.map_or(asked, |(epoch, _)| LeaderEpoch(*epoch)), *next))
    }
}

#[derive(Debug)]
enum Event {
    Connected(ConnectionId),
    Disconnected(ConnectionId, Cause),
    Answer(ConnectionId, RequestId, Request),
}

/// The cluster, the shell and the application.
pub(crate) struct World {
    pub(crate) shell: Shell<Records>,
    pub(crate) now: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    /// Which broker each connection leads to; `None`: a bootstrap server that is no broker.
    connections: BTreeMap<ConnectionId, NodeId>,
    free_at: BTreeMap<ConnectionId, u64>,
    pub(crate) topics: BTreeMap<TopicName, Log>,
    pub(crate) down: BTreeSet<NodeId>,
    /// Brokers that accept and never answer.
    pub(crate) mute: BTreeSet<NodeId>,
    /// Brokers that accept no connection, and are alive.
    pub(crate) refusing: BTreeSet<NodeId>,
    /// What other members own.
    pub(crate) others: Partitions,
    /// What the coordinator assigns too, of topics that no broker names.
    pub(crate) unnamed: Partitions,
    /// Every record before this offset is skipped.
    pub(crate) hollow_before: u64,
    truth: Truth,
    /// Lack an API that is needed.
    pub(crate) old: BTreeSet<NodeId>,
    pub(crate) coordinator: NodeId,
    pub(crate) committed: BTreeMap<TopicIdPartition, Committed>,
    pub(crate) heartbeat_errors: VecDeque<ErrorCode>,
    pub(crate) offset_fetch_errors: VecDeque<ErrorCode>,
    pub(crate) lookup_errors: VecDeque<ErrorCode>,
    pub(crate) describe_errors: VecDeque<ErrorCode>,
    /// No broker describes groups.
    pub(crate) describes_none: bool,
    /// No broker tells where epochs end.
    pub(crate) tells_no_epochs: bool,
    pub(crate) epoch_errors: VecDeque<ErrorCode>,
    /// What fetches were answered with.
    pub(crate) served: Vec<Served>,
    pub(crate) fetch_errors: BTreeMap<TopicIdPartition, VecDeque<ErrorCode>>,
    /// What metadata says of a topic instead of its partitions.
    pub(crate) topic_errors: BTreeMap<TopicName, ErrorCode>,
    pub(crate) damaged_at: Option<u64>,
    pub(crate) throttle_ms: u32,
    pub(crate) heartbeat_interval_ms: u32,
    epoch: u32,
    subscribed: BTreeSet<TopicName>,
    pattern: Option<Arc<str>>,
    target: Option<Partitions>,
    /// What went out, by virtual date.
    pub(crate) sent: Vec<(u64, ConnectionId, Request)>,
    pub(crate) connects: Vec<(u64, Address)>,
    pub(crate) closed_connections: Vec<(u64, crate::DisconnectReason)>,
    pub(crate) ended: Vec<Ended>,
    /// Dates at which the driver woke, by what.
    pub(crate) timeouts: Vec<u64>,
    pub(crate) answers: Vec<(u64, &'static str)>,
    last_answer: BTreeMap<ConnectionId, u64>,
    /// The shortest time from an answer to the next request on its connection.
    pub(crate) shortest_pause: u64,
    calls: u64,
    pub(crate) taken: u64,
    pub(crate) waiting: VecDeque<Delivery<(u64, u64)>>,
    pub(crate) faults: VecDeque<PollFault<&'static str>>,
    pub(crate) callbacks: VecDeque<(Incarnation, Callback, BTreeSet<TopicPartition>)>,
    pub(crate) done: BTreeMap<CallId, Result<Answer, CallFault>>,
    pub(crate) done_order: Vec<CallId>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) ended_leases: BTreeSet<TopicPartition>,
    pub(crate) assignment: BTreeSet<TopicPartition>,
    pub(crate) report: Option<CloseReport>,
}

pub(crate) const NODES: [NodeId; 2] = [NodeId(1), NodeId(2)];

pub(crate) fn config() -> Config {
    let mut config = Config::new(vec![address(NODES[0]), address(NODES[1])]);
    config.auto_offset_reset = crate::OffsetReset::Earliest;
    config
}

pub(crate) fn address(node: NodeId) -> Address {
    Address::new(&format!("b{}", node.0), 9092)
}

pub(crate) fn partition(topic: &str, index: u32) -> TopicPartition {
    TopicPartition::new(topic, index)
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            shell: Shell::new(config),
            now: 0,
            events: BTreeMap::new(),
            sequence: 0,
            connections: BTreeMap::new(),
            free_at: BTreeMap::new(),
            topics: BTreeMap::new(),
            down: BTreeSet::new(),
            mute: BTreeSet::new(),
            refusing: BTreeSet::new(),
            others: Partitions::new(),
            unnamed: Partitions::new(),
            hollow_before: 0,
            truth: Truth::default(),
            old: BTreeSet::new(),
            coordinator: NODES[0],
            committed: BTreeMap::new(),
            heartbeat_errors: VecDeque::new(),
            offset_fetch_errors: VecDeque::new(),
            lookup_errors: VecDeque::new(),
            describe_errors: VecDeque::new(),
            describes_none: false,
            tells_no_epochs: false,
            epoch_errors: VecDeque::new(),
            served: Vec::new(),
            fetch_errors: BTreeMap::new(),
            topic_errors: BTreeMap::new(),
            damaged_at: None,
            throttle_ms: 0,
            heartbeat_interval_ms: 5_000,
            epoch: 0,
            subscribed: BTreeSet::new(),
            pattern: None,
            target: None,
            sent: Vec::new(),
            connects: Vec::new(),
            closed_connections: Vec::new(),
            ended: Vec::new(),
            timeouts: Vec::new(),
            answers: Vec::new(),
            last_answer: BTreeMap::new(),
            shortest_pause: u64::MAX,
            calls: 0,
            taken: 0,
            waiting: VecDeque::new(),
            faults: VecDeque::new(),
            callbacks: VecDeque::new(),
            done: BTreeMap::new(),
            done_order: Vec::new(),
            warnings: Vec::new(),
            ended_leases: BTreeSet::new(),
            assignment: BTreeSet::new(),
            report: None,
        }
    }

    /// Creates a topic whose partitions are led by turns and hold this many records.
    pub(crate) fn create(&mut self, name: &str, ends: &[u64]) -> TopicId {
        let id = TopicId::from_u32(u32::try_from(self.topics.len()).expect("few") + 1);
        let leaders = (0..ends.len()).map(|index| NODES[index % NODES.len()]).collect();
        let (starts, epochs) = (vec![0; ends.len()], vec![Epochs::new(); ends.len()]);
        self.topics.insert(name.into(), Log { id, leaders, starts, ends: ends.to_vec(), epochs });
        id
    }

    pub(crate) fn log(&mut self, name: &str) -> &mut Log {
        self.topics.get_mut(&TopicName::from(name)).expect("it was created")
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.shell.handle_command(Time(self.now), command);
        self.drain();
    }

    pub(crate) fn call(&mut self, make: impl FnOnce(CallId) -> Command) -> CallId {
        self.calls += 1;
        let id = CallId(self.calls);
        self.command(make(id));
        id
    }

    pub(crate) fn subscribe(&mut self, topics: &[&str], listener: bool) {
        let topics = topics.iter().map(|name| TopicName::from(*name)).collect();
        let call = self.call(|call| Command::Subscribe { call, topics, listener });
        assert_eq!(self.done[&call], Ok(Answer::Done));
    }

    /// Polls for at most this long; takes what is delivered.
    pub(crate) fn poll(&mut self, timeout_ms: u64) -> Option<Delivery<(u64, u64)>> {
        let deadline = self.now + timeout_ms;
        self.command(Command::Poll { taken: self.taken });
        while self.waiting.is_empty() && self.faults.is_empty() && self.step(deadline) {
            for (incarnation, ..) in std::mem::take(&mut self.callbacks) {
                self.command(Command::CallbackDone { incarnation, ok: true });
            }
        }
        let delivery = self.waiting.pop_front();
        self.taken = delivery.as_ref().map_or(self.taken, |delivery| delivery.number);
        self.command(Command::PollEnded);
        delivery
    }

    /// Polls until this many records came; returns them by partition.
    pub(crate) fn consume(&mut self, count: usize) -> BTreeMap<TopicPartition, Vec<(u64, u64)>> {
        let mut got = BTreeMap::<_, Vec<_>>::new();
        let mut left = count;
        while left > 0 {
            let delivery = self.poll(60_000).unwrap_or_else(|| panic!("{left} are missing"));
            for part in delivery.parts {
                left -= part.count;
                got.entry(part.partition).or_default().push(part.records);
            }
        }
        got
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, ms: u64) {
        let deadline = self.now + ms;
        while self.step(deadline) {}
    }

    /// The next thing that happens before the deadline; else the deadline comes.
    pub(crate) fn step(&mut self, deadline: u64) -> bool {
        let wait = match self.shell.poll_output() {
            Output::Wait(wait) => wait.map(|time| time.0),
            other => panic!("was drained, but {other:?}"),
        };
        assert!(wait.is_none_or(|date| date > self.now), "a wait is for a later date");
        let event = self.events.keys().next().copied();
        let next = [wait, event.map(|(date, _)| date)].into_iter().flatten().min();
        match next {
            Some(date) if date <= deadline => {
                self.now = date;
                match event.filter(|(event, _)| *event == date) {
                    Some(key) => {
                        let event = self.events.remove(&key).expect("it was there");
                        self.happen(event);
                    }
                    None => {
                        self.timeouts.push(self.now);
                        self.shell.handle_timeout(Time(self.now));
                    }
                }
                self.drain();
                true
            }
            Some(_) | None => {
                self.now = deadline;
                false
            }
        }
    }

    fn later(&mut self, date: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((date, self.sequence), event);
    }

    fn happen(&mut self, event: Event) {
        let now = Time(self.now);
        match event {
            Event::Connected(id) => self.shell.handle_connected(now, id),
            Event::Disconnected(id, cause) => self.shell.handle_disconnected(now, id, cause),
            Event::Answer(id, request_id, request) => {
                let Some(node) = self.connections.get(&id).copied() else {
                    // The connection is gone; a timer may be due at the same date.
                    return self.shell.handle_timeout(now);
                };
                self.answers.push((self.now, name(&request)));
                self.last_answer.insert(id, self.now);
                self.truth.on_answered((id, request_id));
                let response = self.respond(node, request);
                let throttle_ms = self.throttle_ms;
                let answered = Ok(Answered { response, throttle_ms });
                self.shell.handle_response(now, id, request_id, answered);
            }
        }
    }

    /// Answers the oldest request of a connection with something else.
    pub(crate) fn misbehave(&mut self, id: ConnectionId, misbehaved: Misbehaved) {
        let answer = Err(misbehaved);
        self.shell.handle_response(Time(self.now), id, RequestId(0), answer);
        self.drain();
    }

    /// Cuts every connection to a broker.
    pub(crate) fn cut(&mut self, node: NodeId) {
        let cut = self.connections.iter().filter(|(_, to)| **to == node);
        for id in cut.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.connections.remove(&id);
            self.truth.on_gone(id);
            self.shell.handle_disconnected(Time(self.now), id, Cause::Closed);
            self.drain();
        }
    }

    fn drain(&mut self) {
        for count in 0.. {
            assert!(count < 10_000, "the shell spins");
            match self.shell.poll_output() {
                Output::Wait(_) => break,
                other => self.carry_out(other),
            }
        }
        self.truth.check(&self.shell, self.now, &self.assignment);
    }

    fn carry_out(&mut self, output: Output<Records>) {
        match output {
            Output::Connect { connection, address } => self.connect(connection, address),
            Output::Disconnect { connection, reason } => {
                self.connections.remove(&connection);
                self.truth.on_gone(connection);
                self.closed_connections.push((self.now, reason));
            }
            Output::Send { connection, request_id, request: Request::DescribeGroup, .. }
                if self.describes_none =>
            {
                self.shell.handle_unspoken(Time(self.now), connection, request_id);
            }
            Output::Send {
                connection,
                request_id,
                request: Request::OffsetForLeaderEpoch { .. },
                ..
            } if self.tells_no_epochs => {
                self.shell.handle_unspoken(Time(self.now), connection, request_id);
            }
            Output::Send { connection, request_id, request, .. } => {
                let node = self.connections.get(&connection).copied();
                self.truth.on_sent(node, (connection, request_id), &request);
                self.send(connection, request_id, request);
            }
            Output::Deliver(delivery) => self.waiting.push_back(delivery),
            Output::EndLease(partitions) => {
                for delivery in &mut self.waiting {
                    delivery.parts.retain(|part| !partitions.contains(&part.partition));
                }
                self.ended_leases.extend(partitions);
            }
            Output::PollFailed(fault) => self.faults.push_back(fault),
            Output::Call { incarnation, callback, partitions } => {
                self.callbacks.push_back((incarnation, callback, partitions));
            }
            Output::Assignment(assignment) => self.assignment = assignment.partitions.clone(),
            Output::Done { call, result } => {
                self.done_order.push(call);
                let before = self.done.insert(call, result);
                assert_eq!(before, None, "a call is answered once");
            }
            Output::Waiting(..) => {}
            Output::Ended(ended) => {
                let whole = ended.ended_at.since(ended.asked_at);
                assert_eq!(ended.waits.sum_ms(), whole, "all its time is accounted for: {ended:?}");
                self.ended.push(ended);
            }
            Output::Warn(warning) => self.warnings.push(warning),
            Output::Closed(report) => self.report = Some(report),
            Output::Wait(_) => unreachable!("the last output"),
        }
    }

    fn connect(&mut self, id: ConnectionId, to: Address) {
        // Any other address is a balancer's, in front of the first.
        let node = NODES.into_iter().find(|node| address(*node) == to).unwrap_or(NODES[0]);
        self.connects.push((self.now, to));
        if self.down.contains(&node) || self.refusing.contains(&node) {
            let cause = Cause::Connect("refused".into());
            self.later(self.now + 1, Event::Disconnected(id, cause));
        } else {
            self.connections.insert(id, node);
            self.later(self.now + 1, Event::Connected(id));
        }
    }

    /// A broker answers one request of a connection after another; a fetch waits for records.
    fn send(&mut self, id: ConnectionId, request_id: RequestId, request: Request) {
        self.sent.push((self.now, id, request.clone()));
        if let Some(last) = self.last_answer.get(&id) {
            self.shortest_pause = self.shortest_pause.min(self.now - last);
        }
        // One that was cut, and whose end is told after that of another one.
        let Some(&node) = self.connections.get(&id) else { return };
        let start = self.now.max(self.free_at.get(&id).copied().unwrap_or(0));
        let parked = match &request {
            Request::Fetch(fetch) if !self.has_news(node, fetch) => u64::from(fetch.wait_max_ms),
            _ => 1,
        };
        self.free_at.insert(id, start + parked);
        if !self.mute.contains(&node) {
            self.later(start + parked, Event::Answer(id, request_id, request));
        }
    }

    fn has_news(&self, node: NodeId, fetch: &crate::request::Fetch) -> bool {
        fetch.partitions.iter().any(|asked| {
            let (_, log) = self.by_id(asked.partition.topic);
            let index = asked.partition.partition as usize;
            log.ends[index] != asked.offset.0
                || log.refusal(index, node, asked.leader_epoch).is_some()
                || self.fetch_errors.get(&asked.partition).is_some_and(|e| !e.is_empty())
        })
    }

    fn by_id(&self, id: TopicId) -> (&TopicName, &Log) {
        self.topics.iter().find(|(_, log)| log.id == id).expect("it exists")
    }

    fn respond(&mut self, node: NodeId, request: Request) -> Response<Records> {
        match request {
            Request::ApiVersions if self.old.contains(&node) => {
                Response::ApiVersions(Err(Unsupported { what: "lacks an API".into() }))
            }
            Request::ApiVersions => Response::ApiVersions(Ok(())),
            Request::Metadata { topics } => Response::Metadata(self.metadata(topics)),
            Request::TopicsById { ids } => {
                let named = self.topics.iter().filter(|(_, log)| ids.contains(&log.id));
                let named = named.map(|(name, _)| name.clone()).collect();
                Response::Metadata(self.metadata(Some(named)))
            }
            Request::Topics { topic } => Response::Topics(Ok(self.described(topic))),
            Request::FindCoordinator => Response::FindCoordinator(self.find_coordinator()),
            Request::DescribeGroup => Response::Group(self.described_group(node)),
            Request::Heartbeat(heartbeat) => Response::Heartbeat(self.heartbeat(node, &heartbeat)),
            Request::OffsetCommit { commit, .. } => {
                let results = commit.offsets.keys().map(|id| (*id, Ok(()))).collect();
                self.committed.extend(commit.offsets);
                Response::OffsetCommit(Ok(results))
            }
            Request::OffsetFetch { fetch, .. } => {
                if let Some(error) = self.offset_fetch_errors.pop_front() {
                    return Response::OffsetFetch(Err(error));
                }
                let partitions = fetch.partitions.expect("the shell names them").into_iter();
                let found = partitions.map(|id| (id, Ok(self.committed.get(&id).cloned())));
                Response::OffsetFetch(Ok(found.collect()))
            }
            Request::ListOffsets { partitions, .. } => {
                let listed = partitions.into_iter().map(|(id, asked)| {
                    let log = self.by_id(id.topic).1;
                    let index = id.partition as usize;
                    let found = match asked.at {
                        OffsetAt::Earliest => Some(log.starts[index]),
                        OffsetAt::Latest => Some(log.ends[index]),
                        OffsetAt::Timestamp(_) => None,
                    };
                    if let Some(refusal) = log.refusal(index, node, asked.leader_epoch) {
                        return (id, Err(refusal));
                    }
                    let listed = |at| ListedOffset {
                        offset: Offset(at),
                        leader_epoch: log.leader_epoch(index),
                        timestamp_ms: None,
                    };
                    (id, Ok(found.map(listed)))
                });
                Response::ListOffsets(listed.collect())
            }
            Request::OffsetForLeaderEpoch { partitions, .. } => {
                let forged = self.epoch_errors.pop_front();
                let ends = partitions.into_iter().map(|(id, asked)| {
                    let (log, index) = (self.by_id(id.topic).1, id.partition as usize);
                    let refusal = log.refusal(index, node, Some(asked.current));
                    let end = log.epoch_end(index, asked.leader_epoch);
                    (id, forged.or(refusal).map_or(Ok(end), Err))
                });
                Response::OffsetForLeaderEpoch(ends.collect())
            }
            Request::Fetch(fetch) => Response::Fetch(Ok(self.fetch(node, &fetch))),
        }
    }

    fn metadata(&self, topics: Option<BTreeSet<TopicName>>) -> Metadata {
        let topics = topics.into_iter().flatten().map(|name| {
            let topic = self.topics.get(&name).map(|log| {
                let leaders = log.leaders.iter().enumerate().map(|(index, leader)| {
                    let leader_epoch = log.leader_epoch(index);
                    let leader = PartitionMetadata { leader: Some(*leader), leader_epoch };
                    (u32::try_from(index).expect("few"), leader)
                });
                TopicMetadata { id: log.id, partitions: leaders.collect() }
            });
            let error = self.topic_errors.get(&name).copied();
            let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition);
            (name, error.map_or(topic, Err))
        });
        let brokers = NODES.into_iter().filter(|node| !self.down.contains(node));
        let brokers = brokers.map(|node| (node, address(node))).collect();
        Metadata { brokers, topics: topics.collect(), error: None }
    }

    fn find_coordinator(&mut self) -> Result<Coordinator, ErrorCode> {
        let found = Coordinator { node: self.coordinator, address: address(self.coordinator) };
        self.lookup_errors.pop_front().map_or(Ok(found), Err)
    }

    /// A group without members.
    fn described_group(&mut self, node: NodeId) -> Result<GroupDescription, ErrorCode> {
        if node != self.coordinator {
            return Err(ErrorCode::NotCoordinator);
        }
        let group = GroupDescription {
            state: "Empty".into(),
            epoch: Epoch(7),
            assignment_epoch: Epoch(7),
            assignor: "uniform".into(),
            members: Vec::new(),
        };
        self.describe_errors.pop_front().map_or(Ok(group), Err)
    }

    fn described(&self, topic: Option<TopicName>) -> BTreeMap<TopicName, TopicDescribed> {
        let described = |log: &Log| TopicDescription {
            id: log.id,
            is_internal: false,
            partitions: (0..)
                .zip(&log.leaders)
                .map(|(partition, leader)| PartitionDescription {
                    partition,
                    leader: Some(*leader),
                    leader_epoch: None,
                    replicas: vec![*leader],
                    in_sync: vec![*leader],
                    offline: vec![],
                })
                .collect(),
        };
        match topic {
            Some(name) => {
                let log = self.topics.get(&name).ok_or(ErrorCode::UnknownTopicOrPartition);
                BTreeMap::from([(name, log.map(described))])
            }
            None => self.topics.iter().map(|(n, log)| (n.clone(), Ok(described(log)))).collect(),
        }
    }

    /// A coordinator with one member.
    fn heartbeat(
        &mut self,
        node: NodeId,
        heartbeat: &Heartbeat,
    ) -> Result<HeartbeatAnswer, ErrorCode> {
        if let Some(error) = self.heartbeat_errors.pop_front() {
            return Err(error);
        }
        if node != self.coordinator {
            return Err(ErrorCode::NotCoordinator);
        }
        let interval = self.heartbeat_interval_ms;
        let answer = |epoch, assignment| {
            Ok(HeartbeatAnswer { epoch, heartbeat_interval_ms: interval, assignment })
        };
        if let Some(subscription) = &heartbeat.subscription {
            self.subscribed = BTreeSet::clone(subscription);
        }
        match &heartbeat.pattern {
            Some(Pattern::Matching(pattern)) => self.pattern = Some(pattern.clone()),
            Some(Pattern::Ended) => self.pattern = None,
            None => {}
        }
        if heartbeat.epoch == HeartbeatEpoch::Leave {
            self.pattern = None;
            self.target = None;
            return answer(None, None);
        }
        let target = self.subscribed_partitions();
        let changed = self.target.as_ref() != Some(&target);
        if changed || heartbeat.epoch == HeartbeatEpoch::Join {
            self.epoch += 1;
            self.target = Some(target.clone());
            return answer(Some(Epoch(self.epoch)), Some(target));
        }
        answer(Some(Epoch(self.epoch)), heartbeat.is_full().then_some(target))
    }

    fn subscribed_partitions(&self) -> Partitions {
        // Patterns are beginnings here.
        let begins = |name: &TopicName| {
            self.pattern.as_ref().is_some_and(|begin| name.as_str().starts_with(&**begin))
        };
        let is_subscribed = |name: &TopicName| self.subscribed.contains(name) || begins(name);
        let topics = self.topics.iter().filter(|(name, _)| is_subscribed(name));
        let all = topics.flat_map(|(_, log)| {
            let count = u32::try_from(log.ends.len()).expect("few");
            (0..count).map(|index| TopicIdPartition::new(log.id, index))
        });
        all.filter(|id| !self.others.contains(id)).chain(self.unnamed.iter().copied()).collect()
    }

    fn fetch(
        &mut self,
        node: NodeId,
        fetch: &crate::request::Fetch,
    ) -> BTreeMap<TopicIdPartition, Result<Fetched<Records>, ErrorCode>> {
        let mut left = u64::from(fetch.bytes_max) / RECORD_BYTES;
        let mut answer = BTreeMap::new();
        for asked in &fetch.partitions {
            let id = asked.partition;
            let error = self.fetch_errors.get_mut(&id).and_then(VecDeque::pop_front);
            let (start, end, refusal, epochs) = {
                let (log, index) = (self.by_id(id.topic).1, id.partition as usize);
                let refusal = log.refusal(index, node, asked.leader_epoch);
                (log.starts[index], log.ends[index], refusal, log.epochs[index].clone())
            };
            let at = asked.offset.0;
            let result = if let Some(error) = error {
                Err(error)
            } else if let Some(refusal) = refusal {
                Err(refusal)
            } else if !(start..=end).contains(&at) {
                Err(ErrorCode::OffsetOutOfRange)
            } else {
                let count = (u64::from(asked.bytes_max) / RECORD_BYTES).min(left).min(end - at);
                left -= count;
                let damaged_at = self.damaged_at.filter(|bad| (at..at + count).contains(bad));
                let is_hollow = at < self.hollow_before;
                let (from, to) = (at, at + count);
                self.served.push(Served { id, from, to, start, epochs: epochs.clone() });
                let chunk =
                    Records { damaged_at, is_hollow, epochs, ..Records::new(at, at + count) };
                Ok(Fetched {
                    high_watermark: Some(Offset(end)),
                    last_stable: Some(Offset(end)),
                    log_start: Some(Offset(start)),
                    chunk: (count > 0).then_some(chunk),
                })
            };
            answer.insert(id, result);
        }
        answer
    }
}

pub(crate) fn name(request: &Request) -> &'static str {
    match request {
        Request::ApiVersions => "ApiVersions",
        Request::Metadata { .. } => "Metadata",
        Request::TopicsById { .. } => "TopicsById",
        Request::Topics { .. } => "Topics",
        Request::FindCoordinator => "FindCoordinator",
        Request::DescribeGroup => "DescribeGroup",
        Request::Heartbeat(_) => "Heartbeat",
        Request::OffsetCommit { .. } => "OffsetCommit",
        Request::OffsetFetch { .. } => "OffsetFetch",
        Request::ListOffsets { .. } => "ListOffsets",
        Request::OffsetForLeaderEpoch { .. } => "OffsetForLeaderEpoch",
        Request::Fetch(_) => "Fetch",
    }
}

pub(crate) fn at(offset: u64) -> Committed {
    Committed {
        offset: Offset(offset),
        leader_epoch: Some(LeaderEpoch(1)),
        metadata: Arc::from(""),
    }
}
