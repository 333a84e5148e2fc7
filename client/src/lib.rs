//! A Kafka consumer whose group protocol is model-checked and whose every wait is visible.
//!
//! Speaks the consumer group protocol of KIP-848 (Apache Kafka 4.0 and newer).
//!
//! ```no_run
//! use evenkeel::{Consumer, Record};
//! use std::time::Duration;
//!
//! # async fn handle(_: Record<'_>) -> Result<(), std::io::Error> { Ok(()) }
//! # async fn consume() -> Result<(), Box<dyn std::error::Error>> {
//! let mut consumer = Consumer::builder()
//!     .bootstrap_servers("localhost:9092")
//!     .group_id("payments")
//!     .property("auto.offset.reset", "earliest") // Kafka's names work too
//!     .build()?;
//! consumer.subscribe(["orders"]).await?; // or subscribe_with(topics, listener)
//! # let mut polls = 0;
//! loop {
//!     let records = consumer.poll(Duration::from_secs(1)).await?; // cancel-safe
//!     for record in &records {
//!         handle(record).await?;
//!     }
//!     consumer.commit().await?; // optional; also commit_offsets, commit_async
//! #   polls += 1;
//! #   if polls == 3 { break }
//! }
//! let report = consumer.close(Duration::from_secs(5)).await; // a report, also on failure
//! # assert!(report.left);
//! # Ok(())
//! # }
//! ```
//!
//! The group protocol's decisions are made by `evenkeel-core`, which a model checker explores; this
//! crate gives it sockets, time and an application. The application holds a [`Consumer`]; a
//! background task, on a thread of its own unless told otherwise, owns the connections and the
//! group state, and heartbeats whatever the application does.
//!
//! # Time
//!
//! `poll` and `close` take their time as an argument; every other call that waits for a broker ends
//! within `default.api.timeout.ms` (KIP-266). Excepted are callbacks, which only their own return
//! ends, or the end of a `close`, and a stream, whose next record is waited for as long as it takes
//! ([`Consumer::records`]). A call that finds all of `request.queue.max` places taken fails at once with
//! [`QueueFull`], which says how long to wait before the next attempt. Dropping any future at any await
//! is safe; each call says what becomes of what it asked for.
//!
//! # Memory
//!
//! An application that does not poll costs what is buffered, and no more however long it stays away:
//! * records up to `fetch.max.bytes`, beside which one batch that is larger is let through, since
//!   nothing else would ever be read (KIP-74); of each partition two answers, however small, so that a
//!   full one keeps no other from being fetched (KIP-81): memory is bounded in bytes and in count. An answer counts whole until its last record of a partition
//!   was returned; while it is decoded it is there twice. What was returned is the application's;
//! * calls up to `request.queue.max`, each with its answer until somebody looks at it;
//! * one event for each callback, since the next is called only after the last has returned: callbacks
//!   are bounded by their own nature;
//! * errors, each once until a poll tells it, at most 64 different ones: an error says what is the
//!   matter, not how often, and whatever is still the matter after a poll is told anew, so that more
//!   of them would say no more;
//! * the newest assignment.
//!
//! # Telemetry
//!
//! What it does is told to `tracing`, see [`telemetry`]: a span for each rebalance with its callbacks
//! and its commits inside, one for each poll that returned records, an event for each request.

mod background;
mod builder;
mod chunk;
mod config;
mod consumer;
mod context;
mod error;
mod link;
mod listener;
mod net;
mod panics;
pub mod record;
mod recorder;
mod records;
mod stream;
pub mod telemetry;
#[cfg(test)]
mod tests;
mod wire;

pub use builder::ConsumerBuilder;
pub use config::ConfigError;
pub use consumer::lookup::{OffsetAndTimestamp, PartitionInfo, TopicInfo};
pub use consumer::observe::Observer;
pub use consumer::{CloseReport, Consumer, GroupMetadata};
pub use context::{Committer, RebalanceContext, Seek};
pub use error::{
    BackgroundDied, CommitError, DiagnoseError, EnforceRebalanceError, ErrorRow, LookupError,
    PollError, PositionError, QueueFull, SubscribeError, error_rows,
};
pub use evenkeel_core::diagnosis;
pub use evenkeel_core::diagnosis::Diagnosis;
pub use evenkeel_core::request::queue::Lane;
pub use evenkeel_core::request::{
    Counts, Discards, Failures, GroupDescription, Kind, MemberDescription,
};
pub use evenkeel_core::{Address, CoordinatorConnection, Lifecycle, OffsetReset};
pub use evenkeel_spec::words::{
    Committed, Epoch, ErrorCode, GroupId, LeaderEpoch, NodeId, Offset, TopicId, TopicName,
    TopicPartition,
};
pub use link::Commit;
pub use listener::{ListenerError, ListenerMethod, RebalanceListener};
pub use net::transport::{ConnectError, Connecting, Connector, Stream, Tcp};
pub use record::{Header, HeaderIter, Headers, TimestampType};
pub use records::{OwnedRecord, PartitionIter, PartitionRecords, Record, Records, RecordsIter};
pub use stream::RecordStream;
