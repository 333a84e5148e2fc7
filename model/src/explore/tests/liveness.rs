//! Liveness on toys, and against the definitions on random graphs.

use std::collections::BTreeSet;

use stateright::Property;

use super::toys::{Dice, random_graph};
use super::*;

fn written(edges: &[(u32, u8, u32)], goals: &[u32]) -> Written {
    let (edges, goals) = (edges.to_vec(), goals.to_vec());
    Written { initial: vec![0], edges, goals, ..Written::default() }
}

fn divergence<T: Debug>(result: Result<T, LivenessErrorOf<Written>>) -> DivergenceOf<Written> {
    match result.unwrap_err() {
        LivenessError::Diverges(divergence) => *divergence,
        other => panic!("{other}"),
    }
}

/// The graph 0 -> 2 -> 4 -> 2 for stateright, which should eventually be odd.
struct Odd;

impl Model for Odd {
    type State = u32;
    type Action = ();

    fn init_states(&self) -> Vec<u32> {
        vec![0]
    }

    fn actions(&self, _: &u32, actions: &mut Vec<()>) {
        actions.push(());
    }

    fn next_state(&self, state: &u32, (): ()) -> Option<u32> {
        Some(if *state == 4 { 2 } else { state + 2 })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::eventually("odd", |_, state| state % 2 == 1)]
    }
}

#[test]
fn lasso_that_stateright_misses_is_found() {
    assert!(Odd.checker().spawn_bfs().join().discovery("odd").is_none());
    let toy = Written { fair: vec![0], ..written(&[(0, 0, 2), (2, 0, 4), (4, 0, 2)], &[]) };
    let found = divergence(explore(&toy, Options::default()).converges_fairly(&toy));
    assert_eq!((found.why, found.states), (Why::FairLoop, 2));
    assert_eq!(found.lasso.path.states, [0, 2, 4, 2]);
    assert_eq!((found.lasso.stem, found.lasso.loop_from), (1, Some(1)));
}

#[test]
fn trap_without_a_way_to_the_goal_is_found_at_its_entry() {
    let toy = written(&[(0, 0, 1), (0, 1, 2), (2, 0, 3), (3, 0, 2)], &[1]);
    let found = divergence(explore(&toy, Options::default()).always_convergeable(&toy));
    assert_eq!((found.why, found.states), (Why::GoalUnreachable, 2));
    assert_eq!(found.lasso.path.states, [0, 2]);
    assert_eq!(found.lasso.loop_from, None);
    let toy = written(&[(0, 0, 1), (0, 1, 2), (2, 0, 3), (3, 0, 1)], &[1]);
    assert_eq!(explore(&toy, Options::default()).always_convergeable(&toy), Ok(2));
}

#[test]
fn fairness_excuses_a_loop_that_leaves_a_fair_action_waiting() {
    let edges = [(0, 0, 1), (1, 0, 0), (0, 7, 2), (1, 7, 2)];
    let excused = Written { fair: vec![7], ..written(&edges, &[2]) };
    assert_eq!(explore(&excused, Options::default()).converges_fairly(&excused), Ok(1));
    let unfair = written(&edges, &[2]);
    let found = divergence(explore(&unfair, Options::default()).converges_fairly(&unfair));
    assert_eq!(found.lasso.path.states, [0, 1, 0]);
}

#[test]
fn fair_action_that_is_disabled_on_the_way_excuses_nothing() {
    // 0 <-> 1 offers the fair way out all the time, but 1 -> 3 -> 0 passes a state without it.
    let edges = [(0, 0, 1), (1, 0, 0), (1, 1, 3), (3, 0, 0), (0, 7, 2), (1, 7, 2)];
    let toy = Written { fair: vec![7], ..written(&edges, &[2]) };
    let found = divergence(explore(&toy, Options::default()).converges_fairly(&toy));
    assert_eq!(found.states, 3);
    assert_eq!(found.lasso.path.states, [0, 1, 3, 0]);
}

#[test]
fn fair_action_taken_inside_a_loop_excuses_nothing() {
    let toy = Written { fair: vec![7], ..written(&[(0, 7, 1), (1, 7, 0)], &[]) };
    let found = divergence(explore(&toy, Options::default()).converges_fairly(&toy));
    assert_eq!(found.lasso.path.actions, [7, 7]);
}

