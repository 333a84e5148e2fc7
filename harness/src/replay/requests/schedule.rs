//! When each step of a trace of requests happens: whether a clock can produce it, and which durations
//! the consumer is configured with for it.
//!
//! Every step takes [`STEP_MS`]. What has a duration of its own in each trace happens when the trace
//! wants it: a call's deadline, a broker's throttle. The other timers run for one duration each, and
//! the durations are put into the order in which the trace lets them end. Nothing that is armed is
//! passed over, neither timers of connections nor backoffs. A path of which a beginning is infeasible
//! is infeasible. Judged from the model alone, so that what is replayed on cannot excuse itself.

use super::asks::{Again, Asks, lives};
use super::view::{asked, over};
use crate::replay::Target;
use evenkeel_core::connection::ConnectionTimer;
use evenkeel_model::explore::PathOf;
use evenkeel_model::requests::{Action, Slice, State};
use evenkeel_spec::rules::requests::{Line, Name};
use std::collections::BTreeMap;
use std::fmt;

/// How long a step takes with everything that follows from it at once, milliseconds.
pub(super) const STEP_MS: u64 = 1;

/// Longer than any trace, milliseconds.
pub(super) const NEVER_MS: u64 = 4_000_000_000;

/// What has one duration in a trace.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Length {
    /// `reconnect.backoff.ms`.
    Reconnect,
    /// `retry.backoff.ms`.
    Retry,
    /// `socket.connection.setup.timeout.ms`.
    Setup,
    /// `request.timeout.ms`.
    Request,
    /// `connections.max.idle.ms`.
    Idle,
}

impl Length {
    /// As a consumer's defaults order them.
    const ALL: [Self; 5] = [Self::Reconnect, Self::Retry, Self::Setup, Self::Request, Self::Idle];

    fn of(timer: ConnectionTimer) -> Option<Self> {
        match timer {
            ConnectionTimer::Setup => Some(Self::Setup),
            ConnectionTimer::Reconnect => Some(Self::Reconnect),
            ConnectionTimer::Request(_) => Some(Self::Request),
            ConnectionTimer::Idle => Some(Self::Idle),
            ConnectionTimer::Throttle => None,
        }
    }
}

/// How long each is, milliseconds, without jitter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lengths([u64; 5]);

impl Lengths {
    /// In this order, each far longer than the one before: several of one fit into one of the next.
    fn ordered(order: &[Length]) -> Self {
        let mut lengths = [0; 5];
        for (rank, length) in order.iter().enumerate() {
            lengths[*length as usize] = RANKS_MS[rank];
        }
        Self(lengths)
    }

    /// How long this is, milliseconds.
    #[must_use]
    pub fn ms(&self, length: Length) -> u64 {
        self.0[length as usize]
    }

    /// The same, with what jitter makes of it at the least and at the most (KIP-580).
    fn window(&self, length: Length) -> Window {
        let ms = self.ms(length);
        match length {
            Length::Reconnect | Length::Retry => (ms * 8 / 10, ms * 12 / 10 + 1),
            Length::Setup | Length::Request | Length::Idle => (ms, ms),
        }
    }
}

const RANKS_MS: [u64; 5] = [100, 1_000, 9_000, 80_000, 700_000];

/// One step in time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Given {
    /// When it happens, milliseconds.
    pub at: u64,
    /// When it is over, and looked at.
    pub date: u64,
    /// The number of the call that it opens.
    pub number: Option<u64>,
    /// How long that call may take, or the broker throttles.
    pub ms: u64,
}

/// Why a path cannot happen.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Infeasible {
    /// A timer would have fired earlier.
    Passed(Length),
    /// A broker throttles for longer than a request may take: the client does not believe it.
    Throttle,
    /// What was lost is asked again by the consumer itself, after its backoff.
    Again(Again),
    /// There is no way to make a consumer ask this, in this moment.
    Unasked(super::asks::Unasked),
}

impl fmt::Display for Infeasible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(length) => {
                let name = match length {
                    Length::Reconnect => "reconnect.backoff.ms",
                    Length::Retry => "retry.backoff.ms",
                    Length::Setup => "socket.connection.setup.timeout.ms",
                    Length::Request => "request.timeout.ms",
                    Length::Idle => "connections.max.idle.ms",
                };
                write!(f, "{name} is over earlier")
            }
            Self::Throttle => f.write_str("a throttle is longer than request.timeout.ms"),
            Self::Again(what) => write!(f, "{what} is sent again by itself, after its backoff"),
            Self::Unasked(why) => why.fmt(f),
        }
    }
}

