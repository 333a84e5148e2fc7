//! What an onlooker makes of one run: `evenkeel_spec::rules::Conduct`, which knows no machine.
//!
//! Decides which line is which of the onlooker's events. The recorder shows the assignment after the
//! requests that follow from it, so that each order in which one input may have led to what follows
//! it is tried: a rule is broken when it is broken in all of them. Where the onlooker would need to
//! know what no line tells, it says from where on it does not judge ([`Judged::until`]); a rule that
//! needs timers or the coordinator's records (R8, G1 to G6, O7, M11) is not judged from one run.

use super::Unjudged;
use super::run::{Answer, Entry, Event, Kind, Method, Reason, Run, Waited};
use super::wire::{About, Wire};
use evenkeel_core::commit::Offsets;
use evenkeel_core::disposition;
use evenkeel_spec::rules::{Conduct, Event as Seen, Rule, Said, Standing, Told};
use evenkeel_spec::words::{
    Epoch, ErrorCode, Heartbeat, HeartbeatEpoch, MemberId, Offset, Partitions, TopicIdPartition,
    TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What an onlooker makes of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// The rule that is broken, and the event that breaks it.
    pub broken: Option<(Rule, Entry)>,
    /// The line from which on it is not judged, and why.
    pub until: Option<(usize, Unjudged)>,
}

/// Judges a run by the rules of one consumer alone, as far as it is well formed: no machine is asked.
#[must_use]
pub fn judge(run: &Run) -> Judged {
    let mut onlooker = Onlooker { sights: vec![Sight::default()], ..Onlooker::default() };
    let mut judged = Judged::default();
    for (at, entry) in run.entries.iter().enumerate() {
        match onlooker.on(entry, &run.entries[at + 1..]) {
            Ok(()) => {}
            Err(Stop::Broken(rule)) => {
                judged.broken = Some((rule, entry.clone()));
                return judged;
            }
            Err(Stop::Unjudged(why)) => {
                judged.until = Some((entry.line, why));
                return judged;
            }
        }
    }
    judged
}

enum Stop {
    Broken(Rule),
    Unjudged(Unjudged),
}

/// One order of what happened.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Sight {
    conduct: Conduct,
    /// How many of the assignments that are shown next have happened already.
    ahead: usize,
}

#[derive(Default)]
struct Onlooker {
    wire: Wire,
    sights: Vec<Sight>,
    /// Requests that the onlooker was told of, and what they carry.
    asked: BTreeMap<u32, Asked>,
    delivered: u64,
    listens: bool,
    /// Calls of unsubscribe and commit that are to be answered.
    unsubscribes: BTreeSet<u64>,
    commits: BTreeSet<u64>,
    /// The application has said itself where it goes on: O1 and O9 are about what was returned.
    is_steered: bool,
    /// The membership was given up: whether the time to leave has ended cannot be seen.
    gave_up: bool,
    /// What follows may have been ordered earlier, and have waited for the connection.
    is_late: bool,
    /// Such requests wait.
    heartbeat_waits: bool,
    commit_waits: bool,
}

enum Asked {
    Heartbeat,
    Leave,
    Commit(BTreeMap<TopicIdPartition, Offset>),
}

impl Onlooker {
    fn on(&mut self, entry: &Entry, rest: &[Entry]) -> Result<(), Stop> {
        let ill_formed = |_| Stop::Unjudged(Unjudged::IllFormed);
        let about = self.wire.on(&entry.event).map_err(ill_formed)?;
        if self.wire.has_namesakes() {
            return Err(Stop::Unjudged(Unjudged::Namesakes));
        }
        let event = &entry.event;
        if !event.is_output() {
            self.is_late = false;
        }
        if let Event::Assignment { partitions, .. } = event {
            self.show(partitions)?;
        } else {
            if event.is_output() {
                self.look_ahead(entry, rest);
            }
            self.take_note(event, &about, rest)?;
        }
        if rest.first().is_none_or(|next| !next.event.is_output()) {
            self.each(|conduct| conduct.at_rest())?;
        }
        Ok(())
    }

