//! One connection to one broker: a task that connects, then writes requests and reads frames.
//!
//! Decides nothing about when to connect, whom to ask or what an answer means: it reports to the
//! driver, in order, that it is connected, each frame, and its end with the cause.

use super::transport::{Connector, Stream};
use crate::panics;
use crate::wire::frame::{FrameError, FrameReader};
use bytes::Bytes;
use evenkeel_core::{Address, Cause, ConnectionId};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// What a connection reports.
#[derive(Debug)]
pub(crate) struct NetEvent {
    pub(crate) connection: ConnectionId,
    pub(crate) news: News,
}

/// The news of one connection.
#[derive(Debug)]
pub(crate) enum News {
    /// Bytes may flow.
    Connected,
    /// A frame came.
    Frame(Bytes),
    /// It is over, or never began.
    Ended(Cause),
}

/// The driver's end of a connection; dropping it closes the connection at once, whatever is queued.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: mpsc::UnboundedSender<Bytes>,
    task: AbortOnDropHandle<()>,
}

impl Connection {
    /// Starts to connect. Must be called within a runtime.
    pub(crate) fn open(
        id: ConnectionId,
        address: &Address,
        connector: &Arc<dyn Connector>,
        frame_max: u32,
        events: mpsc::Sender<NetEvent>,
    ) -> Self {
        let (requests, queue) = mpsc::unbounded_channel();
        let connecting = catch_unwind(AssertUnwindSafe(|| connector.connect(address)));
        let reports = events.clone();
        let connection = async move {
            match connecting.unwrap_or_else(|panic| resume_unwind(panic)).await {
                Ok(stream) => serve(id, stream, queue, frame_max, &reports).await,
                Err(error) => error.into(),
            }
        };
        let task = tokio::spawn(async move {
            // A connector's panic ends what it connected, and no more.
            let end = panics::caught(connection).await.unwrap_or_else(|panic| {
                Cause::Io(format!("the connector panicked: {panic}").into())
            });
            // The driver is gone if nobody listens; then nobody needs to know.
            let _ = events.send(NetEvent { connection: id, news: News::Ended(end) }).await;
        });
        Self { requests, task: AbortOnDropHandle::new(task) }
    }

    /// Queues a whole frame. Core bounds how many are in flight. A request to a connection that has
    /// just ended goes nowhere: its end is on its way to the driver.
    pub(crate) fn send(&self, frame: Bytes) {
        let _ = self.requests.send(frame);
    }

    /// Closes it as soon as what is queued is written: a leave that nobody waits for (M9) is queued
    /// in the moment in which everything ends. Dropping the future closes it at once.
    pub(crate) async fn finish(self) {
        drop(self.requests);
        // It was caught if it panicked.
        let _ = self.task.await;
    }
}

/// Reads and writes until the connection ends; the cause of the end.
async fn serve(
    id: ConnectionId,
    stream: Box<dyn Stream>,
    queue: mpsc::UnboundedReceiver<Bytes>,
    frame_max: u32,
    events: &mpsc::Sender<NetEvent>,
) -> Cause {
    if events.send(NetEvent { connection: id, news: News::Connected }).await.is_err() {
        return Cause::Closed;
    }
    let (source, sink) = tokio::io::split(stream);
    let reading = read_frames(id, FrameReader::new(source), frame_max, events);
    tokio::select! {
        biased;
        cause = reading => cause.into(),
        cause = write_frames(sink, queue) => cause,
    }
}

async fn read_frames(
    id: ConnectionId,
    mut reader: FrameReader<impl AsyncRead + Unpin>,
    frame_max: u32,
    events: &mpsc::Sender<NetEvent>,
) -> FrameError {
    loop {
        match reader.next().await {
            Ok(frame) => {
                reader.raise_bound(frame_max);
                let event = NetEvent { connection: id, news: News::Frame(frame) };
                if events.send(event).await.is_err() {
                    return FrameError::Closed;
                }
            }
            Err(error) => return error,
        }
    }
}

async fn write_frames(
    mut sink: impl AsyncWrite + Unpin,
    mut queue: mpsc::UnboundedReceiver<Bytes>,
) -> Cause {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = sink.write_all(&frame).await {
            return Cause::Io(error.to_string().into());
        }
        if let Err(error) = sink.flush().await {
            return Cause::Io(error.to_string().into());
        }
    }
    // Some streams, as those of TLS, say goodbye; one that cannot is closed without.
    let _ = sink.shutdown().await;
    Cause::Closed
}
