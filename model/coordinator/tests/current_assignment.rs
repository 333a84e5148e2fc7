//! Every transition of Apache Kafka's `CurrentAssignmentBuilderTest` (4.3), as a table; its cases of
//! an unknown state and of regular expressions are out of scope.

use evenkeel_coordinator::{CurrentAssignment, MemberState, Reconciliation};
use evenkeel_spec::words::{
    Epoch, Partitions, Subscription, Topic, TopicId, TopicIdPartition, Topics,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Topics `a` and `b`, ten partitions each. What a member had before was granted in epoch 5, and is
/// written without its epoch.
///
/// name | before: state epoch/previous assigned - pending | subscription | target | owned
/// (`=`: not told) | held by others | subscription changed | after (`same`: unchanged)
const TABLE: &str = "
stable, same target: next epoch                   | Stable 10/10 a:1,2,3 b:4,5,6                    | a,b | 11 a:1,2,3 b:4,5,6     | =             | all  | no  | Stable 11/10 a:1,2,3 b:4,5,6
stable, target grows by free partitions           | Stable 10/10 a:1,2,3 b:4,5,6                    | a,b | 11 a:1,2,3,4 b:4,5,6,7 | =             | none | no  | Stable 11/10 a:1,2,3,4@11 b:4,5,6,7@11
stable, target moves: revokes first               | Stable 10/10 a:1,2,3 b:4,5,6                    | a,b | 11 a:2,3,4 b:5,6,7     | =             | none | no  | Unrevoked 10/10 a:2,3 b:5,6 - a:1 b:4
stable, target grows by held partitions           | Stable 10/10 a:1,2,3 b:4,5,6                    | a,b | 11 a:1,2,3,4 b:4,5,6,7 | =             | all  | no  | Unreleased 11/10 a:1,2,3 b:4,5,6
stable, nothing owned: revoked at once, b held    | Stable 10/10 a:1,2,3 b:4,5,6                    | a,b | 11 a:1,2,3 b:4,5,7     | -             | b    | no  | Unreleased 11/10 a:1,2,3 b:4,5
stable at the target's epoch: nothing to do       | Stable 11/10 a:1,2,3 b:4,5,6                    | a,b | 11 a:1,2,3 b:4,5,6     | =             | none | no  | same
unrevoked, acknowledged: stable                   | Unrevoked 10/10 a:2,3 b:5,6 - a:1 b:4           | a,b | 11 a:2,3 b:5,6         | a:2,3 b:5,6   | none | no  | Stable 11/10 a:2,3 b:5,6
unrevoked, nothing told: waits                    | Unrevoked 10/10 a:2,3 b:5,6 - a:1 b:4           | a,b | 12 a:3 b:6             | =             | none | no  | same
unrevoked, still owns a-1: waits                  | Unrevoked 10/10 a:2,3 b:5,6 - a:1 b:4           | a,b | 12 a:3 b:6             | a:1,2,3 b:5,6 | none | no  | same
unrevoked, still owns b-4: waits                  | Unrevoked 10/10 a:2,3 b:5,6 - a:1 b:4           | a,b | 12 a:3 b:6             | a:2,3 b:4,5,6 | none | no  | same
unrevoked, acknowledged, revokes more             | Unrevoked 10/10 a:2,3 b:5,6 - a:1 b:4           | a,b | 12 a:3 b:6             | a:2,3 b:5,6   | none | no  | Unrevoked 10/10 a:3 b:6 - a:2 b:5
unrevoked, acknowledged, waits for others         | Unrevoked 11/10 a:2,3 b:5,6                     | a,b | 11 a:2,3,4 b:5,6,7     | a:2,3 b:5,6   | all  | no  | Unreleased 11/11 a:2,3 b:5,6
unrevoked, own revocation is back in the target   | Unrevoked 10/10 a:2,3 b:5,6 - a:4               | a,b | 12 a:2,3,4 b:5,6,7     | a:2,3 b:5,6   | a    | no  | Stable 12/10 a:2,3,4@12 b:5,6,7@12
unreleased, target shrinks to what it has         | Unreleased 11/11 a:2,3 b:5,6                    | a,b | 12 a:2,3 b:5,6         | =             | all  | no  | Stable 12/11 a:2,3 b:5,6
unreleased, the rest became free                  | Unreleased 11/11 a:2,3 b:5,6                    | a,b | 11 a:2,3,4 b:5,6,7     | =             | none | no  | Stable 11/11 a:2,3,4@11 b:5,6,7@11
unreleased, a part became free                    | Unreleased 11/11 a:2,3 b:5,6                    | a,b | 11 a:2,3,4 b:5,6,7     | =             | b    | no  | Unreleased 11/11 a:2,3,4@11 b:5,6
unreleased, nothing became free                   | Unreleased 11/11 a:2,3 b:5,6                    | a,b | 11 a:2,3,4 b:5,6,7     | =             | all  | no  | same
unreleased, heard of again: previous epoch is gone| Unreleased 11/10 a:2,3 b:5,6                    | a,b | 11 a:2,3,4 b:5,6,7     | =             | all  | no  | Unreleased 11/11 a:2,3 b:5,6
unreleased, target moves: revokes                 | Unreleased 11/11 a:2,3 b:5,6                    | a,b | 12 a:3 b:6             | =             | all  | no  | Unrevoked 11/11 a:3 b:6 - a:2 b:5
unsubscribed before, let go, next epoch           | Stable 10/9 a:1,2,3 b:4,5,6                     | b   | 11 a:1,2,3 b:4,5,6     | b:4,5,6       | none | no  | Stable 11/10 b:4,5,6
unsubscribes, let go, next epoch                  | Stable 10/9 a:1,2,3 b:4,5,6                     | b   | 11 a:1,2,3 b:4,5,6     | b:4,5,6       | none | yes | Stable 11/10 b:4,5,6
unsubscribes, let go, target lags                 | Stable 10/9 a:1,2,3 b:4,5,6                     | b   | 10 a:1,2,3 b:4,5,6     | b:4,5,6       | none | yes | Stable 10/10 b:4,5,6
unsubscribed before, still owns, next epoch       | Stable 10/9 a:1,2,3 b:4,5,6                     | b   | 11 a:1,2,3 b:4,5,6     | a:1,2,3 b:4,5,6 | none | no  | Unrevoked 10/10 b:4,5,6 - a:1,2,3
unsubscribes, still owns, next epoch              | Stable 10/9 a:1,2,3 b:4,5,6                     | b   | 11 a:1,2,3 b:4,5,6     | a:1,2,3 b:4,5,6 | none | yes | Unrevoked 10/10 b:4,5,6 - a:1,2,3
unsubscribes, still owns, target lags             | Stable 10/9 a:1,2,3 b:4,5,6                     | b   | 10 a:1,2,3 b:4,5,6     | a:1,2,3 b:4,5,6 | none | yes | Unrevoked 10/10 b:4,5,6 - a:1,2,3
unsubscribed before, target lags, no change now   | Stable 10/9 a:1,2,3 b:4,5,6                     | b   | 10 a:1,2,3 b:4,5,6     | =             | none | no  | same
unsubscribes from all, target lags                | Stable 10/9 a:1,2,3 b:4,5,6                     |     | 10 a:1,2,3 b:4,5,6     | =             | none | yes | Unrevoked 10/10 - a:1,2,3 b:4,5,6
unsubscribes while revoking, still owns           | Unrevoked 10/10 a:2,3 b:5,6 - a:1 b:4           | b   | 12 a:1,3,4 b:6,7       | a:1,2,3 b:4,5,6 | none | yes | Unrevoked 10/10 b:5,6 - a:1,2,3 b:4
subscribes to more while revoking, still owns     | Unrevoked 10/10 a:2,3 - a:1                     | a,b | 12 a:3 b:6             | =             | none | yes | same
joins, all free                                   | none                                            | a,b | 11 a:1,2               | -             | none | yes | Stable 11/- a:1@11,2@11
joins, all held                                   | none                                            | a,b | 11 a:1,2               | -             | all  | yes | Unreleased 11/-
joins, target is of another subscription          | none                                            | b   | 11 a:1,2               | -             | none | yes | Stable 11/-
";

#[test]
fn every_transition_of_a_members_current_assignment_is_kafkas() {
    let mut rows = 0;
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, before, subscription, target, owned, held, changed, after] = columns[..] else {
            panic!("a row has eight columns: {line}");
        };
        let after = if after == "same" { before } else { after };
        let next = reconcile(before, subscription, target, owned, held, changed == "yes");
        assert_eq!(next, after, "{name}");
        rows += 1;
    }
    assert_eq!(rows, 32);
}

