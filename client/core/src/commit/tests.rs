use super::{Commit, Offsets};
use crate::Incarnation;
use crate::group::{CommitError, CommitId, Output};
use crate::table::{Input, check, table};
use evenkeel_spec::words::{Committed, Epoch, ErrorCode, Offset, TopicId, TopicIdPartition};

#[test]
fn every_state_with_every_input_is_the_table_in_spec() {
    check("commit-table", &table(&states(), &inputs(), stands));
}

/// O12: what is left of it goes at once, and what was given up does not go.
#[test]
fn a_commit_that_was_withdrawn_is_sent_anew_without_the_caller_that_is_gone() {
    let mut commit = Commit::default();
    at_work(&mut commit);
    let other = TopicIdPartition::new(TopicId::from_u32(1), 1);
    commit.on_commit(CommitId(1), at(5), &mut Vec::new());
    commit.on_commit(CommitId(2), [(other, Committed::at(Offset(9)))].into(), &mut Vec::new());
    assert_eq!(commit.send(Incarnation(1), Some(Epoch(1)), None).len(), 2);
    commit.on_abandoned(CommitId(1));
    commit.on_withdrawn();
    assert!(commit.is_sendable(None), "it does not back off");
    let rest = commit.send(Incarnation(2), Some(Epoch(1)), None);
    assert_eq!(rest, [(other, Committed::at(Offset(9)))].into());
    assert_eq!(commit.in_flight_of_users(), [CommitId(2)]);
}

/// O2: else the place that was sought would not be committed before the old one is passed.
#[test]
fn a_commit_in_flight_at_a_seek_back_does_not_keep_the_new_place_from_being_committed() {
    for asked in [false, true] {
        let mut commit = Commit::default();
        released(&mut commit);
        if asked {
            commit.on_commit(CommitId(1), at(7), &mut Vec::new());
        } else {
            commit.commit_released(None, None);
        }
        commit.send(Incarnation(1), Some(Epoch(1)), None);
        commit.on_sought(P, Some(&Committed::at(Offset(3))), None);
        commit.on_answer(&[(P, Ok(()))].into(), &mut Vec::new());
        commit.commit_released(None, None);
        assert_eq!(commit.send(Incarnation(2), Some(Epoch(1)), None), at(3), "asked: {asked}");
    }
}

/// O2: what was done with before is to be read again, also while something else is in hand.
#[test]
fn a_seek_back_lowers_what_is_released_and_the_application_keeps_what_it_is_at_work_on() {
    let mut commit = Commit::default();
    released(&mut commit);
    commit.on_delivered(&at(9));
    commit.on_taken();
    commit.on_sought(P, Some(&Committed::at(Offset(3))), None);
    assert_eq!(commit.returned(None), at(3));
    assert!(commit.has_unreleased(&[P].into()));
    commit.commit_released(None, None);
    assert_eq!(commit.send(Incarnation(1), Some(Epoch(1)), None), at(3));
}

/// R3, O2: the end of the log is not known yet, and the records are still in its hands.
#[test]
fn a_seek_to_the_end_covers_nothing_and_is_waited_for_like_any_other() {
    let mut commit = Commit::default();
    at_work(&mut commit);
    commit.on_sought(P, None, None);
    assert!(commit.returned(None).is_empty());
    assert!(commit.has_unreleased(&[P].into()));
    commit.release();
    assert!(!commit.has_unreleased(&[P].into()));
    commit.commit_released(None, None);
    assert!(!commit.is_sendable(None), "nothing was returned since");
}

/// O9: a seek, and a log that lost records (P8), lower what is committed next, also while what was
/// committed before is in flight, and also where the new place is not known yet.
#[test]
fn what_was_committed_before_a_seek_back_holds_up_no_commit_after_it() {
    let three = || Committed::at(Offset(3));
    let moves: [fn(&mut Commit, Option<Committed>); 3] = [
        |c, three| c.on_sought(P, three.as_ref(), None),
        |c, _| c.on_sought(P, None, None),
        |c, three| lower(c, three.expect("three").offset.0),
    ];
    for go_back in moves {
        for is_answered in [true, false] {
            let mut commit = Commit::default();
            in_flight(&mut commit);
            let accepted = [(P, Ok(()))].into();
            if is_answered {
                commit.on_answer(&accepted, &mut Vec::new());
            }
            go_back(&mut commit, Some(three()));
            if !is_answered {
                commit.on_answer(&accepted, &mut Vec::new());
            }
            commit.on_delivered(&at(5));
            commit.release();
            commit.commit_released(None, None);
            assert_eq!(commit.send(Incarnation(2), Some(Epoch(2)), None), at(5));
        }
    }
}

