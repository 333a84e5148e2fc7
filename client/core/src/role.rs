//! What a connection is for, and why a broker has a second one: for spans and metrics.

use crate::request::Kind;

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// To a bootstrap server; a broker's one as soon as that is known to listen there.
    Bootstrap,
    /// A broker's one, for everything.
    Broker,
    /// The group's own, with `coordinator.connection=dedicated`.
    Coordinator,
    /// A broker's second one, until nothing needs it any more (Q8).
    Second,
}

impl Role {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Bootstrap, Self::Broker, Self::Coordinator, Self::Second];

    /// As it is called in spans and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Broker => "broker",
            Self::Coordinator => "coordinator",
            Self::Second => "second",
        }
    }
}

/// Why a second connection is opened, and for what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Detour {
    /// What the first one is.
    pub around: Hindrance,
    /// What goes out on it first; `None`: nothing any more.
    pub request: Option<Kind>,
}

/// Why a system request does not take a broker's first connection (Q8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hindrance {
    /// The broker does not read it (KIP-219).
    Throttled,
    /// A fetch on it is not answered yet.
    Parked,
    /// Neither any more: the second connection was lost, and what was on it is sent again.
    Lost,
}

impl Hindrance {
    /// As it is called in spans.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Parked => "parked",
            Self::Lost => "lost",
        }
    }
}
