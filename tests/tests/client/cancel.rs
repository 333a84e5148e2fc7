//! Every call, dropped at every point where it waits: the consumer goes on as if nothing had
//! happened. Lives in which each call occurs are lived again and again; each time one of the calls is
//! dropped one wake-up later than the time before, and made anew.

use crate::listeners::Diary;
use crate::support::{Read, SECOND, append_numbered, committed, member, read, unrecorded};
use evenkeel::{
    Committed, Consumer, ListenerError, Offset, PollError, RebalanceContext, RebalanceListener,
    TopicPartition,
};
use evenkeel_broker::{Before, Cluster, Request, RequestWords};
use evenkeel_spec::words::HeartbeatEpoch;
use evenkeel_tests::api;
use evenkeel_tests::validated::Validated;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// When in the life of a future it is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Moment {
    /// At once when it has begun to wait.
    Waiting,
    /// When it was woken, so that what it waited for is there and nobody has looked.
    Woken,
}

/// Which future is dropped, and when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Cut {
    /// The number of the call, from 0.
    call: usize,
    /// How many times it is polled before.
    polls: usize,
    moment: Moment,
}

/// Makes the calls of one life. Callbacks have clones.
#[derive(Clone, Debug)]
struct Caller(Arc<Mutex<Calls>>);

/// What was called so far.
#[derive(Debug)]
struct Calls {
    cut: Option<Cut>,
    names: Vec<&'static str>,
    /// The call was dropped: it did not end before.
    has_cut: bool,
}

impl Caller {
    fn new(cut: Option<Cut>) -> Self {
        Self(Arc::new(Mutex::new(Calls { cut, names: Vec::new(), has_cut: false })))
    }

