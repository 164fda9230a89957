//! One span, from its beginning to its end.

use std::fmt;

use dotmsg_core::delivery::{self, SpanEnd};
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};

use crate::names;

/// A span, in the context that holds it. When the last holder of the context is gone it ends, if it has not before.
pub(crate) struct Entered {
    context: Context,
    ended: bool,
}

impl Entered {
    pub(crate) fn boxed(context: Context) -> Box<dyn delivery::Span> {
        Box::new(Self {
            context,
            ended: false,
        })
    }
}

impl delivery::Span for Entered {
    fn within(&self, run: &mut dyn FnMut()) {
        let _attached = self.context.clone().attach();
        run();
    }

    fn end(mut self: Box<Self>, end: SpanEnd<'_>) {
        self.ended = true;
        let span = self.context.span();
        match end {
            SpanEnd::Done => {}
            SpanEnd::PutBack => span.set_attribute(KeyValue::new(names::OUTCOME, "put_back")),
            SpanEnd::Failed { kind, message } => {
                span.set_attribute(KeyValue::new(names::ERROR_TYPE, kind.to_owned()));
                span.set_status(Status::error(message.to_owned()));
            }
        }
        span.end();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if !self.ended {
            let span = self.context.span();
            span.set_attribute(KeyValue::new(names::OUTCOME, "interrupted"));
            span.end();
        }
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entered")
            .field(self.context.span().span_context())
            .finish()
    }
}
