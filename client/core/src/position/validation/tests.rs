use super::super::tests::{P, position};
use super::Truncation;
use crate::position::{Order, Position, Positions, Tell};
use crate::request::{EpochEnd, EpochQuestion, ListedOffset};
use crate::{Incarnation, OffsetReset, SeekTo};
use evenkeel_spec::words::{ErrorCode, LeaderEpoch, Offset, Partitions, Step};

/// Sought to 10, after a record of epoch 2, of a partition that epoch 3 leads.
fn doubted(policy: OffsetReset) -> Positions {
    let mut positions = Positions::new(policy, true);
    positions.on_owned(&Partitions::from([P]));
    positions.on_fetch(&Partitions::from([P]));
    leaders(&mut positions, 3);
    let to = SeekTo::OffsetAndEpoch(Offset(10), LeaderEpoch(2));
    let mut out = Vec::new();
    positions.on_seek(P, to, &mut out);
    assert_eq!(out, [Order::Disarm(P)], "not to be read yet");
    positions
}

fn leaders(positions: &mut Positions, epoch: u32) -> Vec<Order> {
    let mut out = Vec::new();
    positions.on_leaders(|_| Some(LeaderEpoch(epoch)), &mut out);
    out
}

fn ask(positions: &mut Positions) -> (Incarnation, EpochQuestion) {
    let asked = positions.validations_wanted()[&P];
    positions.on_asked(P);
    assert!(positions.validations_wanted().is_empty(), "one question at a time");
    asked
}

fn end(leader_epoch: u32, offset: u64) -> EpochEnd {
    EpochEnd { leader_epoch: LeaderEpoch(leader_epoch), offset: Offset(offset) }
}

fn after(offset: u64, leader_epoch: u32) -> Position {
    Position { offset: Offset(offset), leader_epoch: Some(LeaderEpoch(leader_epoch)) }
}

#[test]
fn an_end_at_or_behind_the_position_is_what_it_should_be() {
    for offset in [10, 11] {
        let mut positions = doubted(OffsetReset::None);
        let (incarnation, question) = ask(&mut positions);
        let expected = EpochQuestion { leader_epoch: LeaderEpoch(2), current: LeaderEpoch(3) };
        assert_eq!(question, expected);
        assert!(!positions.may_read(P));
        let mut out = Vec::new();
        positions.on_epoch_end(P, incarnation, Ok(Some(end(2, offset))), &mut out);
        assert_eq!(out, [Order::Start(P, after(10, 2))]);
        assert!(positions.may_read(P));
    }
}

#[test]
fn an_end_before_the_position_is_where_reading_goes_on_or_told() {
    let truncation = Truncation { partition: P, offset: Offset(10), diverging: Some(end(1, 9)) };
    let mut positions = doubted(OffsetReset::Latest);
    let (incarnation, _) = ask(&mut positions);
    let mut out = Vec::new();
    positions.on_epoch_end(P, incarnation, Ok(Some(end(1, 9))), &mut out);
    assert_eq!(out, [Order::WarnTruncated(truncation), Order::Start(P, after(9, 1))]);
    assert!(leaders(&mut positions, 3).is_empty(), "that leader has just said so");
    let mut positions = doubted(OffsetReset::None);
    let (incarnation, _) = ask(&mut positions);
    out.clear();
    positions.on_epoch_end(P, incarnation, Ok(Some(end(1, 9))), &mut out);
    assert_eq!((out, positions.position(P)), (vec![], None));
    assert_eq!(positions.stuck().collect::<Vec<_>>(), [(P, Tell::Truncated(truncation))]);
}

#[test]
fn an_epoch_that_the_leader_does_not_know_resets_or_is_told() {
    let truncation = Truncation { partition: P, offset: Offset(10), diverging: None };
    for policy in [OffsetReset::Earliest, OffsetReset::None] {
        let mut positions = doubted(policy);
        let (incarnation, _) = ask(&mut positions);
        let mut out = Vec::new();
        positions.on_epoch_end(P, incarnation, Ok(None), &mut out);
        if policy == OffsetReset::None {
            let stuck: Vec<_> = positions.stuck().collect();
            assert_eq!((out, stuck), (vec![], vec![(P, Tell::Truncated(truncation))]));
        } else {
            assert_eq!(out, [Order::WarnTruncated(truncation)]);
            assert_eq!(positions.listed_wanted().len(), 1);
        }
    }
}

