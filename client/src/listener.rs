//! What an application does when partitions come and go.
//!
//! A [`RebalanceListener`]'s methods run on the application's own task, inside `poll`,
//! `unsubscribe` and `close`; the background goes on heartbeating meanwhile. Here the listener's
//! type is erased: a running method is one `'static` future that owns the listener and gives it
//! back, also after a panic, so that a dropped `poll` leaves it whole for the next one.

use crate::context::RebalanceContext;
use crate::panics;
use evenkeel_spec::words::TopicPartition;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Told by the consumer when its partitions change. Methods that are not written do nothing.
///
/// One method runs at a time, in the order of the changes, on the task that is inside `poll`,
/// `unsubscribe` or `close`. While it runs the consumer stays a member. A method that does not end
/// within `poll`'s timeout is suspended and goes on in the next `poll`; `close` drops one that
/// does not end in time, and says so in its report.
pub trait RebalanceListener: Send + 'static {
    /// These partitions were added to the assignment; no record of them was returned yet. The place
    /// to seek. An error or a panic is reported by `poll`; no record of them is returned until the
    /// method, run again by a later `poll`, succeeds.
    fn on_partitions_assigned(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = Result<(), ListenerError>> + Send {
        let _ = (context, partitions);
        async { Ok(()) }
    }

    /// These partitions are being taken away and are still owned: the place to commit. An error or
    /// a panic is reported by `poll`; the revocation goes on.
    fn on_partitions_revoked(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = Result<(), ListenerError>> + Send {
        let _ = (context, partitions);
        async { Ok(()) }
    }

    /// These partitions are gone already, because the group expelled this member, and others may
    /// own them: a commit would be refused. An error or a panic is reported by `poll`.
    fn on_partitions_lost(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = Result<(), ListenerError>> + Send {
        let _ = (context, partitions);
        async { Ok(()) }
    }
}

/// Why a listener's method failed. Any error turns into it by `?`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerError(Arc<str>);

impl ListenerError {
    /// A failure that this sentence describes.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string().into())
    }

    /// The sentence.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl<E: std::error::Error> From<E> for ListenerError {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        Self(reason.into())
    }
}

/// Which of a listener's methods.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ListenerMethod {
    /// [`RebalanceListener::on_partitions_assigned`].
    Assigned,
    /// [`RebalanceListener::on_partitions_revoked`].
    Revoked,
    /// [`RebalanceListener::on_partitions_lost`].
    Lost,
}

impl fmt::Display for ListenerMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Assigned => "on_partitions_assigned",
            Self::Revoked => "on_partitions_revoked",
            Self::Lost => "on_partitions_lost",
        })
    }
}

/// A running method: gives the listener back when it ends.
pub(crate) type Running = Pin<Box<dyn Future<Output = Finished> + Send>>;

/// How a method ended.
pub(crate) struct Finished {
    pub(crate) listener: Box<dyn ErasedListener>,
    pub(crate) outcome: Result<(), ListenerError>,
    /// It failed by a panic.
    pub(crate) has_panicked: bool,
}

/// A listener without its type.
pub(crate) trait ErasedListener: Send {
    fn run(
        self: Box<Self>,
        method: ListenerMethod,
        context: RebalanceContext,
        partitions: Vec<TopicPartition>,
    ) -> Running;
}

impl<L: RebalanceListener> ErasedListener for L {
    fn run(
        mut self: Box<Self>,
        method: ListenerMethod,
        mut context: RebalanceContext,
        partitions: Vec<TopicPartition>,
    ) -> Running {
        Box::pin(async move {
            let (context, partitions) = (&mut context, &partitions[..]);
            let ran = match method {
                ListenerMethod::Assigned => {
                    panics::caught(async { self.on_partitions_assigned(context, partitions).await })
                        .await
                }
                ListenerMethod::Revoked => {
                    panics::caught(async { self.on_partitions_revoked(context, partitions).await })
                        .await
                }
                ListenerMethod::Lost => {
                    panics::caught(async { self.on_partitions_lost(context, partitions).await })
                        .await
                }
            };
            let has_panicked = ran.is_err();
            let outcome = ran
                .unwrap_or_else(|panic| Err(ListenerError::new(format_args!("panicked: {panic}"))));
            Finished { listener: self, outcome, has_panicked }
        })
    }
}
