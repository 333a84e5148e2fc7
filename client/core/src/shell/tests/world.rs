//! A scripted cluster in virtual time: two brokers that answer everything after a millisecond, and
//! an application that keeps what it was given.

mod brokers;
mod log;

pub(crate) use log::{Epochs, Log, RECORD_BYTES, Records, Served, epoch_at};

use super::truth::Truth;
use crate::request::{Answered, Ended, Request};
use crate::{
    Address, Answer, CallFault, CallId, Callback, Cause, CloseReport, Command, Config,
    ConnectionId, Delivery, Incarnation, Misbehaved, Output, PollFault, RequestId, Shell, Time,
    Warning,
};
use evenkeel_spec::words::{
    Committed, ErrorCode, LeaderEpoch, NodeId, Offset, Partitions, TopicId, TopicIdPartition,
    TopicName, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

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
    /// Where connecting never ends.
    pub(crate) hanging: BTreeSet<Address>,
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
            hanging: BTreeSet::new(),
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
        let delivery = loop {
            self.command(Command::Poll { taken: self.taken });
            while self.waiting.is_empty() && self.faults.is_empty() && self.step(deadline) {
                for (incarnation, ..) in std::mem::take(&mut self.callbacks) {
                    self.command(Command::CallbackDone { incarnation, ok: true });
                }
            }
            let delivery = self.waiting.pop_front();
            self.taken = delivery.as_ref().map_or(self.taken, |delivery| delivery.number);
            if delivery.as_ref().is_none_or(|delivery| !delivery.parts.is_empty()) {
                break delivery;
            }
        };
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
            Output::Connect { connection, address, .. } => self.connect(connection, address),
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
        let hangs = self.hanging.contains(&to);
        self.connects.push((self.now, to));
        if hangs {
            return;
        }
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