    /// Each sight goes on; those in which a rule is broken are none.
    fn each(&mut self, note: impl Fn(&mut Conduct) -> Result<(), Rule>) -> Result<(), Stop> {
        let mut broken = None;
        let mut next: Vec<Sight> = Vec::new();
        for mut sight in std::mem::take(&mut self.sights) {
            match note(&mut sight.conduct) {
                Ok(()) if next.contains(&sight) => {}
                Ok(()) => next.push(sight),
                Err(rule) => broken = Some(rule),
            }
        }
        self.sights = next;
        match broken {
            Some(rule) if self.sights.is_empty() => Err(Stop::Broken(rule)),
            _ => Ok(()),
        }
    }

    fn see(&mut self, event: &Seen<'_>) -> Result<(), Stop> {
        self.each(|conduct| conduct.on(event))
    }

    /// The assignment is shown, where it has not happened before.
    fn show(&mut self, names: &BTreeSet<TopicPartition>) -> Result<(), Stop> {
        let ids = self.ids(names)?;
        let listens = self.listens;
        let (ahead, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sights).into_iter().partition(|sight| sight.ahead > 0);
        self.sights = waiting;
        let shown = self.each(|conduct| assign(conduct, &ids, listens));
        let ahead = ahead.into_iter().map(|sight| Sight { ahead: sight.ahead - 1, ..sight });
        self.sights.extend(ahead);
        if self.sights.is_empty() { shown } else { Ok(()) }
    }

    /// Adds the sights in which assignments that the same input leads to have happened already.
    fn look_ahead(&mut self, entry: &Entry, rest: &[Entry]) {
        let same = rest.iter().take_while(|next| next.event.is_output());
        let shown = same.filter(|next| next.at_ms == entry.at_ms);
        let shown = shown.filter_map(|next| match &next.event {
            Event::Assignment { partitions, .. } => self.ids(partitions).ok(),
            // Nobody is shown any more that nothing is assigned.
            Event::Closed { .. } => Some(Partitions::new()),
            _ => None,
        });
        let shown: Vec<_> = shown.take(AHEAD_MAX).collect();
        let mut at = 0;
        while let Some(sight) = self.sights.get(at) {
            let mut next = sight.clone();
            if let Some(ids) = shown.get(sight.ahead) {
                next.ahead += 1;
                let is_legal = assign(&mut next.conduct, ids, self.listens).is_ok();
                if is_legal && !self.sights.contains(&next) {
                    self.sights.push(next);
                }
            }
            at += 1;
        }
    }

    fn ids(&self, names: &BTreeSet<TopicPartition>) -> Result<Partitions, Stop> {
        let ids = names.iter().map(|name| self.wire.by_id(name)).collect::<Option<_>>();
        ids.ok_or(Stop::Unjudged(Unjudged::Nameless))
    }

