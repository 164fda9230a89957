//! The future of [`CatchPanic`](super::CatchPanic).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{dispose, error_of};
use crate::handler::HandlerError;

pin_project! {
    #[project = StateProjection]
    #[derive(Debug)]
    enum State<F> {
        Running { #[pin] inner: F },
        // A panic of `call` itself.
        Early { error: Option<Box<HandlerError>> },
        // A future that panicked is never polled again.
        Ended,
    }
}

pin_project! {
    /// Ends with the inner future's result, or with the error of its panic.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut state = this.project().state;
            if let State::Running { .. } = *state {
                catch_unwind(AssertUnwindSafe(|| state.set(State::Ended))).unwrap_or_else(dispose);
            }
        }
    }
}

impl<F> ResponseFuture<F> {
    #[inline]
    pub(super) fn running(inner: F) -> Self {
        Self {
            state: State::Running { inner },
        }
    }

    pub(super) fn panicked(error: HandlerError) -> Self {
        Self {
            state: State::Early {
                error: Some(Box::new(error)),
            },
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
        let mut state = self.project().state;
        let inner = match state.as_mut().project() {
            StateProjection::Running { inner } => inner,
            StateProjection::Early { error } => {
                let error = error.take().expect("polled after it had ended");
                return Poll::Ready(Err(*error));
            }
            StateProjection::Ended => panic!("polled after it had ended"),
        };
        match catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => {
                // What the future holds is dropped now, not when the slot is used again; that may panic as well.
                catch_unwind(AssertUnwindSafe(|| state.set(State::Ended))).unwrap_or_else(dispose);
                Poll::Ready(Err(error_of(panic)))
            }
        }
    }
}
