//! One connection to the coordinator's broker, or two?

use super::answer::{Figures, percentile};
use super::broker::Terms;
use super::model;
use super::world::World;
use super::{Findings, Order};
use evenkeel_core::CoordinatorConnection;
use evenkeel_core::request::Mutant;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Design {
    /// One, whatever happens.
    One,
    /// As shipped: one, and a second one while that is throttled or parked.
    Exception,
    /// One for the group and one for records, as in Kafka's consumer.
    Two,
}

#[derive(Debug)]
struct Ran {
    sockets_max: usize,
    opened: u64,
    wait_p99_ms: u64,
    wait_max_ms: u64,
    evictions: u64,
    records: u64,
}

pub(super) fn answer(order: Order) -> Findings {
    let mut figures = Figures::new(
        "throttle, design",
        &[
            "sockets, max",
            "connections made",
            "wait of a heartbeat ms, p99",
            "max",
            "evictions",
            "records",
        ],
    );
    let designs = [("one", Design::One), ("shipped", Design::Exception), ("two", Design::Two)];
    let mut ran = Vec::new();
    for (throttle_ms, told) in [(0, "none"), (THROTTLE_MS, "10 s")] {
        for (name, design) in designs {
            let row = run(order, design, throttle_ms);
            figures.row(
                format!("{told}, {name}"),
                vec![
                    row.sockets_max.into(),
                    row.opened.into(),
                    row.wait_p99_ms.into(),
                    row.wait_max_ms.into(),
                    row.evictions.into(),
                    row.records.into(),
                ],
            );
            ran.push(row);
        }
    }
    let (trace, rule) = model::requests_fault(Mutant::OneConnection);
    let [calm_one, calm, calm_two, throttled_one, throttled, throttled_two] = &ran[..] else {
        unreachable!("two times three runs")
    };
    let verdict = if throttled_one.evictions > 0 && throttled.evictions == 0 {
        format!(
            "One, and a second one only while a heartbeat could not wait. Without a throttle one \
             socket does what two do: a heartbeat waits at most {} ms on one, {} ms as shipped and \
             {} ms on two. A broker that is told to throttle mutes the whole connection: on one \
             the member is evicted {} times, as shipped {} times, on two {} times. The model finds \
             one by {rule}.",
            calm_one.wait_max_ms,
            calm.wait_max_ms,
            calm_two.wait_max_ms,
            throttled_one.evictions,
            throttled.evictions,
            throttled_two.evictions
        )
    } else {
        format!(
            "Undecided: {} evictions on one connection, {} as shipped.",
            throttled_one.evictions, throttled.evictions
        )
    };
    let world = format!(
        "{MINUTES} minutes of virtual time a row; one broker that leads the partition and \
         coordinates the group, 5 ms a request; 10 records a second, polled every 100 ms; \
         heartbeats every 1 s, session 3 s; after each fetch with records the broker does not read \
         from the connection for {} s.",
        THROTTLE_MS / 1_000
    );
    Findings { verdict, world, figures, traces: vec![trace], curve: None }
}

fn run(order: Order, design: Design, throttle_ms: u32) -> Ran {
    let mut config = order.config();
    match design {
        Design::One => config.requests_mutant = Some(Mutant::OneConnection),
        Design::Exception => {}
        Design::Two => config.coordinator_connection = CoordinatorConnection::Dedicated,
    }
    let terms = Terms {
        service_ms: 5,
        heartbeat_interval_ms: 1_000,
        session_timeout_ms: 3_000,
        is_granted: true,
        records_per_second: 10,
        throttle_ms,
        ..Terms::default()
    };
    let mut world = World::joined(config, terms, false);
    let end = world.now + MINUTES * 60_000;
    while world.now < end {
        world.run(100);
        world.poll();
    }
    world.broker.expire(world.now);
    let waits_ms = world.heartbeats.waits_ms(world.now);
    Ran {
        sockets_max: world.sockets.open_max,
        opened: world.sockets.opened,
        wait_p99_ms: percentile(&waits_ms, 99),
        wait_max_ms: percentile(&waits_ms, 100),
        evictions: world.broker.evictions,
        records: world.records,
    }
}

const MINUTES: u64 = 10;
const THROTTLE_MS: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::{Design, Order, THROTTLE_MS, run};

    #[test]
    fn a_throttle_of_three_sessions_costs_no_membership_as_shipped_and_many_on_one_connection() {
        let shipped = run(Order::Lanes, Design::Exception, THROTTLE_MS);
        assert_eq!(shipped.evictions, 0);
        assert_eq!(shipped.sockets_max, 2);
        let one = run(Order::Lanes, Design::One, THROTTLE_MS);
        assert!(one.evictions > 10, "{}", one.evictions);
        assert_eq!(one.sockets_max, 1);
    }
}
