//! What requests are counted as.

/// The kind of a logical request: the API that answers it, or what a call waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Topics, partitions and their leaders.
    Metadata,
    /// The group's coordinator.
    FindCoordinator,
    /// The group's members, epochs and assignments.
    ConsumerGroupDescribe,
    /// A heartbeat of the group.
    ConsumerGroupHeartbeat,
    /// A commit.
    OffsetCommit,
    /// Committed offsets.
    OffsetFetch,
    /// Offsets of the log.
    ListOffsets,
    /// Whether a log has what was read of it.
    OffsetForLeaderEpoch,
    /// Records.
    Fetch,
    /// A call that waits until a partition has a position.
    Position,
    /// A call that waits until the group was left.
    Unsubscribe,
}

impl Kind {
    /// As it is called in spans and metrics: Kafka's name of the API, where one answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "Metadata",
            Self::FindCoordinator => "FindCoordinator",
            Self::ConsumerGroupDescribe => "ConsumerGroupDescribe",
            Self::ConsumerGroupHeartbeat => "ConsumerGroupHeartbeat",
            Self::OffsetCommit => "OffsetCommit",
            Self::OffsetFetch => "OffsetFetch",
            Self::ListOffsets => "ListOffsets",
            Self::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
            Self::Fetch => "Fetch",
            Self::Position => "position",
            Self::Unsubscribe => "unsubscribe",
        }
    }
}
