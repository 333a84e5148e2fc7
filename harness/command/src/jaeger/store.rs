//! What Jaeger remembers: the traces that changed last, in memory.
//!
//! Decides what is forgotten. A trace is shown with what came of it, also without its root.

use serde_json::Value;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Traces, by id.
#[derive(Debug, Default)]
pub(super) struct Store {
    traces: HashMap<String, Trace>,
    /// In which order they came: the first goes first.
    order: VecDeque<String>,
    spans: usize,
}

/// The spans of one trace, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) spans: Vec<Span>,
}

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    /// 32 hexadecimal digits.
    pub(super) trace: String,
    /// 16 hexadecimal digits.
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) name: String,
    pub(super) service: String,
    /// Microseconds since 1970.
    pub(super) start_us: u64,
    pub(super) duration_us: u64,
    pub(super) tags: Vec<Tag>,
    /// Each with its time, microseconds since 1970.
    pub(super) logs: Vec<(u64, Vec<Tag>)>,
    /// Trace and span that it is linked to.
    pub(super) links: Vec<(String, String)>,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tag {
    pub(super) key: String,
    pub(super) value: Value,
}

impl Store {
    /// Takes a span in; forgets whole traces, the oldest first, where it becomes too much.
    pub(super) fn add(&mut self, span: Span) {
        if !self.traces.contains_key(&span.trace) {
            self.order.push_back(span.trace.clone());
        }
        self.traces.entry(span.trace.clone()).or_default().spans.push(span);
        self.spans += 1;
        while self.spans > SPANS_MAX && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { return };
            let forgotten = self.traces.remove(&oldest);
            self.spans -= forgotten.map_or(0, |trace| trace.spans.len());
        }
    }

    pub(super) fn trace(&self, id: &str) -> Option<&Trace> {
        // The page leaves leading zeros out.
        self.traces.get(&format!("{id:0>32}"))
    }

    pub(super) fn traces(&self) -> impl Iterator<Item = &Trace> {
        self.order.iter().filter_map(|id| self.traces.get(id))
    }

    pub(super) fn services(&self) -> BTreeSet<&str> {
        self.traces().flat_map(|trace| &trace.spans).map(|span| span.service.as_str()).collect()
    }

    /// The names of a service's spans.
    pub(super) fn operations(&self, service: &str) -> BTreeSet<&str> {
        let spans = self.traces().flat_map(|trace| &trace.spans);
        spans.filter(|span| span.service == service).map(|span| span.name.as_str()).collect()
    }
}

/// Some 100 MB, at about 1 KB a span with its tags.
const SPANS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::{SPANS_MAX, Span, Store};

    fn span(trace: usize) -> Span {
        Span {
            trace: format!("{trace:032x}"),
            id: "1".into(),
            parent: None,
            name: "poll".into(),
            service: "s".into(),
            start_us: 0,
            duration_us: 0,
            tags: Vec::new(),
            logs: Vec::new(),
            links: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_traces_are_forgotten_whole() {
        let mut store = Store::default();
        store.add(span(1));
        store.add(span(1));
        for trace in 0..SPANS_MAX - 1 {
            store.add(span(trace + 2));
        }
        assert!(store.trace("1").is_none());
        assert!(store.trace("2").is_some());
        assert_eq!(store.traces().count(), SPANS_MAX - 1);
    }
}
