//! Hooks: each decision about a request or an answer does what it says.

use crate::groups::{cluster, commit, join, stay, text};
use crate::peer::{Fetch, in_memory, produce_request, records};
use evenkeel_broker::{
    After, Answer, AnswerWords, Before, Cluster, Gate, Interceptor, Request, RequestWords,
};
use evenkeel_spec::words::{ErrorCode, HeartbeatEpoch, NodeId};
use kafka_protocol::messages::{ApiVersionsRequest, FindCoordinatorRequest, MetadataRequest};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

const HEARTBEAT: i16 = 68;
const PRODUCE: i16 = 0;

/// Decides the same for each request of one API.
struct Always {
    api_key: i16,
    before: Before,
    after: After,
}

impl Interceptor for Always {
    fn on_request(&self, request: &Request) -> Before {
        if request.api_key == self.api_key { self.before.clone() } else { Before::Process }
    }

    fn on_answer(&self, request: &Request, _: &Answer) -> After {
        if request.api_key == self.api_key { self.after.clone() } else { After::Answer }
    }
}

fn before(cluster: &Cluster, api_key: i16, before: Before) {
    cluster.intercept(Always { api_key, before, after: After::Answer });
}

fn after(cluster: &Cluster, api_key: i16, after: After) {
    cluster.intercept(Always { api_key, before: Before::Process, after });
}

fn end(cluster: &Cluster) -> u64 {
    cluster.log_end("t", 0).expect("the topic exists").0
}

