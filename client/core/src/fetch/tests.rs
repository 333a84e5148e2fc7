mod table;

use super::{Fetcher, Order};
use crate::position::Position;
use crate::request::Fetched;
use crate::{Address, Chunk, Config, Taken};
use evenkeel_spec::words::{
    ErrorCode, LeaderEpoch, NodeId, Offset, Step, TopicId, TopicIdPartition,
};
use std::collections::BTreeMap;

const A: TopicIdPartition = TopicIdPartition::new(TopicId::from_u32(1), 0);
const B: TopicIdPartition = TopicIdPartition::new(TopicId::from_u32(1), 1);
const NODE: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

/// Records of 10 bytes; those of `hidden` are control records at the end.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Records {
    next: u64,
    end: u64,
    hidden: u64,
    damaged: bool,
    epoch: Option<u32>,
}

impl Chunk for Records {
    type Part = (u64, u64);
    type Fault = ();

    fn buffered_bytes(&self) -> usize {
        usize::try_from((self.end - self.next) * 10).expect("small")
    }

    fn held_bytes(&self) -> usize {
        self.buffered_bytes()
    }

    fn end_offset(&self) -> Offset {
        Offset(self.end)
    }

    fn is_drained(&self) -> bool {
        self.next == self.end && !self.damaged
    }

    fn take(&mut self, records_max: usize) -> Result<Taken<(u64, u64)>, ()> {
        let from = self.next;
        let shown = self.end - self.hidden;
        if from >= shown && self.damaged {
            return Err(());
        }
        let to = shown.max(from).min(from + records_max as u64);
        self.next = if to >= shown && !self.damaged { self.end } else { to };
        Ok(Taken {
            part: (from, to),
            records: usize::try_from(to - from).expect("small"),
            next_offset: Offset(self.next),
            leader_epoch: self.epoch.map(LeaderEpoch),
        })
    }
}

fn chunk(next: u64, end: u64) -> Fetched<Records> {
    with(Records { next, end, hidden: 0, damaged: false, epoch: None })
}

/// P1: what was read before has an epoch of its own.
#[test]
fn a_position_has_the_epoch_of_what_was_passed_last_and_none_if_that_has_none() {
    let mut fetcher = fetcher(1_000, 500);
    let mut seen = Vec::new();
    for (next, hidden, epoch) in [(0, 0, Some(4)), (5, 5, Some(6)), (10, 0, None)] {
        let partitions = [(A, None)];
        fetcher.ask(NODE, &partitions, 1, false).expect("there is room");
        let end = next + 5;
        let records = Records { next, end, hidden, damaged: false, epoch };
        answer(&mut fetcher, NODE, &[(A, Ok(with(records)))]);
        let harvest = fetcher.take(100, |_| true, &mut Vec::new());
        seen.push(harvest.advanced[&A]);
    }
    let at = |offset, epoch: Option<u32>| {
        let leader_epoch = epoch.map(LeaderEpoch);
        Position { offset: Offset(offset), leader_epoch }
    };
    assert_eq!(seen, [at(5, Some(4)), at(10, Some(6)), at(15, None)]);
}

fn with(records: Records) -> Fetched<Records> {
    Fetched { high_watermark: None, last_stable: None, log_start: None, chunk: Some(records) }
}

fn none() -> Fetched<Records> {
    Fetched { high_watermark: None, last_stable: None, log_start: None, chunk: None }
}

fn fetcher(bytes_max: u32, partition_bytes_max: u32) -> Fetcher<Records> {
    let mut config = Config::new(vec![Address::new("b", 1)]);
    config.fetch_max_bytes = bytes_max;
    config.max_partition_fetch_bytes = partition_bytes_max;
    let mut fetcher = Fetcher::new(&config);
    for id in [A, B] {
        let position = Position { offset: Offset(0), leader_epoch: None };
        fetcher.on_start(id, position, &mut Vec::new());
    }
    fetcher
}

fn wanted(fetcher: &Fetcher<Records>) -> Vec<TopicIdPartition> {
    fetcher.wanted(|_| true).collect()
}

/// Asks for these and shows from where, and for how many bytes.
fn ask(
    fetcher: &mut Fetcher<Records>,
    node: NodeId,
    ids: &[TopicIdPartition],
) -> Option<(Vec<u64>, u32)> {
    let ids: Vec<_> = ids.iter().map(|id| (*id, None)).collect();
    let fetch = fetcher.ask(node, &ids, 1, false)?;
    Some((fetch.partitions.iter().map(|p| p.offset.0).collect(), fetch.bytes_max))
}

type Answers<'a> = &'a [(TopicIdPartition, Result<Fetched<Records>, ErrorCode>)];

fn answer(fetcher: &mut Fetcher<Records>, node: NodeId, answers: Answers<'_>) -> Vec<Order> {
    let mut out = Vec::new();
    let answers: BTreeMap<_, _> = answers.iter().cloned().collect();
    fetcher.on_answer(node, Ok(answers), &mut out);
    out
}

