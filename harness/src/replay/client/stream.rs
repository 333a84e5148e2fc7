//! A consumer's end of a connection, as its connector opens it: bytes go to the network, which the
//! replay is, and come from it.

use bytes::{Buf, Bytes, BytesMut};
use evenkeel::{Address, Connecting, Connector, Stream};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

/// A connection's number, in the order of their beginning.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct LinkId(pub(super) u64);

/// What consumers did on the network.
#[derive(Debug)]
pub(super) enum Happened {
    /// This consumer connected to the broker at this port.
    Connected(LinkId, usize, u16, Far),
    /// Bytes were written.
    Wrote(LinkId, Bytes),
    /// The consumer closed it.
    Closed(LinkId),
}

/// What consumers did since somebody looked.
#[derive(Clone, Debug, Default)]
pub(super) struct Network(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    happened: VecDeque<Happened>,
    links: u64,
    watcher: Option<Waker>,
}

impl Network {
    /// What opens connections for this consumer.
    pub(super) fn connector(&self, consumer: usize) -> impl Connector {
        Opener { consumer, network: self.clone() }
    }

    /// The oldest that nobody looked at.
    pub(super) fn next(&self) -> Option<Happened> {
        self.inner().happened.pop_front()
    }

    /// Waits until something happens, at the latest until `date`.
    pub(super) async fn happens_before(&self, date: Instant) {
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
}

impl Connector for Opener {
    fn connect(&self, address: &Address) -> Connecting {
        let (consumer, port, network) = (self.consumer, address.port, self.network.clone());
        Box::pin(async move {
            let id = {
                let mut inner = network.inner();
                inner.links += 1;
                LinkId(inner.links)
            };
            let far = Far::default();
            network.tell(Happened::Connected(id, consumer, port, far.clone()));
            Ok(Box::new(Near { id, network, far }) as Box<dyn Stream>)
        })
    }
}

/// The network's hold on a connection's end.
#[derive(Clone, Debug, Default)]
pub(super) struct Far(Arc<Mutex<ToRead>>);

#[derive(Debug, Default)]
struct ToRead {
    bytes: BytesMut,
    is_cut: bool,
    reader: Option<Waker>,
}

impl Far {
    /// Lets the consumer read these bytes.
    pub(super) fn deliver(&self, bytes: &[u8]) {
        self.change(|to_read| to_read.bytes.extend_from_slice(bytes));
    }

    /// Breaks the connection: the consumer reads its end.
    pub(super) fn cut(&self) {
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
