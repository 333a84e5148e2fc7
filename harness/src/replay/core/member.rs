//! One consumer of the target `core`: the shipped shell, its application and its connections.

use super::answer::NODES;
use super::config::{FETCH_WAIT_MS, config};
use super::hand::Hand;
use super::link::{Held, Link, Records, Wait, next_answerable};
use super::{Broker, Sabotage, WrongDriver};
use crate::replay::schedule::NEVER_MS;
use crate::replay::view::{ConsumerView, Got, MemberView, News, Sent, Told};
use evenkeel_core::request::{Answered, Fetched, Request, Response};
use evenkeel_core::{
    Answer, CallFault, CallId, Callback, Cause, Command, ConnectionId, Delivery, Incarnation,
    Output, PollFault, SeekTo, Shell, Time, group,
};
use evenkeel_model::bounds::Slice;
use evenkeel_model::profiles::Profile;
use evenkeel_model::system::{Action, Call};
use evenkeel_spec::words::{
    ErrorCode, Heartbeat, HeartbeatAnswer, NodeId, Offset, OffsetCommit, OffsetsCommitted,
    Partitions, TopicIdPartition, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A request of the group that the trace holds.
#[derive(Debug)]
pub(super) enum Asked {
    Heartbeat(NodeId, Heartbeat),
    Commit(NodeId, OffsetCommit),
}

/// An answer that the trace holds.
#[derive(Debug)]
pub(super) enum Reply {
    Heartbeat(Result<HeartbeatAnswer, ErrorCode>),
    Commit(OffsetsCommitted),
}

/// What a call of the application was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Called {
    Commit,
    Unsubscribe,
    /// Answered at once; nobody minds.
    Other,
}

/// One consumer.
#[derive(Debug)]
pub(super) struct Member<'a> {
    i: usize,
    pub(super) slice: &'a Slice,
    wrong: Option<WrongDriver>,
    shell: Shell<Records>,
    now: u64,
    wait: Option<u64>,
    links: BTreeMap<ConnectionId, Link>,
    connecting: VecDeque<ConnectionId>,
    lookup: Option<Held>,
    pub(super) requests: Vec<(Held, Asked)>,
    pub(super) answers: Vec<(Held, Reply)>,
    /// How many topics metadata names.
    pub(super) resolved: usize,
    /// How many of the trace's steps that name one more were anticipated from the start.
    anticipated: usize,
    call: Call,
    callback: Option<(Incarnation, (Told, Partitions))>,
    narrowed: bool,
    hand: Hand,
    calls: BTreeMap<CallId, Called>,
    call_count: u64,
    pub(super) news: Vec<News>,
}

/// How many parked fetches may be for nothing before a record is returned: one of them is outdated.
const FETCHES_MAX: usize = 3;

impl<'a> Member<'a> {
    pub(super) fn new(
        slice: &'a Slice,
        profile: &Profile,
        i: usize,
        resolved: usize,
        sabotage: Sabotage,
    ) -> Self {
        let mut config = config(slice, profile, i);
        config.mutant = sabotage.machines;
        Self {
            i,
            slice,
            wrong: sabotage.client,
            shell: Shell::new(config),
            now: 0,
            wait: None,
            links: BTreeMap::new(),
            connecting: VecDeque::new(),
            lookup: None,
            requests: Vec::new(),
            answers: Vec::new(),
            resolved,
            anticipated: if slice.detail.resolve { resolved } else { 0 },
            call: Call::Outside,
            callback: None,
            narrowed: false,
            hand: Hand::default(),
            calls: BTreeMap::new(),
            call_count: 0,
            news: Vec::new(),
        }
    }

