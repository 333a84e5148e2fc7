//! Seeded faults, one at a time, each with the slice that must find it and the rule that must name it.
//!
//! A mutant that survives, or dies by another rule, is a hole in the spec. spec/08-model.md.

use crate::bounds::{self, Slice};
use crate::explore::{LivenessError, Options, PathOf, explore};
use crate::judged::Judged;
use crate::system::Refusal;
use evenkeel_coordinator::Mutant as CoordinatorMutant;
use evenkeel_core::group::Mutant as ClientMutant;
use evenkeel_spec::rules::Rule;

/// A seeded fault.
#[derive(Clone, Debug)]
pub struct Seeded<S = Slice> {
    /// The fault's name.
    pub name: String,
    /// The real bug or the reason behind it.
    pub source: &'static str,
    /// The slice that must find it, with the fault in it.
    pub slice: S,
    /// Which verdict must name it.
    pub expected: Verdict,
}

/// What a hunt ends with.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// A rule was broken.
    Broken(Rule),
    /// From some state the fair schedule does not lead to rest.
    DoesNotSettle,
    /// Nothing was found.
    Survived,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Hunted<S: Judged = Slice> {
    /// The verdict.
    pub verdict: Verdict,
    /// The shortest path to it, when something was found.
    pub path: Option<PathOf<S>>,
    /// States visited.
    pub states: usize,
}

impl<S: Judged> Hunted<S> {
    /// Whether the fault was found by what must find it.
    #[must_use]
    pub fn is_killed(&self, seeded: &Seeded<S>) -> bool {
        self.verdict == seeded.expected
    }
}

/// Looks for one fault: the first broken rule, else a state that does not settle.
#[must_use]
pub fn hunt<S: Judged>(seeded: &Seeded<S>) -> Hunted<S> {
    let slice = &seeded.slice;
    let options = Options {
        stop_at_first_violation: true,
        keep_settle: seeded.expected == Verdict::DoesNotSettle,
        keep_keys: false,
        ..Options::default()
    };
    let exploration = explore(slice, options);
    let states = exploration.summary().states;
    let broken = exploration.violations(slice).expect("the renaming is sound");
    if let Some(path) = broken.into_values().next() {
        let broken = path.states.last().and_then(|state| slice.broken(state));
        let rule = broken.expect("a violating path ends in a violation");
        return Hunted { verdict: Verdict::Broken(rule), path: Some(path), states };
    }
    if options.keep_settle
        && let Err(LivenessError::Diverges(divergence)) = exploration.settle(slice)
    {
        let path = Some(divergence.lasso.path);
        return Hunted { verdict: Verdict::DoesNotSettle, path, states };
    }
    Hunted { verdict: Verdict::Survived, path: None, states }
}

/// Every seeded fault of the group's world, the client's first.
#[must_use]
pub fn mutants() -> Vec<Seeded> {
    let is_fault = |mutant: &&ClientMutant| !ClientMutant::CHOICES.contains(mutant);
    let client = ClientMutant::ALL.iter().filter(is_fault).map(|&mutant| client(mutant));
    let coordinator = CoordinatorMutant::ALL.iter().map(|&mutant| coordinator(mutant));
    client.chain(coordinator).collect()
}

/// Every other choice of the client's machines, which no rule forbids, each with the slice that shows
/// it: a hunt for it ends with [`Verdict::Survived`] and every state visited.
#[must_use]
pub fn choices() -> Vec<Seeded> {
    ClientMutant::CHOICES.iter().map(|&mutant| client(mutant)).collect()
}

