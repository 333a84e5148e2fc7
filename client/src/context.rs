//! What a callback may do, and what other tasks may do: handles that share the consumer's
//! background but cannot poll, subscribe or close.

use crate::consumer::lookup::{self, OffsetAndTimestamp};
use crate::error::{CommitError, LookupError, PositionError};
use crate::link::{Call, Commit, Link};
use evenkeel_core::request::OffsetAt;
use evenkeel_core::{Answer, Command, SeekTo};
use evenkeel_spec::words::{Committed, LeaderEpoch, Offset, TopicName, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Commits from any task. Cheap to clone; outlives the consumer, whose end makes it answer
/// [`CommitError::Closed`].
#[derive(Clone, Debug)]
pub struct Committer {
    link: Arc<Link>,
}

impl Committer {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Commits everything that the consumer has returned so far, as
    /// [`Consumer::commit`](crate::Consumer::commit) does. Sent at once, answered when the
    /// coordinator has confirmed.
    pub fn commit(&self) -> Commit {
        self.link.commit()
    }

    /// Commits these offsets, as
    /// [`Consumer::commit_offsets`](crate::Consumer::commit_offsets) does.
    pub fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, Committed)>,
    ) -> Commit {
        self.link.commit_offsets(offsets.into_iter().collect())
    }

    /// [`Consumer::committed`](crate::Consumer::committed) with a timeout of its own instead of
    /// `default.api.timeout.ms`, in a future that borrows nothing: for replays.
    #[doc(hidden)]
    pub fn committed_within(
        &self,
        partitions: BTreeSet<TopicPartition>,
        timeout: Duration,
    ) -> impl Future<Output = Result<BTreeMap<TopicPartition, Option<Committed>>, LookupError>>
    + Send
    + use<> {
        let link = Arc::clone(&self.link);
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        async move { committed_within(&link, partitions, timeout_ms).await }
    }

    /// Asks any broker for a topic and forgets the answer, in a future that borrows nothing: for
    /// replays, which keep a connection in use by it.
    #[doc(hidden)]
    pub fn touch(&self, topic: TopicName) -> impl Future<Output = ()> + Send + use<> {
        let link = Arc::clone(&self.link);
        async move {
            let (topic, timeout_ms) = (Some(topic), link.timeout_ms);
            drop(link.ask(|call| Command::Topics { call, topic, timeout_ms }).await);
        }
    }
}

/// What a method of a [`RebalanceListener`](crate::RebalanceListener) may do.
#[derive(Debug)]
pub struct RebalanceContext {
    link: Arc<Link>,
    assignment: Arc<BTreeSet<TopicPartition>>,
}

impl RebalanceContext {
    pub(crate) fn new(link: &Link, assignment: Arc<BTreeSet<TopicPartition>>) -> Self {
        Self { link: link.for_listener(), assignment }
    }

    /// What is assigned, with partitions that are being revoked and those just assigned.
    #[must_use]
    pub fn assignment(&self) -> &BTreeSet<TopicPartition> {
        &self.assignment
    }

    /// Commits everything that was returned so far and waits for the coordinator.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&mut self) -> Result<(), CommitError> {
        self.link.commit().await
    }

    /// Commits these offsets and waits for the coordinator.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit_offsets(
        &mut self,
        offsets: impl IntoIterator<Item = (TopicPartition, Committed)>,
    ) -> Result<(), CommitError> {
        let offsets: BTreeMap<_, _> = offsets.into_iter().collect();
        self.link.commit_offsets(offsets).await
    }

    /// Moves the position of an assigned partition.
    ///
    /// # Errors
    /// See [`PositionError`].
    pub async fn seek(
        &mut self,
        partition: &TopicPartition,
        to: impl Into<Seek>,
    ) -> Result<(), PositionError> {
        seek(&self.link, partition, to.into()).await
    }

    /// The offset of the next record that `poll` returns of this partition.
    ///
    /// # Errors
    /// See [`PositionError`].
    pub async fn position(&mut self, partition: &TopicPartition) -> Result<Offset, PositionError> {
        position(&self.link, partition).await
    }

    /// The group's committed offsets; `None` where nothing is committed.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn committed(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Option<Committed>>, LookupError> {
        committed(&self.link, partitions.into_iter().collect()).await
    }

    /// As [`Consumer::beginning_offsets`](crate::Consumer::beginning_offsets).
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn beginning_offsets(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>, LookupError> {
        lookup::edges(&self.link, partitions.into_iter().collect(), OffsetAt::Earliest).await
    }

    /// As [`Consumer::end_offsets`](crate::Consumer::end_offsets).
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn end_offsets(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>, LookupError> {
        lookup::edges(&self.link, partitions.into_iter().collect(), OffsetAt::Latest).await
    }

    /// As [`Consumer::offsets_for_times`](crate::Consumer::offsets_for_times): to begin newly
    /// assigned partitions at a date.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn offsets_for_times(
        &mut self,
        dates_ms: impl IntoIterator<Item = (TopicPartition, u64)>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>, LookupError> {
        lookup::at_dates(&self.link, dates_ms.into_iter().collect()).await
    }

    /// Returns no records of these partitions until they are resumed.
    ///
    /// # Errors
    /// See [`PositionError`].
    pub async fn pause(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), PositionError> {
        pause(&self.link, partitions.into_iter().collect()).await
    }

    /// Undoes [`Self::pause`].
    ///
    /// # Errors
    /// See [`PositionError`].
    pub async fn resume(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), PositionError> {
        resume(&self.link, partitions.into_iter().collect()).await
    }
}

/// Where a seek goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seek {
    /// To this offset, which need not exist.
    Offset(Offset),
    /// The same, after a record of this leader epoch: a log that has lost that record is noticed
    /// before anything is read from there, as after a committed offset (KIP-320).
    OffsetAndEpoch(Offset, LeaderEpoch),
    /// To the oldest record.
    Beginning,
    /// After the newest record.
    End,
}

