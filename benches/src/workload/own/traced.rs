//! What a tracer costs a message that is not traced: that of OpenTelemetry, with a provider that is never asked.

use std::sync::Arc;

use dotmsg::message::{Headers, TRACEPARENT};
use dotmsg::otel::Traces;
use dotmsg::trace::{TracedRoute, Tracer};
use opentelemetry::trace::noop::NoopTracerProvider;

use super::counted::{spec, take_bytes, workload};
use super::{Outcome, Workload, memory_with, one_thread, start};

pub(super) const WORKLOADS: [Workload; 2] = [
    // Messages without a context, and a share of 0 of them that begin a trace.
    workload("own.bytes_traced", |n| traced(n, Headers::new())),
    // Messages whose producer traces and did not sample them.
    workload("own.bytes_unsampled", |n| {
        let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        traced(
            n,
            [(TRACEPARENT, Some(context.into()))].into_iter().collect(),
        )
    }),
];

fn traced(messages: u64, headers: Headers) -> Result<Outcome, String> {
    let traces = Traces::new(&NoopTracerProvider::new()).roots(0.0);
    let route = traces.route(&TracedRoute::new("bench", "bench", "orders"));
    memory_with(
        one_thread()?,
        messages,
        &headers,
        spec(512, 1),
        |context, mut parts, latch| {
            parts.tracer = Some(Arc::clone(&route));
            start(take_bytes, context, parts, latch)
        },
    )
}
