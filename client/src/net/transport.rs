//! How bytes get to a broker: TCP, or whatever a test puts in its place.

use evenkeel_core::{Address, Cause};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

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
/// and IPv4 alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Connector for Tcp {
    fn connect(&self, address: &Address) -> Connecting {
        let address = address.clone();
        Box::pin(async move {
            let resolved = lookup_host((&*address.host, address.port)).await.map_err(|error| {
                ConnectError::Resolve(format!("cannot resolve {}: {error}", address.host))
            })?;
            let mut causes: Vec<String> = Vec::new();
            for socket in resolved {
                match TcpStream::connect(socket).await {
                    Ok(stream) => {
                        stream
                            .set_nodelay(true)
                            .map_err(|error| ConnectError::Connect(error.to_string()))?;
                        return Ok(Box::new(stream) as Box<dyn Stream>);
                    }
                    Err(error) => causes.push(format!("{socket}: {error}")),
                }
            }
            if causes.is_empty() {
                return Err(ConnectError::Resolve(format!("{} has no address", address.host)));
            }
            Err(ConnectError::Connect(causes.join("; ")))
        })
    }
}

impl From<ConnectError> for Cause {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Resolve(said) => Self::Resolve(said.into()),
            ConnectError::Connect(said) => Self::Connect(said.into()),
        }
    }
}
