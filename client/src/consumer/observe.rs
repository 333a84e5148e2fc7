//! What a consumer says of itself: why nothing comes, and what the background is doing.

use super::Consumer;
use crate::error::DiagnoseError;
use crate::link::Link;
use evenkeel_core::Lifecycle;
use evenkeel_core::diagnosis::Diagnosis;
use std::sync::Arc;

impl Consumer {
    /// Why no record of a partition is being returned, for each partition that this consumer owns or
    /// could own, and what the member waits for; each with since when. To be printed, or looked into.
    ///
    /// It needs no poll, no place among the calls and no broker: it answers when everything else is
    /// stuck. Where the application polls in another task, ask an [`Observer`].
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`DiagnoseError`]; within `default.api.timeout.ms`.
    pub async fn diagnose(&self) -> Result<Diagnosis, DiagnoseError> {
        self.link.diagnose().await
    }

    /// A handle by which other tasks look at this consumer, also while it is inside of `poll`.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer { link: Arc::clone(&self.link) }
    }
}

/// Looks at a consumer from any task. Cheap to clone; outlives the consumer, whose end makes it answer
/// [`DiagnoseError::Closed`].
#[derive(Clone, Debug)]
pub struct Observer {
    link: Arc<Link>,
}

impl Observer {
    /// As [`Consumer::diagnose`].
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`DiagnoseError`]; within `default.api.timeout.ms`.
    pub async fn diagnose(&self) -> Result<Diagnosis, DiagnoseError> {
        self.link.diagnose().await
    }

    /// As [`Consumer::lifecycle`].
    #[must_use]
    pub fn lifecycle(&self) -> Lifecycle {
        self.link.lifecycle()
    }
}
