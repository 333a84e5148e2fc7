//! One group on Apache Kafka under a script: each request as the script says it, each answer in the
//! script's words.

use crate::script::{Named, Request, render_partitions};
use crate::shard;
use evenkeel_spec::words::{Assignor, ErrorCode, HeartbeatEpoch};
use evenkeel_tests::wire::{Wire, WireError, topic_name};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    CreatePartitionsRequest, DeleteGroupsRequest, DeleteTopicsRequest, FindCoordinatorRequest,
    GroupId, IncrementalAlterConfigsRequest, OffsetCommitRequest, OffsetFetchRequest,
    consumer_group_describe_response, consumer_group_heartbeat_response,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

type Answer = Result<Vec<String>, WireError>;

/// One group and its topics.
pub(crate) struct Broker {
    wire: Wire,
    group: String,
    /// What the script calls t1 is another topic in each script: its name begins so.
    prefix: String,
    topics: BTreeMap<String, Uuid>,
    /// Also those that were deleted: an assignment may still name them.
    names: BTreeMap<Uuid, String>,
    probes: u32,
    last: Instant,
}

impl Broker {
    /// A group called `name`, which nobody else uses.
    pub(crate) fn connect(address: &str, name: &str) -> Result<Self, WireError> {
        let mut wire = Wire::connect(address)?;
        await_coordinator(&mut wire, name)?;
        let (topics, names) = (BTreeMap::new(), BTreeMap::new());
        let (group, prefix) = (name.to_owned(), name.to_owned());
        Ok(Self { wire, group, prefix, topics, names, probes: 0, last: Instant::now() })
    }

    /// Another group, on a connection of its own, that uses the topics of this one.
    pub(crate) fn another_group(&self, address: &str, name: &str) -> Result<Self, WireError> {
        Ok(Self {
            wire: Wire::connect(address)?,
            group: name.to_owned(),
            prefix: self.prefix.clone(),
            topics: self.topics.clone(),
            names: self.names.clone(),
            probes: 0,
            last: Instant::now(),
        })
    }

    /// The node was started again.
    pub(crate) fn reconnect(&mut self, address: &str) -> Result<(), WireError> {
        self.wire = Wire::connect(address)?;
        await_coordinator(&mut self.wire, &self.group)?;
        self.last = Instant::now();
        Ok(())
    }

    /// Creates topics that groups of every shard of the coordinator see.
    pub(crate) fn stage(&mut self, topics: &[(String, u32)]) -> Result<(), WireError> {
        for (name, partitions) in topics {
            self.topic(name, *partitions)?;
        }
        let group = self.group.clone();
        for shard in 0..shard::SHARDS {
            self.group = shard::on_shard(shard, &group);
            await_coordinator(&mut self.wire, &self.group)?;
            for (name, partitions) in topics {
                self.await_seen(&self.full_name(name), *partitions)?;
            }
        }
        self.group = group;
        Ok(())
    }

    /// Sends one request; its answer's lines.
    pub(crate) fn handle(&mut self, request: &Request) -> Answer {
        let answer = match request {
            Request::Topic(name, partitions) => self.topic(name, *partitions),
            Request::Delete(name) => self.delete(name),
            Request::Set(key, value) => self.set(key, *value),
            Request::Heartbeat { .. } => self.heartbeat(request),
            Request::Commit { .. } => self.commit(request),
            Request::Fetch { owner, partitions } => {
                let owner = owner.map(|(member, epoch)| (member.0, epoch.0));
                self.fetch(owner, partitions.as_ref())
            }
            Request::Wait(ms) => {
                self.wait(*ms);
                ok()
            }
            Request::Describe => self.describe(),
            Request::DeleteGroup => self.delete_group(),
            Request::Failover => unreachable!("whoever has the node restarts it"),
        };
        self.last = Instant::now();
        answer
    }

    /// Deletes the script's topics, so that a cluster that many scripts share stays small.
    pub(crate) fn clean_up(mut self) -> Result<(), WireError> {
        let names: Vec<String> = self.topics.keys().cloned().collect();
        names.iter().try_for_each(|name| self.delete_topic(name))
    }

    /// Real time passes, since the broker's clock is real: counted from the last answer.
    fn wait(&self, ms: u64) {
        let end = self.last + Duration::from_millis(ms);
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
    }