    fn take_note(&mut self, event: &Event, about: &About, rest: &[Entry]) -> Result<(), Stop> {
        match event {
            Event::Subscribe { .. }
            | Event::Unsubscribe { .. }
            | Event::Poll { .. }
            | Event::PollEnded
            | Event::Commit { .. }
            | Event::Seek { .. }
            | Event::Close { .. }
            | Event::Drop
            | Event::Abandon { .. } => self.on_application(event),
            Event::Ended { .. } | Event::Disconnect { .. } => {
                about.lost.iter().try_for_each(|request| self.on_lost(*request))
            }
            Event::HeartbeatAnswer { request, error, .. } => {
                let said = error.map_or(Said::Accepted, refused);
                self.on_said(*request, said)
            }
            Event::OffsetCommitAnswer { request, results, .. } => {
                let Some(Asked::Commit(mut offsets)) = self.asked.remove(request) else {
                    return Ok(());
                };
                let is_ok = |p: &_| results.as_ref().is_some_and(|r| r.get(p) == Some(&0));
                offsets.retain(|partition, _| is_ok(partition));
                self.on_commit_over(&offsets)
            }
            Event::Waits { request: Waited::Heartbeat } => {
                self.heartbeat_waits = true;
                Ok(())
            }
            Event::Waits { request: Waited::Commit } => {
                self.commit_waits = true;
                Ok(())
            }
            Event::Unsent { request: Waited::Heartbeat } => {
                self.heartbeat_waits = false;
                Ok(())
            }
            Event::Unsent { request: Waited::Commit } | Event::Recalled => {
                self.commit_waits = false;
                Ok(())
            }
            Event::Heartbeat { .. } => self.on_heartbeat(event, about),
            Event::OffsetCommit { request, epoch: Some(epoch), offsets, .. } => {
                self.is_late |= std::mem::take(&mut self.commit_waits);
                self.on_commit(*request, Epoch(*epoch), offsets)
            }
            Event::Callback { method, partitions, .. } => {
                let told = match method {
                    Method::Assigned => Told::Assigned,
                    Method::Revoked => Told::Revoked,
                    Method::Lost => Told::Lost,
                };
                let partitions = self.ids(partitions)?;
                self.see(&Seen::Called(told, &partitions))
            }
            Event::CallbackEnded { ok, .. } => self.on_callback_ended(*ok),
            Event::Records { number, next, .. } => self.on_records(*number, next, rest),
            Event::PollFailed { .. } => self.see(&Seen::Exited),
            Event::Lost { reason, .. } => self.on_membership_lost(*reason),
            Event::Truncated { .. } => {
                self.is_steered = true;
                Ok(())
            }
            Event::Answered { call, result, .. } => self.on_answered(*call, *result),
            Event::Closed { left } => self.on_left(*left),
            Event::Connect { .. }
            | Event::Ready { .. }
            | Event::Throttled { .. }
            | Event::Metadata { .. }
            | Event::Lookup { .. }
            | Event::Coordinator { .. }
            | Event::OffsetCommit { epoch: None, .. }
            | Event::OffsetFetch { .. }
            | Event::OffsetFetchAnswer { .. }
            | Event::Withdrawn { .. }
            | Event::Assignment { .. } => Ok(()),
        }
    }

    fn on_application(&mut self, event: &Event) -> Result<(), Stop> {
        match event {
            Event::Subscribe { listens, .. } => {
                let holds = self.sights.iter().any(|sight| !sight.conduct.held.is_empty());
                if !self.unsubscribes.is_empty() || (holds && *listens != self.listens) {
                    return Err(Stop::Unjudged(Unjudged::Overlaps));
                }
                self.listens = *listens;
                self.see(&Seen::Subscribed { listens: *listens })
            }
            Event::Unsubscribe { call, taken } => {
                self.unsubscribes.insert(*call);
                self.see(&Seen::Entered { seen: *taken == self.delivered, polls: false })
            }
            Event::Poll { taken } => {
                self.see(&Seen::Entered { seen: *taken == self.delivered, polls: true })
            }
            Event::Close { taken } => {
                self.see(&Seen::Entered { seen: *taken == self.delivered, polls: false })
            }
            Event::PollEnded => self.see(&Seen::Exited),
            Event::Commit { call, taken, offsets } => {
                self.commits.insert(*call);
                self.is_steered |= offsets.is_some();
                let is_all = offsets.is_none() && *taken == self.delivered;
                if is_all { self.see(&Seen::CommitAsked) } else { Ok(()) }
            }
            Event::Seek { .. } => {
                self.is_steered = true;
                Ok(())
            }
            Event::Drop => Err(Stop::Unjudged(Unjudged::Dropped)),
            Event::Abandon { call } => {
                self.unsubscribes.remove(call);
                if self.commits.remove(call) { self.see(&Seen::CommitFailed) } else { Ok(()) }
            }
            other => unreachable!("{other:?} is none of the application's"),
        }
    }

    fn on_answered(&mut self, call: u64, result: Answer) -> Result<(), Stop> {
        if self.commits.remove(&call) && result != Answer::Done {
            return self.see(&Seen::CommitFailed);
        }
        if !self.unsubscribes.remove(&call) {
            return Ok(());
        }
        match result {
            Answer::Left => self.on_left(true),
            Answer::LeftUnconfirmed => self.on_left(false),
            _ => Ok(()),
        }
    }

