//! The way from the application's side to the background: commands in, answers out.
//!
//! Shared by the consumer, its committers and the contexts of callbacks. Decides how many calls may
//! wait at once, and that a call whose caller is gone is abandoned.

mod commit;
mod unanswered;

pub use commit::Commit;
pub(crate) use unanswered::Unanswered;

use crate::background::{named, refused};
use crate::error::{BackgroundDied, DiagnoseError, QueueFull};
use crate::telemetry::{Metrics, Queue, Queued};
use evenkeel_core::diagnosis::Diagnosis;
use evenkeel_core::{Answer, CallFault, CallId, CloseReport, Command, Lifecycle};
use evenkeel_spec::words::{Committed, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// What the background receives.
#[derive(Debug)]
pub(crate) enum Message {
    /// A command that is not answered.
    Tell(Command),
    /// The application is outside of a poll.
    PollEnded {
        /// The poll's place among those that the background has not heard the end of.
        _place: OwnedSemaphorePermit,
    },
    /// A command that is answered.
    Ask {
        call: CallId,
        command: Command,
        answer: oneshot::Sender<Result<Answer, CallFault>>,
        /// Its place among the calls that wait, held until it is answered or given up.
        permit: OwnedSemaphorePermit,
    },
    /// What the core says of itself.
    Diagnose {
        answer: oneshot::Sender<Diagnosis>,
        /// Its place among those that wait.
        _place: OwnedSemaphorePermit,
    },
    /// The end.
    Close { command: Command, answer: oneshot::Sender<CloseReport> },
}

impl Message {
    /// As it is called in metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Tell(command) | Self::Ask { command, .. } | Self::Close { command, .. } => {
                named(command)
            }
            Self::PollEnded { .. } => named(&Command::PollEnded),
            Self::Diagnose { .. } => DIAGNOSE,
        }
    }
}

/// The background's end of the way.
pub(crate) type Messages = mpsc::UnboundedReceiver<Queued<Message>>;

/// The application's end of the way.
#[derive(Debug)]
pub(crate) struct Link {
    messages: mpsc::UnboundedSender<Queued<Message>>,
    permits: Arc<Semaphore>,
    /// Those of `subscribe` and `unsubscribe`, which other tasks' calls must not keep out.
    own_permits: Arc<Semaphore>,
    /// Those of diagnoses, which wait for one instead of being refused.
    diagnose_permits: Arc<Semaphore>,
    next_call: Arc<AtomicU64>,
    /// Why the background ended, if it did so by itself.
    pub(crate) death: Arc<OnceLock<Arc<str>>>,
    /// How often the background's loop was woken.
    pub(crate) turns: Arc<AtomicU64>,
    /// What it is doing, as the place in [`Lifecycle::ALL`].
    pub(crate) lifecycle: Arc<AtomicUsize>,
    /// `default.api.timeout.ms`.
    pub(crate) timeout_ms: u64,
    /// The background, where it is a task of a runtime that was given.
    pub(crate) task: OnceLock<AbortHandle>,
    progress: Arc<Mutex<Progress>>,
    /// Refusals in a row.
    refused: Arc<AtomicU32>,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    backoff_ms: (u64, u64),
    pub(crate) metrics: Metrics,
}

/// How far the application got in what was delivered to the handle.
#[derive(Debug, Default)]
struct Progress {
    /// The last delivery that was returned whole.
    taken: u64,
    /// What was returned of the next one, by a stream.
    partial: BTreeMap<TopicPartition, Committed>,
}

impl Link {
    /// The link, and the end that the background reads.
    pub(crate) fn new(config: &evenkeel_core::Config, metrics: Metrics) -> (Arc<Self>, Messages) {
        let (messages, queue) = mpsc::unbounded_channel();
        let link = Self {
            messages,
            permits: Arc::new(Semaphore::new(config.request_queue_max)),
            own_permits: Arc::new(Semaphore::new(OWN_CALLS_QUEUED_MAX)),
            diagnose_permits: Arc::new(Semaphore::new(DIAGNOSES_QUEUED_MAX)),
            next_call: Arc::default(),
            death: Arc::default(),
            turns: Arc::default(),
            lifecycle: Arc::default(),
            timeout_ms: config.default_api_timeout_ms,
            task: OnceLock::new(),
            progress: Arc::default(),
            refused: Arc::default(),
            backoff_ms: (config.retry_backoff_ms, config.retry_backoff_max_ms),
            metrics,
        };
        (Arc::new(link), queue)
    }

