//! Spans for a collector: where `OTEL_EXPORTER_OTLP_ENDPOINT` is set, or for `--jaeger`, what the
//! client tells `tracing` goes there by OTLP over HTTP, as JSON.
//!
//! What says when it began and how long it lasted becomes a span of just that, be it a span or an
//! event; other events become points inside of the span they occur in, and warnings that occur in none
//! spans without duration.
//! Here, on the thread that is watched, fields are only collected; messages are made of them by
//! the thread that sends them. Written by hand: the OpenTelemetry SDK and its exporter are some 140
//! crates for these few lines.

mod goal;
mod message;
mod otlp;

use message::Span;
use otlp::Sender;
use serde_json::Value;
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

/// The trace that a span belongs to, and its id in it.
type Place = (u128, u64);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Exporter {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut begun = Span::begin(attributes.metadata().name(), None, SystemTime::now());
        attributes.record(&mut Fields(&mut begun.fields));
        let parent = span.parent().and_then(|parent| place(&parent));
        match parent.or_else(|| goal::around(&context)) {
            Some(within) => begun.put(within),
            None => goal::root(&mut begun),
        }
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
        let now = SystemTime::now();
        let around = context.event_span(event);
        let mut point = Span::begin(event.metadata().name(), None, now);
        event.record(&mut Fields(&mut point.fields));
        if point.tells_when() {
            let within = around.as_ref().and_then(place).or_else(|| goal::around(&context));
            within.into_iter().for_each(|within| point.put(within));
            return self.sender.send(point);
        }
        name(&mut point, event.metadata());
        let around = around.as_ref().filter(|around| !goal::is(around));
        let around = around.map(SpanRef::extensions_mut);
        if let Some(mut around) = around
            && let Some(begun) = around.get_mut::<Span>()
        {
            begun.points.push((now, point.name, point.fields));
            return;
        }
        if *event.metadata().level() > Level::WARN {
            return;
        }
        if let Some(within) = goal::around(&context) {
            point.put(within);
        }
        self.sender.send(point);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let begun = context.span(&id).and_then(|span| span.extensions_mut().remove::<Span>());
        if let Some(mut begun) = begun {
            begun.end = SystemTime::now();
            self.sender.send(begun);
        }
    }
}

/// The trace and the id of a span that is being collected.
fn place<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<Place> {
    span.extensions().get::<Span>().map(|begun| (begun.trace, begun.id))
}

/// An event is named by its message, or by where it was told.
fn name(point: &mut Span, metadata: &Metadata<'_>) {
    if let Some(at) = point.fields.iter().position(|(key, _)| *key == "message")
        && let (_, Value::String(message)) = point.fields.remove(at)
    {
        point.name = message.into();
    }
    point.fields.push(("target", metadata.target().into()));
    if *metadata.level() <= Level::WARN {
        point.fields.push(("level", metadata.level().as_str().into()));
    }
}

/// Collects fields; the last word on each counts.
struct Fields<'a>(&'a mut Vec<(&'static str, Value)>);

impl Fields<'_> {
    fn set(&mut self, field: &Field, value: Value) {
        match self.0.iter_mut().find(|(key, _)| *key == field.name()) {
            Some((_, told)) => *told = value,
            None => self.0.push((field.name(), value)),
        }
    }
}

impl Visit for Fields<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }
}

/// Not before 1970.
fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
