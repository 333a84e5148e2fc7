//! A bounded queue, an unbounded one, or a buffer in the application?

use super::answer::{Figures, percentile};
use super::broker::Terms;
use super::model;
use super::world::World;
use super::{Findings, Order};
use crate::table::grouped;
use evenkeel_core::request::Mutant;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Design {
    /// So many calls at once; more are refused, and their callers give up.
    Bounded(usize),
    /// Every call is taken.
    Unbounded,
    /// What is refused waits in the application, which calls as soon as there is a place.
    Application(usize),
}

#[derive(Debug)]
struct Ran {
    name: String,
    open_max: usize,
    buffered_max: usize,
    refused: u64,
    completed: u64,
    expired: u64,
    times_ms: Vec<u64>,
    wait_max_ms: u64,
    evictions: u64,
}

pub(super) fn answer(order: Order) -> Findings {
    let mut figures = Figures::new(
        "design",
        &[
            "waiting in the client, max",
            "in the application, max",
            "refused",
            "done",
            "expired",
            "time of one done ms, p50",
            "max",
            "wait of a heartbeat ms, max",
            "evictions",
        ],
    );
    let designs =
        [Design::Bounded(64), Design::Bounded(1_024), Design::Unbounded, Design::Application(64)];
    let ran = designs.map(|design| run(order, design));
    for ran in &ran {
        figures.row(
            ran.name.clone(),
            vec![
                ran.open_max.into(),
                ran.buffered_max.into(),
                ran.refused.into(),
                ran.completed.into(),
                ran.expired.into(),
                percentile(&ran.times_ms, 50).into(),
                percentile(&ran.times_ms, 100).into(),
                ran.wait_max_ms.into(),
                ran.evictions.into(),
            ],
        );
    }
    let (trace, rule) = model::requests_fault(Mutant::OneTooMany);
    let [small, bounded, unbounded, application] = &ran;
    let verdict = if bounded.completed > unbounded.completed {
        format!(
            "Bounded, and so that a full queue is worked off before its calls expire. Of what the \
             broker can do it does {} calls with 64 places and {} with 1,024, but {} without a \
             bound: there a call is answered when its time is over. Who is refused knows at once. \
             A buffer in the application holds {} calls in the end, done after {} ms at the \
             median: the queue has only moved, to where nobody gives them a deadline. The model \
             finds a call beyond the bound by {rule}.",
            grouped(small.completed),
            grouped(bounded.completed),
            grouped(unbounded.completed),
            grouped(application.buffered_max as u64),
            grouped(percentile(&application.times_ms, 50))
        )
    } else {
        format!(
            "A bound does not help here: {} calls are done with it and {} without.",
            bounded.completed, unbounded.completed
        )
    };
    let world = format!(
        "{MINUTES} minutes of virtual time a row; a broker that takes {SERVICE_MS} ms a request, \
         twice as many calls as it can do, each with {} s; heartbeats every 5 s, session 45 s.",
        TIMEOUT_MS / 1_000
    );
    Findings { verdict, world, figures, traces: vec![trace], curve: None }
}

fn run(order: Order, design: Design) -> Ran {
    let mut config = order.config();
    let name = match design {
        Design::Bounded(places) | Design::Application(places) => {
            config.request_queue_max = places;
            let is_buffered = matches!(design, Design::Application(_));
            let before = if is_buffered { "a buffer before " } else { "" };
            format!("{before}{places} places")
        }
        Design::Unbounded => {
            config.request_queue_max = usize::MAX;
            "no bound".to_owned()
        }
    };
    let terms = Terms { service_ms: SERVICE_MS, ..Terms::default() };
    let mut world = World::joined(config, terms, false);
    let end = world.now + MINUTES * 60_000;
    let distance = SERVICE_MS / 2;
    let mut next = world.now;
    let mut buffer = VecDeque::new();
    let mut buffered_max = 0;
    while world.now < end {
        while world.now < next && world.step(next) {
            call_buffered(&mut world, design, &mut buffer);
        }
        next = world.now + distance / 2 + world.random(distance + 1);
        if matches!(design, Design::Application(_)) {
            buffer.push_back(world.now);
            call_buffered(&mut world, design, &mut buffer);
            buffered_max = buffered_max.max(buffer.len());
        } else {
            world.ask(TIMEOUT_MS);
        }
        world.poll_now_and_then();
    }
    world.broker.expire(world.now);
    Ran {
        name,
        open_max: world.calls.open_max,
        buffered_max,
        refused: world.calls.refused,
        completed: world.calls.completed,
        expired: world.calls.expired,
        wait_max_ms: percentile(&world.heartbeats.waits_ms(world.now), 100),
        evictions: world.broker.evictions,
        times_ms: world.calls.times_ms,
    }
}

/// Calls for what waits in the application, as far as there are places.
fn call_buffered(world: &mut World, design: Design, buffer: &mut VecDeque<u64>) {
    let Design::Application(places) = design else { return };
    while world.open() < places
        && let Some(since) = buffer.pop_front()
    {
        world.ask_since(since, TIMEOUT_MS);
    }
}

const SERVICE_MS: u64 = 100;
const MINUTES: u64 = 10;
/// More than it takes to work 1,024 calls off.
const TIMEOUT_MS: u64 = 120_000;

#[cfg(test)]
mod tests {
    use super::{Design, Order, run};

    #[test]
    fn a_queue_that_is_worked_off_in_time_does_what_the_broker_can_and_no_call_expires() {
        let ran = run(Order::Lanes, Design::Bounded(64));
        assert_eq!((ran.open_max, ran.expired), (64, 0));
        assert!(ran.completed > 5_700, "{}", ran.completed);
        assert!(ran.refused > 5_000, "{}", ran.refused);
    }
}
