//! An application around the shipped consumer: does what the trace says, and remembers what it
//! heard.

use super::super::view::{News, Told};
use crate::replay::core::WrongDriver;
use evenkeel::{
    CommitError, Consumer, ListenerError, PollError, RebalanceContext, RebalanceListener, Records,
    Seek, SubscribeError, TopicPartition,
};
use evenkeel_core::group;
use evenkeel_model::bounds::Slice;
use evenkeel_model::system::Call;
use evenkeel_spec::words::{Offset, Partitions, TopicId, TopicIdPartition, TopicName};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What the application is told to do.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Subscribes to these topics.
    Subscribe(Vec<String>),
    /// Enters poll.
    Poll,
    /// Drops the poll that it is in.
    Leave,
    /// Does not look any more what comes for the poll that it is in, until it drops it.
    Miss,
    /// Reads this partition from elsewhere.
    Seek(TopicPartition, Seek),
    /// Commits everything that was returned.
    Commit,
    /// Unsubscribes.
    Unsubscribe,
    /// Dies with its process.
    Die,
}

/// What the application is inside of and what it heard.
#[derive(Clone, Debug)]
pub(super) struct Heard(Arc<Mutex<Ear>>);

/// See [`Heard`].
#[derive(Debug)]
pub(super) struct Ear {
    /// What it is inside of.
    pub(super) call: Call,
    /// The callback that it is in.
    pub(super) callback: Option<OpenCallback>,
    /// What it heard since this was emptied.
    pub(super) news: Vec<News>,
    /// What it was told to be assigned when a poll returned or a callback began, since then.
    pub(super) assignment: Option<Partitions>,
    /// What it did not expect, in words.
    pub(super) surprises: Vec<String>,
    /// Something has come for a poll that does not look: the next one returns it.
    pub(super) has_missed: bool,
    callbacks: u64,
}

/// A callback that has not returned.
#[derive(Debug)]
pub(super) struct OpenCallback {
    /// Which, and its partitions.
    pub(super) told: (Told, Partitions),
    number: u64,
    end: oneshot::Sender<bool>,
}

impl OpenCallback {
    /// Lets it return, well or not.
    pub(super) fn end(self, ok: bool) {
        // Nobody waits where the listener is the wrong one.
        let _ = self.end.send(ok);
    }
}

impl Heard {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Ear {
            call: Call::Outside,
            callback: None,
            news: Vec::new(),
            assignment: None,
            surprises: Vec::new(),
            has_missed: false,
            callbacks: 0,
        })))
    }

    pub(super) fn ear(&self) -> MutexGuard<'_, Ear> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn news(&self, news: News) {
        self.ear().news.push(news);
    }

    fn surprise(&self, what: String) {
        let mut ear = self.ear();
        ear.news.push(News::Surprised);
        ear.surprises.push(what);
    }

    fn look(&self, topics: &Topics, assignment: &BTreeSet<TopicPartition>) {
        let ids = assignment.iter().filter_map(|p| topics.by_id(&p.topic, p.partition));
        self.ear().assignment = Some(ids.collect());
    }

    fn calls(&self, call: Call) {
        self.ear().call = call;
    }
}

/// The application's task.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) consumer: Consumer,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) heard: Heard,
    pub(super) listens: bool,
    pub(super) wrong: Option<WrongDriver>,
    pub(super) topics: Topics,
}

impl Application {
    /// Does what it is told until it dies or nobody tells it anything.
    pub(super) async fn run(mut self) {
        let mut next = self.orders.recv().await;
        while let Some(order) = next {
            next = match order {
                Order::Die => return self.consumer.abort_background(),
                Order::Subscribe(topics) => self.subscribe(topics).await,
                Order::Poll => self.poll().await,
                Order::Unsubscribe => self.unsubscribe().await,
                Order::Commit => self.commit(),
                Order::Seek(partition, to) => self.seek(&partition, to).await,
                Order::Leave | Order::Miss => None,
            };
            if next.is_none() {
                next = self.orders.recv().await;
            }
        }
    }

