//! What an onlooker may see of one consumer's requests: when each is asked for, put on a connection,
//! read by the broker, answered, and told to be over. spec/10-requests.md.
//!
//! One broker, with its one connection and the second one. The rules know no message and no machine:
//! [`Requests`] takes note of what is seen, event by event, and says which rule an event breaks.

mod event;

pub use event::{Bounds, Event, Line, Name, Place, Says, Things, Told, Urgency, Wish};

use super::Rule;
use std::collections::{BTreeMap, BTreeSet};

/// One consumer's requests, as they were seen so far.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Requests {
    bounds: Bounds,
    open: BTreeMap<Name, Open>,
    /// Calls whose time was over, while anything of them is left.
    expired: BTreeSet<Name>,
    lines: [Seen; 2],
    is_over: bool,
}

/// A request that is not over.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Open {
    wish: Wish,
    since: u8,
    place: Place,
    /// What the broker must read before, if it reads it at all.
    behind: BTreeSet<Name>,
}

/// What is known of one connection.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Seen {
    is_ready: bool,
    is_throttled: bool,
    must_rest: bool,
    flights: Vec<Flight>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Flight {
    names: Vec<Name>,
    /// It counts among the user requests in flight.
    counts: bool,
    is_read: bool,
}

impl Requests {
    /// Nothing was asked for.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            open: BTreeMap::new(),
            expired: BTreeSet::new(),
            lines: Default::default(),
            is_over: false,
        }
    }

    /// Something is seen.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn on(&mut self, event: Event<'_>) -> Result<(), Rule> {
        match event {
            Event::Refused => return self.on_refused(),
            Event::Asked(name, wish, since) => {
                let (place, behind) = (Place::Resting, self.before(wish.says));
                self.open.insert(name, Open { wish, since, place, behind });
            }
            Event::Put(name, line) => {
                if let Some(open) = self.open.get_mut(&name) {
                    open.place = Place::Waiting(line);
                }
            }
            Event::Sent(line, says, names) => return self.on_sent(line, says, names),
            Event::Read(line) => return self.on_read(line),
            Event::Landed(line) => {
                self.lines[line as usize].flights.remove(0);
            }
            Event::Answered(name, things, since) => return self.on_answered(name, things, since),
            Event::Told(name, told) => return self.on_told(name, told),
            Event::Opened(line) if self.lines[line as usize].must_rest => return Err(Rule::Spun),
            Event::Opened(_) => {}
            Event::Ready(line) => self.lines[line as usize].is_ready = true,
            Event::Throttled(line) => self.lines[line as usize].is_throttled = true,
            Event::Reads(line) => self.lines[line as usize].is_throttled = false,
            Event::Closed(line) => self.on_down(line, false),
            Event::Failed(line) => self.on_down(line, true),
            Event::Rested(line) => self.lines[line as usize].must_rest = false,
            Event::Ended => self.is_over = true,
        }
        Ok(())
    }

    /// Q3: a call is refused only when every place is taken.
    fn on_refused(&self) -> Result<(), Rule> {
        if self.places() < self.bounds.places_max { Err(Rule::RefusedWithRoom) } else { Ok(()) }
    }

    /// Q9: what the broker has not read and must read before this. A commit in flight is overtaken
    /// where the broker does not read, or where a leave cannot follow it and a heartbeat as well.
    fn before(&self, says: Says) -> BTreeSet<Name> {
        let heartbeat = |open: &&Open| open.wish.says.is_heartbeat() && says == Says::Leave;
        let followed = self.open.values().filter(heartbeat).find_map(|open| match open.place {
            Place::Flying(line) => Some(line),
            Place::Waiting(_) | Place::Resting | Place::Nowhere => None,
        });
        let is_before = |(name, open): &(&Name, &Open)| {
            let is_commit = open.wish.says == Says::Commit && says.follows_commits();
            match open.place {
                Place::Waiting(_) => is_commit || heartbeat(open),
                Place::Flying(line) => {
                    let seen = &self.lines[line as usize];
                    let is_read = |f: &Flight| f.is_read && f.names.contains(name);
                    let can_follow =
                        !seen.is_throttled && followed.is_none_or(|other| other == line);
                    !seen.flights.iter().any(is_read)
                        && (heartbeat(open) || is_commit && can_follow)
                }
                Place::Resting | Place::Nowhere => false,
            }
        };
        self.open.iter().filter(is_before).map(|(name, _)| *name).collect()
    }

    fn on_sent(&mut self, line: Line, says: Says, names: &[Name]) -> Result<(), Rule> {
        if names.iter().any(|name| self.expired.contains(name)) {
            return Err(Rule::SentExpired);
        }
        let wishes = names.iter().filter_map(|name| self.open.get(name));
        let Some(urgency) = wishes.map(|open| open.wish.urgency).min() else {
            return Err(Rule::SentForNobody);
        };
        if self.lines[line as usize].is_throttled {
            return Err(Rule::SentThrottled);
        }
        self.not_behind_fetch(line, names)?;
        for name in names {
            if let Some(open) = self.open.get_mut(name) {
                open.place = Place::Flying(line);
            }
        }
        let waiting = |open: &&Open| open.place == Place::Waiting(line);
        let hurries = says == Says::Commit
            && self.open.values().filter(waiting).any(|open| open.wish.says.follows_commits());
        if !hurries {
            self.first_come_first(line, urgency)?;
        }
        let counts = urgency == Urgency::User && !hurries;
        let flight = Flight { names: names.to_vec(), counts, is_read: false };
        self.lines[line as usize].flights.push(flight);
        if self.in_flight(line) > self.bounds.in_flight_max {
            return Err(Rule::TooManyInFlight);
        }
        Ok(())
    }

    /// Q8: a question of the system is not put behind a fetch, which the broker may park, where it
    /// would read the other connection.
    fn not_behind_fetch(&self, line: Line, names: &[Name]) -> Result<(), Rule> {
        let hurries = |open: &Open| {
            let Wish { urgency, says, is_patient, .. } = open.wish;
            urgency == Urgency::System && says == Says::Nothing && !is_patient
        };
        let would_read = !self.lines[line.other() as usize].is_throttled;
        let mut asked = names.iter().filter_map(|name| self.open.get(name));
        if would_read && self.is_parked(line) && asked.any(hurries) {
            return Err(Rule::SystemWaited);
        }
        Ok(())
    }

    /// Q1: nothing that is more urgent waits for the same connection and could go.
    fn first_come_first(&self, line: Line, sent: Urgency) -> Result<(), Rule> {
        let has_room = self.in_flight(line) < self.bounds.in_flight_max;
        let goes_before = |open: &Open| {
            let urgency = open.wish.urgency;
            open.place == Place::Waiting(line)
                && urgency < sent
                && (urgency == Urgency::System || has_room)
        };
        if self.open.values().any(goes_before) { Err(Rule::SystemWaited) } else { Ok(()) }
    }

    fn in_flight(&self, line: Line) -> usize {
        self.lines[line as usize].flights.iter().filter(|flight| flight.counts).count()
    }

    fn on_read(&mut self, line: Line) -> Result<(), Rule> {
        let flights = &mut self.lines[line as usize].flights;
        let Some(flight) = flights.iter_mut().find(|flight| !flight.is_read) else {
            return Ok(());
        };
        flight.is_read = true;
        let names = flight.names.clone();
        for name in &names {
            self.is_past(*name);
        }
        let overtakes =
            names.iter().filter_map(|name| self.open.get(name)).any(|open| !open.behind.is_empty());
        if overtakes { Err(Rule::Overtaken) } else { Ok(()) }
    }

    /// Nothing need be read after it any more.
    fn is_past(&mut self, name: Name) {
        for open in self.open.values_mut() {
            open.behind.remove(&name);
        }
    }

    /// Q5.
    fn on_answered(&mut self, name: Name, things: Things, since: u8) -> Result<(), Rule> {
        let Some(open) = self.open.get_mut(&name) else { return Err(Rule::EndedTwice) };
        open.place = Place::Resting;
        if since < open.since {
            return Err(Rule::AnswerTooOld);
        }
        if open.wish.things & !things != 0 {
            return Err(Rule::AnswerIncomplete);
        }
        Ok(())
    }

    /// Q7.
    fn on_told(&mut self, name: Name, told: Told) -> Result<(), Rule> {
        let Some(open) = self.open.remove(&name) else { return Err(Rule::EndedTwice) };
        self.is_past(name);
        for flight in self.lines.iter_mut().flat_map(|seen| &mut seen.flights) {
            flight.names.retain(|other| *other != name);
        }
        let was_flying = matches!(open.place, Place::Flying(_));
        let (is_true, expired) = match told {
            Told::Answered | Told::Lost => (true, false),
            Told::Unsent { expired } => (!was_flying, expired),
            Told::InFlight { expired } => (was_flying, expired),
        };
        if expired {
            self.expired.insert(name);
        }
        if is_true { Ok(()) } else { Err(Rule::OutcomeUntrue) }
    }

    fn on_down(&mut self, line: Line, must_rest: bool) {
        let seen = &mut self.lines[line as usize];
        let must_rest = must_rest || seen.must_rest;
        let flights = std::mem::take(seen).flights;
        seen.must_rest = must_rest;
        for name in flights.iter().flat_map(|flight| &flight.names) {
            self.is_past(*name);
        }
    }

    fn places(&self) -> usize {
        let takes = |(name, open): &(&Name, &Open)| {
            matches!(name, Name::Call(_)) && open.wish.urgency == Urgency::User
        };
        self.open.iter().filter(takes).count()
    }

    /// Once everything that followed from an event has happened: where each request is now.
    pub fn look(&mut self, places: &BTreeMap<Name, Place>) {
        for (name, open) in &mut self.open {
            open.place = places.get(name).copied().unwrap_or(Place::Nowhere);
        }
        self.expired.retain(|name| places.contains_key(name));
    }

    /// Whether a moment may last: nothing urgent waits that could go, nothing was forgotten.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn at_rest(&self) -> Result<(), Rule> {
        for Open { wish, place, .. } in self.open.values() {
            match *place {
                Place::Nowhere => return Err(Rule::Unanswered),
                Place::Waiting(line)
                    if wish.urgency == Urgency::System && self.could_go(line, wish.says) =>
                {
                    return Err(Rule::SystemWaited);
                }
                Place::Waiting(_) | Place::Flying(_) | Place::Resting => {}
            }
        }
        if self.places() > self.bounds.places_max {
            return Err(Rule::PlacesExceeded);
        }
        if self.is_over && !self.open.is_empty() {
            return Err(Rule::Unanswered);
        }
        Ok(())
    }

    /// Q1, Q8: whether a system request that waits on this connection need not: it could be sent, or
    /// the other connection would take it. What a leave follows stays with it (Q9).
    fn could_go(&self, line: Line, says: Says) -> bool {
        let [this, other] = [&self.lines[line as usize], &self.lines[line.other() as usize]];
        let would = other.is_ready && !other.is_throttled && !self.is_parked(line.other());
        let moves = would || this.is_throttled && !other.is_throttled && !other.must_rest;
        let at = |place: Place| self.open.values().filter(move |open| open.place == place);
        let follows = at(Place::Waiting(line)).any(|open| open.wish.says == Says::Leave)
            && at(Place::Flying(line)).any(|open| open.wish.says.is_heartbeat());
        let is_bound = says != Says::Nothing && follows;
        this.is_ready && !this.is_throttled || moves && !is_bound
    }

    /// Whether the broker may park the answers to what comes next.
    fn is_parked(&self, line: Line) -> bool {
        let records =
            |o: &Open| o.wish.urgency == Urgency::Records && o.place == Place::Flying(line);
        self.open.values().any(records)
    }

    /// What is not over, and what was wanted.
    pub fn open(&self) -> impl Iterator<Item = (Name, Wish, Place)> {
        self.open.iter().map(|(name, open)| (*name, open.wish, open.place))
    }

    /// Whether this one is not over.
    #[must_use]
    pub fn is_open(&self, name: Name) -> bool {
        self.open.contains_key(&name)
    }

    /// Whether the consumer is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether the broker does not read this connection.
    #[must_use]
    pub fn is_throttled(&self, line: Line) -> bool {
        self.lines[line as usize].is_throttled
    }

    /// Whether requests may go out on this connection.
    #[must_use]
    pub fn is_ready(&self, line: Line) -> bool {
        self.lines[line as usize].is_ready
    }

    /// Whether the next attempt must wait.
    #[must_use]
    pub fn must_rest(&self, line: Line) -> bool {
        self.lines[line as usize].must_rest
    }

    /// Gives requests other names, for a model that compares states.
    pub fn rename(&mut self, name: impl Fn(Name) -> Name) {
        let open = std::mem::take(&mut self.open).into_iter();
        self.open = open
            .map(|(old, mut open)| {
                open.behind = open.behind.into_iter().map(&name).collect();
                (name(old), open)
            })
            .collect();
        for flight in self.lines.iter_mut().flat_map(|seen| &mut seen.flights) {
            flight.names.iter_mut().for_each(|old| *old = name(*old));
        }
    }
}
