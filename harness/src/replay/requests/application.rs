//! The application of a trace of requests: which commands make a consumer ask what the trace wants.
//!
//! It has partitions of one topic. Two are what calls ask about, one is fetched, one is read for a
//! commit. How it lives is the plan's ([`Life`]).

use super::asks::Life;
use super::schedule::NEVER_MS;
use evenkeel_core::{CallId, Command, Incarnation, SeekTo};
use evenkeel_model::requests::Own;
use evenkeel_spec::rules::requests::Things;
use evenkeel_spec::words::{
    Heartbeat, HeartbeatEpoch, Offset, Partitions, TopicId, TopicIdPartition, TopicName,
    TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the application has asked for.
#[derive(Debug, Default)]
pub(super) struct Application {
    life: Life,
    /// When the trace began.
    pub(super) begun: Option<u64>,
    calls: BTreeMap<CallId, Called>,
    numbers: BTreeMap<u64, CallId>,
    count: u64,
    /// The call that gives up the partitions.
    ending: Option<CallId>,
    /// A position is being looked up.
    looks: bool,
    /// What it is assigned is not what it should be between two asks.
    untidy: bool,
    /// Where to read what is fetched was forgotten.
    unplaced: bool,
    /// Where the next commit stands.
    read: u64,
    /// It subscribes to the other topic, too.
    wide: bool,
    /// The callback that it is in.
    callback: Option<Incarnation>,
    /// What it does before anything else.
    first: Vec<Command>,
    /// What it does a moment later.
    later: Vec<Command>,
}

/// What a call of the application was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Called {
    /// The trace's, under this number.
    Trace(u64),
    /// The trace's, and to be refused.
    Refused,
    /// The application's own; nobody minds.
    Own,
}

/// The partition that is fetched; calls ask about the first two.
pub(super) const FETCHED: u32 = 2;
/// The partition that is read, and left for a commit.
const COMMITTED: u32 = 3;
/// How many partitions there are.
pub(super) const PARTITIONS: u32 = 4;
/// The topic of all partitions.
pub(super) const TOPIC: TopicId = TopicId([7; 16]);
/// The topic that is subscribed to at times.
pub(super) const OTHER_TOPIC: TopicId = TopicId([8; 16]);

impl Application {
    pub(super) fn new(life: Life) -> Self {
        Self { life, ..Self::default() }
    }

    /// Finds the coordinator, and where to read what is fetched.
    pub(super) fn begin(&mut self) -> Vec<Command> {
        match self.life {
            Life::Assigned => {
                let mut commands = self.assign(&[FETCHED]);
                commands.extend(poll());
                commands
            }
            Life::Telling | Life::Settled { .. } => {
                vec![self.subscribe(), Command::Poll { taken: 0 }]
            }
        }
    }

    /// A call that nobody waits for: what it is asked by, and how it is given up.
    pub(super) fn glance(&mut self) -> [Command; 2] {
        let call = self.own();
        let partitions = of(1);
        let ask = Command::Committed { call, partitions, timeout_ms: NEVER_MS };
        [ask, Command::Abandon { call }]
    }

    /// It was assigned these.
    pub(super) fn on_assigned(&mut self, partitions: &BTreeSet<TopicPartition>) {
        if self.life != Life::Assigned && !partitions.is_empty() {
            let pause = Command::Pause { call: self.own(), partitions: partitions.clone() };
            self.first.push(pause);
        }
    }

    /// It is called. It returns when the trace wants it, but from what gives it its partitions.
    pub(super) fn on_call(&mut self, incarnation: Incarnation, is_given: bool) {
        if is_given {
            self.first.push(Command::CallbackDone { incarnation, ok: true });
        } else {
            self.callback = Some(incarnation);
        }
    }

