//! When each step of a path happens: whether a clock can produce it, under which timing profile.
//!
//! Every step but a firing timer takes [`STEP_MS`]. A timer fires at its deadline, counted from
//! when it was armed last; jitter and slack make that a window, and the clock goes to its end.
//! Nothing that is armed is passed over: neither timers of living consumers and of the coordinator
//! nor the patience with an unanswered request. A path of which a beginning is infeasible is
//! infeasible. Judged from the model and the profile alone, so that what is replayed on cannot
//! excuse itself.

use super::retrace::Orders;
use evenkeel_coordinator::{Order, Timer as Patience};
use evenkeel_core::Incarnation;
use evenkeel_core::group::Output;
use evenkeel_model::bounds::Slice;
use evenkeel_model::profiles::Profile;
use evenkeel_model::system::{Action, Asked, Node, Reply, State};
use evenkeel_spec::words::{Step, Timer, TopicIdPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How long an action takes, with everything that follows from it at once, milliseconds: time to
/// connect again and for each end to become idle.
pub const STEP_MS: u64 = 2;

/// How long the client may take to ask for metadata again, milliseconds, in backoffs: the pause
/// after the last request, with its jitter, doubled once.
const RESOLVE_BACKOFFS: u64 = 3;

/// An automatic commit may be late by this much, milliseconds (the shell's slack).
const AUTO_COMMIT_SLACK_MS: u64 = 500;

/// Longer than any path: for timers that a slice does not let fire, milliseconds.
pub(crate) const NEVER_MS: u64 = 4_000_000_000;

/// The heartbeat interval until the coordinator tells its own, milliseconds (Kafka's default).
const FIRST_HEARTBEAT_INTERVAL_MS: u64 = 5_000;

/// Why a path cannot happen.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Infeasible {
    /// A consumer's timer would have fired earlier.
    Passed(usize, Timer),
    /// A timer of the coordinator would have fired earlier.
    CoordinatorPassed,
    /// A request would have been given up by then.
    RequestTimeout(usize),
    /// What a call asks of the coordinator is asked until it is answered; the model's only looks for
    /// the coordinator.
    Asked(usize),
    /// Positions are needed while nobody knows the coordinator: the shell asks for it, to look them
    /// up; the model does not.
    PositionLookup(usize),
}

impl fmt::Display for Infeasible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(i, timer) => write!(f, "timer c{i} {timer:?} is due earlier"),
            Self::CoordinatorPassed => f.write_str("a timer of the coordinator is due earlier"),
            Self::RequestTimeout(i) => write!(f, "a request of c{i} times out earlier"),
            Self::Asked(i) => write!(f, "a call of c{i} needs more than the coordinator's name"),
            Self::PositionLookup(i) => write!(f, "c{i} looks for the coordinator for positions"),
        }
    }
}

/// The clock after each action of a path, milliseconds.
///
/// # Errors
/// The first step that cannot happen in time, and why.
pub(crate) fn schedule(
    slice: &Slice,
    profile: &Profile,
    actions: &[Action],
    states: &[State],
    orders: &[Orders],
) -> Result<Vec<u64>, (usize, Infeasible)> {
    let mut clock = Clock::new(slice, profile);
    let mut dates = Vec::with_capacity(actions.len());
    for (step, action) in actions.iter().enumerate() {
        let passed = clock.step(*action, &states[step + 1], &orders[step]);
        passed.map_err(|why| (step, why))?;
        dates.push(clock.now);
    }
    Ok(dates)
}

/// How many topics can be told from the start: nothing shows that they resolve before a target
/// names one.
pub(crate) fn resolved_early(actions: &[Action], states: &[State], i: usize) -> usize {
    let mut resolved = 0;
    for (step, action) in actions.iter().enumerate() {
        match *action {
            Action::Resolve(j) if i == j => resolved += 1,
            Action::Answer(j) if i == j && tells_target(&states[step], i) => break,
            _ => {}
        }
    }
    resolved
}

/// Whether the next answer names partitions.
fn tells_target(state: &State, i: usize) -> bool {
    match state.nodes[i].answers.first() {
        Some(Reply::Heartbeat(_, _, Ok(answer))) => {
            answer.assignment.as_ref().is_some_and(|target| !target.is_empty())
        }
        _ => false,
    }
}

/// When something happens at the earliest and at the latest.
type Window = (u64, u64);

struct Clock<'a> {
    slice: &'a Slice,
    profile: &'a Profile,
    now: u64,
    /// Armed when, and for how long.
    timers: BTreeMap<(usize, Timer), (Window, Window)>,
    patience: BTreeMap<Patience, Window>,
    requests: BTreeMap<(usize, Incarnation), u64>,
    heartbeat_ms: Vec<u64>,
    /// A target that named an unresolved topic was told.
    targeted: Vec<bool>,
    /// Partitions whose position is being looked up, and the requests that are answered before.
    placing: BTreeMap<(usize, TopicIdPartition), BTreeSet<Incarnation>>,
}

