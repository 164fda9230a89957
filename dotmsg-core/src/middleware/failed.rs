//! A delivery that failed, and how a service's result becomes an outcome or such a failure.
//!
//! Two kinds of service meet in the stack: those that answer what a handler says ([`Settlement`], [`HandlerError`]) and
//! those that answer what the delivery came to ([`Outcome`], [`Failed`]). [`Conclude`] turns the first into the second,
//! so that every layer fits around both.

use std::fmt;
use std::task::{Context, Poll};

use tower_service::Service;

use super::{Ended, Outcome};
use crate::clock::Timestamp;
use crate::delivery::{Delivery, Settlement};
use crate::handler::HandlerError;

/// A delivery that failed: the last error and how many calls it took.
#[derive(Debug)]
pub struct Failed {
    /// The last error. Transient: a tier may take it; permanent: the dead-letter topic.
    pub error: HandlerError,
    /// Calls of the handler for this message so far, over in-place repeats and tiers; 0 when it was never called.
    pub attempts: u32,
    /// When the first of these calls failed, if that was noted; `None`: just now.
    pub first_failure: Option<Timestamp>,
}

impl Failed {
    /// A failure after this many calls.
    #[must_use]
    pub fn new(error: HandlerError, attempts: u32) -> Self {
        Self {
            error,
            attempts,
            first_failure: None,
        }
    }
}

impl From<Failed> for HandlerError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// The reason a handler gave in a [`Settlement`], as the cause of an error.
#[derive(Debug)]
struct Reason(String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Reason {}

/// What a settlement comes to: [`Settlement::Retry`] is a transient error of kind `retry`, [`Settlement::DeadLetter`] a
/// permanent one of the kind it names.
pub(super) fn settle(settlement: Settlement) -> Result<Outcome, HandlerError> {
    match settlement {
        Settlement::Ack => Ok(Outcome::HANDLED),
        Settlement::Discard => Ok(Outcome::Settled(Ended::Discarded)),
        Settlement::Retry { reason } => Err(HandlerError::transient(Reason(reason)).kind("retry")),
        Settlement::DeadLetter { kind, reason } => {
            Err(HandlerError::permanent(Reason(reason)).kind(kind))
        }
    }
}

/// The result of a service, as a layer sees it.
pub trait Conclude {
    /// The outcome or the failure. `attempt` is which call of the handler it was, for a result that does not know.
    ///
    /// # Errors
    /// The failure.
    fn conclude(self, attempt: u32) -> Result<Outcome, Failed>;
}

impl Conclude for Result<Outcome, Failed> {
    #[inline]
    fn conclude(self, _: u32) -> Self {
        self
    }
}

impl Conclude for Result<Outcome, HandlerError> {
    #[inline]
    fn conclude(self, attempt: u32) -> Result<Outcome, Failed> {
        self.or_else(|error| match error.is_put_back() {
            true => Ok(Outcome::PutBack),
            false => Err(Failed::new(error, attempt)),
        })
    }
}

impl Conclude for Result<Settlement, HandlerError> {
    #[inline]
    fn conclude(self, attempt: u32) -> Result<Outcome, Failed> {
        self.and_then(settle).conclude(attempt)
    }
}

/// The readiness of a service, with its error as a failure that no call was made for.
pub(super) fn poll_ready<S>(service: &mut S, cx: &mut Context<'_>) -> Poll<Result<(), Failed>>
where
    S: Service<Delivery>,
    Result<S::Response, S::Error>: Conclude,
{
    service.poll_ready(cx).map(|ready| match ready {
        Ok(()) => Ok(()),
        Err(error) => Err::<S::Response, _>(error).conclude(0).map(|_| ()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settlement_that_is_not_an_end_is_a_failure_of_its_class() {
        let retry = Settlement::Retry {
            reason: "later".into(),
        };
        let failed = Ok::<_, HandlerError>(retry).conclude(2).unwrap_err();
        assert!(failed.error.is_transient());
        assert_eq!((failed.error.kind_name(), failed.attempts), ("retry", 2));
        let dead = Settlement::DeadLetter {
            kind: "no_air_time".into(),
            reason: "NA".into(),
        };
        let failed = Ok::<_, HandlerError>(dead).conclude(1).unwrap_err();
        assert!(!failed.error.is_transient());
        assert_eq!(failed.error.kind_name(), "no_air_time");
        assert_eq!(failed.error.to_string(), "NA");
    }
}
