//! A Kafka broker for tests: real TCP, logs in memory, the checked coordinator as its brain.
//!
//! A [`Cluster`] is some nodes in this process. It decides what a broker decides (offsets, leaders,
//! group membership) and nothing about faults: those are made by hooks ([`Interceptor`]) and by
//! calls on the cluster (kill a node, move a leader or a coordinator).
//!
//! One mutex owns the state and every request is processed under it without waiting, so that in one
//! current-thread runtime under paused time a run is the same each time.
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
