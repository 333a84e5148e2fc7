//! Serves a cluster of test brokers over TCP: `serve PORT NODES [TOPIC:PARTITIONS | KEY=VALUE]…`
//!
//! Commands on standard input, one a line: `kill NODE`, `start NODE`, `leader TOPIC PARTITION NODE`,
//! `coordinator GROUP NODE`, `crash GROUP`. Each is answered with a line. It ends when killed.

use evenkeel_broker::Cluster;
use evenkeel_spec::words::{ErrorCode, NodeId};
use std::error::Error;
use std::io::Write;
use tokio::io::{AsyncBufReadExt, BufReader};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().ok_or("no port")?.parse()?;
    let nodes: u32 = args.next().ok_or("no number of nodes")?.parse()?;
    let mut builder = Cluster::builder().nodes(nodes);
    for arg in args {
        builder = if let Some((key, value)) = arg.split_once('=') {
            builder.set(key, value)
        } else {
            let (topic, partitions) = arg.split_once(':').ok_or("no TOPIC:PARTITIONS")?;
            builder.topic(topic, partitions.parse()?)
        };
    }
    let cluster = builder.build()?;
    cluster.listen(([127, 0, 0, 1], port).into())?;
    writeln!(std::io::stdout(), "{}", cluster.bootstrap_servers())?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match obey(&cluster, &line).await {
            Ok(()) => writeln!(std::io::stdout(), "ok {line}")?,
            Err(error) => writeln!(std::io::stdout(), "failed {line}: {error}")?,
        }
    }
    std::future::pending().await
}

async fn obey(cluster: &Cluster, line: &str) -> Result<()> {
    let node = |text: &str| text.parse().map(NodeId);
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["kill", id] => cluster.kill_node(node(id)?).await,
        ["start", id] => cluster.start_node(node(id)?).await?,
        ["leader", topic, partition, id] => {
            let moved = cluster.move_leader(topic, partition.parse()?, node(id)?);
            moved.map_err(ErrorCode::name)?;
        }
        ["coordinator", group, id] => {
            let moved = cluster.move_coordinator(group, node(id)?);
            moved.map_err(ErrorCode::name)?;
        }
        ["crash", group] => cluster.crash_coordinator(group),
        _ => return Err("no such command".into()),
    }
    Ok(())
}
