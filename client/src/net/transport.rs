//! How bytes get to a broker: TCP, or whatever a test puts in its place.

use evenkeel_core::{Address, Cause};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A byte stream to and from one broker.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The future of a connection attempt.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, ConnectError>> + Send>>;

/// Why there is no connection, in a sentence for the user.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host's name has no address.
    #[error("{0}")]
    Resolve(String),
    /// No address of the host could be connected to.
    #[error("{0}")]
    Connect(String),
}

/// Opens connections to brokers. [`Tcp`] is the default; tests pass their own, for example
/// in-memory streams or a simulated network. A panic in it, or in a stream of its, ends that one
/// connection.
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Connects to `address`, which is to be resolved anew each time. The future is dropped when
    /// `socket.connection.setup.timeout.ms` passes.
    fn connect(&self, address: &Address) -> Connecting;
}

/// Plain TCP with `TCP_NODELAY`. All addresses of a name are tried in the resolver's order, IPv6
/// and IPv4 alike: the next one when one has failed or has not answered for 250 ms, beside it
/// (RFC 8305, "Connection Attempt Delay"). The first that answers is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Connector for Tcp {
    fn connect(&self, address: &Address) -> Connecting {
        let address = address.clone();
        Box::pin(async move {
            let resolved = lookup_host((&*address.host, address.port)).await.map_err(|error| {
                ConnectError::Resolve(format!("cannot resolve {}: {error}", address.host))
            })?;
            let attempts = resolved.map(|socket| async move {
                let stream = TcpStream::connect(socket).await;
                stream.map_err(|error| format!("{socket}: {error}"))
            });
            let stream = first_of(attempts).await.map_err(|causes| match &*causes {
                [] => ConnectError::Resolve(format!("{} has no address", address.host)),
                _ => ConnectError::Connect(causes.join("; ")),
            })?;
            let nodelay = stream.set_nodelay(true);
            nodelay.map_err(|error| ConnectError::Connect(error.to_string()))?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// What the first attempt that succeeds makes, or why none did. Dropped, it ends them all.
async fn first_of<T: Send + 'static>(
    attempts: impl IntoIterator<Item: Future<Output = Result<T, String>> + Send + 'static>,
) -> Result<T, Vec<String>> {
    let (mut attempts, mut running) = (attempts.into_iter(), JoinSet::new());
    let mut causes = Vec::new();
    loop {
        let ended = match attempts.next() {
            Some(attempt) => {
                running.spawn(attempt);
                match timeout(HEAD_START, running.join_next()).await {
                    Ok(ended) => ended,
                    Err(_elapsed) => continue,
                }
            }
            None => running.join_next().await,
        };
        match ended {
            Some(Ok(Ok(made))) => return Ok(made),
            Some(Ok(Err(cause))) => causes.push(cause),
            Some(Err(broken)) => causes.push(broken.to_string()),
            None => return Err(causes),
        }
    }
}

/// What an address has for itself before the next one is tried.
const HEAD_START: Duration = Duration::from_millis(250);

impl From<ConnectError> for Cause {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Resolve(said) => Self::Resolve(said.into()),
            ConnectError::Connect(said) => Self::Connect(said.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HEAD_START, first_of};
    use std::future::{Future, pending, ready};
    use std::pin::Pin;
    use tokio::time::{Instant, sleep};

    type Attempt = Pin<Box<dyn Future<Output = Result<u8, String>> + Send>>;

    fn silent() -> Attempt {
        Box::pin(pending())
    }

    fn refused() -> Attempt {
        Box::pin(ready(Err("refused".to_owned())))
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_silent_does_not_keep_the_next_one_waiting() {
        let began = Instant::now();
        let second: Attempt = Box::pin(ready(Ok(2)));
        assert_eq!(first_of([silent(), second]).await, Ok(2));
        assert_eq!(began.elapsed(), HEAD_START);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_address_is_tried_at_once_when_one_has_failed() {
        let began = Instant::now();
        let third: Attempt = Box::pin(ready(Ok(3)));
        assert_eq!(first_of([refused(), refused(), third]).await, Ok(3));
        assert!(began.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_slow_is_taken_all_the_same() {
        let slow: Attempt = Box::pin(async {
            sleep(20 * HEAD_START).await;
            Ok(1)
        });
        assert_eq!(first_of([slow, refused(), silent()]).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn where_none_succeeds_every_cause_is_told() {
        assert_eq!(first_of([refused(), refused()]).await, Err(vec!["refused".to_owned(); 2]));
        assert_eq!(first_of(std::iter::empty::<Attempt>()).await, Err(vec![]));
    }
}