    /// `None`: it was dropped.
    async fn call<T>(&self, name: &'static str, future: impl Future<Output = T>) -> Option<T> {
        let Some(Cut { polls: allowed, moment, .. }) = self.begin(name) else {
            return Some(future.await);
        };
        let (mut future, mut polls) = (pin!(future), 0);
        let outcome = poll_fn(|context| {
            if polls == allowed && moment == Moment::Woken {
                return Poll::Ready(None);
            }
            polls += 1;
            match future.as_mut().poll(context) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if polls > allowed && moment == Moment::Waiting => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        self.0.lock().expect("no panic").has_cut = outcome.is_none();
        outcome
    }

    /// How this one is to be dropped, if at all.
    fn begin(&self, name: &'static str) -> Option<Cut> {
        let mut calls = self.0.lock().expect("no panic");
        let number = calls.names.len();
        calls.names.push(name);
        calls.cut.filter(|cut| cut.call == number)
    }

    /// The name of a call, and whether the one to be dropped was.
    fn told(&self, call: usize) -> (Option<&'static str>, bool) {
        let calls = self.0.lock().expect("no panic");
        (calls.names.get(call).copied(), calls.has_cut)
    }
}

/// Makes a call until it ends.
macro_rules! done {
    ($caller:ident, $name:literal, $call:expr) => {
        loop {
            if let Some(outcome) = $caller.call($name, $call).await {
                break outcome.expect($name);
            }
        }
    };
}

/// What came of a life.
#[derive(Debug, Eq, PartialEq)]
struct Outcome {
    diary: Vec<String>,
    committed: [Option<Offset>; 2],
}

impl Outcome {
    fn of(cluster: &Cluster, diary: &Diary) -> Self {
        let committed = [0, 1].map(|index| committed(cluster, "g", "t", index));
        Self { diary: diary.lines(), committed }
    }
}

/// Another member, until it is told to leave.
fn other(cluster: &Cluster, got: &Arc<Mutex<Read>>) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let mut consumer = member(cluster, "g", 2).build().expect("valid");
    let (leave, mut leaves) = oneshot::channel();
    let got = Arc::clone(got);
    let task = tokio::spawn(async move {
        consumer.subscribe(["t"]).await.expect("subscribed");
        while leaves.try_recv().is_err() {
            let records = consumer.poll(SECOND / 10).await.expect("poll goes well");
            got.lock().expect("no panic").take(&records);
        }
        assert!(consumer.close(5 * SECOND).await.left);
    });
    (leave, task)
}

/// Polls until `enough` says so.
async fn polls(
    caller: &Caller,
    consumer: &mut Consumer,
    got: &Mutex<Read>,
    enough: impl Fn(&Consumer, usize) -> bool,
) {
    for _ in 0..200 {
        if enough(consumer, got.lock().expect("no panic").count()) {
            return;
        }
        if let Some(records) = caller.call("poll", consumer.poll(SECOND / 4)).await {
            got.lock().expect("no panic").take(&records.expect("poll goes well"));
        }
    }
    panic!("it does not get there: {:?}", got.lock().expect("no panic"));
}

/// A member's life, with two rebalances.
async fn member_lives(caller: Caller) -> Outcome {
    let caller = &caller;
    let cluster = Cluster::builder().topic("t", 2).build().expect("a cluster");
    let diary = Diary { slow: Duration::from_millis(30), ..Diary::default() };
    let got = Arc::new(Mutex::new(Read::default()));
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    append_numbered(&cluster, "t", 2, 5);
    done!(caller, "subscribe_with", consumer.subscribe_with(["t"], diary.clone()));
    polls(caller, &mut consumer, &got, |_, count| count == 10).await;

    let at = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
    done!(caller, "pause", consumer.pause(at.clone()));
    done!(caller, "resume", consumer.resume(at.clone()));
    done!(caller, "seek", consumer.seek(&at[0], 5));
    assert_eq!(done!(caller, "position", consumer.position(&at[0])), Offset(5));
    let diagnosis = done!(caller, "diagnose", consumer.diagnose());
    assert_eq!(diagnosis.partitions[&at[0]].position, Some(Offset(5)));
    let group = done!(caller, "describe_group", consumer.describe_group());
    let observer = consumer.observer();
    assert_eq!(done!(caller, "Observer::describe_group", observer.describe_group()), group);
    done!(caller, "Observer::diagnose", observer.diagnose());
    assert_eq!(group.members.iter().map(|member| member.assignment.len()).sum::<usize>(), 2);
    done!(caller, "commit", consumer.commit());
    let found = done!(caller, "committed", consumer.committed(at.clone()));
    assert!(at.iter().all(|at| found[at].as_ref().is_some_and(|at| at.offset == Offset(5))));
    let offsets = at.clone().map(|at| (at, Committed::at(Offset(5))));
    done!(caller, "commit_offsets", consumer.commit_offsets(offsets.clone()));
    done!(caller, "commit_async", consumer.commit_async());
    done!(caller, "Committer::commit", consumer.committer().commit());
    done!(
        caller,
        "Committer::commit_offsets",
        consumer.committer().commit_offsets(offsets.clone())
    );

    append_numbered(&cluster, "t", 2, 5);
    while got.lock().expect("no panic").count() < 16 {
        let count = got.lock().expect("no panic").count();
        let next = match count % 3 {
            0 => caller.call("records", consumer.records().next()).await,
            1 => caller.call("stream", consumer.stream().next()).await,
            _ => caller.call("RecordStream::next", consumer.records().next()).await,
        };
        if let Some(record) = next {
            let record = record.expect("it does not end").expect("poll goes well");
            let mut got = got.lock().expect("no panic");
            got.0.entry(record.partition).or_default().push(record.offset.0);
        }
    }
    polls(caller, &mut consumer, &got, |_, count| count == 20).await;

    let (leave, task) = other(&cluster, &got);
    polls(caller, &mut consumer, &got, |consumer, _| consumer.assignment().len() == 1).await;
    append_numbered(&cluster, "t", 2, 5);
    polls(caller, &mut consumer, &got, |_, count| count == 30).await;
    leave.send(()).expect("it listens");
    polls(caller, &mut consumer, &got, |consumer, _| consumer.assignment().len() == 2).await;
    task.await.expect("no panic");

    done!(caller, "unsubscribe", consumer.unsubscribe());
    append_numbered(&cluster, "t", 2, 5);
    done!(caller, "subscribe_pattern", consumer.subscribe_pattern("t|u.*"));
    polls(caller, &mut consumer, &got, |_, count| count == 40).await;
    assert!(got.lock().expect("no panic").is_exactly(2, 20), "{got:?}");
    done!(
        caller,
        "subscribe_pattern_with",
        consumer.subscribe_pattern_with("t|u.*", diary.clone())
    );
    done!(caller, "subscribe", consumer.subscribe(["t"]));
    done!(caller, "subscribe_with", consumer.subscribe_with(["t"], diary.clone()));
    if let Some(report) = caller.call("close", consumer.close(5 * SECOND)).await {
        assert!(report.left && report.callbacks_failed.is_empty(), "{report:?}");
    } else {
        gone(&cluster).await;
    }
    Outcome::of(&cluster, &diary)
}

/// A listener that makes every call that it can.
struct Curious(Caller, Diary);

impl RebalanceListener for Curious {
    async fn on_partitions_assigned(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        let (caller, at) = (&self.0, partitions.to_vec());
        let position =
            done!(caller, "RebalanceContext::position", context.position(&partitions[0]));
        done!(caller, "RebalanceContext::committed", context.committed(at.clone()));
        let first = done!(
            caller,
            "RebalanceContext::beginning_offsets",
            context.beginning_offsets(at.clone())
        );
        let end = done!(caller, "RebalanceContext::end_offsets", context.end_offsets(at.clone()));
        assert!(first[&at[0]] == position && end[&at[0]] == Offset(5), "{first:?} {end:?}");
        let dates = at.iter().map(|at| (at.clone(), 0)).collect::<Vec<_>>();
        done!(
            caller,
            "RebalanceContext::offsets_for_times",
            context.offsets_for_times(dates.clone())
        );
        done!(caller, "RebalanceContext::pause", context.pause(at.clone()));
        done!(caller, "RebalanceContext::resume", context.resume(at.clone()));
        done!(caller, "RebalanceContext::seek", context.seek(&at[0], Offset(1)));
        self.1.on_partitions_assigned(context, partitions).await
    }

