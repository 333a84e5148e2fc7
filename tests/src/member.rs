//! evenkeel as a member of a group that says what it does in the events of Kafka's
//! `VerifiableConsumer`: on a thread of the test ([`Thread`]), or as a process that can be killed
//! (`src/bin/evenkeel-member.rs`).

use crate::process;
use crate::validated::Recording;
use evenkeel::{
    CloseReport, CommitError, Consumer, ConsumerBuilder, ListenerError, PollError,
    RebalanceContext, RebalanceListener, Records, TopicPartition,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// What a member shall do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// `group.id`.
    pub group: String,
    /// The topic, which is read from its beginning.
    pub topic: String,
    /// Whether the client commits by itself; else what each poll returned is committed before the
    /// next one.
    pub auto_commit: bool,
    /// Whether a listener says what is assigned, revoked and lost; else the assignment after each
    /// poll does, and a loss is taken for a revocation.
    pub listens: bool,
    /// More of Kafka's keys.
    pub properties: Vec<(String, String)>,
    /// Where its run is written to, for who looks at it after the process is gone; `None`: into
    /// memory, and it is held against the model at the end.
    pub record: Option<PathBuf>,
}

/// Why a member ended otherwise than it was asked to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// It could not be set up.
    #[error("a member could not be set up: {0}")]
    Setup(String),
    /// A poll failed for good.
    #[error("a member ended: {0}")]
    Ended(PollError),
    /// It closed, and something was lost.
    #[error("a member did not close well: {0:?}")]
    Closed(CloseReport),
    /// What it did is not what the model permits.
    #[error("a member's run is {0}")]
    NotPermitted(String),
    /// Its thread panicked.
    #[error("a member panicked")]
    Panicked,
}

impl Settings {
    /// A member of the group `name` that reads the topic `name`, commits after each poll, and
    /// listens.
    #[must_use]
    pub fn new(bootstrap: &str, name: &str) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            group: name.into(),
            topic: name.into(),
            auto_commit: false,
            listens: true,
            properties: Vec::new(),
            record: None,
        }
    }

    /// One of Kafka's keys.
    #[must_use]
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.into(), value.into()));
        self
    }
}

/// A member on a thread of its own.
#[derive(Debug)]
pub struct Thread {
    seen: Arc<Mutex<Seen>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), MemberError>>,
}

#[derive(Debug, Default)]
struct Seen {
    events: Vec<Value>,
    ended: bool,
}

impl Thread {
    /// Starts it.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stop, stopped) = oneshot::channel();
        let watched = Arc::clone(&seen);
        let said = Arc::clone(&seen);
        let say = move |event| {
            lock(&said).events.push(event);
            process::changed();
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let ended = match runtime {
                // A sender that was dropped asks for the end, too.
                Ok(runtime) => runtime.block_on(consume(&settings, say, async {
                    let _ = stopped.await;
                })),
                Err(error) => Err(MemberError::Setup(error.to_string())),
            };
            lock(&watched).ended = true;
            process::changed();
            ended
        });
        Self { seen, stop, thread }
    }

    /// Looks at its events so far.
    pub fn look<T>(&self, look: impl FnOnce(&[Value]) -> T) -> T {
        look(&lock(&self.seen).events)
    }

    /// Whether it ended although nobody asked it to: [`Thread::leave`] says why.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        lock(&self.seen).ended
    }

    /// Closes it; its events.
    ///
    /// # Errors
    /// See [`MemberError`].
    pub fn leave(self) -> Result<Vec<Value>, MemberError> {
        // A member that is gone already says why below.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| MemberError::Panicked)??;
        Ok(std::mem::take(&mut lock(&self.seen).events))
    }
}

/// Consumes until `stop`, then closes; says each event as it happens. Its run must be one that the
/// model permits.
///
/// # Errors
/// See [`MemberError`]; a failed poll or commit after which the consumer goes on is an event.
pub async fn consume(
    settings: &Settings,
    say: impl Fn(Value) + Clone + Send + 'static,
    stop: impl Future<Output = ()>,
) -> Result<(), MemberError> {
    let builder = Consumer::builder();
    if let Some(file) = &settings.record {
        let file = File::create(file).map_err(|error| MemberError::Setup(error.to_string()))?;
        return consume_by(builder.record_run(file), settings, say, stop).await;
    }
    let recording = Recording::default();
    let builder = builder.record_run(recording.clone());
    let ended = consume_by(builder, settings, say.clone(), stop).await;
    let events = recording.check().map_err(MemberError::NotPermitted)?;
    say(json!({"name": "run_permitted", "events": events}));
    ended
}

