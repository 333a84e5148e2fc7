//! The end of a consumer: in order by `close`, in the background when it is dropped.
//!
//! Decides what the report says; the order of commits, callbacks and the leave is the core's.

use super::{Consumer, News};
use crate::error::PollError;
use crate::listener::ListenerMethod;
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
    /// for as completed, failed, expired and were discarded.
    pub requests: BTreeMap<(Lane, Kind), Counts>,
    /// Why nothing could be done in an orderly way, if so: the background had ended before.
    pub died: Option<Arc<str>>,
}

impl Consumer {
    /// Commits what was returned (with auto-commit), runs the callbacks, leaves the group and ends
    /// the background, in this order and all within `timeout`, of which a callback that does not
    /// return may take all; then the leave still goes out, and nobody waits for its answer. The
    /// sockets are closed when it returns. What could not be done is in the report, and logged.
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
        let lost = report.requests.iter().filter(|(_, counts)| counts.completed < counts.asked);
        for ((lane, kind), counts) in lost {
            tracing::debug!(
                target: "evenkeel::request",
                group = self.group_name(),
                lane = lane.name(),
                kind = kind.name(),
                asked = counts.asked,
                failed = counts.failed,
                expired_unsent = counts.expired_unsent,
                expired_in_flight = counts.expired_in_flight,
                discarded = counts.discarded,
                "not completed"
            );
        }
        if !report.left || !report.callbacks_failed.is_empty() || report.died.is_some() {
            tracing::warn!(group = self.group_name(), ?report, "closed with losses");
        }
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