fn client(mutant: ClientMutant) -> Seeded {
    use ClientMutant as M;
    let (slice, expected) = match mutant {
        M::RecordsAfterLost => (one(1), Verdict::Broken(Rule::HeldAfterLoss)),
        M::HeartbeatWhileFenced => (one(1), Verdict::Broken(Rule::SpokeOutside)),
        M::LeaveSuppressedInFlight => (one(0), Verdict::Broken(Rule::LeftUntold)),
        M::ErrorKeepsInFlight => (one(1), Verdict::DoesNotSettle),
        M::DeltaOnRejoin => (one(1), Verdict::Broken(Rule::JoinIncomplete)),
        M::LateTopicLosesOthers => (late_topic(), Verdict::DoesNotSettle),
        M::StaleKeepsAssignment => (one(1), Verdict::Broken(Rule::HeldAfterLoss)),
        M::JoinWithoutPoll => (one(0), Verdict::Broken(Rule::JoinedWithoutPoll)),
        M::CommitUnreleased => (bounds::commits(), Verdict::Broken(Rule::CommittedUnreleased)),
        M::RevokeWithoutWaiting => (two(0), Verdict::Broken(Rule::RevokedAtWork)),
        M::FailedCallbackKeepsMember => (one(1), Verdict::DoesNotSettle),
        M::LateCallbackApplied => (one(2), Verdict::Broken(Rule::ReturnedClosed)),
        M::StaleUnsubscribeRejoins => (one(1), Verdict::Broken(Rule::SpokeOutside)),
        M::LateCallbackEndsSubscription => (one(2), Verdict::DoesNotSettle),
        M::LateAnswerBelieved => (one(2), Verdict::Broken(Rule::CallbackUntrue)),
        M::KeepIdAfterLeave => (bounds::interval(), Verdict::Broken(Rule::CommitAcceptedFromOther)),
        M::BarrierForEver => (slow(), Verdict::Broken(Rule::RevocationUnbounded)),
        M::AckBeforeRevoked => (listening(0), Verdict::Broken(Rule::AcknowledgedUntrue)),
        M::RetryAcrossOwnership => (bounds::commits(), Verdict::Broken(Rule::CommittedUngiven)),
        M::RetryLowers => (bounds::commits(), Verdict::Broken(Rule::CommitLowered)),
        M::IntervalOverUser => (bounds::commits(), Verdict::Broken(Rule::CommitLowered)),
        M::TakeWhileTelling => (late_topics(), Verdict::Broken(Rule::TakenUngranted)),
        M::EmptyCommitBlocks => (bounds::commits(), Verdict::DoesNotSettle),
        M::TwoCommitsInFlight => (bounds::commits(), Verdict::Broken(Rule::CommitsInFlight)),
        M::FailedCallbackStalls => (one(1), Verdict::DoesNotSettle),
        M::RevokedAfterFence => (one(1), Verdict::Broken(Rule::CallbackUntrue)),
        M::FetchBeforeAssigned => (one(0), Verdict::Broken(Rule::ReturnedClosed)),
        M::JoinUntold => (bounds::whims(), Verdict::Broken(Rule::SpokeOutside)),
        M::EmptyCommitHolds => (bounds::commits(), Verdict::DoesNotSettle),
        M::StaleJoinsAtOnce => (slow(), Verdict::Broken(Rule::SpokeOutside)),
        M::FatalJoinsAgain => (one(1), Verdict::Broken(Rule::SpokeOutside)),
        M::Unacknowledged => (two(0), Verdict::DoesNotSettle),
        M::LeaveAtOnce => (one(0), Verdict::Broken(Rule::HeldAfterLoss)),
        M::SubscribeEndsRevocation => (narrowing_listener(), Verdict::Broken(Rule::ReleasedUntold)),
        M::RevokeUncommitted | M::CommitAfterRevoked | M::RevocableUnnamed => {
            (shrinking(), Verdict::Survived)
        }
        M::NoFullAfterLostAnswer => (one(1), Verdict::Broken(Rule::RetryIncomplete)),
        M::FencedJoinAtOnce => (one(1), Verdict::Broken(Rule::RetriedAtOnce)),
        M::PollTakesDelivered => (bounds::untaken(), Verdict::Broken(Rule::CommittedUnreleased)),
        M::SeekKeepsDelivered | M::EndTakesDelivered | M::CommitCoversDelivered => {
            (bounds::untaken(), Verdict::Broken(Rule::CommittedUngiven))
        }
        M::SeekKeepsReturned => (bounds::seeks(), Verdict::Broken(Rule::CommittedUngiven)),
        M::SeekEmptiesHands => (bounds::untaken(), Verdict::Broken(Rule::RevokedAtWork)),
        M::FenceUnnoticedInCallback => (one(1), Verdict::Broken(Rule::HeldAfterLoss)),
        M::EndAwaitsCoordinator => (one(0), Verdict::DoesNotSettle),
        M::PollNotOver => (one(0), Verdict::Broken(Rule::CallbackOutside)),
        M::DropEndsUnsubscribe => (bounds::whims(), Verdict::DoesNotSettle),
        M::DroppedEndsPoll => (bounds::whims(), Verdict::DoesNotSettle),
        M::RepeatForgetsChange => (repeating(), Verdict::DoesNotSettle),
        M::RefusedLookupUntold => (bounds::whims(), Verdict::Broken(Rule::SpokeOutside)),
        M::RefusedLookupForgetsCommits => (refusing_lookup(), Verdict::Broken(Rule::Unanswered)),
        M::RefusedLookupBars => (bounds::whims(), Verdict::Broken(Rule::RefusedUnsubscribed)),
        M::LossForgetsCommits => (bounds::commits(), Verdict::DoesNotSettle),
        M::TwoHeartbeatsInFlight => (one(0), Verdict::Broken(Rule::HeartbeatsInFlight)),
        M::ReleasedStaysReturned => (parting(), Verdict::Broken(Rule::CommitSentUnowned)),
        M::FenceEndsCallback => (one(1), Verdict::Broken(Rule::CallbackNested)),
    };
    Seeded {
        name: format!("{mutant:?}"),
        source: mutant.source(),
        slice: Slice { mutant: Some(mutant), ..slice },
        expected,
    }
}

