//! What an answer is as a whole.

use super::Response;
use evenkeel_spec::words::{ErrorCode, TopicId, TopicIdPartition};
use std::collections::BTreeMap;

#[test]
fn an_answer_is_an_error_where_every_partition_is_refused_and_only_there() {
    let at = |partition| TopicIdPartition::new(TopicId([7; 16]), partition);
    let (denied, unknown) =
        (ErrorCode::TopicAuthorizationFailed, ErrorCode::UnknownTopicOrPartition);
    let committed = |results: &[Result<(), ErrorCode>]| {
        let results = results.iter().enumerate();
        let results = results
            .map(|(index, result)| (at(u32::try_from(index).expect("few of them")), *result));
        Response::<()>::OffsetCommit(Ok(results.collect::<BTreeMap<_, _>>())).error()
    };
    assert_eq!(committed(&[Err(denied), Err(unknown)]), Some(denied), "the first one");
    assert_eq!(committed(&[Ok(()), Err(unknown)]), None);
    assert_eq!(committed(&[Err(denied), Ok(())]), None);
    assert_eq!(committed(&[]), None);
    let whole = Response::<()>::OffsetCommit(Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(whole.error(), Some(ErrorCode::StaleMemberEpoch));
    let listed = Response::<()>::ListOffsets(BTreeMap::from([(at(0), Err(unknown))]));
    assert_eq!(listed.error(), Some(unknown));
}
