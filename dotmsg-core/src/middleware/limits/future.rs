//! The future of [`CheckLimits`](super::CheckLimits).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::middleware::Failed;

pin_project! {
    /// Ends with the inner future, or at once with the refusal.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<F>,
        // Boxed: refusals are rare, and the future is kept small for all others.
        refused: Option<Box<Failed>>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn running(inner: F) -> Self {
        Self {
            inner: Some(inner),
            refused: None,
        }
    }

    pub(super) fn refused(failed: Failed) -> Self {
        Self {
            inner: None,
            refused: Some(Box::new(failed)),
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: From<Failed>,
{
    type Output = Result<R, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx),
            None => {
                let failed = this.refused.take().expect("polled after it had ended");
                Poll::Ready(Err((*failed).into()))
            }
        }
    }
}
