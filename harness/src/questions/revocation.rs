//! The automatic commit before the revoked callback, or after it (KAFKA-14224)?

use super::answer::{Figures, Trace};
use super::broker::{Terms, partition};
use super::model;
use super::world::World;
use super::{Findings, Order};
use crate::table::grouped;
use evenkeel_core::OffsetReset;
use evenkeel_core::group::Mutant;
use evenkeel_model::mutants::Verdict;
use evenkeel_spec::words::Partitions;

#[derive(Clone, Debug, Eq, PartialEq)]
struct Ran {
    read: u64,
    committed_then: u64,
    committed: u64,
    trace: Trace,
}

pub(super) fn answer(order: Order) -> Findings {
    let mut figures = Figures::new(
        "callback, commit",
        &[
            "records read",
            "committed when the callback begins",
            "committed in the end",
            "read again by the next owner",
        ],
    );
    let (mut again, mut traces) = (Vec::new(), Vec::new());
    for (told, callback_ms) in [("1 s", 1_000), ("90 s", 90_000)] {
        for (name, mutant) in [("before", None), ("after", Some(Mutant::CommitAfterRevoked))] {
            let Ran { read, committed_then, committed, trace } = run(order, mutant, callback_ms);
            let cells = [read, committed_then, committed, read - committed];
            figures.row(format!("{told}, {name}"), cells.map(Into::into).to_vec());
            again.push(read - committed);
            traces.push(trace);
        }
    }
    // Of the callback that is in time both orders commit.
    traces.drain(..2);
    let found = model::group(Mutant::CommitAfterRevoked);
    let [_, _, before, after] = again[..] else { unreachable!("two times two runs") };
    let model = match found.verdict {
        Verdict::Survived => format!(
            "No rule forbids the other order ({} states of slice {} visited)",
            grouped(found.states as u64),
            found.slice
        ),
        _ => format!("The model refuses the other order by {}", found.told()),
    };
    let verdict = if before < after {
        format!(
            "Before. The callback finds committed what it may rely on, and a callback that takes \
             longer than the rebalance timeout costs the membership, but not the commit: {before} \
             records are read again, and {after} if the commit comes after it. {model}."
        )
    } else {
        format!("No difference: {before} and {after} records are read again. {model}.")
    };
    let world = "one partition is taken from a member with a listener, in virtual time; rebalance \
                 timeout (max.poll.interval.ms) 60 s; a broker that takes 5 ms a request; no \
                 commits by interval."
        .to_owned();
    Findings { verdict, world, figures, traces, curve: None }
}

fn run(order: Order, mutant: Option<Mutant>, callback_ms: u64) -> Ran {
    let mut config = order.config();
    config.mutant = mutant;
    config.max_poll_interval_ms = 60_000;
    config.auto_commit_interval_ms = 3_600_000;
    config.auto_offset_reset = OffsetReset::Earliest;
    let terms =
        Terms { service_ms: 5, is_granted: true, records_per_second: 100, ..Terms::default() };
    let mut world = World::joined(config, terms, true);
    // The assigned callback, then records; the last poll says that those before are done with.
    for _ in 0..10 {
        world.poll_for(500);
        world.return_from_callback();
        world.run(200);
    }
    let from = world.sent.len();
    world.broker.retarget(Partitions::new());
    world.mark("the coordinator takes the partition away");
    // The next heartbeat tells it, the next poll calls the listener.
    world.run(6_000);
    world.poll_for(1_000);
    let committed = |world: &World| {
        let committed = world.broker.committed.get(&partition(0));
        committed.map_or(0, |committed| committed.offset.0)
    };
    let (read, committed_then) = (world.records, committed(&world));
    assert!(!world.callbacks.is_empty(), "the listener is called");
    let says = |world: &World| format!("{read} records read, {} committed", committed(world));
    world.mark(format!("the revoked callback begins: {}", says(&world)));
    world.run(callback_ms);
    world.mark(format!("it returns: {}", says(&world)));
    world.return_from_callback();
    world.run(1_000);
    let committed = committed(&world);
    world.mark(format!("the next owner reads from offset {committed}"));
    let place = if mutant.is_some() { "after" } else { "before" };
    let again = read - committed;
    let of =
        format!("The commit {place} a callback of {callback_ms} ms, {again} records come again");
    Ran { read, committed_then, committed, trace: world.excerpt(of, from) }
}

#[cfg(test)]
mod tests {
    use super::{Mutant, Order, Ran, run};

    #[test]
    fn what_is_released_is_committed_before_the_revoked_callback() {
        let Ran { read, committed_then, committed, .. } = run(Order::Lanes, None, 90_000);
        assert!(read > 0);
        assert_eq!((committed_then, committed), (read, read));
    }

    #[test]
    fn a_commit_after_a_callback_that_is_too_slow_is_never_made() {
        let after = Some(Mutant::CommitAfterRevoked);
        let Ran { read, committed, .. } = run(Order::Lanes, after, 1_000);
        assert_eq!(committed, read);
        let Ran { committed, .. } = run(Order::Lanes, after, 90_000);
        assert_eq!(committed, 0);
    }
}