    fn on_left(&mut self, clean: bool) -> Result<(), Stop> {
        let is_excused = self.gave_up;
        self.each(|conduct| match conduct.on(&Seen::Left { clean }) {
            Err(Rule::LeftUntold) if is_excused => Ok(()),
            said => said,
        })
    }

    fn on_membership_lost(&mut self, reason: Reason) -> Result<(), Stop> {
        if !matches!(reason, Reason::Fenced | Reason::Fatal) {
            self.gave_up = true;
            return self.see(&Seen::GaveUp);
        }
        if self.sights.iter().any(|sight| sight.conduct.standing() == Standing::In) {
            return Err(Stop::Unjudged(Unjudged::UnknownError));
        }
        Ok(())
    }

    /// A callback that was given (C6): what it was told may be returned from.
    fn on_callback_ended(&mut self, ok: bool) -> Result<(), Stop> {
        self.each(|conduct| {
            let is_assigned = conduct.telling() == Some(Told::Assigned);
            conduct.on(&Seen::Returned(ok))?;
            if is_assigned && ok { open(conduct) } else { Ok(()) }
        })
    }

    /// Of a delivery that is never taken, or withdrawn before, nothing was returned.
    fn on_records(&mut self, number: u64, next: &Offsets, rest: &[Entry]) -> Result<(), Stop> {
        self.delivered = number;
        let mut withdrawn = BTreeSet::new();
        let mut is_taken = false;
        for later in rest {
            match &later.event {
                Event::Withdrawn { partitions } => withdrawn.extend(partitions),
                Event::Poll { taken }
                | Event::Unsubscribe { taken, .. }
                | Event::Close { taken }
                | Event::Commit { taken, .. }
                    if *taken >= number =>
                {
                    is_taken = true;
                    break;
                }
                _ => {}
            }
        }
        let is_withdrawn = |id: &TopicIdPartition| {
            self.wire.by_name([id]).is_none_or(|n| n.iter().any(|name| withdrawn.contains(name)))
        };
        let returned: Vec<_> =
            next.iter().filter(|(id, _)| is_taken && !is_withdrawn(id)).collect();
        self.each(|conduct| {
            for (id, committed) in &returned {
                conduct.on(&Seen::RecordsReturned(**id, committed.offset))?;
                // One delivery has records of several partitions.
                conduct.on(&Seen::Entered { seen: false, polls: true })?;
            }
            conduct.on(&Seen::Exited)
        })
    }

    fn on_heartbeat(&mut self, event: &Event, about: &About) -> Result<(), Stop> {
        let Event::Heartbeat { request, kind, epoch, rebalance_timeout_ms, topics, owned, .. } =
            event
        else {
            return Ok(());
        };
        let number = about.member.and_then(|member| u32::try_from(member).ok()).unwrap_or(u32::MAX);
        let heartbeat = Heartbeat {
            member: MemberId(number),
            epoch: match kind {
                Kind::Join => HeartbeatEpoch::Join,
                Kind::Stay => HeartbeatEpoch::Stay(Epoch(epoch.unwrap_or_default())),
                Kind::Leave => HeartbeatEpoch::Leave,
            },
            rebalance_timeout_ms: *rebalance_timeout_ms,
            subscription: topics.clone().map(Arc::new),
            pattern: None,
            assignor: None,
            owned: owned.clone(),
        };
        let asked = if *kind == Kind::Leave { Asked::Leave } else { Asked::Heartbeat };
        self.asked.insert(*request, asked);
        self.is_late |= std::mem::take(&mut self.heartbeat_waits);
        let gave_up = self.gave_up;
        let said = self.each(|conduct| {
            let before = conduct.clone();
            match conduct.on(&Seen::HeartbeatSent(&heartbeat)) {
                Err(Rule::LeftUntold) if gave_up => {
                    *conduct = before;
                    conduct.on(&Seen::LeaveTimeUp)?;
                    conduct.on(&Seen::HeartbeatSent(&heartbeat))
                }
                said => said,
            }
        });
        self.gave_up &= *kind != Kind::Join;
        self.unless_late(said)
    }

