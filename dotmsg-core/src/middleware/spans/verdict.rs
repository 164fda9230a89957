//! How the span of a call ends, by what the call came to.

use crate::delivery::{Settlement, Span, SpanEnd};
use crate::handler::{Answer, HandlerError, HandlerResult};
use crate::middleware::text;

/// A result that a span can end with.
pub trait Verdict {
    /// Ends it.
    fn end(&self, span: Box<dyn Span>);
}

impl Verdict for HandlerResult {
    fn end(&self, span: Box<dyn Span>) {
        let (kind, message) = match self {
            Err(error) => return fail(span, error),
            Ok(returned) => match &returned.settlement {
                Settlement::Ack | Settlement::Discard => return span.end(SpanEnd::Done),
                Settlement::Retry { reason } => ("retry", reason),
                Settlement::DeadLetter { kind, reason } => (&**kind, reason),
            },
        };
        let message = text::capped(message.clone(), text::MESSAGE_BYTES_MAX);
        span.end(SpanEnd::Failed {
            kind,
            message: &message,
        });
    }
}

/// A batch fails when the call does, and when one of its messages does.
impl Verdict for Result<Answer, HandlerError> {
    fn end(&self, span: Box<dyn Span>) {
        let failure = match self {
            Ok(answer) => answer.first_failure(),
            Err(error) => Some(error),
        };
        match failure {
            Some(error) => fail(span, error),
            None => span.end(SpanEnd::Done),
        }
    }
}

fn fail(span: Box<dyn Span>, error: &HandlerError) {
    if error.is_put_back() {
        return span.end(SpanEnd::PutBack);
    }
    span.end(SpanEnd::Failed {
        kind: error.kind_name(),
        message: &text::message(error),
    });
}
