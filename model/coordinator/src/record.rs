//! What is written to the log: the records of `__consumer_offsets` that a consumer group has.

use crate::current_assignment::CurrentAssignment;
use crate::group::MemberMetadata;
use evenkeel_spec::words::{
    Committed, Epoch, MemberId, Partitions, TopicId, TopicIdPartition, Topics,
};
use std::sync::Arc;

/// One record. A `*Removed` record is the tombstone of the same key.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Record {
    /// `ConsumerGroupMetadata`: the group epoch and the subscribed topics that it was made for
    /// (Kafka keeps their hash).
    Group {
        /// The group epoch.
        epoch: Epoch,
        /// The topics that exist and that a member subscribes to.
        topics: Arc<Topics>,
    },
    /// The group is deleted.
    GroupRemoved,
    /// `ConsumerGroupMemberMetadata`: what a member told about itself.
    Member(MemberId, Arc<MemberMetadata>),
    /// The member is gone.
    MemberRemoved(MemberId),
    /// `ConsumerGroupTargetAssignmentMetadata`: the epoch of the target assignment.
    TargetEpoch(Epoch),
    /// The group has no target any more.
    TargetEpochRemoved,
    /// `ConsumerGroupTargetAssignmentMember`: one member's target.
    Target(MemberId, Arc<Partitions>),
    /// The member has no target any more.
    TargetRemoved(MemberId),
    /// `ConsumerGroupCurrentMemberAssignment`: how far one member is reconciled.
    Current(MemberId, Arc<CurrentAssignment>),
    /// The member holds nothing any more.
    CurrentRemoved(MemberId),
    /// `OffsetCommit`.
    Offset(TopicIdPartition, Committed),
    /// The offset is deleted.
    OffsetRemoved(TopicIdPartition),
}

/// What a log compaction keeps the last record of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RecordKey {
    /// Group epoch.
    Group,
    /// Member metadata.
    Member(MemberId),
    /// Assignment epoch.
    TargetEpoch,
    /// A member's target.
    Target(MemberId),
    /// A member's current assignment.
    Current(MemberId),
    /// An offset.
    Offset(TopicId, u32),
}

impl Record {
    /// The record's key.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Group { .. } | Self::GroupRemoved => RecordKey::Group,
            Self::Member(member, _) | Self::MemberRemoved(member) => RecordKey::Member(*member),
            Self::TargetEpoch(_) | Self::TargetEpochRemoved => RecordKey::TargetEpoch,
            Self::Target(member, _) | Self::TargetRemoved(member) => RecordKey::Target(*member),
            Self::Current(member, _) | Self::CurrentRemoved(member) => RecordKey::Current(*member),
            Self::Offset(at, _) | Self::OffsetRemoved(at) => {
                RecordKey::Offset(at.topic, at.partition)
            }
        }
    }

    /// Whether a compaction may drop the record once nothing older of its key is left.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        matches!(
            self,
            Self::GroupRemoved
                | Self::MemberRemoved(_)
                | Self::TargetEpochRemoved
                | Self::TargetRemoved(_)
                | Self::CurrentRemoved(_)
                | Self::OffsetRemoved(_)
        )
    }
}