fn reconcile(
    before: &str,
    subscription: &str,
    target: &str,
    owned: &str,
    held: &str,
    subscription_changed: bool,
) -> String {
    let topics: Topics = [('a', 10), ('b', 10)]
        .map(|(name, partitions)| {
            (topic(name), Topic { name: name.to_string().as_str().into(), partitions })
        })
        .into();
    let names = subscription.split(',').filter(|name| !name.is_empty());
    let subscription: Subscription = Arc::new(names.map(Into::into).collect());
    let (target_epoch, target) = target.split_once(' ').expect("epoch and partitions");
    let current = (before != "none").then(|| current(before));
    let owned: Option<Partitions> = (owned != "=").then(|| granted(owned).into_keys().collect());
    let target: Partitions = granted(target).into_keys().collect();
    let next = Reconciliation {
        current: current.as_ref(),
        target_epoch: epoch(target_epoch),
        target: &target,
        owned: owned.as_ref(),
        subscription: &subscription,
        subscription_changed,
        topics: &topics,
        held_by_other: |at: TopicIdPartition| match held {
            "all" => true,
            "none" => false,
            name => name.starts_with(letter(at.topic)),
        },
        #[cfg(feature = "mutants")]
        mutant: None,
    }
    .next();
    let unchanged = next.is_none();
    let next = next.or(current).map_or_else(|| "none".to_owned(), |next| render(&next));
    assert!(!unchanged || next == before, "unchanged means unchanged");
    next
}

