//! One explanation of a run: the shipped machines as they may be by now, and what they must be seen
//! to do next.
//!
//! Carries out what the group orders as the timed shell does: the same requests queue for the same
//! connections, the same news wait for the same polls. Decides nothing about the group.

use super::run::{Answer, Header, Waited};
use super::wire::Wire;
use evenkeel_core::Incarnation;
use evenkeel_core::group::{
    Callback, CommitError, CommitId, Fault, Group, GroupConfig, LostReason, Output,
};
use evenkeel_spec::words::{
    Assignor, Heartbeat, NodeId, OffsetCommit, Owner, Partitions, Step, Timer,
};
use std::collections::{BTreeMap, VecDeque};

/// One explanation.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Member {
    pub(super) group: Group,
    /// The armed timers, and when each may fire at the earliest, milliseconds.
    pub(super) timers: BTreeMap<Timer, u64>,
    /// The date that timers are armed at, or one before it, milliseconds.
    now: u64,
    /// `max.poll.interval.ms`.
    patience_ms: u64,
    /// What the group orders and was not carried out yet: empty between events.
    orders: VecDeque<Output>,
    /// A lookup that waits for somebody to be asked.
    pub(super) lookup: Option<Incarnation>,
    /// Requests of the group that wait for their connection, oldest first.
    pub(super) queue: VecDeque<(NodeId, Incarnation, Asked)>,
    /// Requests that were seen on the wire.
    pub(super) flights: BTreeMap<u32, Incarnation>,
    /// What must be seen before anything else happens.
    pub(super) due: VecDeque<Due>,
    /// The callback that the application is in: the recorder's number, and ours.
    pub(super) callback: Option<(u32, Incarnation)>,
    /// The application's, as far as the group's orders were carried out.
    pub(super) owned: Partitions,
    /// Records of these may be returned.
    pub(super) open: Partitions,
    shown_owner: Option<Owner>,
    assignment_changed: bool,
    /// Commits and unsubscribes that are to be answered.
    pub(super) calls: BTreeMap<u64, Waiting>,
    pub(super) delivered: u64,
    pub(super) taken: u64,
    /// What the group has to tell in a poll to come.
    pub(super) faults: Vec<Fault>,
    pub(super) end: End,
    left: Option<bool>,
    /// The names of member ids on the wire.
    names: BTreeMap<u32, usize>,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Waiting {
    /// Its answer, while an earlier commit has none.
    Commit(Option<(Answer, Option<i16>)>),
    Unsubscribe,
}

/// A request of the group.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Asked {
    Heartbeat(Heartbeat),
    Commit(OffsetCommit),
}

impl Asked {
    /// Whether it is one of these.
    pub(super) fn is(&self, what: Waited) -> bool {
        match self {
            Self::Heartbeat(_) => what == Waited::Heartbeat,
            Self::Commit(_) => what == Waited::Commit,
        }
    }
}

/// How far the end is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum End {
    Not,
    Closing {
        orphaned: bool,
    },
    /// What is due is the last.
    Closed,
}

/// Something that must be seen.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Due {
    Send(NodeId, Incarnation, Asked),
    Assignment(Partitions, Option<Owner>),
    Callback(Incarnation, Callback),
    Answer(u64, Answer, Option<i16>),
    Lost(LostReason, Partitions),
    Withdrawn(Partitions),
    Closed { left: bool },
}

impl Member {
    /// A consumer that has done nothing yet.
    pub(super) fn new(header: &Header) -> Self {
        let assignor = header.assignor.as_deref().map(assignor);
        Self {
            group: Group::new(GroupConfig {
                auto_commit: header.auto_commit,
                rebalance_timeout_ms: header.rebalance_timeout_ms,
                assignor,
                mutant: None,
            }),
            timers: BTreeMap::new(),
            now: 0,
            patience_ms: header.rebalance_timeout_ms.into(),
            orders: VecDeque::new(),
            lookup: None,
            queue: VecDeque::new(),
            flights: BTreeMap::new(),
            due: VecDeque::new(),
            callback: None,
            owned: Partitions::new(),
            open: Partitions::new(),
            shown_owner: None,
            assignment_changed: false,
            calls: BTreeMap::new(),
            delivered: 0,
            taken: 0,
            faults: Vec::new(),
            end: End::Not,
            left: None,
            names: BTreeMap::new(),
        }
    }

    /// Gives the group an input; what it orders waits for [`Member::carry_out`].
    pub(super) fn tell(&mut self, input: impl FnOnce(&mut Group, &mut Vec<Output>)) {
        let mut out = Vec::new();
        input(&mut self.group, &mut out);
        self.orders.extend(out);
    }

