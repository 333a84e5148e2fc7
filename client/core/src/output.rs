//! What the shell orders its driver to do, and what it tells the application.

use crate::group::{CommitError, Fault, LostReason};
use crate::request::ledger::Ticket;
use crate::request::queue::Lane;
use crate::request::{
    Counts, Ended, EpochEnd, GroupDescription, Kind, ListedOffset, Request, TopicDescription,
};
use crate::{Address, CallId, Chunk, ConnectionId, Detour, Incarnation, RequestId, Time};
use evenkeel_spec::words::{
    Committed, ErrorCode, LeaderEpoch, Offset, Owner, TopicIdPartition, TopicName, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An order, or a piece of news. To be drained in order, until [`Output::Wait`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output<C: Chunk> {
    /// Connect to this broker; answer with `handle_connected` or `handle_disconnected`.
    Connect {
        /// The attempt's name.
        connection: ConnectionId,
        /// Where to.
        address: Address,
        /// Why, if it is a broker's second one.
        detour: Option<Detour>,
    },
    /// Close this connection, or give up the attempt. Not answered.
    Disconnect {
        /// Which one.
        connection: ConnectionId,
        /// Why, for the log.
        reason: DisconnectReason,
    },
    /// Send this request; answer with `handle_response`, in order on each connection.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// Its correlation id.
        request_id: RequestId,
        /// What.
        request: Request,
        /// In which lane it waited; the handshake, which waited in none, is the system's.
        lane: Lane,
        /// For whom: the first asked, the others were attached. Nobody: the handshake.
        tickets: Vec<Ticket>,
        /// How long it waited for its connection, milliseconds.
        queued_ms: u64,
    },
    /// Records for the application: ends its poll.
    Deliver(Delivery<C::Part>),
    /// The leases of these partitions ended: a delivery that was not taken yet must not return
    /// records of them any more.
    EndLease(BTreeSet<TopicPartition>),
    /// Bad news for the application: ends its poll. The consumer goes on unless the variant says
    /// otherwise.
    PollFailed(PollFault<C::Fault>),
    /// Run this callback on the application's task, which is inside poll, unsubscribe or close.
    /// Answer with [`Command::CallbackDone`](crate::Command::CallbackDone). `Assigned` with no
    /// partitions is called too (as Kafka does).
    Call {
        /// To be given back.
        incarnation: Incarnation,
        /// Which callback.
        callback: Callback,
        /// Its partitions.
        partitions: BTreeSet<TopicPartition>,
    },
    /// What is assigned changed. The handle shows it once it gets here, so that `assignment()`
    /// changes only inside poll, unsubscribe and close.
    Assignment(Arc<Assignment>),
    /// A call is answered.
    Done {
        /// Which one.
        call: CallId,
        /// How.
        result: Result<Answer, CallFault>,
    },
    /// A request of the group was ordered and waits for a connection: for who records the run.
    Waiting(Ticket, Kind),
    /// A request is over: for spans and metrics.
    Ended(Ended),
    /// Something that a human should read once.
    Warn(Warning),
    /// The consumer has ended. Write what was sent before it, then stop; nothing follows but
    /// [`Output::Wait`] and the answers ([`CallFault::Closed`]) to calls that come too late.
    Closed(CloseReport),
    /// Drained. Call `handle_timeout` at this date unless something happens earlier; `None`: there
    /// is nothing to wait for.
    Wait(Option<Time>),
}

/// Records that `poll` returns.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery<P> {
    /// Its number: 1 for the first, one more for each.
    pub number: u64,
    /// What to read next of every partition that it moves, also of those that moved without a
    /// record: what a commit covers once it is taken.
    pub next: BTreeMap<TopicIdPartition, Committed>,
    /// One or more a partition, in the order in which partitions take turns. None where nothing but
    /// control, aborted or compacted records was passed: the poll goes on, with [`Command::Poll`].
    ///
    /// [`Command::Poll`]: crate::Command::Poll
    pub parts: Vec<Part<P>>,
}

/// Consecutive records of one partition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part<P> {
    /// Which partition.
    pub partition: TopicPartition,
    /// The records.
    pub records: P,
    /// How many.
    pub count: usize,
    /// The position after them.
    pub next_offset: Offset,
    /// The leader epoch of the last one.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// What is assigned, and as whom.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Assignment {
    /// By name.
    pub partitions: BTreeSet<TopicPartition>,
    /// The member and its epoch while it is one: for group metadata.
    pub owner: Option<Owner>,
}

/// Which method of a listener.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Callback {
    /// Partitions were assigned; nothing is fetched of them until it has returned.
    Assigned,
    /// Partitions will be revoked when it has returned; offsets may be committed still.
    Revoked,
    /// Partitions are owned by others already.
    Lost(LostReason),
}

/// How a call was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It was done.
    Done,
    /// To `Unsubscribe`.
    Left {
        /// Whether the coordinator confirmed it, or had nothing to confirm.
        confirmed: bool,
    },
    /// To `Position`.
    Position(Offset),
    /// To `Committed`; `None` where nothing is committed.
    Committed(BTreeMap<TopicPartition, Option<Committed>>),
    /// To `Offsets`; `None` where no record is that young.
    Offsets(BTreeMap<TopicPartition, Option<ListedOffset>>),
    /// To `Topics`: those that exist.
    Topics(BTreeMap<TopicName, TopicDescription>),
    /// To `DescribeGroup`.
    Group(GroupDescription),
    /// To `Lag`; `None`: nothing was fetched since the position was set.
    Lag(Option<u64>),
}

