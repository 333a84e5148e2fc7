//! What the parser gives for legal batches. Illegal ones: `hostile`; an outside opinion: `oracle`.

mod hostile;
mod oracle;

use bytes::{Bytes, BytesMut};
use evenkeel_spec::words::{LeaderEpoch, Offset};

use super::encode::BatchBuilder;
use super::*;

/// A chunk of these batches, fetched from this offset, with default options.
fn chunk(batches: &[Bytes], fetch_offset: u64) -> Chunk {
    Chunk::new(concat(batches), Offset(fetch_offset), ChunkOptions::default())
}

fn concat(batches: &[Bytes]) -> Bytes {
    let mut all = BytesMut::new();
    for batch in batches {
        all.extend_from_slice(batch);
    }
    all.freeze()
}

/// A batch at `base` of `count` records whose values are their offsets.
fn counted(base: i64, count: i64) -> BatchBuilder {
    (0..count).fold(BatchBuilder::new(base), |batch, index| {
        batch.record(1_000 + index, None, Some((base + index).to_string().as_bytes()), &[])
    })
}

fn offsets(slice: &Slice) -> Vec<u64> {
    slice.iter().map(|record| record.offset.0).collect()
}

fn only(batch: &Bytes) -> Batch {
    let mut batches = Batches::new(batch.clone());
    let first = batches.next().expect("a batch").expect("a legal batch");
    assert!(batches.next().is_none());
    first
}

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

