//! The background of one consumer: one task that owns the core, the connections and the records
//! that were not returned yet.
//!
//! Decides where it runs: by default on a thread of its own with its own runtime, so that an
//! application that blocks its runtime cannot stop heartbeats.

mod callback;
mod driver;
mod flight;
mod lease;
mod rebalance;
mod story;
mod trace;
mod word;

pub(crate) use callback::{CallbackSpan, Within};
pub(crate) use lease::Lease;
pub(crate) use trace::{micros, named, refused, said};

use crate::builder::EndWatch;
use crate::config::{Config, ConfigError};
use crate::link::{CLOSED, Link, Messages};
use crate::net::transport::Connector;
use crate::panics;
use crate::record::RecordError;
use crate::recorder::Sink;
use crate::records::PartitionRecords;
use crate::telemetry::{Metrics, Queued};
use driver::Driver;
use evenkeel_core::{Callback, Incarnation, Lifecycle, PollFault};
use evenkeel_spec::words::{Epoch, LeaderEpoch, Offset, TopicPartition};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, oneshot};

/// Tells what the background has to say to whoever watches.
type Teller = crate::telemetry::Teller<word::Word>;

/// What the background tells the consumer, in order. The core keeps it short: one delivery, one
/// callback and few faults at a time.
#[derive(Debug)]
pub(crate) enum Event {
    /// Records.
    Deliver(Delivery),
    /// Bad news.
    Failed(PollFault<RecordError>),
    /// A callback to run.
    Call {
        incarnation: Incarnation,
        callback: Callback,
        partitions: BTreeSet<TopicPartition>,
        /// The rebalance that it is a part of.
        within: Within,
    },
    /// What is assigned from here on.
    Assigned(Note),
}

impl Event {
    /// As it is called in metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Deliver(_) => "records",
            Self::Failed(_) => "error",
            Self::Call { .. } => "callback",
            Self::Assigned(_) => "assignment",
        }
    }
}

/// What is assigned, on its way to the handle: the newest word goes over one that nobody has read
/// yet, so that however often an epoch changes while the application is away, one event waits. The
/// lock is held while a value is swapped, and by nobody's code but this.
#[derive(Clone, Debug)]
pub(crate) struct Note(Arc<Mutex<Option<Assigned>>>);

impl Note {
    fn new(assigned: Assigned) -> Self {
        Self(Arc::new(Mutex::new(Some(assigned))))
    }

    /// Says a newer word, unless the last one was read.
    fn amend(&self, assigned: &Assigned) -> bool {
        let mut unread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_unread = unread.is_some();
        if is_unread {
            *unread = Some(assigned.clone());
        }
        is_unread
    }

    /// Reads it; the background tells anew from here on.
    pub(crate) fn read(&self) -> Option<Assigned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Records that were delivered to the handle and, until it returns them, may still be withdrawn.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) number: u64,
    pub(crate) parts: Vec<LeasedPart>,
}

impl Delivery {
    /// Whether there is no record in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.records.is_empty())
    }
}

/// Records of one partition, as long as their lease lasts.
#[derive(Debug)]
pub(crate) struct LeasedPart {
    pub(crate) records: PartitionRecords,
    pub(crate) next_offset: Offset,
    pub(crate) leader_epoch: Option<LeaderEpoch>,
    pub(crate) lease: Lease,
}

/// What is assigned, and as whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assigned {
    pub(crate) partitions: Arc<BTreeSet<TopicPartition>>,
    /// The member's id on the wire and its epoch.
    pub(crate) member: Option<(Arc<str>, Epoch)>,
}

/// How the background is started.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) config: Config,
    pub(crate) connector: Arc<dyn Connector>,
    /// Where to run; `None`: on an own thread.
    pub(crate) runtime: Option<Handle>,
    /// Makes jitter and member ids reproducible.
    pub(crate) seed: Option<u64>,
    /// Where the run is written to; `None`: nowhere.
    pub(crate) record: Option<Sink>,
    /// Who is told what became of all requests, at the end.
    pub(crate) watch: Option<EndWatch>,
    pub(crate) metrics: Metrics,
}

