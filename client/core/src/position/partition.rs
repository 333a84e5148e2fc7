//! One owned partition's position: how far the way to it is, and what keeps it from being read.

use super::{Order, Position, Start, Tell};
use crate::{Incarnation, OffsetReset};
use evenkeel_spec::words::{LeaderEpoch, Step, TopicIdPartition};

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Partition {
    pub(super) incarnation: Incarnation,
    pub(super) phase: Phase,
    /// The newest that is known of its leaders.
    pub(super) leader_epoch: Option<LeaderEpoch>,
    /// A backoff is running.
    pub(super) pausing: bool,
    pub(super) step: Step,
    /// The group allows fetching.
    pub(super) fetching: bool,
    /// The group is about to revoke it.
    pub(super) withheld: bool,
    /// The application paused it.
    pub(super) paused: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Phase {
    /// The committed offset is to be looked up; `asked`: it is being.
    Committed { asked: bool },
    /// This offset is to be listed.
    Listed { start: Start, asked: bool },
    /// The leader is to say whether its log has what was read before this position.
    Validating { position: Position, asked: bool },
    /// Reading.
    At(Position),
    /// Nothing but a seek helps; the application is told at each poll.
    Stuck(Tell),
}

/// What keeps a partition from being read, as far as its position knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// The group is about to revoke it.
    Withheld,
    /// The group does not allow fetching yet.
    Unopened,
    /// The application paused it.
    Paused,
    /// Only a seek helps.
    Stuck,
    /// The backoff before the next lookup is running.
    Pausing,
    /// The committed offset is to be looked up; `asked`: it is being.
    Committed {
        /// It is being asked.
        asked: bool,
    },
    /// The offset to start from is to be listed; `asked`: it is being.
    Listed {
        /// It is being asked.
        asked: bool,
    },
    /// The position is to be validated; `asked`: it is being.
    Validating {
        /// It is being asked.
        asked: bool,
    },
    /// Nothing: it has a position.
    Open,
}

impl Partition {
    /// Just owned.
    pub(super) fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            phase: Phase::Committed { asked: false },
            leader_epoch: None,
            pausing: false,
            step: Step::FIRST,
            fetching: false,
            withheld: false,
            paused: false,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match self.phase {
            _ if self.withheld => Standing::Withheld,
            _ if !self.fetching => Standing::Unopened,
            _ if self.paused => Standing::Paused,
            Phase::Stuck(_) => Standing::Stuck,
            Phase::Committed { .. } | Phase::Listed { .. } | Phase::Validating { .. }
                if self.pausing =>
            {
                Standing::Pausing
            }
            Phase::Committed { asked } => Standing::Committed { asked },
            Phase::Listed { asked, .. } => Standing::Listed { asked },
            Phase::Validating { asked, .. } => Standing::Validating { asked },
            Phase::At(_) => Standing::Open,
        }
    }

    /// Reads on from here, once the leader says that it may (P1).
    pub(super) fn begin(&mut self, id: TopicIdPartition, position: Position, out: &mut Vec<Order>) {
        if self.doubts(position) {
            self.phase = Phase::Validating { position, asked: false };
            self.step = Step::FIRST;
        } else {
            self.start(id, position, out);
        }
    }

    /// Reads on from here.
    pub(super) fn start(&mut self, id: TopicIdPartition, position: Position, out: &mut Vec<Order>) {
        self.phase = Phase::At(position);
        self.step = Step::FIRST;
        out.push(Order::Start(id, position));
    }

    pub(super) fn reset(&mut self, policy: OffsetReset, otherwise: Tell) {
        let listed = |start| Phase::Listed { start, asked: false };
        self.phase = match policy {
            OffsetReset::Earliest => listed(Start::Earliest),
            OffsetReset::Latest => listed(Start::Latest),
            OffsetReset::ByDuration(ms) => listed(Start::Age(ms)),
            OffsetReset::None => Phase::Stuck(otherwise),
        };
    }

    pub(super) fn pause(&mut self, id: TopicIdPartition, out: &mut Vec<Order>) {
        match &mut self.phase {
            Phase::Committed { asked }
            | Phase::Listed { asked, .. }
            | Phase::Validating { asked, .. } => *asked = false,
            Phase::At(_) | Phase::Stuck(_) => unreachable!("nothing is looked up for it"),
        }
        self.pausing = true;
        out.push(Order::Backoff(id, self.step));
        self.step = self.step.next();
    }
}
