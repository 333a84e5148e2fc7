//! Hooks: what a test decides about each request, before it is processed and before it is answered.
//! The broker knows nothing of faults; an [`Interceptor`] makes them all.

use evenkeel_spec::words::{
    ErrorCode, GroupId, Heartbeat, HeartbeatAnswer, NodeId, OffsetCommit, OffsetFetch,
    OffsetFetched, OffsetsCommitted,
};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A connection's number, from 1 in the order of their beginning.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u64);

/// A request as the broker read it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The node that was asked.
    pub node: NodeId,
    /// The connection it came on.
    pub connection: ConnectionId,
    /// Kafka's API key.
    pub api_key: i16,
    /// Its version.
    pub version: i16,
    /// The sender's number for it.
    pub correlation_id: i32,
    /// The sender's `client.id`; empty when there is none.
    pub client_id: String,
    /// What it says, for the group APIs; `None` for others and for what has no words.
    pub words: Option<RequestWords>,
}

/// A group request in the protocol's words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RequestWords {
    /// `ConsumerGroupHeartbeat` (68).
    Heartbeat(GroupId, Heartbeat),
    /// `OffsetCommit` (8).
    OffsetCommit(GroupId, OffsetCommit),
    /// `OffsetFetch` (9), if it asks for one group.
    OffsetFetch(GroupId, OffsetFetch),
    /// `FindCoordinator` (10), if it asks for one group.
    FindCoordinator(GroupId),
}

/// What the broker is about to answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// What it says, for the group APIs.
    pub words: Option<AnswerWords>,
}

/// A group API's answer in the protocol's words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AnswerWords {
    /// `ConsumerGroupHeartbeat` (68).
    Heartbeat(Result<HeartbeatAnswer, ErrorCode>),
    /// `OffsetCommit` (8).
    OffsetCommit(OffsetsCommitted),
    /// `OffsetFetch` (9), if one group was asked for.
    OffsetFetch(OffsetFetched),
    /// `FindCoordinator` (10), if one group was asked for.
    FindCoordinator(Result<NodeId, ErrorCode>),
}

/// What becomes of a request that was read and not processed yet.
#[derive(Clone, Debug, Default)]
pub enum Before {
    /// It is processed.
    #[default]
    Process,
    /// It waits until the gate is opened, which says what becomes of it then. Later requests of the
    /// connection wait behind it.
    Hold(Gate<Before>),
    /// It is processed after this long.
    Delay(Duration),
    /// It is not processed; the answer says this error wherever the API has room for one.
    Forge(ErrorCode),
    /// It is not processed and the connection ends.
    Disconnect,
}

/// What becomes of the answer of a request that was processed.
#[derive(Clone, Debug, Default)]
pub enum After {
    /// It is sent.
    #[default]
    Answer,
    /// It waits until the gate is opened, which says what becomes of it then. Later requests of the
    /// connection wait behind it.
    Hold(Gate<After>),
    /// It is sent after this long.
    Delay(Duration),
    /// It says this error instead of what happened.
    Forge(ErrorCode),
    /// It is sent with this throttle time; then the connection is not read for that long (KIP-219).
    Throttle(Duration),
    /// It is not sent; the connection goes on.
    Drop,
    /// It is not sent and the connection ends.
    Disconnect,
}

/// Decides about each request. Called while the connection's task runs and never under the broker's
/// lock, so it may use the `Cluster`; it must not block. A cluster that is captured here is never
/// dropped: use a clone of `Cluster::downgrade` or call `Cluster::intercept_none` at the end.
pub trait Interceptor: Send + Sync {
    /// `request` was read.
    fn on_request(&self, request: &Request) -> Before {
        let _ = request;
        Before::Process
    }

    /// `request` was processed (or forged) and `answer` would go out.
    fn on_answer(&self, request: &Request, answer: &Answer) -> After {
        let _ = (request, answer);
        After::Answer
    }
}

/// A closure decides before processing; every answer is sent.
impl<F: Fn(&Request) -> Before + Send + Sync> Interceptor for F {
    fn on_request(&self, request: &Request) -> Before {
        self(request)
    }
}

/// Something waits here until a test says what comes next. Clones are the same gate.
pub struct Gate<T> {
    inner: Arc<GateInner<T>>,
}

struct GateInner<T> {
    decision: Mutex<Option<T>>,
    opened: Notify,
}

impl<T: Clone> Gate<T> {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        let inner = GateInner { decision: Mutex::new(None), opened: Notify::new() };
        Self { inner: Arc::new(inner) }
    }

    /// Opens the gate: what waits, or comes to wait, goes on with `decision`. The first decision
    /// holds; a later one changes nothing.
    pub fn open(&self, decision: T) {
        self.decision().get_or_insert(decision);
        self.inner.opened.notify_waiters();
    }

    /// Waits for the decision. Cancel safe.
    pub async fn opened(&self) -> T {
        loop {
            let opened = self.inner.opened.notified();
            tokio::pin!(opened);
            opened.as_mut().enable();
            if let Some(decision) = self.decision().clone() {
                return decision;
            }
            opened.await;
        }
    }

    fn decision(&self) -> std::sync::MutexGuard<'_, Option<T>> {
        self.inner.decision.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Default for Gate<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Gate<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> fmt::Debug for Gate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}
