//! The lines of a run, as serde writes them: which events there are, and their fields in order.
//!
//! `evenkeel validate` reads them by types of its own, so that what is written is not checked by
//! itself.

use super::words::{Offsets, Part, Results, Text, Texts, TopicNames};
use evenkeel_spec::words::{TopicIdPartition, TopicName, TopicPartition};
use serde::Serialize;

/// The first line.
#[derive(Serialize)]
pub(super) struct Header<'a> {
    /// The format's version.
    pub(super) evenkeel_run: u32,
    pub(super) client_id: &'a str,
    /// Empty: there is none.
    pub(super) group: &'a str,
    pub(super) started_ms: u64,
    pub(super) auto_commit: bool,
    pub(super) rebalance_timeout_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) assignor: Option<&'a str>,
}

/// Every other line.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    /// When, milliseconds since the background began.
    pub(super) t: u64,
    #[serde(flatten)]
    pub(super) event: Event<'a>,
}

/// What happened. Connections, requests, calls and callbacks are named by their numbers.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    Subscribe {
        call: u64,
        topics: Texts<'a, TopicName>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pattern: Option<&'a str>,
        listens: bool,
    },
    Assign {
        call: u64,
        taken: u64,
        partitions: Texts<'a, TopicPartition>,
    },
    Unsubscribe {
        call: u64,
        taken: u64,
    },
    Poll {
        taken: u64,
    },
    PollEnded,
    CallbackEnded {
        callback: u32,
        ok: bool,
    },
    Commit {
        call: u64,
        taken: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        offsets: Option<Offsets<'a, TopicPartition>>,
    },
    Seek {
        call: u64,
        partitions: Texts<'a, TopicPartition>,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        leader_epoch: Option<u32>,
    },
    Close {
        taken: u64,
    },
    Drop,
    Abandon {
        call: u64,
    },

    Connect {
        connection: u64,
        coordinator: i32,
    },
    Ready {
        connection: u64,
    },
    Ended {
        connection: u64,
    },
    Disconnect {
        connection: u64,
        closing: bool,
    },
    Throttled {
        connection: u64,
    },
    Waits {
        request: &'static str,
    },
    Unsent {
        request: &'static str,
    },
    Recalled,
    Metadata {
        topics: TopicNames<'a>,
        brokers: Vec<i32>,
    },
    Lookup(Sent),
    Coordinator {
        request: u32,
        #[serde(flatten)]
        answer: Answer<Found>,
    },
    Heartbeat {
        #[serde(flatten)]
        sent: Sent,
        member: &'a str,
        kind: &'static str,
        #[serde(flatten)]
        said: Said<'a>,
    },
    HeartbeatAnswer {
        request: u32,
        #[serde(flatten)]
        answer: Answer<HeartbeatAnswer<'a>>,
    },
    OffsetCommit {
        #[serde(flatten)]
        sent: Sent,
        #[serde(flatten)]
        owner: Option<Owner<'a>>,
        offsets: Offsets<'a, TopicIdPartition>,
    },
    OffsetCommitAnswer {
        request: u32,
        #[serde(flatten)]
        answer: Answer<OffsetCommitAnswer<'a>>,
    },
    OffsetFetch(Sent),
    OffsetFetchAnswer {
        request: u32,
        errors: Vec<i16>,
    },
    DescribeGroup(Sent),
    DescribeGroupAnswer {
        request: u32,
        errors: Vec<i16>,
    },

    Callback {
        callback: u32,
        method: &'static str,
        #[serde(flatten)]
        loss: Option<Loss>,
        partitions: Texts<'a, TopicPartition>,
    },
    Records {
        number: u64,
        parts: Vec<Part<'a>>,
        next: Offsets<'a, TopicIdPartition>,
    },
    Withdrawn {
        partitions: Texts<'a, TopicPartition>,
    },
    PollFailed {
        fault: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<i16>,
    },
    Assignment {
        partitions: Texts<'a, TopicPartition>,
        #[serde(flatten)]
        owner: Option<Owner<'a>>,
    },
    Answered {
        call: u64,
        result: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<i16>,
    },
    Lost {
        #[serde(flatten)]
        loss: Loss,
        partitions: Texts<'a, TopicPartition>,
    },
    Truncated {
        partition: Text<'a, TopicPartition>,
        to: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        leader_epoch: Option<u32>,
    },
    Closed {
        left: bool,
    },
}

/// A request on the wire.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Sent {
    pub(super) connection: u64,
    pub(super) request: u32,
}

/// An answer, or the error that is all of it.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Answer<T> {
    Well(T),
    Refused { error: i16 },
}

/// As whom.
#[derive(Serialize)]
pub(super) struct Owner<'a> {
    pub(super) member: &'a str,
    pub(super) epoch: u32,
}

/// Why partitions were lost.
#[derive(Serialize)]
pub(super) struct Loss {
    pub(super) reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<i16>,
}

/// What a heartbeat says, less what it does not.
#[derive(Serialize)]
pub(super) struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rebalance_timeout_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) topics: Option<Texts<'a, TopicName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pattern: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) assignor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owned: Option<Texts<'a, TopicIdPartition>>,
}

#[derive(Serialize)]
pub(super) struct HeartbeatAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<u32>,
    pub(super) interval_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) assignment: Option<Texts<'a, TopicIdPartition>>,
}

/// By partition 0, or the error's code.
#[derive(Serialize)]
pub(super) struct OffsetCommitAnswer<'a> {
    pub(super) results: Results<'a>,
}

/// The coordinator.
#[derive(Serialize)]
pub(super) struct Found {
    pub(super) node: i32,
}
