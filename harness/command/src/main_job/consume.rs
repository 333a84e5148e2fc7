//! Two consumers read the embedded broker's records over TCP while one of them leaves: is every
//! record read, and none twice?

use super::super::Failure;
use super::super::output::{bar, grouped};
use evenkeel::{Consumer, PollError, Records};
use evenkeel_broker::Cluster;
use indicatif::ProgressBar;
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout;

/// What was consumed, counted by partition and offset.
#[derive(Debug, Serialize)]
pub(super) struct Consumed {
    /// Records in the topic.
    records: u64,
    members: usize,
    /// From the first append to the last record.
    pub(super) seconds: f64,
    /// Records that nobody was given.
    lost: u64,
    /// Records that were given once more.
    duplicates: u64,
    /// Records that the group has not committed, though both members closed.
    uncommitted: u64,
    /// What the member that left was given.
    by_leaver: u64,
}

impl Consumed {
    pub(super) fn holds(&self) -> bool {
        self.lost == 0 && self.duplicates == 0 && self.uncommitted == 0
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate to print")]
    pub(super) fn figures(&self) -> String {
        let Self { lost, duplicates, uncommitted, .. } = self;
        let (records, by_leaver) = (grouped(self.records), grouped(self.by_leaver));
        let rate = self.records as f64 / self.seconds / 1e6;
        format!(
            "{records} records ({by_leaver} by who left), {rate:.2} M/s, {lost} lost, \
             {duplicates} duplicates, {uncommitted} uncommitted"
        )
    }
}

/// Consumes `count` records of 100 bytes.
pub(super) fn consume(count: u64) -> Result<Consumed, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let bar = bar(count, "consume");
    let consumed = runtime.block_on(run(count, &bar));
    bar.finish_and_clear();
    consumed
}

async fn run(count: u64, bar: &ProgressBar) -> Result<Consumed, Failure> {
    let cluster = Cluster::builder()
        .topic(TOPIC, PARTITIONS)
        // A join and a leave take a heartbeat or two.
        .set("group.consumer.heartbeat.interval.ms", "100")
        .set("group.consumer.assignment.interval.ms", "0")
        .build()
        .map_err(|error| Failure::World(error.to_string()))?;
    cluster.listen(([127, 0, 0, 1], 0).into())?;
    let ledger = Arc::new(Ledger::new(count, bar.clone()));
    let (stayer, leaver) = (Member::new(&cluster, &ledger)?, Member::new(&cluster, &ledger)?);
    let mut owned = [stayer.owned.subscribe(), leaver.owned.subscribe()];
    let stayer = tokio::spawn(stayer.read_all());
    let leaver = tokio::spawn(leaver.leave_after(count / LEAVES_AFTER));
    let shared = async {
        for owned in &mut owned {
            // An error: the member has ended, and says why when it is awaited.
            let _ = owned.wait_for(|owned| *owned == PARTITIONS as usize / 2).await;
        }
    };
    timeout(PATIENCE, shared).await.map_err(|_| {
        Failure::World(format!("the members did not share {TOPIC} in {PATIENCE:?}"))
    })?;
    let started = Instant::now();
    fill(&cluster, count).await?;
    let by_leaver = joined(leaver.await)?;
    joined(stayer.await)?;
    let tally = ledger.lock();
    let seconds = tally.last_new.duration_since(started).as_secs_f64();
    let committed = (0..PARTITIONS).map(|partition| {
        let committed = cluster.committed(GROUP, TOPIC, partition).ok().flatten();
        committed.map_or(0, |committed| committed.offset.0)
    });
    Ok(Consumed {
        records: count,
        members: 2,
        seconds,
        lost: count - tally.distinct,
        duplicates: tally.duplicates,
        uncommitted: count - committed.sum::<u64>(),
        by_leaver,
    })
}

fn joined<T>(ended: Result<Result<T, Failure>, tokio::task::JoinError>) -> Result<T, Failure> {
    ended.map_err(|panic| Failure::World(format!("a member's task ended: {panic}")))?
}

/// Appends `count` records, the same number to each partition.
async fn fill(cluster: &Cluster, count: u64) -> Result<(), Failure> {
    let cluster = cluster.clone();
    let filled = tokio::task::spawn_blocking(move || {
        (0..PARTITIONS).try_for_each(|partition| {
            let records = count / u64::from(PARTITIONS);
            cluster.fill(TOPIC, partition, records, VALUE_BYTES)
        })
    });
    let filled = filled.await.map_err(|panic| Failure::World(panic.to_string()))?;
    filled.map_err(|code| Failure::World(format!("the embedded broker refused: {code}")))
}

/// One of the two members.
#[derive(Debug)]
struct Member {
    consumer: Consumer,
    ledger: Arc<Ledger>,
    /// How many partitions it owns.
    owned: watch::Sender<usize>,
    /// How many records it was given.
    given: u64,
}