async fn consume_by(
    builder: ConsumerBuilder,
    settings: &Settings,
    say: impl Fn(Value) + Clone + Send + 'static,
    stop: impl Future<Output = ()>,
) -> Result<(), MemberError> {
    let mut builder = builder
        .bootstrap_servers(&settings.bootstrap)
        .group_id(&settings.group)
        .property("auto.offset.reset", "earliest")
        .enable_auto_commit(settings.auto_commit);
    for (key, value) in &settings.properties {
        builder = builder.property(key, value);
    }
    let setup = |error: &dyn std::error::Error| MemberError::Setup(error.to_string());
    let mut consumer = builder.build().map_err(|error| setup(&error))?;
    let topics = [settings.topic.as_str()];
    let subscribed = if settings.listens {
        consumer.subscribe_with(topics, Narrator(say.clone())).await
    } else {
        consumer.subscribe(topics).await
    };
    subscribed.map_err(|error| setup(&error))?;
    say(json!({"name": "startup_complete"}));

    let mut stop = pin!(stop);
    let mut owned = BTreeSet::new();
    loop {
        // The poll that is dropped here loses nothing: that is part of what is tested.
        let polled = tokio::select! {
            biased;
            () = &mut stop => break,
            polled = consumer.poll(POLL) => polled,
        };
        if !settings.listens {
            tell_change(&mut owned, consumer.assignment(), &say);
        }
        match polled {
            Ok(records) if records.is_empty() => {}
            Ok(records) => {
                let spans = spans(&records);
                drop(records);
                say(consumed(&spans));
                if !settings.auto_commit {
                    let outcome = consumer.commit().await;
                    say(committed(&spans, outcome.err().as_ref()));
                }
            }
            Err(
                error @ (PollError::Closed
                | PollError::Background(_)
                | PollError::NotSubscribed
                | PollError::Fatal { .. }),
            ) => return Err(MemberError::Ended(error)),
            Err(error) => say(json!({"name": "poll_failed", "error": error.to_string()})),
        }
    }
    let report = consumer.close(CLOSE).await;
    say(json!({"name": "shutdown_complete"}));
    let well = report.left && report.callbacks_failed.is_empty() && report.calls_failed == 0;
    if well { Ok(()) } else { Err(MemberError::Closed(report)) }
}

/// Says what comes and goes.
struct Narrator<S>(S);

impl<S: Fn(Value) + Send + 'static> RebalanceListener for Narrator<S> {
    async fn on_partitions_assigned(
        &mut self,
        _: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.0(changed("partitions_assigned", partitions));
        Ok(())
    }

    async fn on_partitions_revoked(
        &mut self,
        _: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.0(changed("partitions_revoked", partitions));
        Ok(())
    }

    async fn on_partitions_lost(
        &mut self,
        _: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.0(changed("partitions_lost", partitions));
        Ok(())
    }
}

/// Says how the assignment differs from `owned`, and remembers it.
fn tell_change(
    owned: &mut BTreeSet<TopicPartition>,
    now: &BTreeSet<TopicPartition>,
    say: &impl Fn(Value),
) {
    let gone: Vec<_> = owned.difference(now).cloned().collect();
    let new: Vec<_> = now.difference(owned).cloned().collect();
    for (name, partitions) in [("partitions_revoked", gone), ("partitions_assigned", new)] {
        if !partitions.is_empty() {
            say(changed(name, &partitions));
        }
    }
    owned.clone_from(now);
}

fn changed(name: &str, partitions: &[TopicPartition]) -> Value {
    let part = |at: &TopicPartition| json!({"topic": at.topic.as_str(), "partition": at.partition});
    json!({"name": name, "partitions": partitions.iter().map(part).collect::<Vec<_>>()})
}

/// Count, first and last offset of each partition's records.
type Spans = BTreeMap<(String, u32), (u64, u64, u64)>;

fn spans(records: &Records) -> Spans {
    let mut spans = Spans::new();
    for record in records {
        let offset = record.offset.0;
        let span = spans.entry((record.topic.to_string(), record.partition));
        let span = span.or_insert((0, offset, offset));
        (span.0, span.2) = (span.0 + 1, offset);
    }
    spans
}

fn consumed(spans: &Spans) -> Value {
    let part = |((topic, partition), (count, first, last)): (&(String, u32), &(u64, u64, u64))| {
        json!({"topic": topic, "partition": partition, "count": count,
            "minOffset": first, "maxOffset": last})
    };
    let count: u64 = spans.values().map(|span| span.0).sum();
    let parts: Vec<Value> = spans.iter().map(part).collect();
    json!({"name": "records_consumed", "count": count, "partitions": parts})
}

fn committed(spans: &Spans, error: Option<&CommitError>) -> Value {
    let part = |((topic, partition), (_, _, last)): (&(String, u32), &(u64, u64, u64))| json!({"topic": topic, "partition": partition, "offset": last + 1});
    let parts: Vec<Value> = spans.iter().map(part).collect();
    json!({"name": "offsets_committed", "offsets": parts, "success": error.is_none(),
        "error": error.map(ToString::to_string)})
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// How long closing may take: a coordinator that has just moved is found again meanwhile.
const CLOSE: Duration = Duration::from_secs(20);
