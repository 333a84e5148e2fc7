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
