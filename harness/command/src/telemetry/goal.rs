//! What a replay tells belongs to the trace of its goal, whatever the client takes for a root.
//!
//! A span of the target `evenkeel::goal` that is entered on the thread is the root of everything
//! that has no parent of its own; the trace's id is its field `trace`.

use super::message::Span;
use super::{Place, place};
use tracing::Subscriber;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// The goal that is replayed on this thread.
pub(super) fn around<S>(context: &Context<'_, S>) -> Option<Place>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let mut scope = context.lookup_current()?.scope();
    scope.find(is).as_ref().and_then(place)
}

pub(super) fn is<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> bool {
    span.metadata().target() == "evenkeel::goal"
}

/// A root takes the trace that it names.
pub(super) fn root(span: &mut Span) {
    let Some(at) = span.fields.iter().position(|(key, _)| *key == "trace") else { return };
    let named = span.fields[at].1.as_str().map(|text| u128::from_str_radix(text, 16));
    if let Some(Ok(trace)) = named {
        span.trace = trace;
        span.fields.remove(at);
    }
}