    /// The same for a listener, whose calls have places of their own (Q3): the rebalance waits for
    /// them.
    pub(crate) fn for_listener(&self) -> Arc<Self> {
        Arc::new(Self {
            messages: self.messages.clone(),
            permits: Arc::new(Semaphore::new(LISTENER_CALLS_MAX)),
            own_permits: Arc::clone(&self.own_permits),
            diagnose_permits: Arc::clone(&self.diagnose_permits),
            next_call: Arc::clone(&self.next_call),
            death: Arc::clone(&self.death),
            turns: Arc::clone(&self.turns),
            lifecycle: Arc::clone(&self.lifecycle),
            timeout_ms: self.timeout_ms,
            task: self.task.clone(),
            progress: Arc::clone(&self.progress),
            refused: Arc::clone(&self.refused),
            backoff_ms: self.backoff_ms,
            metrics: self.metrics.clone(),
        })
    }

    /// If nobody listens, what would have answered is dropped with the message.
    fn send(&self, message: Message) {
        let _ = self.messages.send(self.metrics.queued(Queue::Application, message));
    }

    /// Sends what is not answered. Whether anybody listens shows in what is answered.
    pub(crate) fn tell(&self, command: Command) {
        self.send(Message::Tell(command));
    }

    /// The application is outside of the poll that had this place.
    pub(crate) fn tell_outside(&self, place: OwnedSemaphorePermit) {
        self.send(Message::PollEnded { _place: place });
    }

    /// Sends a command and gives the future of its answer.
    pub(crate) fn ask(self: &Arc<Self>, command: impl FnOnce(CallId) -> Command) -> Call {
        self.ask_with(Arc::clone(&self.permits).try_acquire_owned().ok(), command)
    }

    /// The same for what only the consumer itself can ask for, one at a time.
    pub(crate) fn ask_own(self: &Arc<Self>, command: impl FnOnce(CallId) -> Command) -> Call {
        self.ask_with(Arc::clone(&self.own_permits).try_acquire_owned().ok(), command)
    }

    /// `None`: there is no place.
    fn ask_with(
        self: &Arc<Self>,
        permit: Option<OwnedSemaphorePermit>,
        command: impl FnOnce(CallId) -> Command,
    ) -> Call {
        let (answer, answered) = oneshot::channel();
        let id = CallId(self.next_call.fetch_add(1, Ordering::Relaxed));
        let command = command(id);
        // Nobody is told of a call that was refused, nor that it is abandoned.
        let settled = permit.is_none();
        match permit {
            Some(permit) => {
                self.refused.store(0, Ordering::Relaxed);
                self.send(Message::Ask { call: id, command, answer, permit });
            }
            None => {
                refused(&command, &self.metrics);
                let _ = answer.send(Err(CallFault::QueueFull));
            }
        }
        Call { link: Arc::clone(self), id, answered, settled }
    }

    /// One more call in a row was refused; how long its caller is asked to wait (KIP-580's backoff).
    fn refuse(&self, call: CallId) -> QueueFull {
        let (base, cap) = self.backoff_ms;
        let doublings = self.refused.fetch_add(1, Ordering::Relaxed).min(DOUBLINGS_MAX);
        let length = base.saturating_mul(1 << doublings).min(cap.max(base)).max(1);
        // Callers that are refused at once do not come back at once.
        let draw = call.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let retry_after = Duration::from_micros(length.saturating_mul(800 + draw % 401));
        QueueFull { retry_after }
    }

    /// Asks the core what it waits for. The background answers in its turn, whatever else waits.
    pub(crate) async fn diagnose(&self) -> Result<Diagnosis, DiagnoseError> {
        let asked = async {
            // Dropped before its answer, the question keeps its place until it was read.
            let place = Arc::clone(&self.diagnose_permits).acquire_owned().await.ok()?;
            let (answer, answered) = oneshot::channel();
            self.send(Message::Diagnose { answer, _place: place });
            answered.await.ok()
        };
        match timeout(Duration::from_millis(self.timeout_ms), asked).await {
            Ok(Some(diagnosis)) => Ok(diagnosis),
            Ok(None) if self.is_closed() => Err(DiagnoseError::Closed),
            Ok(None) => Err(DiagnoseError::Background(self.died())),
            Err(_elapsed) => {
                self.metrics.on_expired(DIAGNOSE);
                Err(DiagnoseError::TimedOut)
            }
        }
    }

