//! The application's calls that take time: who waits for what, until when it is answered.
//!
//! Decides when a call can be answered from what is known and what must be asked for. Each call ends
//! in exactly one answer, unless it is abandoned. Deadlines are timers of the shell.

use crate::CallId;
use crate::group::CommitId;
use evenkeel_spec::words::{
    Committed, ErrorCode, Step, TopicIdPartition, TopicName, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

/// An open call.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Call {
    /// `unsubscribe`: over when the group has left.
    Unsubscribe,
    /// `commit`: the group answers.
    Commit(CommitId),
    /// `position`: over when the partition has one.
    Position(TopicPartition),
    /// `committed`.
    Committed(CommittedCall),
}

/// A `committed` call.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct CommittedCall {
    /// What is asked for.
    pub(crate) partitions: BTreeSet<TopicPartition>,
    /// What was answered so far.
    pub(crate) found: BTreeMap<TopicPartition, Option<Committed>>,
    /// A request is outstanding.
    pub(crate) asked: bool,
    /// A backoff is running.
    pub(crate) pausing: bool,
    /// The next backoff's.
    pub(crate) step: Step,
    /// The last error, for the call's timeout.
    pub(crate) last: Option<ErrorCode>,
}

impl CommittedCall {
    /// Nothing asked yet.
    pub(crate) fn new(partitions: BTreeSet<TopicPartition>) -> Self {
        Self {
            partitions,
            found: BTreeMap::new(),
            asked: false,
            pausing: false,
            step: Step::FIRST,
            last: None,
        }
    }

    /// What is still to be asked for.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.iter().filter(|partition| !self.found.contains_key(partition))
    }

    /// Whether the next request may go out.
    pub(crate) fn is_ready(&self) -> bool {
        !self.asked && !self.pausing
    }
}

/// How many calls may be open: a handle and its committers that wait for more than this have lost
/// count, and each costs a timer.
const CALLS_MAX: usize = 1_024;

/// The open calls.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Calls {
    open: BTreeMap<CallId, Call>,
    commits: u32,
}

impl Calls {
    /// Whether no further call is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= CALLS_MAX
    }

    /// A call was made.
    pub(crate) fn open(&mut self, id: CallId, call: Call) {
        let before = self.open.insert(id, call);
        assert!(before.is_none(), "a call's number is used once");
    }

    /// A token for a commit.
    pub(crate) fn commit_id(&mut self) -> CommitId {
        self.commits = self.commits.wrapping_add(1);
        CommitId(self.commits)
    }

    /// A call is over; `None`: it was before.
    pub(crate) fn end(&mut self, id: CallId) -> Option<Call> {
        self.open.remove(&id)
    }

    /// An open `committed` call.
    pub(crate) fn committed(&mut self, id: CallId) -> Option<&mut CommittedCall> {
        match self.open.get_mut(&id)? {
            Call::Committed(call) => Some(call),
            Call::Unsubscribe | Call::Commit(_) | Call::Position(_) => None,
        }
    }

    /// The call that waits for a commit.
    pub(crate) fn of_commit(&self, commit: CommitId) -> Option<CallId> {
        let mut open = self.open.iter();
        open.find(|(_, call)| **call == Call::Commit(commit)).map(|(id, _)| *id)
    }

    /// The open calls, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CallId, &Call)> {
        self.open.iter().map(|(id, call)| (*id, call))
    }

    /// Topics that calls ask about.
    pub(crate) fn topics(&self) -> BTreeSet<TopicName> {
        let mut topics = BTreeSet::new();
        for call in self.open.values() {
            if let Call::Committed(call) = call {
                topics.extend(call.missing().map(|partition| partition.topic.clone()));
            }
        }
        topics
    }
}

/// The partitions of a request for a `committed` call, by id and by name.
pub(crate) type ById = BTreeMap<TopicIdPartition, TopicPartition>;
