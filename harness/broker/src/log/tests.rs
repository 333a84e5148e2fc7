use super::{Appended, Log};
use crate::batch::{self, NewRecord};
use bytes::{Bytes, BytesMut};
use evenkeel_spec::words::ErrorCode;

fn record(timestamp: i64) -> NewRecord<'static> {
    NewRecord { key: None, value: Some(b"0123456789"), timestamp }
}

fn sequenced(producer_id: i64, epoch: i16, base_sequence: i32, count: usize) -> Bytes {
    let mut out = BytesMut::new();
    let records: Vec<_> = (0..count).map(|_| record(1)).collect();
    batch::build(&mut out, 0, 0, &records);
    out[43..51].copy_from_slice(&producer_id.to_be_bytes());
    out[51..53].copy_from_slice(&epoch.to_be_bytes());
    out[53..57].copy_from_slice(&base_sequence.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

fn append(log: &mut Log, records: &Bytes) -> Result<Appended, ErrorCode> {
    let header = batch::check(records, 1 << 20).expect("a good batch");
    log.append(records, &header, 0, None)
}

#[test]
fn a_read_returns_whole_batches_within_the_limit_and_the_first_one_in_any_case() {
    let mut log = Log::default();
    log.begin_epoch(0);
    for timestamp in 0..10 {
        log.append_record(0, &record(timestamp));
    }
    let one = log.read(0, 0, true).len();
    assert_eq!(log.read(0, 0, false).len(), 0);
    assert_eq!(log.read(0, 3 * one + 5, true).len(), 3 * one);
    assert_eq!(log.read(8, 1 << 20, true).len(), 2 * one);
    assert!(log.read(10, 1 << 20, true).is_empty());
}

#[test]
fn filled_batches_are_read_as_one_slice_with_the_right_offsets() {
    let mut log = Log::default();
    log.begin_epoch(0);
    log.append_record(0, &record(0));
    log.fill(0, 5_000, &[b'x'; 100], 7);
    assert_eq!(log.end(), 5_001);
    let mut all = log.read(0, 1 << 30, true);
    let sets =
        kafka_protocol::records::RecordBatchDecoder::decode_all(&mut all).expect("good batches");
    let offsets: Vec<i64> = sets.iter().flat_map(|set| &set.records).map(|r| r.offset).collect();
    assert_eq!(offsets, (0..5_001).collect::<Vec<_>>());
}

#[test]
fn a_producers_retry_is_answered_with_its_first_offset_and_a_gap_is_refused() {
    let mut log = Log::default();
    log.begin_epoch(0);
    let first = sequenced(9, 0, 0, 3);
    assert_eq!(append(&mut log, &first), Ok(Appended { base: 0, duplicate: false }));
    assert_eq!(append(&mut log, &first), Ok(Appended { base: 0, duplicate: true }));
    assert_eq!(append(&mut log, &sequenced(9, 0, 4, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(
        append(&mut log, &sequenced(9, 0, 3, 1)),
        Ok(Appended { base: 3, duplicate: false })
    );
    assert_eq!(
        append(&mut log, &sequenced(9, 1, 0, 1)),
        Ok(Appended { base: 4, duplicate: false })
    );
    assert_eq!(append(&mut log, &sequenced(9, 0, 4, 1)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(log.end(), 5);
}

#[test]
fn epochs_end_where_the_next_begins() {
    let mut log = Log::default();
    log.begin_epoch(0);
    log.append_record(0, &record(0));
    log.begin_epoch(2);
    log.append_record(2, &record(0));
    assert_eq!(log.epoch_end(0), Some((0, 1)));
    assert_eq!(log.epoch_end(1), Some((0, 1)));
    assert_eq!(log.epoch_end(2), Some((2, 2)));
    assert_eq!(log.epoch_end(5), None);
    assert_eq!((log.epoch_at(0), log.epoch_at(1)), (Some(0), Some(2)));
    // What nothing was appended in leaves no trace.
    log.begin_epoch(3);
    log.truncate(0);
    log.begin_epoch(4);
    assert_eq!((log.epoch_end(2), log.epoch_end(4)), (Some((2, 0)), Some((4, 0))));
}

#[test]
fn of_a_batch_whose_first_records_were_deleted_the_rest_is_found_by_time() {
    let mut log = Log::default();
    log.begin_epoch(0);
    let mut batch = BytesMut::new();
    let records: Vec<_> = [10, 40, 20].into_iter().map(record).collect();
    batch::build(&mut batch, 0, 0, &records);
    append(&mut log, &batch.freeze()).expect("it is well formed");
    log.advance_start(2);
    assert_eq!(log.first_at_or_after(0), Some((2, 20)));
    assert_eq!(log.first_at_or_after(21), None);
}

#[test]
fn times_are_looked_up_and_retention_moves_the_start() {
    let mut log = Log::default();
    log.begin_epoch(0);
    for timestamp in [10, 40, 20] {
        log.append_record(0, &record(timestamp));
    }
    assert_eq!(log.first_at_or_after(15), Some((1, 40)));
    assert_eq!(log.greatest_timestamp(), Some((1, 40)));
    assert_eq!(log.first_at_or_after(41), None);
    log.advance_start(2);
    assert_eq!((log.start(), log.first_at_or_after(0)), (2, Some((2, 20))));
    log.truncate(2);
    assert_eq!(log.end(), 2);
}
