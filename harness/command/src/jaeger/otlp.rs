//! Reads what is posted to `/v1/traces`: OTLP's JSON (opentelemetry-proto 1.x), as the command's
//! own exporter writes it.
//!
//! Status and kind become tags, under the names that Jaeger gives them (OpenTelemetry, "OpenTelemetry
//! to Jaeger Transformation"). What is missing is left out; what cannot be read refuses the message.

use super::store::{Span, Tag};
use serde::Deserialize;
use serde_json::Value;

/// The spans of a message.
///
/// # Errors
/// What is wrong with it, for the sender.
pub(super) fn read(message: &[u8]) -> Result<Vec<Span>, String> {
    let message: Message = serde_json::from_slice(message).map_err(|error| error.to_string())?;
    let mut spans = Vec::new();
    for resource in message.resource_spans {
        let service = resource.resource.attributes.iter().find(|tag| tag.key == "service.name");
        let service = service.and_then(|tag| tag.value.plain().as_str().map(str::to_owned));
        let service = service.unwrap_or_else(|| "unknown_service".to_owned());
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(span.read(&service)?);
        }
    }
    Ok(spans)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Message {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ScopeSpans {
    spans: Vec<Posted>,
}

#[derive(Deserialize)]
struct Attribute {
    key: String,
    #[serde(default)]
    value: Any,
}

/// `AnyValue`: one of these is there.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Any {
    string_value: Option<String>,
    bool_value: Option<bool>,
    /// A 64-bit number is a text in OTLP's JSON; some write it as a number.
    int_value: Option<Value>,
    double_value: Option<f64>,
    #[serde(flatten)]
    other: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    trace_id: String,
    span_id: String,
    #[serde(default)]
    parent_span_id: String,
    name: String,
    #[serde(default)]
    kind: usize,
    start_time_unix_nano: Value,
    end_time_unix_nano: Value,
    #[serde(default)]
    attributes: Vec<Attribute>,
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    links: Vec<Link>,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    time_unix_nano: Value,
    name: String,
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    trace_id: String,
    span_id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u32,
    message: String,
}

impl Posted {
    fn read(self, service: &str) -> Result<Span, String> {
        let start_us = microseconds(&self.start_time_unix_nano)?;
        let end_us = microseconds(&self.end_time_unix_nano)?;
        let mut tags = tags(self.attributes);
        if let Some(kind) = KINDS.get(self.kind).filter(|kind| !kind.is_empty()) {
            tags.push(Tag { key: "span.kind".into(), value: (*kind).into() });
        }
        if self.status.code == ERROR {
            for (key, value) in [
                ("error", true.into()),
                ("otel.status_code", "ERROR".into()),
                ("otel.status_description", self.status.message.into()),
            ] {
                tags.retain(|tag| tag.key != key);
                tags.push(Tag { key: key.into(), value });
            }
        }
        let log = |event: Event| -> Result<_, String> {
            let mut fields = vec![Tag { key: "event".into(), value: event.name.into() }];
            fields.extend(self::tags(event.attributes));
            Ok((microseconds(&event.time_unix_nano)?, fields))
        };
        Ok(Span {
            trace: hexadecimal(&self.trace_id, 32)?,
            id: hexadecimal(&self.span_id, 16)?,
            parent: match self.parent_span_id.as_str() {
                "" => None,
                parent => Some(hexadecimal(parent, 16)?),
            },
            name: self.name,
            service: service.to_owned(),
            start_us,
            duration_us: end_us.saturating_sub(start_us),
            tags,
            logs: self.events.into_iter().map(log).collect::<Result<_, _>>()?,
            links: self.links.into_iter().map(|link| (link.trace_id, link.span_id)).collect(),
        })
    }
}

impl Any {
    fn plain(&self) -> Value {
        if let Some(text) = &self.string_value {
            return text.as_str().into();
        }
        if let Some(yes) = self.bool_value {
            return yes.into();
        }
        if let Some(number) = &self.int_value {
            let read = number.as_str().and_then(|text| text.parse::<i64>().ok());
            return read.map_or_else(|| number.clone(), Value::from);
        }
        match self.double_value {
            Some(number) => number.into(),
            None => Value::Object(self.other.clone()).to_string().into(),
        }
    }
}

fn tags(attributes: Vec<Attribute>) -> Vec<Tag> {
    let tag = |attribute: Attribute| Tag { value: attribute.value.plain(), key: attribute.key };
    attributes.into_iter().map(tag).collect()
}

fn microseconds(nanos: &Value) -> Result<u64, String> {
    let read = match nanos {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    read.map(|nanos: u64| nanos / 1_000).ok_or_else(|| format!("{nanos} is no time"))
}

fn hexadecimal(text: &str, digits: usize) -> Result<String, String> {
    if text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("{text:?} is no id of {digits} hexadecimal digits"))
    }
}

/// `SpanKind` by number, as Jaeger writes it.
const KINDS: [&str; 6] = ["", "internal", "server", "client", "producer", "consumer"];
/// `STATUS_CODE_ERROR`.
const ERROR: u32 = 2;

#[cfg(test)]
mod tests {
    use super::read;
    use serde_json::json;

    #[test]
    fn status_and_kind_become_tags_and_numbers_are_numbers() {
        let message = json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "client"}}]},
            "scopeSpans": [{"spans": [{
                "traceId": "0".repeat(31) + "a", "spanId": "00000000000000B1", "name": "commit",
                "kind": 3, "startTimeUnixNano": "5000", "endTimeUnixNano": 9000,
                "attributes": [{"key": "queued_ms", "value": {"intValue": "7"}}],
                "events": [{"timeUnixNano": "6000", "name": "sent"}],
                "status": {"code": 2, "message": "expired unsent"},
            }]}],
        }]});
        let spans = read(message.to_string().as_bytes()).expect("it is well formed");
        let [span] = &spans[..] else { panic!("one span, not {spans:?}") };
        assert_eq!((span.start_us, span.duration_us, span.id.as_str()), (5, 4, "00000000000000b1"));
        assert_eq!((span.service.as_str(), span.parent.as_ref()), ("client", None));
        let tag = |key: &str| span.tags.iter().find(|tag| tag.key == key).map(|tag| &tag.value);
        assert_eq!(tag("queued_ms"), Some(&json!(7)));
        assert_eq!(tag("span.kind"), Some(&json!("client")));
        assert_eq!(tag("error"), Some(&json!(true)));
        assert_eq!(tag("otel.status_description"), Some(&json!("expired unsent")));
        assert_eq!(span.logs[0].0, 6);
        assert_eq!(span.logs[0].1[0].value, json!("sent"));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_a_reason() {
        for (span, reason) in [
            (json!({"traceId": "xyz"}), "missing field"),
            (
                json!({"traceId": "xyz", "spanId": "", "name": "", "startTimeUnixNano": "1",
                    "endTimeUnixNano": "2"}),
                "hexadecimal",
            ),
            (
                json!({"traceId": "", "spanId": "", "name": "", "startTimeUnixNano": "yesterday",
                    "endTimeUnixNano": "2"}),
                "no time",
            ),
        ] {
            let message = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
            let error = read(message.to_string().as_bytes()).expect_err("it is refused");
            assert!(error.contains(reason), "{error}");
        }
        assert!(read(b"\x0a\x00").is_err(), "protobuf is not JSON");
    }
}
