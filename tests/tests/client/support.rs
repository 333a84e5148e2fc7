#![allow(dead_code)] // More than one test binary has this file; each uses a part of it.
//! What the client's tests share: a cluster in memory that a consumer connects to, and readers.

use evenkeel::{
    Address, ConnectError, Connecting, Connector, Consumer, ConsumerBuilder, Offset, Records,
    Stream, TopicPartition,
};
use evenkeel_broker::{Cluster, WeakCluster};
use evenkeel_tests::validated::recorded_in;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::runtime::Handle;

/// Connects to a cluster of this process without sockets.
#[derive(Clone)]
pub(crate) struct InMemory(WeakCluster);

impl std::fmt::Debug for InMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InMemory")
    }
}

impl Connector for InMemory {
    fn connect(&self, address: &Address) -> Connecting {
        let refused = || ConnectError::Connect(format!("{address}: connection refused"));
        let stream = self.0.upgrade().and_then(|cluster| {
            let node = cluster.node_at(&address.host, address.port)?;
            cluster.connect_in_memory(node)
        });
        let connected =
            stream.map(|stream| Box::new(stream) as Box<dyn Stream>).ok_or_else(refused);
        Box::pin(async move { connected })
    }
}

impl InMemory {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self(cluster.downgrade())
    }
}

/// A consumer of `group` in the runtime of the test.
pub(crate) fn member(cluster: &Cluster, group: &str, seed: u64) -> ConsumerBuilder {
    recorded_in(group.to_owned(), unrecorded(cluster, group, seed))
}

/// The same for a test that records it by itself, or cannot.
pub(crate) fn unrecorded(cluster: &Cluster, group: &str, seed: u64) -> ConsumerBuilder {
    Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .group_id(group)
        .property("auto.offset.reset", "earliest")
        .connector(InMemory::of(cluster))
        .spawn_on(Handle::current())
        .seed(seed)
}

/// Appends `count` numbered records to each partition of a topic.
pub(crate) fn append_numbered(cluster: &Cluster, topic: &str, partitions: u32, count: u32) {
    for partition in 0..partitions {
        for number in 0..count {
            let value = format!("{partition}:{number}");
            cluster.append(topic, partition, None, Some(value.as_bytes())).expect("it exists");
        }
    }
}

/// The offsets that were read, in order, by partition.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Read(pub(crate) BTreeMap<TopicPartition, Vec<u64>>);

impl Read {
    pub(crate) fn take(&mut self, records: &Records) {
        for record in records {
            let partition = TopicPartition::new(record.topic, record.partition);
            self.0.entry(partition).or_default().push(record.offset.0);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether every partition was read from 0 to `count`, each record once and in order.
    pub(crate) fn is_exactly(&self, partitions: u32, count: u64) -> bool {
        self.0.len() == partitions as usize
            && self.0.values().all(|offsets| offsets.iter().copied().eq(0..count))
    }
}

/// Polls until `count` records came, or for 1,000 polls.
pub(crate) async fn read(consumer: &mut Consumer, read: &mut Read, count: usize) {
    for _ in 0..1_000 {
        if read.count() >= count {
            return;
        }
        let records = consumer.poll(SECOND).await.expect("poll goes well");
        read.take(&records);
    }
    panic!("{} of {count} records came", read.count());
}

/// The offset that the group has committed.
pub(crate) fn committed(
    cluster: &Cluster,
    group: &str,
    topic: &str,
    partition: u32,
) -> Option<Offset> {
    let committed = cluster.committed(group, topic, partition).expect("the topic exists");
    committed.map(|committed| committed.offset)
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
