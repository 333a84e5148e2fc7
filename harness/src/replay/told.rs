//! A replayed goal as one trace of two services, for whoever watches: what the model does, step by
//! step, and inside of the same trace what the client tells of itself.
//!
//! Decides which goals are told: of each slice a bounded number, evenly spread. The trace's id is a
//! hash of slice and goal, so that a link to it holds for other runs too. Times are the replay's
//! virtual ones. Nothing happens here where nobody listens.

use evenkeel::telemetry::unix_us;
use evenkeel_model::system::Action;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Dispatch, Level, Span, dispatcher, enabled, field, info_span};

/// Replays one of a slice's goals, the `nth` of so many: as a trace if it is told, else unseen.
pub(super) fn told<T>(
    (slice, goal): (&str, &str),
    (nth, of): (usize, usize),
    replay: impl FnOnce() -> T,
) -> T {
    if !enabled!(target: "evenkeel::goal", Level::INFO) {
        return replay();
    }
    if nth % of.div_ceil(GOALS_MAX).max(1) != 0 {
        // Thousands of runs of which nobody knows what they are there for.
        return dispatcher::with_default(&Dispatch::none(), replay);
    }
    let span = info_span!(
        target: "evenkeel::goal",
        parent: None,
        "goal",
        service.name = "model",
        otel.name = format!("goal of {slice}"),
        trace = format!("{:032x}", trace_id(slice, goal)),
        slice,
        goal,
        began_us = field::Empty,
        lasted_us = field::Empty,
    );
    span.in_scope(replay)
}

/// The world of a goal begins.
pub(super) fn begun(at: Instant) {
    Span::current().record("began_us", unix_us(at));
}

/// The model has taken a step, which began then, in a world that began at `world`.
pub(super) fn stepped(action: Action, step: usize, began: Instant, world: Instant) {
    let micros = |lasted: Duration| u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX);
    if !enabled!(target: "evenkeel::step", Level::INFO) {
        return;
    }
    Span::current().record("lasted_us", micros(world.elapsed()));
    // Over at once: when it was, it says itself.
    drop(info_span!(
        target: "evenkeel::step",
        "step",
        service.name = "model",
        otel.name = %action,
        began_us = unix_us(began),
        lasted_us = micros(began.elapsed()),
        step,
    ));
}

/// 128 bits of FNV-1a (draft-eastlake-fnv): the same for ever.
fn trace_id(slice: &str, goal: &str) -> u128 {
    let bytes = slice.bytes().chain([0]).chain(goal.bytes());
    bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = (1 << 88) | 0x13b;
/// Goals of a slice that are told at most: one page of a search in Jaeger.
const GOALS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::trace_id;

    #[test]
    fn the_id_of_a_trace_is_the_same_for_ever() {
        assert_eq!(trace_id("commits", "poll"), 0x39b6_f101_a075_569a_b474_22eb_96c3_e0ce);
        assert_ne!(trace_id("commitsp", "oll"), trace_id("commits", "poll"));
    }
}
