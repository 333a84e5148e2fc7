//! What may be demanded of a whole group, from its members' runs and without the coordinator's log.
//!
//! From what each member was answered follows what it was granted, and from what it did how long.
//! Two demands are made:
//!
//! * **Without clocks:** no two members are told to have a partition at one epoch (G5).
//! * **By the dates in the runs:** what follows is laid out as a [`World`], and each step of it must be
//!   permitted (G1, G2, G3, G5); a commit is accepted from nobody while all of the time another has
//!   the partition (O5).
//!
//! There is no false alarm by design: a grant counts only from when its member knows of it until the
//! last heartbeat that the member sent and the coordinator accepted, so that whoever was fenced,
//! killed, cut off or too slow is no member from then on; and what begins is put off by the doubt about
//! the clocks. What that leaves out is in spec/09.

mod timeline;

use super::run::{Entry, Run};
use evenkeel_spec::rules::{Rule, Violation, World};
use evenkeel_spec::words::{Epoch, MemberId, Owner, TopicIdPartition};
use std::collections::BTreeMap;
use std::fmt;
use timeline::{Change, Commit, Timeline, What};

/// What became of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupReport {
    /// How many memberships the runs have.
    pub memberships: usize,
    /// Whether every run says when it began, so that they could be held against each other by date.
    pub dated: bool,
    /// Steps of the group that were looked at.
    pub steps: usize,
    /// Whether it is permitted.
    pub verdict: GroupVerdict,
}

/// Whether the runs of a group are permitted together.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupVerdict {
    /// They are.
    Permitted,
    /// They are not.
    Refused(Box<Overlap>),
}

/// What two runs cannot both be.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlap {
    /// The rule that is broken.
    pub rule: Rule,
    /// The partition that it is about, if one.
    pub partition: Option<TopicIdPartition>,
    /// The run, by its number among those given, whose event breaks it.
    pub run: usize,
    /// That event.
    pub entry: Entry,
    /// The run that it collides with, and the line there, where it is known.
    pub other: Option<(usize, usize)>,
}

/// Holds the runs of one group against each other. `clocks_differ_by_ms` is how much the clocks of
/// their machines may differ; 0 where they are of one machine.
#[must_use]
pub fn validate_group(runs: &[&Run], clocks_differ_by_ms: u64) -> GroupReport {
    let timeline = Timeline::of(runs, clocks_differ_by_ms.saturating_add(ROUNDING_MS));
    let dated = runs.iter().all(|run| run.header.started_ms.is_some());
    let mut report = GroupReport {
        memberships: timeline.memberships,
        dated,
        steps: 0,
        verdict: GroupVerdict::Permitted,
    };
    let mut overlap = epochs(&timeline);
    if dated {
        let steps = &mut report.steps;
        overlap = overlap
            .or_else(|| worlds(&timeline, runs.len(), steps))
            .or_else(|| timeline.commits.iter().find_map(|commit| commits(&timeline, commit)));
    }
    if let Some(found) = overlap {
        let entry = runs[found.run].entries[found.entry].clone();
        let other = found.other.map(|(run, at)| (run, runs[run].entries[at].line));
        let Violation { rule, partition, .. } = found.violation;
        let overlap = Overlap { rule, partition, run: found.run, entry, other };
        report.verdict = GroupVerdict::Refused(Box::new(overlap));
    }
    report
}

struct Found {
    violation: Violation,
    run: usize,
    entry: usize,
    other: Option<(usize, usize)>,
}

/// G5: a partition at an epoch is one member's.
fn epochs(timeline: &Timeline) -> Option<Found> {
    let mut had: BTreeMap<(TopicIdPartition, Epoch), (MemberId, usize, usize)> = BTreeMap::new();
    for told in &timeline.told {
        for partition in &told.partitions {
            let this = (told.member, told.run, told.entry);
            let first = *had.entry((*partition, told.epoch)).or_insert(this);
            if timeline.name_of(first.0) != timeline.name_of(told.member) {
                let violation = Violation::of(Rule::EpochReused).at(*partition);
                let other = Some((first.1, first.2));
                return Some(Found { violation, run: told.run, entry: told.entry, other });
            }
        }
    }
    None
}

