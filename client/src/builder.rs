//! How a consumer is configured.

use crate::background::Start;
use crate::config::{ConfigError, Properties};
use crate::consumer::Consumer;
use crate::net::transport::{Connector, Tcp};
use crate::recorder::Sink;
use crate::telemetry::{Links, Metrics};
use evenkeel_core::request::queue::Lane;
use evenkeel_core::request::{Counts, Kind};
use evenkeel_core::{CoordinatorConnection, OffsetReset};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Who is told what became of all requests.
pub(crate) type EndWatch = oneshot::Sender<BTreeMap<(Lane, Kind), Counts>>;

/// Configures a [`Consumer`]. Made by [`Consumer::builder`].
///
/// Every setter stands for one of Kafka's keys, which [`Self::property`] takes as well; the last
/// word on a key counts. Everything is checked by [`Self::build`]. Defaults are those of Apache
/// Kafka 4.3.1 (`ConsumerConfig`), except that `group.protocol` is `consumer`.
#[derive(Debug)]
#[must_use = "a builder does nothing until build"]
pub struct ConsumerBuilder {
    properties: Properties,
    connector: Arc<dyn Connector>,
    runtime: Option<Handle>,
    seed: Option<u64>,
    record: Option<Sink>,
    watch: Option<EndWatch>,
    links: Links,
    #[cfg(feature = "otel")]
    meter: Option<opentelemetry::metrics::Meter>,
    #[cfg(feature = "mutants")]
    requests_mutant: Option<evenkeel_core::request::Mutant>,
}

impl ConsumerBuilder {
    pub(crate) fn new() -> Self {
        Self {
            properties: Properties::default(),
            connector: Arc::new(Tcp),
            runtime: None,
            seed: None,
            record: None,
            watch: None,
            links: Links::No,
            #[cfg(feature = "otel")]
            meter: None,
            #[cfg(feature = "mutants")]
            requests_mutant: None,
        }
    }