    /// What may have happened without being seen: an armed timer has fired, or a lookup was lost
    /// with the connection that it waited for.
    /// Between the last event and one at `at_ms`. The application's patience is the longest of all
    /// timers and the one whose length is known, so that its date counts; the others' do not.
    pub(super) fn hidden_steps(&self, wire: &Wire, at_ms: u64) -> Vec<Self> {
        let mut steps = Vec::new();
        let due = self.timers.iter().filter(|(_, earliest)| **earliest <= at_ms);
        for &timer in due.map(|(timer, _)| timer) {
            let mut fired = self.clone();
            fired.timers.remove(&timer);
            fired.tell(|group, out| group.on_timer(timer, out));
            fired.carry_out(wire);
            steps.push(fired);
        }
        if let Some(incarnation) = self.lookup {
            let mut lost = self.clone();
            lost.lookup = None;
            lost.tell(|group, out| group.on_lost(incarnation, out));
            lost.carry_out(wire);
            steps.push(lost);
        }
        steps
    }

    /// An event comes at this date: what it arms is armed then.
    pub(super) fn set_now(&mut self, at_ms: u64) {
        self.now = at_ms;
    }

    /// Whether something must be seen before anything else may happen.
    pub(super) fn is_at_rest(&self) -> bool {
        self.due.is_empty() && !self.is_assignment_due()
    }

    /// Whether the application must be shown what is assigned.
    pub(super) fn is_assignment_due(&self) -> bool {
        self.end != End::Closed
            && (self.assignment_changed || self.shown_owner != self.group.owner())
    }

    /// What the application must be shown, and is now.
    pub(super) fn show_assignment(&mut self) -> (Partitions, Option<Owner>) {
        self.assignment_changed = false;
        self.shown_owner = self.group.owner();
        (self.owned.clone(), self.shown_owner)
    }

    /// The application has taken so much; whether that is all.
    pub(super) fn take(&mut self, taken: u64) -> bool {
        self.taken = self.taken.max(taken);
        self.taken == self.delivered
    }

    /// No delivery that was not taken returns records of these any more.
    pub(super) fn withdraw(&mut self, partitions: &Partitions) {
        if self.taken < self.delivered {
            self.due.push_back(Due::Withdrawn(partitions.clone()));
        }
    }

    /// The open callback counts as returned: nobody runs it.
    pub(super) fn end_callback(&mut self) {
        if let Some((incarnation, _)) = self.group.open_callback() {
            self.callback = None;
            self.tell(|group, out| group.on_callback_done(incarnation, true, out));
        }
    }

    /// Whether this member id has this name, which is never another's.
    pub(super) fn has_name(&mut self, member: u32, name: usize) -> bool {
        if let Some(known) = self.names.get(&member) {
            return *known == name;
        }
        let is_new = self.names.values().all(|other| *other != name);
        if is_new {
            self.names.insert(member, name);
        }
        is_new
    }

    /// Carries out what the group orders, and what it orders because of it.
    pub(super) fn carry_out(&mut self, wire: &Wire) {
        while let Some(order) = self.orders.pop_front() {
            self.on_order(order, wire);
        }
        if let Some(left) = self.left.take() {
            self.due.extend(std::mem::take(&mut self.calls).into_iter().map(|(call, waiting)| {
                let (answer, error) = match waiting {
                    Waiting::Commit(held) => held.unwrap_or((Answer::Closed, None)),
                    Waiting::Unsubscribe => (Answer::Closed, None),
                };
                Due::Answer(call, answer, error)
            }));
            self.due.push_back(Due::Closed { left });
            self.end = End::Closed;
        }
    }

    fn on_order(&mut self, order: Output, wire: &Wire) {
        match order {
            Output::FindCoordinator { incarnation } => self.lookup = Some(incarnation),
            Output::Heartbeat { incarnation, to, request } => {
                self.send(to, incarnation, Asked::Heartbeat(request), wire);
            }
            Output::OffsetCommit { incarnation, to, request, .. } => {
                self.send(to, incarnation, Asked::Commit(request), wire);
            }
            Output::Arm(timer, _) => {
                let patience = matches!(timer, Timer::PollInterval | Timer::Revocation);
                let ms = if patience { self.patience_ms } else { 0 };
                self.timers.insert(timer, if ms == 0 { 0 } else { self.now.saturating_add(ms) });
            }
            Output::Disarm(timer) => {
                self.timers.remove(&timer);
            }
            Output::Call { incarnation, callback } => self.call(incarnation, callback),
            Output::Own(partitions) => {
                self.owned.extend(partitions);
                self.assignment_changed = true;
            }
            Output::Fetch(partitions) => self.open.extend(partitions),
            Output::Withhold(partitions) => self.open.retain(|p| !partitions.contains(p)),
            Output::Release(partitions) => self.release(&partitions),
            Output::Lost(reason, partitions) => self.due.push_back(Due::Lost(reason, partitions)),
            Output::CommitDone { id, result } => self.answer_commit(id, result),
            Output::Left { clean } => self.on_left(clean),
            Output::Fault(fault) => {
                if !self.faults.contains(&fault) {
                    self.faults.push(fault);
                }
            }
            Output::HeartbeatInterval(_) | Output::ResolveTopics(_) => {}
        }
    }

