//! Bytes that no broker should send: each is a typed error, cheap to find.

use std::io::Write;

use bytes::{Bytes, BytesMut};

use super::super::encode::fix_crc;
use super::*;

/// The error of the first take; building and taking are all that an application triggers.
fn fault(bytes: &[u8]) -> RecordFault {
    let mut chunk = Chunk::new(Bytes::copy_from_slice(bytes), Offset(0), ChunkOptions::default());
    let error = chunk.take(usize::MAX).expect_err("hostile bytes");
    let position = chunk.next_offset();
    assert_eq!(chunk.take(1).expect_err("the fault stays"), error);
    assert_eq!(chunk.next_offset(), position);
    assert!(position == Offset(0) || position.0.cast_signed() == error.base_offset);
    error.fault
}

/// A batch of one record with `patch` at `at`, its CRC32C made right.
fn patched(at: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = counted(1_000, 1).build().to_vec();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    fix_crc(&mut bytes);
    bytes
}

/// A batch at offset 0 that counts one record, with this body.
fn with_body(body: &[u8]) -> Vec<u8> {
    counted(0, 1).seal(body).to_vec()
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

#[test]
fn a_record_count_of_i32_max_is_refused_without_allocation() {
    // These 61 bytes make kafka-protocol 0.18 ask for 377 GB.
    let bytes = hex(concat!(
        "00000000000003e80000003100000000020ed87f0400000000000000000000000000000000000000000000",
        "ffffffffffffffffffffffffffff7fffffff"
    ));
    let expected = RecordFault::RecordCount { count: i32::MAX, bytes: 0, offsets: 1 };
    assert_eq!(fault(&bytes), expected);
    // The same where the offsets allow the count.
    let mut bytes = patched(23, &(i32::MAX - 1).to_be_bytes());
    bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    fix_crc(&mut bytes);
    assert!(matches!(fault(&bytes), RecordFault::RecordCount { count: i32::MAX, .. }));
    assert!(matches!(fault(&patched(57, &[0xff; 4])), RecordFault::RecordCount { count: -1, .. }));
}

#[test]
fn a_header_count_of_i32_max_is_refused_without_allocation() {
    // These 73 bytes make kafka-protocol 0.18 ask for 39 GB.
    let bytes = hex(concat!(
        "00000000000003e80000003d0000000002dfe4bda800000000000000000000000000000000000000000000",
        "ffffffffffffffffffffffffffff0000000116000000010276feffffff0f"
    ));
    assert_eq!(fault(&bytes), RecordFault::RecordsTruncated);
    assert_eq!(fault(&with_body(&[0x0e, 0, 0, 0, 1, 1, 1, 0])), RecordFault::HeaderLength);
    assert_eq!(fault(&with_body(&[0x10, 0, 0, 0, 1, 1, 2, 1, 1])), RecordFault::HeaderLength);
}

#[test]
fn a_length_field_that_makes_no_sense_is_an_error_and_not_a_tail() {
    for length in [i32::MIN, -1, 0, 13] {
        assert_eq!(fault(&patched(8, &length.to_be_bytes())), RecordFault::BatchLength { length });
    }
    let short = patched(8, &48i32.to_be_bytes());
    assert_eq!(fault(&short), RecordFault::BatchLength { length: 48 });
}

#[test]
fn old_and_unknown_formats_are_refused_by_name() {
    assert_eq!(fault(&patched(16, &[0])), RecordFault::OldFormat { magic: 0 });
    assert_eq!(fault(&patched(16, &[1])), RecordFault::OldFormat { magic: 1 });
    assert_eq!(fault(&patched(16, &[3])), RecordFault::UnknownFormat { magic: 3 });
    assert_eq!(fault(&patched(16, &[0xff])), RecordFault::UnknownFormat { magic: -1 });
    // A v0 message of 14 bytes after its length field, shorter than any v2 header.
    let mut old = vec![0; 26];
    old[11] = 14;
    let mut batches = Batches::new(old.into());
    let error = batches.next().expect("a message").expect_err("an old format");
    assert_eq!(
        error.to_string(),
        "record batch at offset 0: old message format v0; only v2 (Kafka 0.11 and newer) can be read"
    );
}

#[test]
fn every_flipped_bit_behind_the_crc_is_found() {
    let bytes = counted(0, 2).build();
    for bit in 17 * 8..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(fault(&flipped), RecordFault::Crc { .. }), "bit {bit}");
    }
}

