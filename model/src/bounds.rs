//! How small the worlds are, and why: every bound of every slice stands here.
//!
//! Each bound was raised by one, alone. Beside each slice stands how many thousand states that makes;
//! where nothing else is said the larger world was exhausted, broke no rule and came to rest in each of
//! the three ways. What a larger world found first is in the bounds now: a commit more in `two-members`,
//! and subscribing again after a refusal in `one-member` (CHANGELOG).

mod adversary;
mod reached;

pub use adversary::{Budget, Disconnect, Faults};

use crate::explore::Condition;
use crate::system::{Brain, Node, Refusal, Shared, State};
use adversary::NO_FAULTS;
use evenkeel_coordinator::Config as CoordinatorConfig;
use evenkeel_core::group::{GroupConfig, Mutant};
use evenkeel_spec::rules::World;
use evenkeel_spec::words::{
    MemberId, Offset, Partitions, Subscription, Topic, TopicId, TopicIdPartition, Topics,
};
use reached::{
    commits_reach, interval_reaches, one_member_reaches, seeks_reach, two_faults_reach,
    two_members_reach, untaken_reaches, whims_reach,
};
use std::sync::Arc;

/// A small world: its size, its faults, and the machines' settings.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Its name on the command line.
    pub name: &'static str,
    /// Consumers.
    pub members: usize,
    /// The topics of the cluster.
    pub topics: Topics,
    /// Records in the last partition of each topic; the others are empty.
    pub records: u8,
    /// How many consumers, the first ones, get records, commit, unsubscribe and lose connections.
    pub restless: usize,
    /// Whether the applications have listeners.
    pub listener: bool,
    /// Steps that a slice leaves out.
    pub detail: Detail,
    /// `enable.auto.commit`.
    pub auto_commit: bool,
    /// What the adversary and the applications may do in all.
    pub budget: Budget,
    /// Which faults there are.
    pub faults: Faults,
    /// The coordinator's settings.
    pub coordinator: CoordinatorConfig,
    /// The network assumption (N2): heartbeats of a broken connection are processed before the
    /// member's next one or never.
    pub ordered: bool,
    /// The fault seeded into the client's machines.
    pub mutant: Option<Mutant>,
    /// What must be reached, else the slice shows nothing.
    pub sometimes: fn() -> Vec<(&'static str, Condition<Slice>)>,
}

/// Which steps of a consumer are open intervals of their own, in which anything else may happen.
/// Left out, they take no time: a slice then shows fewer interleavings, and is small enough for more
/// of something else.
#[derive(Clone, Copy, Debug)]
pub struct Detail {
    /// Looking for the coordinator.
    pub lookup: bool,
    /// Metadata that names the topics late.
    pub resolve: bool,
    /// Polls that return nothing.
    pub exit: bool,
    /// Commits by interval; else only before a revocation or a leave.
    pub interval_commit: bool,
}

/// Every slice, the main ones first.
#[must_use]
pub fn slices() -> Vec<Slice> {
    vec![
        one_member(),
        two_members(),
        two_faults(),
        commits(),
        interval(),
        untaken(),
        seeks(),
        whims(),
    ]
}

/// The slice of this name.
#[must_use]
pub fn slice(name: &str) -> Option<Slice> {
    slices().into_iter().find(|slice| slice.name == name)
}

/// One member with a listener: everything that can happen between it, its application and the
/// coordinator. One topic, which metadata names late, of one partition, since nothing is shared.
///
/// Raised by one: faults 1,084; subscribes 177; unsubscribes 225; commits 445; narrows 316; records
/// 237; partitions 159; members not exhausted at 3,000 (17 steps deep, nothing found).
#[must_use]
pub fn one_member() -> Slice {
    Slice {
        name: "one-member",
        members: 1,
        topics: topics(1, 1),
        records: 1,
        restless: 1,
        listener: true,
        detail: Detail { lookup: true, resolve: true, exit: true, interval_commit: false },
        auto_commit: true,
        budget: Budget { faults: 2, subscribes: 2, unsubscribes: 1, ..Budget::NONE },
        faults: Faults {
            disconnect: Disconnect::Any,
            session: true,
            slow: true,
            fail: true,
            failover: true,
            refusals: &[Refusal::Loading, Refusal::Fenced, Refusal::Unauthorized],
            ..NO_FAULTS
        },
        coordinator: coordinator(0),
        ordered: true,
        mutant: None,
        sometimes: one_member_reaches,
    }
}