    /// What a coordinator wants it to own when it says this; `None`: nothing new. A member that told
    /// what it owns is called again by hearing it again.
    pub(super) fn target(&self, heartbeat: &Heartbeat) -> Option<Partitions> {
        let joins = heartbeat.epoch == HeartbeatEpoch::Join;
        let is_called =
            self.life == Life::Telling && heartbeat.owned.is_some() && self.callback.is_none();
        let ids = [FETCHED, COMMITTED].map(|index| TopicIdPartition::new(TOPIC, index));
        (joins || is_called).then(|| ids.into())
    }

    /// A call of the trace under this number; `None`: it is to be refused.
    pub(super) fn open(&mut self, number: Option<u64>) -> CallId {
        let call = self.call_of(number.map_or(Called::Refused, Called::Trace));
        if let Some(number) = number {
            self.numbers.insert(number, call);
        }
        call
    }

    /// What makes the consumer ask this by itself.
    pub(super) fn ask(&mut self, own: Own) -> Vec<Command> {
        match self.life {
            Life::Assigned => self.ask_assigned(own),
            Life::Telling | Life::Settled { .. } => self.ask_member(own),
        }
    }

    fn ask_assigned(&mut self, own: Own) -> Vec<Command> {
        match own {
            Own::Offsets => {
                self.looks = true;
                let mut commands = self.assign(&[0, FETCHED]);
                commands.extend(poll());
                commands
            }
            Own::Fetch => {
                let [poll, ended] = poll();
                vec![self.resume(), poll, self.pause(&[FETCHED]), ended]
            }
            Own::Commit => {
                let mut commands = self.read_on();
                commands.extend(self.assign(self.kept()));
                commands
            }
            Own::Urgent => {
                let mut commands = self.read_on();
                commands.push(self.unsubscribe());
                commands
            }
            Own::Presence | Own::Owned | Own::Leave | Own::Lookup | Own::Topics => {
                unreachable!("who assigns itself its partitions does not ask it: {own}")
            }
        }
    }

    fn ask_member(&mut self, own: Own) -> Vec<Command> {
        match own {
            Own::Owned if self.life == Life::Telling => {
                let incarnation = self.callback.take();
                let done = |incarnation| Command::CallbackDone { incarnation, ok: true };
                incarnation.map(done).into_iter().collect()
            }
            Own::Presence | Own::Owned => {
                self.wide = !self.wide;
                vec![self.subscribe()]
            }
            Own::Leave => vec![self.unsubscribe()],
            Own::Fetch => vec![self.resume(), self.pause(&[FETCHED])],
            Own::Commit | Own::Urgent => {
                // What is released is committed when the interval ends.
                self.later = vec![self.pause(&[COMMITTED])];
                vec![self.seek_on()]
            }
            Own::Offsets | Own::Lookup | Own::Topics => {
                unreachable!("a member is not made to ask it: {own}")
            }
        }
    }

    fn subscribe(&mut self) -> Command {
        let mut topics = BTreeSet::from([topic()]);
        if self.wide {
            topics.insert(other_topic());
        }
        Command::Subscribe { call: self.own(), topics, listener: self.life == Life::Telling }
    }

    fn unsubscribe(&mut self) -> Command {
        let call = self.own();
        self.ending = Some(call);
        Command::Unsubscribe { call, taken: 0 }
    }

    fn resume(&mut self) -> Command {
        Command::Resume { call: self.own(), partitions: [name_of(FETCHED)].into() }
    }

    /// Something cheap that any broker answers.
    pub(super) fn refresh(&mut self) -> Command {
        Command::Topics { call: self.own(), topic: Some(topic()), timeout_ms: 1 }
    }

    /// What is to be done before anything else: once a lookup is over, or the partitions were given
    /// up, it is assigned what is fetched, and nothing else.
    pub(super) fn tidy(&mut self) -> Vec<Command> {
        if self.life != Life::Assigned {
            return std::mem::take(&mut self.first);
        }
        if self.ending.is_some() || !std::mem::take(&mut self.untidy) {
            return Vec::new();
        }
        let mut commands = self.assign(self.kept());
        if std::mem::take(&mut self.unplaced) {
            let (partitions, to) = ([name_of(FETCHED)].into(), SeekTo::Offset(Offset(0)));
            commands.push(Command::Seek { call: self.own(), partitions, to });
        }
        commands
    }

