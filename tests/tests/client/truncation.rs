//! Leaders that move, and logs that lose records (KIP-320): what was read is held against the next
//! leader's log. spec/11-positions.md.

use crate::support::{InMemory, Read, SECOND, append_numbered, committed, member, read};
use evenkeel::diagnosis::Reason;
use evenkeel::{
    Committed, Consumer, ConsumerBuilder, ErrorCode, LeaderEpoch, NodeId, Offset, PollError,
    PositionError, Seek, TopicPartition,
};
use evenkeel_broker::{After, Answer, Before, Cluster, Gate, Interceptor, Request};
use evenkeel_tests::validated::Validated;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

const OFFSET_FOR_LEADER_EPOCH: i16 = 23;

fn zero() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// Two nodes; one partition with ten records of epoch 0, whose values are their offsets.
fn cluster() -> Cluster {
    let cluster = Cluster::builder().nodes(2).topic("t", 1).build().expect("a cluster");
    append_numbered(&cluster, "t", 1, 10);
    cluster
}

/// Makes the other node the leader: nothing is lost.
fn move_leader(cluster: &Cluster) {
    let leader = cluster.leader("t", 0).expect("it exists");
    let mut others = cluster.nodes().into_iter().filter(|node| Some(*node) != leader);
    let next = others.next().expect("there are two");
    cluster.move_leader("t", 0, next).expect("it is a replica");
}

/// Keeps `left` records, and appends others under the next leader epoch.
fn lose(cluster: &Cluster, left: u64, appended: u32) {
    cluster.truncate("t", 0, Offset(left)).expect("it exists");
    for number in 0..appended {
        let value = format!("other {number}");
        cluster.append("t", 0, None, Some(value.as_bytes())).expect("it exists");
    }
}

fn questions(cluster: &Cluster) -> u64 {
    cluster.requests(OFFSET_FOR_LEADER_EPOCH)
}

/// A consumer that assigns itself the partition, without a group.
async fn reader(cluster: &Cluster, reset: &str) -> Consumer {
    let builder: ConsumerBuilder = Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .property("auto.offset.reset", reset)
        .connector(InMemory::of(cluster))
        .spawn_on(Handle::current())
        .seed(1);
    let mut consumer = builder.build().expect("valid");
    consumer.assign([zero()]).await.expect("nothing else is subscribed to");
    consumer
}

/// The values of the next records, once some come.
async fn values(consumer: &mut Consumer) -> Vec<(u64, String)> {
    loop {
        let records = consumer.poll(5 * SECOND).await.expect("poll goes well");
        if !records.is_empty() {
            let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.expect("one")).into();
            return records.iter().map(|record| (record.offset.0, text(record.value))).collect();
        }
    }
}

async fn poll_error(consumer: &mut Consumer) -> PollError {
    loop {
        if let Err(error) = consumer.poll(5 * SECOND).await {
            return error;
        }
    }
}

/// P1, P2: as a member of a group, whose run is held against the model.
#[tokio::test(start_paused = true)]
async fn a_leader_that_moved_and_lost_nothing_is_asked_once_and_nothing_comes_twice_or_never() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 10).await;
    assert_eq!(questions(&cluster), 0, "nothing was read under another epoch");
    for moves in 1..=3 {
        move_leader(&cluster);
        append_numbered(&cluster, "t", 1, 10);
        read(&mut consumer, &mut got, 10 * (moves + 1)).await;
        assert_eq!(questions(&cluster), moves as u64);
    }
    assert!(got.is_exactly(1, 40), "{got:?}");
    assert!(consumer.close(5 * SECOND).await.left);
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(40)));
}

/// P4, P8: and so is this one, whose commits go down with the log.
#[tokio::test(start_paused = true)]
async fn a_log_that_lost_records_is_read_on_where_it_differs_and_commits_go_down_with_it() {
    for reset in ["earliest", "latest"] {
        let _runs = Validated::begin();
        let cluster = cluster();
        cluster.commit("g", "t", 0, Offset(0)).expect("nobody is in the group");
        let builder = member(&cluster, "g", 1).property("auto.offset.reset", reset);
        let mut consumer = builder.build().expect("valid");
        consumer.subscribe(["t"]).await.expect("subscribed");
        read(&mut consumer, &mut Read::default(), 10).await;
        consumer.commit().await.expect("a member");
        assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(10)));
        lose(&cluster, 6, 2);
        let expected = [(6, "other 0".to_owned()), (7, "other 1".to_owned())];
        assert_eq!(values(&mut consumer).await, expected);
        assert_eq!(questions(&cluster), 1);
        assert!(consumer.close(5 * SECOND).await.left);
        assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(8)), "{reset}");
    }
}

