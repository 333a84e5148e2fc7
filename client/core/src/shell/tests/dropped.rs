//! An unsubscribe whose future was dropped goes on; the poll that begins meanwhile waits for it, and
//! for nothing else.

use super::joined;
use super::world::{World, partition};
use crate::{Answer, Command, PollFault};

/// Unsubscribes, and does not wait for the leave's answer.
fn unsubscribe(world: &mut World) {
    let taken = world.taken;
    let call = world.call(|call| Command::Unsubscribe { call, taken });
    world.command(Command::Abandon { call });
    assert!(world.shell.group().is_ending(), "brokers take a millisecond");
}

#[test]
fn a_poll_that_begins_meanwhile_returns_records_of_the_next_subscription() {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    unsubscribe(&mut world);
    world.subscribe(&["orders"], false);
    world.log("orders").ends[0] = 20;
    assert_eq!(world.consume(10)[&partition("orders", 0)], [(10, 20)]);
}

#[test]
fn a_poll_that_begins_meanwhile_returns_records_of_what_is_assigned() {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    unsubscribe(&mut world);
    let (taken, partitions) = (world.taken, [partition("orders", 0)].into());
    let call = world.call(|call| Command::Assign { call, taken, partitions });
    assert_eq!(world.done[&call], Ok(Answer::Done));
    world.log("orders").ends[0] = 20;
    assert_eq!(world.consume(10)[&partition("orders", 0)], [(10, 20)]);
}

#[test]
fn a_poll_that_begins_meanwhile_says_that_nothing_is_subscribed_to() {
    let (mut world, _) = joined(&[10]);
    world.consume(10);
    unsubscribe(&mut world);
    assert_eq!(world.poll(1_000), None);
    assert_eq!(world.faults.pop_front(), Some(PollFault::NotSubscribed));
}
