//! What the two brokers of the target `core` say and understand.

use super::super::application as app;
use super::super::view::Said;
use super::NoRecords;
use evenkeel_core::Address;
use evenkeel_core::request::queue::{Question, Word};
use evenkeel_core::request::{
    Coordinator, Fetched, Metadata, PartitionMetadata, Request, Response, TopicMetadata,
};
use evenkeel_model::requests::NODE;
use evenkeel_spec::words::{Committed, NodeId, Offset, TopicIdPartition};
use std::collections::BTreeMap;

/// A request, as the broker reads it.
pub(super) fn said(request: &Request) -> Said {
    match request {
        Request::ApiVersions => Said::Handshake,
        Request::OffsetFetch { fetch, .. } => {
            let partitions = fetch.partitions.iter().flatten();
            let things = partitions.map(|id| app::thing(&app::name(*id)));
            let all = things.into_iter().try_fold(0, |all, thing| Some(all | thing?));
            all.map_or_else(|| Said::Other(format!("{request:?}")), Said::Offsets)
        }
        Request::Fetch(_) => Said::Fetch,
        Request::OffsetCommit { .. } => Said::Commit,
        Request::Heartbeat(_) => match request.word() {
            Word::Presence => Said::Presence,
            Word::Owned => Said::Owned,
            Word::Leave => Said::Leave,
            Word::Nothing | Word::Commit => unreachable!("it is a heartbeat"),
        },
        Request::Metadata { .. }
        | Request::Topics { .. }
        | Request::TopicsById { .. }
        | Request::DescribeGroup
        | Request::FindCoordinator
        | Request::ListOffsets { .. }
        | Request::OffsetForLeaderEpoch { .. } => Said::Other(format!("{request:?}")),
    }
}

/// What the broker answers, which tells so much.
pub(super) fn response(request: &Request, truth: u64) -> Response<NoRecords> {
    match request {
        Request::ApiVersions => Response::ApiVersions(Ok(())),
        Request::Metadata { .. } => Response::Metadata(metadata()),
        Request::Topics { .. } => Response::Topics(Ok(BTreeMap::new())),
        Request::FindCoordinator => {
            Response::FindCoordinator(Ok(Coordinator { node: NODE, address: address(PORT) }))
        }
        Request::OffsetFetch { fetch, .. } => {
            let committed = |id: &TopicIdPartition| (*id, Ok(Some(Committed::at(Offset(truth)))));
            let partitions = fetch.partitions.iter().flatten();
            Response::OffsetFetch(Ok(partitions.map(committed).collect()))
        }
        Request::OffsetCommit { commit, .. } => {
            Response::OffsetCommit(Ok(commit.offsets.keys().map(|id| (*id, Ok(()))).collect()))
        }
        Request::Fetch(fetch) => {
            let nothing =
                Fetched { high_watermark: None, last_stable: None, log_start: None, chunk: None };
            let partitions = fetch.partitions.iter();
            let fetched = partitions.map(|asked| (asked.partition, Ok(nothing.clone())));
            Response::Fetch(Ok(fetched.collect()))
        }
        Request::Heartbeat(_)
        | Request::ListOffsets { .. }
        | Request::OffsetForLeaderEpoch { .. }
        | Request::TopicsById { .. }
        | Request::DescribeGroup => {
            unreachable!("no trace makes a consumer ask it: {request:?}")
        }
    }
}

fn metadata() -> Metadata {
    let brokers = [(OTHER, address(OTHER_PORT)), (NODE, address(PORT))];
    let partitions = (0..app::PARTITIONS).map(|index| {
        let leader = if index == app::FETCHED { NODE } else { OTHER };
        (index, PartitionMetadata { leader: Some(leader), leader_epoch: None })
    });
    let topic = TopicMetadata { id: app::TOPIC, partitions: partitions.collect() };
    let leader = PartitionMetadata { leader: Some(OTHER), leader_epoch: None };
    let other = TopicMetadata { id: app::OTHER_TOPIC, partitions: [(0, leader)].into() };
    let topics = [(app::topic(), Ok(topic)), (app::other_topic(), Ok(other))];
    Metadata { brokers: brokers.into(), topics: topics.into(), error: None }
}

/// The other broker. It comes first: whoever may be asked is asked first.
const OTHER: NodeId = NodeId(0);
/// Where it listens.
pub(super) const OTHER_PORT: u16 = 1;
/// Where the broker of the trace listens.
pub(super) const PORT: u16 = 2;

/// Where a broker listens.
pub(super) fn address(port: u16) -> Address {
    Address::new("b", port)
}
