//! What the runs of a group say of grants and holdings, on one axis of time.
//!
//! What begins is put off by the doubt about the dates, what ends is not: where two things overlap
//! here, they did.

use super::super::run::{Event, Kind, Run};
use super::super::wire::Wire;
use evenkeel_spec::rules::{Grant, World};
use evenkeel_spec::words::{Epoch, MemberId, Partitions, TopicIdPartition};
use std::collections::{BTreeMap, BTreeSet};

/// The runs of a group.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    pub(super) memberships: usize,
    pub(super) changes: Vec<Change>,
    pub(super) grants: Vec<Span>,
    pub(super) told: Vec<Told>,
    pub(super) commits: Vec<Commit>,
    /// The member id on the wire of each membership.
    names: Vec<String>,
    doubt_ms: u64,
}

/// One thing that changes, and the event that shows it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) at_ms: u64,
    pub(super) member: MemberId,
    pub(super) run: usize,
    pub(super) entry: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// It is a member, at this epoch.
    Member(Epoch),
    Gone,
    Granted(TopicIdPartition, Epoch),
    Ungranted(TopicIdPartition),
    Held(TopicIdPartition),
    LetGo(TopicIdPartition),
}

/// A partition that a member has for a while, for certain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) member: MemberId,
    pub(super) partition: TopicIdPartition,
    pub(super) since: Epoch,
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
    pub(super) run: usize,
    /// The event with which it begins.
    pub(super) entry: usize,
    /// The event with which it ends.
    last: usize,
}

/// An answer that says what a member has at an epoch.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) member: MemberId,
    pub(super) epoch: Epoch,
    pub(super) partitions: Partitions,
    pub(super) run: usize,
    pub(super) entry: usize,
}

/// A commit of which something was accepted.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) member: MemberId,
    pub(super) epoch: Epoch,
    pub(super) accepted: Partitions,
    pub(super) sent_ms: u64,
    pub(super) answered_ms: u64,
    pub(super) run: usize,
    pub(super) entry: usize,
}

impl Timeline {
    pub(super) fn of(runs: &[&Run], doubt_ms: u64) -> Self {
        let mut all = Self { doubt_ms, ..Self::default() };
        for (number, run) in runs.iter().enumerate() {
            Reader::new(&mut all, number, run).read(run);
        }
        all.changes.sort_by_key(|change| (change.at_ms, change.what.begins()));
        all
    }

    /// Its member id on the wire.
    pub(super) fn name_of(&self, member: MemberId) -> &str {
        let at = usize::try_from(member.0).unwrap_or(usize::MAX);
        self.names.get(at).map_or("", String::as_str)
    }

    /// Another member that has the partition at this date.
    pub(super) fn holder(
        &self,
        partition: TopicIdPartition,
        at_ms: u64,
        than: MemberId,
    ) -> Option<&Span> {
        self.grants.iter().find(|grant| {
            let is_then = grant.from_ms <= at_ms && at_ms <= grant.until_ms;
            grant.partition == partition && grant.member != than && is_then
        })
    }
}

impl What {
    /// At one date what ends comes first, and a grant before it is taken.
    fn begins(&self) -> u8 {
        match self {
            Self::LetGo(_) => 0,
            Self::Ungranted(_) => 1,
            Self::Gone => 2,
            Self::Member(_) => 3,
            Self::Granted(..) => 4,
            Self::Held(_) => 5,
        }
    }
}

/// The grant of a member, which there is from now on.
pub(super) fn grant(world: &mut World, member: MemberId) -> &mut Grant {
    world.grants.entry(member).or_insert_with(|| Grant {
        epoch: Epoch(0),
        previous: None,
        assigned: BTreeMap::new(),
        revoking: Partitions::new(),
        subscribed: BTreeSet::new(),
    })
}

/// Reads one run.
struct Reader<'a> {
    all: &'a mut Timeline,
    run: usize,
    started_ms: u64,
    wire: Wire,
    asked: BTreeMap<u32, Asked>,
    membership: Option<Membership>,
    held: BTreeMap<TopicIdPartition, Span>,
}

/// A request of the group.
enum Asked {
    /// In which membership, when, and what it said to own.
    Heartbeat(MemberId, u64, Option<Partitions>),
    /// In whose name, at which epoch, when.
    Commit(String, Epoch, u64),
}

