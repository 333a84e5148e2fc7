//! Runs the command as a child process that does not outlive its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a command that has ended left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the command to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    Child::start(args).wait()
}

/// A running command.
#[derive(Debug)]
pub(crate) struct Child {
    child: std::process::Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Child {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(args);
        Self::of(command)
    }

    /// Its number among the system's processes.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// One that is started in a way of its own.
    pub(crate) fn of(mut command: Command) -> Self {
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut err = child.stderr.take().expect("it is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines() {
                let sent = line.map(|line| sender.send(line));
                if !matches!(sent, Ok(Ok(()))) {
                    break;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).expect("complaints are text");
            text
        });
        Self { child, lines, errors: Some(errors) }
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            // What it complained of can be read once it is gone.
            self.child.kill().expect("it can be killed");
            panic!("no further line; it complained: {}", self.errors())
        })
    }

    /// Sends SIGTERM ("TERM") or SIGINT ("INT").
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.expect("kill runs").success(), "the command is gone already");
    }

    /// The rest of its output, once it has ended by itself.
    pub(crate) fn wait(mut self) -> Ended {
        let mut out = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => out.push_str(&format!("{line}\n")),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    self.child.kill().expect("it can be killed");
                    panic!("it does not end; it complained: {}", self.errors());
                }
            }
        }
        let status = self.child.wait().expect("it has ended");
        let code = status.code().expect("no signal has killed it");
        Ended { code, out, err: self.errors() }
    }

    fn errors(&mut self) -> String {
        let errors = self.errors.take().expect("asked once");
        errors.join().expect("complaints can be read")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // One that has ended already refuses to be killed; that is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long a child may say nothing before its test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
