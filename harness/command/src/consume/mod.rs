//! `evenkeel consume`: a member of a group that prints what it reads, until a signal.

mod events;
mod explain;
mod line;
mod listener;
mod run_file;
mod writer;

use super::output::complain;
use super::signal::Ends;
use super::{Failure, Format, Outcome};
use evenkeel::{
    CloseReport, ConfigError, Consumer, ErrorCode, PartitionRecords, PollError, Records,
    TopicPartition,
};
use explain::Explainer;
use listener::Narrator;
use run_file::RunFile;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;
use writer::Writer;

/// Consume topics as a member of a group and print the records.
///
/// One line a record: topic, partition, offset, timestamp (milliseconds since 1970), key, value.
/// What is not printable is escaped, and so are a key's spaces; what is absent is `null`. SIGINT
/// and SIGTERM close the consumer properly (commit, callbacks, leave) and exit with 0.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Brokers to begin with, as `bootstrap.servers` has them.
    #[arg(long, value_name = "HOST:PORT,…")]
    bootstrap: String,
    /// The group to join.
    #[arg(long)]
    group: String,
    /// The topics to subscribe to.
    #[arg(long = "topic", value_name = "TOPIC", required_unless_present = "pattern", num_args = 1..)]
    topics: Vec<String>,
    /// Subscribe to every topic whose whole name matches this expression (RE2), also to those that
    /// come into being later. The coordinator finds them, some seconds late.
    #[arg(long, value_name = "RE2", conflicts_with = "topics")]
    pattern: Option<String>,
    /// A consumer configuration by Kafka's name; may be given several times.
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = super::key_value)]
    properties: Vec<(String, String)>,
    /// Close after so many records; no record beyond them is committed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_messages: Option<u64>,
    /// Without a committed offset begin with the oldest record (auto.offset.reset=earliest).
    #[arg(long)]
    from_beginning: bool,
    /// Print what Kafka's VerifiableConsumer prints instead, one JSON event a line. As there,
    /// offsets are committed after each poll unless enable.auto.commit=true is given.
    #[arg(long)]
    events: bool,
    /// Take so long for each callback of a change of the assignment, milliseconds: to see what a slow
    /// callback does to a group.
    #[arg(long, value_name = "MS")]
    callback_ms: Option<u64>,
    /// Write down the run, as far as the group is concerned, to this file: for `evenkeel validate`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// While nothing arrives, say on standard error each SECONDS (5, if not given) why: for each
    /// partition one reason with how long it has been, what this member waits for, and who of the
    /// group has what, as its coordinator describes it.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5",
        value_parser = clap::value_parser!(u64).range(1..))]
    explain: Option<u64>,
}

/// When offsets are committed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Committing {
    /// By the consumer (`enable.auto.commit`).
    Auto,
    /// After each poll, what was printed of it.
    EachPoll,
    /// Not at all.
    Never,
}

/// What is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Style {
    Lines,
    Json,
    Events,
}

pub(super) fn run(args: Args, format: Format) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(consume(args, format))
}

async fn consume(args: Args, format: Format) -> Result<Outcome, Failure> {
    let mut ends = Ends::listen()?;
    let style = match format {
        _ if args.events => Style::Events,
        Format::Human => Style::Lines,
        Format::Json => Style::Json,
    };
    let committing = args.committing();
    let mut consumer = args.consumer(committing)?;
    let writer = Writer::start()?;
    if style == Style::Events {
        let (told, goes_on) = writer.write_until(&mut ends, events::startup_complete()).await;
        told?;
        if !goes_on {
            return Ok(Outcome::Holds);
        }
    }
    let narrator = Narrator {
        writer: writer.clone(),
        tells: style == Style::Events,
        takes: Duration::from_millis(args.callback_ms.unwrap_or(0)),
    };
    // Not for nothing: a revocation waits for a poll where there is a listener.
    let listens = narrator.tells || args.callback_ms.is_some();
    let subscribed = match (args.pattern, listens) {
        (Some(pattern), true) => consumer.subscribe_pattern_with(pattern, narrator).await,
        (Some(pattern), false) => consumer.subscribe_pattern(pattern).await,
        (None, true) => consumer.subscribe_with(args.topics, narrator).await,
        (None, false) => consumer.subscribe(args.topics).await,
    };
    subscribed.map_err(|error| Failure::Usage(error.to_string()))?;
    let explainer = args.explain.map(|seconds| Explainer::new(Duration::from_secs(seconds)));
    let (left, told, uncommitted) = (args.max_messages, BTreeSet::new(), BTreeSet::new());
    let written = writer.clone();
    let mut reader = Reader { committing, style, left, told, explainer, writer, uncommitted };
    let read = reader.read(&mut consumer, &mut ends).await;
    // Whoever asks a second time does not want to wait any longer.
    let report = tokio::select! {
        biased;
        () = written.asked(&mut ends) => None,
        report = consumer.close(CLOSE_MAX) => Some(report),
    };
    if style == Style::Events {
        written.write_until(&mut ends, events::shutdown_complete()).await.0?;
    }
    read?;
    report.as_ref().map_or(Ok(()), tell_losses)?;
    Ok(reader.outcome())
}