    /// Asks for the end; the answer's sender is dropped if there is nobody to end.
    pub(crate) fn close(&self, timeout_ms: u64) -> oneshot::Receiver<CloseReport> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Close { taken: self.taken(), timeout_ms };
        self.send(Message::Close { command, answer });
        answered
    }

    /// The last delivery that was returned whole.
    pub(crate) fn taken(&self) -> u64 {
        self.progress().taken
    }

    /// A delivery was returned to its end, or nothing of it may be returned any more.
    pub(crate) fn set_taken(&self, number: u64) {
        *self.progress() = Progress { taken: number, partial: BTreeMap::new() };
    }

    /// A stream returned the record before this offset.
    pub(crate) fn set_partial(&self, partition: &TopicPartition, next: Committed) {
        let mut progress = self.progress();
        match progress.partial.get_mut(partition) {
            Some(offset) => *offset = next,
            None => {
                progress.partial.insert(partition.clone(), next);
            }
        }
    }

    /// The application reads these partitions from elsewhere, if what asks for it is not refused.
    /// Nothing is committed between the two.
    pub(crate) fn reading_elsewhere(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        ask: impl FnOnce() -> Call,
    ) -> Call {
        let mut progress = self.progress();
        let asked = ask();
        if !asked.is_refused() {
            progress.partial.retain(|partition, _| !partitions.contains(partition));
        }
        asked
    }

    /// Nothing of other partitions is the application's any more.
    pub(crate) fn retain_partial(&self, is_kept: impl Fn(&TopicPartition) -> bool) {
        self.progress().partial.retain(|partition, _| is_kept(partition));
    }

    /// Whether a stream returned a part of a delivery.
    pub(crate) fn has_partial(&self) -> bool {
        !self.progress().partial.is_empty()
    }

    /// Why there is no answer.
    pub(crate) fn died(&self) -> BackgroundDied {
        let reason = self.death.get().cloned();
        BackgroundDied { reason: reason.unwrap_or_else(|| ABORTED.into()) }
    }

    /// What the background is doing.
    pub(crate) fn lifecycle(&self) -> Lifecycle {
        if self.is_over() {
            return Lifecycle::Down;
        }
        Lifecycle::ALL[self.lifecycle.load(Ordering::Relaxed)]
    }

    /// Whether the background is over, for whatever reason.
    pub(crate) fn is_over(&self) -> bool {
        self.messages.is_closed()
    }

    /// Fails where nobody is there to be asked.
    pub(crate) fn alive(&self) -> Result<(), Unanswered> {
        if self.is_over() { Err(self.unanswered()) } else { Ok(()) }
    }

    /// Nobody answers: the consumer was closed, or its background died.
    fn unanswered(&self) -> Unanswered {
        if self.death.get().is_some_and(|reason| &**reason == CLOSED) {
            Unanswered::Fault(CallFault::Closed)
        } else {
            Unanswered::Died(self.died())
        }
    }

    /// Whether the background ended because it was told to.
    pub(crate) fn is_closed(&self) -> bool {
        self.death.get().is_some_and(|reason| &**reason == CLOSED)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that waits for its answer; dropped before, the call is abandoned.
#[derive(Debug)]
pub(crate) struct Call {
    link: Arc<Link>,
    id: CallId,
    answered: oneshot::Receiver<Result<Answer, CallFault>>,
    settled: bool,
}

impl Call {
    /// Whether it was refused before anybody was told of it.
    pub(crate) fn is_refused(&self) -> bool {
        self.settled
    }

    /// Goes on without anybody waiting.
    pub(crate) fn detach(mut self) {
        self.settled = true;
    }
}

impl Future for Call {
    type Output = Result<Answer, Unanswered>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answered).poll(context));
        self.settled = true;
        Poll::Ready(match answer {
            Ok(Err(CallFault::QueueFull)) => Err(Unanswered::QueueFull(self.link.refuse(self.id))),
            Ok(answer) => answer.map_err(Unanswered::Fault),
            Err(_) => Err(self.link.unanswered()),
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.settled {
            self.link.tell(Command::Abandon { call: self.id });
        }
    }
}

/// A question of [`Link::diagnose`], in metrics.
const DIAGNOSE: &str = "diagnose";

/// Why the background ended, if it was told to.
pub(crate) const CLOSED: &str = "the consumer is closed";

/// Why it ended, if it could not say so.
const ABORTED: &str = "its task was aborted, or its runtime shut down";

/// Calls of one callback that wait at once. It awaits most of them one by one.
const LISTENER_CALLS_MAX: usize = 64;

/// A backoff that is not capped earlier stops growing after so many refusals: 1,024 times its base.
const DOUBLINGS_MAX: u32 = 10;

/// Diagnoses that wait for the background at once: more tasks than ask one consumer on purpose.
const DIAGNOSES_QUEUED_MAX: usize = 16;

/// One goes on at a time; more are there if they end faster than the background turns, and the next
/// one waits for it: without a bound, polls that do not wait would fill its queue.
pub(crate) const POLLS_QUEUED_MAX: usize = 16;

/// One waits at a time; more are there if they are dropped faster than the background turns.
const OWN_CALLS_QUEUED_MAX: usize = 16;
