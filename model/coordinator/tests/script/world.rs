//! Our coordinator under a script, in virtual time. After each request it checks what must hold
//! always.

use super::{Named, Request, render_partitions};
use evenkeel_coordinator::{Config, Group, Order, Record, Step, Timer};
use evenkeel_spec::words::{
    Assignor, Committed, ErrorCode, Heartbeat, HeartbeatAnswer, MemberId, Offset, OffsetCommit,
    OffsetFetch, Owner, Partitions, Subscription, Topic, TopicId, TopicIdPartition, Topics,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One group, its topics, its log and its timers.
pub struct World {
    /// Its settings.
    pub config: Config,
    /// The topics that exist.
    pub topics: Topics,
    /// The group.
    pub group: Group,
    /// All records ever written.
    pub log: Vec<Record>,
    /// When each armed timer fires, milliseconds.
    pub timers: BTreeMap<Timer, u64>,
    /// Milliseconds since the start.
    pub now: u64,
    created: u32,
}

impl World {
    /// The settings that the sequences are written for.
    pub fn new() -> Self {
        let config = Config {
            session_timeout_ms: 3_000,
            heartbeat_interval_ms: 500,
            max_size: 4,
            assignment_interval_ms: 0,
            ..Config::default()
        };
        Self::with(config)
    }

    /// Nothing has happened yet.
    pub fn with(config: Config) -> Self {
        let (topics, group, timers) = (Topics::new(), Group::default(), BTreeMap::new());
        Self { config, topics, group, log: Vec::new(), timers, now: 0, created: 0 }
    }

    /// Handles one request; its answer's lines.
    pub fn handle(&mut self, request: &Request) -> Vec<String> {
        let answer = match request {
            Request::Describe => return self.describe(),
            Request::Topic(name, partitions) => self.create_topic(name, *partitions),
            Request::Delete(name) => self.delete_topic(name),
            Request::Set(key, value) => self.set(key, *value),
            Request::Wait(ms) => self.wait(*ms),
            Request::Failover => self.fail_over(),
            Request::DeleteGroup => {
                let step = self.group.on_delete();
                self.take(step).map_or_else(error, |()| "ok".to_owned())
            }
            Request::Heartbeat { .. } => {
                let answer = self.heartbeat(&self.to_heartbeat(request));
                answer.map_or_else(error, |answer| self.render_answer(&answer))
            }
            Request::Commit { owner, offsets, note } => self.commit(*owner, offsets, *note),
            Request::Fetch { owner, partitions } => {
                let owner = owner.map(|(member, epoch)| Owner { member, epoch });
                let partitions = partitions.as_ref().map(|named| self.to_partitions(named));
                self.fetch(&OffsetFetch { owner, partitions })
            }
        };
        self.check();
        vec![answer]
    }

    /// Sends a heartbeat.
    pub fn heartbeat(&mut self, request: &Heartbeat) -> Result<HeartbeatAnswer, ErrorCode> {
        let step = self.group.on_heartbeat(&self.config, &self.topics, request);
        self.take(step)
    }

    /// Writes a step's records and follows its orders.
    pub fn take<A>(&mut self, step: Step<A>) -> A {
        self.log.extend(step.records);
        self.follow(step.orders);
        step.answer
    }

    /// Another coordinator takes over: what the log does not say is lost.
    pub fn fail_over(&mut self) -> String {
        self.group = Group::replay(&self.log);
        self.timers.clear();
        let orders = self.group.loaded(&self.config);
        self.follow(orders);
        "ok".to_owned()
    }

    /// What must hold after each step: the log says it all, nobody holds what another holds, and
    /// what is granted is at most as new as the member.
    pub fn check(&self) {
        #[cfg(feature = "mutants")]
        if self.config.mutant.is_some() {
            return;
        }
        let mut live = self.group.clone();
        live.loaded(&self.config);
        let mut replayed = Group::replay(&self.log);
        replayed.loaded(&self.config);
        assert_eq!(live, replayed, "replaying the log gives the state");
        let mut holder = BTreeMap::new();
        for (member, description) in self.group.describe().members {
            for at in description.assignment() {
                let other = holder.insert(at, member);
                assert_eq!(other, None, "{at:?} is held by {member:?} and {other:?}");
            }
        }
        let members = self.group.describe().members;
        for timer in self.timers.keys() {
            if let Timer::Session(member) | Timer::Rebalance(member) = timer {
                assert!(members.contains_key(member), "{timer:?} runs for nobody");
            }
        }
    }

    fn follow(&mut self, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Arm(timer, ms) => {
                    self.timers.insert(timer, self.now + u64::from(ms));
                }
                Order::Disarm(timer) => {
                    self.timers.remove(&timer);
                }
            }
        }
    }

    fn wait(&mut self, ms: u64) -> String {
        let end = self.now + ms;
        loop {
            let due =
                self.timers.iter().min_by_key(|(_, at)| **at).map(|(timer, at)| (*timer, *at));
            let Some((timer, at)) = due.filter(|(_, at)| *at <= end) else { break };
            self.now = at;
            self.timers.remove(&timer);
            let step = self.group.on_timer(&self.config, &self.topics, timer);
            self.take(step);
            self.check();
        }
        self.now = end;
        "ok".to_owned()
    }

    /// Creates a topic, or gives it more partitions.
    pub fn create_topic(&mut self, name: &str, partitions: u32) -> String {
        if let Some(topic) = self.topics.values_mut().find(|topic| topic.name.as_str() == name) {
            topic.partitions = partitions;
        } else {
            self.created += 1;
            let topic = Topic { name: name.into(), partitions };
            self.topics.insert(TopicId::from_u32(self.created), topic);
        }
        let step = self.group.on_topics_changed(&self.topics);
        self.take(step);
        "ok".to_owned()
    }

    fn delete_topic(&mut self, name: &str) -> String {
        self.topics.retain(|_, topic| topic.name.as_str() != name);
        let step = self.group.on_topics_changed(&self.topics);
        self.take(step);
        "ok".to_owned()
    }

    fn set(&mut self, key: &str, value: u32) -> String {
        match key {
            "consumer.assignment.interval.ms" => self.config.assignment_interval_ms = value,
            "consumer.session.timeout.ms" => self.config.session_timeout_ms = value,
            "consumer.heartbeat.interval.ms" => self.config.heartbeat_interval_ms = value,
            other => panic!("no such setting: {other}"),
        }
        "ok".to_owned()
    }

    /// How many partitions a topic has.
    pub fn partition_count(&self, name: &str) -> u32 {
        let topic = self.topics.values().find(|topic| topic.name.as_str() == name);
        topic.map_or(0, |topic| topic.partitions)
    }

    /// A heartbeat request in spec's words.
    pub fn to_heartbeat(&self, request: &Request) -> Heartbeat {
        let Request::Heartbeat { member, epoch, timeout_ms, topics, owned, assignor } = request
        else {
            panic!("not a heartbeat: {request:?}");
        };
        let subscription = topics.as_ref().map(|names| -> Subscription {
            Arc::new(names.iter().map(|name| name.as_str().into()).collect())
        });
        Heartbeat {
            member: *member,
            epoch: *epoch,
            rebalance_timeout_ms: *timeout_ms,
            subscription,
            pattern: None,
            assignor: assignor.clone(),
            owned: owned.as_ref().map(|named| self.to_partitions(named)),
        }
    }

    fn commit(
        &mut self,
        owner: Option<(MemberId, evenkeel_spec::words::Epoch)>,
        offsets: &[(String, u32, u64)],
        note: usize,
    ) -> String {
        let committed = |offset: u64| Committed {
            metadata: "n".repeat(note).into(),
            ..Committed::at(Offset(offset))
        };
        let request = OffsetCommit {
            owner: owner.map(|(member, epoch)| Owner { member, epoch }),
            offsets: offsets.iter().map(|(t, p, o)| (self.at(t, *p), committed(*o))).collect(),
        };
        let step = self.group.on_offset_commit(&self.config, &request);
        match self.take(step) {
            Err(code) => error(code),
            Ok(results) => match results.iter().find_map(|(_, result)| result.err()) {
                Some(code) => format!("{} in a partition", code.name()),
                None => "ok".to_owned(),
            },
        }
    }

    fn fetch(&self, request: &OffsetFetch) -> String {
        let offsets = match self.group.on_offset_fetch(request) {
            Err(code) => return error(code),
            Ok(offsets) => offsets,
        };
        let mut parts: Vec<String> = offsets
            .iter()
            .map(|(at, committed)| {
                let (topic, partition) = self.named(*at);
                let offset =
                    committed.as_ref().map_or_else(|| "-".to_owned(), |c| c.offset.0.to_string());
                format!("{topic}[{partition}]@{offset}")
            })
            .collect();
        parts.sort();
        if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
    }

    fn describe(&self) -> Vec<String> {
        let description = self.group.describe();
        let (Some(epoch), assignor) = (description.epoch, self.group.assignor(&self.config)) else {
            return vec!["GROUP_ID_NOT_FOUND".to_owned()];
        };
        let mut lines = vec![format!(
            "{} epoch={} assignment_epoch={} assignor={}",
            description.state.name(),
            epoch.0,
            description.assignment_epoch.map_or(0, |epoch| epoch.0),
            if assignor == Assignor::Range { "range" } else { "uniform" },
        )];
        for (member, description) in &description.members {
            lines.push(format!(
                "m{} epoch={} assignment={} target={}",
                member.0,
                description.epoch.0,
                self.render(&description.assignment()),
                self.render(&description.target),
            ));
        }
        lines
    }

    fn render_answer(&self, answer: &HeartbeatAnswer) -> String {
        let epoch = answer.epoch.map_or_else(|| "-1".to_owned(), |epoch| epoch.0.to_string());
        match &answer.assignment {
            None => format!("epoch={epoch}"),
            Some(partitions) => format!("epoch={epoch} assignment={}", self.render(partitions)),
        }
    }

    /// The text of some partitions.
    pub fn render(&self, partitions: &Partitions) -> String {
        render_partitions(partitions.iter().map(|at| self.named(*at)))
    }

    fn named(&self, at: TopicIdPartition) -> (String, u32) {
        let name = self.topics.get(&at.topic).map_or("?", |topic| topic.name.as_str());
        (name.to_owned(), at.partition)
    }

    fn to_partitions(&self, named: &Named) -> Partitions {
        named.iter().map(|(topic, partition)| self.at(topic, *partition)).collect()
    }

    fn at(&self, topic: &str, partition: u32) -> TopicIdPartition {
        let id = self.topics.iter().find(|(_, known)| known.name.as_str() == topic);
        let id = id.unwrap_or_else(|| panic!("no topic {topic}")).0;
        TopicIdPartition::new(*id, partition)
    }
}

fn error(code: ErrorCode) -> String {
    code.name().to_owned()
}
