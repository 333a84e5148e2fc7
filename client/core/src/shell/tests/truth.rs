//! A diagnosis says the truth: held against what went over the wire and to the application, after
//! every input of every test of the shell.

use super::world::Records;
use crate::diagnosis::{Belonging, Reason};
use crate::request::Request;
use crate::{ConnectionId, RequestId, Shell, Time};
use evenkeel_spec::words::{NodeId, TopicIdPartition, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::Discriminant;

/// What is on the wire, and what the last diagnosis said.
#[derive(Debug, Default)]
pub(super) struct Truth {
    flights: BTreeMap<(ConnectionId, RequestId), Flight>,
    /// Since when each reason holds, as of the last diagnosis, and as of the last one at an earlier
    /// date: what stands for less than a millisecond interrupts nothing.
    began: Began,
    began_before: Began,
    now: u64,
}

type Began = BTreeMap<TopicPartition, (Discriminant<Reason>, u64)>;

#[derive(Debug)]
struct Flight {
    node: Option<NodeId>,
    request: Request,
}

impl Truth {
    pub(super) fn on_sent(
        &mut self,
        node: Option<NodeId>,
        id: (ConnectionId, RequestId),
        request: &Request,
    ) {
        self.flights.insert(id, Flight { node, request: request.clone() });
    }

    pub(super) fn on_answered(&mut self, id: (ConnectionId, RequestId)) {
        self.flights.remove(&id);
    }

    pub(super) fn on_gone(&mut self, connection: ConnectionId) {
        self.flights.retain(|(on, _), _| *on != connection);
    }

    /// After an input: what the driver was ordered is done.
    pub(super) fn check(
        &mut self,
        shell: &Shell<Records>,
        now: u64,
        assignment: &BTreeSet<TopicPartition>,
    ) {
        let diagnosis = shell.diagnose(Time(now));
        assert!(!diagnosis.to_string().is_empty());
        if std::mem::replace(&mut self.now, now) < now {
            self.began_before = std::mem::take(&mut self.began);
        }
        let is_mine = |belonging| !matches!(belonging, Belonging::Target | Belonging::Stranger);
        let mut mine = BTreeSet::new();
        let mut began = BTreeMap::new();
        for (partition, known) in &diagnosis.partitions {
            if is_mine(known.belonging) {
                mine.insert(partition.clone());
            }
            self.check_reason(shell, partition, &known.reason);
            let lasts = u64::try_from(known.lasts.as_millis()).expect("small");
            let since = (known.reason.kind(), now - lasts);
            if let Some(before) = self.began_before.get(partition).filter(|(of, _)| *of == since.0)
            {
                assert_eq!(*before, since, "{partition}: {:?} did not begin anew", known.reason);
            } else {
                assert_eq!(lasts, 0, "{partition}: {:?} began just now", known.reason);
            }
            began.insert(partition.clone(), since);
        }
        self.began = began;
        if diagnosis.lifecycle != crate::Lifecycle::Down {
            assert_eq!(mine, *assignment, "each of what is owned has its reason, and nothing else");
        }
    }

    fn check_reason(&self, shell: &Shell<Records>, partition: &TopicPartition, reason: &Reason) {
        let id = shell.owned_by_name(partition);
        match *reason {
            Reason::Fetching { broker } => {
                let id = id.expect("only what is owned is fetched");
                assert!(self.is_fetched(broker, id), "{partition}: no fetch is at {broker:?}");
            }
            Reason::AwaitingCommitted { .. } => {
                let is_asked = |request: &Request| matches!(request, Request::OffsetFetch { .. });
                assert!(self.has(is_asked), "{partition}: nobody is asked for its offset");
            }
            Reason::Resetting { .. } => {
                let id = id.expect("only what is owned is reset");
                let is_asked = |request: &Request| {
                    matches!(request, Request::ListOffsets { partitions, .. }
                        if partitions.contains_key(&id))
                };
                assert!(self.has(is_asked), "{partition}: nobody is asked where it starts");
            }
            Reason::Validating { .. } => {
                let id = id.expect("only what is owned is validated");
                let is_asked = |request: &Request| {
                    matches!(request, Request::OffsetForLeaderEpoch { partitions, .. }
                        if partitions.contains_key(&id))
                };
                assert!(self.has(is_asked), "{partition}: nobody is asked whether it is true");
            }
            Reason::Buffered | Reason::BufferHeld { .. } => {
                assert!(shell.buffered_bytes() > 0, "{partition}: {reason:?}, of nothing");
            }
            Reason::BufferFull { buffered } => assert_eq!(buffered, shell.buffered_bytes()),
            Reason::Backoff { left }
            | Reason::Reconnecting { left, .. }
            | Reason::Throttled { left, .. } => {
                assert!(!left.is_zero(), "{partition}: {reason:?} is over");
            }
            _ => {}
        }
    }

    fn has(&self, is: impl Fn(&Request) -> bool) -> bool {
        self.flights.values().any(|flight| is(&flight.request))
    }

    fn is_fetched(&self, broker: NodeId, id: TopicIdPartition) -> bool {
        self.flights.values().any(|flight| {
            let names_it = matches!(&flight.request, Request::Fetch(fetch)
                if fetch.partitions.iter().any(|asked| asked.partition == id));
            names_it && flight.node == Some(broker)
        })
    }
}
