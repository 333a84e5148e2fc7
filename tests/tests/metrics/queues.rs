//! What waits between the application and its background, in either direction, and for how long.

use crate::listeners::Slow;
use crate::reader::{Reader, Shown};
use crate::support::{Read, SECOND, read};
use crate::{OFFSET_FETCH, SPIN, Spinning, assigned, at, cluster, member, quiet, slow};
use evenkeel::{DiagnoseError, LookupError};
use evenkeel_tests::validated::Validated;
use std::time::Duration;
use tokio::time::{Instant, advance, sleep};

/// Of one queue and event: how many, and the sum of their times.
fn timed(shown: &Shown, name: &str, event: &str) -> [f64; 2] {
    ["count", "sum"]
        .map(|of| shown.get(&format!("{name}{{event={event}}}.{of}")).unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn what_the_application_asks_waits_until_the_background_has_a_turn_and_keeps_it_busy() {
    let (cluster, reader) = (cluster(), Reader::new());
    let builder = assigned(&cluster, &reader).record_run(Spinning("\"event\":\"commit\""));
    let consumer = quiet(&cluster, builder).await;
    let name = "application.event.queue";
    let before = reader.read();
    assert_eq!(before.of(&format!("{name}.size{{}}")), 0.0);
    assert_eq!(timed(&before, &format!("{name}.time"), "OffsetCommit"), [0.0, 0.0]);

    // The background shares this thread: it has no turn before this test waits.
    let commits = [consumer.commit_async(), consumer.commit_async()];
    assert_eq!(reader.read().of(&format!("{name}.size{{}}")), 2.0);
    advance(3 * SECOND).await;
    for commit in commits {
        commit.await.expect("there is nothing to commit");
    }
    let shown = reader.read();
    assert_eq!(shown.of(&format!("{name}.size{{}}")), 0.0);
    assert_eq!(timed(&shown, &format!("{name}.time"), "OffsetCommit"), [2.0, 6_000.0]);
    let [count, busy] = timed(&shown, &format!("{name}.processing.time"), "OffsetCommit");
    assert!(count == 2.0 && busy >= 2_000.0 * SPIN.as_secs_f64(), "{busy} ms for {count}");
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_background_tells_waits_for_a_poll_and_a_callback_is_processed_to_its_end() {
    let _runs = Validated::begin();
    let (cluster, reader) = (cluster(), Reader::new());
    let builder = member(&cluster, &reader).property("max.poll.interval.ms", "10000");
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe_with(["t"], Slow::default()).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    let name = "background.event.queue";
    let shown = reader.read();
    assert_eq!(shown.of(&format!("{name}.size{{}}")), 0.0);
    let callbacks = timed(&shown, &format!("{name}.processing.time"), "callback");
    assert_eq!(callbacks, [1.0, 700.0]);
    let polls = timed(&shown, &format!("{name}.time"), "records");
    assert!(polls[0] >= 1.0 && polls[1] == 0.0, "{polls:?}: a poll waits for its records");
    let [before, _] = timed(&shown, &format!("{name}.time"), "assignment");

    // Ten seconds later everything is lost, and told when the application is back.
    sleep(12 * SECOND).await;
    assert_eq!(reader.read().of(&format!("{name}.size{{}}")), 1.0);
    consumer.poll(Duration::ZERO).await.expect("poll goes well");
    let shown = reader.read();
    assert_eq!(shown.of(&format!("{name}.size{{}}")), 0.0);
    let assigned = timed(&shown, &format!("{name}.time"), "assignment");
    assert_eq!(assigned, [before + 1.0, 2_000.0]);
    consumer.close(5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_were_not_answered_in_time_are_counted_by_what_was_asked() {
    let (cluster, reader) = (cluster(), Reader::new());
    let builder = assigned(&cluster, &reader).in_flight_max(1);
    let consumer = quiet(&cluster, builder.default_api_timeout(5 * SECOND)).await;
    let expired = |request: &str| {
        let point = format!("application.events.expired.count{{request={request}}}");
        reader.read().get(&point).unwrap_or_default()
    };
    assert_eq!(expired("OffsetFetch"), 0.0);
    cluster.intercept(slow(OFFSET_FETCH, 600 * SECOND));
    let (sent, unsent) = tokio::join!(consumer.committed([at(0)]), consumer.committed([at(1)]));
    assert!(matches!(sent, Err(LookupError::TimedOut { .. })), "{sent:?}");
    assert!(matches!(unsent, Err(LookupError::TimedOut { .. })), "{unsent:?}");
    assert_eq!(expired("OffsetFetch"), 2.0);
    cluster.intercept_none();
    consumer.close(SECOND).await;

    // A background that nobody runs.
    let idle = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("one");
    let stuck = assigned(&cluster, &reader).spawn_on(idle.handle().clone());
    let stuck = stuck.build().expect("valid");
    assert_eq!(stuck.diagnose().await, Err(DiagnoseError::TimedOut));
    assert_eq!(expired("diagnose"), 1.0);
    drop(stuck);
    idle.shutdown_background();
}

#[tokio::test(start_paused = true)]
async fn how_long_the_background_does_not_look_around_adds_up_to_the_whole_time() {
    let (cluster, reader) = (cluster(), Reader::new());
    let consumer = quiet(&cluster, assigned(&cluster, &reader)).await;
    let looks = || {
        ["count", "sum"]
            .map(|of| reader.read().of(&format!("time.between.network.thread.poll{{}}.{of}")))
    };
    consumer.committed([at(0)]).await.expect("the coordinator answers");
    let ([count, sum], begun) = (looks(), Instant::now());
    sleep(60 * SECOND).await;
    consumer.committed([at(0)]).await.expect("the coordinator answers");
    let [more, whole] = looks();
    let passed = begun.elapsed().as_secs_f64() * 1_000.0;
    assert!(more > count && passed >= 60_000.0);
    assert!((whole - sum - passed).abs() < 1e-6, "{} ms in {passed} ms", whole - sum);
    consumer.close(SECOND).await;
}
