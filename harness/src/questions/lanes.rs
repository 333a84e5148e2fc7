//! System requests first, or one FIFO?

use super::answer::{Curve, Figures, percentile};
use super::broker::Terms;
use super::model;
use super::world::World;
use super::{Findings, Order};
use crate::table::grouped;
use evenkeel_core::request::Mutant;

/// The load of one run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Load {
    /// So many calls by second, however many are open.
    Offered(u64),
    /// The bounded lane is full all the time.
    Full,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) waits_ms: Vec<u64>,
    pub(super) ahead_max: u64,
    pub(super) evictions: u64,
    pub(super) completed: u64,
    pub(super) refused: u64,
    #[cfg(test)]
    pub(super) open_min: usize,
}

pub(super) fn answer(order: Order) -> Findings {
    let mut figures = Figures::new(
        "load, order",
        &[
            "calls done",
            "refused",
            "ahead of a heartbeat, max",
            "its wait ms, p50",
            "max",
            "evictions",
        ],
    );
    let mut lines = [("system first", Vec::new()), ("FIFO", Vec::new())];
    let mut evictions = [0, 0];
    let mut waits = [0, 0];
    for load in LOADS {
        for (at, order) in [order, Order::Fifo].into_iter().enumerate() {
            let ran = run(order, load);
            let wait_max = percentile(&ran.waits_ms, 100);
            let name = match load {
                Load::Offered(calls) => format!("{:>3} % {}", calls * SERVICE_MS / 10, lines[at].0),
                Load::Full => format!("full {}", lines[at].0),
            };
            figures.row(
                name,
                vec![
                    ran.completed.into(),
                    ran.refused.into(),
                    ran.ahead_max.into(),
                    percentile(&ran.waits_ms, 50).into(),
                    wait_max.into(),
                    ran.evictions.into(),
                ],
            );
            if let Load::Offered(calls) = load {
                lines[at].1.push((calls * SERVICE_MS / 10, wait_max));
            }
            evictions[at] += ran.evictions;
            waits[at] = waits[at].max(wait_max);
        }
    }
    let (trace, rule) = model::requests_fault(Mutant::OneLane);
    let [shipped, fifo] = evictions;
    let verdict = if shipped < fifo {
        format!(
            "System first. A heartbeat waits for at most {} ms, what the broker is at work on and \
             what is on its way to it, whatever the application does: {shipped} evictions. In a \
             FIFO it waits for everything that was asked for before it, at most {} ms, and the \
             member is evicted {fifo} times. The model finds a FIFO by {rule}.",
            grouped(waits[0]),
            grouped(waits[1])
        )
    } else {
        format!("No difference: {shipped} evictions and {fifo} in a FIFO.")
    };
    let world = format!(
        "{MINUTES} minutes of virtual time a row; a broker that takes {SERVICE_MS} ms a request \
         ({} a second are 100 %); heartbeats every 5 s, session 45 s; ListOffsets calls, each \
         another question; request.queue.max=1024, two in flight.",
        1_000 / SERVICE_MS
    );
    let curve = Curve {
        x: "load of the application, % of what the broker can do",
        y: "longest wait of a heartbeat, ms",
        lines: lines.to_vec(),
    };
    Findings { verdict, world, figures, traces: vec![trace], curve: Some(curve) }
}

/// Ten minutes under one load.
pub(super) fn run(order: Order, load: Load) -> Ran {
    let terms = Terms { service_ms: SERVICE_MS, ..Terms::default() };
    let mut world = World::joined(order.config(), terms, false);
    let end = world.now + MINUTES * 60_000;
    let mut open_min = usize::MAX;
    while world.now < end {
        match load {
            Load::Offered(0) => world.run(1_000),
            Load::Offered(calls) => {
                // Arrivals are uneven by half of their distance, either way.
                let distance = 1_000 / calls;
                let pause = distance / 2 + world.random(distance + 1);
                world.run(pause);
                world.ask(TIMEOUT_MS);
            }
            Load::Full => {
                world.step(end);
                while !world.calls.last_refused {
                    world.ask(TIMEOUT_MS);
                }
                world.calls.last_refused = false;
                open_min = open_min.min(world.open());
            }
        }
        world.poll_now_and_then();
    }
    world.broker.expire(world.now);
    Ran {
        waits_ms: world.heartbeats.waits_ms(world.now),
        ahead_max: world.heartbeats.ahead_max(),
        evictions: world.broker.evictions,
        completed: world.calls.completed,
        refused: world.calls.refused,
        #[cfg(test)]
        open_min,
    }
}

/// Calls by second: none, half of what the broker can do, nearly all, all, twice as much.
const LOADS: [Load; 6] = [
    Load::Offered(0),
    Load::Offered(5),
    Load::Offered(9),
    Load::Offered(10),
    Load::Offered(20),
    Load::Full,
];

/// A slow broker: a full queue takes it 102 s.
const SERVICE_MS: u64 = 100;
const MINUTES: u64 = 10;
/// More than a full queue takes.
const TIMEOUT_MS: u64 = 120_000;

#[cfg(test)]
mod tests {
    use super::{Load, Order, run};

    #[test]
    fn no_user_request_goes_ahead_of_a_heartbeat_and_nobody_is_evicted_with_the_lane_full() {
        let ran = run(Order::Lanes, Load::Full);
        assert_eq!(ran.open_min, 1_024, "the lane is full throughout");
        assert!(ran.waits_ms.len() >= 119, "{} heartbeats in ten minutes", ran.waits_ms.len());
        assert_eq!(ran.ahead_max, 0);
        assert_eq!(ran.evictions, 0);
        assert!(ran.completed > 5_800, "the application is served: {}", ran.completed);
    }

    #[test]
    fn in_a_fifo_user_requests_go_ahead_and_the_member_is_evicted() {
        let ran = run(Order::Fifo, Load::Full);
        assert_eq!(ran.open_min, 1_024, "the lane is full throughout");
        assert!(ran.ahead_max > 1_000, "{}", ran.ahead_max);
        assert!(ran.evictions > 0);
    }
}