#[tokio::test(start_paused = true)]
async fn a_held_request_is_not_processed_until_released_and_others_go_on() {
    let cluster = cluster(1);
    let gate = Gate::new();
    before(&cluster, PRODUCE, Before::Hold(gate.clone()));
    let mut held = in_memory(&cluster, 1);
    let id = held.send(9, &produce_request("t", 0, &["x"])).await.unwrap();
    let mut other = in_memory(&cluster, 1);
    other.ask(4, &ApiVersionsRequest::default()).await;
    assert_eq!(end(&cluster), 0);
    gate.open(Before::Process);
    let answer =
        held.receive::<kafka_protocol::messages::ProduceRequest>(9, id).await.expect("an answer");
    assert_eq!(answer.responses[0].partition_responses[0].base_offset, 0);
    assert_eq!(end(&cluster), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_connection_wait_behind_a_held_one() {
    let cluster = cluster(1);
    let gate = Gate::new();
    after(&cluster, PRODUCE, After::Hold(gate.clone()));
    let mut peer = in_memory(&cluster, 1);
    let first = peer.send(9, &produce_request("t", 0, &["x"])).await.unwrap();
    let second = peer.send(9, &MetadataRequest::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(end(&cluster), 1, "processed, but not answered");
    assert_eq!(cluster.requests(3), 0);
    gate.open(After::Answer);
    peer.receive::<kafka_protocol::messages::ProduceRequest>(9, first).await.expect("in order");
    peer.receive::<MetadataRequest>(9, second).await.expect("then this one");
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_before_processing_changes_nothing_and_after_it_does() {
    let cluster = cluster(1);
    before(&cluster, PRODUCE, Before::Disconnect);
    let mut peer = in_memory(&cluster, 1);
    assert!(peer.try_ask(9, &produce_request("t", 0, &["x"])).await.is_err());
    assert_eq!(end(&cluster), 0);
    after(&cluster, PRODUCE, After::Disconnect);
    let mut peer = in_memory(&cluster, 1);
    assert!(peer.try_ask(9, &produce_request("t", 0, &["x"])).await.is_err());
    assert_eq!(end(&cluster), 1);
    cluster.intercept_none();
    assert_eq!(in_memory(&cluster, 1).produce("t", 0, &["y"]).await.base_offset, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_answer_leaves_the_connection_open() {
    let cluster = cluster(1);
    after(&cluster, PRODUCE, After::Drop);
    let mut peer = in_memory(&cluster, 1);
    peer.send(9, &produce_request("t", 0, &["x"])).await.unwrap();
    let (_, data) = peer.fetch(Fetch::of("t", 0, 0)).await;
    assert_eq!(records(&data), [(0, "x".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn delays_take_their_time_and_a_throttle_mutes_the_connection() {
    let cluster = cluster(1);
    let mut peer = in_memory(&cluster, 1);
    before(&cluster, HEARTBEAT, Before::Delay(Duration::from_millis(700)));
    let start = Instant::now();
    let joined = peer.ask(1, &join("a")).await;
    assert_eq!(start.elapsed().as_millis(), 700);
    after(&cluster, HEARTBEAT, After::Throttle(Duration::from_secs(2)));
    let start = Instant::now();
    let throttled = peer.ask(1, &stay("a", joined.member_epoch)).await;
    assert_eq!((throttled.throttle_time_ms, start.elapsed().as_millis()), (2_000, 0));
    peer.ask(4, &ApiVersionsRequest::default()).await;
    assert_eq!(start.elapsed().as_millis(), 2_000);
}

#[tokio::test(start_paused = true)]
async fn a_forged_error_hides_whether_the_request_was_processed() {
    let cluster = cluster(1);
    let mut peer = in_memory(&cluster, 1);
    let error = ErrorCode::NotLeaderOrFollower;
    before(&cluster, PRODUCE, Before::Forge(error));
    assert_eq!(peer.produce("t", 0, &["x"]).await.error_code, error.number());
    assert_eq!(end(&cluster), 0);
    after(&cluster, PRODUCE, After::Forge(error));
    assert_eq!(peer.produce("t", 0, &["x"]).await.error_code, error.number());
    assert_eq!(end(&cluster), 1);
}

/// Writes down what it sees of the group APIs.
#[derive(Clone, Default)]
struct Witness {
    seen: Arc<Mutex<Vec<(RequestWords, AnswerWords)>>>,
}

impl Interceptor for Witness {
    fn on_answer(&self, request: &Request, answer: &Answer) -> After {
        if let (Some(asked), Some(told)) = (&request.words, &answer.words) {
            self.seen.lock().unwrap().push((asked.clone(), told.clone()));
        }
        After::Answer
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_see_group_requests_and_answers_in_the_protocols_words() {
    let cluster = cluster(1);
    let witness = Witness::default();
    cluster.intercept(witness.clone());
    let mut peer = in_memory(&cluster, 1);
    let epoch = peer.ask(1, &join("a")).await.member_epoch;
    peer.ask(9, &commit("a", epoch, 0, 3)).await;
    peer.ask(9, &MetadataRequest::default()).await;
    let asked = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    peer.ask(6, &asked).await;
    let seen = witness.seen.lock().unwrap();
    assert_eq!(seen.len(), 3, "metadata has no words");
    let found = AnswerWords::FindCoordinator(Ok(NodeId(1)));
    assert_eq!(seen[2], (RequestWords::FindCoordinator("g".into()), found));
    let member = cluster.member_id("g", "a").expect("it joined");
    let (RequestWords::Heartbeat(group, asked), AnswerWords::Heartbeat(Ok(told))) = &seen[0] else {
        panic!("{:?}", seen[0]);
    };
    assert_eq!((group.as_str(), asked.member, asked.epoch), ("g", member, HeartbeatEpoch::Join));
    assert_eq!(told.epoch.map(|epoch| epoch.0.cast_signed()), Some(epoch));
    let (RequestWords::OffsetCommit(_, asked), AnswerWords::OffsetCommit(Ok(told))) = &seen[1]
    else {
        panic!("{:?}", seen[1]);
    };
    assert_eq!(asked.owner.map(|owner| owner.member), Some(member));
    assert!(told.values().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_listed_while_it_is_open_and_can_be_ended() {
    let cluster = cluster(2);
    let (mut first, mut second) = (in_memory(&cluster, 1), in_memory(&cluster, 2));
    for peer in [&mut first, &mut second] {
        peer.ask(4, &ApiVersionsRequest::default()).await;
    }
    let open = cluster.connections();
    assert_eq!(open.iter().map(|(_, node)| node.0).collect::<Vec<_>>(), [1, 2]);
    cluster.disconnect(open[0].0).await;
    assert!(first.is_closed().await);
    assert_eq!(cluster.connections(), open[1..]);
    drop(second);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(cluster.connections().is_empty());
    assert_eq!(cluster.connections_ever(), 2);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_every_connection() {
    let cluster = cluster(1);
    let mut peer = in_memory(&cluster, 1);
    peer.ask(4, &ApiVersionsRequest::default()).await;
    let weak = cluster.downgrade();
    drop(cluster);
    assert!(peer.is_closed().await);
    assert!(weak.upgrade().is_none());
}
