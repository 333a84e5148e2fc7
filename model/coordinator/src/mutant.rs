//! Seeded faults. Only the model switches them on; without the feature there is neither a field nor
//! a branch.

/// Whether the configuration seeds this fault; the constant `false` without the feature.
#[cfg(feature = "mutants")]
macro_rules! seeded {
    ($config:expr, $mutant:ident) => {
        $config.mutant == Some(crate::Mutant::$mutant)
    };
}
#[cfg(not(feature = "mutants"))]
macro_rules! seeded {
    ($config:expr, $mutant:ident) => {{
        let _: &crate::Config = $config;
        false
    }};
}

/// A fault of the coordinator, most of them found in Apache Kafka.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mutant {
    // [G1]
    /// KAFKA-16147 (museum B46): a partition that goes from a member's pending revocation back to
    /// its assignment loses its partition epoch, is seen as free and is granted to another too.
    DoubleAssignment,
    // [G3]
    /// KAFKA-16249 (B47): a member that revokes is reconciled anew with each newer target, ignoring
    /// the owned partitions it reports once only; its acknowledgement is missed for ever.
    MissedRevocationAck,
    // [M11]
    /// KAFKA-19233 (B48): a member whose join answer was lost may not join at epoch 0 again.
    RejoinAtZeroRefused,
    // [G5]
    /// KAFKA-19974 (B49): the member epoch grows by one when a revocation is followed by another.
    EpochBumpOnUnrevoked,
    // [G6]
    /// KAFKA-19431 (B50): partitions of topics that the member no longer subscribes to are kept.
    RetainUnsubscribed,
    // [O7]
    /// KAFKA-20066, before KIP-1251 (B53): a commit must carry exactly the member's epoch.
    CommitStrictEpoch,
    // [O5]
    /// Commits are accepted at any epoch, from anybody.
    CommitUnfenced,
    // [G1]
    /// A member is granted its target at once, whoever still holds it.
    GrantBeforeRelease,
    // [G4]
    /// KAFKA-16249, second half (B47): the rebalance timer never fires.
    RebalanceTimerMissing,
    // [M11]
    /// A member that lost the answer that raised its epoch is fenced at its previous epoch.
    NoPreviousEpochRetry,
    /// The partitions of a member that left stay taken.
    LeaveKeepsPartitions,
    /// The partitions of a member whose session expired stay taken.
    SessionTimeoutKeepsPartitions,
    // [G1]
    /// A new coordinator takes partitions that were being revoked as free.
    FailoverForgetsPendingRevocation,
    // [M10]
    /// KAFKA-16367 (B15): a heartbeat with every field is answered without the assignment.
    FullRequestIgnored,
    // [G3]
    /// An acknowledgement of a part of a revocation counts as one of the whole.
    PartialAcknowledgementFrees,
    /// A member fenced by its session timer is told that all is well and keeps what it had.
    UnknownMemberTolerated,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// Every mutant.
    pub const ALL: &[Self] = &[
        Self::DoubleAssignment,
        Self::MissedRevocationAck,
        Self::RejoinAtZeroRefused,
        Self::EpochBumpOnUnrevoked,
        Self::RetainUnsubscribed,
        Self::CommitStrictEpoch,
        Self::CommitUnfenced,
        Self::GrantBeforeRelease,
        Self::RebalanceTimerMissing,
        Self::NoPreviousEpochRetry,
        Self::LeaveKeepsPartitions,
        Self::SessionTimeoutKeepsPartitions,
        Self::FailoverForgetsPendingRevocation,
        Self::FullRequestIgnored,
        Self::PartialAcknowledgementFrees,
        Self::UnknownMemberTolerated,
    ];
}
