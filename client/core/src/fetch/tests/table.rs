//! Every state of one partition's fetching with every input.

use super::{A, NODE, OTHER, Records, answer, ask, chunk, fetcher, none, with};
use crate::fetch::{Fetcher, Order};
use crate::position::Position;
use crate::request::Fetched;
use crate::table::{Input, check, table};
use evenkeel_spec::words::{ErrorCode, Offset};

type Machine = Fetcher<Records>;

#[test]
fn every_state_with_every_input_is_the_table_in_spec() {
    check("fetch-table", &table(&states(), &inputs(), stands));
}

fn states() -> Vec<(&'static str, Machine)> {
    let make = |build: fn(&mut Machine)| {
        let mut fetcher = fetcher(10_000, 1_000);
        build(&mut fetcher);
        fetcher
    };
    vec![
        ("stopped", make(|f| f.on_stopped(A, &mut Vec::new()))),
        ("wanted", make(|_| {})),
        ("asked", make(asked)),
        ("buffered", make(buffered)),
        (
            "buffered, asked",
            make(|f| {
                buffered(f);
                asked(f);
            }),
        ),
        (
            "full",
            make(|f| {
                buffered(f);
                asked(f);
                answer(f, NODE, &[(A, Ok(chunk(3, 6)))]);
            }),
        ),
        (
            "buffered, out of range",
            make(|f| {
                buffered(f);
                asked(f);
                answer(f, NODE, &[(A, Err(ErrorCode::OffsetOutOfRange))]);
            }),
        ),
        (
            "damaged",
            make(|f| {
                asked(f);
                let damaged = Records { next: 0, end: 3, hidden: 2, damaged: true, epoch: None };
                answer(f, NODE, &[(A, Ok(with(damaged)))]);
            }),
        ),
        (
            "pausing",
            make(|f| {
                asked(f);
                answer(f, NODE, &[(A, Err(ErrorCode::CorruptMessage))]);
            }),
        ),
    ]
}

fn asked(fetcher: &mut Machine) {
    ask(fetcher, NODE, &[A]);
}

fn buffered(fetcher: &mut Machine) {
    asked(fetcher);
    answer(fetcher, NODE, &[(A, Ok(chunk(0, 3)))]);
}

fn inputs() -> Vec<(&'static str, Input<Machine>)> {
    vec![
        ("read from 9", |f| {
            let position = Position { offset: Offset(9), leader_epoch: None };
            act(f, |f, out| f.on_start(A, position, out))
        }),
        ("stop", |f| act(f, |f, out| f.on_stopped(A, out))),
        ("ask", |f| {
            let asked = ask(f, NODE, &[A]);
            asked.map_or_else(Vec::new, |(from, _)| vec![format!("request from {}", from[0])])
        }),
        ("three records", |f| {
            let next = f.streams.get(&A).map_or(0, |stream| stream.next.0);
            answered(f, Ok(chunk(next, next + 3)))
        }),
        ("no record", |f| answered(f, Ok(none()))),
        ("OFFSET_OUT_OF_RANGE", |f| answered(f, Err(ErrorCode::OffsetOutOfRange))),
        ("NOT_LEADER_OR_FOLLOWER", |f| answered(f, Err(ErrorCode::NotLeaderOrFollower))),
        ("CORRUPT_MESSAGE", |f| answered(f, Err(ErrorCode::CorruptMessage))),
        ("TOPIC_AUTHORIZATION_FAILED", |f| answered(f, Err(ErrorCode::TopicAuthorizationFailed))),
        ("not in the answer", |f| words(&answer(f, NODE, &[]))),
        ("answer lost", |f| act(f, |f, _| f.on_lost(NODE))),
        ("another leader", |f| act(f, |f, _| f.on_leaders(|_| Some(OTHER)))),
        ("backoff over", |f| act(f, |f, _| f.on_backoff(A))),
        ("poll of two records", |f| {
            let mut out = Vec::new();
            let harvest = f.take(2, |_| true, &mut out);
            let mut all: Vec<String> = harvest
                .parts
                .iter()
                .map(|(_, taken)| format!("returns {}..{}", taken.part.0, taken.part.1))
                .collect();
            all.extend(harvest.fault.map(|_| "tells of damage".to_owned()));
            all.extend(words(&out));
            all
        }),
    ]
}

fn answered(fetcher: &mut Machine, result: Result<Fetched<Records>, ErrorCode>) -> Vec<String> {
    words(&answer(fetcher, NODE, &[(A, result)]))
}

fn act(fetcher: &mut Machine, input: impl FnOnce(&mut Machine, &mut Vec<Order>)) -> Vec<String> {
    let mut out = Vec::new();
    input(fetcher, &mut out);
    words(&out)
}

fn words(orders: &[Order]) -> Vec<String> {
    let word = |order: &Order| match order {
        Order::Backoff(_, step) => format!("+backoff x{}", 1 << step.exponent()),
        Order::Disarm(_) => "-backoff".to_owned(),
        Order::RefreshMetadata => "refresh metadata".to_owned(),
        Order::OutOfRange(_, offset) => format!("out of range at {}", offset.0),
        Order::Tell(_, code) => format!("tell {}", code.name()),
    };
    orders.iter().map(word).collect()
}

fn stands(fetcher: &Machine) -> String {
    let flying = if fetcher.is_flying(NODE) { ", request in flight" } else { "" };
    let Some(stream) = fetcher.streams.get(&A) else { return format!("stopped{flying}") };
    let chunks = stream.chunks.len();
    let mut text =
        format!("at {}, {chunks} buffered to {}", stream.returned.offset.0, stream.next.0);
    for (is, word) in [
        (stream.asked_at.is_some(), ", asked"),
        (stream.pausing, ", pausing"),
        (stream.out_of_range, ", out of range"),
    ] {
        text += if is { word } else { "" };
    }
    text + flying
}
