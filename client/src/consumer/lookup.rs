//! What the application can ask about the cluster and its logs, without reading records.
//!
//! Decides nothing: each call is one command, and its answer in public words. None of these needs a
//! subscription; all of them wait at most `default.api.timeout.ms`, and are abandoned when their
//! future is dropped.

use super::assign::is_legal;
use crate::Consumer;
use crate::context::{self, Seek};
use crate::error::{EnforceRebalanceError, LookupError, PositionError};
use crate::link::Link;
use evenkeel_core::request::{ListedOffset, OffsetAt, PartitionDescription, TopicDescription};
use evenkeel_core::{Answer, Command};
use evenkeel_spec::words::{
    ErrorCode, LeaderEpoch, NodeId, Offset, TopicId, TopicName, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An offset that was found by its date.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OffsetAndTimestamp {
    /// The record's offset.
    pub offset: Offset,
    /// Its date, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its leader epoch, if known.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// A topic, as a broker describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its id (KIP-516).
    pub id: TopicId,
    /// Whether it is Kafka's own, as `__consumer_offsets` is.
    pub is_internal: bool,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionInfo>,
}

/// A partition, as a broker describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PartitionInfo {
    /// Which one.
    pub partition: TopicPartition,
    /// The broker that leads it; `None`: none at the moment.
    pub leader: Option<NodeId>,
    /// Since which epoch.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The brokers that have, or should have, its log.
    pub replicas: Vec<NodeId>,
    /// Those of them that have all of it.
    pub in_sync: Vec<NodeId>,
    /// Those of them that are down.
    pub offline: Vec<NodeId>,
}

impl Consumer {
    /// The offset of the oldest record of each of these partitions, whoever owns them.
    ///
    /// Each partition's leader is asked; what it refuses for now, and a topic or partition that does
    /// not exist (yet), is asked for again until `default.api.timeout.ms` has passed. Source:
    /// `KafkaConsumer.beginningOffsets` of Apache Kafka 4.3.1.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>, LookupError> {
        let partitions: BTreeSet<_> = partitions.into_iter().collect();
        edges(self.link(), partitions, OffsetAt::Earliest).await
    }

    /// The offset after the newest record of each of these partitions that this consumer could
    /// read: with `isolation.level=read_committed` the last stable offset, else the high watermark.
    /// As [`Self::beginning_offsets`] otherwise.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>, LookupError> {
        let partitions: BTreeSet<_> = partitions.into_iter().collect();
        edges(self.link(), partitions, OffsetAt::Latest).await
    }

    /// For each of these partitions the first record that is not older than a date, in milliseconds
    /// since 1970; `None` where there is none. As [`Self::beginning_offsets`] otherwise.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn offsets_for_times(
        &self,
        dates_ms: impl IntoIterator<Item = (TopicPartition, u64)>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>, LookupError> {
        let dates_ms: BTreeMap<_, _> = dates_ms.into_iter().collect();
        at_dates(self.link(), dates_ms).await
    }

    /// The partitions of a topic, by index; none if there is no such topic, which is never created
    /// by asking. A broker is asked each time: unlike Kafka's consumer, this one does not answer
    /// from what it knew before.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`LookupError`]. A name that no topic can have is refused with
    /// `INVALID_TOPIC_EXCEPTION`; no broker is asked.
    pub async fn partitions_for(
        &self,
        topic: impl Into<String>,
    ) -> Result<Vec<PartitionInfo>, LookupError> {
        let topic = TopicName::from(topic.into());
        let mut topics = topics(self.link(), Some(topic.clone())).await?;
        Ok(topics.remove(&topic).map(|topic| topic.partitions).unwrap_or_default())
    }

    /// Every topic that the brokers show to this client, Kafka's own included
    /// ([`TopicInfo::is_internal`]), as `KafkaConsumer.listTopics` has it.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn list_topics(&self) -> Result<BTreeMap<TopicName, TopicInfo>, LookupError> {
        topics(self.link(), None).await
    }

    /// How many offsets lie between an assigned partition's position and the end of what this
    /// consumer could read of it (see [`Self::end_offsets`]), as of the last answer that brought
    /// records or said that there are none. `None`: there was none since the position was set.
    /// Answered at once, without asking a broker.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`PositionError::NotAssigned`], and those of a consumer that is closed or overloaded.
    pub async fn current_lag(
        &self,
        partition: &TopicPartition,
    ) -> Result<Option<u64>, PositionError> {
        let partition = partition.clone();
        match self.link().ask(|call| Command::Lag { call, partition }).await? {
            Answer::Lag(lag) => Ok(lag),
            other => panic!("the core answers Lag with a lag, not with {other:?}"),
        }
    }

    /// Moves the positions of these assigned partitions, or of all of them if none is named, to
    /// their oldest records; which those are is looked up before the next records are returned.
    ///
    /// Cancel-safe: dropped before its end, it may have moved some.
    ///
    /// # Errors
    /// See [`PositionError`]. If a partition is not assigned when this is called, none is moved.
    pub async fn seek_to_beginning(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), PositionError> {
        let partitions: BTreeSet<_> = partitions.into_iter().collect();
        self.seek_all(partitions, Seek::Beginning).await
    }

    /// The same to after their newest records.
    ///
    /// Cancel-safe: dropped before its end, it may have moved some.
    ///
    /// # Errors
    /// See [`PositionError`]. If a partition is not assigned when this is called, none is moved.
    pub async fn seek_to_end(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), PositionError> {
        let partitions: BTreeSet<_> = partitions.into_iter().collect();
        self.seek_all(partitions, Seek::End).await
    }

    async fn seek_all(
        &self,
        partitions: BTreeSet<TopicPartition>,
        to: Seek,
    ) -> Result<(), PositionError> {
        // What was assigned is not any more, and nobody is asked where nothing is named.
        self.link().alive()?;
        let assigned = self.assignment();
        if let Some(stranger) = partitions.difference(assigned).next() {
            return Err(PositionError::NotAssigned { partition: stranger.clone() });
        }
        let chosen = if partitions.is_empty() { assigned } else { &partitions };
        context::sought(self.link(), chosen, to).await?;
        Ok(())
    }

    /// Fails: under KIP-848 the coordinator decides when to rebalance. Kafka's consumer logs a
    /// warning there and does nothing (`AsyncKafkaConsumer.enforceRebalance`, 4.3.1), which an
    /// application cannot tell from success.
    ///
    /// # Errors
    /// [`EnforceRebalanceError::Unsupported`], always.
    pub fn enforce_rebalance(&self) -> Result<(), EnforceRebalanceError> {
        Err(EnforceRebalanceError::Unsupported)
    }
}

