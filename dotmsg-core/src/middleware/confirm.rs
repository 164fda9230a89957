//! Publishing the framework's own records: repeated until the broker confirms.
//!
//! An unknown outcome is repeated like a failed one. A second copy is harmless: a tier record counts only when it is the
//! one that was confirmed and named, and a second dead letter carries the same origin.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{PublishOutcome, PublishRecord, Published, Publisher};
use crate::delivery::{Delivery, Span, SpanEnd};
use crate::error::{Error, ErrorKind};

use super::pace;

/// Pause before the first repeat.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: a broker that is back is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a record was not confirmed.
#[derive(Debug)]
pub(super) enum Unconfirmed {
    /// The broker takes no record of this size.
    TooLarge(Error),
    /// The partition is being given up.
    Stopping,
}

/// Publishes one record, and again until it is confirmed.
pub(super) async fn confirmed(
    publisher: &Arc<dyn Publisher>,
    record: PublishRecord,
    delivery: &Delivery,
) -> Result<Published, Unconfirmed> {
    let stream = delivery.stream();
    let mut delays = pace::delays(FIRST_PAUSE, LONGEST_PAUSE, pace::seed(0, delivery));
    loop {
        let error = match publisher.publish(vec![record.clone()]).await.pop() {
            Some(PublishOutcome::Ok(published)) => return Ok(published),
            Some(PublishOutcome::Failed(error)) if error.kind() == ErrorKind::TooLarge => {
                return Err(Unconfirmed::TooLarge(error));
            }
            Some(PublishOutcome::Failed(error) | PublishOutcome::Unknown(error)) => error,
            None => no_outcome(),
        };
        let delay = delays.next().unwrap_or(LONGEST_PAUSE);
        tracing::warn!(
            topic = &*record.topic,
            partition = stream.partition,
            origin = %delivery.origin(),
            %error,
            ?delay,
            "not confirmed; the message stays unsettled and is published again"
        );
        if !pace::pause(stream, delay).await {
            return Err(Unconfirmed::Stopping);
        }
    }
}

/// Ends the span of such a record. That of one that was given up is cut off.
pub(super) fn end_span(span: Option<Box<dyn Span>>, sent: &Result<Published, Unconfirmed>) {
    match (span, sent) {
        (Some(span), Ok(_)) => span.end(SpanEnd::Done),
        (Some(span), Err(Unconfirmed::TooLarge(error))) => span.end(SpanEnd::Failed {
            kind: "too_large",
            message: &error.to_string(),
        }),
        (Some(_), Err(Unconfirmed::Stopping)) | (None, _) => {}
    }
}

/// A publisher that answers fewer outcomes than it was given records: nothing is known of the rest.
pub(crate) fn no_outcome() -> Error {
    Error::new(
        ErrorKind::Unexpected,
        "publish",
        "the backend gave no outcome for the record",
    )
}
