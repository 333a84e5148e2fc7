//! `--jaeger`, as a browser and another process see it.

mod child;

use child::{Child, get, post};
use evenkeel_broker::Cluster;
use serde_json::{Value, json};

#[test]
fn what_consume_did_is_shown_until_a_signal_after_its_end() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let _inside = runtime.enter();
    let cluster = Cluster::builder().topic("t", 2).build().expect("a cluster");
    cluster.listen(([127, 0, 0, 1], 0).into()).expect("some port is free");
    cluster.append("t", 0, None, Some(b"value")).expect("it exists");
    let servers = cluster.bootstrap_servers();
    let consume =
        ["consume", "--bootstrap", &servers, "--group", "g", "--topic", "t", "--from-beginning"];
    let mut child = Child::start(&[&consume[..], &["--max-messages", "1", "--jaeger=0"]].concat());
    let address = child.told("Jaeger is up: http://");
    child.told("the job is done");

    let services: Value = get(&address, "/api/services").json();
    assert_eq!(services["data"], json!(["client"]));
    let operations: Value = get(&address, "/api/services/client/operations").json();
    for operation in ["rebalance", "acknowledgement heartbeat", "leave"] {
        let named = operations["data"].as_array().expect("a list").contains(&operation.into());
        assert!(named, "{operation} in {operations}");
    }
    let found: Value = get(&address, "/api/traces?service=client&operation=rebalance").json();
    let traces = found["data"].as_array().expect("a list");
    assert_eq!(traces.len(), 2, "a target, and the leave: {found}");
    let id = traces[0]["traceID"].as_str().expect("an id");
    let trace: Value = get(&address, &format!("/api/traces/{id}")).json();
    assert_eq!(trace["data"][0], traces[0]);

    child.signal("INT");
    assert_eq!(child.code(), 0);
}

#[test]
fn a_replayed_goal_is_one_trace_of_two_services() {
    let mut child = Child::start(&["replay", "commits", "--target", "client", "--jaeger=0"]);
    let address = child.told("Jaeger is up: http://");
    child.told("the job is done");
    let found: Value = get(&address, "/api/traces?service=model&limit=100").json();
    let traces = found["data"].as_array().expect("a list");
    assert!((2..=20).contains(&traces.len()), "{} goals are told", traces.len());
    let served = |trace: &Value, service: &str| trace["processes"].get(service).is_some();
    assert!(traces.iter().all(|trace| served(trace, "model")));
    assert!(traces.iter().filter(|trace| served(trace, "client")).count() > 1);
    // Everything the client told lies within a goal.
    let clients: Value = get(&address, "/api/traces?service=client&limit=1000").json();
    let clients = clients["data"].as_array().expect("a list");
    assert!(clients.iter().all(|trace| served(trace, "model")));
    child.signal("INT");
    assert_eq!(child.code(), 0);
}

#[test]
fn others_may_send_their_spans_and_searches_find_them() {
    let mut child = Child::start(&["replay", "commits", "--target", "core", "--jaeger=0"]);
    let address = child.told("Jaeger is up: http://");
    let span = |id: &str, parent: &str, name: &str, status: u32| {
        json!({
            "traceId": "000000000000000000000000000000ab", "spanId": format!("{id:0>16}"),
            "parentSpanId": if parent.is_empty() { String::new() } else { format!("{parent:0>16}") },
            "name": name, "kind": 3,
            "startTimeUnixNano": "1000000000000000000", "endTimeUnixNano": "1000000002000000000",
            "attributes": [{"key": "group", "value": {"stringValue": "g"}}],
            "status": {"code": status},
        })
    };
    let service = json!({"key": "service.name", "value": {"stringValue": "payments"}});
    // The parent of the second never comes.
    let spans = [span("1", "", "poll t", 0), span("2", "77", "commit t", 2)];
    let message = json!({"resourceSpans": [{
        "resource": {"attributes": [service]}, "scopeSpans": [{"spans": spans}],
    }]});
    assert_eq!(post(&address, "/v1/traces", &message.to_string()).status, 200);
    assert_eq!(post(&address, "/v1/traces", "{\"resourceSpans\": 7}").status, 400);

    let found = |query: &str| -> usize {
        let answer = get(&address, &format!("/api/traces?service=payments{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        let answer: Value = answer.json();
        answer["data"].as_array().expect("a list").len()
    };
    assert_eq!(found(""), 1);
    for (query, finds) in [
        ("&operation=commit%20t", 1),
        ("&operation=fetch", 0),
        ("&tags=%7B%22error%22%3A%22true%22%2C%22group%22%3A%22g%22%7D", 1),
        ("&operation=poll%20t&tags=%7B%22error%22%3A%22true%22%7D", 0),
        ("&minDuration=1.5s&maxDuration=2s", 1),
        ("&minDuration=2.1s", 0),
        ("&start=1000000000000000&end=1000000000000001", 1),
        ("&end=999999999999999", 0),
        ("&limit=0", 0),
    ] {
        assert_eq!(found(query), finds, "{query}");
    }
    assert_eq!(get(&address, "/api/traces?minDuration=soon").status, 400);
    let trace: Value = get(&address, "/api/traces/ab").json();
    let spans = trace["data"][0]["spans"].as_array().expect("a list");
    assert_eq!(spans.len(), 2, "one whose parent is missing is shown too");
    let kind = json!({"key": "span.kind", "type": "string", "value": "client"});
    assert!(spans[0]["tags"].as_array().expect("a list").contains(&kind), "{trace}");
    assert_eq!(get(&address, "/api/traces/cd").status, 404);

    for path in ["/", "/trace/000000000000000000000000000000ab"] {
        let page = get(&address, path);
        assert!(page.status == 200 && page.body.contains("<title>Jaeger UI</title>"), "{path}");
    }
    child.told("the job is done");
    child.signal("TERM");
    assert_eq!(child.code(), 0);
}

#[test]
fn a_taken_port_exits_with_3_and_a_command_without_a_client_with_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let port = taken.local_addr().expect("it is bound").port();
    let child = Child::start(&["replay", &format!("--jaeger={port}")]);
    assert_eq!(child.code(), 3);
    assert_eq!(Child::start(&["check", "--jaeger=0"]).code(), 2);
    // It does not stay for a page that has nothing to show.
    let wrong = ["consume", "--bootstrap", "localhost:9092", "--group", "g", "--topic", "t"];
    let property = ["--property", "session.timeout.ms=1", "--jaeger=0"];
    assert_eq!(Child::start(&[&wrong[..], &property].concat()).code(), 2);
}