/// Two members that share two partitions: revocation, acknowledgement, timers, crash, late leave.
///
/// Raised by one: faults not exhausted at 3,000 (22 steps deep, nothing found), but exhausted at
/// 6,137 without the application's commit; subscribes 1,894; unsubscribes 865; commits 1,967; narrows
/// 2,439; records 2,564; partitions 818; members 1,504 (the third one only crashes or stays away: two
/// subscribe).
#[must_use]
pub fn two_members() -> Slice {
    Slice {
        name: "two-members",
        members: 2,
        topics: topics(1, 2),
        records: 1,
        restless: 2,
        listener: false,
        detail: Detail { lookup: false, resolve: false, exit: false, interval_commit: false },
        auto_commit: true,
        budget: Budget { faults: 1, subscribes: 2, unsubscribes: 1, commits: 1, ..Budget::NONE },
        faults: Faults {
            disconnect: Disconnect::Any,
            session: true,
            rebalance: true,
            crash: true,
            failover: true,
            ..NO_FAULTS
        },
        coordinator: coordinator(0),
        ordered: true,
        mutant: None,
        sometimes: two_members_reach,
    }
}

/// Two members and any two faults on one path. No records and no leave: with them the world is too
/// large for two faults, see spec/08.
///
/// Raised by one: faults 2,351; unsubscribes 328; narrows 976; records 1,004; partitions 328; members
/// 867; subscribes and commits change nothing here.
#[must_use]
pub fn two_faults() -> Slice {
    let budget = Budget { faults: 2, subscribes: 2, ..Budget::NONE };
    Slice {
        name: "two-faults",
        records: 0,
        auto_commit: false,
        budget,
        sometimes: two_faults_reach,
        ..two_members()
    }
}

/// One member without a listener and two records: released, in flight, retried, lost, late.
///
/// Raised by one: faults 826; subscribes 147; commits 186; narrows 169; records 392; unsubscribes,
/// partitions and members change nothing that this slice can use.
#[must_use]
pub fn commits() -> Slice {
    Slice {
        name: "commits",
        members: 1,
        topics: topics(1, 1),
        records: 2,
        restless: 1,
        listener: false,
        detail: Detail { lookup: false, resolve: false, exit: false, interval_commit: true },
        auto_commit: true,
        budget: Budget { faults: 1, subscribes: 1, unsubscribes: 1, commits: 2, ..Budget::NONE },
        faults: Faults { disconnect: Disconnect::Any, session: true, slow: true, ..NO_FAULTS },
        coordinator: coordinator(0),
        ordered: true,
        mutant: None,
        sometimes: commits_reach,
    }
}

/// Two members and Kafka's default assignment interval, in which a target lags behind the group: an
/// epoch may come back to a member id that leaves and joins again.
///
/// Raised by one: faults 1,109; unsubscribes 479; commits 1,402; narrows 1,168; records 1,101; partitions
/// 451; members not exhausted at 3,000 (25 steps deep, nothing found); subscribes changes nothing.
#[must_use]
pub fn interval() -> Slice {
    Slice {
        name: "interval",
        members: 2,
        topics: topics(1, 1),
        records: 1,
        restless: 1,
        listener: false,
        detail: Detail { lookup: false, resolve: false, exit: false, interval_commit: false },
        auto_commit: false,
        budget: Budget { faults: 1, subscribes: 3, unsubscribes: 1, commits: 1, ..Budget::NONE },
        faults: Faults { disconnect: Disconnect::UnderCommit, ..NO_FAULTS },
        coordinator: coordinator(1_000),
        ordered: true,
        mutant: None,
        sometimes: interval_reaches,
    }
}

/// Two members, of whom the first seeks, and drops a poll whose record has come: what a commit covers
/// then that the application asks for, or that comes before the partition goes to the other, or the
/// first leaves.
///
/// Raised by one: subscribes 180; unsubscribes 81; commits 245; narrows 238; records 193; seeks 185; misses
/// 107; members 158; faults and partitions change nothing here. A whim, which is none of this slice, breaks
/// R3 at 306: who drops its unsubscribe and polls is given what an earlier dropped poll had left, and loses
/// the partition meanwhile.
#[must_use]
pub fn untaken() -> Slice {
    let budget =
        Budget { subscribes: 2, unsubscribes: 1, commits: 1, seeks: 1, misses: 1, ..Budget::NONE };
    Slice {
        name: "untaken",
        restless: 1,
        budget,
        faults: NO_FAULTS,
        sometimes: untaken_reaches,
        ..two_members()
    }
}

/// One member and two records, of which a seek takes back one or both: commits by interval that are
/// due, in flight, retried or late meanwhile.
///
/// Raised by one: faults 453; unsubscribes 153; commits 791; narrows 202; seeks 380; misses 158; whims 203;
/// subscribes changes nothing; records, partitions and members were not tried.
#[must_use]
pub fn seeks() -> Slice {
    let budget = Budget { faults: 1, subscribes: 1, seeks: 1, misses: 1, ..Budget::NONE };
    Slice {
        name: "seeks",
        budget,
        faults: Faults { disconnect: Disconnect::UnderCommit, ..NO_FAULTS },
        sometimes: seeks_reach,
        ..commits()
    }
}

