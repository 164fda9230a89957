//! Futures that run only while their observer lets them: a stopped process polls nothing, neither a route nor a handler.
//!
//! The gate is asked before each poll of what is inside, so that a process which is stopped in the middle of a poll gets
//! no further than the next call of something that is gated too.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::Watch;
use crate::handler::Call;

pin_project! {
    /// Is polled only while the observer lets it.
    #[derive(Debug)]
    pub struct Gated<F> {
        #[pin]
        inner: F,
        watch: Watch,
    }
}

impl<F> Gated<F> {
    pub(super) fn new(inner: F, watch: Watch) -> Self {
        Self { inner, watch }
    }
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        ready!(this.watch.poll_running(cx));
        this.inner.poll(cx)
    }
}

pin_project! {
    /// One call of a handler: gated, and told when it is over, however that is.
    #[derive(Debug)]
    pub struct ObservedCall<F> {
        #[pin]
        inner: F,
        // Behind the future: it is dropped after it.
        over: Over,
    }
}

#[derive(Debug)]
struct Over {
    watch: Watch,
    call: Option<Call>,
}

impl Over {
    fn tell(&mut self) {
        if let Some(call) = self.call.take() {
            self.watch.left(&call);
        }
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        self.tell();
    }
}

impl<F> ObservedCall<F> {
    pub(super) fn new(inner: F, watch: Watch, call: Option<Call>) -> Self {
        let over = Over { watch, call };
        Self { inner, over }
    }
}

impl<F: Future> Future for ObservedCall<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        ready!(this.over.watch.poll_running(cx));
        let result = ready!(this.inner.poll(cx));
        this.over.tell();
        Poll::Ready(result)
    }
}