    /// At once, if only to wait for a connection; never where nobody knows the broker.
    fn send(&mut self, to: NodeId, incarnation: Incarnation, asked: Asked, wire: &Wire) {
        if !wire.is_known(to) {
            return self.tell(|group, out| group.on_lost(incarnation, out));
        }
        self.due.push_back(Due::Send(to, incarnation, asked));
    }

    fn call(&mut self, incarnation: Incarnation, callback: Callback) {
        if self.end == (End::Closing { orphaned: true }) {
            return self.tell(|group, out| group.on_callback_done(incarnation, true, out));
        }
        if self.is_assignment_due() {
            let (partitions, owner) = self.show_assignment();
            self.due.push_back(Due::Assignment(partitions, owner));
        }
        self.due.push_back(Due::Callback(incarnation, callback));
    }

    fn release(&mut self, partitions: &Partitions) {
        self.withdraw(partitions);
        for partition in partitions {
            self.owned.remove(partition);
            self.open.remove(partition);
        }
        self.assignment_changed = true;
    }

    fn answer_commit(&mut self, id: CommitId, result: Result<(), CommitError>) {
        let told = match result {
            Ok(()) => (Answer::Done, None),
            Err(CommitError::NotAMember) => (Answer::NotAMember, None),
            Err(CommitError::NotOwned) => (Answer::NotOwned, None),
            Err(CommitError::OwnershipEnded) => (Answer::OwnershipEnded, None),
            Err(CommitError::Expired) => (Answer::Expired, None),
            Err(CommitError::Refused(code)) => (Answer::Refused, Some(code.number())),
        };
        self.end_commit(u64::from(id.0), told);
    }

    /// A commit is over: it is answered once every earlier one is.
    pub(super) fn end_commit(&mut self, call: u64, told: (Answer, Option<i16>)) {
        if let Some(Waiting::Commit(held)) = self.calls.get_mut(&call) {
            *held = Some(told);
            self.answer_commits();
        }
    }

    /// Answers the commits that are over, up to the first that is not.
    pub(super) fn answer_commits(&mut self) {
        loop {
            let mut commits = self.calls.iter().filter_map(|(call, waiting)| match waiting {
                Waiting::Commit(held) => Some((*call, *held)),
                Waiting::Unsubscribe => None,
            });
            let Some((call, Some((answer, error)))) = commits.next() else { return };
            self.calls.remove(&call);
            self.due.push_back(Due::Answer(call, answer, error));
        }
    }

    fn on_left(&mut self, clean: bool) {
        if self.end != End::Not {
            self.left = Some(clean);
            return;
        }
        let answer = if clean { Answer::Left } else { Answer::LeftUnconfirmed };
        let calls = &mut self.calls;
        let left: Vec<u64> =
            calls.iter().filter(|(_, w)| **w == Waiting::Unsubscribe).map(|(c, _)| *c).collect();
        for call in left {
            calls.remove(&call);
            self.due.push_back(Due::Answer(call, answer, None));
        }
    }

    /// The same explanation as every other one that differs only by what no one looks at: which
    /// numbers requests have inside, and how long a backoff takes.
    pub(super) fn canonical(mut self) -> Self {
        self.group.visit_steps(&mut |step| *step = Step::FIRST);
        let mut alive = Vec::new();
        self.group.visit_incarnations(&mut |incarnation| alive.push(incarnation.0));
        alive.sort_unstable();
        alive.dedup();
        // One that the group has forgotten is like any other such.
        let rename = |incarnation: &mut Incarnation| {
            let rank = alive.binary_search(&incarnation.0).ok();
            incarnation.0 = rank.and_then(|rank| u32::try_from(rank).ok()).unwrap_or(u32::MAX);
        };
        self.group.visit_incarnations(&mut |incarnation| rename(incarnation));
        self.lookup.iter_mut().for_each(rename);
        self.queue.iter_mut().for_each(|(_, incarnation, _)| rename(incarnation));
        self.flights.values_mut().for_each(rename);
        self.callback.iter_mut().for_each(|(_, incarnation)| rename(incarnation));
        for due in &mut self.due {
            match due {
                Due::Send(_, incarnation, _) | Due::Callback(incarnation, _) => rename(incarnation),
                Due::Assignment(..)
                | Due::Answer(..)
                | Due::Lost(..)
                | Due::Withdrawn(_)
                | Due::Closed { .. } => {}
            }
        }
        let count = u32::try_from(alive.len()).expect("a group has few requests");
        self.group.restart_incarnations_after(count);
        self
    }
}

pub(super) fn assignor(name: &str) -> Assignor {
    match name {
        "uniform" => Assignor::Uniform,
        "range" => Assignor::Range,
        other => Assignor::Other(other.into()),
    }
}
