//! Spans of what the application does with records: `poll T`, in which it waited for them, and
//! `process T`, from then until it asks for more.
//!
//! Both are made where records are handed over, never where they are fetched ahead (semantic
//! conventions for messaging 1.44). A poll that returns nothing is told to nobody.

use super::clock::unix_us;
use super::metrics::Metrics;
use super::parent::TraceParent;
use crate::records::PartitionRecords;
use evenkeel_spec::words::TopicName;
use std::collections::BTreeSet;
use std::fmt::Write;
use tokio::time::Instant;
use tracing::{Level, Span, debug_span, enabled, field};

/// Whether spans link to the spans of the records' producers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Links {
    /// No header is looked at.
    #[default]
    No,
    /// To those that the header `traceparent` names.
    Producers,
}

/// The application has records; its span ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Processing {
    span: Span,
    metrics: Metrics,
    /// The topic, if all records are of one.
    topic: Option<TopicName>,
    began: Instant,
}

/// Records are handed over by a poll that began then. `None`: nobody listens.
pub(crate) fn polled<'a>(
    asked: (&str, Links),
    metrics: &Metrics,
    began: Instant,
    parts: impl Iterator<Item = &'a PartitionRecords> + Clone,
) -> Option<Processing> {
    let is_told = enabled!(target: "evenkeel::poll", Level::DEBUG);
    if !is_told && !metrics.is_on() {
        return None;
    }
    let count: usize = parts.clone().map(PartitionRecords::len).sum();
    if count == 0 {
        return None;
    }
    let mut topics = parts.clone().map(|part| &part.partition().topic);
    let first = topics.next();
    let topic = first.filter(|first| topics.all(|topic| topic == *first)).cloned();
    let now = Instant::now();
    metrics.on_polled(now.duration_since(began), count, topic.as_ref().map(TopicName::as_str));
    let span = if is_told {
        spans(asked, (began, now), (count, topic.as_ref().map(TopicName::as_str)), parts)
    } else {
        Span::none()
    };
    Some(Processing { span, metrics: metrics.clone(), topic, began: now })
}

/// Tells of the poll; the span of what is done with its records.
fn spans<'a>(
    (group, links): (&str, Links),
    (began, now): (Instant, Instant),
    (count, topic): (usize, Option<&str>),
    parts: impl Iterator<Item = &'a PartitionRecords> + Clone,
) -> Span {
    let one = |part: &PartitionRecords| part.partition().partition.to_string();
    let partition = if parts.clone().count() == 1 { parts.clone().next().map(one) } else { None };
    let links = match links {
        Links::No => None,
        Links::Producers => Some(producers(parts)),
    };
    let (links, dropped) = links.unzip();
    let poll = debug_span!(
        target: "evenkeel::poll",
        parent: None,
        "poll",
        otel.name = named("poll", topic),
        otel.kind = "client",
        "messaging.system" = "kafka",
        "messaging.operation.name" = "poll",
        "messaging.operation.type" = "receive",
        "messaging.consumer.group.name" = group,
        "messaging.destination.name" = topic,
        "messaging.destination.partition.id" = partition,
        "messaging.batch.message_count" = count,
        links,
        links_dropped = dropped.filter(|dropped| *dropped > 0),
        began_us = unix_us(began),
        lasted_us = crate::background::micros(now.duration_since(began)),
    );
    debug_span!(
        target: "evenkeel::poll",
        parent: &poll,
        "process",
        otel.name = named("process", topic),
        otel.kind = "consumer",
        "messaging.system" = "kafka",
        "messaging.operation.name" = "process",
        "messaging.operation.type" = "process",
        "messaging.consumer.group.name" = group,
        "messaging.destination.name" = topic,
        "messaging.destination.partition.id" = partition,
        "messaging.batch.message_count" = count,
        began_us = unix_us(now),
        lasted_us = field::Empty,
    )
}

impl Drop for Processing {
    fn drop(&mut self) {
        let lasted = self.began.elapsed();
        self.metrics.on_processed(lasted, self.topic.as_ref().map(TopicName::as_str));
        self.span.record("lasted_us", crate::background::micros(lasted));
    }
}

/// Span name by the conventions: the operation, and where it is one topic's, the topic.
fn named(operation: &str, topic: Option<&str>) -> String {
    topic.map_or_else(|| operation.to_owned(), |topic| format!("{operation} {topic}"))
}

/// The spans of the records' producers, each once, as `traceparent`s with commas between; and how
/// many more there were.
fn producers<'a>(parts: impl Iterator<Item = &'a PartitionRecords>) -> (String, usize) {
    let mut seen = BTreeSet::new();
    for record in parts.flat_map(PartitionRecords::iter) {
        let headers = record.headers.iter().map(|header| (header.key, header.value));
        seen.extend(TraceParent::of(headers));
    }
    let mut text = String::new();
    for parent in seen.iter().take(LINKS_MAX) {
        // Writing to a String does not fail.
        let _ = write!(text, "{}{parent}", if text.is_empty() { "" } else { "," });
    }
    (text, seen.len().saturating_sub(LINKS_MAX))
}

/// The links of one span: OpenTelemetry's limit (`OTEL_SPAN_LINK_COUNT_LIMIT`).
const LINKS_MAX: usize = 128;