#[test]
fn self_loop_is_a_loop_and_a_dead_end_is_none() {
    let toy = written(&[(0, 0, 1), (1, 0, 1)], &[]);
    let found = divergence(explore(&toy, Options::default()).converges_fairly(&toy));
    assert_eq!((found.lasso.path.states, found.lasso.loop_from), (vec![0, 1, 1], Some(1)));
    let toy = written(&[(0, 0, 1)], &[]);
    assert_eq!(explore(&toy, Options::default()).converges_fairly(&toy), Ok(0));
}

#[test]
fn settle_names_the_state_where_it_is_stuck() {
    let mut toy = written(&[(0, 0, 1), (1, 0, 2), (0, 1, 3), (3, 0, 4), (4, 0, 2)], &[2]);
    toy.settle = vec![(0, 0), (1, 0), (3, 0)];
    let found = divergence(explore(&toy, Options::default()).settle(&toy));
    assert_eq!((found.why, found.states), (Why::Stuck, 2));
    assert_eq!(found.lasso.path.states, [0, 3, 4]);
    assert_eq!((found.lasso.stem, found.lasso.loop_from), (1, None));
    toy.settle.push((4, 9));
    assert_eq!(divergence(explore(&toy, Options::default()).settle(&toy)).why, Why::Stuck);
    toy.settle[3] = (4, 0);
    let settled = explore(&toy, Options::default()).settle(&toy);
    assert_eq!(settled, Ok(Settled { states: 5, steps_max: 2 }));
}

#[test]
fn settle_shows_the_loop_it_runs_into() {
    let mut toy = written(&[(0, 0, 9), (0, 1, 1), (1, 0, 2), (2, 0, 3), (3, 0, 2)], &[9]);
    toy.settle = vec![(0, 0), (1, 0), (2, 0), (3, 0)];
    let found = divergence(explore(&toy, Options::default()).settle(&toy));
    assert_eq!((found.why, found.states), (Why::SettleLoop, 3));
    assert_eq!(found.lasso.path.states, [0, 1, 2, 3, 2]);
    assert_eq!((found.lasso.stem, found.lasso.loop_from), (1, Some(2)));
}

#[test]
fn settle_without_kept_actions_is_refused() {
    let toy = written(&[], &[0]);
    let exploration = explore(&toy, Options { keep_settle: false, ..Options::default() });
    assert_eq!(exploration.settle(&toy), Err(LivenessError::SettleNotKept));
}

#[test]
fn violating_state_is_not_a_divergence_as_well() {
    let mut toy = written(&[(0, 0, 1), (0, 1, 2)], &[1]);
    toy.settle = vec![(0, 1)];
    toy.violations = vec![(2, "never two")];
    let exploration = explore(&toy, Options::default());
    assert_eq!(exploration.settle(&toy), Ok(Settled { states: 3, steps_max: 1 }));
    assert_eq!(exploration.always_convergeable(&toy), Ok(1));
}

#[test]
fn deep_graph_needs_no_deep_stack() {
    let exploration = explore(&Ring { last: 300_000 }, Options::default());
    let LivenessError::Diverges(found) =
        exploration.converges_fairly(&Ring { last: 300_000 }).unwrap_err()
    else {
        panic!("the ring is a loop")
    };
    assert_eq!((found.states, found.lasso.path.len()), (300_001, 300_001));
}

/// 0 -> 1 -> ... -> last -> 0, without a goal.
struct Ring {
    last: u32,
}

impl Model for Ring {
    type State = u32;
    type Action = ();

    fn init_states(&self) -> Vec<u32> {
        vec![0]
    }

    fn actions(&self, _: &u32, actions: &mut Vec<()>) {
        actions.push(());
    }

    fn next_state(&self, state: &u32, (): ()) -> Option<u32> {
        Some(if *state == self.last { 0 } else { state + 1 })
    }
}

impl System for Ring {
    type Key = ();

    fn goal(&self, _: &u32) -> bool {
        false
    }

