//! Why a call was not answered with what was asked, in the words of each call's error.

use crate::error::{
    BackgroundDied, CommitError, LookupError, PositionError, QueueFull, SubscribeError,
};
use evenkeel_core::{CallFault, group};

/// Why a call was not answered with what was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Unanswered {
    /// Never [`CallFault::QueueFull`].
    Fault(CallFault),
    QueueFull(QueueFull),
    Died(BackgroundDied),
}

impl Unanswered {
    /// Says what a fault is; the rest is the same whatever was called.
    fn told<E: From<BackgroundDied> + From<QueueFull>>(self, of: fn(CallFault) -> E) -> E {
        match self {
            Self::Died(died) => died.into(),
            Self::QueueFull(full) => full.into(),
            Self::Fault(CallFault::QueueFull) => unreachable!("told as `Unanswered::QueueFull`"),
            Self::Fault(fault) => of(fault),
        }
    }
}

impl From<Unanswered> for SubscribeError {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.told(|fault| match fault {
            CallFault::Closed => Self::Closed,
            CallFault::Exclusive => Self::Exclusive,
            CallFault::NoGroupId => Self::NoGroupId,
            CallFault::QueueFull
            | CallFault::TimedOut { .. }
            | CallFault::NotAssigned(_)
            | CallFault::NoOffset(_)
            | CallFault::Commit(_)
            | CallFault::Refused(_) => Self::LeaveUnconfirmed,
        })
    }
}

impl From<Unanswered> for CommitError {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.told(|fault| match fault {
            CallFault::TimedOut { last } => Self::TimedOut { last },
            CallFault::NotAssigned(partition) | CallFault::NoOffset(partition) => {
                Self::NotAssigned { partition: Some(partition) }
            }
            CallFault::Commit(group::CommitError::NotAMember) => Self::NotAMember,
            CallFault::Commit(group::CommitError::NotOwned) => {
                Self::NotAssigned { partition: None }
            }
            CallFault::Commit(group::CommitError::OwnershipEnded) => Self::OwnershipEnded,
            CallFault::Commit(group::CommitError::Expired) => Self::Expired,
            CallFault::Commit(group::CommitError::Refused(code)) | CallFault::Refused(code) => {
                Self::Refused { code }
            }
            CallFault::NoGroupId => Self::NoGroupId,
            CallFault::Closed => Self::Closed,
            // Only a subscription or an assignment is answered so.
            CallFault::Exclusive | CallFault::QueueFull => Self::NotAMember,
        })
    }
}

impl From<Unanswered> for PositionError {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.told(|fault| match fault {
            CallFault::TimedOut { last } => Self::TimedOut { last },
            CallFault::NotAssigned(partition) => Self::NotAssigned { partition },
            CallFault::NoOffset(partition) => Self::NoOffset { partition },
            CallFault::Closed => Self::Closed,
            // Only commits, lookups and subscriptions are answered so.
            CallFault::Refused(_)
            | CallFault::Commit(_)
            | CallFault::Exclusive
            | CallFault::NoGroupId
            | CallFault::QueueFull => Self::TimedOut { last: None },
        })
    }
}

impl From<Unanswered> for LookupError {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.told(|fault| match fault {
            CallFault::Refused(code) => Self::Refused { code },
            CallFault::NoGroupId => Self::NoGroupId,
            CallFault::Closed => Self::Closed,
            CallFault::TimedOut { last } => Self::TimedOut { last },
            // Only what concerns the assignment is answered so.
            CallFault::NotAssigned(_)
            | CallFault::NoOffset(_)
            | CallFault::Commit(_)
            | CallFault::Exclusive
            | CallFault::QueueFull => Self::TimedOut { last: None },
        })
    }
}