    /// Any key by Kafka's name, with the value as text.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.set(key, value);
        self
    }

    /// `bootstrap.servers`: `host:port`, separated by commas. Must be given.
    pub fn bootstrap_servers(self, servers: impl Into<String>) -> Self {
        self.property("bootstrap.servers", servers)
    }

    /// `group.id`. Without one the consumer can only be [assigned](Consumer::assign) partitions, and
    /// commits nothing.
    pub fn group_id(self, group: impl Into<String>) -> Self {
        self.property("group.id", group)
    }

    /// `client.id`: what brokers log and set quotas by. Empty by default.
    pub fn client_id(self, client: impl Into<String>) -> Self {
        self.property("client.id", client)
    }

    /// `auto.offset.reset`: where to begin without a committed offset, or when it lies outside of
    /// the log. Latest by default.
    pub fn auto_offset_reset(self, reset: OffsetReset) -> Self {
        let text = match reset {
            OffsetReset::Earliest => "earliest".to_owned(),
            OffsetReset::Latest => "latest".to_owned(),
            OffsetReset::None => "none".to_owned(),
            OffsetReset::ByDuration(ms) => {
                format!("by_duration:PT{}.{:03}S", ms / 1000, ms % 1000)
            }
        };
        self.property("auto.offset.reset", text)
    }

    /// `enable.auto.commit`: commit what is released every `auto.commit.interval.ms`, before
    /// partitions are given up, and at the end. Records are released by the next poll, by
    /// unsubscribe and by close. On by default; without a `group.id` off, and an error if asked for.
    pub fn enable_auto_commit(self, enabled: bool) -> Self {
        self.property("enable.auto.commit", enabled.to_string())
    }

    /// `auto.commit.interval.ms`: 5 s by default.
    pub fn auto_commit_interval(self, interval: Duration) -> Self {
        self.milliseconds("auto.commit.interval.ms", interval)
    }

    /// `max.poll.records`: the most records that one poll returns; at least 1, 500 by default.
    pub fn max_poll_records(self, records_max: u32) -> Self {
        self.property("max.poll.records", records_max.to_string())
    }

    /// `max.poll.interval.ms`: the longest time between polls; a member that exceeds it leaves the
    /// group until it polls again. Also the rebalance timeout (KIP-848). 5 min by default.
    pub fn max_poll_interval(self, interval: Duration) -> Self {
        self.milliseconds("max.poll.interval.ms", interval)
    }

    /// `default.api.timeout.ms`: bounds each call that has no timeout of its own. 60 s by default.
    pub fn default_api_timeout(self, timeout: Duration) -> Self {
        self.milliseconds("default.api.timeout.ms", timeout)
    }

    /// `coordinator.connection`: whether the group's requests share the broker's one connection, as
    /// by default, or have one of their own, as in Kafka's consumer. Shared, a commit may wait for a
    /// fetch that the broker has parked, up to `fetch.max.wait.ms`; heartbeats never do.
    pub fn coordinator_connection(self, connection: CoordinatorConnection) -> Self {
        let text = match connection {
            CoordinatorConnection::Shared => "shared",
            CoordinatorConnection::Dedicated => "dedicated",
        };
        self.property("coordinator.connection", text)
    }

    /// `request.queue.max`: calls that wait for their outcome at once, over all tasks; one more fails
    /// with a retriable `QueueFull`. 2 to 1,048,576 (a commit in the middle of a stream
    /// takes two); 1,024 by default.
    pub fn request_queue_max(self, calls_max: u32) -> Self {
        self.property("request.queue.max", calls_max.to_string())
    }

    /// `in.flight.max`: requests of the application in flight on one connection; at least 1, 2 by
    /// default, so that what the consumer itself must send waits for no more than these.
    pub fn in_flight_max(self, requests_max: u32) -> Self {
        self.property("in.flight.max", requests_max.to_string())
    }

    /// `request.timeout.ms`: a broker that answers later is disconnected. More than
    /// `fetch.max.wait.ms`; 30 s by default.
    pub fn request_timeout(self, timeout: Duration) -> Self {
        self.milliseconds("request.timeout.ms", timeout)
    }

    /// `group.remote.assignor`: which of the brokers' assignors the member asks for.
    pub fn group_remote_assignor(self, assignor: impl Into<String>) -> Self {
        self.property("group.remote.assignor", assignor)
    }

    /// Runs the background as a task of this runtime, which must have I/O and time enabled, instead
    /// of a thread of its own. An application that blocks the runtime then blocks heartbeats too.
    pub fn spawn_on(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Connects by other means than TCP.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Arc::new(connector);
        self
    }

    /// Makes member ids and the jitter of backoffs reproducible: for replays. Two consumers of one
    /// group must not have the same seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Writes down the consumer's run as far as the group is concerned, as lines of JSON: what the
    /// application asks for and is told, and the group's requests and answers. `evenkeel validate`
    /// checks it against the machines that the model checker explores. Records are counted, not
    /// shown; names of topics, of the group and the notes of commits are shown.
    ///
    /// The background writes, and flushes, whatever one event leads to, before it goes on: a sink
    /// that blocks blocks heartbeats. One that fails is given up with a warning. Costs nothing
    /// where it is not asked for.
    pub fn record_run(mut self, sink: impl Write + Send + 'static) -> Self {
        self.record = Some(Sink::new(sink));
        self
    }

    /// Tells what became of all requests when the consumer has ended, also where it was dropped and
    /// nobody is given a report: for tests.
    #[doc(hidden)]
    pub fn watch_end(mut self, watch: EndWatch) -> Self {
        self.watch = Some(watch);
        self
    }

    /// Links the span of each poll to those of the records' producers, as far as their header
    /// `traceparent` names them (W3C Trace Context): at most 128 a poll. Off by default; on, and
    /// where somebody listens, each record's headers are looked at. See [`crate::telemetry`].
    pub fn link_producers(mut self, link: bool) -> Self {
        self.links = if link { Links::Producers } else { Links::No };
        self
    }

    /// Counts and times what the consumer does with instruments of this meter, under Kafka's names
    /// by KIP-714's rule: `org.apache.kafka.consumer.fetch.manager.records.lag`, for one. Every data
    /// point says `group_id` and `client_id`. Cargo feature `otel`; off by default. A background on a
    /// thread of its own does not wait for the meter, nor for who reads it: one more thread records
    /// what it measured, and `telemetry.untold.total` counts what that was too slow for.
    #[cfg(feature = "otel")]
    pub fn meter(mut self, meter: opentelemetry::metrics::Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Seeds a fault into the machine of requests: for benchmarks that compare.
    #[cfg(feature = "mutants")]
    #[doc(hidden)]
    pub fn requests_mutant(mut self, mutant: Option<evenkeel_core::request::Mutant>) -> Self {
        self.requests_mutant = mutant;
        self
    }

    /// Checks everything and starts the background. Works outside of a runtime. Connects to nobody
    /// until the first call that needs a broker.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn build(self) -> Result<Consumer, ConfigError> {
        #[cfg_attr(not(feature = "mutants"), expect(unused_mut, reason = "nothing is seeded"))]
        let mut config = self.properties.check()?;
        #[cfg(feature = "mutants")]
        {
            config.core.requests_mutant = self.requests_mutant;
        }
        #[cfg(feature = "otel")]
        let metrics = self.meter.as_ref().map_or_else(Metrics::default, |meter| {
            let group = config.group_id.as_ref().map_or("", |group| group.as_str());
            Metrics::new(meter, group, &config.client_id, self.runtime.is_none())
        });
        #[cfg(not(feature = "otel"))]
        let metrics = Metrics::default();
        let Self { connector, runtime, seed, record, watch, links, .. } = self;
        let (group, auto_commit) = (config.group_id.clone(), config.core.auto_commit);
        let start = Start { config, connector, runtime, seed, record, watch, metrics };
        let (link, told) = start.start()?;
        Ok(Consumer::new(group, auto_commit, link, told, links))
    }

    fn milliseconds(self, key: &'static str, duration: Duration) -> Self {
        self.property(key, duration.as_millis().to_string())
    }
}
