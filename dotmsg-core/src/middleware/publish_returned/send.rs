//! Publishing one handler's messages until they are confirmed: repeats of what was not.

use std::sync::Arc;
use std::time::Duration;

use super::{Desk, records};
use crate::backend::{PublishOutcome, PublishRecord};
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind};
use crate::handler::{HandlerError, Returned};
use crate::middleware::confirm::no_outcome;
use crate::middleware::failed::settle;
use crate::middleware::{Outcome, pace};

/// Repeats of a message that was not confirmed, before the handler's call counts as failed.
pub const REPEATS: usize = 5;
/// Pause before the first repeat.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: five repeats hold the key for at most about two seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Publishes everything, then answers the settlement.
pub(super) async fn send(
    desk: Arc<Desk>,
    delivery: Delivery,
    mut returned: Returned,
) -> Result<Outcome, HandlerError> {
    let parts = &desk.parts;
    records::complete(parts, &delivery, &mut returned.outgoing);
    let mut records: Vec<PublishRecord> = desk.records(&returned).collect();
    let mut delays = pace::delays(FIRST_PAUSE, LONGEST_PAUSE, pace::seed(1, &delivery));
    for repeat in 0..=REPEATS {
        let outcomes = parts.publisher.publish(records.clone()).await;
        let Some(error) = keep_unconfirmed(&mut records, outcomes)? else {
            return settle(returned.settlement);
        };
        if repeat == REPEATS {
            return Err(HandlerError::transient(error).kind("publish"));
        }
        let delay = delays.next().unwrap_or(LONGEST_PAUSE);
        tracing::debug!(
            origin = %delivery.origin(),
            unconfirmed = records.len(),
            %error,
            ?delay,
            "returned messages are published again"
        );
        if !pace::pause(delivery.stream(), delay).await {
            return Ok(Outcome::Interrupted);
        }
    }
    unreachable!("the last repeat returns")
}

/// Leaves in `records` what is to be repeated, and gives the last error among them; `None`: all are confirmed.
fn keep_unconfirmed(
    records: &mut Vec<PublishRecord>,
    outcomes: Vec<PublishOutcome>,
) -> Result<Option<Error>, HandlerError> {
    let mut last = None;
    let mut outcomes = outcomes.into_iter();
    let mut permanent = None;
    records.retain(|_| match outcomes.next() {
        Some(PublishOutcome::Ok(_)) => false,
        Some(PublishOutcome::Failed(error)) if cannot_pass(error.kind()) => {
            permanent.get_or_insert(error);
            false
        }
        Some(PublishOutcome::Failed(error) | PublishOutcome::Unknown(error)) => {
            last = Some(error);
            true
        }
        None => {
            last = Some(no_outcome());
            true
        }
    });
    match permanent {
        Some(error) => Err(HandlerError::permanent(error).kind("publish")),
        None => Ok(last),
    }
}

/// Failures that lie in the message or in its topic. A closed or fenced publisher says nothing about the message.
pub(crate) fn cannot_pass(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TooLarge
            | ErrorKind::NotFound
            | ErrorKind::Invalid
            | ErrorKind::Unsupported
            | ErrorKind::Config
    )
}
