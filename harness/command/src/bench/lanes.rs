//! The wait of a heartbeat under load: no load, lanes, one FIFO.
//!
//! Three threads: the client's background, the broker, and the application with the load. A heartbeat
//! is seen where the broker reads it, by a hook.

use super::super::Failure;
use super::super::output::bar;
use evenkeel::{Consumer, LookupError, TopicPartition};
use evenkeel_broker::{
    After, Answer, Before, Cluster, ConnectionId, Interceptor, Request, RequestWords,
};
use evenkeel_core::request::Mutant;
use evenkeel_harness::questions::percentile;
use evenkeel_spec::words::HeartbeatEpoch;
use indicatif::ProgressBar;
use serde::Serialize;
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes {
    pub(super) heartbeats: u32,
    /// Calls a second.
    pub(super) offered: u32,
    pub(super) interval_ms: u32,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    interval_ms: u32,
    offered_per_second: u32,
    pub(super) lanes_to_no_load_p99: f64,
    pub(super) fifo_to_no_load_p99: f64,
    #[serde(serialize_with = "by_name")]
    pub(super) scenarios: Vec<(&'static str, Scenario)>,
}

/// One scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Scenario {
    pub(super) heartbeats: u64,
    pub(super) wait_us_p50: u64,
    pub(super) wait_us_p99: u64,
    pub(super) wait_us_max: u64,
    pub(super) offered: u64,
    pub(super) accepted: u64,
    /// `QueueFull`.
    pub(super) refused: u64,
    pub(super) completed: u64,
    /// Accepted, and ended otherwise.
    failed: u64,
    /// How often the member joined: more than once, if it was evicted.
    pub(super) joins: u64,
    seconds: f64,
}

impl Scenario {
    /// As a rate.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate to print"
    )]
    pub(super) fn per_second(&self, count: u64) -> u64 {
        (count as f64 / self.seconds.max(f64::EPSILON)) as u64
    }
}

fn by_name<S: serde::Serializer>(
    scenarios: &[(&'static str, Scenario)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(scenarios.iter().map(|(name, scenario)| (name, scenario)))
}

/// Measures all three scenarios, one after the other.
pub(super) fn measure(lanes: Lanes) -> Result<Measured, Failure> {
    let bar = bar(3 * u64::from(lanes.heartbeats), "lanes");
    let scenarios = [("no load", None, 0), ("lanes", None, lanes.offered)];
    let fifo = ("fifo", Some(Mutant::OneLane), lanes.offered);
    let mut measured = Vec::new();
    for (name, mutant, offered) in scenarios.into_iter().chain([fifo]) {
        bar.set_message(name);
        measured.push((name, scenario(Lanes { offered, ..lanes }, mutant, &bar)?));
    }
    bar.finish_and_clear();
    let p99 = |at: usize| measured[at].1.wait_us_p99;
    #[expect(clippy::cast_precision_loss, reason = "a ratio to print")]
    let ratio = |at: usize| p99(at) as f64 / p99(0).max(1) as f64;
    Ok(Measured {
        interval_ms: lanes.interval_ms,
        offered_per_second: lanes.offered,
        lanes_to_no_load_p99: ratio(1),
        fifo_to_no_load_p99: ratio(2),
        scenarios: measured,
    })
}

fn scenario(lanes: Lanes, mutant: Option<Mutant>, bar: &ProgressBar) -> Result<Scenario, Failure> {
    let seen = Arc::new(Seen::default());
    let (serving, stop) = serve(lanes.interval_ms, &seen)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scenario = runtime.block_on(consume(lanes, mutant, &serving, &seen, bar));
    // An error: the broker's thread is over already.
    let _ = stop.send(());
    scenario
}

/// Starts the broker in a thread of its own: where it listens, and what ends it.
fn serve(interval_ms: u32, seen: &Arc<Seen>) -> Result<(String, oneshot::Sender<()>), Failure> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (told, listening) = mpsc::channel();
    let seen = Arc::clone(seen);
    let start = move || -> Result<(tokio::runtime::Runtime, Cluster), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let cluster = Cluster::builder()
            .topic(TOPIC, 1)
            .set("group.consumer.heartbeat.interval.ms", interval_ms.to_string())
            .set("group.consumer.assignment.interval.ms", "0")
            .build()
            .map_err(|error| Failure::World(error.to_string()))?;
        let guard = runtime.enter();
        cluster.listen(([127, 0, 0, 1], 0).into())?;
        drop(guard);
        Ok((runtime, cluster))
    };
    let thread = std::thread::Builder::new().name("broker".into());
    thread.spawn(move || {
        let (runtime, cluster) = match start() {
            Ok(started) => started,
            // If nobody listens, nobody wants to know.
            Err(failure) => return drop(told.send(Err(failure))),
        };
        cluster.intercept(Watch(seen));
        let _ = told.send(Ok(cluster.bootstrap_servers()));
        // Ended by a word, or by the end of who would say it.
        let _ = runtime.block_on(stopped);
        cluster.intercept_none();
    })?;
    let serving = listening.recv().map_err(|_| Failure::World("the broker ended".into()))??;
    Ok((serving, stop))
}

