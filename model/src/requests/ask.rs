//! What is asked: one kind for each way in which requests differ in their order.

use super::NODE;
use evenkeel_core::request::Kind;
use evenkeel_core::request::desk::{Peer, To};
use evenkeel_core::request::queue::{Lane, Question, Word};
use evenkeel_spec::rules::requests::{Says, Things, Urgency, Wish};
use std::fmt;

/// What is asked of the broker.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Ask {
    /// What is true of these things: idempotent.
    Offsets(Things),
    /// A heartbeat that says nothing but that.
    Presence,
    /// A heartbeat that says what is owned.
    Owned,
    /// A leave.
    Leave,
    /// A commit.
    Commit,
    /// Records.
    Fetch,
    /// Who coordinates the group: any broker knows.
    Lookup,
    /// Metadata: any broker has it.
    Topics,
}

impl Question for Ask {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Offsets(all), Self::Offsets(some)) => some & !all == 0,
            _ => false,
        }
    }

    fn word(&self) -> Word {
        match self {
            Self::Offsets(_) | Self::Fetch | Self::Lookup | Self::Topics => Word::Nothing,
            Self::Presence => Word::Presence,
            Self::Owned => Word::Owned,
            Self::Leave => Word::Leave,
            Self::Commit => Word::Commit,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Offsets(_) => Kind::OffsetFetch,
            Self::Presence | Self::Owned | Self::Leave => Kind::ConsumerGroupHeartbeat,
            Self::Commit => Kind::OffsetCommit,
            Self::Fetch => Kind::Fetch,
            Self::Lookup => Kind::FindCoordinator,
            Self::Topics => Kind::Metadata,
        }
    }
}

impl Ask {
    pub(crate) fn says(self) -> Says {
        match self {
            Self::Offsets(_) | Self::Fetch | Self::Lookup | Self::Topics => Says::Nothing,
            Self::Presence => Says::Presence,
            Self::Owned => Says::Owned,
            Self::Leave => Says::Leave,
            Self::Commit => Says::Commit,
        }
    }

    /// What the answer is about.
    pub(crate) fn things(self) -> Things {
        match self {
            Self::Offsets(things) => things,
            Self::Presence
            | Self::Owned
            | Self::Leave
            | Self::Commit
            | Self::Fetch
            | Self::Lookup
            | Self::Topics => 0,
        }
    }

    /// Whom it is for.
    pub(crate) fn to(self) -> To {
        match self {
            Self::Lookup | Self::Topics => To::Peer(Peer::Node(NODE)),
            Self::Offsets(_)
            | Self::Presence
            | Self::Owned
            | Self::Leave
            | Self::Commit
            | Self::Fetch => To::Coordinator(NODE),
        }
    }

    /// As an onlooker sees it, in this lane.
    pub(crate) fn wish(self, lane: Lane) -> Wish {
        let urgency = match lane {
            Lane::System => Urgency::System,
            Lane::User => Urgency::User,
            Lane::Records => Urgency::Records,
        };
        let is_patient = self == Self::Topics;
        Wish { urgency, says: self.says(), things: self.things(), is_patient }
    }
}

/// What the consumer asks by itself.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Own {
    /// A heartbeat that says nothing but that.
    Presence,
    /// A heartbeat that says what is owned.
    Owned,
    /// A leave, after which nothing follows in the group's name.
    Leave,
    /// Where to read on: the same question as a call's, in the system's lane.
    Offsets,
    /// A commit by interval.
    Commit,
    /// A commit before a revocation.
    Urgent,
    /// Records.
    Fetch,
    /// Who coordinates the group.
    Lookup,
    /// Metadata.
    Topics,
}

impl Own {
    pub(crate) fn ask(self) -> (Ask, Lane) {
        match self {
            Self::Presence => (Ask::Presence, Lane::System),
            Self::Owned => (Ask::Owned, Lane::System),
            Self::Leave => (Ask::Leave, Lane::System),
            Self::Offsets => (Ask::Offsets(1), Lane::System),
            Self::Commit => (Ask::Commit, Lane::User),
            Self::Urgent => (Ask::Commit, Lane::System),
            Self::Fetch => (Ask::Fetch, Lane::Records),
            Self::Lookup => (Ask::Lookup, Lane::System),
            Self::Topics => (Ask::Topics, Lane::System),
        }
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Presence => "heartbeat",
            Self::Owned => "heartbeat owned",
            Self::Leave => "leave",
            Self::Offsets => "positions",
            Self::Commit => "commit",
            Self::Urgent => "commit urgent",
            Self::Fetch => "fetch",
            Self::Lookup => "lookup",
            Self::Topics => "metadata",
        })
    }
}

/// What the consumer wants by itself, as a person calls it.
pub(super) fn title(wish: Wish) -> &'static str {
    match (wish.says, wish.urgency) {
        (Says::Presence | Says::Owned, _) => "the heartbeat",
        (Says::Leave, _) => "the leave",
        (Says::Commit, _) => "the commit",
        (Says::Nothing, Urgency::Records) => "the fetch",
        (Says::Nothing, Urgency::System | Urgency::User) => "the system's question",
    }
}
