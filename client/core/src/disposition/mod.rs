//! What we do about an error code: a table for each request of the group's side. spec/07-errors.md.
//!
//! Data, not behaviour: exhaustive, so that a new code in Kafka's table must be placed here.

pub mod data_path;

use evenkeel_spec::words::ErrorCode;

/// What an error answer makes of the request and its sender.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// Send it again after a backoff.
    Retry,
    /// Look for the coordinator, then send it again.
    FindCoordinator,
    /// The membership is over: the partitions are lost, join again; with a new member id if the
    /// coordinator does not know this one.
    Rejoin {
        /// Whether to join under a new member id.
        new_id: bool,
    },
    /// Tell the application, and go on trying.
    Surface,
    /// Final for the request, and for a heartbeat's member.
    Fatal,
}

/// What an error answer to `FindCoordinator` (key 10) means. Everything else is final: authorization, an invalid group id, a version or a request that the broker does not take.
#[must_use]
pub fn find_coordinator(code: ErrorCode) -> Verdict {
    use ErrorCode::*;
    match code {
        CoordinatorNotAvailable
        | CoordinatorLoadInProgress
        | NotCoordinator
        | RequestTimedOut
        | NetworkException
        | UnknownServerError
        | KafkaStorageError
        | NotController
        | ThrottlingQuotaExceeded => Verdict::Retry,
        OffsetOutOfRange
        | CorruptMessage
        | UnknownTopicOrPartition
        | InvalidFetchSize
        | LeaderNotAvailable
        | NotLeaderOrFollower
        | BrokerNotAvailable
        | ReplicaNotAvailable
        | MessageTooLarge
        | StaleControllerEpoch
        | OffsetMetadataTooLarge
        | InvalidTopicException
        | RecordListTooLarge
        | NotEnoughReplicas
        | NotEnoughReplicasAfterAppend
        | InvalidRequiredAcks
        | IllegalGeneration
        | InconsistentGroupProtocol
        | InvalidGroupId
        | UnknownMemberId
        | InvalidSessionTimeout
        | RebalanceInProgress
        | InvalidCommitOffsetSize
        | TopicAuthorizationFailed
        | GroupAuthorizationFailed
        | ClusterAuthorizationFailed
        | InvalidTimestamp
        | UnsupportedSaslMechanism
        | IllegalSaslState
        | UnsupportedVersion
        | TopicAlreadyExists
        | InvalidPartitions
        | InvalidReplicationFactor
        | InvalidReplicaAssignment
        | InvalidConfig
        | InvalidRequest
        | UnsupportedForMessageFormat
        | PolicyViolation
        | OutOfOrderSequenceNumber
        | DuplicateSequenceNumber
        | InvalidProducerEpoch
        | InvalidTxnState
        | InvalidProducerIdMapping
        | InvalidTransactionTimeout
        | ConcurrentTransactions
        | TransactionCoordinatorFenced
        | TransactionalIdAuthorizationFailed
        | SecurityDisabled
        | OperationNotAttempted
        | LogDirNotFound
        | SaslAuthenticationFailed
        | UnknownProducerId
        | ReassignmentInProgress
        | DelegationTokenAuthDisabled
        | DelegationTokenNotFound
        | DelegationTokenOwnerMismatch
        | DelegationTokenRequestNotAllowed
        | DelegationTokenAuthorizationFailed
        | DelegationTokenExpired
        | InvalidPrincipalType
        | NonEmptyGroup
        | GroupIdNotFound
        | FetchSessionIdNotFound
        | InvalidFetchSessionEpoch
        | ListenerNotFound
        | TopicDeletionDisabled
        | FencedLeaderEpoch
        | UnknownLeaderEpoch
        | UnsupportedCompressionType
        | StaleBrokerEpoch
        | OffsetNotAvailable
        | MemberIdRequired
        | PreferredLeaderNotAvailable
        | GroupMaxSizeReached
        | FencedInstanceId
        | EligibleLeadersNotAvailable
        | ElectionNotNeeded
        | NoReassignmentInProgress
        | GroupSubscribedToTopic
        | InvalidRecord
        | UnstableOffsetCommit
        | ProducerFenced
        | ResourceNotFound
        | DuplicateResource
        | UnacceptableCredential
        | InconsistentVoterSet
        | InvalidUpdateVersion
        | FeatureUpdateFailed
        | PrincipalDeserializationFailure
        | SnapshotNotFound
        | PositionOutOfRange
        | UnknownTopicId
        | DuplicateBrokerRegistration
        | BrokerIdNotRegistered
        | InconsistentTopicId
        | InconsistentClusterId
        | TransactionalIdNotFound
        | FetchSessionTopicIdError
        | IneligibleReplica
        | NewLeaderElected
        | OffsetMovedToTieredStorage
        | FencedMemberEpoch
        | UnreleasedInstanceId
        | UnsupportedAssignor
        | StaleMemberEpoch
        | MismatchedEndpointType
        | UnsupportedEndpointType
        | UnknownControllerId
        | UnknownSubscriptionId
        | TelemetryTooLarge
        | InvalidRegistration
        | TransactionAbortable
        | InvalidRecordState
        | ShareSessionNotFound
        | InvalidShareSessionEpoch
        | FencedStateEpoch
        | InvalidVoterKey
        | DuplicateVoter
        | VoterNotFound
        | InvalidRegularExpression
        | RebootstrapRequired
        | StreamsInvalidTopology
        | StreamsInvalidTopologyEpoch
        | StreamsTopologyFenced
        | ShareSessionLimitReached
        | Unlisted(_) => Verdict::Fatal,
    }
}

