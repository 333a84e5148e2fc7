//! Apache Kafka on loopback: one JVM a node, combined broker and controller (KRaft).
//!
//! The jars come from Maven ([`install`]); nodes and tools are children that die with the test.
//! Timeouts are shorter than Kafka's defaults (`node.rs`), so that a test waits seconds.

pub mod install;
mod node;
mod tools;

pub use tools::Member;

use crate::process::{Process, ProcessError, Signal};
use crate::setup::SetupError;
use node::{Ports, Properties};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running cluster of Apache Kafka. Dropping it kills its nodes and deletes their data, unless
/// `EVENKEEL_KEEP` is set.
#[derive(Debug)]
pub struct Kafka {
    libs: PathBuf,
    dir: PathBuf,
    ports: Vec<Ports>,
    nodes: Vec<Option<Process>>,
}

/// What a cluster shall be like.
#[derive(Clone, Debug)]
pub struct Builder {
    nodes: usize,
    settings: Vec<(String, String)>,
    loggers: Vec<(String, String)>,
}

impl Builder {
    /// How many nodes; from three on, topics of Kafka's own are replicated three times.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// A broker setting by Kafka's name; replaces the one of `node.rs`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// What a logger of the brokers writes into their logs: `kafka.request.logger` at `DEBUG` writes
    /// a line for each request.
    #[must_use]
    pub fn log(mut self, logger: &str, level: &str) -> Self {
        self.loggers.push((logger.into(), level.into()));
        self
    }

    /// Fetches the jars if they are not there, formats and starts all nodes, and waits until each
    /// serves.
    ///
    /// # Errors
    /// [`SetupError::Missing`] without Java 17 or Maven, [`SetupError::Failed`] when a node does
    /// not start (with the end of its log).
    pub fn start(self) -> Result<Kafka, SetupError> {
        let libs = install::libs()?;
        let dir = node::fresh_dir()?;
        let ports = node::free_ports(self.nodes)?;
        let properties = Properties {
            dir: &dir,
            ports: &ports,
            settings: &self.settings,
            loggers: &self.loggers,
        };
        properties.write()?;
        for id in 1..=self.nodes {
            node::format(&libs, &dir, id)?;
        }
        let nodes = (0..self.nodes).map(|_| None).collect();
        let mut kafka = Kafka { libs, dir, ports, nodes };
        let failed = |error: ProcessError| SetupError::failed("starting Apache Kafka", &error);
        // All first, then wait: a quorum needs the others.
        let launched: Result<Vec<Process>, ProcessError> =
            (1..=kafka.nodes.len()).map(|id| node::launch(&kafka.libs, &kafka.dir, id)).collect();
        for (slot, process) in kafka.nodes.iter_mut().zip(launched.map_err(failed)?) {
            *slot = Some(process);
        }
        for process in kafka.nodes.iter_mut().flatten() {
            node::await_serving(process).map_err(failed)?;
        }
        Ok(kafka)
    }
}

impl Kafka {
    /// One node with the settings of `node.rs`.
    #[must_use]
    pub fn builder() -> Builder {
        Builder { nodes: 1, settings: Vec::new(), loggers: Vec::new() }
    }

    /// `host:port` of each node, separated by commas.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        let addresses: Vec<String> = (1..=self.nodes.len()).map(|id| self.address(id)).collect();
        addresses.join(",")
    }

    /// `host:port` of node `id`, from 1.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn address(&self, id: usize) -> String {
        format!("127.0.0.1:{}", self.ports[id - 1].broker)
    }

    /// The folder with the nodes' logs and data.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts node `id` again after [`Kafka::kill_node`] or [`Kafka::stop_node`], and waits until
    /// it serves.
    ///
    /// # Errors
    /// When it does not start within half a minute.
    ///
    /// # Panics
    /// When it is running.
    pub fn start_node(&mut self, id: usize) -> Result<(), ProcessError> {
        assert!(self.nodes[id - 1].is_none(), "node {id} is running");
        let mut process = node::launch(&self.libs, &self.dir, id)?;
        node::await_serving(&mut process)?;
        self.nodes[id - 1] = Some(process);
        Ok(())
    }

    /// Kills node `id` (SIGKILL).
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill_node(&mut self, id: usize) {
        drop(self.nodes[id - 1].take().expect("the node is running"));
    }

    /// Stops node `id` properly: it hands its partitions over first.
    ///
    /// # Errors
    /// When it has not ended within half a minute; it is killed then.
    ///
    /// # Panics
    /// When it is not running.
    pub fn stop_node(&mut self, id: usize) -> Result<(), ProcessError> {
        let mut process = self.nodes[id - 1].take().expect("the node is running");
        let name = process.name().to_owned();
        process
            .signal(Signal::Term)
            .map_err(|error| ProcessError::NotStarted { name, detail: error.to_string() })?;
        process.await_exit(NODE_TIMEOUT).map(|_| ())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.nodes.clear();
        if std::env::var_os("EVENKEEL_KEEP").is_none() {
            // Best effort: what stays is a folder in the temp dir.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// A node on two busy cores starts in seconds; this is for a machine ten times slower.
const NODE_TIMEOUT: Duration = Duration::from_secs(60);
