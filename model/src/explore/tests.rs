//! The explorer on toys: every figure here was counted by hand or by a slower algorithm.

mod liveness;
mod toys;
mod witness;

use std::collections::BTreeSet;

use stateright::{Checker, Model};
use toys::{Counters, Epochs, Fetching, Skipping, Step, Written};

use super::visited::{Probe, Visited};
use super::*;

/// The line 0 -> 1 -> ... -> `last`.
fn line(last: u32) -> Written {
    let edges = (0..last).map(|from| (from, 0, from + 1)).collect();
    Written { initial: vec![0], edges, ..Written::default() }
}

#[test]
fn counts_are_those_known_by_hand() {
    let exploration = explore(&Counters::<3> { last: 4 }, Options::default());
    let expected = Summary {
        states: 125,
        transitions: 3 * 4 * 25,
        initial: 1,
        depth: 12,
        goals: 1,
        violating: 0,
        keys: 12,
        outside: 0,
        ineffective: 0,
        ending: Ending::Exhausted,
    };
    assert_eq!(*exploration.summary(), expected);
    assert_eq!(exploration.graph().depth_of(0), 0);
    assert_eq!(exploration.graph().depth_of(124), 12);
}

#[test]
fn counterexample_is_shortest_although_another_rule_holds_longer() {
    let mut toy = line(10);
    toy.violations = vec![(3, "below three"), (9, "below nine")];
    toy.edges.extend([(0, 1, 4), (4, 1, 9)]);
    let exploration = explore(&toy, Options::default());
    let violations = exploration.violations(&toy).unwrap();
    assert_eq!(violations["below three"].actions, [0, 0, 0]);
    assert_eq!(violations["below three"].states, [0, 1, 2, 3]);
    assert_eq!(violations["below nine"].actions, [1, 1]);
    assert_eq!(exploration.violated().collect::<Vec<_>>(), ["below nine", "below three"]);
}

#[test]
fn violating_state_is_terminal() {
    let mut toy = line(10);
    toy.violations = vec![(3, "below three")];
    let exploration = explore(&toy, Options::default());
    assert_eq!((exploration.summary().states, exploration.summary().violating), (4, 1));
    assert!(exploration.graph().violating(3));
    assert!(exploration.summary().exhausted());
}

#[test]
fn first_violation_stops_the_exploration_and_is_not_exhaustion() {
    let mut toy = line(10);
    toy.violations = vec![(3, "below three")];
    toy.edges.insert(0, (0, 1, 100));
    toy.edges.push((100, 1, 101));
    let options = Options { stop_at_first_violation: true, ..Options::default() };
    let exploration = explore(&toy, options);
    assert_eq!(exploration.summary().ending, Ending::FirstViolation);
    assert!(!exploration.summary().exhausted());
    assert_eq!(exploration.violations(&toy).unwrap()["below three"].states, [0, 1, 2, 3]);
}

#[test]
fn truncation_is_not_success() {
    let mut toy = line(10);
    toy.goals = vec![10];
    toy.settle = (0..10).map(|at| (at, 0)).collect();
    let all = explore(&toy, Options { states_max: 11, ..Options::default() });
    assert!(all.summary().exhausted());
    assert_eq!(all.settle(&toy), Ok(Settled { states: 11, steps_max: 10 }));
    let cut = explore(&toy, Options { states_max: 10, ..Options::default() });
    assert_eq!((cut.summary().states, cut.summary().ending), (10, Ending::StatesMax));
    assert!(!cut.summary().exhausted());
    let refused = LivenessError::NotExhausted(Ending::StatesMax);
    assert_eq!(cut.settle(&toy), Err(refused.clone()));
    assert_eq!(cut.always_convergeable(&toy), Err(refused.clone()));
    assert_eq!(cut.converges_fairly(&toy), Err(refused));
}

#[test]
fn boundary_is_counted_and_is_not_exhaustion() {
    let toy = Written { boundary: Some(4), ..line(10) };
    let exploration = explore(&toy, Options::default());
    assert_eq!((exploration.summary().states, exploration.summary().outside), (5, 1));
    assert_eq!(exploration.summary().ending, Ending::Boundary);
}

