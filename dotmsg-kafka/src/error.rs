//! librdkafka's errors in the words of the framework.
//!
//! The kind is what the runtime decides on, so each code that means something to it is named here; what is left is
//! [`ErrorKind::Unexpected`] and says librdkafka's own words.

use dotmsg_core::error::{Error, ErrorKind, Retryability};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// What a code comes to.
pub(crate) fn kind(code: Code) -> ErrorKind {
    match code {
        Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownTopicId
        | Code::GroupIdNotFound => ErrorKind::NotFound,
        Code::TopicAlreadyExists => ErrorKind::AlreadyExists,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication => ErrorKind::Denied,
        Code::AllBrokersDown
        | Code::BrokerTransportFailure
        | Code::Resolve
        | Code::BrokerNotAvailable
        | Code::DestroyBroker
        | Code::LeaderNotAvailable
        | Code::OffsetNotAvailable
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::NotCoordinator
        | Code::WaitingForCoordinator
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::NetworkException => ErrorKind::Unreachable,
        Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::RequestTimedOut
        | Code::TimedOutQueue => ErrorKind::Timeout,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::OffsetMetadataTooLarge => {
            ErrorKind::TooLarge
        }
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::FencedInstanceId
        | Code::Fenced
        | Code::ProducerFenced
        | Code::InvalidProducerEpoch
        | Code::FencedMemberEpoch
        | Code::StaleMemberEpoch
        | Code::UnreleasedInstanceId => ErrorKind::Fenced,
        Code::QueueFull => ErrorKind::Full,
        // Purged: its transaction is being aborted.
        Code::BrokerDestroy | Code::PurgeQueue | Code::PurgeInflight => ErrorKind::Closed,
        Code::InvalidArgument
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::InvalidConfig
        | Code::PolicyViolation => ErrorKind::Invalid,
        _ => ErrorKind::Unexpected,
    }
}

/// An error of this code, met while attempting `operation`.
pub(crate) fn of_code(operation: &'static str, code: Code) -> Error {
    let error = Error::new(kind(code), operation, code.to_string());
    match code {
        // The last two end a producer; another one takes its place.
        Code::RebalanceInProgress
        | Code::ConcurrentTransactions
        | Code::UnstableOffsetCommit
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId => error.retryable(Retryability::Transient),
        Code::InvalidReplicationFactor => error.remedy(
            "Set replication in [backend.<name>] to no more than there are brokers, or create the topic with the broker's tools",
        ),
        Code::InvalidTransactionTimeout => error.remedy(
            "Set \"transaction.timeout.ms\" in [backend.<name>.kafka] to no more than the brokers' transaction.max.timeout.ms",
        ),
        Code::InconsistentGroupProtocol => error.remedy(
            "Another member of the group uses another partition.assignment.strategy or group.protocol. Give all of them one; a static member counts until its session timeout after it has stopped",
        ),
        _ => error,
    }
}

/// The code of a client's error. An administrator's has one too, which the client does not count as one.
pub(crate) fn code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

/// A client's error, met while attempting `operation`. A client that could not be made names no value: the message of
/// librdkafka may hold one that is secret.
pub(crate) fn of_client(operation: &'static str, error: KafkaError) -> Error {
    if let KafkaError::ClientConfig(_, _, property, _) = &error {
        return Error::new(
            ErrorKind::Config,
            operation,
            "librdkafka refuses the value of a property",
        )
        .with("property", property);
    }
    match code(&error) {
        Some(code) => of_code(operation, code),
        None => Error::new(ErrorKind::Unexpected, operation, error.to_string()),
    }
}
