//! The sans-IO core of evenkeel: untimed machines in a timed shell.
//!
//! [`group`] is the untimed composite that the model explores as well. [`Shell`] embeds it with the
//! machines of the data path and owns time: the driver (crate `evenkeel`) hands it what happened
//! and carries out what it orders.

mod call;
mod chunk;
mod command;
pub mod commit;
mod config;
pub mod connection;
pub mod diagnosis;
pub mod disposition;
mod fetch;
pub mod group;
mod incarnation;
mod lifecycle;
pub mod lookup;
mod metadata;
mod output;
pub mod position;
pub mod request;
mod role;
mod shell;
#[cfg(test)]
mod table;
mod time;
pub mod turn;

pub use chunk::{Chunk, Taken};
pub use command::{Command, SeekTo};
pub use config::{Config, CoordinatorConnection, Isolation, OffsetReset};
pub use incarnation::{Incarnation, Incarnations};
pub use lifecycle::Lifecycle;
pub use output::{
    Answer, Assignment, CallFault, Callback, Cause, CloseReport, Delivery, DisconnectReason,
    Misbehaved, Output, Part, PollFault, Warning,
};
pub use role::{Detour, Hindrance, Role};
pub use shell::{LaneDepth, Shell};
pub use time::{Address, CallId, ConnectionId, RequestId, Time};
