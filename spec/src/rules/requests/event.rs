//! What is seen of requests, and the words for it.

/// One logical request.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Name {
    /// A call of the application.
    Call(u64),
    /// One of the consumer's own.
    Own(u64),
}

/// In whose name a request is made, the most urgent first (Q1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Urgency {
    /// It keeps the consumer in its group and its metadata true.
    System,
    /// The application asked for it.
    User,
    /// It fetches records: the broker may park it.
    Records,
}

/// One of a broker's connections.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Line {
    /// The one for everything.
    First,
    /// The one for what cannot wait (Q8).
    Second,
}

impl Line {
    /// Both.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];

    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// What a request says in the group's name (Q9).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Says {
    /// Nothing.
    Nothing,
    /// What was read.
    Commit,
    /// That the member is there.
    Presence,
    /// What the member owns.
    Owned,
    /// That the member leaves.
    Leave,
}

impl Says {
    pub(super) fn is_heartbeat(self) -> bool {
        matches!(self, Self::Presence | Self::Owned)
    }

    /// Whether a commit that was asked for before must be read before (Q9).
    pub(super) fn follows_commits(self) -> bool {
        matches!(self, Self::Owned | Self::Leave)
    }
}

/// What is asked for: some of a few things, as bits. The answer tells what was true of them.
pub type Things = u8;

/// Where a request that is not over is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// It was not sent, and waits for this connection.
    Waiting(Line),
    /// An attempt is on this connection.
    Flying(Line),
    /// Its last attempt is over, and the next is due.
    Resting,
    /// Nobody knows of it any more.
    Nowhere,
}

/// How a request ended, as who waits for it is told.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Told {
    /// A broker's answer.
    Answered,
    /// The fate of the attempt is unknown.
    Lost,
    /// Given up, or out of time, while no attempt was on its way.
    Unsent {
        /// Its time was over.
        expired: bool,
    },
    /// The same, while one was.
    InFlight {
        /// Its time was over.
        expired: bool,
    },
}

/// Something that is seen.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A call was refused for lack of a place.
    Refused,
    /// It was asked for; what was true then has this number.
    Asked(Name, Wish, u8),
    /// It is to go out on this connection.
    Put(Name, Line),
    /// One request went out, in the name of all these.
    Sent(Line, Says, &'a [Name]),
    /// The broker has read the oldest request that it had not read, of these and no others.
    Read(Line),
    /// The oldest request of this connection was answered.
    Landed(Line),
    /// The answer reached who asked: what it is about, and when it was true.
    Answered(Name, Things, u8),
    /// It is over, and who waits was told so.
    Told(Name, Told),
    /// An attempt to connect begins.
    Opened(Line),
    /// Requests may go out.
    Ready(Line),
    /// The broker does not read.
    Throttled(Line),
    /// It reads again.
    Reads(Line),
    /// The connection ended as it should.
    Closed(Line),
    /// It failed.
    Failed(Line),
    /// The time between two attempts is over.
    Rested(Line),
    /// The consumer is over.
    Ended,
}

/// What somebody wants.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Wish {
    /// How urgently.
    pub urgency: Urgency,
    /// What it says.
    pub says: Says,
    /// What it asks for.
    pub things: Things,
    /// It may wait for as long as a fetch is parked (Q8).
    pub is_patient: bool,
}

/// The bounds that hold (Q2, Q3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Bounds {
    /// User requests in flight on one connection.
    pub in_flight_max: usize,
    /// Calls of the application that are not over.
    pub places_max: usize,
}
