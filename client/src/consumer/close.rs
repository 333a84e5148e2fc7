//! The end of a consumer: in order by `close`, in the background when it is dropped.
//!
//! Decides what the report says; the order of commits, callbacks and the leave is the core's.

use super::{Consumer, News};
use crate::error::PollError;
use crate::listener::ListenerMethod;
use crate::telemetry::Counted;
use evenkeel_core::Command;
use evenkeel_core::request::queue::Lane;
use evenkeel_core::request::{Counts, Kind};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How a consumer's end went.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Whether the coordinator confirmed that the member left, or there was nothing to leave. If
    /// not, the group notices by the session timeout.
    pub left: bool,
    /// A callback that had not returned in time and was dropped, or one that failed.
    pub callbacks_failed: Vec<(ListenerMethod, Arc<str>)>,
    /// Calls of other tasks that were answered with an error because of the end.
    pub calls_failed: usize,
    /// Bytes that were fetched and never returned: their records come again.
    pub bytes_discarded: usize,
    /// What became of every request since the start, by lane and kind: of each as many were asked
    /// for as completed, failed, expired and were discarded, the failed and the discarded by why
    /// ([`Failures`](crate::Failures), [`Discards`](crate::Discards)).
    pub requests: BTreeMap<(Lane, Kind), Counts>,
    /// Why nothing could be done in an orderly way, if so: the background had ended before.
    pub died: Option<Arc<str>>,
}

impl CloseReport {
    /// Whether nothing was lost by the end: the member has left, every callback has returned, no call
    /// and no commit was given up. What was fetched and never returned is no loss: it comes again.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let given_up = |((_, kind), counts): (&(Lane, Kind), &Counts)| {
            *kind == Kind::OffsetCommit && counts.failed.closing + counts.discarded.closing > 0
        };
        self.left
            && self.callbacks_failed.is_empty()
            && self.calls_failed == 0
            && self.died.is_none()
            && !self.requests.iter().any(given_up)
    }

    /// One line: what was lost is a warning.
    fn tell(&self, group: &str) {
        let Self { left, calls_failed, bytes_discarded, .. } = *self;
        let requests = Counted(&self.requests);
        if self.is_clean() {
            tracing::info!(
                target: "evenkeel",
                group,
                left,
                calls_failed,
                bytes_discarded,
                %requests,
                "closed"
            );
        } else {
            tracing::warn!(
                target: "evenkeel",
                group,
                left,
                calls_failed,
                bytes_discarded,
                callbacks_failed = ?self.callbacks_failed,
                died = self.died.as_deref(),
                %requests,
                "closed with losses"
            );
        }
    }
}

impl Consumer {
    /// Commits what was returned (with auto-commit), runs the callbacks, leaves the group and ends
    /// the background, in this order and all within `timeout`, of which a callback that does not
    /// return may take all; then the leave still goes out, and nobody waits for its answer. The
    /// sockets are closed when it returns. What could not be done is in the report, which is logged in
    /// one line: at level INFO, or WARN where something was lost ([`CloseReport::is_clean`]).
    ///
    /// Cancel-safe: dropped before its end it goes on in the background, without callbacks, as when
    /// the consumer is dropped.
    pub async fn close(mut self, timeout: Duration) -> CloseReport {
        self.commit_partial();
        self.attendance().enter();
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let mut closing = self.link.close(timeout_ms);
        let mut report = CloseReport::default();
        let ended = poll_fn(|context| {
            loop {
                if let Poll::Ready(ended) = pin!(&mut closing).poll(context) {
                    return Poll::Ready(ended);
                }
                match self.poll_attend(context) {
                    Poll::Pending | Poll::Ready(None) => return Poll::Pending,
                    Poll::Ready(Some(News::Failed(PollError::Listener {
                        method, reason, ..
                    }))) => {
                        report.callbacks_failed.push((method, reason));
                    }
                    Poll::Ready(Some(News::Failed(error))) => {
                        tracing::debug!("while closing: {error}");
                    }
                    // Not taken, so that no commit of a callback covers it.
                    Poll::Ready(Some(News::Delivered | News::Assigned)) => {}
                }
            }
        })
        .await;
        self.closed = true;
        if let Some(method) = self.attendance().drop_running() {
            report.callbacks_failed.push((method, "did not return in time and was dropped".into()));
        }
        match ended {
            Ok(core) => {
                report.left = core.left;
                report.calls_failed = core.calls_failed;
                report.requests = core.requests;
                report.bytes_discarded = core.bytes_discarded;
            }
            Err(_) => report.died = Some(self.link.died().reason),
        }
        #[cfg(debug_assertions)]
        for (of, counts) in &report.requests {
            assert_eq!(counts.asked, counts.ended(), "Q7, {of:?}: every request ends once");
        }
        report.tell(self.group_name());
        report
    }

    /// The core counts whole deliveries: what a stream returned of one is committed by its offsets.
    pub(super) fn commit_partial(&self) {
        if self.auto_commit && self.link.has_partial() {
            self.link.commit().detach();
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if !self.closed {
            tracing::warn!(
                group = self.group_name(),
                "a consumer was dropped without close: leaving the group in the background"
            );
            self.link.tell(Command::Dropped);
        }
    }
}
