//! Every call, dropped at every point where it waits: the consumer goes on as if nothing had
//! happened. A life in which each call occurs is lived again and again; each time one of its calls is
//! dropped one wake-up later than the time before, and made anew.

use crate::listeners::Diary;
use crate::support::{Read, SECOND, append_numbered, committed, member, read};
use evenkeel::{Committed, Consumer, Offset, PollError, TopicPartition};
use evenkeel_broker::{Before, Cluster, Request, RequestWords};
use evenkeel_spec::words::HeartbeatEpoch;
use evenkeel_tests::validated::Validated;
use std::future::{Future, poll_fn};
use std::pin::pin;
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

/// Makes the calls of one life.
#[derive(Debug)]
struct Caller {
    cut: Option<Cut>,
    calls: usize,
    names: Vec<&'static str>,
    /// The call was dropped: it did not end before.
    has_cut: bool,
}

impl Caller {
    fn new(cut: Option<Cut>) -> Self {
        Self { cut, calls: 0, names: Vec::new(), has_cut: false }
    }

    /// `None`: it was dropped.
    async fn call<T>(&mut self, name: &'static str, future: impl Future<Output = T>) -> Option<T> {
        let cut = self.cut.filter(|cut| cut.call == self.calls);
        self.calls += 1;
        self.names.push(name);
        let Some(Cut { polls: allowed, moment, .. }) = cut else { return Some(future.await) };
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
        self.has_cut = outcome.is_none();
        outcome
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
    caller: &mut Caller,
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

/// Everything that waits, at least once.
async fn live(caller: &mut Caller) -> Outcome {
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
        let mut stream = consumer.records();
        if let Some(record) = caller.call("next", stream.next()).await {
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
    done!(caller, "subscribe", consumer.subscribe(["t"]));
    done!(caller, "subscribe_with", consumer.subscribe_with(["t"], diary.clone()));
    if let Some(report) = caller.call("close", consumer.close(5 * SECOND)).await {
        assert!(report.left && report.callbacks_failed.is_empty(), "{report:?}");
    } else {
        gone(&cluster).await;
    }
    Outcome {
        diary: diary.lines(),
        committed: [0, 1].map(|index| committed(&cluster, "g", "t", index)),
    }
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

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_point_where_it_waits_costs_nothing() {
    let expected = {
        let _runs = Validated::begin();
        let mut caller = Caller::new(None);
        live(&mut caller).await
    };
    eprintln!("{expected:?}");
    let mut cut = Cut { call: 0, polls: 0, moment: Moment::Waiting };
    let mut cuts = std::collections::BTreeMap::<&str, u32>::new();
    loop {
        let _runs = Validated::begin();
        let mut caller = Caller::new(Some(cut));
        let lived = timeout(600 * SECOND, live(&mut caller)).await;
        let name = caller.names.get(cut.call).copied();
        let lived = lived.unwrap_or_else(|_| panic!("{name:?} {cut:?}: it hangs"));
        let Some(name) = name else { break };
        if caller.has_cut && name == "close" {
            // What nobody released is not committed, and nobody runs callbacks any more.
            assert!(lived.committed <= expected.committed, "{cut:?}: {lived:?}");
            assert!(expected.diary.starts_with(&lived.diary[..lived.diary.len() - 1]), "{lived:?}");
        } else {
            assert_eq!(lived, expected, "{name} {cut:?}");
        }
        *cuts.entry(name).or_default() += u32::from(caller.has_cut);
        cut = match (caller.has_cut, cut.moment) {
            (true, _) => Cut { polls: cut.polls + 1, ..cut },
            (false, Moment::Waiting) => Cut { polls: 0, moment: Moment::Woken, ..cut },
            (false, Moment::Woken) => Cut { call: cut.call + 1, polls: 0, moment: Moment::Waiting },
        };
    }
    eprintln!("dropped: {cuts:?}");
    for (name, least) in [("poll", 100), ("next", 5), ("unsubscribe", 5), ("close", 5)] {
        assert!(cuts[name] >= least, "{name} was dropped {} times", cuts[name]);
    }
    assert!(cuts.values().all(|count| *count > 0), "each call was dropped: {cuts:?}");
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