#[test]
fn unreached_conditions_are_named() {
    let toy = Counters::<2> { last: 2 };
    let exploration = explore(&toy, Options::default());
    assert_eq!(exploration.unreached().collect::<Vec<_>>(), ["a counter overflows"]);
    let (name, first) = exploration.sometimes()[0];
    assert_eq!(name, "the last counter is ahead");
    assert_eq!(exploration.path_to(&toy, first.unwrap()).unwrap().states, [[0, 0], [0, 1]]);
}

#[test]
fn renaming_merges_a_growing_counter_and_paths_print_real_epochs() {
    let toy = Fetching { names_epochs: false };
    let exploration = explore(&toy, Options::default());
    // The ranks (group, m0, m1) are 000, 100, 110, 101, 201, and the broken 210 after 110.
    assert_eq!(exploration.summary().states, 6);
    assert!(exploration.summary().exhausted());
    let violations = exploration.violations(&toy).unwrap();
    let path = &violations["nobody is ahead at a bump"];
    assert_eq!(path.actions, [Step::Bump, Step::Fetch(0), Step::Bump]);
    assert_eq!(*path.last_state(), Epochs { group: 9, members: [8, 7], broken: true });
    let state = Epochs { group: 1000, members: [5, 1000], broken: false };
    let renamed = exploration.index_of(&toy, &state).unwrap();
    let path = exploration.path_to(&toy, renamed).unwrap();
    assert_eq!(*path.last_state(), Epochs { group: 8, members: [7, 8], broken: false });
}

#[test]
fn sound_renaming_passes_and_counts_its_states() {
    assert_eq!(check_renaming(&Fetching { names_epochs: false }, 1000), Ok(1000));
    assert_eq!(check_renaming(&Counters::<2> { last: 3 }, 1000), Ok(16));
}

#[test]
fn action_that_names_an_epoch_is_refused() {
    let toy = Fetching { names_epochs: true };
    let unsound = check_renaming(&toy, 1000).unwrap_err();
    assert_eq!(unsound.difference, "the representative offers other actions");
    let exploration = explore(&toy, Options::default());
    let broken = exploration.violations(&toy).unwrap_err();
    let action = "FetchEpoch(1)".to_owned();
    assert_eq!(broken, RenamingBroken { step: 1, action, reason: RenamingFault::NotOffered });
}

#[test]
fn renaming_that_does_not_commute_is_refused() {
    let toy = Skipping { one_is_goal: false };
    let unsound = check_renaming(&toy, 1000).unwrap_err();
    assert_eq!((unsound.state, unsound.action), (4, Some(())));
    assert_eq!(unsound.difference, "the representative steps elsewhere");
    let broken = explore(&toy, Options::default()).path_to(&toy, 1).unwrap_err();
    assert_eq!((broken.step, broken.reason), (0, RenamingFault::OtherState));
    let unsound = check_renaming(&Skipping { one_is_goal: true }, 1000).unwrap_err();
    assert_eq!((unsound.action, unsound.difference), (None, "the goal differs"));
}

#[test]
fn rule_broken_twice_is_told_by_the_shorter_path() {
    let mut toy = line(3);
    toy.edges.insert(1, (0, 1, 9));
    toy.violations = vec![(3, "stay low"), (9, "stay low")];
    let exploration = explore(&toy, Options::default());
    assert_eq!(exploration.summary().violating, 2);
    assert_eq!(exploration.violations(&toy).unwrap()["stay low"].actions, [1]);
}

#[test]
fn two_runs_are_equal() {
    let toy = Counters::<3> { last: 6 };
    let (one, two) = (explore(&toy, Options::default()), explore(&toy, Options::default()));
    assert_eq!(one.summary(), two.summary());
    assert_eq!(one.keys(), two.keys());
    assert_eq!(one.shortest_witnesses(&toy), two.shortest_witnesses(&toy));
    for state in 0..343 {
        assert_eq!(one.path_to(&toy, state), two.path_to(&toy, state));
    }
}

