//! Small systems whose answers are known by hand.

use stateright::Model;

use super::super::{Condition, System};

/// A graph written down: transitions `(from, action, to)`, in this order.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) initial: Vec<u32>,
    pub(super) edges: Vec<(u32, u8, u32)>,
    pub(super) goals: Vec<u32>,
    pub(super) violations: Vec<(u32, &'static str)>,
    pub(super) settle: Vec<(u32, u8)>,
    pub(super) fair: Vec<u8>,
    pub(super) boundary: Option<u32>,
}

impl Model for Written {
    type State = u32;
    type Action = u8;

    fn init_states(&self) -> Vec<u32> {
        self.initial.clone()
    }

    fn actions(&self, state: &u32, actions: &mut Vec<u8>) {
        actions.extend(self.edges.iter().filter(|(from, ..)| from == state).map(|(_, by, _)| by));
    }

    fn next_state(&self, state: &u32, action: u8) -> Option<u32> {
        let mut edges = self.edges.iter();
        edges.find(|(from, by, _)| (from, *by) == (state, action)).map(|(_, _, to)| *to)
    }

    fn within_boundary(&self, state: &u32) -> bool {
        self.boundary.is_none_or(|last| *state <= last)
    }
}

impl System for Written {
    type Key = u8;

    fn goal(&self, state: &u32) -> bool {
        self.goals.contains(state)
    }

    fn settle_action(&self, state: &u32) -> Option<u8> {
        self.settle.iter().find(|(at, _)| at == state).map(|(_, by)| *by)
    }

    fn key(&self, _: &u32, action: &u8, _: &u32) -> Option<u8> {
        Some(*action)
    }

    fn violation(&self, state: &u32) -> Option<String> {
        self.violations.iter().find(|(at, _)| at == state).map(|(_, rule)| (*rule).to_owned())
    }

    fn progress(&self, action: &u8) -> bool {
        self.fair.contains(action)
    }
}

/// Independent counters from 0 to `last`, each action raises one of them: `(last + 1)^N` states and
/// `N * last * (last + 1)^(N - 1)` transitions.
#[derive(Clone, Debug)]
pub(super) struct Counters<const N: usize> {
    pub(super) last: u8,
}

impl<const N: usize> Model for Counters<N> {
    type State = [u8; N];
    type Action = usize;

    fn init_states(&self) -> Vec<[u8; N]> {
        vec![[0; N]]
    }

    fn actions(&self, state: &[u8; N], actions: &mut Vec<usize>) {
        actions.extend((0..N).filter(|at| state[*at] < self.last));
    }

    fn next_state(&self, state: &[u8; N], at: usize) -> Option<[u8; N]> {
        let mut after = *state;
        after[at] += 1;
        Some(after)
    }
}

impl<const N: usize> System for Counters<N> {
    type Key = (usize, u8);

    fn goal(&self, state: &[u8; N]) -> bool {
        state.iter().all(|count| *count == self.last)
    }

    fn settle_action(&self, state: &[u8; N]) -> Option<usize> {
        state.iter().position(|count| *count < self.last)
    }

    fn key(&self, before: &[u8; N], at: &usize, _: &[u8; N]) -> Option<(usize, u8)> {
        Some((*at, before[*at]))
    }

    fn violation(&self, _: &[u8; N]) -> Option<String> {
        None
    }

    fn progress(&self, _: &usize) -> bool {
        true
    }

    fn sometimes(&self) -> Vec<(&'static str, Condition<Self>)> {
        vec![
            ("the last counter is ahead", |_, state| state[N - 1] > state[0]),
            ("a counter overflows", |toy, state| state[0] > toy.last),
        ]
    }
}