/// From a join to what ends it.
struct Membership {
    member: MemberId,
    /// When the last heartbeat went out that was accepted.
    alive_ms: u64,
    alive_entry: usize,
    /// What the last answer assigned.
    assigned: Partitions,
    /// What it said to own last.
    owned: Partitions,
    /// What it may hold by the coordinator's records.
    grants: BTreeMap<TopicIdPartition, Span>,
    /// Grants that ended before the membership.
    over: Vec<Span>,
    /// When it was told which epoch.
    epochs: Vec<(u64, Epoch, usize)>,
}

impl<'a> Reader<'a> {
    fn new(all: &'a mut Timeline, number: usize, run: &Run) -> Self {
        Self {
            all,
            run: number,
            started_ms: run.header.started_ms.unwrap_or_default(),
            wire: Wire::default(),
            asked: BTreeMap::new(),
            membership: None,
            held: BTreeMap::new(),
        }
    }

    /// As far as it is well formed.
    fn read(mut self, run: &Run) {
        let mut last = (self.started_ms, 0);
        for (at, entry) in run.entries.iter().enumerate() {
            let ms = self.started_ms.saturating_add(entry.at_ms);
            last = (ms, at);
            let about = self.wire.on(&entry.event);
            if about.is_err() || self.wire.has_namesakes() {
                break;
            }
            self.on(&entry.event, ms, at);
        }
        self.end_membership(last.0, last.1);
        for (_, span) in std::mem::take(&mut self.held) {
            self.hold(Span { until_ms: last.0, last: last.1, ..span });
        }
    }

    fn on(&mut self, event: &Event, ms: u64, at: usize) {
        match event {
            Event::Heartbeat { request, member, kind, owned, .. } => {
                self.on_heartbeat((*request, *kind), member, owned.as_ref(), (ms, at));
            }
            Event::HeartbeatAnswer {
                request, epoch: Some(epoch), assignment, error: None, ..
            } => {
                self.on_answer(*request, Epoch(*epoch), assignment.as_ref(), (ms, at));
            }
            Event::OffsetCommit { request, member: Some(member), epoch: Some(epoch), .. } => {
                let asked = Asked::Commit(member.clone(), Epoch(*epoch), ms);
                self.asked.insert(*request, asked);
            }
            Event::OffsetCommitAnswer { request, results: Some(results), .. } => {
                let accepted = results.iter().filter(|(_, code)| **code == 0).map(|(p, _)| *p);
                self.on_committed(*request, accepted.collect(), (ms, at));
            }
            Event::Assignment { partitions, .. } => {
                let ids: Partitions =
                    partitions.iter().filter_map(|name| self.wire.by_id(name)).collect();
                self.on_assignment(&ids, (ms, at));
            }
            Event::Closed { .. } => self.on_assignment(&Partitions::new(), (ms, at)),
            _ => {}
        }
    }

    fn on_heartbeat(
        &mut self,
        (request, kind): (u32, Kind),
        name: &str,
        owned: Option<&Partitions>,
        (ms, at): (u64, usize),
    ) {
        if kind != Kind::Stay {
            self.end_membership(ms, at);
        }
        if kind == Kind::Join {
            let member = MemberId(u32::try_from(self.all.names.len()).unwrap_or(u32::MAX));
            self.all.names.push(name.to_owned());
            self.all.memberships += 1;
            self.membership = Some(Membership::new(member, ms, at));
        }
        let Some(membership) = &mut self.membership else { return };
        self.asked.insert(request, Asked::Heartbeat(membership.member, ms, owned.cloned()));
        if let Some(owned) = owned {
            membership.owned.clone_from(owned);
            membership.let_go(ms, at);
        }
    }

    fn on_answer(
        &mut self,
        request: u32,
        epoch: Epoch,
        assignment: Option<&Partitions>,
        (ms, at): (u64, usize),
    ) {
        let Some(Asked::Heartbeat(member, sent_ms, owned)) = self.asked.remove(&request) else {
            return;
        };
        let Some(membership) = self.membership.as_mut().filter(|m| m.member == member) else {
            return;
        };
        (membership.alive_ms, membership.alive_entry) = (sent_ms, at);
        membership.epochs.push((ms, epoch, at));
        if let Some(assignment) = assignment {
            membership.assigned.clone_from(assignment);
        }
        for &partition in &membership.assigned {
            let from_ms = ms.saturating_add(self.all.doubt_ms);
            let (since, until_ms, run) = (epoch, u64::MAX, self.run);
            let new =
                Span { member, partition, since, from_ms, until_ms, run, entry: at, last: at };
            membership.grants.entry(partition).or_insert(new);
        }
        if owned.is_some() {
            membership.let_go(ms, at);
        }
        let partitions = membership.assigned.clone();
        self.all.told.push(Told { member, epoch, partitions, run: self.run, entry: at });
    }

