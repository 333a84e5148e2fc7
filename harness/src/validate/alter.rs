//! How much would be noticed: every single-event alteration of a run, and how many are refused.
//!
//! An alteration drops, doubles or changes one event, or swaps two neighbours. Some lead to another
//! run that is just as legal (an answer that says the same twice, two events that nobody can tell the
//! order of): those are rightly permitted, so that the share is never all.

use super::run::{Answer, Entry, Event, Kind, Run};
use super::{Frontier, Report, Verdict};
use evenkeel_core::commit::Offsets;
use evenkeel_spec::words::{
    ErrorCode, Offset, Partitions, TopicId, TopicIdPartition, TopicName, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

/// What was altered, and what became of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sensitivity {
    /// Alterations by their kind: how many were tried and how many refused.
    pub by_kind: BTreeMap<&'static str, Tried>,
    /// Alterations that were permitted, in words.
    pub permitted: Vec<String>,
}

/// How many alterations of a kind were tried.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tried {
    /// All of them.
    pub tried: usize,
    /// Those that were refused.
    pub refused: usize,
    /// Those of which nothing is known, since they have too many explanations.
    pub gave_up: usize,
}

impl Sensitivity {
    /// All kinds together.
    #[must_use]
    pub fn total(&self) -> Tried {
        let mut total = Tried::default();
        for tried in self.by_kind.values() {
            total.add(*tried);
        }
        total
    }

    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        for (kind, tried) in other.by_kind {
            self.by_kind.entry(kind).or_default().add(tried);
        }
        self.permitted.extend(other.permitted);
    }
}

impl Tried {
    fn add(&mut self, other: Self) {
        self.tried += other.tried;
        self.refused += other.refused;
        self.gave_up += other.gave_up;
    }

    /// One more, that ended so; `None`: it is permitted.
    fn note(&mut self, ended: Option<&Verdict>) {
        self.tried += 1;
        match ended {
            Some(Verdict::Refused(_)) => self.refused += 1,
            Some(Verdict::GaveUp { .. }) => self.gave_up += 1,
            Some(Verdict::Permitted) | None => {}
        }
    }

    /// The share that was refused, of 100.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share to print")]
    pub fn percent(self) -> f64 {
        if self.tried == 0 { 0.0 } else { 100.0 * self.refused as f64 / self.tried as f64 }
    }
}

/// Tries every single-event alteration of a run that is permitted.
///
/// # Errors
/// The run itself is not permitted.
pub fn sensitivity(run: &Run) -> Result<Sensitivity, Report> {
    let mut frontier = Frontier::new(run);
    let mut sensitivity = Sensitivity::default();
    for (at, entry) in run.entries.iter().enumerate() {
        let rest = &run.entries[at + 1..];
        for (kind, events) in alterations(entry, rest.first()) {
            let skipped = usize::from(kind == "swap");
            let altered = events.iter().chain(&rest[skipped..]);
            let mut other = frontier.clone();
            let ended = altered.into_iter().find_map(|entry| other.on(entry).err());
            sensitivity.by_kind.entry(kind).or_default().note(ended.as_ref());
            if ended.is_none() {
                let events: Vec<_> = events.iter().map(|entry| &entry.event).collect();
                let line = entry.line;
                sensitivity.permitted.push(format!("line {line}, {kind}: {events:?}"));
            }
        }
        if frontier.on(entry).is_err() {
            return Err(super::validate(run));
        }
    }
    Ok(sensitivity)
}

/// What could stand in the place of `entry` (and, for a swap, of the one after it).
fn alterations(entry: &Entry, after: Option<&Entry>) -> Vec<(&'static str, Vec<Entry>)> {
    let mut all = vec![("drop", Vec::new()), ("double", vec![entry.clone(), entry.clone()])];
    if let Some(after) = after.filter(|after| after.event != entry.event) {
        all.push(("swap", vec![after.clone(), entry.clone()]));
    }
    let changed = changes(&entry.event).into_iter();
    let changed = changed.map(|(kind, event)| (kind, vec![Entry { event, ..entry.clone() }]));
    all.extend(changed);
    all
}

