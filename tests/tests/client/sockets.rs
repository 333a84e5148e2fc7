//! The client over real sockets, on a thread of its own and in real time, against whatever else may
//! stand at the address of a broker: a typed error that says what to do, and no busy loop.

use crate::support::SECOND;
use evenkeel::{Consumer, PollError};
use evenkeel_tests::validated::{Validated, recorded};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What is done to whoever connects.
#[derive(Clone, Copy, Debug)]
enum Manners {
    /// Sent away at once.
    Closes,
    /// Sent away when it has said something.
    ClosesOnRequest,
    /// Listened to in silence.
    Silent,
    /// Not even taken off the listener's queue.
    Deaf,
    /// Answered with this, whatever it says; then sent away.
    Says(&'static [u8]),
    /// Answered with this, and kept.
    SaysAndStays(&'static [u8]),
}

/// A listener that is no broker, for as long as it lives.
struct Peer {
    listener: Arc<TcpListener>,
    connects: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Peer {
    fn with(manners: Manners) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let (connects, over) = (Arc::default(), Arc::default());
        let peer = Self { listener: Arc::new(listener), connects, over };
        if !matches!(manners, Manners::Deaf) {
            let accepting = peer.accept(manners);
            thread::spawn(accepting);
        }
        peer
    }

    fn accept(&self, manners: Manners) -> impl FnOnce() + Send + 'static {
        let listener = Arc::clone(&self.listener);
        let (count, over) = (Arc::clone(&self.connects), Arc::clone(&self.over));
        move || {
            while let Ok((stream, _)) = listener.accept()
                && !over.load(Ordering::Relaxed)
            {
                count.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || serve(manners, stream));
            }
        }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes whoever accepts; nothing depends on whether it comes through.
        let _ = TcpStream::connect_timeout(&self.address(), SECOND);
    }
}

fn serve(manners: Manners, mut stream: TcpStream) {
    let mut heard = [0; 1024];
    if matches!(manners, Manners::Closes) {
        return;
    }
    while let Ok(1..) = stream.read(&mut heard) {
        match manners {
            Manners::Silent | Manners::Deaf => {}
            Manners::Closes | Manners::ClosesOnRequest => return,
            Manners::Says(text) => {
                // The client may have hung up already; then nobody misses it.
                let _ = stream.write_all(text);
                return;
            }
            Manners::SaysAndStays(text) if stream.write_all(text).is_ok() => {}
            Manners::SaysAndStays(_) => return,
        }
    }
}

/// What a consumer saw within some seconds of polling.
struct Seen {
    errors: Vec<PollError>,
    /// How often its background was woken beside its own polls.
    wakes: u64,
}

/// Polls `address` for [`WATCHED`]; the consumer has its own thread and the clock is real.
fn poll(address: SocketAddr) -> Seen {
    let builder = Consumer::builder()
        .bootstrap_servers(address.to_string())
        .group_id("g")
        .property("default.api.timeout.ms", "1000")
        .property("request.timeout.ms", "750");
    let mut consumer = recorded(builder).build().expect("valid, outside of any runtime");
    let application = tokio::runtime::Builder::new_current_thread().enable_all().build();
    application.expect("a runtime").block_on(async {
        consumer.subscribe(["t"]).await.expect("subscribed");
        let (mut errors, mut polls) = (Vec::new(), 0);
        let end = Instant::now() + WATCHED;
        while Instant::now() < end {
            polls += 1;
            match consumer.poll(Duration::from_millis(500)).await {
                Ok(records) => assert!(records.is_empty()),
                Err(error) => errors.push(error),
            }
        }
        let wakes = consumer.background_turns().saturating_sub(2 * polls + 1);
        let start = Instant::now();
        consumer.close(SECOND).await;
        assert!(start.elapsed() < 10 * SECOND, "close is bounded: {:?}", start.elapsed());
        Seen { errors, wakes }
    })
}

fn assert_named(what: &str, address: SocketAddr, seen: &Seen, connects: Option<u64>, hint: &str) {
    eprintln!("{what}: {} errors, {} wakes, {connects:?} connects", seen.errors.len(), seen.wakes);
    assert!(!seen.errors.is_empty(), "{what}: it is told within {WATCHED:?}");
    for error in &seen.errors {
        assert!(matches!(error, PollError::NoBroker { tried } if tried.len() == 1), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("bootstrap.servers"), "{what}: {said}");
        assert!(said.contains(&address.to_string()), "{what}: {said}");
        assert!(said.contains(hint), "{what}: {said}");
    }
    // `reconnect.backoff.ms` doubles from 50 ms to a second: seven attempts in the first four
    // seconds. Each is a timer, a connection, an answer and an end; calls have deadlines besides.
    assert!(connects.is_none_or(|connects| connects <= CONNECTS_MAX), "{what}: {connects:?}");
    assert!(seen.wakes <= 5 * CONNECTS_MAX, "{what}: {} wakes", seen.wakes);
}

#[test]
fn a_port_where_nobody_listens_is_named_and_tried_at_a_measured_pace() {
    let _runs = Validated::begin();
    // Bound and let go: nobody else gets this port so soon.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let seen = poll(address);
    assert_named("nobody", address, &seen, None, "refused");
}

#[test]
fn whoever_closes_every_connection_is_named_and_tried_at_a_measured_pace() {
    let _runs = Validated::begin();
    for manners in [Manners::Closes, Manners::ClosesOnRequest] {
        meet(manners, "is this a Kafka listener?");
    }
}

#[test]
fn whoever_accepts_and_never_answers_is_named_after_the_request_timeout() {
    let _runs = Validated::begin();
    for manners in [Manners::Silent, Manners::Deaf] {
        meet(manners, "no answer within request.timeout.ms; is this a Kafka listener?");
    }
}

#[test]
fn an_http_port_is_named() {
    let _runs = Validated::begin();
    const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    meet(Manners::Says(ANSWER), "HTTP: is this a Kafka listener?");
    meet(Manners::SaysAndStays(ANSWER), "HTTP: is this a Kafka listener?");
}

#[test]
fn a_tls_port_is_named_with_what_to_use_instead() {
    let _runs = Validated::begin();
    // A fatal alert, "unexpected message" and "decode error": what TLS servers say to plain text.
    meet(Manners::Says(&[21, 3, 3, 0, 2, 2, 10]), "use a PLAINTEXT listener");
    meet(Manners::SaysAndStays(&[21, 3, 1, 0, 2, 2, 50]), "use a PLAINTEXT listener");
}

fn meet(manners: Manners, hint: &str) {
    let peer = Peer::with(manners);
    let seen = poll(peer.address());
    let connects = peer.connects.load(Ordering::Relaxed);
    assert!(connects > 1 || matches!(manners, Manners::Deaf), "it is tried again: {connects}");
    assert_named(&format!("{manners:?}"), peer.address(), &seen, Some(connects), hint);
}

/// How long each peer is polled.
const WATCHED: Duration = Duration::from_secs(4);
/// Twice as many attempts as the backoff allows within that time, since its jitter is random.
const CONNECTS_MAX: u64 = 20;