/// Two members fetch the group's epoch; a bump raises it without bound. States are equal up to the
/// order of the three epochs. The bump after member 0 was ahead of member 1 breaks a rule.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Epochs {
    pub(super) group: u32,
    pub(super) members: [u32; 2],
    pub(super) broken: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Step {
    Bump,
    Fetch(usize),
    /// Names an epoch, which an action must not: offered by a wrong system only.
    FetchEpoch(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fetching {
    pub(super) names_epochs: bool,
}

impl Model for Fetching {
    type State = Epochs;
    type Action = Step;

    fn init_states(&self) -> Vec<Epochs> {
        vec![Epochs { group: 7, members: [7, 7], broken: false }]
    }

    fn actions(&self, state: &Epochs, actions: &mut Vec<Step>) {
        actions.push(Step::Bump);
        if self.names_epochs && state.members[0] < state.group {
            actions.push(Step::FetchEpoch(state.group));
        } else if state.members[0] < state.group {
            actions.push(Step::Fetch(0));
        }
        if state.members[1] < state.group {
            actions.push(Step::Fetch(1));
        }
    }

    fn next_state(&self, state: &Epochs, action: Step) -> Option<Epochs> {
        let mut after = *state;
        match action {
            Step::Bump => {
                after.broken = state.members[0] > state.members[1];
                after.group += 1;
            }
            Step::Fetch(member) => after.members[member] = state.group,
            Step::FetchEpoch(epoch) => after.members[0] = epoch,
        }
        Some(after)
    }
}

impl System for Fetching {
    type Key = String;

    fn canonical(&self, state: &Epochs) -> Epochs {
        let mut sorted = vec![state.group, state.members[0], state.members[1]];
        sorted.sort_unstable();
        sorted.dedup();
        let ranks = (0_u32..).zip(&sorted);
        let rank = |epoch: u32| {
            let mut ranks = ranks.clone();
            ranks.find(|(_, of)| **of == epoch).map_or(0, |(rank, _)| rank)
        };
        let members = state.members.map(rank);
        Epochs { group: rank(state.group), members, broken: state.broken }
    }

    fn goal(&self, state: &Epochs) -> bool {
        state.members == [state.group; 2]
    }

    fn settle_action(&self, state: &Epochs) -> Option<Step> {
        (0..2).find(|member| state.members[*member] < state.group).map(Step::Fetch)
    }

    fn key(&self, before: &Epochs, action: &Step, after: &Epochs) -> Option<String> {
        Some(format!("{action:?} group {}", if after.group > before.group { "up" } else { "same" }))
    }

    fn violation(&self, state: &Epochs) -> Option<String> {
        state.broken.then(|| "nobody is ahead at a bump".to_owned())
    }

    fn progress(&self, action: &Step) -> bool {
        *action != Step::Bump
    }
}

/// A counter that is renamed to its remainder by three, which is wrong: 4 skips 5, but 1 does not
/// skip 2. Whether 1 is the goal is another difference between 4 and 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Skipping {
    pub(super) one_is_goal: bool,
}

impl Model for Skipping {
    type State = u32;
    type Action = ();

    fn init_states(&self) -> Vec<u32> {
        vec![4]
    }

    fn actions(&self, _: &u32, actions: &mut Vec<()>) {
        actions.push(());
    }

    fn next_state(&self, state: &u32, (): ()) -> Option<u32> {
        Some(if *state == 4 { 6 } else { state + 1 })
    }
}

impl System for Skipping {
    type Key = ();

    fn canonical(&self, state: &u32) -> u32 {
        state % 3
    }

    fn goal(&self, state: &u32) -> bool {
        self.one_is_goal && *state == 1
    }

    fn settle_action(&self, _: &u32) -> Option<()> {
        Some(())
    }

    fn key(&self, _: &u32, (): &(), _: &u32) -> Option<()> {
        Some(())
    }

    fn violation(&self, _: &u32) -> Option<String> {
        None
    }

    fn progress(&self, (): &()) -> bool {
        true
    }
}

/// Random numbers of a fixed seed (xorshift64*).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let rolled = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        u32::try_from(rolled % u64::from(bound)).expect("it is below a u32")
    }
}

/// A written graph of up to six states and four actions.
pub(super) fn random_graph(dice: &mut Dice) -> Written {
    let states = 2 + dice.below(5);
    let mut toy = Written { initial: vec![0], ..Written::default() };
    for from in 0..states {
        for by in 0..4 {
            if dice.below(5) < 2 {
                toy.edges.push((from, by, dice.below(states)));
            }
        }
        if dice.below(4) == 0 {
            toy.goals.push(from);
        }
        let offered: Vec<u8> =
            toy.edges.iter().filter(|edge| edge.0 == from).map(|edge| edge.1).collect();
        if let Some(by) = offered.first() {
            toy.settle.push((from, *by));
        }
    }
    toy.fair = (0..4).filter(|_| dice.below(2) == 0).collect();
    toy
}