impl Member {
    fn new(cluster: &Cluster, ledger: &Arc<Ledger>) -> Result<Self, Failure> {
        let consumer = Consumer::builder()
            .bootstrap_servers(cluster.bootstrap_servers())
            .group_id(GROUP)
            .property("auto.offset.reset", "earliest")
            .build();
        let consumer = consumer.map_err(|error| Failure::World(error.to_string()))?;
        let (owned, _) = watch::channel(0);
        Ok(Self { consumer, ledger: Arc::clone(ledger), owned, given: 0 })
    }

    /// Reads until every record was given to somebody, or none came for a while.
    async fn read_all(mut self) -> Result<u64, Failure> {
        self.subscribe().await?;
        loop {
            let came = self.poll().await?;
            let tally = self.ledger.lock();
            let over = tally.distinct == self.ledger.count;
            // What comes after the last record would be duplicates: one more poll finds them.
            if came == 0 && (over || tally.last_new.elapsed() > PATIENCE) {
                break;
            }
        }
        self.close().await
    }

    /// Reads `count` records at least, then leaves while there is more.
    async fn leave_after(mut self, count: u64) -> Result<u64, Failure> {
        self.subscribe().await?;
        while self.given < count {
            let came = self.poll().await?;
            if came == 0 && self.ledger.lock().last_new.elapsed() > PATIENCE {
                break;
            }
        }
        self.close().await
    }

    async fn subscribe(&mut self) -> Result<(), Failure> {
        let subscribed = self.consumer.subscribe([TOPIC]).await;
        subscribed.map_err(|error| Failure::World(error.to_string()))
    }

    /// One poll; how many records came.
    async fn poll(&mut self) -> Result<usize, Failure> {
        let polled = self.consumer.poll(POLL_MAX).await;
        let records = polled
            .map_err(|error: PollError| Failure::World(format!("while consuming: {error}")))?;
        let owned = self.consumer.assignment().len();
        self.owned.send_if_modified(|told| std::mem::replace(told, owned) != owned);
        self.given += records.len() as u64;
        self.ledger.note(&records);
        Ok(records.len())
    }

    async fn close(self) -> Result<u64, Failure> {
        let report = self.consumer.close(PATIENCE).await;
        if report.left {
            Ok(self.given)
        } else {
            Err(Failure::World(format!("a member could not leave: {report:?}")))
        }
    }
}

/// Which records were given to an application.
#[derive(Debug)]
struct Ledger {
    count: u64,
    bar: ProgressBar,
    tally: Mutex<Tally>,
}

#[derive(Debug)]
struct Tally {
    /// By partition and offset.
    given: Vec<Vec<bool>>,
    distinct: u64,
    duplicates: u64,
    /// When a record was given for the first time last.
    last_new: Instant,
}

impl Ledger {
    fn new(count: u64, bar: ProgressBar) -> Self {
        let given = vec![Vec::new(); PARTITIONS as usize];
        let tally = Tally { given, distinct: 0, duplicates: 0, last_new: Instant::now() };
        Self { count, bar, tally: Mutex::new(tally) }
    }

    /// A member that panics ends the job, whatever the tally says then.
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, records: &Records) {
        let mut tally = self.lock();
        let before = tally.distinct;
        for record in records {
            tally.note(record.partition, record.offset.0);
        }
        if tally.distinct > before {
            tally.last_new = Instant::now();
        }
        self.bar.set_position(tally.distinct);
    }
}

impl Tally {
    fn note(&mut self, partition: u32, offset: u64) {
        let given = &mut self.given[partition as usize];
        let at = usize::try_from(offset).expect("the log is in memory");
        if given.len() <= at {
            given.resize(at + 1, false);
        }
        if std::mem::replace(&mut given[at], true) {
            self.duplicates += 1;
        } else {
            self.distinct += 1;
        }
    }
}

const TOPIC: &str = "main-job";
const GROUP: &str = "main-job";
/// Even, so that two members own the same number; divides the number of records.
const PARTITIONS: u32 = 8;
const VALUE_BYTES: usize = 100;
/// One member leaves when it was given this part of the records: less than its half.
const LEAVES_AFTER: u64 = 5;
const POLL_MAX: Duration = Duration::from_millis(250);
/// How long nothing may happen before the job gives up.
const PATIENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::{Consumed, Tally, consume};
    use std::time::Instant;

    #[test]
    fn every_record_is_given_once_while_a_member_leaves() {
        let consumed = consume(80_000).expect("the world is in order");
        assert!(consumed.holds(), "{}", consumed.figures());
        assert!(consumed.by_leaver >= 16_000, "{}", consumed.figures());
    }

    #[test]
    fn what_is_given_twice_or_never_is_counted() {
        let mut tally = Tally {
            given: vec![Vec::new(); 2],
            distinct: 0,
            duplicates: 0,
            last_new: Instant::now(),
        };
        for (partition, offset) in [(0, 0), (0, 1), (1, 3), (0, 1)] {
            tally.note(partition, offset);
        }
        assert_eq!((tally.distinct, tally.duplicates), (3, 1));
        let consumed = Consumed {
            records: 4,
            members: 2,
            seconds: 1.0,
            lost: 1,
            duplicates: 0,
            uncommitted: 0,
            by_leaver: 0,
        };
        assert!(!consumed.holds());
    }
}
