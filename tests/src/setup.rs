//! Why a peer is not there: a tool is missing on this machine, or it is there and failed.

use std::path::Path;
use std::process::Command;

/// Why a peer could not be had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A tool that fetches or runs the peer is not installed here. Tests are ignored with this
    /// reason; under `CI=true` they fail.
    #[error("{tool} is missing: {reason}")]
    Missing {
        /// The program that was looked for.
        tool: String,
        /// What was tried and what it said.
        reason: String,
    },
    /// The tool is there, but fetching, building or starting the peer failed. Tests fail.
    #[error("{step} failed: {detail}")]
    Failed {
        /// What was being done.
        step: String,
        /// What it said.
        detail: String,
    },
}

impl SetupError {
    /// `step` failed with `detail`.
    pub fn failed(step: impl Into<String>, detail: &(impl std::fmt::Display + ?Sized)) -> Self {
        Self::Failed { step: step.into(), detail: detail.to_string() }
    }
}

/// Whether a missing tool is a failure (`CI=true`) rather than a reason to ignore a test.
#[must_use]
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Runs `command` to its end and returns its standard output.
///
/// # Errors
/// [`SetupError::Missing`] when its program does not exist, [`SetupError::Failed`] with the end of
/// what it printed when it does not exit with 0.
pub fn run(step: &str, command: &mut Command) -> Result<String, SetupError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let reason = format!("{step} needs it ({error})");
            return Err(SetupError::Missing { tool, reason });
        }
        Err(error) => return Err(SetupError::failed(step, &error)),
    };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let said = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Err(SetupError::failed(step, &format!("{}: {}", output.status, tail(&said, TAIL_LINES))))
}

/// Checks that `program args` runs at all.
///
/// # Errors
/// [`SetupError::Missing`] with `needed_for` when it cannot be started or does not exit with 0.
pub fn require(program: &str, args: &[&str], needed_for: &str) -> Result<String, SetupError> {
    run(needed_for, Command::new(program).args(args)).map_err(|error| match error {
        SetupError::Failed { detail, .. } => SetupError::Missing {
            tool: program.into(),
            reason: format!("{needed_for} needs it, but it does not run: {detail}"),
        },
        missing @ SetupError::Missing { .. } => missing,
    })
}

/// Fills the folder `dir` by `fill`, once and atomically: `fill` works in a folder of its own that
/// is then renamed, so that an interrupted or a concurrent run leaves no half of it.
///
/// # Errors
/// What `fill` says, or [`SetupError::Failed`] when the file system refuses.
pub fn once(
    dir: &Path,
    fill: impl FnOnce(&Path) -> Result<(), SetupError>,
) -> Result<(), SetupError> {
    if dir.is_dir() {
        return Ok(());
    }
    let step = format!("creating {}", dir.display());
    let parent = dir.parent().ok_or_else(|| SetupError::failed(&step, "it has no parent"))?;
    std::fs::create_dir_all(parent).map_err(|error| SetupError::failed(&step, &error))?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let partial = parent.join(format!(".{name}.{}", std::process::id()));
    let filled = fill(&partial).and_then(|()| match std::fs::rename(&partial, dir) {
        Err(_) if dir.is_dir() => Ok(()),
        renamed => renamed.map_err(|error| SetupError::failed(&step, &error)),
    });
    // Best effort: a leftover is only disk space, and the error that matters is `filled`'s.
    let _ = std::fs::remove_dir_all(&partial);
    filled
}

/// The last `lines` lines of `text`.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// How much of a failed tool's output is worth a reader's time.
const TAIL_LINES: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_exist_is_missing_and_not_failed() {
        let error = run("the test", &mut Command::new("evenkeel-no-such-program"));
        assert!(matches!(error, Err(SetupError::Missing { .. })), "{error:?}");
    }

    #[test]
    fn a_program_that_exits_with_an_error_is_failed_and_says_what_it_printed() {
        let error = run("the test", Command::new("sh").args(["-c", "echo why >&2; exit 3"]));
        let text = error.expect_err("it exits with 3").to_string();
        assert!(text.contains("the test failed") && text.contains("why"), "{text}");
    }

    #[test]
    fn a_folder_whose_filling_fails_is_not_there_afterwards() {
        let dir = std::env::temp_dir().join(format!("evenkeel-once-{}", std::process::id()));
        let failed = once(&dir, |partial| {
            std::fs::create_dir_all(partial).expect("a temp dir can be made");
            Err(SetupError::failed("filling", "on purpose"))
        });
        assert!(failed.is_err() && !dir.exists());
        once(&dir, |partial| {
            std::fs::create_dir_all(partial).map_err(|e| SetupError::failed("filling", &e))
        })
        .expect("the second filling works");
        assert!(dir.is_dir());
        std::fs::remove_dir_all(&dir).expect("it was just made");
    }
}
