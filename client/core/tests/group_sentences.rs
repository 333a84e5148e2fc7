//! The sentences of spec/03 and spec/05 that no rule of the model sees, on the group alone.

use evenkeel_core::group::{Fault, Group, GroupConfig, Output};
use evenkeel_core::{Incarnation, commit::Offsets};
use evenkeel_spec::words::{
    BackoffKind, Committed, Epoch, ErrorCode, HeartbeatAnswer, NodeId, Offset, Partitions, Step,
    Timer, TopicId, TopicIdPartition,
};
use std::collections::BTreeSet;
use std::sync::Arc;

const BROKER: NodeId = NodeId(1);
const BACKOFF: Timer = Timer::Backoff(BackoffKind::Lookup);

/// A group and what it has ordered since somebody last looked.
struct Bench {
    group: Group,
    out: Vec<Output>,
}

impl Bench {
    fn new() -> Self {
        let config = GroupConfig {
            auto_commit: true,
            rebalance_timeout_ms: 300_000,
            assignor: None,
            mutant: None,
        };
        Self { group: Group::new(config), out: Vec::new() }
    }

    fn subscribe(&mut self) {
        let topics = Arc::new(BTreeSet::from(["orders".into()]));
        self.group.on_subscribe(topics, false, &mut self.out);
    }

    fn poll(&mut self) {
        self.group.on_poll(true, &mut self.out);
    }

    /// The lookup that was ordered, if exactly one was.
    fn lookup(&mut self) -> Option<Incarnation> {
        let asked = |output: &Output| match output {
            Output::FindCoordinator { incarnation } => Some(*incarnation),
            _ => None,
        };
        let mut asked: Vec<_> = self.out.drain(..).filter_map(|o| asked(&o)).collect();
        assert!(asked.len() <= 1, "one lookup at a time");
        asked.pop()
    }

    /// The heartbeat that was ordered.
    fn heartbeat(&mut self) -> Incarnation {
        let sent = self.out.iter().find_map(|output| match output {
            Output::Heartbeat { incarnation, .. } => Some(*incarnation),
            _ => None,
        });
        sent.expect("a heartbeat goes out")
    }

    fn answer(&mut self, incarnation: Incarnation, assignment: Option<&Partitions>) {
        let answer = HeartbeatAnswer {
            epoch: Some(Epoch(2)),
            heartbeat_interval_ms: 5_000,
            assignment: assignment.cloned(),
        };
        self.out.clear();
        self.group.on_heartbeat_answer(incarnation, Ok(answer), &mut self.out);
    }

    /// A member that knows its coordinator, with its first heartbeat in flight.
    fn joining() -> (Self, Incarnation) {
        let mut bench = Self::new();
        bench.subscribe();
        bench.poll();
        let lookup = bench.lookup().expect("a lookup");
        bench.group.on_coordinator(lookup, Ok(BROKER), &mut bench.out);
        let join = bench.heartbeat();
        (bench, join)
    }

    /// A member that owns these, and whose application has released one record of each.
    fn released(owned: &Partitions) -> Self {
        let (mut bench, join) = Self::joining();
        let topics = owned.iter().map(|p| p.topic).collect();
        bench.group.on_topics_resolved(&topics, &mut bench.out);
        bench.answer(join, Some(owned));
        let acknowledgement = bench.heartbeat();
        bench.answer(acknowledgement, None);
        let returned: Offsets = owned.iter().map(|p| (*p, Committed::at(Offset(1)))).collect();
        bench.group.on_delivered(&returned, &mut bench.out);
        bench.poll();
        bench
    }

    /// The coordinator wants the member to own these only.
    fn retarget(&mut self, assignment: &Partitions) {
        self.out.clear();
        self.group.on_timer(Timer::Heartbeat, &mut self.out);
        let heartbeat = self.heartbeat();
        self.answer(heartbeat, Some(assignment));
    }

    fn released_now(&self) -> Option<&Partitions> {
        self.out.iter().find_map(|output| match output {
            Output::Release(partitions) => Some(partitions),
            _ => None,
        })
    }
}

fn partition(n: u32) -> TopicIdPartition {
    TopicIdPartition::new(TopicId::from_u32(1), n)
}