    /// An action of the application, of its timers or of the network towards it.
    pub(super) fn act(
        &mut self,
        action: Action,
        partition: Option<TopicIdPartition>,
        broker: &Broker<'_>,
    ) -> Result<(), &'static str> {
        match action {
            Action::Subscribe(_) | Action::Narrow(_) | Action::Repeat(_) => {
                self.narrowed |= matches!(action, Action::Narrow(_));
                let topics = self.slice.subscription(self.narrowed).as_ref().clone();
                let call = self.open(Called::Other);
                self.command(Command::Subscribe { call, topics, listener: self.slice.listener });
            }
            Action::Poll(_) => self.poll(),
            Action::Exit(_) | Action::Drop(_) => {
                self.call = Call::Outside;
                self.command(Command::PollEnded);
            }
            Action::Return(_) | Action::Miss(_) => {
                let partition = partition.ok_or("nothing is to be returned")?;
                self.hand.expect(matches!(action, Action::Miss(_)));
                return self.hand_out(partition, broker);
            }
            Action::Seek(_, place) => {
                let id = partition.ok_or("nothing is to be sought")?;
                let call = self.open(Called::Other);
                let partitions = [self.by_name(id)].into();
                let to = self.slice.place(id, place).1.map_or(SeekTo::Beginning, SeekTo::Offset);
                self.command(Command::Seek { call, partitions, to });
            }
            Action::Commit(_) => {
                let (call, taken) = (self.open(Called::Commit), self.hand.taken);
                let command = Command::Commit { call, taken, offsets: None, timeout_ms: NEVER_MS };
                self.command(command);
            }
            Action::Unsubscribe(_) => {
                self.call = Call::Unsubscribe;
                let call = self.open(Called::Unsubscribe);
                self.command(Command::Unsubscribe { call, taken: self.hand.taken });
            }
            Action::Abandon(_) => self.abandon()?,
            Action::Done(_) => self.end_callback(true)?,
            Action::Fail(_) => self.end_callback(false)?,
            Action::Resolve(_) => self.resolve(),
            Action::Deny(_) => {
                let held = self.lookup.take().ok_or("no lookup is outstanding")?;
                self.unhold(held)?;
                let refused = Err(ErrorCode::GroupAuthorizationFailed);
                self.respond(held, Response::FindCoordinator(refused));
            }
            Action::Found(_) => {
                let (connection, request) = self.lookup.take().ok_or("no lookup is outstanding")?;
                self.unhold((connection, request))?;
                self.links
                    .get_mut(&connection)
                    .expect("it was held there")
                    .queue
                    .push_front((request, Wait::Turn(Request::FindCoordinator)));
            }
            Action::Answer(_) => self.answer_oldest()?,
            Action::Fire(..) => {}
            _ => unreachable!("not an action of one consumer"),
        }
        Ok(())
    }

    /// A poll with what a dropped one left returns that at once.
    fn poll(&mut self) {
        self.command(Command::Poll { taken: self.hand.taken });
        match self.hand.on_poll() {
            Some(records) => {
                self.news.extend(records);
                self.command(Command::PollEnded);
            }
            None => self.call = Call::Poll,
        }
    }

    /// Drops the unsubscribe: what it has begun goes on, and nobody is told of its end.
    fn abandon(&mut self) -> Result<(), &'static str> {
        self.call = Call::Outside;
        let mut calls = self.calls.iter();
        let open = calls.find(|(_, called)| **called == Called::Unsubscribe).map(|(call, _)| *call);
        let call = open.ok_or("no unsubscribe goes on")?;
        self.calls.remove(&call);
        self.command(Command::Abandon { call });
        Ok(())
    }

    fn open(&mut self, called: Called) -> CallId {
        self.call_count += 1;
        let call = CallId(self.call_count);
        self.calls.insert(call, called);
        call
    }

    fn command(&mut self, command: Command) {
        self.shell.handle_command(Time(self.now), command);
    }

    fn end_callback(&mut self, ok: bool) -> Result<(), &'static str> {
        let (incarnation, _) = self.callback.take().ok_or("no callback is open")?;
        if !ok && self.call == Call::Poll {
            self.call = Call::Outside;
        }
        let ok = ok || self.wrong == Some(WrongDriver::HidesFailures);
        self.command(Command::CallbackDone { incarnation, ok });
        Ok(())
    }

    fn resolve(&mut self) {
        if self.anticipated > 0 {
            self.anticipated -= 1;
            return;
        }
        self.resolved += 1;
        for link in self.links.values_mut() {
            for (_, wait) in &mut link.queue {
                if let Wait::Topics(request, _) = wait {
                    *wait = Wait::Turn(request.clone());
                }
            }
        }
    }

    /// Takes a held request off the front of its connection.
    fn unhold(&mut self, (connection, request): Held) -> Result<(), &'static str> {
        let link = self.links.get_mut(&connection).ok_or("its connection is gone")?;
        match link.queue.front() {
            Some((oldest, Wait::Trace)) if *oldest == request => {
                link.queue.pop_front();
                Ok(())
            }
            _ => Err("an older request of its connection is not answered"),
        }
    }

    fn answer_oldest(&mut self) -> Result<(), &'static str> {
        if self.answers.is_empty() {
            return Err("no answer is on its way");
        }
        let (held, reply) = self.answers.remove(0);
        self.unhold(held)?;
        self.respond(
            held,
            match reply {
                Reply::Heartbeat(answer) => Response::Heartbeat(answer),
                Reply::Commit(answer) => Response::OffsetCommit(answer),
            },
        );
        Ok(())
    }

    /// Answers the parked Fetch with one record of this partition. A Fetch from before the partition
    /// was taken lacks it or is outdated, and is answered for nothing: then the next one.
    fn hand_out(
        &mut self,
        partition: TopicIdPartition,
        broker: &Broker<'_>,
    ) -> Result<(), &'static str> {
        for _ in 0..FETCHES_MAX {
            let mut parked = self.links.iter().filter_map(|(connection, link)| {
                let (request, wait) = link.queue.front()?;
                let Wait::Records(fetch, _) = wait else { return None };
                let mut asked = fetch.partitions.iter();
                let at = asked.find(|asked| asked.partition == partition).map(|asked| asked.offset);
                Some(((*connection, *request), at))
            });
            let (held, at) = parked.next().ok_or("nothing is being fetched")?;
            self.links.get_mut(&held.0).expect("it is parked there").queue.pop_front();
            let records = at.map(|Offset(at)| {
                let chunk = Some(Records { next: at, end: at + 1 });
                (
                    partition,
                    Ok(Fetched { high_watermark: None, last_stable: None, log_start: None, chunk }),
                )
            });
            self.respond(held, Response::Fetch(Ok(records.into_iter().collect())));
            self.pump(broker);
            let has_come = self.news.iter().any(|news| matches!(news, News::Returned(..)));
            if has_come || self.hand.has_left() {
                return Ok(());
            }
        }
        Err("poll does not return the record")
    }

    fn respond(&mut self, (connection, request): Held, response: Response<Records>) {
        let answered = Ok(Answered { response, throttle_ms: 0 });
        self.shell.handle_response(Time(self.now), connection, request, answered);
    }

    /// Breaks every connection that the trace holds something on; the requests that had not arrived.
    pub(super) fn disconnect(&mut self) -> Vec<Asked> {
        let lookup = self.lookup.take().into_iter();
        let answers = self.answers.drain(..).map(|(held, _)| held);
        let mut broken: Vec<ConnectionId> = lookup.chain(answers).map(|held| held.0).collect();
        let mut lost = Vec::new();
        for (held, asked) in self.requests.drain(..) {
            broken.push(held.0);
            lost.push(asked);
        }
        if self.wrong == Some(WrongDriver::HidesDisconnects) {
            return lost;
        }
        for connection in broken {
            if self.links.remove(&connection).is_some() {
                self.shell.handle_disconnected(Time(self.now), connection, Cause::Closed);
                self.drain();
            }
        }
        lost
    }

    /// Lets time pass until `until`, with everything that happens by itself.
    pub(super) fn pass(&mut self, until: u64, broker: &mut Broker<'_>) {
        loop {
            let parked = self.links.values().filter_map(|link| link.queue.front()?.1.due()).min();
            let next = [self.wait, parked].into_iter().flatten().min();
            match next {
                Some(date) if date <= until => {
                    self.now = self.now.max(date);
                    self.shell.handle_timeout(Time(self.now));
                    self.pump(broker);
                }
                Some(_) | None => break,
            }
        }
        self.now = until;
    }

    /// Carries out orders and answers what the trace does not hold, until nothing is left to do.
    pub(super) fn pump(&mut self, broker: &Broker<'_>) {
        loop {
            self.drain();
            if let Some(connection) = self.connecting.pop_front() {
                if self.links.contains_key(&connection) {
                    self.shell.handle_connected(Time(self.now), connection);
                }
            } else if let Some((held, wait)) = next_answerable(&mut self.links, self.now) {
                let response = self.response(broker, wait);
                self.respond(held, response);
            } else {
                return;
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

    fn carry_out(&mut self, output: Output<Records>) {
        match output {
            Output::Connect { connection, address, .. } => {
                let node = NODES.iter().find(|(_, port)| *port == address.port);
                let node = node.map(|(node, _)| *node);
                self.links.insert(connection, Link { node, queue: VecDeque::new() });
                self.connecting.push_back(connection);
            }
            Output::Disconnect { connection, .. } => self.forget(connection),
            Output::Send { connection, request_id, request, .. } => {
                self.send((connection, request_id), request);
            }
            Output::Deliver(delivery) => self.take(&delivery),
            Output::PollFailed(fault) => self.on_poll_failed(&fault),
            Output::Call { incarnation, callback, partitions } => {
                let told = match callback {
                    Callback::Assigned => Told::Assigned,
                    Callback::Revoked => Told::Revoked,
                    Callback::Lost(_) => Told::Lost,
                };
                let partitions = partitions.iter().map(|p| self.by_id(p)).collect();
                self.callback = Some((incarnation, (told, partitions)));
                if self.wrong == Some(WrongDriver::EndsCallbacksEarly) {
                    self.command(Command::CallbackDone { incarnation, ok: true });
                }
            }
            Output::Done { call, result } => self.on_done(call, &result),
            Output::EndLease(partitions) => self.withdraw(&partitions),
            Output::Assignment(_) | Output::Waiting(..) | Output::Ended(_) | Output::Warn(_) => {}
            Output::Closed(_) | Output::Wait(_) => unreachable!("nobody closes the consumer"),
        }
    }

    fn forget(&mut self, connection: ConnectionId) {
        self.links.remove(&connection);
        self.lookup.take_if(|held| held.0 == connection);
        self.requests.retain(|(held, _)| held.0 != connection);
        self.answers.retain(|(held, _)| held.0 != connection);
    }

    fn send(&mut self, held: Held, request: Request) {
        let link = self.links.get_mut(&held.0).expect("requests go out on connections");
        let wait = match request {
            Request::FindCoordinator if self.slice.detail.lookup => {
                self.lookup = Some(held);
                Wait::Trace
            }
            Request::Heartbeat(mut request) => {
                request.member = self.slice.member_id(self.i, request.member.0);
                let to = link.node.expect("heartbeats go to coordinators");
                self.requests.push((held, Asked::Heartbeat(to, request)));
                Wait::Trace
            }
            Request::OffsetCommit { mut commit, .. } => {
                if let Some(owner) = &mut commit.owner {
                    owner.member = self.slice.member_id(self.i, owner.member.0);
                }
                let to = link.node.expect("commits go to coordinators");
                self.requests.push((held, Asked::Commit(to, commit)));
                Wait::Trace
            }
            Request::Fetch(fetch) => {
                let due = self.now + u64::from(fetch.wait_max_ms);
                Wait::Records(fetch, due)
            }
            Request::Metadata { .. }
                if self.resolved < self.slice.topics.len()
                    && self.shell.group().owner().is_some() =>
            {
                Wait::Topics(request, self.now + u64::from(FETCH_WAIT_MS))
            }
            other => Wait::Turn(other),
        };
        link.queue.push_back((held.1, wait));
    }

    fn take(&mut self, delivery: &Delivery<()>) {
        self.call = Call::Outside;
        let parts = delivery.parts.iter();
        let records: Vec<_> = parts
            .map(|part| News::Returned(self.by_id(&part.partition), part.next_offset))
            .collect();
        match self.hand.on_delivery(delivery.number, records) {
            Some(records) => self.news.extend(records),
            None => self.command(Command::PollEnded),
        }
    }

    /// What a dropped poll left of these is not returned any more.
    fn withdraw(&mut self, partitions: &BTreeSet<TopicPartition>) {
        let ended = partitions.iter().map(|partition| self.by_id(partition)).collect();
        self.hand.withdraw(&ended);
    }

    /// Bad news end a poll; this application polls again at once. The model's polls go on.
    fn on_poll_failed(&mut self, fault: &PollFault<()>) {
        let is_known =
            matches!(fault, PollFault::Group(group::Fault::Fatal(_)) | PollFault::NotSubscribed);
        if !is_known {
            self.news.push(News::Surprised);
        }
        // A poll without a subscription goes on in the model until the application leaves it.
        if self.call == Call::Poll && *fault != PollFault::NotSubscribed {
            self.command(Command::Poll { taken: self.hand.taken });
        }
    }

    fn on_done(&mut self, call: CallId, result: &Result<Answer, CallFault>) {
        let called = self.calls.remove(&call).unwrap_or(Called::Other);
        let news = match (called, result) {
            (Called::Other, Ok(_)) => return,
            (Called::Commit, Ok(Answer::Done)) => News::Committed(Ok(())),
            (Called::Commit, Err(CallFault::Commit(error))) => News::Committed(Err(*error)),
            (Called::Unsubscribe, Ok(Answer::Left { confirmed })) => {
                self.call = Call::Outside;
                News::Left(*confirmed)
            }
            _ => News::Surprised,
        };
        self.news.push(news);
    }

    fn by_name(&self, partition: TopicIdPartition) -> TopicPartition {
        let topic = self.slice.topics.get(&partition.topic).expect("the slice has the topic");
        TopicPartition { topic: topic.name.clone(), partition: partition.partition }
    }

    fn by_id(&self, partition: &TopicPartition) -> TopicIdPartition {
        let mut topics = self.slice.topics.iter();
        let topic = topics.find(|(_, topic)| topic.name == partition.topic);
        let (id, _) = topic.expect("the slice has the topic");
        TopicIdPartition::new(*id, partition.partition)
    }

    pub(super) fn view(&self, slice: &Slice, i: usize) -> ConsumerView {
        let requests = self.requests.iter().map(|(_, asked)| match asked {
            Asked::Heartbeat(to, request) => Sent::heartbeat(*to, request),
            Asked::Commit(to, request) => Sent::commit(*to, request),
        });
        let answers = self.answers.iter().map(|(_, reply)| match reply {
            Reply::Heartbeat(answer) => Got::Heartbeat(
                answer.as_ref().map(|a| (a.epoch, a.assignment.clone())).map_err(|code| *code),
            ),
            Reply::Commit(answer) => Got::Commit(answer.clone()),
        });
        ConsumerView {
            crashed: false,
            member: Some(MemberView::of(slice, i, self.shell.group())),
            call: self.call,
            callback: self.callback.as_ref().map(|(_, told)| told.clone()),
            looks: self.lookup.is_some(),
            requests: requests.collect(),
            answers: answers.collect(),
            news: self.news.clone(),
            assignment: None,
        }
    }
}
