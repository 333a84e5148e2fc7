//! Between the wire's types and the spec's words: this broker's own translation, never the client's.
//! Sentinels (-1, empty strings) end here.

use evenkeel_spec::words::{NodeId, TopicId, TopicName};
use kafka_protocol::messages::{self, BrokerId};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// Text as it goes on the wire.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name as it goes on the wire.
pub(crate) fn wire_name(name: &TopicName) -> messages::TopicName {
    messages::TopicName(text(name.as_str()))
}

/// A topic's name as it came.
pub(crate) fn topic_name(name: &messages::TopicName) -> TopicName {
    TopicName::from(name.0.as_str())
}

/// A topic's id as it goes on the wire.
pub(crate) fn wire_id(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.0)
}

/// A topic's id as it came; `None` for the zero UUID.
pub(crate) fn topic_id(id: Uuid) -> Option<TopicId> {
    (!id.is_nil()).then(|| TopicId(id.into_bytes()))
}

/// A node's id as it goes on the wire; nobody is -1.
pub(crate) fn wire_node(node: Option<NodeId>) -> BrokerId {
    BrokerId(node.map_or(-1, |node| node.0))
}

/// Node ids as they go on the wire.
pub(crate) fn wire_nodes(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}

/// An offset as it goes on the wire.
pub(crate) fn wire_offset(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
