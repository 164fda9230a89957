//! Contexts from headers, and into headers.
//!
//! The `tracestate` of a producer is read only when its `traceparent` is well-formed, and one that is malformed or too long counts
//! as empty.

use dotmsg_core::Bytes;
use dotmsg_core::message::{Headers, TRACE_HEADER_BYTES_MAX, TRACEPARENT, TRACESTATE, TraceParent};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

/// The span context that a header names.
pub(crate) fn span_context(parent: TraceParent, state: TraceState) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(parent.sampled);
    let trace = TraceId::from(parent.trace_id);
    SpanContext::new(trace, SpanId::from(parent.span_id), flags, true, state)
}

/// A context whose span is elsewhere.
pub(crate) fn remote(parent: SpanContext) -> Context {
    Context::new().with_remote_span_context(parent)
}

/// What tracing systems added to the producer's context.
pub(crate) fn trace_state(headers: &Headers) -> TraceState {
    let text = headers.get_str(TRACESTATE).unwrap_or_default();
    match text.len() <= TRACE_HEADER_BYTES_MAX {
        true => text.parse().unwrap_or_default(),
        false => TraceState::default(),
    }
}

/// The same as a header names it.
pub(crate) fn trace_parent(context: &SpanContext) -> TraceParent {
    TraceParent {
        trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(context.span_id().to_bytes()),
        sampled: context.is_sampled(),
    }
}

/// Writes a context into the headers of a message that has none.
pub(crate) fn inject(context: &SpanContext, headers: &mut Headers) {
    if !context.is_valid() || headers.get(TRACEPARENT).is_some() {
        return;
    }
    let parent = trace_parent(context).to_string();
    headers.append(TRACEPARENT, Some(Bytes::from(parent)));
    let state = context.trace_state().header();
    if !state.is_empty() && state.len() <= TRACE_HEADER_BYTES_MAX {
        headers.append(TRACESTATE, Some(Bytes::from(state)));
    }
}
