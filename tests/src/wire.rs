//! A plain client of the Kafka protocol: one blocking connection, one request at a time.
//!
//! It knows nothing of evenkeel: what a test says to a broker through it is exactly what the test
//! wrote, sentinels included.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use uuid::Uuid;

/// One connection to a broker.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    correlation_id: i32,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The connection could not be made, broke, or was silent for half a minute.
    #[error("connection: {0}")]
    Connection(#[from] std::io::Error),
    /// The answer does not parse, or is the answer to something else.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// The broker refused what the test cannot do without.
    #[error("{step} refused with error code {code}: {message}")]
    Refused {
        /// What was asked.
        step: String,
        /// Kafka's error code.
        code: i16,
        /// Kafka's message.
        message: String,
    },
}

impl Wire {
    /// Connects to `address` (`host:port`).
    ///
    /// # Errors
    /// [`WireError::Connection`].
    pub fn connect(address: &str) -> Result<Self, WireError> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// Sends `request` in `version` and waits for its answer.
    ///
    /// # Errors
    /// [`WireError::Connection`] and [`WireError::Malformed`].
    pub fn send<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, WireError> {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("evenkeel-tests")));
        let malformed = |error| WireError::Malformed(format!("request: {error}"));
        let mut body = BytesMut::new();
        header.encode(&mut body, R::header_version(version)).map_err(malformed)?;
        request.encode(&mut body, version).map_err(malformed)?;
        let mut frame = BytesMut::with_capacity(4 + body.len());
        frame.put_u32(u32::try_from(body.len()).expect("a test's request is small"));
        frame.extend_from_slice(&body);
        self.stream.write_all(&frame)?;
        self.receive::<R::Response>(version)
    }

    /// Creates `topic` with one replica and waits until the broker shows it with its id.
    ///
    /// # Errors
    /// [`WireError::Refused`] when the broker does not create it.
    pub fn create_topic(&mut self, topic: &str, partitions: u32) -> Result<Uuid, WireError> {
        let partitions = i32::try_from(partitions).expect("a test's topic is small");
        let wanted = CreatableTopic::default()
            .with_name(topic_name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request =
            CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(10_000);
        let response = self.send(7, &request)?;
        let created = response.topics.first();
        let created =
            created.ok_or_else(|| WireError::Malformed("no topic in the answer".into()))?;
        if created.error_code != 0 {
            let message = created.error_message.as_ref().map_or("", |text| text.as_str()).into();
            let step = format!("CreateTopics {topic}");
            return Err(WireError::Refused { step, code: created.error_code, message });
        }
        self.await_leaders(topic, created.topic_id)
    }

    /// Asks for metadata until all partitions of `topic` have a leader: creation is asynchronous.
    fn await_leaders(&mut self, topic: &str, id: Uuid) -> Result<Uuid, WireError> {
        let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
        let mut last = 0;
        for _ in 0..METADATA_ASKS_MAX {
            let response = self.send(12, &request)?;
            let Some(shown) = response.topics.first() else { continue };
            last = shown.error_code;
            let led = shown.partitions.iter().all(|p| p.error_code == 0 && p.leader_id.0 >= 0);
            if last == 0 && led && !shown.partitions.is_empty() && shown.topic_id == id {
                return Ok(id);
            }
        }
        let message = "it has no leaders".into();
        Err(WireError::Refused { step: format!("Metadata {topic}"), code: last, message })
    }

    fn receive<A: Decodable + HeaderVersion>(&mut self, version: i16) -> Result<A, WireError> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if !(4..=FRAME_MAX).contains(&length) {
            return Err(WireError::Malformed(format!("a frame of {length} bytes")));
        }
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        let mut frame = Bytes::from(frame);
        let malformed = |error| WireError::Malformed(format!("{error}"));
        let header = ResponseHeader::decode(&mut frame, A::header_version(version));
        let correlation_id = header.map_err(malformed)?.correlation_id;
        if correlation_id != self.correlation_id {
            let asked = self.correlation_id;
            return Err(WireError::Malformed(format!("answer {correlation_id} to {asked}")));
        }
        let answer = A::decode(&mut frame, version).map_err(malformed)?;
        if frame.has_remaining() {
            return Err(WireError::Malformed(format!("{} bytes too many", frame.remaining())));
        }
        Ok(answer)
    }
}

/// `name` in kafka-protocol's type.
#[must_use]
pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.into()))
}

/// A broker that has not answered by then is taken for dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// No answer in these tests is larger.
const FRAME_MAX: usize = 16 << 20;
/// Each is a round trip on loopback; leaders are there after some tens of them.
const METADATA_ASKS_MAX: usize = 20_000;
