//! O11 on the group alone: what the application assigns itself.

use evenkeel_core::commit::Offsets;
use evenkeel_core::group::{CommitError, CommitId, Fault, Group, GroupConfig, Output};
use evenkeel_spec::words::{
    Committed, ErrorCode, NodeId, Offset, OffsetCommit, Partitions, Timer, TopicId,
    TopicIdPartition,
};

const COORDINATOR: NodeId = NodeId(1);

struct Bench {
    group: Group,
    out: Vec<Output>,
}

impl Bench {
    /// Partition 0 is assigned, and the records before 5 were returned.
    fn reading() -> Self {
        let config = GroupConfig {
            auto_commit: true,
            rebalance_timeout_ms: 300_000,
            assignor: None,
            mutant: None,
        };
        let mut bench = Self { group: Group::new(config), out: Vec::new() };
        bench.assign(&[0]);
        bench.returned(0, 5);
        bench
    }

    fn assign(&mut self, indexes: &[u32]) {
        let partitions: Partitions = indexes.iter().map(|index| at(*index)).collect();
        self.group.on_assigned(&partitions, true, &mut self.out);
    }

    fn returned(&mut self, index: u32, next: u64) {
        self.group.on_poll(true, &mut self.out);
        self.group.on_delivered(&offsets(&[(index, next)]), &mut self.out);
    }

    /// The commit that was ordered, once a coordinator is found for it.
    fn sent(&mut self) -> (evenkeel_core::Incarnation, OffsetCommit) {
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::FindCoordinator { incarnation } => {
                    self.group.on_coordinator(incarnation, Ok(COORDINATOR), &mut self.out);
                    return self.sent();
                }
                Output::OffsetCommit { incarnation, request, .. } => {
                    return (incarnation, request);
                }
                _ => {}
            }
        }
        panic!("nothing is committed")
    }

    fn accept(&mut self, (incarnation, commit): (evenkeel_core::Incarnation, OffsetCommit)) {
        let results = commit.offsets.into_keys().map(|partition| (partition, Ok(()))).collect();
        self.group.on_commit_answer(incarnation, Ok(results), &mut self.out);
    }
}

fn at(index: u32) -> TopicIdPartition {
    TopicIdPartition::new(TopicId::from_u32(1), index)
}

fn offsets(of: &[(u32, u64)]) -> Offsets {
    of.iter().map(|(index, offset)| (at(*index), Committed::at(Offset(*offset)))).collect()
}

#[test]
fn a_commit_carries_no_member_and_nothing_else_is_sent() {
    let mut bench = Bench::reading();
    bench.group.on_commit(CommitId(1), true, None, &mut bench.out);
    let sent = bench.sent();
    assert_eq!(sent.1, OffsetCommit { owner: None, offsets: offsets(&[(0, 5)]) });
    bench.accept(sent);
    assert_eq!(bench.out, [Output::CommitDone { id: CommitId(1), result: Ok(()) }]);
    let stranger = Some(offsets(&[(1, 5)]));
    bench.out.clear();
    bench.group.on_commit(CommitId(2), true, stranger, &mut bench.out);
    let result = Err(CommitError::NotOwned);
    assert_eq!(bench.out, [Output::CommitDone { id: CommitId(2), result }]);
}

#[test]
fn an_unsubscribe_commits_what_is_released_and_waits_for_the_answer() {
    let mut bench = Bench::reading();
    bench.out.clear();
    bench.group.on_unsubscribe(true, &mut bench.out);
    let sent = bench.sent();
    assert_eq!(sent.1.offsets, offsets(&[(0, 5)]));
    assert!(bench.group.is_ending());
    bench.accept(sent);
    let release = Output::Release(Partitions::from([at(0)]));
    assert!(bench.out.contains(&release), "{:?}", bench.out);
    assert!(bench.out.contains(&Output::Left { clean: true }), "{:?}", bench.out);
    assert!(bench.group.owned().is_empty());
}

#[test]
fn an_unsubscribe_out_of_time_gives_its_commits_up() {
    let mut bench = Bench::reading();
    bench.group.on_commit(CommitId(1), true, None, &mut bench.out);
    bench.sent();
    bench.group.on_unsubscribe(true, &mut bench.out);
    bench.out.clear();
    bench.group.on_timer(Timer::Leave, &mut bench.out);
    let result = Err(CommitError::OwnershipEnded);
    for told in [
        Output::CommitDone { id: CommitId(1), result },
        Output::Release(Partitions::from([at(0)])),
        Output::Left { clean: false },
    ] {
        assert!(bench.out.contains(&told), "{told:?} in {:?}", bench.out);
    }
    let lost = |output: &&Output| matches!(output, Output::Lost(..));
    assert_eq!(bench.out.iter().find(lost), None, "nobody took them away");
}

#[test]
fn what_is_assigned_no_longer_is_committed_once_and_never_over_what_came_later() {
    let mut bench = Bench::reading();
    bench.group.on_commit(CommitId(1), true, None, &mut bench.out);
    let first = bench.sent();
    // Behind it waits what the application parts with; it takes it up again and reads on.
    bench.returned(0, 7);
    bench.assign(&[1]);
    bench.assign(&[0, 1]);
    bench.returned(0, 9);
    bench.group.on_poll(true, &mut bench.out);
    bench.group.on_timer(Timer::AutoCommit, &mut bench.out);
    bench.accept(first);
    let second = bench.sent();
    assert_eq!(second.1.offsets, offsets(&[(0, 9)]));
    bench.accept(second);
    bench.assign(&[1]);
    let commits = |output: &&Output| matches!(output, Output::OffsetCommit { .. });
    assert_eq!(bench.out.iter().find(commits), None, "all of it is committed");
}

#[test]
fn a_refused_automatic_commit_is_told_and_a_group_that_may_not_be_read_loses_nothing() {
    let mut bench = Bench::reading();
    bench.group.on_poll(true, &mut bench.out);
    bench.group.on_timer(Timer::AutoCommit, &mut bench.out);
    let (incarnation, _) = bench.sent();
    let code = ErrorCode::UnknownMemberId;
    bench.group.on_commit_answer(incarnation, Err(code), &mut bench.out);
    assert_eq!(bench.out, [Output::Fault(Fault::Refused(code))]);

    let mut bench = Bench::reading();
    bench.out.clear();
    bench.group.on_commit(CommitId(1), true, None, &mut bench.out);
    let [Output::FindCoordinator { incarnation }] = bench.out[..] else {
        panic!("{:?}", bench.out)
    };
    let code = ErrorCode::GroupAuthorizationFailed;
    bench.out.clear();
    bench.group.on_coordinator(incarnation, Err(code), &mut bench.out);
    let result = Err(CommitError::Refused(code));
    assert!(bench.out.contains(&Output::Fault(Fault::Refused(code))), "{:?}", bench.out);
    assert!(bench.out.contains(&Output::CommitDone { id: CommitId(1), result }));
    assert_eq!(*bench.group.owned(), Partitions::from([at(0)]));
}
