//! What the scripted brokers answer.

use super::{Log, NODES, RECORD_BYTES, Records, Served, World, address};
use crate::request::{
    Coordinator, Fetched, GroupDescription, ListedOffset, Metadata, OffsetAt, PartitionDescription,
    PartitionMetadata, Request, Response, TopicDescription, TopicMetadata, Unsupported,
};
use evenkeel_spec::words::{
    Epoch, ErrorCode, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, NodeId, Offset, Partitions,
    Pattern, TopicId, TopicIdPartition, TopicName,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

type TopicDescribed = Result<TopicDescription, ErrorCode>;

impl World {
    pub(super) fn by_id(&self, id: TopicId) -> (&TopicName, &Log) {
        self.topics.iter().find(|(_, log)| log.id == id).expect("it exists")
    }

    pub(super) fn respond(&mut self, node: NodeId, request: Request) -> Response<Records> {
        match request {
            Request::ApiVersions if self.old.contains(&node) => {
                Response::ApiVersions(Err(Unsupported { what: "lacks an API".into() }))
            }
            Request::ApiVersions => Response::ApiVersions(Ok(())),
            Request::Metadata { topics } => Response::Metadata(self.metadata(topics)),
            Request::TopicsById { ids } => {
                let named = self.topics.iter().filter(|(_, log)| ids.contains(&log.id));
                let named = named.map(|(name, _)| name.clone()).collect();
                Response::Metadata(self.metadata(Some(named)))
            }
            Request::Topics { topic } => Response::Topics(Ok(self.described(topic))),
            Request::FindCoordinator => Response::FindCoordinator(self.find_coordinator()),
            Request::DescribeGroup => Response::Group(self.described_group(node)),
            Request::Heartbeat(heartbeat) => Response::Heartbeat(self.heartbeat(node, &heartbeat)),
            Request::OffsetCommit { commit, .. } => {
                let results = commit.offsets.keys().map(|id| (*id, Ok(()))).collect();
                self.committed.extend(commit.offsets);
                Response::OffsetCommit(Ok(results))
            }
            Request::OffsetFetch { fetch, .. } => {
                if let Some(error) = self.offset_fetch_errors.pop_front() {
                    return Response::OffsetFetch(Err(error));
                }
                let partitions = fetch.partitions.expect("the shell names them").into_iter();
                let found = partitions.map(|id| (id, Ok(self.committed.get(&id).cloned())));
                Response::OffsetFetch(Ok(found.collect()))
            }
            Request::ListOffsets { partitions, .. } => {
                let listed = partitions.into_iter().map(|(id, asked)| {
                    let log = self.by_id(id.topic).1;
                    let index = id.partition as usize;
                    let found = match asked.at {
                        OffsetAt::Earliest => Some(log.starts[index]),
                        OffsetAt::Latest => Some(log.ends[index]),
                        OffsetAt::Timestamp(_) => None,
                    };
                    if let Some(refusal) = log.refusal(index, node, asked.leader_epoch) {
                        return (id, Err(refusal));
                    }
                    let listed = |at| ListedOffset {
                        offset: Offset(at),
                        leader_epoch: log.leader_epoch(index),
                        timestamp_ms: None,
                    };
                    (id, Ok(found.map(listed)))
                });
                Response::ListOffsets(listed.collect())
            }
            Request::OffsetForLeaderEpoch { partitions, .. } => {
                let forged = self.epoch_errors.pop_front();
                let ends = partitions.into_iter().map(|(id, asked)| {
                    let (log, index) = (self.by_id(id.topic).1, id.partition as usize);
                    let refusal = log.refusal(index, node, Some(asked.current));
                    let end = log.epoch_end(index, asked.leader_epoch);
                    (id, forged.or(refusal).map_or(Ok(end), Err))
                });
                Response::OffsetForLeaderEpoch(ends.collect())
            }
            Request::Fetch(fetch) => Response::Fetch(Ok(self.fetch(node, &fetch))),
        }
    }

    pub(super) fn metadata(&self, topics: Option<BTreeSet<TopicName>>) -> Metadata {
        let topics = topics.into_iter().flatten().map(|name| {
            let topic = self.topics.get(&name).map(|log| {
                let leaders = log.leaders.iter().enumerate().map(|(index, leader)| {
                    let leader_epoch = log.leader_epoch(index);
                    let leader = PartitionMetadata { leader: Some(*leader), leader_epoch };
                    (u32::try_from(index).expect("few"), leader)
                });
                TopicMetadata { id: log.id, partitions: leaders.collect() }
            });
            let error = self.topic_errors.get(&name).copied();
            let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition);
            (name, error.map_or(topic, Err))
        });
        let brokers = NODES.into_iter().filter(|node| !self.down.contains(node));
        let brokers = brokers.map(|node| (node, address(node))).collect();
        Metadata { brokers, topics: topics.collect(), error: None }
    }

    pub(super) fn find_coordinator(&mut self) -> Result<Coordinator, ErrorCode> {
        let found = Coordinator { node: self.coordinator, address: address(self.coordinator) };
        self.lookup_errors.pop_front().map_or(Ok(found), Err)
    }

    /// A group without members.
    pub(super) fn described_group(&mut self, node: NodeId) -> Result<GroupDescription, ErrorCode> {
        if node != self.coordinator {
            return Err(ErrorCode::NotCoordinator);
        }
        let group = GroupDescription {
            state: "Empty".into(),
            epoch: Epoch(7),
            assignment_epoch: Epoch(7),
            assignor: "uniform".into(),
            members: Vec::new(),
        };
        self.describe_errors.pop_front().map_or(Ok(group), Err)
    }

    pub(super) fn described(
        &self,
        topic: Option<TopicName>,
    ) -> BTreeMap<TopicName, TopicDescribed> {
        let described = |log: &Log| TopicDescription {
            id: log.id,
            is_internal: false,
            partitions: (0..)
                .zip(&log.leaders)
                .map(|(partition, leader)| PartitionDescription {
                    partition,
                    leader: Some(*leader),
                    leader_epoch: None,
                    replicas: vec![*leader],
                    in_sync: vec![*leader],
                    offline: vec![],
                })
                .collect(),
        };
        match topic {
            Some(name) => {
                let log = self.topics.get(&name).ok_or(ErrorCode::UnknownTopicOrPartition);
                BTreeMap::from([(name, log.map(described))])
            }
            None => self.topics.iter().map(|(n, log)| (n.clone(), Ok(described(log)))).collect(),
        }
    }

    /// A coordinator with one member.
    pub(super) fn heartbeat(
        &mut self,
        node: NodeId,
        heartbeat: &Heartbeat,
    ) -> Result<HeartbeatAnswer, ErrorCode> {
        if let Some(error) = self.heartbeat_errors.pop_front() {
            return Err(error);
        }
        if node != self.coordinator {
            return Err(ErrorCode::NotCoordinator);
        }
        let interval = self.heartbeat_interval_ms;
        let answer = |epoch, assignment| {
            Ok(HeartbeatAnswer { epoch, heartbeat_interval_ms: interval, assignment })
        };
        if let Some(subscription) = &heartbeat.subscription {
            self.subscribed = BTreeSet::clone(subscription);
        }
        match &heartbeat.pattern {
            Some(Pattern::Matching(pattern)) => self.pattern = Some(pattern.clone()),
            Some(Pattern::Ended) => self.pattern = None,
            None => {}
        }
        if heartbeat.epoch == HeartbeatEpoch::Leave {
            self.pattern = None;
            self.target = None;
            return answer(None, None);
        }
        let target = self.subscribed_partitions();
        let changed = self.target.as_ref() != Some(&target);
        if changed || heartbeat.epoch == HeartbeatEpoch::Join {
            self.epoch += 1;
            self.target = Some(target.clone());
            return answer(Some(Epoch(self.epoch)), Some(target));
        }
        answer(Some(Epoch(self.epoch)), heartbeat.is_full().then_some(target))
    }

    pub(super) fn subscribed_partitions(&self) -> Partitions {
        // Patterns are beginnings here.
        let begins = |name: &TopicName| {
            self.pattern.as_ref().is_some_and(|begin| name.as_str().starts_with(&**begin))
        };
        let is_subscribed = |name: &TopicName| self.subscribed.contains(name) || begins(name);
        let topics = self.topics.iter().filter(|(name, _)| is_subscribed(name));
        let all = topics.flat_map(|(_, log)| {
            let count = u32::try_from(log.ends.len()).expect("few");
            (0..count).map(|index| TopicIdPartition::new(log.id, index))
        });
        all.filter(|id| !self.others.contains(id)).chain(self.unnamed.iter().copied()).collect()
    }

    pub(super) fn fetch(
        &mut self,
        node: NodeId,
        fetch: &crate::request::Fetch,
    ) -> BTreeMap<TopicIdPartition, Result<Fetched<Records>, ErrorCode>> {
        let mut left = u64::from(fetch.bytes_max) / RECORD_BYTES;
        let mut answer = BTreeMap::new();
        for asked in &fetch.partitions {
            let id = asked.partition;
            let error = self.fetch_errors.get_mut(&id).and_then(VecDeque::pop_front);
            let (start, end, refusal, epochs) = {
                let (log, index) = (self.by_id(id.topic).1, id.partition as usize);
                let refusal = log.refusal(index, node, asked.leader_epoch);
                (log.starts[index], log.ends[index], refusal, log.epochs[index].clone())
            };
            let at = asked.offset.0;
            let result = if let Some(error) = error {
                Err(error)
            } else if let Some(refusal) = refusal {
                Err(refusal)
            } else if !(start..=end).contains(&at) {
                Err(ErrorCode::OffsetOutOfRange)
            } else {
                let count = (u64::from(asked.bytes_max) / RECORD_BYTES).min(left).min(end - at);
                left -= count;
                let damaged_at = self.damaged_at.filter(|bad| (at..at + count).contains(bad));
                let is_hollow = at < self.hollow_before;
                let (from, to) = (at, at + count);
                self.served.push(Served { id, from, to, start, epochs: epochs.clone() });
                let chunk =
                    Records { damaged_at, is_hollow, epochs, ..Records::new(at, at + count) };
                Ok(Fetched {
                    high_watermark: Some(Offset(end)),
                    last_stable: Some(Offset(end)),
                    log_start: Some(Offset(start)),
                    chunk: (count > 0).then_some(chunk),
                })
            };
            answer.insert(id, result);
        }
        answer
    }
}
