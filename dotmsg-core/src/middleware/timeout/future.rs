//! The future of [`Timeout`](super::Timeout).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::{UNLIMITED, error_of};
use crate::handler::HandlerError;

pin_project! {
    /// Ends with the inner future, or when its time is up.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        // `None` once its time was up: dropped at once, with what it holds.
        #[pin]
        inner: Option<F>,
        // Boxed: an inline timer would enlarge every slot and every move of a future that never needs one.
        sleep: Option<Pin<Box<Sleep>>>,
        // A word, for the same reason.
        limit_ns: u64,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(inner: F, limit_ns: u64) -> Self {
        Self {
            inner: Some(inner),
            sleep: None,
            limit_ns,
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
        if *this.limit_ns == UNLIMITED {
            return Poll::Pending;
        }
        let limit = Duration::from_nanos(*this.limit_ns);
        let sleep = this
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(sleep.as_mut().poll(cx));
        this.inner.set(None);
        Poll::Ready(Err(error_of(limit)))
    }
}
