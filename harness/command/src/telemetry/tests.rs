//! A receiver on a socket is told what `tracing` was told.

mod scripted;

use super::layer;
use super::message::Span;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::LazyLock;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

/// Answers one POST and gives its body.
fn receive(listener: &TcpListener, status: &str) -> String {
    let (mut stream, _) = listener.accept().expect("the exporter connects");
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).expect("the exporter sends");
        text.push_str(std::str::from_utf8(&buffer[..read]).expect("it is ASCII here"));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).expect("it is told");
        if body.len() == length {
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").expect("it listens");
            return text;
        }
    }
}

/// While there is but one subscriber, whoever comes to a place first decides for everybody whether
/// it is told, by what listens on his thread (tracing-core 0.1.36, `rebuilder`): so there is another.
fn never_alone() {
    static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(registry()));
    LazyLock::force(&ANOTHER);
}

#[test]
fn a_request_is_a_span_from_its_queueing_to_its_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (exporter, delivery) = layer(&endpoint).expect("the endpoint is well formed");
    let subscriber = tracing_subscriber::registry().with(exporter);
    never_alone();
    tracing::subscriber::with_default(subscriber, || {
        let around = tracing::info_span!(target: "evenkeel::rebalance", "rebalance", group = "g");
        around.in_scope(|| {
            tracing::info!(target: "evenkeel::rebalance", partitions = 3, "assignment changed");
            tracing::event!(
                target: "evenkeel::request",
                tracing::Level::DEBUG,
                otel.name = "Fetch request",
                otel.status_code = "ERROR",
                otel.status_message = "timed out",
                began_us = 1_000_000_u64,
                lasted_us = 9_500_u64,
                queued_ms = 7_u64,
            );
        });
    });
    let receiver = std::thread::spawn(move || receive(&listener, "200 OK"));
    drop(delivery);
    let posted = receiver.join().expect("one message came");
    assert!(posted.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{posted}");
    let (_, body) = posted.split_once("\r\n\r\n").expect("it has a body");
    let message: Value = serde_json::from_str(body).expect("the body is JSON");
    let spans = &message["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let [request, rebalance] = &spans.as_array().expect("spans are listed")[..] else {
        panic!("two spans, not {spans}");
    };
    let at = |span: &Value, key: &str| -> u128 {
        span[key].as_str().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds as text")
    };
    assert_eq!(request["name"], "Fetch request");
    assert_eq!(at(request, "startTimeUnixNano"), 1_000_000_000);
    assert_eq!(at(request, "endTimeUnixNano"), 1_009_500_000);
    assert_eq!(request["parentSpanId"], rebalance["spanId"]);
    assert_eq!(request["traceId"], rebalance["traceId"]);
    assert_eq!(request["status"]["message"], "timed out");
    assert_eq!(rebalance["name"], "rebalance");
    assert_eq!(rebalance["events"][0]["name"], "assignment changed");
    assert_eq!(rebalance["attributes"][0]["value"]["stringValue"], "g");
    assert!(rebalance.get("status").is_none(), "nothing failed in it");
}

#[test]
fn a_rebalance_holds_its_callback_and_its_commit_and_each_lasts_as_long_as_it_says() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (exporter, delivery) = layer(&endpoint).expect("the endpoint is well formed");
    let subscriber = tracing_subscriber::registry().with(exporter);
    never_alone();
    tracing::subscriber::with_default(subscriber, || {
        let empty = tracing::field::Empty;
        let rebalance =
            tracing::info_span!(parent: None, "rebalance", outcome = empty, lasted_us = empty);
        let callback = tracing::info_span!(
            parent: &rebalance, "callback", otel.name = "revoked callback",
            otel.status_code = empty, otel.status_message = empty, lasted_us = empty
        );
        callback.record("otel.name", "revoked callback (panicked)");
        callback.record("otel.status_code", "ERROR");
        callback.record("otel.status_message", "panicked");
        callback.record("lasted_us", 700_000_u64);
        drop(callback);
        rebalance.record("outcome", "completed");
        rebalance.record("lasted_us", 900_000_u64);
        // The commit's answer comes after the end of the rebalance that it belongs to.
        tracing::event!(
            target: "evenkeel::request",
            parent: &rebalance,
            tracing::Level::DEBUG,
            otel.name = "commit",
            otel.kind = "client",
            began_us = 0_u64,
            lasted_us = 0_u64,
        );
    });
    let receiver = std::thread::spawn(move || receive(&listener, "200 OK"));
    drop(delivery);
    let posted = receiver.join().expect("one message came");
    let (_, body) = posted.split_once("\r\n\r\n").expect("it has a body");
    let message: Value = serde_json::from_str(body).expect("the body is JSON");
    let spans = &message["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let [callback, commit, rebalance] = &spans.as_array().expect("spans are listed")[..] else {
        panic!("three spans, not {spans}");
    };
    let at = |span: &Value, key: &str| -> u128 {
        span[key].as_str().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds as text")
    };
    let lasted = |span: &Value| at(span, "endTimeUnixNano") - at(span, "startTimeUnixNano");
    assert_eq!((lasted(callback), lasted(rebalance)), (700_000_000, 900_000_000));
    assert_eq!(
        (&callback["name"], &commit["name"]),
        (&json!("revoked callback (panicked)"), &json!("commit"))
    );
    for child in [callback, commit] {
        assert_eq!(child["parentSpanId"], rebalance["spanId"]);
        assert_eq!(child["traceId"], rebalance["traceId"]);
    }
    assert_eq!((&commit["kind"], &rebalance["kind"]), (&json!(3), &json!(1)));
    assert_eq!(callback["status"]["message"], "panicked");
    assert!(rebalance.get("status").is_none(), "a rebalance that is completed is no failure");
}

#[test]
fn a_receiver_that_never_answers_holds_up_the_end_for_one_post() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (exporter, delivery) = layer(&endpoint).expect("the endpoint is well formed");
    for _ in 0..10_000 {
        exporter.sender.send(Span::begin("poll", None, std::time::SystemTime::now()));
    }
    let undelivered = std::sync::Arc::clone(delivery.undelivered());
    drop(delivery);
    assert_eq!(undelivered.load(std::sync::atomic::Ordering::Relaxed), 10_000);
    // One post when the end began, and one after it.
    listener.set_nonblocking(true).expect("it can be asked");
    assert!(listener.incoming().map_while(Result::ok).count() <= 2);
}

#[test]
fn a_receiver_that_is_not_there_holds_up_nothing() {
    let endpoint = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
        format!("http://{}", listener.local_addr().expect("it is bound"))
    };
    let (exporter, delivery) = layer(&endpoint).expect("the endpoint is well formed");
    exporter.sender.send(Span::begin("poll", None, std::time::SystemTime::now()));
    let undelivered = std::sync::Arc::clone(delivery.undelivered());
    drop(delivery);
    assert_eq!(undelivered.load(std::sync::atomic::Ordering::Relaxed), 1);
}
