//! A member on a thread of its own, which polls until it is stopped.

use crate::Result;
use evenkeel::Consumer;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What the member is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    Evenkeel {
        /// How long the application stays away between two polls.
        pause_ms: u64,
    },
    Librdkafka,
}

/// A running member.
#[derive(Debug)]
pub(crate) struct Member {
    /// When its first poll began; subscribing is part of it, since librdkafka joins then.
    pub(crate) first_poll: Instant,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

/// Where to and what for.
#[derive(Debug)]
struct Target {
    bootstrap: String,
    group: String,
    topic: String,
    stopping: Arc<AtomicBool>,
    first_poll: Sender<Instant>,
}

impl Client {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Evenkeel { pause_ms: 0 } => "evenkeel".into(),
            Self::Evenkeel { pause_ms } => format!("evenkeel-pause-{pause_ms}"),
            Self::Librdkafka => "librdkafka".into(),
        }
    }
}

impl Member {
    /// Starts it, and returns when its first poll has begun.
    pub(crate) fn start(client: Client, bootstrap: &str, group: &str, topic: &str) -> Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (first_poll, began) = mpsc::channel();
        let target = Target {
            bootstrap: bootstrap.into(),
            group: group.into(),
            topic: topic.into(),
            stopping: Arc::clone(&stopping),
            first_poll,
        };
        let thread = thread::spawn(move || match client {
            Client::Evenkeel { pause_ms } => target.evenkeel(Duration::from_millis(pause_ms)),
            Client::Librdkafka => target.librdkafka(),
        });
        match began.recv() {
            Ok(first_poll) => Ok(Self { first_poll, stopping, thread }),
            Err(_) => Err(ended(thread).err().unwrap_or_else(|| "it never polled".into())),
        }
    }

    /// Leaves the group.
    pub(crate) fn stop(self) -> Result<()> {
        self.stopping.store(true, Ordering::Relaxed);
        ended(self.thread)
    }
}

fn ended(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread.join().map_err(|_| "a member's thread panicked")?
}

impl Target {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn evenkeel(&self, pause: Duration) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut consumer = Consumer::builder()
                .bootstrap_servers(&self.bootstrap)
                .group_id(&self.group)
                .build()?;
            self.first_poll.send(Instant::now())?;
            consumer.subscribe([&*self.topic]).await?;
            while !self.is_stopping() {
                consumer.poll(POLL_MAX).await?;
                thread::sleep(pause);
            }
            let report = consumer.close(PATIENCE).await;
            if report.left { Ok(()) } else { Err(format!("could not leave: {report:?}").into()) }
        })
    }

    fn librdkafka(&self) -> Result<()> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", &self.group)
            .set("group.protocol", "consumer")
            .create()?;
        self.first_poll.send(Instant::now())?;
        consumer.subscribe(&[&self.topic])?;
        while !self.is_stopping() {
            consumer.poll(POLL_MAX).transpose()?;
        }
        // Its drop closes it, and so leaves the group.
        Ok(())
    }
}

const POLL_MAX: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(5);