#[test]
fn without_an_epoch_on_either_side_or_of_the_leaders_own_nothing_is_asked() {
    for (known, to) in [
        (Some(3), SeekTo::Offset(Offset(10))),
        (Some(3), SeekTo::OffsetAndEpoch(Offset(10), LeaderEpoch(3))),
        (None, SeekTo::OffsetAndEpoch(Offset(10), LeaderEpoch(2))),
    ] {
        let mut positions = Positions::new(OffsetReset::None, true);
        positions.on_owned(&Partitions::from([P]));
        positions.on_leaders(|_| known.map(LeaderEpoch), &mut Vec::new());
        positions.on_seek(P, to, &mut Vec::new());
        assert!(positions.validations_wanted().is_empty());
        assert_eq!(positions.position(P).map(|at| at.offset), Some(Offset(10)));
    }
}

/// P3: a broker tells the leader's epoch with the end of a log, also if it has no record of it.
#[test]
fn an_offset_that_was_listed_has_no_epoch() {
    let mut positions = Positions::new(OffsetReset::Latest, false);
    positions.on_owned(&Partitions::from([P]));
    leaders(&mut positions, 3);
    let (incarnation, _) = positions.listed_wanted()[&P];
    positions.on_asked(P);
    let leader_epoch = Some(LeaderEpoch(3));
    let listed = ListedOffset { offset: Offset(10), leader_epoch, timestamp_ms: None };
    positions.on_listed(P, incarnation, Ok(Some(listed)), &mut Vec::new());
    assert_eq!(leaders(&mut positions, 4), [Order::Start(P, position(10))], "nothing to ask");
}

#[test]
fn a_newer_leader_voids_what_was_fetched_and_older_news_say_nothing() {
    let mut positions = Positions::new(OffsetReset::None, true);
    positions.on_owned(&Partitions::from([P]));
    positions.on_seek(P, SeekTo::Offset(Offset(10)), &mut Vec::new());
    let fetched_again = [Order::Start(P, position(10))];
    assert_eq!(leaders(&mut positions, 3), fetched_again, "nothing read, nothing to doubt");
    assert!(leaders(&mut positions, 3).is_empty() && leaders(&mut positions, 2).is_empty());
    positions.on_advanced(P, after(12, 3));
    assert_eq!(leaders(&mut positions, 4), [Order::Stop(P)]);
    assert_eq!((positions.position(P), positions.place(P)), (None, Some(after(12, 3))));
    let (first, _) = ask(&mut positions);
    let mut out = leaders(&mut positions, 5);
    assert_eq!(out, [Order::Disarm(P)]);
    let (second, question) = ask(&mut positions);
    assert_eq!(question.current, LeaderEpoch(5));
    out.clear();
    positions.on_epoch_end(P, first, Ok(Some(end(3, 11))), &mut out);
    positions.on_epoch_end(P, first, Err(ErrorCode::FencedLeaderEpoch), &mut out);
    positions.on_unspoken(P, first, &mut out);
    positions.on_lost(P, first, &mut out);
    assert!(out.is_empty(), "the answer of an older leader is late");
    positions.on_epoch_end(P, second, Ok(Some(end(3, 12))), &mut out);
    assert_eq!(out, [Order::Start(P, after(12, 3))]);
}

#[test]
fn metadata_that_catches_up_with_what_was_read_needs_no_answer() {
    let mut positions = doubted(OffsetReset::Latest);
    let to = SeekTo::OffsetAndEpoch(Offset(10), LeaderEpoch(7));
    positions.on_seek(P, to, &mut Vec::new());
    let (incarnation, question) = ask(&mut positions);
    assert_eq!(question.current, LeaderEpoch(7), "the leader is to know it");
    let mut out = Vec::new();
    positions.on_epoch_end(P, incarnation, Err(ErrorCode::UnknownLeaderEpoch), &mut out);
    assert_eq!(out, [Order::RefreshMetadata, Order::Backoff(P, Step::FIRST)]);
    assert_eq!(leaders(&mut positions, 7), [Order::Disarm(P), Order::Start(P, after(10, 7))]);
}