/// Why a call was not done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CallFault {
    /// Its time is over; it was retried until then. `last` is the last error that a broker gave.
    TimedOut {
        /// The last error, if any broker answered.
        last: Option<ErrorCode>,
    },
    /// The partition is not assigned to this consumer.
    NotAssigned(TopicPartition),
    /// The partition has no position and no policy to get one: seek.
    NoOffset(TopicPartition),
    /// A commit failed.
    Commit(CommitError),
    /// A broker refused for good.
    Refused(ErrorCode),
    /// A subscription and a manual assignment exclude each other until an unsubscribe.
    Exclusive,
    /// There is no `group.id`.
    NoGroupId,
    /// The consumer was closed meanwhile.
    Closed,
    /// Too many calls are open: back off exponentially and call again.
    QueueFull,
}

/// Why `poll` failed. `F` is what can be wrong with records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PollFault<F> {
    /// No broker could be reached since the consumer started, for `default.api.timeout.ms`; it goes
    /// on trying. Each address and what went wrong last.
    NoBroker(Vec<(Address, Cause)>),
    /// A broker lacks an API: not retried by itself within this call.
    Unsupported {
        /// Which broker.
        address: Address,
        /// What it lacks.
        unsupported: crate::request::Unsupported,
    },
    /// The group's news.
    Group(Fault),
    /// Not subscribed to anything.
    NotSubscribed,
    /// The partition has neither a committed offset nor a reset policy: seek.
    NoOffset(TopicPartition),
    /// The position lies outside of the log and there is no reset policy: seek.
    OffsetOutOfRange {
        /// Which partition.
        partition: TopicPartition,
        /// The position.
        offset: Offset,
    },
    /// The log has lost what was read of it, and there is no reset policy: seek.
    Truncated {
        /// Which partition.
        partition: TopicPartition,
        /// The position.
        offset: Offset,
        /// From where on the log has other records, or none; `None`: its leader does not know.
        diverging: Option<EpochEnd>,
    },
    /// A record cannot be read. The position stays before it; it is fetched again.
    Records {
        /// Which partition.
        partition: TopicPartition,
        /// What is wrong.
        fault: F,
    },
    /// A topic may not be read or does not have a legal name; it is asked for again.
    Topic {
        /// Which topic.
        topic: TopicName,
        /// What the broker said.
        error: ErrorCode,
    },
    /// A partition cannot be read for a reason that retrying may not cure; it is retried.
    Partition {
        /// Which partition.
        partition: TopicPartition,
        /// What the broker said.
        error: ErrorCode,
    },
    /// The group's offsets may not be read; it is retried.
    GroupRefused(ErrorCode),
}

/// Why a connection ended or was not made: from the driver, or from the shell's own clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The host name has no address.
    Resolve(Arc<str>),
    /// No address of the host could be connected to.
    Connect(Arc<str>),
    /// The peer closed it.
    Closed,
    /// Reading or writing failed.
    Io(Arc<str>),
    /// What came is not Kafka's protocol.
    Misbehaved(Misbehaved),
    /// No connection within `socket.connection.setup.timeout.ms`.
    SetupTimedOut,
    /// No answer within `request.timeout.ms`.
    RequestTimedOut,
    /// The broker lacks an API.
    Unsupported(crate::request::Unsupported),
}

/// A broker, or whatever listens there, broke the protocol's rules.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Misbehaved {
    /// An answer to another request than the oldest one outstanding.
    OutOfOrder,
    /// An answer of another kind than its request.
    WrongKind,
    /// What the driver found: a frame beyond the bound, a malformed message, HTTP, TLS.
    Malformed(Arc<str>),
}

/// Why the shell closes a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DisconnectReason {
    /// Nothing was sent for `connections.max.idle.ms`.
    Idle,
    /// Nothing needs it any more: a second connection to a broker, or a bootstrap server's.
    Needless,
    /// It failed.
    Failed(Cause),
    /// The consumer ends.
    Closing,
}

/// News for the log; each at most once until things change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Warning {
    /// A subscribed topic does not exist (yet); it is consumed once it does.
    UnknownTopic(TopicName),
    /// The position lay outside of the log and is reset.
    OffsetReset {
        /// Which partition.
        partition: TopicPartition,
        /// Where it was.
        offset: Offset,
    },
    /// The position was reset to before what was returned: the log has lost that, or more records
    /// come again. Commits go back with it.
    ResetBack {
        /// Which partition.
        partition: TopicPartition,
        /// Where reading goes on.
        to: Offset,
    },
    /// The log has lost what was read of it (KIP-320).
    Truncated {
        /// Which partition.
        partition: TopicPartition,
        /// The position.
        offset: Offset,
        /// Where reading goes on: from there on the log has other records, or none; `None`: its
        /// leader does not know, and the position is reset.
        diverging: Option<EpochEnd>,
    },
    /// Partitions were lost, not revoked: others may own them already.
    PartitionsLost {
        /// Which ones.
        partitions: BTreeSet<TopicPartition>,
        /// Why.
        reason: LostReason,
    },
    /// Every known broker is unreachable: asking the bootstrap servers again.
    Rebootstrap,
}

/// How the end went.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CloseReport {
    /// Whether the coordinator confirmed the leave, or none was needed.
    pub left: bool,
    /// Calls that were answered with [`CallFault::Closed`].
    pub calls_failed: usize,
    /// Bytes that were fetched and never returned.
    pub bytes_discarded: usize,
    /// What became of all requests since the start, by lane and kind.
    pub requests: BTreeMap<(Lane, Kind), Counts>,
}
