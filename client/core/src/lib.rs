//! The sans-IO core of evenkeel: untimed machines in a timed shell.
//!
//! [`group`] is the untimed composite that the model explores as well. [`Shell`] embeds it with the
//! machines of the data path and owns time: the driver (crate `evenkeel`) hands it what happened
//! and carries out what it orders.
//!
//! ```text
//! Shell::<C>::new(config) -> Self                                     // C: Chunk
//! handle_command(now, Command)
//! handle_connected(now, ConnectionId)
//! handle_disconnected(now, ConnectionId, Cause)
//! handle_response(now, ConnectionId, RequestId, Result<Answered<C>, Misbehaved>)
//! handle_timeout(now)
//! poll_output() -> Output<C>                                          // drain until Output::Wait
//! ```

mod chunk;
mod command;
pub mod commit;
mod config;
pub mod disposition;
pub mod group;
mod incarnation;
pub mod lookup;
mod output;
pub mod request;
mod time;

pub use chunk::{Chunk, Taken};
pub use command::{Command, SeekTo};
pub use config::{Config, Isolation, OffsetReset};
pub use incarnation::{Incarnation, Incarnations};
pub use output::{
    Answer, Assignment, CallFault, Callback, Cause, CloseReport, Delivery, DisconnectReason,
    Misbehaved, Output, Part, PollFault, Warning,
};
pub use time::{Address, CallId, ConnectionId, RequestId, Time};