    fn settle_action(&self, _: &u32) -> Option<()> {
        Some(())
    }

    fn key(&self, _: &u32, (): &(), _: &u32) -> Option<()> {
        None
    }

    fn violation(&self, _: &u32) -> Option<String> {
        None
    }

    fn progress(&self, (): &()) -> bool {
        true
    }
}

/// The states reachable from one, itself included, without passing those that `avoid` names.
fn reachable(toy: &Written, from: u32, avoid: &[u32]) -> BTreeSet<u32> {
    let mut reached = BTreeSet::from([from]);
    loop {
        let edges = toy.edges.iter();
        let more: Vec<u32> = edges
            .filter(|(from, _, to)| reached.contains(from) && !avoid.contains(to))
            .map(|edge| edge.2)
            .filter(|to| !reached.contains(to))
            .collect();
        if more.is_empty() {
            return reached;
        }
        reached.extend(more);
    }
}

/// By definition: a set of states that reach each other, and no fair action waits in all of them.
fn has_fair_loop(toy: &Written) -> bool {
    let outside = |at: &u32| !toy.goals.contains(at);
    reachable(toy, 0, &[]).into_iter().filter(outside).any(|at| {
        let component: BTreeSet<u32> = reachable(toy, at, &toy.goals)
            .into_iter()
            .filter(|to| reachable(toy, *to, &toy.goals).contains(&at))
            .collect();
        let inner: Vec<_> = toy
            .edges
            .iter()
            .filter(|(from, _, to)| component.contains(from) && component.contains(to))
            .collect();
        let waits = |by: &&u8| {
            component.iter().all(|at| toy.next_state(at, **by).is_some())
                && inner.iter().all(|edge| edge.1 != **by)
        };
        !inner.is_empty() && !toy.fair.iter().any(|by| waits(&by))
    })
}

#[test]
fn answers_are_those_of_the_definitions_on_5000_random_graphs() {
    let mut dice = Dice(20_241);
    let mut diverging = [0; 3];
    for _ in 0..5000 {
        let toy = random_graph(&mut dice);
        let exploration = explore(&toy, Options::default());
        let states = reachable(&toy, 0, &[]);
        assert_eq!(exploration.summary().states, states.len());

        let meets_goal = |from: &u32| {
            !reachable(&toy, *from, &[]).is_disjoint(&toy.goals.iter().copied().collect())
        };
        let convergeable = states.iter().all(meets_goal);
        assert_eq!(exploration.always_convergeable(&toy).is_ok(), convergeable, "{toy:?}");

        let fair_loop = has_fair_loop(&toy);
        assert_eq!(exploration.converges_fairly(&toy).is_err(), fair_loop, "{toy:?}");
        if fair_loop {
            assert_loop_is_fair(&toy, &divergence(exploration.converges_fairly(&toy)).lasso);
        }

        let settles = |from: &u32| {
            let mut at = *from;
            for _ in 0..=states.len() {
                match toy.settle_action(&at).filter(|_| !toy.goal(&at)) {
                    Some(by) => at = toy.next_state(&at, by).unwrap(),
                    None => break,
                }
            }
            toy.goal(&at)
        };
        let settled = states.iter().all(settles);
        assert_eq!(exploration.settle(&toy).is_ok(), settled, "{toy:?}");
        for (count, holds) in diverging.iter_mut().zip([convergeable, !fair_loop, settled]) {
            *count += u32::from(!holds);
        }
    }
    assert!(diverging.iter().all(|count| (500..4500).contains(count)), "{diverging:?}");
}

fn assert_loop_is_fair(toy: &Written, lasso: &Lasso<u32, u8>) {
    let from = lasso.loop_from.unwrap();
    let states = &lasso.path.states[from..];
    assert_eq!(states.first(), states.last());
    assert!(states.len() > 1 && states.iter().all(|at| !toy.goal(at)));
    for by in &toy.fair {
        let taken = lasso.path.actions[from..].contains(by);
        let disabled = states.iter().any(|at| toy.next_state(at, *by).is_none());
        assert!(taken || disabled, "{by} waits for ever in {lasso:?} of {toy:?}");
    }
}
