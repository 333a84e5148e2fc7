//! A consumer's connections: what was asked on each, and what may be answered next.

use evenkeel_core::Taken;
use evenkeel_core::request::{Fetch, Request};
use evenkeel_core::{Chunk, ConnectionId, RequestId};
use evenkeel_spec::words::{NodeId, Offset};
use std::collections::{BTreeMap, VecDeque};

/// A request's place: its connection and its number there.
pub(super) type Held = (ConnectionId, RequestId);

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    /// The broker at the other end; `None`: the bootstrap server.
    pub(super) node: Option<NodeId>,
    /// Unanswered requests, oldest first.
    pub(super) queue: VecDeque<(RequestId, Wait)>,
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Wait {
    /// For nothing but its turn.
    Turn(Request),
    /// For records, at the latest until this date or until something waits behind it.
    Records(Fetch, u64),
    /// For the topics to be known, at the latest until this date or until something waits behind it.
    Topics(Request, u64),
    /// For the trace.
    Trace,
}

impl Wait {
    /// When it must be answered.
    pub(super) fn due(&self) -> Option<u64> {
        match self {
            Self::Records(_, due) | Self::Topics(_, due) => Some(*due),
            Self::Turn(_) | Self::Trace => None,
        }
    }

    fn is_over(&self, has_followers: bool, now: u64) -> bool {
        match self {
            Self::Turn(_) => true,
            Self::Records(_, due) | Self::Topics(_, due) => has_followers || *due <= now,
            Self::Trace => false,
        }
    }
}

/// The oldest request of some connection, if it waits no more.
pub(super) fn next_answerable(
    links: &mut BTreeMap<ConnectionId, Link>,
    now: u64,
) -> Option<(Held, Wait)> {
    for (connection, link) in links {
        let has_followers = link.queue.len() > 1;
        if link.queue.front().is_some_and(|(_, wait)| wait.is_over(has_followers, now)) {
            let (request, wait) = link.queue.pop_front().expect("it has a front");
            return Some(((*connection, request), wait));
        }
    }
    None
}

/// Records without bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Records {
    /// The next one.
    pub(super) next: u64,
    /// After the last one.
    pub(super) end: u64,
}

impl Chunk for Records {
    type Part = ();
    type Fault = ();

    fn buffered_bytes(&self) -> usize {
        usize::from(!self.is_drained())
    }

    fn held_bytes(&self) -> usize {
        self.buffered_bytes()
    }

    fn end_offset(&self) -> Offset {
        Offset(self.end)
    }

    fn is_drained(&self) -> bool {
        self.next == self.end
    }

    fn take(&mut self, records_max: usize) -> Result<Taken<()>, ()> {
        let records = records_max.min(usize::try_from(self.end - self.next).expect("few"));
        self.next += records as u64;
        Ok(Taken { part: (), records, next_offset: Offset(self.next), leader_epoch: None })
    }
}
