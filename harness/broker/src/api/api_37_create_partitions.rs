//! `CreatePartitions` (key 37): adds partitions to a topic. Any node takes it; it acts at once.
//! Where the caller places them is not honoured.

use super::{Api, Call, number};
use crate::state::PARTITIONS_MAX;
use crate::wire;
use evenkeel_spec::words::ErrorCode;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{ApiKey, CreatePartitionsRequest, CreatePartitionsResponse};

pub(super) struct CreatePartitions;

impl Api for CreatePartitions {
    const KEY: ApiKey = ApiKey::CreatePartitions;
    type Request = CreatePartitionsRequest;
    type Response = CreatePartitionsResponse;

    async fn answer(
        call: &mut Call<'_>,
        request: CreatePartitionsRequest,
    ) -> Option<CreatePartitionsResponse> {
        let results = call.shared.change(|state| {
            let mut add = |topic: &CreatePartitionsTopic| {
                let name = wire::topic_name(&topic.name);
                let known =
                    state.topics.get(&name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
                let count = u32::try_from(topic.count).map_err(|_| ErrorCode::InvalidPartitions)?;
                if request.validate_only {
                    let more = count as usize > known.partitions.len() && count <= PARTITIONS_MAX;
                    return if more { Ok(()) } else { Err(ErrorCode::InvalidPartitions) };
                }
                state.add_partitions(&name, count)
            };
            let results = request.topics.iter().map(|topic| result(topic, number(&add(topic))));
            results.collect()
        });
        Some(CreatePartitionsResponse::default().with_results(results))
    }

    fn refuse(
        request: &CreatePartitionsRequest,
        _: i16,
        error: ErrorCode,
    ) -> CreatePartitionsResponse {
        let results = request.topics.iter().map(|topic| result(topic, error.number()));
        CreatePartitionsResponse::default().with_results(results.collect())
    }

    fn throttle(response: &mut CreatePartitionsResponse, throttle_time_ms: i32) {
        response.throttle_time_ms = throttle_time_ms;
    }
}

fn result(topic: &CreatePartitionsTopic, code: i16) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult::default().with_name(topic.name.clone()).with_error_code(code)
}
