//! Runs of one group that are held against each other: genuine ones, and forged ones that are each
//! permitted alone.

use crate::{command, file};
use evenkeel::{Address, ConnectError, Connecting, Connector, Consumer, ConsumerBuilder, Stream};
use evenkeel_broker::{Cluster, WeakCluster};
use evenkeel_harness::validate::{
    GroupReport, GroupVerdict, Run, Verdict, validate, validate_group,
};
use evenkeel_spec::rules::Rule;
use serde_json::Value;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn two_members_that_share_a_topic_are_permitted_together() {
    let (first, second) = two_members().await;
    let report = together(&[&first, &second]);
    assert_eq!(report.verdict, GroupVerdict::Permitted, "{}", report.verdict);
    assert!(report.dated && report.memberships == 2 && report.steps > 20, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn two_members_that_hold_one_partition_are_refused() {
    let (first, _) = two_members().await;
    let same_epochs = forged(&first, 0, 0, |_| true);
    assert_eq!(rule_of(&together(&[&first, &same_epochs])), Some(Rule::EpochReused));
    let other_epochs = forged(&first, 100, 0, |_| true);
    let alone = validate(&Run::parse(&other_epochs).expect("it is a run")).verdict;
    assert_eq!(alone, Verdict::Permitted, "alone it is as good as the other: {alone}");
    assert_eq!(rule_of(&together(&[&first, &other_epochs])), Some(Rule::GrantedTwice));
    let a_day_later = forged(&first, 100, 86_400_000, |_| true);
    assert_eq!(rule_of(&together(&[&first, &a_day_later])), None);
    let undated = first.replacen("\"started_ms\"", "\"started\"", 1);
    let report = together(&[&undated, &other_epochs]);
    assert_eq!((report.dated, rule_of(&report)), (false, None));
}

/// Who is heard no more may have been removed without knowing: only its commits are refused.
#[tokio::test(start_paused = true)]
async fn a_member_that_is_heard_no_more_is_excused_but_its_commits_are_not_accepted() {
    let (first, _) = two_members().await;
    let is_heard = |event: &Value| event["kind"] != "stay";
    let silent = forged(&first, 100, 0, is_heard);
    assert_eq!(rule_of(&together(&[&first, &silent])), Some(Rule::CommitAcceptedFromOther));
    let silent =
        forged(&first, 100, 0, |event| is_heard(event) && event["event"] != "offset_commit");
    assert_eq!(rule_of(&together(&[&first, &silent])), None);
}

#[tokio::test(start_paused = true)]
async fn the_command_holds_the_files_of_one_group_against_each_other() {
    let (first, second) = two_members().await;
    let forged = forged(&first, 100, 0, |_| true);
    let [first, second, forged] =
        [("first", first), ("second", second), ("forged", forged)].map(|(n, t)| file(n, &t));
    let ended = command(&[&first, &second], &["--format", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.out);
    let report: Value = serde_json::from_str(&ended.out).expect("one object");
    let group = &report["groups"][0];
    assert_eq!(
        (&group["verdict"], &group["dated"]),
        (&"permitted".into(), &true.into()),
        "{group}"
    );
    let ended = command(&[&first, &forged], &["--format", "json"]);
    assert_eq!(ended.code, 1, "{}", ended.out);
    let report: Value = serde_json::from_str(&ended.out).expect("one object");
    assert_eq!(report["runs"][1]["verdict"], "permitted", "{report}");
    assert_eq!(report["groups"][0]["rule"], "GrantedTwice", "{report}");
    let told = command(&[&first, &forged], &[]);
    assert!(told.out.contains("group g: REFUSED") && told.out.contains("G1"), "{}", told.out);
}

fn together(texts: &[&str]) -> GroupReport {
    let runs: Vec<_> = texts.iter().map(|text| Run::parse(text).expect("it is a run")).collect();
    validate_group(&runs.iter().collect::<Vec<_>>(), 0)
}

fn rule_of(report: &GroupReport) -> Option<Rule> {
    match &report.verdict {
        GroupVerdict::Permitted => None,
        GroupVerdict::Refused(overlap) => Some(overlap.rule),
    }
}

/// The same run as another member's, at greater epochs and later, less the requests that are not
/// kept and their answers.
fn forged(text: &str, epochs: u64, later_ms: u64, keep: impl Fn(&Value) -> bool) -> String {
    let mut forged = String::new();
    let mut dropped = Vec::new();
    for line in text.lines() {
        let mut value: Value = serde_json::from_str(line).expect("an object");
        if let Some(epoch) = value["epoch"].as_u64() {
            value["epoch"] = (epoch + epochs).into();
        }
        if let Some(started) = value["started_ms"].as_u64() {
            value["started_ms"] = (started + later_ms).into();
        }
        if let Some(member) = value["member"].as_str() {
            value["member"] = format!("another-{member}").into();
        }
        let request = value["request"].clone();
        if !request.is_null() && !keep(&value) {
            dropped.push(request.clone());
        }
        if request.is_null() || !dropped.contains(&request) {
            forged.push_str(&format!("{value}\n"));
        }
    }
    forged
}

/// What two members record: the second comes, and goes before the first.
async fn two_members() -> (String, String) {
    let cluster = Cluster::builder().topic("t", 4).build().expect("the settings are sound");
    for number in 0..40 {
        cluster.append("t", number % 4, None, Some(b"value")).expect("the topic exists");
    }
    let (of_first, of_second) = (Recording::default(), Recording::default());
    let mut first = member(&cluster, 1).record_run(of_first.clone()).build().expect("valid");
    first.subscribe(["t"]).await.expect("subscribed");
    poll(&mut [&mut first]).await;
    let mut second = member(&cluster, 2).record_run(of_second.clone()).build().expect("valid");
    second.subscribe(["t"]).await.expect("subscribed");
    poll(&mut [&mut first, &mut second]).await;
    assert_eq!((first.assignment().len(), second.assignment().len()), (2, 2));
    assert!(second.close(Duration::from_secs(5)).await.left);
    poll(&mut [&mut first]).await;
    assert_eq!(first.assignment().len(), 4);
    assert!(first.close(Duration::from_secs(5)).await.left);
    (of_first.text(), of_second.text())
}

/// They poll in turn for a minute.
async fn poll(consumers: &mut [&mut Consumer]) {
    for _ in 0..200 {
        for consumer in consumers.iter_mut() {
            consumer.poll(Duration::from_millis(300)).await.expect("poll goes well");
        }
    }
}

fn member(cluster: &Cluster, seed: u64) -> ConsumerBuilder {
    Consumer::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .group_id("g")
        .property("auto.offset.reset", "earliest")
        .connector(InMemory(cluster.downgrade()))
        .spawn_on(tokio::runtime::Handle::current())
        .seed(seed)
}

/// Connects to a cluster of this process without sockets.
struct InMemory(WeakCluster);

impl std::fmt::Debug for InMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InMemory")
    }
}

impl Connector for InMemory {
    fn connect(&self, address: &Address) -> Connecting {
        let refused = || ConnectError::Connect(format!("{address}: connection refused"));
        let stream = self.0.upgrade().and_then(|cluster| {
            cluster.connect_in_memory(cluster.node_at(&address.host, address.port)?)
        });
        let connected =
            stream.map(|stream| Box::new(stream) as Box<dyn Stream>).ok_or_else(refused);
        Box::pin(async move { connected })
    }
}

#[derive(Clone, Default)]
struct Recording(Arc<Mutex<Vec<u8>>>);

impl Recording {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("JSON is text")
    }
}

impl Write for Recording {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
