//! The traces of a slice: for each abstract transition the shortest path that some clock can produce.

use super::retrace::{Orders, orders};
use super::schedule::{Infeasible, resolved_early, schedule};
use super::view::{View, expected};
use evenkeel_model::bounds::Slice;
use evenkeel_model::explore::{Exploration, PathOf, Refused, System, WitnessError};
use evenkeel_model::profiles::{PROFILES, Profile};
use evenkeel_model::system::{Action, Key};
use evenkeel_spec::words::TopicIdPartition;
use std::collections::BTreeMap;

/// A path with its dates and with what must be seen.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The timing profile in which it happens.
    pub profile: &'static Profile,
    /// The actions in order.
    pub actions: Vec<Action>,
    /// The clock after each action, milliseconds.
    pub dates: Vec<u64>,
    /// What must be seen after each action.
    pub expected: Vec<View>,
    /// The abstract transition of each action.
    pub keys: Vec<Key>,
    /// The partition of the record that each action lets come, or that it seeks.
    pub(crate) partitions: Vec<Option<TopicIdPartition>>,
    /// How many topics each consumer's metadata names from the start.
    pub(crate) resolved_early: Vec<usize>,
}

/// The traces of one slice.
#[derive(Clone, Debug)]
pub struct Plans {
    /// By abstract transition.
    pub found: BTreeMap<Key, Plan>,
    /// Those of which no feasible path was found.
    pub infeasible: BTreeMap<Key, Why>,
}

/// Why an abstract transition has no trace.
#[derive(Clone, Debug)]
pub struct Why {
    /// How thoroughly it was looked for.
    pub refused: Refused,
    /// What was in the way of the shortest path, under the profile in which it came farthest.
    pub shortest: Option<Infeasible>,
    /// The shortest path.
    pub actions: Vec<Action>,
}

impl Plan {
    /// A path's plan under the first profile that allows it.
    #[must_use]
    pub fn of(slice: &Slice, path: &PathOf<Slice>) -> Option<Self> {
        let (profile, dates, orders) = date(slice, path).ok()?;
        Some(Self {
            profile,
            dates,
            expected: expected(slice, &path.actions, &path.states, &orders),
            partitions: orders.iter().map(|orders| orders.partition).collect(),
            resolved_early: (0..slice.members)
                .map(|i| resolved_early(&path.actions, &path.states, i))
                .collect(),
            keys: keys(slice, path),
            actions: path.actions.clone(),
        })
    }
}

/// The traces of a slice. Of each abstract transition up to `candidates_max` paths are judged.
///
/// # Errors
/// The exploration kept no keys, or the model's renaming is wrong.
pub fn plans(
    slice: &Slice,
    exploration: &Exploration<Slice>,
    candidates_max: usize,
) -> Result<Plans, WitnessError> {
    let feasible = |path: &PathOf<Slice>| date(slice, path).is_ok();
    let witnesses = exploration.witnesses(slice, candidates_max, feasible)?;
    let plan = |(key, path): (Key, PathOf<Slice>)| {
        let plan = Plan::of(slice, &path).expect("a witness is feasible");
        (key, plan)
    };
    let found: BTreeMap<_, _> = witnesses.found.into_iter().map(plan).collect();
    let mut shortest = if witnesses.refused.is_empty() {
        BTreeMap::new()
    } else {
        exploration.shortest_witnesses(slice)?
    };
    let mut infeasible = BTreeMap::new();
    for (key, refused) in witnesses.refused {
        let path = shortest.remove(&key).expect("each key has a shortest path");
        let why = date(slice, &path).err();
        infeasible.insert(key, Why { refused, shortest: why, actions: path.actions });
    }
    Ok(Plans { found, infeasible })
}

fn keys(slice: &Slice, path: &PathOf<Slice>) -> Vec<Key> {
    let steps = path.actions.iter().enumerate();
    let key = |(step, action)| slice.key(&path.states[step], action, &path.states[step + 1]);
    steps.map(|step| key(step).expect("every transition has a key")).collect()
}

type Dated = (&'static Profile, Vec<u64>, Vec<Orders>);

/// When everything happens, under the first profile that allows it; else what is in the way under
/// the profile in which the path comes farthest.
fn date(slice: &Slice, path: &PathOf<Slice>) -> Result<Dated, Infeasible> {
    let steps = path.actions.iter().enumerate();
    let orders: Vec<Orders> = steps
        .map(|(step, action)| orders(slice, &path.states[step], *action, &path.states[step + 1]))
        .collect();
    let mut farthest = None;
    for profile in PROFILES {
        match schedule(slice, profile, &path.actions, &path.states, &orders) {
            Ok(dates) => return Ok((profile, dates, orders)),
            Err((step, why)) => {
                if farthest.is_none_or(|(other, _)| step > other) {
                    farthest = Some((step, why));
                }
            }
        }
    }
    Err(farthest.expect("there are profiles").1)
}
