//! Witnesses on toys, and against all paths on random graphs.

use super::toys::{Dice, random_graph};
use super::*;

/// The key 5 is reached by 0 -1-> 1 -5->, by 0 -2-> 2 -3-> 3 -5-> and by 0 -2-> 2 -4-> 3 -5->.
fn forked() -> Written {
    let edges = vec![(0, 1, 1), (0, 2, 2), (1, 5, 4), (2, 3, 3), (2, 4, 3), (3, 5, 5)];
    Written { initial: vec![0], edges, ..Written::default() }
}

#[test]
fn witness_is_shortest_and_breadth_first_least() {
    let toy = forked();
    let witnesses = explore(&toy, Options::default()).shortest_witnesses(&toy).unwrap();
    let actions: Vec<_> =
        witnesses.iter().map(|(key, path)| (*key, path.actions.clone())).collect();
    let expected = [(1, vec![1]), (2, vec![2]), (3, vec![2, 3]), (4, vec![2, 4]), (5, vec![1, 5])];
    assert_eq!(actions, expected);
}

#[test]
fn infeasible_witness_gives_way_to_the_next_shortest() {
    let toy = forked();
    let exploration = explore(&toy, Options::default());
    let no_one = exploration.witnesses(&toy, 10, |path| !path.actions.contains(&1)).unwrap();
    assert_eq!(no_one.found[&5].actions, [2, 3, 5]);
    let only_four = |path: &Path<u32, u8>| !path.actions.contains(&1) && !path.actions.contains(&3);
    let only_four = exploration.witnesses(&toy, 10, only_four).unwrap();
    assert_eq!(only_four.found[&5].actions, [2, 4, 5]);
    assert_eq!(only_four.refused.keys().collect::<Vec<_>>(), [&1, &3]);
}

#[test]
fn another_transition_is_tried_when_the_search_runs_out_of_candidates() {
    let toy = forked();
    let exploration = explore(&toy, Options::default());
    let witnesses = exploration.witnesses(&toy, 1, |path| !path.actions.contains(&1)).unwrap();
    assert_eq!(witnesses.found[&5].actions, [2, 3, 5]);
}

#[test]
fn search_for_a_feasible_witness_is_bounded_and_says_whether_it_was_complete() {
    let mut toy = forked();
    let exploration = explore(&toy, Options::default());
    let refused = |exploration: &Exploration<Written>, toy: &Written, candidates_max| {
        let never = |path: &Path<u32, u8>| !path.actions.contains(&5);
        exploration.witnesses(toy, candidates_max, never).unwrap().refused[&5]
    };
    assert_eq!(refused(&exploration, &toy, 0), Refused { tried: 1, complete: false });
    assert!(refused(&exploration, &toy, 100).complete);
    // With a loop there is always a longer path to try.
    toy.edges.push((0, 6, 0));
    let exploration = explore(&toy, Options::default());
    assert_eq!(refused(&exploration, &toy, 100), Refused { tried: 102, complete: false });
}

#[test]
fn witnesses_without_kept_keys_are_refused() {
    let exploration = explore(&forked(), Options { keep_keys: false, ..Options::default() });
    assert_eq!(exploration.shortest_witnesses(&forked()), Err(WitnessError::KeysNotKept));
}

#[test]
fn key_sees_both_states_with_the_same_epochs() {
    let toy = Fetching { names_epochs: false };
    let keys: Vec<_> =
        explore(&toy, Options::default()).shortest_witnesses(&toy).unwrap().into_keys().collect();
    assert_eq!(keys, ["Bump group up", "Fetch(0) group same", "Fetch(1) group same"]);
}

/// For each action the length of the shortest path that ends with it and in which the forbidden
/// pair of actions does not follow one another: by all paths of up to `length_max` actions.
fn shortest_feasible(toy: &Written, length_max: usize, forbidden: (u8, u8)) -> [Option<usize>; 4] {
    let mut shortest = [None; 4];
    let mut paths = vec![(0_u32, None::<u8>)];
    for length in 1..=length_max {
        let mut longer = Vec::new();
        for (at, last) in paths {
            for (_, by, to) in toy.edges.iter().filter(|edge| edge.0 == at) {
                if last.is_none_or(|last| (last, *by) != forbidden) {
                    shortest[usize::from(*by)].get_or_insert(length);
                    longer.push((*to, Some(*by)));
                }
            }
        }
        longer.sort_unstable();
        longer.dedup();
        paths = longer;
    }
    shortest
}

#[test]
fn search_finds_the_shortest_feasible_path_of_5000_random_graphs() {
    let mut dice = Dice(848);
    let (mut rerouted, mut hopeless) = (0, 0);
    for _ in 0..5000 {
        let toy = random_graph(&mut dice);
        let forbidden =
            (u8::try_from(dice.below(4)).unwrap(), u8::try_from(dice.below(4)).unwrap());
        let feasible = |path: &Path<u32, u8>| {
            !path.actions.windows(2).any(|pair| (pair[0], pair[1]) == forbidden)
        };
        let exploration = explore(&toy, Options::default());
        let shortest = exploration.shortest_witnesses(&toy).unwrap();
        let witnesses = exploration.witnesses(&toy, 3000, feasible).unwrap();
        let expected = shortest_feasible(&toy, 12, forbidden);
        for (by, path) in &shortest {
            let found = witnesses.found.get(by);
            let length = found.map(Path::len);
            assert_eq!(length, expected[usize::from(*by)], "{by} of {toy:?}");
            let Some(found) = found else {
                hopeless += 1;
                continue;
            };
            assert!(feasible(found) && found.actions.last() == Some(by));
            rerouted += u32::from(found.actions != path.actions);
        }
    }
    assert!(rerouted > 100 && hopeless > 100, "{rerouted} rerouted, {hopeless} hopeless");
}
