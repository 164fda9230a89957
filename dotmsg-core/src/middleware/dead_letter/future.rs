//! The future of [`DeadLetter`](super::DeadLetter).

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{DeadLetterParts, bury};
use crate::backend::BoxFuture;
use crate::delivery::Delivery;
use crate::middleware::{Conclude, Failed, Outcome};

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Calling { #[pin] call: F },
        Burying { burying: BoxFuture<'static, Outcome> },
    }
}

pin_project! {
    /// Ends with the inner future, or when the dead letter is confirmed. Boxed only after a failure.
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
        attempt: u32,
        kept: Option<(Delivery, Arc<DeadLetterParts>)>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn calling(
        call: F,
        attempt: u32,
        delivery: Delivery,
        parts: Arc<DeadLetterParts>,
    ) -> Self {
        Self {
            state: State::Calling { call },
            attempt,
            kept: Some((delivery, parts)),
        }
    }

    pub(super) fn failed(failed: Failed, delivery: Delivery, parts: Arc<DeadLetterParts>) -> Self {
        Self {
            attempt: failed.attempts,
            state: State::Burying {
                burying: Box::pin(bury::bury(parts, delivery, failed)),
            },
            kept: None,
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future,
    F::Output: Conclude,
{
    type Output = Result<Outcome, Infallible>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let failed = match this.state.as_mut().project() {
            StateProjection::Burying { burying } => return burying.as_mut().poll(cx).map(Ok),
            StateProjection::Calling { call } => {
                match ready!(call.poll(cx)).conclude(*this.attempt) {
                    Ok(outcome) => return Poll::Ready(Ok(outcome)),
                    Err(failed) => failed,
                }
            }
        };
        let (delivery, parts) = this.kept.take().expect("polled after it had ended");
        let mut burying: BoxFuture<'static, _> = Box::pin(bury::bury(parts, delivery, failed));
        let poll = burying.as_mut().poll(cx);
        this.state.set(State::Burying { burying });
        poll.map(Ok)
    }
}
