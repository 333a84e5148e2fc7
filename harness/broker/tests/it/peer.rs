//! A peer for tests: kafka-protocol's client side over any stream, one request at a time.
#![allow(dead_code, unreachable_pub)] // each test file uses a part of it

use bytes::{Buf, BufMut, Bytes, BytesMut};
use evenkeel_broker::Cluster;
use evenkeel_spec::words::NodeId;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use uuid::Uuid;

/// The fetch version that names topics by name.
pub const FETCH_BY_NAME: i16 = 12;

/// A connection to one broker.
pub struct Peer<S> {
    stream: S,
    next: i32,
}

pub fn in_memory(cluster: &Cluster, node: i32) -> Peer<DuplexStream> {
    Peer::new(cluster.connect_in_memory(NodeId(node)).expect("the node is alive"))
}

pub async fn tcp(addr: std::net::SocketAddr) -> Peer<TcpStream> {
    let stream = TcpStream::connect(addr).await.expect("the broker listens");
    stream.set_nodelay(true).expect("a live socket");
    Peer::new(stream)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, next: 1 }
    }

    /// Sends a request; its correlation id.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<i32> {
        let correlation_id = self.next;
        self.next += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("peer")));
        let mut body = BytesMut::new();
        header.encode(&mut body, R::header_version(version)).expect("a good header");
        request.encode(&mut body, version).expect("a good request");
        let mut frame = BytesMut::new();
        frame.put_u32(u32::try_from(body.len()).expect("a small frame"));
        frame.extend_from_slice(&body);
        self.stream.write_all(&frame).await?;
        Ok(correlation_id)
    }

    /// Reads the next answer, which must be the one to `correlation_id`.
    pub async fn receive<R: Request>(
        &mut self,
        version: i16,
        correlation_id: i32,
    ) -> io::Result<R::Response> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await?;
        let mut body = vec![0; (&length[..]).get_u32() as usize];
        self.stream.read_exact(&mut body).await?;
        let mut body = Bytes::from(body);
        let header_version = R::Response::header_version(version);
        let header = ResponseHeader::decode(&mut body, header_version).expect("a good header");
        assert_eq!(header.correlation_id, correlation_id, "answers come in order");
        let response = R::Response::decode(&mut body, version).expect("a good answer");
        assert!(body.is_empty(), "no bytes are left over");
        Ok(response)
    }

    pub async fn try_ask<R: Request>(&mut self, version: i16, ask: &R) -> io::Result<R::Response> {
        let correlation_id = self.send(version, ask).await?;
        self.receive::<R>(version, correlation_id).await
    }

    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.try_ask(version, request).await.expect("an answer")
    }

    pub async fn raw(&mut self, bytes: &[u8]) {
        // A broker that has closed already is what some tests wait for.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Whether the broker ends the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.stream.read(&mut byte).await, Ok(0) | Err(_))
    }

    pub async fn produce(
        &mut self,
        topic: &str,
        index: i32,
        values: &[&str],
    ) -> PartitionProduceResponse {
        let answer = self.ask(9, &produce_request(topic, index, values)).await;
        answer.responses[0].partition_responses[0].clone()
    }

    pub async fn fetch(&mut self, fetch: Fetch<'_>) -> (FetchResponse, PartitionData) {
        let response = self.ask(FETCH_BY_NAME, &fetch.request()).await;
        let data = response.responses[0].partitions[0].clone();
        (response, data)
    }
}

/// One partition to fetch.
#[derive(Clone, Copy)]
pub struct Fetch<'a> {
    pub topic: &'a str,
    pub index: i32,
    pub offset: i64,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub leader_epoch: i32,
}

impl<'a> Fetch<'a> {
    pub fn of(topic: &'a str, index: i32, offset: i64) -> Self {
        Self { topic, index, offset, max_wait_ms: 0, min_bytes: 1, leader_epoch: -1 }
    }

    pub fn request(&self) -> FetchRequest {
        let partition = FetchPartition::default()
            .with_partition(self.index)
            .with_current_leader_epoch(self.leader_epoch)
            .with_fetch_offset(self.offset)
            .with_partition_max_bytes(1 << 20);
        let topic =
            FetchTopic::default().with_topic(name(self.topic)).with_partitions(vec![partition]);
        FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(self.max_wait_ms)
            .with_min_bytes(self.min_bytes)
            .with_max_bytes(1 << 24)
            .with_topics(vec![topic])
    }
}

pub fn produce_request(topic: &str, index: i32, values: &[&str]) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(index).with_records(Some(batch(values)));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic])
}

/// One batch as kafka-protocol's producer side encodes it.
pub fn batch(values: &[&str]) -> Bytes {
    let records: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(i, value)| {
            let offset = i64::try_from(i).expect("few records");
            Record {
                transactional: false,
                control: false,
                partition_leader_epoch: -1,
                producer_id: -1,
                producer_epoch: -1,
                timestamp_type: TimestampType::Creation,
                delete_horizon: false,
                offset,
                sequence: i32::try_from(i).expect("few records") - 1,
                timestamp: 1_000 + offset,
                key: None,
                value: Some(Bytes::copy_from_slice(value.as_bytes())),
                headers: Default::default(),
            }
        })
        .collect();
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut out, &records, &options).expect("a good batch");
    out.freeze()
}

/// Offsets and values of what was fetched.
pub fn records(data: &PartitionData) -> Vec<(i64, String)> {
    let mut bytes = data.records.clone().expect("records, maybe empty");
    let sets = RecordBatchDecoder::decode_all(&mut bytes).expect("good batches");
    let text = |value: &Bytes| String::from_utf8(value.to_vec()).expect("text");
    sets.iter()
        .flat_map(|set| &set.records)
        .map(|record| (record.offset, record.value.as_ref().map(text).unwrap_or_default()))
        .collect()
}

pub fn name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

pub fn uuid(cluster: &Cluster, topic: &str) -> Uuid {
    Uuid::from_bytes(cluster.topic_id(topic).expect("the topic exists").0)
}