fn current(text: &str) -> CurrentAssignment {
    let mut parts = text.splitn(3, ' ');
    let state = match parts.next() {
        Some("Stable") => MemberState::Stable,
        Some("Unrevoked") => MemberState::UnrevokedPartitions,
        Some("Unreleased") => MemberState::UnreleasedPartitions,
        other => panic!("no state: {other:?}"),
    };
    let epochs = parts.next().and_then(|epochs| epochs.split_once('/')).expect("epoch/previous");
    let held = parts.next().unwrap_or_default();
    let (assigned, pending) = held.split_once("- ").unwrap_or((held, ""));
    CurrentAssignment {
        previous_epoch: (epochs.1 != "-").then(|| epoch(epochs.1)),
        state,
        assigned: granted(assigned),
        pending_revocation: granted(pending),
        ..CurrentAssignment::empty(epoch(epochs.0))
    }
}

/// `a:1,2@11 b:3`: with the epoch of the grant, 5 unless told.
fn granted(text: &str) -> BTreeMap<TopicIdPartition, Epoch> {
    let mut granted = BTreeMap::new();
    for part in text.split_whitespace().filter(|part| *part != "-") {
        let (name, partitions) = part.split_once(':').expect("topic:partitions");
        let topic = topic(name.chars().next().expect("a topic's letter"));
        for partition in partitions.split(',') {
            let (partition, at) = partition.split_once('@').unwrap_or((partition, "5"));
            let partition = partition.parse().expect("a partition");
            granted.insert(TopicIdPartition::new(topic, partition), epoch(at));
        }
    }
    granted
}

fn render(current: &CurrentAssignment) -> String {
    let state = match current.state {
        MemberState::Stable => "Stable",
        MemberState::UnrevokedPartitions => "Unrevoked",
        MemberState::UnreleasedPartitions => "Unreleased",
    };
    let previous =
        current.previous_epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.0.to_string());
    let mut text = format!("{state} {}/{previous}", current.epoch.0);
    text += &render_granted(&current.assigned);
    if !current.pending_revocation.is_empty() {
        text += " -";
        text += &render_granted(&current.pending_revocation);
    }
    text
}

fn render_granted(granted: &BTreeMap<TopicIdPartition, Epoch>) -> String {
    let mut text = String::new();
    let mut last = None;
    for (at, epoch) in granted {
        if last == Some(at.topic) {
            text += ",";
        } else {
            text += &format!(" {}:", letter(at.topic));
        }
        last = Some(at.topic);
        text += &at.partition.to_string();
        if *epoch != Epoch(5) {
            text += &format!("@{}", epoch.0);
        }
    }
    text
}

fn topic(letter: char) -> TopicId {
    TopicId::from_u32(u32::from(letter))
}

fn letter(topic: TopicId) -> char {
    char::from(topic.0[15])
}

fn epoch(text: &str) -> Epoch {
    Epoch(text.parse().expect("an epoch"))
}
