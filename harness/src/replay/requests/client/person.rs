//! The application around the shipped consumer: does what the trace says, and remembers what it
//! heard. Its calls of the trace are tasks of their own.

use super::super::application as app;
use evenkeel::{Committer, Consumer, LookupError, Seek};
use evenkeel_core::{CallId, Command, SeekTo};
use evenkeel_spec::words::{Committed, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// What a call of the trace was answered.
pub(super) type Found = Result<BTreeMap<TopicPartition, Option<Committed>>, LookupError>;

/// What the application heard since somebody looked.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// Calls of the trace that are over.
    pub(super) found: Vec<(CallId, Found)>,
    /// The call that gave up the partitions is over.
    pub(super) given_up: Option<CallId>,
    /// What it did not expect, in words.
    pub(super) surprises: Vec<String>,
}

#[derive(Debug)]
enum Order {
    Do(Command),
    Close,
    Die,
}

/// The application, from outside.
#[derive(Debug)]
pub(super) struct Person {
    orders: mpsc::UnboundedSender<Order>,
    caller: Committer,
    calls: BTreeMap<CallId, AbortHandle>,
    ear: Arc<Mutex<Ear>>,
}

impl Person {
    /// Starts it on the present runtime.
    pub(super) fn start(consumer: Consumer) -> Self {
        let (orders, queue) = mpsc::unbounded_channel();
        let ear = Arc::<Mutex<Ear>>::default();
        let caller = consumer.committer();
        tokio::spawn(Inside { consumer, orders: queue, ear: Arc::clone(&ear) }.run());
        Self { orders, caller, calls: BTreeMap::new(), ear }
    }

    pub(super) fn ear(&self) -> MutexGuard<'_, Ear> {
        self.ear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does this.
    pub(super) fn order(&self, command: Command) {
        self.tell(Order::Do(command));
    }

    /// Closes the consumer, without time for anything.
    pub(super) fn close(&self) {
        self.tell(Order::Close);
    }

    /// Its background dies.
    pub(super) fn die(&self) {
        self.tell(Order::Die);
    }

    fn tell(&self, order: Order) {
        if self.orders.send(order).is_err() {
            self.ear().surprises.push("the application has ended".to_owned());
        }
    }

    /// Asks for committed offsets.
    pub(super) fn call(
        &mut self,
        call: CallId,
        partitions: BTreeSet<TopicPartition>,
        timeout: Duration,
    ) {
        let found = self.caller.committed_within(partitions, timeout);
        let ear = Arc::clone(&self.ear);
        let task = tokio::spawn(async move {
            let found = found.await;
            ear.lock().unwrap_or_else(PoisonError::into_inner).found.push((call, found));
        });
        self.calls.insert(call, task.abort_handle());
    }

    /// Asks something cheap that any broker answers, if there is room for it.
    pub(super) fn touch(&self) {
        tokio::spawn(self.caller.touch(app::topic()));
    }

    /// Drops the future of a call.
    pub(super) fn drop_call(&mut self, call: CallId) {
        if let Some(task) = self.calls.remove(&call) {
            task.abort();
        }
    }
}

struct Inside {
    consumer: Consumer,
    orders: mpsc::UnboundedReceiver<Order>,
    ear: Arc<Mutex<Ear>>,
}

impl Inside {
    async fn run(mut self) {
        while let Some(order) = self.orders.recv().await {
            let next = match order {
                Order::Do(Command::Unsubscribe { call, .. }) => self.give_up(call).await,
                Order::Do(command) => {
                    self.act(command).await;
                    None
                }
                last @ (Order::Close | Order::Die) => Some(last),
            };
            match next {
                Some(Order::Close) => {
                    self.consumer.close(Duration::ZERO).await;
                    return;
                }
                Some(Order::Die) => return self.consumer.abort_background(),
                Some(Order::Do(command)) => self.surprise(&format!("{command:?} during the end")),
                None => {}
            }
        }
    }

    /// Gives up its partitions, unless something else comes first: then that.
    async fn give_up(&mut self, call: CallId) -> Option<Order> {
        let given_up = tokio::select! {
            biased;
            order = self.orders.recv() => return order,
            given_up = self.consumer.unsubscribe() => given_up,
        };
        match given_up {
            Ok(()) => self.ear().given_up = Some(call),
            Err(error) => self.surprise(&error.to_string()),
        }
        None
    }

    async fn act(&mut self, command: Command) {
        let consumer = &mut self.consumer;
        let done = match command {
            Command::Assign { partitions, .. } => {
                consumer.assign(partitions).await.map_err(|error| error.to_string())
            }
            Command::Pause { partitions, .. } => {
                consumer.pause(partitions).await.map_err(|error| error.to_string())
            }
            Command::Resume { partitions, .. } => {
                consumer.resume(partitions).await.map_err(|error| error.to_string())
            }
            Command::Seek { partitions, to: SeekTo::Offset(offset), .. } => {
                let partition = partitions.first().expect("it seeks one");
                let sought = consumer.seek(partition, Seek::Offset(offset)).await;
                sought.map_err(|error| error.to_string())
            }
            Command::Poll { .. } => match consumer.poll(Duration::ZERO).await {
                Ok(records) if records.is_empty() => Ok(()),
                Ok(_) => Err("poll returned records".to_owned()),
                Err(error) => Err(error.to_string()),
            },
            // A poll ends by itself.
            Command::PollEnded => Ok(()),
            other => Err(format!("no trace orders {other:?}")),
        };
        if let Err(surprise) = done {
            self.surprise(&surprise);
        }
    }

    fn ear(&self) -> MutexGuard<'_, Ear> {
        self.ear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn surprise(&self, what: &str) {
        self.ear().surprises.push(what.to_owned());
    }
}
