//! The broker at the other end, in virtual time: it serves one request of a connection after another,
//! as Kafka's does, parks fetches, throttles them if it is told to, and coordinates the group.

use super::world::address;
use evenkeel_core::request::{
    Coordinator, Fetch, Fetched, ListedOffset, Metadata, OffsetAt, PartitionMetadata, Request,
    Response, TopicMetadata,
};
use evenkeel_core::{Chunk, ConnectionId, RequestId, Taken};
use evenkeel_spec::words::{
    Committed, Epoch, ErrorCode, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, MemberId, NodeId,
    Offset, Partitions, TopicId, TopicIdPartition,
};
use std::collections::{BTreeMap, VecDeque};

/// How the broker behaves.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// How long it takes to serve one request, milliseconds.
    pub(super) service_ms: u64,
    /// `group.consumer.heartbeat.interval.ms`.
    pub(super) heartbeat_interval_ms: u32,
    /// `group.consumer.session.timeout.ms`.
    pub(super) session_timeout_ms: u64,
    /// Partitions of the topic; all are granted to the member if `is_granted`.
    pub(super) partitions: u32,
    /// Whether the member is granted anything: who owns nothing fetches nothing.
    pub(super) is_granted: bool,
    /// Records that producers append to each partition, by second.
    pub(super) records_per_second: u64,
    /// For how long the broker does not read from a connection after it has answered a fetch with
    /// records, milliseconds: a quota (KIP-219).
    pub(super) throttle_ms: u32,
}

impl Default for Terms {
    /// Kafka's defaults, a millisecond a request, and a member that owns nothing.
    fn default() -> Self {
        Self {
            service_ms: 1,
            heartbeat_interval_ms: 5_000,
            session_timeout_ms: 45_000,
            partitions: 1,
            is_granted: false,
            records_per_second: 0,
            throttle_ms: 0,
        }
    }
}

/// The broker.
#[derive(Debug)]
pub(super) struct Broker {
    terms: Terms,
    lines: BTreeMap<ConnectionId, Line>,
    member: Option<Member>,
    epoch: u32,
    /// Sessions and rebalances that were not kept within their time.
    pub(super) evictions: u64,
    pub(super) committed: BTreeMap<TopicIdPartition, Committed>,
    /// The group's target; `None`: what the terms say.
    target: Option<Partitions>,
}

/// One connection.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<(RequestId, Request)>,
    serving: Option<(RequestId, Request)>,
    muted_until: u64,
}

#[derive(Clone, Debug)]
struct Member {
    id: MemberId,
    session_until: u64,
    /// What it was told last.
    told: Partitions,
}

/// Records of 1,000 bytes.
#[derive(Clone, Debug)]
pub(super) struct Records {
    next: u64,
    end: u64,
}

const RECORD_BYTES: u64 = 1_000;

impl Chunk for Records {
    type Part = ();
    type Fault = ();

    fn buffered_bytes(&self) -> usize {
        usize::try_from((self.end - self.next) * RECORD_BYTES).expect("it was allowed by a bound")
    }

    fn held_bytes(&self) -> usize {
        self.buffered_bytes()
    }

    fn end_offset(&self) -> Offset {
        Offset(self.end)
    }

    fn is_drained(&self) -> bool {
        self.next == self.end
    }

    fn take(&mut self, records_max: usize) -> Result<Taken<()>, ()> {
        let from = self.next;
        self.next = self.end.min(from + records_max as u64);
        let records = usize::try_from(self.next - from).expect("at most records_max");
        Ok(Taken { part: (), records, next_offset: Offset(self.next), leader_epoch: None })
    }
}

