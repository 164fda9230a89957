//! The future of [`Shed`](super::Shed).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::middleware::{Ended, Outcome};

pin_project! {
    /// Ends with the inner future, or at once with nothing done.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<F>,
    }
}

impl<F> ResponseFuture<F> {
    #[inline]
    pub(super) const fn calling(inner: F) -> Self {
        Self { inner: Some(inner) }
    }

    pub(super) const fn shed() -> Self {
        Self { inner: None }
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Outcome, E>>,
{
    type Output = Result<Outcome, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll(cx),
            None => Poll::Ready(Ok(Outcome::Settled(Ended::Shed))),
        }
    }
}
