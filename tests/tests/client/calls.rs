//! Every call that waits, as a table that other tests go through. What the client's sources offer is
//! what stands in it.

use crate::listeners::{Diary, Endless};
use evenkeel::{
    BackgroundDied, CommitError, Committed, Committer, Consumer, DiagnoseError, ErrorRow,
    ListenerMethod, LookupError, Observer, Offset, PollError, PositionError, RebalanceContext,
    SubscribeError, TopicPartition,
};
use evenkeel_tests::api;
use std::time::Duration;
use tokio::time::timeout;

/// What a poll, a close and a stream's next record are given.
pub(crate) const OWN: Duration = Duration::from_secs(3);

/// Those of a consumer that leave its subscription or assignment as it is, and run no callback.
pub(crate) const QUIET_CALLS: [&str; 18] = [
    "commit",
    "commit_offsets",
    "commit_async",
    "position",
    "committed",
    "seek",
    "seek_to_beginning",
    "seek_to_end",
    "pause",
    "resume",
    "beginning_offsets",
    "end_offsets",
    "offsets_for_times",
    "partitions_for",
    "list_topics",
    "current_lag",
    "diagnose",
    "describe_group",
];

/// Those that return records, run callbacks, or change what is subscribed to or assigned; in brackets, another
/// way to make one.
pub(crate) const OTHER_CALLS: [&str; 13] = [
    "poll",
    "records",
    "stream",
    "RecordStream::next",
    "subscribe",
    "subscribe(none)",
    "subscribe_with",
    "subscribe_pattern",
    "subscribe_pattern_with",
    "assign",
    "assign(none)",
    "unsubscribe",
    "close",
];

/// Those of handles that other tasks have, also while and after the consumer closes.
pub(crate) const OUTLIVING_CALLS: [&str; 4] = [
    "Committer::commit",
    "Committer::commit_offsets",
    "Observer::diagnose",
    "Observer::describe_group",
];

/// Those of a callback.
pub(crate) const CALLBACK_CALLS: [&str; 10] = [
    "RebalanceContext::commit",
    "RebalanceContext::commit_offsets",
    "RebalanceContext::seek",
    "RebalanceContext::position",
    "RebalanceContext::committed",
    "RebalanceContext::beginning_offsets",
    "RebalanceContext::end_offsets",
    "RebalanceContext::offsets_for_times",
    "RebalanceContext::pause",
    "RebalanceContext::resume",
];

/// Whatever can be called on a consumer, or on a handle of its.
pub(crate) fn calls() -> impl Iterator<Item = &'static str> {
    QUIET_CALLS.into_iter().chain(OTHER_CALLS).chain(OUTLIVING_CALLS)
}

/// How a call failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    Subscribe(SubscribeError),
    Poll(PollError),
    Commit(CommitError),
    Position(PositionError),
    Lookup(LookupError),
    Diagnose(DiagnoseError),
}

macro_rules! failures {
    ($($variant:ident $error:ident)+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })+

        impl Failure {
            /// Its row in the table of errors.
            pub(crate) fn row(&self) -> &'static ErrorRow {
                match self {
                    $(Self::$variant(error) => error.row(),)+
                }
            }

            /// Why the background ended, if that is the failure.
            pub(crate) fn died(&self) -> Option<&BackgroundDied> {
                match self {
                    $(Self::$variant($error::Background(died)) => Some(died),)+
                    _ => None,
                }
            }
        }
    };
}
failures!(Subscribe SubscribeError Poll PollError Commit CommitError Position PositionError
    Lookup LookupError Diagnose DiagnoseError);

/// A call's outcome in a word: `ok`, or the name of the error's variant.
pub(crate) fn word(outcome: &Result<(), Failure>) -> &'static str {
    match outcome {
        Ok(()) => "ok",
        Err(failure) => failure.row().variant,
    }
}

fn done<T>(outcome: Result<T, impl Into<Failure>>) -> Result<(), Failure> {
    outcome.map(drop).map_err(Into::into)
}

/// What other tasks have of a consumer.
pub(crate) struct Handles {
    pub(crate) committer: Committer,
    pub(crate) observer: Observer,
}

impl Handles {
    pub(crate) fn of(consumer: &Consumer) -> Self {
        Self { committer: consumer.committer(), observer: consumer.observer() }
    }