/// One member with a listener whose application changes its mind: it drops its unsubscribe, says its
/// subscription twice, polls and subscribes meanwhile, and has calls that need the coordinator without
/// any; whose lookup may be refused for good. Two whims and two faults, so that any two meet.
///
/// Raised by one: faults 584; subscribes 129; unsubscribes 182; commits 685; narrows 235; records 145; seeks
/// 278; whims 170; partitions 118; members were not exhausted. A poll that is dropped when its record has
/// come breaks C1 at 216, in the model's words alone: the next one returns that record at once and calls back
/// in the same step, where the client's calls back in the one after it.
#[must_use]
pub fn whims() -> Slice {
    Slice {
        name: "whims",
        detail: Detail { resolve: false, ..one_member().detail },
        auto_commit: false,
        budget: Budget { faults: 2, subscribes: 2, unsubscribes: 1, whims: 2, ..Budget::NONE },
        faults: Faults { disconnect: Disconnect::Any, slow: true, lookup: true, ..NO_FAULTS },
        sometimes: whims_reach,
        ..one_member()
    }
}

fn coordinator(assignment_interval_ms: u32) -> CoordinatorConfig {
    CoordinatorConfig { assignment_interval_ms, ..CoordinatorConfig::default() }
}

pub(crate) fn topics(topics: u32, partitions: u32) -> Topics {
    let topic = |n| Topic { name: format!("t{n}").as_str().into(), partitions };
    (1..=topics).map(|n| (TopicId::from_u32(n), topic(n))).collect()
}

/// Member ids of one consumer: more than it can use up within any budget.
const IDS_MAX: u32 = 16;

impl Slice {
    /// The world before anything has happened.
    #[must_use]
    pub fn initial(&self) -> State {
        State {
            nodes: (0..self.members).map(|_| Shared::new(Node::new(self))).collect(),
            brain: Shared::new(Brain::default()),
            world: Shared::new(World {
                consumers: vec![Arc::default(); self.members],
                ..World::default()
            }),
            left: self.budget,
            violation: None,
        }
    }

    /// What the shipped composite is told.
    #[must_use]
    pub fn group_config(&self) -> GroupConfig {
        GroupConfig {
            auto_commit: self.auto_commit,
            rebalance_timeout_ms: 300_000,
            assignor: None,
            mutant: self.mutant,
        }
    }

    /// What an application subscribes to: every topic, or the last only.
    #[must_use]
    pub fn subscription(&self, narrowed: bool) -> Subscription {
        let names = self.topics.values().map(|topic| topic.name.clone());
        Arc::new(names.skip(self.dropped(narrowed)).collect())
    }

    fn dropped(&self, narrowed: bool) -> usize {
        if narrowed { self.topics.len() - 1 } else { 0 }
    }

    /// Every partition that some living subscriber wants.
    #[must_use]
    pub fn wanted(&self, state: &State) -> Partitions {
        let wide = state.nodes.iter().any(|node| {
            !node.crashed && node.app.subscribed && !node.app.refused && !node.app.narrowed
        });
        let topics = self.topics.iter().skip(self.dropped(!wide));
        topics
            .flat_map(|(&id, topic)| {
                (0..topic.partitions).map(move |p| TopicIdPartition::new(id, p))
            })
            .collect()
    }

    /// Where a partition ends.
    #[must_use]
    pub fn log_end(&self, partition: TopicIdPartition) -> Offset {
        let topic = self.topics.get(&partition.topic);
        let is_last = topic.is_some_and(|topic| partition.partition + 1 == topic.partitions);
        Offset(if is_last { u64::from(self.records) } else { 0 })
    }

    /// The member id that the coordinator knows consumer `i`'s id number `number` by. Ids keep the
    /// order of the consumers, since assignors go by it.
    #[must_use]
    pub fn member_id(&self, i: usize, number: u32) -> MemberId {
        assert!(number < IDS_MAX, "a consumer's ids are bounded by its budget");
        MemberId(u32::try_from(i).expect("few consumers") * IDS_MAX + number)
    }

    /// The consumer and the number of a member id.
    #[must_use]
    pub fn consumer_of(&self, id: MemberId) -> (usize, u32) {
        ((id.0 / IDS_MAX) as usize, id.0 % IDS_MAX)
    }

    /// The conditions of the vacuity list.
    #[must_use]
    pub fn must_reach(&self) -> Vec<(&'static str, Condition<Self>)> {
        (self.sometimes)()
    }
}
