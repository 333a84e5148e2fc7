//! A request on the wire that is over, as spans and metrics tell of it.

use evenkeel_core::request::Response;
use evenkeel_spec::words::{ErrorCode, NodeId};
use std::time::Duration;

/// A request on the wire that is over.
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "metrics read it"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Landed {
    /// Kafka's name of the API.
    pub(crate) api: &'static str,
    /// Who was asked; `None`: a bootstrap server.
    pub(crate) node: Option<NodeId>,
    /// How long it waited before it was sent.
    pub(crate) queued: Duration,
    /// How long it was on the wire.
    pub(crate) in_flight: Duration,
    pub(crate) landing: Landing,
}

/// How a request on the wire ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Landing {
    /// With what was asked for.
    Answered,
    /// With this error, of the whole of it or of every partition.
    Refused(ErrorCode),
    /// What came is no answer to it.
    Malformed,
    /// Its connection ended.
    Disconnected,
    /// The client closed its connection.
    GivenUp,
}

impl Landing {
    /// What an answer is that can be read.
    pub(crate) fn of<C>(response: &Response<C>) -> Self {
        response.error().map_or(Self::Answered, Self::Refused)
    }

    /// As it is called in spans and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused(_) => "refused",
            Self::Malformed => "malformed",
            Self::Disconnected => "disconnected",
            Self::GivenUp => "given up",
        }
    }

    /// The broker's error.
    pub(crate) fn error(self) -> Option<ErrorCode> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Answered | Self::Malformed | Self::Disconnected | Self::GivenUp => None,
        }
    }
}