/// P5: and what it says is where to seek.
#[tokio::test(start_paused = true)]
async fn without_a_reset_policy_poll_says_where_the_log_differs_and_a_seek_there_goes_on() {
    let cluster = cluster();
    let mut consumer = reader(&cluster, "none").await;
    consumer.seek(&zero(), 0).await.expect("assigned");
    assert_eq!(values(&mut consumer).await.len(), 10);
    lose(&cluster, 6, 9);
    let error = poll_error(&mut consumer).await;
    let PollError::LogTruncated { partition, offset, diverging } = &error else {
        panic!("{error}");
    };
    assert_eq!((partition, *offset), (&zero(), Offset(10)));
    let diverging = diverging.clone().expect("its leader knows");
    assert_eq!((diverging.offset, diverging.leader_epoch), (Offset(6), Some(LeaderEpoch(0))));
    assert!(error.to_string().contains("from 6 on"), "{error}");
    let again = poll_error(&mut consumer).await;
    assert_eq!(again, error, "in each poll");
    let diagnosis = consumer.diagnose().await.expect("it is alive");
    assert_eq!(diagnosis.partitions[&zero()].reason, Reason::NeedsSeek);
    let position = consumer.position(&zero()).await;
    assert_eq!(position, Err(PositionError::NoOffset { partition: zero() }));
    consumer.seek(&zero(), diverging).await.expect("assigned");
    let got = values(&mut consumer).await;
    assert_eq!((got.len(), &got[0]), (9, &(6, "other 0".to_owned())));
    assert_eq!(questions(&cluster), 2, "also the seek, since the log is under another epoch");
    consumer.close(SECOND).await;
}

/// P1: nothing is fetched from beyond what the log has lost.
#[tokio::test(start_paused = true)]
async fn a_committed_offset_beyond_what_the_log_lost_is_noticed_before_anything_is_read() {
    let _runs = Validated::begin();
    let cluster = cluster();
    let mut first = member(&cluster, "g", 1).build().expect("valid");
    first.subscribe(["t"]).await.expect("subscribed");
    read(&mut first, &mut Read::default(), 10).await;
    assert!(first.close(5 * SECOND).await.left);
    assert_eq!(committed(&cluster, "g", "t", 0), Some(Offset(10)));
    // As many records as there were, and some more: the offset is in range.
    lose(&cluster, 4, 9);
    let builder = member(&cluster, "g", 2).property("auto.offset.reset", "latest");
    let mut second = builder.build().expect("valid");
    second.subscribe(["t"]).await.expect("subscribed");
    let got = values(&mut second).await;
    assert_eq!((got.len(), &got[0]), (9, &(4, "other 0".to_owned())));
    assert_eq!(questions(&cluster), 1);
    assert!(second.close(5 * SECOND).await.left);
}

/// Holds each answer about an epoch.
struct Held(Gate<After>);

impl Interceptor for Held {
    fn on_answer(&self, request: &Request, _: &Answer) -> After {
        if request.api_key == OFFSET_FOR_LEADER_EPOCH {
            After::Hold(self.0.clone())
        } else {
            After::Answer
        }
    }
}

/// P7: the answer that comes after a seek is about a position that is none any more.
#[tokio::test(start_paused = true)]
async fn a_seek_during_a_validation_overtakes_it_and_a_pause_waits_for_nothing() {
    let cluster = cluster();
    let mut consumer = reader(&cluster, "earliest").await;
    assert_eq!(values(&mut consumer).await.len(), 10);
    let gate = Gate::new();
    cluster.intercept(Held(gate.clone()));
    lose(&cluster, 6, 9);
    assert!(consumer.poll(5 * SECOND).await.expect("poll goes well").is_empty());
    let diagnosis = consumer.diagnose().await.expect("it is alive");
    let known = diagnosis.partitions[&zero()];
    assert!(matches!(known.reason, Reason::Validating { .. }), "{diagnosis}");
    assert!(diagnosis.to_string().contains("whether its log has what was read"), "{diagnosis}");
    assert_eq!(known.position, Some(Offset(10)));
    consumer.pause([zero()]).await.expect("assigned");
    let diagnosis = consumer.diagnose().await.expect("it is alive");
    assert_eq!(diagnosis.partitions[&zero()].reason, Reason::Paused);
    consumer.resume([zero()]).await.expect("assigned");
    consumer.seek(&zero(), 13).await.expect("assigned");
    gate.open(After::Answer);
    let expected = [(13, "other 7".to_owned()), (14, "other 8".to_owned())];
    assert_eq!(values(&mut consumer).await, expected);
    assert_eq!(consumer.position(&zero()).await, Ok(Offset(15)));
    cluster.intercept_none();
    consumer.close(SECOND).await;
}