impl<'a> Clock<'a> {
    fn new(slice: &'a Slice, profile: &'a Profile) -> Self {
        Self {
            slice,
            profile,
            now: 0,
            timers: BTreeMap::new(),
            patience: BTreeMap::new(),
            requests: BTreeMap::new(),
            heartbeat_ms: vec![FIRST_HEARTBEAT_INTERVAL_MS; slice.members],
            targeted: vec![false; slice.members],
            placing: BTreeMap::new(),
        }
    }

    fn step(&mut self, action: Action, after: &State, orders: &Orders) -> Result<(), Infeasible> {
        let i = action.consumer();
        if matches!(action, Action::Ask(_)) {
            return Err(Infeasible::Asked(i));
        }
        let when = self.happens(action);
        self.now = when.1;
        self.judge_armed(Some((action, when)))?;
        self.now += STEP_MS;
        if matches!(action, Action::Resolve(_)) && self.targeted[i] {
            self.now += resolve_ms(self.profile);
        }
        for output in &orders.consumer {
            self.on_output(i, output, when);
        }
        if action == Action::Failover {
            self.patience.clear();
        }
        for order in &orders.coordinator {
            self.on_order(*order, when);
        }
        if let Action::Crash(i) = action {
            self.timers.retain(|(j, _), _| *j != i);
            self.requests.retain(|(j, _), _| *j != i);
            self.placing.retain(|(j, _), _| *j != i);
            self.heartbeat_ms[i] = FIRST_HEARTBEAT_INTERVAL_MS;
        }
        self.requests.retain(|(i, incarnation), _| {
            outstanding(&after.nodes[*i]).any(|other| other == *incarnation)
        });
        self.judge_armed(None)?;
        self.place(i, action, after, orders)
    }

    /// Follows which positions are known: looked up on the coordinator's connection, behind what is
    /// on it already.
    fn place(
        &mut self,
        i: usize,
        action: Action,
        after: &State,
        orders: &Orders,
    ) -> Result<(), Infeasible> {
        let outstanding: BTreeSet<Incarnation> = outstanding(&after.nodes[i]).collect();
        let is_lost = matches!(action, Action::Break(_));
        if let (Action::Seek(..), Some(partition)) = (action, orders.partition) {
            self.placing.remove(&(i, partition));
        }
        for output in &orders.consumer {
            match output {
                Output::Own(partitions) => {
                    if after.nodes[i].group.coordinator().is_none() {
                        return Err(Infeasible::PositionLookup(i));
                    }
                    let others = self.placing.iter().filter(|((j, _), _)| *j == i);
                    let mut before: BTreeSet<_> =
                        others.flat_map(|(_, before)| before).copied().collect();
                    before.extend(&outstanding);
                    for partition in partitions {
                        self.placing.insert((i, *partition), before.clone());
                    }
                }
                Output::Release(partitions) => {
                    self.placing.retain(|(j, p), _| *j != i || !partitions.contains(p));
                }
                _ => {}
            }
        }
        for ((j, _), before) in &mut self.placing {
            if *j == i {
                before.retain(|incarnation| outstanding.contains(incarnation));
            }
        }
        if is_lost && self.placing.iter().any(|((j, _), _)| *j == i) {
            return Err(Infeasible::PositionLookup(i));
        }
        self.placing.retain(|_, before| !before.is_empty());
        Ok(())
    }

    /// When the action happens: a timer at its deadline, everything else now.
    fn happens(&mut self, action: Action) -> Window {
        let fired = match action {
            Action::Fire(i, timer) => {
                let armed = self.timers.remove(&(i, timer));
                armed.map(|(armed, length)| (armed.0 + length.0, armed.1 + length.1))
            }
            Action::Session(i, number) | Action::Bury(i, number) => {
                self.patience.remove(&Patience::Session(self.slice.member_id(i, number)))
            }
            Action::Rebalance(i, number) => {
                self.patience.remove(&Patience::Rebalance(self.slice.member_id(i, number)))
            }
            Action::Interval => self.patience.remove(&Patience::Assignment),
            _ => return (self.now, self.now),
        };
        let (lo, hi) = fired.expect("only an armed timer fires");
        assert!(lo >= self.now, "a timer that is passed over is found at once");
        (lo, hi)
    }