#[test]
fn headers_that_claim_no_offset_or_no_codec_are_refused() {
    for delta in [-1, i32::MIN] {
        let expected = RecordFault::OffsetRange { last_offset_delta: delta };
        assert_eq!(fault(&patched(23, &delta.to_be_bytes())), expected);
    }
    for base in [i64::MAX, i64::MIN, -1] {
        let error = Batches::new(patched(0, &base.to_be_bytes()).into()).next();
        let error = error.expect("a batch").expect_err("no offset");
        assert_eq!(error.base_offset, base);
        assert_eq!(error.fault, RecordFault::OffsetRange { last_offset_delta: 0 });
    }
    for id in 5..=7 {
        assert_eq!(fault(&patched(22, &[id])), RecordFault::UnknownCompression { id });
    }
}

#[test]
fn malformed_records_are_told_apart() {
    let record: &[u8] = &[0x0c, 0, 0, 0, 1, 1, 0];
    let cases: &[(&[u8], RecordFault)] = &[
        (&[], RecordFault::RecordCount { count: 1, bytes: 0, offsets: 1 }),
        (&[0x0e, 0, 0, 0, 1, 1, 0], RecordFault::RecordsTruncated),
        (&[0x0a, 0, 0, 0, 1, 1, 0], RecordFault::RecordsTruncated),
        (&[0x0e, 0, 0, 0, 1, 1, 0, 0], RecordFault::RecordLength),
        (&[0x01, 0, 0, 0, 1, 1, 0], RecordFault::RecordLength),
        (&[0x0c, 0, 0, 0, 8, 1, 0], RecordFault::RecordLength),
        (&[0x0c, 0, 0, 0, 4, 1, 0], RecordFault::RecordsTruncated),
        (&[0x0c, 0, 0, 2, 1, 1, 0], RecordFault::OffsetOrder { offset_delta: 1 }),
        (&[0x0c, 0, 0, 1, 1, 1, 0], RecordFault::OffsetOrder { offset_delta: -1 }),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 0, 0], RecordFault::VarintTooLong),
        (&[record, &[0]].concat(), RecordFault::TrailingBytes { bytes: 1 }),
    ];
    for (body, expected) in cases {
        let mut chunk = chunk(&[with_body(body).into()], 0);
        let error = match chunk.take(9) {
            Err(error) => error,
            Ok(slice) => {
                // What follows the last record is found after it was handed out.
                assert_eq!((slice.len(), slice.next_offset()), (1, Offset(1)), "{body:?}");
                chunk.take(9).expect_err("a fault after the record")
            }
        };
        assert_eq!((error.base_offset, error.fault), (0, expected.clone()), "{body:?}");
    }
}

#[test]
fn offsets_that_do_not_rise_are_an_error_and_not_a_silent_loss() {
    let twice: &[u8] = &[0x0c, 0, 0, 2, 1, 1, 0, 0x0c, 0, 0, 2, 1, 1, 0];
    let mut chunk = chunk(&[counted(0, 2).seal(twice)], 0);
    assert_eq!(offsets(&chunk.take(9).expect("the first")), [1]);
    let error = chunk.take(9).expect_err("the second");
    assert_eq!(error.fault, RecordFault::OffsetOrder { offset_delta: 1 });
}

