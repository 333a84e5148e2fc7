//! Renaming to ranks: a state is what it is up to the names of its epochs and incarnations.
//!
//! Epochs only grow and are compared, never counted; incarnations are compared for equality within
//! one consumer. States that differ by such names only are one state, else the space is infinite.
//! Member ids are not renamed: they grow with leaves, which have a budget.

use super::{Asked, Node, Reply, Shared, State};
use evenkeel_core::Incarnation;
use evenkeel_spec::rules::World;
use evenkeel_spec::words::{Epoch, Heartbeat, HeartbeatEpoch, OffsetCommit};

/// The representative of all states that differ from this one by names only.
pub(super) fn canonical(mut state: State) -> State {
    for node in state.nodes.iter_mut().filter(|node| !node.renamed) {
        rename_incarnations(Shared::make_mut(node));
    }
    rename_epochs(&mut state);
    state
}

fn rename_incarnations(node: &mut Node) {
    let mut alive: Vec<u32> = Vec::new();
    visit_incarnations(node, &mut |incarnation| alive.push(incarnation.0));
    alive.sort_unstable();
    alive.dedup();
    visit_incarnations(node, &mut |incarnation| incarnation.0 = rank(&alive, incarnation.0));
    node.group.restart_incarnations_after(number(alive.len()));
    node.renamed = true;
}

fn rename_epochs(state: &mut State) {
    let mut alive: Vec<u32> = Vec::new();
    for_each_epoch(state, &mut |epoch| alive.push(epoch.0));
    alive.sort_unstable();
    alive.dedup();
    let first = alive.first().copied().unwrap_or(1);
    if first == 1 && alive.last().is_none_or(|&last| last == number(alive.len())) {
        return;
    }
    visit_epochs(state, &mut |epoch| epoch.0 = rank(&alive, epoch.0) + 1);
}

fn rank(alive: &[u32], value: u32) -> u32 {
    number(alive.partition_point(|&other| other < value))
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("a small world has few names")
}

fn visit_incarnations(node: &mut Node, f: &mut dyn FnMut(&mut Incarnation)) {
    node.group.visit_incarnations(f);
    node.lookup.iter_mut().for_each(&mut *f);
    for asked in &mut node.requests {
        let (Asked::Heartbeat(incarnation, ..) | Asked::Commit(incarnation, ..)) = asked;
        f(incarnation);
    }
    for reply in &mut node.answers {
        let (Reply::Heartbeat(incarnation, ..) | Reply::Commit(incarnation, ..)) = reply;
        f(incarnation);
    }
    if let Some((incarnation, _)) = &mut node.app.callback {
        f(incarnation);
    }
}

fn for_each_epoch(state: &State, f: &mut dyn FnMut(Epoch)) {
    state.brain.group.for_each_epoch(&mut |epoch| f(epoch));
    for grant in state.world.grants.values() {
        f(grant.epoch);
        grant.previous.into_iter().for_each(&mut *f);
        grant.assigned.values().copied().for_each(&mut *f);
    }
    for node in &state.nodes {
        node.group.for_each_epoch(f);
        for asked in &node.requests {
            match asked {
                Asked::Heartbeat(_, _, request) => {
                    heartbeat_epoch(request).into_iter().for_each(&mut *f);
                }
                Asked::Commit(_, _, request) => request.owner.into_iter().for_each(|o| f(o.epoch)),
            }
        }
        for reply in &node.answers {
            if let Reply::Heartbeat(_, _, Ok(answer)) = reply {
                answer.epoch.into_iter().for_each(&mut *f);
            }
        }
        node.late_heartbeat.iter().filter_map(heartbeat_epoch).for_each(&mut *f);
        node.late_commit.iter().filter_map(|r| r.owner).for_each(|o| f(o.epoch));
    }
}

fn heartbeat_epoch(request: &Heartbeat) -> Option<Epoch> {
    match request.epoch {
        HeartbeatEpoch::Stay(epoch) => Some(epoch),
        HeartbeatEpoch::Join | HeartbeatEpoch::Leave => None,
    }
}

fn visit_epochs(state: &mut State, f: &mut dyn FnMut(&mut Epoch)) {
    Shared::make_mut(&mut state.brain).group.visit_epochs(&mut |epoch| f(epoch));
    let world: &mut World = Shared::make_mut(&mut state.world);
    for grant in world.grants.values_mut() {
        f(&mut grant.epoch);
        grant.previous.iter_mut().for_each(&mut *f);
        grant.assigned.values_mut().for_each(&mut *f);
    }
    for node in &mut state.nodes {
        let node = Shared::make_mut(node);
        node.group.visit_epochs(f);
        for asked in &mut node.requests {
            match asked {
                Asked::Heartbeat(_, _, request) => visit_heartbeat(request, f),
                Asked::Commit(_, _, request) => visit_commit(request, f),
            }
        }
        for reply in &mut node.answers {
            if let Reply::Heartbeat(_, _, Ok(answer)) = reply {
                answer.epoch.iter_mut().for_each(&mut *f);
            }
        }
        node.late_heartbeat.iter_mut().for_each(|request| visit_heartbeat(request, f));
        node.late_commit.iter_mut().for_each(|request| visit_commit(request, f));
    }
}

fn visit_heartbeat(request: &mut Heartbeat, f: &mut dyn FnMut(&mut Epoch)) {
    if let HeartbeatEpoch::Stay(epoch) = &mut request.epoch {
        f(epoch);
    }
}

fn visit_commit(request: &mut OffsetCommit, f: &mut dyn FnMut(&mut Epoch)) {
    if let Some(owner) = &mut request.owner {
        f(&mut owner.epoch);
    }
}
