//! How late heartbeats are, and how long a commit takes: one connection for everything, one of the
//! group's own, and librdkafka, which has one of the group's own as well.
//!
//! The test broker answers one request of a connection after another and parks a fetch that finds
//! no records, as Kafka's does. Two situations: nothing is written, so that a fetch is parked most
//! of the time; and records come all the time. Heartbeats are dated where the broker has read them:
//! late is what lies between two of them beyond the interval. A commit is timed by its caller, one
//! after the other. The clients take turns, on one machine with the broker.

mod committing;

use crate::Result;
use crate::sample::Sample;
use committing::{Client, Target};
use evenkeel_broker::{Before, Cluster, Request};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// For how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds; in each, every client commits once in each situation.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// What was seen of one client in one situation, milliseconds.
#[derive(Clone, Debug, Default)]
struct Seen {
    late: Sample,
    commits: Sample,
}

/// When the heartbeats of each client were read.
type Read = Arc<Mutex<BTreeMap<String, Vec<Instant>>>>;

/// Prints one table a situation.
pub(crate) fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let cluster = Cluster::builder()
        .topic("idle", PARTITIONS)
        .topic("busy", PARTITIONS)
        .set("group.consumer.heartbeat.interval.ms", HEARTBEAT.as_millis().to_string())
        .build()?;
    cluster.listen(([127, 0, 0, 1], 0).into())?;
    let read = Read::default();
    cluster.intercept(dating(Arc::clone(&read)));
    runtime.spawn(write(cluster.downgrade()));
    let mut seen: BTreeMap<(&str, usize), Seen> = BTreeMap::new();
    for round in 0..args.rounds {
        for topic in TOPICS {
            for turn in 0..CLIENTS.len() {
                let at = (round + turn) % CLIENTS.len();
                let name = format!("{topic}-{round}-{at}");
                let target = Target {
                    bootstrap: cluster.bootstrap_servers(),
                    name: name.clone(),
                    topic: topic.into(),
                    lasts: Duration::from_secs(args.seconds),
                };
                let commits = target.run(CLIENTS[at])?;
                let seen = seen.entry((topic, at)).or_default();
                commits.iter().for_each(|took| seen.commits.push(ms(*took)));
                let read = read.lock().map_err(|_| "the broker panicked")?;
                let beats = read.get(&name).map(Vec::as_slice).unwrap_or_default();
                late(beats).for_each(|late| seen.late.push(ms(late)));
            }
        }
    }
    for topic in TOPICS {
        print_table(topic, |at| &seen[&(topic, at)]);
    }
    Ok(())
}

/// Notes when a heartbeat was read.
fn dating(read: Read) -> impl Fn(&Request) -> Before {
    move |request| {
        if request.api_key == HEARTBEAT_KEY
            && let Ok(mut read) = read.lock()
        {
            read.entry(request.client_id.clone()).or_default().push(Instant::now());
        }
        Before::Process
    }
}

/// Writes to the busy topic as long as the cluster is there.
async fn write(cluster: evenkeel_broker::WeakCluster) {
    let value = [b'v'; 100];
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    loop {
        ticks.tick().await;
        let Some(cluster) = cluster.upgrade() else { return };
        for partition in 0..PARTITIONS {
            // It exists, and takes everything.
            let _ = cluster.append("busy", partition, None, Some(&value));
        }
    }
}

/// How much later than its interval each heartbeat was. Those that came early said something: a
/// join, an acknowledgement, a leave.
fn late(beats: &[Instant]) -> impl Iterator<Item = Duration> {
    let gaps = beats.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    gaps.filter(|gap| *gap > HEARTBEAT * 9 / 10).map(|gap| gap.saturating_sub(HEARTBEAT))
}

fn ms(lasted: Duration) -> f64 {
    lasted.as_secs_f64() * 1e3
}

fn print_table<'a>(topic: &str, seen: impl Fn(usize) -> &'a Seen) {
    println!("\n{topic}: heartbeats every {HEARTBEAT:?}, ms; fetches parked for up to 500 ms");
    let head = ["heartbeats", "late p50", "p99", "commits", "p50", "p99"];
    println!("{:<22} {}", "client", head.map(|head| format!("{head:>11}")).concat());
    for (at, client) in CLIENTS.iter().enumerate() {
        let Seen { late, commits } = seen(at);
        print!("{:<22} {:>11}", client.name(), late.len());
        print!("{:>11.2}{:>11.2}", late.median(), late.quantile(0.99));
        println!("{:>11}{:>11.2}{:>11.2}", commits.len(), commits.median(), commits.quantile(0.99));
    }
    let peer = seen(CLIENTS.len() - 1);
    for (at, client) in CLIENTS.iter().enumerate().take(CLIENTS.len() - 1) {
        let ratio = |of: fn(&Seen) -> &Sample, share: f64| {
            of(seen(at)).quantile(share) / of(peer).quantile(share)
        };
        println!(
            "{} / librdkafka: late p50 {:.2}, p99 {:.2}; commit p50 {:.2}, p99 {:.2}",
            client.name(),
            ratio(|seen| &seen.late, 0.5),
            ratio(|seen| &seen.late, 0.99),
            ratio(|seen| &seen.commits, 0.5),
            ratio(|seen| &seen.commits, 0.99),
        );
    }
}

/// librdkafka last: what the others are compared with.
const CLIENTS: [Client; 3] = [Client::Shared, Client::Dedicated, Client::Librdkafka];
const TOPICS: [&str; 2] = ["idle", "busy"];
const PARTITIONS: u32 = 4;
const HEARTBEAT: Duration = Duration::from_millis(500);
const HEARTBEAT_KEY: i16 = 68;
