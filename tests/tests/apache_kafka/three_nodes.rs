//! What the design promises of connections, coordinators, quotas and the end, on three nodes of
//! Apache Kafka: counted by the operating system, by the brokers' request log, and by the clock.

use crate::assign::Requests;
use crate::broker::RESOURCE_GROUP;
use crate::{Outcome, Peers};
use evenkeel::{
    Address, Connecting, Connector, Consumer, ConsumerBuilder, Counts, ListenerError, NodeId,
    RebalanceContext, RebalanceListener, Tcp, TopicPartition,
};
use evenkeel_tests::kafka::Kafka;
use evenkeel_tests::sockets::established;
use evenkeel_tests::validated::Recording;
use evenkeel_tests::wire::Wire;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{
    AlterClientQuotasRequest, FindCoordinatorRequest, IncrementalAlterConfigsRequest,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One cluster for all of it, since a cluster of three takes half a minute; what kills a node is
/// last.
pub(crate) fn promises(_: &Peers) -> Outcome {
    let mut kafka = Kafka::builder()
        .nodes(3)
        // Kafka's own defaults: the design is about these.
        .set("group.consumer.session.timeout.ms", "45000")
        .set("group.consumer.heartbeat.interval.ms", "5000")
        .set("min.insync.replicas", "2")
        .log("kafka.request.logger", "DEBUG")
        .start()?;
    kafka.create_topic(TOPIC, PARTITIONS)?;
    kafka.produce(&kafka.bootstrap_servers(), TOPIC, RECORDS, RECORD_SIZE)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(one_connection_a_broker(&kafka))?;
    runtime.block_on(no_coordinator_for_an_assignment(&kafka))?;
    runtime.block_on(no_fence_under_a_quota(&kafka))?;
    runtime.block_on(a_close_without_a_coordinator(&mut kafka))
}

/// In the group, with all partitions of three leaders: one connection to each, in whatever state
/// the fetches are.
async fn one_connection_a_broker(kafka: &Kafka) -> Outcome {
    // A heartbeat each second, so that many meet a parked fetch.
    set_session(kafka, "connections", Duration::from_secs(45), Duration::from_secs(1))?;
    let recording = Recording::default();
    let builder = reader(kafka, "connections").group_id("connections");
    let mut consumer = builder.record_run(recording.clone()).build()?;
    consumer.subscribe([TOPIC]).await?;
    read(&mut consumer, RECORDS).await?;
    let ports: Vec<u16> = (1..=3).map(|id| port(kafka, id)).collect();
    let mut seen: BTreeMap<Vec<usize>, u32> = BTreeMap::new();
    let begun = Instant::now();
    while begun.elapsed() < WATCHED {
        consumer.poll(Duration::from_millis(50)).await?;
        consumer.commit().await?;
        let open = established()?;
        let of = |port: &u16| open.iter().filter(|remote| *remote == port).count();
        *seen.entry(ports.iter().map(of).collect()).or_default() += 1;
    }
    eprintln!("connections to the three brokers: {seen:?}");
    assert_eq!(seen.keys().collect::<Vec<_>>(), [&[1, 1, 1]], "{seen:?}");
    let heartbeats = logged(kafka, "connections", HEARTBEAT)?;
    assert!(heartbeats >= 8, "{heartbeats} heartbeats went past the parked fetches");
    assert!(consumer.close(PATIENCE).await.left);
    let left = established()?;
    assert!(!left.iter().any(|remote| ports.contains(remote)), "{left:?} are still open");
    recording.check()?;
    Ok(())
}

/// Neither without a group, nor with one whose offsets nobody needs: by what was written, and by
/// what the brokers have read.
async fn no_coordinator_for_an_assignment(kafka: &Kafka) -> Outcome {
    let all = || (0..PARTITIONS).map(|index| TopicPartition::new(TOPIC, index));
    let requests = Requests::default();
    let alone = reader(kafka, "alone").connector(requests.clone());
    let sought = reader(kafka, "sought").connector(requests.clone());
    let sought = sought.group_id("sought").enable_auto_commit(false);
    for builder in [alone, sought] {
        let mut consumer = builder.build()?;
        consumer.assign(all()).await?;
        consumer.seek_to_beginning([]).await?;
        read(&mut consumer, RECORDS).await?;
        consumer.close(PATIENCE).await;
    }
    assert_eq!(requests.of_group(), [0; 4]);
    let asked = |client: &str, api_key: u32| logged(kafka, client, api_key);
    // The log is read well: it has what the member of above asked for.
    assert!(asked("connections", FIND_COORDINATOR)? >= 1 && asked("connections", HEARTBEAT)? >= 1);
    for client in ["alone", "sought"] {
        assert!(asked(client, FETCH)? >= 1, "{client} has fetched");
        assert_eq!((asked(client, FIND_COORDINATOR)?, asked(client, HEARTBEAT)?), (0, 0));
    }
    Ok(())
}

/// A quota of 100 kB/s: a broker that has answered a fetch does not read for longer than a session,
/// and the member stays in its group all the same.
async fn no_fence_under_a_quota(kafka: &Kafka) -> Outcome {
    set_quota(kafka, "throttled", 100_000.0)?;
    set_session(kafka, "throttled", SESSION, SESSION / 6)?;
    let recording = Recording::default();
    let dialed = Dialed::default();
    let builder = reader(kafka, "throttled").group_id("throttled").connector(dialed.clone());
    let mut consumer = builder.record_run(recording.clone()).build()?;
    let leaders = consumer.partitions_for(TOPIC).await?.into_iter().map(|info| info.leader);
    let leaders: Vec<_> = leaders.collect::<Option<_>>().ok_or("each partition has a leader")?;
    let lost = Arc::new(AtomicU64::new(0));
    consumer.subscribe_with([TOPIC], Lost(Arc::clone(&lost))).await?;
    while consumer.assignment().len() < PARTITIONS as usize {
        consumer.poll(Duration::from_millis(100)).await?;
    }
    let member = consumer.group_metadata().member;
    assert!(member.is_some(), "it is a member");
    let ports: Vec<u16> = (1..=3).map(|id| port(kafka, id)).collect();
    let coordinator = port(kafka, coordinator(kafka, "throttled")?);
    let mut seen: BTreeMap<Vec<usize>, u32> = BTreeMap::new();
    let (begun, mut bytes) = (Instant::now(), 0_u64);
    let mut silences: BTreeMap<NodeId, Silence> =
        leaders.iter().map(|leader| (*leader, Silence::default())).collect();
    while begun.elapsed() < THROTTLED {
        for record in &consumer.poll(Duration::from_millis(100)).await? {
            bytes += record.value.map_or(0, <[u8]>::len) as u64;
            let leader = leaders[record.partition as usize];
            silences.entry(leader).or_default().ends_at(begun.elapsed());
        }
        let open = established()?;
        let of = |port: &u16| open.iter().filter(|remote| *remote == port).count();
        *seen.entry(ports.iter().map(of).collect()).or_default() += 1;
        assert_eq!(consumer.group_metadata().member, member, "the epoch is the same: no rejoin");
    }
    let heartbeats = logged(kafka, "throttled", HEARTBEAT)?;
    eprintln!(
        "{bytes} bytes in {:?} under a quota of 100 kB/s a broker, {heartbeats} heartbeats; \
         connections to the three brokers: {seen:?}; made: {dialed:?}",
        begun.elapsed()
    );
    // One to each, and a second one to the coordinator, which is mute for longer than a session.
    let bounds: Vec<_> = ports.iter().map(|port| 1 + usize::from(*port == coordinator)).collect();
    let is_within = |open: &Vec<usize>| open.iter().zip(&bounds).all(|(open, most)| open <= most);
    assert!(seen.keys().all(is_within), "{seen:?}, where there may be {bounds:?}");
    assert!(seen.contains_key(&bounds), "{seen:?}: a second one, while the coordinator is mute");
    // It stays while the first is mute: each is opened for a heartbeat that would wait otherwise.
    let made = dialed.made();
    assert!(made.values().sum::<u64>() <= 3 + heartbeats, "{made:?} for {heartbeats} heartbeats");
    let whole = RECORDS * u64::from(RECORD_SIZE);
    assert!(bytes > 0 && bytes < whole, "{bytes} of {whole} bytes: it was throttled");
    silences.values_mut().for_each(|silence| silence.ends_at(begun.elapsed()));
    let silences: Vec<_> = silences.values().map(|silence| silence.longest).collect();
    eprintln!("nothing came of a broker for {silences:?}");
    assert_eq!(silences.len(), 3, "each of them leads some partition");
    assert!(silences.iter().all(|silence| *silence > SESSION), "each was mute: {silences:?}");
    assert_eq!(lost.load(Ordering::Relaxed), 0);
    assert_eq!(consumer.assignment().len(), PARTITIONS as usize);
    let least = THROTTLED.as_secs() / SESSION.as_secs();
    assert!(heartbeats >= least, "{heartbeats} heartbeats, where {least} keep a session");
    consumer.close(PATIENCE).await;
    recording.check()?;
    Ok(())
}

/// The coordinator is killed, commits are asked for, and the end comes within a second: everything
/// is answered, and each request has ended in one way.
async fn a_close_without_a_coordinator(kafka: &mut Kafka) -> Outcome {
    let builder = reader(kafka, "closing").group_id("closing");
    let mut consumer = builder.build()?;
    consumer.subscribe([TOPIC]).await?;
    read(&mut consumer, RECORDS).await?;
    consumer.commit().await?;
    let coordinator = coordinator(kafka, "closing")?;
    kafka.kill_node(coordinator);
    let committer = consumer.committer();
    let commits: Vec<_> = (0..10).map(|_| committer.commit()).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;

    let begun = Instant::now();
    let report = consumer.close(Duration::from_secs(1)).await;
    let took = begun.elapsed();
    for commit in commits {
        let answer = tokio::time::timeout(Duration::from_millis(100), commit).await;
        assert!(answer.expect("nothing waits any more").is_err(), "nobody took the commit");
    }
    let sum = |of: fn(&Counts) -> u64| report.requests.values().map(of).sum::<u64>();
    eprintln!(
        "closed in {took:?}, left: {}; {} requests: {} completed, {} failed, {} + {} expired, {} \
         discarded",
        report.left,
        sum(|counts| counts.asked),
        sum(|counts| counts.completed),
        sum(|counts| counts.failed.sum()),
        sum(|counts| counts.expired_unsent),
        sum(|counts| counts.expired_in_flight),
        sum(|counts| counts.discarded.sum()),
    );
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    assert!(report.died.is_none(), "{report:?}");
    for (of, counts) in &report.requests {
        assert_eq!(counts.asked, counts.ended(), "{of:?}: {counts:?}");
    }
    let lost = sum(|counts| counts.failed.sum()) + sum(|counts| counts.discarded.sum());
    assert!(lost >= 10, "ten commits and whatever else: {report:?}");
    Ok(())
}

/// How often each port was connected to.
#[derive(Clone, Debug, Default)]
struct Dialed(Arc<Mutex<BTreeMap<u16, u64>>>);

impl Dialed {
    fn made(&self) -> BTreeMap<u16, u64> {
        self.0.lock().expect("not poisoned").clone()
    }
}

impl Connector for Dialed {
    fn connect(&self, address: &Address) -> Connecting {
        *self.0.lock().expect("not poisoned").entry(address.port).or_default() += 1;
        Tcp.connect(address)
    }
}

/// How long nothing came of a broker.
#[derive(Default)]
struct Silence {
    since: Duration,
    longest: Duration,
}

impl Silence {
    fn ends_at(&mut self, now: Duration) {
        self.longest = self.longest.max(now - self.since);
        self.since = now;
    }
}

/// Counts what was lost.
struct Lost(Arc<AtomicU64>);

impl RebalanceListener for Lost {
    async fn on_partitions_lost(
        &mut self,
        _: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        self.0.fetch_add(partitions.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn reader(kafka: &Kafka, client: &str) -> ConsumerBuilder {
    Consumer::builder()
        .bootstrap_servers(kafka.bootstrap_servers())
        .client_id(client)
        .property("auto.offset.reset", "earliest")
}

async fn read(consumer: &mut Consumer, count: u64) -> Outcome {
    let (begun, mut got) = (Instant::now(), 0);
    while got < count {
        assert!(begun.elapsed() < PATIENCE, "{got} of {count} records");
        got += consumer.poll(Duration::from_secs(1)).await?.len() as u64;
    }
    assert_eq!(got, count);
    Ok(())
}

fn port(kafka: &Kafka, id: usize) -> u16 {
    let address = kafka.address(id);
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.expect("an address ends with its port")
}

/// How many requests of this API the brokers have read of this client.
fn logged(kafka: &Kafka, client: &str, api_key: u32) -> Result<u64, std::io::Error> {
    let (client, api_key) =
        (format!("\"clientId\":\"{client}\""), format!("\"requestApiKey\":{api_key},"));
    let mut count = 0;
    for id in 1..=3 {
        let log = std::fs::read_to_string(kafka.dir().join(format!("node{id}.log")))?;
        let asked = |line: &&str| line.contains(&client) && line.contains(&api_key);
        count += log.lines().filter(asked).count() as u64;
    }
    Ok(count)
}

/// `consumer_byte_rate` of a client id, at every broker.
fn set_quota(kafka: &Kafka, client: &str, bytes_a_second: f64) -> Outcome {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let entity = EntityData::default()
        .with_entity_type(text("client-id"))
        .with_entity_name(Some(text(client)));
    let quota = OpData::default().with_key(text("consumer_byte_rate")).with_value(bytes_a_second);
    let entry = EntryData::default().with_entity(vec![entity]).with_ops(vec![quota]);
    let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
    let response = Wire::connect(&kafka.address(1))?.send(1, &request)?;
    let codes: Vec<_> = response.entries.iter().map(|entry| entry.error_code).collect();
    assert_eq!(codes, [0], "the quota is set");
    Ok(())
}

/// A group's own session timeout and time between heartbeats.
fn set_session(kafka: &Kafka, group: &str, session: Duration, heartbeats: Duration) -> Outcome {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let config = |(key, length): (&str, Duration)| {
        let value = text(&length.as_millis().to_string());
        AlterableConfig::default().with_name(text(key)).with_value(Some(value))
    };
    let configs =
        [("consumer.session.timeout.ms", session), ("consumer.heartbeat.interval.ms", heartbeats)];
    let resource = AlterConfigsResource::default()
        .with_resource_type(RESOURCE_GROUP)
        .with_resource_name(text(group))
        .with_configs(configs.map(config).to_vec());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response = Wire::connect(&kafka.address(1))?.send(1, &request)?;
    let codes: Vec<_> = response.responses.iter().map(|of| of.error_code).collect();
    assert_eq!(codes, [0], "the session is set");
    Ok(())
}

/// The node that coordinates a group.
fn coordinator(kafka: &Kafka, group: &str) -> Result<usize, Box<dyn std::error::Error>> {
    let key = StrBytes::from_string(group.to_owned());
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![key]);
    let response = Wire::connect(&kafka.address(1))?.send(4, &request)?;
    let found = response.coordinators.first().filter(|found| found.error_code == 0);
    let found = found.ok_or("the group has a coordinator, since it has a member")?;
    Ok(usize::try_from(found.node_id.0)?)
}

const TOPIC: &str = "promises";
const PARTITIONS: u32 = 6;
/// Some 30 MB: at 100 kB/s from each of three brokers, 100 s worth.
const RECORDS: u64 = 30_000;
const RECORD_SIZE: u32 = 1_000;
const SESSION: Duration = Duration::from_secs(3);
/// Eight sessions, and longer than a broker is mute after its first answers: 20 s were seen.
const THROTTLED: Duration = Duration::from_secs(24);
/// Ten heartbeats.
const WATCHED: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);
const FETCH: u32 = 1;
const FIND_COORDINATOR: u32 = 10;
const HEARTBEAT: u32 = 68;
