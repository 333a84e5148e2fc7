//! What we do about the errors of the data path: `Fetch` (1), `ListOffsets` (2), `Metadata` (3),
//! `OffsetFetch` (9) and `OffsetForLeaderEpoch` (23), as one table.
//!
//! Source: `FetchCollector.handleInitializeErrors`, `OffsetFetcherUtils.handleListOffsetResponse`,
//! `Metadata.handleMetadataResponse`, `CommitRequestManager.OffsetFetchRequestState.onFailure`,
//! `OffsetsForLeaderEpochUtils.handleResponse` of Apache Kafka 4.3.1. Differs where Kafka's consumer throws once and for all: here a position that
//! cannot be read is told to the application and tried again, so that one partition never ends the
//! others. Nothing retries without a backoff.

use evenkeel_spec::words::ErrorCode;

/// What to do about an error.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Try again after a backoff.
    Retry,
    /// Refresh the metadata, and try again after a backoff.
    RefreshMetadata,
    /// The position lies outside of the log: apply `auto.offset.reset`.
    Reset,
    /// The topic does not exist at the moment: warn once, wait for it.
    Absent,
    /// The brokers that are known are not those of the cluster any more: ask the bootstrap servers.
    Rebootstrap,
    /// Another broker coordinates the group: try again after a backoff, there.
    FindCoordinator,
    /// Tell the application, and try again after a backoff.
    Tell,
}

/// The actions of the data path's APIs for one error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DataPath {
    /// For a partition of `Fetch`, or all of it.
    pub fetch: Action,
    /// For a partition of `ListOffsets`.
    pub list_offsets: Action,
    /// For a topic of `Metadata`, or all of it.
    pub metadata: Action,
    /// For a partition of `OffsetFetch`, or all of it. After an error that names the member or its
    /// epoch, a retry goes out with the epoch that is known then.
    pub offset_fetch: Action,
    /// For a partition of `OffsetForLeaderEpoch`.
    pub offset_for_leader_epoch: Action,
}

