//! The client against brokers that are down, silent, something else, or restarted.

use crate::support::{Read, SECOND, append_numbered, committed, member, read};
use evenkeel::{
    Address, Connecting, Connector, Consumer, Offset, PollError, Stream, SubscribeError,
    TopicPartition,
};
use evenkeel_broker::Cluster;
use evenkeel_spec::words::NodeId;
use evenkeel_tests::validated::{Validated, recorded};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Handle;

/// A peer that says this to whoever has said something, or says nothing, and keeps the connection.
#[derive(Debug)]
struct Peer(Option<&'static [u8]>);

impl Connector for Peer {
    fn connect(&self, _: &Address) -> Connecting {
        let (near, mut far) = duplex(1 << 16);
        let says = self.0;
        tokio::spawn(async move {
            let mut heard = [0; 1024];
            while far.read(&mut heard).await.is_ok_and(|count| count > 0) {
                if let Some(says) = says {
                    // The client may have hung up already.
                    let _ = far.write_all(says).await;
                }
            }
        });
        Box::pin(async move { Ok(Box::new(near) as Box<dyn Stream>) })
    }
}

async fn first_error(connector: impl Connector) -> PollError {
    let mut consumer = recorded(Consumer::builder())
        .bootstrap_servers("peer:9092")
        .group_id("g")
        .property("default.api.timeout.ms", "10000")
        .property("request.timeout.ms", "2000")
        .connector(connector)
        .spawn_on(Handle::current())
        .build()
        .expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    for _ in 0..60 {
        if let Err(error) = consumer.poll(SECOND).await {
            consumer.close(SECOND).await;
            return error;
        }
    }
    panic!("no error within a minute");
}

#[tokio::test(start_paused = true)]
async fn peers_that_are_no_brokers_are_named_with_what_to_do() {
    let _runs = Validated::begin();
    for (says, hint) in [
        (None, "no answer within request.timeout.ms; is this a Kafka listener?"),
        (Some(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]), "HTTP: is this a Kafka listener?"),
        (Some(&[21, 3, 3, 0, 2, 2, 50]), "use a PLAINTEXT listener"),
        (Some(b"SSH-2.0-OpenSSH_9.6\r\n"), "is this a Kafka listener?"),
    ] {
        let error = first_error(Peer(says)).await;
        assert!(matches!(error, PollError::NoBroker { .. }), "{error:?}");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_no_broker_poll_fails_typed_and_goes_on_trying() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    append_numbered(&cluster, "t", 1, 3);
    cluster.kill_node(NodeId(1)).await;
    let builder = member(&cluster, "g", 1).default_api_timeout(5 * SECOND);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let error = consumer.poll(60 * SECOND).await.expect_err("nobody is there");
    assert!(error.to_string().contains("broker-1:9092: connection refused"), "{error}");
    cluster.start_node(NodeId(1)).await.expect("in memory");
    let mut got = Read::default();
    for _ in 0..100 {
        if let Ok(records) = consumer.poll(SECOND).await {
            got.take(&records);
        }
    }
    assert!(got.is_exactly(1, 3), "{got:?}");
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_later_on_is_no_error_and_loses_nothing() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().nodes(3).topic("t", 3).build().expect("a cluster");
    append_numbered(&cluster, "t", 3, 100);
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 300).await;
    for node in 1..=3 {
        cluster.kill_node(NodeId(node)).await;
        append_numbered(&cluster, "t", 3, 100);
        for _ in 0..10 {
            got.take(&consumer.poll(SECOND).await.expect("an outage is no error"));
        }
        cluster.start_node(NodeId(node)).await.expect("in memory");
    }
    read(&mut consumer, &mut got, 1_200).await;
    assert!(got.is_exactly(3, 400), "{} records", got.count());
    assert!(consumer.close(5 * SECOND).await.left);
    assert_eq!(committed(&cluster, "g", "t", 2), Some(Offset(400)));
}

#[tokio::test(start_paused = true)]
async fn illegal_topics_and_closed_consumers_are_refused_typed() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    let refused = consumer.subscribe(["a topic"]).await;
    assert_eq!(refused, Err(SubscribeError::InvalidTopic { topic: "a topic".into() }));
    assert!(consumer.close(SECOND).await.left);
}

#[test]
fn over_tcp_it_reads_from_a_thread_of_its_own_and_is_built_outside_of_a_runtime() {
    let _runs = Validated::begin();
    let brokers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let cluster = brokers.block_on(async {
        let cluster = Cluster::builder().nodes(3).topic("t", 3).build().expect("a cluster");
        cluster.listen("127.0.0.1:0".parse().expect("an address")).expect("bound");
        cluster
    });
    append_numbered(&cluster, "t", 3, 1_000);
    let mut consumer = recorded(Consumer::builder())
        .bootstrap_servers(cluster.bootstrap_servers())
        .group_id("g")
        .property("auto.offset.reset", "earliest")
        .build()
        .expect("valid, outside of any runtime");
    let application =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut got = Read::default();
    application.block_on(async {
        consumer.subscribe(["t"]).await.expect("subscribed");
        read(&mut consumer, &mut got, 3_000).await;
        let position = consumer.position(&TopicPartition::new("t", 2)).await;
        assert_eq!(position.map(|offset| offset.0), Ok(1_000));
        let report = consumer.close(Duration::from_secs(10)).await;
        assert!(report.left, "{report:?}");
    });
    assert!(got.is_exactly(3, 1_000));
}
