//! The table "call x error" of spec: each of its rows is provoked.

use crate::calls::Failure;
use crate::faults::{Counting, Damaging, MARK, Peer};
use crate::support::{InMemory, Read, SECOND, append_numbered, read};
use evenkeel::{
    Commit, CommitError, Committed, ConfigError, Consumer, ConsumerBuilder, DiagnoseError,
    ErrorCode, ErrorRow, ListenerError, LookupError, PollError, PositionError, RebalanceContext,
    RebalanceListener, SubscribeError, TopicPartition, error_rows,
};
use evenkeel_broker::{Before, Cluster, Request};
use evenkeel_spec::words::NodeId;
use std::collections::BTreeSet;
use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::time::Instant;

const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const HEARTBEAT: i16 = 68;

/// The rows that were provoked.
#[derive(Default)]
struct Provoked(BTreeSet<(&'static str, &'static str)>);

impl Provoked {
    fn add(&mut self, row: &'static ErrorRow) {
        self.0.insert((row.error, row.variant));
    }
}

fn at(index: u32) -> TopicPartition {
    TopicPartition::new("t", index)
}

fn cluster() -> Cluster {
    let cluster = Cluster::builder().topic("t", 2).build().expect("a cluster");
    append_numbered(&cluster, "t", 2, 10);
    cluster
}

fn plain(cluster: &Cluster) -> ConsumerBuilder {
    Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .property("auto.offset.reset", "earliest")
        .default_api_timeout(5 * SECOND)
        .connector(InMemory::of(cluster))
        .spawn_on(Handle::current())
        .seed(1)
}

/// A member of a group of its own.
fn grouped(cluster: &Cluster) -> ConsumerBuilder {
    static GROUPS: AtomicU64 = AtomicU64::new(0);
    plain(cluster).group_id(format!("g{}", GROUPS.fetch_add(1, Ordering::Relaxed)))
}

/// A member with everything read.
async fn joined(cluster: &Cluster) -> Consumer {
    let builder = grouped(cluster).enable_auto_commit(false);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    consumer
}

/// What an API is answered from now on.
fn refuse(cluster: &Cluster, api_key: i16, before: Before) {
    cluster.intercept(
        move |request: &Request| {
            if request.api_key == api_key { before.clone() } else { Before::Process }
        },
    );
}

/// The first error of a poll.
async fn poll_error(consumer: &mut Consumer) -> PollError {
    for _ in 0..100 {
        if let Err(error) = consumer.poll(SECOND).await {
            return error;
        }
    }
    panic!("no poll fails");
}

/// As many calls as may be open.
fn many(consumer: &Consumer) -> Vec<Commit> {
    (0..1_024).map(|_| consumer.commit_async()).collect()
}

