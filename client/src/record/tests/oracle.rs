//! The parser and the encoder against kafka-protocol's, which shares no code with them.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    self as oracle, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
};

use super::*;

/// Records with all that the oracle can express: it loses duplicate header keys, append times and
/// compaction's gaps at the end.
fn oracle_records(count: i32) -> Vec<oracle::Record> {
    let record = |index: i32| {
        let headers: IndexMap<_, _> = (0..index % 3)
            .map(|n| (StrBytes::from_string(format!("h{n}")), Some(Bytes::from(vec![b'x'; 70]))))
            .chain((index % 4 == 0).then(|| (StrBytes::from_static_str("null"), None)))
            .collect();
        oracle::Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 3,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: oracle::TimestampType::Creation,
            offset: 1_000 + i64::from(index),
            // One batch only if offset - sequence is the same for all (base sequence -1).
            sequence: index - 1,
            timestamp: 1_700_000_000_000 + i64::from(index) * 997,
            key: (index % 2 == 0).then(|| Bytes::from(format!("key-{index}"))),
            value: (index % 5 != 0)
                .then(|| Bytes::from(b"value".repeat(index.cast_unsigned() as usize))),
            headers,
        }
    };
    (0..count).map(record).collect()
}

const PAIRS: [(oracle::Compression, Compression); 5] = [
    (oracle::Compression::None, Compression::None),
    (oracle::Compression::Gzip, Compression::Gzip),
    (oracle::Compression::Snappy, Compression::Snappy),
    (oracle::Compression::Lz4, Compression::Lz4),
    (oracle::Compression::Zstd, Compression::Zstd),
];

#[test]
fn what_kafka_protocol_encodes_is_read_the_same() {
    let expected = oracle_records(200);
    for (theirs, ours) in PAIRS {
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: theirs };
        RecordBatchEncoder::encode(&mut bytes, &expected, &options).expect("encodes");
        let bytes = bytes.freeze();
        assert_eq!(only(&bytes).compression(), ours);
        let mut chunk = Chunk::new(bytes, Offset(1_000), ChunkOptions::default());
        let slice = chunk.take(usize::MAX).expect("legal");
        assert_eq!(slice.len(), expected.len());
        for (record, expected) in slice.iter().zip(&expected) {
            assert_same(record, expected);
        }
        assert_eq!(slice.next_offset(), Offset(1_200));
    }
}

#[test]
fn what_our_encoder_builds_is_read_the_same_by_kafka_protocol() {
    let expected = oracle_records(200);
    for (_, ours) in PAIRS {
        let mut batch = BatchBuilder::new(1_000).compression(ours).leader_epoch(3);
        for record in &expected {
            let headers: Vec<encode::HeaderBytes> =
                record.headers.iter().map(|(key, v)| (key.as_bytes(), v.as_deref())).collect();
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            batch = batch.record(record.timestamp, key, value, &headers);
        }
        let mut bytes = batch.build();
        let sets = RecordBatchDecoder::decode_all(&mut bytes).expect("kafka-protocol decodes it");
        let decoded: Vec<_> = sets.into_iter().flat_map(|set| set.records).collect();
        let slice = chunk(&[batch.build()], 0).take(usize::MAX).expect("legal");
        assert_eq!((decoded.len(), slice.len()), (200, 200));
        for (record, decoded) in slice.iter().zip(&decoded) {
            assert_same(record, decoded);
        }
    }
}

fn assert_same(record: Record<'_>, other: &oracle::Record) {
    assert_eq!(record.offset.0, other.offset.cast_unsigned());
    assert_eq!(record.timestamp_ms, Some(other.timestamp));
    assert_eq!(record.leader_epoch, Some(LeaderEpoch(3)));
    assert_eq!((record.key, record.value), (other.key.as_deref(), other.value.as_deref()));
    let headers: Vec<_> = record.headers.iter().map(|h| (h.key_str(), h.value)).collect();
    let others: Vec<_> = other.headers.iter().map(|(k, v)| (Some(&**k), v.as_deref())).collect();
    assert_eq!(headers, others);
}
