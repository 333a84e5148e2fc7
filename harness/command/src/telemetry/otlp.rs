//! Delivery by OTLP over HTTP: a thread that posts spans in batches, and loses some rather than
//! hold up what it watches.

use super::super::output::complain;
use super::message::{Span, message};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Takes spans that are over.
#[derive(Debug)]
pub(super) struct Sender {
    queue: SyncSender<Option<Span>>,
    undelivered: Arc<AtomicU64>,
}

impl Sender {
    pub(super) fn send(&self, span: Span) {
        if self.queue.try_send(Some(span)).is_err() {
            self.undelivered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What posts the spans. When it is dropped it has posted everything, or says what it could not.
#[derive(Debug)]
pub(crate) struct Delivery {
    queue: SyncSender<Option<Span>>,
    thread: Option<JoinHandle<Option<String>>>,
    undelivered: Arc<AtomicU64>,
    /// Whoever waits for the end does not wait for a receiver that has failed since.
    ends: Arc<AtomicBool>,
}

#[cfg(test)]
impl Delivery {
    pub(super) fn undelivered(&self) -> &Arc<AtomicU64> {
        &self.undelivered
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // It fails only when the thread is gone.
        let _ = self.queue.send(None);
        let ended = self.thread.take().and_then(|thread| thread.join().ok());
        let undelivered = self.undelivered.load(Ordering::Relaxed);
        if undelivered > 0 {
            let reason = ended.flatten().unwrap_or_else(|| "they came too fast".to_owned());
            complain(&format_args!("{undelivered} spans were not delivered: {reason}"));
        }
    }
}

/// Begins to deliver to `endpoint`, the base address of an OTLP/HTTP receiver.
pub(super) fn start(endpoint: &str) -> Result<(Sender, Delivery), String> {
    let address = Address::read(endpoint)?;
    let (queue, spans) = sync_channel(QUEUE_MAX);
    let undelivered = Arc::new(AtomicU64::new(0));
    let (failed, ends) = (Arc::clone(&undelivered), Arc::new(AtomicBool::new(false)));
    let ending = Arc::clone(&ends);
    let thread = std::thread::Builder::new()
        .name("otlp".into())
        .spawn(move || deliver(&address, &spans, &failed, &ending))
        .map_err(|error| format!("no thread for the exporter: {error}"))?;
    let sender = Sender { queue: queue.clone(), undelivered: Arc::clone(&undelivered) };
    Ok((sender, Delivery { queue, thread: Some(thread), undelivered, ends }))
}

/// Posts batches until it is told to end; the last reason why one was not taken.
fn deliver(
    address: &Address,
    spans: &Receiver<Option<Span>>,
    undelivered: &AtomicU64,
    ends: &AtomicBool,
) -> Option<String> {
    let service = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    let service = service.unwrap_or_else(|| SERVICE.to_owned());
    let mut reason = None;
    let (mut goes_on, mut gave_up) = (true, false);
    while goes_on {
        let mut batch = Vec::new();
        let due = Instant::now() + BATCH_WAIT_MAX;
        while batch.len() < BATCH_MAX {
            match spans.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Some(span)) => batch.push(span),
                Err(RecvTimeoutError::Timeout) => break,
                Ok(None) | Err(RecvTimeoutError::Disconnected) => {
                    goes_on = false;
                    break;
                }
            }
        }
        let count = batch.len() as u64;
        let is_lost = gave_up
            || (count > 0
                && address
                    .post(&message(batch, &service))
                    .inspect_err(|error| reason = Some(error.clone()))
                    .is_err());
        if is_lost {
            undelivered.fetch_add(count, Ordering::Relaxed);
            gave_up = ends.load(Ordering::Relaxed);
        }
    }
    reason
}

/// Where spans are posted to.
#[derive(Debug, Eq, PartialEq)]
struct Address {
    host: String,
    path: String,
}

impl Address {
    /// Reads `http://host[:port][/path]`, to which `/v1/traces` is added (OTLP exporter
    /// specification, "Endpoint URLs for OTLP/HTTP").
    fn read(endpoint: &str) -> Result<Self, String> {
        let rest = endpoint.strip_prefix("http://").ok_or_else(|| {
            format!("OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}: only http:// is spoken")
        })?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '@') {
            return Err(format!("OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}: no host in it"));
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let host = if has_port { host.to_owned() } else { format!("{host}:{PORT}") };
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { host, path: format!("{path}/v1/traces") })
    }

    /// One POST over a connection of its own.
    fn post(&self, body: &str) -> Result<(), String> {
        let answer = self.try_post(body).map_err(|error| format!("{}: {error}", self.host))?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if status.starts_with('2') {
            return Ok(());
        }
        let first = answer.lines().next().unwrap_or("nothing");
        Err(format!(
            "{} answered {first:?}; OTLP over HTTP is spoken, usually on port {PORT}",
            self.host
        ))
    }

    fn try_post(&self, body: &str) -> std::io::Result<String> {
        let none = || std::io::Error::other("no such host");
        let address = self.host.to_socket_addrs()?.next().ok_or_else(none)?;
        let mut stream = TcpStream::connect_timeout(&address, IO_MAX)?;
        stream.set_read_timeout(Some(IO_MAX))?;
        stream.set_write_timeout(Some(IO_MAX))?;
        let (host, path, length) = (&self.host, &self.path, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = vec![0; ANSWER_MAX];
        let mut filled = 0;
        // The first line says all.
        while filled < ANSWER_MAX && !answer[..filled].contains(&b'\n') {
            match stream.read(&mut answer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(String::from_utf8_lossy(&answer[..filled]).into_owned())
    }
}

/// Not zero, and different in each process and each call.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(CALLS.fetch_add(1, Ordering::Relaxed)).max(1)
}

/// What the client's spans are filed under where `OTEL_SERVICE_NAME` says nothing else.
const SERVICE: &str = "client";
static CALLS: AtomicU64 = AtomicU64::new(0);
/// OTLP over HTTP.
const PORT: u16 = 4318;
/// Spans that wait for delivery: some seconds of a busy consumer's requests.
const QUEUE_MAX: usize = 65_536;
/// Spans in one message: some 300 KiB.
const BATCH_MAX: usize = 512;
const BATCH_WAIT_MAX: Duration = Duration::from_millis(500);
/// The longest that connecting, writing or reading may take: a receiver that hangs must not keep
/// the command from ending.
const IO_MAX: Duration = Duration::from_secs(2);
/// Bytes of an answer that are looked at.
const ANSWER_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn an_endpoint_is_read_as_the_specification_says() {
        let read = |endpoint: &str| {
            let address = Address::read(endpoint).expect("it is well formed");
            (address.host, address.path)
        };
        let (plain, nested) = (read("http://jaeger"), read("http://c:4000/otlp/"));
        assert_eq!(plain, ("jaeger:4318".to_owned(), "/v1/traces".to_owned()));
        assert_eq!(nested, ("c:4000".to_owned(), "/otlp/v1/traces".to_owned()));
    }

    #[test]
    fn an_endpoint_that_cannot_be_spoken_to_is_refused_by_name() {
        for endpoint in ["https://jaeger", "jaeger:4317", "http://", "http:///v1"] {
            let error = Address::read(endpoint).expect_err("it is refused");
            assert!(error.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{error}");
        }
    }
}
