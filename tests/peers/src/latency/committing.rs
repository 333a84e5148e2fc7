//! A member that commits again and again, and says how long each took.

use crate::Result;
use evenkeel::{Committed, Consumer, CoordinatorConnection, Offset, TopicPartition};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset as At, TopicPartitionList};
use std::time::{Duration, Instant};

/// Who commits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    /// evenkeel, with one connection a broker.
    Shared,
    /// evenkeel, with one of the group's own.
    Dedicated,
    /// librdkafka as it is.
    Librdkafka,
}

impl Client {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared => "evenkeel shared",
            Self::Dedicated => "evenkeel dedicated",
            Self::Librdkafka => "librdkafka",
        }
    }
}

/// Where to and for how long.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) bootstrap: String,
    /// Of the group and of the client.
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) lasts: Duration,
}

impl Target {
    /// How long each commit took, from when it had partitions.
    pub(crate) fn run(&self, client: Client) -> Result<Vec<Duration>> {
        match client {
            Client::Shared => self.evenkeel(CoordinatorConnection::Shared),
            Client::Dedicated => self.evenkeel(CoordinatorConnection::Dedicated),
            Client::Librdkafka => self.librdkafka(),
        }
    }

    fn evenkeel(&self, connection: CoordinatorConnection) -> Result<Vec<Duration>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut consumer = Consumer::builder()
                .bootstrap_servers(&self.bootstrap)
                .group_id(&self.name)
                .client_id(&self.name)
                .enable_auto_commit(false)
                .coordinator_connection(connection)
                .build()?;
            consumer.subscribe([&*self.topic]).await?;
            while consumer.assignment().is_empty() {
                consumer.poll(POLL).await?;
            }
            let (begun, mut took) = (Instant::now(), Vec::new());
            while begun.elapsed() < self.lasts {
                let until = Instant::now() + POLL;
                while Instant::now() < until {
                    consumer.poll(until.saturating_duration_since(Instant::now())).await?;
                }
                let offset = Committed::at(Offset(took.len() as u64));
                let asked = Instant::now();
                let offsets = [(TopicPartition::new(&*self.topic, 0), offset)];
                consumer.commit_offsets(offsets).await?;
                took.push(asked.elapsed());
            }
            let report = consumer.close(PATIENCE).await;
            if report.left { Ok(took) } else { Err(format!("could not leave: {report:?}").into()) }
        })
    }

    fn librdkafka(&self) -> Result<Vec<Duration>> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", &self.name)
            .set("client.id", &self.name)
            .set("group.protocol", "consumer")
            .set("enable.auto.commit", "false")
            .create()?;
        consumer.subscribe(&[&self.topic])?;
        while consumer.assignment()?.count() == 0 {
            consumer.poll(POLL).transpose()?;
        }
        let (begun, mut took) = (Instant::now(), Vec::new());
        while begun.elapsed() < self.lasts {
            let until = Instant::now() + POLL;
            while Instant::now() < until {
                let left = until.saturating_duration_since(Instant::now());
                consumer.poll(left).transpose()?;
            }
            let mut offsets = TopicPartitionList::new();
            let offset = At::Offset(i64::try_from(took.len())?);
            offsets.add_partition_offset(&self.topic, 0, offset)?;
            let asked = Instant::now();
            consumer.commit(&offsets, CommitMode::Sync)?;
            took.push(asked.elapsed());
        }
        Ok(took)
    }
}

/// Between two commits the application polls.
const POLL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(10);