fn states() -> Vec<(&'static str, Commit)> {
    let make = |build: fn(&mut Commit)| {
        let mut commit = Commit::default();
        build(&mut commit);
        commit
    };
    vec![
        ("nothing returned", make(|_| {})),
        ("delivered", make(|c| c.on_delivered(&at(7)))),
        ("at work", make(at_work)),
        (
            "at work beyond what is released",
            make(|c| {
                released(c);
                c.on_delivered(&at(9));
                c.on_taken();
            }),
        ),
        ("released", make(released)),
        (
            "due by interval",
            make(|c| {
                released(c);
                c.commit_released(None, None);
            }),
        ),
        (
            "the application's word waits",
            make(|c| {
                at_work(c);
                c.on_commit(CommitId(1), at(7), &mut Vec::new());
            }),
        ),
        ("in flight", make(in_flight)),
        (
            "in flight, another waits",
            make(|c| {
                in_flight(c);
                c.on_delivered(&at(9));
                c.on_taken();
                c.on_commit(CommitId(2), at(9), &mut Vec::new());
            }),
        ),
        (
            "backing off",
            make(|c| {
                in_flight(c);
                c.on_retry(None, &mut Vec::new());
            }),
        ),
        (
            "accepted",
            make(|c| {
                in_flight(c);
                c.on_answer(&[(P, Ok(()))].into(), &mut Vec::new());
            }),
        ),
    ]
}

fn at_work(commit: &mut Commit) {
    commit.on_delivered(&at(7));
    commit.on_taken();
}

fn released(commit: &mut Commit) {
    at_work(commit);
    commit.release();
}

fn in_flight(commit: &mut Commit) {
    released(commit);
    commit.on_commit(CommitId(1), at(7), &mut Vec::new());
    commit.send(Incarnation(1), Some(Epoch(2)), None);
}

fn inputs() -> Vec<(&'static str, Input<Commit>)> {
    vec![
        ("records to 9 delivered", |c| act(c, |c, _| c.on_delivered(&at(9)))),
        ("sought to 3", |c| act(c, |c, _| c.on_sought(P, Some(&Committed::at(Offset(3))), None))),
        ("sought to the end", |c| act(c, |c, _| c.on_sought(P, None, None))),
        ("truncated to 3", |c| act(c, |c, _| lower(c, 3))),
        ("truncated to 8", |c| act(c, |c, _| lower(c, 8))),
        ("taken", |c| act(c, |c, _| c.on_taken())),
        ("released", |c| act(c, |c, _| c.release())),
        ("commit what is released", |c| act(c, |c, _| c.commit_released(None, None))),
        ("commit() of 8", |c| act(c, |c, out| c.on_commit(CommitId(3), at(8), out))),
        ("commit() of nothing", |c| act(c, |c, out| c.on_commit(CommitId(3), Offsets::new(), out))),
        ("commit() abandoned", |c| act(c, |c, _| c.on_abandoned(CommitId(1)))),
        ("refresh", |c| act(c, |c, _| c.refresh(None))),
        ("send", |c| {
            let sent = c.send(Incarnation(2), Some(Epoch(2)), None);
            vec![format!("request {}", sent.get(&P).map_or(0, |committed| committed.offset.0))]
        }),
        ("accepted", |c| act(c, |c, out| c.on_answer(&[(P, Ok(()))].into(), out))),
        ("OFFSET_METADATA_TOO_LARGE of the partition", |c| {
            let refused = [(P, Err(ErrorCode::OffsetMetadataTooLarge))].into();
            act(c, |c, out| c.on_answer(&refused, out))
        }),
        ("UNKNOWN_MEMBER_ID", |c| act(c, |c, out| c.on_refused(ErrorCode::UnknownMemberId, out))),
        ("to be retried", |c| act(c, |c, out| c.on_retry(None, out))),
        ("backoff over", |c| act(c, |c, _| c.on_backoff())),
        ("time to revoke over", |c| {
            act(c, |c, out| c.give_up(&[P].into(), CommitError::Expired, out))
        }),
        ("ownership ended", |c| act(c, |c, out| c.on_ownership_ended(&[P].into(), None, out))),
    ]
}

fn act(commit: &mut Commit, input: impl FnOnce(&mut Commit, &mut Vec<Output>)) -> Vec<String> {
    let mut out = Vec::new();
    input(commit, &mut out);
    let word = |output: &Output| match output {
        Output::CommitDone { id, result: Ok(()) } => format!("done {}", id.0),
        Output::CommitDone { id, result: Err(error) } => format!("failed {}: {error:?}", id.0),
        Output::Arm(timer, step) => format!("+{timer:?} x{}", 1 << step.exponent()),
        other => format!("{other:?}"),
    };
    out.iter().map(word).collect()
}

fn stands(commit: &Commit) -> String {
    let mut words = Vec::new();
    words.extend(commit.progress.words());
    if !commit.pending.is_empty() {
        words.push(format!("{} waiting", commit.pending.len()));
    }
    if let Some(flight) = &commit.in_flight {
        words.push(format!("{} in flight", flight.entries.len()));
    }
    let entries = commit.in_flight.iter().flat_map(|flight| &flight.entries);
    if entries.chain(&commit.pending).any(|entry| !entry.overruled.is_empty()) {
        words.push("overruled".into());
    }
    if commit.backing_off {
        words.push("backing off".into());
    }
    if words.is_empty() { "-".into() } else { words.join(", ") }
}

fn at(offset: u64) -> Offsets {
    [(P, Committed::at(Offset(offset)))].into()
}

const P: TopicIdPartition = TopicIdPartition::new(TopicId::from_u32(1), 0);

fn lower(commit: &mut Commit, to: u64) {
    commit.on_truncated(P, &Committed::at(Offset(to)));
    assert!(!commit.on_truncated(P, &Committed::at(Offset(to))), "nothing lies beyond any more");
}