impl From<Offset> for Seek {
    fn from(offset: Offset) -> Self {
        Self::Offset(offset)
    }
}

/// As a commit left it.
impl From<Committed> for Seek {
    fn from(committed: Committed) -> Self {
        match committed.leader_epoch {
            Some(epoch) => Self::OffsetAndEpoch(committed.offset, epoch),
            None => Self::Offset(committed.offset),
        }
    }
}

impl From<u64> for Seek {
    fn from(offset: u64) -> Self {
        Self::Offset(Offset(offset))
    }
}

pub(crate) async fn seek(
    link: &Arc<Link>,
    partition: &TopicPartition,
    to: Seek,
) -> Result<(), PositionError> {
    sought(link, &BTreeSet::from([partition.clone()]), to).await?;
    Ok(())
}

/// A seek on its way.
pub(crate) fn sought(link: &Arc<Link>, partitions: &BTreeSet<TopicPartition>, to: Seek) -> Call {
    let to = match to {
        Seek::Offset(offset) => SeekTo::Offset(offset),
        Seek::OffsetAndEpoch(offset, epoch) => SeekTo::OffsetAndEpoch(offset, epoch),
        Seek::Beginning => SeekTo::Beginning,
        Seek::End => SeekTo::End,
    };
    // It replaces what a stream returned of them.
    link.reading_elsewhere(partitions, || {
        link.ask(|call| Command::Seek { call, partitions: partitions.clone(), to })
    })
}

pub(crate) async fn position(
    link: &Arc<Link>,
    partition: &TopicPartition,
) -> Result<Offset, PositionError> {
    let (partition, timeout_ms) = (partition.clone(), link.timeout_ms);
    match link.ask(|call| Command::Position { call, partition, timeout_ms }).await? {
        Answer::Position(offset) => Ok(offset),
        other => panic!("the core answers Position with a position, not with {other:?}"),
    }
}

pub(crate) async fn committed(
    link: &Arc<Link>,
    partitions: BTreeSet<TopicPartition>,
) -> Result<BTreeMap<TopicPartition, Option<Committed>>, LookupError> {
    committed_within(link, partitions, link.timeout_ms).await
}

async fn committed_within(
    link: &Arc<Link>,
    partitions: BTreeSet<TopicPartition>,
    timeout_ms: u64,
) -> Result<BTreeMap<TopicPartition, Option<Committed>>, LookupError> {
    lookup::check_names(partitions.iter().map(|partition| &partition.topic))?;
    match link.ask(|call| Command::Committed { call, partitions, timeout_ms }).await? {
        Answer::Committed(offsets) => Ok(offsets),
        other => panic!("the core answers Committed with offsets, not with {other:?}"),
    }
}

pub(crate) async fn pause(
    link: &Arc<Link>,
    partitions: BTreeSet<TopicPartition>,
) -> Result<(), PositionError> {
    link.ask(|call| Command::Pause { call, partitions }).await?;
    Ok(())
}

pub(crate) async fn resume(
    link: &Arc<Link>,
    partitions: BTreeSet<TopicPartition>,
) -> Result<(), PositionError> {
    link.ask(|call| Command::Resume { call, partitions }).await?;
    Ok(())
}
