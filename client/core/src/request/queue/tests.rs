use super::{Lane, Question, Queue, Word};
use crate::request::Kind;
use std::collections::BTreeSet;

/// Asks for these things.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Ask(BTreeSet<u8>);

impl Question for Ask {
    fn covers(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    fn word(&self) -> Word {
        Word::Nothing
    }

    fn kind(&self) -> Kind {
        Kind::OffsetFetch
    }
}

fn ask(things: &[u8]) -> Ask {
    Ask(things.iter().copied().collect())
}

fn queue(of: &[(Lane, &[u8], &'static str)]) -> Queue<Ask, &'static str> {
    let mut queue = Queue::default();
    for (lane, things, asker) in of {
        queue.push(*lane, ask(things), vec![*asker], None);
    }
    queue
}

fn drained(mut queue: Queue<Ask, &'static str>) -> Vec<(Lane, Vec<&'static str>)> {
    std::iter::from_fn(|| queue.pop(|_| true).map(|(lane, waiting)| (lane, waiting.askers)))
        .collect()
}

#[test]
fn the_system_goes_first_and_each_lane_in_its_order() {
    let queue = queue(&[
        (Lane::Records, &[1], "r"),
        (Lane::User, &[2], "u1"),
        (Lane::User, &[3], "u2"),
        (Lane::System, &[4], "s1"),
        (Lane::System, &[5], "s2"),
    ]);
    let order: Vec<_> = drained(queue).into_iter().flat_map(|(_, askers)| askers).collect();
    assert_eq!(order, ["s1", "s2", "u1", "u2", "r"]);
}

#[test]
fn what_is_contained_in_a_waiting_request_is_attached_and_what_is_not_waits_for_itself() {
    let queue = queue(&[
        (Lane::User, &[1, 2], "both"),
        (Lane::User, &[2], "one"),
        (Lane::User, &[1, 2, 3], "more"),
    ]);
    assert_eq!(drained(queue), [(Lane::User, vec!["both", "one"]), (Lane::User, vec!["more"])]);
}

#[test]
fn what_the_system_waits_for_does_not_stay_in_the_user_lane() {
    let queue = queue(&[
        (Lane::User, &[1], "first"),
        (Lane::User, &[2], "user"),
        (Lane::System, &[2], "system"),
        (Lane::User, &[2], "late user"),
    ]);
    let attached = (Lane::System, vec!["user", "system", "late user"]);
    assert_eq!(drained(queue), [attached, (Lane::User, vec!["first"])]);
}

#[test]
fn a_request_goes_when_the_last_of_its_callers_goes() {
    let mut queue = queue(&[(Lane::User, &[1], "a"), (Lane::User, &[1], "b")]);
    assert_eq!(queue.withdraw(|asker| *asker == "a", None), ["a"]);
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.withdraw(|asker| *asker == "b", None), ["b"]);
    assert!(queue.is_empty());
}