    fn on_commit(&mut self, request: u32, epoch: Epoch, offsets: &Offsets) -> Result<(), Stop> {
        let is_steered = self.is_steered;
        let said =
            self.each(|conduct| {
                let is_held = offsets.keys().all(|partition| conduct.held.contains(partition));
                match conduct.on(&Seen::CommitSent(offsets, epoch)) {
                    Err(
                        Rule::CommittedUngiven | Rule::CommittedUnreleased | Rule::CommitLowered,
                    ) if is_steered && is_held => Ok(()),
                    said => said,
                }
            });
        let offsets = offsets.iter().map(|(p, committed)| (*p, committed.offset)).collect();
        self.asked.insert(request, Asked::Commit(offsets));
        self.unless_late(said)
    }

    /// What waited for its connection tells what was true before.
    fn unless_late(&self, said: Result<(), Stop>) -> Result<(), Stop> {
        match said {
            // However late it goes out: these are about the requests alone.
            Err(Stop::Broken(
                Rule::JoinIncomplete | Rule::HeartbeatsInFlight | Rule::CommitsInFlight,
            )) => said,
            Err(Stop::Broken(_)) if self.is_late => Err(Stop::Unjudged(Unjudged::Late)),
            said => said,
        }
    }

    fn on_said(&mut self, request: u32, said: Said) -> Result<(), Stop> {
        match self.asked.remove(&request) {
            Some(Asked::Heartbeat) => self.see(&Seen::HeartbeatOver(said)),
            Some(Asked::Leave) => self.see(&Seen::LeaveOver(said)),
            Some(Asked::Commit(_)) | None => Ok(()),
        }
    }

    fn on_lost(&mut self, request: u32) -> Result<(), Stop> {
        if let Some(Asked::Commit(_)) = self.asked.get(&request) {
            self.asked.remove(&request);
            return self.on_commit_over(&BTreeMap::new());
        }
        self.on_said(request, Said::Lost)
    }

    fn on_commit_over(
        &mut self,
        accepted: &BTreeMap<TopicIdPartition, Offset>,
    ) -> Result<(), Stop> {
        let is_steered = self.is_steered;
        self.each(|conduct| match conduct.on(&Seen::CommitOver(accepted)) {
            Err(Rule::CommitLowered) if is_steered => Ok(()),
            said => said,
        })
    }
}

/// The application is shown that exactly these are assigned.
fn assign(conduct: &mut Conduct, ids: &Partitions, listens: bool) -> Result<(), Rule> {
    let released = &conduct.held - ids;
    let given = ids - &conduct.held;
    if !released.is_empty() {
        conduct.on(&Seen::Released(&released))?;
    }
    if !given.is_empty() {
        conduct.on(&Seen::Given(&given))?;
    }
    if listens { Ok(()) } else { open(conduct) }
}

/// Whatever may be is opened: when exactly cannot be seen.
fn open(conduct: &mut Conduct) -> Result<(), Rule> {
    for partition in conduct.held.clone() {
        let mut opened = conduct.clone();
        if opened.on(&Seen::Opened(&Partitions::from([partition]))).is_ok() {
            *conduct = opened;
        }
    }
    Ok(())
}

/// What an onlooker makes of a refused heartbeat. What an error means is a table, not a machine.
fn refused(code: i16) -> Said {
    use disposition::Verdict;
    match ErrorCode::from_number(code).map(disposition::heartbeat) {
        Some(Verdict::Rejoin { .. }) => Said::Ended,
        Some(Verdict::Fatal) => Said::Barred,
        Some(_) | None => Said::Refused,
    }
}

/// How many assignments that one input leads to are looked at ahead: it leads to two at most, one
/// before a callback and one after it.
const AHEAD_MAX: usize = 2;