#[test]
fn records_before_a_fault_are_handed_out_and_the_fault_stays() {
    let mut broken = counted(3, 2).build().to_vec();
    broken[17] ^= 1;
    let mut chunk = chunk(&[counted(0, 3).build(), broken.into(), counted(5, 1).build()], 0);
    assert_eq!(chunk.end_offset(), Offset(3));
    assert_eq!(offsets(&chunk.take(99).expect("good records")), [0, 1, 2]);
    for _ in 0..3 {
        let error = chunk.take(99).expect_err("the second batch");
        assert_eq!(error.base_offset, 3);
        assert_eq!((chunk.next_offset(), chunk.is_drained()), (Offset(3), false));
    }
}

#[test]
fn an_answer_without_one_whole_batch_is_an_error() {
    let bytes = counted(7, 1).build();
    let cut = bytes.slice(..bytes.len() - 1);
    let expected = RecordFault::NoCompleteBatch { bytes: cut.len() };
    assert_eq!(fault(&cut), expected);
    assert!(chunk(&[], 7).is_drained());
}

#[test]
fn extreme_timestamps_wrap_and_do_not_panic() {
    let mut bytes = counted(0, 2).build().to_vec();
    bytes[27..35].copy_from_slice(&i64::MAX.to_be_bytes());
    fix_crc(&mut bytes);
    let slice = chunk(&[bytes.into()], 0).take(2).expect("legal");
    let timestamps: Vec<_> = slice.iter().map(|record| record.timestamp_ms).collect();
    assert_eq!(timestamps, [Some(i64::MAX), Some(i64::MIN)]);
}

#[test]
fn decompression_bombs_end_at_the_bound_for_every_codec() {
    const BOMB: usize = 64 << 20;
    let zeros = vec![0; BOMB];
    let mut unsized_zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("in memory");
    unsized_zstd.write_all(&zeros).expect("in memory");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&zeros).expect("in memory");
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&zeros).expect("in memory");
    let snappy = snap::raw::Encoder::new().compress_vec(&zeros).expect("in memory");
    let framed = u32::try_from(snappy.len()).expect("small").to_be_bytes();
    let xerial = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..], &framed, &snappy].concat();
    let bombs = [
        (Compression::Gzip, gzip.finish().expect("in memory")),
        (Compression::Lz4, lz4.finish().expect("in memory")),
        (Compression::Snappy, snappy),
        (Compression::Snappy, xerial),
        (Compression::Zstd, zstd::bulk::compress(&zeros, 1).expect("in memory")),
        (Compression::Zstd, unsized_zstd.finish().expect("in memory")),
    ];
    for (compression, bomb) in bombs {
        let batch = only(&counted(0, 1).compression(compression).seal(&bomb));
        for decompressed_max in [0, 1, 1 << 20, BOMB - 1] {
            let error = batch.body(decompressed_max).expect_err("more than the bound");
            let expected = RecordFault::DecompressedTooLarge { compression, decompressed_max };
            assert_eq!(error.fault, expected);
        }
        assert_eq!(batch.body(BOMB).map(|body| body.len()), Ok(BOMB));
    }
}

#[test]
fn a_snappy_block_that_declares_more_than_it_can_hold_is_malformed() {
    let expected = RecordFault::Decompress { compression: Compression::Snappy };
    let declares_4_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let batch = only(&counted(0, 1).compression(Compression::Snappy).seal(&declares_4_gib));
    assert_eq!(batch.body(usize::MAX).expect_err("malformed").fault, expected);
}

#[test]
fn garbage_and_cut_data_are_malformed_for_every_codec() {
    for compression in &CODECS[1..] {
        let whole = counted(0, 9).compression(*compression).build();
        let payload = &whole[61..];
        for data in [&payload[..payload.len() - 5], &[0x55; 40], &[payload, b"junk"].concat()] {
            let batch = only(&counted(0, 9).compression(*compression).seal(data));
            // lz4_flex takes a frame cut at a block's end as whole: the count finds it.
            let error = batch.body(1 << 20).map(|body| {
                batch
                    .records(&body)
                    .find_map(Result::err)
                    .unwrap_or_else(|| panic!("{compression}: {data:?}"))
            });
            let error = error.unwrap_or_else(|error| error);
            assert_eq!(error.base_offset, 0, "{compression}");
        }
    }
}

