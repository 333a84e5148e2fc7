//! Reads what instruments show on the thread of the test, whose time is paused.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, Metric, MetricData, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A meter provider and who reads it.
pub(crate) struct Reader {
    provider: SdkMeterProvider,
    manual: Shared,
}

/// What was read: by `name{attribute=value,…}`, without what says whose it is. A histogram is
/// `name{…}.count` and `name{…}.sum`.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) BTreeMap<String, f64>);

impl Reader {
    pub(crate) fn new() -> Self {
        let manual = Shared(Arc::new(ManualReader::builder().build()));
        let provider = SdkMeterProvider::builder().with_reader(manual.clone()).build();
        Self { provider, manual }
    }

    pub(crate) fn meter(&self) -> Meter {
        self.provider.meter("evenkeel")
    }

    pub(crate) fn read(&self) -> Shown {
        let mut all = ResourceMetrics::default();
        self.manual.collect(&mut all).expect("the provider lives");
        let mut shown = Shown(BTreeMap::new());
        for metric in all.scope_metrics().flat_map(ScopeMetrics::metrics) {
            shown.add(metric);
        }
        shown
    }
}

impl Shown {
    /// The value of a data point under Kafka's prefix.
    pub(crate) fn of(&self, point: &str) -> f64 {
        let known = self.get(point);
        known.unwrap_or_else(|| panic!("no {point} in {:#?}", self.0))
    }

    pub(crate) fn get(&self, point: &str) -> Option<f64> {
        let name = if point.starts_with("messaging.") { "" } else { PREFIX };
        self.0.get(&format!("{name}{point}")).copied()
    }

    /// The sum of a metric's data points that say all of this.
    pub(crate) fn sum(&self, name: &str, said: &[&str]) -> f64 {
        let of = format!("{PREFIX}{name}{{");
        let points = self.0.iter().filter(|(point, _)| point.starts_with(&of));
        points.filter(|(point, _)| said.iter().all(|it| point.contains(it))).map(|(_, v)| v).sum()
    }

    fn add(&mut self, metric: &Metric) {
        let name = metric.name();
        match metric.data() {
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                for point in histogram.data_points() {
                    let named = named(name, point.attributes());
                    self.set(format!("{named}.count"), count(point.count()));
                    self.set(format!("{named}.sum"), point.sum());
                }
            }
            AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
                for point in gauge.data_points() {
                    self.set(named(name, point.attributes()), point.value());
                }
            }
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                assert!(sum.is_monotonic(), "{name} is a counter");
                for point in sum.data_points() {
                    self.set(named(name, point.attributes()), count(point.value()));
                }
            }
            AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                for point in gauge.data_points() {
                    self.set(named(name, point.attributes()), count(point.value()));
                }
            }
            other => panic!("{name} is {other:?}"),
        }
    }

    fn set(&mut self, point: String, value: f64) {
        let before = self.0.insert(point, value);
        assert_eq!(before, None, "each data point once: {:#?}", self.0);
    }
}

/// Every data point says whose it is.
fn named<'a>(name: &str, attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let (whose, said): (Vec<_>, Vec<_>) =
        attributes.partition(|attribute| WHOSE.contains(&attribute.key.as_str()));
    let expected = if name.starts_with("messaging.") { 3 } else { 2 };
    assert_eq!(whose.len(), expected, "{name} does not say whose it is: {whose:?}");
    let mut said: Vec<_> = said.iter().map(|it| format!("{}={}", it.key, it.value)).collect();
    said.sort();
    format!("{name}{{{}}}", said.join(","))
}

#[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
pub(crate) fn count(value: u64) -> f64 {
    value as f64
}

const PREFIX: &str = "org.apache.kafka.consumer.";
const WHOSE: [&str; 5] = [
    "group_id",
    "client_id",
    "messaging.system",
    "messaging.consumer.group.name",
    "messaging.client.id",
];

/// The provider takes its reader; this is another handle of it.
#[derive(Clone, Debug)]
struct Shared(Arc<ManualReader>);

impl MetricReader for Shared {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, all: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(all)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
