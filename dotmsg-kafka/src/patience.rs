//! Asking a cluster again while it cannot answer: a broker is gone or frozen, another one is about to lead or to coordinate.
//!
//! Such a moment ends by itself, mostly within a broker's session timeout; a member that gave up in it would only be started again
//! to ask the same. For questions that may be asked twice, on threads that may block.

use std::thread;
use std::time::Duration;

use dotmsg_core::error::Result;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::error;
use crate::now;

/// How long one try may take: what was sent to a broker that is frozen is not answered, and the next try may go elsewhere.
const TRY: Duration = Duration::from_secs(3);
/// How long is tried: twice what a cluster takes, under Kafka's defaults, to notice that a broker is gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause between tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Calls, with the time that the call may take, until the answer is one that another try would not change. Blocks its thread.
///
/// # Errors
/// The last answer.
#[expect(
    clippy::disallowed_methods,
    reason = "on a thread that may block; a broker tells nobody when it is ready"
)]
pub(crate) fn patiently<T>(
    operation: &'static str,
    call: impl Fn(Duration) -> Result<T, Code>,
) -> Result<T> {
    let until = now() + PATIENCE;
    loop {
        match call(TRY) {
            Err(code) if passes(code) && now() < until => thread::sleep(PAUSE),
            answer => return answer.map_err(|code| error::of_code(operation, code)),
        }
    }
}

/// Whether an error passes by itself.
pub(crate) fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::NotController
            | Code::NotCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::WaitingForCoordinator
            // The client has let go of a broker that is gone, and asks another one next time.
            | Code::BrokerDestroy
            | Code::DestroyBroker
            | Code::BrokerTransportFailure
            | Code::BrokerNotAvailable
            | Code::AllBrokersDown
            | Code::NetworkException
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::TimedOutQueue
            | Code::UnstableOffsetCommit
    )
}

/// The code of a client's error.
pub(crate) fn of(error: KafkaError) -> Code {
    error::code(&error).unwrap_or(Code::Unknown)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use dotmsg_core::error::ErrorKind;

    use super::*;

    #[test]
    fn what_passes_is_asked_again_and_what_does_not_is_told() {
        let tries = Cell::new(0);
        let answers = [
            Err(Code::NotCoordinator),
            Err(Code::OperationTimedOut),
            Ok("there"),
        ];
        let call = |_: Duration| answers[tries.replace(tries.get() + 1)];
        assert_eq!(patiently("ask", call).unwrap(), "there");
        assert_eq!(tries.get(), 3);
        let refused = patiently("ask", |_| Err::<(), _>(Code::GroupAuthorizationFailed));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Denied);
    }
}
