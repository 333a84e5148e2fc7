//! What if the application does not drain what the background has for it?

use super::answer::{Figures, Trace};
use super::broker::Terms;
use super::world::World;
use super::{Findings, Order};
use crate::table::grouped;

#[derive(Debug)]
struct Ran {
    buffered_max: usize,
    fetches: u64,
    fetches_late: u64,
    heartbeats: usize,
    produced: u64,
    is_member: bool,
    evictions: u64,
    returned_then: u64,
    trace: Trace,
}

pub(super) fn answer(order: Order) -> Findings {
    let mut figures = Figures::new(
        "max.poll.interval.ms",
        &[
            "buffered bytes, max",
            "produced bytes",
            "fetches",
            "in the last half hour",
            "heartbeats",
            "evictions",
            "member in the end",
            "records of the next 20 polls",
        ],
    );
    let intervals = [("2 hours", 7_200_000), ("5 minutes, the default", 300_000)];
    let ran = intervals.map(|(_, interval_ms)| run(order, interval_ms));
    for ((name, _), ran) in intervals.iter().zip(&ran) {
        figures.row(
            *name,
            vec![
                ran.buffered_max.into(),
                (ran.produced * 1_000).into(),
                ran.fetches.into(),
                ran.fetches_late.into(),
                ran.heartbeats.into(),
                ran.evictions.into(),
                if ran.is_member { "yes" } else { "no" }.into(),
                ran.returned_then.into(),
            ],
        );
    }
    let [patient, default] = &ran;
    let holds = patient.fetches_late == 0 && patient.is_member && !default.is_member;
    let verdict = if holds {
        format!(
            "Fetching stops and heartbeats go on. {} bytes are buffered of {} that were produced, \
             and nothing more is asked for. The member stays as long as max.poll.interval.ms \
             allows, then it leaves, so that others read; its next poll goes on either way.",
            grouped(patient.buffered_max as u64),
            grouped(patient.produced * 1_000)
        )
    } else {
        format!(
            "Memory is not what bounds it: {} bytes buffered, {} fetches in the last half hour.",
            patient.buffered_max, patient.fetches_late
        )
    };
    let world = "one hour of virtual time without a poll after the first; two partitions, 1,000 \
                 records of 1,000 bytes a second each; a broker that takes 5 ms a request; \
                 heartbeats every 5 s, session 45 s."
        .to_owned();
    Findings { verdict, world, figures, traces: ran.map(|ran| ran.trace).to_vec(), curve: None }
}

fn run(order: Order, poll_interval_ms: u32) -> Ran {
    let mut config = order.config();
    config.max_poll_interval_ms = poll_interval_ms;
    let terms = Terms {
        service_ms: 5,
        partitions: 2,
        is_granted: true,
        records_per_second: 1_000,
        ..Terms::default()
    };
    let mut world = World::joined(config, terms, false);
    world.mark("the last poll");
    world.poll();
    let start = world.now;
    let mut buffered_max = 0;
    while world.step(start + HOUR_MS) {
        buffered_max = buffered_max.max(world.shell.buffered_bytes());
    }
    let fetches = |from: u64| {
        let sent = world.sent.iter().filter(|(date, _, api)| *date >= from && *api == "Fetch");
        sent.count() as u64
    };
    let (fetches, fetches_late) = (fetches(0), fetches(world.now - HOUR_MS / 2));
    let heartbeats = world.heartbeats.read.len();
    let is_member = world.shell.group().owner().is_some();
    world.broker.expire(world.now);
    let evictions = world.broker.evictions;
    let buffered = world.shell.buffered_bytes();
    let says = if is_member { "a member" } else { "no member" };
    world.mark(format!("{says} with {} bytes buffered", grouped(buffered as u64)));
    let of = format!("Nobody drains, max.poll.interval.ms={poll_interval_ms}");
    let trace = world.excerpt(of, 0);
    let before = world.records;
    let produced = 2 * (world.now - start);
    // A member that left joins again within its next polls.
    for _ in 0..20 {
        world.poll();
        world.run(100);
    }
    let returned_then = world.records - before;
    Ran {
        trace,
        buffered_max,
        fetches,
        fetches_late,
        heartbeats,
        produced,
        is_member,
        evictions,
        returned_then,
    }
}

const HOUR_MS: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::{Order, run};

    #[test]
    fn an_hour_without_a_poll_buffers_four_mebibytes_and_costs_no_membership() {
        let ran = run(Order::Lanes, 7_200_000);
        assert!(ran.buffered_max <= 4 << 20, "two answers of a partition: {}", ran.buffered_max);
        assert!(ran.buffered_max > 1 << 20, "it reads ahead: {}", ran.buffered_max);
        assert_eq!((ran.fetches_late, ran.evictions, ran.is_member), (0, 0, true));
        assert!(ran.heartbeats >= 719, "{}", ran.heartbeats);
        assert!(ran.returned_then > 0);
    }
}