/// The steps of a path in time on a target, how its consumer lives, and the durations under which
/// they happen.
///
/// # Errors
/// The first step that cannot happen, and why, in the life and under the order of durations in which
/// the path comes farthest.
pub(super) fn schedule(
    target: Target,
    path: &PathOf<Slice>,
) -> Result<(Lengths, Asks, Vec<Given>), (usize, Infeasible)> {
    let mut farthest: Option<(usize, Infeasible)> = None;
    let mut keep = |why: (usize, Infeasible)| {
        if farthest.is_none_or(|(step, _)| why.0 > step) {
            farthest = Some(why);
        }
    };
    for life in lives(target, path) {
        let asks = match Asks::of(life, path) {
            Ok(asks) => asks,
            Err(why) => {
                keep(why);
                continue;
            }
        };
        for order in orders(path, &asks) {
            let lengths = Lengths::ordered(&order);
            match Clock::new(lengths).run(path, &asks) {
                Ok(given) => return Ok((lengths, asks, given)),
                Err(why) => keep(why),
            }
        }
    }
    Err(farthest.expect("there is an order"))
}

/// Each order in which the durations that end in the path may be; the others are longer.
fn orders(path: &PathOf<Slice>, asks: &Asks) -> Vec<Vec<Length>> {
    let mut ending = Vec::new();
    for length in path.actions.iter().filter_map(|action| ends(*action)) {
        if !ending.contains(&length) {
            ending.push(length);
        }
    }
    // What is asked again by itself ends this one, too.
    if asks.again.iter().any(Option::is_some) && !ending.contains(&Length::Retry) {
        ending.push(Length::Retry);
    }
    let mut orders = permutations(&ending);
    for order in &mut orders {
        let rest: Vec<_> = Length::ALL.into_iter().filter(|l| !order.contains(l)).collect();
        order.extend(rest);
    }
    orders
}

/// What ends by an action.
fn ends(action: Action) -> Option<Length> {
    match action {
        Action::SetupTimeout(_) => Some(Length::Setup),
        Action::RequestTimeout(_) => Some(Length::Request),
        Action::Idle(_) => Some(Length::Idle),
        Action::Rested(_) => Some(Length::Reconnect),
        Action::Retry(_) => Some(Length::Retry),
        _ => None,
    }
}

fn permutations(of: &[Length]) -> Vec<Vec<Length>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let first = |i: usize| {
        let rest: Vec<_> =
            of.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, l)| *l).collect();
        let longer = permutations(&rest).into_iter();
        longer.map(move |tail| [vec![of[i]], tail].concat())
    };
    (0..of.len()).flat_map(first).collect()
}

/// When something happens at the earliest and at the latest.
type Window = (u64, u64);

/// What is armed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Armed {
    Connection(Line, ConnectionTimer),
    /// The backoff of this call.
    Retry(u64),
    /// The backoff of what the consumer asks again by itself.
    Again(Again),
}

struct Clock {
    lengths: Lengths,
    now: u64,
    /// When each is due.
    armed: BTreeMap<Armed, Window>,
    given: Vec<Given>,
}

impl Clock {
    fn new(lengths: Lengths) -> Self {
        Self { lengths, now: 0, armed: BTreeMap::new(), given: Vec::new() }
    }

    fn run(mut self, path: &PathOf<Slice>, asks: &Asks) -> Result<Vec<Given>, (usize, Infeasible)> {
        for step in 0..path.actions.len() {
            self.step(path, step, asks).map_err(|why| (step, why))?;
        }
        Ok(self.given)
    }

    fn step(&mut self, path: &PathOf<Slice>, step: usize, asks: &Asks) -> Result<(), Infeasible> {
        let (action, before, after) =
            (path.actions[step], &path.states[step], &path.states[step + 1]);
        let fires = fires(action, before, asks.again[step]);
        let due = fires.and_then(|armed| self.armed.remove(&armed));
        let free = matches!(action, Action::Deadline(_) | Action::Reads(_));
        let when = match due {
            Some(due) if !free => due,
            _ => (self.now + u64::from(free) * STEP_MS, self.now + u64::from(free) * STEP_MS),
        };
        self.judge(when.1, |armed, other| {
            is_ended_by(fires, armed, after) && when == other && when.0 == when.1
        })?;
        let number = asked(before, after);
        self.given.push(Given { at: when.1, date: when.1 + STEP_MS, number, ms: NEVER_MS });
        self.arm(path, step, when, asks)?;
        self.give(path, step)?;
        self.now = when.1 + STEP_MS;
        self.judge(self.now, |_, _| false)
    }

    /// Nothing that is armed may be due by then, but what is excused.
    fn judge(
        &self,
        now: u64,
        is_excused: impl Fn(Armed, Window) -> bool,
    ) -> Result<(), Infeasible> {
        let mut due = self.armed.iter().filter(|(_, due)| due.0 <= now);
        let Some((armed, _)) = due.find(|(armed, due)| !is_excused(**armed, **due)) else {
            return Ok(());
        };
        Err(match armed {
            Armed::Connection(_, timer) => {
                Length::of(*timer).map_or(Infeasible::Throttle, Infeasible::Passed)
            }
            Armed::Retry(_) => Infeasible::Passed(Length::Retry),
            Armed::Again(what) => Infeasible::Again(*what),
        })
    }