/// Fails when partitions come or go.
struct Failing(&'static str);

impl RebalanceListener for Failing {
    async fn on_partitions_assigned(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        if self.0 == "assigned" { Err(ListenerError::new("as planned")) } else { Ok(()) }
    }

    async fn on_partitions_revoked(
        &mut self,
        _: &mut RebalanceContext,
        _: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        if self.0 == "revoked" { Err(ListenerError::new("as planned")) } else { Ok(()) }
    }
}

fn configurations(provoked: &mut Provoked) {
    let base = || Consumer::builder().bootstrap_servers("b:1");
    for (builder, variant) in [
        (base().property("no.such.key", "1"), "Unknown"),
        (base().property("session.timeout.ms", "1"), "Refused"),
        (base().bootstrap_servers("b"), "IllFormed"),
        (base().max_poll_records(0), "OutOfBounds"),
        (base().property("group.protocol", "classic"), "Unsupported"),
        (Consumer::builder(), "Missing"),
        (base().enable_auto_commit(true), "Conflict"),
    ] {
        let error: ConfigError = builder.build().expect_err(variant);
        assert_eq!(error.row().variant, variant, "{error}");
        provoked.add(error.row());
    }
    provoked.0.insert(without_descriptors());
}

/// Tells the test below that it is the child.
const CHILD: &str = "EVENKEEL_TEST_WITHOUT_DESCRIPTORS";

/// Starts the test below as a process of its own that may open few files.
fn without_descriptors() -> (&'static str, &'static str) {
    let child = "errors::build_says_when_the_system_gives_it_nothing";
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().expect("it runs"))
        .arg(child)
        .env(CHILD, "")
        .output()
        .expect("a shell is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("as expected: "), "{said}");
    ("ConfigError", "Background")
}

#[test]
fn build_says_when_the_system_gives_it_nothing() {
    if std::env::var_os(CHILD).is_none() {
        without_descriptors();
        return;
    }
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    let error = Consumer::builder().bootstrap_servers("b:1").build().expect_err("no descriptors");
    drop(files);
    assert_eq!((error.row().variant, error.is_retriable()), ("Background", true), "{error}");
    Consumer::builder().bootstrap_servers("b:1").build().expect("there are some again");
    eprintln!("as expected: {error}");
}

async fn subscriptions(provoked: &mut Provoked) {
    let cluster = cluster();
    let mut add = |error: SubscribeError, variant| {
        assert_eq!(error.row().variant, variant, "{error}");
        provoked.add(error.row());
    };
    let mut consumer = plain(&cluster).build().expect("valid");
    add(consumer.subscribe(["a topic"]).await.expect_err("illegal"), "InvalidTopic");
    add(consumer.subscribe_pattern("").await.expect_err("none"), "InvalidPattern");
    let endless = "t".repeat(32_768);
    add(consumer.subscribe_pattern(endless).await.expect_err("too long"), "InvalidPattern");
    add(consumer.subscribe_pattern("t").await.expect_err("no group"), "NoGroupId");
    add(consumer.subscribe(["t"]).await.expect_err("no group"), "NoGroupId");
    let mut consumer = grouped(&cluster).build().expect("valid");
    consumer.subscribe_with(["t"], Failing("revoked")).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    add(consumer.assign([at(0)]).await.expect_err("subscribed"), "Exclusive");
    add(consumer.unsubscribe().await.expect_err("it fails"), "Listener");
    let commits = many(&consumer);
    add(consumer.assign([at(0)]).await.expect_err("too many"), "QueueFull");
    drop(commits);
    let mut consumer = joined(&cluster).await;
    refuse(&cluster, HEARTBEAT, Before::Delay(60 * SECOND));
    add(consumer.unsubscribe().await.expect_err("no answer"), "LeaveUnconfirmed");
    consumer.abort_background();
    add(consumer.subscribe(["t"]).await.expect_err("dead"), "Background");
}

async fn polls(provoked: &mut Provoked) {
    let mut add = |error: PollError, variant| {
        assert_eq!(error.row().variant, variant, "{error}");
        provoked.add(error.row());
    };
    for (api_key, code, variant) in [
        (HEARTBEAT, ErrorCode::GroupAuthorizationFailed, "Fatal"),
        (HEARTBEAT, ErrorCode::TopicAuthorizationFailed, "Refused"),
        (METADATA, ErrorCode::TopicAuthorizationFailed, "Topic"),
        (FETCH, ErrorCode::TopicAuthorizationFailed, "Partition"),
    ] {
        let cluster = cluster();
        refuse(&cluster, api_key, Before::Forge(code));
        let mut consumer = grouped(&cluster).build().expect("valid");
        consumer.subscribe(["t"]).await.expect("subscribed");
        add(poll_error(&mut consumer).await, variant);
    }
    let cluster = cluster();
    let mut consumer = grouped(&cluster).build().expect("valid");
    add(poll_error(&mut consumer).await, "NotSubscribed");
    consumer.subscribe_with(["t"], Failing("assigned")).await.expect("subscribed");
    add(poll_error(&mut consumer).await, "Listener");
    let builder = plain(&cluster).property("auto.offset.reset", "none");
    let mut consumer = builder.build().expect("valid");
    consumer.assign([at(0)]).await.expect("assigned");
    add(poll_error(&mut consumer).await, "NoOffset");
    consumer.seek(&at(0), 99).await.expect("assigned");
    add(poll_error(&mut consumer).await, "OffsetOutOfRange");
    consumer.seek(&at(0), 0).await.expect("assigned");
    read(&mut consumer, &mut Read::default(), 1).await;
    cluster.truncate("t", 0, evenkeel::Offset(0)).expect("it exists");
    add(poll_error(&mut consumer).await, "LogTruncated");
    cluster.append("t", 0, None, Some(MARK)).expect("it exists");
    let builder = plain(&cluster).connector(Damaging(InMemory::of(&cluster)));
    let mut consumer = builder.build().expect("valid");
    consumer.assign([at(0)]).await.expect("assigned");
    add(poll_error(&mut consumer).await, "Record");
    consumer.abort_background();
    add(poll_error(&mut consumer).await, "Background");
    let without = Counting::of(Peer::WithoutConsumerGroups);
    let mut consumer = grouped(&cluster).connector(without).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    add(poll_error(&mut consumer).await, "Unsupported");
    cluster.kill_node(NodeId(1)).await;
    let mut consumer = grouped(&cluster).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    add(poll_error(&mut consumer).await, "NoBroker");
}

async fn commits(provoked: &mut Provoked) {
    let mut add = |error: CommitError, variant| {
        assert_eq!(error.row().variant, variant, "{error}");
        provoked.add(error.row());
    };
    let cluster = cluster();
    let consumer = plain(&cluster).build().expect("valid");
    add(consumer.commit().await.expect_err("no group"), "NoGroupId");
    let consumer = grouped(&cluster).build().expect("valid");
    add(consumer.commit().await.expect_err("not joined"), "NotAMember");
    let consumer = joined(&cluster).await;
    let stranger = [(TopicPartition::new("u", 0), Committed::at(evenkeel::Offset(1)))];
    add(consumer.commit_offsets(stranger).await.expect_err("not its own"), "NotAssigned");
    refuse(&cluster, OFFSET_COMMIT, Before::Forge(ErrorCode::GroupAuthorizationFailed));
    add(consumer.commit().await.expect_err("refused"), "Refused");
    refuse(&cluster, OFFSET_COMMIT, Before::Delay(60 * SECOND));
    add(consumer.commit().await.expect_err("no answer"), "TimedOut");
    let mut commits = many(&consumer);
    commits.push(consumer.commit_async());
    add(commits.pop().expect("one").await.expect_err("too many"), "QueueFull");
    drop(commits);
    let committer = consumer.committer();
    consumer.close(SECOND).await;
    add(committer.commit().await.expect_err("closed"), "Closed");
    add(ended_by_the_poll_interval().await, "OwnershipEnded");
    add(given_up_for_a_revocation().await, "Expired");
    let consumer = grouped(&cluster).build().expect("valid");
    consumer.abort_background();
    add(consumer.commit().await.expect_err("dead"), "Background");
}

async fn ended_by_the_poll_interval() -> CommitError {
    let cluster = cluster();
    let builder = grouped(&cluster).enable_auto_commit(false).max_poll_interval(2 * SECOND);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    refuse(&cluster, OFFSET_COMMIT, Before::Delay(60 * SECOND));
    consumer.commit().await.expect_err("nobody polls meanwhile")
}

async fn given_up_for_a_revocation() -> CommitError {
    let cluster = cluster();
    let builder = |seed| {
        let builder = grouped(&cluster).group_id("two").seed(seed).enable_auto_commit(false);
        builder.max_poll_interval(10 * SECOND).default_api_timeout(120 * SECOND)
    };
    let mut consumer = builder(1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    refuse(&cluster, OFFSET_COMMIT, Before::Delay(100 * SECOND));
    let commit = consumer.committer();
    let mut second = builder(2).build().expect("valid");
    second.subscribe(["t"]).await.expect("subscribed");
    let polling = async {
        loop {
            let polled = tokio::join!(consumer.poll(SECOND), second.poll(SECOND));
            polled.0.expect("poll goes well");
            polled.1.expect("poll goes well");
        }
    };
    tokio::select! {
        biased;
        failed = commit.commit() => failed.expect_err("given up"),
        () = polling => unreachable!("it polls for ever"),
    }
}

async fn positions(provoked: &mut Provoked) {
    let mut add = |error: PositionError, variant| {
        assert_eq!(error.row().variant, variant, "{error}");
        provoked.add(error.row());
    };
    let cluster = cluster();
    let builder = plain(&cluster).property("auto.offset.reset", "none");
    let mut consumer = builder.build().expect("valid");
    add(consumer.position(&at(0)).await.expect_err("not assigned"), "NotAssigned");
    let later = TopicPartition::new("later", 0);
    consumer.assign([at(0), later.clone()]).await.expect("assigned");
    add(consumer.position(&at(0)).await.expect_err("none"), "NoOffset");
    add(consumer.position(&later).await.expect_err("no such topic"), "TimedOut");
    let commits = many(&consumer);
    add(consumer.pause([at(0)]).await.expect_err("too many"), "QueueFull");
    drop(commits);
    tokio::time::sleep(SECOND).await;
    consumer.abort_background();
    add(consumer.seek(&at(0), 1).await.expect_err("dead"), "Background");
}

async fn lookups(provoked: &mut Provoked) {
    let mut add = |error: LookupError, variant| {
        assert_eq!(error.row().variant, variant, "{error}");
        provoked.add(error.row());
    };
    let cluster = cluster();
    let consumer = plain(&cluster).build().expect("valid");
    add(consumer.committed([at(0)]).await.expect_err("no group"), "NoGroupId");
    let later = [TopicPartition::new("later", 0)];
    add(consumer.end_offsets(later).await.expect_err("no such topic"), "TimedOut");
    refuse(&cluster, LIST_OFFSETS, Before::Forge(ErrorCode::TopicAuthorizationFailed));
    add(consumer.end_offsets([at(0)]).await.expect_err("refused"), "Refused");
    let commits = many(&consumer);
    add(consumer.list_topics().await.expect_err("too many"), "QueueFull");
    drop(commits);
    add(
        consumer_of_a_dead_background(&cluster).list_topics().await.expect_err("dead"),
        "Background",
    );
    provoked.add(consumer.enforce_rebalance().expect_err("never").row());
    let observer = consumer.observer();
    consumer.close(SECOND).await;
    let closed = observer.describe_group().await.expect_err("closed");
    assert_eq!(closed, LookupError::Closed);
    provoked.add(closed.row());
}

/// Asks in its revoked callback for what is not answered, and writes down what it is told.
struct Waiting(Arc<Mutex<Vec<Failure>>>);

impl RebalanceListener for Waiting {
    async fn on_partitions_revoked(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        let failed = context.position(&partitions[0]).await.expect_err("there is none");
        self.0.lock().expect("no panic").push(failed.into());
        let failed = context.committed(partitions.to_vec()).await.expect_err("nobody answers");
        self.0.lock().expect("no panic").push(failed.into());
        Ok(())
    }
}

/// A callback's calls whose time has not passed when that of the close has.
async fn calls_of_a_callback_at_the_end(provoked: &mut Provoked) {
    for (timeout, expected) in
        [(7 * SECOND, vec!["Closed"]), (SECOND * 3, vec!["TimedOut", "Closed"])]
    {
        let cluster = cluster();
        refuse(&cluster, OFFSET_FETCH, Before::Delay(600 * SECOND));
        let told = Arc::<Mutex<Vec<Failure>>>::default();
        let builder = grouped(&cluster).enable_auto_commit(false).default_api_timeout(timeout);
        let mut consumer = builder.build().expect("valid");
        consumer.subscribe_with(["t"], Waiting(Arc::clone(&told))).await.expect("subscribed");
        while consumer.assignment().is_empty() {
            assert!(consumer.poll(SECOND).await.expect("poll goes well").is_empty());
        }
        // A task, which has its turn between the answer to the call and the end.
        let report = tokio::spawn(consumer.close(5 * SECOND)).await.expect("no panic");
        assert!(!report.left, "{report:?}");
        let told = told.lock().expect("no panic");
        let words: Vec<_> = told.iter().map(|failure| failure.row().variant).collect();
        assert_eq!(words, expected, "{told:?}");
        told.iter().for_each(|failure| provoked.add(failure.row()));
    }
}

async fn diagnoses(provoked: &mut Provoked) {
    let mut add = |error: DiagnoseError, variant| {
        assert_eq!(error.row().variant, variant, "{error}");
        provoked.add(error.row());
    };
    let cluster = cluster();
    let idle = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("one");
    let stuck = plain(&cluster).spawn_on(idle.handle().clone()).build().expect("valid");
    let begin = Instant::now();
    add(stuck.diagnose().await.expect_err("nobody runs it"), "TimedOut");
    assert_eq!(begin.elapsed().as_secs(), 5);
    drop(stuck);
    idle.shutdown_background();
    let consumer = plain(&cluster).build().expect("valid");
    let observer = consumer.observer();
    consumer.close(SECOND).await;
    add(observer.diagnose().await.expect_err("closed"), "Closed");
    let dead = consumer_of_a_dead_background(&cluster);
    add(dead.diagnose().await.expect_err("dead"), "Background");
}

fn consumer_of_a_dead_background(cluster: &Cluster) -> Consumer {
    let consumer = plain(cluster).build().expect("valid");
    consumer.abort_background();
    consumer
}

#[tokio::test(start_paused = true)]
async fn each_error_of_each_call_can_be_provoked() {
    let mut provoked = Provoked::default();
    configurations(&mut provoked);
    subscriptions(&mut provoked).await;
    polls(&mut provoked).await;
    commits(&mut provoked).await;
    positions(&mut provoked).await;
    lookups(&mut provoked).await;
    diagnoses(&mut provoked).await;
    calls_of_a_callback_at_the_end(&mut provoked).await;
    let rows = error_rows();
    let expected: BTreeSet<_> = rows
        .iter()
        .filter(|row| row.unprovoked.is_none())
        .map(|row| (row.error, row.variant))
        .collect();
    assert_eq!(provoked.0, expected);
    let unprovoked = rows.len() - expected.len();
    assert_eq!(unprovoked, 2, "what is not provoked says why, and there is no more of it");
}