/// Whether the client takes this for yes or no; else it has to say what is wrong with it.
fn is_boolean(text: &str) -> bool {
    ["true", "false"].iter().any(|word| text.trim().eq_ignore_ascii_case(word))
}

impl Args {
    fn property(&self, key: &str) -> Option<&str> {
        let given = self.properties.iter().rev().find(|(given, _)| given == key);
        given.map(|(_, value)| value.as_str())
    }

    fn committing(&self) -> Committing {
        let counts = self.events || self.max_messages.is_some();
        match self.property(AUTO_COMMIT).map(str::trim) {
            Some(no) if no.eq_ignore_ascii_case("false") && !self.events => Committing::Never,
            // By itself it would commit whole polls, also what is beyond --max-messages.
            Some(yes) if yes.eq_ignore_ascii_case("true") && self.max_messages.is_none() => {
                Committing::Auto
            }
            _ if counts => Committing::EachPoll,
            _ => Committing::Auto,
        }
    }

    fn consumer(&self, committing: Committing) -> Result<Consumer, Failure> {
        let mut builder = Consumer::builder();
        if self.from_beginning {
            builder = builder.property("auto.offset.reset", "earliest");
        }
        for (key, value) in &self.properties {
            builder = builder.property(key, value);
        }
        builder = builder.bootstrap_servers(&self.bootstrap).group_id(&self.group);
        if committing == Committing::EachPoll && self.property(AUTO_COMMIT).is_none_or(is_boolean) {
            builder = builder.enable_auto_commit(false);
        }
        if let Some(file) = &self.record {
            let wrong = |error| Failure::Usage(format!("--record {}: {error}", file.display()));
            builder = builder.record_run(RunFile::open(file).map_err(wrong)?);
        }
        builder.build().map_err(|error| match error {
            ConfigError::Background { .. } => Failure::World(error.to_string()),
            error => Failure::Usage(error.to_string()),
        })
    }
}

/// Reads until a signal, until enough is read, or until nobody reads the output any more.
#[derive(Debug)]
struct Reader {
    committing: Committing,
    style: Style,
    /// How many records are still wanted; `None`: all that come.
    left: Option<u64>,
    /// Complaints made, each once.
    told: BTreeSet<String>,
    /// Says why nothing arrives.
    explainer: Option<Explainer>,
    writer: Writer,
    /// Where something was printed and its commit failed.
    uncommitted: BTreeSet<TopicPartition>,
}

/// What of one partition's records is taken.
pub(super) struct Taken<'a> {
    pub(super) records: &'a PartitionRecords,
    pub(super) count: usize,
}

