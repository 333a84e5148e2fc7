//! What to ask which leader for, and what is buffered. `Fetch` (key 1), without sessions.
//!
//! Decides which partitions a request names, in which order and up to how many bytes, what an
//! answer makes of each, and whose records a poll gets. One request is in flight a broker. A
//! partition is asked for again while its last answer is being returned, but what is buffered and
//! what may still come stay within `fetch.max.bytes` (but for a batch a broker that is larger than
//! it was asked for): room is reserved before a request goes out, so nothing is thrown away for
//! want of it. What counts is the memory that is held until an answer's last record of a partition
//! was returned. Leaders, dates and the group's permission are the shell's to know.

mod stream;

use crate::position::Position;
use crate::request::{Fetch, FetchPartition, Fetched};
use crate::{Chunk, Config, Incarnation, Incarnations, Isolation, Taken};
use evenkeel_spec::words::{ErrorCode, LeaderEpoch, NodeId, Offset, Step, TopicIdPartition};
use std::collections::{BTreeMap, VecDeque};
use stream::Stream;

/// What fetching wants to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    /// Arm this partition's backoff.
    Backoff(TopicIdPartition, Step),
    /// Stop this partition's backoff.
    Disarm(TopicIdPartition),
    /// What is known of leaders is old.
    RefreshMetadata,
    /// There is no record at this offset, and nothing is left to return before it.
    OutOfRange(TopicIdPartition, Offset),
    /// Tell the application.
    Tell(TopicIdPartition, ErrorCode),
}

/// What a poll gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Harvest<C: Chunk> {
    /// Records, in the order in which partitions take turns; none of them empty.
    pub(crate) parts: Vec<(TopicIdPartition, Taken<C::Part>)>,
    /// Where each partition that moved is read next; also where only control records were passed.
    pub(crate) advanced: BTreeMap<TopicIdPartition, Position>,
    /// Records that cannot be read; only if nothing advanced.
    pub(crate) fault: Option<(TopicIdPartition, C::Fault)>,
}

/// Everything that is fetched of the owned partitions.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher<C> {
    limits: Limits,
    streams: BTreeMap<TopicIdPartition, Stream<C>>,
    /// Whose turn it is to be returned.
    turns: VecDeque<TopicIdPartition>,
    /// Whose turn it is to be first in a request: the broker fills its answer in that order.
    asks: VecDeque<TopicIdPartition>,
    flights: BTreeMap<NodeId, Flight>,
    incarnations: Incarnations,
    held_bytes: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Limits {
    wait_max_ms: u32,
    bytes_min: u32,
    bytes_max: u32,
    partition_bytes_max: u32,
    isolation: Isolation,
}

/// How far the reading of a partition is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// Records are buffered.
    Buffered,
    /// A request to this broker names it.
    Asked(NodeId),
    /// Its backoff is running.
    Pausing,
    /// It could be asked for.
    Wanted,
}

#[derive(Clone, Debug)]
struct Flight {
    partitions: Vec<(TopicIdPartition, Incarnation)>,
    reserved_bytes: usize,
}

impl<C: Chunk> Fetcher<C> {
    /// Nothing fetched yet.
    pub(crate) fn new(config: &Config) -> Self {
        let limits = Limits {
            wait_max_ms: config.fetch_max_wait_ms,
            bytes_min: config.fetch_min_bytes,
            bytes_max: config.fetch_max_bytes,
            partition_bytes_max: config.max_partition_fetch_bytes,
            isolation: config.isolation,
        };
        Self {
            limits,
            streams: BTreeMap::new(),
            turns: VecDeque::new(),
            asks: VecDeque::new(),
            flights: BTreeMap::new(),
            incarnations: Incarnations::default(),
            held_bytes: 0,
        }
    }

    /// Reading of a partition starts here; what was read elsewhere is void.
    pub(crate) fn on_start(
        &mut self,
        id: TopicIdPartition,
        position: Position,
        out: &mut Vec<Order>,
    ) {
        self.on_stopped(id, out);
        let stream = Stream {
            incarnation: self.incarnations.start(),
            returned: position,
            next: position.offset,
            chunks: VecDeque::new(),
            asked_at: None,
            pausing: false,
            step: Step::FIRST,
            out_of_range: false,
            end: None,
        };
        self.streams.insert(id, stream);
        self.turns.push_back(id);
        self.asks.push_back(id);
    }

    /// A partition is owned no longer, or its position is being looked up.
    pub(crate) fn on_stopped(&mut self, id: TopicIdPartition, out: &mut Vec<Order>) {
        if let Some(stream) = self.streams.remove(&id) {
            self.held_bytes -= stream.held_bytes();
            self.turns.retain(|other| *other != id);
            self.asks.retain(|other| *other != id);
            out.push(Order::Disarm(id));
        }
    }

    /// Which partitions could be asked for, of those that may be read, by turns.
    pub(crate) fn wanted(
        &self,
        may_read: impl Fn(TopicIdPartition) -> bool,
    ) -> impl Iterator<Item = TopicIdPartition> {
        let bytes_max = self.limits.partition_bytes_max as usize;
        let wanted =
            move |id: &&TopicIdPartition| self.streams[*id].is_wanted(bytes_max) && may_read(**id);
        self.asks.iter().filter(wanted).copied()
    }

