//! Every seeded fault shows in the sequence that is named for it, and in no sequence when it is off.
#![cfg(feature = "mutants")]

mod script;

use evenkeel_coordinator::Mutant;
use script::{World, parse};
use std::path::PathBuf;

/// Which sequence tells a mutant from Apache Kafka.
fn telltale(mutant: Mutant) -> &'static str {
    match mutant {
        Mutant::DoubleAssignment => "revocation_comes_back",
        Mutant::MissedRevocationAck | Mutant::EpochBumpOnUnrevoked => "new_target_while_revoking",
        Mutant::RejoinAtZeroRefused => "join_again_while_revoking_acknowledges",
        Mutant::RetainUnsubscribed => "interval_and_a_shrinking_subscription",
        Mutant::CommitStrictEpoch => "commit_at_an_older_epoch",
        Mutant::CommitUnfenced => "commit_ahead_of_the_coordinator",
        Mutant::GrantBeforeRelease => "second_member_takes_its_share",
        Mutant::RebalanceTimerMissing => "rebalance_timeout_ends_a_membership",
        Mutant::NoPreviousEpochRetry => "previous_epoch_is_a_retry",
        Mutant::LeaveKeepsPartitions => "leave_while_revoking_frees_all",
        Mutant::SessionTimeoutKeepsPartitions => "session_ends",
        Mutant::FailoverForgetsPendingRevocation => "failover_keeps_what_the_log_says",
        Mutant::FullRequestIgnored => "full_request_is_told_everything",
        Mutant::PartialAcknowledgementFrees => "partial_acknowledgement_frees_nothing",
        Mutant::UnknownMemberTolerated => "unknown_member",
    }
}

#[test]
fn every_mutant_answers_its_sequence_otherwise() {
    for &mutant in Mutant::ALL {
        let name = telltale(mutant);
        assert!(is_answered_as_written(name, None), "{name} without a mutant");
        assert!(!is_answered_as_written(name, Some(mutant)), "{name} does not tell {mutant:?}");
    }
}

fn is_answered_as_written(name: &str, mutant: Option<Mutant>) -> bool {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sequences");
    let path = folder.join(name).with_extension("txt");
    let script = parse(&std::fs::read_to_string(&path).expect("the sequence exists"));
    let mut world = World::new();
    world.config.mutant = mutant;
    script.blocks.iter().all(|block| {
        let answers: Vec<String> =
            block.requests.iter().flat_map(|(_, request)| world.handle(request)).collect();
        answers == block.answers
    })
}
