//! The test broker of a trace: its topics, records and group, and what the trace does inside of it.

use super::GROUP;
use crate::replay::core::Sabotage;
use crate::replay::path::Plan;
use crate::replay::view::Got;
use evenkeel_broker::{
    After, Answer, AnswerWords, Before, Cluster, Interceptor, Request, RequestWords,
};
use evenkeel_model::bounds::Slice;
use evenkeel_spec::words::{ErrorCode, NodeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Member ids of one consumer that have a number: as many as the model has.
const IDS_MAX: u64 = 16;

/// Its key.
const FIND_COORDINATOR: i16 = 10;

/// Nodes: two coordinators and one that leads every partition, so that fetches stay apart.
const NODES: u16 = 3;

/// What the trace does inside of the broker.
#[derive(Debug, Default)]
pub(super) struct Hooks(Mutex<Hooked>);

#[derive(Debug, Default)]
pub(super) struct Hooked {
    /// How the next heartbeat is answered instead of being processed.
    pub(super) refusal: Option<ErrorCode>,
    /// How the next lookup is answered instead of being processed.
    pub(super) no_coordinator: Option<ErrorCode>,
    /// What the group's requests were answered.
    pub(super) answered: Vec<Got>,
    /// How the last lookup of positions was refused, by client id; `None`: it was not.
    pub(super) lookups: BTreeMap<String, Option<ErrorCode>>,
}

impl Hooks {
    /// Lets the cluster ask from now on.
    pub(super) fn hook(self: &Arc<Self>, cluster: &Cluster) {
        cluster.intercept(Tap(Arc::clone(self)));
    }

    /// Looks at them.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Hooked) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The broker's way to the hooks.
struct Tap(Arc<Hooks>);

impl Interceptor for Tap {
    fn on_request(&self, request: &Request) -> Before {
        let refusal = match request.words {
            Some(RequestWords::Heartbeat(..)) => self.0.with(|hooked| hooked.refusal.take()),
            _ if request.api_key == FIND_COORDINATOR => {
                self.0.with(|hooked| hooked.no_coordinator.take())
            }
            _ => None,
        };
        refusal.map_or(Before::Process, Before::Forge)
    }

    fn on_answer(&self, request: &Request, answer: &Answer) -> After {
        if let Some(AnswerWords::OffsetFetch(fetched)) = &answer.words {
            let refused = fetched.as_ref().err().copied();
            self.0.with(|hooked| hooked.lookups.insert(request.client_id.clone(), refused));
            return After::Answer;
        }
        let got = match &answer.words {
            Some(AnswerWords::Heartbeat(answer)) => Some(Got::heartbeat(answer)),
            Some(AnswerWords::OffsetCommit(answer)) => Some(Got::Commit(answer.clone())),
            _ => None,
        };
        self.0.with(|hooked| hooked.answered.extend(got));
        After::Answer
    }
}

/// A cluster with the slice's topics, records and group.
pub(super) fn cluster(slice: &Slice, plan: &Plan, sabotage: Sabotage) -> Result<Cluster, String> {
    let profile = plan.profile;
    let interval_ms = slice.coordinator.assignment_interval_ms;
    let cluster = Cluster::builder()
        .nodes(u32::from(NODES))
        .start_time_ms(0)
        .manual_timers()
        .set("group.consumer.session.timeout.ms", profile.session_timeout_ms.to_string())
        .set("group.consumer.heartbeat.interval.ms", profile.heartbeat_interval_ms.to_string())
        .set("group.consumer.assignment.interval.ms", interval_ms.to_string())
        .build()
        .map_err(|error| error.to_string())?;
    let failed = |error: ErrorCode| error.name().to_owned();
    cluster.seed_mutant(sabotage.coordinator);
    cluster.withhold_records(true);
    for node in 1..=NODES {
        cluster.set_endpoint(NodeId(node.into()), "b", node);
    }
    for (id, topic) in &slice.topics {
        let number = id.0[12..].try_into().map_or(0, u32::from_be_bytes);
        cluster.number_topics_from(number);
        let name = topic.name.as_str();
        cluster.create_topic(name, topic.partitions).map_err(failed)?;
        for partition in 0..topic.partitions {
            cluster.move_leader(name, partition, NodeId(NODES.into())).map_err(failed)?;
        }
        for _ in 0..slice.records {
            cluster.append(name, topic.partitions - 1, None, Some(b"r")).map_err(failed)?;
        }
    }
    cluster.move_coordinator(GROUP, NodeId(1)).map_err(failed)?;
    let names = (0..slice.members as u64)
        .flat_map(|i| (0..IDS_MAX).map(move |n| Uuid::from_u64_pair(i, n).to_string()));
    let names: Vec<String> = names.collect();
    cluster.number_members(GROUP, names.iter().map(String::as_str));
    Ok(cluster)
}
