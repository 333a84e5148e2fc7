//! Answers that the trace does not hold: handshakes, metadata, the coordinator, positions.

use super::Broker;
use super::link::{Records, Wait};
use super::member::Member;
use evenkeel_core::Address;
use evenkeel_core::request::{
    Coordinator, ListedOffset, Metadata, PartitionMetadata, Request, Response, TopicMetadata,
};
use evenkeel_spec::words::{
    Committed, ErrorCode, NodeId, Offset, OffsetFetch, TopicIdPartition, TopicName,
};
use std::collections::{BTreeMap, BTreeSet};

impl Member<'_> {
    /// The answer to what the trace does not hold.
    pub(super) fn response(&self, broker: &Broker<'_>, wait: Wait) -> Response<Records> {
        let request = match wait {
            Wait::Turn(request) | Wait::Topics(request, _) => request,
            Wait::Records(..) => return Response::Fetch(Ok(BTreeMap::new())),
            Wait::Trace => unreachable!("the trace answers it"),
        };
        match request {
            Request::ApiVersions => Response::ApiVersions(Ok(())),
            Request::Metadata { topics } => Response::Metadata(self.metadata(topics)),
            Request::FindCoordinator => {
                let node = broker.node();
                Response::FindCoordinator(Ok(Coordinator { node, address: address(node) }))
            }
            Request::OffsetFetch { fetch, .. } => offsets(broker, fetch),
            Request::ListOffsets { partitions, .. } => {
                let start =
                    ListedOffset { offset: Offset(0), leader_epoch: None, timestamp_ms: None };
                let listed = partitions.into_keys().map(|id| (id, Ok(Some(start))));
                Response::ListOffsets(listed.collect())
            }
            Request::Topics { .. } | Request::TopicsById { .. } | Request::DescribeGroup => {
                unreachable!("the application of a trace does not ask for it")
            }
            Request::OffsetForLeaderEpoch { .. } => {
                unreachable!("metadata tells no leader epochs here")
            }
            Request::Heartbeat(_) | Request::OffsetCommit { .. } | Request::Fetch(_) => {
                unreachable!("the trace answers it, or it is parked")
            }
        }
    }

    fn metadata(&self, wanted: Option<BTreeSet<TopicName>>) -> Metadata {
        let topics = wanted.into_iter().flatten().map(|name| {
            let mut known = self.slice.topics.iter().take(self.resolved);
            let topic = known.find(|(_, topic)| topic.name == name).map(|(id, topic)| {
                let leader = PartitionMetadata { leader: Some(LEADER), leader_epoch: None };
                let partitions = (0..topic.partitions).map(|index| (index, leader)).collect();
                TopicMetadata { id: *id, partitions }
            });
            (name, topic.ok_or(ErrorCode::UnknownTopicOrPartition))
        });
        let brokers = NODES.iter().map(|(node, _)| (*node, address(*node)));
        Metadata { brokers: brokers.collect(), topics: topics.collect(), error: None }
    }
}

/// Each broker and the port that tells it apart.
pub(super) const NODES: [(NodeId, u16); 3] = [(NodeId(0), 1), (NodeId(1), 2), (NodeId(2), 3)];

fn address(node: NodeId) -> Address {
    let port = NODES.iter().find(|(known, _)| *known == node).map_or(0, |(_, port)| *port);
    Address { host: "b".into(), port }
}

fn committed(broker: &Broker<'_>, partition: TopicIdPartition) -> Option<Committed> {
    let fetch = OffsetFetch { owner: None, partitions: Some([partition].into()) };
    broker.group.on_offset_fetch(&fetch).ok()?.remove(&partition)?
}

fn offsets(broker: &Broker<'_>, fetch: OffsetFetch) -> Response<Records> {
    let partitions = fetch.partitions.expect("the shell names them");
    let found = partitions.into_iter().map(|id| (id, Ok(committed(broker, id))));
    Response::OffsetFetch(Ok(found.collect()))
}

/// Who leads every partition: not a coordinator, so that fetches stay apart.
const LEADER: NodeId = NodeId(2);
