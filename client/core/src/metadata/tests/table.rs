//! Every state of the metadata's refresh with every input.

use super::{answer, names, topic};
use crate::metadata::{Metadata, Order, Refresh};
use crate::request;
use crate::table::{Input, check, table};
use evenkeel_spec::words::{ErrorCode, TopicId};

#[test]
fn every_state_with_every_input_is_the_table_in_spec() {
    check("metadata-table", &table(&states(), &inputs(), stands));
}

fn states() -> Vec<(&'static str, Metadata)> {
    let make = |build: fn(&mut Metadata)| {
        let mut metadata = Metadata::default();
        metadata.on_subscribed(names(&["a"]));
        build(&mut metadata);
        metadata
    };
    let waiting = |build: fn(&mut Metadata)| {
        let mut metadata = Metadata::default();
        metadata.on_subscribed_pattern();
        metadata.on_asked(names(&["a"]));
        metadata.on_unresolved([TopicId::from_u32(9)].into());
        build(&mut metadata);
        metadata
    };
    vec![
        ("new", Metadata::default()),
        ("subscribed to a", make(|_| {})),
        ("asking", make(|m| drop(m.ask()))),
        (
            "asking, old already",
            make(|m| {
                m.ask();
                m.request_update();
            }),
        ),
        ("resting", make(learn)),
        (
            "pausing, wanted again",
            make(|m| {
                learn(m);
                m.request_update();
            }),
        ),
        (
            "idle",
            make(|m| {
                learn(m);
                m.on_backoff();
            }),
        ),
        ("pattern, group waits for T9, call asks about a", waiting(|_| {})),
        ("pattern, asking for T9", waiting(|m| drop(m.ask()))),
        (
            "pattern, T9 has no name, a is next",
            waiting(|m| {
                m.ask();
                m.on_answer(answer(&[]), &mut Vec::new());
                m.on_backoff();
            }),
        ),
    ]
}

fn learn(metadata: &mut Metadata) {
    metadata.ask();
    metadata.on_answer(answer(&[("a", Ok(topic(1, 1, 0)))]), &mut Vec::new());
}

fn inputs() -> Vec<(&'static str, Input<Metadata>)> {
    vec![
        ("subscribe a", |m| act(m, |m, _| m.on_subscribed(names(&["a"])))),
        ("subscribe a, b", |m| act(m, |m, _| m.on_subscribed(names(&["a", "b"])))),
        ("group waits for T1", |m| act(m, |m, _| m.on_unresolved([TopicId::from_u32(1)].into()))),
        ("group waits for T9", |m| act(m, |m, _| m.on_unresolved([TopicId::from_u32(9)].into()))),
        ("call asks about b", |m| act(m, |m, _| m.on_asked(names(&["b"])))),
        ("old", |m| act(m, |m, _| m.request_update())),
        ("asked", |m| {
            vec![match m.ask() {
                request::Request::TopicsById { .. } => "request by id".into(),
                _ => "request".into(),
            }]
        }),
        ("answer lost", |m| act(m, Metadata::on_lost)),
        ("answer a", |m| act(m, |m, out| m.on_answer(answer(&[("a", Ok(topic(1, 1, 0)))]), out))),
        ("answer a: UNKNOWN_TOPIC_OR_PARTITION", |m| {
            refused(m, ErrorCode::UnknownTopicOrPartition)
        }),
        ("answer a: LEADER_NOT_AVAILABLE", |m| refused(m, ErrorCode::LeaderNotAvailable)),
        ("answer a: TOPIC_AUTHORIZATION_FAILED", |m| {
            refused(m, ErrorCode::TopicAuthorizationFailed)
        }),
        ("answer: REBOOTSTRAP_REQUIRED", |m| {
            let error = Some(ErrorCode::RebootstrapRequired);
            act(m, |m, out| m.on_answer(request::Metadata { error, ..answer(&[]) }, out))
        }),
        ("backoff over", |m| act(m, |m, _| m.on_backoff())),
        ("too old", |m| act(m, |m, _| m.on_age())),
    ]
}

fn refused(metadata: &mut Metadata, code: ErrorCode) -> Vec<String> {
    act(metadata, |m, out| m.on_answer(answer(&[("a", Err(code))]), out))
}

fn act(metadata: &mut Metadata, input: impl FnOnce(&mut Metadata, &mut Vec<Order>)) -> Vec<String> {
    let mut out = Vec::new();
    input(metadata, &mut out);
    out.iter().map(word).collect()
}

fn word(order: &Order) -> String {
    match order {
        Order::ArmBackoff(step) => format!("+backoff x{}", 1 << step.exponent()),
        Order::ArmAge => "+age".into(),
        Order::Changed => "changed".into(),
        Order::WarnUnknown(topic) => format!("warn of {topic}"),
        Order::Tell(topic, code) => format!("tell {topic}: {}", code.name()),
        Order::Rebootstrap => "rebootstrap".into(),
    }
}

fn stands(metadata: &Metadata) -> String {
    let refresh = match metadata.refresh {
        Refresh::Idle => "Idle",
        Refresh::Wanted => "Wanted",
        Refresh::Asking { again: false } => "Asking",
        Refresh::Asking { again: true } => "Asking, again",
        Refresh::Pausing { again: false } => "Pausing",
        Refresh::Pausing { again: true } => "Pausing, again",
    };
    let (brokers, topics) = (metadata.brokers.len(), metadata.topics.len());
    format!("{refresh}, {brokers} brokers, {topics} topics")
}
