//! The recorder's way to write the words of the spec, read back.

use evenkeel_core::commit::Offsets;
use evenkeel_spec::words::{
    Committed, LeaderEpoch, Offset, Partitions, TopicId, TopicIdPartition, TopicName,
    TopicPartition,
};
use serde::de::{Deserialize, Deserializer, Error};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn topics<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeSet<TopicName>, D::Error> {
    let names = Vec::<String>::deserialize(d)?;
    Ok(names.into_iter().map(TopicName::from).collect())
}

pub(super) fn some_topics<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<Option<BTreeSet<TopicName>>, D::Error> {
    topics(d).map(Some)
}

pub(super) fn topic_names<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<BTreeMap<TopicId, TopicName>, D::Error> {
    let names = BTreeMap::<String, String>::deserialize(d)?;
    let read = |(id, name): (String, String)| Some((topic_id(&id)?, TopicName::from(name)));
    names.into_iter().map(|entry| read(entry).ok_or_else(|| wrong("a topic id"))).collect()
}

pub(super) fn some_partitions<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<Option<Partitions>, D::Error> {
    let texts = Vec::<String>::deserialize(d)?;
    texts.iter().map(|text| by_id(text)).collect::<Result<_, _>>().map(Some)
}

pub(super) fn partition_by_name<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<TopicPartition, D::Error> {
    by_name(&String::deserialize(d)?)
}

pub(super) fn partitions_by_name<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<BTreeSet<TopicPartition>, D::Error> {
    Vec::<String>::deserialize(d)?.iter().map(|text| by_name(text)).collect()
}

pub(super) fn offsets<'de, D: Deserializer<'de>>(d: D) -> Result<Offsets, D::Error> {
    let offsets = BTreeMap::<String, Place>::deserialize(d)?;
    offsets.into_iter().map(|(text, place)| Ok((by_id(&text)?, place.into()))).collect()
}

pub(super) fn some_offsets_by_name<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<Option<BTreeMap<TopicPartition, Committed>>, D::Error> {
    let offsets = BTreeMap::<String, Place>::deserialize(d)?;
    let read = |(text, place): (String, Place)| Ok((by_name(&text)?, place.into()));
    offsets.into_iter().map(read).collect::<Result<_, _>>().map(Some)
}

pub(super) fn some_results<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<Option<BTreeMap<TopicIdPartition, i16>>, D::Error> {
    let results = BTreeMap::<String, i16>::deserialize(d)?;
    let read = |(text, code): (String, i16)| Ok((by_id(&text)?, code));
    results.into_iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// A committed offset as it is written.
#[derive(serde::Deserialize)]
struct Place {
    offset: u64,
    leader_epoch: Option<u32>,
    #[serde(default)]
    metadata: String,
}

impl From<Place> for Committed {
    fn from(place: Place) -> Self {
        Self {
            offset: Offset(place.offset),
            leader_epoch: place.leader_epoch.map(LeaderEpoch),
            metadata: place.metadata.into(),
        }
    }
}

fn by_id<E: Error>(text: &str) -> Result<TopicIdPartition, E> {
    let read = || {
        let (topic, partition) = text.rsplit_once('-')?;
        Some(TopicIdPartition::new(topic_id(topic)?, partition.parse().ok()?))
    };
    read().ok_or_else(|| wrong("<topic id>-<partition>"))
}

fn by_name<E: Error>(text: &str) -> Result<TopicPartition, E> {
    let read = || {
        let (topic, partition) = text.rsplit_once('-')?;
        Some(TopicPartition::new(topic, partition.parse().ok()?))
    };
    read().ok_or_else(|| wrong("<topic name>-<partition>"))
}

fn topic_id(text: &str) -> Option<TopicId> {
    let is_id = text.len() == 32;
    is_id.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(|n| TopicId(n.to_be_bytes()))
}

fn wrong<E: Error>(expected: &str) -> E {
    E::custom(format_args!("expected {expected}"))
}
