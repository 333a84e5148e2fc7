//! `ConsumerGroupDescribe` (key 69): a group of the consumer protocol with its members, as the brain
//! describes it.

use super::{Api, Call};
use crate::groups::Shell;
use crate::state::State;
use crate::wire;
use evenkeel_coordinator::{Config, MemberDescription};
use evenkeel_spec::words::{Epoch, ErrorCode, MemberId, Partitions};
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{
    self, ApiKey, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use kafka_protocol::protocol::StrBytes;

/// A member that speaks the consumer protocol.
const CONSUMER_MEMBER: i8 = 1;

pub(super) struct ConsumerGroupDescribe;

impl Api for ConsumerGroupDescribe {
    const KEY: ApiKey = ApiKey::ConsumerGroupDescribe;
    type Request = ConsumerGroupDescribeRequest;
    type Response = ConsumerGroupDescribeResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: ConsumerGroupDescribeRequest,
    ) -> Option<ConsumerGroupDescribeResponse> {
        let state = call.state();
        let groups = request.group_ids.iter().map(|id| {
            let group = wire::group_id(id);
            if let Err(error) = state.coordinates(call.node, &group) {
                return failed(id, error);
            }
            match state.group(&group).filter(|shell| shell.brain.describe().epoch.is_some()) {
                Some(shell) => describe(&state, id, shell),
                None => failed(id, ErrorCode::GroupIdNotFound),
            }
        });
        Some(ConsumerGroupDescribeResponse::default().with_groups(groups.collect()))
    }

    fn refuse(
        request: &ConsumerGroupDescribeRequest,
        _: i16,
        error: ErrorCode,
    ) -> ConsumerGroupDescribeResponse {
        let groups = request.group_ids.iter().map(|id| failed(id, error));
        ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
    }

    fn throttle(response: &mut ConsumerGroupDescribeResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

fn failed(id: &messages::GroupId, error: ErrorCode) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(id.clone())
        .with_error_code(error.number())
        .with_error_message(Some(StrBytes::from_static_str(error.name())))
}

fn describe(state: &State, id: &messages::GroupId, shell: &Shell) -> DescribedGroup {
    let description = shell.brain.describe();
    let number = |epoch: Option<Epoch>| epoch.map_or(0, |Epoch(epoch)| epoch.cast_signed());
    let assignor = shell.brain.assignor(&Config::default());
    let members = description.members.iter();
    DescribedGroup::default()
        .with_group_id(id.clone())
        .with_group_state(StrBytes::from_static_str(description.state.name()))
        .with_group_epoch(number(description.epoch))
        .with_assignment_epoch(number(description.assignment_epoch))
        .with_assignor_name(wire::text(wire::assignor_name(&assignor)))
        .with_members(members.map(|(&id, member)| describe_member(state, shell, id, member)).collect())
}

fn describe_member(
    state: &State,
    shell: &Shell,
    id: MemberId,
    member: &MemberDescription,
) -> Member {
    let client = shell.members.client(id);
    // The brain has heard of names only.
    let (names, pattern) = shell.patterns.said(id).unwrap_or((&member.subscription, None));
    let names = names.iter().map(wire::wire_name);
    Member::default()
        .with_member_id(wire::text(shell.members.name(id)))
        .with_member_epoch(member.epoch.0.cast_signed())
        .with_client_id(wire::text(&client.id))
        .with_client_host(wire::text(&client.host))
        .with_subscribed_topic_names(names.collect())
        .with_subscribed_topic_regex(pattern.map(wire::text))
        .with_assignment(assignment(state, &member.assignment()))
        .with_target_assignment(assignment(state, &member.target))
        .with_member_type(CONSUMER_MEMBER)
}

/// Topics that were deleted since have no name to show and are left out.
fn assignment(state: &State, partitions: &Partitions) -> Assignment {
    let topics = wire::by_topic(partitions).into_iter().filter_map(|(id, partitions)| {
        let topic = TopicPartitions::default().with_topic_id(wire::wire_id(id));
        let name = wire::wire_name(state.name_of(id)?);
        Some(topic.with_topic_name(name).with_partitions(partitions))
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
