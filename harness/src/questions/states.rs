//! Are all the rebalance states needed?

use super::answer::Figures;
use super::model::{self, Found};
use super::{Findings, Order};
use evenkeel_core::group::Mutant;
use evenkeel_model::mutants::Verdict;

/// Each state of a member and each phase of its reconciliation, what Kafka's consumer calls it, and
/// what is left out with it.
const STATES: &[(&str, &str, Mutant)] = &[
    ("Subscribed", "(UNSUBSCRIBED)", Mutant::JoinWithoutPoll),
    ("Joining", "JOINING", Mutant::DeltaOnRejoin),
    ("Fenced", "FENCED", Mutant::HeartbeatWhileFenced),
    ("Stale", "STALE", Mutant::StaleJoinsAtOnce),
    ("Fatal", "FATAL", Mutant::FatalJoinsAgain),
    ("Withheld", "RECONCILING", Mutant::RevokeWithoutWaiting),
    ("Committing", "RECONCILING", Mutant::RevokeUncommitted),
    ("Revocable", "RECONCILING", Mutant::RevocableUnnamed),
    ("Revoking", "RECONCILING", Mutant::AckBeforeRevoked),
    ("Assigning", "RECONCILING", Mutant::FetchBeforeAssigned),
    ("acknowledgement due", "ACKNOWLEDGING", Mutant::Unacknowledged),
    ("ending", "PREPARE_LEAVING", Mutant::LeaveAtOnce),
    ("Departure", "LEAVING", Mutant::LeaveSuppressedInFlight),
];

/// Nothing here depends on the order of requests: the model's members have one connection for the
/// group, in order.
pub(super) fn answer(_order: Order) -> Findings {
    let mut figures = Figures::new(
        "left out",
        &["in Kafka's consumer", "by", "slice", "what finds it", "steps", "states visited"],
    );
    let found: Vec<(&str, Found)> =
        STATES.iter().map(|(state, _, mutant)| (*state, model::group(*mutant))).collect();
    for ((state, kafka, mutant), (_, found)) in STATES.iter().zip(&found) {
        let Found { slice, steps, states, .. } = found;
        figures.row(
            *state,
            vec![
                (*kafka).into(),
                format!("{mutant:?}").into(),
                (*slice).into(),
                found.told().into(),
                steps.len().into(),
                (*states).into(),
            ],
        );
    }
    let (redundant, needed): (Vec<_>, Vec<_>) =
        found.iter().partition(|(_, found)| found.verdict == Verdict::Survived);
    let names: Vec<_> = redundant.iter().map(|(state, _)| *state).collect();
    let verdict = if redundant.is_empty() {
        format!("Yes: without any of the {} something breaks.", needed.len())
    } else {
        format!(
            "{} of {} are: without them a rule breaks, or the group never comes to rest. No rule \
             needs {}: they save work that would be done twice, or say what is waited for.",
            needed.len(),
            found.len(),
            names.join(" and ")
        )
    };
    let world = "the slice named, explored breadth first with the state left out, up to the first \
                 state that something forbids."
        .to_owned();
    let traces = needed.iter().map(|(state, found)| {
        found.trace(format!("Without {state}, this fails: {}", found.sentence()))
    });
    let traces = traces.collect();
    Findings { verdict, world, figures, traces, curve: None }
}
