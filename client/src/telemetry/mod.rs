//! What a consumer tells whoever watches it, through `tracing`.
//!
//! | target | what | level |
//! |---|---|---|
//! | `evenkeel::rebalance` | spans `rebalance`, and inside of it `callback` and `wait` | info |
//! | `evenkeel::request` | an event for each request that is over | debug |
//! | `evenkeel::poll` | spans `poll` and `process` for polls that returned records | debug |
//! | `evenkeel::connection`, `evenkeel` | events: connections, warnings | debug, warn |
//!
//! Every span and every request carries `began_us` (microseconds since 1970) and `lasted_us`, both
//! of tokio's clock: a subscriber that makes spans of them is exact also where time is paused, and
//! where a span is held open longer than it lasted. `otel.name`, `otel.kind`, `otel.status_code` and
//! `otel.status_message` are told as `tracing-opentelemetry` reads them; a name tells the outcome
//! too, for viewers that drop the status. Poll and process follow OpenTelemetry's semantic
//! conventions for messaging 1.44 (Kafka), in development there. No attribute shows a record's key,
//! value or headers; topics, the group and brokers are named.
//!
//! With the cargo feature `otel`, `ConsumerBuilder::meter` makes metrics, under Kafka's names.
//!
//! Whoever listens to nothing pays a comparison for each.

mod clock;
#[cfg(feature = "otel")]
mod metrics;
#[cfg(not(feature = "otel"))]
#[path = "metrics_absent.rs"]
mod metrics;
mod parent;
mod poll;

pub use clock::unix_us;
pub(crate) use metrics::Metrics;
pub use parent::{InvalidTraceParent, TraceParent};
pub(crate) use poll::{Links, Processing, polled};
