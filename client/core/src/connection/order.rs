//! What a connection orders, its timers, and the names that it gives.

use crate::output::DisconnectReason;
use crate::request::queue::Lane;
use crate::{ConnectionId, RequestId};
use evenkeel_spec::words::Step;

/// What a connection wants to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order<Q, A> {
    /// Connect, as this attempt.
    Open(ConnectionId),
    /// Close it.
    Close(ConnectionId, DisconnectReason),
    /// Ask for the API versions.
    Handshake(ConnectionId, RequestId),
    /// Send a request.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// Under which name.
        request: RequestId,
        /// Of which lane.
        lane: Lane,
        /// What.
        question: Q,
    },
    /// The fate of what this one asked for is unknown.
    Lost {
        /// Who waits.
        asker: A,
        /// Whether it was on the wire.
        was_sent: bool,
    },
    /// Arm one of its timers.
    Arm(ConnectionTimer, Step),
    /// Disarm one of its timers, armed or not.
    Disarm(ConnectionTimer),
}

/// A timer of one connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ConnectionTimer {
    /// `socket.connection.setup.timeout.ms` since the attempt started.
    Setup,
    /// The next attempt may start: `reconnect.backoff.ms` doubled at each step.
    Reconnect,
    /// The broker reads again. Its duration is the broker's word.
    Throttle,
    /// `connections.max.idle.ms` since the last answer.
    Idle,
    /// `request.timeout.ms` since this request was sent.
    Request(RequestId),
}

/// The source of names that are never used twice.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Names {
    connection: u64,
    request: u32,
}

impl Names {
    pub(super) fn connection(&mut self) -> ConnectionId {
        self.connection += 1;
        ConnectionId(self.connection)
    }

    /// Wraps at 31 bits: by then the first ones are long answered.
    pub(super) fn request(&mut self) -> RequestId {
        self.request = (self.request + 1) & 0x7fff_ffff;
        RequestId(self.request)
    }
}