    fn topic(&mut self, name: &str, partitions: u32) -> Answer {
        let full = self.full_name(name);
        if self.topics.contains_key(name) {
            let count = signed(partitions);
            let more = CreatePartitionsTopic::default()
                .with_name(topic_name(&full))
                .with_count(count)
                .with_assignments(None);
            let request =
                CreatePartitionsRequest::default().with_topics(vec![more]).with_timeout_ms(10_000);
            let response = self.wire.send(3, &request)?;
            accepted("CreatePartitions", response.results.first().map_or(-1, |r| r.error_code))?;
        } else {
            // Both of Kafka's assignors look at topics in the order of their ids.
            let newest = self.topics.values().max().copied();
            let id = self.create_after(&full, partitions, newest)?;
            self.topics.insert(name.into(), id);
            self.names.insert(id, name.into());
        }
        self.await_seen(&full, partitions)?;
        ok()
    }

    /// Creates a topic whose id is greater than `newest`, as the ids of our coordinator's tests are.
    fn create_after(
        &mut self,
        full: &str,
        partitions: u32,
        newest: Option<Uuid>,
    ) -> Result<Uuid, WireError> {
        for _ in 0..CREATIONS_MAX {
            let id = self.wire.create_topic(full, partitions)?;
            if newest.is_none_or(|newest| java_order(id) > java_order(newest)) {
                // The first gets a small one, so that the next need not be created too often.
                if newest.is_some() || java_order(id).0 < 0 {
                    return Ok(id);
                }
            }
            self.delete_by_name(full)?;
        }
        Err(WireError::Malformed(format!("no id after {newest:?} in {CREATIONS_MAX} creations")))
    }

    fn delete(&mut self, name: &str) -> Answer {
        self.delete_topic(name)?;
        let full = self.full_name(name);
        self.await_seen(&full, 0)?;
        ok()
    }

    fn delete_topic(&mut self, name: &str) -> Result<(), WireError> {
        self.topics.remove(name);
        let full = self.full_name(name);
        self.delete_by_name(&full)
    }

    fn delete_by_name(&mut self, full: &str) -> Result<(), WireError> {
        let topic = DeleteTopicState::default().with_name(Some(topic_name(full)));
        let request =
            DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let response = self.wire.send(6, &request)?;
        accepted("DeleteTopics", response.responses.first().map_or(-1, |r| r.error_code))
    }

    fn set(&mut self, key: &str, value: u32) -> Answer {
        let config = AlterableConfig::default()
            .with_name(text(key))
            .with_value(Some(text(&value.to_string())));
        let resource = AlterConfigsResource::default()
            .with_resource_type(RESOURCE_GROUP)
            .with_resource_name(text(&self.group))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let response = self.wire.send(1, &request)?;
        accepted(
            "IncrementalAlterConfigs",
            response.responses.first().map_or(-1, |r| r.error_code),
        )?;
        // A topic that is created later is seen later: then the setting is there too.
        let marker = self.full_name(&format!("marker{}", self.probes));
        self.wire.create_topic(&marker, 1)?;
        self.await_seen(&marker, 1)?;
        self.delete_by_name(&marker)?;
        ok()
    }

