//! A Kafka broker for tests: real TCP, logs in memory, the checked coordinator as its brain.
//!
//! A [`Cluster`] is some nodes in this process. It decides what a broker decides (offsets, leaders,
//! group membership) and nothing about faults: those are made by hooks ([`Interceptor`]) and by
//! calls on the cluster (kill a node, move a leader or a coordinator).
//!
//! One mutex owns the state and every request is processed under it without waiting, so that in one
//! current-thread runtime under paused time a run is the same each time.
//!
//! What it does not have, each refused in its own way: classic groups (`JoinGroup` and its kin are
//! not advertised), static members (`INVALID_REQUEST`), transactions
//! (`TRANSACTIONAL_ID_AUTHORIZATION_FAILED`), fetch sessions (every answer is sessionless),
//! authentication and TLS. A subscription by regular expression is read by the crate `regex`, whose
//! syntax is nearly RE2's. Replicas share one log, so nothing is ever under-replicated
//! and every `acks` but 0 means the same.
//!
//! It is for tests and trusts its peers so far: a frame is bounded before it is read, but an array's
//! count inside of a frame is allocated by kafka-protocol 0.18 as it stands, so a hostile peer can
//! end the process.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use evenkeel_broker::Cluster;
//!
//! let cluster = Cluster::builder()
//!     .nodes(3)
//!     .topic("orders", 6)
//!     .set("group.consumer.session.timeout.ms", "3000")
//!     .build()?;
//! let addresses = cluster.listen("127.0.0.1:0".parse()?)?;
//! assert_eq!(addresses.len(), 3);
//! # Ok(()) }
//! ```

mod api;
mod batch;
mod clock;
mod cluster;
mod config;
mod connection;
mod control;
mod groups;
mod hook;
mod log;
mod patterns;
mod replay;
mod state;
mod timers;
mod wire;

pub use cluster::{Builder, Cluster, WeakCluster};
pub use config::{Config, ConfigError, NODES_MAX};
pub use connection::Refusal;
pub use evenkeel_coordinator::{Description, GroupState, MemberDescription, MemberState, Timer};
pub use hook::{
    After, Answer, AnswerWords, Before, ConnectionId, Gate, Interceptor, Request, RequestWords,
};
