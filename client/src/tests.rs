//! What the compiler must hold true of the public API.

use crate::{
    Commit, Committer, Consumer, OwnedRecord, RebalanceContext, RebalanceListener, Records,
    TopicPartition,
};
use std::time::Duration;

fn send<T: Send>(_: &T) {}
fn send_static<T: Send + 'static>() {}
fn sync<T: Sync>() {}

struct Silent;
impl RebalanceListener for Silent {}

#[test]
fn records_own_their_buffers_and_handles_may_be_sent() {
    send_static::<Records>();
    send_static::<OwnedRecord>();
    send_static::<Consumer>();
    send_static::<Committer>();
    send_static::<Commit>();
    sync::<Consumer>();
}

/// Never run: that it compiles is the test.
#[allow(dead_code)]
async fn every_future_is_send(mut consumer: Consumer, mut context: RebalanceContext) {
    let at = TopicPartition::new("t", 0);
    send(&consumer.subscribe(["t"]));
    send(&consumer.subscribe_with(["t"], Silent));
    send(&consumer.assign([at.clone()]));
    send(&consumer.unsubscribe());
    send(&consumer.poll(Duration::ZERO));
    send(&consumer.records());
    send(&consumer.commit());
    send(&consumer.commit_offsets([]));
    send(&consumer.position(&at));
    send(&consumer.committed([at.clone()]));
    send(&consumer.seek(&at, 0));
    send(&consumer.pause([at.clone()]));
    send(&consumer.resume([at.clone()]));
    send(&consumer.beginning_offsets([at.clone()]));
    send(&consumer.end_offsets([at.clone()]));
    send(&consumer.offsets_for_times([(at.clone(), 0)]));
    send(&consumer.partitions_for("t"));
    send(&consumer.list_topics());
    send(&consumer.current_lag(&at));
    send(&consumer.seek_to_beginning([at.clone()]));
    send(&consumer.seek_to_end([at.clone()]));
    send(&context.commit());
    send(&context.commit_offsets([]));
    send(&context.seek(&at, 0));
    send(&context.position(&at));
    send(&context.committed([at.clone()]));
    send(&context.beginning_offsets([at.clone()]));
    send(&context.end_offsets([at.clone()]));
    send(&context.offsets_for_times([(at.clone(), 0)]));
    send(&context.pause([at.clone()]));
    send(&context.resume([at.clone()]));
    send(&consumer.close(Duration::ZERO));
}
