//! Every state of a position with every input.

use super::{P, listed, owned};
use crate::position::{Order, Phase, Position, Positions, Tell};
use crate::request::EpochEnd;
use crate::table::{Input, check, table};
use crate::{Incarnation, OffsetReset, SeekTo};
use evenkeel_spec::words::{Committed, ErrorCode, LeaderEpoch, Offset};

#[test]
fn every_state_with_every_input_is_the_table_in_spec() {
    let latest = table(&states(OffsetReset::Latest), &inputs(), stands);
    let none = table(&states(OffsetReset::None), &inputs(), stands);
    let text =
        format!("# auto.offset.reset=latest\n\n{latest}\n\n# auto.offset.reset=none\n\n{none}");
    check("position-table", &text);
}

fn states(policy: OffsetReset) -> Vec<(&'static str, Positions)> {
    let make = |build: fn(&mut Positions)| {
        let mut positions = owned(policy);
        positions.on_fetch(&[P].into());
        build(&mut positions);
        positions
    };
    vec![
        ("owned, not to be fetched yet", owned(policy)),
        ("to be looked up", make(|_| {})),
        ("looked up", make(|p| p.on_asked(P))),
        (
            "pausing",
            make(|p| {
                p.on_asked(P);
                p.on_lost(P, current(p), &mut Vec::new());
            }),
        ),
        (
            "without a committed offset",
            make(|p| {
                p.on_asked(P);
                p.on_committed(P, current(p), Ok(None), &mut Vec::new());
            }),
        ),
        (
            "end asked for",
            make(|p| {
                p.on_seek(P, SeekTo::End, &mut Vec::new());
                p.on_asked(P);
            }),
        ),
        ("reading", make(|p| p.on_seek(P, SeekTo::Offset(Offset(5)), &mut Vec::new()))),
        (
            "reading, after epoch 2",
            make(|p| {
                let to = SeekTo::OffsetAndEpoch(Offset(5), LeaderEpoch(2));
                p.on_seek(P, to, &mut Vec::new());
            }),
        ),
        ("doubted", make(doubted)),
        (
            "validated",
            make(|p| {
                doubted(p);
                p.on_asked(P);
            }),
        ),
        (
            "reading, to be revoked",
            make(|p| {
                p.on_seek(P, SeekTo::Offset(Offset(5)), &mut Vec::new());
                p.on_withheld(&[P].into());
            }),
        ),
        (
            "reading, paused",
            make(|p| {
                p.on_seek(P, SeekTo::Offset(Offset(5)), &mut Vec::new());
                p.on_paused(P, true);
            }),
        ),
    ]
}

/// Sought after a record of epoch 2, while epoch 3 leads.
fn doubted(positions: &mut Positions) {
    positions.on_leaders(|_| Some(LeaderEpoch(3)), &mut Vec::new());
    positions.on_seek(P, SeekTo::OffsetAndEpoch(Offset(5), LeaderEpoch(2)), &mut Vec::new());
}

fn inputs() -> Vec<(&'static str, Input<Positions>)> {
    vec![
        ("fetch", |p| act(p, |p, _| p.on_fetch(&[P].into()))),
        ("withhold", |p| act(p, |p, _| p.on_withheld(&[P].into()))),
        ("release", |p| act(p, |p, out| p.on_released(&[P].into(), out))),
        ("pause", |p| act(p, |p, _| p.on_paused(P, true))),
        ("resume", |p| act(p, |p, _| p.on_paused(P, false))),
        ("seek 3", |p| act(p, |p, out| p.on_seek(P, SeekTo::Offset(Offset(3)), out))),
        ("seek 3, epoch 2", |p| {
            act(p, |p, out| {
                p.on_seek(P, SeekTo::OffsetAndEpoch(Offset(3), LeaderEpoch(2)), out);
            })
        }),
        ("seek beginning", |p| act(p, |p, out| p.on_seek(P, SeekTo::Beginning, out))),
        ("seek end", |p| act(p, |p, out| p.on_seek(P, SeekTo::End, out))),
        ("asked", |p| act(p, |p, _| p.on_asked(P))),
        ("committed 7", |p| committed(p, Ok(Some(Committed::at(Offset(7)))))),
        ("committed nothing", |p| committed(p, Ok(None))),
        ("committed: NOT_COORDINATOR", |p| committed(p, Err(ErrorCode::NotCoordinator))),
        ("committed: UNSTABLE_OFFSET_COMMIT", |p| {
            committed(p, Err(ErrorCode::UnstableOffsetCommit))
        }),
        ("committed: TOPIC_AUTHORIZATION_FAILED", |p| {
            committed(p, Err(ErrorCode::TopicAuthorizationFailed))
        }),
        ("committed, late", |p| {
            act(p, |p, out| p.on_committed(P, LATE, Ok(Some(Committed::at(Offset(7)))), out))
        }),
        ("listed 9", |p| act(p, |p, out| p.on_listed(P, current(p), listed(9), out))),
        ("listed nothing", |p| act(p, |p, out| p.on_listed(P, current(p), Ok(None), out))),
        ("listed: NOT_LEADER_OR_FOLLOWER", |p| {
            act(p, |p, out| {
                p.on_listed(P, current(p), Err(ErrorCode::NotLeaderOrFollower), out);
            })
        }),
        ("leader epoch 2", |p| act(p, |p, out| p.on_leaders(|_| Some(LeaderEpoch(2)), out))),
        ("leader epoch 4", |p| act(p, |p, out| p.on_leaders(|_| Some(LeaderEpoch(4)), out))),
        ("epoch ends at 5", |p| epoch_end(p, Ok(Some(end(2, 5))))),
        ("epoch ends at 4", |p| epoch_end(p, Ok(Some(end(1, 4))))),
        ("epoch not known", |p| epoch_end(p, Ok(None))),
        ("epoch: FENCED_LEADER_EPOCH", |p| epoch_end(p, Err(ErrorCode::FencedLeaderEpoch))),
        ("epoch: UNKNOWN_SERVER_ERROR", |p| epoch_end(p, Err(ErrorCode::UnknownServerError))),
        ("epoch: TOPIC_AUTHORIZATION_FAILED", |p| {
            epoch_end(p, Err(ErrorCode::TopicAuthorizationFailed))
        }),
        ("epoch ends at 4, late", |p| {
            act(p, |p, out| p.on_epoch_end(P, LATE, Ok(Some(end(1, 4))), out))
        }),
        ("epochs not spoken of", |p| act(p, |p, out| p.on_unspoken(P, current(p), out))),
        ("lookup lost", |p| act(p, |p, out| p.on_lost(P, current(p), out))),
        ("out of range", |p| act(p, |p, out| p.on_out_of_range(P, Offset(5), out))),
        ("records up to 6", |p| {
            act(p, |p, _| {
                p.on_advanced(P, Position { offset: Offset(6), leader_epoch: None });
            })
        }),
        ("backoff over", |p| act(p, |p, _| p.on_backoff(P))),
    ]
}