    /// Partitions that may be read and of which as much is buffered as may be. No request that may be
    /// parked goes to their leader: it would leave them out, so that the broker could park it for want
    /// of the other partitions' records while the application empties what is buffered, and reading
    /// would stand still for `fetch.max.wait.ms` each time (KAFKA-17182 has the same in Kafka's
    /// consumer).
    pub(crate) fn full(
        &self,
        may_read: impl Fn(TopicIdPartition) -> bool,
    ) -> impl Iterator<Item = TopicIdPartition> {
        let bytes_max = self.limits.partition_bytes_max as usize;
        let full = move |(id, stream): &(&TopicIdPartition, &Stream<C>)| {
            stream.asked_at.is_none() && stream.is_full(bytes_max) && may_read(**id)
        };
        self.streams.iter().filter(full).map(|(id, _)| *id)
    }

    /// Whether a request to this broker is outstanding.
    pub(crate) fn is_flying(&self, node: NodeId) -> bool {
        self.flights.contains_key(&node)
    }

    /// How many brokers have a request outstanding.
    pub(crate) fn flights(&self) -> usize {
        self.flights.len()
    }

    /// Asks a broker for these of its partitions, if there is room for an answer. `leaders`: how
    /// many brokers share the room. `at_once`: for what there is, however little.
    pub(crate) fn ask(
        &mut self,
        node: NodeId,
        partitions: &[(TopicIdPartition, Option<LeaderEpoch>)],
        leaders: usize,
        at_once: bool,
    ) -> Option<Fetch> {
        assert!(!self.is_flying(node), "one fetch is in flight a broker");
        let bytes_max = self.room(partitions.len(), leaders)?;
        let mut flight = Flight { partitions: Vec::new(), reserved_bytes: bytes_max as usize };
        let mut asked = Vec::new();
        for &(id, leader_epoch) in partitions {
            let stream = self.streams.get_mut(&id).expect("only wanted partitions are asked for");
            stream.asked_at = Some(node);
            flight.partitions.push((id, stream.incarnation));
            asked.push(FetchPartition {
                partition: id,
                offset: stream.next,
                leader_epoch,
                bytes_max: self.limits.partition_bytes_max,
            });
        }
        self.flights.insert(node, flight);
        Some(Fetch {
            wait_max_ms: if at_once { 0 } else { self.limits.wait_max_ms },
            bytes_min: self.limits.bytes_min,
            bytes_max,
            isolation: self.limits.isolation,
            partitions: asked,
            names: BTreeMap::new(),
        })
    }

    /// A broker's answer.
    pub(crate) fn on_answer(
        &mut self,
        node: NodeId,
        answer: Result<BTreeMap<TopicIdPartition, Result<Fetched<C>, ErrorCode>>, ErrorCode>,
        out: &mut Vec<Order>,
    ) {
        let flight = self.flights.remove(&node).expect("a fetch is answered once");
        let (mut answer, whole) = match answer {
            Ok(answer) => (answer, None),
            Err(code) => (BTreeMap::new(), Some(code)),
        };
        for (id, incarnation) in flight.partitions {
            let result = answer.remove(&id).or(whole.map(Err));
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if stream.incarnation != incarnation {
                continue;
            }
            stream.asked_at = None;
            match result {
                Some(Ok(fetched)) => {
                    stream.step = Step::FIRST;
                    stream.out_of_range = false;
                    stream.end = match self.limits.isolation {
                        Isolation::ReadUncommitted => fetched.high_watermark,
                        Isolation::ReadCommitted => fetched.last_stable,
                    };
                    if let Some(chunk) = fetched.chunk.filter(|chunk| !chunk.is_drained()) {
                        self.held_bytes += chunk.held_bytes();
                        stream.next = stream.next.max(chunk.end_offset());
                        stream.chunks.push_back(chunk);
                        Self::to_back(&mut self.asks, id);
                    }
                }
                Some(Err(code)) => stream.on_error(id, code, out),
                None => stream.pause(id, out),
            }
        }
    }

    /// The fate of a broker's request is unknown: asked again, here or at the next leader.
    pub(crate) fn on_lost(&mut self, node: NodeId) {
        let flight = self.flights.remove(&node).expect("only a request can be lost");
        for (id, incarnation) in flight.partitions {
            if let Some(stream) = self.streams.get_mut(&id)
                && stream.incarnation == incarnation
            {
                stream.asked_at = None;
            }
        }
    }

    /// Leaders changed: what was asked of a broker that leads no longer is asked of the next at
    /// once, and the old answer, if it comes, is ignored.
    pub(crate) fn on_leaders(&mut self, leader: impl Fn(TopicIdPartition) -> Option<NodeId>) {
        for (id, stream) in &mut self.streams {
            if let (Some(asked_at), Some(leader)) = (stream.asked_at, leader(*id))
                && asked_at != leader
            {
                stream.asked_at = None;
                stream.incarnation = self.incarnations.start();
            }
        }
    }

