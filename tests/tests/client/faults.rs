//! What is wrong with the world or the configuration is a typed error that says what to do; the
//! consumer goes on trying at a measured pace.

use crate::support::{InMemory, Read, SECOND, append_numbered, member, read};
use evenkeel::{
    Address, CommitError, ConfigError, ConnectError, Connecting, Connector, Consumer, ErrorCode,
    PollError, Stream,
};
use evenkeel_broker::{Before, Cluster, Request};
use evenkeel_tests::validated::Validated;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::runtime::Handle;

/// What stands at the address of `bootstrap.servers`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// Nobody listens.
    Nobody,
    /// Whoever connects is sent away at once.
    Closes,
    /// Whoever says something is sent away.
    ClosesOnRequest,
    /// It accepts, and is silent.
    Silent,
    /// It answers anything with this.
    Says(&'static [u8]),
    /// It answers `ApiVersions` and hangs up at whatever follows, as a listener does that wants SASL
    /// (`SaslServerAuthenticator`, Kafka 4.3.1).
    WantsSasl,
    /// A broker whose consumer group protocol is off: it does not offer `ConsumerGroupHeartbeat`.
    WithoutConsumerGroups,
}

/// Connects to a peer, and counts.
#[derive(Clone, Debug)]
pub(crate) struct Counting {
    peer: Peer,
    connects: Arc<AtomicU64>,
}

impl Counting {
    pub(crate) fn of(peer: Peer) -> Self {
        Self { peer, connects: Arc::default() }
    }
}

impl Connector for Counting {
    fn connect(&self, _: &Address) -> Connecting {
        self.connects.fetch_add(1, Ordering::Relaxed);
        let peer = self.peer;
        Box::pin(async move {
            if matches!(peer, Peer::Nobody) {
                return Err(ConnectError::Connect("connection refused".into()));
            }
            let (near, far) = duplex(1 << 16);
            tokio::spawn(serve(peer, far));
            Ok(Box::new(near) as Box<dyn Stream>)
        })
    }
}

/// Serves one connection until it ends.
async fn serve(peer: Peer, mut stream: DuplexStream) {
    let mut heard = [0; 1024];
    if matches!(peer, Peer::Closes) {
        return;
    }
    while let Ok(count @ 1..) = stream.read(&mut heard).await {
        let said = match peer {
            Peer::Nobody | Peer::Closes | Peer::ClosesOnRequest => return,
            Peer::Silent => Ok(()),
            Peer::Says(text) => stream.write_all(text).await,
            Peer::WantsSasl if heard[4..6] != [0, 18] => return,
            Peer::WantsSasl => {
                let mut ranges = RANGES.to_vec();
                ranges.push((68, 0, 1));
                stream.write_all(&versions(&ranges, &heard[8..12])).await
            }
            Peer::WithoutConsumerGroups => {
                // Request header: length, key, version, correlation id.
                assert!(count >= 12 && heard[4..6] == [0, 18], "it asks for versions first");
                stream.write_all(&versions(&RANGES, &heard[8..12])).await
            }
        };
        if said.is_err() {
            return;
        }
    }
}

/// What Apache Kafka 3.9 speaks, as far as a consumer cares: all it needs but key 68.
const RANGES: [(i16, i16, i16); 8] =
    [(0, 3, 11), (1, 4, 17), (2, 1, 9), (3, 0, 12), (8, 2, 9), (9, 1, 9), (10, 0, 6), (18, 0, 4)];