    fn on_output(&mut self, i: usize, output: &Output, when: Window) {
        match output {
            Output::Arm(timer, step) => {
                let length = self.length(i, *timer, *step);
                self.timers.insert((i, *timer), (when, length));
            }
            Output::Disarm(timer) => {
                self.timers.remove(&(i, *timer));
            }
            Output::HeartbeatInterval(_) => {
                let ms = u64::from(self.profile.heartbeat_interval_ms);
                self.heartbeat_ms[i] = ms;
                if let Some((_, length)) = self.timers.get_mut(&(i, Timer::Heartbeat)) {
                    *length = (ms, ms);
                }
            }
            Output::FindCoordinator { incarnation }
            | Output::Heartbeat { incarnation, .. }
            | Output::OffsetCommit { incarnation, .. } => {
                self.requests.insert((i, *incarnation), when.0 + self.profile.request_timeout_ms);
            }
            Output::ResolveTopics(_) => self.targeted[i] = true,
            _ => {}
        }
    }

    fn on_order(&mut self, order: Order, when: Window) {
        match order {
            Order::Arm(timer, ms) => {
                let ms = match timer {
                    Patience::Session(_) => self.profile.session_timeout_ms,
                    Patience::Rebalance(_) => self.profile.poll_interval_ms,
                    Patience::Assignment => ms,
                };
                let ms = u64::from(ms);
                self.patience.insert(timer, (when.0 + ms, when.1 + ms));
            }
            Order::Disarm(timer) => {
                self.patience.remove(&timer);
            }
        }
    }

    /// Nothing that is armed may be due by now; but of timers of one consumer that are due at exactly
    /// the same date the first by name fires first, and may disarm the others.
    fn judge_armed(&self, firing: Option<(Action, Window)>) -> Result<(), Infeasible> {
        for ((i, timer), (armed, length)) in &self.timers {
            let due = (armed.0 + length.0, armed.1 + length.1);
            let follows = matches!(
                firing,
                Some((Action::Fire(j, fired), when))
                    if *i == j && fired < *timer && when == due && due.0 == due.1
            );
            if due.0 <= self.now && !follows {
                return Err(Infeasible::Passed(*i, *timer));
            }
        }
        if self.patience.values().any(|due| due.0 <= self.now) {
            return Err(Infeasible::CoordinatorPassed);
        }
        if let Some(((i, _), _)) = self.requests.iter().find(|(_, due)| **due <= self.now) {
            return Err(Infeasible::RequestTimeout(*i));
        }
        Ok(())
    }

    fn length(&self, i: usize, timer: Timer, step: Step) -> Window {
        let profile = self.profile;
        let exactly = |ms| (ms, ms);
        match timer {
            Timer::Heartbeat => exactly(self.heartbeat_ms[i]),
            Timer::PollInterval | Timer::Revocation => {
                exactly(u64::from(poll_interval_ms(self.slice, profile)))
            }
            Timer::AutoCommit => {
                let ms = auto_commit_interval_ms(self.slice, profile);
                (ms, ms + AUTO_COMMIT_SLACK_MS)
            }
            Timer::Backoff(_) => {
                let doubled = profile.retry_backoff_ms << step.exponent();
                let cap = profile.retry_backoff_max_ms;
                let ms = if step == Step::MAX { cap } else { doubled.min(cap) };
                (ms * 8 / 10, ms * 12 / 10 + 1)
            }
            Timer::Leave => exactly(api_timeout_ms(self.slice, profile)),
        }
    }
}

fn outstanding(node: &Node) -> impl Iterator<Item = Incarnation> {
    let answers = node.answers.iter().map(|reply| match reply {
        Reply::Heartbeat(incarnation, ..) | Reply::Commit(incarnation, ..) => *incarnation,
    });
    node.requests.iter().map(Asked::incarnation).chain(answers).chain(node.lookup)
}

/// The client's `max.poll.interval.ms`, milliseconds: for ever where a slice has no late
/// applications; the coordinator's patience with a revocation is the profile's all the same.
pub(crate) fn poll_interval_ms(slice: &Slice, profile: &Profile) -> u32 {
    if slice.faults.slow { profile.poll_interval_ms } else { u32::MAX / 2 }
}

/// The time to leave, milliseconds: for ever where a slice has no late applications.
pub(crate) fn api_timeout_ms(slice: &Slice, profile: &Profile) -> u64 {
    if slice.faults.slow { profile.api_timeout_ms } else { NEVER_MS }
}

/// `auto.commit.interval.ms`, milliseconds: for ever where a slice leaves these commits out.
pub(crate) fn auto_commit_interval_ms(slice: &Slice, profile: &Profile) -> u64 {
    if slice.detail.interval_commit { profile.auto_commit_interval_ms } else { NEVER_MS }
}

/// How long metadata that names a topic late takes, milliseconds.
pub(crate) fn resolve_ms(profile: &Profile) -> u64 {
    RESOLVE_BACKOFFS * profile.retry_backoff_ms
}