fn coordinator(mutant: CoordinatorMutant) -> Seeded {
    use CoordinatorMutant as M;
    let (slice, expected, source) = match mutant {
        M::DoubleAssignment => (two(1), Verdict::Broken(Rule::GrantedTwice), "KAFKA-16147"),
        M::MissedRevocationAck => (two(1), Verdict::DoesNotSettle, "KAFKA-16249"),
        M::RejoinAtZeroRefused => {
            (refusing(), Verdict::Broken(Rule::FencedUnjustly), "KAFKA-19233")
        }
        M::EpochBumpOnUnrevoked => {
            (narrowing_two(), Verdict::Broken(Rule::EpochReused), "KAFKA-19974")
        }
        M::RetainUnsubscribed => {
            (narrowing(), Verdict::Broken(Rule::GrantedUnsubscribed), "KAFKA-19431")
        }
        M::CommitStrictEpoch => {
            (committing(), Verdict::Broken(Rule::CommitRefusedToOwner), "KAFKA-20066, KIP-1251")
        }
        M::CommitUnfenced => (
            two(1),
            Verdict::Broken(Rule::CommitAcceptedFromOther),
            "commits are accepted at any epoch, from anybody",
        ),
        M::GrantBeforeRelease => (
            two(0),
            Verdict::Broken(Rule::GrantedTwice),
            "a target is granted at once, whoever holds it",
        ),
        M::RebalanceTimerMissing => {
            (two(0), Verdict::Broken(Rule::Untimed), "KAFKA-16249, second half")
        }
        M::NoPreviousEpochRetry => (
            two(1),
            Verdict::Broken(Rule::FencedUnjustly),
            "a member that lost an answer is fenced at its previous epoch",
        ),
        M::LeaveKeepsPartitions => {
            (two(0), Verdict::DoesNotSettle, "the partitions of a member that left stay taken")
        }
        M::SessionTimeoutKeepsPartitions => {
            (two(1), Verdict::DoesNotSettle, "the partitions of an expired member stay taken")
        }
        M::FailoverForgetsPendingRevocation => (
            two(1),
            Verdict::Broken(Rule::GrantedTwice),
            "a new coordinator takes what is being revoked as free",
        ),
        M::FullRequestIgnored => (two(1), Verdict::DoesNotSettle, "KAFKA-16367"),
        M::PartialAcknowledgementFrees => (
            narrowing_two(),
            Verdict::Broken(Rule::GrantedWhileHeld),
            "an acknowledgement of a part counts as one of the whole",
        ),
        M::UnknownMemberTolerated => {
            (two(1), Verdict::DoesNotSettle, "an expired member is told that all is well")
        }
    };
    let mut slice = slice;
    slice.coordinator.mutant = Some(mutant);
    Seeded { name: format!("{mutant:?}"), source, slice, expected }
}