fn committed(
    positions: &mut Positions,
    answer: Result<Option<Committed>, ErrorCode>,
) -> Vec<String> {
    act(positions, |p, out| p.on_committed(P, current(p), answer, out))
}

fn epoch_end(
    positions: &mut Positions,
    answer: Result<Option<EpochEnd>, ErrorCode>,
) -> Vec<String> {
    act(positions, |p, out| p.on_epoch_end(P, current(p), answer, out))
}

fn end(epoch: u32, offset: u64) -> EpochEnd {
    EpochEnd { leader_epoch: LeaderEpoch(epoch), offset: Offset(offset) }
}

fn current(positions: &Positions) -> Incarnation {
    positions.partitions[&P].incarnation
}

fn act(
    positions: &mut Positions,
    input: impl FnOnce(&mut Positions, &mut Vec<Order>),
) -> Vec<String> {
    let mut out = Vec::new();
    input(positions, &mut out);
    out.iter().map(word).collect()
}

fn word(order: &Order) -> String {
    match order {
        Order::Backoff(_, step) => format!("+backoff x{}", 1 << step.exponent()),
        Order::Disarm(_) => "-backoff".into(),
        Order::Start(_, position) => format!("read from {}", position.offset.0),
        Order::Stop(_) => "stop reading".into(),
        Order::RefreshMetadata => "refresh metadata".into(),
        Order::NotCoordinator => "not coordinator".into(),
        Order::Listed(_, offset) => format!("nothing beyond {} was read", offset.0),
        Order::WarnReset(_, offset) => format!("warn of a reset at {}", offset.0),
        Order::WarnTruncated(truncation) => {
            format!("warn of a truncation of {}", truncation.offset.0)
        }
        Order::Tell(Tell::Truncated(truncation)) => {
            format!("tell truncated of {}", truncation.offset.0)
        }
        Order::Tell(Tell::NoOffset(_)) => "tell no offset".into(),
        Order::Tell(Tell::OutOfRange(_, offset)) => format!("tell out of range at {}", offset.0),
        Order::Tell(Tell::Partition(_, code)) => format!("tell {}", code.name()),
    }
}

fn stands(positions: &Positions) -> String {
    let Some(partition) = positions.partitions.get(&P) else { return "not owned".into() };
    let asked = |asked: bool| if asked { ", asked" } else { "" };
    let mut text = match partition.phase {
        Phase::Committed { asked: is } => format!("Committed{}", asked(is)),
        Phase::Listed { start, asked: is } => format!("Listed {start:?}{}", asked(is)),
        Phase::Validating { position, asked: is } => {
            format!("Validating {}{}", position.offset.0, asked(is))
        }
        Phase::At(position) => format!("At {}", position.offset.0),
        Phase::Stuck(_) => "Stuck".into(),
    };
    for (is, word) in [
        (partition.pausing, ", pausing"),
        (partition.paused, ", paused"),
        (partition.withheld, ", withheld"),
        (positions.may_read(P), ", may be read"),
    ] {
        text += if is { word } else { "" };
    }
    text
}

const LATE: Incarnation = Incarnation(u32::MAX);
