//! What became of all requests of a consumer, as one line that a human reads.

use evenkeel_core::request::queue::Lane;
use evenkeel_core::request::{Counts, Kind};
use std::collections::BTreeMap;
use std::fmt;

/// By lane and kind, how many ended how and why: `system Metadata: 2 completed; user OffsetCommit:
/// 3 completed, 1 discarded (closing)`.
pub(crate) struct Counted<'a>(pub(crate) &'a BTreeMap<(Lane, Kind), Counts>);

impl fmt::Display for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for ((lane, kind), counts) in self.0.iter().filter(|(_, counts)| counts.asked > 0) {
            write!(f, "{before}{} {}", lane.name(), kind.name())?;
            let mut mark = ":";
            for (outcome, count) in counts.outcomes().filter(|(_, count)| *count > 0) {
                write!(f, "{mark} {count} {}", outcome.name())?;
                if let Some(reason) = outcome.reason() {
                    write!(f, " ({reason})")?;
                }
                mark = ",";
            }
            before = "; ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Counted;
    use evenkeel_core::request::queue::Lane;
    use evenkeel_core::request::{Counts, Discards, Failures, Kind};
    use std::collections::BTreeMap;

    #[test]
    fn each_kind_says_how_many_ended_how_and_why() {
        let well = Counts { asked: 2, completed: 2, ..Counts::default() };
        let failed = Failures { refused: 1, disconnected: 2, caller_gone: 3, closing: 4 };
        let discarded = Discards { caller_gone: 5, closing: 6 };
        let badly = Counts {
            asked: 28,
            completed: 0,
            failed,
            expired_unsent: 0,
            expired_in_flight: 7,
            discarded,
        };
        assert_eq!((badly.ended(), failed.sum(), discarded.sum()), (28, 10, 11));
        let all = BTreeMap::from([
            ((Lane::System, Kind::Metadata), well),
            ((Lane::User, Kind::OffsetCommit), badly),
            ((Lane::User, Kind::ListOffsets), Counts::default()),
        ]);
        assert_eq!(
            Counted(&all).to_string(),
            "system Metadata: 2 completed; user OffsetCommit: 1 failed (refused), 2 failed \
             (disconnected), 3 failed (caller gone), 4 failed (closing), 7 expired in flight, \
             5 discarded (caller gone), 6 discarded (closing)"
        );
    }
}
