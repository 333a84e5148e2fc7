//! Spans for a collector: where `OTEL_EXPORTER_OTLP_ENDPOINT` is set, what the client tells
//! `tracing` goes there by OTLP over HTTP, as JSON.
//!
//! A finished request becomes a span with the times at which it was queued, sent and answered; a
//! rebalance and a callback are spans already, which say themselves how long they lasted (on the
//! monotonic clock, and also when something holds on to them). Other events become points inside
//! of the span they occur in, or spans without duration. Written
//! by hand: the OpenTelemetry SDK and its exporter are some 140 crates for these few lines.

mod otlp;

use otlp::Sender;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// Sends what is left when it is dropped.
pub(super) use otlp::Delivery;

/// The layer that sends spans to `endpoint`, and what delivers them.
///
/// # Errors
/// A sentence, when the endpoint is not one that can be spoken to.
pub(super) fn layer(endpoint: &str) -> Result<(Exporter, Delivery), String> {
    let (sender, delivery) = otlp::start(endpoint)?;
    Ok((Exporter { sender }, delivery))
}

/// A `tracing` layer.
#[derive(Debug)]
pub(super) struct Exporter {
    sender: Sender,
}

/// A span as it is collected.
#[derive(Clone, Debug)]
struct Span {
    trace: u128,
    id: u64,
    parent: Option<u64>,
    name: String,
    kind: u32,
    start: SystemTime,
    fields: Map<String, Value>,
    points: Vec<Value>,
}

impl Span {
    fn begin(name: String, within: Option<(u128, u64)>, start: SystemTime) -> Self {
        let trace = within
            .map_or_else(|| u128::from(otlp::random()) << 64 | u128::from(otlp::random()), |w| w.0);
        let parent = within.map(|(_, id)| id);
        let (fields, points) = (Map::new(), Vec::new());
        Self { trace, id: otlp::random(), parent, name, kind: INTERNAL, start, fields, points }
    }

    /// The span in OTLP's JSON (opentelemetry-proto 1.x, `trace/v1`).
    fn ended(self, end: SystemTime) -> Value {
        let outcome = self.fields.get("outcome").and_then(Value::as_str).unwrap_or("ok");
        let failed = !matches!(outcome, "ok" | "answered" | "completed" | "superseded" | "left");
        let mut span = json!({
            "traceId": format!("{:032x}", self.trace),
            "spanId": format!("{:016x}", self.id),
            "name": self.name,
            "kind": self.kind,
            "startTimeUnixNano": nanos(self.start),
            "endTimeUnixNano": nanos(end),
            "attributes": otlp::attributes(&self.fields),
            "events": self.points,
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = format!("{parent:016x}").into();
        }
        if failed {
            span["status"] = json!({"code": ERROR, "message": outcome});
        }
        span
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Exporter {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let within = span.parent().and_then(|parent| place(&parent));
        let name = attributes.metadata().name().to_owned();
        let mut begun = Span::begin(name, within, SystemTime::now());
        attributes.record(&mut Fields(&mut begun.fields));
        span.extensions_mut().insert(begun);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(begun) = span.extensions_mut().get_mut::<Span>()
        {
            values.record(&mut Fields(&mut begun.fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        event.record(&mut Fields(&mut fields));
        let now = SystemTime::now();
        let around = context.event_span(event);
        let within = around.as_ref().and_then(place);
        if event.metadata().target() == "evenkeel::request" {
            self.sender.send(request(fields, within, now));
            return;
        }
        let name = name_of(event.metadata(), &mut fields);
        if let Some(span) = around
            && let Some(begun) = span.extensions_mut().get_mut::<Span>()
        {
            let attributes = otlp::attributes(&fields);
            begun
                .points
                .push(json!({"timeUnixNano": nanos(now), "name": name, "attributes": attributes}));
            return;
        }
        let mut point = Span::begin(name, within, now);
        point.fields = fields;
        self.sender.send(point.ended(now));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let begun = context.span(&id).and_then(|span| span.extensions_mut().remove::<Span>());
        if let Some(mut begun) = begun {
            if let Some(Value::String(callback)) = begun.fields.get("callback") {
                begun.name = format!("{callback} callback");
            }
            let lasted = begun.fields.get("lasted_us").and_then(Value::as_u64);
            let end = lasted.and_then(|us| begun.start.checked_add(Duration::from_micros(us)));
            self.sender.send(begun.ended(end.unwrap_or_else(SystemTime::now)));
        }
    }
}

/// The trace and the id of a span that is being collected.
fn place<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<(u128, u64)> {
    span.extensions().get::<Span>().map(|begun| (begun.trace, begun.id))
}

/// A finished request: the event tells how long it was queued and how long in flight.
fn request(fields: Map<String, Value>, within: Option<(u128, u64)>, end: SystemTime) -> Value {
    let told = |key: &str| fields.get(key).and_then(Value::as_u64).unwrap_or(0);
    let in_flight = Duration::from_micros(told("in_flight_us"));
    let queued = Duration::from_millis(told("queued_ms"));
    let sent = end.checked_sub(in_flight).unwrap_or(end);
    let start = sent.checked_sub(queued).unwrap_or(sent);
    let api = fields.get("api").and_then(Value::as_str).unwrap_or("unknown");
    let mut span = Span::begin(format!("{api} request"), within, start);
    (span.fields, span.kind) = (fields, CLIENT);
    span.points.push(json!({"timeUnixNano": nanos(sent), "name": "sent"}));
    span.ended(end)
}

/// An event's message, or where it was told.
fn name_of(metadata: &Metadata<'_>, fields: &mut Map<String, Value>) -> String {
    fields.insert("target".into(), metadata.target().into());
    if *metadata.level() <= Level::WARN {
        fields.insert("level".into(), metadata.level().as_str().into());
    }
    match fields.remove("message") {
        Some(Value::String(message)) => message,
        _ => metadata.name().to_owned(),
    }
}

/// Nanoseconds since 1970, as text: OTLP's JSON writes 64-bit numbers so.
fn nanos(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

/// Collects fields as JSON.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Visit for Fields<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }
}

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u32 = 1;
/// `SPAN_KIND_CLIENT`.
const CLIENT: u32 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: u32 = 2;

#[cfg(test)]
mod tests;
