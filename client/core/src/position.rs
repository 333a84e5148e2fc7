//! Where each owned partition is read next: committed offset, reset policy, seek, validation.
//! spec/11-positions.md.
//!
//! Decides which offset to look up, when a position is held against its leader's log
//! (`validation`), and what an answer makes of it. Each lookup carries the incarnation of the
//! ownership, seek and leader epoch that it was made for, so that a late answer never touches a
//! newer one (P7). Sending, backoffs' lengths and the records are not its business.

mod mutant;
mod partition;
mod validation;

use crate::disposition::data_path::{Action, data_path};
use crate::request::{ListedOffset, OffsetAt};
use crate::{Incarnation, Incarnations, OffsetReset, SeekTo};
use evenkeel_spec::words::{
    Committed, ErrorCode, LeaderEpoch, Offset, Partitions, Step, TopicIdPartition,
};
pub use mutant::Mutant;
pub use partition::Standing;
use partition::{Partition, Phase};
use std::collections::BTreeMap;
pub use validation::Truncation;

/// What a position wants to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Arm this partition's backoff.
    Backoff(TopicIdPartition, Step),
    /// Stop this partition's backoff.
    Disarm(TopicIdPartition),
    /// Start reading here: what was read of it elsewhere is void.
    Start(TopicIdPartition, Position),
    /// Read nothing of it for now: what was read and not returned is void.
    Stop(TopicIdPartition),
    /// What is known of leaders is old.
    RefreshMetadata,
    /// The coordinator says that it is none.
    NotCoordinator,
    /// The position lay outside of the log and is reset.
    WarnReset(TopicIdPartition, Offset),
    /// Reading begins at this offset, which was listed: the log may have lost what was read beyond.
    Listed(TopicIdPartition, Offset),
    /// The log lost what was read of it: reading goes on where it differs, or, where that is not
    /// known, the position is reset.
    WarnTruncated(Truncation),
    /// Tell the application.
    Tell(Tell),
}

/// What the application is told about a partition.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Tell {
    /// It has no committed offset, and the policy is `none`.
    NoOffset(TopicIdPartition),
    /// It has no record at this offset, and the policy is `none`.
    OutOfRange(TopicIdPartition, Offset),
    /// It has lost what was read of it, and the policy is `none`.
    Truncated(Truncation),
    /// A broker refuses to say where to read.
    Partition(TopicIdPartition, ErrorCode),
}

/// A place to read from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    /// The next record.
    pub offset: Offset,
    /// The leader epoch of what was read before it, if known.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// The positions of all owned partitions.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Positions {
    policy: OffsetReset,
    /// There may be committed offsets.
    has_group: bool,
    partitions: BTreeMap<TopicIdPartition, Partition>,
    incarnations: Incarnations,
    mutant: Option<Mutant>,
}

/// Where a reset or a seek starts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Start {
    /// At the oldest record.
    Earliest,
    /// After the newest record.
    Latest,
    /// At the first record that is not older than this, milliseconds.
    Age(u64),
}

impl Start {
    /// What to ask for at this wall clock, milliseconds since 1970.
    pub fn at(self, wall_clock_ms: u64) -> OffsetAt {
        match self {
            Self::Earliest => OffsetAt::Earliest,
            Self::Latest => OffsetAt::Latest,
            Self::Age(ms) => OffsetAt::Timestamp(wall_clock_ms.saturating_sub(ms)),
        }
    }
}

impl Positions {
    /// Nothing owned yet.
    pub fn new(policy: OffsetReset, has_group: bool) -> Self {
        let incarnations = Incarnations::default();
        Self { policy, has_group, partitions: BTreeMap::new(), incarnations, mutant: None }
    }

    /// The same with a seeded fault, for the model.
    #[must_use]
    pub fn seeded(self, mutant: Option<Mutant>) -> Self {
        Self { mutant, ..self }
    }

    /// These are owned from now on.
    pub fn on_owned(&mut self, owned: &Partitions) {
        for &id in owned {
            let mut partition = Partition::new(self.incarnations.start());
            if !self.has_group {
                partition.reset(self.policy, Tell::NoOffset(id));
            }
            let before = self.partitions.insert(id, partition);
            assert!(before.is_none(), "{id:?} is owned already");
        }
    }

    /// These may be fetched.
    pub fn on_fetch(&mut self, partitions: &Partitions) {
        for partition in self.each(partitions) {
            partition.fetching = true;
            partition.withheld = false;
        }
    }

    /// These will be revoked.
    pub fn on_withheld(&mut self, partitions: &Partitions) {
        for partition in self.each(partitions) {
            partition.withheld = true;
        }
    }

    /// These are owned no longer.
    pub fn on_released(&mut self, partitions: &Partitions, out: &mut Vec<Order>) {
        for id in partitions {
            if self.partitions.remove(id).is_some() {
                out.push(Order::Disarm(*id));
            }
        }
    }