fn one(faults: u8) -> Slice {
    with_faults(bounds::one_member(), faults)
}

/// Without the application's commits: no fault needs them here, and they treble the states.
fn two(faults: u8) -> Slice {
    let mut slice = with_faults(bounds::two_members(), faults);
    slice.budget.commits = 0;
    slice
}

fn with_faults(mut slice: Slice, faults: u8) -> Slice {
    slice.budget.faults = faults;
    slice
}

/// Two members with listeners.
fn listening(faults: u8) -> Slice {
    Slice { listener: true, ..two(faults) }
}

/// One member of which one topic resolves late.
fn late_topic() -> Slice {
    Slice { topics: bounds::topics(2, 1), ..one(0) }
}

/// Two members whose topics resolve late.
fn late_topics() -> Slice {
    let mut slice = two(0);
    slice.detail.resolve = true;
    slice
}

/// Two members whose applications may be too slow.
fn slow() -> Slice {
    let mut slice = two(1);
    slice.faults.slow = true;
    slice
}

/// Two members and one partition, so that the epoch grows under its owner, which commits by itself.
fn committing() -> Slice {
    let mut slice = Slice { topics: bounds::topics(1, 1), ..two(0) };
    slice.budget.commits = 1;
    slice
}

/// Two members, one of which is told to be fenced although it is not.
fn refusing() -> Slice {
    let mut slice = two(1);
    slice.faults.refusals = &[Refusal::Fenced];
    slice
}

/// One member that shrinks its subscription from two topics to one, while the target lags.
fn narrowing() -> Slice {
    let mut slice = late_topic();
    slice.budget.narrows = 1;
    slice.coordinator.assignment_interval_ms = 1_000;
    slice
}

/// One member with a listener that shrinks its subscription, and any fault.
fn shrinking() -> Slice {
    let mut slice = Slice { topics: bounds::topics(2, 1), ..one(1) };
    slice.budget.narrows = 1;
    slice
}

/// One member that shrinks its subscription from two topics with records to one, and commits.
fn parting() -> Slice {
    let commits = with_faults(bounds::commits(), 0);
    let mut slice = Slice { topics: bounds::topics(2, 1), records: 1, ..commits };
    slice.budget.narrows = 1;
    slice
}

/// One member that commits, loses its coordinator, and is refused when it looks for it.
fn refusing_lookup() -> Slice {
    let mut slice = with_faults(bounds::whims(), 2);
    (slice.budget.commits, slice.budget.whims) = (1, 0);
    slice
}

/// One member that shrinks its subscription from two topics to one, and says so twice.
fn repeating() -> Slice {
    let mut slice = Slice { topics: bounds::topics(2, 1), ..with_faults(bounds::whims(), 0) };
    slice.budget.narrows = 1;
    slice
}

/// Two members of two topics, one of which shrinks its subscription.
fn narrowing_two() -> Slice {
    let mut slice = Slice { topics: bounds::topics(2, 2), ..two(0) };
    slice.budget.narrows = 1;
    slice
}

/// The same with listeners.
fn narrowing_listener() -> Slice {
    Slice { listener: true, ..narrowing_two() }
}