    async fn on_partitions_revoked(
        &mut self,
        context: &mut RebalanceContext,
        partitions: &[TopicPartition],
    ) -> Result<(), ListenerError> {
        let caller = &self.0;
        done!(caller, "RebalanceContext::commit", context.commit());
        let next = partitions.iter().map(|at| (at.clone(), Committed::at(Offset(4))));
        let next: Vec<_> = next.collect();
        done!(caller, "RebalanceContext::commit_offsets", context.commit_offsets(next.clone()));
        self.1.lines.lock().expect("no panic").push("revoked".to_owned());
        Ok(())
    }
}

/// A member whose listener makes the calls.
async fn callbacks_live(caller: Caller) -> Outcome {
    let cluster = Cluster::builder().topic("t", 2).build().expect("a cluster");
    let (diary, got) = (Diary::default(), Mutex::new(Read::default()));
    let builder = member(&cluster, "g", 1).enable_auto_commit(false);
    let mut consumer = builder.build().expect("valid");
    append_numbered(&cluster, "t", 2, 5);
    let curious = Curious(caller.clone(), diary.clone());
    consumer.subscribe_with(["t"], curious).await.expect("subscribed");
    polls(&caller, &mut consumer, &got, |_, count| count == 9).await;
    assert_eq!(got.lock().expect("no panic").0[&TopicPartition::new("t", 0)], [1, 2, 3, 4]);
    done!(caller, "unsubscribe", consumer.unsubscribe());
    assert!(consumer.close(5 * SECOND).await.left);
    Outcome::of(&cluster, &diary)
}

/// Partitions that are assigned by hand, moved in, and asked about.
async fn assigned_lives(caller: Caller) -> Outcome {
    let cluster = Cluster::builder().topic("t", 2).build().expect("a cluster");
    let got = Mutex::new(Read::default());
    let mut consumer = unrecorded(&cluster, "g", 1).build().expect("valid");
    append_numbered(&cluster, "t", 2, 5);
    let at = [0, 1].map(|index| TopicPartition::new("t", index));
    done!(caller, "assign", consumer.assign(at.clone()));
    polls(&caller, &mut consumer, &got, |_, count| count == 10).await;
    assert_eq!(done!(caller, "current_lag", consumer.current_lag(&at[0])), Some(0));
    done!(caller, "seek_to_beginning", consumer.seek_to_beginning([at[0].clone()]));
    polls(&caller, &mut consumer, &got, |_, count| count == 15).await;
    done!(caller, "seek_to_beginning", consumer.seek_to_beginning([]));
    done!(caller, "seek_to_end", consumer.seek_to_end([at[1].clone()]));
    let first = done!(caller, "beginning_offsets", consumer.beginning_offsets(at.clone()));
    let end = done!(caller, "end_offsets", consumer.end_offsets(at.clone()));
    assert_eq!([first[&at[0]], end[&at[1]]], [Offset(0), Offset(5)]);
    let dates = at.clone().map(|at| (at, 0));
    let found = done!(caller, "offsets_for_times", consumer.offsets_for_times(dates.clone()));
    assert_eq!(found[&at[0]].map(|found| found.offset), Some(Offset(0)));
    assert_eq!(done!(caller, "partitions_for", consumer.partitions_for("t")).len(), 2);
    assert_eq!(done!(caller, "list_topics", consumer.list_topics()).len(), 1);
    polls(&caller, &mut consumer, &got, |_, count| count == 20).await;
    done!(caller, "assign", consumer.assign([at[1].clone()]));
    append_numbered(&cluster, "t", 2, 1);
    polls(&caller, &mut consumer, &got, |_, count| count == 21).await;
    done!(caller, "assign", consumer.assign([]));
    assert!(consumer.close(5 * SECOND).await.left);
    let expected: [&[u64]; 2] =
        [&[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4], &[0, 1, 2, 3, 4, 5]];
    for (at, expected) in at.iter().zip(expected) {
        assert_eq!(got.lock().expect("no panic").0[at], expected, "{at}");
    }
    Outcome::of(&cluster, &Diary::default())
}

/// A close that was dropped goes on in the background without callbacks, and at once.
async fn gone(cluster: &Cluster) {
    let begin = Instant::now();
    while !cluster.describe_group("g").expect("it exists").members.is_empty() {
        assert!(begin.elapsed() < SECOND, "it leaves without waiting for a callback");
        sleep(Duration::from_millis(10)).await;
    }
    sleep(SECOND).await;
    assert!(cluster.connections().is_empty());
}

type Life = fn(Caller) -> Pin<Box<dyn Future<Output = Outcome>>>;

/// Lives a life as often as it has points where a call waits; how often each call was dropped.
async fn cut_everywhere(life: Life) -> BTreeMap<&'static str, u32> {
    let expected = {
        let _runs = Validated::begin();
        life(Caller::new(None)).await
    };
    eprintln!("{expected:?}");
    let mut cut = Cut { call: 0, polls: 0, moment: Moment::Waiting };
    let mut cuts = BTreeMap::new();
    loop {
        let _runs = Validated::begin();
        let caller = Caller::new(Some(cut));
        let lived = timeout(600 * SECOND, life(caller.clone())).await;
        let (name, has_cut) = caller.told(cut.call);
        let lived = lived.unwrap_or_else(|_| panic!("{name:?} {cut:?}: it hangs"));
        let Some(name) = name else { return cuts };
        if has_cut && name == "close" {
            // What nobody released is not committed, and nobody runs callbacks any more.
            assert!(lived.committed <= expected.committed, "{cut:?}: {lived:?}");
            assert!(expected.diary.starts_with(&lived.diary[..lived.diary.len() - 1]), "{lived:?}");
        } else {
            assert_eq!(lived, expected, "{name} {cut:?}");
        }
        *cuts.entry(name).or_default() += u32::from(has_cut);
        cut = match (has_cut, cut.moment) {
            (true, _) => Cut { polls: cut.polls + 1, ..cut },
            (false, Moment::Waiting) => Cut { polls: 0, moment: Moment::Woken, ..cut },
            (false, Moment::Woken) => Cut { call: cut.call + 1, polls: 0, moment: Moment::Waiting },
        };
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_point_where_it_waits_costs_nothing() {
    let lives: [Life; 3] = [
        |caller| Box::pin(member_lives(caller)),
        |caller| Box::pin(callbacks_live(caller)),
        |caller| Box::pin(assigned_lives(caller)),
    ];
    let mut cuts = BTreeMap::<&str, u32>::new();
    for life in lives {
        let of_life = cut_everywhere(life).await;
        eprintln!("dropped: {of_life:?}");
        for (name, count) in of_life {
            *cuts.entry(name).or_default() += count;
        }
    }
    for (name, least) in [("poll", 100), ("records", 2), ("unsubscribe", 5), ("close", 5)] {
        assert!(cuts[name] >= least, "{name} was dropped {} times", cuts[name]);
    }
    assert!(cuts.values().all(|count| *count > 0), "each call was dropped: {cuts:?}");
    assert_eq!(api::mismatch(cuts.into_keys()), (vec![], vec![]), "(no such call, never made)");
}

/// A member that has read what there is, and whose unsubscribe was dropped: its leave is answered
/// four seconds later.
async fn leaving(cluster: &Cluster) -> Consumer {
    append_numbered(cluster, "t", 1, 5);
    let mut consumer = member(cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    let mut got = Read::default();
    read(&mut consumer, &mut got, 5).await;
    cluster.intercept(|request: &Request| match &request.words {
        Some(RequestWords::Heartbeat(_, said)) if said.epoch == HeartbeatEpoch::Leave => {
            Before::Delay(5 * SECOND)
        }
        _ => Before::Process,
    });
    assert!(timeout(SECOND, consumer.unsubscribe()).await.is_err(), "the leave takes five seconds");
    append_numbered(cluster, "t", 1, 5);
    consumer
}

/// The poll goes on beyond the leave's answer, and no other one comes.
#[tokio::test(start_paused = true)]
async fn a_poll_or_stream_that_begins_during_a_dropped_unsubscribe_goes_on_after_it() {
    for streams in [false, true] {
        let _runs = Validated::begin();
        let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
        let mut consumer = leaving(&cluster).await;
        consumer.subscribe(["t"]).await.expect("subscribed");
        let first = if streams {
            let mut records = consumer.records();
            let next = timeout(60 * SECOND, records.next()).await.expect("it does not hang");
            next.expect("it does not end").expect("no error").offset
        } else {
            let poll = timeout(60 * SECOND, consumer.poll(Duration::MAX)).await;
            let records = poll.expect("it does not hang").expect("poll goes well");
            records.iter().next().expect("it waits for records").offset
        };
        assert_eq!(first, Offset(5));
        cluster.intercept_none();
        assert!(consumer.close(5 * SECOND).await.left);
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_during_a_dropped_unsubscribe_says_that_nothing_is_subscribed_to() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    let mut consumer = leaving(&cluster).await;
    let poll = timeout(60 * SECOND, consumer.poll(Duration::MAX)).await.expect("it does not hang");
    assert_eq!(poll.map(drop), Err(PollError::NotSubscribed));
    cluster.intercept_none();
    assert!(consumer.close(5 * SECOND).await.left);
}
