//! The future of [`Spans`](super::Spans).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::verdict::Verdict;
use crate::delivery::Span;

pin_project! {
    /// The inner future, polled within its span.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // Behind the call: what the call drops is dropped before the span ends.
        span: Option<Box<dyn Span>>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(inner: F, span: Option<Box<dyn Span>>) -> Self {
        Self { inner, span }
    }
}

impl<F: Future> Future for ResponseFuture<F>
where
    F::Output: Verdict,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this.span.is_none() {
            return this.inner.poll(cx);
        }
        let inner = this.inner;
        let output = ready!(within(this.span.as_deref(), || inner.poll(cx)));
        if let Some(span) = this.span.take() {
            output.end(span);
        }
        Poll::Ready(output)
    }
}

/// What `run` gives, within a span if there is one.
pub(super) fn within<T>(span: Option<&dyn Span>, run: impl FnOnce() -> T) -> T {
    let Some(span) = span else { return run() };
    let mut run = Some(run);
    let mut result = None;
    let mut once = || {
        if let Some(run) = run.take() {
            result = Some(run());
        }
    };
    span.within(&mut once);
    // A tracer that does not call, or calls again, must not cost the message.
    once();
    result.expect("it was called")
}