    /// Waits until the group's coordinator itself sees `partitions` partitions of the topic: the
    /// metadata shows it a moment before. A member of another group on the same shard of the
    /// coordinator is assigned all of it then, and none of it before.
    fn await_seen(&mut self, full: &str, partitions: u32) -> Result<(), WireError> {
        self.probes += 1;
        let probe = shard::on_shard(
            shard::shard_of(&self.group),
            &format!("probe-{}-{}", self.group, self.probes),
        );
        let mut heartbeat = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text(&probe)))
            .with_member_id(text("probe"))
            .with_rebalance_timeout_ms(60_000)
            .with_subscribed_topic_names(Some(vec![topic_name(full)]))
            .with_topic_partitions(Some(Vec::new()));
        for _ in 0..PROBES_MAX {
            heartbeat.member_epoch = 0;
            let joined = self.wire.send(1, &heartbeat)?;
            accepted("a probe's join", joined.error_code)?;
            let parts = joined.assignment.iter().flat_map(|a| &a.topic_partitions);
            let seen: usize = parts.map(|topic| topic.partitions.len()).sum();
            heartbeat.member_epoch = -1;
            accepted("a probe's leave", self.wire.send(1, &heartbeat)?.error_code)?;
            if u32::try_from(seen) == Ok(partitions) {
                return Ok(());
            }
        }
        Err(WireError::Malformed(format!("the coordinator does not see {partitions} of {full}")))
    }

    fn heartbeat(&mut self, request: &Request) -> Answer {
        let Request::Heartbeat { member, epoch, timeout_ms, topics, owned, assignor } = request
        else {
            unreachable!("the caller matched");
        };
        let epoch = match epoch {
            HeartbeatEpoch::Join => 0,
            HeartbeatEpoch::Stay(epoch) => signed(epoch.0),
            HeartbeatEpoch::Leave => -1,
        };
        let assignor = assignor.as_ref().map(|assignor| match assignor {
            Assignor::Uniform => text("uniform"),
            Assignor::Range => text("range"),
            Assignor::Other(name) => text(name),
        });
        let subscribed = topics.as_ref().map(|names| {
            names.iter().map(|name| topic_name(&self.full_name(name))).collect::<Vec<_>>()
        });
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(self.group_id())
            .with_member_id(text(&format!("m{}", member.0)))
            .with_member_epoch(epoch)
            .with_rebalance_timeout_ms(timeout_ms.map_or(-1, signed))
            .with_subscribed_topic_names(subscribed)
            .with_server_assignor(assignor)
            .with_topic_partitions(owned.as_ref().map(|named| self.by_id(named)));
        let response = self.wire.send(1, &request)?;
        Ok(vec![self.render_heartbeat(&response)])
    }

    fn render_heartbeat(&self, response: &ConsumerGroupHeartbeatResponse) -> String {
        if response.error_code != 0 {
            return code(response.error_code);
        }
        let epoch = format!("epoch={}", response.member_epoch);
        let Some(assignment) = &response.assignment else { return epoch };
        let named = |part: &consumer_group_heartbeat_response::TopicPartitions| {
            self.named(part.topic_id, &part.partitions)
        };
        let all = assignment.topic_partitions.iter().flat_map(named);
        format!("{epoch} assignment={}", render_partitions(all))
    }

    fn commit(&mut self, request: &Request) -> Answer {
        let Request::Commit { owner, offsets, note } = request else {
            unreachable!("the caller matched");
        };
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (topic, partition, offset) in offsets {
            let entry = OffsetCommitRequestPartition::default()
                .with_partition_index(signed(*partition))
                .with_committed_offset(i64::try_from(*offset).expect("a script's offset is small"))
                .with_committed_metadata(Some(text(&"n".repeat(*note))));
            topics.entry(topic).or_default().push(entry);
        }
        let of_topic = |(name, partitions): (&str, Vec<_>)| {
            let name = topic_name(&self.full_name(name));
            OffsetCommitRequestTopic::default().with_name(name).with_partitions(partitions)
        };
        let topics = topics.into_iter().map(of_topic).collect();
        let owner = owner.map(|(member, epoch)| (member.0, epoch.0));
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_member_id(owner.map_or(text(""), |(member, _)| text(&format!("m{member}"))))
            .with_generation_id_or_member_epoch(owner.map_or(-1, |(_, epoch)| signed(epoch)))
            .with_topics(topics);
        let response = self.wire.send(9, &request)?;
        let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions);
        let refused = codes.find(|partition| partition.error_code != 0);
        Ok(vec![refused.map_or("ok".into(), |partition| code(partition.error_code))])
    }

    fn fetch(&mut self, owner: Option<(u32, u32)>, partitions: Option<&Named>) -> Answer {
        let topics = partitions.map(|named| {
            let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for (topic, partition) in named {
                topics.entry(topic).or_default().push(signed(*partition));
            }
            let of_topic = |(name, indexes): (&str, Vec<i32>)| {
                let name = topic_name(&self.full_name(name));
                OffsetFetchRequestTopics::default().with_name(name).with_partition_indexes(indexes)
            };
            topics.into_iter().map(of_topic).collect::<Vec<_>>()
        });
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(self.group_id())
            .with_member_id(owner.map(|(member, _)| text(&format!("m{member}"))))
            .with_member_epoch(owner.map_or(-1, |(_, epoch)| signed(epoch)))
            .with_topics(topics);
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        let response = self.wire.send(9, &request)?;
        let empty = || WireError::Malformed("no group in the answer to OffsetFetch".into());
        let group = response.groups.first().ok_or_else(empty)?;
        if group.error_code != 0 {
            return Ok(vec![code(group.error_code)]);
        }
        let mut parts = Vec::new();
        for topic in &group.topics {
            let name = self.short_name(topic.name.as_str());
            for partition in &topic.partitions {
                let offset = match (partition.error_code, partition.committed_offset) {
                    (0, -1) => "-".to_owned(),
                    (0, offset) => offset.to_string(),
                    (error, _) => code(error),
                };
                parts.push(format!("{name}[{}]@{offset}", partition.partition_index));
            }
        }
        parts.sort();
        Ok(vec![if parts.is_empty() { "-".into() } else { parts.join(" ") }])
    }

    fn describe(&mut self) -> Answer {
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![self.group_id()]);
        let response = self.wire.send(1, &request)?;
        let empty = || WireError::Malformed("no group in the answer to a describe".into());
        let group = response.groups.first().ok_or_else(empty)?;
        if group.error_code != 0 {
            return Ok(vec![code(group.error_code)]);
        }
        let mut lines = vec![format!(
            "{} epoch={} assignment_epoch={} assignor={}",
            group.group_state, group.group_epoch, group.assignment_epoch, group.assignor_name
        )];
        let mut members: Vec<_> = group.members.iter().collect();
        members.sort_by(|a, b| a.member_id.as_str().cmp(b.member_id.as_str()));
        let render = |assignment: &consumer_group_describe_response::Assignment| {
            let parts = assignment.topic_partitions.iter();
            render_partitions(parts.flat_map(|part| self.named(part.topic_id, &part.partitions)))
        };
        for member in members {
            lines.push(format!(
                "{} epoch={} assignment={} target={}",
                member.member_id,
                member.member_epoch,
                render(&member.assignment),
                render(&member.target_assignment),
            ));
        }
        Ok(lines)
    }

    fn delete_group(&mut self) -> Answer {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![self.group_id()]);
        let response = self.wire.send(2, &request)?;
        Ok(vec![match response.results.first().map_or(-1, |result| result.error_code) {
            0 => "ok".into(),
            error => code(error),
        }])
    }

    fn group_id(&self) -> GroupId {
        GroupId(text(&self.group))
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn short_name(&self, full: &str) -> String {
        let prefix = format!("{}-", self.prefix);
        full.strip_prefix(&prefix).unwrap_or(full).to_owned()
    }

    /// Partitions of a topic by the script's name; "?" for one that was deleted, as in the script.
    fn named(&self, id: Uuid, partitions: &[i32]) -> Vec<(String, u32)> {
        let name = self.names.get(&id).filter(|name| self.topics.get(*name) == Some(&id));
        let name = name.map_or("?", String::as_str);
        let index = |partition: &i32| u32::try_from(*partition).unwrap_or(u32::MAX);
        partitions.iter().map(|partition| (name.to_owned(), index(partition))).collect()
    }

    fn by_id(&self, named: &Named) -> Vec<TopicPartitions> {
        let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for (name, partition) in named {
            let id = self.topics.get(name).copied().unwrap_or(Uuid::nil());
            topics.entry(id).or_default().push(signed(*partition));
        }
        let of_topic = |(id, partitions)| {
            TopicPartitions::default().with_topic_id(id).with_partitions(partitions)
        };
        topics.into_iter().map(of_topic).collect()
    }
}

