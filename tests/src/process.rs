//! A child process whose lines are read as they come, and which dies with the test.
//!
//! Dying with the test: beside each child a guardian shell waits on a pipe that only this process
//! holds. However this process ends, the pipe closes and the guardian kills the child.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A running child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    guardian: Child,
    output: Arc<Output>,
    log: PathBuf,
}

/// Why a process did not do what was waited for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It could not be started.
    #[error("{name} did not start: {detail}")]
    NotStarted {
        /// The process.
        name: String,
        /// What the operating system said.
        detail: String,
    },
    /// It ended before it printed what was waited for.
    #[error("{name} ended ({status}) before {awaited}; its last lines:\n{tail}")]
    Ended {
        /// The process.
        name: String,
        /// How it ended.
        status: String,
        /// What was waited for.
        awaited: String,
        /// The end of its log.
        tail: String,
    },
    /// It printed nothing of the kind within the time given.
    #[error("{name}: no {awaited} within {waited:?}; its last lines:\n{tail}")]
    TimedOut {
        /// The process.
        name: String,
        /// What was waited for.
        awaited: String,
        /// How long.
        waited: Duration,
        /// The end of its log.
        tail: String,
    },
}

/// A signal that a test sends to a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// Asks it to end properly.
    Term,
    /// Ends it at once.
    Kill,
    /// Stops it where it is: to its peers it is silent, not gone.
    Stop,
    /// Lets it go on after [`Signal::Stop`].
    Continue,
}