    fn on_committed(&mut self, request: u32, accepted: Partitions, (ms, at): (u64, usize)) {
        let Some(Asked::Commit(name, epoch, sent_ms)) = self.asked.remove(&request) else { return };
        let Some(number) = self.all.names.iter().rposition(|known| *known == name) else { return };
        self.all.commits.push(Commit {
            member: MemberId(u32::try_from(number).unwrap_or(u32::MAX)),
            epoch,
            accepted,
            sent_ms,
            answered_ms: ms.saturating_add(self.all.doubt_ms),
            run: self.run,
            entry: at,
        });
    }

    fn on_assignment(&mut self, ids: &Partitions, (ms, at): (u64, usize)) {
        let gone: Vec<_> = self.held.keys().filter(|p| !ids.contains(p)).copied().collect();
        for partition in gone {
            if let Some(span) = self.held.remove(&partition) {
                self.hold(Span { until_ms: ms, last: at, ..span });
            }
        }
        let Some(member) = self.membership.as_ref().map(|membership| membership.member) else {
            return;
        };
        for &partition in ids {
            let from_ms = ms.saturating_add(self.all.doubt_ms);
            let (since, until_ms, run) = (Epoch(0), u64::MAX, self.run);
            let new =
                Span { member, partition, since, from_ms, until_ms, run, entry: at, last: at };
            self.held.entry(partition).or_insert(new);
        }
    }

    fn hold(&mut self, span: Span) {
        if span.from_ms < span.until_ms {
            let partition = span.partition;
            self.change(span.member, (span.from_ms, span.entry), What::Held(partition));
            self.change(span.member, (span.until_ms, span.last), What::LetGo(partition));
        }
    }

    /// It is a member for certain until its last accepted heartbeat went out.
    fn end_membership(&mut self, ms: u64, at: usize) {
        let Some(membership) = self.membership.take() else { return };
        let (member, end) = (membership.member, membership.alive_ms.min(ms));
        let last = membership.alive_entry;
        let Some(&(first_ms, _, _)) = membership.epochs.first() else { return };
        if first_ms >= end {
            return;
        }
        for &(told_ms, epoch, entry) in &membership.epochs {
            if told_ms < end {
                self.change(member, (told_ms, entry), What::Member(epoch));
            }
        }
        self.change(member, (end, last), What::Gone);
        let open = membership.grants.into_values().map(|span| Span { last: at, ..span });
        for span in membership.over.into_iter().chain(open) {
            let span = Span { until_ms: span.until_ms.min(end), ..span };
            if span.from_ms < span.until_ms {
                let Span { partition, since, .. } = span;
                let begins = (span.from_ms, span.entry);
                self.change(member, begins, What::Granted(partition, since));
                self.change(member, (span.until_ms, span.last), What::Ungranted(partition));
                self.all.grants.push(span);
            }
        }
    }

    fn change(&mut self, member: MemberId, (at_ms, entry): (u64, usize), what: What) {
        self.all.changes.push(Change { at_ms, member, run: self.run, entry, what });
    }
}

impl Membership {
    fn new(member: MemberId, ms: u64, at: usize) -> Self {
        Self {
            member,
            alive_ms: ms,
            alive_entry: at,
            assigned: Partitions::new(),
            owned: Partitions::new(),
            grants: BTreeMap::new(),
            over: Vec::new(),
            epochs: Vec::new(),
        }
    }

    /// What is neither assigned nor owned any more may be another's.
    fn let_go(&mut self, ms: u64, at: usize) {
        let Self { assigned, owned, grants, over, .. } = self;
        grants.retain(|partition, span| {
            let is_kept = assigned.contains(partition) || owned.contains(partition);
            if !is_kept {
                over.push(Span { until_ms: ms, last: at, ..*span });
            }
            is_kept
        });
    }
}