/// The same event with one field changed.
fn changes(event: &Event) -> Vec<(&'static str, Event)> {
    let mut all = Vec::new();
    let mut change = |kind: &'static str, act: &dyn Fn(&mut Event)| {
        let mut changed = event.clone();
        act(&mut changed);
        if changed != *event {
            all.push((kind, changed));
        }
    };
    for add in [1, -1] {
        change("epoch", &|event| {
            if let Some(epoch) = epoch_of(event) {
                *epoch = epoch.saturating_add_signed(add);
            }
        });
        change("taken", &|event| match event {
            Event::Poll { taken }
            | Event::Unsubscribe { taken, .. }
            | Event::Close { taken }
            | Event::Commit { taken, .. } => *taken = taken.saturating_add_signed(add.into()),
            _ => {}
        });
    }
    change("less partitions", &|event| {
        if let Some(partitions) = ids_of(event) {
            partitions.pop_first();
        }
        if let Some(partitions) = names_of(event) {
            partitions.pop_first();
        }
    });
    change("more partitions", &|event| {
        if let Some(partitions) = ids_of(event) {
            let topic = partitions.first().map_or(TopicId::from_u32(1), |first| first.topic);
            partitions.insert(TopicIdPartition::new(topic, 1_000));
        }
        if let Some(partitions) = names_of(event) {
            let topic = partitions.first().map_or("t".into(), |first| first.topic.clone());
            partitions.insert(TopicPartition { topic, partition: 1_000 });
        }
    });
    change("offset", &|event| {
        if let Some(committed) = offsets_of(event).and_then(|o| o.values_mut().next()) {
            committed.offset = Offset(committed.offset.0 + 1);
        }
    });
    change("less offsets", &|event| {
        if let Some(offsets) = offsets_of(event) {
            offsets.pop_first();
        }
    });
    change("outcome", &turn);
    change("member", &|event| match event {
        Event::Heartbeat { member, .. }
        | Event::OffsetCommit { member: Some(member), .. }
        | Event::Assignment { member: Some(member), .. } => member.push('x'),
        _ => {}
    });
    change("terms", &|event| match event {
        Event::Subscribe { topics, .. } | Event::Heartbeat { topics: Some(topics), .. } => {
            topics.insert(TopicName::from("another"));
        }
        _ => {}
    });
    change("request", &|event| match event {
        Event::Coordinator { request, .. }
        | Event::HeartbeatAnswer { request, .. }
        | Event::OffsetCommitAnswer { request, .. } => *request += 1,
        _ => {}
    });
    all
}

/// What went well did not, and the other way round.
fn turn(event: &mut Event) {
    let unknown = Some(ErrorCode::UnknownServerError.number());
    match event {
        Event::CallbackEnded { ok, .. } => *ok = !*ok,
        Event::Closed { left } => *left = !*left,
        Event::Subscribe { listens, .. } => *listens = !*listens,
        Event::Coordinator { node, error, .. } => {
            (*node, *error) = if node.is_some() { (None, unknown) } else { (Some(1), None) };
        }
        Event::HeartbeatAnswer { epoch, interval_ms, assignment, error, .. } => {
            if error.take().is_some() {
                (*epoch, *interval_ms) = (Some(1), Some(5_000));
            } else {
                let fenced = Some(ErrorCode::FencedMemberEpoch.number());
                (*epoch, *interval_ms, *assignment, *error) = (None, None, None, fenced);
            }
        }
        Event::OffsetCommitAnswer { results: Some(results), .. } => {
            for code in results.values_mut() {
                *code = if *code == 0 { ErrorCode::StaleMemberEpoch.number() } else { 0 };
            }
        }
        Event::Answered { result, error, .. } => {
            *result = match result {
                Answer::Done => Answer::OwnershipEnded,
                Answer::Left => Answer::LeftUnconfirmed,
                Answer::LeftUnconfirmed => Answer::Left,
                _ => Answer::Done,
            };
            *error = None;
        }
        Event::Heartbeat { kind, epoch, .. } => {
            (*kind, *epoch) = match kind {
                Kind::Join => (Kind::Stay, Some(1)),
                Kind::Stay => (Kind::Join, None),
                Kind::Leave => (Kind::Stay, Some(1)),
            };
        }
        _ => {}
    }
}

fn epoch_of(event: &mut Event) -> Option<&mut u32> {
    match event {
        Event::Heartbeat { epoch, .. }
        | Event::HeartbeatAnswer { epoch, .. }
        | Event::OffsetCommit { epoch, .. }
        | Event::Assignment { epoch, .. } => epoch.as_mut(),
        _ => None,
    }
}

fn ids_of(event: &mut Event) -> Option<&mut Partitions> {
    match event {
        Event::Heartbeat { owned, .. } => owned.as_mut(),
        Event::HeartbeatAnswer { assignment, .. } => assignment.as_mut(),
        _ => None,
    }
}

fn names_of(event: &mut Event) -> Option<&mut BTreeSet<TopicPartition>> {
    match event {
        Event::Callback { partitions, .. }
        | Event::Withdrawn { partitions }
        | Event::Assignment { partitions, .. }
        | Event::Lost { partitions, .. } => Some(partitions),
        _ => None,
    }
}

fn offsets_of(event: &mut Event) -> Option<&mut Offsets> {
    match event {
        Event::OffsetCommit { offsets, .. } | Event::Records { next: offsets, .. } => Some(offsets),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Tried, Verdict};

    #[test]
    fn an_alteration_with_too_many_explanations_counts_neither_as_refused_nor_as_permitted() {
        let mut tried = Tried::default();
        tried.note(Some(&Verdict::GaveUp { line: 2, explanations: 20_001 }));
        tried.note(None);
        assert_eq!(tried, Tried { tried: 2, refused: 0, gave_up: 1 });
    }
}
