//! A consumer's run, written down as it happens: what its application asked for and was told, and
//! what went over the wire about the group.
//!
//! Decides what is worth writing: everything from which an onlooker can judge the group protocol,
//! in the words of `evenkeel-spec`, and nothing of the machines' own fields. `evenkeel validate`
//! reads it. Each line is a JSON object: first the header, then the events in the order in which
//! the background handled them, each with `t`, milliseconds since its start (the header has
//! the date of that), and `event`:
//!
//! | from | events |
//! |---|---|
//! | the application | `subscribe` `assign` `unsubscribe` `poll` `poll_ended` `callback_ended` `commit` `seek` `close` `drop` `abandon` |
//! | the network | `ready` `ended` `throttled` `metadata` `coordinator` `heartbeat_answer` `offset_commit_answer` `offset_fetch_answer` `describe_group_answer` |
//! | to the network | `connect` `disconnect` `lookup` `heartbeat` `offset_commit` `offset_fetch` `describe_group` |
//! | to the application | `callback` `records` `withdrawn` `poll_failed` `assignment` `answered` `lost` `truncated` `closed` |
//!
//! Partitions are `<topic id>-<index>` where the group protocol speaks, `<topic name>-<index>`
//! where the application does. Records are counted, never shown.

mod answers;
mod commands;
mod event;
mod orders;
#[cfg(test)]
mod tests;
mod words;

use crate::config::Config;
use crate::record::Chunk;
use crate::wire::Members;
use evenkeel_core::request::ledger::Ticket;
use evenkeel_core::{CallId, Command, ConnectionId, Shell, Time};
use evenkeel_spec::words::{Assignor, NodeId, TopicId};
use event::{Event, Header, Line};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::time::SystemTime;
use tokio::time::Instant;

/// The version of what is written.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Where a run is written to.
pub(crate) struct Sink(Box<dyn Write + Send>);

impl Sink {
    pub(crate) fn new(sink: impl Write + Send + 'static) -> Self {
        Self(Box::new(sink))
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

/// Writes one consumer's run.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// None once it has refused to take more.
    sink: Option<Sink>,
    /// Lines that the sink was not given yet.
    text: Vec<u8>,
    /// How many of the core's orders that wait to be carried out are written already.
    ahead: usize,
    /// Connections that are neither over nor given up.
    open: BTreeSet<ConnectionId>,
    /// Those that concern the group.
    groups: BTreeSet<ConnectionId>,
    /// Those on which the coordinator was talked to.
    coordinators: BTreeSet<ConnectionId>,
    /// Requests of the group that wait for a connection.
    waiting: BTreeSet<Ticket>,
    /// The connection whose end is to be written.
    ended: Option<ConnectionId>,
    /// Calls whose answers are written.
    calls: BTreeSet<CallId>,
    /// The topics that were written with their names, and the brokers.
    named: BTreeSet<TopicId>,
    brokers: BTreeSet<NodeId>,
    /// The event that happens now is an answer of metadata.
    is_metadata: bool,
}

impl Recorder {
    /// What begins with the header.
    pub(crate) fn new(sink: Sink, config: &Config) -> Self {
        let core = &config.core;
        let mut text = Vec::new();
        put(
            &mut text,
            &Header {
                evenkeel_run: FORMAT_VERSION,
                client_id: &config.client_id,
                group: config.group_id.as_ref().map_or("", |group| group.as_str()),
                started_ms: date_ms(Instant::now()),
                auto_commit: core.auto_commit,
                rebalance_timeout_ms: core.max_poll_interval_ms,
                assignor: core.assignor.as_ref().map(assignor_name),
            },
        );
        Self {
            sink: Some(sink),
            text,
            ahead: 0,
            open: BTreeSet::new(),
            groups: BTreeSet::new(),
            coordinators: BTreeSet::new(),
            calls: BTreeSet::new(),
            waiting: BTreeSet::new(),
            ended: None,
            named: BTreeSet::new(),
            brokers: BTreeSet::new(),
            is_metadata: false,
        }
    }

    /// Writes the header: not before the background runs, which survives what a sink does to it.
    pub(crate) fn begin(&mut self) {
        self.flush();
    }

    /// The application asks for something; to be told before the core is.
    pub(crate) fn command(&mut self, now: Time, command: &Command) {
        commands::write(self, now, command);
    }

    /// A connection ended; to be told before the core is.
    pub(crate) fn ended(&mut self, connection: ConnectionId) {
        self.open.remove(&connection);
        self.ended = Some(connection);
    }

    /// The core has been told what happened: writes what it orders now.
    pub(crate) fn settled(&mut self, now: Time, shell: &Shell<Chunk>, members: &mut Members) {
        if std::mem::take(&mut self.is_metadata) {
            self.metadata(now, shell);
        }
        if let Some(connection) = self.ended.take() {
            // Nothing was ordered yet when it ended, so that what follows is of it.
            orders::unsent(self, now, shell, self.ahead.wrapping_sub(1));
            if self.groups.remove(&connection) {
                self.event(now, Event::Ended { connection: connection.0 });
            }
        }
        for (place, output) in shell.outputs().enumerate().skip(self.ahead) {
            orders::write(self, now, (place, output), shell, members);
        }
        self.ahead = shell.outputs().len();
        self.flush();
    }

    /// The driver takes one of the core's orders.
    pub(crate) fn carried_out(&mut self) {
        self.ahead = self.ahead.saturating_sub(1);
    }

    fn event(&mut self, now: Time, event: Event<'_>) {
        put(&mut self.text, &Line { t: now.0, event });
    }

    fn flush(&mut self) {
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.0.write_all(&self.text).and_then(|()| sink.0.flush())
        {
            tracing::warn!("the run is recorded no further: {error}");
            self.sink = None;
        }
        self.text.clear();
    }
}

/// One line more.
fn put(text: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *text, line).expect("every line can be said in JSON");
    text.push(b'\n');
}

/// A date, milliseconds since the epoch of Unix. Where the runtime's clock is paused, as in tests, it
/// is the date that the runtime has come to, so that consumers of one runtime can be compared.
fn date_ms(at: Instant) -> u64 {
    let (date, now) = (SystemTime::now(), std::time::Instant::now());
    let at = at.into_std();
    let date = date.checked_add(at.saturating_duration_since(now)).unwrap_or(date);
    let date = date.checked_sub(now.saturating_duration_since(at)).unwrap_or(date);
    let since = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn assignor_name(assignor: &Assignor) -> &str {
    match assignor {
        Assignor::Uniform => "uniform",
        Assignor::Range => "range",
        Assignor::Other(name) => name,
    }
}
