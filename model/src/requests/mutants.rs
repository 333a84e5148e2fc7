//! The seeded faults of the requests' machines: each with the smallest world that must find it, which is
//! a part of the slice that it is named after.

use super::{Budget, Faults, Own, Slice, bounds};
use crate::mutants::{Seeded, Verdict};
use crate::turn;
use evenkeel_core::request::Mutant;
use evenkeel_spec::rules::Rule;

/// Every fault of the desk, its connections, queues and ledger.
#[must_use]
pub fn mutants() -> Vec<Seeded<Slice>> {
    let desk = Mutant::ALL.iter().filter(|mutant| !is_of_turn(**mutant));
    desk.map(|&mutant| seeded(mutant)).collect()
}

/// Every fault of the loop.
#[must_use]
pub fn of_turn() -> Vec<Seeded<turn::Slice>> {
    let turn = Mutant::ALL.iter().filter(|mutant| is_of_turn(**mutant));
    turn.map(|&mutant| Seeded {
        name: format!("{mutant:?}"),
        source: mutant.source(),
        slice: turn::Slice { mutant: Some(mutant), ..turn::turn() },
        expected: Verdict::Broken(match mutant {
            Mutant::Spin | Mutant::TimerAgain => Rule::Spun,
            _ => Rule::Starved,
        }),
    })
    .collect()
}

fn is_of_turn(mutant: Mutant) -> bool {
    use Mutant as M;
    matches!(
        mutant,
        M::TimersLast | M::SocketsUnbounded | M::CommandsUnbounded | M::Spin | M::TimerAgain
    )
}

fn seeded(mutant: Mutant) -> Seeded<Slice> {
    use Mutant as M;
    let (slice, rule) = match mutant {
        M::OneLane => (small(&[Own::Presence], 2), Rule::SystemWaited),
        M::AttachWithoutPromotion => (small(&[Own::Offsets], 3), Rule::SystemWaited),
        M::InFlightUnbounded => (small(&[], 2), Rule::TooManyInFlight),
        M::OneTooMany => (small(&[], 3), Rule::PlacesExceeded),
        M::PlaceLeaks => (gone(4), Rule::RefusedWithRoom),
        M::SentExpired => (deadline(), Rule::SentExpired),
        M::AnsweredTwice => (deadline(), Rule::EndedTwice),
        M::AttachInFlight => (changing(), Rule::AnswerTooOld),
        M::AttachToSmaller => (small(&[], 2), Rule::AnswerIncomplete),
        M::OneCancelsAll => (gone(2), Rule::Unanswered),
        M::SentForNobody => (gone(1), Rule::SentForNobody),
        M::FailureReachesOne | M::UnsentForgotten | M::InFlightForgotten => {
            (cut(2), Rule::Unanswered)
        }
        M::AnswerReachesOne => (small(&[], 2), Rule::Unanswered),
        M::LandedForgotten => (lost(), Rule::OutcomeUntrue),
        M::ThrottleIgnored => (throttled(&[Own::Presence]), Rule::SentThrottled),
        M::OneConnection | M::ThrottledSystem => (throttled(&[Own::Presence]), Rule::SystemWaited),
        M::LookupParked | M::PeerThrottled => (bounds::lookups(), Rule::SystemWaited),
        M::CommitOvertaken | M::HeartbeatLeftBehind | M::HeartbeatOvertaken => {
            (bounds::order(), Rule::Overtaken)
        }
        M::NoReconnectBackoff => (cut(2), Rule::Spun),
        M::CloseForgetsUnsent | M::CloseForgetsInFlight => (closing(), Rule::Unanswered),
        M::SecondKept => {
            let slice = Slice { mutant: Some(mutant), ..bounds::order() };
            let (name, source) = (format!("{mutant:?}"), mutant.source());
            return Seeded { name, source, slice, expected: Verdict::DoesNotSettle };
        }
        M::TimersLast | M::SocketsUnbounded | M::CommandsUnbounded | M::Spin | M::TimerAgain => {
            unreachable!("these are the loop's")
        }
    };
    Seeded {
        name: format!("{mutant:?}"),
        source: mutant.source(),
        slice: Slice { mutant: Some(mutant), ..slice },
        expected: Verdict::Broken(rule),
    }
}

/// Calls and these, so many in all, without faults.
fn small(asks: &'static [Own], count: u8) -> Slice {
    let budget = Budget { asks: count, faults: 0, changes: 0 };
    Slice { asks, budget, ..bounds::requests() }
}

/// These, so many in all, with one fault of these.
fn faulty(asks: &'static [Own], count: u8, faults: Faults) -> Slice {
    let slice = small(asks, count);
    Slice { faults, budget: Budget { faults: 1, ..slice.budget }, ..slice }
}

/// So many calls, of which one is given up.
fn gone(count: u8) -> Slice {
    faulty(&[], count, Faults { gone: true, ..bounds::NO_FAULTS })
}

/// Two calls, of which one is out of time.
fn deadline() -> Slice {
    faulty(&[], 2, Faults { deadline: true, ..bounds::NO_FAULTS })
}

/// So many calls, of which one connection fails.
fn cut(count: u8) -> Slice {
    faulty(&[], count, Faults { cut: true, ..bounds::NO_FAULTS })
}

/// A call whose attempt is lost and that is given up then.
fn lost() -> Slice {
    let budget = Budget { asks: 1, faults: 2, changes: 0 };
    let faults = Faults { cut: true, gone: true, ..bounds::NO_FAULTS };
    Slice { asks: &[], faults, budget, ends: false, ..bounds::teardown() }
}

/// A call and these, at a broker that stops reading.
fn throttled(asks: &'static [Own]) -> Slice {
    faulty(asks, 2, Faults { throttle: true, ..bounds::NO_FAULTS })
}

/// Two calls, and a change between them.
fn changing() -> Slice {
    let budget = Budget { asks: 2, faults: 0, changes: 1 };
    Slice { budget, ..small(&[], 2) }
}

/// Two calls, and the end.
fn closing() -> Slice {
    let budget = Budget { asks: 2, faults: 0, changes: 0 };
    Slice { asks: &[], faults: bounds::NO_FAULTS, budget, ..bounds::teardown() }
}
