//! The future of [`CatchPanic`](super::CatchPanic).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::error_of;
use crate::handler::HandlerError;

pin_project! {
    /// Ends with the inner future's result, or with the error of its panic.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        // `None` once it has ended: a future that panicked is never polled again.
        #[pin]
        inner: Option<F>,
        // A panic of `call` itself.
        early: Option<Box<HandlerError>>,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut inner = this.project().inner;
            if inner.is_some() {
                let _ = catch_unwind(AssertUnwindSafe(|| inner.set(None)));
            }
        }
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn running(inner: F) -> Self {
        Self {
            inner: Some(inner),
            early: None,
        }
    }

    pub(super) fn panicked(error: HandlerError) -> Self {
        Self {
            inner: None,
            early: Some(Box::new(error)),
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
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            let error = this.early.take().expect("polled after it had ended");
            return Poll::Ready(Err(*error));
        };
        match catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => {
                // What the future holds is dropped now, not when the slot is used again; that may panic as well.
                let _ = catch_unwind(AssertUnwindSafe(|| this.inner.set(None)));
                Poll::Ready(Err(error_of(&*panic)))
            }
        }
    }
}
