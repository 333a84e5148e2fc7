//! The state of one consumer group: what its records say, and how they say it.
//!
//! The only way in which the log's part of the state changes is [`Group::apply`].

use crate::current_assignment::{CurrentAssignment, MemberState};
use crate::{Config, Order, Record, Step, Timer};
use evenkeel_spec::words::{
    Assignor, Committed, Epoch, MemberId, Partitions, Subscription, TopicIdPartition, Topics,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One consumer group. The default is a group that does not exist. Cheap to clone: what it holds is
/// shared until it changes.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Group {
    /// The group epoch; `None`: there is no consumer group. Offsets may exist all the same.
    pub(crate) epoch: Option<Epoch>,
    /// The subscribed topics that the group epoch was made for.
    pub(crate) topics: Arc<Topics>,
    /// The epoch of the target; `None`: there never was one.
    pub(crate) assignment_epoch: Option<Epoch>,
    pub(crate) members: Arc<BTreeMap<MemberId, Member>>,
    pub(crate) target: Arc<BTreeMap<MemberId, Arc<Partitions>>>,
    pub(crate) offsets: Arc<BTreeMap<TopicIdPartition, Committed>>,
    /// Memory only: no topic has changed since the subscribed topics were compared.
    pub(crate) topics_compared: bool,
    /// Memory only: the assignment interval runs, if there is one.
    pub(crate) interval_running: bool,
    /// Memory only: what seeded faults remember.
    #[cfg(feature = "mutants")]
    pub(crate) seeded: Seeded,
}

/// A member as its records describe it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Member {
    pub(crate) metadata: Arc<MemberMetadata>,
    /// `None` only between the records of a join.
    pub(crate) current: Option<Arc<CurrentAssignment>>,
}

/// What a member told about itself: the value of `ConsumerGroupMemberMetadata`.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct MemberMetadata {
    /// How long it may take to revoke, milliseconds.
    pub rebalance_timeout_ms: u32,
    /// What it subscribes to.
    pub subscription: Subscription,
    /// The assignor it prefers.
    pub assignor: Option<Assignor>,
}

/// What seeded faults remember.
#[cfg(feature = "mutants")]
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Seeded {
    /// Held, but seen as free.
    pub(crate) forgotten: Partitions,
    /// Held by nobody, but seen as taken.
    pub(crate) ghosts: Partitions,
}

