//! Kafka's own programs: the command-line tools, and the clients made for system tests.

use super::{Kafka, node};
use crate::process::{Process, ProcessError};
use crate::setup::{self, SetupError};
use std::process::Command;

/// Kafka's `VerifiableConsumer`: which group, topic and protocol.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its name in logs.
    pub name: &'a str,
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// `consumer` (KIP-848) or `classic`.
    pub protocol: &'a str,
}

impl Kafka {
    /// A command that runs `class` of Kafka with its class path; arguments are the caller's.
    #[must_use]
    pub fn java(&self, class: &str) -> Command {
        let mut command = node::java(&self.libs, &self.dir);
        command.arg(class);
        command
    }

    /// Runs one of Kafka's tools against `bootstrap` to its end and returns its standard output.
    ///
    /// # Errors
    /// [`SetupError::Failed`] with the end of its output when it does not exit with 0.
    pub fn tool(&self, class: &str, bootstrap: &str, args: &[&str]) -> Result<String, SetupError> {
        let mut command = self.java(class);
        command.args(["--bootstrap-server", bootstrap]).args(args);
        setup::run(class, &mut command)
    }

    /// Creates `topic` with Kafka's `TopicCommand`, replicated on up to three nodes.
    ///
    /// # Errors
    /// As [`Kafka::tool`].
    pub fn create_topic(&self, topic: &str, partitions: u32) -> Result<(), SetupError> {
        let partitions = partitions.to_string();
        let replicas = self.nodes.len().min(3).to_string();
        let mut args = vec!["--create", "--topic", topic, "--partitions", &partitions];
        args.extend(["--replication-factor", &replicas]);
        self.tool(TOPIC_COMMAND, &self.bootstrap_servers(), &args).map(|_| ())
    }

    /// `ConsumerGroupCommand --describe` of `group` at `bootstrap`, with more arguments.
    ///
    /// # Errors
    /// As [`Kafka::tool`].
    pub fn describe_group(
        &self,
        bootstrap: &str,
        group: &str,
        args: &[&str],
    ) -> Result<String, SetupError> {
        let mut all = vec!["--describe", "--group", group];
        all.extend(args);
        self.tool(CONSUMER_GROUP_COMMAND, bootstrap, &all)
    }

    /// Writes `count` records of `size` bytes with `ProducerPerformance`, to all partitions in turn,
    /// and waits for it.
    ///
    /// # Errors
    /// [`SetupError::Failed`] when it does not exit with 0.
    pub fn produce(
        &self,
        bootstrap: &str,
        topic: &str,
        count: u64,
        size: u32,
    ) -> Result<String, SetupError> {
        let mut command = self.producer_performance(bootstrap, topic, count, size);
        command.args(["--throughput", "-1"]);
        setup::run("ProducerPerformance", &mut command)
    }

    /// Starts a `ProducerPerformance` that writes `count` records of `size` bytes to all partitions
    /// in turn, `throughput` records a second, and ends by itself.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn steady_producer(
        &self,
        bootstrap: &str,
        topic: &str,
        (count, size, throughput): (u64, u32, u64),
    ) -> Result<Process, ProcessError> {
        let mut command = self.producer_performance(bootstrap, topic, count, size);
        // Appended to the list of properties: fewer and larger batches, as a busy producer has them.
        command.args(["linger.ms=50", "--throughput", &throughput.to_string()]);
        Process::spawn("ProducerPerformance", &mut command, &self.dir.join("producer-perf.log"))
    }

    fn producer_performance(&self, bootstrap: &str, topic: &str, count: u64, size: u32) -> Command {
        let mut command = self.java("org.apache.kafka.tools.ProducerPerformance");
        command.args(["--topic", topic, "--num-records", &count.to_string()]);
        command.args(["--record-size", &size.to_string()]);
        command.args(["--bootstrap-server", bootstrap, "--command-property", "acks=all"]);
        // The default one fills a batch before it goes to another partition: a short run reaches one.
        command.arg(format!("partitioner.class={ROUND_ROBIN}"));
        command
    }

    /// Starts a `VerifiableProducer` that writes the numbers from 0 to `count` as values and prints
    /// `producer_send_success` events and a `tool_data` event at its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn verifiable_producer(
        &self,
        bootstrap: &str,
        topic: &str,
        count: u64,
    ) -> Result<Process, ProcessError> {
        let mut command = self.java("org.apache.kafka.tools.VerifiableProducer");
        command.args(["--bootstrap-server", bootstrap, "--topic", topic]);
        command.args(["--max-messages", &count.to_string()]);
        Process::spawn("VerifiableProducer", &mut command, &self.dir.join("producer.log"))
    }

    /// Starts a `VerifiableConsumer`; its events are those of the command `evenkeel consume
    /// --events`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn verifiable_consumer(
        &self,
        bootstrap: &str,
        member: Member<'_>,
    ) -> Result<Process, ProcessError> {
        let mut command = self.java("org.apache.kafka.tools.VerifiableConsumer");
        command.args(["--bootstrap-server", bootstrap, "--topic", member.topic]);
        command.args(["--group-id", member.group, "--group-protocol", member.protocol]);
        command.args(["--reset-policy", "earliest"]);
        let log = self.dir.join(format!("{}.log", member.name));
        Process::spawn(member.name, &mut command, &log)
    }
}

const ROUND_ROBIN: &str = "org.apache.kafka.clients.producer.RoundRobinPartitioner";
const TOPIC_COMMAND: &str = "org.apache.kafka.tools.TopicCommand";
const CONSUMER_GROUP_COMMAND: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
