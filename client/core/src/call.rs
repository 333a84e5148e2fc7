//! The application's calls that take time: who waits for what, until when it is answered.
//!
//! Decides when a call can be answered from what is known and what must be asked for. Each call ends
//! in exactly one answer, unless it is abandoned; commits are answered in the order of their calls.
//! Deadlines are timers of the shell.

use crate::CallId;
use crate::group::CommitId;
use crate::request::{Kind, ListedOffset, OffsetAt};
use crate::{Answer, CallFault};
use evenkeel_spec::words::{
    Committed, ErrorCode, Step, TopicIdPartition, TopicName, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

/// An open call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    /// `unsubscribe`: over when the group has left.
    Unsubscribe,
    /// `commit`: the group answers.
    Commit {
        /// The group's token.
        id: CommitId,
        /// The answer, while an earlier commit has none.
        held: Option<Outcome>,
    },
    /// `position`: over when the partition has one.
    Position(TopicPartition),
    /// What brokers are asked for.
    Inquiry(Inquiry),
}

impl Call {
    /// As what it is counted.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Unsubscribe => Kind::Unsubscribe,
            Self::Commit { .. } => Kind::OffsetCommit,
            Self::Position(_) => Kind::Position,
            Self::Inquiry(inquiry) => match inquiry.question {
                Question::Committed(_) => Kind::OffsetFetch,
                Question::Offsets(_) => Kind::ListOffsets,
                Question::Topics { .. } => Kind::Metadata,
                Question::Group { .. } => Kind::ConsumerGroupDescribe,
            },
        }
    }
}

/// How a call ended.
pub(crate) type Outcome = Result<Answer, CallFault>;

/// A call that brokers are asked for until they have answered everything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Inquiry {
    /// What is asked.
    pub(crate) question: Question,
    /// A backoff is running.
    pub(crate) is_pausing: bool,
    /// The next backoff's.
    pub(crate) step: Step,
    /// The last error, for the call's timeout.
    pub(crate) last: Option<ErrorCode>,
}

/// What an [`Inquiry`] asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Question {
    /// The coordinator: what the group has committed.
    Committed(Parts<(), Option<Committed>>),
    /// Each partition's leader: offsets of its log.
    Offsets(Parts<OffsetAt, Option<ListedOffset>>),
    /// Any broker: the partitions of a topic, or of all of them.
    Topics {
        /// Which one; `None`: all.
        topic: Option<TopicName>,
        /// A request is outstanding.
        is_asked: bool,
    },
    /// The coordinator: who is in the group.
    Group {
        /// A request is outstanding.
        is_asked: bool,
    },
}

/// What is asked of each partition, and how far its answer is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Parts<Q, A> {
    wanted: BTreeMap<TopicPartition, Q>,
    asked: BTreeSet<TopicPartition>,
    found: BTreeMap<TopicPartition, A>,
}

impl<Q: Clone, A: Clone> Parts<Q, A> {
    /// Nothing asked yet.
    pub(crate) fn new(wanted: BTreeMap<TopicPartition, Q>) -> Self {
        Self { wanted, asked: BTreeSet::new(), found: BTreeMap::new() }
    }

    /// What was not answered yet.
    pub(crate) fn missing(&self) -> impl Iterator<Item = (&TopicPartition, &Q)> {
        let missing = self.wanted.iter();
        let missing = missing.filter(|(partition, _)| !self.found.contains_key(partition));
        missing.take(self.wanted.len().saturating_sub(self.found.len()))
    }

    /// What is not answered and no request asks for. Counted before it is looked for, since it is
    /// asked of every open call after every input.
    pub(crate) fn unasked(&self) -> impl Iterator<Item = (&TopicPartition, &Q)> {
        let unasked = self.missing().filter(|(partition, _)| !self.asked.contains(partition));
        unasked.take(self.wanted.len().saturating_sub(self.found.len() + self.asked.len()))
    }

    /// A request asks for this one.
    pub(crate) fn on_asked(&mut self, partition: &TopicPartition) {
        self.asked.insert(partition.clone());
    }

    /// This one was answered.
    pub(crate) fn on_found(&mut self, partition: &TopicPartition, answer: A) {
        self.asked.remove(partition);
        self.found.insert(partition.clone(), answer);
    }

    /// The request for this one got no answer of use.
    pub(crate) fn on_none(&mut self, partition: &TopicPartition) {
        self.asked.remove(partition);
    }

    /// Everything, once nothing is missing.
    pub(crate) fn whole(&self) -> Option<BTreeMap<TopicPartition, A>> {
        self.missing().next().is_none().then(|| self.found.clone())
    }
}