#[test]
fn stateright_agrees_on_counts_and_verdicts() {
    assert!(cross_check(Counters::<3> { last: 9 }, Options::default()).agrees());
    assert!(cross_check(Fetching { names_epochs: false }, Options::default()).agrees());
    let mut toy = line(10);
    toy.violations = vec![(3, "below three")];
    let check = cross_check(toy, Options::default());
    assert!(check.agrees() && check.ours.violated && check.stateright.violated);
    assert_eq!((check.stateright.states, check.stateright.transitions), (4, 3));
}

#[test]
fn disagreement_with_stateright_is_seen() {
    let cut = Options { states_max: 100, ..Options::default() };
    assert!(!cross_check(Counters::<3> { last: 9 }, cut).agrees());
    let mut check = cross_check(Counters::<3> { last: 2 }, Options::default());
    check.stateright.states += 1;
    assert!(!check.agrees());
}

#[test]
fn state_costs_at_most_100_bytes_and_a_transition_12() {
    let exploration = explore(&Counters::<4> { last: 22 }, Options::default());
    let (summary, bytes) = (exploration.summary(), exploration.graph().bytes());
    assert_eq!(summary.states, 279_841);
    assert!(bytes.states <= 100 * summary.states, "{bytes:?} for {summary:?}");
    assert!(bytes.transitions <= 12 * summary.transitions, "{bytes:?} for {summary:?}");
}

#[test]
fn fingerprint_is_the_same_on_every_run_and_machine() {
    let value = (1_u8, 2_u16, 3_u32, -4_i64, [5_u8; 3], Some(6_usize), vec![7_u64], "eight");
    assert_eq!(fingerprint(&value), 103_636_200_639_828_634_738_485_051_394_916_771_623);
}

#[test]
fn fingerprints_differ_where_the_values_do() {
    let set = |of: &[u8]| of.iter().copied().collect::<BTreeSet<u8>>();
    assert_ne!(fingerprint(&(set(&[1]), set(&[]))), fingerprint(&(set(&[]), set(&[1]))));
    assert_ne!(fingerprint(&[0_u8; 3]), fingerprint(&[0_u8; 4]));
    assert_ne!(fingerprint(&0_u8), fingerprint(&0_u16));
    let mut seen = BTreeSet::new();
    for low in 0..=255_u8 {
        for high in 0..=255_u8 {
            seen.insert(fingerprint(&[low, 0, 0, 0, 0, 0, 0, 0, 0, high]));
        }
    }
    assert_eq!(seen.len(), 65_536);
}

#[test]
fn each_half_of_a_fingerprint_changes_in_half_of_its_bits() {
    let mut flipped = [0_u32; 2];
    let mut samples = 0;
    for value in 0..256_u64 {
        for bit in 0..64 {
            let change = fingerprint(&value) ^ fingerprint(&(value ^ 1 << bit));
            flipped[0] += (change << 64).count_ones();
            flipped[1] += (change >> 64).count_ones();
            samples += 1;
        }
    }
    for sum in flipped {
        let mean = f64::from(sum) / f64::from(samples);
        assert!((31.8..32.2).contains(&mean), "{mean} of 64 bits flip");
    }
}

/// Four neighbours have the same home slot and the same tag: only the full comparison tells.
fn crowded(number: u32) -> u128 {
    u128::from(number / 4 * 8) | u128::from(number % 4) << 64
}

#[test]
fn every_fingerprint_is_found_again_after_growth() {
    let mut visited = Visited::new();
    for number in 0..100_000_u32 {
        let fingerprint = crowded(number);
        match visited.probe(fingerprint) {
            Probe::Vacant(slot) => assert_eq!(visited.insert(fingerprint, slot), number),
            Probe::Seen(index) => panic!("{number} was taken for {index}"),
        }
    }
    for number in 0..100_000_u32 {
        let fingerprint = crowded(number);
        assert!(matches!(visited.probe(fingerprint), Probe::Seen(index) if index == number));
    }
}
