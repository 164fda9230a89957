//! The future of [`Timeout`](super::Timeout).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::error_of;
use crate::handler::HandlerError;

pin_project! {
    /// Ends with the inner future, or when its time is up.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        // `None` once its time was up: dropped at once, with what it holds.
        #[pin]
        inner: Option<F>,
        #[pin]
        sleep: Option<Sleep>,
        limit: Option<Duration>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, limit: Option<Duration>) -> Self {
        Self {
            inner: Some(inner),
            sleep: None,
            limit,
        }
    }
}

impl<F, R> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, HandlerError>>,
{
    type Output = Result<R, HandlerError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let inner = this.inner.as_mut().as_pin_mut();
        if let Poll::Ready(result) = inner.expect("polled after it had ended").poll(cx) {
            return Poll::Ready(result);
        }
        let Some(limit) = *this.limit else {
            return Poll::Pending;
        };
        if this.sleep.is_none() {
            this.sleep.set(Some(tokio::time::sleep(limit)));
        }
        let sleep = this.sleep.as_mut().as_pin_mut();
        ready!(sleep.expect("it was just made").poll(cx));
        this.inner.set(None);
        Poll::Ready(Err(error_of(limit)))
    }
}