impl Inquiry {
    /// Nothing asked yet.
    pub(crate) fn new(question: Question) -> Self {
        Self { question, is_pausing: false, step: Step::FIRST, last: None }
    }

    /// Committed offsets of these partitions.
    pub(crate) fn committed(partitions: BTreeSet<TopicPartition>) -> Self {
        let wanted = partitions.into_iter().map(|partition| (partition, ())).collect();
        Self::new(Question::Committed(Parts::new(wanted)))
    }

    /// Shows the topics that must be known before leaders can be asked.
    fn for_each_topic<'a>(&'a self, mut f: impl FnMut(&'a TopicName)) {
        match &self.question {
            Question::Committed(parts) => parts.missing().for_each(|(p, ())| f(&p.topic)),
            Question::Offsets(parts) => parts.missing().for_each(|(p, _)| f(&p.topic)),
            Question::Topics { .. } | Question::Group { .. } => {}
        }
    }

    /// The request for these got no answer of use.
    pub(crate) fn on_none<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>) {
        match &mut self.question {
            Question::Committed(parts) => partitions.for_each(|p| parts.on_none(p)),
            Question::Offsets(parts) => partitions.for_each(|p| parts.on_none(p)),
            Question::Topics { is_asked, .. } | Question::Group { is_asked } => *is_asked = false,
        }
    }
}

/// The open calls.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Calls {
    open: BTreeMap<CallId, Call>,
    commits: u32,
}

impl Calls {
    /// Whether a call is open.
    #[cfg(debug_assertions)]
    pub(crate) fn is_open(&self, id: CallId) -> bool {
        self.open.contains_key(&id)
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

    /// An open call that asks brokers.
    pub(crate) fn inquiry(&mut self, id: CallId) -> Option<&mut Inquiry> {
        match self.open.get_mut(&id)? {
            Call::Inquiry(call) => Some(call),
            Call::Unsubscribe | Call::Commit { .. } | Call::Position(_) => None,
        }
    }

    /// The call that waits for a commit.
    pub(crate) fn of_commit(&self, commit: CommitId) -> Option<CallId> {
        let is_it = |call: &Call| matches!(call, Call::Commit { id, .. } if *id == commit);
        self.open.iter().find(|(_, call)| is_it(call)).map(|(id, _)| *id)
    }

    /// The group's token of an open commit.
    pub(crate) fn commit_of(&self, id: CallId) -> Option<CommitId> {
        match self.open.get(&id)? {
            Call::Commit { id, held: None } => Some(*id),
            _ => None,
        }
    }

    /// A commit is over; it is answered when every earlier one is.
    pub(crate) fn hold(&mut self, id: CallId, outcome: Outcome) {
        if let Some(Call::Commit { held, .. }) = self.open.get_mut(&id) {
            *held = Some(outcome);
        }
    }

    /// The answer of a commit that waits for earlier ones.
    pub(crate) fn held(&self, id: CallId) -> Option<Outcome> {
        match self.open.get(&id)? {
            Call::Commit { held, .. } => held.clone(),
            Call::Unsubscribe | Call::Position(_) | Call::Inquiry(_) => None,
        }
    }

    /// The first open commit, if it is over.
    pub(crate) fn next_held(&self) -> Option<(CallId, Outcome)> {
        let mut commits = self.open.iter().filter_map(|(id, call)| match call {
            Call::Commit { held, .. } => Some((*id, held)),
            Call::Unsubscribe | Call::Position(_) | Call::Inquiry(_) => None,
        });
        let (id, held) = commits.next()?;
        held.clone().map(|outcome| (id, outcome))
    }

    /// The open calls, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CallId, &Call)> {
        self.open.iter().map(|(id, call)| (*id, call))
    }

    /// The open calls that ask brokers, in order.
    pub(crate) fn inquiries(&mut self) -> impl Iterator<Item = (CallId, &mut Inquiry)> {
        self.open.iter_mut().filter_map(|(id, call)| match call {
            Call::Inquiry(inquiry) => Some((*id, inquiry)),
            Call::Unsubscribe | Call::Commit { .. } | Call::Position(_) => None,
        })
    }

    /// Topics that calls ask about.
    pub(crate) fn topics(&self) -> BTreeSet<TopicName> {
        let mut topics = BTreeSet::new();
        let mut last = None;
        for call in self.open.values() {
            if let Call::Inquiry(inquiry) = call {
                inquiry.for_each_topic(|topic| {
                    if last.replace(topic) != Some(topic) {
                        topics.insert(topic.clone());
                    }
                });
            }
        }
        topics
    }
}

/// The partitions of a request for a call, by id and by name.
pub(crate) type ById = BTreeMap<TopicIdPartition, TopicPartition>;

#[cfg(test)]
mod tests;
