//! What the application's handle asks for. Partitions are by name here and by id inside.

use crate::request::OffsetAt;
use crate::{CallId, Incarnation};
use evenkeel_spec::words::{Committed, LeaderEpoch, Offset, TopicName, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Something that the application's handle asks for.
///
/// `taken` is the number of the last [`Delivery`](crate::Delivery) that the application really got
/// (0: none): a delivery that waits in the handle because a poll was dropped is not taken. What
/// carries a [`CallId`] is answered by exactly one [`Output::Done`](crate::Output::Done), unless it
/// is abandoned; after `timeout_ms` with [`CallFault::TimedOut`](crate::CallFault::TimedOut).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Subscribes to exactly these topics. Answered at once; the member joins at the next poll.
    Subscribe {
        /// Who asks.
        call: CallId,
        /// By name; none: as [`Command::Unsubscribe`] would be, so the handle sends that instead.
        topics: BTreeSet<TopicName>,
        /// Whether callbacks are to be run.
        listener: bool,
    },
    /// Subscribes to every topic that matches a pattern. As [`Command::Subscribe`].
    SubscribePattern {
        /// Who asks.
        call: CallId,
        /// RE2J, for whole names; not empty.
        pattern: Arc<str>,
        /// Whether callbacks are to be run.
        listener: bool,
    },
    /// Assigns exactly these partitions, without the group. Answered at once; what metadata does not
    /// know yet is read once it does.
    Assign {
        /// Who asks; answered with [`Answer::Done`](crate::Answer::Done).
        call: CallId,
        /// The last delivery taken: its records are released.
        taken: u64,
        /// Which ones.
        partitions: BTreeSet<TopicPartition>,
    },
    /// Revokes everything and leaves. Answered when left, or after `default.api.timeout.ms`.
    Unsubscribe {
        /// Who asks.
        call: CallId,
        /// The last delivery taken.
        taken: u64,
    },
    /// The application entered `poll`. Ends by [`Output::Deliver`](crate::Output::Deliver), by
    /// [`Output::PollFailed`](crate::Output::PollFailed) or by [`Command::PollEnded`].
    Poll {
        /// The last delivery taken *before* this poll: its records are released by it.
        taken: u64,
    },
    /// `poll` returned without a delivery (its timeout passed) or was dropped. May be repeated.
    PollEnded,
    /// The callback of [`Output::Call`](crate::Output::Call) returned.
    CallbackDone {
        /// That of the call.
        incarnation: Incarnation,
        /// Whether it returned well: no error, no panic.
        ok: bool,
    },
    /// Commits these offsets, or everything returned so far.
    Commit {
        /// Who asks; answered with [`Answer::Done`](crate::Answer::Done).
        call: CallId,
        /// The last delivery taken.
        taken: u64,
        /// What to commit; `None`: everything that was returned, the last delivery taken included.
        offsets: Option<BTreeMap<TopicPartition, Committed>>,
        /// For how long to retry.
        timeout_ms: u64,
    },
    /// Asks for the position of an owned partition; waits until it has one.
    Position {
        /// Who asks; answered with [`Answer::Position`](crate::Answer::Position).
        call: CallId,
        /// Of which partition.
        partition: TopicPartition,
        /// For how long to wait.
        timeout_ms: u64,
    },
    /// Asks the coordinator for the group's committed offsets.
    Committed {
        /// Who asks; answered with [`Answer::Committed`](crate::Answer::Committed).
        call: CallId,
        /// Of which partitions.
        partitions: BTreeSet<TopicPartition>,
        /// For how long to retry.
        timeout_ms: u64,
    },
    /// Asks the leader of each partition for an offset of its log.
    Offsets {
        /// Who asks; answered with [`Answer::Offsets`](crate::Answer::Offsets).
        call: CallId,
        /// Which offset of which partition.
        wanted: BTreeMap<TopicPartition, OffsetAt>,
        /// For how long to retry.
        timeout_ms: u64,
    },
    /// Asks a broker what topics there are.
    Topics {
        /// Who asks; answered with [`Answer::Topics`](crate::Answer::Topics).
        call: CallId,
        /// Which one; `None`: all, internal ones too.
        topic: Option<TopicName>,
        /// For how long to retry.
        timeout_ms: u64,
    },
    /// Asks the coordinator who is in the group.
    DescribeGroup {
        /// Who asks; answered with [`Answer::Group`](crate::Answer::Group).
        call: CallId,
        /// For how long to retry.
        timeout_ms: u64,
    },
    /// Asks how many offsets lie between an owned partition's position and the end of what can be
    /// read of it. Answered at once from the last fetch.
    Lag {
        /// Who asks; answered with [`Answer::Lag`](crate::Answer::Lag).
        call: CallId,
        /// Of which partition.
        partition: TopicPartition,
    },
    /// Moves the positions of owned partitions. Answered at once, all of them or none; drops what is
    /// buffered of them and ends their leases.
    Seek {
        /// Who asks; answered with [`Answer::Done`](crate::Answer::Done).
        call: CallId,
        /// Which partitions.
        partitions: BTreeSet<TopicPartition>,
        /// Where to.
        to: SeekTo,
    },
    /// Returns and fetches no records of these owned partitions until resumed. Answered at once:
    /// all of them or none.
    Pause {
        /// Who asks; answered with [`Answer::Done`](crate::Answer::Done).
        call: CallId,
        /// Which partitions.
        partitions: BTreeSet<TopicPartition>,
    },
    /// Undoes [`Command::Pause`].
    Resume {
        /// Who asks; answered with [`Answer::Done`](crate::Answer::Done).
        call: CallId,
        /// Which partitions.
        partitions: BTreeSet<TopicPartition>,
    },
    /// Ends the consumer: commits what is released, revokes, leaves. Ends with
    /// [`Output::Closed`](crate::Output::Closed), at the latest after `timeout_ms`.
    Close {
        /// The last delivery taken.
        taken: u64,
        /// The most time that it may take.
        timeout_ms: u64,
    },
    /// Nobody waits for this call any more: the caller is gone.
    Abandon {
        /// Which call.
        call: CallId,
    },
    /// The handle is gone without a close: as [`Command::Close`] within `default.api.timeout.ms`,
    /// but nothing further is released and callbacks count as returned at once.
    Dropped,
}

/// Where a seek goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SeekTo {
    /// To this offset, which need not exist.
    Offset(Offset),
    /// The same, after a record of this leader epoch: validated before anything is read from there
    /// (KIP-320).
    OffsetAndEpoch(Offset, LeaderEpoch),
    /// To the oldest record.
    Beginning,
    /// After the newest record (the last stable one with `read_committed`).
    End,
}