/// Nobody read them: no commit covers them.
async fn give_back(consumer: &mut Consumer, taken: &[Taken<'_>]) {
    for taken in taken {
        if let Some(first) = taken.records.iter().next() {
            // It fails where the partition is another's by now, who reads them anew.
            let _ = consumer.seek(taken.records.partition(), first.offset).await;
        }
    }
}

impl Reader {
    async fn read(&mut self, consumer: &mut Consumer, ends: &mut Ends) -> Result<(), Failure> {
        let writer = self.writer.clone();
        while self.left != Some(0) {
            let polled = tokio::select! {
                biased;
                () = writer.asked(ends) => return Ok(()),
                polled = consumer.poll(POLL_MAX) => polled,
            };
            let records = match polled {
                Ok(records) => records,
                Err(error) => {
                    self.judge(&error)?;
                    Records::default()
                }
            };
            let taken = self.take(&records);
            if taken.is_empty() {
                tokio::select! {
                    biased;
                    () = writer.asked(ends) => return Ok(()),
                    () = self.explain(consumer) => continue,
                }
            }
            self.explainer.iter_mut().for_each(Explainer::on_records);
            let text = match self.style {
                Style::Events => events::records_consumed(&taken),
                Style::Lines => line::human(&taken),
                Style::Json => line::json(&taken),
            };
            let (written, mut goes_on) = writer.write_until(ends, text).await;
            if !matches!(written, Ok(true)) {
                give_back(consumer, &taken).await;
                return written.map(drop);
            }
            if self.committing == Committing::EachPoll {
                goes_on = self.commit(consumer, ends, goes_on, &taken).await?;
            }
            if !goes_on {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a bounded run did what it is for: each record that it counted is done with.
    fn outcome(&self) -> Outcome {
        let is_lost = self.left.is_some() && !self.uncommitted.is_empty();
        if is_lost {
            let partitions: Vec<_> = self.uncommitted.iter().map(ToString::to_string).collect();
            let partitions = partitions.join(", ");
            complain(&format_args!("not committed, so what was printed comes again: {partitions}"));
        }
        Outcome::of(!is_lost)
    }

    /// Says why nothing arrives, if that was asked for and it is time.
    async fn explain(&mut self, consumer: &Consumer) {
        if let Some(explainer) = &mut self.explainer
            && let Some(explanation) = explainer.explain(consumer).await
        {
            complain(&explanation);
        }
    }

    /// As many of the records as are wanted.
    fn take<'a>(&mut self, records: &'a Records) -> Vec<Taken<'a>> {
        let mut taken = Vec::new();
        for records in records.partitions().filter(|records| !records.is_empty()) {
            let wanted = self.left.map_or(usize::MAX, |left| left.try_into().unwrap_or(usize::MAX));
            let count = records.len().min(wanted);
            if count > 0 {
                taken.push(Taken { records, count });
            }
            self.left = self.left.map(|left| left - count as u64);
        }
        taken
    }

    /// Commits what was taken. False: the command was asked to end meanwhile, or was before.
    async fn commit(
        &mut self,
        consumer: &Consumer,
        ends: &mut Ends,
        goes_on: bool,
        taken: &[Taken<'_>],
    ) -> Result<bool, Failure> {
        let mut commit = std::pin::pin!(consumer.commit_offsets(taken.iter().map(Taken::commits)));
        let (committed, goes_on) = tokio::select! {
            biased;
            committed = &mut commit, if goes_on => (Some(committed), true),
            () = self.writer.asked(ends), if goes_on => {
                (timeout(CLOSE_MAX, commit).await.ok(), false)
            }
            else => (timeout(CLOSE_MAX, commit).await.ok(), false),
        };
        let error = match committed {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(error.to_string()),
            None => Some("not confirmed before the end".to_owned()),
        };
        for taken in taken {
            let partition = taken.records.partition();
            if error.is_none() {
                self.uncommitted.remove(partition);
            } else {
                self.uncommitted.insert(partition.clone());
            }
        }
        if self.style == Style::Events {
            let event = events::offsets_committed(taken, error.as_deref());
            let (written, still) = self.writer.write_until(ends, event).await;
            return Ok(written? && goes_on && still);
        }
        if let Some(error) = error {
            complain(&error);
        }
        Ok(goes_on)
    }

    /// Goes on after an error that will pass, told once; else says what to do.
    fn judge(&mut self, error: &PollError) -> Result<(), Failure> {
        let (passes, advice) = match error {
            PollError::Refused { .. } | PollError::Topic { .. } | PollError::Partition { .. } => {
                (true, "trying again")
            }
            PollError::Listener { .. } => (true, "going on"),
            PollError::NoBroker { .. } => (false, "start the broker or check --bootstrap"),
            PollError::Unsupported { .. } => {
                (false, "evenkeel needs Apache Kafka 4.0 or newer with the consumer group protocol")
            }
            PollError::NoOffset { .. }
            | PollError::OffsetOutOfRange { .. }
            | PollError::LogTruncated { .. } => {
                let advice = "choose with --from-beginning or --property auto.offset.reset=latest";
                return Err(Failure::Usage(format!("{error}; {advice}")));
            }
            PollError::Record { .. } => {
                (false, "to go on without these records set the group's offset past them")
            }
            PollError::Fatal { code: ErrorCode::InvalidRegularExpression, .. } => {
                return Err(Failure::Usage(format!("--pattern: {error}")));
            }
            _ => (false, "mend the cause and start again"),
        };
        let sentence = format!("{error}; {advice}");
        if !passes {
            return Err(Failure::World(sentence));
        }
        if !self.told.contains(&sentence) {
            complain(&sentence);
            self.told.insert(sentence);
        }
        Ok(())
    }
}

/// Says what a close could not do. Errors: there was nothing left to close.
fn tell_losses(report: &CloseReport) -> Result<(), Failure> {
    if let Some(reason) = &report.died {
        return Err(Failure::World(format!("the consumer ended by itself: {reason}")));
    }
    if !report.left {
        complain(
            &"the coordinator did not confirm the leave in time: the group notices by the session \
              timeout, and records may come again",
        );
    }
    Ok(())
}

const AUTO_COMMIT: &str = "enable.auto.commit";
/// How long one poll waits; only the rhythm in which nothing happens.
const POLL_MAX: Duration = Duration::from_secs(1);
/// How long commit, callbacks and leave may take at the end.
const CLOSE_MAX: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  evenkeel consume --bootstrap localhost:9092 --group g --topic orders --from-beginning
  evenkeel consume --bootstrap b1:9092,b2:9092 --group g --topic a b --property client.id=reader
  evenkeel consume --bootstrap localhost:9092 --group g --pattern 'orders-.*'
  evenkeel consume --bootstrap localhost:9092 --group g --topic orders --max-messages 10 --format json
  evenkeel consume --bootstrap localhost:9092 --group g --topic orders --events
  evenkeel consume --bootstrap localhost:9092 --group g --topic orders --record run.jsonl
  evenkeel consume --bootstrap localhost:9092 --group g --topic orders --explain 10
  evenkeel consume --bootstrap localhost:9092 --group g --topic orders --callback-ms 8000 --jaeger

Exit codes: 0 it ended as it was asked to; 1 with --max-messages: a commit of what was printed failed,
so that it comes again; 2 wrong usage or configuration; 3 the world failed, or the consumer ended by
itself.";

#[cfg(test)]
mod tests {
    use super::{Args, Committing, Failure, tell_losses};
    use evenkeel::CloseReport;

    #[test]
    fn a_consumer_that_died_is_a_failure_and_a_leave_that_nobody_confirmed_is_told() {
        let mut report = CloseReport::default();
        assert_eq!(tell_losses(&report), Ok(()));
        report.died = Some("it panicked".into());
        let told = Err(Failure::World("the consumer ended by itself: it panicked".into()));
        assert_eq!(tell_losses(&report), told);
    }

    fn committing(property: Option<&str>, events: bool, max_messages: Option<u64>) -> Committing {
        let properties = property.map(|value| ("enable.auto.commit".into(), value.into()));
        let args = Args {
            bootstrap: "localhost:9092".into(),
            group: "g".into(),
            topics: vec!["t".into()],
            pattern: None,
            properties: properties.into_iter().collect(),
            max_messages,
            from_beginning: false,
            events,
            record: None,
            callback_ms: None,
            explain: None,
        };
        args.committing()
    }

    #[test]
    fn who_counts_commits_what_was_counted() {
        use Committing::{Auto, EachPoll, Never};
        assert_eq!(committing(None, false, None), Auto);
        assert_eq!(committing(None, true, None), EachPoll);
        assert_eq!(committing(None, false, Some(7)), EachPoll);
        assert_eq!(committing(Some("true"), true, None), Auto);
        assert_eq!(committing(Some("true"), false, Some(7)), EachPoll);
        assert_eq!(committing(Some("false"), false, Some(7)), Never);
        assert_eq!(committing(Some("false"), true, None), EachPoll);
    }
}