impl Start {
    /// Starts it; the ends that the consumer holds.
    pub(crate) fn start(self) -> Result<(Arc<Link>, Told), ConfigError> {
        let (link, messages) = Link::new(&self.config.core, self.metrics.of_handle());
        let (events, queue) = mpsc::unbounded_channel();
        let (alive, end) = oneshot::channel();
        let (death, turns) = (Arc::clone(&link.death), Arc::clone(&link.turns));
        let lifecycle = Arc::clone(&link.lifecycle);
        let ends = Ends { messages, events, alive, death, turns, lifecycle };
        match self.runtime.clone() {
            Some(runtime) => {
                let task = runtime.spawn(live(self, ends));
                // The first and only task of this link.
                let _ = link.task.set(task.abort_handle());
            }
            None => {
                let failed =
                    |error: std::io::Error| ConfigError::Background { reason: error.to_string() };
                let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
                let mut runtime = OwnRuntime(Some(runtime));
                thread::Builder::new()
                    .name("evenkeel".into())
                    .spawn(move || runtime.run(live(self, ends)))
                    .map_err(failed)?;
            }
        }
        Ok((link, Told { events: queue, end }))
    }
}

/// The runtime of an own thread. Where there was no thread for it, it is dropped by who asked for
/// one, maybe on a runtime's thread, on which tokio's own drop panics.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn run(&mut self, background: impl Future<Output = ()>) {
        self.0.as_ref().expect("it is there until it is dropped").block_on(background);
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The background's ends of what leads to the application.
struct Ends {
    messages: Messages,
    events: mpsc::UnboundedSender<Queued<Event>>,
    /// Dropped when everything else is.
    alive: oneshot::Sender<Infallible>,
    death: Arc<OnceLock<Arc<str>>>,
    turns: Arc<AtomicU64>,
    lifecycle: Arc<AtomicUsize>,
}

/// What the handle can see of the background at any time.
#[derive(Debug)]
struct Shown {
    /// How often the loop was woken.
    turns: Arc<AtomicU64>,
    /// The place in [`Lifecycle::ALL`].
    place: Arc<AtomicUsize>,
    lifecycle: Lifecycle,
}

impl Shown {
    fn new(turns: Arc<AtomicU64>, place: Arc<AtomicUsize>) -> Self {
        Self { turns, place, lifecycle: Lifecycle::default() }
    }

    fn turned(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Says whether it is another one than before.
    fn show(&mut self, now: Lifecycle) -> bool {
        let is_step = std::mem::replace(&mut self.lifecycle, now) != now;
        if is_step {
            let place = Lifecycle::ALL.iter().position(|state| *state == now);
            self.place.store(place.expect("every state is there"), Ordering::Relaxed);
        }
        is_step
    }
}

/// The consumer's ends of what comes from the background.
#[derive(Debug)]
pub(crate) struct Told {
    /// What it tells, in order.
    pub(crate) events: mpsc::UnboundedReceiver<Queued<Event>>,
    /// Resolves when the background is over, whatever it told before.
    pub(crate) end: oneshot::Receiver<Infallible>,
}

/// Drives to the end and says why it came, before anybody can notice that it has come. An abort, or
/// the end of the runtime, comes without a word: [`Link::died`] knows that.
async fn live(start: Start, ends: Ends) {
    let Ends { messages, events, alive, death, turns, lifecycle } = ends;
    let mut driver = Driver::new(start, messages, events, Shown::new(turns, lifecycle));
    let reason = match panics::caught(driver.run()).await {
        Ok(()) => CLOSED.to_owned(),
        Err(panic) => {
            tracing::error!("the consumer's background panicked: {panic}");
            format!("it panicked: {panic}; this is a bug of evenkeel")
        }
    };
    // Nobody else sets it.
    let _ = death.set(reason.into());
    drop(driver);
    drop(alive);
}

#[cfg(test)]
mod tests {
    use super::OwnRuntime;
    use tokio::runtime::Builder;

    /// Where no thread could be had; tokio's own drop panics here.
    #[tokio::test]
    async fn a_runtime_without_a_thread_is_dropped_on_the_applications_runtime() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("it starts");
        let handle = runtime.handle().clone();
        drop(OwnRuntime(Some(runtime)));
        assert!(handle.spawn(async {}).await.expect_err("it is over").is_cancelled());
    }
}