    /// Makes one of [`OUTLIVING_CALLS`].
    pub(crate) async fn call(&self, name: &str) -> Result<(), Failure> {
        let offsets = [(TopicPartition::new("t", 0), Committed::at(Offset(3)))];
        match name {
            "Committer::commit" => done(self.committer.commit().await),
            "Committer::commit_offsets" => done(self.committer.commit_offsets(offsets).await),
            "Observer::diagnose" => done(self.observer.diagnose().await),
            "Observer::describe_group" => done(self.observer.describe_group().await),
            other => panic!("no such call: {other}"),
        }
    }
}

/// Makes one of [`calls`], of partition 0 of topic `t` where it needs one; but `close`.
pub(crate) async fn call(name: &str, consumer: &mut Consumer) -> Result<(), Failure> {
    let at = TopicPartition::new("t", 0);
    let endless = Endless(ListenerMethod::Revoked);
    match name {
        "poll" => done(consumer.poll(OWN).await),
        // It waits as long as it is let, and no error comes of being dropped.
        "records" | "RecordStream::next" => match timeout(OWN, consumer.records().next()).await {
            Ok(next) => done(next.expect("a stream does not end by itself")),
            Err(_elapsed) => Ok(()),
        },
        "stream" => match timeout(OWN, consumer.stream().next()).await {
            Ok(next) => done(next.expect("a stream does not end by itself")),
            Err(_elapsed) => Ok(()),
        },
        "subscribe" => done(consumer.subscribe(["u"]).await),
        "subscribe(none)" => done(consumer.subscribe(Vec::<String>::new()).await),
        "subscribe_with" => done(consumer.subscribe_with(["u"], endless).await),
        "subscribe_pattern" => done(consumer.subscribe_pattern("u.*").await),
        "subscribe_pattern_with" => {
            done(consumer.subscribe_pattern_with("u.*", Diary::default()).await)
        }
        "assign" => done(consumer.assign([at]).await),
        "assign(none)" => done(consumer.assign([]).await),
        "unsubscribe" => done(consumer.unsubscribe().await),
        "commit" => done(consumer.commit().await),
        "commit_offsets" => done(consumer.commit_offsets([(at, Committed::at(Offset(3)))]).await),
        "commit_async" => done(consumer.commit_async().await),
        "position" => done(consumer.position(&at).await),
        "committed" => done(consumer.committed([at]).await),
        "seek" => done(consumer.seek(&at, 3).await),
        "seek_to_beginning" => done(consumer.seek_to_beginning([at]).await),
        "seek_to_end" => done(consumer.seek_to_end([at]).await),
        "pause" => done(consumer.pause([at]).await),
        "resume" => done(consumer.resume([at]).await),
        "beginning_offsets" => done(consumer.beginning_offsets([at]).await),
        "end_offsets" => done(consumer.end_offsets([at]).await),
        "offsets_for_times" => done(consumer.offsets_for_times([(at, 0)]).await),
        "partitions_for" => done(consumer.partitions_for("v").await),
        "list_topics" => done(consumer.list_topics().await),
        "current_lag" => done(consumer.current_lag(&at).await),
        "diagnose" => done(consumer.diagnose().await),
        "describe_group" => done(consumer.describe_group().await),
        other => Handles::of(consumer).call(other).await,
    }
}

/// Makes one of [`CALLBACK_CALLS`].
pub(crate) async fn callback_call(
    name: &str,
    context: &mut RebalanceContext,
) -> Result<(), Failure> {
    let at = TopicPartition::new("t", 0);
    match name.strip_prefix("RebalanceContext::").unwrap_or(name) {
        "commit" => done(context.commit().await),
        "commit_offsets" => done(context.commit_offsets([(at, Committed::at(Offset(3)))]).await),
        "seek" => done(context.seek(&at, 3).await),
        "position" => done(context.position(&at).await),
        "committed" => done(context.committed([at]).await),
        "beginning_offsets" => done(context.beginning_offsets([at]).await),
        "end_offsets" => done(context.end_offsets([at]).await),
        "offsets_for_times" => done(context.offsets_for_times([(at, 0)]).await),
        "pause" => done(context.pause([at]).await),
        "resume" => done(context.resume([at]).await),
        other => panic!("no such call: {other}"),
    }
}

#[test]
fn every_public_call_that_waits_is_in_the_table() {
    let table: Vec<_> = calls().chain(CALLBACK_CALLS).filter(|name| !name.contains('(')).collect();
    assert_eq!(api::mismatch(table), (vec![], vec![]), "(no such call, not in the table)");
}