/// Walks all that an application can reach, in takes of `records_max`, and checks what must hold.
fn exercise(bytes: Bytes, records_max: usize, decompressed_max: usize) -> u64 {
    let options = ChunkOptions { decompressed_max, check_crcs: true };
    let buffered_max = bytes.len() + decompressed_max;
    let mut chunk = Chunk::new(bytes, Offset(1_001), options);
    let mut records = 0;
    loop {
        let before = chunk.next_offset();
        let taken = chunk.take(records_max);
        assert!(chunk.buffered_bytes() <= buffered_max);
        assert!(chunk.next_offset() >= before && chunk.next_offset() <= chunk.end_offset());
        let Ok(slice) = taken else { return records };
        let mut last = None;
        for record in &slice {
            assert!(record.offset >= before && Some(record.offset) > last);
            last = Some(record.offset);
            assert_eq!(record.headers.iter().count(), record.headers.len());
            records += 1;
        }
        assert!(last < Some(chunk.next_offset()));
        if slice.is_empty() {
            return records;
        }
    }
}

/// xorshift64*: small, deterministic, good enough to choose bytes.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let wide = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(wide).expect("31 bits") % bound
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, from: usize) {
        let at = from + self.below(bytes.len() - from);
        match self.below(6) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.byte(),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, self.byte()),
            4 => {
                let end = bytes.len().min(at + 1 + self.below(8));
                bytes[at..end].fill([0xff, 0x7f, 0x80, 0][self.below(4)]);
            }
            _ => {
                bytes.remove(at);
            }
        }
    }
}

#[test]
fn two_hundred_thousand_mutations_neither_panic_nor_exceed_a_bound() {
    const SEED: u64 = 0x6b61_666b_6101;
    let mut random = Xorshift(SEED);
    let corpus: Vec<_> = CODECS.map(fuzz_batch).into_iter().collect();
    let (mut walked, mut refused) = (0, 0);
    for round in 0..200_000 {
        let mut bytes = corpus[round % corpus.len()].to_vec();
        // Mostly the payload, whose frame is then made right again, so that the parser gets deep.
        let deep = random.below(8) != 0;
        for _ in 0..=random.below(3) {
            if bytes.len() > 61 {
                random.mutate(&mut bytes, if deep { 57 } else { 0 });
            }
        }
        if bytes.len() >= 61 && random.below(16) != 0 {
            let length = i32::try_from(bytes.len() - 12).expect("small");
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            fix_crc(&mut bytes);
        }
        let records = exercise(bytes.into(), 1 + random.below(9), 4_096);
        walked += records;
        refused += u32::from(records < FUZZ_RECORDS - 1);
    }
    assert!(walked > 200_000, "seed {SEED}: {walked} records walked");
    assert!(refused > 20_000, "seed {SEED}: {refused} mutations refused");
}

const FUZZ_RECORDS: u64 = 12;

/// A batch at 1,000 with keys, nulls, long values and headers; 4 KiB or less when decompressed.
fn fuzz_batch(compression: Compression) -> BytesMut {
    let batch = (0..FUZZ_RECORDS).fold(BatchBuilder::new(1_000), |batch, index| {
        let value = vec![b'v'; usize::try_from(index).expect("small") * 20];
        let headers: [encode::HeaderBytes; 2] = [(b"trace", Some(b"0123456789")), (b"n", None)];
        let count = usize::try_from(index % 3).expect("small");
        let timestamp = 1_700_000_000_000 + index.cast_signed() * 1_000;
        batch.record(timestamp, Some(b"key"), Some(&value), &headers[..count])
    });
    BytesMut::from(&batch.compression(compression).build()[..])
}
