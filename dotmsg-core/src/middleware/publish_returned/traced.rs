//! The spans of what a traced delivery returned: one for each message, until all are confirmed.

use super::{Desk, records};
use crate::delivery::{Delivery, Sent, Span, SpanEnd};
use crate::handler::{HandlerError, Returned};
use crate::middleware::{Outcome, text};

/// Begins them, and gives the messages their contexts. None when the delivery is not traced.
pub(super) fn begin(
    desk: &Desk,
    delivery: &Delivery,
    returned: &mut Returned,
) -> Vec<Box<dyn Span>> {
    let Some(story) = delivery.story() else {
        return Vec::new();
    };
    let parts = &desk.parts;
    // A span shows the id of its message.
    records::complete(parts, delivery, &mut returned.outgoing);
    let outgoing = returned.outgoing.iter_mut();
    outgoing
        .map(|outgoing| {
            let topic = desk.names.of(&parts.topic_prefix, &outgoing.topic);
            story.send(&topic, &mut outgoing.message, Sent::Returned)
        })
        .collect()
}

/// Ends them. Those of a delivery that was given up are cut off.
pub(super) fn end(spans: Vec<Box<dyn Span>>, result: &Result<Outcome, HandlerError>) {
    if spans.is_empty() {
        return;
    }
    match result {
        Ok(Outcome::Interrupted) => {}
        Ok(_) => spans.into_iter().for_each(|span| span.end(SpanEnd::Done)),
        Err(error) => {
            let message = text::message(error);
            for span in spans {
                span.end(SpanEnd::Failed {
                    kind: error.kind_name(),
                    message: &message,
                });
            }
        }
    }
}