async fn consume(
    lanes: Lanes,
    mutant: Option<Mutant>,
    servers: &str,
    seen: &Seen,
    bar: &ProgressBar,
) -> Result<Scenario, Failure> {
    let consumer = Consumer::builder()
        .bootstrap_servers(servers)
        .group_id("bench")
        .property("max.poll.interval.ms", "2147483647")
        .requests_mutant(mutant)
        .build();
    let mut consumer = consumer.map_err(|error| Failure::World(error.to_string()))?;
    let world = |error: &dyn std::fmt::Display| Failure::World(error.to_string());
    consumer.subscribe([TOPIC]).await.map_err(|error| world(&error))?;
    let until = Instant::now() + PATIENCE;
    while consumer.assignment().is_empty() {
        consumer.poll(Duration::from_millis(10)).await.map_err(|error| world(&error))?;
        if Instant::now() > until {
            return Err(Failure::World(format!("the consumer did not join in {PATIENCE:?}")));
        }
    }
    // Fetches are no part of this.
    consumer.pause([TopicPartition::new(TOPIC, 0)]).await.map_err(|error| world(&error))?;
    let consumer = Arc::new(consumer);
    let mut load = Load::new(Arc::clone(&consumer), lanes.offered);
    for _ in 0..WARM_UP_TICKS {
        load.tick().await;
    }
    load.forget();
    seen.lock().begin();
    let started = Instant::now();
    let per_heartbeat = Duration::from_millis(u64::from(lanes.interval_ms));
    let until = started + PATIENCE_BEYOND + per_heartbeat * lanes.heartbeats * 2;
    let done = bar.position();
    loop {
        load.tick().await;
        let count = seen.lock().waits_us.len() as u64;
        bar.set_position(done + count.min(u64::from(lanes.heartbeats)));
        if count >= u64::from(lanes.heartbeats) {
            break;
        }
        if Instant::now() > until {
            break;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let (waits_us, joins) = {
        let seen = seen.lock();
        (seen.waits_us.clone(), seen.joins)
    };
    if waits_us.is_empty() {
        return Err(Failure::World(format!("no heartbeat came in {seconds:.1} s")));
    }
    let scenario = Scenario {
        heartbeats: waits_us.len() as u64,
        wait_us_p50: percentile(&waits_us, 50),
        wait_us_p99: percentile(&waits_us, 99),
        wait_us_max: percentile(&waits_us, 100),
        joins,
        seconds,
        ..load.counted
    };
    Ok(scenario)
}

/// The application: calls at a rate, each another question, whatever became of those before.
struct Load {
    consumer: Arc<Consumer>,
    per_second: u32,
    calls: JoinSet<bool>,
    counted: Scenario,
    started: Instant,
    asked: u64,
    dates: u64,
}

impl Load {
    fn new(consumer: Arc<Consumer>, per_second: u32) -> Self {
        let (calls, counted) = (JoinSet::new(), Scenario::default());
        let started = Instant::now();
        Self { consumer, per_second, calls, counted, started, asked: 0, dates: 0 }
    }

    /// What was counted so far does not count.
    fn forget(&mut self) {
        self.counted = Scenario::default();
    }

    /// A millisecond's share, and all that is late.
    async fn tick(&mut self) {
        tokio::time::sleep(TICK).await;
        while let Some(ended) = self.calls.try_join_next() {
            match ended {
                Ok(true) => self.counted.completed += 1,
                Ok(false) | Err(_) => self.counted.failed += 1,
            }
        }
        let due = self.started.elapsed().as_micros() * u128::from(self.per_second) / 1_000_000;
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        for _ in self.asked..due {
            self.asked += 1;
            self.call().await;
        }
    }

    /// One call; only what is accepted becomes a task.
    async fn call(&mut self) {
        self.counted.offered += 1;
        self.dates += 1;
        let (consumer, date) = (Arc::clone(&self.consumer), self.dates);
        let asked = async move {
            let dates = [(TopicPartition::new(TOPIC, 0), date)];
            consumer.offsets_for_times(dates).await.map(drop)
        };
        let mut asked: Pin<Box<dyn Future<Output = Result<(), LookupError>> + Send>> =
            Box::pin(asked);
        // Polled once, a call has a place or is refused: also when this task has had its share.
        let first = std::future::poll_fn(|context| {
            let asked = pin!(tokio::task::unconstrained(asked.as_mut()));
            Poll::Ready(asked.poll(context))
        });
        let first = first.await;
        match first {
            Poll::Ready(Err(LookupError::QueueFull { .. })) => self.counted.refused += 1,
            Poll::Ready(ended) => {
                self.counted.accepted += 1;
                let count = &mut self.counted;
                *(if ended.is_ok() { &mut count.completed } else { &mut count.failed }) += 1;
            }
            Poll::Pending => {
                self.counted.accepted += 1;
                self.calls.spawn(async move { asked.await.is_ok() });
            }
        }
    }
}

/// What the broker has seen of the heartbeats.
#[derive(Debug, Default)]
struct Seen(Mutex<Tally>);

#[derive(Debug, Default)]
struct Tally {
    interval: Duration,
    /// When the heartbeat before was read, and answered, by its connection and number.
    read: Option<Instant>,
    answered: Option<Instant>,
    under_way: BTreeMap<(ConnectionId, i32), Instant>,
    joins: u64,
    waits_us: Vec<u64>,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    /// Only what comes from now on is measured.
    fn begin(&mut self) {
        self.waits_us.clear();
    }

    fn on_read(&mut self, of: (ConnectionId, i32), joins: bool, now: Instant) {
        self.joins += u64::from(joins);
        if let (Some(read), Some(answered)) = (self.read, self.answered)
            && !joins
        {
            let due = answered.max(read + self.interval);
            let wait = now.saturating_duration_since(due).as_micros();
            self.waits_us.push(u64::try_from(wait).unwrap_or(u64::MAX));
        }
        self.read = Some(now);
        self.under_way.insert(of, now);
    }

    fn on_answer(&mut self, of: (ConnectionId, i32), interval: Duration, now: Instant) {
        if self.under_way.remove(&of).is_some() {
            self.interval = interval;
            self.answered = Some(now);
        }
    }
}

/// The broker's hook.
struct Watch(Arc<Seen>);

impl Interceptor for Watch {
    fn on_request(&self, request: &Request) -> Before {
        if let Some(RequestWords::Heartbeat(_, heartbeat)) = &request.words {
            let joins = heartbeat.epoch == HeartbeatEpoch::Join;
            let of = (request.connection, request.correlation_id);
            self.0.lock().on_read(of, joins, Instant::now());
        }
        Before::Process
    }

    fn on_answer(&self, request: &Request, answer: &Answer) -> After {
        if let Some(evenkeel_broker::AnswerWords::Heartbeat(Ok(heartbeat))) = &answer.words {
            let interval = Duration::from_millis(u64::from(heartbeat.heartbeat_interval_ms));
            let of = (request.connection, request.correlation_id);
            self.0.lock().on_answer(of, interval, Instant::now());
        }
        After::Answer
    }
}

const TOPIC: &str = "orders";
const TICK: Duration = Duration::from_millis(1);
/// So long the load goes on before anything is measured.
const WARM_UP_TICKS: u32 = 500;
/// For joining.
const PATIENCE: Duration = Duration::from_secs(60);
/// A scenario ends without all its heartbeats after twice their intervals and this.
const PATIENCE_BEYOND: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::{Lanes, Tally, measure};
    use evenkeel_broker::ConnectionId;
    use std::time::{Duration, Instant};

    #[test]
    fn a_heartbeat_waits_from_its_interval_or_the_answer_before_to_its_reading() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let interval = Duration::from_millis(10);
        let of = |number| (ConnectionId(1), number);
        let mut tally = Tally::default();
        tally.on_read(of(1), true, at(0));
        tally.on_answer(of(1), interval, at(2));
        tally.on_read(of(2), false, at(11));
        tally.on_answer(of(2), interval, at(30));
        tally.on_read(of(3), false, at(33));
        tally.on_answer(of(3), interval, at(34));
        tally.on_read(of(4), false, at(40));
        assert_eq!(tally.waits_us, [1_000, 3_000, 0]);
        assert_eq!(tally.joins, 1);
    }

    #[test]
    fn what_is_offered_is_accepted_or_refused_and_no_member_is_evicted() {
        let measured = measure(Lanes { heartbeats: 20, offered: 50_000, interval_ms: 10 });
        let measured = measured.expect("the world holds");
        let names: Vec<_> = measured.scenarios.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["no load", "lanes", "fifo"]);
        for (name, scenario) in &measured.scenarios {
            assert!(scenario.heartbeats > 0, "{name}: {scenario:?}");
            assert_eq!(scenario.joins, 1, "{name}: {scenario:?}");
            assert_eq!(scenario.offered, scenario.accepted + scenario.refused, "{name}");
            assert_eq!(scenario.failed, 0, "{name}: {scenario:?}");
            assert_eq!(scenario.offered > 0, *name != "no load", "{name}: {scenario:?}");
        }
        let [_, lanes, fifo] = &measured.scenarios[..] else { panic!("three scenarios") };
        for (name, scenario) in [lanes, fifo] {
            assert!(scenario.refused > 0, "{name}: the lane was never full: {scenario:?}");
            assert!(scenario.completed > 0, "{name}: {scenario:?}");
        }
    }
}