fn take(fetcher: &mut Fetcher<Records>, max: usize) -> Vec<(u64, u64)> {
    let harvest = fetcher.take(max, |_| true, &mut Vec::new());
    assert_eq!(harvest.fault, None);
    harvest.parts.into_iter().map(|(_, taken)| taken.part).collect()
}

#[test]
fn the_next_fetch_goes_on_where_the_last_answer_ended_while_it_is_returned() {
    let mut fetcher = fetcher(10_000, 1_000);
    assert_eq!(ask(&mut fetcher, NODE, &[A, B]), Some((vec![0, 0], 2_000)));
    assert!(wanted(&fetcher).is_empty());
    answer(&mut fetcher, NODE, &[(A, Ok(chunk(0, 5))), (B, Ok(none()))]);
    assert_eq!(wanted(&fetcher), [B, A], "who got nothing goes first");
    assert_eq!(ask(&mut fetcher, NODE, &[B, A]), Some((vec![0, 5], 2_000)));
    answer(&mut fetcher, NODE, &[(A, Ok(chunk(5, 9))), (B, Ok(none()))]);
    assert_eq!(wanted(&fetcher), [B], "one answer ahead is enough");
    assert_eq!(take(&mut fetcher, 7), [(0, 5), (5, 7)]);
    assert_eq!(wanted(&fetcher), [B, A]);
    assert_eq!(fetcher.buffered_bytes(), 20);
}

#[test]
fn room_is_reserved_before_a_request_goes_out() {
    let mut fetcher = fetcher(1_000, 600);
    assert_eq!(ask(&mut fetcher, NODE, &[A]), Some((vec![0], 600)));
    assert_eq!(ask(&mut fetcher, OTHER, &[B]), None, "less than one partition's share is left");
    answer(&mut fetcher, NODE, &[(A, Ok(chunk(0, 30)))]);
    assert_eq!(ask(&mut fetcher, OTHER, &[B]), Some((vec![0], 600)));
    answer(&mut fetcher, OTHER, &[(B, Ok(chunk(0, 60)))]);
    assert_eq!(fetcher.buffered_bytes(), 900);
    assert_eq!(ask(&mut fetcher, NODE, &[A]), None);
    take(&mut fetcher, 90);
    assert_eq!(ask(&mut fetcher, NODE, &[A]), Some((vec![30], 600)));
}

#[test]
fn a_batch_larger_than_the_whole_buffer_still_gets_through() {
    let mut fetcher = fetcher(100, 600);
    assert_eq!(ask(&mut fetcher, NODE, &[A]), Some((vec![0], 100)));
    answer(&mut fetcher, NODE, &[(A, Ok(chunk(0, 90)))]);
    assert_eq!(ask(&mut fetcher, NODE, &[B]), None);
    assert_eq!(take(&mut fetcher, 500), [(0, 90)]);
    assert_eq!(ask(&mut fetcher, NODE, &[B]), Some((vec![0], 100)));
}

#[test]
fn partitions_take_turns() {
    let mut fetcher = fetcher(10_000, 1_000);
    ask(&mut fetcher, NODE, &[A, B]);
    answer(&mut fetcher, NODE, &[(A, Ok(chunk(0, 10))), (B, Ok(chunk(100, 110)))]);
    assert_eq!(take(&mut fetcher, 4), [(0, 4)]);
    assert_eq!(take(&mut fetcher, 4), [(100, 104)]);
    assert_eq!(take(&mut fetcher, 8), [(4, 10), (104, 106)]);
}

#[test]
fn what_may_not_be_read_is_neither_asked_for_nor_returned() {
    let mut fetcher = fetcher(10_000, 1_000);
    ask(&mut fetcher, NODE, &[A, B]);
    answer(&mut fetcher, NODE, &[(A, Ok(chunk(0, 10))), (B, Ok(chunk(0, 10)))]);
    let harvest = fetcher.take(100, |id| id == B, &mut Vec::new());
    assert_eq!(harvest.parts.len(), 1);
    assert_eq!(fetcher.wanted(|id| id == B).collect::<Vec<_>>(), [B]);
    assert_eq!(take(&mut fetcher, 100), [(0, 10)], "what is buffered is kept meanwhile");
}

#[test]
fn control_records_move_the_position_without_a_part() {
    let mut fetcher = fetcher(10_000, 1_000);
    ask(&mut fetcher, NODE, &[A]);
    let control = with(Records { next: 0, end: 2, hidden: 2, damaged: false, epoch: None });
    answer(&mut fetcher, NODE, &[(A, Ok(control))]);
    let harvest = fetcher.take(10, |_| true, &mut Vec::new());
    assert!(harvest.parts.is_empty());
    assert_eq!(harvest.advanced[&A].offset, Offset(2));
}

