//! What is collected, as OTLP's JSON (opentelemetry-proto 1.x, `trace/v1`).
//!
//! The fields `otel.name`, `otel.kind`, `otel.status_code` and `otel.status_message`, `began_us`
//! and `lasted_us`, `links` and `service.name` are what they say; all others are attributes. A
//! failure is also the attribute `error`, for viewers that drop the status.

use super::otlp::random;
use super::{Place, since_1970};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Fields in the order in which they were told.
pub(super) type Told = Vec<(&'static str, Value)>;

/// A span as it is collected.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: u128,
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) name: Cow<'static, str>,
    /// When it was told of, unless a field says when it began.
    pub(super) start: SystemTime,
    /// Likewise.
    pub(super) end: SystemTime,
    pub(super) fields: Told,
    pub(super) points: Vec<(SystemTime, Cow<'static, str>, Told)>,
}

impl Span {
    pub(super) fn begin(name: &'static str, within: Option<Place>, start: SystemTime) -> Self {
        let trace = u128::from(random()) << 64 | u128::from(random());
        let (fields, points) = (Told::new(), Vec::new());
        let (id, name) = (random(), name.into());
        let mut span = Self { trace, id, parent: None, name, start, end: start, fields, points };
        within.into_iter().for_each(|within| span.put(within));
        span
    }

    /// It is a part of this one.
    pub(super) fn put(&mut self, (trace, parent): Place) {
        (self.trace, self.parent) = (trace, Some(parent));
    }

    /// Whether a field says when it began.
    pub(super) fn tells_when(&self) -> bool {
        self.fields.iter().any(|(key, _)| *key == "began_us")
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        let at = self.fields.iter().position(|(told, _)| *told == key)?;
        Some(self.fields.remove(at).1)
    }

    fn take_text(&mut self, key: &str) -> Option<String> {
        match self.take(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    fn take_micros(&mut self, key: &str) -> Option<Duration> {
        self.take(key).as_ref().and_then(Value::as_u64).map(Duration::from_micros)
    }

    fn written(mut self) -> Value {
        let start = self.take_micros("began_us").map_or(self.start, |since| UNIX_EPOCH + since);
        let lasted = self.take_micros("lasted_us");
        let end = lasted.map_or(self.end, |lasted| start + lasted).max(start);
        let kind = match self.take_text("otel.kind").as_deref() {
            Some("server") => 2,
            Some("client") => 3,
            Some("producer") => 4,
            Some("consumer") => 5,
            _ => INTERNAL,
        };
        let (name, links) = (self.take_text("otel.name"), self.take_text("links"));
        let is_failed = self.take_text("otel.status_code").is_some_and(|code| code == "ERROR");
        let why = self.take_text("otel.status_message").unwrap_or_default();
        if is_failed && !self.fields.iter().any(|(key, _)| *key == "error") {
            self.fields.push(("error", true.into()));
        }
        let point = |(at, name, told): (SystemTime, Cow<'static, str>, Told)| {
            let (name, attributes) = (name.into_owned(), attributes(&told));
            json!({"timeUnixNano": nanos(at), "name": name, "attributes": attributes})
        };
        let mut span = json!({
            "traceId": format!("{:032x}", self.trace),
            "spanId": format!("{:016x}", self.id),
            "name": name.unwrap_or_else(|| self.name.into_owned()),
            "kind": kind,
            "startTimeUnixNano": nanos(start),
            "endTimeUnixNano": nanos(end),
            "attributes": attributes(&self.fields),
            "events": self.points.into_iter().map(point).collect::<Vec<_>>(),
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = format!("{parent:016x}").into();
        }
        if is_failed {
            span["status"] = json!({"code": ERROR, "message": why});
        }
        if let Some(links) = links {
            span["links"] = links.split(',').filter_map(link).collect();
        }
        span
    }
}

/// One message with these spans, by the service that they are of.
pub(super) fn message(spans: Vec<Span>, service: &str) -> String {
    let mut by_service = BTreeMap::<String, Vec<Value>>::new();
    for mut span in spans {
        let service = span.take_text("service.name").unwrap_or_else(|| service.to_owned());
        by_service.entry(service).or_default().push(span.written());
    }
    let scope = json!({"name": "evenkeel", "version": env!("CARGO_PKG_VERSION")});
    let resource = |(service, spans): (String, Vec<Value>)| {
        let service = json!({"key": "service.name", "value": {"stringValue": service}});
        json!({
            "resource": {"attributes": [service]},
            "scopeSpans": [{"scope": scope, "spans": spans}],
        })
    };
    let resources: Vec<_> = by_service.into_iter().map(resource).collect();
    json!({"resourceSpans": resources}).to_string()
}

fn attributes(told: &[(&'static str, Value)]) -> Value {
    let value = |value: &Value| match value {
        Value::Bool(yes) => json!({"boolValue": yes}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        other => json!({"stringValue": other.to_string()}),
    };
    told.iter().map(|(key, field)| json!({"key": key, "value": value(field)})).collect()
}

/// A `traceparent` as a link.
fn link(parent: &str) -> Option<Value> {
    let mut parts = parent.split('-').skip(1);
    let (trace, span) = (parts.next()?, parts.next()?);
    Some(json!({"traceId": trace, "spanId": span}))
}

/// Nanoseconds since 1970, as text: OTLP's JSON writes 64-bit numbers so.
fn nanos(at: SystemTime) -> String {
    since_1970(at).as_nanos().to_string()
}

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u32 = 1;
/// `STATUS_CODE_ERROR`.
const ERROR: u32 = 2;