    /// The application paused or resumed an owned partition.
    pub fn on_paused(&mut self, id: TopicIdPartition, paused: bool) {
        self.get(id).paused = paused;
    }

    /// The application moved an owned partition.
    pub fn on_seek(&mut self, id: TopicIdPartition, to: SeekTo, out: &mut Vec<Order>) {
        let incarnation = self.incarnations.start();
        let partition = self.get(id);
        partition.incarnation = incarnation;
        partition.step = Step::FIRST;
        partition.pausing = false;
        out.push(Order::Disarm(id));
        partition.phase = match to {
            SeekTo::Offset(offset) => {
                return partition.start(id, Position { offset, leader_epoch: None }, out);
            }
            SeekTo::OffsetAndEpoch(offset, epoch) => {
                let position = Position { offset, leader_epoch: Some(epoch) };
                return partition.begin(id, position, out);
            }
            SeekTo::Beginning => Phase::Listed { start: Start::Earliest, asked: false },
            SeekTo::End => Phase::Listed { start: Start::Latest, asked: false },
        };
    }

    /// Which committed offsets to look up now.
    pub fn committed_wanted(&self) -> BTreeMap<TopicIdPartition, Incarnation> {
        let wanted = |partition: &Partition| {
            partition.phase == (Phase::Committed { asked: false }) && !partition.pausing
        };
        let mut all = BTreeMap::new();
        all.extend(
            self.partitions.iter().filter(|(_, p)| wanted(p)).map(|(id, p)| (*id, p.incarnation)),
        );
        all
    }

    /// Which offsets to list now.
    pub fn listed_wanted(&self) -> BTreeMap<TopicIdPartition, (Incarnation, Start)> {
        let mut all = BTreeMap::new();
        for (id, partition) in &self.partitions {
            if let (Phase::Listed { start, asked: false }, false) =
                (partition.phase, partition.pausing)
            {
                all.insert(*id, (partition.incarnation, start));
            }
        }
        all
    }

    /// The lookup of a partition goes out.
    pub fn on_asked(&mut self, id: TopicIdPartition) {
        match &mut self.get(id).phase {
            Phase::Committed { asked }
            | Phase::Listed { asked, .. }
            | Phase::Validating { asked, .. } => *asked = true,
            Phase::At(_) | Phase::Stuck(_) => unreachable!("it has a position"),
        }
    }

    /// A committed offset was looked up.
    pub fn on_committed(
        &mut self,
        id: TopicIdPartition,
        incarnation: Incarnation,
        answer: Result<Option<Committed>, ErrorCode>,
        out: &mut Vec<Order>,
    ) {
        let policy = self.policy;
        let Some(partition) = self.current(id, incarnation) else { return };
        match answer {
            Ok(Some(committed)) => {
                let position =
                    Position { offset: committed.offset, leader_epoch: committed.leader_epoch };
                partition.begin(id, position, out);
            }
            Ok(None) => partition.reset(policy, Tell::NoOffset(id)),
            Err(code) => {
                match data_path(code).offset_fetch {
                    Action::FindCoordinator => out.push(Order::NotCoordinator),
                    Action::RefreshMetadata => out.push(Order::RefreshMetadata),
                    Action::Retry => {}
                    Action::Tell | Action::Reset | Action::Absent | Action::Rebootstrap => {
                        out.push(Order::Tell(Tell::Partition(id, code)));
                    }
                }
                partition.pause(id, out);
            }
        }
    }

    /// An offset was listed; `None`: no record is that young. Its leader epoch is that of no record
    /// that was read, so that there is nothing to validate (P3).
    pub fn on_listed(
        &mut self,
        id: TopicIdPartition,
        incarnation: Incarnation,
        answer: Result<Option<ListedOffset>, ErrorCode>,
        out: &mut Vec<Order>,
    ) {
        let believed = Mutant::LateOffsetBelieved.is(self.mutant) && answer.is_ok();
        let current = self.partitions.get(&id).map(|partition| partition.incarnation);
        let incarnation = current.filter(|_| believed).unwrap_or(incarnation);
        let Some(partition) = self.current(id, incarnation) else { return };
        match answer {
            Ok(Some(found)) => {
                let position = Position { offset: found.offset, leader_epoch: None };
                out.push(Order::Listed(id, found.offset));
                partition.start(id, position, out);
            }
            // Both ends of a log are always there: a broker that says otherwise is asked later.
            Ok(None) if !matches!(partition.phase, Phase::Listed { start: Start::Age(_), .. }) => {
                partition.pause(id, out);
            }
            Ok(None) => {
                partition.phase = Phase::Listed { start: Start::Latest, asked: false };
            }
            Err(code) => {
                match data_path(code).list_offsets {
                    Action::RefreshMetadata => out.push(Order::RefreshMetadata),
                    Action::Retry | Action::FindCoordinator => {}
                    Action::Tell | Action::Reset | Action::Absent | Action::Rebootstrap => {
                        out.push(Order::Tell(Tell::Partition(id, code)));
                    }
                }
                partition.pause(id, out);
            }
        }
    }