    /// A partition's backoff is over.
    pub(crate) fn on_backoff(&mut self, id: TopicIdPartition) {
        let stream = self.streams.get_mut(&id).expect("a stopped partition has no backoff");
        stream.pausing = false;
    }

    /// Takes at most `records_max` records, by turns.
    pub(crate) fn take(
        &mut self,
        records_max: usize,
        may_read: impl Fn(TopicIdPartition) -> bool,
        out: &mut Vec<Order>,
    ) -> Harvest<C> {
        let mut harvest = Harvest { parts: Vec::new(), advanced: BTreeMap::new(), fault: None };
        let mut left = records_max;
        let (mut served, mut faulty) = (Vec::new(), Vec::new());
        for &id in &self.turns {
            if left == 0 || harvest.fault.is_some() {
                break;
            }
            let stream = self.streams.get_mut(&id).expect("a turn is a stream's");
            if stream.chunks.is_empty() || !may_read(id) {
                continue;
            }
            let held_before = stream.held_bytes();
            let is_faulty = stream.take(id, &mut left, &mut harvest);
            if harvest.fault.is_some() {
                stream.refetch(id, self.incarnations.start(), out);
            }
            self.held_bytes = self.held_bytes - held_before + stream.held_bytes();
            if is_faulty { faulty.push(id) } else { served.push(id) }
        }
        for id in served {
            Self::to_back(&mut self.turns, id);
        }
        // Told next, however much there is of the others.
        for id in faulty {
            self.turns.retain(|other| *other != id);
            self.turns.push_front(id);
        }
        harvest
    }

    /// How many offsets lie between what a poll returns next and the end of what can be read, as of
    /// the last answer; `None`: there was none since the position was set.
    pub(crate) fn lag(&self, id: TopicIdPartition) -> Option<u64> {
        let stream = self.streams.get(&id)?;
        stream.end.map(|end| end.0.saturating_sub(stream.returned.offset.0))
    }

    /// The same of every partition for which it is known.
    pub(crate) fn lags(&self) -> impl Iterator<Item = (TopicIdPartition, u64)> {
        self.streams.keys().filter_map(|id| Some((*id, self.lag(*id)?)))
    }

    /// How far the reading of a partition is that has a position.
    pub(crate) fn standing(&self, id: TopicIdPartition) -> Standing {
        match self.streams.get(&id) {
            Some(stream) if !stream.chunks.is_empty() => Standing::Buffered,
            Some(Stream { asked_at: Some(node), .. }) => Standing::Asked(*node),
            Some(stream) if stream.pausing => Standing::Pausing,
            Some(_) | None => Standing::Wanted,
        }
    }

    /// Whether there is room for the answer to another request.
    pub(crate) fn has_room(&self) -> bool {
        self.room(1, 1).is_some()
    }

    /// Where what is buffered leaves no room for any request, drops that of partitions which are not
    /// to be read, such as paused ones, until there is: it is fetched again, and the others do not
    /// wait for it.
    pub(crate) fn make_room(
        &mut self,
        leaders: usize,
        may_read: impl Fn(TopicIdPartition) -> bool,
    ) {
        let idle =
            self.streams.iter().filter(|(id, stream)| !stream.chunks.is_empty() && !may_read(**id));
        let idle: Vec<_> = idle.map(|(id, _)| *id).collect();
        let total = self.limits.bytes_max as usize;
        let least = (self.limits.partition_bytes_max as usize).min(total / leaders.max(1));
        for id in idle {
            if self.held_bytes == 0 || total.saturating_sub(self.held_bytes) >= least {
                return;
            }
            if let Some(stream) = self.streams.get_mut(&id) {
                self.held_bytes -= stream.held_bytes();
                stream.rewind(self.incarnations.start());
            }
        }
    }

    /// Bytes of memory that what was fetched takes, until all of an answer's records of a partition
    /// were returned.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes that were fetched and not returned.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.streams.values().map(Stream::buffered_bytes).sum()
    }

    fn room(&self, partitions: usize, leaders: usize) -> Option<u32> {
        let reserved: usize = self.flights.values().map(|flight| flight.reserved_bytes).sum();
        let used = self.held_bytes + reserved;
        let total = self.limits.bytes_max as usize;
        let least = (self.limits.partition_bytes_max as usize).min(total);
        let room = total.saturating_sub(used);
        // Less than one partition may ask for does where more brokers share the room than that is
        // enough for: the first batch comes whatever its size (KIP-74), and nobody waits for requests
        // that others have parked.
        let share = total / leaders.max(1);
        if partitions == 0 || (room < least.min(share) && used > 0) {
            return None;
        }
        let asked = partitions.saturating_mul(self.limits.partition_bytes_max as usize);
        let bytes_max = room.min(share).min(asked).max(1);
        Some(u32::try_from(bytes_max).expect("at most fetch.max.bytes"))
    }

    fn to_back(queue: &mut VecDeque<TopicIdPartition>, id: TopicIdPartition) {
        queue.retain(|other| *other != id);
        queue.push_back(id);
    }
}

#[cfg(test)]
mod tests;
