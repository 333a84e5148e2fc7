//! Seeded faults of the client's machines, one at a time, for the model: each must be found by the
//! rule named for it. Without the cargo feature `mutants` no fault can be switched on.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $name:ident)*) => {
        /// A fault that the model can seed into a [`Group`](super::Group).
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Mutant {
            $($(#[doc = $doc])* $name,)*
        }

        impl Mutant {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The real bug or the reason behind the fault.
            #[must_use]
            pub fn source(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

mutants! {
    // [C5]
    /// KAFKA-20321: after a fence the partitions stay until the lost callback has returned.
    RecordsAfterLost
    // [M2]
    /// KAFKA-16251: a fenced member heartbeats during its lost callback.
    HeartbeatWhileFenced
    // [M9]
    /// KAFKA-16639: a leave is not sent while a heartbeat is in flight.
    LeaveSuppressedInFlight
    // [M3]
    /// KAFKA-16215: an error answer does not free the heartbeat's slot.
    ErrorKeepsInFlight
    // [M4]
    /// KAFKA-16190: a rejoining member leaves out fields that it sent before.
    DeltaOnRejoin
    // [R7]
    /// KAFKA-16198: topic ids that resolve late are taken for the whole target.
    LateTopicLosesOthers
    // [M8]
    /// KAFKA-16258: a member that left by its poll interval keeps its partitions.
    StaleKeepsAssignment
    // [M1]
    /// KAFKA-17154: a member joins before the application polls.
    JoinWithoutPoll
    // [O1]
    /// KAFKA-18641: automatic commits cover records that the application still works on.
    CommitUnreleased
    // [R3]
    /// KAFKA-20332: a revocation does not wait for records that the application still works on.
    RevokeWithoutWaiting
    // [C7]
    /// KAFKA-16933: a failing callback keeps an unsubscribing member from leaving.
    FailedCallbackKeepsMember
    // [I1]
    /// KAFKA-16375: a callback's completion is applied to a membership that it does not belong to.
    LateCallbackApplied
    // [M2]
    /// Candidate C2: unsubscribing a member that left by its poll interval lets it rejoin.
    StaleUnsubscribeRejoins
    // [I1]
    /// Candidate C1: a revoked callback of an ended subscription ends the next one.
    LateCallbackEndsSubscription
    // [I1]
    /// Candidate C10: an answer to a heartbeat of an earlier membership is believed.
    LateAnswerBelieved
    // [M7]
    /// Kafka 4.3.1: a member id that left is used again, so that its late commit is accepted.
    KeepIdAfterLeave
    // [O6 and R8]
    /// KAFKA-16133: a commit before a revocation that is retried for ever holds the partition.
    BarrierForEver
    // [M5, R1 and R5]
    /// Partitions are acknowledged as released before the revoked callback has returned.
    AckBeforeRevoked
    // [O10]
    /// A commit is retried although its ownership ended and began again.
    RetryAcrossOwnership
    // [O9]
    /// A retried commit overwrites a newer one.
    RetryLowers
    // [O9]
    /// A commit by interval overwrites a newer one of the application in the same request.
    IntervalOverUser
    // [R9]
    /// Partitions are taken while a heartbeat that told to own less is unanswered, so that it counts
    /// as their release.
    TakeWhileTelling
    // [O3]
    /// KAFKA-16203: a commit by interval that has become empty blocks all later ones.
    EmptyCommitBlocks
    // [O4]
    /// A second commit goes out while one is in flight.
    TwoCommitsInFlight
    // [R6]
    /// KAFKA-18160: a callback that failed leaves its reconciliation open for ever.
    FailedCallbackStalls
    // [C3]
    /// A fenced member calls revoked instead of lost.
    RevokedAfterFence
    // [R6 and C6]
    /// KAFKA-20106: partitions are returned from before the assigned callback has returned.
    FetchBeforeAssigned
    // [M6]
    /// Candidate C9: who was refused for good, or has left, and subscribes anew joins while a callback
    /// of its last membership is open.
    JoinUntold
    // [O3]
    /// A commit that has become empty holds a revocation or a leave until the next heartbeat.
    EmptyCommitHolds
    // [M8]
    /// Kafka's STALE left out: a member that left by its poll interval joins again as a fenced one
    /// does.
    StaleJoinsAtOnce
    // [M6]
    /// Kafka's FATAL left out: a member that was refused for good joins again as a fenced one does.
    FatalJoinsAgain
    // [M5 and R5]
    /// Kafka's ACKNOWLEDGING left out: what was applied and released is not told.
    Unacknowledged
    // [M9]
    /// Kafka's PREPARE_LEAVING left out: an unsubscribing member leaves before it has let go.
    LeaveAtOnce
    // [C4]
    /// A changed subscription ends the revocation that is under way, without its callback.
    SubscribeEndsRevocation
    // [R4]
    /// The commit before a revocation is sent and not awaited.
    RevokeUncommitted
    // [R4]
    /// KAFKA-14224: the automatic commit comes after the revoked callback.
    CommitAfterRevoked
    // [R3]
    /// A revocation that waits for the application is no state of its own, but one that commits.
    RevocableUnnamed
    // [M10]
    /// KAFKA-16185: the lost answer's changes are not asked for again in full.
    NoFullAfterLostAnswer
    // [M12]
    /// A join that is fenced is sent again at once, for as long as the coordinator fences it.
    FencedJoinAtOnce
    // [O2]
    /// What was on its way to the application when it sought is counted as returned to it.
    SeekKeepsDelivered
    // [O2]
    /// What a dropped poll left is counted as returned by the unsubscribe or close that ends it.
    EndTakesDelivered
    // [O1]
    /// What a dropped poll left is counted as done with by the poll that returns it.
    PollTakesDelivered
    // [O2]
    /// The application's commit covers what a dropped poll left.
    CommitCoversDelivered
    // [O2]
    /// After a seek commits go on to cover what was returned before it.
    SeekKeepsReturned
    // [R3]
    /// A seek to a place that is not known yet counts as being done with what is in hand.
    SeekEmptiesHands
    // [M6]
    /// KAFKA-16954: a fence is not noticed while the application is in a callback.
    FenceUnnoticedInCallback
    // [M9]
    /// KAFKA-18569: an unsubscribe waits for a coordinator that nothing else needs.
    EndAwaitsCoordinator
    // [C1]
    /// KAFKA-20780: a poll that is over is not taken as over.
    PollNotOver
    // [M9]
    /// KAFKA-16985: what interrupts an unsubscribe ends it, and nobody leaves.
    DropEndsUnsubscribe
    // [M1]
    /// The end of a dropped unsubscribe ends the poll that has begun meanwhile.
    DroppedEndsPoll
    // [M10]
    /// A changed subscription that waits for an answer is forgotten when it is said again.
    RepeatForgetsChange
    // [L2]
    /// KAFKA-17696: that a lookup is refused for good is told to nobody, and it is repeated.
    RefusedLookupUntold
    // [L2]
    /// KAFKA-18034: commits that wait for a lookup which is refused for good never end.
    RefusedLookupForgetsCommits
    // [L2]
    /// A refused lookup ends the membership of a consumer that has none.
    RefusedLookupBars
    // [Q7]
    /// The application's commits of what it loses are answered by nobody.
    LossForgetsCommits
    // [M3]
    /// A heartbeat that acknowledges goes out while another is in flight.
    TwoHeartbeatsInFlight
    // [O8]
    /// What was returned of a partition that was given up is committed by the application's next word.
    ReleasedStaysReturned
    // [C2]
    /// A fence ends the callback that is open, in which the application still is.
    FenceEndsCallback
}

impl Mutant {
    /// Those that are another choice rather than a fault: no rule forbids them.
    pub const CHOICES: &[Self] =
        &[Self::RevokeUncommitted, Self::CommitAfterRevoked, Self::RevocableUnnamed];

    /// Whether this fault is the seeded one.
    #[must_use]
    pub fn is(self, seeded: Option<Self>) -> bool {
        cfg!(feature = "mutants") && seeded == Some(self)
    }
}
