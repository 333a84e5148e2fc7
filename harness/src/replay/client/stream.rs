//! A consumer's end of a connection, as its connector opens it: bytes go to the network, which the
//! replay is, and come from it.

use bytes::{Buf, Bytes, BytesMut};
use evenkeel::{Address, ConnectError, Connecting, Connector, Stream};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// A connection's number, in the order of their beginning.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::replay) struct LinkId(pub(in crate::replay) u64);

/// What consumers did on the network.
#[derive(Debug)]
pub(in crate::replay) enum Happened {
    /// An attempt to connect to the broker at this port waits for what becomes of it.
    Knocked(LinkId, u16, oneshot::Sender<bool>),
    /// This consumer connected to the broker at this port.
    Connected(LinkId, usize, u16, Far),
    /// Bytes were written.
    Wrote(LinkId, Bytes),
    /// The consumer closed it, or gave up the attempt.
    Closed(LinkId),
}

/// What consumers did since somebody looked.
#[derive(Clone, Debug, Default)]
pub(in crate::replay) struct Network(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    happened: VecDeque<Happened>,
    links: u64,
    watcher: Option<Waker>,
}

impl Network {
    /// What opens connections for this consumer.
    pub(in crate::replay) fn connector(&self, consumer: usize) -> impl Connector {
        Opener { consumer, network: self.clone(), knocks: false }
    }

    /// The same for a network that decides about each attempt.
    pub(in crate::replay) fn strict_connector(&self) -> impl Connector {
        Opener { consumer: 0, network: self.clone(), knocks: true }
    }

    /// The oldest that nobody looked at.
    pub(in crate::replay) fn next(&self) -> Option<Happened> {
        self.inner().happened.pop_front()
    }

    /// Waits until something happens, at the latest until `date`.
    pub(in crate::replay) async fn happens_before(&self, date: Instant) {
        let mut sleep = std::pin::pin!(sleep_until(date));
        poll_fn(|context| {
            let mut inner = self.inner();
            if !inner.happened.is_empty() {
                return Poll::Ready(());
            }
            inner.watcher = Some(context.waker().clone());
            drop(inner);
            sleep.as_mut().poll(context)
        })
        .await;
        self.inner().watcher = None;
    }

    fn tell(&self, happened: Happened) {
        let mut inner = self.inner();
        inner.happened.push_back(happened);
        let watcher = inner.watcher.take();
        drop(inner);
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Opener {
    consumer: usize,
    network: Network,
    /// Attempts wait for what becomes of them.
    knocks: bool,
}

/// An attempt that was not decided about.
#[derive(Debug)]
struct Attempt {
    id: LinkId,
    network: Network,
    is_decided: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_decided {
            self.network.tell(Happened::Closed(self.id));
        }
    }
}

impl Connector for Opener {
    fn connect(&self, address: &Address) -> Connecting {
        let (consumer, port, network) = (self.consumer, address.port, self.network.clone());
        let knocks = self.knocks;
        Box::pin(async move {
            let id = {
                let mut inner = network.inner();
                inner.links += 1;
                LinkId(inner.links)
            };
            if knocks {
                let mut attempt = Attempt { id, network: network.clone(), is_decided: false };
                let (decide, decided) = oneshot::channel();
                network.tell(Happened::Knocked(id, port, decide));
                let is_let_in = decided.await.unwrap_or(false);
                attempt.is_decided = true;
                if !is_let_in {
                    return Err(ConnectError::Connect("refused".to_owned()));
                }
            }
            let far = Far::default();
            network.tell(Happened::Connected(id, consumer, port, far.clone()));
            Ok(Box::new(Near { id, network, far }) as Box<dyn Stream>)
        })
    }
}

/// The network's hold on a connection's end.
#[derive(Clone, Debug, Default)]
pub(in crate::replay) struct Far(Arc<Mutex<ToRead>>);

#[derive(Debug, Default)]
struct ToRead {
    bytes: BytesMut,
    is_cut: bool,
    reader: Option<Waker>,
}

impl Far {
    /// Lets the consumer read these bytes.
    pub(in crate::replay) fn deliver(&self, bytes: &[u8]) {
        self.change(|to_read| to_read.bytes.extend_from_slice(bytes));
    }

    /// Breaks the connection: the consumer reads its end.
    pub(in crate::replay) fn cut(&self) {
        self.change(|to_read| to_read.is_cut = true);
    }

    fn change(&self, change: impl FnOnce(&mut ToRead)) {
        let mut to_read = self.to_read();
        change(&mut to_read);
        let reader = to_read.reader.take();
        drop(to_read);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn to_read(&self) -> MutexGuard<'_, ToRead> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The consumer's end.
#[derive(Debug)]
struct Near {
    id: LinkId,
    network: Network,
    far: Far,
}

impl AsyncRead for Near {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut to_read = self.far.to_read();
        if to_read.is_cut {
            return Poll::Ready(Ok(()));
        }
        if to_read.bytes.is_empty() {
            to_read.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = to_read.bytes.len().min(buffer.remaining());
        buffer.put_slice(&to_read.bytes[..count]);
        to_read.bytes.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Near {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.network.tell(Happened::Wrote(self.id, Bytes::copy_from_slice(bytes)));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.network.tell(Happened::Closed(self.id));
    }
}