/// The answer to `ApiVersions` version 3 or 4.
fn versions(ranges: &[(i16, i16, i16)], correlation_id: &[u8]) -> Vec<u8> {
    let mut body = correlation_id.to_vec();
    body.extend([0, 0]); // no error
    // A compact array's length, plus one.
    body.push(u8::try_from(ranges.len() + 1).expect("they are few"));
    for &(key, least, greatest) in ranges {
        for number in [key, least, greatest] {
            body.extend(number.to_be_bytes());
        }
        body.push(0); // no tags
    }
    body.extend([0, 0, 0, 0]); // no throttling
    body.push(0); // no tags
    let mut frame = u32::try_from(body.len()).expect("it is short").to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

/// What a consumer that polls for ten minutes sees: its errors, how often it connected, and how
/// often its background was woken beside its own polls.
struct TenMinutes {
    errors: Vec<PollError>,
    connects: u64,
    wakes: u64,
}

async fn ten_minutes(mut consumer: Consumer, connects: impl Fn() -> u64) -> TenMinutes {
    consumer.subscribe(["t"]).await.expect("subscribed");
    let (mut errors, mut polls) = (Vec::new(), 0);
    let end = tokio::time::Instant::now() + 600 * SECOND;
    while tokio::time::Instant::now() < end {
        polls += 1;
        match consumer.poll(30 * SECOND).await {
            Ok(records) => assert!(records.is_empty()),
            Err(error) => errors.push(error),
        }
    }
    let own = 2 * polls + 1;
    let (connects, wakes) = (connects(), consumer.background_turns().saturating_sub(own));
    consumer.close(SECOND).await;
    TenMinutes { errors, connects, wakes }
}

async fn ten_minutes_at(peer: Peer) -> TenMinutes {
    let connector = Counting::of(peer);
    let count = Arc::clone(&connector.connects);
    let consumer = Consumer::builder()
        .bootstrap_servers("peer:9092")
        .group_id("g")
        .property("default.api.timeout.ms", "10000")
        .property("request.timeout.ms", "5000")
        .connector(connector)
        .spawn_on(Handle::current())
        .seed(7)
        .build()
        .expect("valid");
    ten_minutes(consumer, || count.load(Ordering::Relaxed)).await
}

/// `reconnect.backoff.max.ms` is a second, with jitter: 600 attempts in ten minutes, or a few more;
/// each is a timer, a connection, an answer or two, its end, and now and then a call's deadline.
fn assert_measured(seen: &TenMinutes, what: &str) {
    eprintln!(
        "{what}: {} errors, {} connects, {} wakes in ten minutes",
        seen.errors.len(),
        seen.connects,
        seen.wakes
    );
    assert!(seen.connects <= 800, "{what}: {} connects", seen.connects);
    assert!(seen.wakes <= 6 * seen.connects + 120, "{what}: {} wakes", seen.wakes);
    // Told as long as it lasts, and not as fast as it polls.
    let errors = u64::try_from(seen.errors.len()).expect("few");
    assert!((1..=seen.connects + 70).contains(&errors), "{what}: {errors} errors");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_no_broker_is_named_with_the_cause_and_tried_at_a_measured_pace() {
    let _runs = Validated::begin();
    const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    const TLS_ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 50];
    for (peer, hint) in [
        (Peer::Nobody, "connection refused"),
        (Peer::Closes, "closed the connection; is this a Kafka listener?"),
        (Peer::ClosesOnRequest, "closed the connection; is this a Kafka listener?"),
        (Peer::WantsSasl, "closed the connection; is this a Kafka listener?"),
        (Peer::Silent, "no answer within request.timeout.ms; is this a Kafka listener?"),
        (Peer::Says(HTTP), "HTTP: is this a Kafka listener?"),
        (Peer::Says(TLS_ALERT), "use a PLAINTEXT listener"),
    ] {
        let seen = ten_minutes_at(peer).await;
        assert_measured(&seen, hint);
        for error in &seen.errors {
            assert!(
                matches!(error, PollError::NoBroker { tried } if tried.len() == 1),
                "{error:?}"
            );
            let said = error.to_string();
            assert!(said.contains("bootstrap.servers") && said.contains("peer:9092"), "{said}");
            assert!(said.contains(hint), "{said}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_consumer_groups_is_named_with_what_it_lacks() {
    let _runs = Validated::begin();
    let seen = ten_minutes_at(Peer::WithoutConsumerGroups).await;
    assert_measured(&seen, "a broker without ConsumerGroupHeartbeat");
    for error in &seen.errors {
        assert!(matches!(error, PollError::Unsupported { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("peer:9092") && said.contains("ConsumerGroupHeartbeat"), "{said}");
        assert!(said.contains("Apache Kafka 4.0 or newer"), "it says what to do: {said}");
    }
}

/// A cluster that answers these APIs with an error, whatever is asked.
async fn ten_minutes_refused(keys: &'static [i16], error: ErrorCode) -> (TenMinutes, u64) {
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    cluster.intercept(move |request: &Request| {
        if keys.contains(&request.api_key) { Before::Forge(error) } else { Before::Process }
    });
    let consumer = member(&cluster, "g", 7).build().expect("valid");
    let seen = ten_minutes(consumer, || cluster.connections_ever()).await;
    (seen, keys.iter().map(|key| cluster.requests(*key)).sum())
}

#[tokio::test(start_paused = true)]
async fn a_group_that_may_not_be_joined_is_told_with_what_to_grant_and_not_asked_for_in_a_loop() {
    let _runs = Validated::begin();
    for (keys, error, advice) in [
        // Apache Kafka refuses the lookup already (KafkaApis.handleFindCoordinatorRequest).
        (&[10_i16][..], ErrorCode::GroupAuthorizationFailed, "grant the principal READ"),
        (&[68], ErrorCode::GroupAuthorizationFailed, "grant the principal READ on the group"),
        (&[68], ErrorCode::InvalidGroupId, "check group.id"),
        (&[10], ErrorCode::InvalidGroupId, "check group.id"),
        // The broker knows the API, but `group.coordinator.rebalance.protocols` lacks `consumer`.
        (&[68], ErrorCode::UnsupportedVersion, "enable the consumer group protocol"),
        (&[68], ErrorCode::GroupMaxSizeReached, "group.consumer.max.size"),
        (&[68], ErrorCode::UnsupportedAssignor, "group.remote.assignor"),
    ] {
        let (seen, asked) = ten_minutes_refused(keys, error).await;
        eprintln!("{error} at {keys:?}: {} errors, asked {asked} times", seen.errors.len());
        assert!(!seen.errors.is_empty(), "{error} at {keys:?} is told");
        assert!(seen.errors.len() <= 700, "{error} at {keys:?}: {} errors", seen.errors.len());
        for told in &seen.errors {
            assert!(told.to_string().contains(advice), "{told}");
        }
        assert!(seen.connects <= 20, "{error}: {} connects", seen.connects);
        // `retry.backoff.max.ms` is a second.
        assert!(asked <= 800, "{error} at {keys:?}: asked {asked} times");
        assert!(seen.wakes <= 4 * asked + 2_000, "{error}: {} wakes", seen.wakes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_commit_says_what_to_do() {
    let _runs = Validated::begin();
    for (error, advice) in [
        (ErrorCode::UnknownMemberId, "poll, and it joins again"),
        (ErrorCode::GroupAuthorizationFailed, "grant the principal READ on the group"),
        (ErrorCode::TopicAuthorizationFailed, "grant the principal READ on the topic"),
    ] {
        let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
        append_numbered(&cluster, "t", 1, 3);
        let mut consumer =
            member(&cluster, "g", 7).enable_auto_commit(false).build().expect("valid");
        consumer.subscribe(["t"]).await.expect("subscribed");
        read(&mut consumer, &mut Read::default(), 3).await;
        cluster.intercept(move |request: &Request| {
            if request.api_key == 8 { Before::Forge(error) } else { Before::Process }
        });
        let told = consumer.commit().await.expect_err("it is refused");
        assert_eq!(told, CommitError::Refused { code: error });
        assert!(told.to_string().contains(advice), "{told}");
        assert!(consumer.close(SECOND).await.left);
    }
}

#[test]
fn a_configuration_out_of_bounds_is_refused_with_the_key_and_what_is_allowed() {
    let _runs = Validated::begin();
    let refused = |key: &str, value: &str| {
        let builder = Consumer::builder().bootstrap_servers("localhost:9092").group_id("g");
        let error = builder.property(key, value).build().expect_err("it is refused");
        assert_eq!(error.key(), Some(key), "{error}");
        error
    };
    let error = refused("max.poll.records", "0");
    assert_eq!(
        error.to_string(),
        "max.poll.records: 0 is out of bounds; allowed are 1 to 2147483647"
    );
    assert!(matches!(error, ConfigError::OutOfBounds { .. }));
    for (key, value, says) in [
        ("group.id", "", "cannot read"),
        ("bootstrap.servers", "localhost", "expected host:port"),
        ("max.poll.record", "1", "did you mean max.poll.records?"),
        ("session.timeout.ms", "3000", "the broker decides it; remove the key"),
        ("auto.offset.reset", "oldest", "expected earliest, latest, none or by_duration"),
        ("request.timeout.ms", "-1", "allowed are"),
    ] {
        let error = refused(key, value);
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// Changes a byte of whatever record says `MARK`.
#[derive(Debug)]
pub(crate) struct Damaging(pub(crate) InMemory);

struct Damaged(Box<dyn Stream>);

pub(crate) const MARK: &[u8] = b"damage this";

impl Connector for Damaging {
    fn connect(&self, address: &Address) -> Connecting {
        let connected = self.0.connect(address);
        Box::pin(async move { Ok(Box::new(Damaged(connected.await?)) as Box<dyn Stream>) })
    }
}

impl AsyncRead for Damaged {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut *self.0).poll_read(context, buffer);
        let new = &mut buffer.filled_mut()[before..];
        if let Some(found) = new.windows(MARK.len()).position(|window| window == MARK) {
            new[found] ^= 1;
        }
        read
    }
}

impl AsyncWrite for Damaged {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}
