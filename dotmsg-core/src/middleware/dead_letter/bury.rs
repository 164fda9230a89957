//! Writing one dead letter, smaller and smaller until the broker takes it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::DeadLetterParts;
use crate::backend::PublishRecord;
use crate::clock::Timestamp;
use crate::delivery::{Delivery, Sent, control, is_control_header};
use crate::handler::HandlerError;
use crate::message::{ID_HEADER, Message};
use crate::middleware::confirm::{Unconfirmed, confirmed, end_span};
use crate::middleware::{Ended, Failed, Outcome, pace, text};

/// Pause before a dead letter that cannot be made smaller is tried again: an operator has to raise a limit.
const HOPELESS_PAUSE: Duration = Duration::from_secs(30);

/// What a dead letter leaves out; each form leaves out what the one before does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Whole,
    NoPayload,
    NoHeaders,
    NoKey,
    NoText,
}

impl Form {
    fn smaller(self) -> Option<Self> {
        match self {
            Self::Whole => Some(Self::NoPayload),
            Self::NoPayload => Some(Self::NoHeaders),
            Self::NoHeaders => Some(Self::NoKey),
            Self::NoKey => Some(Self::NoText),
            Self::NoText => None,
        }
    }
}

/// Ends when the dead letter is confirmed, or when the partition is being given up.
pub(super) async fn bury(
    parts: Arc<DeadLetterParts>,
    delivery: Delivery,
    failed: Failed,
) -> Outcome {
    let now = parts.clock.now();
    tracing::error!(
        handler = &*parts.provenance.handler,
        origin = %delivery.origin(),
        id = %text::Shown(&delivery.id()),
        key = %text::shown_key(delivery.key()),
        attempts = failed.attempts,
        kind = failed.error.kind_name(),
        error = %text::message(&failed.error),
        dead_letter_topic = &*parts.topic,
        "given up; it becomes a dead letter"
    );
    let mut form = Form::Whole;
    loop {
        let mut message = letter(&parts, &delivery, &failed, form, now);
        let span = delivery.story().map(|story| {
            let kind = failed.error.kind_name();
            story.send(&parts.topic, &mut message, Sent::DeadLetter { kind })
        });
        let record = PublishRecord {
            topic: Arc::clone(&parts.topic),
            partition: Some(delivery.stream().partition),
            message,
        };
        let sent = confirmed(&parts.publisher, record, &delivery).await;
        end_span(span, &sent);
        let error = match sent {
            Ok(_) => {
                parts.metrics.dead_letters.count(failed.error.kind_name());
                return Outcome::Settled(Ended::DeadLettered);
            }
            Err(Unconfirmed::Stopping) => return Outcome::Interrupted,
            Err(Unconfirmed::TooLarge(error)) => error,
        };
        if let Some(smaller) = form.smaller() {
            form = smaller;
            continue;
        }
        tracing::error!(
            origin = %delivery.origin(),
            dead_letter_topic = &*parts.topic,
            %error,
            "even without payload, headers, key and text the dead letter is too large; raise the broker's limit"
        );
        if !pace::pause(delivery.stream(), HOPELESS_PAUSE).await {
            return Outcome::Interrupted;
        }
    }
}

fn letter(
    parts: &DeadLetterParts,
    delivery: &Delivery,
    failed: &Failed,
    form: Form,
    now: Timestamp,
) -> Message {
    let mut message = delivery.message().clone();
    if form >= Form::NoPayload {
        message.payload = None;
    }
    if form >= Form::NoHeaders {
        message.headers.remove_where(|name| name != ID_HEADER);
    }
    if form >= Form::NoKey {
        message.key = None;
    }
    if form >= Form::NoText {
        message.headers.remove_where(|_| true);
    }
    debug_assert!(is_control_header(control::BY_REFERENCE));
    parts
        .provenance
        .lineage(
            delivery,
            failed.attempts,
            failed.first_failure.unwrap_or(now),
        )
        .write(&mut message.headers);
    if form >= Form::NoPayload {
        put(&mut message, control::BY_REFERENCE, "true".to_owned());
    }
    put(&mut message, control::LAST_FAILURE, now.to_string());
    describe(&mut message, &failed.error, form);
    message
}

fn describe(message: &mut Message, error: &HandlerError, form: Form) {
    let kind = text::capped(error.kind_name().to_owned(), text::KIND_BYTES_MAX);
    put(message, control::FAILURE_KIND, kind);
    if form < Form::NoText {
        put(message, control::FAILURE_MESSAGE, text::message(error));
        put(message, control::FAILURE_CHAIN, text::chain(error));
    }
}

fn put(message: &mut Message, name: &str, value: String) {
    message.headers.append(name, Some(Bytes::from(value)));
}
