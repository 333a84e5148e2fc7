//! Frames: a four-byte length, then that many bytes.
//!
//! A length is checked against a bound before anything is allocated for it, and what cannot be a
//! Kafka broker is named: an HTTP server, a TLS listener.

use bytes::{Bytes, BytesMut};
use evenkeel_core::{Cause, Misbehaved};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Why no further frame can be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The peer closed the connection between two frames.
    #[error("the broker closed the connection")]
    Closed,
    /// The peer closed the connection within a frame.
    #[error("the broker closed the connection within an answer")]
    ClosedWithin,
    /// The operating system reported an error.
    #[error("{0}")]
    Io(String),
    /// The first bytes are an HTTP answer.
    #[error("the peer answers in HTTP: is this a Kafka listener?")]
    Http,
    /// The first bytes are a TLS record.
    #[error(
        "the peer answers in TLS: is this a TLS listener of the broker? evenkeel connects in \
         plain text; use a PLAINTEXT listener"
    )]
    Tls,
    /// The length is negative or beyond the bound.
    #[error("an answer of {length} bytes exceeds the bound of {max}: is this a Kafka listener?")]
    TooLong {
        /// What the frame claims.
        length: u32,
        /// The bound.
        max: u32,
    },
}

impl From<FrameError> for Cause {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Closed => Self::Closed,
            FrameError::Io(said) => Self::Io(said.into()),
            FrameError::ClosedWithin
            | FrameError::Http
            | FrameError::Tls
            | FrameError::TooLong { .. } => {
                Self::Misbehaved(Misbehaved::Malformed(error.to_string().into()))
            }
        }
    }
}

/// Reads frames off one connection.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    source: R,
    buffer: BytesMut,
    /// The greatest frame that is accepted, bytes.
    max: u32,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, buffer: BytesMut::new(), max: HANDSHAKE_MAX }
    }

    /// The peer has shown that it is a broker: longer frames are accepted from now on.
    pub(crate) fn raise_bound(&mut self, max: u32) {
        self.max = self.max.max(max);
    }

    /// The next frame's content. Cancel-safe: what was read stays in the buffer.
    pub(crate) async fn next(&mut self) -> Result<Bytes, FrameError> {
        while self.buffer.len() < LENGTH_SIZE {
            self.buffer.reserve(READ_AHEAD);
            self.fill().await?;
        }
        let head = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
        let length = self.length(head)?;
        let end = LENGTH_SIZE + length;
        while self.buffer.len() < end {
            let missing = end - self.buffer.len();
            self.buffer.reserve(missing);
            self.fill().await?;
        }
        let mut frame = self.buffer.split_to(end);
        let _length = frame.split_to(LENGTH_SIZE);
        Ok(frame.freeze())
    }

    fn length(&self, head: [u8; LENGTH_SIZE]) -> Result<usize, FrameError> {
        let length = u32::from_be_bytes(head);
        match (usize::try_from(length), head) {
            (Ok(size), _) if length <= self.max => Ok(size),
            (_, [b'H', b'T', b'T', b'P']) => Err(FrameError::Http),
            (_, [TLS_ALERT | TLS_HANDSHAKE, 3, ..]) => Err(FrameError::Tls),
            _ => Err(FrameError::TooLong { length, max: self.max }),
        }
    }

    async fn fill(&mut self) -> Result<(), FrameError> {
        match self.source.read_buf(&mut self.buffer).await {
            Ok(0) if self.buffer.is_empty() => Err(FrameError::Closed),
            Ok(0) => Err(FrameError::ClosedWithin),
            Ok(_) => Ok(()),
            Err(error) => Err(FrameError::Io(error.to_string())),
        }
    }
}

const LENGTH_SIZE: usize = 4;

/// Room for a small answer with its length, so that it takes one read.
const READ_AHEAD: usize = 4096;

/// The greatest answer to `ApiVersions`, bytes: Kafka 4.3.1's has some 600; "HTTP" and TLS records
/// read as lengths far beyond it.
const HANDSHAKE_MAX: u32 = 1 << 20;

/// Content types of TLS records (RFC 8446, 5.1).
const TLS_ALERT: u8 = 21;
const TLS_HANDSHAKE: u8 = 22;

#[cfg(test)]
mod tests {
    use super::{FrameError, FrameReader};

    async fn read_all(bytes: &[u8]) -> (Vec<Vec<u8>>, FrameError) {
        let mut reader = FrameReader::new(bytes);
        let mut frames = Vec::new();
        loop {
            match reader.next().await {
                Ok(frame) => frames.push(frame.to_vec()),
                Err(error) => return (frames, error),
            }
        }
    }

    #[tokio::test]
    async fn frames_are_split_and_a_clean_end_is_told_from_a_torn_one() {
        let (frames, end) = read_all(&[0, 0, 0, 1, 7, 0, 0, 0, 0, 0, 0, 0, 2, 8, 9]).await;
        assert_eq!(frames, [vec![7], vec![], vec![8, 9]]);
        assert_eq!(end, FrameError::Closed);
        let (frames, end) = read_all(&[0, 0, 0, 1, 7, 0, 0]).await;
        assert_eq!((frames.len(), end), (1, FrameError::ClosedWithin));
    }

    #[tokio::test]
    async fn what_is_no_broker_is_named() {
        assert_eq!(read_all(b"HTTP/1.1 400 Bad Request\r\n").await.1, FrameError::Http);
        assert_eq!(read_all(&[21, 3, 3, 0, 2, 2, 50]).await.1, FrameError::Tls);
        let (_, error) = read_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        assert!(error.to_string().ends_with("is this a Kafka listener?"), "{error}");
        let (_, error) = read_all(&[0xff, 0xff, 0xff, 0xff]).await;
        assert!(matches!(error, FrameError::TooLong { length: u32::MAX, .. }));
    }
}
