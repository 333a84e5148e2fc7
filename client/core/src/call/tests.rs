use super::{Call, Calls};
use crate::{Answer, CallFault, CallId};

fn commits(count: u64) -> Calls {
    let mut calls = Calls::default();
    for id in 0..count {
        let commit = Call::Commit { id: calls.commit_id(), held: None };
        calls.open(CallId(id), commit);
    }
    calls
}

#[test]
fn a_commit_that_is_over_waits_for_those_before_it() {
    let mut calls = commits(3);
    calls.hold(CallId(1), Ok(Answer::Done));
    assert_eq!(calls.next_held(), None);
    calls.hold(CallId(0), Err(CallFault::Closed));
    for (id, outcome) in [(0, Err(CallFault::Closed)), (1, Ok(Answer::Done))] {
        assert_eq!(calls.next_held(), Some((CallId(id), outcome)));
        calls.end(CallId(id));
    }
    assert_eq!(calls.next_held(), None, "the last one is still open");
}

#[test]
fn other_calls_do_not_hold_commits_back() {
    let mut calls = Calls::default();
    calls.open(CallId(0), Call::Unsubscribe);
    let commit = Call::Commit { id: calls.commit_id(), held: None };
    calls.open(CallId(1), commit);
    calls.hold(CallId(1), Ok(Answer::Done));
    assert_eq!(calls.next_held(), Some((CallId(1), Ok(Answer::Done))));
}