#[test]
fn an_answer_from_before_a_seek_or_a_new_leader_is_ignored() {
    let mut fetcher = fetcher(10_000, 1_000);
    ask(&mut fetcher, NODE, &[A, B]);
    let position = Position { offset: Offset(50), leader_epoch: None };
    fetcher.on_start(A, position, &mut Vec::new());
    fetcher.on_leaders(|_| Some(OTHER));
    assert_eq!(ask(&mut fetcher, OTHER, &[A, B]), Some((vec![50, 0], 2_000)));
    answer(&mut fetcher, NODE, &[(A, Ok(chunk(0, 9))), (B, Err(ErrorCode::OffsetOutOfRange))]);
    assert!(wanted(&fetcher).is_empty(), "both are asked for at the other broker");
    answer(&mut fetcher, OTHER, &[(A, Ok(chunk(50, 51))), (B, Ok(chunk(0, 1)))]);
    assert_eq!(take(&mut fetcher, 10), [(0, 1), (50, 51)]);
}

#[test]
fn damaged_records_are_told_alone_and_the_answer_after_them_is_not_joined_on() {
    let mut fetcher = fetcher(10_000, 1_000);
    ask(&mut fetcher, NODE, &[A]);
    let damaged = with(Records { next: 0, end: 3, hidden: 0, damaged: true, epoch: None });
    answer(&mut fetcher, NODE, &[(A, Ok(damaged))]);
    ask(&mut fetcher, NODE, &[A]);
    assert_eq!(take(&mut fetcher, 10), [(0, 3)]);
    let mut out = Vec::new();
    assert_eq!(fetcher.take(10, |_| true, &mut out).fault, Some((A, ())));
    assert_eq!(out, [Order::Backoff(A, Step::FIRST)]);
    answer(&mut fetcher, NODE, &[(A, Ok(chunk(7, 9)))]);
    assert!(take(&mut fetcher, 10).is_empty(), "records 3 to 7 would be missing");
    fetcher.on_backoff(A);
    assert_eq!(ask(&mut fetcher, NODE, &[A]), Some((vec![3], 1_000)));
    assert_eq!(fetcher.buffered_bytes(), 0);
}

#[test]
fn out_of_range_is_believed_only_once_everything_before_it_was_returned() {
    let mut fetcher = fetcher(10_000, 1_000);
    ask(&mut fetcher, NODE, &[A]);
    answer(&mut fetcher, NODE, &[(A, Ok(chunk(0, 3)))]);
    ask(&mut fetcher, NODE, &[A]);
    let out_of_range = [(A, Err(ErrorCode::OffsetOutOfRange))];
    assert!(answer(&mut fetcher, NODE, &out_of_range).is_empty());
    assert_eq!(wanted(&fetcher), [B]);
    assert_eq!(take(&mut fetcher, 10), [(0, 3)]);
    assert_eq!(ask(&mut fetcher, NODE, &[A]), Some((vec![3], 1_000)));
    let orders = answer(&mut fetcher, NODE, &out_of_range);
    assert_eq!(orders, [Order::OutOfRange(A, Offset(3))]);
}

#[test]
fn refused_or_left_out_partitions_back_off_alone() {
    let mut fetcher = fetcher(10_000, 1_000);
    ask(&mut fetcher, NODE, &[A, B]);
    let orders = answer(&mut fetcher, NODE, &[(A, Err(ErrorCode::NotLeaderOrFollower))]);
    let expected =
        [Order::RefreshMetadata, Order::Backoff(A, Step::FIRST), Order::Backoff(B, Step::FIRST)];
    assert_eq!(orders, expected);
    assert!(wanted(&fetcher).is_empty());
    fetcher.on_backoff(B);
    assert_eq!(wanted(&fetcher), [B]);
    ask(&mut fetcher, NODE, &[B]);
    fetcher.on_lost(NODE);
    assert_eq!(wanted(&fetcher), [B], "a lost request is repeated as soon as it can be sent");
}

#[test]
fn records_that_cannot_be_read_are_told_of_next_however_many_the_others_have() {
    let mut fetcher = fetcher(10_000, 500);
    let damaged = || with(Records { next: 0, end: 5, hidden: 5, damaged: true, epoch: None });
    ask(&mut fetcher, NODE, &[A, B]).expect("there is room");
    answer(&mut fetcher, NODE, &[(A, Ok(chunk(0, 5))), (B, Ok(damaged()))]);
    let harvest = fetcher.take(100, |_| true, &mut Vec::new());
    assert_eq!((harvest.parts.len(), harvest.fault), (1, None));
    ask(&mut fetcher, NODE, &[A]).expect("there is room");
    answer(&mut fetcher, NODE, &[(A, Ok(chunk(5, 10)))]);
    let harvest = fetcher.take(100, |_| true, &mut Vec::new());
    assert_eq!((harvest.parts.len(), harvest.fault), (0, Some((B, ()))));
    let harvest = fetcher.take(100, |_| true, &mut Vec::new());
    assert_eq!(harvest.parts.len(), 1);
}
