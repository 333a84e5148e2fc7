//! Which traces a search finds: `/api/traces` of Jaeger's query service (1.x and 2.x).
//!
//! One span of the trace has to be all that is asked for, as in Jaeger.

use super::store::{Span, Tag, Trace};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// What is asked for; the names are the query string's.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Query {
    service: Option<String>,
    operation: Option<String>,
    /// A JSON object: each of these with this value.
    tags: Option<String>,
    /// Microseconds since 1970.
    start: Option<u64>,
    /// Microseconds since 1970.
    end: Option<u64>,
    min_duration: Option<String>,
    max_duration: Option<String>,
    pub(super) limit: Option<usize>,
}

/// A query that was understood.
#[derive(Debug)]
pub(super) struct Search {
    query: Query,
    tags: Map<String, Value>,
    min_us: u64,
    max_us: u64,
}

impl Query {
    /// # Errors
    /// Which part of it cannot be understood.
    pub(super) fn read(self) -> Result<Search, String> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let tags = match given(&self.tags) {
            Some(tags) => serde_json::from_str(&tags).map_err(|error| format!("tags: {error}"))?,
            None => Map::new(),
        };
        let bound = |text, otherwise| given(text).map_or(Ok(otherwise), |text| microseconds(&text));
        let (min_us, max_us) =
            (bound(&self.min_duration, 0)?, bound(&self.max_duration, u64::MAX)?);
        Ok(Search { query: self, tags, min_us, max_us })
    }
}

impl Search {
    pub(super) fn finds(&self, trace: &Trace) -> bool {
        trace.spans.iter().any(|span| self.is(span))
    }

    fn is(&self, span: &Span) -> bool {
        let Query { service, operation, start, end, .. } = &self.query;
        service.as_ref().is_none_or(|service| *service == span.service)
            && operation
                .as_ref()
                .is_none_or(|name| *name == span.name || ANY.contains(&name.as_str()))
            && start.is_none_or(|start| span.start_us >= start)
            && end.is_none_or(|end| span.start_us <= end)
            && (self.min_us..=self.max_us).contains(&span.duration_us)
            && self.tags.iter().all(|(key, value)| {
                span.tags.iter().any(|tag| tag.key == *key && text(&tag.value) == text(value))
                    || span.logs.iter().any(|(_, fields)| has(fields, key, value))
            })
    }
}

fn has(fields: &[Tag], key: &str, value: &Value) -> bool {
    fields.iter().any(|tag| tag.key == key && text(&tag.value) == text(value))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Reads `1.2s`, `100ms`, `500us`, as the page writes durations.
fn microseconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no duration; expected as in 1.5s, 100ms, 500us");
    let unit_at = text.find(|c: char| c.is_alphabetic() || c == 'µ').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    u64::try_from(duration.as_micros()).map_err(|_| wrong())
}

/// What the page, or its address, says for any operation.
const ANY: [&str; 2] = ["", "all"];

#[cfg(test)]
mod tests {
    use super::microseconds;

    #[test]
    fn durations_are_read_as_the_page_writes_them() {
        let read = |text| microseconds(text).expect("it is well formed");
        assert_eq!([read("500us"), read("100ms"), read("1.5s")], [500, 100_000, 1_500_000]);
        for wrong in ["", "7", "ms", "-1s", "1 day"] {
            assert!(microseconds(wrong).is_err(), "{wrong:?}");
        }
    }
}
