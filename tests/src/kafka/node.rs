//! One node: its ports, its properties, its process.

use super::NODE_TIMEOUT;
use crate::process::{Process, ProcessError};
use crate::setup::{self, SetupError};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

/// The two ports of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// Where clients connect.
    pub(super) broker: u16,
    /// Where the controllers talk to each other.
    pub(super) controller: u16,
}

/// What the properties files of all nodes are made from.
pub(super) struct Properties<'a> {
    pub(super) dir: &'a Path,
    pub(super) ports: &'a [Ports],
    pub(super) settings: &'a [(String, String)],
    /// Loggers and their levels.
    pub(super) loggers: &'a [(String, String)],
}

impl Properties<'_> {
    /// Writes `node<id>.properties` of each node and the log configuration.
    pub(super) fn write(&self) -> Result<(), SetupError> {
        let failed = |error| SetupError::failed("writing Kafka's properties", &error);
        let mut log = LOG4J2.to_owned();
        for (n, (logger, level)) in self.loggers.iter().enumerate() {
            write!(log, "logger.l{n}.name = {logger}\nlogger.l{n}.level = {level}\n")
                .expect("a String takes everything");
        }
        std::fs::write(self.dir.join(LOG_CONFIG), log).map_err(failed)?;
        for id in 1..=self.ports.len() {
            let mut text = String::new();
            for (key, value) in self.of_node(id) {
                writeln!(text, "{key}={value}").expect("a String takes everything");
            }
            std::fs::write(properties_file(self.dir, id), text).map_err(failed)?;
        }
        Ok(())
    }

    fn of_node(&self, id: usize) -> BTreeMap<String, String> {
        let Ports { broker, controller } = self.ports[id - 1];
        let voters: Vec<String> = (1..)
            .zip(self.ports)
            .map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller))
            .collect();
        let (replicas, in_sync) = if self.ports.len() >= 3 { ("3", "2") } else { ("1", "1") };
        let mut all = BTreeMap::new();
        let mut set = |key: &str, value: String| all.insert(key.to_owned(), value);
        for (key, value) in SETTINGS {
            set(key, (*value).into());
        }
        set("node.id", id.to_string());
        set("controller.quorum.voters", voters.join(","));
        let client = format!("PLAINTEXT://127.0.0.1:{broker}");
        set("listeners", format!("{client},CONTROLLER://127.0.0.1:{controller}"));
        set("advertised.listeners", client);
        set("log.dirs", self.dir.join(format!("data{id}")).display().to_string());
        for topic in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
            set(&format!("{topic}.replication.factor"), replicas.into());
        }
        for topic in ["transaction.state.log", "share.coordinator.state.topic"] {
            set(&format!("{topic}.min.isr"), in_sync.into());
        }
        for (key, value) in self.settings {
            set(key, value.clone());
        }
        all
    }
}

/// A new folder in the temp dir.
pub(super) fn fresh_dir() -> Result<PathBuf, SetupError> {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("evenkeel-kafka-{}-{n}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)
        .map_err(|error| SetupError::failed(format!("creating {}", dir.display()), &error))?;
    Ok(dir)
}

/// Free ports for `nodes` nodes, from below the range out of which the operating system takes the
/// ports of outgoing connections: a node that restarts finds its port free.
pub(super) fn free_ports(nodes: usize) -> Result<Vec<Ports>, SetupError> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORT_LAST - PORT_FIRST;
    let start = u16::try_from(std::process::id() % 61).unwrap_or(0) * 180;
    let mut held = Vec::new();
    for _ in 0..span {
        if held.len() == 2 * nodes {
            break;
        }
        let port = PORT_FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % span;
        held.extend(TcpListener::bind(("127.0.0.1", port)).ok().map(|socket| (port, socket)));
    }
    let pairs = held.chunks_exact(2);
    let ports: Vec<Ports> =
        pairs.map(|pair| Ports { broker: pair[0].0, controller: pair[1].0 }).collect();
    if ports.len() == nodes {
        return Ok(ports);
    }
    Err(SetupError::failed("finding free ports", &format!("none in {PORT_FIRST}..{PORT_LAST}")))
}

/// Formats the data folder of node `id`.
pub(super) fn format(libs: &Path, dir: &Path, id: usize) -> Result<(), SetupError> {
    let mut command = java(libs, dir);
    command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]);
    setup::run("formatting Kafka's storage", command.arg(properties_file(dir, id))).map(|_| ())
}

/// Starts the process of node `id`.
pub(super) fn launch(libs: &Path, dir: &Path, id: usize) -> Result<Process, ProcessError> {
    let mut command = java(libs, dir);
    // JVM flags come before the class: java() ends with the class path.
    command.args(["-Xms256m", "-Xmx512m", "kafka.Kafka"]).arg(properties_file(dir, id));
    let name = format!("Kafka node {id}");
    Process::spawn(&name, &mut command, &dir.join(format!("node{id}.log")))
}

/// Waits until the node serves.
pub(super) fn await_serving(process: &mut Process) -> Result<(), ProcessError> {
    let serving = |line: &str| line.contains("Kafka Server started");
    process.await_line(0, "\"Kafka Server started\"", NODE_TIMEOUT, serving).map(|_| ())
}

/// `java` with Kafka's class path and the flags that let short runs start fast.
pub(super) fn java(libs: &Path, dir: &Path) -> Command {
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.arg(format!("-Dlog4j2.configurationFile={}", dir.join(LOG_CONFIG).display()));
    command.arg("-cp").arg(format!("{}/*", libs.display()));
    command
}

fn properties_file(dir: &Path, id: usize) -> PathBuf {
    dir.join(format!("node{id}.properties"))
}

/// Ports come from here to just below Linux' default `ip_local_port_range`.
const PORT_FIRST: u16 = 20_000;
const PORT_LAST: u16 = 32_000;

/// 16 bytes in Base64, as Kafka wants it. Clusters differ by their ports and folders.
const CLUSTER_ID: &str = "ZXZlbmtlZWwtdGVzdHMtMQ";

const LOG_CONFIG: &str = "log4j2.properties";

/// `KAFKA_LOG=DEBUG` shows the coordinator's reason for each epoch and fence.
const LOG4J2: &str = "\
rootLogger.level = ${env:KAFKA_LOG:-INFO}
rootLogger.appenderRef.c.ref = C
appender.c.type = Console
appender.c.name = C
appender.c.target = SYSTEM_ERR
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d{HH:mm:ss.SSS} %p %m (%c{1})%n
";

/// Kafka's broker settings, where a test wants others than the defaults.
const SETTINGS: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("controller.listener.names", "CONTROLLER"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    // Topics are made by the tests, as in production.
    ("auto.create.topics.enable", "false"),
    // Few partitions of Kafka's own: a node starts and fails over faster.
    ("offsets.topic.num.partitions", "3"),
    ("transaction.state.log.num.partitions", "3"),
    // Seconds instead of minutes until a silent member or node is noticed.
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "500"),
    ("group.consumer.min.session.timeout.ms", "500"),
    ("group.consumer.session.timeout.ms", "3000"),
    ("group.consumer.min.heartbeat.interval.ms", "100"),
    ("group.consumer.heartbeat.interval.ms", "500"),
    ("broker.session.timeout.ms", "3000"),
    ("broker.heartbeat.interval.ms", "500"),
    // Small machines: fewer threads and buffers than a server needs.
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
    ("log.cleaner.dedupe.buffer.size", "16777216"),
];