    /// The fate of a partition's lookup is unknown, or it could not be sent.
    pub fn on_lost(
        &mut self,
        id: TopicIdPartition,
        incarnation: Incarnation,
        out: &mut Vec<Order>,
    ) {
        if let Some(partition) = self.current(id, incarnation) {
            partition.pause(id, out);
        }
    }

    /// There is no record at the position, and nothing read is left to return.
    pub fn on_out_of_range(&mut self, id: TopicIdPartition, offset: Offset, out: &mut Vec<Order>) {
        let policy = self.policy;
        let partition = self.get(id);
        if policy != OffsetReset::None {
            out.push(Order::WarnReset(id, offset));
        }
        partition.reset(policy, Tell::OutOfRange(id, offset));
        if matches!(partition.phase, Phase::Listed { .. }) {
            // What is listed may be out of range again.
            partition.pause(id, out);
        }
    }

    /// Records up to here were returned, or skipped as none.
    pub fn on_advanced(&mut self, id: TopicIdPartition, to: Position) {
        let partition = self.get(id);
        let Phase::At(position) = &mut partition.phase else {
            unreachable!("only what has a position advances")
        };
        assert!(position.offset <= to.offset, "a position moves back only by a seek or a reset");
        *position = to;
    }

    /// A backoff is over.
    pub fn on_backoff(&mut self, id: TopicIdPartition) {
        self.get(id).pausing = false;
    }

    /// Where a partition is read next.
    pub fn position(&self, id: TopicIdPartition) -> Option<Position> {
        match self.partitions.get(&id)?.phase {
            Phase::At(position) => Some(position),
            Phase::Committed { .. }
            | Phase::Listed { .. }
            | Phase::Validating { .. }
            | Phase::Stuck(_) => None,
        }
    }

    /// What is wrong with those that only a seek helps.
    pub fn stuck(&self) -> impl Iterator<Item = (TopicIdPartition, Tell)> {
        self.partitions.iter().filter_map(|(id, partition)| match partition.phase {
            Phase::Stuck(tell) if !partition.withheld => Some((*id, tell)),
            Phase::Stuck(_)
            | Phase::Committed { .. }
            | Phase::Listed { .. }
            | Phase::Validating { .. }
            | Phase::At(_) => None,
        })
    }

    /// Whether the application paused it.
    pub(crate) fn is_paused(&self, id: TopicIdPartition) -> bool {
        self.partitions.get(&id).is_some_and(|partition| partition.paused)
    }

    /// Whether records of this partition may be asked for and returned.
    pub fn may_read(&self, id: TopicIdPartition) -> bool {
        self.partitions.get(&id).is_some_and(|partition| {
            let open = partition.fetching && !partition.withheld && !partition.paused;
            open && matches!(partition.phase, Phase::At(_))
        })
    }

    /// What keeps each owned partition from being read.
    pub fn standings(&self) -> impl Iterator<Item = (TopicIdPartition, Standing)> {
        self.partitions.iter().map(|(id, partition)| (*id, partition.standing()))
    }

    /// Numbers incarnations anew by their order, and forgets how often each lookup was repeated, for a
    /// model that compares states; gives the new name of each.
    pub fn renumber(&mut self) -> BTreeMap<Incarnation, Incarnation> {
        let mut renamed = BTreeMap::new();
        let all = self.partitions.values().map(|partition| (partition.incarnation, Incarnation(0)));
        renamed.extend(all);
        self.incarnations = Incarnations::default();
        for new in renamed.values_mut() {
            *new = self.incarnations.start();
        }
        for partition in self.partitions.values_mut() {
            partition.incarnation = renamed[&partition.incarnation];
            partition.step = Step::FIRST;
        }
        renamed
    }

    fn get(&mut self, id: TopicIdPartition) -> &mut Partition {
        self.partitions.get_mut(&id).expect("only owned partitions are spoken of")
    }

    fn each<'a>(
        &'a mut self,
        partitions: &'a Partitions,
    ) -> impl Iterator<Item = &'a mut Partition> {
        let owned = self.partitions.iter_mut();
        owned.filter(|(id, _)| partitions.contains(id)).map(|(_, partition)| partition)
    }

    /// The partition, if it is still owned and placed as when the lookup was made.
    fn current(
        &mut self,
        id: TopicIdPartition,
        incarnation: Incarnation,
    ) -> Option<&mut Partition> {
        self.partitions.get_mut(&id).filter(|partition| partition.incarnation == incarnation)
    }
}

#[cfg(test)]
mod tests;
