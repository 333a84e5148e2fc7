//! The application's handle of a consumer.
//!
//! Decides nothing about the group: it sends commands to the background and shows what comes back.
//! What came and was not returned yet, a callback that is not over, the listener: all of it is the
//! handle's and never a future's, so that a future may be dropped at any point.

mod assign;
mod attend;
mod close;
pub(crate) mod lookup;
pub(crate) mod observe;
mod pattern;

use crate::background::{Assigned, Told};
use crate::builder::ConsumerBuilder;
use crate::context::{self, Committer, Seek};
use crate::error::{CommitError, LookupError, PollError, PositionError, SubscribeError};
use crate::link::{Commit, Link, POLLS_QUEUED_MAX};
use crate::listener::{ErasedListener, RebalanceListener};
use crate::records::Records;
use crate::stream::RecordStream;
use crate::telemetry::Links;
use assign::topic_names;
use attend::Attendance;
pub(crate) use attend::News;
pub use close::CloseReport;
use evenkeel_core::{Answer, CallId, Command, Lifecycle};
use evenkeel_spec::words::{Committed, Epoch, GroupId, Offset, TopicName, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::PollSemaphore;

/// A member of a consumer group that reads records (KIP-848).
///
/// Calls that wait need a tokio runtime with time enabled. Every future is `Send` and may be
/// dropped at any point.
#[derive(Debug)]
pub struct Consumer {
    group: Option<GroupId>,
    link: Arc<Link>,
    /// Only ever reached through `&mut`; the lock makes the handle `Sync`.
    attendance: Mutex<Attendance>,
    poll_places: PollSemaphore,
    assigned: Assigned,
    auto_commit: bool,
    closed: bool,
}

/// Who a consumer is in its group: what a transactional producer needs (KIP-447).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupMetadata {
    /// The group; `None`: the consumer has no `group.id`.
    pub group: Option<GroupId>,
    /// The member's id and epoch; `None`: not a member as of the last poll.
    pub member: Option<(Arc<str>, Epoch)>,
}

impl Consumer {
    /// Configures a consumer.
    pub fn builder() -> ConsumerBuilder {
        ConsumerBuilder::new()
    }

    pub(crate) fn new(
        group: Option<GroupId>,
        auto_commit: bool,
        link: Arc<Link>,
        told: Told,
        links: Links,
    ) -> Self {
        let named = group.clone().unwrap_or_else(|| "".into());
        let attendance = Mutex::new(Attendance::new(named, Arc::clone(&link), told, links));
        let assigned = Assigned::default();
        let poll_places = PollSemaphore::new(Arc::new(Semaphore::new(POLLS_QUEUED_MAX)));
        Self { group, link, attendance, poll_places, assigned, auto_commit, closed: false }
    }

    /// Subscribes to exactly these topics, which need not exist yet; none unsubscribes. The member
    /// joins in the next poll. Partitions of other topics are given up in the polls to come.
    ///
    /// Cancel-safe: once polled it takes effect.
    ///
    /// # Errors
    /// See [`SubscribeError`]; the subscription is unchanged.
    pub async fn subscribe<T: Into<String>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<(), SubscribeError> {
        let topics = topic_names(topics)?;
        self.subscribe_to(topics, None).await
    }