/// What an error answer to `ConsumerGroupHeartbeat` (key 68) means. Everything else is final (Kafka: `AbstractHeartbeatRequestManager.onErrorResponse`, 4.3.1); `UNRELEASED_INSTANCE_ID` is not, since it ends with a session.
#[must_use]
pub fn heartbeat(code: ErrorCode) -> Verdict {
    use ErrorCode::*;
    match code {
        CoordinatorLoadInProgress
        | RequestTimedOut
        | NetworkException
        | UnknownServerError
        | UnknownTopicOrPartition
        | UnknownTopicId
        | KafkaStorageError
        | ThrottlingQuotaExceeded
        | UnreleasedInstanceId => Verdict::Retry,
        NotCoordinator | CoordinatorNotAvailable => Verdict::FindCoordinator,
        TopicAuthorizationFailed => Verdict::Surface,
        FencedMemberEpoch => Verdict::Rejoin { new_id: false },
        UnknownMemberId => Verdict::Rejoin { new_id: true },
        OffsetOutOfRange
        | CorruptMessage
        | InvalidFetchSize
        | LeaderNotAvailable
        | NotLeaderOrFollower
        | BrokerNotAvailable
        | ReplicaNotAvailable
        | MessageTooLarge
        | StaleControllerEpoch
        | OffsetMetadataTooLarge
        | InvalidTopicException
        | RecordListTooLarge
        | NotEnoughReplicas
        | NotEnoughReplicasAfterAppend
        | InvalidRequiredAcks
        | IllegalGeneration
        | InconsistentGroupProtocol
        | InvalidGroupId
        | InvalidSessionTimeout
        | RebalanceInProgress
        | InvalidCommitOffsetSize
        | GroupAuthorizationFailed
        | ClusterAuthorizationFailed
        | InvalidTimestamp
        | UnsupportedSaslMechanism
        | IllegalSaslState
        | UnsupportedVersion
        | TopicAlreadyExists
        | InvalidPartitions
        | InvalidReplicationFactor
        | InvalidReplicaAssignment
        | InvalidConfig
        | NotController
        | InvalidRequest
        | UnsupportedForMessageFormat
        | PolicyViolation
        | OutOfOrderSequenceNumber
        | DuplicateSequenceNumber
        | InvalidProducerEpoch
        | InvalidTxnState
        | InvalidProducerIdMapping
        | InvalidTransactionTimeout
        | ConcurrentTransactions
        | TransactionCoordinatorFenced
        | TransactionalIdAuthorizationFailed
        | SecurityDisabled
        | OperationNotAttempted
        | LogDirNotFound
        | SaslAuthenticationFailed
        | UnknownProducerId
        | ReassignmentInProgress
        | DelegationTokenAuthDisabled
        | DelegationTokenNotFound
        | DelegationTokenOwnerMismatch
        | DelegationTokenRequestNotAllowed
        | DelegationTokenAuthorizationFailed
        | DelegationTokenExpired
        | InvalidPrincipalType
        | NonEmptyGroup
        | GroupIdNotFound
        | FetchSessionIdNotFound
        | InvalidFetchSessionEpoch
        | ListenerNotFound
        | TopicDeletionDisabled
        | FencedLeaderEpoch
        | UnknownLeaderEpoch
        | UnsupportedCompressionType
        | StaleBrokerEpoch
        | OffsetNotAvailable
        | MemberIdRequired
        | PreferredLeaderNotAvailable
        | GroupMaxSizeReached
        | FencedInstanceId
        | EligibleLeadersNotAvailable
        | ElectionNotNeeded
        | NoReassignmentInProgress
        | GroupSubscribedToTopic
        | InvalidRecord
        | UnstableOffsetCommit
        | ProducerFenced
        | ResourceNotFound
        | DuplicateResource
        | UnacceptableCredential
        | InconsistentVoterSet
        | InvalidUpdateVersion
        | FeatureUpdateFailed
        | PrincipalDeserializationFailure
        | SnapshotNotFound
        | PositionOutOfRange
        | DuplicateBrokerRegistration
        | BrokerIdNotRegistered
        | InconsistentTopicId
        | InconsistentClusterId
        | TransactionalIdNotFound
        | FetchSessionTopicIdError
        | IneligibleReplica
        | NewLeaderElected
        | OffsetMovedToTieredStorage
        | UnsupportedAssignor
        | StaleMemberEpoch
        | MismatchedEndpointType
        | UnsupportedEndpointType
        | UnknownControllerId
        | UnknownSubscriptionId
        | TelemetryTooLarge
        | InvalidRegistration
        | TransactionAbortable
        | InvalidRecordState
        | ShareSessionNotFound
        | InvalidShareSessionEpoch
        | FencedStateEpoch
        | InvalidVoterKey
        | DuplicateVoter
        | VoterNotFound
        | InvalidRegularExpression
        | RebootstrapRequired
        | StreamsInvalidTopology
        | StreamsInvalidTopologyEpoch
        | StreamsTopologyFenced
        | ShareSessionLimitReached
        | Unlisted(_) => Verdict::Fatal,
    }
}

