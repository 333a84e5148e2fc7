//! `Fetch` (key 1), by topic id and without a session (session id 0, epoch -1; KIP-227).

use super::shape::Shape;
use super::{Body, sentinel};
use crate::record::{AbortedTransaction, Chunk, ChunkOptions};
use bytes::Bytes;
use evenkeel_core::request::{Fetch, FetchPartition, Fetched, Response};
use evenkeel_core::{Isolation, Misbehaved};
use evenkeel_spec::words::{ErrorCode, Offset, TopicId, TopicIdPartition};
use kafka_protocol::messages::fetch_request::{FetchPartition as WirePartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Adjacent partitions of one topic share its entry; the order, by which the broker fills its
/// answer, is kept.
pub(super) fn request(fetch: &Fetch) -> FetchRequest {
    let same_topic =
        |a: &FetchPartition, b: &FetchPartition| a.partition.topic == b.partition.topic;
    let topics = fetch.partitions.chunk_by(same_topic).map(|partitions| {
        FetchTopic::default()
            .with_topic_id(Uuid::from_bytes(partitions[0].partition.topic.0))
            .with_partitions(partitions.iter().map(wire_partition).collect())
    });
    FetchRequest::default()
        .with_max_wait_ms(sentinel::wire_number(fetch.wait_max_ms))
        .with_min_bytes(sentinel::wire_number(fetch.bytes_min))
        .with_max_bytes(sentinel::wire_number(fetch.bytes_max))
        .with_isolation_level(sentinel::wire_isolation(fetch.isolation))
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(topics.collect())
}

pub(super) fn response(
    body: Body,
    fetch: &Fetch,
    options: ChunkOptions,
) -> Result<(Response<Chunk>, i32), Misbehaved> {
    let frame_length = body.frame.len();
    let answer: FetchResponse = body.decode(SHAPE)?;
    let throttle_ms = answer.throttle_time_ms;
    if let Some(code) = ErrorCode::from_number(answer.error_code) {
        return Ok((Response::Fetch(Err(code)), throttle_ms));
    }
    let asked: BTreeMap<TopicIdPartition, Offset> =
        fetch.partitions.iter().map(|asked| (asked.partition, asked.offset)).collect();
    let mut fetched = BTreeMap::new();
    for topic in answer.responses {
        let id = TopicId(topic.topic_id.into_bytes());
        for data in topic.partitions {
            let partition = TopicIdPartition::new(id, sentinel::partition(data.partition_index)?);
            // What was not asked for has no position here: it is dropped.
            if let Some(&offset) = asked.get(&partition) {
                let mut data = data;
                data.records = data.records.map(|records| own(records, frame_length));
                fetched.insert(partition, read_partition(data, offset, fetch.isolation, options));
            }
        }
    }
    Ok((Response::Fetch(Ok(fetched)), throttle_ms))
}

/// Records that do not keep more memory than their own: where they are not nearly all of their frame,
/// a copy. The partitions of one answer are read at different speeds, and one that is paused would
/// keep the others' records, which nobody counts any more.
fn own(records: Bytes, frame_length: usize) -> Bytes {
    let is_most = records.len() >= frame_length - frame_length / 8;
    if is_most && records.len() >= SHARED_MIN { records } else { Bytes::copy_from_slice(&records) }
}

/// A smaller frame may lie in a larger buffer together with others, bytes
/// ([`FrameReader`](super::frame::FrameReader) reads ahead, into at most this much).
const SHARED_MIN: usize = 64 << 10;

fn read_partition(
    data: PartitionData,
    offset: Offset,
    isolation: Isolation,
    options: ChunkOptions,
) -> Result<Fetched<Chunk>, ErrorCode> {
    if let Some(code) = ErrorCode::from_number(data.error_code) {
        return Err(code);
    }
    let chunk = data.records.filter(|records| !records.is_empty()).map(|records| {
        let chunk = Chunk::new(records, offset, options);
        match (isolation, data.aborted_transactions) {
            (Isolation::ReadCommitted, Some(aborted)) => chunk.skip_aborted(
                aborted
                    .into_iter()
                    .map(|transaction| AbortedTransaction {
                        producer_id: transaction.producer_id.0,
                        first_offset: transaction.first_offset,
                    })
                    .collect(),
            ),
            _ => chunk,
        }
    });
    Ok(Fetched {
        high_watermark: sentinel::offset(data.high_watermark),
        last_stable: sentinel::offset(data.last_stable_offset),
        log_start: sentinel::offset(data.log_start_offset),
        chunk,
    })
}

fn wire_partition(asked: &FetchPartition) -> WirePartition {
    WirePartition::default()
        .with_partition(sentinel::wire_partition(asked.partition.partition))
        .with_current_leader_epoch(sentinel::wire_leader_epoch(asked.leader_epoch))
        .with_fetch_offset(sentinel::wire_offset(asked.offset))
        .with_partition_max_bytes(sentinel::wire_number(asked.bytes_max))
}

const SHAPE: &[Shape] = &[
    Shape::Fixed(10),
    Shape::Array(&[
        Shape::Fixed(16),
        Shape::Array(&[
            Shape::Fixed(30),
            Shape::Array(&[Shape::Fixed(16), Shape::Tags(&[])]),
            Shape::Fixed(4),
            Shape::Sized,
            Shape::Tags(&[
                (0, &[Shape::Fixed(12), Shape::Tags(&[])]),
                (1, &[Shape::Fixed(8), Shape::Tags(&[])]),
                (2, &[Shape::Fixed(12), Shape::Tags(&[])]),
            ]),
        ]),
        Shape::Tags(&[]),
    ]),
    Shape::Tags(&[(
        0,
        &[Shape::Array(&[
            Shape::Fixed(4),
            Shape::Sized,
            Shape::Fixed(4),
            Shape::Sized,
            Shape::Tags(&[]),
        ])],
    )]),
];
