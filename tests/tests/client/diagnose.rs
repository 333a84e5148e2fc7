//! What a consumer says of itself, asked by its own task and by others.

use crate::listeners::Endless;
use crate::support::{Read, SECOND, append_numbered, member, read};
use evenkeel::diagnosis::{Belonging, Method, Reason, TopicTrouble, Wait};
use evenkeel::{
    Diagnosis, ErrorCode, ListenerMethod, LookupError, Observer, TopicName, TopicPartition,
};
use evenkeel_broker::Cluster;
use evenkeel_tests::validated::Validated;
use std::time::Duration;
use tokio::time::sleep;

async fn seen(observer: &Observer) -> Diagnosis {
    observer.diagnose().await.expect("it is alive")
}

fn waits(diagnosis: &Diagnosis) -> Vec<&Wait> {
    diagnosis.waits.iter().map(|(wait, _)| wait).collect()
}

#[tokio::test(start_paused = true)]
async fn a_consumer_inside_of_poll_is_looked_at_by_another_task() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t", "later"]).await.expect("subscribed");
    let observer = consumer.observer();
    let polling = tokio::spawn(async move { (consumer.poll(60 * SECOND).await, consumer) });
    sleep(10 * SECOND).await;
    let diagnosis = seen(&observer).await;
    let known = diagnosis.partitions[&TopicPartition::new("t", 0)];
    assert!(matches!(known.reason, Reason::Fetching { .. }), "{diagnosis}");
    assert!(known.lasts > 9 * SECOND && known.lag == Some(0), "{diagnosis}");
    assert_eq!(diagnosis.topics[&TopicName::from("later")], TopicTrouble::Missing);
    assert_eq!((diagnosis.away, waits(&diagnosis).len()), (None, 0), "{diagnosis}");
    let (polled, consumer) = polling.await.expect("no panic");
    assert!(polled.expect("it goes well").is_empty());
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn records_that_nobody_polls_for_are_named_with_how_long_they_wait() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    append_numbered(&cluster, "t", 1, 700);
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 500).await;
    sleep(100 * SECOND).await;
    let diagnosis = consumer.diagnose().await.expect("it is alive");
    let known = diagnosis.partitions[&TopicPartition::new("t", 0)];
    assert_eq!((known.belonging, known.reason), (Belonging::Owned, Reason::Buffered));
    // A timer of the runtime is at most a millisecond late.
    let lasts = known.lasts.as_millis();
    assert!((99_990..=100_010).contains(&lasts), "{lasts} ms");
    assert_eq!(known.position.expect("it has one").0, 500);
    assert_eq!(diagnosis.away.expect("it is").as_secs(), 100);
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_callback_without_end_is_what_a_consumer_waits_for_however_many_ask() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 1).build().expect("a cluster");
    let mut consumer = member(&cluster, "g", 1).build().expect("valid");
    consumer.subscribe_with(["t"], Endless(ListenerMethod::Assigned)).await.expect("subscribed");
    assert!(consumer.poll(10 * SECOND).await.expect("it goes well").is_empty());
    let observer = consumer.observer();
    // More than have a place at once; half of them are gone before the answer.
    let asking: Vec<_> = (0..200)
        .map(|number| {
            let observer = observer.clone();
            let patience = if number % 2 == 0 { Duration::ZERO } else { SECOND };
            tokio::spawn(async move { tokio::time::timeout(patience, seen(&observer)).await })
        })
        .collect();
    let mut answered = 0;
    for (number, asked) in asking.into_iter().enumerate() {
        let Ok(diagnosis) = asked.await.expect("no panic") else {
            assert_eq!(number % 2, 0, "an answer comes at once");
            continue;
        };
        answered += 1;
        assert_eq!(waits(&diagnosis), [&Wait::Callback(Method::Assigned)], "{diagnosis}");
        let known = diagnosis.partitions[&TopicPartition::new("t", 0)];
        assert_eq!(known.reason, Reason::CallbackRunning);
    }
    assert!(answered >= 100);
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_sees_who_has_what_it_waits_for() {
    let _runs = Validated::begin();
    let cluster = Cluster::builder().topic("t", 2).build().expect("a cluster");
    let mut first = member(&cluster, "g", 1).property("client.id", "one").build().expect("valid");
    let refused = first.describe_group().await;
    let absent = ErrorCode::GroupIdNotFound;
    assert_eq!(refused, Err(LookupError::Refused { code: absent }), "nobody has joined yet");
    first.subscribe_with(["t"], Endless(ListenerMethod::Assigned)).await.expect("subscribed");
    first.poll(10 * SECOND).await.expect("it goes well");
    let mut second = member(&cluster, "g", 2).build().expect("valid");
    second.subscribe(["t"]).await.expect("subscribed");
    second.poll(10 * SECOND).await.expect("it goes well");
    let group = second.describe_group().await.expect("it exists");
    assert_eq!(
        (&*group.state, &*group.assignor, group.members.len()),
        ("Reconciling", "uniform", 2)
    );
    let me = second.group_metadata().member.expect("it is one").0;
    let me = group.member(&me).expect("it is described");
    assert!(me.topics.contains(&TopicName::from("t")) && me.pattern.is_none());
    let awaited: Vec<_> = group.awaited(me).collect();
    assert_eq!((awaited.len(), me.target.len(), me.assignment.len()), (1, 1, 0), "{group:?}");
    let holder = awaited[0].1.expect("somebody has it");
    assert_eq!((&*holder.client_id, holder.assignment.len()), ("one", 2));
    let own = second.diagnose().await.expect("it is alive");
    assert_eq!(waits(&own), [&Wait::Assignment], "{own}");
    first.close(SECOND).await;
    second.close(SECOND).await;
}
