//! The application's hand: which deliveries it took, and what a dropped poll left for the next one.

use crate::replay::view::News;
use evenkeel_spec::words::Partitions;

/// What an application took of what was delivered to it.
#[derive(Debug, Default)]
pub(super) struct Hand {
    /// The number of the last delivery that it took.
    pub(super) taken: u64,
    /// The poll that is going on is dropped when its records have come.
    misses: bool,
    /// What a dropped poll left: the number of the delivery, and its records.
    left: Option<(u64, Vec<News>)>,
}

impl Hand {
    /// The next record comes for a poll, which is dropped then, or not.
    pub(super) fn expect(&mut self, misses: bool) {
        self.misses = misses;
    }

    /// Whether a dropped poll has left records.
    pub(super) fn has_left(&self) -> bool {
        self.left.is_some()
    }

    /// Records came: those that poll returns, unless it is dropped.
    pub(super) fn on_delivery(&mut self, number: u64, records: Vec<News>) -> Option<Vec<News>> {
        if std::mem::take(&mut self.misses) {
            self.left = Some((number, records));
            return None;
        }
        self.taken = number;
        Some(records)
    }

    /// The application polls: what is there to be returned at once.
    pub(super) fn on_poll(&mut self) -> Option<Vec<News>> {
        let (number, records) = self.left.take()?;
        self.taken = number;
        Some(records)
    }

    /// What a dropped poll left of these is not returned any more.
    pub(super) fn withdraw(&mut self, partitions: &Partitions) {
        let Some((number, records)) = &mut self.left else { return };
        records.retain(|news| !matches!(news, News::Returned(p, _) if partitions.contains(p)));
        if records.is_empty() {
            self.taken = *number;
            self.left = None;
        }
    }
}
