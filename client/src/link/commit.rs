//! Commits: a call, or two where a stream is in the middle of a delivery.

use super::{Call, Link};
use crate::error::CommitError;
use evenkeel_core::Command;
use evenkeel_spec::words::{Committed, ErrorCode, TopicPartition};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A commit on its way: await it for its outcome, or drop it, which withdraws it unless it was
/// [detached](Commit::detach).
#[derive(Debug)]
#[must_use = "a commit that is dropped is withdrawn; detach it to let it go on"]
pub struct Commit {
    calls: [Option<Call>; 2],
    failed: Option<CommitError>,
}

impl Commit {
    /// Lets it go on without waiting for the outcome, which is logged if it is a failure.
    pub fn detach(self) {
        for call in self.calls.into_iter().flatten() {
            call.detach();
        }
    }
}

impl Future for Commit {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { calls, failed } = &mut *self;
        for slot in calls {
            if let Some(call) = slot {
                let answer = ready!(Pin::new(call).poll(context));
                *slot = None;
                if let Err(unanswered) = answer {
                    failed.get_or_insert(unanswered.into());
                }
            }
        }
        Poll::Ready(failed.take().map_or(Ok(()), Err))
    }
}

/// The bytes that one of the protocol's texts holds. Brokers allow less (`offset.metadata.max.bytes`)
/// and refuse more than that; a text beyond this would cost the connection, and all that is on it.
const NOTE_MAX: usize = i16::MAX as usize;

impl Link {
    /// Commits everything that was returned so far. What a stream returned of an unfinished
    /// delivery needs words of its own, for the core counts whole deliveries.
    pub(crate) fn commit(self: &Arc<Self>) -> Commit {
        self.commit_within(self.timeout_ms)
    }

    /// The same with a timeout of its own, milliseconds.
    pub(crate) fn commit_within(self: &Arc<Self>, timeout_ms: u64) -> Commit {
        // Held until it is sent: a seek or a later commit of another task comes before or after.
        let progress = self.progress();
        let (taken, partial) = (progress.taken, progress.partial.clone());
        let commit = |offsets| move |call| Command::Commit { call, taken, offsets, timeout_ms };
        if partial.is_empty() {
            return Commit { calls: [Some(self.ask(commit(None))), None], failed: None };
        }
        // Both or none: what was refused has sent nothing.
        let mut both = Arc::clone(&self.permits).try_acquire_many_owned(2).ok();
        let one = both.as_mut().and_then(|both| both.split(1));
        let Some(one) = one else {
            return Commit { calls: [Some(self.ask_with(None, commit(None))), None], failed: None };
        };
        let whole = self.ask_with(Some(one), commit(None));
        let partial = self.ask_with(both, commit(Some(partial)));
        Commit { calls: [Some(whole), Some(partial)], failed: None }
    }

    /// Commits these offsets.
    pub(crate) fn commit_offsets(
        self: &Arc<Self>,
        offsets: BTreeMap<TopicPartition, Committed>,
    ) -> Commit {
        if offsets.values().any(|committed| committed.metadata.len() > NOTE_MAX) {
            let code = ErrorCode::OffsetMetadataTooLarge;
            return Commit { calls: [None, None], failed: Some(CommitError::Refused { code }) };
        }
        let call = self.ask_commit(self.taken(), Some(offsets), self.timeout_ms);
        Commit { calls: [Some(call), None], failed: None }
    }

    fn ask_commit(
        self: &Arc<Self>,
        taken: u64,
        offsets: Option<BTreeMap<TopicPartition, Committed>>,
        timeout_ms: u64,
    ) -> Call {
        self.ask(|call| Command::Commit { call, taken, offsets, timeout_ms })
    }
}
