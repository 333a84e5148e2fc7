//! Is the revoked callback still owed when the subscription changed first?

use super::answer::Figures;
use super::broker::{Terms, partition};
use super::model;
use super::world::{TOPIC, World};
use super::{Findings, Order};
use crate::table::grouped;
use evenkeel_core::group::Mutant;
use evenkeel_core::{Callback, Command};
use evenkeel_spec::words::Partitions;
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Ran {
    /// Revoked callbacks after the subscribe.
    called: u64,
    /// How long the partition stayed owned after the subscribe, milliseconds: so long a subscribe
    /// would have to be refused.
    owned_ms: u64,
}

pub(super) fn answer(order: Order) -> Findings {
    let mut figures = Figures::new(
        "design",
        &["revoked callbacks", "owned after the subscribe ms", "what finds it", "steps"],
    );
    let found = model::group(Mutant::SubscribeEndsRevocation);
    let shipped = run(order, None);
    let forgets = run(order, Some(Mutant::SubscribeEndsRevocation));
    for (name, ran, told, steps) in [
        ("owed", shipped, "nothing".to_owned(), 0),
        ("not owed", forgets, found.told(), found.steps.len()),
    ] {
        let numbers = [ran.called, ran.owned_ms].map(Into::into).into_iter();
        figures.row(name, numbers.chain([told.into(), steps.into()]).collect());
    }
    let verdict = if shipped.called > forgets.called {
        format!(
            "Owed, and nothing is refused. The application has the partition in its hands until \
             its callback has returned: a subscription that ended the revocation would release it \
             untold ({}). To refuse the subscribe would make the application wait, here {} ms, for \
             something that only its own poll ends; accepted, it comes into force with the next \
             heartbeat, and the revocation goes on.",
            found.told(),
            grouped(shipped.owned_ms)
        )
    } else {
        format!("No difference: {} and {} callbacks.", shipped.called, forgets.called)
    };
    let world = format!(
        "a partition is taken from a member with a listener whose application subscribes anew \
         before it polls, {POLLS_AFTER_MS} ms later, in virtual time; the callback takes \
         {CALLBACK_MS} ms. And slice {}, in which a subscription may change at any moment.",
        found.slice
    );
    let traces = vec![found.trace(format!("Not owed, this fails: {}", found.sentence()))];
    Findings { verdict, world, figures, traces, curve: None }
}

fn run(order: Order, mutant: Option<Mutant>) -> Ran {
    let mut config = order.config();
    config.mutant = mutant;
    let terms = Terms { service_ms: 5, is_granted: true, ..Terms::default() };
    let mut world = World::joined(config, terms, true);
    for _ in 0..4 {
        world.poll_for(500);
        world.return_from_callback();
    }
    world.broker.retarget(Partitions::new());
    world.run(6_000);
    let start = world.now;
    let topics = BTreeSet::from([TOPIC.into(), "payments".into()]);
    let call = world.next_call();
    world.command(Command::Subscribe { call, topics, listener: true });
    let (mut called, mut released) = (0, None);
    note(&world, &mut released);
    world.run(POLLS_AFTER_MS);
    for _ in 0..4 {
        note(&world, &mut released);
        world.poll_for(1_000);
        let revoked = world.callbacks.iter().any(|(_, callback)| *callback == Callback::Revoked);
        called += u64::from(revoked);
        if revoked {
            world.run(CALLBACK_MS);
        }
        world.return_from_callback();
    }
    note(&world, &mut released);
    let released = released.expect("it is let go of in the end");
    Ran { called, owned_ms: released - start }
}

fn note(world: &World, released: &mut Option<u64>) {
    if !world.shell.group().owned().contains(&partition(0)) {
        released.get_or_insert(world.now);
    }
}

const POLLS_AFTER_MS: u64 = 2_000;
const CALLBACK_MS: u64 = 8_000;

#[cfg(test)]
mod tests {
    use super::{Mutant, Order, run};

    #[test]
    fn a_subscription_that_changes_during_a_revocation_leaves_its_callback_owed() {
        assert_eq!(run(Order::Lanes, None).called, 1);
        assert_eq!(run(Order::Lanes, Some(Mutant::SubscribeEndsRevocation)).called, 0);
    }
}