#[test]
fn a_chunk_yields_every_field_in_order_for_every_codec() {
    for codec in CODECS {
        let batch = BatchBuilder::new(40)
            .compression(codec)
            .leader_epoch(7)
            .record(1_000, Some(b"k"), Some(b"v"), &[(b"a", Some(b"1")), (b"b", None)])
            .record(990, None, None, &[])
            .build();
        let mut chunk = chunk(&[batch], 40);
        let slice = chunk.take(10).expect("legal");
        let records: Vec<_> = slice.iter().collect();
        assert_eq!(records.len(), 2, "{codec}");
        assert_eq!((records[0].key, records[0].value), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!(records[0].offset, Offset(40));
        assert_eq!(records[0].leader_epoch, Some(LeaderEpoch(7)));
        assert_eq!(records[0].timestamp_ms, Some(1_000));
        assert_eq!(records[0].timestamp_type, TimestampType::CreateTime);
        assert_eq!(records[0].headers.len(), 2);
        assert_eq!((records[1].key, records[1].value), (None, None));
        assert_eq!((records[1].offset, records[1].timestamp_ms), (Offset(41), Some(990)));
        assert!(records[1].headers.is_empty());
        assert_eq!(slice.next_offset(), Offset(42));
        assert_eq!(slice.leader_epoch(), Some(LeaderEpoch(7)));
        assert!(chunk.is_drained());
    }
}

#[test]
fn a_batch_tells_its_header() {
    let batch = only(
        &BatchBuilder::new(5)
            .producer(9, 2, 11)
            .transactional()
            .compression(Compression::Zstd)
            .record(50, None, None, &[])
            .record(40, None, None, &[])
            .build(),
    );
    assert_eq!((batch.base_offset(), batch.last_offset()), (Offset(5), Offset(6)));
    assert_eq!(batch.next_offset(), Offset(7));
    assert_eq!((batch.producer_id(), batch.producer_epoch()), (Some(9), Some(2)));
    assert_eq!((batch.base_sequence(), batch.record_count()), (Some(11), 2));
    assert_eq!((batch.base_timestamp_ms(), batch.max_timestamp_ms()), (Some(50), Some(50)));
    assert_eq!((batch.is_transactional(), batch.is_control()), (true, false));
    assert_eq!((batch.compression(), batch.leader_epoch()), (Compression::Zstd, None));
}

#[test]
fn duplicate_and_non_utf8_header_keys_are_kept_in_order() {
    let headers: [encode::HeaderBytes; 3] =
        [(b"k", Some(b"1")), (b"\xff\xfe", None), (b"k", Some(b"2"))];
    let slice = chunk(&[BatchBuilder::new(0).record(1, None, None, &headers).build()], 0)
        .take(1)
        .expect("legal");
    let record = slice.iter().next().expect("one record");
    let seen: Vec<_> = record.headers.iter().map(|header| (header.key, header.value)).collect();
    assert_eq!(seen, headers);
    let keys: Vec<_> = record.headers.into_iter().map(|header| header.key_str()).collect();
    assert_eq!(keys, [Some("k"), None, Some("k")]);
    assert_eq!(record.headers.last("k").and_then(|header| header.value), Some(&b"2"[..]));
    assert_eq!(record.headers.last("absent"), None);
}

#[test]
fn append_time_replaces_every_timestamp() {
    let batch = counted(0, 3).log_append_time(9_999).build();
    let slice = chunk(&[batch], 0).take(9).expect("legal");
    for record in &slice {
        assert_eq!(record.timestamp_ms, Some(9_999));
        assert_eq!(record.timestamp_type, TimestampType::LogAppendTime);
    }
    let none = BatchBuilder::new(0).record(-1, None, None, &[]).build();
    let slice = chunk(&[none], 0).take(1).expect("legal");
    assert_eq!(slice.iter().next().and_then(|record| record.timestamp_ms), None);
}

#[test]
fn compacted_and_empty_batches_advance_the_position() {
    let gaps = BatchBuilder::new(10)
        .gap(2)
        .record(1, None, Some(b"12"), &[])
        .gap(3)
        .record(1, None, Some(b"16"), &[])
        .last_offset_delta(9)
        .build();
    let empty = BatchBuilder::new(20).last_offset_delta(4).build();
    let mut chunk = chunk(&[gaps, empty], 10);
    assert_eq!(chunk.end_offset(), Offset(25));
    let slice = chunk.take(2).expect("legal");
    assert_eq!((offsets(&slice), slice.next_offset()), (vec![12, 16], Offset(20)));
    let slice = chunk.take(2).expect("legal");
    assert!(slice.is_empty());
    assert_eq!((slice.next_offset(), slice.leader_epoch()), (Offset(25), None));
    assert!(chunk.is_drained());
}

#[test]
fn a_truncated_tail_ends_the_batches_without_an_error() {
    let whole = counted(0, 2).build();
    let next = counted(2, 3).build();
    for cut in 0..next.len() {
        let bytes = concat(&[whole.clone(), next.slice(..cut)]);
        let mut batches = Batches::new(bytes.clone());
        assert!(batches.next().expect("the first batch").is_ok());
        assert!(batches.next().is_none());
        assert_eq!(batches.remaining(), cut);
        let mut chunk = Chunk::new(bytes, Offset(0), ChunkOptions::default());
        assert_eq!(chunk.end_offset(), Offset(2));
        assert_eq!(offsets(&chunk.take(9).expect("legal")), [0, 1]);
        assert!(chunk.is_drained());
    }
}

#[test]
fn records_below_the_fetch_offset_are_skipped() {
    let batches = [counted(0, 5).build(), counted(5, 5).build()];
    for from in 0..=10 {
        let mut chunk = chunk(&batches, from);
        assert_eq!(chunk.next_offset(), Offset(from));
        let slice = chunk.take(100).expect("legal");
        assert_eq!(offsets(&slice), (from..10).collect::<Vec<_>>());
        assert_eq!(chunk.next_offset(), Offset(10));
    }
    let mut beyond = chunk(&batches, 50);
    assert!(beyond.take(1).expect("legal").is_empty());
    assert_eq!(beyond.next_offset(), Offset(50));
}

#[test]
fn a_chunk_is_split_anywhere_and_continued() {
    let batches = [
        counted(0, 7).build(),
        counted(7, 1).compression(Compression::Lz4).build(),
        counted(8, 13).compression(Compression::Zstd).build(),
    ];
    for records_max in 1..25 {
        let mut chunk = chunk(&batches, 2);
        let mut seen = Vec::new();
        while !chunk.is_drained() {
            let slice = chunk.take(records_max).expect("legal");
            assert!(slice.len() <= records_max);
            assert_eq!(slice.iter().len(), slice.len());
            seen.extend(offsets(&slice));
            assert_eq!(slice.next_offset(), chunk.next_offset());
            assert_eq!(seen.last().map(|last| last + 1), Some(chunk.next_offset().0));
            for record in &slice {
                assert_eq!(record.value, Some(record.offset.0.to_string().as_bytes()));
            }
        }
        assert_eq!(seen, (2..21).collect::<Vec<_>>());
        assert_eq!(chunk.buffered_bytes(), 0);
        assert!(chunk.take(1).expect("legal").is_empty());
    }
    let mut chunk = chunk(&batches, 0);
    assert!(chunk.take(0).expect("legal").is_empty());
    assert_eq!(chunk.next_offset(), Offset(0));
}

#[test]
fn control_batches_are_passed_and_not_seen() {
    let commit = marker(3, 9, 1).build();
    let batches = [counted(0, 3).build(), commit, counted(4, 1).build()];
    assert!(only(&batches[1]).is_control());
    let mut chunk = chunk(&batches, 0);
    let slice = chunk.take(9).expect("legal");
    assert_eq!((offsets(&slice), slice.next_offset()), (vec![0, 1, 2, 4], Offset(5)));
}

/// P1: what a position is held against is the epoch of what lies right before it.
#[test]
fn the_epoch_before_the_position_is_that_of_the_last_batch_also_of_one_that_is_skipped() {
    let epoch = |batch: BatchBuilder, epoch| batch.leader_epoch(epoch).build();
    let batches = [
        epoch(counted(0, 3), 4),
        epoch(marker(3, 9, 1), 5),
        epoch(counted(4, 2).producer(9, 0, 0).transactional(), 6),
        epoch(BatchBuilder::new(6).last_offset_delta(1), 7),
        counted(8, 2).build(),
    ];
    let aborted = AbortedTransaction { first_offset: 4, producer_id: 9 };
    let mut chunk = chunk(&batches, 1).skip_aborted(vec![aborted]);
    let mut seen = Vec::new();
    for records_max in [1, 1, 1, 1] {
        let slice = chunk.take(records_max).expect("legal");
        let epoch = slice.leader_epoch().map(|epoch| epoch.0);
        seen.push((offsets(&slice), slice.next_offset().0, epoch));
    }
    let expected =
        [(vec![1], 2, Some(4)), (vec![2], 3, Some(4)), (vec![8], 9, None), (vec![9], 10, None)];
    assert_eq!(seen, expected);
    let skipped = Chunk::new(concat(&batches[1..4]), Offset(3), ChunkOptions::default());
    let slice = skipped.skip_aborted(vec![aborted]).take(9).expect("legal");
    assert_eq!((slice.next_offset(), slice.leader_epoch()), (Offset(8), Some(LeaderEpoch(7))));
}

/// A control batch that ends a transaction of `producer`: kind 0 aborts, 1 commits.
fn marker(offset: i64, producer: i64, kind: u8) -> BatchBuilder {
    BatchBuilder::new(offset).producer(producer, 0, -1).transactional().control().record(
        1,
        Some(&[0, 0, 0, kind]),
        Some(&[0, 0, 0, 0, 0, 0]),
        &[],
    )
}

#[test]
fn read_committed_skips_exactly_the_aborted_transactions() {
    let transaction = |base, producer| counted(base, 2).producer(producer, 0, 0).transactional();
    let batches = [
        transaction(0, 1).build(), // aborted at 6
        transaction(2, 2).build(), // committed at 7
        counted(4, 2).producer(1, 0, 0).build(),
        marker(6, 1, 0).build(),
        marker(7, 2, 1).build(),
        transaction(8, 1).build(), // the same producer's next one, committed at 12
        transaction(10, 3).build(), // aborted later than this chunk
        marker(12, 1, 1).build(),
    ];
    let aborted = [(10, 3), (0, 1)]
        .map(|(first_offset, producer_id)| AbortedTransaction { first_offset, producer_id });
    let mut committed = chunk(&batches, 0).skip_aborted(aborted.to_vec());
    assert_eq!(offsets(&committed.take(99).expect("legal")), [2, 3, 4, 5, 8, 9]);
    assert_eq!(committed.next_offset(), Offset(13));
    let uncommitted = chunk(&batches, 0).take(99).expect("legal");
    assert_eq!(offsets(&uncommitted), [0, 1, 2, 3, 4, 5, 8, 9, 10, 11]);
}

#[test]
fn snappy_is_read_raw_and_in_xerial_framing() {
    let batch = counted(0, 3).compression(Compression::Snappy);
    let body = only(&counted(0, 3).build()).body(0).expect("uncompressed");
    let raw = snap::raw::Encoder::new().compress_vec(&body).expect("in memory");
    assert_eq!(only(&batch.build()).body(1_000).expect("legal"), body);
    assert_eq!(only(&batch.seal(&raw)).body(1_000).expect("legal"), body);
}

#[test]
fn an_uncompressed_record_is_borrowed_from_the_fetched_bytes() {
    let bytes = counted(0, 1).build();
    let slice = chunk_of(&bytes).take(1).expect("legal");
    let value = slice.iter().next().and_then(|record| record.value).expect("a value");
    assert!(bytes.as_ptr_range().contains(&value.as_ptr()));
}

fn chunk_of(bytes: &Bytes) -> Chunk {
    Chunk::new(bytes.clone(), Offset(0), ChunkOptions::default())
}

#[test]
fn slices_may_be_sent_and_kept() {
    fn assert_kept<T: Send + Sync + 'static>() {}
    assert_kept::<Slice>();
    assert_kept::<Chunk>();
    assert_kept::<RecordError>();
}

#[test]
fn check_crcs_off_takes_a_wrong_crc_on_trust() {
    let mut bytes = BytesMut::from(&counted(0, 1).build()[..]);
    bytes[17] ^= 1;
    let options = ChunkOptions { check_crcs: false, ..ChunkOptions::default() };
    let mut trusted = Chunk::new(bytes.freeze(), Offset(0), options);
    assert_eq!(offsets(&trusted.take(1).expect("legal")), [0]);
}
