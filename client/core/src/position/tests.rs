mod table;

use super::{Order, Position, Positions, Start, Tell};
use crate::request::{ListedOffset, OffsetAt};
use crate::{Incarnation, OffsetReset, SeekTo};
use evenkeel_spec::words::{
    Committed, ErrorCode, Offset, Partitions, Step, TopicId, TopicIdPartition,
};

pub(super) const P: TopicIdPartition = TopicIdPartition::new(TopicId::from_u32(1), 0);

fn owned(policy: OffsetReset) -> Positions {
    let mut positions = Positions::new(policy, true);
    positions.on_owned(&Partitions::from([P]));
    positions
}

fn ask(positions: &mut Positions) -> Incarnation {
    let incarnation = positions.committed_wanted()[&P];
    positions.on_asked(P);
    assert!(positions.committed_wanted().is_empty(), "one lookup at a time");
    incarnation
}

fn listed(offset: u64) -> Result<Option<ListedOffset>, ErrorCode> {
    Ok(Some(ListedOffset { offset: Offset(offset), leader_epoch: None, timestamp_ms: None }))
}

pub(super) fn position(offset: u64) -> Position {
    Position { offset: Offset(offset), leader_epoch: None }
}

#[test]
fn a_committed_offset_is_where_reading_starts() {
    let mut positions = owned(OffsetReset::Latest);
    let incarnation = ask(&mut positions);
    let mut out = Vec::new();
    positions.on_committed(P, incarnation, Ok(Some(Committed::at(Offset(7)))), &mut out);
    assert_eq!(out, [Order::Start(P, position(7))]);
    assert!(!positions.may_read(P), "the group has not said so yet");
    positions.on_fetch(&Partitions::from([P]));
    assert!(positions.may_read(P));
    positions.on_paused(P, true);
    assert!(!positions.may_read(P));
    positions.on_paused(P, false);
    positions.on_withheld(&Partitions::from([P]));
    assert!(!positions.may_read(P));
}

#[test]
fn without_a_committed_offset_the_policy_says_where_to_start() {
    for (policy, start) in [
        (OffsetReset::Earliest, Some(Start::Earliest)),
        (OffsetReset::Latest, Some(Start::Latest)),
        (OffsetReset::ByDuration(500), Some(Start::Age(500))),
        (OffsetReset::None, None),
    ] {
        let mut positions = owned(policy);
        let incarnation = ask(&mut positions);
        positions.on_committed(P, incarnation, Ok(None), &mut Vec::new());
        let wanted = positions.listed_wanted().get(&P).map(|(_, start)| *start);
        assert_eq!(wanted, start);
        let stuck: Vec<_> = positions.stuck().map(|(_, tell)| tell).collect();
        assert_eq!(stuck.len(), usize::from(start.is_none()));
        assert!(stuck.iter().all(|tell| *tell == Tell::NoOffset(P)));
    }
    assert_eq!(Start::Age(500).at(1_200), OffsetAt::Timestamp(700));
    assert_eq!(Start::Age(500).at(300), OffsetAt::Timestamp(0));
}

#[test]
fn where_no_record_is_young_enough_reading_starts_at_the_end() {
    let mut positions = owned(OffsetReset::ByDuration(500));
    let incarnation = ask(&mut positions);
    positions.on_committed(P, incarnation, Ok(None), &mut Vec::new());
    positions.on_asked(P);
    positions.on_listed(P, incarnation, Ok(None), &mut Vec::new());
    assert_eq!(positions.listed_wanted()[&P].1, Start::Latest);
}

#[test]
fn a_late_answer_touches_neither_a_seek_nor_a_new_ownership() {
    let mut positions = owned(OffsetReset::Earliest);
    let first = ask(&mut positions);
    positions.on_seek(P, SeekTo::Offset(Offset(50)), &mut Vec::new());
    let mut out = Vec::new();
    positions.on_committed(P, first, Ok(Some(Committed::at(Offset(7)))), &mut out);
    positions.on_committed(P, first, Err(ErrorCode::NotCoordinator), &mut out);
    positions.on_lost(P, first, &mut out);
    assert!(out.is_empty());
    assert_eq!(positions.position(P), Some(position(50)));
    positions.on_released(&Partitions::from([P]), &mut out);
    positions.on_owned(&Partitions::from([P]));
    out.clear();
    positions.on_committed(P, first, Ok(None), &mut out);
    assert!(out.is_empty());
    assert_eq!(positions.committed_wanted().len(), 1, "the new ownership looks up its own");
}

#[test]
fn refusals_are_retried_with_growing_backoffs_each_as_the_table_says() {
    for (code, order) in [
        (ErrorCode::NotCoordinator, Some(Order::NotCoordinator)),
        (ErrorCode::UnknownTopicId, Some(Order::RefreshMetadata)),
        (ErrorCode::UnstableOffsetCommit, None),
        (
            ErrorCode::GroupAuthorizationFailed,
            Some(Order::Tell(Tell::Partition(P, ErrorCode::GroupAuthorizationFailed))),
        ),
    ] {
        let mut positions = owned(OffsetReset::Earliest);
        for step in [Step::FIRST, Step::FIRST.next(), Step::FIRST.next().next()] {
            let incarnation = ask(&mut positions);
            let mut out = Vec::new();
            positions.on_committed(P, incarnation, Err(code), &mut out);
            assert_eq!(out.pop(), Some(Order::Backoff(P, step)));
            assert_eq!(out.pop(), order);
            assert!(positions.committed_wanted().is_empty(), "not before its backoff is over");
            positions.on_backoff(P);
        }
    }
}

#[test]
fn a_seek_to_an_end_is_looked_up_and_one_during_a_backoff_ends_it() {
    let mut positions = owned(OffsetReset::None);
    let incarnation = ask(&mut positions);
    positions.on_lost(P, incarnation, &mut Vec::new());
    let mut out = Vec::new();
    positions.on_seek(P, SeekTo::End, &mut out);
    assert_eq!(out, [Order::Disarm(P)]);
    let (incarnation, start) = positions.listed_wanted()[&P];
    assert_eq!(start, Start::Latest);
    positions.on_asked(P);
    out.clear();
    positions.on_listed(P, incarnation, listed(9), &mut out);
    assert_eq!(out, [Order::Listed(P, Offset(9)), Order::Start(P, position(9))]);
}

#[test]
fn out_of_range_resets_with_a_warning_or_is_told() {
    for policy in [OffsetReset::Earliest, OffsetReset::None] {
        let mut positions = owned(policy);
        positions.on_seek(P, SeekTo::Offset(Offset(3)), &mut Vec::new());
        let mut out = Vec::new();
        positions.on_out_of_range(P, Offset(3), &mut out);
        let stuck: Vec<_> = positions.stuck().collect();
        if policy == OffsetReset::None {
            assert!(out.is_empty());
            assert_eq!(stuck, [(P, Tell::OutOfRange(P, Offset(3)))]);
        } else {
            // What is listed may be out of range again: not at the pace of the network.
            assert_eq!(out, [Order::WarnReset(P, Offset(3)), Order::Backoff(P, Step::FIRST)]);
            assert!(stuck.is_empty());
        }
    }
}

#[test]
#[should_panic(expected = "a position moves back only by a seek or a reset")]
fn a_position_never_moves_back_by_itself() {
    let mut positions = owned(OffsetReset::None);
    positions.on_seek(P, SeekTo::Offset(Offset(3)), &mut Vec::new());
    positions.on_advanced(P, position(2));
}
