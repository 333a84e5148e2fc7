//! What the group's side orders, and its typed news.

use crate::Incarnation;
use evenkeel_spec::words::{
    ErrorCode, Heartbeat, NodeId, OffsetCommit, Partitions, Step, Timer, TopicId,
};
use std::collections::BTreeSet;

/// The caller's token of a commit.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CommitId(pub u32);

/// Something the embedder must do.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Output {
    /// Ask any broker who coordinates the group.
    FindCoordinator {
        /// To be given back with the answer.
        incarnation: Incarnation,
    },
    /// Send a heartbeat to the coordinator.
    Heartbeat {
        /// To be given back with the answer.
        incarnation: Incarnation,
        /// The coordinator.
        to: NodeId,
        /// What it says.
        request: Heartbeat,
    },
    /// Send a commit to the coordinator.
    OffsetCommit {
        /// To be given back with the answer.
        incarnation: Incarnation,
        /// The coordinator.
        to: NodeId,
        /// What it says.
        request: OffsetCommit,
        /// The application's commits in it.
        commits: Vec<CommitId>,
        /// Something waits for it: a revocation, a leave, a callback.
        is_urgent: bool,
    },
    /// Start a timer, anew if it is running.
    Arm(Timer, Step),
    /// Stop a timer, if it is running.
    Disarm(Timer),
    /// Milliseconds between heartbeats from now on, also for one that is running.
    HeartbeatInterval(u32),
    /// Call the application's listener, which is inside poll, unsubscribe or close.
    Call {
        /// To be given back when it is over.
        incarnation: Incarnation,
        /// Which callback.
        callback: Callback,
    },
    /// These are the application's now: look up where to read from, but do not read yet.
    Own(Partitions),
    /// These may be read from.
    Fetch(Partitions),
    /// Return no more records of these, which are about to be revoked.
    Withhold(Partitions),
    /// These are the application's no longer: forget positions and records.
    Release(Partitions),
    /// These were lost, not revoked: for the log.
    Lost(LostReason, Partitions),
    /// Refresh the metadata until it names these topics, and no others any more.
    ResolveTopics(BTreeSet<TopicId>),
    /// A commit of the application is over.
    CommitDone {
        /// Which one.
        id: CommitId,
        /// How it went.
        result: Result<(), CommitError>,
    },
    /// An unsubscribe or close is over.
    Left {
        /// The coordinator has confirmed it, or had nothing to confirm.
        clean: bool,
    },
    /// News that the next poll returns.
    Fault(Fault),
}

/// A call to the application's listener.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Callback {
    /// These were added; may be none.
    Assigned(Partitions),
    /// These will be somebody else's. Never none.
    Revoked(Partitions),
    /// These may already be somebody else's. Never none.
    Lost(LostReason, Partitions),
}

/// Why partitions were lost.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum LostReason {
    /// The coordinator ended the membership with this code.
    Fenced(ErrorCode),
    /// The application did not poll for `max.poll.interval.ms`.
    PollInterval,
    /// The application did not let go of revoked partitions within the rebalance timeout.
    RebalanceTimeout,
    /// The coordinator refused the member for good.
    Fatal(ErrorCode),
    /// An unsubscribe or close was out of time before the application had let go.
    LeaveTimeout,
}

/// Why a commit failed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CommitError {
    /// The consumer is not a member of the group now. Its records will come again, perhaps to
    /// another member.
    NotAMember,
    /// A partition is not owned by this member.
    NotOwned,
    /// The ownership ended before the commit was confirmed. It may have taken effect; else the
    /// records come again to the next owner.
    OwnershipEnded,
    /// The time for it was over: the partition had to be given up.
    Expired,
    /// The coordinator refused with this code.
    Refused(ErrorCode),
}

/// What poll must tell the application.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Fault {
    /// The coordinator refused the member for good: subscribe again once the cause is mended.
    Fatal(ErrorCode),
    /// The coordinator refused for now, and is asked again.
    Refused(ErrorCode),
}