/// What to do about `code`.
#[must_use]
#[expect(clippy::too_many_lines, reason = "a table")]
pub fn data_path(code: ErrorCode) -> DataPath {
    use Action::{Absent, FindCoordinator, Rebootstrap, RefreshMetadata, Reset, Retry, Tell};
    use ErrorCode as E;
    match code {
        E::UnknownServerError
        | E::RequestTimedOut
        | E::NetworkException
        | E::ThrottlingQuotaExceeded => row(Retry, Retry, Retry, Retry, Retry),
        E::OffsetOutOfRange => row(Reset, Tell, Tell, Tell, Tell),
        E::CorruptMessage => row(Tell, Retry, Tell, Tell, Tell),
        E::OffsetNotAvailable => row(Retry, Retry, Tell, Tell, RefreshMetadata),
        E::UnknownTopicOrPartition | E::UnknownTopicId | E::InconsistentTopicId => {
            row(RefreshMetadata, RefreshMetadata, Absent, RefreshMetadata, RefreshMetadata)
        }
        E::LeaderNotAvailable => {
            row(RefreshMetadata, RefreshMetadata, Retry, Retry, RefreshMetadata)
        }
        E::NotLeaderOrFollower
        | E::KafkaStorageError
        | E::FencedLeaderEpoch
        | E::UnknownLeaderEpoch => {
            row(RefreshMetadata, RefreshMetadata, Tell, Tell, RefreshMetadata)
        }
        E::BrokerNotAvailable => {
            row(RefreshMetadata, RefreshMetadata, Retry, FindCoordinator, RefreshMetadata)
        }
        E::ReplicaNotAvailable => {
            row(RefreshMetadata, RefreshMetadata, Retry, Tell, RefreshMetadata)
        }
        E::CoordinatorLoadInProgress
        | E::UnknownMemberId
        | E::UnstableOffsetCommit
        | E::FencedMemberEpoch
        | E::StaleMemberEpoch => row(Tell, Tell, Tell, Retry, Tell),
        E::CoordinatorNotAvailable | E::NotCoordinator => {
            row(Tell, Tell, Tell, FindCoordinator, Tell)
        }
        E::RebootstrapRequired => row(Tell, Tell, Rebootstrap, Tell, Tell),
        E::InvalidFetchSize
        | E::MessageTooLarge
        | E::StaleControllerEpoch
        | E::OffsetMetadataTooLarge
        | E::InvalidTopicException
        | E::RecordListTooLarge
        | E::NotEnoughReplicas
        | E::NotEnoughReplicasAfterAppend
        | E::InvalidRequiredAcks
        | E::IllegalGeneration
        | E::InconsistentGroupProtocol
        | E::InvalidGroupId
        | E::InvalidSessionTimeout
        | E::RebalanceInProgress
        | E::InvalidCommitOffsetSize
        | E::TopicAuthorizationFailed
        | E::GroupAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::InvalidTimestamp
        | E::UnsupportedSaslMechanism
        | E::IllegalSaslState
        | E::UnsupportedVersion
        | E::TopicAlreadyExists
        | E::InvalidPartitions
        | E::InvalidReplicationFactor
        | E::InvalidReplicaAssignment
        | E::InvalidConfig
        | E::NotController
        | E::InvalidRequest
        | E::UnsupportedForMessageFormat
        | E::PolicyViolation
        | E::OutOfOrderSequenceNumber
        | E::DuplicateSequenceNumber
        | E::InvalidProducerEpoch
        | E::InvalidTxnState
        | E::InvalidProducerIdMapping
        | E::InvalidTransactionTimeout
        | E::ConcurrentTransactions
        | E::TransactionCoordinatorFenced
        | E::TransactionalIdAuthorizationFailed
        | E::SecurityDisabled
        | E::OperationNotAttempted
        | E::LogDirNotFound
        | E::SaslAuthenticationFailed
        | E::UnknownProducerId
        | E::ReassignmentInProgress
        | E::DelegationTokenAuthDisabled
        | E::DelegationTokenNotFound
        | E::DelegationTokenOwnerMismatch
        | E::DelegationTokenRequestNotAllowed
        | E::DelegationTokenAuthorizationFailed
        | E::DelegationTokenExpired
        | E::InvalidPrincipalType
        | E::NonEmptyGroup
        | E::GroupIdNotFound
        | E::FetchSessionIdNotFound
        | E::InvalidFetchSessionEpoch
        | E::ListenerNotFound
        | E::TopicDeletionDisabled
        | E::UnsupportedCompressionType
        | E::StaleBrokerEpoch
        | E::MemberIdRequired
        | E::PreferredLeaderNotAvailable
        | E::GroupMaxSizeReached
        | E::FencedInstanceId
        | E::EligibleLeadersNotAvailable
        | E::ElectionNotNeeded
        | E::NoReassignmentInProgress
        | E::GroupSubscribedToTopic
        | E::InvalidRecord
        | E::ProducerFenced
        | E::ResourceNotFound
        | E::DuplicateResource
        | E::UnacceptableCredential
        | E::InconsistentVoterSet
        | E::InvalidUpdateVersion
        | E::FeatureUpdateFailed
        | E::PrincipalDeserializationFailure
        | E::SnapshotNotFound
        | E::PositionOutOfRange
        | E::DuplicateBrokerRegistration
        | E::BrokerIdNotRegistered
        | E::InconsistentClusterId
        | E::TransactionalIdNotFound
        | E::FetchSessionTopicIdError
        | E::IneligibleReplica
        | E::NewLeaderElected
        | E::OffsetMovedToTieredStorage
        | E::UnreleasedInstanceId
        | E::UnsupportedAssignor
        | E::MismatchedEndpointType
        | E::UnsupportedEndpointType
        | E::UnknownControllerId
        | E::UnknownSubscriptionId
        | E::TelemetryTooLarge
        | E::InvalidRegistration
        | E::TransactionAbortable
        | E::InvalidRecordState
        | E::ShareSessionNotFound
        | E::InvalidShareSessionEpoch
        | E::FencedStateEpoch
        | E::InvalidVoterKey
        | E::DuplicateVoter
        | E::VoterNotFound
        | E::InvalidRegularExpression
        | E::StreamsInvalidTopology
        | E::StreamsInvalidTopologyEpoch
        | E::StreamsTopologyFenced
        | E::ShareSessionLimitReached
        | E::Unlisted(_) => row(Tell, Tell, Tell, Tell, Tell),
    }
}

