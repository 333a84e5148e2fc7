//! How fast record batches are parsed: 1 MiB batches of 100 B and of 1 KiB values.
//!
//! * `crc`: CRC32C alone, the floor.
//! * `yardstick`: a lazy borrowed walk with CRC32C, written here with no checks but its slices'.
//! * `chunk`: our public path: a `Chunk` is built, taken by `max.poll.records` (500), and each
//!   slice's records are read.
//! * `kafka-protocol`: that crate's decoder, which gives owned records.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::record::encode::BatchBuilder;
use evenkeel::record::{Chunk, ChunkOptions};
use evenkeel_spec::words::Offset;
use kafka_protocol::records::RecordBatchDecoder;

fn records(criterion: &mut Criterion) {
    let cases = [("100B", 100, 0), ("1KiB", 1_024, 0), ("100B+header", 100, 1)];
    for (name, value_length, header_count) in cases {
        let batch = batch(value_length, header_count);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(batch.len() as u64));
        let expected = yardstick(&batch);
        assert_eq!(chunk(&batch), expected);
        assert_eq!(kafka_protocol(&batch), expected);
        let id = |function: &str| BenchmarkId::from_parameter(function);
        group.bench_function(id("crc"), |b| {
            b.iter(|| crc_fast::crc32_iscsi(black_box(&batch[21..])));
        });
        group.bench_function(id("yardstick"), |b| b.iter(|| yardstick(black_box(&batch))));
        group.bench_function(id("chunk"), |b| b.iter(|| chunk(black_box(&batch))));
        group.bench_function(id("kafka-protocol"), |b| {
            b.iter(|| kafka_protocol(black_box(&batch)));
        });
    }
}

/// What every decoder must find: the number of records and the sums of their value's lengths and
/// offsets.
type Found = (usize, usize, u64);

fn chunk(batch: &Bytes) -> Found {
    let mut chunk = Chunk::new(batch.clone(), Offset(0), ChunkOptions::default());
    let mut found = (0, 0, 0);
    while !chunk.is_drained() {
        for record in &chunk.take(MAX_POLL_RECORDS).expect("a legal batch") {
            found.0 += 1;
            found.1 += record.value.map_or(0, <[u8]>::len);
            found.2 += record.offset.0;
        }
    }
    found
}

fn kafka_protocol(batch: &Bytes) -> Found {
    let set = RecordBatchDecoder::decode(&mut batch.clone()).expect("a legal batch");
    let mut found = (0, 0, 0);
    for record in &set.records {
        found.0 += 1;
        found.1 += record.value.as_ref().map_or(0, Bytes::len);
        found.2 += record.offset.cast_unsigned();
    }
    found
}

fn yardstick(batch: &[u8]) -> Found {
    let crc = u32::from_be_bytes(batch[17..21].try_into().expect("four bytes"));
    assert_eq!(crc_fast::crc32_iscsi(&batch[21..]), crc);
    let count = u32::from_be_bytes(batch[57..61].try_into().expect("four bytes"));
    let mut rest = &batch[61..];
    let mut found = (0, 0, 0);
    for _ in 0..count {
        let length = usize::try_from(varint(&mut rest)).expect("a length");
        let (mut record, after) = rest.split_at(length);
        rest = after;
        record = &record[1..];
        let _timestamp = varint(&mut record);
        found.2 += varint(&mut record).cast_unsigned();
        let _key = field(&mut record);
        found.1 += field(&mut record).map_or(0, <[u8]>::len);
        let _header_count = varint(&mut record);
        found.0 += 1;
    }
    found
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(bytes)).ok()?;
    let (field, rest) = bytes.split_at(length);
    *bytes = rest;
    Some(field)
}

fn varint(bytes: &mut &[u8]) -> i64 {
    let (mut raw, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        raw |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed();
        }
    }
}

/// A batch of about 1 MiB.
fn batch(value_length: usize, header_count: usize) -> Bytes {
    let value = vec![b'v'; value_length];
    let traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [(&b"traceparent"[..], Some(&traceparent[..]))];
    let mut batch = BatchBuilder::new(0);
    for index in 0..(1 << 20) / (value_length + 10 + header_count * 70) {
        let timestamp = 1_700_000_000_000 + i64::try_from(index).expect("small") / 10;
        batch = batch.record(timestamp, None, Some(&value), &headers[..header_count]);
    }
    batch.build()
}

/// Kafka's default for `max.poll.records`.
const MAX_POLL_RECORDS: usize = 500;

criterion_group!(benches, records);
criterion_main!(benches);
