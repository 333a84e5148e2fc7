//! `OffsetForLeaderEpoch` as a broker encodes it, and brokers that do not speak it.

use super::{AT, answered, assert_same, codec, frame, names, received, sent};
use crate::wire::{Api, Versions};
use evenkeel_core::Misbehaved;
use evenkeel_core::request::{EpochEnd, EpochQuestion, Request, Response};
use evenkeel_spec::words::{ErrorCode, LeaderEpoch, Offset};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use kafka_protocol::protocol::{StrBytes, VersionRange};
use std::collections::BTreeMap;

pub(super) fn request() -> Request {
    let question = EpochQuestion { leader_epoch: LeaderEpoch(4), current: LeaderEpoch(6) };
    Request::OffsetForLeaderEpoch { partitions: BTreeMap::from([(AT, question)]), names: names() }
}

/// The end of an epoch of a topic's partition 3.
pub(super) fn ends(topic: &'static str, partition: EpochEndOffset) -> OffsetForLeaderEpochResponse {
    let topic = OffsetForLeaderTopicResult::default()
        .with_topic(StrBytes::from_static_str(topic).into())
        .with_partitions(vec![partition.with_partition(3)]);
    OffsetForLeaderEpochResponse::default().with_topics(vec![topic])
}

fn at(epoch: i32, offset: i64) -> EpochEndOffset {
    EpochEndOffset::default().with_leader_epoch(epoch).with_end_offset(offset)
}

#[test]
fn a_consumer_asks_by_name_with_both_epochs() {
    let wire: OffsetForLeaderEpochRequest = received(request());
    assert_eq!(wire.replica_id.0, -1, "a consumer");
    assert_eq!(wire.topics[0].topic.as_str(), "t");
    let partition = &wire.topics[0].partitions[0];
    assert_eq!(partition.partition, 3);
    assert_eq!((partition.current_leader_epoch, partition.leader_epoch), (6, 4));
}

#[test]
fn an_epoch_that_is_not_known_is_none_and_an_error_an_error() {
    let answer = |answer| Response::OffsetForLeaderEpoch(BTreeMap::from([(AT, answer)]));
    let end = EpochEnd { leader_epoch: LeaderEpoch(2), offset: Offset(7) };
    assert_same(&answered(request(), &ends("t", at(2, 7))), &answer(Ok(Some(end))));
    for unknown in [at(-1, -1), at(2, -1), at(-1, 7)] {
        assert_same(&answered(request(), &ends("t", unknown)), &answer(Ok(None)));
    }
    let fenced = at(-1, -1).with_error_code(74);
    let refused = answer(Err(ErrorCode::FencedLeaderEpoch));
    assert_same(&answered(request(), &ends("t", fenced)), &refused);
}

#[test]
fn an_answer_about_another_topic_is_none() {
    let sent = sent(request());
    let frame = frame(sent.version, &ends("u", at(2, 7)));
    assert!(matches!(codec().decode(&sent, frame), Err(Misbehaved::Malformed(_))));
}

/// P6: only the flexible version is spoken, as every broker of KIP-848 does.
#[test]
fn a_broker_that_tells_no_epochs_lacks_nothing_that_is_needed() {
    let all = VersionRange { min: 0, max: i16::MAX };
    for old in [None, Some(VersionRange { min: 0, max: 3 })] {
        let (versions, missing) =
            Versions::negotiate(|key| if key == 23 { old } else { Some(all) });
        assert!(missing.is_empty(), "{missing:?}");
        assert!(!versions.speaks(Api::OffsetForLeaderEpoch) && versions.speaks(Api::Fetch));
    }
    let (versions, _) = Versions::negotiate(|_| Some(all));
    assert!(versions.speaks(Api::OffsetForLeaderEpoch));
    assert_eq!(versions.of(Api::OffsetForLeaderEpoch), 4);
}