const fn row(
    fetch: Action,
    list_offsets: Action,
    metadata: Action,
    offset_fetch: Action,
    offset_for_leader_epoch: Action,
) -> DataPath {
    DataPath { fetch, list_offsets, metadata, offset_fetch, offset_for_leader_epoch }
}

#[cfg(test)]
mod tests {
    use super::{Action, DataPath, data_path};
    use evenkeel_spec::words::ErrorCode;

    #[test]
    fn only_an_offset_out_of_range_resets_and_only_metadata_knows_absence() {
        for &code in ErrorCode::ALL {
            let row = data_path(code);
            assert_eq!(row.fetch == Action::Reset, code == ErrorCode::OffsetOutOfRange);
            for action in [row.list_offsets, row.offset_fetch, row.offset_for_leader_epoch] {
                assert_ne!(action, Action::Reset, "{code}");
            }
            let others = [row.list_offsets, row.offset_fetch, row.offset_for_leader_epoch];
            for action in [row.fetch].into_iter().chain(others) {
                assert!(!matches!(action, Action::Absent | Action::Rebootstrap), "{code}");
            }
        }
    }

    #[test]
    fn nothing_that_kafka_calls_retriable_on_this_path_is_told() {
        for &code in ErrorCode::ALL {
            let row = data_path(code);
            let known = [row.fetch, row.list_offsets, row.metadata, row.offset_fetch]
                .iter()
                .any(|action| *action != Action::Tell);
            if row.fetch == Action::RefreshMetadata {
                assert!(code.is_retriable() || code == ErrorCode::BrokerNotAvailable, "{code}");
            }
            assert!(known || !is_common(code), "{code}");
        }
    }

    /// What is told everywhere is left out: the table's rule is that it is.
    #[test]
    fn what_we_do_about_each_code_is_the_table_in_spec() {
        let row = |code: &str, [fetch, list, metadata, offsets, epochs]: [&str; 5]| {
            let text =
                format!("{code:<40} {fetch:<17} {list:<17} {metadata:<17} {offsets:<17} {epochs}");
            text.trim_end().to_owned()
        };
        let apis = ["Fetch", "ListOffsets", "Metadata", "OffsetFetch", "OffsetForLeaderEpoch"];
        let mut table = vec![row("code", apis)];
        for &code in ErrorCode::ALL {
            let DataPath { fetch, list_offsets, metadata, offset_fetch, offset_for_leader_epoch } =
                data_path(code);
            let actions = [fetch, list_offsets, metadata, offset_fetch, offset_for_leader_epoch];
            if actions.iter().any(|action| *action != Action::Tell) {
                let words = actions.map(|action| format!("{action:?}"));
                table.push(row(&code.to_string(), words.each_ref().map(String::as_str)));
            }
        }
        insta::with_settings!({
            snapshot_path => "../../../../spec/snapshot",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { insta::assert_snapshot!("disposition-data-path", table.join("\n")) });
    }

    /// Errors that `KafkaApis` gives for these APIs while a cluster is healthy but moving.
    fn is_common(code: ErrorCode) -> bool {
        matches!(
            code,
            ErrorCode::NotLeaderOrFollower
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::UnstableOffsetCommit
                | ErrorCode::KafkaStorageError
        )
    }
}
