//! Other people's clients as members of a group: librdkafka (by its Python binding) and franz-go.
//!
//! Both are fetched by their own package managers from pinned lock files under `tests/foreign`,
//! built on demand into the target directory, and print the events of Kafka's
//! `VerifiableConsumer`.

use crate::process::{Process, ProcessError};
use crate::setup::{self, SetupError};
use crate::workspace;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A foreign consumer that speaks KIP-848, ready to run.
#[derive(Clone, Debug)]
pub struct Foreign {
    name: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
}

impl Foreign {
    /// librdkafka 2.16.0 through PyPI `confluent-kafka`, in a virtual environment of its own.
    ///
    /// # Errors
    /// [`SetupError::Missing`] without Python 3 or its `venv`, [`SetupError::Failed`] when pip
    /// cannot install the pinned version.
    pub fn librdkafka() -> Result<Self, SetupError> {
        static READY: OnceLock<Result<Foreign, SetupError>> = OnceLock::new();
        READY.get_or_init(install_librdkafka).clone()
    }

    /// franz-go 1.22.2, compiled by Go.
    ///
    /// # Errors
    /// [`SetupError::Missing`] without Go, [`SetupError::Failed`] when it does not build.
    pub fn franz_go() -> Result<Self, SetupError> {
        static READY: OnceLock<Result<Foreign, SetupError>> = OnceLock::new();
        READY.get_or_init(build_franz_go).clone()
    }

    /// Starts it as a member of `group` that reads `topic` from the beginning and commits what it
    /// read; its log is `<member>.log` in `dir`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        &self,
        bootstrap: &str,
        group: &str,
        topic: &str,
        dir: &Path,
    ) -> Result<Process, ProcessError> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).args([bootstrap, group, topic]);
        Process::spawn(self.name, &mut command, &dir.join(format!("{}.log", self.name)))
    }

    /// Its name in logs.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }
}

fn install_librdkafka() -> Result<Foreign, SetupError> {
    let sources = workspace::tests_dir().join("foreign/librdkafka");
    let lock = sources.join("requirements.txt");
    let probe = ["-c", "import venv, ensurepip; print('ok')"];
    setup::require("python3", &probe, "librdkafka (PyPI confluent-kafka)")?;
    let venv = foreign_dir().join(format!("librdkafka-{}", fingerprint(&lock)?));
    setup::once(&venv, |partial| {
        let mut create = Command::new("python3");
        create.args(["-m", "venv", "--copies"]).arg(partial);
        setup::run("creating a virtual environment", &mut create)?;
        let mut install = Command::new(partial.join("bin/python3"));
        install.args(["-m", "pip", "install", "-q", "--disable-pip-version-check"]);
        install.args(["--require-hashes", "--only-binary=:all:", "-r"]).arg(&lock);
        setup::run("installing confluent-kafka", &mut install).map(|_| ())
    })?;
    let args = vec![sources.join("consumer.py").into_os_string()];
    Ok(Foreign { name: "librdkafka", program: venv.join("bin/python3"), args })
}

fn build_franz_go() -> Result<Foreign, SetupError> {
    let sources = workspace::tests_dir().join("foreign/franz-go");
    setup::require("go", &["version"], "franz-go")?;
    let dir = foreign_dir();
    std::fs::create_dir_all(&dir)
        .map_err(|error| SetupError::failed("building franz-go", &error))?;
    let program = dir.join("franz-go");
    // Go's own cache decides what is to be done; -mod=readonly holds it to go.sum.
    let mut build = Command::new("go");
    build.current_dir(&sources).args(["build", "-mod=readonly", "-buildvcs=false", "-o"]);
    setup::run("building franz-go", build.arg(&program).arg("."))?;
    Ok(Foreign { name: "franz-go", program, args: Vec::new() })
}

fn foreign_dir() -> PathBuf {
    workspace::target_dir().join("foreign")
}

/// Tells one content of the lock file from another: FNV-1a.
fn fingerprint(lock: &Path) -> Result<String, SetupError> {
    let step = format!("reading {}", lock.display());
    let bytes = std::fs::read(lock).map_err(|error| SetupError::failed(step, &error))?;
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Ok(format!("{hash:016x}"))
}
