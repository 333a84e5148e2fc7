use super::event::{Answer, Event, Found, Header, HeartbeatAnswer, Line, Loss, Owner, Said, Sent};
use super::words::{Offsets, Part, Results, Text, Texts, TopicNames};
use super::{FORMAT_VERSION, put};
use evenkeel_spec::words::{
    Committed, ErrorCode, LeaderEpoch, Offset, TopicId, TopicIdPartition, TopicName, TopicPartition,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A line without its end.
fn written(line: &impl Serialize) -> String {
    let mut text = Vec::new();
    put(&mut text, line);
    assert_eq!(text.pop(), Some(b'\n'));
    assert!(!text.contains(&b'\n'), "it is one line");
    String::from_utf8(text).expect("JSON is UTF-8")
}

fn event(event: Event<'_>) -> String {
    let line = written(&Line { t: 7, event });
    line.strip_prefix("{\"t\":7,\"event\":").expect("each says when and what first").to_owned()
}

fn by_name() -> TopicPartition {
    TopicPartition::new("t", 3)
}

fn by_id() -> TopicIdPartition {
    TopicIdPartition { topic: TopicId([0xab; 16]), partition: 3 }
}

const ID: &str = "abababababababababababababababab";

#[test]
fn text_of_any_kind_stays_on_its_line_and_can_be_read_back() {
    let hostile = "a\"b\\c\nd\u{1}é";
    let header = Header {
        evenkeel_run: FORMAT_VERSION,
        client_id: hostile,
        group: "",
        started_ms: 5,
        auto_commit: true,
        rebalance_timeout_ms: 300_000,
        assignor: None,
    };
    let line = written(&header);
    assert_eq!(
        line,
        "{\"evenkeel_run\":1,\"client_id\":\"a\\\"b\\\\c\\nd\\u0001é\",\"group\":\"\",\"started_ms\":5,\
         \"auto_commit\":true,\"rebalance_timeout_ms\":300000}"
    );
    let read: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(read["client_id"], hostile);
}

#[test]
fn what_is_not_there_is_not_written() {
    assert_eq!(event(Event::PollEnded), "\"poll_ended\"}");
    let topics = BTreeSet::from([TopicName::from("t"), TopicName::from("u")]);
    let subscribe = |pattern| {
        event(Event::Subscribe { call: 1, topics: Texts(&topics), pattern, listens: false })
    };
    assert_eq!(
        subscribe(None),
        "\"subscribe\",\"call\":1,\"topics\":[\"t\",\"u\"],\"listens\":false}"
    );
    assert_eq!(
        subscribe(Some("x.*")),
        "\"subscribe\",\"call\":1,\"topics\":[\"t\",\"u\"],\"pattern\":\"x.*\",\"listens\":false}"
    );
    assert_eq!(
        event(Event::Commit { call: 1, taken: 2, offsets: None }),
        "\"commit\",\"call\":1,\"taken\":2}"
    );
    let partition = by_name();
    let partitions = BTreeSet::from([partition.clone()]);
    let seek = |leader_epoch| {
        event(Event::Seek { call: 1, partitions: Texts(&partitions), to: Some(5), leader_epoch })
    };
    assert_eq!(seek(None), "\"seek\",\"call\":1,\"partitions\":[\"t-3\"],\"to\":5}");
    assert_eq!(
        seek(Some(2)),
        "\"seek\",\"call\":1,\"partitions\":[\"t-3\"],\"to\":5,\"leader_epoch\":2}"
    );
    assert_eq!(
        event(Event::Truncated { partition: Text(&partition), to: 5, leader_epoch: Some(2) }),
        "\"truncated\",\"partition\":\"t-3\",\"to\":5,\"leader_epoch\":2}"
    );
    let partitions = BTreeSet::from([by_name()]);
    let loss = |error| Loss { reason: "fenced", error };
    assert_eq!(
        event(Event::Lost { loss: loss(Some(110)), partitions: Texts(&partitions) }),
        "\"lost\",\"reason\":\"fenced\",\"error\":110,\"partitions\":[\"t-3\"]}"
    );
    let callback = |loss| Event::Callback {
        callback: 4,
        method: "lost",
        loss,
        partitions: Texts(&partitions),
    };
    assert_eq!(
        event(callback(Some(loss(None)))),
        "\"callback\",\"callback\":4,\"method\":\"lost\",\"reason\":\"fenced\",\"partitions\":[\"t-3\"]}"
    );
    assert_eq!(
        event(callback(None)),
        "\"callback\",\"callback\":4,\"method\":\"lost\",\"partitions\":[\"t-3\"]}"
    );
}

#[test]
fn requests_and_answers_name_partitions_by_topic_id() {
    let sent = Sent { connection: 8, request: 9 };
    assert_eq!(event(Event::Lookup(sent)), "\"lookup\",\"connection\":8,\"request\":9}");
    let owned = BTreeSet::from([by_id()]);
    let said = Said {
        epoch: Some(2),
        rebalance_timeout_ms: None,
        topics: None,
        pattern: Some(""),
        assignor: None,
        owned: Some(Texts(&owned)),
    };
    assert_eq!(
        event(Event::Heartbeat { sent, member: "m", kind: "stay", said }),
        format!(
            "\"heartbeat\",\"connection\":8,\"request\":9,\"member\":\"m\",\"kind\":\"stay\",\
             \"epoch\":2,\"pattern\":\"\",\"owned\":[\"{ID}-3\"]}}"
        )
    );
    let committed = |epoch, metadata: &str| Committed {
        offset: Offset(5),
        leader_epoch: epoch,
        metadata: metadata.into(),
    };
    let offsets = BTreeMap::from([(by_id(), committed(Some(LeaderEpoch(6)), "note"))]);
    let owner = Some(Owner { member: "m", epoch: 2 });
    assert_eq!(
        event(Event::OffsetCommit { sent, owner, offsets: Offsets(&offsets) }),
        format!(
            "\"offset_commit\",\"connection\":8,\"request\":9,\"member\":\"m\",\"epoch\":2,\
             \"offsets\":{{\"{ID}-3\":{{\"offset\":5,\"leader_epoch\":6,\"metadata\":\"note\"}}}}}}"
        )
    );
    let next = BTreeMap::from([(by_id(), committed(None, ""))]);
    let partition = by_name();
    let parts = vec![Part { partition: Text(&partition), count: 5, next: 10 }];
    assert_eq!(
        event(Event::Records { number: 1, parts, next: Offsets(&next) }),
        format!(
            "\"records\",\"number\":1,\"parts\":[{{\"partition\":\"t-3\",\"count\":5,\"next\":10}}],\
             \"next\":{{\"{ID}-3\":{{\"offset\":5}}}}}}"
        )
    );
    let results = BTreeMap::from([(by_id(), Err(ErrorCode::UnknownMemberId))]);
    let answer = Answer::Well(super::event::OffsetCommitAnswer { results: Results(&results) });
    assert_eq!(
        event(Event::OffsetCommitAnswer { request: 9, answer }),
        format!("\"offset_commit_answer\",\"request\":9,\"results\":{{\"{ID}-3\":25}}}}")
    );
    let well = HeartbeatAnswer { epoch: None, interval_ms: 5_000, assignment: Some(Texts(&owned)) };
    assert_eq!(
        event(Event::HeartbeatAnswer { request: 9, answer: Answer::Well(well) }),
        format!(
            "\"heartbeat_answer\",\"request\":9,\"interval_ms\":5000,\"assignment\":[\"{ID}-3\"]}}"
        )
    );
    let refused: Answer<Found> = Answer::Refused { error: 15 };
    assert_eq!(
        event(Event::Coordinator { request: 9, answer: refused }),
        "\"coordinator\",\"request\":9,\"error\":15}"
    );
    let (id, name) = (TopicId([0xab; 16]), TopicName::from("t"));
    let topics = TopicNames(vec![(&id, &name)]);
    assert_eq!(
        event(Event::Metadata { topics, brokers: vec![1, 2] }),
        format!("\"metadata\",\"topics\":{{\"{ID}\":\"t\"}},\"brokers\":[1,2]}}")
    );
}