/// What an error answer to `OffsetCommit` (key 8) means. `STALE_MEMBER_EPOCH` is sent again with the epoch of the next answered heartbeat, as long as the ownership goes on. A commit never ends a membership: the heartbeat finds that out.
#[must_use]
pub fn offset_commit(code: ErrorCode) -> Verdict {
    use ErrorCode::*;
    match code {
        CoordinatorLoadInProgress
        | RequestTimedOut
        | NetworkException
        | UnknownServerError
        | StaleMemberEpoch
        | KafkaStorageError
        | ThrottlingQuotaExceeded
        | UnstableOffsetCommit
        | RebalanceInProgress
        | NotEnoughReplicas
        | NotEnoughReplicasAfterAppend => Verdict::Retry,
        NotCoordinator | CoordinatorNotAvailable => Verdict::FindCoordinator,
        OffsetOutOfRange
        | CorruptMessage
        | UnknownTopicOrPartition
        | InvalidFetchSize
        | LeaderNotAvailable
        | NotLeaderOrFollower
        | BrokerNotAvailable
        | ReplicaNotAvailable
        | MessageTooLarge
        | StaleControllerEpoch
        | OffsetMetadataTooLarge
        | InvalidTopicException
        | RecordListTooLarge
        | InvalidRequiredAcks
        | IllegalGeneration
        | InconsistentGroupProtocol
        | InvalidGroupId
        | UnknownMemberId
        | InvalidSessionTimeout
        | InvalidCommitOffsetSize
        | TopicAuthorizationFailed
        | GroupAuthorizationFailed
        | ClusterAuthorizationFailed
        | InvalidTimestamp
        | UnsupportedSaslMechanism
        | IllegalSaslState
        | UnsupportedVersion
        | TopicAlreadyExists
        | InvalidPartitions
        | InvalidReplicationFactor
        | InvalidReplicaAssignment
        | InvalidConfig
        | NotController
        | InvalidRequest
        | UnsupportedForMessageFormat
        | PolicyViolation
        | OutOfOrderSequenceNumber
        | DuplicateSequenceNumber
        | InvalidProducerEpoch
        | InvalidTxnState
        | InvalidProducerIdMapping
        | InvalidTransactionTimeout
        | ConcurrentTransactions
        | TransactionCoordinatorFenced
        | TransactionalIdAuthorizationFailed
        | SecurityDisabled
        | OperationNotAttempted
        | LogDirNotFound
        | SaslAuthenticationFailed
        | UnknownProducerId
        | ReassignmentInProgress
        | DelegationTokenAuthDisabled
        | DelegationTokenNotFound
        | DelegationTokenOwnerMismatch
        | DelegationTokenRequestNotAllowed
        | DelegationTokenAuthorizationFailed
        | DelegationTokenExpired
        | InvalidPrincipalType
        | NonEmptyGroup
        | GroupIdNotFound
        | FetchSessionIdNotFound
        | InvalidFetchSessionEpoch
        | ListenerNotFound
        | TopicDeletionDisabled
        | FencedLeaderEpoch
        | UnknownLeaderEpoch
        | UnsupportedCompressionType
        | StaleBrokerEpoch
        | OffsetNotAvailable
        | MemberIdRequired
        | PreferredLeaderNotAvailable
        | GroupMaxSizeReached
        | FencedInstanceId
        | EligibleLeadersNotAvailable
        | ElectionNotNeeded
        | NoReassignmentInProgress
        | GroupSubscribedToTopic
        | InvalidRecord
        | ProducerFenced
        | ResourceNotFound
        | DuplicateResource
        | UnacceptableCredential
        | InconsistentVoterSet
        | InvalidUpdateVersion
        | FeatureUpdateFailed
        | PrincipalDeserializationFailure
        | SnapshotNotFound
        | PositionOutOfRange
        | UnknownTopicId
        | DuplicateBrokerRegistration
        | BrokerIdNotRegistered
        | InconsistentTopicId
        | InconsistentClusterId
        | TransactionalIdNotFound
        | FetchSessionTopicIdError
        | IneligibleReplica
        | NewLeaderElected
        | OffsetMovedToTieredStorage
        | FencedMemberEpoch
        | UnreleasedInstanceId
        | UnsupportedAssignor
        | MismatchedEndpointType
        | UnsupportedEndpointType
        | UnknownControllerId
        | UnknownSubscriptionId
        | TelemetryTooLarge
        | InvalidRegistration
        | TransactionAbortable
        | InvalidRecordState
        | ShareSessionNotFound
        | InvalidShareSessionEpoch
        | FencedStateEpoch
        | InvalidVoterKey
        | DuplicateVoter
        | VoterNotFound
        | InvalidRegularExpression
        | RebootstrapRequired
        | StreamsInvalidTopology
        | StreamsInvalidTopologyEpoch
        | StreamsTopologyFenced
        | ShareSessionLimitReached
        | Unlisted(_) => Verdict::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, find_coordinator, heartbeat, offset_commit};
    use evenkeel_spec::words::ErrorCode;
    use std::fmt::Write;

    /// What is final everywhere is left out: the table's rule is that it is.
    #[test]
    fn what_we_do_about_each_code_is_the_table_in_spec() {
        let mut table = format!(
            "{:<40} {:<18} {:<24} {:<18}\n",
            "code", "FindCoordinator", "ConsumerGroupHeartbeat", "OffsetCommit"
        );
        for &code in ErrorCode::ALL {
            let verdicts = [find_coordinator(code), heartbeat(code), offset_commit(code)];
            if verdicts.iter().all(|verdict| *verdict == Verdict::Fatal) {
                continue;
            }
            let [lookup, heartbeat, commit] = verdicts.map(|verdict| match verdict {
                Verdict::Rejoin { new_id: true } => "Rejoin, new id".to_owned(),
                Verdict::Rejoin { new_id: false } => "Rejoin, same id".to_owned(),
                other => format!("{other:?}"),
            });
            let code = code.to_string();
            writeln!(table, "{code:<40} {lookup:<18} {heartbeat:<24} {commit:<18}").expect("text");
        }
        let table: Vec<_> = table.lines().map(str::trim_end).collect();
        insta::with_settings!({
            snapshot_path => "../../../../spec/snapshot",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { insta::assert_snapshot!("disposition-group", table.join("\n")) });
    }
}
