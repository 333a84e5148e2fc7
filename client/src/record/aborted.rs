//! Which batches of aborted transactions a `read_committed` reader skips (KIP-98, "Consumer").
//!
//! A Fetch response names, for each aborted transaction, its producer and first offset. A
//! transaction's batches are aborted from there to the producer's next abort marker.

use std::collections::BTreeSet;

use super::RecordFault;
use super::batch::Head;

/// One aborted transaction as a Fetch response names it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AbortedTransaction {
    /// The offset of the transaction's first record.
    pub first_offset: i64,
    /// The producer whose transaction it was.
    pub producer_id: i64,
}

/// What a `read_committed` reader knows about aborted transactions at its cursor.
#[derive(Clone, Debug, Default)]
pub(super) struct Aborted {
    /// Those that start at or after the cursor, the last first.
    ahead: Vec<AbortedTransaction>,
    /// The producers with an aborted transaction open at the cursor.
    open: BTreeSet<i64>,
}

impl Aborted {
    pub(super) fn new(mut transactions: Vec<AbortedTransaction>) -> Self {
        transactions.sort_unstable_by(|a, b| b.cmp(a));
        Self { ahead: transactions, open: BTreeSet::new() }
    }

    /// Whether a data batch is to be skipped. Batches are asked in offset order.
    pub(super) fn skips(&mut self, head: &Head) -> bool {
        self.reach(head.last_offset);
        head.is_transactional() && self.open.contains(&head.producer_id)
    }

    /// Whether the kind of a control batch matters.
    pub(super) fn awaits_marker(&mut self, head: &Head) -> bool {
        self.reach(head.last_offset);
        self.open.contains(&head.producer_id)
    }

    /// A control batch of this producer was passed, whose first record has this key.
    pub(super) fn pass_marker(&mut self, head: &Head, key: &[u8]) -> Result<(), RecordFault> {
        let Some((_version, kind)) = key.split_first_chunk::<2>() else {
            return Err(RecordFault::ControlRecord);
        };
        let kind = kind.first_chunk().ok_or(RecordFault::ControlRecord)?;
        if i16::from_be_bytes(*kind) == ABORT {
            self.open.remove(&head.producer_id);
        }
        Ok(())
    }

    /// Opens the transactions that start at or before `offset`.
    fn reach(&mut self, offset: i64) {
        while let Some(next) = self.ahead.pop_if(|next| next.first_offset <= offset) {
            self.open.insert(next.producer_id);
        }
    }
}

/// `ControlRecordType.ABORT`.
const ABORT: i16 = 0;
