//! The group's side alone: every state with every input as a table, and what a table does not show.

mod changes;

use super::consumer::State;
use super::*;
use crate::commit::Offsets;
use evenkeel_spec::words::{
    BackoffKind, Committed, ErrorCode, HeartbeatAnswer, HeartbeatEpoch, Offset, Step,
    TopicIdPartition,
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// A group under test, with what is outstanding.
#[derive(Clone)]
struct Bench {
    group: Group,
    out: Vec<Output>,
    lookup: Option<Incarnation>,
    heartbeat: Option<Incarnation>,
    commit: Option<Incarnation>,
    callback: Option<Incarnation>,
}

impl Bench {
    fn new() -> Self {
        let config = GroupConfig {
            auto_commit: true,
            rebalance_timeout_ms: 300_000,
            assignor: None,
            mutant: None,
        };
        let (lookup, heartbeat, commit, callback) = (None, None, None, None);
        let group = Group::new(config);
        let mut bench = Self { group, out: Vec::new(), lookup, heartbeat, commit, callback };
        bench.group.on_topics_resolved(&[TopicId::from_u32(1)].into(), &mut bench.out);
        bench
    }

    /// Gives an input; what it orders is outstanding from now on.
    fn feed(&mut self, input: impl FnOnce(&mut Group, &mut Vec<Output>)) -> &mut Self {
        self.out.clear();
        input(&mut self.group, &mut self.out);
        for output in &self.out {
            match output {
                Output::FindCoordinator { incarnation } => self.lookup = Some(*incarnation),
                Output::Heartbeat { incarnation, .. } => self.heartbeat = Some(*incarnation),
                Output::OffsetCommit { incarnation, .. } => self.commit = Some(*incarnation),
                Output::Call { incarnation, .. } => self.callback = Some(*incarnation),
                _ => {}
            }
        }
        self
    }

    fn subscribe(&mut self, listener: bool) -> &mut Self {
        let topics = Arc::new(["orders".into()].into());
        self.feed(|group, out| group.on_subscribe(topics, listener, out))
    }

    fn poll(&mut self) -> &mut Self {
        self.feed(|group, out| group.on_poll(true, out))
    }

    fn found(&mut self) -> &mut Self {
        let incarnation = self.lookup.take().unwrap_or(NEVER);
        self.feed(|group, out| group.on_coordinator(incarnation, Ok(NodeId(1)), out))
    }

    fn answered(&mut self, answer: Result<HeartbeatAnswer, ErrorCode>) -> &mut Self {
        let incarnation = self.heartbeat.take().unwrap_or(NEVER);
        self.feed(|group, out| group.on_heartbeat_answer(incarnation, answer, out))
    }

    fn called(&mut self, ok: bool) -> &mut Self {
        let incarnation = self.callback.take().unwrap_or(NEVER);
        self.feed(|group, out| group.on_callback_done(incarnation, ok, out))
    }

    fn committed(&mut self, answer: Result<(), ErrorCode>) -> &mut Self {
        let incarnation = self.commit.take().unwrap_or(NEVER);
        let answer = answer.map(|()| [(P0, Ok(()))].into());
        self.feed(|group, out| group.on_commit_answer(incarnation, answer, out))
    }

    fn returned(&mut self, offset: u64) -> &mut Self {
        self.feed(|group, out| group.on_delivered(&offsets(offset), out))
    }

    /// A stable member of both partitions, inside of poll.
    fn stable(listener: bool) -> Self {
        let mut bench = Self::new();
        bench.subscribe(listener).poll().found().answered(granted(2, &[P0, P1]));
        if listener {
            bench.called(true);
        }
        bench.answered(accepted(2));
        bench
    }
}

const NEVER: Incarnation = Incarnation(u32::MAX);
const P0: TopicIdPartition = TopicIdPartition::new(TopicId::from_u32(1), 0);
const P1: TopicIdPartition = TopicIdPartition::new(TopicId::from_u32(1), 1);

fn granted(epoch: u32, target: &[TopicIdPartition]) -> Result<HeartbeatAnswer, ErrorCode> {
    Ok(HeartbeatAnswer {
        epoch: Some(Epoch(epoch)),
        heartbeat_interval_ms: 5_000,
        assignment: Some(target.iter().copied().collect()),
    })
}

fn accepted(epoch: u32) -> Result<HeartbeatAnswer, ErrorCode> {
    granted(epoch, &[]).map(|answer| HeartbeatAnswer { assignment: None, ..answer })
}

fn offsets(offset: u64) -> Offsets {
    [(P0, Committed::at(Offset(offset)))].into()
}

/// Every state that a member can be in for longer than one input, by how it got there.
fn states() -> Vec<(&'static str, Bench)> {
    let make = |build: fn(&mut Bench)| {
        let mut bench = Bench::new();
        build(&mut bench);
        bench
    };
    let from = |mut bench: Bench, build: fn(&mut Bench)| {
        build(&mut bench);
        bench
    };
    vec![
        ("Unsubscribed", Bench::new()),
        (
            "Subscribed",
            make(|b| {
                b.subscribe(true);
            }),
        ),
        (
            "Joining, no coordinator",
            make(|b| {
                b.subscribe(true).poll();
            }),
        ),
        (
            "Joining",
            make(|b| {
                b.subscribe(true).poll().found();
            }),
        ),
        (
            "Joined, assigned open",
            make(|b| {
                b.subscribe(true).poll().found().answered(granted(2, &[P0, P1]));
            }),
        ),
        ("Joined", Bench::stable(true)),
        (
            "Joined, heartbeat in flight",
            from(Bench::stable(true), |b| {
                b.feed(|group, out| group.on_timer(Timer::Heartbeat, out));
            }),
        ),
        (
            "Joined, at work",
            from(Bench::stable(true), |b| {
                b.returned(7);
            }),
        ),
        (
            "Joined, withheld",
            from(Bench::stable(false), |b| {
                b.returned(7).feed(|group, out| group.on_timer(Timer::Heartbeat, out));
                b.answered(granted(2, &[P1]));
            }),
        ),
        (
            "Joined, committing",
            from(Bench::stable(false), |b| {
                b.returned(7).feed(|group, out| group.on_timer(Timer::Heartbeat, out));
                b.answered(granted(2, &[P1])).poll();
            }),
        ),
        (
            "Joined, revoked open",
            from(Bench::stable(true), |b| {
                b.feed(|group, out| group.on_timer(Timer::Heartbeat, out));
                b.answered(granted(2, &[P1]));
            }),
        ),
        (
            "Fenced, lost open",
            from(Bench::stable(true), |b| {
                b.feed(|group, out| group.on_timer(Timer::Heartbeat, out));
                b.answered(Err(ErrorCode::FencedMemberEpoch));
            }),
        ),
        (
            "Stale, leaving",
            from(Bench::stable(true), |b| {
                b.feed(Group::on_poll_ended);
                b.feed(|group, out| group.on_timer(Timer::PollInterval, out));
            }),
        ),
        (
            "Stale",
            from(Bench::stable(true), |b| {
                b.feed(Group::on_poll_ended);
                b.feed(|group, out| group.on_timer(Timer::PollInterval, out));
                b.answered(accepted(2));
            }),
        ),
        (
            "Unsubscribing, revoked open",
            from(Bench::stable(true), |b| {
                b.feed(|group, out| group.on_unsubscribe(true, out));
            }),
        ),
        (
            "Unsubscribing, leaving",
            from(Bench::stable(false), |b| {
                b.feed(|group, out| group.on_unsubscribe(true, out));
            }),
        ),
        (
            "Fatal",
            make(|b| {
                b.subscribe(true).poll().found().answered(Err(ErrorCode::GroupAuthorizationFailed));
            }),
        ),
    ]
}

type Input = fn(&mut Bench);

fn inputs() -> Vec<(&'static str, Input)> {
    vec![
        ("subscribe", |b| {
            b.subscribe(true);
        }),
        ("poll", |b| {
            b.poll();
        }),
        ("poll ended", |b| {
            b.feed(Group::on_poll_ended);
        }),
        ("commit", |b| {
            b.feed(|group, out| group.on_commit(CommitId(0), true, None, out));
        }),
        ("unsubscribe", |b| {
            b.feed(|group, out| group.on_unsubscribe(true, out));
        }),
        ("callback done", |b| {
            b.called(true);
        }),
        ("callback failed", |b| {
            b.called(false);
        }),
        ("coordinator found", |b| {
            b.found();
        }),
        ("accepted", |b| {
            b.answered(accepted(3));
        }),
        ("assignment [T1-1]", |b| {
            b.answered(granted(3, &[P1]));
        }),
        ("FENCED_MEMBER_EPOCH", |b| {
            b.answered(Err(ErrorCode::FencedMemberEpoch));
        }),
        ("UNKNOWN_MEMBER_ID", |b| {
            b.answered(Err(ErrorCode::UnknownMemberId));
        }),
        ("NOT_COORDINATOR", |b| {
            b.answered(Err(ErrorCode::NotCoordinator));
        }),
        ("COORDINATOR_LOAD_IN_PROGRESS", |b| {
            b.answered(Err(ErrorCode::CoordinatorLoadInProgress));
        }),
        ("GROUP_AUTHORIZATION_FAILED", |b| {
            b.answered(Err(ErrorCode::GroupAuthorizationFailed));
        }),
        ("heartbeat lost", |b| {
            let lost = b.heartbeat.take().unwrap_or(NEVER);
            b.feed(|group, out| group.on_lost(lost, out));
        }),
        ("committed", |b| {
            b.committed(Ok(()));
        }),
        ("STALE_MEMBER_EPOCH", |b| {
            b.committed(Err(ErrorCode::StaleMemberEpoch));
        }),
        ("timer Heartbeat", |b| timer(b, Timer::Heartbeat)),
        ("timer PollInterval", |b| timer(b, Timer::PollInterval)),
        ("timer Revocation", |b| timer(b, Timer::Revocation)),
        ("timer AutoCommit", |b| timer(b, Timer::AutoCommit)),
        ("timer Backoff(Heartbeat)", |b| timer(b, Timer::Backoff(BackoffKind::Heartbeat))),
        ("timer Leave", |b| timer(b, Timer::Leave)),
    ]
}

fn timer(bench: &mut Bench, timer: Timer) {
    bench.feed(|group, out| group.on_timer(timer, out));
}

fn stands(group: &Group) -> String {
    let mut text = match group.state() {
        State::Joined(epoch) => format!("Joined {epoch:?}"),
        other => format!("{other:?}"),
    };
    match group.phase() {
        Phase::Idle => {}
        Phase::Withheld(p) => write!(text, " withheld {p:?}").expect("text"),
        Phase::Committing(p) => write!(text, " committing {p:?}").expect("text"),
        Phase::Revocable(p) => write!(text, " revocable {p:?}").expect("text"),
        Phase::Revoking(p) => write!(text, " revoking {p:?}").expect("text"),
        Phase::Assigning(p) => write!(text, " assigning {p:?}").expect("text"),
    }
    if group.is_ending() {
        text.push_str(" ending");
    }
    text
}

/// What an output orders, in few words; timers by name.
fn word(output: &Output) -> String {
    match output {
        Output::FindCoordinator { .. } => "find coordinator".into(),
        Output::Heartbeat { request, .. } => {
            let epoch = match request.epoch {
                HeartbeatEpoch::Join => "join".to_owned(),
                HeartbeatEpoch::Leave => "leave".to_owned(),
                HeartbeatEpoch::Stay(epoch) => format!("heartbeat {epoch:?}"),
            };
            let all = if request.is_full() { " all" } else { "" };
            let owned =
                request.owned.as_ref().map_or(String::new(), |owned| format!(" owned {owned:?}"));
            format!("{:?} {epoch}{all}{owned}", request.member)
        }
        Output::OffsetCommit { request, .. } => {
            let offsets: BTreeMap<_, _> =
                request.offsets.iter().map(|(p, c)| (p, c.offset)).collect();
            format!("commit {offsets:?}")
        }
        Output::Arm(timer, step) if step.exponent() == 0 => format!("+{timer:?}"),
        Output::Arm(timer, step) => format!("+{timer:?} x{}", 1 << step.exponent()),
        Output::Disarm(timer) => format!("-{timer:?}"),
        Output::HeartbeatInterval(ms) => format!("every {ms} ms"),
        Output::Call { callback, .. } => format!("call {callback:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_state_with_every_input_is_the_table_in_spec() {
    let mut table = String::new();
    for (state, bench) in states() {
        writeln!(table, "## {state}").expect("text");
        for (name, input) in inputs() {
            let mut after = bench.clone();
            input(&mut after);
            let words: Vec<_> = after.out.iter().map(word).collect();
            if after.group == bench.group && words.is_empty() {
                continue;
            }
            let words = if words.is_empty() { "-".into() } else { words.join(", ") };
            writeln!(table, "{name:<29} {}: {words}", stands(&after.group)).expect("text");
        }
        table.push('\n');
    }
    insta::with_settings!({
        snapshot_path => "../../../../spec/snapshot",
        prepend_module_to_snapshot => false,
        omit_expression => true,
        description => "Each state with each input that has an effect: where it leads, and what is ordered.",
    }, { insta::assert_snapshot!("group-table", table.trim_end()) });
}

#[test]
fn a_seek_is_what_a_commit_covers_from_then_on() {
    let mut bench = Bench::stable(false);
    bench.returned(7).poll();
    bench.feed(|group, out| group.on_commit(CommitId(1), true, None, out)).committed(Ok(()));
    bench.group.on_sought(P0, Some(&Committed::at(Offset(3))));
    bench.feed(|group, out| group.on_commit(CommitId(2), true, None, out));
    let sent = bench.out.iter().find_map(|output| match output {
        Output::OffsetCommit { request, .. } => Some(request.offsets.clone()),
        _ => None,
    });
    assert_eq!(sent, Some(offsets(3)), "back before what was accepted: the application's word");
}

#[test]
fn a_commit_that_waits_takes_in_what_is_released_meanwhile() {
    let mut commit = Commit::default();
    let at = |partition| [(partition, Committed::at(Offset(1)))].into();
    for partition in [P0, P1] {
        commit.on_delivered(&at(partition));
        commit.release();
        commit.commit_released(Some(&[partition].into()), None);
    }
    assert!(commit.is_outstanding(&[P0].into()) && commit.is_outstanding(&[P1].into()));
    let sent = commit.send(NEVER, Some(Epoch(1)), None);
    assert_eq!(sent.keys().copied().collect::<Vec<_>>(), [P0, P1], "both before a revocation");
}

#[test]
fn a_late_answer_of_an_earlier_membership_changes_nothing() {
    let mut bench = Bench::stable(true);
    bench.feed(|group, out| group.on_timer(Timer::Heartbeat, out));
    let late = bench.heartbeat.expect("a heartbeat is in flight");
    bench.feed(Group::on_poll_ended);
    bench.feed(|group, out| group.on_timer(Timer::PollInterval, out));
    let before = bench.group.clone();
    bench.feed(|group, out| group.on_heartbeat_answer(late, granted(3, &[P0]), out));
    assert_eq!(bench.group, before);
    assert!(bench.out.is_empty(), "{:?}", bench.out);
}

#[test]
fn a_close_during_an_unsubscribe_has_its_own_time() {
    let mut bench = Bench::stable(true);
    bench.feed(|group, out| group.on_unsubscribe(true, out));
    bench.feed(|group, out| group.on_close(true, out));
    assert!(bench.out.contains(&Output::Arm(Timer::Leave, Step::FIRST)), "{:?}", bench.out);
}

/// M12: whatever the coordinator answers, a join that it fences costs a longer wait each time.
#[test]
fn a_coordinator_that_fences_every_join_is_asked_ever_more_seldom() {
    let mut bench = Bench::stable(false);
    bench.feed(|group, out| group.on_timer(Timer::Heartbeat, out));
    bench.answered(Err(ErrorCode::FencedMemberEpoch));
    let joins = |bench: &Bench| {
        let join = |output: &&Output| matches!(output, Output::Heartbeat { request, .. } if request.epoch == HeartbeatEpoch::Join);
        bench.out.iter().filter(join).count()
    };
    assert_eq!(joins(&bench), 1, "a member that is fenced joins at once");
    let mut step = Step::FIRST;
    for code in [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId].repeat(4) {
        let id = bench.group.member.id();
        bench.answered(Err(code));
        let backoff = Output::Arm(Timer::Backoff(BackoffKind::Heartbeat), step);
        assert!(bench.out.contains(&backoff), "{code:?}: {:?}", bench.out);
        assert_eq!(joins(&bench), 0, "{code:?}");
        assert_eq!(bench.group.member.id() == id, code == ErrorCode::FencedMemberEpoch);
        step = step.next();
        bench.feed(|group, out| group.on_timer(Timer::Backoff(BackoffKind::Heartbeat), out));
        assert_eq!(joins(&bench), 1, "after the backoff");
    }
    assert_eq!(step, Step::MAX, "up to the longest");
}
