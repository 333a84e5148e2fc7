//! What connections are for, while a broker does not read and after it.

use crate::reader::Reader;
use crate::support::{Read, SECOND, read};
use crate::{cluster, member};
use evenkeel::CoordinatorConnection::Dedicated;
use evenkeel_broker::{After, Answer, Interceptor, Request};
use evenkeel_tests::validated::Validated;
use std::sync::atomic::{AtomicBool, Ordering};

const ROLES: [&str; 4] = ["bootstrap", "broker", "coordinator", "second"];

fn open(reader: &Reader) -> [f64; 4] {
    let shown = reader.read();
    ROLES.map(|role| shown.of(&format!("connection.count{{role={role}}}")))
}

fn made(reader: &Reader) -> [f64; 4] {
    let shown = reader.read();
    ROLES.map(|role| {
        shown.get(&format!("connection.creation.total{{role={role}}}")).unwrap_or_default()
    })
}

/// Q8: system requests take a second connection, and it ends with the need.
#[tokio::test(start_paused = true)]
async fn a_throttled_brokers_second_connection_is_counted_as_such_and_gone_with_the_need() {
    let _runs = Validated::begin();
    let (cluster, reader) = (cluster(), Reader::new());
    let mut consumer = member(&cluster, &reader).build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    assert_eq!(open(&reader), [0.0, 1.0, 0.0, 0.0], "the bootstrap server's is the broker's");
    let [.., before] = made(&reader);
    cluster.intercept(ThrottlesOnce::default());
    cluster.append("t", 0, None, Some(b"value")).expect("it exists");
    let mut most = 0.0_f64;
    for _ in 0..30 {
        consumer.poll(SECOND).await.expect("poll goes well");
        let [bootstrap, broker, coordinator, second] = open(&reader);
        assert_eq!([bootstrap, broker, coordinator], [0.0, 1.0, 0.0]);
        most = most.max(second);
    }
    assert_eq!(most, 1.0);
    assert_eq!(open(&reader), [0.0, 1.0, 0.0, 0.0]);
    let [.., after] = made(&reader);
    assert!(after > before, "{after} second ones were made");
    cluster.intercept_none();
    consumer.close(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_dedicated_connection_is_the_coordinators_and_no_second_one() {
    let _runs = Validated::begin();
    let (cluster, reader) = (cluster(), Reader::new());
    let builder = member(&cluster, &reader).coordinator_connection(Dedicated);
    let mut consumer = builder.build().expect("valid");
    consumer.subscribe(["t"]).await.expect("subscribed");
    read(&mut consumer, &mut Read::default(), 20).await;
    assert_eq!(open(&reader), [0.0, 1.0, 1.0, 0.0]);
    assert_eq!(made(&reader), [1.0, 0.0, 1.0, 0.0]);
    consumer.close(SECOND).await;
}

/// The first fetch costs the client twelve seconds.
#[derive(Default)]
struct ThrottlesOnce(AtomicBool);

impl Interceptor for ThrottlesOnce {
    fn on_answer(&self, request: &Request, _: &Answer) -> After {
        if request.api_key == FETCH && !self.0.swap(true, Ordering::Relaxed) {
            return After::Throttle(12 * SECOND);
        }
        After::Answer
    }
}

const FETCH: i16 = 1;
