//! Manual assignment and the calls that need no group, on Apache Kafka: what goes over the wire is
//! counted, and the coordinator accepts commits without a member while the group has none.

use crate::group::RECORDS;
use crate::{Outcome, Peers};
use evenkeel::{
    Address, CommitError, Connecting, Connector, Consumer, ConsumerBuilder, ErrorCode, Offset,
    Stream, Tcp, TopicPartition,
};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const TOPIC: &str = "assigned";

/// An assign-only consumer looks for no coordinator where it needs none; with a group it commits,
/// and the next one goes on from there; a group with members refuses it.
pub(crate) fn on_kafka(peers: &Peers) -> Outcome {
    let kafka = peers.kafka()?;
    kafka.create_topic(TOPIC, 2)?;
    kafka.produce(&kafka.bootstrap_servers(), TOPIC, RECORDS, 100)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let reader = |requests: &Requests| {
            Consumer::builder()
                .bootstrap_servers(kafka.bootstrap_servers())
                .property("auto.offset.reset", "earliest")
                .connector(requests.clone())
        };
        without_a_group(reader).await?;
        everything_sought(reader).await?;
        with_a_group(reader).await
    })
}

async fn without_a_group(reader: impl Fn(&Requests) -> ConsumerBuilder) -> Outcome {
    let requests = Requests::default();
    let mut consumer = reader(&requests).build()?;
    consumer.assign(both()).await?;
    read(&mut consumer, RECORDS).await?;
    let end = consumer.end_offsets(both()).await?;
    assert_eq!(end.values().map(|offset| offset.0).sum::<u64>(), RECORDS);
    let beginning = consumer.beginning_offsets(both()).await?;
    assert!(beginning.values().all(|offset| *offset == Offset(0)), "{beginning:?}");
    let dated = consumer.offsets_for_times(both().map(|partition| (partition, 0))).await?;
    assert!(dated.values().all(|found| found.is_some_and(|at| at.offset == Offset(0))));
    let none = consumer.offsets_for_times(both().map(|p| (p, i64::MAX as u64))).await?;
    assert!(none.values().all(Option::is_none), "{none:?}");
    assert_eq!(consumer.partitions_for(TOPIC).await?.len(), 2);
    assert!(consumer.partitions_for("no-such-topic").await?.is_empty());
    assert!(consumer.list_topics().await?.contains_key(&TOPIC.into()));
    assert_eq!(consumer.current_lag(&both()[0]).await?, Some(0));
    consumer.close(PATIENCE).await;
    assert_eq!(requests.of_group(), [0; 4]);
    Ok(())
}

async fn everything_sought(reader: impl Fn(&Requests) -> ConsumerBuilder) -> Outcome {
    let requests = Requests::default();
    let builder = reader(&requests).group_id("assigned-sought").enable_auto_commit(false);
    let mut consumer = builder.build()?;
    consumer.assign(both()).await?;
    consumer.seek_to_beginning([]).await?;
    read(&mut consumer, RECORDS).await?;
    consumer.close(PATIENCE).await;
    assert_eq!(requests.of_group(), [0; 4]);
    Ok(())
}

async fn with_a_group(reader: impl Fn(&Requests) -> ConsumerBuilder) -> Outcome {
    let requests = Requests::default();
    let builder = || reader(&requests).group_id("assigned");
    let mut consumer = builder().build()?;
    consumer.assign(both()).await?;
    read(&mut consumer, RECORDS).await?;
    consumer.commit().await?;
    let committed = consumer.committed(both()).await?;
    let sum = committed.values().flatten().map(|committed| committed.offset.0).sum::<u64>();
    assert_eq!(sum, RECORDS);
    consumer.close(PATIENCE).await;
    let mut next = builder().build()?;
    next.assign(both()).await?;
    assert_eq!(next.poll(Duration::from_secs(2)).await?.len(), 0, "all of it is committed");
    assert_eq!(requests.of_group()[3], 0, "no heartbeat");
    let mut member = builder().build()?;
    member.subscribe([TOPIC]).await?;
    while member.assignment().is_empty() {
        member.poll(Duration::from_millis(100)).await?;
    }
    let committed = [(both()[0].clone(), evenkeel::Committed::at(Offset(0)))];
    let refused = next.commit_offsets(committed).await;
    assert_eq!(refused, Err(CommitError::Refused { code: ErrorCode::UnknownMemberId }));
    next.close(PATIENCE).await;
    member.close(PATIENCE).await;
    Ok(())
}

fn both() -> [TopicPartition; 2] {
    [TopicPartition::new(TOPIC, 0), TopicPartition::new(TOPIC, 1)]
}

async fn read(consumer: &mut Consumer, count: u64) -> Outcome {
    let mut got = 0;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while got < count {
        assert!(tokio::time::Instant::now() < deadline, "{got} of {count} records");
        got += consumer.poll(Duration::from_secs(1)).await?.len() as u64;
    }
    assert_eq!(got, count);
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Connects by TCP, and counts requests by their API key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Mutex<BTreeMap<i16, u64>>>);

impl Requests {
    /// FindCoordinator, OffsetFetch, OffsetCommit, ConsumerGroupHeartbeat.
    pub(crate) fn of_group(&self) -> [u64; 4] {
        let requests = self.0.lock().expect("not poisoned");
        assert!(requests.get(&1).is_some_and(|fetches| *fetches > 0), "{requests:?}");
        [10, 9, 8, 68].map(|key| requests.get(&key).copied().unwrap_or(0))
    }
}

impl Connector for Requests {
    fn connect(&self, address: &Address) -> Connecting {
        let (connected, requests) = (Tcp.connect(address), self.clone());
        Box::pin(async move {
            let stream = connected.await?;
            Ok(Box::new(Counted { stream, requests, sent: Vec::new() }) as Box<dyn Stream>)
        })
    }
}

struct Counted {
    stream: Box<dyn Stream>,
    requests: Requests,
    /// The beginning of the next request.
    sent: Vec<u8>,
}

impl Counted {
    fn count(&mut self, written: &[u8]) {
        self.sent.extend_from_slice(written);
        while let Some(&[a, b, c, d, high, low]) = self.sent.first_chunk() {
            let whole = 4 + u32::from_be_bytes([a, b, c, d]) as usize;
            if self.sent.len() < whole {
                return;
            }
            self.sent.drain(..whole);
            let key = i16::from_be_bytes([high, low]);
            *self.requests.0.lock().expect("not poisoned").entry(key).or_default() += 1;
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.count(&bytes[..count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }
}
