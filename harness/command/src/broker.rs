//! `evenkeel broker`: the test broker until a signal.

use super::output::{print, print_json};
use super::signal::Ends;
use super::{Failure, Format, Outcome};
use evenkeel_broker::{Builder, Cluster, ConfigError};
use serde_json::json;
use std::net::{IpAddr, SocketAddr};

/// Run a test broker that any Kafka client can use.
///
/// Real TCP, logs in memory, and the group coordinator that the model checks. When it listens it
/// prints one line, the bootstrap servers. SIGINT and SIGTERM end it; its records end with it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The TCP port of the first node; the others take the ports after it. 0: any free ports.
    #[arg(long, default_value_t = 9092)]
    port: u16,
    /// The address to listen on, which clients are told too.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// How many nodes the cluster has.
    #[arg(long, default_value_t = 1)]
    nodes: u32,
    /// A topic that exists from the beginning; may be given several times.
    #[arg(long = "topic", value_name = "NAME:PARTITIONS", value_parser = topic)]
    topics: Vec<(String, u32)>,
    /// A broker configuration by Kafka's name; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::key_value)]
    settings: Vec<(String, String)>,
}

pub(super) fn run(args: Args, format: Format) -> Result<Outcome, Failure> {
    let address = SocketAddr::new(args.host, args.port);
    let builder = args
        .topics
        .into_iter()
        .fold(Cluster::builder().nodes(args.nodes), |builder: Builder, (name, partitions)| {
            builder.topic(name, partitions)
        });
    let settings = args.settings.into_iter();
    let builder = settings.fold(builder, |builder, (key, value)| builder.set(key, value));
    let usage = |error: ConfigError| Failure::Usage(error.to_string());
    let cluster = builder.build().map_err(usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut ends = Ends::listen()?;
        cluster.listen(address).map_err(|error| {
            let advice = "stop what listens there, or choose another with --port";
            Failure::World(format!("cannot listen on {address}: {error}; {advice}"))
        })?;
        let servers = cluster.bootstrap_servers();
        match format {
            Format::Human => print(&format!("{servers}\n"))?,
            Format::Json => print_json(&json!({"bootstrap_servers": servers}))?,
        }
        ends.wait().await;
        Ok(Outcome::Holds)
    })
}

/// Reads `NAME:PARTITIONS`.
fn topic(text: &str) -> Result<(String, u32), String> {
    let (name, partitions) = text.rsplit_once(':').ok_or("expected NAME:PARTITIONS")?;
    let partitions = partitions.parse().map_err(|_| "PARTITIONS must be a whole number")?;
    Ok((name.to_owned(), partitions))
}

const EXAMPLES: &str = "\
Examples:
  evenkeel broker --topic orders:6
  evenkeel broker --port 0 --nodes 3 --topic orders:6 --set group.consumer.session.timeout.ms=6000
  kafka-console-producer.sh --bootstrap-server localhost:9092 --topic orders";