/// Asks for the group's coordinator until there is one: the first ask creates Kafka's topic.
fn await_coordinator(wire: &mut Wire, group: &str) -> Result<(), WireError> {
    let mut last = 0;
    for _ in 0..PROBES_MAX {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
        last = wire.send(4, &request)?.coordinators.first().map_or(-1, |found| found.error_code);
        if last == 0 {
            // It may still be loading: any answer but 14, 15 or 16 says that it is not.
            let ask =
                ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text(group))]);
            let answer = wire.send(1, &ask)?;
            last = answer.groups.first().map_or(-1, |group| group.error_code);
            if !(14..=16).contains(&last) {
                return Ok(());
            }
        }
    }
    accepted("FindCoordinator", last)
}

/// The order of Kafka's `Uuid.compareTo`: two signed halves.
fn java_order(id: Uuid) -> (i64, i64) {
    let (high, low) = id.as_u64_pair();
    (high.cast_signed(), low.cast_signed())
}

fn code(number: i16) -> String {
    ErrorCode::from_number(number).map_or(format!("error {number}"), |code| code.name().into())
}

fn accepted(step: &str, code: i16) -> Result<(), WireError> {
    let refused = || WireError::Refused { step: step.into(), code, message: self::code(code) };
    if code == 0 { Ok(()) } else { Err(refused()) }
}

fn ok() -> Answer {
    Ok(vec!["ok".into()])
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).expect("a script's numbers are small")
}

/// `ConfigResource.Type.GROUP` (KIP-848).
pub(crate) const RESOURCE_GROUP: i8 = 32;
/// Each is two round trips; metadata arrives after some tens of them.
const PROBES_MAX: usize = 20_000;
/// A random id is greater than another every second time on average, seldom after ten.
const CREATIONS_MAX: usize = 100;