    async fn subscribe(&mut self, topics: Vec<String>) -> Option<Order> {
        let subscribed = if self.listens {
            let (heard, wrong) = (self.heard.clone(), self.wrong);
            let listener = Listener { heard, wrong, topics: self.topics.clone() };
            self.consumer.subscribe_with(topics, listener).await
        } else {
            self.consumer.subscribe(topics).await
        };
        if let Err(error) = subscribed {
            self.heard.surprise(format!("subscribe: {error}"));
        }
        None
    }

    /// Polls until records come, a callback fails, or another order: then what that is.
    async fn poll(&mut self) -> Option<Order> {
        self.heard.calls(Call::Poll);
        let order = loop {
            let polled = {
                let mut poll = pin!(self.consumer.poll(FOREVER));
                let polled = tokio::select! {
                    biased;
                    order = self.orders.recv() => Err(order),
                    polled = &mut poll => Ok(polled),
                };
                match polled {
                    // The poll lives on, and nobody looks.
                    Err(Some(Order::Miss)) => Err(missing(&mut self.orders, &self.heard).await),
                    polled => polled,
                }
            };
            match polled {
                Err(order) => break order,
                Ok(Ok(records)) => {
                    self.take(&records);
                    break None;
                }
                Ok(Err(PollError::Listener { .. })) => break None,
                // The model's poll without a subscription goes on until the application leaves it.
                Ok(Err(PollError::NotSubscribed)) => break self.orders.recv().await,
                // Bad news end a poll; this application polls again at once. The model's go on.
                Ok(Err(PollError::Fatal { .. })) => {}
                Ok(Err(error @ (PollError::Background(_) | PollError::Closed))) => {
                    self.heard.surprise(format!("poll: {error}"));
                    break self.orders.recv().await;
                }
                Ok(Err(error)) => self.heard.surprise(format!("poll: {error}")),
            }
        };
        self.heard.calls(Call::Outside);
        order.filter(|order| !matches!(order, Order::Leave))
    }

    fn take(&self, records: &Records) {
        let mut count = 0;
        for record in records {
            count += 1;
            match self.topics.by_id(&record.topic.into(), record.partition) {
                Some(partition) => {
                    self.heard.news(News::Returned(partition, Offset(record.offset.0 + 1)));
                }
                None => self.heard.surprise("a record of an unknown topic".to_owned()),
            }
        }
        // What a dropped poll left was told when it came, and the assignment with it.
        if !std::mem::take(&mut self.heard.ear().has_missed) {
            self.heard.look(&self.topics, self.consumer.assignment());
        }
        if count == 0 {
            self.heard.surprise("poll returned nothing".to_owned());
        }
    }

    async fn seek(&mut self, partition: &TopicPartition, to: Seek) -> Option<Order> {
        self.heard.ear().has_missed = false;
        if let Err(error) = self.consumer.seek(partition, to).await {
            self.heard.surprise(format!("seek: {error}"));
        }
        None
    }

    async fn unsubscribe(&mut self) -> Option<Order> {
        self.heard.ear().has_missed = false;
        self.heard.calls(Call::Unsubscribe);
        let left = tokio::select! {
            biased;
            order = self.orders.recv() => Err(order),
            left = self.consumer.unsubscribe() => Ok(left),
        };
        self.heard.calls(Call::Outside);
        // Dropped: what it has begun goes on.
        let left = match left {
            Ok(left) => left,
            Err(order) => return order,
        };
        match left {
            Ok(()) | Err(SubscribeError::Listener { .. }) => self.heard.news(News::Left(true)),
            Err(SubscribeError::LeaveUnconfirmed) => self.heard.news(News::Left(false)),
            Err(error) => self.heard.surprise(format!("unsubscribe: {error}")),
        }
        None
    }