impl Process {
    /// Starts `command`; its standard output and error are appended to the file `log`.
    ///
    /// # Errors
    /// [`ProcessError::NotStarted`].
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self, ProcessError> {
        let not_started = |detail: String| ProcessError::NotStarted { name: name.into(), detail };
        let file = File::options().create(true).append(true).open(log);
        let file = file.map_err(|error| not_started(format!("{}: {error}", log.display())))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| not_started(error.to_string()))?;
        let guardian = guard(child.id()).map_err(|error| {
            // Nothing else would end it now; that it is already gone is as good.
            let _ = child.kill();
            not_started(format!("no guardian: {error}"))
        })?;
        let output = Arc::new(Output::default());
        output.lock().open = 2;
        let file = Arc::new(file);
        let stdout = child.stdout.take().expect("stdout was piped");
        let stderr = child.stderr.take().expect("stderr was piped");
        read_lines(stdout, Arc::clone(&output), Arc::clone(&file));
        read_lines(stderr, Arc::clone(&output), file);
        Ok(Self { name: name.into(), child, guardian, output, log: log.to_path_buf() })
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many lines it has printed so far: a mark from which to wait for later ones.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.output.lock().lines.len()
    }

    /// All JSON objects among its lines, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.output.lock().events.clone()
    }

    /// Looks at all JSON objects among its lines, in order.
    pub fn look<T>(&self, look: impl FnOnce(&[Value]) -> T) -> T {
        look(&self.output.lock().events)
    }

    /// Waits until one of its lines from `mark` on satisfies `wanted`; returns the mark behind it
    /// and the line.
    ///
    /// # Errors
    /// [`ProcessError::Ended`] and [`ProcessError::TimedOut`], both with the end of its log.
    pub fn await_line(
        &mut self,
        mark: usize,
        awaited: &str,
        timeout: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(usize, String), ProcessError> {
        let found = self.output.await_line(mark, timeout, &wanted);
        found.map_err(|open| {
            let status = self.status();
            self.failure(awaited, timeout, &open, &status)
        })
    }

    /// Waits until one of its JSON events from `mark` on satisfies `wanted`; returns the mark
    /// behind it and the event.
    ///
    /// # Errors
    /// As [`Process::await_line`].
    pub fn await_event(
        &mut self,
        mark: usize,
        awaited: &str,
        timeout: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<(usize, Value), ProcessError> {
        let is_wanted = |line: &str| event(line).is_some_and(|event| wanted(&event));
        let (mark, line) = self.await_line(mark, awaited, timeout, is_wanted)?;
        Ok((mark, event(&line).expect("the line was parsed a moment ago")))
    }

    /// Waits until `condition` holds, which is asked again after each line that any process prints
    /// and after each call of [`changed`].
    ///
    /// # Errors
    /// [`ProcessError::Ended`] when one of `processes` ends before, [`ProcessError::TimedOut`] with
    /// the end of the first one's log.
    pub fn await_all(
        processes: &[&Self],
        awaited: &str,
        timeout: Duration,
        condition: impl Fn() -> bool,
    ) -> Result<(), ProcessError> {
        let ended = || processes.iter().find(|process| process.output.lock().open == 0);
        // A process that has just ended may have brought about what is waited for.
        let found = until(timeout, || condition() || ended().is_some());
        match (condition(), ended()) {
            (true, _) => Ok(()),
            (false, Some(ended)) if found => {
                Err(ended.failure(awaited, timeout, &Open(false), "gone"))
            }
            _ => {
                let first = processes.first().expect("a wait is for some process");
                Err(first.failure(awaited, timeout, &Open(true), ""))
            }
        }
    }

    /// Waits until it has ended by itself and everything it printed is read.
    ///
    /// # Errors
    /// [`ProcessError::TimedOut`].
    pub fn await_exit(&mut self, timeout: Duration) -> Result<ExitStatus, ProcessError> {
        match self.output.await_line(usize::MAX, timeout, &|_| false) {
            Ok(_) => unreachable!("no line is wanted"),
            Err(open @ Open(true)) => Err(self.failure("exit", timeout, &open, "")),
            Err(Open(false)) => self.child.wait().map_err(|error| ProcessError::NotStarted {
                name: self.name.clone(),
                detail: error.to_string(),
            }),
        }
    }

    /// Whether it has closed its output, as it does when it ends.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.output.lock().open == 0
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// The operating system's, when the process is gone.
    pub fn signal(&self, signal: Signal) -> std::io::Result<()> {
        let name = match signal {
            Signal::Term => "TERM",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        let kill = format!("kill -{name} {}", self.child.id());
        let output = Command::new("sh").args(["-c", &kill]).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or_else(|| std::io::Error::other(said))
    }

    /// The end of what it printed.
    #[must_use]
    pub fn tail(&self) -> String {
        let state = self.output.lock();
        state.lines[state.lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// What to say when `awaited` did not come: from a process that is still `open`, or that ended.
    fn failure(&self, awaited: &str, waited: Duration, open: &Open, status: &str) -> ProcessError {
        let (name, awaited) = (self.name.clone(), awaited.to_owned());
        let tail = format!("{}\n(whole log: {})", self.tail(), self.log.display());
        match open {
            Open(true) => ProcessError::TimedOut { name, awaited, waited, tail },
            Open(false) => ProcessError::Ended { name, status: status.into(), awaited, tail },
        }
    }

    /// How it ended, as text for a failure.
    fn status(&mut self) -> String {
        match self.child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            Ok(None) => "its output is closed".into(),
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child first, while its id is certainly its own. A child that is already gone refuses
        // to be killed; there is nothing left to do about it then.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.guardian.kill();
        let _ = self.guardian.wait();
    }
}

/// Tells those who wait in [`Process::await_all`] that something beside a process's output changed.
pub fn changed() {
    *lock(&PRINTED.0) += 1;
    PRINTED.1.notify_all();
}

/// Waits until `condition` holds, which is asked again after each change; `false`: it did not in
/// time.
pub fn until(timeout: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        let seen = *lock(&PRINTED.0);
        if condition() {
            return true;
        }
        let printed = lock(&PRINTED.0);
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = PRINTED.1.wait_timeout_while(printed, left, |printed| *printed == seen);
        if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            return false;
        }
    }
}

/// What a process has printed; shared with the two threads that read it.
#[derive(Debug, Default)]
struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    /// The lines that are JSON objects.
    events: Vec<Value>,
    /// How many of the two streams have not ended.
    open: usize,
}

/// How many changes any process made to its output, for those who wait for several at once.
static PRINTED: (Mutex<u64>, Condvar) = (Mutex::new(0), Condvar::new());

/// A thread that panics while it holds one of these locks leaves its value whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the streams were still open when waiting ended.
#[derive(Debug)]
struct Open(bool);

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
        changed();
    }

    fn await_line(
        &self,
        mark: usize,
        timeout: Duration,
        wanted: &impl Fn(&str) -> bool,
    ) -> Result<(usize, String), Open> {
        let deadline = Instant::now() + timeout;
        let mut next = mark;
        let mut state = self.lock();
        loop {
            while next < state.lines.len() {
                next += 1;
                if wanted(&state.lines[next - 1]) {
                    return Ok((next, state.lines[next - 1].clone()));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.open == 0 || left.is_zero() {
                return Err(Open(state.open > 0));
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Reads `stream` to its end on a thread of its own.
fn read_lines(stream: impl Read + Send + 'static, output: Arc<Output>, log: Arc<File>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            // The log is for people; a full disk must not end the test.
            let _ = (&*log).write_all(format!("{line}\n").as_bytes());
            output.change(|state| {
                state.events.extend(event(&line));
                state.lines.push(line);
            });
        }
        output.change(|state| state.open -= 1);
    });
}

/// Starts the shell that kills process `id` once this process is gone.
fn guard(id: u32) -> std::io::Result<Child> {
    let script = format!("trap '' INT TERM HUP; read -r _; kill -KILL {id}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn()
}

fn event(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok().filter(Value::is_object)
}

/// How much of a process's output a failure shows.
const TAIL_LINES: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Process {
        let log = std::env::temp_dir().join(format!("evenkeel-process-{}.log", std::process::id()));
        Process::spawn("shell", Command::new("sh").args(["-c", script]), &log).expect("sh starts")
    }

    #[test]
    fn events_are_found_among_other_lines_and_only_behind_the_mark() {
        let mut shell = shell(r#"echo noise; echo '{"name":"a"}'; echo '{"name":"a","n":2}'"#);
        let is_a = |event: &Value| event["name"] == "a";
        let (mark, first) = shell.await_event(0, "a", SOON, is_a).expect("a is printed");
        assert!(first["n"].is_null());
        let (_, second) = shell.await_event(mark, "a", SOON, is_a).expect("a is printed twice");
        assert_eq!(second["n"], 2);
        assert_eq!(shell.events().len(), 2);
    }

    #[test]
    fn a_process_that_ends_early_is_told_with_its_status_and_last_lines() {
        let mut shell = shell("echo last words; exit 7");
        let error = shell.await_line(0, "never", SOON, |_| false).expect_err("it ends");
        assert!(error.to_string().contains("last words"), "{error}");
        assert_eq!(shell.await_exit(SOON).expect("it ended").code(), Some(7));
    }

    #[test]
    fn waiting_for_what_does_not_come_times_out() {
        let mut shell = shell("exec tail -f /dev/null");
        let error = shell.await_line(0, "x", Duration::from_millis(1), |_| false);
        assert!(matches!(error, Err(ProcessError::TimedOut { .. })), "{error:?}");
    }

    #[test]
    fn waiting_for_several_ends_with_the_last_and_fails_when_one_is_gone() {
        let (one, two) = (shell("echo 1; exec tail -f /dev/null"), shell("echo 2; exec sleep 600"));
        let both = [&one, &two];
        let lines = |process: &Process, n| process.mark() >= n;
        let spoken = || lines(&one, 1) && lines(&two, 1);
        Process::await_all(&both, "both lines", SOON, spoken).expect("both speak");
        two.signal(Signal::Kill).expect("it is there");
        let error = Process::await_all(&both, "more", SOON, || lines(&one, 2));
        assert!(matches!(error, Err(ProcessError::Ended { .. })), "{error:?}");
    }

    #[test]
    fn a_child_dies_when_the_pipe_to_its_guardian_closes() {
        let mut shell = shell("exec tail -f /dev/null");
        drop(shell.guardian.stdin.take());
        let status = shell.await_exit(SOON).expect("the guardian kills it");
        assert!(!status.success());
    }
}
