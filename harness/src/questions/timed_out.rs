//! Send what has already timed out?

use super::answer::Figures;
use super::broker::Terms;
use super::model;
use super::world::World;
use super::{Findings, Order};
use crate::table::grouped;
use evenkeel_core::request::Mutant;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Ran {
    calls: u64,
    completed: u64,
    expired: u64,
    sent: u64,
}

pub(super) fn answer(order: Order) -> Findings {
    let mut figures = Figures::new(
        "design",
        &["calls", "done in time", "expired", "requests on the wire", "for nobody"],
    );
    let shipped = run(order, None);
    let sends = run(order, Some(Mutant::SentExpired));
    for (name, ran) in [("withdraws at the deadline", shipped), ("sends all the same", sends)] {
        let Ran { calls, completed, expired, sent } = ran;
        let figures_of = [calls, completed, expired, sent, sent - completed];
        figures.row(name, figures_of.map(Into::into).to_vec());
    }
    let (trace, rule) = model::requests_fault(Mutant::SentExpired);
    let verdict = if shipped.completed > sends.completed {
        format!(
            "No. {} of {} calls are done in time; a client that sends what has timed out keeps \
             the broker at work on {} requests that nobody waits for, and gets {} done. The model \
             finds it by {rule}.",
            grouped(shipped.completed),
            grouped(shipped.calls),
            grouped(sends.sent - sends.completed),
            grouped(sends.completed)
        )
    } else {
        format!("No difference: {} and {} are done.", shipped.completed, sends.completed)
    };
    let world = format!(
        "{MINUTES} minutes of virtual time a row; every 10 s {BURST} calls at once with {} s each, \
         at a broker that takes {SERVICE_MS} ms a request.",
        TIMEOUT_MS / 1_000
    );
    Findings { verdict, world, figures, traces: vec![trace], curve: None }
}

fn run(order: Order, mutant: Option<Mutant>) -> Ran {
    let mut config = order.config();
    if mutant.is_some() {
        config.requests_mutant = mutant;
    }
    let terms = Terms { service_ms: SERVICE_MS, ..Terms::default() };
    let mut world = World::joined(config, terms, false);
    let before = world.sent_of("ListOffsets");
    for _ in 0..MINUTES * 6 {
        for _ in 0..BURST {
            world.ask(TIMEOUT_MS);
        }
        world.run(10_000);
        world.poll_now_and_then();
    }
    Ran {
        calls: world.calls.offered,
        completed: world.calls.completed,
        expired: world.calls.expired,
        sent: world.sent_of("ListOffsets") - before,
    }
}

const MINUTES: u64 = 10;
const BURST: u64 = 300;
const SERVICE_MS: u64 = 50;
const TIMEOUT_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::{MINUTES, Order, Ran, run};

    #[test]
    fn of_each_burst_only_what_is_in_time_is_sent_and_all_but_the_last_two_is_done() {
        let Ran { calls, completed, expired, sent } = run(Order::Lanes, None);
        assert_eq!(calls, completed + expired);
        assert!(sent - completed <= 2 * 6 * MINUTES, "{sent} sent, {completed} done");
    }
}