impl Group {
    /// The state that these records give, after [`Group::loaded`].
    pub fn replay<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut group = Self::default();
        for record in records {
            group.apply(record);
        }
        group.forget_memory();
        group
    }

    /// Applies one record. Any order and any compaction of a log is taken (KAFKA-19862): what a
    /// record needs and does not find is created.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Group { epoch, topics } => {
                self.epoch = Some(*epoch);
                self.topics = topics.clone();
            }
            Record::GroupRemoved => {
                self.epoch = None;
                self.topics = Arc::default();
            }
            Record::Member(id, metadata) => self.member_mut(*id).metadata = metadata.clone(),
            Record::MemberRemoved(id) => {
                Arc::make_mut(&mut self.members).remove(id);
            }
            Record::TargetEpoch(epoch) => {
                self.assignment_epoch = Some(*epoch);
                self.interval_running = true;
            }
            Record::TargetEpochRemoved => self.assignment_epoch = None,
            Record::Target(id, partitions) => {
                Arc::make_mut(&mut self.target).insert(*id, partitions.clone());
            }
            Record::TargetRemoved(id) => {
                Arc::make_mut(&mut self.target).remove(id);
            }
            Record::Current(id, current) => self.member_mut(*id).current = Some(current.clone()),
            Record::CurrentRemoved(id) => {
                if let Some(member) = Arc::make_mut(&mut self.members).get_mut(id) {
                    member.current = None;
                }
            }
            Record::Offset(at, committed) => {
                Arc::make_mut(&mut self.offsets).insert(*at, committed.clone());
            }
            Record::OffsetRemoved(at) => {
                Arc::make_mut(&mut self.offsets).remove(at);
            }
        }
    }

    /// A coordinator took the group over: forgets what only memory held and tells the timers to
    /// arm, each for its full time (Kafka: `GroupMetadataManager.onLoaded`).
    ///
    /// Lost are the armed timers and whether a topic has changed (the next heartbeat compares).
    /// The assignment interval starts anew; Kafka keeps its start in the log, so that it may end
    /// earlier there.
    pub fn loaded(&mut self, config: &Config) -> Vec<Order> {
        self.forget_memory();
        if seeded!(config, FailoverForgetsPendingRevocation) {
            self.forget_pending_revocations();
        }
        let mut orders = Vec::new();
        for (&id, member) in self.members.iter() {
            orders.push(Order::Arm(Timer::Session(id), config.session_timeout_ms));
            let is_revoking = member
                .current
                .as_ref()
                .is_some_and(|c| c.state == MemberState::UnrevokedPartitions);
            if is_revoking && !seeded!(config, RebalanceTimerMissing) {
                let timeout_ms = member.metadata.rebalance_timeout_ms;
                orders.push(Order::Arm(Timer::Rebalance(id), timeout_ms));
            }
        }
        if self.interval_running && config.assignment_interval_ms > 0 {
            orders.push(Order::Arm(Timer::Assignment, config.assignment_interval_ms));
        }
        orders
    }

    /// These are the topics that exist now. Nothing happens at once: when a subscribed topic was
    /// created, deleted or extended, the group's next heartbeat raises the group epoch, whoever
    /// sends it (Kafka: `requestMetadataRefresh`).
    pub fn on_topics_changed(&mut self, topics: &Topics) -> Step<()> {
        if self.subscribed_topics(topics) != *self.topics {
            self.topics_compared = false;
        }
        Step::answered(())
    }

    /// Every epoch in the state, to rename them. A renaming that keeps their order keeps the
    /// group's behaviour. It copies what clones of the group share: look with
    /// [`Group::for_each_epoch`] first whether there is anything to rename.
    pub fn visit_epochs(&mut self, f: &mut impl FnMut(&mut Epoch)) {
        self.epoch.iter_mut().for_each(&mut *f);
        self.assignment_epoch.iter_mut().for_each(&mut *f);
        for member in Arc::make_mut(&mut self.members).values_mut() {
            let Some(current) = &mut member.current else { continue };
            let current = Arc::make_mut(current);
            f(&mut current.epoch);
            current.previous_epoch.iter_mut().for_each(&mut *f);
            current.assigned.values_mut().for_each(&mut *f);
            current.pending_revocation.values_mut().for_each(&mut *f);
            #[cfg(feature = "mutants")]
            current.revoking_for.iter_mut().for_each(&mut *f);
        }
    }

    /// Every epoch in the state, to look at; it copies nothing.
    pub fn for_each_epoch(&self, f: &mut impl FnMut(Epoch)) {
        self.epoch.into_iter().for_each(&mut *f);
        self.assignment_epoch.into_iter().for_each(&mut *f);
        for current in self.members.values().filter_map(|member| member.current.as_ref()) {
            f(current.epoch);
            current.previous_epoch.into_iter().for_each(&mut *f);
            current.assigned.values().copied().for_each(&mut *f);
            current.pending_revocation.values().copied().for_each(&mut *f);
            #[cfg(feature = "mutants")]
            current.revoking_for.into_iter().for_each(&mut *f);
        }
    }

    /// Renames every member id. `f` must keep their order: the assignors go by it.
    ///
    /// # Panics
    /// When two members get the same id.
    pub fn rename_members(&mut self, mut f: impl FnMut(MemberId) -> MemberId) {
        let count = self.members.len();
        let members = self.members.iter().map(|(id, member)| (f(*id), member.clone()));
        self.members = Arc::new(members.collect());
        let target = self.target.iter().map(|(id, target)| (f(*id), target.clone()));
        self.target = Arc::new(target.collect());
        assert_eq!(self.members.len(), count, "a renaming keeps members apart");
    }

    /// Appends a record: applies it and keeps it for the log.
    pub(crate) fn append<A>(&mut self, step: &mut Step<A>, record: Record) {
        self.apply(&record);
        step.records.push(record);
    }

    /// G1: what a member is granted or must still revoke is not free for anyone else.
    pub(crate) fn is_held_by_other(&self, than: MemberId, at: TopicIdPartition) -> bool {
        #[cfg(feature = "mutants")]
        if self.seeded.forgotten.contains(&at) || self.seeded.ghosts.contains(&at) {
            return self.seeded.ghosts.contains(&at);
        }
        self.members.iter().any(|(&id, member)| {
            id != than && member.current.as_ref().is_some_and(|current| current.holds(at))
        })
    }

    /// The topics that exist and that some member subscribes to.
    pub(crate) fn subscribed_topics(&self, topics: &Topics) -> Topics {
        let is_subscribed =
            |name| self.members.values().any(|m| m.metadata.subscription.contains(name));
        topics
            .iter()
            .filter(|(_, topic)| is_subscribed(&topic.name))
            .map(|(id, topic)| (*id, topic.clone()))
            .collect()
    }

    fn member_mut(&mut self, id: MemberId) -> &mut Member {
        self.epoch.get_or_insert(FIRST_EPOCH);
        Arc::make_mut(&mut self.members).entry(id).or_default()
    }

    fn forget_memory(&mut self) {
        self.topics_compared = false;
        self.interval_running = self.assignment_epoch.is_some();
        #[cfg(feature = "mutants")]
        {
            self.seeded = Seeded::default();
        }
    }

    /// A seeded fault of [`Group::loaded`].
    fn forget_pending_revocations(&mut self) {
        for member in Arc::make_mut(&mut self.members).values_mut() {
            let Some(current) = &mut member.current else { continue };
            if !current.pending_revocation.is_empty() {
                Arc::make_mut(current).pending_revocation.clear();
            }
        }
    }
}

/// The epoch of a group before anything has happened in it (`ModernGroup`): the first subscription
/// by name makes it 2.
pub(crate) const FIRST_EPOCH: Epoch = Epoch(1);