pub(crate) async fn edges(
    link: &Arc<Link>,
    partitions: BTreeSet<TopicPartition>,
    at: OffsetAt,
) -> Result<BTreeMap<TopicPartition, Offset>, LookupError> {
    let wanted = partitions.into_iter().map(|partition| (partition, at)).collect();
    let found = offsets(link, wanted).await?;
    // A log has a start and an end; a broker that says it has none has an empty log.
    let edge = |found: Option<ListedOffset>| found.map_or(Offset(0), |found| found.offset);
    Ok(found.into_iter().map(|(partition, found)| (partition, edge(found))).collect())
}

pub(crate) async fn at_dates(
    link: &Arc<Link>,
    dates_ms: BTreeMap<TopicPartition, u64>,
) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>, LookupError> {
    let wanted: BTreeMap<_, _> =
        dates_ms.iter().map(|(p, date)| (p.clone(), OffsetAt::Timestamp(*date))).collect();
    let found = offsets(link, wanted).await?;
    let dated = |(partition, found): (TopicPartition, Option<ListedOffset>)| {
        let asked_ms = dates_ms.get(&partition).copied().unwrap_or_default();
        let found = found.map(|found| OffsetAndTimestamp {
            offset: found.offset,
            // A broker that does not say has found what was asked for.
            timestamp_ms: found
                .timestamp_ms
                .unwrap_or_else(|| i64::try_from(asked_ms).unwrap_or(i64::MAX)),
            leader_epoch: found.leader_epoch,
        });
        (partition, found)
    };
    Ok(found.into_iter().map(dated).collect())
}

/// Refuses what no topic can be called, as a broker would.
pub(crate) fn check_names<'a>(
    mut topics: impl Iterator<Item = &'a TopicName>,
) -> Result<(), LookupError> {
    if topics.all(|topic| is_legal(topic.as_str())) {
        Ok(())
    } else {
        Err(LookupError::Refused { code: ErrorCode::InvalidTopicException })
    }
}

async fn offsets(
    link: &Arc<Link>,
    wanted: BTreeMap<TopicPartition, OffsetAt>,
) -> Result<BTreeMap<TopicPartition, Option<ListedOffset>>, LookupError> {
    check_names(wanted.keys().map(|partition| &partition.topic))?;
    let timeout_ms = link.timeout_ms;
    match link.ask(|call| Command::Offsets { call, wanted, timeout_ms }).await? {
        Answer::Offsets(offsets) => Ok(offsets),
        other => panic!("the core answers Offsets with offsets, not with {other:?}"),
    }
}

async fn topics(
    link: &Arc<Link>,
    topic: Option<TopicName>,
) -> Result<BTreeMap<TopicName, TopicInfo>, LookupError> {
    check_names(topic.iter())?;
    let timeout_ms = link.timeout_ms;
    match link.ask(|call| Command::Topics { call, topic, timeout_ms }).await? {
        Answer::Topics(topics) => {
            let info = |(name, topic)| {
                let info = topic_info(&name, topic);
                (name, info)
            };
            Ok(topics.into_iter().map(info).collect())
        }
        other => panic!("the core answers Topics with topics, not with {other:?}"),
    }
}

fn topic_info(name: &TopicName, topic: TopicDescription) -> TopicInfo {
    let partition = |described: PartitionDescription| PartitionInfo {
        partition: TopicPartition { topic: name.clone(), partition: described.partition },
        leader: described.leader,
        leader_epoch: described.leader_epoch,
        replicas: described.replicas,
        in_sync: described.in_sync,
        offline: described.offline,
    };
    let partitions = topic.partitions.into_iter().map(partition).collect();
    TopicInfo { id: topic.id, is_internal: topic.is_internal, partitions }
}
