//! A path of a small world, told a line a step: what happened, and what the world was then.

use evenkeel_model::bounds::Slice;
use evenkeel_model::explore::PathOf;
use evenkeel_model::system::State;
use evenkeel_spec::words::{MemberId, TopicIdPartition};

/// One line a step: its number, the action, the world after it.
#[must_use]
pub fn lines(slice: &Slice, path: &PathOf<Slice>) -> Vec<String> {
    let names: Vec<String> = path.actions.iter().map(ToString::to_string).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let steps = names.iter().zip(path.states.iter().skip(1)).enumerate();
    steps
        .map(|(at, (name, after))| {
            format!("{:>4}  {name:<width$}  {}", at + 1, world(slice, after))
        })
        .collect()
}

/// What the coordinator grants and what the applications hold.
#[must_use]
pub fn world(slice: &Slice, state: &State) -> String {
    let grants = state.world.grants.iter().map(|(id, grant)| {
        let assigned = partitions(slice, grant.assigned.keys());
        let member = member(slice, *id);
        if grant.revoking.is_empty() {
            format!("{member}@{} {assigned}", grant.epoch.0)
        } else {
            let revoking = partitions(slice, &grant.revoking);
            format!("{member}@{} {assigned} revoking {revoking}", grant.epoch.0)
        }
    });
    let grants = joined(grants);
    let holders = state.world.consumers.iter().enumerate();
    let held = holders.filter(|(_, consumer)| !consumer.held.is_empty());
    let held = held.map(|(i, consumer)| format!("c{i} {}", partitions(slice, &consumer.held)));
    format!("granted {grants} | held {}", joined(held))
}

/// Who is stuck at what: how far this state is from rest, a line each.
#[must_use]
pub fn stuck(slice: &Slice, state: &State) -> Vec<String> {
    let mut lines = Vec::new();
    let world = &state.world;
    let mut ungranted = slice.wanted(state);
    ungranted.retain(|at| !world.grants.values().any(|grant| grant.covers(*at)));
    if !ungranted.is_empty() {
        lines.push(format!("      nobody is granted {}", partitions(slice, &ungranted)));
    }
    for (i, (node, consumer)) in state.nodes.iter().zip(&world.consumers).enumerate() {
        let grant = consumer.id.and_then(|id| world.grants.get(&id));
        let Some(grant) = grant else {
            if node.app.subscribed && !node.app.refused && !node.crashed {
                lines.push(format!("      c{i} subscribes and is no member"));
            }
            continue;
        };
        let granted = grant.partitions();
        let lacking: Vec<_> = granted.difference(&consumer.held).collect();
        if !lacking.is_empty() {
            let lacking = partitions(slice, lacking);
            lines.push(format!("      c{i} is granted {lacking} and does not hold it"));
        }
        let beyond: Vec<_> = consumer.held.difference(&granted).collect();
        if !beyond.is_empty() {
            lines.push(format!("      c{i} holds {} ungranted", partitions(slice, beyond)));
        }
        if !grant.revoking.is_empty() {
            let revoking = partitions(slice, &grant.revoking);
            lines.push(format!("      c{i} has not let go of {revoking}"));
        }
    }
    lines
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let text = parts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A consumer, with the number of its member id where it is not the first.
fn member(slice: &Slice, id: MemberId) -> String {
    match slice.consumer_of(id) {
        (i, 0) => format!("c{i}"),
        (i, number) => format!("c{i}#{number}"),
    }
}

fn partitions<'a>(
    slice: &Slice,
    partitions: impl IntoIterator<Item = &'a TopicIdPartition>,
) -> String {
    let name = |at: &TopicIdPartition| match slice.topics.get(&at.topic) {
        Some(topic) => format!("{}-{}", topic.name, at.partition),
        None => format!("{at:?}"),
    };
    let names: Vec<String> = partitions.into_iter().map(name).collect();
    format!("[{}]", names.join(" "))
}