    /// Commits beside whatever the application does next.
    fn commit(&self) -> Option<Order> {
        let (commit, heard) = (self.consumer.commit_within(FOREVER), self.heard.clone());
        tokio::spawn(async move {
            let news = match commit.await {
                Ok(()) => Ok(()),
                Err(CommitError::NotAMember) => Err(group::CommitError::NotAMember),
                Err(CommitError::NotAssigned { partition: None }) => {
                    Err(group::CommitError::NotOwned)
                }
                Err(CommitError::OwnershipEnded) => Err(group::CommitError::OwnershipEnded),
                Err(CommitError::Expired) => Err(group::CommitError::Expired),
                Err(CommitError::Refused { code }) => Err(group::CommitError::Refused(code)),
                Err(error) => return heard.surprise(format!("commit: {error}")),
            };
            heard.news(News::Committed(news));
        });
        None
    }
}

/// Waits for the next order, and notes whether anything else woke the application meanwhile: what
/// came for its poll.
async fn missing(orders: &mut mpsc::UnboundedReceiver<Order>, heard: &Heard) -> Option<Order> {
    heard.ear().has_missed = false;
    let mut is_first = true;
    poll_fn(|context| {
        let order = orders.poll_recv(context);
        let wakes = !std::mem::take(&mut is_first) && order.is_pending();
        heard.ear().has_missed |= wakes;
        order
    })
    .await
}

/// Longer than any trace.
const FOREVER: Duration = Duration::from_secs(300 * 24 * 3_600);

/// The listener: each callback lasts until the trace ends it.
struct Listener {
    heard: Heard,
    wrong: Option<WrongDriver>,
    topics: Topics,
}

impl Listener {
    async fn told(
        &mut self,
        told: Told,
        context: &RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        let ids = partitions.iter().map(|p| self.topics.by_id(&p.topic, p.partition));
        let ids: Option<Partitions> = ids.collect();
        let Some(ids) = ids else {
            self.heard.surprise("a callback for an unknown topic".to_owned());
            return Ok(());
        };
        self.heard.look(&self.topics, context.assignment());
        let (end, ended) = oneshot::channel();
        let number = {
            let mut ear = self.heard.ear();
            ear.callbacks += 1;
            let number = ear.callbacks;
            ear.callback = Some(OpenCallback { told: (told, ids), number, end });
            number
        };
        if self.wrong == Some(WrongDriver::EndsCallbacksEarly) {
            return Ok(());
        }
        let _open = Open { heard: self.heard.clone(), number };
        let ok = ended.await.unwrap_or(false);
        if ok || self.wrong == Some(WrongDriver::HidesFailures) {
            Ok(())
        } else {
            Err(ListenerError::new("the trace fails it"))
        }
    }
}

impl RebalanceListener for Listener {
    async fn on_partitions_assigned(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.told(Told::Assigned, context, partitions).await
    }

    async fn on_partitions_revoked(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.told(Told::Revoked, context, partitions).await
    }

    async fn on_partitions_lost(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.told(Told::Lost, context, partitions).await
    }
}

/// A callback is open as long as its future lives, however that ends.
struct Open {
    heard: Heard,
    number: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        let number = self.number;
        self.heard.ear().callback.take_if(|open| open.number == number);
    }
}

/// The ids of a slice's topics, by name.
#[derive(Clone, Debug)]
pub(super) struct Topics(Arc<BTreeMap<TopicName, TopicId>>);

impl Topics {
    pub(super) fn of(slice: &Slice) -> Self {
        let topics = slice.topics.iter().map(|(id, topic)| (topic.name.clone(), *id));
        Self(Arc::new(topics.collect()))
    }

    fn by_id(&self, topic: &TopicName, partition: u32) -> Option<TopicIdPartition> {
        Some(TopicIdPartition::new(*self.0.get(topic)?, partition))
    }
}
