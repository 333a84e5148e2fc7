//! What a consumer tells whoever watches it, through `tracing`.
//!
//! | target | what | level |
//! |---|---|---|
//! | `evenkeel::rebalance` | spans `rebalance`, and inside of it `callback` and `wait` | info |
//! | `evenkeel::request` | an event for each request that is over | debug |
//! | `evenkeel::poll` | spans `poll` and `process` for polls that returned records | debug |
//! | `evenkeel::lifecycle` | an event for each step of the background | debug |
//! | `evenkeel::connection`, `evenkeel` | events: connections, the end, warnings | debug, info, warn |
//!
//! Every request is told of once, when it is over: each call, and each request of the client's own,
//! whatever became of it. It says its `kind`, its `lane`, the `broker` that was asked last, how often
//! it was sent (`attempts`), with how many others it shared that (`bulked`), what it waited for
//! (`queue_ms`, `coordinator_ms`, `connection_ms`, `backoff_ms`, `throttle_ms`) and how long it was on
//! its way (`in_flight_ms`), which add up to its time; the time that it had (`deadline_ms`); its
//! `outcome`, which is `completed`, `failed`, `expired unsent`, `expired in flight` or `discarded`;
//! why (`reason`: `refused`, `disconnected`, `caller gone`, `closing`) and a broker's last error
//! (`error_code`, `error_name`). All but `completed` are errors. What the client asks again for
//! itself is another request. An attempt that was sent for calls alone is told of as well, and so is
//! the handshake: `api`, `lane`, `broker`, `queued_ms`, `in_flight_us` and an `outcome`, which is
//! `answered`, `refused`, `malformed`, `disconnected` or `given up`.
//!
//! A close is one line at target `evenkeel`, at level info or, where something was lost, warn: how
//! many requests of each lane and kind ended how and why. So is the end of a consumer that was
//! dropped.
//!
//! Every span and every request carries `began_us` (microseconds since 1970) and `lasted_us`, both
//! of tokio's clock: a subscriber that makes spans of them is exact also where time is paused, and
//! where a span is held open longer than it lasted. `otel.name`, `otel.kind`, `otel.status_code` and
//! `otel.status_message` are told as `tracing-opentelemetry` reads them; a name tells the outcome
//! too, for viewers that drop the status. Poll and process follow OpenTelemetry's semantic
//! conventions for messaging 1.44 (Kafka), in development there. No attribute shows a record's key,
//! value or headers; topics, the group and brokers are named.
//!
//! With the cargo feature `otel`, `ConsumerBuilder::meter` makes metrics. Those of Kafka's consumer
//! have Kafka's names by KIP-714's rule, after `org.apache.kafka.consumer.`; an average, a maximum and
//! a total are one histogram here; times are milliseconds. Those marked with * Kafka does not have.
//! Every data point says `group_id` and `client_id`.
//!
//! | metric | what | attributes |
//! |---|---|---|
//! | `unsent.requests.queue.size` | requests that wait to be sent | `lane` |
//! | `unsent.requests.queue.time` | how long one waited before it was sent | `api`, `node_id`, `outcome`, `error.type` |
//! | `requests.in.flight` * | requests that wait for an answer | `lane` |
//! | `requests.oldest.age` * | how long the oldest request has been open | `lane` |
//! | `requests.ended.total` * | requests that are over; calls count as one | `request`, `lane`, `outcome`, `reason` |
//! | `requests.wait.time.total` * | what these have waited for | `lane`, `for` |
//! | `telemetry.untold.total` * | what `tracing`, or the meter, was not told, since it is too slow | `to`: `tracing`, `meter` |
//! | `application.event.queue.size` | what the application asked and the background has not seen yet | |
//! | `application.event.queue.time` | how long it waited there | `event` |
//! | `application.event.queue.processing.time` | how long the background was busy with it | `event` |
//! | `application.events.expired.count` | calls that were not answered in time | `request` |
//! | `application.event.queue.refused.total` * | calls that failed with `QueueFull` | `request` |
//! | `background.event.queue.size` | what the background told and the application has not taken yet | |
//! | `background.event.queue.time` | how long it waited there | `event` |
//! | `background.event.queue.processing.time` | how long the application was busy with it; a callback to its end | `event` |
//! | `time.between.network.thread.poll` | from one look of the background at its sockets and commands to the next; an idle one waits for its next timer | |
//! | `network.thread.busy.ratio` * | share of real time in which the background does not wait | |
//! | `poll.idle.ratio` | share of time that the application spends inside of `poll` | |
//! | `node.request.latency` | a request on the wire | `api`, `node_id`, `outcome`, `error.type` |
//! | `connection.count`, `connection.creation.total` | connections to brokers | `role` |
//! | `fetch.manager.records.lag` | records behind the end of what can be read, as `current_lag` | `topic`, `partition` |
//! | `fetch.manager.records.consumed.total` | records that were returned | |
//! | `fetch.manager.buffered.bytes` * | fetched and not handed over | |
//! | `fetch.manager.fetch.latency` | a fetch; brokers park those that find nothing | |
//! | `coordinator.assigned.partitions` | partitions owned | |
//! | `coordinator.commit.latency` | a commit on the wire | `error.type` |
//! | `coordinator.heartbeat.response.time` | a heartbeat on the wire | |
//! | `coordinator.rebalance.latency` | from the news of a target to the end of its acknowledgement, or of whatever came instead: a newer target, a loss, a leave | |
//! | `coordinator.failed.rebalance.total` | those that ended otherwise than as the coordinator wanted | |
//! | `coordinator.partition.{assigned,revoked,lost}.latency` | callbacks | |
//!
//! A connection's `role` is `broker` (a broker's one, for everything), `bootstrap` (a bootstrap server's,
//! until it is known which broker that is), `coordinator` (the group's own, with
//! `coordinator.connection=dedicated`; Kafka's consumer has it always, as that of a node whose id is
//! 2147483647 less the coordinator's) or `second`: a broker's temporary second one, for what the client
//! asks for itself and cannot wait while the first is throttled (KIP-219) or a fetch is parked on it.
//! Such a one is told of when it is opened, and as a span when it has ended: its `broker`, the `reason`
//! (`throttled`, `parked`, or `lost`: the second itself was, and is made again), for which `request`
//! it was opened, and what was its `end` (`needless`, `idle`, `failed`, `lost`, `malformed`, `closing`).
//!
//! And by the conventions for messaging, in seconds: `messaging.client.operation.duration` (polls
//! that returned records, commits), `messaging.process.duration`, `messaging.client.consumed.messages`.
//!
//! A background on a thread of its own does not wait for who listens: another thread tells `tracing`,
//! and one more records what the meter's instruments are for, each from a bounded queue, and where that
//! is full a warning tells later how much was left out. No lock of the background is held while a
//! reader of metrics is told of gauges. What is told by `poll`, by `close` and by callbacks is told on
//! the application's thread. Asked on the background's thread is only whether anybody listens
//! (`Subscriber::enabled`), which must not wait.
//!
//! Whoever listens to nothing pays a comparison for each.

mod clock;
mod counted;
mod landed;
#[cfg(feature = "otel")]
mod metrics;
#[cfg(not(feature = "otel"))]
#[path = "metrics_absent.rs"]
mod metrics;
mod parent;
mod poll;
mod teller;

pub use clock::unix_us;
pub(crate) use counted::Counted;
pub(crate) use landed::{Landed, Landing};
pub(crate) use metrics::{Handling, Metrics, Queue, Queued};
pub use parent::{InvalidTraceParent, TraceParent};
pub(crate) use poll::{Links, Processing, polled};
pub(crate) use teller::{Tell, Teller};