    /// What is to be done a moment later.
    pub(super) fn later(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.later)
    }

    /// The lookup of a position is over.
    pub(super) fn on_looked(&mut self) {
        self.untidy |= std::mem::take(&mut self.looks);
    }

    /// Nobody waits for this call any more.
    pub(super) fn on_gone(&mut self, number: u64) -> Option<CallId> {
        let call = self.numbers.remove(&number)?;
        self.calls.remove(&call);
        Some(call)
    }

    /// How many calls of the trace are not over.
    pub(super) fn open_calls(&self) -> usize {
        self.numbers.len()
    }

    /// A call is over. Returns `None` if it was none of the trace's, else its number, if it has one.
    pub(super) fn on_done(&mut self, call: CallId) -> Option<Option<u64>> {
        if self.ending.take_if(|ending| *ending == call).is_some() {
            (self.untidy, self.unplaced) = (true, true);
        }
        match self.calls.remove(&call) {
            Some(Called::Trace(number)) => {
                self.numbers.remove(&number);
                Some(Some(number))
            }
            Some(Called::Refused) => Some(None),
            Some(Called::Own) | None => None,
        }
    }

    /// Whether it is giving up its partitions.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Reads the partition that is committed a little further.
    fn read_on(&mut self) -> Vec<Command> {
        let mut partitions = self.kept().to_vec();
        partitions.push(COMMITTED);
        let mut commands = self.assign(&partitions);
        commands.push(self.seek_on());
        commands
    }

    fn seek_on(&mut self) -> Command {
        self.read += 1;
        let (partitions, to) = ([name_of(COMMITTED)].into(), SeekTo::Offset(Offset(self.read)));
        Command::Seek { call: self.own(), partitions, to }
    }

    /// What it is assigned between two asks.
    fn kept(&self) -> &'static [u32] {
        if self.looks { &[0, FETCHED] } else { &[FETCHED] }
    }

    /// These, paused.
    fn assign(&mut self, partitions: &[u32]) -> Vec<Command> {
        let names = partitions.iter().map(|index| name_of(*index)).collect();
        let assign = Command::Assign { call: self.own(), taken: 0, partitions: names };
        vec![assign, self.pause(partitions)]
    }

    fn pause(&mut self, partitions: &[u32]) -> Command {
        let partitions = partitions.iter().map(|index| name_of(*index)).collect();
        Command::Pause { call: self.own(), partitions }
    }

    fn own(&mut self) -> CallId {
        self.call_of(Called::Own)
    }

    fn call_of(&mut self, called: Called) -> CallId {
        self.count += 1;
        let call = CallId(self.count);
        self.calls.insert(call, called);
        call
    }
}

fn poll() -> [Command; 2] {
    [Command::Poll { taken: 0 }, Command::PollEnded]
}

/// The partitions of these things.
pub(super) fn of(things: Things) -> BTreeSet<TopicPartition> {
    let indexes = (0..2).filter(|index| things & (1 << index) != 0);
    indexes.map(name_of).collect()
}

/// Which thing a partition is, as a bit.
pub(super) fn thing(partition: &TopicPartition) -> Option<Things> {
    (partition.partition < 2).then(|| 1 << partition.partition)
}

/// The topic's name.
pub(super) fn topic() -> TopicName {
    TopicName::from("t")
}

/// The name of a topic that is subscribed to at times.
pub(super) fn other_topic() -> TopicName {
    TopicName::from("u")
}

fn name_of(index: u32) -> TopicPartition {
    TopicPartition { topic: topic(), partition: index }
}

/// A partition's name.
pub(super) fn name(id: TopicIdPartition) -> TopicPartition {
    name_of(id.partition)
}
