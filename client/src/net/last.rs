//! What connections still write when everything ends.

use super::connection::{Connection, NetEvent};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections that end with the consumer, each with what was queued on it before.
#[derive(Debug, Default)]
pub(crate) struct LastWords(Vec<Connection>);

impl LastWords {
    pub(crate) fn of(&mut self, connection: Connection) {
        self.0.push(connection);
    }

    /// Writes what the sockets take at once, and closes them. What `events` still brings finds
    /// nobody, but must not keep a connection from ending.
    pub(crate) async fn write(&mut self, events: &mut mpsc::Receiver<NetEvent>) {
        let mut writing: JoinSet<()> = self.0.drain(..).map(Connection::finish).collect();
        let written = async {
            loop {
                tokio::select! {
                    Some(_) = events.recv() => {}
                    ended = writing.join_next() => if ended.is_none() { return },
                }
            }
        };
        // The rest is closed as it is.
        let _ = timeout(LAST_WORDS_MAX, written).await;
    }
}

/// How long a close goes on for a socket that takes no more bytes: none that works needs it.
const LAST_WORDS_MAX: Duration = Duration::from_millis(10);