impl Broker {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            lines: BTreeMap::new(),
            member: None,
            epoch: 0,
            evictions: 0,
            committed: BTreeMap::new(),
            target: None,
        }
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(super) fn open(&mut self, id: ConnectionId) {
        self.lines.insert(id, Line::default());
    }

    pub(super) fn close(&mut self, id: ConnectionId) {
        self.lines.remove(&id);
    }

    pub(super) fn is_open(&self, id: ConnectionId) -> bool {
        self.lines.contains_key(&id)
    }

    pub(super) fn connections(&self) -> usize {
        self.lines.len()
    }

    /// The group's target changes: the member is told with its next heartbeat.
    pub(super) fn retarget(&mut self, target: Partitions) {
        self.target = Some(target);
    }

    /// Something has come on a connection; it is read when its turn comes.
    pub(super) fn receive(&mut self, id: ConnectionId, name: RequestId, request: Request) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.waiting.push_back((name, request));
        }
    }

    /// Reads the next request of a connection, if nothing is being served and it reads: which one,
    /// and when it will be answered.
    pub(super) fn begin(&mut self, id: ConnectionId, now: u64) -> Option<(RequestId, u64)> {
        let line = self.lines.get_mut(&id)?;
        if line.serving.is_some() || line.muted_until > now {
            return None;
        }
        let (name, request) = line.waiting.pop_front()?;
        let until = match &request {
            Request::Fetch(fetch) => self.parked_until(fetch, now),
            _ => now + self.terms.service_ms,
        };
        self.lines.get_mut(&id)?.serving = Some((name, request));
        Some((name, until))
    }

    /// Answers what is being served; for how long the connection is not read from then.
    pub(super) fn answer(
        &mut self,
        id: ConnectionId,
        now: u64,
    ) -> (RequestId, Response<Records>, u32) {
        let line = self.lines.get_mut(&id).expect("it is open");
        let (name, request) = line.serving.take().expect("something is being served");
        let response = self.respond(request, now);
        let has_records = matches!(&response, Response::Fetch(Ok(parts))
            if parts.values().flatten().any(|part| part.chunk.is_some()));
        let throttle_ms = if has_records { self.terms.throttle_ms } else { 0 };
        let line = self.lines.get_mut(&id).expect("it is open");
        line.muted_until = now + u64::from(throttle_ms);
        (name, response, throttle_ms)
    }

    /// The sessions that are over by now are.
    pub(super) fn expire(&mut self, now: u64) {
        if self.member.take_if(|member| member.session_until < now).is_some() {
            self.evictions += 1;
        }
    }

    fn parked_until(&self, fetch: &Fetch, now: u64) -> u64 {
        let latest = now + self.terms.service_ms.max(u64::from(fetch.wait_max_ms));
        let has_news =
            |date: u64| fetch.partitions.iter().any(|asked| self.end(date) > asked.offset.0);
        (now + self.terms.service_ms..latest).find(|date| has_news(*date)).unwrap_or(latest)
    }

    /// Where each partition ends at a date.
    fn end(&self, date: u64) -> u64 {
        self.terms.records_per_second * date / 1_000
    }

    fn respond(&mut self, request: Request, now: u64) -> Response<Records> {
        match request {
            Request::ApiVersions => Response::ApiVersions(Ok(())),
            Request::Metadata { topics } => {
                let topics = topics.into_iter().flatten().map(|name| (name, Ok(self.topic())));
                let brokers = BTreeMap::from([(NODE, address())]);
                Response::Metadata(Metadata { brokers, topics: topics.collect(), error: None })
            }
            Request::TopicsById { .. } => unreachable!("nobody subscribes to a pattern here"),
            Request::Topics { .. } => Response::Topics(Ok(BTreeMap::new())),
            Request::FindCoordinator => {
                Response::FindCoordinator(Ok(Coordinator { node: NODE, address: address() }))
            }
            // Not every broker speaks it, and nobody asks here.
            Request::DescribeGroup => Response::Group(Err(ErrorCode::UnsupportedVersion)),
            Request::Heartbeat(heartbeat) => Response::Heartbeat(self.heartbeat(&heartbeat, now)),
            Request::OffsetCommit { commit, .. } => {
                let results = commit.offsets.keys().map(|id| (*id, Ok(()))).collect();
                self.committed.extend(commit.offsets);
                Response::OffsetCommit(Ok(results))
            }
            Request::OffsetFetch { fetch, .. } => {
                let asked = fetch.partitions.into_iter().flatten();
                let found = asked.map(|id| (id, Ok(self.committed.get(&id).cloned())));
                Response::OffsetFetch(Ok(found.collect()))
            }
            Request::ListOffsets { partitions, .. } => {
                let listed = partitions.into_iter().map(|(id, asked)| {
                    let is_first = asked.at == OffsetAt::Earliest;
                    let offset = Offset(if is_first { 0 } else { self.end(now) });
                    let listed = ListedOffset { offset, leader_epoch: None, timestamp_ms: None };
                    (id, Ok(Some(listed)))
                });
                Response::ListOffsets(listed.collect())
            }
            Request::OffsetForLeaderEpoch { .. } => {
                unreachable!("metadata tells no leader epochs here")
            }
            Request::Fetch(fetch) => Response::Fetch(Ok(self.fetch(&fetch, now))),
        }
    }

    fn topic(&self) -> TopicMetadata {
        let leader = PartitionMetadata { leader: Some(NODE), leader_epoch: None };
        let partitions = (0..self.terms.partitions).map(|index| (index, leader)).collect();
        TopicMetadata { id: TOPIC_ID, partitions }
    }

    fn heartbeat(&mut self, heartbeat: &Heartbeat, now: u64) -> Result<HeartbeatAnswer, ErrorCode> {
        self.expire(now);
        let interval = self.terms.heartbeat_interval_ms;
        let answer = |epoch, assignment| {
            Ok(HeartbeatAnswer { epoch, heartbeat_interval_ms: interval, assignment })
        };
        if heartbeat.epoch == HeartbeatEpoch::Leave {
            self.member = None;
            return answer(None, None);
        }
        let is_known = self.member.as_ref().is_some_and(|member| member.id == heartbeat.member);
        if heartbeat.epoch != HeartbeatEpoch::Join && !is_known {
            return Err(ErrorCode::UnknownMemberId);
        }
        let target = self.target.clone().unwrap_or_else(|| self.granted());
        let told = self.member.take().filter(|_| is_known).map(|member| member.told);
        let is_news = told.as_ref() != Some(&target) || heartbeat.is_full();
        if told.as_ref() != Some(&target) {
            self.epoch += 1;
        }
        let session_until = now + self.terms.session_timeout_ms;
        self.member = Some(Member { id: heartbeat.member, session_until, told: target.clone() });
        answer(Some(Epoch(self.epoch)), is_news.then_some(target))
    }

    fn granted(&self) -> Partitions {
        let count = if self.terms.is_granted { self.terms.partitions } else { 0 };
        (0..count).map(partition).collect()
    }

    fn fetch(
        &self,
        fetch: &Fetch,
        now: u64,
    ) -> BTreeMap<TopicIdPartition, Result<Fetched<Records>, ErrorCode>> {
        let mut left = u64::from(fetch.bytes_max) / RECORD_BYTES;
        let fetched = fetch.partitions.iter().map(|asked| {
            let (from, end) = (asked.offset.0, self.end(now));
            let count = (u64::from(asked.bytes_max) / RECORD_BYTES).min(left);
            let count = count.min(end.saturating_sub(from));
            left -= count;
            let chunk = (count > 0).then_some(Records { next: from, end: from + count });
            let end = Some(Offset(end));
            let log_start = Some(Offset(0));
            (
                asked.partition,
                Ok(Fetched { high_watermark: end, last_stable: end, log_start, chunk }),
            )
        });
        fetched.collect()
    }
}

/// A partition of the topic.
pub(super) fn partition(index: u32) -> TopicIdPartition {
    TopicIdPartition::new(TOPIC_ID, index)
}

const NODE: NodeId = NodeId(1);
const TOPIC_ID: TopicId = TopicId::from_u32(1);