/// L1: on demand only.
#[test]
fn nobody_asks_for_the_coordinator_before_something_is_to_be_sent_to_it() {
    let mut bench = Bench::new();
    bench.subscribe();
    assert_eq!(bench.lookup(), None, "who has not polled sends nothing");
    bench.poll();
    let lookup = bench.lookup().expect("who joins asks");
    bench.group.on_poll_ended(&mut bench.out);
    bench.poll();
    assert_eq!(bench.lookup(), None, "one lookup is outstanding");
    bench.group.on_coordinator(lookup, Ok(BROKER), &mut bench.out);
    bench.group.on_not_coordinator(&mut bench.out);
    assert_eq!(bench.lookup(), None, "the join is in flight, and nothing else is to be sent");
}

/// L2: for as long as something is to be sent.
#[test]
fn a_lookup_that_failed_is_repeated_after_a_backoff_that_grows_to_its_cap() {
    let mut bench = Bench::new();
    bench.subscribe();
    bench.poll();
    let mut lookup = bench.lookup().expect("a lookup");
    let mut step = Step::FIRST;
    for round in 0..2 * usize::from(Step::MAX.exponent()) {
        if round % 2 == 0 {
            let code = ErrorCode::CoordinatorNotAvailable;
            bench.group.on_coordinator(lookup, Err(code), &mut bench.out);
        } else {
            bench.group.on_lost(lookup, &mut bench.out);
        }
        assert!(bench.out.contains(&Output::Arm(BACKOFF, step)), "{round}: {:?}", bench.out);
        assert_eq!(bench.lookup(), None, "not before the backoff is over");
        bench.group.on_timer(BACKOFF, &mut bench.out);
        lookup = bench.lookup().expect("the next lookup");
        step = step.next();
    }
    assert_eq!(step, Step::MAX);
    bench.group.on_coordinator(lookup, Err(ErrorCode::GroupAuthorizationFailed), &mut bench.out);
    let fatal = Output::Fault(Fault::Fatal(ErrorCode::GroupAuthorizationFailed));
    assert!(bench.out.contains(&fatal), "{:?}", bench.out);
    bench.group.on_timer(BACKOFF, &mut bench.out);
    assert_eq!(bench.lookup(), None, "nothing is to be sent any more");
}

/// L3: who coordinates is believed until somebody says otherwise.
#[test]
fn a_coordinator_that_denies_it_or_is_out_of_reach_is_believed_no_more_and_one_that_loads_is() {
    let believed = |happened: &dyn Fn(&mut Bench, Incarnation)| {
        let (mut bench, join) = Bench::joining();
        assert_eq!(bench.group.coordinator(), Some(BROKER));
        happened(&mut bench, join);
        bench.group.coordinator() == Some(BROKER)
    };
    let refused = |code: ErrorCode| {
        believed(&move |bench: &mut Bench, join| {
            bench.group.on_heartbeat_answer(join, Err(code), &mut bench.out);
        })
    };
    assert!(!refused(ErrorCode::NotCoordinator));
    assert!(!refused(ErrorCode::CoordinatorNotAvailable));
    assert!(refused(ErrorCode::CoordinatorLoadInProgress));
    assert!(!believed(&|bench, join| bench.group.on_lost(join, &mut bench.out)));
    assert!(!believed(&|bench, _| bench.group.on_not_coordinator(&mut bench.out)));
}

/// R4: no rule of the model demands it.
#[test]
fn what_is_released_is_committed_before_it_is_revoked_whether_that_succeeds_or_not() {
    let both: Partitions = [partition(0), partition(1)].into();
    let kept: Partitions = [partition(0)].into();
    let gone: Partitions = &both - &kept;
    for code in [None, Some(ErrorCode::OffsetMetadataTooLarge)] {
        let mut bench = Bench::released(&both);
        bench.retarget(&kept);
        assert!(bench.out.contains(&Output::Withhold(gone.clone())));
        assert_eq!(bench.released_now(), None, "the commit comes first");
        let committed = bench.out.iter().find_map(|output| match output {
            Output::OffsetCommit { incarnation, request, .. } => Some((*incarnation, request)),
            _ => None,
        });
        let (incarnation, request) = committed.expect("a commit goes out");
        assert!(request.offsets.keys().eq(&gone), "{:?}", request.offsets);
        let result = code.map_or(Ok(()), Err);
        let results = gone.iter().map(|p| (*p, result)).collect();
        bench.out.clear();
        bench.group.on_commit_answer(incarnation, Ok(results), &mut bench.out);
        assert_eq!(bench.released_now(), Some(&gone), "{code:?}");
        assert_eq!(bench.group.owned(), &kept);
    }
}
