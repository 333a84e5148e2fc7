//! evenkeel as a member of a group in a process of its own, so that a test can kill it: arguments
//! `BOOTSTRAP GROUP TOPIC [record=FILE] [key=value]…`, events on standard output, SIGTERM closes.

use evenkeel_tests::member::{self, Settings};
use std::io::Write;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(settings) = settings(std::env::args().skip(1)) else {
        return fail("usage: evenkeel-member BOOTSTRAP GROUP TOPIC [key=value]…");
    };
    let mut terminated = match signal(SignalKind::terminate()) {
        Ok(terminated) => terminated,
        Err(error) => return fail(&error.to_string()),
    };
    let stop = async move {
        terminated.recv().await;
    };
    let say = |event: serde_json::Value| {
        let mut out = std::io::stdout().lock();
        // Who does not read any more is gone, and so will be this process.
        let _ = writeln!(out, "{event}").and_then(|()| out.flush());
    };
    match member::consume(&settings, say, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn settings(mut args: impl Iterator<Item = String>) -> Option<Settings> {
    let mut settings = Settings::new(&args.next()?, &args.next()?);
    settings.topic = args.next()?;
    for arg in args {
        let (key, value) = arg.split_once('=')?;
        if key == "record" {
            settings.record = Some(value.into());
            continue;
        }
        settings = settings.property(key, value);
    }
    Some(settings)
}

fn fail(why: &str) -> ExitCode {
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{why}");
    ExitCode::FAILURE
}