    /// Follows what is armed and disarmed.
    fn arm(
        &mut self,
        path: &PathOf<Slice>,
        step: usize,
        when: Window,
        asks: &Asks,
    ) -> Result<(), Infeasible> {
        let (before, after) = (&path.states[step], &path.states[step + 1]);
        let calls_rest = |number: &u64| after.resting.iter().any(|call| call.0 == *number);
        self.armed.retain(|armed, _| match armed {
            Armed::Connection(line, timer) => after.timers.contains(&(*line, *timer)),
            Armed::Retry(number) => calls_rest(number),
            Armed::Again(_) => !after.seen.is_over(),
        });
        let after_it = |(lo, hi): Window| (when.0 + lo, when.1 + hi);
        for &(line, timer) in after.timers.difference(&before.timers) {
            if let Some(length) = Length::of(timer) {
                let due = after_it(self.lengths.window(length));
                self.armed.insert(Armed::Connection(line, timer), due);
            }
        }
        let retry = self.lengths.window(Length::Retry);
        for call in after.resting.difference(&before.resting) {
            self.armed.insert(Armed::Retry(call.0), after_it(retry));
        }
        for what in &asks.lost[step] {
            self.armed.insert(Armed::Again(*what), after_it(retry));
        }
        if let Action::Throttle(line) = path.actions[step] {
            let throttle = (line, ConnectionTimer::Throttle);
            let ends = path.actions[step + 1..].iter().position(|a| *a == Action::Reads(line));
            if after.timers.contains(&throttle) && ends.is_none() {
                // The client gives the broker no longer than a request.
                let ms = self.lengths.ms(Length::Request);
                let due = (when.0 + ms, when.1 + ms);
                self.armed.insert(Armed::Connection(line, ConnectionTimer::Throttle), due);
            }
        }
        Ok(())
    }

    /// A deadline or a throttle ends here: tells whatever began it how long it is.
    fn give(&mut self, path: &PathOf<Slice>, step: usize) -> Result<(), Infeasible> {
        let at = self.given[step].at;
        let began = match path.actions[step] {
            Action::Deadline(number) => {
                self.given.iter().rposition(|given| given.number == Some(number))
            }
            Action::Reads(line) => {
                path.actions[..step].iter().rposition(|a| *a == Action::Throttle(line))
            }
            _ => return Ok(()),
        };
        let began = began.expect("what ends has begun");
        let ms = at - self.given[began].at;
        self.given[began].ms = ms;
        let is_throttle = matches!(path.actions[step], Action::Reads(_));
        if is_throttle && ms > self.lengths.ms(Length::Request) {
            return Err(Infeasible::Throttle);
        }
        Ok(())
    }
}

/// The timer that an action is.
fn fires(action: Action, before: &State, again: Option<Again>) -> Option<Armed> {
    let on = |line: Line, timer| Some(Armed::Connection(line, timer));
    match action {
        Action::SetupTimeout(line) => on(line, ConnectionTimer::Setup),
        Action::RequestTimeout(line) => {
            let oldest = before.wires[line as usize].messages.front()?;
            on(line, ConnectionTimer::Request(oldest.request))
        }
        Action::Idle(line) => on(line, ConnectionTimer::Idle),
        Action::Rested(line) => on(line, ConnectionTimer::Reconnect),
        Action::Reads(line) => on(line, ConnectionTimer::Throttle),
        Action::Retry(number) => Some(Armed::Retry(number)),
        _ => again.map(Armed::Again),
    }
}

/// Requests that went out together are due together: the oldest ends the connection, and with it the
/// timers of the others.
fn is_ended_by(fires: Option<Armed>, other: Armed, after: &State) -> bool {
    match (fires, other) {
        (
            Some(Armed::Connection(line, ConnectionTimer::Request(_))),
            Armed::Connection(of, timer @ ConnectionTimer::Request(_)),
        ) => line == of && !after.timers.contains(&(of, timer)),
        _ => false,
    }
}

/// What was in flight or waited and is lost by a step.
pub(super) fn lost(action: Action, before: &State, after: &State) -> Vec<Name> {
    let is_loss = matches!(
        action,
        Action::Refuse(_) | Action::Cut(_) | Action::SetupTimeout(_) | Action::RequestTimeout(_)
    );
    let names = over(before, after).into_iter().map(|(name, _)| name);
    names.filter(|name| is_loss && matches!(name, Name::Own(_))).collect()
}
