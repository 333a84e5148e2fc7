//! Serves a cluster of test brokers over TCP until it is killed:
//! `serve PORT NODES [TOPIC:PARTITIONS | KEY=VALUE]…`

use evenkeel_broker::Cluster;
use std::error::Error;
use std::io::Write;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
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
    std::future::pending::<()>().await;
    Ok(())
}
