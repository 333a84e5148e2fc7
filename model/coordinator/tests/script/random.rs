//! Random requests, most of them what a member would send, some of them not.

use super::{Request, World, request};
use evenkeel_coordinator::MemberDescription;
use evenkeel_spec::words::{Epoch, MemberId, Partitions};

/// Xorshift (Marsaglia): the seed is all there is to a run.
pub struct Random(u64);

impl Random {
    /// Any seed but 0.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 16) % u64::from(bound)).expect("below a u32")
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(u32::try_from(items.len()).expect("few")) as usize]
    }
}

/// What a run is about: the assignor decides on how many topics it may have, since Kafka's uniform
/// takes topics in the order of their random ids.
pub struct Plan {
    /// The topics' names.
    pub topics: Vec<&'static str>,
    assignor: &'static str,
    members: u32,
}

impl Plan {
    /// A plan, and the requests that make its topics.
    pub fn new(random: &mut Random) -> (Self, Vec<String>) {
        let range = random.one_in(2);
        let plan = Self {
            topics: if range { vec!["t1", "t2"] } else { vec!["t1"] },
            assignor: if range { "range" } else { "uniform" },
            members: 2 + random.below(3),
        };
        let make = |topic: &&str| format!("topic {topic} partitions={}", 1 + random.below(4));
        let requests = plan.topics.iter().map(make).collect();
        (plan, requests)
    }

    /// The next request: what some member might send, or something near it.
    pub fn next(&self, random: &mut Random, world: &World) -> String {
        let id = MemberId(random.below(self.members));
        let members = world.group.describe().members;
        let who = format!("m{}", id.0);
        let Some(member) = members.get(&id) else {
            return match random.below(8) {
                0 => format!("heartbeat {who} epoch={}", 1 + random.below(4)),
                1 => {
                    format!("commit {who} epoch={} t1[0]@{}", 1 + random.below(4), random.below(9))
                }
                2 => format!("heartbeat {who} epoch=-1"),
                _ => self.join(random, &who),
            };
        };
        let epoch = self.epoch(random, member.epoch);
        match random.below(14) {
            0 => self.join(random, &who),
            1 => format!("heartbeat {who} epoch=-1"),
            2 | 3 => format!("heartbeat {who} epoch={epoch}"),
            4..=6 => {
                let owned = owned(random, world, member);
                format!("heartbeat {who} epoch={epoch} owned={owned}")
            }
            7 => {
                let (topics, owned) = (self.subscription(random), owned(random, world, member));
                format!("heartbeat {who} epoch={epoch} timeout=60000 topics={topics} owned={owned}")
            }
            8 => format!("heartbeat {who} epoch={epoch} topics={}", self.subscription(random)),
            9 | 10 => self.commit(random, world, &who, epoch),
            11 => format!("fetch {who} epoch={epoch} all"),
            12 => format!("commit - t1[0]@{}", random.below(9)),
            _ => "describe".to_owned(),
        }
    }

    fn join(&self, random: &mut Random, who: &str) -> String {
        let topics = self.subscription(random);
        let assignor = self.assignor;
        format!("heartbeat {who} epoch=0 timeout=60000 topics={topics} owned=- assignor={assignor}")
    }

    /// All topics, mostly: with uniform, nothing else, since a part of one topic is none.
    fn subscription(&self, random: &mut Random) -> String {
        match random.below(8) {
            0 if self.topics.len() > 1 => (*random.of(&self.topics)).to_owned(),
            1 if random.one_in(3) => "-".to_owned(),
            _ => self.topics.join(","),
        }
    }

    fn epoch(&self, random: &mut Random, epoch: Epoch) -> u32 {
        match random.below(8) {
            0 => epoch.0 + 1,
            1 | 2 if epoch.0 > 1 => epoch.0 - 1,
            3 if epoch.0 > 2 => epoch.0 - 2,
            _ => epoch.0,
        }
    }

    fn commit(&self, random: &mut Random, world: &World, who: &str, epoch: u32) -> String {
        let topic = *random.of(&self.topics);
        let count = world.partition_count(topic);
        let first = random.below(count);
        let mut text = format!("commit {who} epoch={epoch} {topic}[{first}]@{}", random.below(9));
        if random.one_in(3) && first + 1 < count {
            text += &format!(" {topic}[{}]@{}", first + 1, random.below(9));
        }
        text
    }
}

/// What the member is assigned, mostly; else all it may hold, or a part, or nothing.
fn owned(random: &mut Random, world: &World, member: &MemberDescription) -> String {
    let part = |random: &mut Random, all: &Partitions| -> Partitions {
        all.iter().filter(|_| random.one_in(2)).copied().collect()
    };
    let owned = match random.below(8) {
        0 => member.assignment(),
        1 => part(random, &member.assignment()),
        2 => part(random, &member.assigned),
        3 => Partitions::new(),
        _ => member.assigned.clone(),
    };
    world.render(&owned)
}

/// A whole run: its requests, and the world after them.
pub fn run(seed: u64, steps: u32) -> (Vec<(String, Request)>, World) {
    let mut random = Random::new(seed);
    let mut world = World::new();
    let (plan, make) = Plan::new(&mut random);
    let mut requests = Vec::new();
    let mut handle = |world: &mut World, line: String| {
        let request = request(&line);
        world.handle(&request);
        requests.push((line, request));
    };
    for line in make {
        handle(&mut world, line);
    }
    for _ in 0..steps {
        let line = plan.next(&mut random, &world);
        handle(&mut world, line);
    }
    handle(&mut world, "describe".to_owned());
    (requests, world)
}
