//! Sending one failed message to its next tier.

use std::sync::Arc;
use std::time::Duration;

use super::TierParts;
use crate::backend::{PublishRecord, Published};
use crate::delivery::{Delivery, Sent};
use crate::middleware::confirm::{Unconfirmed, confirmed, end_span};
use crate::middleware::text;
use crate::middleware::{Away, Failed, Outcome};

/// Answers where the copy waits; the failure itself, when it is not for a tier.
pub(super) async fn send(
    parts: Arc<TierParts>,
    delivery: Delivery,
    failed: Failed,
) -> Result<Outcome, Failed> {
    if !failed.error.is_transient() {
        return Err(failed);
    }
    let Some((delay, topic)) = parts.next(&delivery) else {
        return Err(failed);
    };
    let first_failure = failed.first_failure.unwrap_or_else(|| parts.clock.now());
    let mut message = delivery.message().clone();
    parts
        .provenance
        .lineage(&delivery, failed.attempts, first_failure)
        .write(&mut message.headers);
    let partition = delivery.stream().partition;
    let span = delivery.story().map(|story| {
        let kind = failed.error.kind_name();
        story.send(
            topic,
            &mut message,
            Sent::Retry {
                kind,
                delay: *delay,
            },
        )
    });
    let record = PublishRecord {
        topic: Arc::clone(topic),
        partition: Some(partition),
        message,
    };
    tracing::warn!(
        handler = &*parts.provenance.handler,
        origin = %delivery.origin(),
        id = %text::Shown(&delivery.id()),
        key = %text::shown_key(delivery.key()),
        attempts = failed.attempts,
        kind = failed.error.kind_name(),
        error = %text::message(&failed.error),
        tier = ?delay,
        "failed; it waits in a tier"
    );
    let sent = confirmed(&parts.publisher, record, &delivery).await;
    end_span(span, &sent);
    match sent {
        Ok(published) => Ok(away(*delay, partition, published)),
        Err(Unconfirmed::Stopping) => Ok(Outcome::Interrupted),
        Err(Unconfirmed::TooLarge(error)) => {
            tracing::warn!(
                origin = %delivery.origin(),
                topic = &**topic,
                %error,
                "too large for the tier; it becomes a dead letter"
            );
            Err(failed)
        }
    }
}

fn away(delay: Duration, partition: u32, published: Published) -> Outcome {
    // A copy elsewhere would be named where nobody reads it.
    debug_assert_eq!(published.partition, partition, "it lies where it was sent");
    Outcome::Away(Away {
        delay,
        partition,
        offset: published.offset,
        appended_at: published.appended_at,
    })
}
