//! One client in a process of its own reads a topic to its end and says what that cost.
//!
//! Counted is the whole process from before the client is made: connecting, joining the group,
//! fetching, checking, and a look at each record's value. Both commit automatically, as they do by
//! default.

use crate::Result;
use clap::ValueEnum;
use evenkeel::Consumer;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Who reads what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_enum)]
    client: Client,
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    group: String,
    /// It ends when it has read so many.
    #[arg(long)]
    records: u64,
}

/// A client and how it is set.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Client {
    /// evenkeel as it is.
    Evenkeel,
    /// librdkafka as it is: it checks no CRC.
    Librdkafka,
    /// librdkafka with `check.crcs`, as evenkeel and Kafka's own client have it.
    LibrdkafkaCrc,
}

/// What was read.
#[derive(Debug, Default)]
struct Read {
    records: u64,
    bytes: u64,
}

/// Reads, and prints one event with the cost.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (started, cpu) = (Instant::now(), cpu_time());
    let read = match args.client {
        Client::Evenkeel => read_evenkeel(args)?,
        Client::Librdkafka => read_librdkafka(args, false)?,
        Client::LibrdkafkaCrc => read_librdkafka(args, true)?,
    };
    let cpu = cpu_time().saturating_sub(cpu);
    let event = serde_json::json!({
        "name": READ,
        "records": read.records,
        "bytes": read.bytes,
        "cpu_s": cpu.as_secs_f64(),
        "wall_s": started.elapsed().as_secs_f64(),
    });
    println!("{event}");
    Ok(())
}

fn read_evenkeel(args: &Args) -> Result<Read> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut consumer = Consumer::builder()
            .bootstrap_servers(&args.bootstrap)
            .group_id(&args.group)
            .property("auto.offset.reset", "earliest")
            .build()?;
        consumer.subscribe([&*args.topic]).await?;
        let mut read = Read::default();
        let mut last = Instant::now();
        while read.records < args.records {
            let records = consumer.poll(POLL_MAX).await?;
            for record in &records {
                read.note(record.value);
            }
            check_progress(!records.is_empty(), &mut last, &read)?;
        }
        Ok(read)
    })
}

fn read_librdkafka(args: &Args, check_crcs: bool) -> Result<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &args.bootstrap)
        .set("group.id", &args.group)
        .set("group.protocol", "consumer")
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", if check_crcs { "true" } else { "false" })
        .create()?;
    consumer.subscribe(&[&args.topic])?;
    let mut read = Read::default();
    let mut last = Instant::now();
    while read.records < args.records {
        let message = consumer.poll(POLL_MAX).transpose()?;
        if let Some(message) = &message {
            read.note(message.payload());
        } else {
            check_progress(false, &mut last, &read)?;
        }
        if read.records.is_multiple_of(1_000) {
            last = Instant::now();
        }
    }
    Ok(read)
}

impl Read {
    /// Touches the value, as any application would.
    #[inline]
    fn note(&mut self, value: Option<&[u8]>) {
        let value = value.unwrap_or_default();
        self.records += 1;
        self.bytes += value.len() as u64;
        std::hint::black_box(value.first());
    }
}

fn check_progress(came: bool, last: &mut Instant, read: &Read) -> Result<()> {
    if came {
        *last = Instant::now();
    } else if last.elapsed() > PATIENCE {
        return Err(format!("nothing for {PATIENCE:?} after {} records", read.records).into());
    }
    Ok(())
}

/// CPU time of this process, all threads, user and system.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The event that says what reading cost.
pub(crate) const READ: &str = "read";
const POLL_MAX: Duration = Duration::from_millis(500);
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(20);
