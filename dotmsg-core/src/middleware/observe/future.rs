//! The future of an observed stack.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::Watch;
use crate::delivery::Delivery;
use crate::middleware::Outcome;

pin_project! {
    /// Passes the outcome on and tells of it.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        kept: Option<(Watch, Delivery)>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, kept: Option<(Watch, Delivery)>) -> Self {
        Self { inner, kept }
    }
}

impl<F: Future<Output = Result<Outcome, Infallible>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        if let (Some((watch, delivery)), Ok(outcome)) = (this.kept.take(), &result) {
            // What is put back has not ended.
            if *outcome != Outcome::PutBack {
                watch.ended(&delivery, *outcome);
            }
        }
        Poll::Ready(result)
    }
}
