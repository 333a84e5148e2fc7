//! What each logical request spends its time on, and what became of all of them.
//!
//! Decides nothing: it takes note of where the machines put a request, and when.

use super::send::LaneDepth;
use crate::request::desk::Peer;
use crate::request::ledger::{Open, Outcome, Ticket};
use crate::request::queue::Lane;
use crate::request::{Counts, Ended, Kind, Waits};
use crate::{Address, CallId, Time};
use evenkeel_spec::words::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};

/// What a request is waiting for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Queue,
    Coordinator,
    Connection,
    Backoff,
    Throttle,
    InFlight,
}

/// The accounts of all requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    open: BTreeMap<Ticket, Account>,
    counts: BTreeMap<(Lane, Kind), Counts>,
    depths: BTreeMap<Lane, LaneDepth>,
    /// Every open one, the oldest of each lane first.
    ages: BTreeSet<(Lane, Time, Ticket)>,
}

#[derive(Clone, Debug)]
struct Account {
    lane: Lane,
    asked_at: Time,
    deadline: Option<Time>,
    place: Place,
    since: Time,
    waits: Waits,
    attempts: u32,
    bulked: u32,
    error: Option<ErrorCode>,
    asked: Option<(Peer, Address)>,
    /// How much of the waiting the attempts before were told.
    told_ms: u64,
}

impl Accounts {
    /// It was asked for.
    pub(super) fn open(&mut self, ticket: Ticket, (lane, kind): (Lane, Kind), now: Time) {
        self.counts.entry((lane, kind)).or_default().asked += 1;
        self.depths.entry(lane).or_default().waiting += 1;
        self.ages.insert((lane, now, ticket));
        let account = Account {
            lane,
            asked_at: now,
            deadline: None,
            place: Place::Queue,
            since: now,
            waits: Waits::default(),
            attempts: 0,
            bulked: 0,
            error: None,
            asked: None,
            told_ms: 0,
        };
        self.open.insert(ticket, account);
    }

    /// It has until then.
    pub(super) fn due(&mut self, ticket: Ticket, deadline: Time) {
        if let Some(account) = self.open.get_mut(&ticket) {
            account.deadline = Some(deadline);
        }
    }

    /// It waits for something else now.
    pub(super) fn place(&mut self, ticket: Ticket, place: Place, now: Time) {
        if let Some(account) = self.open.get_mut(&ticket) {
            account.settle(now);
            account.go_to(place, &mut self.depths);
        }
    }

    /// An attempt goes out, with so many others in the same request; says for how long it waited
    /// since the attempt before, milliseconds.
    pub(super) fn sent(
        &mut self,
        ticket: Ticket,
        to: (Peer, Address),
        others: u32,
        now: Time,
    ) -> u64 {
        let Some(account) = self.open.get_mut(&ticket) else { return 0 };
        account.settle(now);
        account.go_to(Place::InFlight, &mut self.depths);
        account.attempts += 1;
        account.bulked = others;
        account.asked = Some(to);
        let waited = account.waits.sum_ms() - account.waits.in_flight_ms;
        waited - std::mem::replace(&mut account.told_ms, waited)
    }

    /// What was to go out did not: the broker does not speak it.
    pub(super) fn unspoken(&mut self, ticket: Ticket) {
        if let Some(account) = self.open.get_mut(&ticket) {
            account.attempts -= 1;
            account.error = Some(ErrorCode::UnsupportedVersion);
        }
    }

    /// A broker said so.
    pub(super) fn refused(&mut self, ticket: Ticket, error: ErrorCode) {
        if let Some(account) = self.open.get_mut(&ticket) {
            account.error = Some(error);
        }
    }

    /// It is over.
    pub(super) fn end(
        &mut self,
        ticket: Ticket,
        Open { kind, lane, .. }: &Open,
        outcome: Outcome,
        now: Time,
    ) -> Ended {
        let mut account = self.open.remove(&ticket).expect("it was asked for");
        account.settle(now);
        account.go_to(Place::Queue, &mut self.depths);
        self.depths.entry(account.lane).or_default().waiting -= 1;
        self.ages.remove(&(account.lane, account.asked_at, ticket));
        self.counts.entry((*lane, *kind)).or_default().on_ended(outcome);
        Ended {
            ticket,
            kind: *kind,
            lane: *lane,
            outcome,
            error: account.error,
            node: account.asked.as_ref().and_then(|(peer, _)| peer.node()),
            address: account.asked.map(|(_, address)| address),
            attempts: account.attempts,
            bulked: account.bulked,
            asked_at: account.asked_at,
            ended_at: now,
            deadline: account.deadline,
            waits: account.waits,
        }
    }

    /// What became of all of them.
    pub(super) fn counts(&self) -> &BTreeMap<(Lane, Kind), Counts> {
        &self.counts
    }

    /// What is not over, by lane.
    pub(super) fn lanes(&self) -> BTreeMap<Lane, LaneDepth> {
        let mut lanes = self.depths.clone();
        for (lane, depth) in &mut lanes {
            let first = (*lane, Time(0), Ticket::Call(CallId(0)));
            let oldest = self.ages.range(first..).next().filter(|(of, ..)| of == lane);
            depth.oldest = oldest.map(|(_, asked_at, _)| *asked_at);
        }
        lanes
    }
}

impl Account {
    fn go_to(&mut self, place: Place, depths: &mut BTreeMap<Lane, LaneDepth>) {
        let before = std::mem::replace(&mut self.place, place);
        let is_sent = [before, place].map(|place| place == Place::InFlight);
        let depth = depths.entry(self.lane).or_default();
        match is_sent {
            [false, true] => {
                depth.waiting -= 1;
                depth.in_flight += 1;
            }
            [true, false] => {
                depth.waiting += 1;
                depth.in_flight -= 1;
            }
            [false, false] | [true, true] => {}
        }
    }

    fn settle(&mut self, now: Time) {
        let Waits {
            queue_ms,
            coordinator_ms,
            connection_ms,
            backoff_ms,
            throttle_ms,
            in_flight_ms,
        } = &mut self.waits;
        *match self.place {
            Place::Queue => queue_ms,
            Place::Coordinator => coordinator_ms,
            Place::Connection => connection_ms,
            Place::Backoff => backoff_ms,
            Place::Throttle => throttle_ms,
            Place::InFlight => in_flight_ms,
        } += now.since(self.since);
        self.since = now;
    }
}
