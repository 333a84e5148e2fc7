//! The command as a child process, and a browser of few words.

use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A running command, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    child: std::process::Child,
    complaints: Receiver<String>,
}

impl Child {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(args).env_remove("RUST_LOG").env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, complaints) = channel();
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, complaints }
    }

    /// What follows these words on standard error, once they are said.
    pub(crate) fn told(&mut self, words: &str) -> String {
        loop {
            let line = self.complaints.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it does not say {words:?}"));
            if let Some((_, rest)) = line.split_once(words) {
                return rest.to_owned();
            }
        }
    }

    /// Sends SIGTERM ("TERM") or SIGINT ("INT").
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.expect("kill runs").success(), "the command is gone already");
    }

    /// Its exit code, once it has ended by itself.
    pub(crate) fn code(mut self) -> i32 {
        while let Ok(line) = self.complaints.recv_timeout(PATIENCE) {
            assert!(!line.contains("panicked"), "{line}");
        }
        self.child.wait().expect("it has ended").code().expect("no signal has killed it")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // One that has ended already refuses to be killed; that is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) fn get(address: &str, path: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

/// Posts JSON.
pub(crate) fn post(address: &str, path: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let kind = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    ask(address, &format!("{head}{kind}{body}"))
}

fn ask(address: &str, request: &str) -> Answer {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port: u16 = port.expect("the address has a port");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("it is HTTP");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.expect("it has a status"), body: body.to_owned() }
}

/// How long a child may say nothing before its test fails: one without optimizations that explores
/// on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
