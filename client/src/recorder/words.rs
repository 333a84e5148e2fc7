//! The words of the spec as JSON: partitions and topics as text, offsets by partition.

use evenkeel_spec::words::{
    Committed, ErrorCode, LeaderEpoch, TopicId, TopicIdPartition, TopicName, TopicPartition,
};
use serde::ser::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// What is written as text.
pub(super) trait Named {
    fn named(&self) -> String;
}

impl Named for TopicName {
    fn named(&self) -> String {
        self.to_string()
    }
}

/// `<topic name>-<index>`.
impl Named for TopicPartition {
    fn named(&self) -> String {
        self.to_string()
    }
}

/// 32 hex digits.
impl Named for TopicId {
    fn named(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }
}

/// `<32 hex digits>-<index>`.
impl Named for TopicIdPartition {
    fn named(&self) -> String {
        format!("{}-{}", self.topic.named(), self.partition)
    }
}

/// One of these.
pub(super) struct Text<'a, T>(pub(super) &'a T);

impl<T: Named> Serialize for Text<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.named())
    }
}

/// Some of these.
pub(super) struct Texts<'a, T>(pub(super) &'a BTreeSet<T>);

impl<T: Named> Serialize for Texts<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Text))
    }
}

/// Where partitions go on.
pub(super) struct Offsets<'a, T>(pub(super) &'a BTreeMap<T, Committed>);

impl<T: Named> Serialize for Offsets<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = |(partition, committed)| (Text(partition), Place::of(committed));
        serializer.collect_map(self.0.iter().map(place))
    }
}

/// Where one partition goes on, less what is not said.
#[derive(serde::Serialize)]
struct Place<'a> {
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader_epoch: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
}

impl<'a> Place<'a> {
    fn of(committed: &'a Committed) -> Self {
        let leader_epoch = committed.leader_epoch.map(|LeaderEpoch(epoch)| epoch);
        Self { offset: committed.offset.0, leader_epoch, metadata: &committed.metadata }
    }
}

/// What became of the commit of each partition.
pub(super) struct Results<'a>(pub(super) &'a BTreeMap<TopicIdPartition, Result<(), ErrorCode>>);

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let code = |result: &Result<(), ErrorCode>| result.err().map_or(0, ErrorCode::number);
        serializer.collect_map(self.0.iter().map(|(at, result)| (Text(at), code(result))))
    }
}

/// Topics' names by their ids.
pub(super) struct TopicNames<'a>(pub(super) Vec<(&'a TopicId, &'a TopicName)>);

impl Serialize for TopicNames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, name)| (Text(*id), Text(*name))))
    }
}

/// Records of one partition in a delivery.
#[derive(serde::Serialize)]
pub(super) struct Part<'a> {
    pub(super) partition: Text<'a, TopicPartition>,
    pub(super) count: usize,
    /// The offset after them.
    pub(super) next: u64,
}
