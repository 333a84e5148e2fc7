//! What the adversary and the applications may do in all, and which faults there are.

use crate::system::{Asked, Node, Refusal};

/// What may still be done.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Budget {
    /// Faults of any kind. Two, so that any two of the listed faults occur on one path.
    pub faults: u8,
    /// Subscribes, by all applications.
    pub subscribes: u8,
    /// Changes to a smaller subscription.
    pub narrows: u8,
    /// Unsubscribes.
    pub unsubscribes: u8,
    /// The application's own commits.
    pub commits: u8,
    /// Seeks.
    pub seeks: u8,
    /// Polls that are dropped when their records have come.
    pub misses: u8,
    /// Unsubscribes that are dropped, subscriptions that are said twice, and questions for the
    /// coordinator beside the group's.
    pub whims: u8,
}

impl Budget {
    /// Nothing.
    pub const NONE: Self = Self {
        faults: 0,
        subscribes: 0,
        narrows: 0,
        unsubscribes: 0,
        commits: 0,
        seeks: 0,
        misses: 0,
        whims: 0,
    };
}

/// Which faults the adversary has.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Connections break.
    pub disconnect: Disconnect,
    /// Sessions expire although the member lives.
    pub session: bool,
    /// The coordinator's rebalance timeout.
    pub rebalance: bool,
    /// The application exceeds its poll interval, or its time to revoke or to leave.
    pub slow: bool,
    /// Callbacks fail.
    pub fail: bool,
    /// Processes die.
    pub crash: bool,
    /// The coordinator moves.
    pub failover: bool,
    /// Lookups of the coordinator are refused for good.
    pub lookup: bool,
    /// A broker answers these errors.
    pub refusals: &'static [Refusal],
}

/// When connections break.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disconnect {
    /// Never.
    Never,
    /// Whenever something is on them.
    Any,
    /// Only under a commit that was not processed yet: for a slice that is about late commits.
    UnderCommit,
}

impl Disconnect {
    /// Whether the connections of this consumer may break now.
    #[must_use]
    pub fn applies(self, node: &Node) -> bool {
        match self {
            Self::Never => false,
            Self::Any => !node.is_quiet(),
            Self::UnderCommit => node.requests.iter().any(Asked::is_commit),
        }
    }
}

pub(super) const NO_FAULTS: Faults = Faults {
    disconnect: Disconnect::Never,
    session: false,
    rebalance: false,
    slow: false,
    fail: false,
    crash: false,
    failover: false,
    lookup: false,
    refusals: &[],
};
