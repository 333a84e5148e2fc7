//! How long a second member takes to get its half, from its first poll on.
//!
//! A group of Apache Kafka has one settled member; a second one joins at a random phase of the
//! first one's heartbeats; the time ends when the coordinator shows both with their half, at the
//! group's epoch (`ConsumerGroupDescribe`, asked by a third party, the same for all). Then the
//! second member leaves. The clients take turns, one join each a round. The records are none, the
//! listeners neither; evenkeel also pauses between polls, as an application that works does.

mod member;

use crate::Result;
use crate::kafka::Kafka;
use crate::sample::Sample;
use crate::wire::Wire;
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, GroupId};
use kafka_protocol::protocol::StrBytes;
use member::{Client, Member};
use rand::RngExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How many joins.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds; in each, every client joins once.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
}

/// A group whose first member is there.
#[derive(Debug)]
struct Pair {
    client: Client,
    group: String,
    first: Member,
    seconds: Sample,
}

/// Prints one table.
pub(crate) fn run(args: &Args) -> Result<()> {
    let kafka = Kafka::builder()
        .set("group.consumer.heartbeat.interval.ms", &HEARTBEAT_MS.to_string())
        .set("group.consumer.session.timeout.ms", "10000")
        .set("group.consumer.assignment.interval.ms", "0")
        .start()?;
    let bootstrap = kafka.address(1);
    let mut observer = Observer { wire: Wire::connect(&bootstrap)? };
    observer.wire.create_topic(TOPIC, PARTITIONS)?;
    let mut pairs = Vec::new();
    for client in CLIENTS {
        let group = format!("join-{}", client.name());
        let first = Member::start(client, &bootstrap, &group, TOPIC)?;
        observer.await_shared(&group, 1)?;
        pairs.push(Pair { client, group, first, seconds: Sample::default() });
    }
    for round in 0..args.rounds {
        for turn in 0..pairs.len() {
            let at = (round + turn) % pairs.len();
            pairs[at].join_and_leave(&bootstrap, &mut observer)?;
        }
    }
    print_table(&pairs);
    for pair in pairs {
        pair.first.stop()?;
    }
    Ok(())
}

impl Pair {
    fn join_and_leave(&mut self, bootstrap: &str, observer: &mut Observer) -> Result<()> {
        sleep(Duration::from_millis(rand::rng().random_range(0..HEARTBEAT_MS)));
        let second = Member::start(self.client, bootstrap, &self.group, TOPIC)?;
        let settled = observer.await_shared(&self.group, 2)?;
        let took = settled.saturating_duration_since(second.first_poll);
        self.seconds.push(took.as_secs_f64());
        second.stop()?;
        observer.await_shared(&self.group, 1)?;
        Ok(())
    }
}

/// Who looks at the groups.
#[derive(Debug)]
struct Observer {
    wire: Wire,
}

impl Observer {
    /// Waits until the group has `members` members with the same number of partitions each, all at
    /// the group's epoch; since when.
    fn await_shared(&mut self, group: &str, members: usize) -> Result<Instant> {
        let request = ConsumerGroupDescribeRequest::default()
            .with_group_ids(vec![GroupId(StrBytes::from_string(group.into()))]);
        let began = Instant::now();
        loop {
            let answer = self.wire.send(DESCRIBE_VERSION, &request)?;
            let seen = Instant::now();
            let described = answer.groups.first().ok_or("the description is of no group")?;
            if is_shared(described, members) {
                return Ok(seen);
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("not shared within {PATIENCE:?}: {described:?}").into());
            }
            sleep(LOOK_EVERY);
        }
    }
}

fn is_shared(group: &DescribedGroup, members: usize) -> bool {
    let epoch = group.group_epoch;
    group.error_code == 0
        && &*group.group_state == "Stable"
        && group.assignment_epoch == epoch
        && group.members.len() == members
        && group.members.iter().all(|member| {
            let topics = &member.assignment.topic_partitions;
            let owned: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
            member.member_epoch == epoch && owned * members == PARTITIONS as usize
        })
}

fn print_table(pairs: &[Pair]) {
    let rounds = pairs.iter().map(|pair| pair.seconds.len()).min().unwrap_or(0);
    println!(
        "\n{rounds} joins each, heartbeats every {HEARTBEAT_MS} ms; ms until both have their half"
    );
    println!("{:<20} {:>8} {:>8} {:>8} {:>8}", "client", "median", "least", "90 %", "most");
    for Pair { client, seconds, .. } in pairs {
        let ms = |at: f64| seconds.quantile(at) * 1e3;
        let (name, median, least, most) = (client.name(), ms(0.5), ms(0.0), ms(1.0));
        println!("{name:<20} {median:>8.0} {least:>8.0} {:>8.0} {most:>8.0}", ms(0.9));
    }
    let peer = pairs.iter().find(|pair| matches!(pair.client, Client::Librdkafka));
    let Some(peer) = peer.map(|pair| pair.seconds.median()) else { return };
    for Pair { client, seconds, .. } in pairs {
        if matches!(client, Client::Evenkeel { .. }) {
            println!("{} / librdkafka: {:.2}", client.name(), seconds.median() / peer);
        }
    }
}

const CLIENTS: [Client; 4] = [
    Client::Librdkafka,
    Client::Evenkeel { pause_ms: 0 },
    Client::Evenkeel { pause_ms: 100 },
    Client::Evenkeel { pause_ms: 1_000 },
];
const TOPIC: &str = "join";
const PARTITIONS: u32 = 4;
const HEARTBEAT_MS: u64 = 500;
/// Kafka 4.0 and later: with the members' types.
const DESCRIBE_VERSION: i16 = 1;
/// How fine the time is.
const LOOK_EVERY: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(30);
