//! What a reader of the meter sees.

use super::Metrics;
use evenkeel_core::request::{Fetch, FetchPartition, Fetched, Request, Response};
use evenkeel_core::{CallId, Command, Isolation, SeekTo};
use evenkeel_spec::words::{ErrorCode, Offset, TopicId, TopicIdPartition, TopicPartition};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

struct Reader {
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

impl Reader {
    fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        Self { provider: SdkMeterProvider::builder().with_reader(reader).build(), exporter }
    }

    /// Each data point as `name{attributes} value`, without what all have in common.
    fn read(&self) -> BTreeSet<String> {
        self.exporter.reset();
        self.provider.force_flush().expect("it is in memory");
        let mut lines = BTreeSet::new();
        let finished = self.exporter.get_finished_metrics().expect("it is in memory");
        for metric in finished
            .iter()
            .flat_map(opentelemetry_sdk::metrics::data::ResourceMetrics::scope_metrics)
            .flat_map(opentelemetry_sdk::metrics::data::ScopeMetrics::metrics)
        {
            let name = metric.name().strip_prefix(super::PREFIX).expect("Kafka's prefix");
            let mut tell = |attributes: Vec<&KeyValue>, value: String| {
                let who = |key: &str| attributes.iter().any(|told| told.key.as_str() == key);
                assert!(who("group_id") && who("client_id"), "{name} does not say whose it is");
                let others = attributes.iter().filter(|told| !told.key.as_str().ends_with("_id"));
                let others: Vec<_> =
                    others.map(|told| format!("{}={}", told.key, told.value)).collect();
                lines.insert(format!("{name}{{{}}} {value}", others.join(",")));
            };
            match metric.data() {
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    for point in histogram.data_points() {
                        let value = format!("{}x, sum {}", point.count(), point.sum());
                        tell(point.attributes().collect(), value);
                    }
                }
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    sum.data_points().for_each(|point| {
                        tell(point.attributes().collect(), point.value().to_string());
                    });
                }
                AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                    gauge.data_points().for_each(|point| {
                        tell(point.attributes().collect(), point.value().to_string());
                    });
                }
                other => panic!("{name} is {other:?}"),
            }
        }
        lines
    }
}

const MS: Duration = Duration::from_millis(1);

fn id() -> TopicIdPartition {
    TopicIdPartition { topic: TopicId([7; 16]), partition: 3 }
}

fn fetch(offset: u64) -> Request {
    let partition = FetchPartition {
        partition: id(),
        offset: Offset(offset),
        leader_epoch: None,
        bytes_max: 1,
    };
    Request::Fetch(Fetch {
        wait_max_ms: 500,
        bytes_min: 1,
        bytes_max: 1,
        isolation: Isolation::ReadUncommitted,
        partitions: vec![partition],
        names: BTreeMap::from([(TopicId([7; 16]), "t".into())]),
    })
}

fn fetched(end: u64) -> Response<()> {
    let fetched = Fetched {
        high_watermark: Some(Offset(end)),
        last_stable: None,
        log_start: None,
        chunk: None,
    };
    Response::Fetch(Ok(BTreeMap::from([(id(), Ok(fetched))])))
}

#[test]
fn what_is_over_is_counted_and_timed_under_kafkas_names() {
    let reader = Reader::new();
    let metrics = Metrics::new(&reader.provider.meter("evenkeel"), "g", "c");
    metrics.on_request("Fetch", 2 * MS, 8 * MS, "answered");
    let committed = |result| Response::<()>::OffsetCommit(Ok(BTreeMap::from([(id(), result)])));
    metrics.on_answer(&committed(Ok(())), 3 * MS);
    metrics.on_answer(&committed(Err(ErrorCode::RebalanceInProgress)), 4 * MS);
    metrics.on_rebalanced(700 * MS, true);
    metrics.on_rebalanced(300 * MS, false);
    metrics.on_called("revoked callback", 650 * MS);
    let lines = reader.read();
    for line in [
        "node.request.latency{api=Fetch,outcome=answered} 1x, sum 8",
        "unsent.requests.queue.time{api=Fetch,outcome=answered} 1x, sum 2",
        "coordinator.commit.latency{} 1x, sum 3",
        "coordinator.commit.latency{error.type=REBALANCE_IN_PROGRESS} 1x, sum 4",
        "coordinator.rebalance.latency{} 2x, sum 1000",
        "coordinator.failed.rebalance.total{} 1",
        "coordinator.partition.revoked.latency{} 1x, sum 650",
    ] {
        assert!(lines.contains(line), "no {line} in {lines:#?}");
    }
    Metrics::default().on_rebalanced(MS, true); // Nobody listens.
    assert!(reader.read().contains("coordinator.rebalance.latency{} 2x, sum 1000"));
}

#[test]
fn a_lag_is_known_once_both_ends_are_and_is_gone_with_its_partition() {
    let reader = Reader::new();
    let metrics = Metrics::new(&reader.provider.meter("evenkeel"), "g", "c");
    let partition = TopicPartition::new("t", 3);
    let lag = || {
        let lines = reader.read();
        let lag = lines.iter().find_map(|line| line.strip_prefix("fetch.manager.records.lag"));
        lag.map(str::to_owned)
    };
    metrics.on_assigned(&BTreeSet::from([partition.clone()]));
    metrics.on_sent(&fetch(100));
    assert_eq!(lag(), None);
    metrics.on_answer(&fetched(150), MS);
    assert_eq!(lag().as_deref(), Some("{topic=t,partition=3} 50"));
    // A question that runs ahead is not the position.
    metrics.on_sent(&fetch(150));
    metrics.on_answer(&fetched(160), MS);
    assert_eq!(lag().as_deref(), Some("{topic=t,partition=3} 60"));
    metrics.on_delivered(&partition, 40, Offset(140));
    assert_eq!(lag().as_deref(), Some("{topic=t,partition=3} 20"));
    let (call, to) = (CallId(1), SeekTo::End);
    metrics.on_command(&Command::Seek { call, partition: partition.clone(), to });
    assert_eq!(lag(), None);
    metrics.on_sent(&fetch(160));
    assert_eq!(lag().as_deref(), Some("{topic=t,partition=3} 0"));
    assert!(reader.read().contains("coordinator.assigned.partitions{} 1"));
    metrics.on_assigned(&BTreeSet::new());
    assert_eq!(lag(), None);
    assert!(reader.read().contains("fetch.manager.records.consumed.total{} 40"));
    drop(metrics);
    assert!(!reader.read().iter().any(|line| line.contains("assigned.partitions")));
}
