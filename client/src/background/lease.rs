//! Whether records that were delivered may still be returned.

use evenkeel_spec::words::TopicPartition;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The right to return records of one partition. The background ends it when the partition is lost,
/// revoked or sought; the handle looks before it returns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lease(Arc<AtomicBool>);

impl Lease {
    /// Whether it lasts.
    pub(crate) fn lasts(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// More partitions than a member has records of at any one time.
const LEASES_KEPT_MAX: usize = 1_024;

/// The leases that last.
#[derive(Debug, Default)]
pub(super) struct Leases(BTreeMap<TopicPartition, Lease>);

impl Leases {
    /// A delivery begins: those before it were taken, and nobody looks at their leases again. They are
    /// kept for their partitions' next records, but for so many partitions only.
    pub(super) fn begin(&mut self) {
        if self.0.len() > LEASES_KEPT_MAX {
            self.0.clear();
        }
    }

    /// The lease of a partition, a new one if the last one ended.
    pub(super) fn of(&mut self, partition: &TopicPartition) -> Lease {
        match self.0.get(partition) {
            Some(lease) => lease.clone(),
            None => self.0.entry(partition.clone()).or_default().clone(),
        }
    }

    /// Ends a partition's lease.
    pub(super) fn end(&mut self, partition: &TopicPartition) {
        if let Some(lease) = self.0.remove(partition) {
            lease.end();
        }
    }
}