fn worlds(timeline: &Timeline, consumers: usize, steps: &mut usize) -> Option<Found> {
    let mut world = World { consumers: vec![Default::default(); consumers], ..World::default() };
    for change in &timeline.changes {
        let mut next = world.clone();
        apply(&mut next, change);
        *steps += 1;
        if let Err(violation) = world.permits(&next) {
            let other = violation.partition.and_then(|partition| {
                timeline.holder(partition, change.at_ms, change.member).map(|h| (h.run, h.entry))
            });
            let Change { run, entry, .. } = *change;
            return Some(Found { violation, run, entry, other });
        }
        world = next;
    }
    None
}

/// O5, as far as another member had the partition from before the commit until after its answer.
fn commits(timeline: &Timeline, commit: &Commit) -> Option<Found> {
    let Commit { member, epoch, .. } = *commit;
    let mut world = World::default();
    let mut taken = BTreeMap::new();
    for partition in &commit.accepted {
        let others = timeline.grants.iter().filter(|grant| {
            grant.partition == *partition
                && timeline.name_of(grant.member) != timeline.name_of(member)
                && grant.from_ms <= commit.sent_ms
                && commit.answered_ms <= grant.until_ms
        });
        for other in others {
            timeline::grant(&mut world, other.member).assigned.insert(*partition, other.since);
            taken.insert(*partition, Ok(()));
        }
    }
    let violation = world.permits_commit(Owner { member, epoch }, &taken).err()?;
    let at = violation.partition?;
    let holder = timeline.grants.iter().find(|g| {
        g.partition == at && g.from_ms <= commit.sent_ms && commit.answered_ms <= g.until_ms
    });
    let other = holder.map(|grant| (grant.run, grant.entry));
    Some(Found { violation, run: commit.run, entry: commit.entry, other })
}

fn apply(world: &mut World, change: &Change) {
    let Change { member, run, .. } = *change;
    match &change.what {
        What::Member(epoch) => {
            world.sessions.insert(member);
            let grant = timeline::grant(world, member);
            grant.epoch = *epoch;
        }
        What::Gone => {
            world.sessions.remove(&member);
            world.grants.remove(&member);
        }
        What::Granted(partition, since) => {
            if let Some(grant) = world.grants.get_mut(&member) {
                // G6 is not judged: when a subscription changes at the coordinator is not seen.
                grant.subscribed.insert(partition.topic);
                grant.assigned.insert(*partition, *since);
            }
        }
        What::Ungranted(partition) => {
            if let Some(grant) = world.grants.get_mut(&member) {
                grant.assigned.remove(partition);
            }
        }
        What::Held(partition) => {
            let consumer = std::sync::Arc::make_mut(&mut world.consumers[run]);
            consumer.id = Some(member);
            consumer.held.insert(*partition);
        }
        What::LetGo(partition) => {
            std::sync::Arc::make_mut(&mut world.consumers[run]).held.remove(partition);
        }
    }
}

/// Dates are cut off to milliseconds twice: when the consumer began, and since then.
const ROUNDING_MS: u64 = 3;

impl fmt::Display for GroupVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permitted => f.write_str("permitted"),
            Self::Refused(overlap) => overlap.fmt(f),
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { line, at_ms, event } = &self.entry;
        write!(f, "refused at run {}, line {line} ({at_ms} ms): {event:?}", self.run + 1)?;
        write!(f, "\n  breaks {} {:?}", self.rule.tag(), self.rule)?;
        if let Some(partition) = self.partition {
            write!(f, " at {partition:?}")?;
        }
        write!(f, "\n  because {}", self.rule.sentence())?;
        if let Some((run, line)) = self.other {
            write!(f, "\n  see run {}, line {line}", run + 1)?;
        }
        Ok(())
    }
}