/// P1, P3: a seek after a record of a given epoch, as `OffsetAndMetadata` of Kafka's consumer.
#[tokio::test(start_paused = true)]
async fn a_seek_with_an_epoch_is_held_against_the_log_and_one_without_is_not() {
    let cluster = cluster();
    lose(&cluster, 6, 9);
    let mut consumer = reader(&cluster, "latest").await;
    consumer.seek(&zero(), 8).await.expect("assigned");
    assert_eq!(values(&mut consumer).await[0].0, 8);
    assert_eq!(questions(&cluster), 0);
    consumer
        .seek(&zero(), Seek::OffsetAndEpoch(Offset(8), LeaderEpoch(0)))
        .await
        .expect("assigned");
    assert_eq!(values(&mut consumer).await[0].0, 6);
    assert_eq!(questions(&cluster), 1);
    let as_committed = Committed { leader_epoch: Some(LeaderEpoch(1)), ..Committed::at(Offset(9)) };
    consumer.seek(&zero(), as_committed).await.expect("assigned");
    assert_eq!(values(&mut consumer).await[0].0, 9);
    assert_eq!(questions(&cluster), 1, "the leader wrote that itself");
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_asked_again_after_the_request_timeout_and_a_refusal_is_told() {
    let cluster = cluster();
    let mut consumer = reader(&cluster, "earliest").await;
    assert_eq!(values(&mut consumer).await.len(), 10);
    let gate = Gate::new();
    let held = gate.clone();
    cluster.intercept(move |request: &Request| match request.api_key {
        OFFSET_FOR_LEADER_EPOCH => Before::Hold(held.clone()),
        _ => Before::Process,
    });
    lose(&cluster, 6, 9);
    let begun = Instant::now();
    while begun.elapsed() < 40 * SECOND {
        let records = consumer.poll(5 * SECOND).await.expect("poll goes well");
        assert!(records.is_empty(), "nothing of a log that may have lost what was read");
    }
    assert!((2..=3).contains(&questions(&cluster)), "{}", questions(&cluster));
    cluster.intercept(|request: &Request| match request.api_key {
        OFFSET_FOR_LEADER_EPOCH => Before::Forge(ErrorCode::TopicAuthorizationFailed),
        _ => Before::Process,
    });
    gate.open(Before::Disconnect);
    let refused = poll_error(&mut consumer).await;
    let code = ErrorCode::TopicAuthorizationFailed;
    assert_eq!(refused, PollError::Partition { partition: zero(), code });
    cluster.intercept_none();
    let got = loop {
        match consumer.poll(5 * SECOND).await {
            Ok(records) if records.is_empty() => {}
            Ok(records) => break records.iter().next().expect("one").offset,
            Err(error) => assert_eq!(error, refused, "told before"),
        }
    };
    assert_eq!(got, Offset(6));
    consumer.close(SECOND).await;
}

/// A leader that dies moves its partitions: what is asked goes to the next one.
#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_is_followed_by_one_that_is_asked_first() {
    let cluster = cluster();
    let mut consumer = reader(&cluster, "earliest").await;
    assert_eq!(values(&mut consumer).await.len(), 10);
    let leader: NodeId = cluster.leader("t", 0).expect("it exists").expect("it has one");
    cluster.kill_node(leader).await;
    sleep(SECOND).await;
    append_numbered(&cluster, "t", 1, 3);
    let got = values(&mut consumer).await;
    assert_eq!(got.first().map(|(offset, _)| *offset), Some(10));
    assert_eq!(questions(&cluster), 1);
    consumer.close(SECOND).await;
}