    /// The same with a listener that is told when partitions come and go. Replaces an earlier one,
    /// except in a callback that is not over: that goes on in the next poll.
    ///
    /// Cancel-safe: once polled it takes effect, with the listener.
    ///
    /// # Errors
    /// See [`SubscribeError`]; the subscription is unchanged.
    pub async fn subscribe_with<T: Into<String>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
        listener: impl RebalanceListener,
    ) -> Result<(), SubscribeError> {
        let topics = topic_names(topics)?;
        self.subscribe_to(topics, Some(Box::new(listener))).await
    }

    async fn subscribe_to(
        &mut self,
        topics: BTreeSet<TopicName>,
        listener: Option<Box<dyn ErasedListener>>,
    ) -> Result<(), SubscribeError> {
        if topics.is_empty() {
            return self.unsubscribe().await;
        }
        let has = listener.is_some();
        let command = |call| Command::Subscribe { call, topics, listener: has };
        self.subscribe_erased(command, listener).await
    }

    async fn subscribe_erased(
        &mut self,
        command: impl FnOnce(CallId) -> Command,
        listener: Option<Box<dyn ErasedListener>>,
    ) -> Result<(), SubscribeError> {
        let asked = self.link.ask_own(command);
        // The command is on its way: the listener must be in place whatever becomes of this future.
        if !asked.is_refused() {
            self.attendance().set_listener(listener);
        }
        asked.await.map_err(SubscribeError::from)?;
        Ok(())
    }

    /// Gives everything up and leaves the group, with the listener's callbacks; within
    /// `default.api.timeout.ms`. Releases what was returned. The consumer may subscribe again.
    ///
    /// Cancel-safe: once polled it goes on in the background as far as it can without callbacks; one
    /// that is open goes on in the next call that runs callbacks.
    ///
    /// # Errors
    /// See [`SubscribeError`]: also then the consumer is unsubscribed.
    pub async fn unsubscribe(&mut self) -> Result<(), SubscribeError> {
        self.commit_partial();
        self.attendance().enter();
        let taken = self.link.taken();
        let asked = self.link.ask_own(|call| Command::Unsubscribe { call, taken });
        let (mut failed, mut kept) = (None, Vec::new());
        let mut asked = pin!(asked);
        let answer = poll_fn(|context| {
            loop {
                if let Poll::Ready(answer) = asked.as_mut().poll(context) {
                    return Poll::Ready(answer);
                }
                match self.poll_attend(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(News::Failed(PollError::Listener {
                        method, reason, ..
                    }))) => {
                        failed = Some(SubscribeError::Listener { method, reason });
                    }
                    Poll::Ready(Some(News::Failed(error))) => kept.push(error),
                    // Not taken, so that no commit of a callback covers it.
                    Poll::Ready(Some(News::Delivered | News::Assigned)) => {}
                    // The background is gone; the answer says so.
                    Poll::Ready(None) => return asked.as_mut().poll(context),
                }
            }
        })
        .await;
        self.attendance().keep(kept);
        self.attend_what_came();
        self.attendance().discard();
        if answer? == (Answer::Left { confirmed: false }) {
            return Err(SubscribeError::LeaveUnconfirmed);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Waits for records, at most `timeout`, and returns them: up to `max.poll.records`, none if
    /// the time passes. Meanwhile the member joins, callbacks run, and errors are told. Releases
    /// the records of the poll before.
    ///
    /// Cancel-safe: what had come when the future is dropped is returned by the next poll, and a
    /// callback that had begun is gone on with there.
    ///
    /// # Errors
    /// See [`PollError`]; most leave the consumer as it is.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Records, PollError> {
        let began = Instant::now();
        // `None`: further away than dates reach.
        let deadline = began.checked_add(timeout);
        if timeout.is_zero() {
            // Lets the background run where it shares this thread.
            tokio::task::yield_now().await;
        }
        let inside = poll_fn(|context| self.poll_enter(context));
        let Some(mut inside) = within(deadline, inside).await else {
            return Ok(Records::default());
        };
        loop {
            if let Some(records) = self.attendance().take_records(began) {
                return Ok(records);
            }
            inside.renew();
            let news = poll_fn(|context| self.poll_attend(context));
            match within(deadline, news).await {
                None => return Ok(Records::default()),
                Some(None) => return Err(self.ended()),
                Some(Some(News::Failed(error))) => return Err(error),
                Some(Some(News::Delivered | News::Assigned)) => {}
            }
        }
    }

    /// The records one by one, as a stream. A record is released when the delivery that it came with
    /// is used up and the next one is asked for.
    /// The stream never ends by itself: it yields an error where `poll` would, and what it has not
    /// yielded when it is dropped is returned by the next poll or stream.
    /// Its next record is waited for as long as it takes: where that is too long, drop the wait, as
    /// `tokio::time::timeout` does, and go on later.
    pub fn records(&mut self) -> RecordStream<'_> {
        RecordStream::new(self)
    }

    /// The same as [`Self::records`], under the name that other clients use.
    pub fn stream(&mut self) -> RecordStream<'_> {
        self.records()
    }

    /// Commits everything that was returned so far, and waits until the coordinator has confirmed
    /// it, at most `default.api.timeout.ms`. Dropped before, it is withdrawn if it is not on its
    /// way yet.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&self) -> Result<(), CommitError> {
        self.link.commit().await
    }

    /// Commits these offsets: of each partition the offset of the next record to read. Waits as
    /// [`Self::commit`] does, and is cancel-safe as it is.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, Committed)>,
    ) -> Result<(), CommitError> {
        let offsets: BTreeMap<_, _> = offsets.into_iter().collect();
        self.link.commit_offsets(offsets).await
    }

    /// Commits everything that was returned so far without waiting: the returned future may be
    /// awaited later, also beside a poll, or [detached](Commit::detach). Commits are sent, and their
    /// futures become ready, in the order of the calls.
    pub fn commit_async(&self) -> Commit {
        self.link.commit()
    }

    /// A handle by which other tasks commit.
    #[must_use]
    pub fn committer(&self) -> Committer {
        Committer::new(Arc::clone(&self.link))
    }

    /// The offset of the next record that `poll` returns of an assigned partition. Waits until the
    /// partition has one, at most `default.api.timeout.ms`. Cancel-safe.
    ///
    /// # Errors
    /// See [`PositionError`].
    pub async fn position(&self, partition: &TopicPartition) -> Result<Offset, PositionError> {
        context::position(&self.link, partition).await
    }

    /// The group's committed offsets of these partitions, whoever owns them; `None` where nothing
    /// is committed. Waits at most `default.api.timeout.ms`. Cancel-safe: what was not sent is
    /// withdrawn.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Option<Committed>>, LookupError> {
        let partitions: BTreeSet<_> = partitions.into_iter().collect();
        context::committed(&self.link, partitions).await
    }

    /// Moves the position of an assigned partition: the next poll returns records from there.
    /// Cancel-safe: once polled it takes effect.
    ///
    /// # Errors
    /// See [`PositionError`].
    pub async fn seek(
        &self,
        partition: &TopicPartition,
        to: impl Into<Seek>,
    ) -> Result<(), PositionError> {
        let to = to.into();
        context::seek(&self.link, partition, to).await
    }

    /// Fetches and returns no records of these assigned partitions until they are resumed or given
    /// up. Records that a poll dropped before its end had taken may still be returned once.
    /// Cancel-safe: once polled it takes effect.
    ///
    /// # Errors
    /// See [`PositionError`]; then none of them is paused.
    pub async fn pause(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), PositionError> {
        let partitions: BTreeSet<_> = partitions.into_iter().collect();
        context::pause(&self.link, partitions).await
    }

    /// Undoes [`Self::pause`]. Cancel-safe: once polled it takes effect.
    ///
    /// # Errors
    /// See [`PositionError`].
    pub async fn resume(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), PositionError> {
        let partitions: BTreeSet<_> = partitions.into_iter().collect();
        context::resume(&self.link, partitions).await
    }

    /// What is assigned. Changes only inside `poll`, `unsubscribe` and `close`.
    #[must_use]
    pub fn assignment(&self) -> &BTreeSet<TopicPartition> {
        &self.assigned.partitions
    }

    /// Who this consumer is in its group, as of the last poll.
    #[must_use]
    pub fn group_metadata(&self) -> GroupMetadata {
        GroupMetadata { group: self.group.clone(), member: self.assigned.member.clone() }
    }

    /// What the background is doing now. Needs no poll, never waits; steps are told to `tracing` as
    /// well (target `evenkeel::lifecycle`). spec/snapshot/lifecycle-table.snap has the steps that
    /// there are.
    #[must_use]
    pub fn lifecycle(&self) -> Lifecycle {
        self.link.lifecycle()
    }

    /// How often the background was woken so far, by a timer, a peer or a command: for tests of
    /// idleness and of loops that must not be busy.
    #[doc(hidden)]
    #[must_use]
    pub fn background_turns(&self) -> u64 {
        self.link.turns.load(Ordering::Relaxed)
    }

    /// The counter behind [`Self::background_turns`], for who closes the consumer meanwhile.
    #[doc(hidden)]
    #[must_use]
    pub fn watch_turns(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.link.turns)
    }

    /// Ends the background as the death of its process would: nothing is sent any more. Only where
    /// it was put on a runtime by [`ConsumerBuilder::spawn_on`]: for replays.
    #[doc(hidden)]
    pub fn abort_background(&self) {
        if let Some(task) = self.link.task.get() {
            task.abort();
        }
    }

    /// [`Self::commit_async`] with a timeout of its own instead of `default.api.timeout.ms`: for
    /// replays.
    #[doc(hidden)]
    pub fn commit_within(&self, timeout: Duration) -> Commit {
        self.link.commit_within(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
    }

    /// Why nothing comes from the background any more.
    pub(crate) fn ended(&self) -> PollError {
        if self.link.is_closed() {
            PollError::Closed
        } else {
            PollError::Background(self.link.died())
        }
    }

    pub(crate) fn attendance(&mut self) -> &mut Attendance {
        self.attendance.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// A poll begins, as soon as the background has heard of the end of all but a few before it.
    pub(crate) fn poll_enter(&mut self, context: &mut Context<'_>) -> Poll<InsidePoll> {
        let place = ready!(self.poll_places.poll_acquire(context)).expect("it is never closed");
        self.attendance().enter();
        Poll::Ready(InsidePoll::enter(&self.link, place))
    }

    /// Goes on with what came from the background; `None`: nothing comes any more.
    pub(crate) fn poll_attend(&mut self, context: &mut Context<'_>) -> Poll<Option<News>> {
        let attendance = self.attendance.get_mut().unwrap_or_else(PoisonError::into_inner);
        attendance.poll_next(&mut self.assigned, context)
    }

    /// The background has answered; what it told before that is there already.
    fn attend_what_came(&mut self) {
        let attendance = self.attendance.get_mut().unwrap_or_else(PoisonError::into_inner);
        attendance.take_what_came(&mut self.assigned);
    }

    fn group_name(&self) -> &str {
        self.group.as_ref().map_or("", |group| group.as_str())
    }
}

/// Tells the background that the application is inside `poll` as long as it lives.
#[derive(Debug)]
pub(crate) struct InsidePoll {
    link: Arc<Link>,
    taken: u64,
    /// `None`: it is over.
    place: Option<OwnedSemaphorePermit>,
}

impl InsidePoll {
    fn enter(link: &Arc<Link>, place: OwnedSemaphorePermit) -> Self {
        link.metrics.on_inside();
        let taken = link.taken();
        link.tell(Command::Poll { taken });
        Self { link: Arc::clone(link), taken, place: Some(place) }
    }

    /// Asks for the next delivery, if all of one was withdrawn meanwhile.
    pub(crate) fn renew(&mut self) {
        let taken = self.link.taken();
        if std::mem::replace(&mut self.taken, taken) != taken {
            self.link.tell(Command::Poll { taken });
        }
    }
}

impl Drop for InsidePoll {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.link.tell_outside(place);
        }
        self.link.metrics.on_outside();
    }
}

/// `None`: the time is over. A deadline of `None` is further away than dates reach.
async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
