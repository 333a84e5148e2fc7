//! One connection: frames in, frames out, one request at a time and in order, as Kafka does it.
//! Decides which bytes are a request at all; everything else ends the connection with a [`Refusal`].

use crate::api::{self, Call, Outcome};
use crate::cluster::Shared;
use crate::hook::ConnectionId;
use bytes::{Buf, BytesMut};
use evenkeel_spec::words::NodeId;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why the broker ended a connection by itself.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The length is negative or beyond `socket.request.max.bytes`: this is another protocol (HTTP,
    /// TLS) or a broken peer. Nothing was allocated for it.
    #[error("a frame's length is out of bounds")]
    FrameLength,
    /// The frame is too short for a request header.
    #[error("a frame is too short for a request header")]
    FrameTooShort,
    /// The API key is not served here, or not in this version.
    #[error("the API or its version is not supported")]
    Unsupported,
    /// The body does not decode, or bytes are left over.
    #[error("the request does not decode")]
    Malformed,
    /// The answer cannot be expressed in the version that was asked for: a fault of this broker.
    #[error("the answer does not encode")]
    Unencodable,
}

/// Bytes that are read at most at once; a frame's buffer grows as its bytes really arrive.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of a request header that every version has: key, version, correlation id.
const HEADER_BYTES: usize = 8;

/// Serves a connection until its peer closes it, it is refused, or a hook ends it.
pub(crate) async fn serve<S>(
    shared: Arc<Shared>,
    node: NodeId,
    id: ConnectionId,
    host: String,
    mut stream: S,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut call = Call::new(&shared, node, id, host);
    let mut buffer = BytesMut::new();
    loop {
        let outcome = match next_frame(&mut stream, &mut buffer, &shared).await {
            Ok(Some(frame)) => api::dispatch(&mut call, frame.freeze()).await,
            Ok(None) => return,
            Err(refusal) => Err(refusal),
        };
        match outcome {
            Ok(Outcome::Answer(frame, mute)) => {
                if stream.write_all(&frame).await.is_err() {
                    return;
                }
                call.spare = frame;
                if !mute.is_zero() {
                    tokio::time::sleep(mute).await;
                }
            }
            Ok(Outcome::Nothing) => {}
            Ok(Outcome::Disconnect) => return,
            Err(refusal) => {
                tracing::debug!(?node, connection = id.0, %refusal, "connection refused");
                *shared.state().counts.refusals.entry(refusal).or_default() += 1;
                return;
            }
        }
    }
}

/// The next frame without its length; `None`: the peer is gone.
async fn next_frame<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    shared: &Shared,
) -> Result<Option<BytesMut>, Refusal> {
    if !fill(stream, buffer, 4).await {
        return Ok(None);
    }
    let length = (&buffer[..4]).get_i32();
    let length = usize::try_from(length).map_err(|_| Refusal::FrameLength)?;
    if length > shared.request_max_bytes {
        return Err(Refusal::FrameLength);
    }
    if length < HEADER_BYTES {
        return Err(Refusal::FrameTooShort);
    }
    if !fill(stream, buffer, 4 + length).await {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length)))
}

/// Reads until `size` bytes are there; false: the peer is gone.
async fn fill<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut, size: usize) -> bool {
    while buffer.len() < size {
        buffer.reserve((size - buffer.len()).clamp(4096, READ_BYTES));
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
    true
}
