use super::{Lookup, State};
use crate::Incarnation;
use crate::group::Output;
use crate::table::{Input, check, table};
use evenkeel_spec::words::NodeId;

#[test]
fn every_state_with_every_input_is_the_table_in_spec() {
    check("lookup-table", &table(&states(), &inputs(), stands));
}

fn states() -> Vec<(&'static str, Lookup)> {
    let make = |build: fn(&mut Lookup)| {
        let mut lookup = Lookup::default();
        lookup.ask(CURRENT, &mut Vec::new());
        build(&mut lookup);
        lookup
    };
    vec![
        ("new", Lookup::default()),
        ("asking", make(|_| {})),
        ("backing off", make(|lookup| lookup.on_failed(CURRENT, &mut Vec::new()))),
        ("known", make(|lookup| assert!(lookup.on_found(CURRENT, NodeId(1))))),
    ]
}

fn inputs() -> Vec<(&'static str, Input<Lookup>)> {
    vec![
        ("ask", |l| act(l, |l, out| l.ask(CURRENT, out))),
        ("found node 2", |l| act(l, |l, _| drop_current(l.on_found(CURRENT, NodeId(2))))),
        ("found node 2, late", |l| act(l, |l, _| drop_current(l.on_found(LATE, NodeId(2))))),
        ("failed", |l| act(l, |l, out| l.on_failed(CURRENT, out))),
        ("failed, late", |l| act(l, |l, out| l.on_failed(LATE, out))),
        ("backoff over", |l| act(l, |l, _| l.on_backoff())),
        ("not the coordinator", |l| act(l, |l, _| l.invalidate())),
    ]
}

/// Whether an answer was current shows in the state.
fn drop_current(_: bool) {}

fn act(lookup: &mut Lookup, input: impl FnOnce(&mut Lookup, &mut Vec<Output>)) -> Vec<String> {
    let mut out = Vec::new();
    input(lookup, &mut out);
    let word = |output: &Output| match output {
        Output::FindCoordinator { .. } => "find coordinator".to_owned(),
        Output::Arm(timer, step) => format!("+{timer:?} x{}", 1 << step.exponent()),
        other => format!("{other:?}"),
    };
    out.iter().map(word).collect()
}

fn stands(lookup: &Lookup) -> String {
    match lookup.state {
        State::Unknown => "Unknown".into(),
        State::Asking(_) => "Asking".into(),
        State::BackingOff => "BackingOff".into(),
        State::Known(node) => format!("Known {node:?}"),
    }
}

const CURRENT: Incarnation = Incarnation(1);
const LATE: Incarnation = Incarnation(0);
