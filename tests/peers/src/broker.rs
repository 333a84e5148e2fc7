//! The test broker as a process of its own, so that its CPU time is not the client's.

use crate::Result;
use evenkeel_broker::Cluster;

/// What the topics hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Topics as `NAME:PARTITIONS:RECORDS:BYTES`: so many records of so many bytes in all.
    #[arg(long = "topic", value_parser = Topic::parse)]
    topics: Vec<Topic>,
}

/// A topic and its records.
#[derive(Clone, Debug)]
struct Topic {
    name: String,
    partitions: u32,
    records: u64,
    value_bytes: usize,
}

impl Topic {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let fields: Vec<&str> = text.split(':').collect();
        let [name, partitions, records, value_bytes] = fields[..] else {
            return Err("expected NAME:PARTITIONS:RECORDS:BYTES".into());
        };
        let partitions = partitions.parse().map_err(|_| "PARTITIONS must be a whole number")?;
        let records: u64 = records.parse().map_err(|_| "RECORDS must be a whole number")?;
        let value_bytes = value_bytes.parse().map_err(|_| "BYTES must be a whole number")?;
        if partitions == 0 || !records.is_multiple_of(u64::from(partitions)) {
            return Err("RECORDS must be a multiple of PARTITIONS".into());
        }
        Ok(Self { name: name.into(), partitions, records, value_bytes })
    }
}

/// Serves until it is killed; prints one event when it is ready.
pub(crate) fn run(args: &Args) -> Result<()> {
    let builder = args
        .topics
        .iter()
        .fold(Cluster::builder(), |builder, topic| builder.topic(&topic.name, topic.partitions));
    let cluster = builder.set("group.consumer.heartbeat.interval.ms", "500").build()?;
    for topic in &args.topics {
        for partition in 0..topic.partitions {
            let records = topic.records / u64::from(topic.partitions);
            let filled = cluster.fill(&topic.name, partition, records, topic.value_bytes);
            filled.map_err(|code| format!("the broker refused records: {code}"))?;
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        cluster.listen(([127, 0, 0, 1], 0).into())?;
        println!("{}", serde_json::json!({"name": SERVES, "servers": cluster.bootstrap_servers()}));
        std::future::pending().await
    })
}

/// The event that says where it serves.
pub(crate) const SERVES: &str = "serves";
