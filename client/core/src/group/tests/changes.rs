//! An application that changes its mind while something is still under way, and what is then not
//! waited for any more.

use super::*;

fn subscribe_to(bench: &mut Bench, topic: &str) {
    let topics = Arc::new([topic.into()].into());
    bench.feed(|group, out| group.on_subscribe(topics, false, out));
}

fn unsubscribe(bench: &mut Bench) -> &mut Bench {
    bench.feed(|group, out| group.on_unsubscribe(true, out))
}

/// The heartbeats that were ordered last.
fn said(bench: &Bench) -> Vec<&evenkeel_spec::words::Heartbeat> {
    let heartbeats = bench.out.iter().filter_map(|output| match output {
        Output::Heartbeat { request, .. } => Some(request),
        _ => None,
    });
    heartbeats.collect()
}

fn joins(bench: &Bench) -> bool {
    said(bench).iter().any(|heartbeat| heartbeat.epoch == HeartbeatEpoch::Join)
}

fn resolves(bench: &Bench) -> Vec<&BTreeSet<TopicId>> {
    let orders = bench.out.iter().filter_map(|output| match output {
        Output::ResolveTopics(ids) => Some(ids),
        _ => None,
    });
    orders.collect()
}

/// 1. An unsubscribe is dropped. 2. The application subscribes and polls. 3. The leave is answered.
///    That poll is the one to join from: no other one comes.
#[test]
fn a_poll_that_began_during_a_dropped_unsubscribe_joins_when_it_is_over() {
    let mut bench = Bench::stable(false);
    unsubscribe(&mut bench);
    bench.subscribe(false).poll();
    assert!(!bench.group.may_return() && !joins(&bench), "it is not over");
    bench.answered(accepted(2));
    assert!(bench.out.contains(&Output::Left { clean: true }), "{:?}", bench.out);
    assert!(joins(&bench), "{:?}", bench.out);
    bench.answered(granted(3, &[P0]));
    assert_eq!(*bench.group.owned(), [P0].into());
    assert!(bench.group.may_return(), "the application is inside of that poll");
}

#[test]
fn a_poll_that_began_during_a_dropped_unsubscribe_goes_on_when_its_time_to_leave_is_over() {
    let mut bench = Bench::stable(false);
    unsubscribe(&mut bench);
    bench.subscribe(false).poll();
    timer(&mut bench, Timer::Leave);
    assert!(bench.out.contains(&Output::Left { clean: false }), "{:?}", bench.out);
    assert!(joins(&bench), "{:?}", bench.out);
}

/// 1. An unsubscribe has called `revoked`, and is dropped. 2. The application subscribes and polls.
/// 3. The time to leave is over, and the callback goes on.
#[test]
fn a_poll_joins_only_when_the_callback_of_a_dropped_unsubscribe_has_returned() {
    let mut bench = Bench::stable(true);
    unsubscribe(&mut bench);
    assert!(bench.callback.is_some(), "{:?}", bench.out);
    bench.subscribe(true).poll();
    timer(&mut bench, Timer::Leave);
    assert!(bench.out.contains(&Output::Left { clean: false }), "{:?}", bench.out);
    assert!(!joins(&bench), "{:?}", bench.out);
    bench.answered(accepted(2));
    assert!(!joins(&bench), "the callback is open: {:?}", bench.out);
    bench.called(true);
    assert!(joins(&bench), "{:?}", bench.out);
}

#[test]
fn a_poll_without_a_subscription_may_be_told_so_once_a_dropped_unsubscribe_is_over() {
    let mut bench = Bench::stable(false);
    unsubscribe(&mut bench).poll().answered(accepted(2));
    assert_eq!(bench.group.state(), State::Unsubscribed);
    assert!(bench.group.may_return());
}

#[test]
fn an_application_that_does_not_poll_when_its_unsubscribe_is_over_joins_with_its_next_poll() {
    for polls in [false, true] {
        let mut bench = Bench::stable(false);
        unsubscribe(&mut bench);
        if polls {
            bench.poll().feed(Group::on_poll_ended);
        } else {
            bench.poll();
            unsubscribe(&mut bench);
        }
        bench.subscribe(false).answered(accepted(2));
        assert_eq!((bench.group.state(), joins(&bench)), (State::Subscribed, false), "{polls}");
        bench.poll();
        assert!(joins(&bench), "{polls}");
    }
}

/// The second is the same with a listener, say.
#[test]
fn a_change_of_the_subscription_that_waits_for_an_answer_goes_out_although_it_is_said_twice() {
    let mut bench = Bench::stable(false);
    timer(&mut bench, Timer::Heartbeat);
    subscribe_to(&mut bench, "payments");
    subscribe_to(&mut bench, "payments");
    assert!(said(&bench).is_empty(), "one heartbeat is in flight");
    bench.answered(accepted(2));
    let told: Vec<_> = said(&bench).iter().filter_map(|said| said.subscription.clone()).collect();
    assert_eq!(told, [Arc::new(["payments".into()].into())]);
}

#[test]
fn topics_that_the_newest_target_does_not_name_are_not_waited_for_any_more() {
    const UNNAMED: TopicIdPartition = TopicIdPartition::new(TopicId::from_u32(9), 0);
    let waiting = || {
        let mut bench = Bench::stable(false);
        timer(&mut bench, Timer::Heartbeat);
        bench.answered(granted(3, &[P0, P1, UNNAMED]));
        assert_eq!(resolves(&bench), [&BTreeSet::from([UNNAMED.topic])]);
        timer(&mut bench, Timer::Heartbeat);
        bench
    };
    let ends: [(&str, Input); 5] = [
        ("another target", |b| {
            b.answered(granted(4, &[P0, P1]));
        }),
        ("fenced", |b| {
            b.answered(Err(ErrorCode::FencedMemberEpoch));
        }),
        ("refused for good", |b| {
            b.answered(Err(ErrorCode::GroupAuthorizationFailed));
        }),
        ("no poll", |b| timer(b, Timer::PollInterval)),
        ("unsubscribed", |b| {
            unsubscribe(b);
        }),
    ];
    for (what, end) in ends {
        let mut bench = waiting();
        end(&mut bench);
        assert_eq!(resolves(&bench).last(), Some(&&BTreeSet::new()), "{what}: {:?}", bench.out);
    }
    // It holds what must be committed, and its coordinator answers nothing.
    let mut bench = waiting();
    bench.returned(7);
    unsubscribe(&mut bench);
    assert_eq!(resolves(&bench), Vec::<&BTreeSet<_>>::new(), "it is a member still");
    timer(&mut bench, Timer::Leave);
    assert_eq!(resolves(&bench), [&BTreeSet::new()]);
}
