//! What a consumer says of itself: why nothing comes, and what the background is doing.

use super::Consumer;
use crate::error::{DiagnoseError, LookupError};
use crate::link::Link;
use evenkeel_core::diagnosis::Diagnosis;
use evenkeel_core::request::GroupDescription;
use evenkeel_core::{Answer, Command, Lifecycle};
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

    /// The group as its coordinator describes it: members, epochs, what each has and is to have. Which
    /// of them this consumer is says [`Self::group_metadata`]. The coordinator is asked again until
    /// `default.api.timeout.ms` has passed. Source: `ConsumerGroupDescribe` (key 69, KIP-848).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`LookupError`]: `GROUP_ID_NOT_FOUND` before the first member has joined,
    /// `GROUP_AUTHORIZATION_FAILED` without DESCRIBE on the group, `UNSUPPORTED_VERSION` where the
    /// broker has no such API.
    pub async fn describe_group(&self) -> Result<GroupDescription, LookupError> {
        described(&self.link).await
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

    /// As [`Consumer::describe_group`].
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn describe_group(&self) -> Result<GroupDescription, LookupError> {
        described(&self.link).await
    }

    /// As [`Consumer::lifecycle`].
    #[must_use]
    pub fn lifecycle(&self) -> Lifecycle {
        self.link.lifecycle()
    }
}

async fn described(link: &Arc<Link>) -> Result<GroupDescription, LookupError> {
    let timeout_ms = link.timeout_ms;
    match link.ask(|call| Command::DescribeGroup { call, timeout_ms }).await? {
        Answer::Group(group) => Ok(group),
        other => panic!("the core answers DescribeGroup with a group, not with {other:?}"),
    }
}
