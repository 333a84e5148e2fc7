//! How much does bulking save?

use super::answer::{Figures, percentile};
use super::broker::Terms;
use super::model;
use super::world::{TOPIC, World};
use super::{Findings, Order};
use crate::table::grouped;
use evenkeel_core::Command;
use evenkeel_core::request::{Mutant, OffsetAt};
use evenkeel_spec::words::TopicPartition;
use std::collections::BTreeMap;

/// What the tasks ask, all at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Questions {
    /// The same.
    Equal,
    /// The first for every partition, the others for one each.
    Contained,
    /// The same, but each a millisecond after the one before.
    Staggered,
    /// Each another: nothing can be shared.
    Different,
}

#[derive(Debug)]
struct Ran {
    calls: u64,
    sent: u64,
    times_ms: Vec<u64>,
}

pub(super) fn answer(order: Order) -> Findings {
    let mut figures = Figures::new(
        "what 100 tasks ask",
        &["calls", "requests on the wire", "time of a call ms, p50", "max"],
    );
    let kinds = [
        ("the same", Questions::Equal),
        ("parts of one", Questions::Contained),
        ("the same, 1 ms apart", Questions::Staggered),
        ("each something else", Questions::Different),
    ];
    let ran = kinds.map(|(_, questions)| run(order, questions));
    for ((name, _), Ran { calls, sent, times_ms }) in kinds.iter().zip(&ran) {
        let times = [percentile(times_ms, 50), percentile(times_ms, 100)];
        let cells = [*calls, *sent].into_iter().chain(times);
        figures.row(*name, cells.map(Into::into).collect());
    }
    let (trace, rule) = model::requests_fault(Mutant::AttachInFlight);
    let [equal, _, staggered, different] = &ran;
    let verdict = if equal.sent < different.sent {
        format!(
            "Nearly everything where many ask the same: of each {TASKS} equal questions {} go out, \
             those that find room in flight and one for all others. That is {} requests instead of \
             {}, and {} ms for a call at the median instead of {}. Nothing attaches to what is in \
             flight, since an answer must not be older than its question ({rule}); equal questions that \
             come one after the other still share: {} requests.",
            equal.sent * TASKS / equal.calls,
            grouped(equal.sent),
            grouped(different.sent),
            percentile(&equal.times_ms, 50),
            percentile(&different.times_ms, 50),
            grouped(staggered.sent)
        )
    } else {
        format!("Nothing: {} requests for {} calls.", equal.sent, equal.calls)
    };
    let world = format!(
        "a minute of virtual time a row, {TASKS} ListOffsets calls every second, {PARTITIONS} \
         partitions, a broker that takes {SERVICE_MS} ms a request, two in flight."
    );
    Findings { verdict, world, figures, traces: vec![trace], curve: None }
}

fn run(order: Order, questions: Questions) -> Ran {
    // No heartbeat comes between.
    let terms = Terms {
        service_ms: SERVICE_MS,
        partitions: PARTITIONS,
        heartbeat_interval_ms: 3_600_000,
        session_timeout_ms: 7_200_000,
        ..Terms::default()
    };
    let mut world = World::joined(order.config(), terms, false);
    let before = world.sent_of("ListOffsets");
    for second in 0..60 {
        let end = world.now + 1_000;
        for task in 0..TASKS {
            let date = match questions {
                Questions::Different => second * TASKS + task,
                _ => second,
            };
            let at = |index| (TopicPartition::new(TOPIC, index), OffsetAt::Timestamp(date));
            let wanted: BTreeMap<_, _> = match questions {
                Questions::Contained if task > 0 => {
                    let index = u32::try_from(task).expect("few tasks") % PARTITIONS;
                    BTreeMap::from([at(index)])
                }
                _ => (0..PARTITIONS).map(at).collect(),
            };
            world.call(|call| Command::Offsets { call, wanted, timeout_ms: 60_000 });
            if questions == Questions::Staggered {
                world.run(1);
            }
        }
        world.run(end - world.now);
    }
    Ran {
        calls: world.calls.offered,
        sent: world.sent_of("ListOffsets") - before,
        times_ms: world.calls.times_ms,
    }
}

const TASKS: u64 = 100;
const PARTITIONS: u32 = 8;
const SERVICE_MS: u64 = 5;

#[cfg(test)]
mod tests {
    use super::{Order, Questions, Ran, run};

    #[test]
    fn a_hundred_equal_questions_are_three_requests_and_each_is_answered() {
        let Ran { calls, sent, times_ms } = run(Order::Lanes, Questions::Equal);
        assert_eq!((calls, times_ms.len()), (6_000, 6_000));
        // Two find room in flight, the others share what waits.
        assert_eq!(sent, 60 * 3);
        assert_eq!(run(Order::Lanes, Questions::Different).sent, 6_000);
    }
}
